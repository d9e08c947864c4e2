//! What one user may cost others: the limits of everything that an unprivileged person can cause to be stored or held.
//! May not: know a table of the database, a clock or the policy. Each limit has its sentence in docs/man/jit-sudo-policy.5.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest command of a request, in bytes of all its words, variables and its directory as they are written
/// (escaped). A longer one is refused and not cut: an approver must be able to read what an exact grant binds.
pub const REQUEST_WORDS: usize = 64 << 10;

/// The longest words of a refusal that are recorded, in bytes as they are written (escaped); of more the digest is.
pub const REFUSED_WORDS: usize = 4 << 10;

/// The longest sentence of a refusal that is recorded, and the longest name of a run-as user, in bytes as written.
pub const REFUSED_SENTENCE: usize = 1 << 10;

/// So much of a command a listing shows, in bytes as written; `jitctl show` has all of it.
pub const LISTED_WORDS: usize = 1 << 10;

/// After so many bytes of entries the broker ends a page of a listing.
pub const PAGE: usize = 1 << 20;

/// How much one user may cause to be stored; `user_storage` and `user_storage_per_day` of `[audit]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// At once, in bytes.
    pub at_once: u64,
    /// So many bytes of it become free again within a day, evenly; at least 1.
    pub per_day: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self { at_once: 2 << 20, per_day: 32 << 20 }
    }
}

impl Storage {
    /// How full the bucket may be before refusals are no longer recorded one by one.
    pub fn for_refusals(&self) -> u64 {
        self.at_once / REFUSALS_SHARE
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB at once, {} KiB a day", self.at_once >> 10, self.per_day >> 10)
    }
}

/// How much of the disk the recordings of one user may take; `user_recordings` and `user_recordings_per_day` of `[audit]`.
pub const RECORDINGS: Storage = Storage { at_once: 4 << 30, per_day: 4 << 30 };

/// So much of each session is recorded whatever its user has used up, in bytes: nobody goes on unrecorded by that.
pub const RECORDED_ALWAYS: u64 = 16 << 10;

/// Refusals stop being recorded one by one at this part of [`Storage::at_once`]: they never use up what requests need.
const REFUSALS_SHARE: u64 = 8;

/// The least that a record costs: the row, its indexes and the lines in the log sinks.
const LEAST: u64 = 4 << 10;

/// What all files that are edited at once may have together, in bytes: they are held in memory until they are written back.
pub const EDITED: usize = 64 << 20;

/// The time within which the broker must have its question, in seconds.
pub const QUESTION_WITHIN: u64 = 10;

/// The most processes of the broker that work or wait for one user.
pub const BROKERS: u32 = 64;

/// The most processes and threads that supervise one user's runs, or work for them, in a group of their own. Beyond it a run has no
/// enforcer, and one on a terminal does not begin.
pub const SETTLED: u32 = 1024;

/// The most refusals of one user that are counted at the same time, and for how long each of them has its turn. With the storage they
/// are a budget of time under the lock that others wait for: some three hundredths of it.
pub const COUNTING: u32 = 2;

/// See [`COUNTING`].
pub const COUNTING_TAKES: Duration = Duration::from_millis(20);

/// What a record of `bytes` costs: it stands in the journal and in a log sink.
pub fn cost_of_record(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2).max(LEAST)
}

/// What a request whose terms have `bytes` costs: it is stored, recorded, and stored again in its grant.
pub fn cost_of_request(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(3).saturating_add(2 * LEAST)
}

/// A bucket that leaks evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// How full it is, in bytes.
    pub bytes: u64,
    /// When it was, in µs since boot.
    pub at: i64,
}

impl Level {
    /// As it is at `now`, in µs since boot.
    pub fn leaked(self, now: i64, storage: &Storage) -> Self {
        let passed = u64::try_from(now.saturating_sub(self.at)).unwrap_or(0);
        let gone = u128::from(passed) * u128::from(storage.per_day) / 86_400_000_000;
        Self { bytes: self.bytes.saturating_sub(u64::try_from(gone).unwrap_or(u64::MAX)), at: now.max(self.at) }
    }

    /// With `cost` in it, where it is then no fuller than `most`.
    pub fn with(self, cost: u64, most: u64) -> Option<Self> {
        let bytes = self.bytes.saturating_add(cost);
        (bytes <= most).then_some(Self { bytes, ..self })
    }

    /// How long until there is room for `cost`, in seconds.
    pub fn wait_for(self, cost: u64, storage: &Storage) -> u64 {
        let over = self.bytes.saturating_add(cost).saturating_sub(storage.at_once);
        over.saturating_mul(86_400).div_ceil(storage.per_day.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_takes_more_when_it_has_leaked() {
        let storage = Storage::default();
        let full = Level { bytes: storage.at_once, at: 5 };
        assert_eq!(full.with(1, storage.at_once), None);
        let cost = cost_of_request(1000);
        let wait = full.wait_for(cost, &storage);
        let later = full.leaked(5 + i64::try_from(wait).unwrap() * 1_000_000, &storage);
        assert!(later.with(cost, storage.at_once).is_some(), "{wait}");
        assert_eq!(full.leaked(0, &storage), full, "a clock that stands gives nothing away");
        assert_eq!(full.leaked(i64::MAX, &storage).bytes, 0);
    }

    #[test]
    fn the_longest_request_fits_into_an_empty_bucket() {
        assert!(cost_of_request(REQUEST_WORDS * 5 / 4 + (64 << 10)) <= Storage::default().at_once);
    }
}
