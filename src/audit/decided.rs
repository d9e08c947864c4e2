//! Removes the requests and grants whose records are pruned: they are decided and over, and their reasons, tickets and commands go with
//! their records. Only the first rows of each table are removed, so that the rest is still numbered without a gap; the `prune` record
//! says how many are gone.

use rusqlite::{OptionalExtension, Transaction};

use super::columns::sql_bound;
use super::error::JournalError;
use super::history::HISTORY;
use jit_core::clock::Moment;
use jit_core::evidence::Mark;

/// The most requests that one pruning removes, so that runs do not have to wait.
const AT_ONCE: i64 = 10_000;

/// How often the two tables are compared before nothing is removed.
const ROUNDS: u32 = 100;

/// The last rows that are removed, or 0: of `request` and of `granted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) requests: i64,
    pub(super) grants: i64,
}

/// A request that must stay: something of it is recorded behind the pruned records, or it may still be approved, used or reviewed, or it
/// is extended by one that must stay. ?1: the last pruned record; ?2: the time in seconds.
const STAYS: &str = "EXISTS (SELECT 1 FROM history WHERE grant_id = r.id AND seq > ?1) \
    OR EXISTS (SELECT 1 FROM open_run WHERE grant_id = r.id) \
    OR EXISTS (SELECT 1 FROM review_debt WHERE id = r.id AND reviewer IS NULL) \
    OR (r.state = 'pending' AND r.deadline > ?2) \
    OR EXISTS (SELECT 1 FROM granted WHERE id = r.id AND ended IS NULL AND expires > ?2) \
    OR EXISTS (SELECT 1 FROM request c JOIN history h ON h.grant_id = c.id WHERE c.extends = r.id AND h.seq > ?1)";

/// Removes the first rows of both tables, as far as the records up to `last` are all that is recorded of them, with their approvals,
/// statements and reviews. The last row of each table stays: SQLite numbers the next one after it.
pub(super) fn remove(tx: &Transaction<'_>, last: Mark, moment: &Moment) -> Result<Gone, JournalError> {
    let gone = removable(tx, last, moment)?;
    let of_requests = "IN (SELECT id FROM request WHERE rowid <= ?1)";
    for (table, column) in [("approval", "request"), ("statement", "request"), ("review_debt", "id")] {
        tx.execute(&format!("DELETE FROM {table} WHERE {column} {of_requests}"), [gone.requests])?;
    }
    tx.execute("DELETE FROM granted WHERE rowid <= ?1", [gone.grants])?;
    tx.execute("DELETE FROM request WHERE rowid <= ?1", [gone.requests])?;
    Ok(gone)
}

fn removable(tx: &Transaction<'_>, last: Mark, moment: &Moment) -> Result<Gone, JournalError> {
    let number = |query: &str, values: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<Option<i64>> {
        tx.query_row(query, values, |row| row.get(0)).optional().map(Option::flatten)
    };
    let ends = |table: &str| -> rusqlite::Result<(i64, i64)> {
        let query = format!("SELECT coalesce(min(rowid), 1) - 1, coalesce(max(rowid), 1) - 1 FROM {table}");
        tx.query_row(&query, [], |row| Ok((row.get(0)?, row.get(1)?)))
    };
    let ((requests_before, requests_most), (grants_before, grants_most)) = (ends("request")?, ends("granted")?);
    let before = Gone { requests: requests_before, grants: grants_before };
    let stays = format!("{HISTORY} SELECT r.rowid FROM request r WHERE {STAYS} ORDER BY r.rowid LIMIT 1");
    let first = number(&stays, &[&sql_bound(last.seq), &moment.wall.seconds()])?;
    let most = requests_most.min(requests_before.saturating_add(AT_ONCE));
    let mut gone = Gone { requests: most.min(first.map_or(i64::MAX, |first| first.saturating_sub(1))), grants: 0 };
    // A grant goes with its request and a request with its grant; the tables are in different orders.
    for _ in 0..ROUNDS {
        let kept = "SELECT g.rowid FROM granted g LEFT JOIN request r ON r.id = g.id \
                    WHERE r.rowid IS NULL OR r.rowid > ?1 ORDER BY g.rowid LIMIT 1";
        let kept = number(kept, &[&gone.requests])?;
        gone.grants = grants_most.min(kept.map_or(i64::MAX, |kept| kept.saturating_sub(1)));
        let asked = "SELECT min(r.rowid) FROM granted g JOIN request r ON r.id = g.id WHERE g.rowid > ?1";
        let requests =
            gone.requests.min(number(asked, &[&gone.grants])?.map_or(i64::MAX, |asked| asked.saturating_sub(1)));
        if requests == gone.requests {
            return Ok(Gone { requests: requests.max(before.requests), grants: gone.grants.max(before.grants) });
        }
        gone.requests = requests;
    }
    Ok(before)
}
