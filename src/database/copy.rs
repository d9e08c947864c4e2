//! Copies of the whole database: a consistent one into a new file, and one that is put in the place of the database.
//! May not: overwrite or delete a database.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use sys::lock::Locked;
use sys::signals::Unstoppable;

use super::files::{DatabaseFiles, beside, check_directory, directory_of};
use super::index::Index;
use super::{Database, DatabaseError, Durability, LOCK, WRITE_PATIENCE, Wal};

/// What SQLite adds to the name of a database for the files beside it.
const FILES: [&str; 3] = ["", "-wal", "-shm"];

impl Database {
    /// Copies the database as it is at one moment into the empty file at `path`; other processes write meanwhile. `note` may add to
    /// the copy. The copy is a database without a WAL, so the file alone is complete; it is on the disk when this returns.
    pub fn copy_to<T, E: From<DatabaseError>>(
        &self,
        path: &Path,
        note: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let failed = |error| DatabaseError::Sqlite(path.to_owned(), error);
        let mut copy = alone(path).map_err(failed)?;
        // A file that is not complete is removed by the caller, so nothing has to be undone or synced before the end.
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(failed)?;
        let copied = Backup::new(&self.connection, &mut copy).and_then(|backup| backup.step(-1));
        match copied.map_err(|error| self.sqlite(error))? {
            StepResult::Done => {}
            _ => return Err(DatabaseError::Busy(self.path.clone()).into()),
        }
        leave_wal_mode(&copy).map_err(failed)?;
        let noted = note(&copy)?;
        drop(copy);
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|error| DatabaseError::File(path.to_owned(), error))?;
        Ok(noted)
    }

    /// Opens a copy that [`Self::copy_to`] has made, for reading, where it is.
    pub fn open_copy(path: &Path, schema: &[&str]) -> Result<Self, DatabaseError> {
        let unstoppable = Unstoppable::begin().map_err(|error| DatabaseError::File(path.to_owned(), error))?;
        let connection = alone(path).map_err(|error| DatabaseError::Sqlite(path.to_owned(), error))?;
        let copy = Self {
            connection,
            path: path.to_owned(),
            frames: Arc::default(),
            wal: Wal::Old,
            durability: Cell::new(Durability::Synced),
            reading: RefCell::default(),
            opened_at: None,
            place: DatabaseFiles::unknown(path),
            index: Index::Built,
            _unstoppable: unstoppable,
        };
        copy.checked_state(schema)?;
        Ok(copy)
    }

    /// Makes a copy that [`Self::copy_to`] has made into a database that [`Self::open`] accepts.
    pub fn wake_copy(path: &Path) -> Result<(), DatabaseError> {
        let failed = |error| DatabaseError::Sqlite(path.to_owned(), error);
        let copy = alone(path).map_err(failed)?;
        let mode: String = copy.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
        if mode != "wal" {
            return Err(DatabaseError::Schema(path.to_owned(), format!("stays in {mode} mode instead of WAL mode")));
        }
        Ok(())
    }

    /// Closes the database so that its one file is complete, and on the disk.
    pub fn settle(self) -> Result<(), DatabaseError> {
        let (path, truncated) = (self.path.clone(), "PRAGMA wal_checkpoint(TRUNCATE)");
        let is_busy = self.connection.query_row(truncated, [], |row| row.get::<_, i64>(0));
        if is_busy.map_err(|error| self.sqlite(error))? != 0 {
            return Err(DatabaseError::Busy(path));
        }
        drop(self);
        let file = |error| DatabaseError::File(path.clone(), error);
        for suffix in ["-wal", "-shm"] {
            remove(&beside(&path, suffix)).map_err(file)?;
        }
        File::open(&path).and_then(|file| file.sync_all()).map_err(file)
    }

    /// Puts the settled database at `new` in the place of the one at `path`, which need not be one that can be read. Its files stay
    /// under the name `former`. No process writes meanwhile, and one that has the former files open notices before it commits. Returns
    /// whether there was a former database.
    pub fn put_in_place(path: &Path, new: &Path, former: &Path) -> Result<bool, DatabaseError> {
        let _unstoppable = Unstoppable::begin().map_err(|error| DatabaseError::File(path.to_owned(), error))?;
        check_directory(path)?;
        let lock = beside(path, LOCK);
        let _turn = Locked::at(&lock, WRITE_PATIENCE).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => DatabaseError::Busy(path.to_owned()),
            _ => DatabaseError::File(lock, error),
        })?;
        let file = |error| DatabaseError::File(path.to_owned(), error);
        // The database first: no process takes the WAL for that of the new one.
        let mut was_there = false;
        for suffix in FILES {
            match fs::rename(beside(path, suffix), beside(former, suffix)) {
                Ok(()) => was_there |= suffix.is_empty(),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(file(error)),
            }
        }
        fs::rename(new, path).map_err(file)?;
        File::open(directory_of(path)).and_then(|directory| directory.sync_all()).map_err(file)?;
        Ok(was_there)
    }

    /// Removes the files of a database, as far as they exist.
    pub fn discard(path: &Path) -> Result<(), DatabaseError> {
        let removed = FILES.iter().try_for_each(|suffix| remove(&beside(path, suffix)));
        removed.map_err(|error| DatabaseError::File(path.to_owned(), error))
    }
}

/// Opens a database that no other process uses, without a file for shared memory.
fn alone(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY")?;
    Ok(connection)
}

/// The copied header says that the database has a WAL.
fn leave_wal_mode(copy: &Connection) -> rusqlite::Result<()> {
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    copy.execute_batch("PRAGMA synchronous = FULL")
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::tests::Scratch;

    const SCHEMA: &[&str] = &["CREATE TABLE thing (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT"];

    fn add(database: &Database, text: &str) {
        let added = database.write::<_, DatabaseError>(Durability::Synced, |tx| {
            tx.execute("INSERT INTO thing (text) VALUES (?1)", [text]).map_err(|error| database.sqlite(error))
        });
        assert_eq!(added.unwrap(), 1);
    }

    fn texts(database: &Database) -> Vec<String> {
        let mut statement = database.connection().prepare("SELECT text FROM thing ORDER BY id").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_copy_is_one_file_with_the_state_of_one_moment_and_can_take_the_place_of_the_database() {
        let scratch = Scratch::new("copy");
        let database = Database::create(&scratch.path(), SCHEMA).unwrap();
        add(&database, "before");
        let copy = scratch.path().with_file_name("copy.db");
        File::create_new(&copy).unwrap();
        let number = database.copy_to(&copy, |copied| {
            add(&database, "meanwhile");
            let noted = copied.execute("INSERT INTO thing (text) VALUES ('noted')", []);
            noted.map_err(|error| DatabaseError::Sqlite(copy.clone(), error))
        });
        assert_eq!(number.unwrap(), 1);
        assert_eq!(fs::read(&copy).unwrap()[18..20], [1, 1], "the file needs no WAL");
        assert!(!beside(&copy, "-wal").exists() && !beside(&copy, "-shm").exists());
        assert_eq!(texts(&Database::open_copy(&copy, SCHEMA).unwrap()), ["before", "noted"]);

        fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Database::wake_copy(&copy).unwrap();
        Database::open(&copy, SCHEMA).unwrap().settle().unwrap();
        assert!(!beside(&copy, "-wal").exists());
        let former = scratch.path().with_file_name("former.db");
        assert!(Database::put_in_place(&scratch.path(), &copy, &former).unwrap());
        assert_eq!(texts(&Database::open(&scratch.path(), SCHEMA).unwrap()), ["before", "noted"]);
        assert_eq!(texts(&Database::open(&former, SCHEMA).unwrap()), ["before", "meanwhile"]);
        let late = database.write::<_, DatabaseError>(Durability::Synced, |tx| {
            tx.execute("INSERT INTO thing (text) VALUES ('late')", []).map_err(|error| database.sqlite(error))
        });
        assert!(matches!(late, Err(DatabaseError::Replaced(_))), "{late:?}");
    }

    #[test]
    fn a_database_that_is_missing_or_cannot_be_read_is_replaced_too() {
        let scratch = Scratch::new("copy-broken");
        let database = Database::create(&scratch.path(), SCHEMA).unwrap();
        let former = scratch.path().with_file_name("former.db");
        let copies = ["1.db", "2.db"].map(|name| scratch.path().with_file_name(name));
        for copy in &copies {
            File::create_new(copy).unwrap();
            fs::set_permissions(copy, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            database.copy_to::<_, DatabaseError>(copy, |_| Ok(())).unwrap();
            Database::wake_copy(copy).unwrap();
            Database::open(copy, SCHEMA).unwrap().settle().unwrap();
        }
        drop(database);
        for (copy, was_there) in copies.iter().zip([true, false]) {
            if was_there {
                fs::write(scratch.path(), [0; 4096]).unwrap();
            } else {
                Database::discard(&scratch.path()).unwrap();
            }
            assert_eq!(Database::put_in_place(&scratch.path(), copy, &former).unwrap(), was_there);
            drop(Database::open(&scratch.path(), SCHEMA).unwrap());
            Database::discard(&former).unwrap();
        }
    }
}
