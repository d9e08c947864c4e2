//! How grants end while commands run, and how they are extended: every descendant is ended, frozen, allowed to finish or warned.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use harness::{Person, PrivateRoot, PtySession, Record};
use serde_json::Value;

use crate::{id, records_of, request};

/// A command that writes a line ten times a second while it lives.
const TICKS: &str = "while :; do echo tick >> \"$1\"; sleep 0.1; done";

/// How late an end may be.
const AT_ONCE: Duration = Duration::from_millis(1000);

/// Returns the shared root, with the roles of these tests.
fn root() -> &'static PrivateRoot {
    static ROOT: OnceLock<&'static PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(|| {
        crate::root().add_policy("ends", include_str!("ends.policy.toml"));
        crate::root()
    })
}

/// A command that ticks, on a terminal of its own, by a user who has a grant of `role` for `time`.
struct Ticking {
    person: Person,
    grant: String,
    file: String,
    session: PtySession,
}

impl Ticking {
    fn begin(role: &str, time: &str) -> Ticking {
        let person = root().person(&[role]);
        let grant = id(&request(root(), &person, role, &["--for", time]));
        if role == "supervised" {
            let approver = root().person(&["approvers"]);
            root().run_as(&approver.name, ["jitctl", "approve", &grant]).succeeded();
        }
        Ticking::run(person, grant, TICKS)
    }

    fn run(person: Person, grant: String, script: &str) -> Ticking {
        let file = format!("/tmp/{}-ticks", person.name);
        let session = root().pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", script, "sh", &file]);
        let ticking = Ticking { person, grant, file, session };
        harness::eventually("the command ticks", harness::PATIENCE, || (ticking.ticks() > 0).then_some(()));
        ticking
    }

    fn ticks(&self) -> usize {
        std::fs::read(root().path(&self.file)).map_or(0, |text| text.len())
    }

    fn is_still(&self) -> bool {
        let before = self.ticks();
        std::thread::sleep(Duration::from_millis(600));
        self.ticks() == before
    }

    fn extend(&self, more: &[&str]) -> Value {
        let words = [&["jitctl", "--json", "extend", &self.grant, "--reason", "not ready yet"], more].concat();
        let output = root().run_as(&self.person.name, words);
        output.succeeded();
        output.json()["grant"].clone()
    }

    fn end(&mut self) -> Record {
        self.session.wait();
        records_of(root(), &self.person).into_iter().find(|record| record.kind() == "end").expect("no end record")
    }
}

#[test]
fn a_frozen_command_continues_when_its_grant_is_extended() {
    let mut ticking = Ticking::begin("freezing", "2s");
    ticking.session.expect("is frozen");
    // The message comes first, and then the freeze.
    harness::eventually("the command stands still", harness::PATIENCE, || ticking.is_still().then_some(()));
    let listed = root().as_root(["jitctl", "--json", "session", "list"]).json();
    let is_own = |session: &&Value| session["user"] == *ticking.person.name;
    let own = listed["sessions"].as_array().unwrap().iter().find(is_own).unwrap();
    assert_eq!(own["state"], "frozen", "{own}");
    let extension = ticking.extend(&["--for", "10m"]);
    assert_eq!((extension["extends"].as_str(), extension["grant"].as_str()), (Some(&*ticking.grant), Some("active")));
    ticking.session.expect_within("was extended", AT_ONCE);
    assert!(!ticking.is_still(), "it was not thawed");
    let extension = id(&extension);
    root().as_root(["jitctl", "revoke", &extension, "--reason", "enough"]).succeeded();
    let end = ticking.end();
    assert_eq!(end.text("ended_by"), "revocation", "{}", end.body);
    assert_eq!((end.text("grant"), end.text("extended_by")), (&*ticking.grant, &*extension), "{}", end.body);
}

#[test]
fn a_frozen_command_ends_by_interrupt_revocation_and_release() {
    let mut ticking = Ticking::begin("freezing", "2s");
    ticking.session.expect("is frozen");
    std::thread::sleep(Duration::from_millis(100));
    ticking.session.type_text("\x03");
    let began = Instant::now();
    assert_eq!(ticking.end().text("ended_by"), "expiry");
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());

    let mut ticking = Ticking::begin("freezing", "2s");
    ticking.session.expect("is frozen");
    root().as_root(["jitctl", "revoke", "--user", &ticking.person.name, "--reason", "enough"]).succeeded();
    assert_eq!(ticking.end().text("ended_by"), "revocation");

    let mut ticking = Ticking::begin("freezing", "2s");
    ticking.session.expect("is frozen");
    root().run_as(&ticking.person.name, ["jitctl", "release", &ticking.grant]).succeeded();
    assert_eq!(ticking.end().text("ended_by"), "release");
}

#[test]
fn a_frozen_command_does_not_run_again_before_it_is_ended() {
    let ticks = format!("trap '' TERM HUP INT CONT; {TICKS}");
    for how in ["interrupt", "revocation", "release", "kill"] {
        let person = root().person(&["freezing"]);
        let grant = id(&request(root(), &person, "freezing", &["--for", "3s"]));
        let mut ticking = Ticking::run(person, grant, &ticks);
        ticking.session.expect("is frozen");
        harness::eventually("the command stands still", harness::PATIENCE, || ticking.is_still().then_some(()));
        let before = ticking.ticks();
        match how {
            "interrupt" => ticking.session.type_text("\x03"),
            "release" => drop(root().run_as(&ticking.person.name, ["jitctl", "release", &ticking.grant])),
            "kill" => {
                let run = records_of(root(), &ticking.person)
                    .iter()
                    .find(|record| record.kind() == "start")
                    .unwrap()
                    .text("run")
                    .to_owned();
                drop(root().as_root(["jitctl", "session", "kill", &run, "--reason", "x"]));
            }
            _ => drop(root().as_root(["jitctl", "revoke", &ticking.grant, "--reason", "x"])),
        }
        let _ = ticking.end();
        assert_eq!(ticking.ticks(), before, "{how}: the command ran again");
    }
}

#[test]
fn a_frozen_command_without_a_terminal_does_not_run_again_when_its_grant_is_released() {
    let person = root().person(&["freezing"]);
    let grant = id(&request(root(), &person, "freezing", &["--for", "3s"]));
    let file = format!("/tmp/{}-ticks", person.name);
    let script = format!(
        "jit-sudo -n sh -c 'trap \"\" TERM HUP INT CONT; {TICKS}' sh {file} & sleep 5; wc -c < {file}; \
         jitctl release {grant} >/dev/null; wait; wc -c < {file}",
    );
    let output = root().run_as(&person.name, ["bash", "-c", &script]);
    let counts: Vec<usize> = output.stdout.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let [frozen, ended] = counts[..] else { panic!("{output:?}") };
    assert!(frozen > 0 && frozen == ended, "{output:?}");
}

#[test]
fn a_command_without_a_terminal_is_frozen_and_thawed_too() {
    let person = root().person(&["freezing"]);
    let grant = id(&request(root(), &person, "freezing", &["--for", "2s"]));
    let file = format!("/tmp/{}-ticks", person.name);
    let script = format!(
        "jit-sudo -n sh -c '{}' sh {file} & sleep 3; wc -c < {file}; sleep 1; wc -c < {file}; \
         jitctl extend {grant} --for 10m --reason more >/dev/null; sleep 1; wc -c < {file}; jitctl release >/dev/null; wait",
        TICKS.replace('\'', "'\\''")
    );
    let output = root().run_as(&person.name, ["bash", "-c", &script]);
    let counts: Vec<usize> = output.stdout.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let [frozen, later, thawed] = counts[..] else { panic!("{output:?}") };
    assert!(frozen > 0 && frozen == later && thawed > later, "{output:?}");
}

#[test]
fn a_command_that_may_finish_outlives_its_grant_and_the_record_says_so() {
    let person = root().person(&["finishing"]);
    request(root(), &person, "finishing", &["--for", "2s"]);
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "sleep 3; echo done; exit 5"]);
    session.expect("may finish");
    session.expect("done");
    assert_eq!(session.wait().code(), Some(5));
    let records = records_of(root(), &person);
    let [grant, end] = ["grant", "end"].map(|kind| records.iter().find(|record| record.kind() == kind).unwrap());
    assert_eq!((end.text("ended_by"), end.number("exit")), ("itself", 5), "{}", end.body);
    assert_eq!(end.number("expired"), grant.number("expires"), "{}", end.body);
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn a_command_that_may_finish_can_be_revoked_after_its_expiry() {
    let mut ticking = Ticking::begin("finishing", "2s");
    ticking.session.expect("may finish");
    assert!(!ticking.is_still());
    root().as_root(["jitctl", "revoke", &ticking.grant, "--reason", "enough"]).succeeded();
    let began = Instant::now();
    assert_eq!(ticking.end().text("ended_by"), "revocation");
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

#[test]
fn a_warning_comes_once_a_minute_before_the_end_and_not_for_shorter_grants() {
    let person = root().person(&["self-service"]);
    request(root(), &person, "self-service", &["--for", "62s"]);
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "sleep", "4"]);
    assert!(session.wait().success());
    assert_eq!(session.screen().matches("expires in 1m").count(), 1, "{}", session.screen());

    let person = root().person(&["self-service"]);
    request(root(), &person, "self-service", &["--for", "60s"]);
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "sleep", "2"]);
    assert!(session.wait().success());
    assert_eq!(session.screen(), "");

    let person = root().person(&["self-service"]);
    request(root(), &person, "self-service", &["--for", "302s"]);
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "sleep", "4"]);
    assert!(session.wait().success());
    assert_eq!(session.screen().matches("expires in 5m").count(), 1, "{}", session.screen());
}

#[test]
fn an_extension_before_the_end_prolongs_a_run_without_a_pause() {
    let person = root().person(&["self-service"]);
    let grant = id(&request(root(), &person, "self-service", &["--for", "3s"]));
    let mut ticking = Ticking::run(person, grant, TICKS);
    let extension = ticking.extend(&["--for", "2s"]);
    assert_eq!(extension["grant"], "scheduled", "{extension}");
    std::thread::sleep(Duration::from_millis(2700));
    assert!(!ticking.is_still(), "it ended with the old grant");
    let end = ticking.end();
    assert_eq!((end.text("ended_by"), end.text("extended_by")), ("expiry", &*id(&extension)), "{}", end.body);
}

#[test]
fn an_extension_needs_the_same_approval_and_the_same_limits() {
    let mut ticking = Ticking::begin("supervised", "3s");
    let extend = |more: &[&str]| {
        let words = [&["jitctl", "extend", &ticking.grant][..], more].concat();
        root().run_as(&ticking.person.name, words)
    };
    extend(&["--for", "11m", "--reason", "x"]).refused("at most 10m");
    extend(&["--for", "1m"]).refused("reason");
    extend(&["--for", "1m", "--reason", " "]).refused("reason");
    assert_eq!(extend(&["--for", "0s", "--reason", "x"]).status.code(), Some(2));
    let stranger = root().person(&["self-service"]);
    root().run_as(&stranger.name, ["jitctl", "extend", &ticking.grant, "--reason", "x"]).refused("there is no");
    let approver = root().person(&["approvers"]);
    root().run_as(&approver.name, ["jitctl", "extend", &ticking.grant, "--reason", "x"]).refused("belongs to");

    let pending = ticking.extend(&["--for", "10m"]);
    assert_eq!((pending["state"].as_str(), pending["extends"].as_str()), (Some("pending"), Some(&*ticking.grant)));
    extend(&["--reason", "again"]).refused("would extend it already");
    let listed = root().run_as(&approver.name, ["jitctl", "requests"]);
    assert!(listed.succeeded().contains(&format!("extends {}", ticking.grant)), "{listed:?}");
    let pending = id(&pending);
    root().run_as(&ticking.person.name, ["jitctl", "approve", &pending]).refused("own request");

    ticking.session.expect("is frozen");
    // The message comes first, and then the freeze.
    harness::eventually("the command stands still", harness::PATIENCE, || ticking.is_still().then_some(()));
    root().run_as(&approver.name, ["jitctl", "approve", &pending, "--for", "2s"]).succeeded();
    ticking.session.expect_within("was extended", AT_ONCE);
    assert!(!ticking.is_still());
    let shown = root().run_as(&ticking.person.name, ["jitctl", "--json", "show", &ticking.grant]).json();
    assert_eq!(shown["grant"]["extended_by"], pending.as_str(), "{shown}");
    ticking.session.expect("is frozen");
    root().as_root(["jitctl", "revoke", &ticking.grant, "--reason", "enough"]).succeeded();
    assert_eq!(ticking.end().text("ended_by"), "revocation");
}

#[test]
fn an_ended_grant_cannot_be_extended() {
    let person = root().person(&["self-service"]);
    let extend = |grant: &str| root().run_as(&person.name, ["jitctl", "extend", grant, "--reason", "x"]);
    let scheduled = id(&request(root(), &person, "self-service", &["--at", "+2h"]));
    extend(&scheduled).refused("has not begun");
    let short = id(&request(root(), &person, "self-service", &["--for", "1s"]));
    std::thread::sleep(Duration::from_millis(1100));
    extend(&short).refused("nothing runs under it");
    let grant = id(&request(root(), &person, "self-service", &[]));
    extend(&grant).succeeded();
    extend(&grant).refused("was extended already");
    root().run_as(&person.name, ["jitctl", "release", &grant]).succeeded();
    extend(&grant).refused("was released");
    let left = root().run_as(&person.name, ["jitctl", "--json", "grants"]).json();
    assert_eq!(left["grants"].as_array().map(Vec::len), Some(1), "the extension ends with what it extends: {left}");
}

#[test]
fn a_pending_extension_of_a_revoked_grant_cannot_be_approved() {
    let mut ticking = Ticking::begin("supervised", "5m");
    let pending = id(&ticking.extend(&[]));
    root().as_root(["jitctl", "revoke", &ticking.grant, "--reason", "enough"]).succeeded();
    assert_eq!(ticking.end().text("ended_by"), "revocation");
    let approver = root().person(&["approvers"]);
    root().run_as(&approver.name, ["jitctl", "approve", &pending]).refused("was revoked");
}

#[test]
fn the_run_of_a_one_shot_grant_can_be_revoked_and_extended_but_not_repeated() {
    let person = root().person(&["single"]);
    let grant = id(&request(root(), &person, "single", &["--for", "2s"]));
    root().run_as(&person.name, ["jitctl", "extend", &grant, "--reason", "x"]).refused("has not begun");
    let mut ticking = Ticking::run(person, grant, TICKS);
    ticking.extend(&["--for", "10m"]);
    std::thread::sleep(Duration::from_millis(2000));
    assert!(!ticking.is_still(), "it was not extended");
    root().run_as(&ticking.person.name, ["jit-sudo", "-n", "id"]).refused("");
    root().as_root(["jitctl", "revoke", &ticking.grant, "--reason", "enough"]).succeeded();
    assert_eq!(ticking.end().text("ended_by"), "revocation");
}

/// Starts two hundred processes that try to hide in every way and ignore SIGTERM and SIGHUP.
const BOMB: &str = "trap '' TERM HUP INT; \
    for i in $(seq 50); do \
        setsid sleep 1000 & nohup sleep 1000 >/dev/null 2>&1 & \
        (setsid sh -c 'trap \"\" TERM HUP; (sleep 1000 & sleep 1000) & sleep 1000' &) ; \
    done; echo tick >> \"$1\"; while :; do sleep 0.2; done";

fn count_of(run: &str) -> String {
    root().script(&format!("grep -lsz '^JIT_SUDO_RUN={run}$' /proc/[0-9]*/environ | wc -l")).trim().to_owned()
}

#[test]
fn two_hundred_processes_that_ignore_signals_end_within_a_second() {
    for prefix in ["", "setsid --wait "] {
        let person = root().person(&["self-service"]);
        let grant = id(&request(root(), &person, "self-service", &[]));
        // Without a terminal in the second round.
        let file = format!("/tmp/{}-bomb", person.name);
        let script = format!("{prefix}jit-sudo -n bash -c \"$0\" bash {file}");
        let mut session = root().pty_as(&person.name, ["bash", "-c", &script, BOMB]);
        harness::eventually("the bomb is there", harness::PATIENCE, || root().path(&file).exists().then_some(()));
        let start = records_of(root(), &person).into_iter().find(|record| record.kind() == "start").unwrap();
        let count = count_of(start.text("run")).parse::<u32>().unwrap();
        assert!(count >= 200, "{count}");
        root().as_root(["jitctl", "revoke", &grant, "--reason", "enough"]).succeeded();
        let began = Instant::now();
        session.wait();
        assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
        assert_eq!(count_of(start.text("run")), "0");
    }
}

#[test]
fn the_command_is_in_a_group_of_roots_that_goes_away_with_it() {
    let person = root().person(&["deploy"]);
    let output =
        root().run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "grep ^0:: /proc/self/cgroup; echo $JIT_SUDO_RUN"]);
    let text = output.succeeded();
    let (group, run) = text.split_once('\n').unwrap();
    assert!(group.starts_with(&format!("0::/jit-sudo/{run}.")), "{text}");
    assert_eq!(root().script(&format!("ls -d /sys/fs/cgroup/jit-sudo/{run}.* 2>/dev/null || true")), "");
}

#[test]
fn the_group_of_a_daemon_stays_and_a_later_run_removes_it() {
    let person = root().person(&["deploy"]);
    let script = "setsid sleep 2 >/dev/null 2>&1 & echo $JIT_SUDO_RUN";
    let run = root().run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", script]).succeeded().to_owned();
    let groups = || root().script(&format!("ls -d /sys/fs/cgroup/jit-sudo/{run}.* 2>/dev/null || true"));
    assert_ne!(groups(), "", "the daemon was ended or moved");
    std::thread::sleep(Duration::from_millis(2200));
    harness::eventually("a later run removes the group", harness::PATIENCE, || {
        root().run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
        groups().is_empty().then_some(())
    });
}

#[test]
fn the_owner_of_the_callers_control_group_cannot_freeze_the_run() {
    let person = root().person(&["deploy"]);
    let (name, group) = (&person.name, format!("/sys/fs/cgroup/{}", person.name));
    let run = "jit-sudo -n sh -c \"grep ^0:: /proc/\\$PPID/cgroup; sleep 1; echo alive\"";
    let caller = format!("{run} & sleep 0.5; echo 1 > {group}/cgroup.freeze; sleep 60");
    root().script(&format!(
        "mkdir {group}; chown -R {name} {group}
         (echo 0 > {group}/cgroup.procs; exec setpriv --reuid={name} --regid={name} --init-groups bash -c '{caller}') \
             >/tmp/{name}-out 2>&1 </dev/null &"
    ));
    let text = harness::eventually("the run goes on", harness::PATIENCE, || {
        let text = root().read(&format!("/tmp/{name}-out"));
        text.contains("alive").then_some(text)
    });
    assert!(text.starts_with(&format!("0::/jit-sudo/supervisors-{}\n", person.uid)), "{text}");
    assert_eq!(root().script(&format!("grep ^frozen {group}/cgroup.events")), "frozen 1\n", "the attack did not work");
    root().script(&format!("echo 1 > {group}/cgroup.kill; sleep 0.2; rmdir {group}"));
}

#[test]
fn what_keeps_descriptors_of_the_caller_takes_no_place_of_a_supervisor() {
    let person = root().person(&["deploy"]);
    let group = format!("/sys/fs/cgroup/jit-sudo/keepers-{}/cgroup.procs", person.uid);
    let members = format!("for pid in $(cat {group} 2>/dev/null); do grep ^Uid: /proc/$pid/status; done");
    let keeps = |descriptor: &str| {
        // The tests themselves may have been started with other descriptors.
        let closed = "for fd in $(ls /proc/$$/fd); do [ $fd -lt 3 ] || eval \"exec $fd>&-\"; done";
        let kept = format!("{closed}; : | jit-sudo -n sh -c 'sleep 0.5; {members}' {descriptor}");
        root().run_as(&person.name, ["bash", "-c", &kept]).succeeded().to_owned()
    };
    let uid = person.uid;
    assert_eq!(keeps("9<&0"), format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"), "it counts for its caller");
    for descriptor in ["9</dev/null", "9</etc/hostname", "9</", "9<>/dev/full"] {
        assert_eq!(keeps(descriptor), "", "{descriptor} is released at once");
    }
}

#[test]
fn a_lock_of_the_caller_is_held_until_the_run_ends() {
    let person = root().person(&["deploy"]);
    let lock = format!("/tmp/{}.lock", person.name);
    let tried = format!("flock -n {lock} true && echo free || echo held");
    let script = format!("exec 9>{lock}; flock 9; exec jit-sudo -n sh -c '{tried}'");
    assert_eq!(root().run_as(&person.name, ["sh", "-c", &script]).succeeded(), "held");
    assert_eq!(root().script(&tried).trim(), "free");
}

#[test]
fn the_command_of_a_killed_supervisor_is_ended() {
    // A child in a session of its own would survive the hang-up of its terminal.
    let person = root().person(&["self-service"]);
    let grant = id(&request(root(), &person, "self-service", &[]));
    let script = format!("setsid sh -c '{}' sh \"$1\" & wait", TICKS.replace("\"$1\"", "$1"));
    let ticking = Ticking::run(person, grant, &script);
    let start = records_of(root(), &ticking.person).into_iter().rfind(|record| record.kind() == "start").unwrap();
    root().script(&format!("kill -9 {}", start.number("pid")));
    harness::eventually("all of the command has ended", harness::PATIENCE, || ticking.is_still().then_some(()));
}

#[test]
fn a_frozen_run_does_not_block_others() {
    let root = crate::own_root();
    root.add_policy("ends", include_str!("ends.policy.toml"));
    let other = root.person(&["deploy"]);
    let person = root.person(&["freezing"]);
    request(&root, &person, "freezing", &["--for", "4s"]);
    // Runs within the run all the time, so that some are writing at the moment of the freeze; and one that stays.
    let loops = "jit-sudo -n sleep 3077 & for i in 1 2 3 4 5 6; do while jit-sudo -n true; do echo; done & done; wait";
    let mut session = root.pty_as(&person.name, ["jit-sudo", "-n", "bash", "-c", loops]);
    session.expect("and the command is frozen");
    // Supervisors of the user who started the outer run, and of root, who started the inner runs.
    let shares = [person.uid, 0].map(|uid| format!("0::/jit-sudo/supervisors-{uid}"));
    let groups =
        || root.script("for pid in $(pgrep -f '^jit-sudo -n sleep 3077'); do grep ^0:: /proc/$pid/cgroup; done");
    harness::eventually("our own programs have left the frozen group", harness::PATIENCE, || {
        let groups = groups();
        (!groups.is_empty() && groups.lines().all(|group| shares.iter().any(|share| group == share))).then_some(())
    });
    let place = "cat /sys/fs/cgroup$(sed -n s/^0:://p /proc/$(pgrep -xf 'sleep 3077')/cgroup)/cgroup.events";
    harness::eventually("what they have begotten stands still", harness::PATIENCE, || {
        root.script(place).contains("frozen 1").then_some(())
    });
    for _ in 0..3 {
        root.run_as(&other.name, ["jit-sudo", "-n", "true"]).succeeded();
    }
    session.type_text("\x03");
    assert!(!session.wait().success());
}
