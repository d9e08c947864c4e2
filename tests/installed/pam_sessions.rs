//! Sessions that sshd, su, login and Debian's sudo open through pam_jit_sudo.so: recorded, and ended with their grant.

use std::time::Duration;

use harness::{Person, PrivateRoot, eventually};

use crate::pam_module::{BROKER, POLICY, doors, ssh, sshd, stack};
use crate::{id, own_root, request};

/// Returns the last record of this kind that names this user as the actor.
fn last(root: &PrivateRoot, person: &Person, kind: &str) -> Option<harness::Record> {
    crate::records_of(root, person).into_iter().rfind(|record| record.kind() == kind)
}

/// Returns the end of their last session, once it is recorded.
fn end_of(root: &PrivateRoot, person: &Person) -> harness::Record {
    eventually("the end of the session is recorded", harness::PATIENCE, || {
        let start = last(root, person, "start")?;
        last(root, person, "end").filter(|end| end.text("run") == start.text("run"))
    })
}

/// Whether a process with this argument runs in the root.
fn runs(root: &PrivateRoot, word: &str) -> bool {
    root.as_root(["pgrep", "-xf", &format!("sleep {word}")]).status.success()
}

/// Returns a shell line that leaves process group and session and continues as `sleep WORD`.
fn daemon(word: &str) -> String {
    format!("setsid sh -c 'sleep {word} & sleep {word}' </dev/null >/dev/null 2>&1 & ")
}

fn gone(root: &PrivateRoot, word: &str) {
    eventually("every process of the session is ended", harness::PATIENCE, || (!runs(root, word)).then_some(()));
}

#[test]
fn a_session_is_recorded_and_its_run_is_in_the_environment() {
    let (person, resident) = (doors().person(&["door"]), doors().person(&["resident"]));
    let grant = id(&request(doors(), &person, "door", &[]));
    let said = doors().run_as(&person.name, ["su", "-", "-c", "echo $JIT_SUDO_RUN $JIT_SUDO_GRANT $(id -u)"]);
    let said: Vec<&str> = said.succeeded().split(' ').collect();
    let (start, end) = (last(doors(), &person, "start").unwrap(), end_of(doors(), &person));
    assert_eq!(said, [start.text("run"), &grant, "0"]);
    assert_eq!((start.text("service"), start.text("run_as"), start.text("role")), ("su-l", "root", "door"));
    assert_eq!((end.text("ended_by"), end.text("run")), ("itself", start.text("run")));
    doors().run_as(&person.name, ["jitctl", "audit", "show", start.text("run")]).succeeded();
    // A user without a grant gets no session, even if everything else permits it.
    stack(doors(), "record", "role=open-door");
    doors().write("/etc/pam.d/record", 0o644, "session required pam_jit_sudo.so role=open-door\n");
    let open = |person: &Person| {
        let words = ["pamtester", "record", &person.name, "open_session", "close_session"];
        doors().as_root(words).status.success()
    };
    assert!(open(&resident) && !open(&person));
    assert_eq!(end_of(doors(), &resident).text("ended_by"), "itself");
    let alone = doors().run_as(&resident.name, ["pamtester", "record", &resident.name, "open_session"]);
    assert!(!alone.status.success(), "a program without privilege has no sessions to open: {alone:?}");
}

#[test]
fn a_session_of_su_ends_with_its_grant_and_everything_in_it() {
    let person = doors().person(&["door"]);
    request(doors(), &person, "door", &["--for", "4s"]);
    let line = daemon("3001") + "sleep 3001";
    let begun = std::time::Instant::now();
    let output = doors().run_as(&person.name, ["su", "-", "-c", &line]);
    assert!(!output.status.success(), "{output:?}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(end_of(doors(), &person).text("ended_by"), "expiry");
    gone(doors(), "3001");
}

#[test]
fn a_session_ends_by_revocation_and_by_a_kill() {
    let person = doors().person(&["door"]);
    for (word, how) in [("3002", "revocation"), ("3003", "kill")] {
        let grant = id(&request(doors(), &person, "door", &[]));
        let mut session = doors().pty_as(&person.name, ["su", "-", "-c", &(daemon(word) + "sleep " + word)]);
        eventually("the session runs", harness::PATIENCE, || runs(doors(), word).then_some(()));
        let run = last(doors(), &person, "start").unwrap().text("run").to_owned();
        let words = match how {
            "kill" => ["jitctl", "session", "kill", &run, "--reason", "x"],
            _ => ["jitctl", "revoke", &grant, "--reason", "x", "--json"],
        };
        doors().as_root(words).succeeded();
        session.expect("jit-sudo: ");
        session.wait();
        assert_eq!(end_of(doors(), &person).text("ended_by"), how);
        gone(doors(), word);
    }
}

/// Returns a shell line that appends to a file repeatedly, and ignores every signal that can be ignored.
fn ticker(file: &str) -> String {
    format!("trap '' TERM HUP INT; while sleep 0.05; do echo >>{file}; done")
}

fn ticks(root: &PrivateRoot, file: &str) -> bool {
    let size = || std::fs::metadata(root.path(file)).map_or(0, |found| found.len());
    let before = size();
    std::thread::sleep(Duration::from_millis(500));
    size() > before
}

fn until(root: &PrivateRoot, file: &str, wanted: bool) {
    let what = if wanted { "the session goes on" } else { "the session stands still" };
    eventually(what, harness::PATIENCE, || (ticks(root, file) == wanted).then_some(()));
}

#[test]
fn a_frozen_session_does_not_run() {
    let person = doors().person(&["door"]);
    request(doors(), &person, "door", &[]);
    let mut session = doors().pty_as(&person.name, ["su", "-", "-c", &ticker("/tmp/tick1")]);
    until(doors(), "/tmp/tick1", true);
    let run = last(doors(), &person, "start").unwrap().text("run").to_owned();
    let act = |act: &str| doors().as_root(["jitctl", "session", act, &run, "--reason", "x"]).succeeded().to_owned();
    act("freeze");
    session.expect("root has frozen this session");
    until(doors(), "/tmp/tick1", false);
    act("thaw");
    until(doors(), "/tmp/tick1", true);
    // A frozen session can be ended.
    act("freeze");
    until(doors(), "/tmp/tick1", false);
    act("kill");
    session.wait();
    assert_eq!(end_of(doors(), &person).text("ended_by"), "kill");
    assert!(!ticks(doors(), "/tmp/tick1"));
}

#[test]
fn a_frozen_session_does_not_run_again_before_it_is_ended() {
    let person = doors().person(&["door"]);
    let size = |file: &str| std::fs::metadata(doors().path(file)).map_or(0, |found| found.len());
    for (how, file) in [("lost", "/tmp/tick18"), ("release", "/tmp/tick19")] {
        let grant = id(&request(doors(), &person, "door", &[]));
        let session = doors().pty_as(&person.name, ["su", "-", "-c", &ticker(file)]);
        until(doors(), file, true);
        let run = last(doors(), &person, "start").unwrap().text("run").to_owned();
        doors().as_root(["jitctl", "session", "freeze", &run, "--reason", "x"]).succeeded();
        until(doors(), file, false);
        let before = size(file);
        match how {
            // The program that opened the session is its user's own to kill.
            "lost" => drop(doors().as_root(["pkill", "-KILL", "-x", "-f", &format!("su - -c {}", ticker(file))])),
            _ => drop(doors().run_as(&person.name, ["jitctl", "release", &grant])),
        }
        assert_eq!(end_of(doors(), &person).text("run"), run, "{how}");
        assert_eq!(size(file), before, "{how}: the session ran again");
        drop(session);
    }
}

/// Returns a root whose role does this when its grant expires.
fn expiring(on_expiry: &str) -> PrivateRoot {
    let root = own_root();
    root.add_policy(
        "doors",
        &POLICY.replacen("[roles.door]\n", &format!("[roles.door]\non_expiry = \"{on_expiry}\"\n"), 1),
    );
    let lines =
        "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_jit_sudo.so role=door\n";
    for service in ["su", "login"] {
        root.write(&format!("/etc/pam.d/{service}"), 0o644, lines);
    }
    root.script("echo 'session required pam_jit_sudo.so role=door' >>/etc/pam.d/sshd");
    root
}

#[test]
fn a_session_is_frozen_at_expiry_and_goes_on_when_it_is_extended() {
    let root = expiring("freeze");
    let person = root.person(&["door"]);
    let grant = id(&request(&root, &person, "door", &["--for", "6s"]));
    let mut session = root.pty_as(&person.name, ["su", "-c", &ticker("/tmp/tick")]);
    until(&root, "/tmp/tick", true);
    session
        .expect(&format!("grant {grant} has expired and the session is frozen; to continue it: jitctl extend {grant}"));
    until(&root, "/tmp/tick", false);
    let listed = root.as_root(["jitctl", "session", "list"]).succeeded().to_owned();
    assert!(listed.contains(" frozen "), "{listed}");
    // Every process of the same terminal session may send SIGCONT to the others; that thaws nothing.
    root.script("for i in 1 2 3 4 5; do pkill -CONT -f 'echo >>/tmp/tick'; sleep 0.1; done");
    assert!(!ticks(&root, "/tmp/tick"));
    root.run_as(&person.name, ["jitctl", "extend", &grant, "--for", "8s", "--reason", "nearly done"]).succeeded();
    session.expect("the grant was extended by");
    until(&root, "/tmp/tick", true);
    session.expect("has expired and the session is frozen");
    until(&root, "/tmp/tick", false);
    session.hang_up();
    assert_eq!(end_of(&root, &person).text("ended_by"), "expiry");
    eventually("nothing of it is left", harness::PATIENCE, || {
        (!root.as_root(["pgrep", "-f", "echo >>/tmp/tick"]).status.success()).then_some(())
    });
}

#[test]
fn a_frozen_session_does_not_block_other_users_runs() {
    let root = expiring("freeze");
    let (person, other) = (root.person(&["door", "deploy"]), root.person(&["deploy"]));
    request(&root, &person, "door", &["--for", "6s"]);
    // Runs all the time, so that some are writing at the moment of the freeze.
    let line = "for i in 1 2 3 4; do while jit-sudo -n true; do echo >>/tmp/tick; done & done; wait";
    let mut session = root.pty_as(&person.name, ["su", &person.name, "-c", line]);
    until(&root, "/tmp/tick", true);
    session.expect("has expired and the session is frozen");
    for _ in 0..5 {
        root.run_as(&other.name, ["jit-sudo", "-n", "true"]).succeeded();
    }
    until(&root, "/tmp/tick", false);
    session.hang_up();
    eventually("the session is ended", harness::PATIENCE, || {
        let ended = |record: &harness::Record| record.kind() == "end" && record.text("ended_by") == "expiry";
        crate::records_of(&root, &person).iter().any(ended).then_some(())
    });
}

const LOOP: &str = r#"
[roles.loop]
standing     = ["%loop"]
commands     = ["ALL"]
run_as       = ["ALL"]
authenticate = false
record       = "none"
"#;

const ICY: &str = r#"
[roles.icy]
eligible     = ["%loop"]
commands     = ["ALL"]
authenticate = false
record       = "none"
on_expiry    = "freeze"
"#;

/// Runs all the time, so that some are writing at the moment of the end, and that ignore every signal that can be ignored.
const LOOPS: &str = "#!/bin/sh
trap '' TERM HUP
for i in 1 2 3 4 5 6 7 8; do while :; do jit-sudo -n --role loop true; done & done
while sleep 0.05; do echo >>/tmp/tick; done
";

/// Returns the first of the open sessions of programs: the one that began first contains the others.
fn first_session(root: &PrivateRoot) -> String {
    let listed = root.as_root(["jitctl", "--json", "session", "list"]).json();
    let mut sessions = listed["sessions"].as_array().unwrap().iter();
    sessions.find(|one| one["command"][0] == "pam-session").unwrap()["run"].as_str().unwrap().to_owned()
}

/// Returns a root in which sessions of su run those loops, a user with such a session, their grant, and another user.
fn looping() -> (PrivateRoot, Person, String, Person) {
    let root = expiring("terminate");
    root.add_policy("loop", LOOP);
    root.write("/usr/local/bin/loops", 0o755, LOOPS);
    let (person, other) = (root.person(&["door", "loop"]), root.person(&["loop"]));
    let grant = id(&request(&root, &person, "door", &["--for", "10m"]));
    (root, person, grant, other)
}

#[test]
fn a_frozen_session_with_writing_runs_blocks_no_other_process() {
    let (root, person, _, other) = looping();
    let inside = [format!("jit-sudo -n --role loop -u {} loops", person.name), format!("su {} -c loops", person.name)];
    for line in inside.map(|line| line + "; true") {
        let mut session = root.pty_as(&person.name, ["su", &person.name, "-c", &line]);
        until(&root, "/tmp/tick", true);
        let run = first_session(&root);
        let act = |act: &str| root.as_root(["jitctl", "session", act, &run, "--reason", "x"]).succeeded().to_owned();
        for _ in 0..5 {
            act("freeze");
            until(&root, "/tmp/tick", false);
            for _ in 0..3 {
                root.run_as(&other.name, ["jit-sudo", "-n", "true"]).succeeded();
            }
            act("thaw");
            until(&root, "/tmp/tick", true);
        }
        act("kill");
        session.wait();
        until(&root, "/tmp/tick", false);
    }
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

/// Prints the control groups of jit-sudo in which processes are frozen.
const HELD: &str = "tree=$(awk '$3 == \"cgroup2\" { print $2; exit }' /proc/mounts)
for file in $(find $tree/jit-sudo -mindepth 2 -name cgroup.freeze); do
    grep -q 1 $file && grep -q 'populated 1' ${file%/*}/cgroup.events && echo $file
done; true";

#[test]
fn processes_left_by_a_frozen_session_can_be_ended() {
    let (root, person, mut grant, other) = looping();
    for _ in 0..4 {
        let line =
            format!("setsid -f jit-sudo -n --role loop -u {} loops </dev/null >/dev/null 2>&1; sleep 0.7", person.name);
        let _ = root.run_as(&person.name, ["su", &person.name, "-c", &line]);
        until(&root, "/tmp/tick", true);
        root.run_as(&person.name, ["jitctl", "release", &grant]).succeeded();
        until(&root, "/tmp/tick", false);
        eventually("nobody of it is left", harness::PATIENCE, || {
            (!root.as_root(["pgrep", "-x", "jit-sudo|loops"]).status.success()).then_some(())
        });
        assert_eq!(root.script(HELD), "");
        root.run_as(&other.name, ["jit-sudo", "-n", "true"]).succeeded();
        grant = id(&request(&root, &person, "door", &["--for", "10m"]));
    }
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

/// Creates a scope as pam_systemd and logind do: for the first session, and not for a second one within it.
const SCOPE: &str = "#!/bin/sh
[ \"$PAM_TYPE\" = open_session ] && [ ! -e /run/systemd/sessions/c9 ] || exit 0
scope=$(awk '$3 == \"cgroup2\" { print $2; exit }' /proc/mounts)/user.slice/session-c9.scope
mkdir -p $scope /run/systemd/sessions
echo $PPID >$scope/cgroup.procs
printf 'UID=0\\nLEADER=%s\\n' $PPID >/run/systemd/sessions/c9
";

/// Returns the control groups of the processes that sleep this long, and whether they are frozen.
fn places(root: &PrivateRoot, naps: &[&str]) -> Vec<(String, bool)> {
    let place = |nap: &&str| {
        let script = format!("cut -d: -f3 /proc/$(pgrep -fx 'sleep {nap}')/cgroup | tail -n 1");
        let group = root.script(&script).trim().to_owned();
        let tree = root.script("awk '$3 == \"cgroup2\" { print $2; exit }' /proc/mounts");
        // The process may have been moved meanwhile.
        let events = root.script(&format!("cat {}{group}/cgroup.events 2>/dev/null || :", tree.trim()));
        (group, events.contains("frozen 1"))
    };
    naps.iter().map(place).collect()
}

#[test]
fn a_session_in_a_logind_scope_is_frozen_and_thawed_with_its_runs() {
    let (root, person, grant, _) = looping();
    root.write("/usr/local/sbin/scope", 0o755, SCOPE);
    root.script("echo 'session required pam_exec.so seteuid /usr/local/sbin/scope' >>/etc/pam.d/su");
    let daemon = "setsid -f sleep 3021 >/dev/null 2>&1 </dev/null";
    let inner = format!("jit-sudo -n --role loop sh -c '{daemon}'; jit-sudo -n --role loop sleep 3022");
    let line = format!("sleep 3023 & su {} -c 'sleep 3024 & wait' & {inner}", person.name);
    let mut session = root.pty_as(&person.name, ["su", &person.name, "-c", &line]);
    let naps = ["3021", "3022", "3023"];
    for nap in naps.iter().chain(&["3024"]) {
        eventually("all of it runs", harness::PATIENCE, || runs(&root, nap).then_some(()));
    }
    std::thread::sleep(Duration::from_secs(1)); // until the new scope is detected
    let run = first_session(&root);
    let before = places(&root, &naps);
    assert!(before[0].0.contains(&run) && before[1].0.contains(&run), "{before:?}");
    assert!(before[2].0.ends_with("/session-c9.scope"), "{before:?}");
    let act = |act: &str| root.as_root(["jitctl", "session", act, &run, "--reason", "x"]).succeeded().to_owned();
    for _ in 0..2 {
        act("freeze");
        let still = eventually("all of it stands still", harness::PATIENCE, || {
            let found = places(&root, &["3021", "3022", "3023", "3024"]);
            found.iter().all(|(_, still)| *still).then_some(found)
        });
        assert_eq!([&still[0].0, &still[1].0], [&before[0].0, &before[1].0], "runs stand still where they are");
        act("thaw");
        eventually("it goes on where it was", harness::PATIENCE, || (places(&root, &naps) == before).then_some(()));
    }
    root.run_as(&person.name, ["jitctl", "release", &grant]).succeeded();
    session.wait();
    for nap in naps.iter().chain(&["3024"]) {
        gone(&root, nap);
    }
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn an_expired_run_in_a_frozen_session_is_not_thawed_with_it() {
    let (root, person, _, _) = looping();
    root.add_policy("icy", ICY);
    root.write("/usr/local/bin/loops", 0o755, LOOPS.replace("jit-sudo -n --role loop true", "sleep 9"));
    let nested = id(&request(&root, &person, "icy", &["--for", "6s"]));
    let mut session = root.pty_as(&person.name, ["su", &person.name, "-c", "jit-sudo -n --role icy loops"]);
    until(&root, "/tmp/tick", true);
    let run = first_session(&root);
    let act = |act: &str| root.as_root(["jitctl", "session", act, &run, "--reason", "x"]).succeeded().to_owned();
    act("freeze");
    until(&root, "/tmp/tick", false);
    eventually("the grant expires", harness::PATIENCE, || {
        root.as_root(["jitctl", "show", &nested]).stdout.contains("expired").then_some(())
    });
    std::thread::sleep(Duration::from_secs(2)); // its enforcer has checked
    let size = || std::fs::metadata(root.path("/tmp/tick")).unwrap().len();
    let before = size();
    act("thaw");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(size(), before, "it has no grant");
    // The same in the other order.
    act("freeze");
    eventually("both are frozen", harness::PATIENCE, || (root.script(HELD).lines().count() == 2).then_some(()));
    root.run_as(&person.name, ["jitctl", "extend", &nested, "--for", "10m", "--reason", "x"]).succeeded();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(size(), before, "its session is frozen");
    act("thaw");
    until(&root, "/tmp/tick", true);
    act("kill");
    session.wait();
}

#[test]
fn a_frozen_session_of_ssh_stays_so_until_it_is_ended() {
    let root = expiring("freeze");
    let person = root.person(&["door"]);
    let ssh = ssh(&root, sshd(&root), &person);
    let grant = id(&request(&root, &person, "door", &["--for", "8s"]));
    let tick = format!("{}/tick", person.home);
    let mut session = root.pty_as(&person.name, [ssh, vec!["-tt".to_owned(), ticker(&tick)]].concat());
    until(&root, &tick, true);
    session.expect("has expired and the session is frozen; to continue it");
    until(&root, &tick, false);
    // The process of sshd that serves the connection is frozen too, so no process notices that the user has left.
    session.hang_up();
    until(&root, &tick, false);
    let run = last(&root, &person, "start").unwrap().text("run").to_owned();
    let listed = root.as_root(["jitctl", "session", "list"]).stdout;
    assert!(listed.contains(&run), "{grant}: {listed}");
    root.as_root(["jitctl", "session", "kill", &run, "--reason", "x"]).succeeded();
    assert_eq!(end_of(&root, &person).text("ended_by"), "kill");
    assert!(!root.as_root(["pgrep", "-f", "/tick"]).status.success(), "nothing of it is left");
}

#[test]
fn without_control_groups_a_session_that_should_freeze_is_ended() {
    let root = expiring("freeze");
    root.script("umount /sys/fs/cgroup");
    let person = root.person(&["door"]);
    request(&root, &person, "door", &["--for", "6s"]);
    let mut session = root.pty_as(&person.name, ["su", "-c", &ticker("/tmp/tick")]);
    session.expect("the session cannot be frozen without a control group of its own and is ended");
    // Not waited for: before the kill the process is stopped here, which stops su, and the process that entered this root for it.
    assert_eq!(end_of(&root, &person).text("ended_by"), "expiry");
    assert!(!ticks(&root, "/tmp/tick"));
}

#[test]
fn a_session_that_may_finish_outlives_its_grant_and_the_record_says_so() {
    let root = expiring("finish");
    let person = root.person(&["door"]);
    let grant = id(&request(&root, &person, "door", &["--for", "4s"]));
    let mut session = root.pty_as("root", ["login", "-f", &person.name]);
    session.expect(&format!("{}@web1", person.name));
    session.expect(&format!("grant {grant} has expired; the session may finish"));
    session.type_line("echo still $((1 + 1)) here");
    session.expect("still 2 here");
    session.type_line("exit");
    session.wait();
    let end = end_of(&root, &person);
    assert_eq!(end.text("ended_by"), "itself");
    assert!(end.number("expired") > 0, "{}", end.body);
    let listed = root.as_root(["jitctl", "audit", "list", "--kind", "end"]).stdout;
    assert!(listed.contains(&format!("{}: closed after ", end.text("run"))), "{listed}");
    // A new session is rejected now, and a session under a grant that is revoked ends all the same.
    assert!(!root.as_root(["login", "-f", &person.name]).status.success());
    let grant = id(&request(&root, &person, "door", &["--for", "1m"]));
    let mut session = root.pty_as("root", ["login", "-f", &person.name]);
    session.expect(&format!("{}@web1", person.name));
    root.as_root(["jitctl", "revoke", &grant, "--reason", "x"]).succeeded();
    session.expect(&format!("grant {grant} was revoked by root (\"x\"): the session is ended"));
    session.wait();
    assert_eq!(end_of(&root, &person).text("ended_by"), "revocation");
    let listed = root.as_root(["jitctl", "audit", "list", "--kind", "end"]).stdout;
    assert!(listed.contains("ended by revocation after "), "{listed}");
}

#[test]
fn a_session_is_warned_on_its_terminal_before_its_grant_ends() {
    let root = expiring("terminate");
    let person = root.person(&["door"]);
    let ssh = ssh(&root, sshd(&root), &person);
    let grant = id(&request(&root, &person, "door", &["--for", "80s"]));
    let warning = format!(
        "jit-sudo: grant {grant} expires in 1m, then the session is ended; for more time: jitctl extend {grant}"
    );
    let mut over_ssh = root.pty_as(&person.name, [ssh, vec!["-tt".to_owned()]].concat());
    over_ssh.expect(&format!("{}@web1", person.name));
    let mut su = root.pty_as(&person.name, ["su"]);
    su.expect("root@web1");
    let mut login = root.pty_as("root", ["login", "-f", &person.name]);
    login.expect(&format!("{}@web1", person.name));
    for session in [&mut over_ssh, &mut su, &mut login] {
        session.expect_within(&warning, Duration::from_secs(60));
    }
    root.run_as(&person.name, ["jitctl", "release"]).succeeded();
    for mut session in [over_ssh, su, login] {
        session.expect(&format!("grant {grant} was released: the session is ended"));
        session.wait();
    }
}

#[test]
fn a_process_that_ignores_sigterm_ends_with_the_grant_after_its_session() {
    let person = doors().person(&["door"]);
    request(doors(), &person, "door", &["--for", "6s"]);
    // The session's own process exits at once, so that su closes the session during the grace period of the other one.
    let line = format!("setsid sh -c \"{}\" </dev/null >/dev/null 2>&1 & sleep 3009", ticker("/tmp/tick9"));
    let output = doors().run_as(&person.name, ["su", "-", "-c", &line]);
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(end_of(doors(), &person).text("ended_by"), "expiry");
    assert!(!ticks(doors(), "/tmp/tick9") && !doors().as_root(["pgrep", "-f", "/tmp/tick9"]).status.success());
}

#[test]
fn processes_left_by_a_killed_su_are_ended() {
    let person = doors().person(&["door"]);
    request(doors(), &person, "door", &[]);
    let mut session = doors().pty_as(&person.name, ["su", "-", "-c", &(daemon("3004") + "sleep 3004")]);
    eventually("the session runs", harness::PATIENCE, || runs(doors(), "3004").then_some(()));
    // The real uid of su is that of the caller, so they may.
    doors().run_as(&person.name, ["pkill", "-KILL", "-x", "-U", &person.name, "su"]).succeeded();
    session.wait();
    assert!(end_of(doors(), &person).text("detail").contains("without closing it"));
    gone(doors(), "3004");
}

#[test]
fn a_program_that_closes_every_descriptor_closes_its_session_all_the_same_and_lives_on() {
    let root = own_root();
    root.add_policy("doors", POLICY);
    let resident = root.person(&["resident"]);
    root.write("/etc/pam.d/seat", 0o644, "session required pam_jit_sudo.so role=open-door\n");
    root.write("/usr/local/lib/careless.py", 0o644, include_str!("pam_careless.py"));
    let mut program = root.pty_as("root", ["python3", "/usr/local/lib/careless.py", "seat", &resident.name]);
    program.expect("opened 0");
    program.type_line("");
    program.expect("closed 0");
    // The end of the session was recorded before, and the program still runs.
    let end = last(&root, &resident, "end").unwrap();
    assert_eq!(end.text("ended_by"), "itself");
    assert!(!end.body.to_string().contains("without closing"), "{}", end.body);
    program.type_line("");
    program.expect("over");
    assert!(program.wait().success());
    // Other users cannot close a session.
    let ask = r#"{"verb":"close-session","run":"0123456789ab"}"#;
    let output = root.command(&resident.name, [BROKER]).stdin(ask).run();
    assert_eq!(output.json()["error"]["code"], "not-root", "{output:?}");
    let output = root.command("root", [BROKER]).stdin(ask).run();
    assert_eq!(output.json()["error"]["code"], "session-over", "{output:?}");
}

#[test]
fn a_session_of_ssh_ends_with_its_grant() {
    let person = doors().person(&["door"]);
    let ssh = ssh(doors(), sshd(doors()), &person);
    let grant = id(&request(doors(), &person, "door", &["--for", "6s"]));
    let line = format!("echo $JIT_SUDO_GRANT; {}sleep 3005", daemon("3005"));
    let output = doors().run_as(&person.name, [ssh, vec![line]].concat());
    assert_eq!(output.stdout.trim(), grant, "{output:?}");
    assert_eq!(end_of(doors(), &person).text("ended_by"), "expiry");
    let start = last(doors(), &person, "start").unwrap();
    assert_eq!((start.text("service"), start.text("remote")), ("sshd", "127.0.0.1"));
    gone(doors(), "3005");
}

#[test]
fn sessions_of_sudo_and_login_are_recorded_too() {
    let person = doors().person(&["deploy", "door"]);
    request(doors(), &person, "door", &[]);
    doors().run_as(&person.name, ["sudo", "-n", "true"]).succeeded();
    let start = last(doors(), &person, "start").unwrap();
    assert_eq!((start.text("service"), start.text("run_as")), ("sudo", "root"));
    assert_eq!(end_of(doors(), &person).text("ended_by"), "itself");
    let mut session = doors().pty_as("root", ["login", &person.name]);
    session.type_password("Password:", &person.password);
    session.expect(&format!("{}@web1", person.name));
    doors().run_as(&person.name, ["jitctl", "release"]).succeeded();
    session.expect("was released");
    session.wait();
    assert_eq!(last(doors(), &person, "start").unwrap().text("service"), "login");
    assert_eq!(end_of(doors(), &person).text("ended_by"), "release");
}

#[test]
fn a_daemon_in_the_scope_of_logind_ends_with_the_grant() {
    let root = own_root();
    root.add_policy("doors", POLICY);
    let person = root.person(&["door"]);
    request(&root, &person, "door", &[]);
    // As pam_systemd and logind do it.
    let scope = "/sys/fs/cgroup/session-c9.scope";
    root.write(
        "/usr/local/sbin/scope",
        0o755,
        format!("#!/bin/sh\nmkdir -p {scope}\necho $PPID >{scope}/cgroup.procs\n"),
    );
    let stack =
        "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_jit_sudo.so role=door\n";
    root.write("/etc/pam.d/login", 0o644, format!("{stack}session required pam_exec.so /usr/local/sbin/scope\n"));
    let mut session = root.pty_as("root", ["login", "-f", &person.name]);
    session.expect(&format!("{}@web1", person.name));
    session.type_line(&daemon("3006"));
    eventually("the daemon runs", harness::PATIENCE, || runs(&root, "3006").then_some(()));
    assert!(root.read(&format!("{scope}/cgroup.procs")).lines().count() > 1);
    root.run_as(&person.name, ["jitctl", "release"]).succeeded();
    session.wait();
    assert_eq!(end_of(&root, &person).text("ended_by"), "release");
    gone(&root, "3006");
}

#[test]
fn logind_is_told_the_end_time_of_a_session() {
    let root = own_root();
    root.add_policy("doors", POLICY);
    let person = root.person(&["door"]);
    request(&root, &person, "door", &["--for", "10m"]);
    // In place of pam_systemd: shows the data that was left for it.
    root.write(
        "/root/show.c",
        0o644,
        r#"#include <security/pam_modules.h>
           #include <stdio.h>
           int pam_sm_open_session(pam_handle_t *handle, int flags, int count, const char **words) {
               const void *left = 0;
               int answer = pam_get_data(handle, "systemd.runtime_max_sec", &left);
               printf("left: %s\n", answer == PAM_SUCCESS ? (const char *)left : "nothing");
               return PAM_SUCCESS;
           }
           int pam_sm_close_session(pam_handle_t *handle, int flags, int count, const char **words) {
               return PAM_SUCCESS;
           }"#,
    );
    root.script("gcc -shared -fPIC -o /root/show.so /root/show.c");
    root.write(
        "/etc/pam.d/seat",
        0o644,
        "session required pam_jit_sudo.so role=door\nsession required /root/show.so\n",
    );
    let left = || {
        let output = root.as_root(["pamtester", "seat", &person.name, "open_session", "close_session"]);
        let text = output.succeeded().to_owned();
        text.lines().find_map(|line| line.strip_prefix("left: ")).unwrap().to_owned()
    };
    assert_eq!(left(), "nothing");
    root.script("mkdir -p /run/systemd/seats");
    let seconds: u64 = left().parse().unwrap();
    assert!((500..=601).contains(&seconds), "{seconds}");
}

#[test]
fn only_root_can_open_a_session() {
    let person = doors().person(&["door"]);
    request(doors(), &person, "door", &[]);
    let ask = format!(
        r#"{{"verb":"open-session","holder":{{"user":"{0}"}},"run_as":"{0}","service":"sshd","pid":1}}"#,
        person.name
    );
    let output = doors().command(&person.name, [BROKER]).stdin(&ask).run();
    assert_eq!(output.json()["error"]["code"], "not-root", "{output:?}");
    for holder in [r#"{"uid":0}"#, r#"{"user":"root"}"#, r#"{"user":"nobody-at-all"}"#] {
        let ask = format!(r#"{{"verb":"membership","holder":{holder}}}"#);
        let output = doors().command(&person.name, [BROKER]).stdin(&ask).run();
        assert_eq!(output.json()["error"]["message"], "only root may ask about others", "{output:?}");
    }
}

#[test]
fn a_role_is_held_only_on_the_hosts_of_its_approval_and_of_today() {
    let root = own_root();
    let hosts = |hosts: &str| {
        root.add_policy(
            "hosts",
            &format!(
                "[roles.hosted]\neligible = [\"%hosted\"]\ncommands = [\"/usr/bin/id **\"]\nauthenticate = false\n\
                 hosts = [\"{hosts}\"]\n"
            ),
        );
    };
    let person = root.person(&["hosted"]);
    let name = &person.name;
    root.write("/etc/pam.d/hosted", 0o644, "session required pam_jit_sudo.so role=hosted\n");
    let holds = || {
        let ask = r#"{"verb":"membership","role":"hosted"}"#;
        let held = root.command(name, [BROKER]).stdin(ask).run().json()["ok"]["membership"]["holds"] == true;
        let words = ["pamtester", "hosted", name, "open_session", "close_session"];
        let opened = root.as_root(words).status.success();
        let runs = root.run_as(name, ["jit-sudo", "-n", "id"]).status.success();
        assert_eq!((opened, runs), (held, held), "session, run");
        held
    };
    hosts("ALL");
    request(&root, &person, "hosted", &[]);
    assert!(holds());
    hosts("another-host");
    assert!(!holds(), "the role is for another host today");
    root.run_as(name, ["jitctl", "release"]).succeeded();
    request(&root, &person, "hosted", &[]);
    assert!(!holds());
    hosts("ALL");
    assert!(!holds(), "the role was for another host when the grant was given");
}
