//! The anchor: number and hash of the last synced record, in a file of its own. A database that lacks this record is an
//! older copy, and so is one without an anchor that has records that gave power. The anchor is created durably before its
//! database, and names that database; it is then written in place without a sync after each synced commit, so that it may
//! lag behind the database, but never runs ahead and is never missing.
//! It cannot detect that the whole state directory was restored, with the anchor: only a chain head off this host can.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::audit::sink::{Backlog, Delivery, Sink};
use crate::audit::{Sent, Traces, Written};
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

    /// Returns its content; `None` if it is missing. A damaged anchor yields the number of a record that no journal has.
    pub(super) fn read(&self) -> io::Result<Option<Mark>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(Mark::parse(&bytes).unwrap_or(Mark { seq: u64::MAX, hash: Digest::ZERO }))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Does not create a missing anchor: its absence was reported, or will be.
    fn write(&self, mark: Mark) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        file.write_all_at(format!("{mark}\n").as_bytes(), 0)
    }
}

/// What the state directory contains of records besides the database: the anchor, and how far each log sink has got.
pub(super) struct StateTraces {
    state: PathBuf,
}

impl StateTraces {
    pub(super) fn of(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }
}

impl Traces for StateTraces {
    fn anchor(&self) -> Option<Mark> {
        // An anchor that cannot be read is reported where it is compared with the database.
        Anchor::at(self.state.join(super::ANCHOR)).read().ok().flatten()
    }

    fn sent(&self) -> Vec<Sent> {
        let Ok(files) = fs::read_dir(&self.state) else { return Vec::new() };
        let mut sent: Vec<Sent> = files
            .flatten()
            .filter_map(|file| {
                let name = file.file_name();
                Sent::parse(name.to_str()?.strip_prefix("sent-")?, &fs::read(file.path()).ok()?)
            })
            .collect();
        sent.sort_by(|one, other| one.sink.cmp(&other.sink));
        sent
    }
}

/// Follows the head of the journal. If a write fails, the anchor lags behind, which does no harm.
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
        assert!(
            anchor.write(Mark { seq: 1, hash: Digest::ZERO }).is_err(),
            "what is missing stays so until that is told"
        );
        assert_eq!(anchor.read().unwrap(), None);
        fs::write(scratch.path().with_file_name("anchor"), "").unwrap();
        for seq in [1, 7, u64::MAX, 3] {
            let mark = Mark { seq, hash: Digest([seq.to_le_bytes()[0]; 32]) };
            anchor.write(mark).unwrap();
            assert_eq!(anchor.read().unwrap(), Some(mark));
        }
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
