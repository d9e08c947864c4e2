//! Read transactions: one state of the database for several queries.

use sys::no_wait::NoWait;

use super::Database;
use crate::console::Console;

/// One consistent state of the database for several consecutive queries: SQLite takes its locks once for all of them.
/// Nothing that waits may happen meanwhile: the process does not see what others write, and the WAL cannot be reset. It ends when
/// it is dropped, or with the next write of the same process.
#[must_use = "a state of the database lasts as long as this value"]
pub struct ReadTransaction<'a> {
    transaction: ReadGuard<'a>,
    console: &'a mut Console,
}

impl<'a> ReadTransaction<'a> {
    /// Ends the transaction and returns the console: from now on messages and prompts are allowed.
    pub fn close(self) -> &'a mut Console {
        drop(self.transaction);
        self.console
    }
}

/// Ends a read transaction when it is dropped.
pub(super) struct ReadGuard<'a>(&'a Database);

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        self.0.end_reading();
    }
}

impl Database {
    /// Opens a read transaction. If that fails, each query sees a state of its own.
    /// The transaction holds the console until it is closed: a caller who reads output slowly would keep the WAL from being reset.
    pub fn reading<'a>(&'a self, console: &'a mut Console) -> ReadTransaction<'a> {
        ReadTransaction { transaction: self.begin_reading().unwrap_or_else(|_| ReadGuard(self)), console }
    }

    pub(super) fn begin_reading(&self) -> rusqlite::Result<ReadGuard<'_>> {
        self.connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
        self.reading.replace(Some(NoWait::begin()));
        Ok(ReadGuard(self))
    }

    /// Runs `act`, which may take arbitrarily long, with no read transaction open and no lock held.
    pub fn at_rest<T>(&self, act: impl FnOnce() -> T) -> T {
        self.end_reading();
        act()
    }

    pub(super) fn end_reading(&self) {
        if self.reading.take().is_some() {
            // A read transaction has no changes that could be lost.
            let _ = self.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        }
    }
}
