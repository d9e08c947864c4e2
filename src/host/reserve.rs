//! The reserve: a file of the state directory whose blocks are allocated. Only acts that end something may use this space on a full
//! file system.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DATABASE, Host, HostError, state_directory};
use crate::audit::{Journal, Written};
use crate::database::Durability;
use jit_core::evidence::record::{Alert, Event};
use jit_core::places::STATE;
use sys::disk::{allocate, allocate_behind, allocated};
use sys::lock::Locked;

/// The name of the file.
pub const RESERVE: &str = "reserve";

/// Its size in bytes: about a thousand grants are ended in so much space.
pub const RESERVE_SIZE: u64 = 4 << 20;

/// The size of the first part that is taken out of it. Each further part is twice as large.
const FIRST_PART: u64 = 64 << 10;

/// How long to wait for another process that uses the reserve.
const PATIENCE: Duration = Duration::from_secs(5);

/// Space of the reserve, in use by one act. What this act did not use goes back when the value is dropped.
pub struct Loan {
    file: Locked,
    next: u64,
    taken: u64,
    was_whole: bool,
}

impl Loan {
    /// Opens the reserve; `None` where another process uses it for too long.
    pub fn begin() -> Option<Self> {
        let file = lock().ok()?;
        let was_whole = file.file().metadata().is_ok_and(|found| found.len() >= RESERVE_SIZE);
        Some(Self { file, next: FIRST_PART, taken: 0, was_whole })
    }

    /// Frees another part of the reserve. Returns false when nothing is left of it.
    pub fn take_more(&mut self) -> bool {
        let left = self.file.file().metadata().map_or(0, |found| found.len());
        let part = left.min(self.next);
        if part == 0 || self.file.file().set_len(left - part).is_err() {
            return false;
        }
        // Other programs may be waiting for free space. The log of the database gets half of it at once.
        let _ = File::options().write(true).open(wal()).and_then(|log| allocate_behind(&log, part / 2));
        (self.next, self.taken) = (self.next * 2, self.taken + part);
        true
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let _ = allocate(self.file.file(), RESERVE_SIZE); // otherwise the sweep does
    }
}

/// Makes the reserve where it is missing, and allocates what is missing of it, as far as there is room. `jitctl doctor` reports a
/// reserve that is not whole.
pub(super) fn fill() {
    let _ = lock().and_then(|file| allocate(file.file(), RESERVE_SIZE));
}

impl Host {
    /// Allocates what is missing of the reserve. Returns its size, in bytes.
    pub fn fill_reserve(&self) -> u64 {
        fill();
        self.reserved()
    }

    /// Returns how much space the reserve holds, in bytes. Not while this process has a [`Loan`]: closing the file would release its
    /// lock.
    pub fn reserved(&self) -> u64 {
        place().and_then(File::open).and_then(|file| allocated(&file)).unwrap_or(0)
    }

    /// Records that the reserve was used. While it is not whole again, further uses are not recorded.
    pub fn tell_loan(&self, journal: &Journal<'_>, loan: &Loan) -> Result<Vec<Written>, HostError> {
        if loan.taken == 0 || !loan.was_whole {
            return Ok(Vec::new());
        }
        let sentence = format!(
            "the file system of {STATE} is full: {} KiB of the reserve were freed to end grants or sessions",
            loan.taken >> 10
        );
        let alert = Alert::new("reserve-used", sentence);
        let moment = self.clocks()?;
        let append = |tx: &rusqlite::Transaction<'_>| journal.append(tx, &moment, Event::Alert(Box::new(alert)));
        Ok(vec![self.database.write(Durability::Ordered, append)?])
    }
}

fn lock() -> io::Result<Locked> {
    Locked::at(&place()?, PATIENCE)
}

fn place() -> io::Result<PathBuf> {
    let state = state_directory().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(state.path().join(RESERVE))
}

fn wal() -> PathBuf {
    Path::new(STATE).join(format!("{DATABASE}-wal"))
}
