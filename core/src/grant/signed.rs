//! A grant as it is stored: exact bytes and the host's signature. It is untrusted until it is verified.

use super::HostKey;
use super::sshsig::Namespace;
use super::terms::{GrantTerms, encode};

/// Stored bytes that claim to be a grant.
#[must_use = "a signed grant must be verified"]
pub struct SignedGrant {
    pub(super) bytes: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl SignedGrant {
    /// Takes bytes and signature from the database or a file.
    pub fn from_stored(bytes: Vec<u8>, signature: Vec<u8>) -> Self {
        Self { bytes, signature }
    }

    /// Issues a grant: signs the exact bytes of `terms` with the host's key.
    pub fn issue(terms: &GrantTerms, key: &HostKey) -> Result<Self, serde_json::Error> {
        let bytes = encode(terms)?;
        let signature = key.sign(Namespace::Grant, &bytes);
        Ok(Self { bytes, signature })
    }

    /// Returns the exact bytes that were signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the binary SSHSIG.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}
