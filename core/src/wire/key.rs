//! The key and the identity of the host.

use super::verb::verb;
use crate::escape::Word;
use crate::names::GrantId;
use serde::{Deserialize, Serialize};

/// Make the host key and the database where there are none: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyInit {}

verb!("key-init", KeyInit => "host-key", KeyInfo);

/// The host's public key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyShow {}

verb!("key-show", KeyShow => "host-key", KeyInfo);

/// State that the host's database, identity and clock are right as they stand; every open grant ends: root only.
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
    /// It was made just now.
    pub created: bool,
}

/// What ended when root accepted the state of the host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AcceptedInfo {
    /// Grants that were revoked.
    pub grants: Vec<GrantId>,
    /// Requests that were denied.
    pub requests: Vec<GrantId>,
    /// Ids of grants and requests that cannot be read, and so give no power; they were left as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Word>,
}
