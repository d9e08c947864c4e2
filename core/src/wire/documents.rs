//! What is said of documents: the exact bytes and signatures of one request, for other machines. Fields may be added; none is
//! renamed or removed within a major version.

use serde::{Deserialize, Serialize};

use super::StatementDocument;
use crate::names::{GrantId, UserName};

/// Everything that is signed, or to be signed, about one request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DocumentsInfo {
    /// The id of the request.
    pub id: GrantId,
    /// Who asks for the documents, as this host knows them.
    pub you: UserName,
    /// A [`RequestDocument`] as JSON, signed by the host (`jit-sudo/request/v1`).
    pub request: Document,
    /// The approvals given so far (`jit-sudo/approval/v1`), by approver.
    pub approvals: Vec<ApprovalDocument>,
    /// The grant, signed by the host (`jit-sudo/grant/v1`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Document>,
    /// What else people have stated of it (`jit-sudo/statement/v1`), in that order.
    #[serde(default)]
    pub statements: Vec<StatementDocument>,
    /// For each person whose signature is among them the line that ssh-keygen(1) needs to check it, where the host's list gives
    /// them that key now.
    #[serde(default)]
    pub signers: Vec<String>,
}

/// Exact bytes and the armored SSHSIG over them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// The bytes, which are one JSON object.
    pub body: String,
    /// What `ssh-keygen -Y verify -s` reads; absent from an approval that nobody signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// One approval with its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApprovalDocument {
    /// By whom.
    pub approver: UserName,
    /// Its bytes and its signature.
    #[serde(flatten)]
    pub document: Document,
}

/// What an approver elsewhere needs to decide: the exact request, which names its host, and the text of its role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestDocument {
    /// The request's exact bytes ([`crate::grant::RequestTerms`]): an approval names their SHA-256.
    pub request: String,
    /// The exact bytes of the role ([`crate::policy::RolePower`]) whose digest the request names.
    pub role: String,
    /// 2
    pub version: u32,
}

/// A host as a text from elsewhere describes it, and what is known of it where the text is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostInfo {
    /// Its name.
    pub name: String,
    /// Its public key: `ssh-ed25519 AAAA…`.
    pub key: String,
    /// The same as `SHA256:…`.
    pub fingerprint: String,
    /// The host id.
    pub id: String,
    /// `known`, `new`, `renamed`, `cloned` or `unchecked`.
    pub standing: String,
}

/// What became of an approval that was carried here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportInfo {
    /// Of the request.
    pub id: GrantId,
    /// Whose approval it is.
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
