//! What a checkpoint has signed.

use crate::grant::PublicKey;

/// A checkpoint, as a verification remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// All records up to this number are covered.
    pub through: u64,
    /// The time of the signature, in seconds since 1970.
    pub at: i64,
    /// The key that signed it.
    pub key: PublicKey,
}
