//! Forks: where the database lacks records that existed, the journal goes on behind every number that they may have, so that no
//! number occurs twice, and a record names the branch that was lost.
//! May not: read a file; what is left outside the database comes in through [`Traces`].

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::columns::sql_bound;
use super::error::JournalError;
use super::fault::Fault;
use super::history::last;
use super::journal::{Journal, Written};
use super::prune::pruned;
use jit_core::clock::Moment;
use jit_core::evidence::Mark;
use jit_core::evidence::fork_event::{MARGIN, WIDE_MARGIN};
use jit_core::evidence::record::{Event, Fork, LostHead};

/// What is left of the records outside the database.
pub trait Traces {
    /// Returns the anchor; `None` if it is missing. A damaged one has the number `u64::MAX`.
    fn anchor(&self) -> Option<Mark>;

    /// Returns the last record that each log sink got, with the name of the sink.
    fn sent(&self) -> Vec<(String, Mark)>;
}

/// Returns whether the database has this record, or had it before a pruning. Ignores what cannot be decoded, which a verification
/// reports.
pub(super) fn has(connection: &Connection, mark: Mark) -> rusqlite::Result<bool> {
    if let Some(pruned) = pruned(connection).ok().flatten().filter(|pruned| mark.seq <= pruned.seq) {
        // The mark lags behind: the pruning is newer.
        return Ok(mark.seq < pruned.seq || mark.hash == pruned.hash);
    }
    holds(connection, mark)
}

/// Whether the database has this record now.
pub(super) fn holds(connection: &Connection, mark: Mark) -> rusqlite::Result<bool> {
    // The table: a record behind the pruned ones is valid.
    let mut statement = connection.prepare_cached("SELECT hash FROM record WHERE seq = ?1")?;
    let hash: Option<Vec<u8>> = statement.query_row([sql_bound(mark.seq)], |row| row.get(0)).optional()?;
    Ok(hash.as_deref() == Some(&mark.hash.0[..]))
}

/// Whether the anchor names a record.
pub(super) fn names_a_record(anchor: Mark) -> bool {
    anchor.seq != 0 && anchor.seq != u64::MAX
}

impl Journal<'_> {
    /// Appends the record of a fork; the next record follows it.
    pub(super) fn fork(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        anchor: Option<Mark>,
        fault: &Fault,
    ) -> Result<Written, JournalError> {
        let anchor = anchor.filter(|anchor| names_a_record(*anchor));
        let margin = if anchor.is_some() { MARGIN } else { WIDE_MARGIN };
        let mut heads = Vec::new();
        let sent = self.traces.as_ref().map(|traces| traces.sent()).unwrap_or_default();
        for (source, mark) in anchor.map(|anchor| ("anchor".to_owned(), anchor)).into_iter().chain(sent) {
            if !has(tx, mark)? {
                heads.push(LostHead { seq: mark.seq, head: mark.hash, source });
            }
        }
        let last = last(tx)?;
        let continues = last.map_or(0, |last| last.mark.seq);
        let highest = heads.iter().map(|lost| lost.seq).max().unwrap_or(0).max(continues);
        let fork = Fork { continues, highest, heads, sentence: fault.to_string().as_str().into() };
        self.put(tx, moment, (highest.saturating_add(margin), last), Event::Fork(Box::new(fork)))
    }

    /// Appends a record although the anchor names a later one than the last of the database: this process was at work while the
    /// database was replaced. Refuses one that gives power.
    pub(super) fn append_behind(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        anchor: Mark,
        event: Event,
    ) -> Result<Written, JournalError> {
        let fault = Fault::Older(anchor);
        let keys = event.keys();
        if matches!(keys.kind, "approval" | "grant") || (keys.kind == "start" && keys.grant.is_some()) {
            return Err(JournalError::Older(fault.to_string()));
        }
        // The sinks get both with the next record.
        let _ = self.fork(tx, moment, Some(anchor), &fault)?;
        let _ = self.record_loss(tx, moment, &fault)?;
        self.append(tx, moment, event)
    }

    /// Returns the anchor if it names a later record than the last one, `seq`. Whatever it names was committed before it was
    /// written, and so before the current transaction began.
    pub(super) fn anchor_ahead(&self, seq: u64) -> Option<Mark> {
        let read = || self.traces.as_ref()?.anchor().filter(|anchor| names_a_record(*anchor) && anchor.seq > seq);
        // Again, because another process may have been writing it.
        read().and_then(|_| read())
    }

    /// Returns the log sink that has a later record than the last one, and that record.
    pub(super) fn ahead(&self, last: u64) -> Option<(String, Mark)> {
        let sent = self.traces.as_ref().map(|traces| traces.sent()).unwrap_or_default();
        sent.into_iter().filter(|(_, mark)| mark.seq > last).max_by_key(|(_, mark)| mark.seq)
    }

    /// Begins a database in the place of one that was lost, inside the transaction that sets it up. `anchor`: that of the lost one.
    pub fn begin_anew(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        anchor: Option<Mark>,
    ) -> Result<Vec<Written>, JournalError> {
        let fault = Fault::Lost(anchor.filter(|anchor| names_a_record(*anchor)));
        Ok(vec![self.fork(tx, moment, anchor, &fault)?, self.record_loss(tx, moment, &fault)?])
    }
}
