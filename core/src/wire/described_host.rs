//! The host that a document from another host describes.

use serde::{Deserialize, Serialize};

/// The host that a document from another host describes, and what the host that reads it knows about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostInfo {
    /// Its name.
    pub name: String,
    /// Its public key: `ssh-ed25519 AAAA…`.
    pub key: String,
    /// The fingerprint of the key, `SHA256:…`.
    pub fingerprint: String,
    /// The host id.
    pub id: String,
    /// `known`, `new`, `renamed`, `cloned` or `unchecked`.
    pub standing: String,
}
