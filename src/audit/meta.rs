//! The table `journal_meta`: marks and counters that are no records, by name.

use rusqlite::{Connection, OptionalExtension, params};

/// The name of the id of the host.
pub(super) const HOST: &str = "host";

/// Returns the value with this name.
pub(super) fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached("SELECT value FROM journal_meta WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}

/// Stores a value under this name.
pub(super) fn set_meta(connection: &Connection, name: &str, value: &[u8]) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO journal_meta (name, value) VALUES (?1, ?2)", params![name, value])?;
    Ok(())
}

/// Removes the value with this name, if there is one.
pub(super) fn clear_meta(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM journal_meta WHERE name = ?1", [name]).map(drop)
}

/// Returns the names that begin with `prefix`, which ends with a colon, and their values.
pub(super) fn metas(connection: &Connection, prefix: &str) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    let query = "SELECT name, value FROM journal_meta WHERE name >= ?1 || ':' AND name < ?1 || ';'";
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map([prefix.trim_end_matches(':')], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}
