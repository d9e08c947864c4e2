//! What host keys have signed that do not count so far. A later rotation to a key that counts makes them count; then each of their
//! signatures must be right.

use super::faults::FirstBad;
use super::signed::Signed;
use crate::grant::PublicKey;

/// The signatures of such keys.
#[derive(Debug, Default)]
pub(super) struct Foreign(Vec<By>);

/// Those of one key; `None` if the key is not known.
#[derive(Debug)]
struct By {
    key: Option<PublicKey>,
    count: u64,
    /// The last of them, and the number of records up to it.
    last: (Signed, u64),
    /// The first that is not right.
    bad: Option<FirstBad>,
}

impl Foreign {
    /// Adds a signature by this host key. `records`: the number of records up to it.
    pub(super) fn add(&mut self, key: Option<&PublicKey>, signed: Signed, records: u64, checked: Result<(), FirstBad>) {
        let at = match self.0.iter().position(|by| by.key.as_ref() == key) {
            Some(at) => at,
            None => {
                self.0.push(By { key: key.cloned(), count: 0, last: (signed.clone(), records), bad: None });
                self.0.len().saturating_sub(1)
            }
        };
        let Some(by) = self.0.get_mut(at) else { return };
        by.count = by.count.saturating_add(1);
        by.last = (signed, records);
        by.bad = by.bad.take().or(checked.err());
    }

    /// Removes the signatures of the keys that count now. Returns the last of them.
    pub(super) fn vouched(&mut self, counts: impl Fn(&PublicKey) -> bool) -> Result<Option<(Signed, u64)>, FirstBad> {
        let (now, rest): (Vec<By>, Vec<By>) =
            std::mem::take(&mut self.0).into_iter().partition(|by| by.key.as_ref().is_some_and(&counts));
        self.0 = rest;
        match now.iter().filter_map(|by| by.bad.as_ref()).min_by_key(|bad| bad.seq) {
            Some(bad) => Err(bad.clone()),
            None => Ok(now.into_iter().map(|by| by.last).max_by_key(|(signed, _)| signed.through)),
        }
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|by| by.count).sum()
    }

    /// Returns the last record that one of them signs.
    pub(super) fn last(&self) -> Option<u64> {
        self.0.iter().map(|by| by.last.0.through).max()
    }
}
