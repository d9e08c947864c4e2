//! Forks: where the database lacks records that existed, the journal goes on behind every number that they may have, so that no
//! number occurs twice, and a record names the branch that was lost.
//! May not: read a file; what is left outside the database comes in through [`Traces`].

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::columns::sql_bound;
use super::error::JournalError;
use super::fault::Fault;
use super::history::{history, last};
use super::journal::{Journal, Written};
use super::provenance::accepted;
use super::prune::pruned;
use super::sent::Sent;
use jit_core::clock::Moment;
use jit_core::evidence::fork_event::{MARGIN, WIDE_MARGIN};
use jit_core::evidence::record::{Event, Fork, LostHead};
use jit_core::evidence::{Digest, Mark};

/// What is left of the records outside the database.
pub trait Traces {
    /// Returns the anchor; `None` if it is missing. A damaged one has the number `u64::MAX`.
    fn anchor(&self) -> Option<Mark>;

    /// Returns what each log sink got.
    fn sent(&self) -> Vec<Sent>;
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

/// How many records a power failure may lose at most; a sink sends as many again.
const UNSYNCED: u64 = 64;

/// Returns how the database lacks a record that a log sink got; `sent` was read before the database. What was not synced may be
/// missing, but only after a boot. `last`: the last record, and whether it is of another boot than this.
pub(super) fn behind_sinks(
    connection: &Connection,
    (last, is_new_boot): (Mark, bool),
    sent: &[Sent],
) -> Result<Option<Fault>, JournalError> {
    let mut lost = None;
    for Sent { sink, last: mark, synced } in sent {
        if !is_missing(connection, last, *mark, Told::OfAny)? {
            continue;
        }
        let is_unsynced = match synced {
            Some(synced) => synced.seq == 0 || !is_missing(connection, last, *synced, Told::OfSynced)?,
            None => false,
        };
        let behind = mark.seq.checked_sub(last.seq).filter(|behind| *behind > 0);
        if !is_new_boot || !is_unsynced || behind.is_none_or(|behind| behind > UNSYNCED) {
            return Ok(Some(Fault::BehindSink(sink.clone(), *mark)));
        }
        lost = Some(Fault::Unsynced(sink.clone(), *mark));
    }
    Ok(lost)
}

/// Whether a record that existed is neither in the database, nor one that an earlier fork has told of. A log sink that has got no record
/// yet names the one before its first, without a hash.
fn is_missing(connection: &Connection, last: Mark, mark: Mark, told: Told) -> Result<bool, JournalError> {
    Ok(mark != last
        && mark.hash != Digest::ZERO
        && (mark.seq > last.seq || (!has(connection, mark)? && !is_told(connection, mark, told)?)))
}

/// Which forks count as an explanation.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// Any.
    OfAny,
    /// One that an alert or root's acceptance follows: a power failure loses no synced record.
    OfSynced,
}

/// Whether a fork names this head of a lost branch.
fn is_told(connection: &Connection, mark: Mark, told: Told) -> Result<bool, JournalError> {
    let query = match told {
        Told::OfAny => history!("SELECT body FROM history WHERE kind = 'fork' AND kind NOT IN ('start', 'end')"),
        Told::OfSynced => history!(
            "SELECT body FROM history AS f WHERE kind = 'fork' AND kind NOT IN ('start', 'end') AND EXISTS (\
             SELECT 1 FROM history AS a WHERE a.kind = 'alert' AND a.kind NOT IN ('start', 'end') AND a.seq > f.seq AND (\
             instr(a.body, CAST('\"code\":\"database-older\"' AS BLOB)) > 0 OR instr(a.body, CAST('\"code\":\"state-accepted\"' AS BLOB)) > 0))"
        ),
    };
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // Ignores what cannot be decoded, which a verification reports.
        let fork = serde_json::from_slice::<Fork>(row.get_ref(0)?.as_bytes().unwrap_or_default());
        if fork.is_ok_and(|fork| fork.heads.iter().any(|head| head.mark() == mark)) {
            return Ok(true);
        }
    }
    Ok(false)
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
        let is_known = anchor.is_some() || matches!(fault, Fault::Unsynced(..));
        let margin = if is_known { MARGIN } else { WIDE_MARGIN };
        let last = last(tx)?;
        let head = last.map_or(Mark { seq: 0, hash: Digest::ZERO }, |last| last.mark);
        let continues = head.seq;
        let mut heads = Vec::new();
        let sent = self.sent().into_iter().map(|sent| (sent.sink, sent.last));
        for (source, mark) in anchor.map(|anchor| ("anchor".to_owned(), anchor)).into_iter().chain(sent) {
            if is_missing(tx, head, mark, Told::OfAny)? {
                heads.push(LostHead { seq: mark.seq, head: mark.hash, source });
            }
        }
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

    /// Returns the last fork, if root has not accepted the state of the host since.
    pub fn unaccepted_fork(&self) -> Result<Option<u64>, JournalError> {
        let connection = self.database.connection();
        let query = history!("SELECT max(seq) FROM history WHERE kind = 'fork' AND kind NOT IN ('start', 'end')");
        let last: Option<i64> = connection.query_row(query, [], |row| row.get(0))?;
        let accepted = accepted(connection)?;
        Ok(last.map(i64::unsigned_abs).filter(|last| *last > accepted))
    }

    /// Returns the anchor if it names a later record than the last one, `seq`. Whatever it names was committed before it was
    /// written, and so before the current transaction began.
    pub(super) fn anchor_ahead(&self, seq: u64) -> Option<Mark> {
        let read = || self.traces.as_ref()?.anchor().filter(|anchor| names_a_record(*anchor) && anchor.seq > seq);
        // Again, because another process may have been writing it.
        read().and_then(|_| read())
    }

    /// Returns what each log sink got.
    pub(super) fn sent(&self) -> Vec<Sent> {
        self.traces.as_ref().map(|traces| traces.sent()).unwrap_or_default()
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
