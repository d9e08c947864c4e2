//! Whether the records since a request are as they were written, and indexed, so that none about it is hidden. A decision that gives power verifies
//! them before its transaction, and in the transaction only what was added since: other writers wait meanwhile.
//! May not: write.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::altered::{Altered, damaged_or};
use super::columns::sql_bound;
use super::error::JournalError;
use super::forks::holds;
use super::history::history;
use super::indexes::Indexed;
use super::journal::Journal;
use super::provenance::accepted;
use super::rows::each_row;
use jit_core::evidence::Digest;
use jit_core::evidence::chain::{Begin, Chain, Row, hash};
use jit_core::names::GrantId;

/// The records since the first one about some requests, verified.
#[must_use = "a transaction that gives power asks it"]
pub struct VerifiedRecords {
    ids: Vec<GrantId>,
    /// The chain up to the last verified record; `None` where there is no record about the requests.
    chain: Option<Chain>,
    /// The verified records about the requests.
    about: Vec<About>,
}

/// One record about a request.
#[derive(PartialEq, Eq)]
struct About {
    seq: i64,
    kind: String,
    hash: Digest,
}

impl Journal<'_> {
    /// Verifies the records since the first one about these requests.
    ///
    /// # Errors
    /// One of them is not as it was written, or the database failed.
    pub fn verified_about<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i GrantId>,
    ) -> Result<VerifiedRecords, JournalError> {
        let ids: Vec<GrantId> = ids.into_iter().cloned().collect();
        let snapshot = Transaction::new_unchecked(self.database.connection(), TransactionBehavior::Deferred)?;
        let mut indexed = Indexed::about(&snapshot, &ids, 0)?;
        let Some((seq, id)) = indexed.first(&snapshot)? else {
            return Ok(VerifiedRecords { ids, chain: None, about: Vec::new() });
        };
        let (altered, chain) = compare(&snapshot, Chain::new(Begin::Part(seq)), &mut indexed)?;
        if let Some(seq) = altered {
            return Err(JournalError::Altered(id.clone(), seq));
        }
        let about = about(&snapshot, &ids, chain.last().seq)?;
        Ok(VerifiedRecords { ids, chain: Some(chain), about })
    }

    /// Returns the first record behind the first one about this request that is not as it was written, if the request has any record,
    /// or a damaged index.
    ///
    /// # Errors
    /// Fails when the database fails.
    pub fn altered_about(&self, id: &GrantId) -> Result<Option<Altered>, JournalError> {
        let snapshot = Transaction::new_unchecked(self.database.connection(), TransactionBehavior::Deferred)?;
        match altered_about(&snapshot, id)? {
            None => Ok(None),
            found => damaged_or(&snapshot, found),
        }
    }
}

impl VerifiedRecords {
    /// Fails if a record behind the first one about this request is not as it was written: it may be one about this request whose
    /// columns were changed. The same if the index lacks one about this request. Where a decision gives power, this is called inside
    /// its transaction. Reads the records that were added
    /// since the verification, and all where what was verified is not there any more.
    ///
    /// # Errors
    /// There is such a record, or the database failed.
    pub fn unaltered(&self, tx: &Transaction<'_>, id: &GrantId) -> Result<(), JournalError> {
        let verified = self.chain.as_ref().filter(|_| self.ids.contains(id));
        let altered = match verified {
            Some(chain) if self.holds_still(tx, chain)? => {
                let mut indexed = Indexed::about(tx, &self.ids, chain.last().seq)?;
                compare(tx, chain.clone(), &mut indexed)?.0
            }
            Some(_) | None => altered_about(tx, id)?,
        };
        altered.map_or(Ok(()), |seq| Err(JournalError::Altered(id.clone(), seq)))
    }

    /// Whether the last verified record is still there, and the records that decide are found by their columns as before: those about
    /// the requests, and the last acceptance of the state of the host.
    fn holds_still(&self, connection: &Connection, chain: &Chain) -> Result<bool, JournalError> {
        let last = chain.last();
        Ok(holds(connection, last)?
            && (chain.accepted() == 0 || accepted(connection)? >= chain.accepted())
            && about(connection, &self.ids, last.seq)? == self.about)
    }
}

/// Returns the records about these requests up to number `through`. Runs decide nothing, and there may be many.
fn about(connection: &Connection, ids: &[GrantId], through: u64) -> Result<Vec<About>, JournalError> {
    let query = history!(
        "SELECT seq, kind, body FROM history WHERE grant_id = ?1 AND kind NOT IN ('start', 'end') AND seq <= ?2 ORDER BY seq"
    );
    let mut statement = connection.prepare(query)?;
    let mut found = Vec::new();
    for id in ids {
        let mut rows = statement.query(params![id.as_str(), sql_bound(through)])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(2)?.as_bytes().unwrap_or_default();
            found.push(About { seq: row.get(0)?, kind: row.get(1)?, hash: hash(body) });
        }
    }
    Ok(found)
}

fn altered_about(connection: &Connection, id: &GrantId) -> Result<Option<u64>, JournalError> {
    let ids = [id.clone()];
    let mut indexed = Indexed::about(connection, &ids, 0)?;
    match indexed.first(connection)? {
        Some((first, _)) => Ok(compare(connection, Chain::new(Begin::Part(first)), &mut indexed)?.0),
        None => Ok(None),
    }
}

/// Does the same as [`follow`], and compares the index with the table.
fn compare(
    connection: &Connection,
    chain: Chain,
    indexed: &mut Indexed<'_>,
) -> Result<(Option<u64>, Chain), JournalError> {
    let (altered, chain) = follow(connection, chain, &mut |row| indexed.hidden(row))?;
    Ok((altered.or_else(|| indexed.surplus()), chain))
}

/// Continues the chain to the last record. Returns the number of the first one that is not as it was written, since root last
/// accepted the state of the host, or that `hidden` returns, and the chain.
pub(super) fn follow(
    connection: &Connection,
    mut chain: Chain,
    hidden: &mut dyn FnMut(&Row<'_>) -> Option<u64>,
) -> Result<(Option<u64>, Chain), JournalError> {
    let (mut found, mut is_whole, mut unseen) = (None, true, None);
    let fed = each_row(connection, chain.last().seq, u64::MAX, |row| {
        unseen = unseen.or(hidden(row));
        match chain.feed(row) {
            Err(bad) if !bad.cause.is_of_the_replay() => {
                found = found.or(Some(bad.seq));
                (chain, is_whole) = (Chain::new(Begin::Part(row.seq.saturating_add(1))), false);
            }
            // It ended all grants before it.
            _ if chain.accepted() == row.seq => found = None,
            _ => {}
        }
        Ok(())
    })?;
    let unproven = if is_whole { fed.and_then(|()| chain.end()).err().map(|bad| bad.seq) } else { None };
    Ok((found.or(unseen).or(unproven), chain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{SCHEMA, sample};
    use crate::database::tests::Scratch;
    use crate::database::{Database, Durability};

    /// Verifies the records about the sample grant, then executes `change` as another process does, appends records, and asks in
    /// a transaction.
    fn after(name: &str, change: &str) -> Result<(), JournalError> {
        let scratch = Scratch::new(name);
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        sample::fill(&journal, 24);
        let id = sample::grant();
        let verified = journal.verified_about([&id]).unwrap();
        sample::fill(&journal, 3);
        database.connection().execute_batch(change).unwrap();
        database.write(Durability::Ordered, |tx| verified.unaltered(tx, &id))
    }

    #[test]
    fn what_was_added_since_is_verified_inside_the_transaction() {
        after("verified-whole", "").unwrap();
        for (name, change) in [
            ("verified-kind", "UPDATE record SET kind = 'x' WHERE seq = (SELECT max(seq) FROM record) - 1"),
            ("verified-gone", "DELETE FROM record WHERE seq = (SELECT max(seq) FROM record) - 1"),
        ] {
            assert!(matches!(after(name, change), Err(JournalError::Altered(..))), "{change}");
        }
    }

    #[test]
    fn a_verified_record_about_the_request_that_is_hidden_before_the_transaction_is_found() {
        let one = "WHERE seq = (SELECT min(seq) FROM record WHERE kind = 'approval')";
        for (name, change) in [
            ("verified-hidden", "SET kind = 'x'"),
            ("verified-as-a-run", "SET kind = 'start'"),
            ("verified-moved", "SET grant_id = NULL"),
            ("verified-body", "SET body = x'7b7d'"),
        ] {
            let change = format!("UPDATE record {change} {one}");
            assert!(matches!(after(name, &change), Err(JournalError::Altered(..))), "{change}");
        }
        let last = "DELETE FROM record WHERE seq = (SELECT max(seq) FROM record) - 3";
        assert!(matches!(after("verified-last", last), Err(JournalError::Altered(..))));
    }

    /// They decide nothing about the request, and the next verification of the whole journal reports them.
    #[test]
    fn verified_records_of_other_requests_are_not_read_again() {
        let other = "UPDATE record SET body = x'7b7d' WHERE seq = (SELECT min(seq) FROM record WHERE grant_id IS NULL)";
        after("verified-once", other).unwrap();
    }

    #[test]
    fn a_record_that_was_altered_before_is_reported_before_the_transaction() {
        let scratch = Scratch::new("verified-before");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let id = sample::grant();
        let none = journal.verified_about([&id]).unwrap();
        database.write(Durability::Ordered, |tx| none.unaltered(tx, &id)).unwrap();
        sample::fill(&journal, 9);
        database.write(Durability::Ordered, |tx| none.unaltered(tx, &id)).unwrap();
        database.connection().execute_batch("UPDATE record SET kind = 'x' WHERE seq = 7").unwrap();
        let asked = database.write(Durability::Ordered, |tx| none.unaltered(tx, &id));
        assert!(matches!(asked, Err(JournalError::Altered(_, 7))), "all of them, where none was verified before");
        assert!(matches!(journal.verified_about([&id]), Err(JournalError::Altered(_, 7))));
    }
}
