//! The key and the identity of the host.

use super::verb::verb;
use crate::escape::Word;
use crate::names::GrantId;
use serde::{Deserialize, Serialize};

/// Create the host key and the database if they do not exist: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyInit {}

verb!("key-init", KeyInit => "host-key", KeyInfo);

/// The host's public key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyShow {}

verb!("key-show", KeyShow => "host-key", KeyInfo);

/// Accept the host's database, identity and clock as they are; every open grant ends: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAccept {
    /// Kept in the record.
    pub reason: Word,
}

verb!("key-accept", KeyAccept => "accepted", AcceptedInfo);

/// The host's key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyInfo {
    /// One line in OpenSSH's format.
    pub public_key: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// Whether the key was created by this verb.
    pub created: bool,
    /// The number of the present epoch of the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Its sealing key, `SHA256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<String>,
}

/// What ended when root accepted the state of the host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AcceptedInfo {
    /// Grants that were revoked.
    pub grants: Vec<GrantId>,
    /// Requests that were denied.
    pub requests: Vec<GrantId>,
    /// Ids of grants and requests that cannot be read, and therefore permit nothing; they are unchanged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Word>,
}
