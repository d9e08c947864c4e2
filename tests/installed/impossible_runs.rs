//! Records about runs that cannot be: root appends them to the journal later, with the right hashes, and both verifications report
//! them.

use harness::PrivateRoot;
use jit_core::escape::Word;
use jit_core::evidence::Event;
use jit_core::evidence::record::{Change, Digest, Edit, EndedBy, LeftRunning, Record, RunOutcome, Start, Variable};
use jit_core::names::RunId;
use jit_sudo::audit::{JournalError, Process};
use jit_sudo::database::Durability;

use crate::offline::{in_journal, now};
use crate::tampering::{granted, sql, verdict, workers};
use crate::{both_say_intact, id, own_root, request};

/// The last `start`, and its number.
fn last_start(root: &PrivateRoot) -> (u64, Start) {
    let body = sql(root, "SELECT CAST(body AS TEXT) FROM record WHERE kind = 'start' ORDER BY seq DESC LIMIT 1");
    let record = Record::decode(&body).unwrap();
    let seq = sql(root, "SELECT max(seq) FROM record WHERE kind = 'start'").parse().unwrap();
    let Event::Start(start) = record.event else { panic!("{body}") };
    (seq, *start)
}

fn appended(root: &PrivateRoot, event: Event) -> String {
    let moment = now(root);
    in_journal(root, |database, journal| {
        let written = database.write(Durability::Synced, |tx| journal.append(tx, &moment, event));
        let _: Result<_, JournalError> = written.map(drop);
    });
    verdict(root)
}

#[test]
fn a_loader_variable_that_the_request_did_not_name_is_reported_under_an_exact_grant() {
    let root = own_root();
    let (alice, _, approver) = workers(&root);
    let asked = id(&request(&root, &alice, "ops", &["--for", "10m", "--", "/usr/bin/id", "-u"]));
    root.run_as(&approver.name, ["jitctl", "approve", &asked, "--exact"]).succeeded();
    root.command(&alice.name, ["jit-sudo", "-n", "/usr/bin/id", "-u"]).run().succeeded();
    both_say_intact(&root);
    let (_, mut start) = last_start(&root);
    start.run = RunId::stored("run000000001");
    start.environment.push(Variable { name: "LD_PRELOAD".into(), value: Some("/tmp/x.so".into()), digest: None });
    let moment = now(&root);
    in_journal(&root, |_, journal| {
        let process = Process { pid: 1, start: 1, namespace: None };
        let (started, ()) = journal.start(&moment, start, process, |_| Ok::<_, JournalError>(())).unwrap();
        let _ = journal.end(&started, &moment, RunOutcome::unknown(EndedBy::Lost)).unwrap();
    });
    let said = verdict(&root);
    assert!(said.contains("with LD_PRELOAD, which the request did not name, and it is exact"), "{said}");
}

#[test]
fn an_edit_and_left_processes_of_a_run_that_never_was_are_reported() {
    let root = own_root();
    let (alice, _, approver) = workers(&root);
    granted(&root, &alice, &approver, "ops", &["--for", "10m"]);
    root.run_as(&alice.name, ["jit-sudo", "-n", "/usr/bin/id"]).succeeded();
    both_say_intact(&root);
    root.script("cp -a /var/lib/jit-sudo /root/state");
    let (seq, start) = last_start(&root);
    let edit = |run: &str| {
        let change = Change {
            path: Word::from("/etc/motd"),
            before: None,
            before_bytes: None,
            after: Digest([7; 32]),
            after_bytes: 9,
            diff: None,
        };
        let run = RunId::stored(run);
        Event::Edit(Box::new(Edit { run, start: seq, uid: start.uid, grant: start.grant.clone(), change }))
    };
    let left = LeftRunning {
        run: RunId::stored("run000000001"),
        start: seq,
        uid: start.uid,
        grant: start.grant.clone(),
        processes: Vec::new(),
        count: 1,
    };
    for (event, sentence) in [
        (edit(start.run.as_str()), "no record says that it was under way"),
        (edit("run000000001"), "no record says that it was under way"),
        (Event::LeftRunning(Box::new(left)), "left processes, but no record says that it ended before"),
    ] {
        let said = appended(&root, event);
        assert!(said.contains(sentence), "{said}");
        root.script("settle; rm -r /var/lib/jit-sudo && cp -a /root/state /var/lib/jit-sudo");
    }
}
