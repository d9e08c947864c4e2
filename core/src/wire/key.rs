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

/// Replace the host key by a new one; every open grant and request ends: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotate {
    /// Kept in the record.
    pub reason: Word,
    /// Only say what would end.
    #[serde(default)]
    pub dry_run: bool,
}

verb!("key-rotate", KeyRotate => "key-change", KeyChangeInfo);

/// Remove the host key for ever; every open grant and request ends: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRetire {
    /// Kept in the record.
    pub reason: Word,
    /// Only say what would end.
    #[serde(default)]
    pub dry_run: bool,
}

verb!("key-retire", KeyRetire => "key-change", KeyChangeInfo);

/// What a rotation or a retirement changed, or would change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyChangeInfo {
    /// Whether it was done.
    pub done: bool,
    /// When, in seconds since 1970.
    pub at: i64,
    /// The fingerprint of the key until then, `SHA256:…`.
    pub old: String,
    /// The new key, after a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<KeyInfo>,
    /// Grants that were revoked.
    pub grants: Vec<GrantId>,
    /// Requests that were denied.
    pub requests: Vec<GrantId>,
    /// Ids of grants and requests that cannot be read, and therefore permit nothing; they are unchanged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Word>,
}

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
    /// The host keys that it has taken the place of by rotations, the latest first: `ssh-ed25519 AAAA…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_keys: Vec<String>,
    /// The exact bytes of the records of all rotations of the host key, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<String>,
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
