//! The slots of users: at most N processes work for one user at a time. Each slot is a POSIX lock on a byte of a file, which the
//! kernel releases when the process is killed, even if a user keeps it from ending.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use super::{Host, HostError, STATE};
use crate::audit::{Journal, Written};
use jit_core::budget::{BROKERS, COUNTING, COUNTING_TAKES, ProcessLimit, RUNS};
use jit_core::evidence::record::Reject;
use jit_core::names::Person;
use sys::lock::{self, claim_one, release};

/// The file with the locks. It stays empty.
const SLOTS: &str = "slots";

/// The offset of the first slot: the sessions of host programs have the bytes before it.
const TURNS: i64 = 1 << 50;

/// The number of bytes between the slots of one user and those of the next: more than one user can have.
const APART: i64 = 1 << 16;

/// The work for which a slot is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Answering a question, or waiting for the answer.
    Question,
    /// Running a command, or waiting for a password or an approval before.
    Run,
    /// Counting a rejection that has no record of its own.
    Counting,
    /// Recording that a limit was reached.
    Telling,
}

impl Work {
    /// Returns the offset of its first slot within the user's range, and the number of slots.
    fn slots(self) -> (i64, u32) {
        match self {
            Self::Question => (0, BROKERS),
            Self::Run => (1 << 12, RUNS),
            Self::Counting => (1 << 15, COUNTING),
            Self::Telling => ((1 << 15) + (1 << 14), 1),
        }
    }
}

/// A claimed slot, held until it is dropped or the process ends.
#[must_use]
pub struct Slot(Option<(&'static File, i64)>);

impl Drop for Slot {
    fn drop(&mut self) {
        let _ = self.0.map(|(file, at)| release(file, at)); // otherwise the end of the process does
    }
}

impl Slot {
    /// Claims a slot for this user; returns `None` where all are taken. There is no limit for root, nor on a host that is not set
    /// up.
    ///
    /// # Errors
    /// Fails when fcntl(2) fails.
    pub fn claim(uid: u32, work: Work) -> io::Result<Option<Self>> {
        let Some(file) = slots().filter(|_| uid != 0) else { return Ok(Some(Self(None))) };
        let (place, count) = work.slots();
        let first = TURNS.saturating_add(i64::from(uid).saturating_mul(APART)).saturating_add(place);
        Ok(claim_one(file, first, count)?.map(|at| Self(Some((file, at)))))
    }
}

impl Host {
    /// Records that a request of `person` was rejected. Rejections beyond the person's budget are only counted, which takes the
    /// write lock that other processes wait for. So counting needs a slot, which is held for longer than the write takes; where
    /// all slots are taken the rejection is not even counted.
    pub fn reject(&self, journal: &Journal<'_>, person: &Person, reject: Reject) -> Result<Vec<Written>, HostError> {
        let moment = self.clocks()?;
        if person.uid == 0 || !journal.only_counts(&moment, person, &reject)? {
            return Ok(journal.reject(&moment, person, reject)?);
        }
        let failed = |error| HostError::System("count the turns of users", error);
        let Some(_turn) = Slot::claim(person.uid, Work::Counting).map_err(failed)? else { return Ok(Vec::new()) };
        let written = journal.reject(&moment, person, reject)?;
        std::thread::sleep(COUNTING_TAKES);
        Ok(written)
    }

    /// Records, at most once a day, that `person` has reached a limit on processes.
    ///
    /// # Errors
    /// Fails when the journal cannot be written.
    pub fn tell_limit(&self, journal: &Journal<'_>, person: &Person, limit: ProcessLimit) -> Result<(), HostError> {
        let written = journal.tell_limit(&self.clocks()?, person, limit)?;
        let _ = journal.mirror(&written); // the journal has it; a sink never decides
        Ok(())
    }

    /// Does the same on the host called `name` for a process beyond that limit. Of a flood of such processes only one at a time uses
    /// the database, and not all the time.
    ///
    /// # Errors
    /// As [`Self::tell_limit`].
    pub fn tell_of_flood(name: &str, person: &Person, limit: ProcessLimit) -> Result<(), HostError> {
        let failed = |error| HostError::System("count the turns of users", error);
        let Some(_turn) = Slot::claim(person.uid, Work::Telling).map_err(failed)? else { return Ok(()) };
        let host = Self::open(name)?;
        let policy = host.last_policy()?;
        host.tell_limit(&host.journal(&policy.settings().audit), person, limit)?;
        std::thread::sleep(COUNTING_TAKES);
        Ok(())
    }
}

/// Opens the file that holds the locks, once: to close it would release those of this process. `None` on a host that is not set up.
/// The directory is checked when the database is opened.
pub fn slots() -> Option<&'static File> {
    static OPEN: OnceLock<File> = OnceLock::new();
    if let Some(file) = OPEN.get() {
        return Some(file);
    }
    let file = lock::open(&Path::new(STATE).join(SLOTS)).ok()?;
    Some(OPEN.get_or_init(|| file))
}
