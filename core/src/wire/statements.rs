//! What is said of statements: denials, cancellations, revocations, releases and reviews. Fields may be added; none is
//! renamed or removed within a major version.

use serde::{Deserialize, Serialize};

use super::Document;
use crate::grant::StatementKind;
use crate::names::{GrantId, UserName};

/// One statement with its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatementDocument {
    /// What was done.
    pub kind: StatementKind,
    /// By whom.
    pub by: UserName,
    /// Its bytes (`jit-sudo/statement/v1`), and the signature of who made it; absent where they used no key.
    #[serde(flatten)]
    pub document: Document,
    /// The host's signature; absent until a host has taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_signature: Option<String>,
}

/// What became of a statement that was carried here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatedInfo {
    /// Of the request and its grant.
    pub id: GrantId,
    /// What was done.
    pub kind: StatementKind,
    /// Who made it.
    pub by: UserName,
    /// The key that signed it, `SHA256:…`.
    pub key: String,
    /// The state of the grant now; that of the request while there is none.
    pub state: String,
    /// The grants that it ended.
    pub ended: Vec<GrantId>,
}
