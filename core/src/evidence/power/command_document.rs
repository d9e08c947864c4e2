//! The command of an exact grant, and its digest, which the runs under the grant are compared with.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::escape::{Word, unhex};

/// The command of an exact grant.
#[derive(Debug, Deserialize)]
pub(super) struct CommandDocument {
    argv: Vec<Word>,
    pub(super) cwd: Word,
    environment: Vec<Word>,
    path: Word,
    program: String,
    run_as_uid: i64,
    run_as_gid: i64,
    run_as_groups: Vec<i64>,
}

impl CommandDocument {
    pub(super) fn digest(&self, run_as: &str) -> [u8; 32] {
        let program = unhex(&self.program).unwrap_or_default();
        let ids = (self.run_as_uid, self.run_as_gid, self.run_as_groups.as_slice());
        command_digest(run_as.as_bytes(), &self.path, &self.argv, &program, ids)
    }

    /// Whether the command has the variable with this name.
    pub(super) fn names(&self, name: &Word) -> bool {
        self.environment
            .iter()
            .any(|entry| entry.as_bytes().split(|byte| *byte == b'=').next() == Some(name.as_bytes()))
    }
}

pub(super) fn command_digest(
    run_as: &[u8],
    path: &Word,
    argv: &[Word],
    program: &[u8; 32],
    (uid, gid, groups): (i64, i64, &[i64]),
) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(u64::try_from(argv.len()).unwrap_or(u64::MAX).to_be_bytes());
    for word in [run_as, path.as_bytes()].into_iter().chain(argv.iter().map(Word::as_bytes)) {
        // A word may hold any byte.
        digest.update(u64::try_from(word.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(word);
    }
    digest.update(program);
    let mut groups = groups.to_vec();
    groups.sort_unstable();
    for id in [uid, gid].iter().chain(&groups) {
        digest.update(id.to_be_bytes());
    }
    digest.finalize().into()
}
