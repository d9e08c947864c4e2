//! Hostile files, foreign schemas, full disks, killed writers and many concurrent writers.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;
use crate::console::Console;

/// A private directory for a test, on a real disk, removed when it is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let directory = PathBuf::from(format!("/var/tmp/jit-sudo-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        DirBuilder::new().mode(0o700).create(&directory).unwrap();
        Self(directory)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.join("journal.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns a command that runs one ignored test of this binary in a process of its own, with `environment`, under `wrapper`.
pub(crate) fn child(wrapper: &[&str], test: &str, environment: &[(&str, &str)]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = match wrapper.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("JIT_SUDO_TEST_CHILD", "1").envs(environment.iter().copied()).env_remove("RUST_BACKTRACE");
    command
}

/// Fails unless [`child`] started this process: such a test may mount a file system or be killed, and must not run by accident.
pub(crate) fn assert_is_child() {
    assert!(std::env::var_os("JIT_SUDO_TEST_CHILD").is_some(), "this test is run by another one");
}

#[test]
fn a_process_with_an_open_database_cannot_be_stopped_from_a_terminal() {
    let scratch = Scratch::new("stops");
    let blocked = || sys::signals::block(sys::signals::SignalSet::EMPTY).unwrap();
    let before = blocked();
    let database = create(&scratch);
    for signal in sys::signals::STOPS {
        assert!(blocked().contains(signal), "{signal}");
    }
    drop(database);
    assert_eq!(blocked(), before);
}

const SCHEMA: &str = "CREATE TABLE thing (id INTEGER PRIMARY KEY, text TEXT UNIQUE) STRICT;
CREATE INDEX thing_by_text ON thing (text, id)";

pub(in crate::database) fn create(scratch: &Scratch) -> Database {
    Database::create(&scratch.path(), &[SCHEMA]).unwrap()
}

pub(in crate::database) fn open(scratch: &Scratch) -> Result<Database, DatabaseError> {
    Database::open(&scratch.path(), &[SCHEMA])
}

/// Returns the error of `open` after `spoil`, given the path, has changed a good database.
fn spoiled(name: &str, spoil: impl FnOnce(&Path)) -> DatabaseError {
    let scratch = Scratch::new(name);
    drop(create(&scratch));
    spoil(&scratch.path());
    open(&scratch).map(drop).unwrap_err()
}

fn raw(path: &Path, statements: &str) {
    Connection::open(path).unwrap().execute_batch(statements).unwrap();
}

pub(in crate::database) fn insert(database: &Database, text: &str) -> Result<(), DatabaseError> {
    database.write(Durability::Synced, |transaction| {
        let inserted = transaction.execute("INSERT INTO thing (text) VALUES (?1)", [text]);
        inserted.map(drop).map_err(|error| database.sqlite(error))
    })
}

pub(in crate::database) fn count(database: &Database) -> i64 {
    database.connection().query_row("SELECT count(*) FROM thing", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_new_database_is_private_and_opens_again() {
    let scratch = Scratch::new("new");
    drop(create(&scratch));
    let database = open(&scratch).unwrap();
    assert!(matches!(Database::create(&scratch.path(), &[SCHEMA]), Err(DatabaseError::Exists(_))));
    for name in ["", "-wal", "-shm"] {
        let mode = fs::metadata(beside(&scratch.path(), name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(database.integrity().unwrap(), Vec::<String>::new());
}

#[test]
fn a_missing_database_is_not_created() {
    let scratch = Scratch::new("missing");
    assert!(matches!(open(&scratch), Err(DatabaseError::Missing(_))));
    assert!(!scratch.path().exists());
    let nowhere = scratch.0.join("none/journal.db");
    assert!(matches!(Database::open(&nowhere, &[SCHEMA]), Err(DatabaseError::Missing(_))));
}

#[test]
fn the_next_creation_finishes_one_that_was_killed() {
    let scratch = Scratch::new("half");
    fs::write(scratch.path(), "").unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(open(&scratch), Err(DatabaseError::Missing(_))));
    drop(create(&scratch));
    assert!(open(&scratch).is_ok());
}

#[test]
fn links_and_files_of_other_users_are_rejected() {
    let moved = |path: &Path| {
        let away = beside(path, ".away");
        fs::rename(path, &away).unwrap();
        away
    };
    let causes = [
        ("link", spoiled("link", |path| symlink(moved(path), path).unwrap()), "is not a regular file"),
        ("hard", spoiled("hard", |path| fs::hard_link(path, beside(path, ".b")).unwrap()), "hard links"),
        ("owner", spoiled("owner", |path| chown(path, Some(65534), None).unwrap()), "does not belong to root"),
        ("mode", spoiled("mode", |path| chmod(path, 0o640)), "is open to others"),
        ("directory", spoiled("directory", |path| chmod(path.parent().unwrap(), 0o755)), "is open to others"),
        ("wal", spoiled("wal", |path| chmod(&beside(path, "-wal"), 0o666)), "is open to others"),
        (
            "shm",
            spoiled("shm", |path| {
                fs::remove_file(beside(path, "-shm")).unwrap();
                symlink("/etc/passwd", beside(path, "-shm")).unwrap();
            }),
            "is not a regular file",
        ),
        ("journal", spoiled("journal", |path| fs::write(beside(path, "-journal"), "x").unwrap()), "does not belong"),
        (
            "fifo",
            spoiled("fifo", |path| {
                moved(path);
                assert!(Command::new("mkfifo").arg("-m600").arg(path).status().unwrap().success());
            }),
            "is not a regular file",
        ),
    ];
    for (name, error, wanted) in causes {
        assert!(matches!(error, DatabaseError::Untrusted(..)), "{name}: {error}");
        assert!(error.to_string().contains(wanted), "{name}: {error}");
    }
}

#[test]
fn a_directory_that_is_a_symlink_is_rejected() {
    let scratch = Scratch::new("linked");
    drop(create(&scratch));
    let link = scratch.0.join("link");
    symlink(&scratch.0, &link).unwrap();
    let error = Database::open(&link.join("journal.db"), &[SCHEMA]).map(drop).unwrap_err();
    assert!(matches!(error, DatabaseError::Untrusted(..)), "{error}");
    // SQLite itself rejects a symbolic link further up.
    fs::create_dir(scratch.0.join("inner")).unwrap();
    chmod(&scratch.0.join("inner"), 0o700);
    let inner = link.join("inner/journal.db");
    assert!(Database::create(&inner, &[SCHEMA]).is_err());
}

#[test]
fn an_unknown_schema_is_rejected() {
    for (name, statements, wanted) in [
        ("trigger", "CREATE TRIGGER evil AFTER INSERT ON thing BEGIN DELETE FROM thing; END", "trigger 'evil'"),
        ("view", "CREATE VIEW evil AS SELECT 1", "view 'evil'"),
        ("table", "CREATE TABLE evil (x)", "table 'evil'"),
        ("index", "CREATE INDEX evil ON thing (text)", "index 'evil'"),
        // A SQLite with more modules would leave this.
        (
            "virtual",
            "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('table', 'evil', 'evil', 0, 'CREATE VIRTUAL TABLE evil USING fts5(x)')",
            "'evil'",
        ),
        ("statistics", "INSERT INTO thing (text) VALUES ('x'); ANALYZE", "'sqlite_stat1'"),
        ("dropped", "DROP INDEX thing_by_text", "lacks 'CREATE INDEX thing_by_text ON thing'"),
        ("column", "ALTER TABLE thing ADD COLUMN more TEXT", "altered table 'thing'"),
        ("name", "CREATE TABLE \"a\n\u{1b}[2Jb\" (x)", "'a\\x0a\\x1b[2Jb'"),
        ("foreign", "PRAGMA application_id = 1", "not a database of jit-sudo"),
        ("mode", "PRAGMA journal_mode = DELETE", "delete mode"),
    ] {
        let error = spoiled(&format!("schema-{name}"), |path| raw(path, statements));
        assert!(matches!(error, DatabaseError::Schema(..)), "{name}: {error}");
        assert!(error.to_string().contains(wanted), "{name}: {error}");
    }
    let older = spoiled("schema-older", |path| raw(path, "PRAGMA user_version = 0"));
    assert!(matches!(older, DatabaseError::Older { found: 0, .. }), "{older}");
    let newer = spoiled("schema-newer", |path| raw(path, "PRAGMA user_version = 9"));
    assert!(matches!(newer, DatabaseError::Newer { found: 9, known: SCHEMA_VERSION, .. }), "{newer}");
}

#[test]
fn garbage_is_an_error() {
    for (name, bytes) in [("empty", vec![]), ("text", b"hello".to_vec()), ("random", vec![0xa5; 100_000])] {
        let error = spoiled(&format!("garbage-{name}"), |path| {
            fs::write(path, bytes).unwrap();
            for suffix in ["-wal", "-shm"] {
                fs::remove_file(beside(path, suffix)).unwrap();
            }
        });
        let is_empty = name == "empty" && matches!(error, DatabaseError::Missing(_));
        let is_garbage = matches!(error, DatabaseError::Schema(..) | DatabaseError::Sqlite(..));
        assert!(is_empty || is_garbage, "{name}: {error}");
        assert!(error.to_string().contains("journal.db"), "{error}");
    }
}

#[test]
fn sqlite_features_for_hostile_statements_are_disabled() {
    let scratch = Scratch::new("defence");
    let database = create(&scratch);
    for statement in [
        "ATTACH '/etc/passwd' AS other",
        "SELECT load_extension('/tmp/x.so')",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'x'",
        "SELECT \"no such column\"",
    ] {
        assert!(database.connection().execute_batch(statement).is_err(), "{statement}");
    }
    for (pragma, wanted) in [
        ("PRAGMA mmap_size", 0),
        ("PRAGMA trusted_schema", 0),
        ("PRAGMA foreign_keys", 1),
        ("PRAGMA cell_size_check", 1),
        ("PRAGMA synchronous", 1),
        ("PRAGMA busy_timeout", 5000),
    ] {
        assert_eq!(database.connection().query_row(pragma, [], |row| row.get(0)), Ok(wanted), "{pragma}");
    }
    // A library that is built to keep them in memory reports the pragma as unset.
    let number = |sql: &str| database.connection().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let built = number("SELECT count(*) FROM pragma_compile_options WHERE compile_options = 'TEMP_STORE=3'");
    assert!(built == 1 || number("PRAGMA temp_store") == 2);
}

#[test]
fn a_read_transaction_sees_one_state_until_it_is_dropped_or_a_write_begins() {
    let scratch = Scratch::new("reading");
    let mut console = Console::of_this_process().unwrap();
    let (database, other) = (create(&scratch), open(&scratch).unwrap());
    let reading = database.reading(&mut console);
    assert_eq!(count(&database), 0);
    insert(&other, "one").unwrap();
    assert_eq!(count(&database), 0);
    drop(reading);
    assert_eq!(count(&database), 1);
    let reading = database.reading(&mut console);
    assert_eq!(count(&database), 1);
    insert(&other, "two").unwrap();
    insert(&database, "three").unwrap();
    assert_eq!(count(&database), 3);
    drop(reading);
    insert(&database, "four").unwrap();
    assert_eq!(count(&other), 4);
}

#[test]
fn a_failed_change_leaves_nothing_and_the_next_one_works() {
    let scratch = Scratch::new("rollback");
    let database = create(&scratch);
    insert(&database, "a").unwrap();
    assert!(insert(&database, "a").is_err());
    let failed: Result<(), DatabaseError> = database.write(Durability::Ordered, |transaction| {
        transaction.execute("INSERT INTO thing (text) VALUES ('b')", []).unwrap();
        Err(DatabaseError::Busy(PathBuf::new()))
    });
    assert!(failed.is_err());
    insert(&database, "c").unwrap();
    assert_eq!(count(&database), 2);
}

#[test]
fn a_write_fails_when_the_database_was_replaced() {
    for replace in [
        |path: &Path| fs::remove_file(beside(path, "-wal")),
        |path: &Path| fs::remove_file(beside(path, "-shm")),
        |path: &Path| {
            fs::copy(path, path.with_extension("copy")).and_then(|_| fs::rename(path.with_extension("copy"), path))
        },
        |path: &Path| fs::rename(path, path.with_extension("old")),
    ] {
        let scratch = Scratch::new("replaced");
        let database = create(&scratch);
        insert(&database, "a").unwrap();
        assert!(database.place().is_the_same());
        replace(&scratch.path()).unwrap();
        assert!(!database.place().is_the_same());
        let write = |durability| {
            database.write(durability, |tx| {
                tx.execute("INSERT INTO thing (text) VALUES ('b')", []).unwrap();
                Ok::<_, DatabaseError>(())
            })
        };
        for durability in [Durability::Ordered, Durability::Synced] {
            assert!(matches!(write(durability), Err(DatabaseError::Replaced(_))));
        }
        assert_eq!(count(&database), 1);
    }
}

#[test]
fn a_long_wal_is_checkpointed_only_when_no_caller_waits() {
    let scratch = Scratch::new("tidy");
    let database = create(&scratch);
    let length = |suffix| fs::metadata(beside(&scratch.path(), suffix)).unwrap().len();
    let short = length("");
    let mut rows = 0;
    while database.frames.load(Ordering::Relaxed) < WAL_FRAMES {
        insert(&database, &format!("{rows}-{}", "x".repeat(2000))).unwrap();
        rows += 1;
    }
    assert_eq!(length(""), short);
    database.tidy();
    assert!(length("") > short);
    let long = length("-wal");
    insert(&database, "the WAL begins anew").unwrap();
    assert_eq!(length("-wal"), long);
    assert!(database.frames.load(Ordering::Relaxed) < WAL_FRAMES);
    drop(database);
    assert_eq!(count(&open(&scratch).unwrap()), rows + 1);
}

#[test]
fn every_damaged_page_is_an_error_or_harmless() {
    let scratch = Scratch::new("pages");
    let database = create(&scratch);
    for number in 0..400 {
        insert(&database, &format!("{number}-{}", "x".repeat(100))).unwrap();
    }
    database.connection().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(database);
    let whole = fs::read(scratch.path()).unwrap();
    let size = PAGE as usize;
    assert!(whole.len() > 20 * size);
    for page in 0..whole.len() / size {
        for fill in [0x00, 0xff, 0x5a] {
            let mut damaged = whole.clone();
            damaged[page * size..(page + 1) * size].fill(fill);
            fs::write(scratch.path(), damaged).unwrap();
            let _ = fs::remove_file(beside(&scratch.path(), "-wal"));
            let found = open(&scratch).and_then(|database| {
                let faults = database.integrity()?;
                let _ = insert(&database, "new");
                Ok(faults)
            });
            assert!(found.is_err() || found.is_ok_and(|faults| !faults.is_empty()), "page {page} {fill:#x}");
        }
    }
}

#[test]
fn a_full_disk_is_an_error_and_passes() {
    // Runs in a mount namespace of its own, on a file system of 256 KiB.
    let status = child(&["unshare", "--mount"], "database::tests::child_on_a_full_disk", &[]).status().unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "run by a_full_disk_is_an_error_and_passes in a process of its own"]
fn child_on_a_full_disk() {
    assert_is_child();
    let scratch = Scratch::new("full");
    let mount = |options: &str| {
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&scratch.0).status();
        assert!(status.unwrap().success());
    };
    mount("size=256k,mode=700");
    let database = create(&scratch);
    let ballast = scratch.0.join("ballast");
    fs::write(&ballast, vec![0; 32 << 10]).unwrap();
    let mut kept = 0;
    let error = loop {
        match insert(&database, &format!("{kept}-{}", "x".repeat(3000))) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(kept > 3 && error.to_string().contains("full"), "{kept}: {error}");
    assert_eq!(count(&database), kept);
    drop(database);
    // The database still opens for reading, and accepts writes when there is space again.
    let database = open(&scratch).unwrap();
    assert_eq!(count(&database), kept);
    fs::remove_file(&ballast).unwrap();
    insert(&database, "after").unwrap();
    assert_eq!((count(&database), database.integrity().unwrap()), (kept + 1, Vec::new()));

    drop(database);

    mount("remount,ro");
    let error = open(&scratch).and_then(|database| insert(&database, "read-only")).unwrap_err();
    let is_read_only = |error: &std::io::Error| error.kind() == ErrorKind::ReadOnlyFilesystem;
    assert!(matches!(&error, DatabaseError::File(_, cause) if is_read_only(cause)), "{error}");
    mount("remount,rw");
    let database = open(&scratch).unwrap();
    insert(&database, "writable").unwrap();
    drop(database);
    assert!(Command::new("umount").arg(&scratch.0).status().unwrap().success());
}

#[test]
fn a_crowd_of_writers_is_served_whole() {
    let scratch = Scratch::new("crowd");
    drop(create(&scratch));
    let path = scratch.path();
    let begun = Instant::now();
    let children: Vec<_> = (0..100)
        .map(|number| {
            let environment = [("DATABASE", path.to_str().unwrap()), ("NUMBER", &number.to_string())];
            let mut command = child(&[], "database::tests::child_in_a_crowd", &environment);
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(count(&open(&scratch).unwrap()), 400);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
#[ignore = "run by a_crowd_of_writers_is_served_whole in a process of its own"]
fn child_in_a_crowd() {
    assert_is_child();
    let path = PathBuf::from(std::env::var_os("DATABASE").unwrap());
    let number = std::env::var("NUMBER").unwrap();
    for round in 0..4 {
        insert(&Database::open(&path, &[SCHEMA]).unwrap(), &format!("{number}/{round}")).unwrap();
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
