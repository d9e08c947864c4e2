//! The key under which earlier runs of a command are counted.

use sha2::{Digest as _, Sha256};

use crate::escape::Word;

/// Returns the key for a user, a run-as user and an exact command. It contains the name, because the column has only
/// the uid. No argument contains a NUL, so different arguments never produce the same text.
pub fn key(user: &Word, run_as: &Word, path: &Word, arguments: &[Word]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for word in [user, run_as, path].into_iter().chain(arguments) {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    hash.finalize().into()
}
