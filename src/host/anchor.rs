//! The anchor: number and hash of the last synced record, in a file of its own. A database that lacks this record is an older
//! copy. The anchor is written without a sync after a synced commit, so it may lag behind the database but is never ahead. It
//! cannot detect that the whole state directory was restored, anchor included: only a chain head on another host does.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use crate::audit::Written;
use crate::audit::sink::{Backlog, Delivery, Sink};
use crate::database::Durability;
use jit_core::evidence::{Digest, Mark};

/// The anchor file.
pub(super) struct Anchor {
    path: PathBuf,
}

impl Anchor {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads the anchor; `None` where there is none yet. For a file that cannot be parsed it returns a record that no journal
    /// has.
    pub(super) fn read(&self) -> io::Result<Option<Mark>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(Mark::parse(&bytes).unwrap_or(Mark { seq: u64::MAX, hash: Digest::ZERO }))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the anchor for a new database, which has no records.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&self, mark: Mark) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        file.write_all_at(format!("{mark}\n").as_bytes(), 0)
    }
}

/// Follows the head of the journal. If a write fails, the anchor lags behind, which has no effect now.
impl Sink for Anchor {
    fn mirror(&mut self, commit: &[Written], _: &dyn Backlog) -> Delivery {
        if let Some(last) = commit.iter().rfind(|record| record.durability() == Durability::Synced) {
            let _ = self.write(last.mark());
        }
        Delivery::Delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::tests::Scratch;

    #[test]
    fn an_anchor_returns_the_mark_that_was_written_last() {
        let scratch = Scratch::new("anchor");
        let anchor = Anchor::at(scratch.path().with_file_name("anchor"));
        assert_eq!(anchor.read().unwrap(), None);
        for seq in [1, 7, u64::MAX, 3] {
            let mark = Mark { seq, hash: Digest([seq.to_le_bytes()[0]; 32]) };
            anchor.write(mark).unwrap();
            assert_eq!(anchor.read().unwrap(), Some(mark));
        }
        anchor.remove().unwrap();
        anchor.remove().unwrap();
        assert_eq!(anchor.read().unwrap(), None);
    }

    #[test]
    fn a_damaged_anchor_names_a_record_that_does_not_exist() {
        let scratch = Scratch::new("anchor-damaged");
        let path = scratch.path().with_file_name("anchor");
        let whole = format!("{}\n", Mark { seq: 5, hash: Digest([7; 32]) });
        for damaged in ["", &whole[1..], &whole[..85], &whole.replace('7', "x"), &whole.replace(' ', "\0")] {
            fs::write(&path, damaged).unwrap();
            let read = Anchor::at(path.clone()).read().unwrap();
            assert_eq!(read, Some(Mark { seq: u64::MAX, hash: Digest::ZERO }), "{damaged:?}");
        }
    }
}
