//! Heads elsewhere without a signature. Any user can write such lines into syslog, so they are compared, and decide nothing.

use super::fork_event::Fork;
use super::forks::{Forks, Heads};
use super::mark::Mark;
use super::tree_check::Compared;

/// The heads that are still to be compared, and those that were.
#[derive(Debug, Default)]
pub(super) struct Unsigned {
    heads: Heads,
    forks: Forks,
    agreed: Option<u64>,
    disagreeing: u64,
    first: Option<u64>,
}

impl Unsigned {
    /// Begins with these heads. `after`: the number before the first record.
    pub(super) fn new(heads: Vec<Mark>, after: u64) -> Self {
        let heads = Forks::heads(heads).split_off(&after.saturating_add(1));
        Self { heads, ..Self::default() }
    }

    /// Adds a record.
    pub(super) fn record(&mut self, last: Mark, fork: Option<&Fork>, body: &[u8]) {
        if self.heads.is_empty() && fork.is_none() {
            return;
        }
        if let Some(Err(bad)) = fork.map(|fork| self.forks.fork(last.seq, fork, body, &mut self.heads)) {
            self.disagrees(bad.seq);
        }
        match self.heads.remove(&last.seq) {
            Some(heads) if heads.iter().any(|head| *head != last.hash) => self.forks.differ(last.seq, heads),
            Some(_) => self.agreed = Some(last.seq),
            None => {}
        }
    }

    fn disagrees(&mut self, seq: u64) {
        self.disagreeing = self.disagreeing.saturating_add(1);
        self.first = Some(self.first.map_or(seq, |first| first.min(seq)));
    }

    /// Ends the comparison, and adds its result. Returns for each fork its number, and the first and last of these heads that belong
    /// to the lost branch.
    pub(super) fn end(mut self, found: &mut Compared) -> Vec<(u64, (u64, u64))> {
        let beyond: Vec<u64> = self.heads.keys().chain(self.forks.differing_heads().keys()).copied().collect();
        beyond.into_iter().for_each(|seq| self.disagrees(seq));
        (found.unsigned, found.disagreeing, found.first_disagreeing) = (self.agreed, self.disagreeing, self.first);
        self.forks.found().into_iter().filter_map(|fork| Some((fork.seq, fork.elsewhere?))).collect()
    }
}
