//! Retention on a host whose clock is wrong, or was off: no record is removed that is not provably old, and doctor and the sweep
//! say what is kept for that reason. The kernel of the tests is not synchronised by any daemon.

use harness::{Output, Person, PrivateRoot};
use jit_core::clock::{BootTime, Moment, Timestamp};
use jit_core::evidence::record::{Alert, Event};
use jit_core::grant::HostKey;
use jit_sudo::audit::{Due, JournalError};
use jit_sudo::database::Durability;
use serde_json::Value;

use crate::offline::{id_of, in_journal, now};
use crate::{both_say_intact, own_root};

const DAY: i64 = 86_400_000_000;
const RUN: [&str; 4] = ["jit-sudo", "-n", "id", "-u"];

/// Returns a host that keeps records for 400 days, whose first records were written at a moment, reckoned from now, and signed, and a user who has
/// run a command since.
fn host_with_records_of(moment: impl Fn(Moment) -> Moment) -> (PrivateRoot, Person) {
    let root = own_root();
    let moment = moment(now(&root));
    // A new host, whose first records these are.
    root.script("settle; rm -r /var/lib/jit-sudo; install -d -m 700 /var/lib/jit-sudo; jitctl key init");
    let state = "/var/lib/jit-sudo";
    let [key, sealing] = ["host_key", "sealing_key.1"]
        .map(|name| HostKey::from_openssh(&root.read(&format!("{state}/{name}"))).unwrap());
    let id = id_of(&root, &key);
    in_journal(&root, |database, journal| {
        // Its epoch begins then, too.
        database.connection().execute("DELETE FROM record", []).unwrap();
        let begin = |tx: &rusqlite::Transaction<'_>| {
            let by = journal.unended(tx, &key)?.unwrap();
            journal.begin_line(tx, &moment, by, &sealing.public_key())
        };
        let begun = database.write(Durability::Synced, begin).unwrap_or_else(|error: JournalError| panic!("{error}"));
        assert_eq!(begun.unwrap().seq, 1);
        for _ in 0..3 {
            let event = Event::Alert(Box::new(Alert::new("hook-failed", "x")));
            let append = |tx: &rusqlite::Transaction<'_>| journal.append(tx, &moment, event);
            let _ = database.write(Durability::Synced, append).unwrap_or_else(|error: JournalError| panic!("{error}"));
        }
        let last = journal.unsealed(moment.wall, Due::Now).unwrap().unwrap();
        let grown = journal.grown(last).unwrap().unwrap();
        assert!(journal.seal((last, &grown), &moment, &sealing, (&key, &id)).unwrap().is_some());
    });
    let head = "SELECT printf('%020d ', seq) || lower(hex(hash)) FROM record ORDER BY seq DESC LIMIT 1";
    root.script(&format!("sqlite3 {state}/journal.db \"{head}\" >{state}/anchor; rm -f {state}/sent-*"));
    root.add_policy("keep", "[audit]\nkeep = \"400d\"\n");
    let person = root.person(&["deploy"]);
    root.run_as(&person.name, RUN).succeeded();
    both_say_intact(&root);
    (root, person)
}

fn sweep(root: &PrivateRoot) -> Output {
    root.as_root(["jitctl", "sweep"])
}

fn first(root: &PrivateRoot) -> u64 {
    root.journal()[0].seq
}

fn finding(root: &PrivateRoot) -> Value {
    let found = root.as_root(["jitctl", "--json", "doctor"]).json();
    let findings = found["findings"].as_array().unwrap_or_else(|| panic!("{found}"));
    findings.iter().find(|finding| finding["area"] == "retention").unwrap_or_else(|| panic!("{found}")).clone()
}

#[test]
fn a_clock_three_years_ahead_after_a_boot_removes_nothing_until_root_accepts_it() {
    let boot_id = "00000000-0000-4000-8000-000000000000".to_owned();
    let (root, _) = host_with_records_of(|now| Moment {
        wall: Timestamp(now.wall.0 - 1095 * DAY),
        boot: BootTime(60_000_000),
        boot_id: boot_id.clone(),
    });
    let said = sweep(&root);
    said.succeeded();
    assert!(said.stdout.contains("4 older records are kept") && said.stdout.contains("jitctl key accept"), "{said:?}");
    let said = root.as_root(["jitctl", "audit", "prune"]);
    assert!(
        said.succeeded().contains("nothing to remove") && said.stdout.contains("4 older records are kept"),
        "{said:?}"
    );
    assert_eq!(root.as_root(["jitctl", "--json", "sweep"]).json()["swept"]["pruned"]["held"], 4);
    assert_eq!((first(&root), finding(&root)["severity"].as_str()), (1, Some("warning")));
    // Root says that the host was really off for so long.
    root.as_root(["jitctl", "key", "accept", "--reason", "it was in storage"]).succeeded();
    assert!(sweep(&root).succeeded().contains("4 old records removed"));
    assert_eq!((first(&root), finding(&root)["severity"].as_str()), (5, Some("good")));
    both_say_intact(&root);
}

#[test]
fn a_clock_that_jumps_three_years_ahead_never_makes_records_of_the_same_boot_old() {
    let (root, person) = host_with_records_of(|now| Moment {
        wall: Timestamp(now.wall.0 - 1095 * DAY),
        boot: BootTime(now.boot.0 - 5_000_000),
        ..now
    });
    let said = sweep(&root);
    said.exited(1);
    assert!(said.stderr.contains("the clock was set forward by 1094d") || said.stderr.contains("by 1095d"), "{said:?}");
    assert!(said.stderr.contains("jitctl key accept"), "{said:?}");
    assert_eq!(first(&root), 1);
    root.as_root(["jitctl", "key", "accept", "--reason", "it is right now"]).succeeded();
    let said = sweep(&root);
    assert!(said.succeeded().contains("older records are kept"), "seconds old by the boot clock: {said:?}");
    assert_eq!(first(&root), 1);
    root.run_as(&person.name, RUN).succeeded();
    both_say_intact(&root);
}
