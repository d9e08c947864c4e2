//! The reserve: a file of the state directory whose blocks are allocated. Only acts that end something may use this space on a full
//! file system.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::{DATABASE, Host, HostError, state_directory};
use crate::audit::{Journal, Written};
use crate::database::{Durability, WRITE_PATIENCE};
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

/// How long to wait for another process that uses the reserve. That one may itself wait for the lock of the writers.
const PATIENCE: Duration = WRITE_PATIENCE.saturating_mul(2);

/// Space of the reserve, in use by one act of this process. What this act did not use goes back when the last copy is dropped.
pub struct Loan(Rc<RefCell<Space>>);

thread_local! {
    /// The space that this process uses.
    static CURRENT: RefCell<Weak<RefCell<Space>>> = const { RefCell::new(Weak::new()) };
}

struct Space {
    file: Locked,
    next: u64,
    taken: u64,
    was_whole: bool,
}

impl Loan {
    /// Opens the reserve; `None` where another process uses it for too long. A part of an act gets the loan of the act.
    pub fn begin() -> Option<Self> {
        if let Some(space) = CURRENT.with_borrow(Weak::upgrade) {
            return Some(Self(space));
        }
        let file = lock().ok()?;
        let was_whole = file.file().metadata().is_ok_and(|found| found.len() >= RESERVE_SIZE);
        let space = Rc::new(RefCell::new(Space { file, next: FIRST_PART, taken: 0, was_whole }));
        CURRENT.set(Rc::downgrade(&space));
        Some(Self(space))
    }

    /// Frees another part of the reserve for the database. Returns false when nothing is left of it.
    pub fn take_more(&mut self) -> bool {
        let part = self.0.borrow_mut().take_part();
        // Other programs may be waiting for free space. The log of the database gets half of it at once.
        let keep = |part: u64| File::options().write(true).open(wal()).and_then(|log| allocate_behind(&log, part / 2));
        part.map(keep).is_some() // what cannot be kept for the log may be there for it nevertheless
    }

    /// Frees another part of the reserve for a file that is written in place.
    pub(super) fn take_for_file(&mut self) -> bool {
        self.0.borrow_mut().take_part().is_some()
    }
}

impl Space {
    /// Returns the size of the part that was freed.
    fn take_part(&mut self) -> Option<u64> {
        let left = self.file.file().metadata().map_or(0, |found| found.len());
        let part = left.min(self.next);
        if part == 0 || self.file.file().set_len(left - part).is_err() {
            return None;
        }
        (self.next, self.taken) = (self.next * 2, self.taken + part);
        Some(part)
    }
}

impl Drop for Space {
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
        let (taken, was_whole) = (loan.0.borrow().taken, loan.0.borrow().was_whole);
        if taken == 0 || !was_whole {
            return Ok(Vec::new());
        }
        let sentence = format!(
            "the file system of {STATE} is full: {} KiB of the reserve were freed to end grants or sessions",
            taken >> 10
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
