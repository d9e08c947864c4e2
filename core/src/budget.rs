//! The limits on everything that an unprivileged user can cause to be stored or held. This module knows no table of the
//! database, no clock and no policy. docs/man/jit-sudo-policy.5 documents each limit.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The maximum size of the command of a request, in bytes of all its arguments, variables and its directory as they are
/// written (escaped). A longer one is rejected and not truncated: an approver must be able to read what an exact grant
/// covers.
pub const REQUEST_WORDS: usize = 64 << 10;

/// The maximum size of the arguments that the record of a refusal contains, in bytes as they are written (escaped); for
/// longer ones it contains the digest.
pub const REFUSED_WORDS: usize = 4 << 10;

/// The maximum length of the message in the record of a refusal, and of the name of a run-as user, in bytes as written.
pub const REFUSED_SENTENCE: usize = 1 << 10;

/// How much of a command a listing shows, in bytes as written; `jitctl show` shows all of it.
pub const LISTED_WORDS: usize = 1 << 10;

/// The broker ends a page of a listing after this many bytes of entries.
pub const PAGE: usize = 1 << 20;

/// How much one user may cause to be stored: `user_storage` and `user_storage_per_day` of `[audit]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// The capacity, in bytes.
    pub at_once: u64,
    /// How many bytes of it become free again within a day, evenly; at least 1.
    pub per_day: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self { at_once: 2 << 20, per_day: 32 << 20 }
    }
}

impl Storage {
    /// Returns the level up to which refusals are recorded one by one.
    pub fn for_refusals(&self) -> u64 {
        self.at_once / REFUSALS_SHARE
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB at once, {} KiB a day", self.at_once >> 10, self.per_day >> 10)
    }
}

/// How much disk space the recordings of one user may take: `user_recordings` and `user_recordings_per_day` of
/// `[audit]`.
pub const RECORDINGS: Storage = Storage { at_once: 4 << 30, per_day: 4 << 30 };

/// How much of each session is recorded even when its user has used up the limit, in bytes, so that no session goes
/// unrecorded.
pub const RECORDED_ALWAYS: u64 = 16 << 10;

/// The divisor of [`Storage::at_once`] at which refusals are no longer recorded one by one, so that they never use up
/// what requests need.
const REFUSALS_SHARE: u64 = 8;

/// The minimum cost of a record: the row, its indexes and the lines in the log sinks.
const LEAST: u64 = 4 << 10;

/// The maximum size of all files that are edited at once, in bytes: they are held in memory until they are written
/// back.
pub const EDITED: usize = 64 << 20;

/// The timeout within which the broker must receive a question, in seconds.
pub const QUESTION_WITHIN: u64 = 10;

/// The maximum number of broker processes that work or wait for one user.
pub const BROKERS: u32 = 64;

/// The maximum number of runs of one user at the same time, with those that wait for a password or an approval. All of them together
/// need fewer processes than [`SETTLED`].
pub const RUNS: u32 = 200;

/// The maximum number of processes and threads that supervise one user's runs, or work for them, in a control group of
/// their own. Beyond it a run has no enforcer, and a run on a terminal does not start.
pub const SETTLED: u32 = 1536;

/// A limit on the processes that work for one user at the same time. An alert is recorded when it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessLimit {
    /// [`BROKERS`].
    Questions,
    /// [`RUNS`].
    Runs,
    /// [`SETTLED`], or a limit of the host.
    Supervisors,
}

impl ProcessLimit {
    /// Returns its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Questions => "questions",
            Self::Runs => "runs",
            Self::Supervisors => "processes",
        }
    }
}

impl fmt::Display for ProcessLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Questions => write!(f, "questions ({BROKERS} at once)"),
            Self::Runs => write!(f, "runs ({RUNS} at once)"),
            Self::Supervisors => {
                write!(f, "processes that supervise runs ({SETTLED}, or fewer by a limit of the host)")
            }
        }
    }
}

/// The maximum number of refusals of one user that are counted at the same time; each takes at most [`COUNTING_TAKES`].
/// Together with the storage limit this bounds the time for which they hold the lock that others wait for, to about
/// three hundredths.
pub const COUNTING: u32 = 2;

/// The time for which the counting of one refusal may hold the lock, see [`COUNTING`].
pub const COUNTING_TAKES: Duration = Duration::from_millis(20);

/// Returns the cost of a record of `bytes`: it is stored in the journal and in a log sink.
pub fn cost_of_record(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2).max(LEAST)
}

/// Returns the cost of a request whose terms have `bytes`: it is stored, recorded, and stored again in its grant.
pub fn cost_of_request(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(3).saturating_add(2 * LEAST)
}

/// The level of a bucket that leaks evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The level, in bytes.
    pub bytes: u64,
    /// The time of that level, in µs since boot.
    pub at: i64,
}

impl Level {
    /// Returns the level at `now`, in µs since boot.
    pub fn leaked(self, now: i64, storage: &Storage) -> Self {
        let passed = u64::try_from(now.saturating_sub(self.at)).unwrap_or(0);
        let gone = u128::from(passed) * u128::from(storage.per_day) / 86_400_000_000;
        Self { bytes: self.bytes.saturating_sub(u64::try_from(gone).unwrap_or(u64::MAX)), at: now.max(self.at) }
    }

    /// Returns the level with `cost` added, unless it would exceed `most`.
    pub fn with(self, cost: u64, most: u64) -> Option<Self> {
        let bytes = self.bytes.saturating_add(cost);
        (bytes <= most).then_some(Self { bytes, ..self })
    }

    /// Returns the time until there is room for `cost`, in seconds.
    pub fn wait_for(self, cost: u64, storage: &Storage) -> u64 {
        let over = self.bytes.saturating_add(cost).saturating_sub(storage.at_once);
        over.saturating_mul(86_400).div_ceil(storage.per_day.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_accepts_more_after_it_has_leaked() {
        let storage = Storage::default();
        let full = Level { bytes: storage.at_once, at: 5 };
        assert_eq!(full.with(1, storage.at_once), None);
        let cost = cost_of_request(1000);
        let wait = full.wait_for(cost, &storage);
        let later = full.leaked(5 + i64::try_from(wait).unwrap() * 1_000_000, &storage);
        assert!(later.with(cost, storage.at_once).is_some(), "{wait}");
        assert_eq!(full.leaked(0, &storage), full, "a stopped clock frees nothing");
        assert_eq!(full.leaked(i64::MAX, &storage).bytes, 0);
    }

    #[test]
    fn the_longest_request_fits_into_an_empty_bucket() {
        assert!(cost_of_request(REQUEST_WORDS * 5 / 4 + (64 << 10)) <= Storage::default().at_once);
    }
}
