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
}
