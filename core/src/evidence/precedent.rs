//! By what a command is counted as run before.

use sha2::{Digest as _, Sha256};

use crate::escape::Word;

/// The very command of a person, as whom it runs. The name is in it, as the column has the uid alone. No word holds a NUL, so different words never make the same text.
pub fn key(user: &Word, run_as: &Word, path: &Word, arguments: &[Word]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for word in [user, run_as, path].into_iter().chain(arguments) {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    hash.finalize().into()
}
