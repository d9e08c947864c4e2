//! A frozen command stays frozen, even without control groups, where a caller may send SIGCONT to processes of the same session
//! (kill(2)).

use std::time::Duration;

use harness::{Person, PrivateRoot, Record, eventually};

use crate::{id, own_root, records_of, request};

const POLICY: &str = r#"
[roles.icy]
eligible     = ["%icy"]
commands     = ["ALL"]
authenticate = false
on_expiry    = "freeze"

[roles.held]
standing     = ["%held"]
commands     = ["ALL"]
authenticate = false
"#;

const TICKS: &str = "while :; do echo tick >> /tmp/ticks; sleep 0.1; done";

/// Starts a command in the session of its caller, who then continues it all the time, unless told to `leave` it.
const CALLER: &str = r#"jit-sudo -n bash -c "$0" ticker </dev/null >/dev/null 2>&1 &
run=$!
while [ -d /proc/$run ]; do
    [ "$1" = leave ] || for ticker in $(pgrep -f '^bash -c .* ticker$'); do
        kill -CONT $ticker $(pgrep -P $ticker) 2>/dev/null
    done
    sleep 0.05
done
"#;

fn without_groups() -> PrivateRoot {
    let root = own_root();
    root.script("umount /sys/fs/cgroup");
    root.add_policy("thawing", POLICY);
    root
}

fn ticks(root: &PrivateRoot) -> usize {
    std::fs::read(root.path("/tmp/ticks")).map_or(0, |text| text.len())
}

fn is_still(root: &PrivateRoot) -> bool {
    let before = ticks(root);
    std::thread::sleep(Duration::from_millis(500));
    ticks(root) == before
}

fn end_of(root: &PrivateRoot, person: &Person) -> Record {
    eventually("it ends", harness::PATIENCE, || {
        records_of(root, person).into_iter().find(|record| record.kind() == "end")
    })
}

fn lasts(root: &PrivateRoot, person: &Person, how: &str) {
    root.script("rm -f /tmp/ticks");
    let begin =
        format!("setsid -f runuser -u {} -- bash -c \"$0\" \"$1\" {how} </dev/null >/dev/null 2>&1", person.name);
    root.as_root(["bash", "-c", &begin, CALLER, TICKS]).succeeded();
    eventually("it ticks", harness::PATIENCE, || (ticks(root) > 0).then_some(()));
}

#[test]
fn without_control_groups_a_command_that_should_freeze_is_ended() {
    let root = without_groups();
    for how in ["wake", "leave"] {
        let person = root.person(&["icy"]);
        let grant = request(&root, &person, "icy", &["--for", "3s"]);
        lasts(&root, &person, how);
        let end = end_of(&root, &person);
        assert_eq!((end.text("ended_by"), end.text("grant")), ("expiry", &*id(&grant)), "{how}");
        assert!(is_still(&root));
    }
    let person = root.person(&["icy"]);
    let grant = id(&request(&root, &person, "icy", &["--for", "3s"]));
    let mut session = root.pty_as(&person.name, ["jit-sudo", "-n", "sleep", "60"]);
    let words = format!(
        "grant {grant} has expired: the command cannot be frozen without a control group of its own and is ended"
    );
    session.expect(&words);
    assert_eq!(end_of(&root, &person).text("ended_by"), "expiry");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_frozen_command_that_its_caller_wakes_is_ended() {
    let root = without_groups();
    let person = root.person(&["held"]);
    let act = |verb: &str| {
        let run = eventually("it is listed", harness::PATIENCE, || {
            let listed = root.as_root(["jitctl", "--json", "session", "list"]).json();
            Some(listed["sessions"].as_array()?.first()?["run"].as_str()?.to_owned())
        });
        root.as_root(["jitctl", "session", verb, &run, "--reason", "x"]).succeeded();
    };
    lasts(&root, &person, "leave");
    act("freeze");
    eventually("it stands still", harness::PATIENCE, || is_still(&root).then_some(()));
    // An occasional SIGCONT is tolerated.
    for _ in 0..2 {
        root.script("pkill -CONT -f '^bash -c .* ticker$'; true");
        assert!(is_still(&root) || is_still(&root), "it is stopped again");
    }
    assert!(root.as_root(["jitctl", "session", "list"]).stdout.contains("frozen by root"));
    act("thaw");
    eventually("it goes on", harness::PATIENCE, || (!is_still(&root)).then_some(()));
    act("kill");
    assert_eq!(end_of(&root, &person).text("ended_by"), "kill");

    let person = root.person(&["held"]);
    lasts(&root, &person, "wake");
    act("freeze");
    assert_eq!(end_of(&root, &person).text("ended_by"), "kill");
    assert!(is_still(&root));
    let listed = root.as_root(["jitctl", "--json", "session", "list"]).json();
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(0), "{listed}");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}
