//! Whose checkpoints count in a verification.

use crate::grant::PublicKey;

/// Whose checkpoints count.
#[derive(Debug, Clone)]
pub enum Signers {
    /// Those of any key: the reader of the result decides whose key it is.
    Anybody,
    /// Those of one of these keys.
    These(Vec<PublicKey>),
    /// Those of this host, with its present key. Root has accepted since what the host signed with earlier keys.
    Host(PublicKey),
}

impl Signers {
    /// Returns whether signatures by `key` count.
    pub fn count(&self, key: &PublicKey) -> bool {
        match self {
            Self::Anybody => true,
            Self::These(keys) => keys.contains(key),
            Self::Host(own) => own == key,
        }
    }

    /// Returns the keys; none for those of any key.
    pub(super) fn keys(&self) -> &[PublicKey] {
        match self {
            Self::Anybody => &[],
            Self::These(keys) => keys,
            Self::Host(own) => std::slice::from_ref(own),
        }
    }

    /// Returns whether `key` is one of them.
    pub(super) fn name(&self, key: &PublicKey) -> bool {
        self.keys().contains(key)
    }
}
