//! All faults of a journal whose bytes, hashes and links are good: records that contradict earlier ones, and rows that
//! differ. Verification continues after a fault, so that it reports the others too.

use std::fmt;

use super::chain::FirstBad;
use super::power::Differences;

/// The number of records that are listed; more are only counted.
const KEPT: usize = 100;

/// Records that contradict earlier ones, and rows that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inconsistencies {
    /// The first records, at most a hundred.
    pub records: Vec<FirstBad>,
    /// The number of records.
    pub count: u64,
    /// The rows.
    pub rows: Differences,
}

impl Inconsistencies {
    /// Adds a record.
    pub fn push(&mut self, bad: FirstBad) {
        self.count = self.count.saturating_add(1);
        if self.records.len() < KEPT {
            self.records.push(bad);
        }
    }

    /// Returns the result of a step. Adds an error that does not stop the verification, and returns one that does.
    pub fn pass<T>(&mut self, step: Result<T, FirstBad>) -> Result<Option<T>, FirstBad> {
        match step {
            Ok(good) => Ok(Some(good)),
            Err(bad) if bad.cause.is_of_the_replay() => {
                self.push(bad);
                Ok(None)
            }
            Err(bad) => Err(bad),
        }
    }
}

impl fmt::Display for Inconsistencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.records.first() {
            first.fmt(f)?;
        }
        match self.count.saturating_add(self.rows.count).saturating_sub(1) {
            0 => Ok(()),
            1 => f.write_str("; and one other fault"),
            more => write!(f, "; and {more} other faults"),
        }
    }
}
