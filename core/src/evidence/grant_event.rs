//! The records of requests, approvals and grants. This module touches no database and no sink.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::clock::Timestamp;
use crate::clock::duration::Seconds;
use crate::escape::Word;
use crate::grant::Means;
use crate::names::{GrantId, RoleName};

/// A limit of a request, an approval or a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// For one run.
    OneShot,
    /// Only for the command and binary that were requested.
    Exact,
}

/// A user requested a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The id of the request, and of the grant if it is approved.
    pub grant: GrantId,
    /// The requester's uid.
    pub uid: u32,
    /// The requester.
    pub user: Word,
    /// The role.
    pub role: RoleName,
    /// The run-as user of the commands.
    pub run_as: Word,
    /// The requested command; empty for the whole role.
    pub argv: Vec<Word>,
    /// The requested duration in seconds.
    pub duration: Seconds,
    /// The earliest start, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Timestamp>,
    /// When the pending request expires, µs.
    pub deadline: Timestamp,
    /// The requested limits.
    pub limits: Vec<Limit>,
    /// The reason; empty when none was given.
    pub reason: Word,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Word>,
    /// SHA-256 of the stored request's exact bytes.
    pub sha256: Digest,
    /// 1 when it was granted without approval, in an emergency (break-glass).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<u8>,
    /// The grant whose runs this one shall continue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// The number of approvals that it needs; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<u32>,
    /// The digest of the policy that applied; an earlier `policy` record contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The digest with which that policy's records identify the role: it covers the whole role, as it applied to this
    /// decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_sha256: Option<Digest>,
}

/// An approver approved a request.
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
    /// The shortened duration in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Seconds>,
    /// The additional limits.
    pub limits: Vec<Limit>,
    /// The approver's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Word>,
    /// The key that signed it, `SHA256:…`; absent when only the kernel identified the approver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Word>,
    /// How the approver was authenticated; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<Means>,
    /// SHA-256 of the approval's exact bytes.
    pub sha256: Digest,
    /// The digest of the policy that applied; an earlier `policy` record contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The digest with which that policy's records identify the role: it covers the whole role, as it applied to this
    /// decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_sha256: Option<Digest>,
}

/// An approver denied a request.
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
    /// The reason.
    pub reason: Word,
    /// The key that signed the statement, `SHA256:…`; absent when only the kernel identified the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Word>,
    /// SHA-256 of the statement's exact bytes; absent from records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// The requester cancelled the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// The request.
    pub grant: GrantId,
    /// The uid of the user who cancelled it.
    pub uid: u32,
    /// The user who cancelled it.
    pub user: Word,
    /// The role asked for.
    pub role: RoleName,
    /// The key that signed the statement, `SHA256:…`; absent when only the kernel identified the user.
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
    /// The role.
    pub role: RoleName,
    /// The run-as user of the commands.
    pub run_as: Word,
    /// The start time, µs.
    pub starts: Timestamp,
    /// The expiry time, µs.
    pub expires: Timestamp,
    /// Its limits.
    pub limits: Vec<Limit>,
    /// The approvers; empty when the role needs none.
    pub approvers: Vec<Word>,
    /// SHA-256 of the signed grant's exact bytes.
    pub sha256: Digest,
    /// 1 when no approver approved it, in an emergency (break-glass).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<u8>,
    /// The grant whose runs this one continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// The digest of the policy that applied; an earlier `policy` record contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The digest with which that policy's records identify the role: it covers the whole role, as it applied to this
    /// decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_sha256: Option<Digest>,
}

/// Another user revoked a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The grant.
    pub grant: GrantId,
    /// The uid of the user who revoked it.
    pub uid: u32,
    /// The user who revoked it.
    pub user: Word,
    /// The holder's uid.
    pub holder_uid: u32,
    /// The holder.
    pub holder: Word,
    /// Its role.
    pub role: RoleName,
    /// The reason.
    pub reason: Word,
    /// The key that signed the statement, `SHA256:…`; absent when only the kernel identified the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Word>,
    /// SHA-256 of the statement's exact bytes; absent from records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// The holder released a grant.
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
    /// The key that signed the statement, `SHA256:…`; absent when only the kernel identified the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Word>,
    /// SHA-256 of the statement's exact bytes; absent from records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}
