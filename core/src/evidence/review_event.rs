//! The records of reviews: of break-glass activations, and of eligible assignments. This module touches no database and
//! no sink.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::escape::Word;
use crate::names::{GrantId, RoleName};

/// The result of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The break-glass grant was reviewed.
    Settled,
    /// The assignment shall stay.
    Confirmed,
    /// The assignment should be removed; only root can change the policy.
    RemovalProposed,
}

impl Verdict {
    /// Returns the name that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Confirmed => "confirmed",
            Self::RemovalProposed => "removal-proposed",
        }
    }

    /// Returns the verdict with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Settled, Self::Confirmed, Self::RemovalProposed].into_iter().find(|verdict| verdict.as_str() == text)
    }
}

/// A user reviewed what another user did or may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// The break-glass grant; absent for an assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The reviewer's uid.
    pub uid: u32,
    /// The reviewer.
    pub user: Word,
    /// The user that it is about, or `%group` if the policy names a group.
    pub holder: Word,
    /// The user's uid; absent for a group and for a name without an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder_uid: Option<u32>,
    /// The role.
    pub role: RoleName,
    /// The result.
    pub verdict: Verdict,
    /// The reviewer's comment.
    pub comment: Word,
    /// The key that signed the statement, `SHA256:…`; absent when only the kernel identified the reviewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Word>,
    /// SHA-256 of the statement's exact bytes; absent for an assignment, and from records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}
