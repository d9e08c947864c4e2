//! What is recorded of requests, approvals and grants.
//! May not: touch a database or a sink.

use serde::{Deserialize, Serialize};

use super::record::Digest;
use crate::clock::Timestamp;
use crate::escape::Word;
use crate::grant::Means;
use crate::names::{GrantId, RoleName};

/// A limit that a request, an approval or a grant carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// For one run.
    OneShot,
    /// For the very command and binary asked for.
    Exact,
}

/// Somebody asked for a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The id of the request and of the grant that may come of it.
    pub grant: GrantId,
    /// The requester's uid.
    pub uid: u32,
    /// The requester.
    pub user: Word,
    /// For which role.
    pub role: RoleName,
    /// As whom commands would run.
    pub run_as: Word,
    /// The command asked for; empty for the whole role.
    pub argv: Vec<Word>,
    /// Seconds asked for.
    pub duration: u64,
    /// Not before this time, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Timestamp>,
    /// When the pending request dies, µs.
    pub deadline: Timestamp,
    /// Limits asked for.
    pub limits: Vec<Limit>,
    /// Why; empty when none was given.
    pub reason: Word,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Word>,
    /// SHA-256 of the stored request's exact bytes.
    pub sha256: Digest,
    /// 1 when it was granted without approval, in an emergency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<u8>,
    /// The grant whose runs this shall let go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// How many approvals it needs; records of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<u32>,
    /// The digest of the policy by which it was judged; an earlier `policy` record has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// By which that policy's records tell the role from another: all that it says, as it was read when it decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_sha256: Option<Digest>,
}

/// An approver agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The request.
    pub grant: GrantId,
    /// The approver's uid.
    pub uid: u32,
    /// The approver.
    pub user: Word,
    /// The role asked for.
    pub role: RoleName,
    /// Narrowed to this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Narrowed to these limits.
    pub limits: Vec<Limit>,
    /// The approver's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Word>,
    /// The key that signed it, `SHA256:…`; absent when the kernel alone vouched for the approver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Word>,
    /// By what it is known to be the approver's own; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<Means>,
    /// SHA-256 of the approval's exact bytes.
    pub sha256: Digest,
    /// The digest of the policy by which it was judged; an earlier `policy` record has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// By which that policy's records tell the role from another: all that it says, as it was read when it decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_sha256: Option<Digest>,
}

/// An approver refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The request.
    pub grant: GrantId,
    /// The approver's uid.
    pub uid: u32,
    /// The approver.
    pub user: Word,
    /// The role asked for.
    pub role: RoleName,
    /// Why.
    pub reason: Word,
    /// The key that signed the statement, `SHA256:…`; absent when the kernel alone vouched for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Word>,
    /// SHA-256 of the statement's exact bytes; absent from records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// The requester took the request back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// The request.
    pub grant: GrantId,
    /// The uid of who did it.
    pub uid: u32,
    /// Who did it.
    pub user: Word,
    /// The role asked for.
    pub role: RoleName,
    /// The key that signed the statement, `SHA256:…`; absent when the kernel alone vouched for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Word>,
    /// SHA-256 of the statement's exact bytes; absent from records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// A grant was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub grant: GrantId,
    /// The holder's uid.
    pub uid: u32,
    /// The holder.
    pub user: Word,
    /// Of which role.
    pub role: RoleName,
    /// As whom commands run.
    pub run_as: Word,
    /// When it begins, µs.
    pub starts: Timestamp,
    /// When it ends, µs.
    pub expires: Timestamp,
    /// Its limits.
    pub limits: Vec<Limit>,
    /// Who approved it; empty when the role needs nobody.
    pub approvers: Vec<Word>,
    /// SHA-256 of the signed grant's exact bytes.
    pub sha256: Digest,
    /// 1 when nobody approved it, in an emergency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<u8>,
    /// The grant whose runs this lets go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// The digest of the policy by which it was given; an earlier `policy` record has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// By which that policy's records tell the role from another: all that it says, as it was read when it decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_sha256: Option<Digest>,
}

/// A grant was ended by others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The grant.
    pub grant: GrantId,
    /// The uid of who revoked it.
    pub uid: u32,
    /// Who revoked it.
    pub user: Word,
    /// The holder's uid.
    pub holder_uid: u32,
    /// The holder.
    pub holder: Word,
    /// Its role.
    pub role: RoleName,
    /// Why.
    pub reason: Word,
    /// The key that signed the statement, `SHA256:…`; absent when the kernel alone vouched for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Word>,
    /// SHA-256 of the statement's exact bytes; absent from records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// A grant was given back by its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The grant.
    pub grant: GrantId,
    /// The holder's uid.
    pub uid: u32,
    /// The holder.
    pub user: Word,
    /// Its role.
    pub role: RoleName,
    /// The key that signed the statement, `SHA256:…`; absent when the kernel alone vouched for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Word>,
    /// SHA-256 of the statement's exact bytes; absent from records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}
