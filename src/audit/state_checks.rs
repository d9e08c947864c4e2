//! Checks before each act: whether the clock was changed, and whether the database is older than its anchor. Each fault is recorded
//! once, as an alert.
//! May not: read a clock or a file; both come in as arguments.

use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

pub use super::clock_checks::ClockDoubt;
use super::clock_checks::{ClockReading, compare};
pub use super::distrust::accept;
use super::distrust::older;
use super::error::JournalError;
use super::fault::Fault;
pub(super) use super::fault::alert;
use super::forks::{behind_sinks, has, holds};
use super::history::{Last, history, last_with};
pub use super::host_identity::host;
use super::journal::{Journal, Written};
pub(super) use super::meta::{meta, set_meta};
use super::sent::Sent;
use crate::database::Durability;
use jit_core::clock::Moment;
use jit_core::evidence::{Digest, Mark};

impl Journal<'_> {
    /// Compares the clocks with those of the last record, and the journal with its anchor, which the caller read before
    /// anything of the database; `None` if it is missing. Records what is new; marks an older database as such until root
    /// accepts it.
    pub fn notice(&self, moment: &Moment, anchor: Option<Mark>) -> Result<Vec<Written>, JournalError> {
        let sent = self.sent();
        let faults = |connection: &Connection| faults(connection, moment, anchor, &sent);
        if faults(self.database.connection())?.is_empty() {
            return Ok(Vec::new());
        }
        self.database.write(Durability::Synced, |tx| {
            let mut written = Vec::new();
            // Checked again inside the transaction: another process may have recorded the fault meanwhile.
            let faults = faults(tx)?;
            if let Some(fault) = faults.iter().find(|fault| fault.is_loss()) {
                written.push(self.fork(tx, moment, anchor, fault)?);
            }
            for fault in faults {
                match fault {
                    // It lost what was not synced, as any power failure does.
                    Fault::Unsynced(..) => {}
                    Fault::Clock(_) | Fault::OtherHost(_) => written.push(self.append(tx, moment, fault.alert())?),
                    Fault::Older(_)
                    | Fault::BehindSink(..)
                    | Fault::Lost(_)
                    | Fault::OtherDatabase
                    | Fault::NoAnchor => written.push(self.record_loss(tx, moment, &fault)?),
                }
            }
            Ok(written)
        })
    }

    /// Returns the anchor of this database in its initial state.
    pub fn origin(&self) -> Result<Mark, JournalError> {
        Ok(begun(self.database.connection())?)
    }

    /// Records that a verification has found the journal not intact.
    pub fn tell_altered(&self, moment: &Moment, sentence: &str) -> Result<Written, JournalError> {
        self.database.write(Durability::Synced, |tx| self.append(tx, moment, alert("journal-not-intact", sentence)))
    }
}

/// Returns the anchor of a new database with this redaction key, which no other database has.
pub fn origin(redaction_key: &[u8]) -> Mark {
    let digest = Sha256::new_with_prefix(b"jit-sudo anchor\0").chain_update(redaction_key).finalize();
    Mark { seq: 0, hash: Digest(digest.into()) }
}

fn begun(connection: &Connection) -> rusqlite::Result<Mark> {
    Ok(origin(&meta(connection, "redaction_key")?.unwrap_or_default()))
}

fn faults(
    connection: &Connection,
    moment: &Moment,
    anchor: Option<Mark>,
    sent: &[Sent],
) -> Result<Vec<Fault>, JournalError> {
    // Ignores a record that is invalid or cannot be decoded, which a verification reports.
    let last = match last_with(connection, |body| serde_json::from_slice::<ClockReading>(body).ok()) {
        Err(JournalError::Damaged(_)) => None,
        last => last?,
    };
    let mut faults = Vec::new();
    if let Some((Last { high, .. }, Some(reading))) = &last {
        faults.extend(compare(reading, *high, moment).map(Fault::Clock));
    }
    let is_anchored = match (&last, anchor) {
        (Some((last, reading)), Some(anchor)) => is_anchored(connection, last, reading.as_ref(), anchor)?,
        _ => false,
    };
    if !is_anchored && older(connection)?.is_none() {
        faults.extend(unanchored(connection, anchor)?);
    }
    // The anchor may be an older copy too.
    if let Some((last, reading)) = last
        && !faults.iter().any(Fault::is_loss)
    {
        let is_new_boot = reading.is_some_and(|reading| reading.boot_id != moment.boot_id);
        faults.extend(behind_sinks(connection, (last.mark, is_new_boot), sent)?);
    }
    Ok(faults)
}

/// Whether the anchor names the last record or the one before it, as it does unless other processes are at work or one has been
/// interrupted: the end of a run moves no anchor. The last record does not prove that the one before it is still there.
fn is_anchored(
    connection: &Connection,
    last: &Last,
    reading: Option<&ClockReading>,
    anchor: Mark,
) -> rusqlite::Result<bool> {
    let precedes = |last: &ClockReading| last.prev == anchor.hash;
    if last.mark.seq.checked_sub(1) != Some(anchor.seq) {
        return Ok(last.mark == anchor);
    }
    Ok(reading.is_some_and(precedes) && holds(connection, anchor)?)
}

/// Compares the database with its anchor.
fn unanchored(connection: &Connection, anchor: Option<Mark>) -> rusqlite::Result<Option<Fault>> {
    let Some(mark) = anchor else {
        // A new database has its anchor before its first record. Earlier versions created it with the first synced record, as each
        // record about a request or grant is, and each start.
        let powers = history!("SELECT EXISTS (SELECT 1 FROM history WHERE grant_id IS NOT NULL OR kind = 'start')");
        let has_given = super::prune::pruned(connection).ok().flatten().is_some()
            || connection.query_row(powers, [], |row| row.get(0))?;
        return Ok(has_given.then_some(Fault::NoAnchor));
    };
    if mark.seq == 0 {
        return Ok((mark != begun(connection)?).then_some(Fault::OtherDatabase));
    }
    Ok((!has(connection, mark)?).then_some(Fault::Older(mark)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use crate::store;

    #[test]
    fn a_database_without_the_anchored_record_is_distrusted_until_it_is_accepted() {
        let scratch = Scratch::new("checks-anchor");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let started = sample::started(&journal, "run000000001", 1);
        let good = Mark { seq: 1, hash: started.written().hash };
        let now = sample::moment(2);
        for anchor in [journal.origin().unwrap(), good] {
            assert!(journal.notice(&now, Some(anchor)).unwrap().is_empty());
        }
        assert_eq!(journal.restored().unwrap(), None);
        let ahead = Mark { seq: 9, ..good };
        assert_eq!(sample::codes(&journal.notice(&now, Some(ahead)).unwrap()), ["fork", "database-older"]);
        assert!(journal.notice(&now, Some(ahead)).unwrap().is_empty(), "once");
        assert!(journal.restored().unwrap().unwrap().contains("record 9"));
        database.write(Durability::Synced, |tx| accept(tx).map_err(JournalError::from)).unwrap();
        assert_eq!(journal.restored().unwrap(), None);
        let other = Mark { seq: 1, hash: Digest([1; 32]) };
        let another_database = origin(&[7; 32]);
        for anchor in [None, Some(other), Some(another_database)] {
            assert_eq!(sample::codes(&journal.notice(&now, anchor).unwrap()), ["fork", "database-older"], "{anchor:?}");
            assert!(journal.notice(&now, anchor).unwrap().is_empty(), "once");
            database.write(Durability::Synced, |tx| accept(tx).map_err(JournalError::from)).unwrap();
        }
    }

    #[test]
    fn a_record_that_follows_the_anchor_does_not_replace_the_anchored_record() {
        let scratch = Scratch::new("checks-anchor-before");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let started = sample::started(&journal, "run000000001", 1);
        let anchor = Mark { seq: 1, hash: started.written().hash };
        let _ = journal.end(&started, &sample::moment(2), sample::ending()).unwrap();
        let now = sample::moment(3);
        assert!(journal.notice(&now, Some(anchor)).unwrap().is_empty());
        database.connection().execute("DELETE FROM record WHERE seq = 1", []).unwrap();
        assert_eq!(sample::codes(&journal.notice(&now, Some(anchor)).unwrap()), ["fork", "database-older"]);
        assert!(journal.restored().unwrap().is_some());
    }

    #[test]
    fn an_anchor_that_lags_behind_a_pruning_or_was_never_needed_is_no_fault() {
        let scratch = Scratch::new("checks-no-anchor");
        let database =
            Database::create(&scratch.path(), &[SCHEMA, store::SCHEMA, store::REVIEW_SCHEMA, store::STATEMENT_SCHEMA])
                .unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let now = sample::moment(1);
        assert!(journal.notice(&now, None).unwrap().is_empty());
        let _ = database.write(Durability::Ordered, |tx| journal.append(tx, &now, alert("x", "no power"))).unwrap();
        assert!(journal.notice(&now, None).unwrap().is_empty(), "a host of an earlier version that gave no power yet");
        sample::fill(&journal, 10);
        sample::seal(&journal, 1);
        let head = |seq| Mark { seq, hash: journal.by_seq(seq).unwrap().unwrap().hash };
        let (third, last) = (head(3), head(11));
        sample::fill(&journal, 1);
        let later = sample::moment(9);
        let _ = sample::prune(&journal, 9, last, later.wall);
        journal.sweep(|_| Ok::<_, JournalError>(())).unwrap();
        for anchor in [third, last, journal.origin().unwrap()] {
            assert!(journal.notice(&later, Some(anchor)).unwrap().is_empty(), "{anchor:?}");
        }
        let other = Mark { hash: Digest([1; 32]), ..last };
        assert_eq!(sample::codes(&journal.notice(&later, Some(other)).unwrap()), ["fork", "database-older"]);
    }
}
