//! What a person did to a request or grant besides approving it, as exact bytes: the host signs each, and the person where
//! they use a key. So it can travel, and be checked, as an approval can.

use serde::{Deserialize, Serialize};

use super::terms::{Extensions, terms};
use crate::escape::Word;
use crate::names::{GrantId, UserName};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatementKind {
    /// An approver said no.
    Denial,
    /// The requester took a pending request back.
    Cancellation,
    /// Somebody ended a grant of others.
    Revocation,
    /// The holder gave a grant back.
    Release,
    /// An approver settled the debt of a break-glass grant.
    Review,
}

impl StatementKind {
    /// The word on paper and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denial => "denial",
            Self::Cancellation => "cancellation",
            Self::Revocation => "revocation",
            Self::Release => "release",
            Self::Review => "review",
        }
    }
}

/// One such statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementTerms {
    /// Seconds since 1970, by the clock of the machine on which it was said.
    pub at: i64,
    /// By whom: an account of the host, which alone says which uid that is.
    pub by: UserName,
    /// Names of extensions that every reader must know.
    pub critical: Vec<String>,
    /// Additions of later versions.
    pub extensions: Extensions,
    /// The id of the host it is for ([`super::HostId`]).
    pub host: String,
    /// The id of the request and its grant.
    pub id: GrantId,
    /// What was done.
    pub kind: StatementKind,
    /// Why; empty when nothing was said.
    pub reason: Word,
    /// SHA-256 of the exact bytes of the request, lower-case hexadecimal.
    pub request: String,
    /// [`super::terms::VERSION`].
    pub version: u32,
}

terms!(StatementTerms);
