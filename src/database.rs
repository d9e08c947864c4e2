//! Opens the one SQLite database in a way that is safe for a root process, and writes to it with bounded waits. It knows no
//! table: the modules that own tables pass their schema in, and `open` rejects a file that holds anything else.
//! May not: create a file while opening one, follow a symlink, or hold a second file descriptor for the file (closing
//! that one would drop SQLite's POSIX locks).

mod copy;
mod error;
mod files;
mod index;
mod migration;
mod reading;
mod unsynced;
mod unwritten;

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use sys::lock::Locked;
use sys::no_wait::NoWait;
use sys::signals::Unstoppable;

pub use error::{DatabaseError, Distrust};
pub use files::DatabaseFiles;
use files::{beside, check_directory, check_files, directory_of};
use index::Index;
pub use migration::Earlier;
pub use reading::ReadTransaction;
pub use unsynced::Unsynced;
pub use unwritten::Unwritten;

/// The `PRAGMA application_id` of the database: "jits", by which file(1) and `open` recognize it.
pub const APPLICATION_ID: i32 = 0x6a69_7473;

/// The `PRAGMA user_version` of the schema that this build reads and writes.
pub const SCHEMA_VERSION: i32 = 3;

/// The longest row, statement or value that SQLite accepts, in bytes.
pub const LENGTH_LIMIT: i32 = 64 << 20;

/// How long a writer waits for the write lock before it fails.
pub const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// What the name of the file that writers lock adds to that of the database. Nothing else opens it: the process would lose the lock.
const LOCK: &str = "-lock";

/// The number of WAL frames that triggers a WAL checkpoint where the WAL index is kept: each checkpoint costs two syncs.
const WAL_FRAMES: i32 = 256;

/// The same where each process that opens the database replays the WAL first: there the WAL must stay small.
const REPLAYED_FRAMES: i32 = 64;

/// The size of a page in a new database, in bytes: a run writes a dozen pages and changes a few hundred bytes in each.
const PAGE: u32 = 2048;

/// The one database of a host, opened safely.
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// Frames in the WAL after the last commit of this process.
    frames: Arc<AtomicI32>,
    wal: Wal,
    /// The durability of the current write, or of the last one.
    durability: Cell<Durability>,
    /// While a [`ReadTransaction`] is open.
    reading: RefCell<Option<NoWait>>,
    /// SQLite's count of the changes that others have made, when it was opened.
    opened_at: Option<i64>,
    place: DatabaseFiles,
    /// Must be dropped after the connection.
    index: Index,
    /// Keeps this process from being stopped while it recovers the log or holds a read mark that other processes depend on. Must be
    /// dropped after the connection.
    _unstoppable: Unstoppable,
}

/// The longest WAL that is kept, in bytes; a longer one is truncated when it is reset.
const WAL_LIMIT: u64 = 1 << 20;

/// The WAL when the database was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wal {
    Old,
    /// Existed already, and is longer than [`WAL_LIMIT`].
    Long,
    /// Is new: its name is not on the disk before its directory is synced.
    New,
}

/// When a commit is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before `write` returns (fdatasync(2) of the WAL).
    Synced,
    /// In order, at the latest with the next synced commit; a power failure may lose it, the end of the process may not.
    Ordered,
}

impl Database {
    /// Opens an existing database whose schema is exactly `schema`: CREATE statements separated by `;`, written as
    /// SQLite stores them (`CREATE TABLE name (…)`, one space between the first words, no `IF NOT EXISTS`).
    pub fn open(path: &Path, schema: &[&str]) -> Result<Self, DatabaseError> {
        match Self::checked(path, schema) {
            // Retries with an index that SQLite has built: the index may be damaged while the database is not.
            Err(_) if Index::distrust(path) => Self::checked(path, schema),
            opened => opened,
        }
    }

    fn checked(path: &Path, schema: &[&str]) -> Result<Self, DatabaseError> {
        let mut database = Self::connected(path)?;
        database.opened_at = database.checked_state(schema)?;
        // By now SQLite has created its files beside the database.
        database.place = DatabaseFiles::of(path);
        database.index.leave_note(path);
        Ok(database)
    }

    /// Checks header and schema in one read transaction: they are of one state, and SQLite takes its locks once. Returns the count of
    /// changes of that state.
    fn checked_state(&self, schema: &[&str]) -> Result<Option<i64>, DatabaseError> {
        let _reading = self.begin_reading().map_err(|error| self.sqlite(error))?;
        self.check_header()?;
        self.check_schema(schema)?;
        Ok(self.changes_by_others())
    }

    /// Connects to a database whose files only root could have created. Does not check the contents.
    fn connected(path: &Path) -> Result<Self, DatabaseError> {
        let unstoppable = Unstoppable::begin().map_err(|error| DatabaseError::File(path.to_owned(), error))?;
        let wal = check_files(path)?;
        let index = Index::find(path);
        let mut connection = connect(path, wal).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen) if !path.exists() => DatabaseError::Missing(path.to_owned()),
            _ => DatabaseError::Sqlite(path.to_owned(), error),
        })?;
        let frames = count_frames(&mut connection).map_err(|error| DatabaseError::Sqlite(path.to_owned(), error))?;
        let durability = Cell::new(Durability::Synced);
        let path = path.to_owned();
        let place = DatabaseFiles::unknown(&path);
        Ok(Self {
            connection,
            path,
            frames,
            wal,
            durability,
            reading: RefCell::default(),
            opened_at: None,
            place,
            index,
            _unstoppable: unstoppable,
        })
    }

    /// Creates the database with `schema` (see [`Self::open`]) in WAL mode, mode 0600, and opens it. Takes over a file that a
    /// killed `create` left empty; any other existing file is an error.
    pub fn create(path: &Path, schema: &[&str]) -> Result<Self, DatabaseError> {
        let _unstoppable = Unstoppable::begin().map_err(|error| DatabaseError::File(path.to_owned(), error))?;
        check_directory(path)?;
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => drop(check_files(path)?),
            Err(error) => return Err(DatabaseError::File(path.to_owned(), error)),
        }
        let sqlite = |error| DatabaseError::Sqlite(path.to_owned(), error);
        let connection = connect(path, Wal::New).map_err(sqlite)?;
        if objects(&connection).map_err(sqlite)? > 0 {
            return Err(DatabaseError::Exists(path.to_owned()));
        }
        connection.execute_batch(&format!("PRAGMA page_size = {PAGE}; PRAGMA journal_mode = WAL")).map_err(sqlite)?;
        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Exclusive).map_err(sqlite)?;
        if objects(&transaction).map_err(sqlite)? > 0 {
            return Err(DatabaseError::Exists(path.to_owned()));
        }
        for statement in statements(schema) {
            transaction.execute_batch(statement).map_err(sqlite)?;
        }
        let header = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}");
        transaction.execute_batch(&header).map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
        drop(connection);
        // This also syncs the name of the WAL, which later processes rely on.
        let synced = File::open(directory_of(path)).and_then(|directory| directory.sync_all());
        synced.map_err(|error| DatabaseError::File(path.to_owned(), error))?;
        Self::open(path, schema)
    }

    /// The connection, for reading.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the files of the database.
    pub fn place(&self) -> &DatabaseFiles {
        &self.place
    }

    /// Returns the path of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the durability of the current write, or of the last one.
    pub fn durability(&self) -> Durability {
        self.durability.get()
    }

    /// Runs `change` in one transaction that holds the write lock from its beginning. An error of `change` or of the commit
    /// rolls everything back, and so does a database that was replaced on disk, because other processes would read the new
    /// one. Waits at most [`WRITE_PATIENCE`] for other writers.
    ///
    /// For [`Durability::Synced`] the sync comes after the lock is released, so that waiting writers share one sync instead
    /// of queueing for their own. Until then other processes can see the change, but nothing that builds on it can be on the
    /// disk without it. A failed sync is an error although the change stands: the caller must act as if it were lost.
    pub fn write<T, E: From<DatabaseError>>(
        &self,
        durability: Durability,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let value = self.commit(durability, change)?;
        match durability {
            Durability::Synced => self.sync_commits()?,
            Durability::Ordered => {}
        }
        Ok(value)
    }

    /// Waits until all commits so far are on the disk, those of other processes too.
    pub fn sync_commits(&self) -> Result<(), DatabaseError> {
        self.wal()?.sync_data().map_err(|error| self.unsynced(error))
    }

    /// Does the same as `write` with [`Durability::Synced`], but does not wait for the disk.
    pub fn write_unsynced<T, E: From<DatabaseError>>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<(T, Unsynced), E> {
        let value = self.commit(Durability::Synced, change)?;
        Ok((value, Unsynced::new(self.wal()?, beside(&self.path, "-wal"))))
    }

    fn commit<T, E: From<DatabaseError>>(
        &self,
        durability: Durability,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.end_reading();
        let _turn = self.queue()?;
        let _no_wait = NoWait::begin();
        self.durability.set(durability);
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
            .map_err(|error| self.sqlite(error))?;
        let value = change(&transaction)?;
        if !self.place.is_the_same() {
            return Err(DatabaseError::Replaced(self.path.clone()).into());
        }
        transaction.commit().map_err(|error| self.sqlite(error))?;
        Ok(value)
    }

    /// Whether no other process has written since this one has opened the database, so that what it has read still holds. For use
    /// inside a write: before, another process may write at any time.
    pub fn is_as_opened(&self) -> bool {
        self.opened_at.is_some() && self.changes_by_others() == self.opened_at
    }

    /// Returns the count that SQLite increases when it finds that another connection has written; `None` when it cannot be read.
    fn changes_by_others(&self) -> Option<i64> {
        let mut statement = self.connection.prepare_cached("PRAGMA data_version").ok()?;
        statement.query_row([], |row| row.get(0)).ok()
    }

    /// Checkpoints a WAL that has grown long into the database, as far as no process reads it. A commit never does so, because a
    /// caller waits for it; this is for idle moments, and also runs on drop.
    pub fn tidy(&self) {
        let limit = if self.index.is_kept() { WAL_FRAMES } else { REPLAYED_FRAMES };
        if self.frames.load(Ordering::Relaxed) >= limit {
            self.frames.store(0, Ordering::Relaxed);
            // If this fails, a later process does it; nothing depends on it.
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
    }

    /// Returns what `PRAGMA integrity_check` finds, at most 20 lines; none when the database is sound. Reads the whole file.
    pub fn integrity(&self) -> Result<Vec<String>, DatabaseError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut statement = self.connection.prepare("PRAGMA integrity_check(20)")?;
            let lines = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
            Ok(lines)
        };
        let mut lines = read().map_err(|error| self.sqlite(error))?;
        lines.retain(|line| line != "ok");
        Ok(lines)
    }

    fn sqlite(&self, error: rusqlite::Error) -> DatabaseError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DatabaseError::Busy(self.path.clone()),
            _ => DatabaseError::Sqlite(self.path.clone(), error),
        }
    }

    /// Opens the WAL for a sync, which puts every commit so far on the disk. SQLite takes no locks on the WAL, so this process may
    /// open and close a file descriptor of its own. When this returns, the name of a new WAL is on the disk.
    fn wal(&self) -> Result<File, DatabaseError> {
        let named = File::open(beside(&self.path, "-wal")).and_then(|file| match self.wal {
            Wal::Old | Wal::Long => Ok(file),
            Wal::New => File::open(directory_of(&self.path)).and_then(|directory| directory.sync_all()).map(|()| file),
        });
        named.map_err(|error| self.unsynced(error))
    }

    fn unsynced(&self, error: std::io::Error) -> DatabaseError {
        DatabaseError::File(beside(&self.path, "-wal"), error)
    }

    /// Waits for this writer's turn: a lock on a file beside the database, which the kernel grants in the order of the requests.
    /// SQLite's own busy handler polls, with growing sleeps: most of a thousand writers would wake to find the write lock
    /// taken, and the oldest would starve. So SQLite's lock is requested only when it is this writer's turn.
    fn queue(&self) -> Result<Locked, DatabaseError> {
        let lock = beside(&self.path, LOCK);
        Locked::at(&lock, WRITE_PATIENCE).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => DatabaseError::Busy(self.path.clone()),
            _ => DatabaseError::File(lock, error),
        })
    }

    fn check_header(&self) -> Result<(), DatabaseError> {
        let number = |pragma| {
            self.connection.query_row(pragma, [], |row| row.get::<_, i32>(0)).map_err(|error| self.sqlite(error))
        };
        if number("PRAGMA application_id")? != APPLICATION_ID {
            if number("PRAGMA page_count")? == 0 {
                return Err(DatabaseError::Missing(self.path.clone()));
            }
            return Err(DatabaseError::Schema(self.path.clone(), "is not a database of jit-sudo".to_owned()));
        }
        let found = number("PRAGMA user_version")?;
        if found > SCHEMA_VERSION {
            return Err(DatabaseError::Newer { path: self.path.clone(), found, known: SCHEMA_VERSION });
        }
        if found != SCHEMA_VERSION {
            return Err(DatabaseError::Older { path: self.path.clone(), found });
        }
        // The file exists only for a database in WAL mode.
        if self.wal != Wal::New {
            return Ok(());
        }
        let mode: String = self
            .connection
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))
            .map_err(|error| self.sqlite(error))?;
        if mode != "wal" {
            return Err(DatabaseError::Schema(self.path.clone(), format!("is in {mode} mode instead of WAL mode")));
        }
        Ok(())
    }

    /// Compares all of sqlite_schema with the declared schema: an additional trigger would be code that root runs.
    fn check_schema(&self, schema: &[&str]) -> Result<(), DatabaseError> {
        if self.is_as_created(schema).map_err(|error| self.sqlite(error))? {
            return Ok(());
        }
        let mut missing: Vec<&str> = statements(schema).collect();
        let mut compare = || -> rusqlite::Result<Option<String>> {
            let mut statement = self.connection.prepare("SELECT type, name, sql FROM sqlite_schema")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let kind = row.get_ref(0)?.as_str()?;
                let Some(text) = row.get_ref(2)?.as_str_or_null()? else {
                    if kind == "index" {
                        continue; // SQLite's own index of a PRIMARY KEY or UNIQUE constraint
                    }
                    return Ok(Some(format!("holds a {kind} without a definition")));
                };
                match missing.iter().position(|wanted| *wanted == text) {
                    Some(index) => drop(missing.swap_remove(index)),
                    None => {
                        let name = jit_core::escape::escape(row.get_ref(1)?.as_bytes()?);
                        return Ok(Some(format!("holds an unknown or altered {kind} '{name}'")));
                    }
                }
            }
            Ok(missing.first().map(|wanted| format!("lacks '{}'", wanted.split('(').next().unwrap_or(wanted).trim())))
        };
        match compare().map_err(|error| self.sqlite(error))? {
            None => Ok(()),
            Some(difference) => Err(DatabaseError::Schema(self.path.clone(), difference)),
        }
    }

    /// Compares statement by statement, which is enough when all statements are in the order of their creation.
    fn is_as_created(&self, schema: &[&str]) -> rusqlite::Result<bool> {
        // Only SQLite's own indexes have no text.
        let mut select =
            self.connection.prepare("SELECT sql FROM sqlite_schema WHERE sql NOT NULL OR type <> 'index'")?;
        let (mut rows, mut wanted) = (select.query([])?, statements(schema));
        while let Some(row) = rows.next()? {
            if row.get_ref(0)?.as_str_or_null()? != wanted.next() {
                return Ok(false);
            }
        }
        Ok(wanted.next().is_none())
    }
}

/// Opens without creating, and sets the options that must hold before the first page is read.
fn connect(path: &Path, wal: Wal) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    for (option, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
        // Query plans do not depend on bound values, so SQLite prepares each statement once.
        (DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true),
    ] {
        connection.set_db_config(option, value)?;
    }
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LENGTH_LIMIT)?;
    connection.set_limit(Limit::SQLITE_LIMIT_WORKER_THREADS, 0)?;
    if wal == Wal::Long {
        connection.execute_batch(&format!("PRAGMA journal_size_limit = {WAL_LIMIT}"))?;
    }
    connection.execute_batch(OPTIONS)?;
    Ok(connection)
}

/// Options of each connection. The bundled library is built with them (`.cargo/config.toml`).
const OPTIONS: &str = if cfg!(feature = "bundled") {
    ""
} else {
    "PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON; PRAGMA synchronous = NORMAL; PRAGMA mmap_size = 0"
};

/// Counts the frames that commits leave in the WAL. Replaces SQLite's own hook, which would checkpoint during the commit.
fn count_frames(connection: &mut Connection) -> rusqlite::Result<Arc<AtomicI32>> {
    let frames = Arc::new(AtomicI32::new(0));
    let counted = Arc::clone(&frames);
    connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
        counted.store(count, Ordering::Relaxed);
        Ok(())
    }))?;
    Ok(frames)
}

fn objects(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
}

fn statements<'a>(schema: &[&'a str]) -> impl Iterator<Item = &'a str> {
    schema.iter().flat_map(|text| text.split(';')).map(str::trim).filter(|statement| !statement.is_empty())
}

#[cfg(test)]
pub(crate) mod tests;
