//! Decisions about requests, and the signed documents in which requests and decisions travel between machines.

use super::GrantInfo;
use super::verb::verb;
use crate::clock::duration::Seconds;
use crate::escape::Word;
use crate::grant::StatementKind;
use crate::grant::terms::{Extensions, TERMS_LIMIT, terms};
use crate::names::{GrantId, IdPrefix, UserName};
use serde::{Deserialize, Serialize};

/// Approve a pending request, optionally narrowed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Which request.
    pub id: IdPrefix,
    /// At most this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Seconds>,
    /// For one run only.
    #[serde(default)]
    pub one_shot: bool,
    /// For this command and binary only.
    #[serde(default)]
    pub exact: bool,
    /// Stored with the approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Word>,
}

verb!("approve", Approve => "grant", GrantInfo);

/// The exact bytes of a request, its approvals and its grant, with their signatures.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documents {
    /// The id of the request, or the beginning of it.
    pub id: IdPrefix,
}

verb!("documents", Documents => "documents", DocumentsInfo);

/// Submit an approval that was signed elsewhere. Any user may submit it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Its exact bytes.
    pub approval: String,
    /// The approver's SSHSIG over them, armored.
    pub signature: String,
}

verb!("import", Import => "imported", ImportInfo);

/// Submit a denial, cancellation, revocation, release or review that was signed elsewhere. Any user may submit it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportStatement {
    /// Its exact bytes.
    pub statement: String,
    /// The author's SSHSIG over them, armored.
    pub signature: String,
}

verb!("import-statement", ImportStatement => "stated", StatedInfo);

/// Deny a pending request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// Which request.
    pub id: IdPrefix,
    /// Shown to the requester.
    pub reason: Word,
}

verb!("deny", Deny => "grant", GrantInfo);

/// Everything that is signed, or to be signed, about one request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DocumentsInfo {
    /// The id of the request.
    pub id: GrantId,
    /// The user who asks for the documents, as this host knows them.
    pub you: UserName,
    /// A [`RequestDocument`] as JSON, signed by the host (`jit-sudo/request/v1`).
    pub request: Document,
    /// The approvals given so far (`jit-sudo/approval/v1`), by approver.
    pub approvals: Vec<ApprovalDocument>,
    /// The grant, signed by the host (`jit-sudo/grant/v1`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Document>,
    /// Other statements about the request (`jit-sudo/statement/v1`), in the order in which they were made.
    #[serde(default)]
    pub statements: Vec<StatementDocument>,
    /// For each author of one of these signatures, the allowed_signers line that ssh-keygen(1) needs to verify it. A line is
    /// present only if this host's list gives the key to the author now.
    #[serde(default)]
    pub signers: Vec<String>,
    /// The exact bytes of the records by which the host key was replaced, for readers who know a former key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<String>,
}

/// Exact bytes and the armored SSHSIG over them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// The bytes, which are one JSON object.
    pub body: String,
    /// What `ssh-keygen -Y verify -s` reads; absent from an unsigned approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// One approval with its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApprovalDocument {
    /// The approver.
    pub approver: UserName,
    /// Its bytes and its signature.
    #[serde(flatten)]
    pub document: Document,
}

/// What an approver on another host needs to decide: the exact request, which names its host, and the text of its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestDocument {
    /// The names of extensions that every reader must know.
    pub critical: Vec<String>,
    /// Additions of later versions. The host signs them; an approval does not cover them.
    pub extensions: Extensions,
    /// The request's exact bytes ([`crate::grant::RequestTerms`]): an approval names their SHA-256.
    pub request: String,
    /// The exact bytes of the role ([`crate::policy::RolePower`]) whose digest the request names.
    pub role: String,
    /// [`VERSION`](crate::grant::terms::VERSION).
    pub version: u32,
}

// A request and the text of its role.
terms!(RequestDocument, up to 2 * TERMS_LIMIT);

/// The result of a submitted approval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportInfo {
    /// The id of the request.
    pub id: GrantId,
    /// The approver.
    pub approver: UserName,
    /// The key that signed it, `SHA256:…`.
    pub key: String,
    /// `pending` or `approved`.
    pub state: String,
    /// How many approvals count now.
    pub approvals: u32,
    /// How many are needed.
    pub approvals_needed: u32,
}

/// One statement with its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatementDocument {
    /// The kind of statement.
    pub kind: StatementKind,
    /// The author.
    pub by: UserName,
    /// Its bytes (`jit-sudo/statement/v1`), and the author's signature; absent if the author used no key.
    #[serde(flatten)]
    pub document: Document,
    /// The host's signature; absent until a host has accepted the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_signature: Option<String>,
}

/// The result of a submitted statement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatedInfo {
    /// The id of the request and its grant.
    pub id: GrantId,
    /// The kind of statement.
    pub kind: StatementKind,
    /// The author.
    pub by: UserName,
    /// The key that signed it, `SHA256:…`.
    pub key: String,
    /// The state of the grant, or of the request if there is no grant.
    pub state: String,
    /// The grants that the statement ended.
    pub ended: Vec<GrantId>,
}
