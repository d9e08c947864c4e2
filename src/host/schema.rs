//! The tables of the database, and the migration from earlier versions.

use std::path::Path;

use crate::audit;
use crate::auth::cache;
use crate::database::{Database, DatabaseError, Earlier};
use crate::policy_index;
use crate::store;

const SCHEMA: [&str; 7] = [
    audit::SCHEMA,
    store::SCHEMA,
    store::REVIEW_SCHEMA,
    store::ROLE_SCHEMA,
    store::STATEMENT_SCHEMA,
    cache::SCHEMA,
    policy_index::SCHEMA,
];

/// The schemas of earlier versions, each with the steps to the next.
const EARLIER: [Earlier; 2] = [
    Earlier { version: 1, schema: include_str!("schema/1.sql"), steps: include_str!("schema/1-to-2.sql") },
    // Requests of the first format cannot be approved any more. Runs are counted, and passwords remembered, by uid and name from
    // now on. The compiled policy is dropped: the first record of a policy lists all its roles.
    Earlier { version: 2, schema: include_str!("schema/2.sql"), steps: include_str!("schema/2-to-3.sql") },
];

/// Opens the database, and migrates it first where an earlier version wrote it.
pub fn open(path: &Path) -> Result<Database, DatabaseError> {
    match Database::open(path, &SCHEMA) {
        Err(DatabaseError::Older { .. }) => {
            Database::bring_up_to_date(path, &EARLIER, &SCHEMA)?;
            Database::open(path, &SCHEMA)
        }
        opened => opened,
    }
}

/// Opens a copy of the database for reading, where it is.
pub(super) fn open_copy(path: &Path) -> Result<Database, DatabaseError> {
    Database::open_copy(path, &SCHEMA)
}

/// Creates a new database.
pub(super) fn create(path: &Path) -> Result<Database, DatabaseError> {
    Database::create(path, &SCHEMA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Journal, sample};
    use crate::database::tests::Scratch;
    use rusqlite::Connection;

    #[test]
    fn the_first_schema_is_migrated_with_all_rows() {
        let scratch = Scratch::new("schema-1");
        drop(Database::create(&scratch.path(), &[EARLIER[0].schema]).unwrap());
        let rows = "INSERT INTO extension (request, extends) VALUES ('r1', 'g1'), ('r2', 'g1'), ('r3', 'g2');
            INSERT INTO request (id, uid, role, state, created, deadline, needed, body)
            SELECT column1, 7, 'ops', 'approved', 5, 6, 0, x'' FROM (VALUES ('r1'), ('r2'), ('r3'), ('r4'));
            INSERT INTO open_run (start, run, uid, pid, pid_start, boot_id) VALUES (9, 'run000000009', 7, 1, 1, 'b');
            INSERT INTO review_debt (id, uid, user, role, at) VALUES ('d', 7, 'alice', 'ops', 5);
            PRAGMA user_version = 1";
        Connection::open(scratch.path()).unwrap().execute_batch(rows).unwrap();

        let database = open(&scratch.path()).unwrap();
        let text = |query| database.connection().query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(
            text("SELECT group_concat(extends || id) FROM request WHERE extends IS NOT NULL ORDER BY id"),
            "g1r1,g1r2,g2r3"
        );
        assert_eq!(text("SELECT id FROM review_debt WHERE uid = 7"), "d");
        let journal = Journal::new(&database, "web1", Vec::new());
        assert_eq!(journal.open_runs().unwrap().iter().map(|open| open.start).collect::<Vec<_>>(), [9]);
        assert!(journal.left_runs().unwrap().is_empty());
        database.connection().execute_batch("DELETE FROM open_run; DELETE FROM request").unwrap();
        let _ = sample::started(&journal, "run000000001", 1);
        assert!(journal.verify_all().unwrap().is_ok());
    }

    #[test]
    fn a_policy_that_was_compiled_without_a_record_is_compiled_again() {
        let scratch = Scratch::new("schema-2");
        drop(Database::create(&scratch.path(), &[EARLIER[1].schema]).unwrap());
        let rows = "INSERT INTO policy_stamp VALUES (1, 'x', 'y'); INSERT INTO policy_settings VALUES (1, x'00', x'00');
            INSERT INTO policy_role VALUES ('a', x'00', x'00'); INSERT INTO policy_principal VALUES ('alice', 'standing', 'a');
            PRAGMA user_version = 2";
        Connection::open(scratch.path()).unwrap().execute_batch(rows).unwrap();
        let database = open(&scratch.path()).unwrap();
        for table in ["policy_settings", "policy_role", "policy_principal"] {
            let query = format!("SELECT count(*) FROM {table}");
            assert_eq!(database.connection().query_row(&query, [], |row| row.get::<_, i64>(0)), Ok(0), "{table}");
        }
        assert!(matches!(
            crate::policy_index::PolicyIndex::open(database.connection()),
            Err(crate::policy_index::IndexError::Empty)
        ));
    }

    #[test]
    fn a_running_program_of_the_first_version_can_still_end_its_run() {
        let scratch = Scratch::new("schema-running");
        drop(Database::create(&scratch.path(), &[EARLIER[0].schema]).unwrap());
        Connection::open(scratch.path()).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
        let running = Connection::open(scratch.path()).unwrap();
        let record = "INSERT INTO record (seq, kind, uid, run, grant_id, at, high, hash, body) VALUES (?1, 'end', 1, 'r', 'g', 1, 1, x'', x'')";
        let mut statement = running.prepare(record).unwrap();
        statement.execute([1]).unwrap();
        drop(open(&scratch.path()).unwrap());
        statement.execute([2]).unwrap();
        running.execute("DELETE FROM open_run WHERE start = 1", []).unwrap();
    }
}
