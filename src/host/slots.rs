//! The turns of users: at most so many processes of ours work for one of them at a time. Each is a lock on a byte of the bell's file,
//! which the kernel gives back when the process ends.

use std::io;

use super::{BELL, Host, HostError, state_directory};
use crate::audit::{Journal, Written};
use jit_core::budget::{BROKERS, COUNTING, COUNTING_TAKES};
use jit_core::evidence::record::Reject;
use jit_core::names::Person;
use sys::bell::Bell;
use sys::lock::claim_one;

/// Where the turns begin: behind everything that could be written there.
const TURNS: i64 = 1 << 50;

/// The turns of one user are so many bytes apart from those of the next: more than anybody may have.
const APART: i64 = 1 << 16;

/// For what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// To answer a question, or to wait for the answer.
    Question,
    /// To count a refusal that is not recorded by itself.
    Counting,
}

impl Work {
    /// Where its turns begin, from the first of the user's own, and how many there are.
    fn slots(self) -> (i64, u32) {
        match self {
            Self::Question => (0, BROKERS),
            Self::Counting => (1 << 15, COUNTING),
        }
    }
}

/// One of them, until it is dropped or the process ends.
#[must_use]
pub struct Slot(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] Option<Bell>);

impl Slot {
    /// For this user; nothing where all are taken. For root there is no limit; on a host that is not set up there is nothing to wait
    /// for.
    ///
    /// # Errors
    /// Whatever fcntl(2) says.
    pub fn claim(uid: u32, work: Work) -> io::Result<Option<Self>> {
        let Some(file) = slots().filter(|_| uid != 0) else { return Ok(Some(Self(None))) };
        let (place, count) = work.slots();
        let first = TURNS.saturating_add(i64::from(uid).saturating_mul(APART)).saturating_add(place);
        Ok(claim_one(&file, first, count)?.then_some(Self(Some(file))))
    }
}

impl Host {
    /// Records that `person` was refused something. What their budget does not record one by one is counted, which takes the lock
    /// that others wait for: so it has its turn, for longer than that takes, and where all turns are taken it is not even counted.
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
}

/// The file on which they are locks; `None` on a host that is not set up.
pub fn slots() -> Option<Bell> {
    state_directory().ok().and_then(|state| Bell::open(&state.path().join(BELL)).ok())
}
