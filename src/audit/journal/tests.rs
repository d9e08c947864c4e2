use super::*;
use crate::audit::sample;
use crate::database::tests::Scratch;
use jit_core::evidence::Verified;
use jit_core::evidence::record::EndedBy;

type Failed<T> = Result<T, JournalError>;

#[test]
fn a_run_is_recorded_from_start_to_end() {
    let scratch = Scratch::new("journal-run");
    let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    let started = sample::started(&journal, "run000000001", 1);
    let end = journal.end(&started, &sample::moment(2), sample::ending()).unwrap();
    assert_eq!((started.written().seq, end.seq, end.kind()), (1, 2, "end"));
    assert_eq!(journal.head().unwrap(), Some((2, end.hash)));
    assert_eq!(journal.verify_all().unwrap(), Ok(Verified { records: 2, head: end.hash }));
    let Event::End(ended) = Record::decode(&end.body).unwrap().event else { panic!("{}", end.body) };
    assert_eq!((ended.start, ended.uid, ended.grant), (1, 1000, Some(sample::grant())));
}

#[test]
fn a_run_can_end_only_once() {
    let scratch = Scratch::new("journal-once");
    let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    let started = sample::started(&journal, "run000000001", 1);
    let _ = journal.end(&started, &sample::moment(2), sample::ending()).unwrap();
    let again = journal.end(&started, &sample::moment(3), RunOutcome::unknown(EndedBy::Itself));
    assert!(matches!(again, Err(JournalError::NotOpen(run)) if run == "run000000001"));
    assert_eq!(journal.head().unwrap().unwrap().0, 2);
}

#[test]
fn a_start_whose_claim_fails_writes_nothing() {
    let scratch = Scratch::new("journal-claim");
    let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    let refused = journal.start(&sample::moment(1), sample::start("run000000001"), sample::SELF, |transaction| {
        transaction.execute("INSERT INTO journal_meta (name, value) VALUES ('used', x'00')", [])?;
        Failed::<()>::Err(JournalError::NotOpen("used up".to_owned()))
    });
    assert!(refused.is_err());
    assert_eq!(journal.head().unwrap(), None);
    let rest = "SELECT (SELECT count(*) FROM journal_meta) + (SELECT count(*) FROM open_run)";
    assert_eq!(database.connection().query_row(rest, [], |row| row.get(0)), Ok(0));
}

#[test]
fn a_record_commits_together_with_its_transaction() {
    let scratch = Scratch::new("journal-append");
    let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    let events = sample::events().into_iter().filter(|event| !matches!(event, Event::Fork(_)));
    let count = events.clone().count() as u64;
    for (index, event) in events.enumerate() {
        let written = database
            .write(Durability::Ordered, |transaction| {
                let _ = journal.append(transaction, &sample::moment(1), event.clone())?;
                journal.append(transaction, &sample::moment(2), event)
            })
            .unwrap_or_else(|error: JournalError| panic!("{error}"));
        assert_eq!(written.seq, 2 * index as u64 + 2);
    }
    let failed: Failed<()> = database.write(Durability::Ordered, |transaction| {
        let _ = journal.append(transaction, &sample::moment(3), sample::events().remove(2))?;
        Err(JournalError::NoKey)
    });
    assert!(failed.is_err());
    assert_eq!(journal.verify_all().unwrap().unwrap().records, 2 * count);
}

fn high_water(database: &Database) -> Option<Timestamp> {
    last(database.connection()).unwrap().map(|last| last.high)
}

#[test]
fn the_greatest_time_never_decreases_by_itself() {
    let scratch = Scratch::new("journal-high");
    let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    assert_eq!(high_water(&database), None);
    for second in [5, 9, -1_000_000] {
        let _ = sample::started(&journal, "run000000001", second);
    }
    assert_eq!(high_water(&database), Some(sample::moment(9).wall));
    assert!(journal.verify_all().unwrap().is_ok());
}

#[test]
fn the_greatest_time_restarts_when_root_accepts_the_clock() {
    let scratch = Scratch::new("journal-accepted");
    let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    let _ = sample::started(&journal, "run000000001", 2_000_000_000);
    let alert = |code: &str, second| {
        let event = sample::events().into_iter().find(|event| event.keys().kind == "alert").unwrap();
        let Event::Alert(mut alert) = event else { panic!("{event:?}") };
        alert.code = code.to_owned();
        let append = |tx: &Transaction<'_>| journal.append(tx, &sample::moment(second), Event::Alert(alert));
        let _ = database.write(Durability::Synced, append).unwrap();
    };
    alert("clock-set-back", 1);
    assert_eq!(high_water(&database), Some(sample::moment(2_000_000_000).wall));
    alert(acceptance::ACCEPTED, 2);
    assert_eq!(high_water(&database), Some(sample::moment(2).wall));
    let _ = sample::started(&journal, "run000000002", 1);
    assert_eq!(high_water(&database), Some(sample::moment(2).wall), "and never sinks after that");
    assert!(journal.verify_all().unwrap().is_ok());
}

#[test]
fn a_journal_keeps_its_redaction_key() {
    let scratch = Scratch::new("journal-key");
    let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    assert!(matches!(journal.redaction_key(), Err(JournalError::NoKey)));
    database.write(Durability::Synced, |transaction| set_up(transaction, [6; 32])).unwrap();
    assert_eq!(journal.redaction_key().unwrap(), [6; 32]);
    assert!(database.write(Durability::Synced, |transaction| set_up(transaction, [7; 32])).is_err());
}

#[test]
fn a_record_of_many_megabytes_is_stored_and_a_larger_one_is_rejected() {
    let scratch = Scratch::new("journal-large");
    let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    let mut start = sample::start("run000000001");
    start.argv = vec![sample::hostile(); 10_000];
    let run = |start| journal.start(&sample::moment(1), start, sample::SELF, |_| Failed::Ok(()));
    let (started, ()) = run(start.clone()).unwrap();
    assert!(started.written().body.len() > 5_000_000);
    assert_eq!(journal.by_seq(1).unwrap().unwrap().body, started.written().body);
    start.argv = vec![vec![b'x'; 70 << 20].into_iter().map(char::from).collect::<String>().into()];
    assert!(run(start).is_err());
    assert_eq!(journal.verify_all().unwrap().unwrap().records, 1);
}

#[test]
fn every_altered_column_is_found() {
    for column in ["kind", "uid", "run", "grant_id", "at", "high", "hash", "body"] {
        let scratch = Scratch::new(&format!("journal-column-{column}"));
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        for second in 1..=3 {
            let _ = sample::started(&journal, "run000000001", second);
        }
        let value = match column {
            "hash" => "zeroblob(32)",
            "body" => "CAST(replace(CAST(body AS TEXT), 'alice', 'malice') AS BLOB)",
            "uid" | "at" | "high" => "7",
            _ => "'x'",
        };
        let alter = format!("UPDATE record SET {column} = {value} WHERE seq = 2");
        assert_eq!(database.connection().execute(&alter, []).unwrap(), 1);
        let bad = journal.verify_all().unwrap().unwrap_err();
        assert_eq!(bad.seq, 2, "{column}: {bad}");
    }
}

#[test]
fn no_record_is_appended_to_a_damaged_last_record() {
    let scratch = Scratch::new("journal-tail");
    let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    let _ = sample::started(&journal, "run000000001", 1);
    for damage in ["hash = x'00'", "seq = -1, hash = zeroblob(32)", "seq = 9223372036854775807"] {
        database.connection().execute(&format!("UPDATE record SET {damage}"), []).unwrap();
        let started: Failed<_> =
            journal.start(&sample::moment(2), sample::start("r"), sample::SELF, |_| Failed::Ok(()));
        assert!(matches!(started, Err(JournalError::Damaged(_))), "{damage}");
    }
}
