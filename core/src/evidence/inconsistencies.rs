//! All that is wrong with a journal whose bytes, hashes and links are good: what records say that may not follow those before them,
//! and rows that say something else. One fault blinds nobody for the others.

use std::fmt;

use super::chain::FirstBad;
use super::power::Differences;

/// So many records are kept; the others are counted.
const KEPT: usize = 100;

/// Records that say what may not be so, and rows that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inconsistencies {
    /// The records, the first first: at most a hundred of them.
    pub records: Vec<FirstBad>,
    /// How many there are.
    pub count: u64,
    /// The rows.
    pub rows: Differences,
}

impl Inconsistencies {
    /// One more record.
    pub fn push(&mut self, bad: FirstBad) {
        self.count = self.count.saturating_add(1);
        if self.records.len() < KEPT {
            self.records.push(bad);
        }
    }

    /// What a step gave, where it was good; only what does not follow at all stops the walk.
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
