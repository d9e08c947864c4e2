//! A grant as it is stored: exact bytes and the host's signature. Untrusted until verified, which is
//! its only use.

use super::HostKey;
use super::sshsig::Namespace;
use super::terms::{GrantTerms, encode};

/// Stored bytes that claim to be a grant.
#[must_use = "a signed grant has one use: to be verified"]
pub struct SignedGrant {
    pub(super) bytes: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl SignedGrant {
    /// From the database or a file.
    pub fn from_stored(bytes: Vec<u8>, signature: Vec<u8>) -> Self {
        Self { bytes, signature }
    }

    /// The host grants: `terms` become exact bytes with a signature.
    pub fn issue(terms: &GrantTerms, key: &HostKey) -> Result<Self, serde_json::Error> {
        let bytes = encode(terms)?;
        let signature = key.sign(Namespace::Grant, &bytes);
        Ok(Self { bytes, signature })
    }

    /// The exact bytes that were signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The binary SSHSIG.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}
