//! An index that does not belong to its WAL is never used: the contents of the WAL count.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::super::tests::{Scratch, count, create, insert, open};
use super::*;

/// A database with three rows that no process has open, and whose index has a note.
struct Left {
    scratch: Scratch,
}

impl Left {
    /// Returns `None` where this kernel or file system does not identify the location of a file.
    fn new(name: &str) -> Option<Self> {
        let scratch = Scratch::new(name);
        drop(create(&scratch));
        let left = Self { scratch };
        left.insert(3);
        note(&left.index())?;
        Some(left)
    }

    fn insert(&self, rows: usize) {
        let database = open(&self.scratch).unwrap();
        let before = count(&database);
        for row in 0..rows {
            insert(&database, &format!("{before} {row}")).unwrap();
        }
    }

    fn index(&self) -> PathBuf {
        beside(&self.scratch.path(), "-shm")
    }

    fn wal(&self) -> PathBuf {
        beside(&self.scratch.path(), "-wal")
    }

    /// Opens the database. Returns whether the index was used and how many rows are visible.
    fn opened(&self) -> (bool, i64) {
        let database = open(&self.scratch).unwrap();
        assert_eq!(database.integrity().unwrap(), Vec::<String>::new());
        (matches!(database.index, Index::Kept(_)), count(&database))
    }

    /// Checks that after `spoil` made WAL and index inconsistent, SQLite rebuilds the index and `rows` rows are visible, and that
    /// the next process keeps the index.
    fn is_built_after(&self, rows: i64, spoil: impl FnOnce(&Self)) {
        spoil(self);
        assert_eq!(self.opened(), (false, rows));
        assert_eq!(self.opened(), (true, rows));
    }
}

/// Runs `body` in a process of its own: a child that another test forks in this process inherits the open files, and the locks
/// with them, until it executes a program.
fn alone(test: &str, body: impl FnOnce()) {
    const ALONE: &str = "JIT_SUDO_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let name = format!("database::index::tests::{test}");
    let own = std::env::current_exe().unwrap();
    let output =
        std::process::Command::new(own).args(["--exact", &name, "--nocapture"]).env(ALONE, "").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_index_of_the_last_process_is_kept() {
    alone("the_index_of_the_last_process_is_kept", || {
        let Some(left) = Left::new("index-kept") else { return };
        let inode = || fs::metadata(left.index()).unwrap().ino();
        let before = inode();
        assert_eq!(left.opened(), (true, 3));
        left.insert(2);
        assert_eq!(left.opened(), (true, 5));
        assert_eq!(inode(), before);
    });
}

#[test]
fn an_index_that_other_processes_have_open_is_shared() {
    alone("an_index_that_other_processes_have_open_is_shared", || {
        let Some(left) = Left::new("index-shared") else { return };
        let first = open(&left.scratch).unwrap();
        let second = open(&left.scratch).unwrap();
        assert!(matches!((&first.index, &second.index), (Index::Kept(_), Index::Shared)));
        insert(&first, "seen by the other").unwrap();
        assert_eq!(count(&second), 4);
    });
}

#[test]
fn an_index_of_another_boot_or_file_is_rebuilt() {
    alone("an_index_of_another_boot_or_file_is_rebuilt", || {
        let Some(left) = Left::new("index-noted") else { return };
        let noted = |note: &str| write_note(&left.index(), NOTE, note.as_bytes()).unwrap();
        let place = place(&left.index()).unwrap().unwrap();
        let boot = sys::time::boot_id().unwrap();
        left.is_built_after(3, |_| {
            noted(&format!("00000000-0000-0000-0000-000000000000 {} {}", place.mount, place.inode))
        });
        left.is_built_after(3, |_| noted(&format!("{boot} {} {}", place.mount + 1, place.inode)));
        left.is_built_after(3, |_| noted(&format!("{boot} {} {}", place.mount, place.inode + 1)));
        left.is_built_after(3, |_| noted(""));
        left.is_built_after(3, |left| {
            let bytes = fs::read(left.index()).unwrap();
            fs::remove_file(left.index()).unwrap();
            fs::write(left.index(), bytes).unwrap();
            fs::set_permissions(left.index(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        });
        left.is_built_after(3, |left| fs::remove_file(left.index()).unwrap());
    });
}

#[test]
fn an_index_of_another_wal_is_rebuilt() {
    alone("an_index_of_another_wal_is_rebuilt", || {
        let Some(left) = Left::new("index-wal") else { return };
        // A backup of one file with a later or earlier state of the other.
        left.is_built_after(5, |left| {
            let before = fs::read(left.index()).unwrap();
            left.insert(2);
            fs::write(left.index(), before).unwrap();
        });
        left.is_built_after(5, |left| {
            let before = fs::read(left.wal()).unwrap();
            left.insert(2);
            fs::write(left.wal(), before).unwrap();
        });
        // A WAL that has been reset since, at the same length.
        left.is_built_after(9, |left| {
            let before = fs::read(left.index()).unwrap();
            let database = open(&left.scratch).unwrap();
            database.connection().query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
            drop(database);
            left.insert(4);
            fs::write(left.index(), before).unwrap();
        });
    });
}

#[test]
fn an_incomplete_commit_is_not_visible() {
    alone("an_incomplete_commit_is_not_visible", || {
        let Some(left) = Left::new("index-cut") else { return };
        let before = fs::metadata(left.wal()).unwrap().len();
        left.insert(1);
        let wal = OpenOptions::new().write(true).open(left.wal()).unwrap();
        assert!(wal.metadata().unwrap().len() > before);
        wal.set_len(wal.metadata().unwrap().len() - 1).unwrap();
        assert_eq!(left.opened(), (false, 3));
        // The first pages of the commit are still there, and could belong to a commit until the next one overwrites them.
        assert_eq!(left.opened(), (false, 3));
        left.insert(1);
        assert_eq!(left.opened(), (true, 4));
    });
}

#[test]
fn an_index_with_checkpointed_frames_is_rebuilt() {
    alone("an_index_with_checkpointed_frames_is_rebuilt", || {
        let Some(left) = Left::new("index-moved") else { return };
        // A copy of the database from before a checkpoint, with index and WAL from after it.
        let before = fs::read(left.scratch.path()).unwrap();
        left.is_built_after(6, |left| {
            left.insert(3);
            let database = open(&left.scratch).unwrap();
            database.connection().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
            drop(database);
            assert_ne!(fs::read(left.scratch.path()).unwrap(), before);
            fs::write(left.scratch.path(), &before).unwrap();
        });
        left.insert(1);
        assert_eq!(left.opened(), (true, 7));
    });
}

#[test]
fn an_inconsistent_index_is_rebuilt_by_the_next_process() {
    alone("an_inconsistent_index_is_rebuilt_by_the_next_process", || {
        let Some(left) = Left::new("index-senseless") else { return };
        // The hash table by which pages are found in the WAL.
        let table = OpenOptions::new().write(true).open(left.index()).unwrap();
        table.write_all_at(&[0; 16 << 10], 16 << 10).unwrap();
        drop(table);
        assert_eq!(left.opened(), (false, 3));
        assert_eq!(left.opened(), (true, 3));
    });
}

#[test]
fn a_damaged_index_is_rebuilt() {
    alone("a_damaged_index_is_rebuilt", || {
        let Some(left) = Left::new("index-damaged") else { return };
        let change = |at: u64, bytes: &[u8]| {
            OpenOptions::new().write(true).open(left.index()).unwrap().write_all_at(bytes, at).unwrap();
        };
        left.is_built_after(3, |_| change(60, &[0xff; 4])); // the copies of the header differ
        left.is_built_after(3, |_| [0, 48].iter().for_each(|at| change(*at, &[1, 2, 3, 4]))); // another version
        left.is_built_after(3, |_| [12, 60].iter().for_each(|at| change(*at, &[0]))); // not begun
        left.is_built_after(3, |_| [16, 64].iter().for_each(|at| change(*at, &5_000_u32.to_ne_bytes()))); // more than fit
        left.is_built_after(3, |left| File::create(left.index()).unwrap().set_len(3).unwrap());
        left.is_built_after(3, |left| {
            OpenOptions::new().write(true).open(left.index()).unwrap().set_len(4096).unwrap();
        });
    });
}
