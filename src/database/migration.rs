//! Migrates a database of an earlier version, in one transaction: if the process is killed meanwhile, the old database remains.
//! May not: change a database that is not exactly what that version wrote.

use std::path::Path;

use super::{Database, DatabaseError, Durability, SCHEMA_VERSION};

/// An earlier schema, and the statements that convert it into the next one.
#[derive(Debug, Clone, Copy)]
pub struct Earlier {
    /// Its `PRAGMA user_version`.
    pub version: i32,
    /// The whole schema, in the form that [`Database::open`] takes.
    pub schema: &'static str,
    /// Statements that convert it into the schema of the next version.
    pub steps: &'static str,
}

impl Database {
    /// Converts one of the `earlier` schemas into the schema of this version; does nothing where another process has done it
    /// meanwhile. Programs of the earlier version that have it open keep working, as far as the steps leave what they use.
    ///
    /// # Errors
    /// Those of [`Self::open`]; then the database is as it was.
    pub fn bring_up_to_date(path: &Path, earlier: &[Earlier], schema: &[&str]) -> Result<(), DatabaseError> {
        let database = Self::connected(path)?;
        database.write(Durability::Synced, |transaction| {
            let execute = |text: &str| transaction.execute_batch(text).map_err(|error| database.sqlite(error));
            loop {
                let found = match database.check_header() {
                    Ok(()) => return database.check_schema(schema),
                    Err(DatabaseError::Older { found, .. }) => found,
                    Err(error) => return Err(error),
                };
                let Some(known) = earlier.iter().find(|known| known.version == found && found < SCHEMA_VERSION) else {
                    return Err(DatabaseError::Older { path: path.to_owned(), found });
                };
                database.check_schema(&[known.schema])?;
                execute(known.steps)?;
                execute(&format!("PRAGMA user_version = {}", known.version.saturating_add(1)))?;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::database::tests::Scratch;

    const OLD: &str = "CREATE TABLE thing (id INTEGER PRIMARY KEY, old TEXT) STRICT";
    const NOW: &[&str] = &["CREATE TABLE thing (id INTEGER PRIMARY KEY, text TEXT UNIQUE) STRICT"];
    const STEPS: &str = "CREATE TEMP TABLE moved AS SELECT * FROM thing; DROP TABLE thing;
        CREATE TABLE thing (id INTEGER PRIMARY KEY, text TEXT UNIQUE) STRICT;
        INSERT INTO thing SELECT id, old FROM moved; DROP TABLE moved";
    const EARLIER: &[Earlier] = &[Earlier { version: SCHEMA_VERSION - 1, schema: OLD, steps: STEPS }];

    /// Creates a database of the version before, with these texts in it.
    fn old(name: &str, texts: &[&str]) -> Scratch {
        let scratch = Scratch::new(name);
        drop(Database::create(&scratch.path(), &[OLD]).unwrap());
        let connection = Connection::open(scratch.path()).unwrap();
        for text in texts {
            connection.execute("INSERT INTO thing (old) VALUES (?1)", [text]).unwrap();
        }
        connection.execute_batch(&format!("PRAGMA user_version = {}", SCHEMA_VERSION - 1)).unwrap();
        scratch
    }

    fn texts(scratch: &Scratch) -> Vec<String> {
        let database = Database::open(&scratch.path(), NOW).unwrap();
        let mut statement = database.connection().prepare("SELECT text FROM thing ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn an_earlier_schema_is_rejected_until_it_is_migrated_and_keeps_its_rows() {
        let scratch = old("migration-rows", &["one", "two"]);
        let refused = Database::open(&scratch.path(), NOW).map(drop).unwrap_err();
        assert!(matches!(refused, DatabaseError::Older { found, .. } if found == SCHEMA_VERSION - 1), "{refused}");
        Database::bring_up_to_date(&scratch.path(), EARLIER, NOW).unwrap();
        assert_eq!(texts(&scratch), ["one", "two"]);
        Database::bring_up_to_date(&scratch.path(), EARLIER, NOW).unwrap();
        assert_eq!(texts(&scratch), ["one", "two"]);
    }

    #[test]
    fn a_failed_migration_changes_nothing() {
        let scratch = old("migration-fails", &["same", "same"]);
        let failed = Database::bring_up_to_date(&scratch.path(), EARLIER, NOW).unwrap_err();
        assert!(matches!(failed, DatabaseError::Sqlite(..)), "{failed}");
        let connection = Connection::open(scratch.path()).unwrap();
        let rows = connection.query_row("SELECT count(old) FROM thing", [], |row| row.get::<_, i64>(0));
        assert_eq!(rows, Ok(2));
        let version = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i32>(0));
        assert_eq!(version, Ok(SCHEMA_VERSION - 1));
    }

    #[test]
    fn only_a_database_of_an_earlier_version_is_migrated() {
        for (name, spoil) in [
            ("foreign", "CREATE TABLE evil (x)"),
            ("ancient", "PRAGMA user_version = 0"),
            ("newer", "PRAGMA user_version = 9"),
            ("other", "PRAGMA application_id = 7"),
        ] {
            let scratch = old(&format!("migration-{name}"), &["one"]);
            let connection = Connection::open(scratch.path()).unwrap();
            connection.execute_batch(spoil).unwrap();
            assert!(Database::bring_up_to_date(&scratch.path(), EARLIER, NOW).is_err(), "{name}");
            let rows = connection.query_row("SELECT count(old) FROM thing", [], |row| row.get::<_, i64>(0));
            assert_eq!(rows, Ok(1), "{name}");
        }
    }

    #[test]
    fn concurrent_migrations_convert_the_database_once() {
        let scratch = old("migration-crowd", &["one"]);
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Database::bring_up_to_date(&scratch.path(), EARLIER, NOW))).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        });
        assert_eq!(texts(&scratch), ["one"]);
    }
}
