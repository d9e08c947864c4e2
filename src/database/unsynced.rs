//! [`Unsynced`]: a commit that the disk may not have written yet. The process that waits for the disk is the one that must not go
//! on without it, and others work meanwhile.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use super::DatabaseError;

/// A commit that may not be on the disk yet; the disk has begun to write it.
#[must_use = "what depends on the commit waits for the disk"]
#[derive(Debug)]
pub struct Unsynced {
    wal: File,
    path: PathBuf,
    is_synced: Cell<bool>,
}

impl Unsynced {
    pub(super) fn new(wal: File, path: PathBuf) -> Self {
        sys::disk::write_out(&wal);
        Self { wal, path, is_synced: Cell::new(false) }
    }

    /// Waits until the commit is on the disk.
    pub fn sync(&self) -> Result<(), DatabaseError> {
        self.sync_data().map_err(|error| DatabaseError::File(self.path.clone(), error))
    }

    /// Does the same; the error does not name the file.
    pub fn sync_data(&self) -> io::Result<()> {
        if !self.is_synced.get() {
            self.wal.sync_data()?;
            self.is_synced.set(true);
        }
        Ok(())
    }

    /// Returns the file that still must be synced; `None` if that was done.
    pub fn pending(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_synced.get()).then(|| self.wal.as_fd())
    }

    /// Records that another process has synced the file that [`Self::pending`] returned.
    pub fn was_synced(&self) {
        self.is_synced.set(true);
    }
}
