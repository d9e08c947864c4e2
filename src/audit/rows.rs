//! The records in order, as a verification reads them: with their columns, whatever is wrong with them.

use rusqlite::{Connection, Row as SqlRow, params};

use super::columns::sql_bound;
use super::error::JournalError;
use jit_core::evidence::chain::{Copies, FirstBad, Row};

/// Feeds the records behind number `after` and up to `through`, until one is bad. Those without a number come with the first.
pub(super) fn each_row(
    connection: &Connection,
    after: u64,
    through: u64,
    mut feed: impl FnMut(&Row<'_>) -> Result<(), FirstBad>,
) -> Result<Result<(), FirstBad>, JournalError> {
    let query = "SELECT seq, kind, uid, run, grant_id, at, high, hash, body FROM record \
                 WHERE (seq > ?1 OR seq <= 0) AND seq <= ?2 ORDER BY seq";
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(params![sql_bound(after), sql_bound(through)])?;
    while let Some(row) = rows.next()? {
        if let Err(bad) = feed(&chain_row(row)?) {
            return Ok(Err(bad));
        }
    }
    Ok(Ok(()))
}

fn chain_row<'r>(row: &'r SqlRow<'_>) -> Result<Row<'r>, JournalError> {
    let text = |column| -> Result<Option<&'r str>, JournalError> {
        row.get_ref(column)?.as_str_or_null().map_err(|_| JournalError::Damaged("a column that is not text"))
    };
    Ok(Row {
        seq: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
        body: row.get_ref(8)?.as_bytes().unwrap_or_default(),
        hash: row.get_ref(7)?.as_bytes().unwrap_or_default(),
        copies: Some(Copies {
            kind: text(1)?.unwrap_or_default(),
            uid: row.get(2)?,
            run: text(3)?,
            grant: text(4)?,
            at: row.get(5)?,
            high: row.get(6)?,
        }),
    })
}
