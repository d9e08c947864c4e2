//! What is recorded of reviews: of broken glass, and of who may ask for a role.
//! May not: touch a database or a sink.

use serde::{Deserialize, Serialize};

use super::record::Digest;
use crate::escape::Word;
use crate::names::{GrantId, RoleName};

/// What a reviewer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The break-glass grant was looked at.
    Settled,
    /// The assignment shall stay.
    Confirmed,
    /// The assignment should go; the policy is root's to change.
    RemovalProposed,
}

impl Verdict {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Confirmed => "confirmed",
            Self::RemovalProposed => "removal-proposed",
        }
    }

    /// The verdict that a stored word names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Settled, Self::Confirmed, Self::RemovalProposed].into_iter().find(|verdict| verdict.as_str() == text)
    }
}

/// A person answered for what others did or may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// The break-glass grant; absent for an assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The reviewer's uid.
    pub uid: u32,
    /// The reviewer.
    pub user: Word,
    /// Whom it is about: a user, or `%group` where the policy names a group.
    pub holder: Word,
    /// Their uid; absent for a group and for a name that no account has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder_uid: Option<u32>,
    /// The role.
    pub role: RoleName,
    /// What was found.
    pub verdict: Verdict,
    /// The reviewer's words.
    pub comment: Word,
    /// The key that signed the statement, `SHA256:…`; absent when the kernel alone vouched for the reviewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Word>,
    /// SHA-256 of the statement's exact bytes; absent for an assignment, and from records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}
