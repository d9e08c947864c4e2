//! Programs that open sessions through pam_jit_sudo.so: the end of a session ends all processes that belong to it, and no others.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use harness::{Person, PrivateRoot, Record, eventually};

use crate::pam_module::{POLICY, ssh, sshd};
use crate::{id, own_root, records_of, request};

/// Returns a root whose su, sshd and `seat` have a session line.
fn root() -> &'static PrivateRoot {
    static ROOT: OnceLock<PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(|| prepared(""))
}

/// Returns such a root with another option in the role `door`.
pub(crate) fn prepared(option: &str) -> PrivateRoot {
    let root = own_root();
    let text =
        POLICY.replacen("[roles.door]\neligible = [", &format!("[roles.door]\n{option}\neligible = [\"root\", "), 1);
    assert!(text.contains("\"root\""));
    root.add_policy("doors", &text);
    let session = "session required pam_jit_sudo.so role=door";
    let all = format!("auth required pam_permit.so\naccount required pam_permit.so\n{session}\n");
    root.write("/etc/pam.d/su", 0o644, &all);
    root.write("/etc/pam.d/seat", 0o644, &all);
    root.script(&format!("echo '{session}' >>/etc/pam.d/sshd"));
    root.script("echo 'PermitRootLogin yes' >/etc/ssh/sshd_config.d/root.conf");
    root.write("/usr/local/lib/daemon.py", 0o644, include_str!("pam_daemon.py"));
    root
}

fn sleepers(root: &PrivateRoot, nap: u32) -> usize {
    root.script(&format!("pgrep -fxc 'sleep {nap}' || :")).trim().parse().unwrap()
}

fn sleep(root: &PrivateRoot, nap: u32, count: usize) {
    eventually(&format!("{count} sleep {nap}"), harness::PATIENCE, || (sleepers(root, nap) == count).then_some(()));
}

fn revoke(root: &PrivateRoot, grant: &str) {
    root.as_root(["jitctl", "revoke", grant, "--reason", "enough"]).succeeded();
}

fn ends(root: &PrivateRoot, person: &Person) -> Vec<Record> {
    records_of(root, person).into_iter().filter(|record| record.kind() == "end").collect()
}

fn end_of(root: &PrivateRoot, person: &Person, run: &str) -> Record {
    eventually("the end is recorded", harness::PATIENCE, || {
        ends(root, person).into_iter().find(|end| end.text("run") == run)
    })
}

fn start_of(root: &PrivateRoot, person: &Person, path: &str) -> Record {
    eventually("the start is recorded", harness::PATIENCE, || {
        let is_meant = |record: &Record| record.kind() == "start" && record.text("path").ends_with(path);
        records_of(root, person).into_iter().rfind(is_meant)
    })
}

#[test]
fn a_run_inside_of_a_session_is_ended_by_its_own_supervisor() {
    for (nap, on_terminal) in [(5001, true), (5002, false)] {
        let person = root().person(&["door", "deploy"]);
        let grant = id(&request(root(), &person, "door", &[]));
        // Under another role, and ignoring every signal that can be ignored.
        let work = format!("trap \"\" TERM HUP INT; setsid sleep {nap} & while :; do sleep {nap}; done");
        let line = format!("jit-sudo -n --role deploy sh -c '{work}'");
        let mut run = match on_terminal {
            true => root().pty_as(&person.name, ["su", &person.name, "-c", &line]),
            false => root().pty_as(&person.name, ["setsid", "-w", "su", &person.name, "-c", &line]),
        };
        sleep(root(), nap, 2);
        std::thread::sleep(Duration::from_millis(300)); // until the enforcer has started
        let inner = start_of(root(), &person, "sh").text("run").to_owned();
        let session = start_of(root(), &person, "pam-session").text("run").to_owned();
        revoke(root(), &grant);
        sleep(root(), nap, 0);
        run.wait();
        let (inner, outer) = (end_of(root(), &person, &inner), end_of(root(), &person, &session));
        assert_eq!(outer.text("ended_by"), "revocation");
        assert_ne!(inner.text("ended_by"), "lost", "{}", inner.body);
        assert!(!root().as_root(["pgrep", "-x", "-U", &person.name, "su"]).status.success());
    }
}

#[test]
fn descendants_of_a_run_in_a_session_are_frozen_with_it_and_end_with_their_grant() {
    for (nap, is_thawed) in [(5011, true), (5012, false)] {
        let person = root().person(&["door", "self-service"]);
        request(root(), &person, "door", &[]);
        let inner = id(&request(root(), &person, "self-service", &[]));
        let work = format!("setsid -f sleep {nap} >/dev/null 2>&1 </dev/null");
        let line = format!("jit-sudo -n --role self-service sh -c '{work}'; sleep {nap}");
        let run = root().pty_as(&person.name, ["su", &person.name, "-c", &line]);
        sleep(root(), nap, 2);
        let session = start_of(root(), &person, "pam-session").text("run").to_owned();
        eventually("it is recorded as left running", harness::PATIENCE, || {
            records_of(root(), &person).into_iter().find(|one| one.kind() == "left-running")
        });
        let act = |act: &str| {
            root().as_root(["jitctl", "session", act, &session, "--reason", "x"]).succeeded();
        };
        let is_still = || {
            let groups = root().script(&format!(
                "for pid in $(pgrep -fx 'sleep {nap}'); do cut -d: -f3 /proc/$pid/cgroup | tail -n 1; done"
            ));
            let frozen = |group: &str| {
                let events = root().script(&format!("cat /sys/fs/cgroup{group}/cgroup.events /sys/fs/cgroup/unified{group}/cgroup.events 2>/dev/null || :"));
                events.contains("frozen 1")
            };
            groups.lines().count() == 2 && groups.lines().all(frozen)
        };
        act("freeze");
        eventually("all of it stands still", harness::PATIENCE, || is_still().then_some(()));
        if is_thawed {
            act("thaw");
            eventually("it goes on", harness::PATIENCE, || (!is_still()).then_some(()));
        }
        let ended = || records_of(root(), &person).into_iter().find(|one| one.kind() == "left-ended");
        assert!(ended().is_none());
        revoke(root(), &inner);
        sleep(root(), nap, 1);
        assert_eq!(eventually("its end is recorded", harness::PATIENCE, ended).text("ended_by"), "revocation");
        root().as_root(["jitctl", "session", "kill", &session, "--reason", "x"]).succeeded();
        sleep(root(), nap, 0);
        drop(run);
    }
}

#[test]
fn a_question_in_a_session_is_asked_no_longer_than_the_session_lasts() {
    let person = root().person(&["door", "web"]);
    root().add_policy("web", "[roles.web]\neligible = [\"%web\"]\ncommands = [\"ALL\"]\n");
    let grant = id(&request(root(), &person, "door", &[]));
    request(root(), &person, "web", &[]);
    let mut session = root().pty_as(&person.name, ["su", &person.name, "-c", "jit-sudo --role web sleep 5003"]);
    session.expect("password");
    revoke(root(), &grant);
    session.wait();
    let asks = || root().as_root(["pgrep", "-f", "jit-sudo --role web sleep 5003"]).status.success();
    eventually("nobody is asked any more", harness::PATIENCE, || (!asks()).then_some(()));
}

/// Lets this user log in as root with their key.
fn let_root_in(root: &PrivateRoot, person: &Person, port: u16) -> String {
    let line = ssh(root, port, person);
    let key = format!("{}/.ssh/id.pub", person.home);
    root.script(&format!("chmod 755 /root; mkdir -p -m 700 /root/.ssh; cat {key} >>/root/.ssh/authorized_keys"));
    let to_person = format!("{}@127.0.0.1", person.name);
    line.join(" ").replace(&to_person, "root@127.0.0.1")
}

fn answers(root: &PrivateRoot, port: u16) -> bool {
    root.as_root(["timeout", "2", "curl", "-sf", "-o", "/dev/null", &format!("http://127.0.0.1:{port}/seat")])
        .status
        .success()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn root_over_ssh_ends_with_the_grant_and_other_connections_do_not() {
    let root = prepared("");
    let (person, other) = (root.person(&["door"]), root.person(&["door"]));
    let port = sshd(&root);
    let (line, others) = (let_root_in(&root, &person, port), ssh(&root, port, &other).join(" "));
    request(&root, &other, "door", &[]);
    let inside = |what: &str| format!("{what}>/dev/null 2>&1 </dev/null &");
    root.script(&inside(&format!("{others} sleep 5013 ")));
    let (web, door) = (free_port(), free_port());
    root.script(&inside(&format!("python3 -m http.server -b 127.0.0.1 -d /etc/pam.d {web} ")));
    for (nap, how) in [(5011, "revoke"), (5012, "expire")] {
        let lasts = if how == "expire" { "10s" } else { "5m" };
        let words = ["jitctl", "--json", "request", "--role", "door", "--reason", "x", "--for", lasts];
        let grant = root.as_root(words).json()["grant"]["id"].as_str().unwrap().to_owned();
        let control = format!("-S /root/control{nap}");
        let master = format!("{line} {control} -M -N -L {door}:127.0.0.1:{web} ");
        root.script(&inside(&format!("setsid {master}")));
        eventually("the forwarding answers", harness::PATIENCE, || answers(&root, door).then_some(()));
        let command = format!("{line} {control} 'setsid -f sleep {nap} >/dev/null 2>&1 </dev/null'");
        // The socket of the master may appear a moment after its forwarding.
        eventually("a command runs over it", harness::PATIENCE, || {
            root.as_root(["sh", "-c", &command]).status.success().then_some(())
        });
        sleep(&root, nap, 1);
        if how == "revoke" {
            revoke(&root, &grant);
        }
        // New commands over the existing connection, all the time.
        let late = Instant::now() + Duration::from_secs(15);
        let again = format!("timeout 1 {command} || :; sleep 0.05");
        root.script(&format!("end=$(($(date +%s) + 11)); while [ $(date +%s) -lt $end ]; do {again}; done"));
        while Instant::now() < late && (answers(&root, door) || sleepers(&root, nap) > 0) {
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(!answers(&root, door), "{how}: the forwarding");
        assert_eq!(sleepers(&root, nap), 0, "{how}");
        let record = eventually("the end is recorded", harness::PATIENCE, || {
            root.journal().into_iter().rfind(|record| record.kind() == "end" && record.number("uid") == 0)
        });
        let why = if how == "revoke" { "revocation" } else { "expiry" };
        assert_eq!(record.text("ended_by"), why, "{}", record.body);
    }
    assert_eq!(sleepers(&root, 5013), 1, "the other's connection");
    let again = format!("{others} echo still here");
    assert!(root.script(&again).contains("still here"), "the daemon");
}

#[test]
fn a_connection_of_root_is_frozen_at_expiry_where_the_role_says_freeze() {
    let root = prepared("on_expiry = \"freeze\"");
    let person = root.person(&["door"]);
    let line = let_root_in(&root, &person, sshd(&root));
    let (web, door) = (free_port(), free_port());
    root.script(&format!("python3 -m http.server -b 127.0.0.1 -d /etc/pam.d {web} >/dev/null 2>&1 </dev/null &"));
    let words = ["jitctl", "--json", "request", "--role", "door", "--reason", "x", "--for", "6s"];
    let grant = root.as_root(words).json()["grant"]["id"].as_str().unwrap().to_owned();
    root.script(&format!("setsid {line} -N -L {door}:127.0.0.1:{web} >/dev/null 2>&1 </dev/null &"));
    eventually("the forwarding answers", harness::PATIENCE, || answers(&root, door).then_some(()));
    eventually("it stands still", harness::PATIENCE, || (!answers(&root, door)).then_some(()));
    root.as_root(["jitctl", "extend", &grant, "--for", "4s", "--reason", "x"]).succeeded();
    eventually("it goes on", harness::PATIENCE, || answers(&root, door).then_some(()));
    eventually("it stands still", harness::PATIENCE, || (!answers(&root, door)).then_some(()));
    revoke(&root, &grant);
    eventually("it is ended", harness::PATIENCE, || {
        root.journal().into_iter().rfind(|record| record.kind() == "end" && record.number("uid") == 0)
    });
    // The server's own process for the connection ends when it sees that its child has.
    eventually("the connection is gone", harness::PATIENCE, || {
        (!root.as_root(["pgrep", "-f", "sshd: root"]).status.success()).then_some(())
    });
}

/// Starts a daemon with sessions of two users, a child for each, and one for a user without a session.
fn serve_several(root: &PrivateRoot, told: &str, naps: [u32; 3]) {
    let (first, second, third) = (root.person(&["door"]), root.person(&["door"]), root.person(&[]));
    let grants = [&first, &second].map(|person| id(&request(root, person, "door", &[])));
    let orders = [
        format!("{}:{}", first.name, naps[0]),
        format!("{}:{}", second.name, naps[1]),
        format!("!{}:{}", third.name, naps[2]),
    ];
    let words =
        [&["python3", "/usr/local/lib/daemon.py", "seat", told], &orders.each_ref().map(String::as_str)[..]].concat();
    let mut daemon = root.pty_as("root", words);
    daemon.expect("ready");
    for nap in naps {
        sleep(root, nap, 2);
    }
    std::thread::sleep(Duration::from_millis(600)); // the supervisors have checked several times
    revoke(root, &grants[0]);
    sleep(root, naps[0], 0);
    std::thread::sleep(Duration::from_secs(2)); // the grace period, and the time in which an ended program would exit
    assert_eq!([sleepers(root, naps[1]), sleepers(root, naps[2])], [2, 2], "{told}");
    daemon.type_line(&first.name);
    daemon.expect("closed 0");
    revoke(root, &grants[1]);
    sleep(root, naps[1], 0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sleepers(root, naps[2]), 2, "{told}");
    daemon.type_line(&second.name);
    daemon.expect("closed 0");
    for person in [&first, &second] {
        let session = start_of(root, person, "pam-session").text("run").to_owned();
        assert_eq!(end_of(root, person, &session).text("ended_by"), "revocation");
    }
    root.script(&format!("pkill -fx 'sleep {}' || :", naps[2]));
}

#[test]
fn the_end_of_one_session_in_a_daemon_does_not_end_others() {
    serve_several(root(), "env", [5021, 5022, 5023]);
    serve_several(root(), "bare", [5031, 5032, 5033]);
}

/// Any user can set the variable that marks the processes of a session, and can read its value in /proc/PID/cgroup.
#[test]
fn a_process_does_not_leave_its_run_by_the_mark_of_a_session() {
    let root = prepared("");
    let (person, other, thief) = (root.person(&["door"]), root.person(&["door"]), root.person(&["aside"]));
    root.add_policy(
        "aside",
        "[roles.aside]\neligible = [\"%aside\"]\nrun_as = [\"ALL\"]\ncommands = [\"ALL\"]\nauthenticate = false\n",
    );
    for one in [&person, &other] {
        request(&root, one, "door", &[]);
    }
    let grant = id(&request(&root, &thief, "aside", &[]));
    let orders = [&person, &other].map(|one| format!("{}:5081", one.name));
    let words = ["python3", "/usr/local/lib/daemon.py", "seat", "env", &orders[0], &orders[1]];
    let mut daemon = root.pty_as("root", words);
    daemon.expect("ready");
    sleep(&root, 5081, 4);
    let session = start_of(&root, &person, "pam-session").text("run").to_owned();
    // As root, and as the user of that session.
    for (user, nap) in [("root", 5082), (&*person.name, 5083)] {
        let line = format!("JIT_SUDO_RUN={session} setsid sleep {nap} & sleep 2");
        root.script(&format!(
            "runuser -u {} -- jit-sudo -n -u {user} sh -c '{line}' >/dev/null 2>&1 </dev/null &",
            thief.name
        ));
    }
    // Outside of every run.
    root.script(&format!(
        "JIT_SUDO_RUN={session} setsid runuser -u {} sleep 5084 >/dev/null 2>&1 </dev/null &",
        thief.name
    ));
    for nap in [5082, 5083, 5084] {
        sleep(&root, nap, 1);
    }
    std::thread::sleep(Duration::from_secs(1)); // the supervisors have checked several times
    let group = |nap: u32| root.script(&format!("grep ^0:: /proc/$(pgrep -fx 'sleep {nap}')/cgroup"));
    for nap in [5082, 5083, 5084] {
        assert!(!group(nap).contains(&session), "{nap}: {}", group(nap));
    }
    std::thread::sleep(Duration::from_secs(2)); // the commands have ended
    revoke(&root, &grant);
    sleep(&root, 5082, 0);
    sleep(&root, 5083, 0);
    assert_eq!((sleepers(&root, 5081), sleepers(&root, 5084)), (4, 1));
    drop(daemon);
}

#[test]
fn without_control_groups_the_end_of_one_session_in_a_daemon_does_not_end_others() {
    let root = prepared("");
    root.script("umount /sys/fs/cgroup");
    serve_several(&root, "env", [5041, 5042, 5043]);
}

#[test]
fn the_only_session_of_a_daemon_does_not_end_children_of_other_users() {
    let (person, stranger) = (root().person(&["door"]), root().person(&[]));
    let grant = id(&request(root(), &person, "door", &[]));
    let orders = [format!("{}:5051", person.name), format!("!{}:5052", stranger.name)];
    let mut daemon =
        root().pty_as("root", ["python3", "/usr/local/lib/daemon.py", "seat", "env", &orders[0], &orders[1]]);
    daemon.expect("ready");
    sleep(root(), 5052, 2);
    std::thread::sleep(Duration::from_millis(600));
    revoke(root(), &grant);
    sleep(root(), 5051, 0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sleepers(root(), 5052), 2);
    daemon.type_line(&person.name);
    daemon.expect("closed 0");
    root().script("pkill -fx 'sleep 5052'");
}

/// Replaces the programs by the same ones in new files, as an upgrade does.
fn upgrade(root: &PrivateRoot) {
    root.script(
        "for file in /usr/bin/jit-sudo /usr/libexec/jit-sudo/jit-sudo-*; do cp -p $file $file.new; mv -f $file.new $file; done",
    );
    std::thread::sleep(Duration::from_millis(600)); // each file is seen, as it would be with minutes in between
}

/// Prints the names of the processes that are frozen, or stopped by a signal.
const STOPPED: &str = "tree=$(awk '$3 == \"cgroup2\" { print $2; exit }' /proc/mounts)
for file in $(find $tree/jit-sudo -name cgroup.events); do
    grep -q 'frozen 1' $file && for pid in $(cat ${file%events}procs); do cat /proc/$pid/comm; done
done
cat /proc/[0-9]*/status | awk '/^Name:/ { name = $2 } /^State:/ && $2 == \"T\" { print name }'";

#[test]
fn programs_that_an_upgrade_has_replaced_are_not_stopped_with_a_frozen_run() {
    let root = prepared("");
    let person = root.person(&["door", "self-service"]);
    request(&root, &person, "door", &[]);
    request(&root, &person, "self-service", &[]);
    // Within 12 seconds a supervisor of a session has looked at everything that it expects to change.
    for (outer, is_session, wait) in [("jit-sudo -n --role self-service", false, 1), ("su root -c", true, 12)] {
        for upgrades in [0, 1, 2] {
            let inner = "jit-sudo -n -u www-data sleep 5091";
            let line = format!("sleep {}; {inner}; sleep 600", if upgrades == 2 { wait + 3 } else { 0 });
            let outer = match is_session {
                true => format!("{outer} '{line}'"),
                false => format!("{outer} sh -c '{line}'"),
            };
            let mut run = root.pty_as(&person.name, ["sh", "-c", &outer]);
            std::thread::sleep(Duration::from_secs(wait));
            if upgrades == 2 {
                upgrade(&root); // the inner run begins after this one
            }
            sleep(&root, 5091, 1);
            std::thread::sleep(Duration::from_millis(500)); // until it has an enforcer
            if upgrades > 0 {
                upgrade(&root);
            }
            let path = if is_session { "pam-session" } else { "sh" };
            let id = start_of(&root, &person, path).text("run").to_owned();
            root.as_root(["jitctl", "session", "freeze", &id, "--reason", "x"]).succeeded();
            eventually("it is frozen", harness::PATIENCE, || root.script(STOPPED).contains("sleep").then_some(()));
            std::thread::sleep(Duration::from_millis(300)); // until our programs were moved out
            let stopped = root.script(STOPPED);
            assert!(!stopped.contains("jit-sudo"), "{outer}, {upgrades} upgrades: {stopped}");
            root.as_root(["jitctl", "session", "kill", &id, "--reason", "x"]).succeeded();
            sleep(&root, 5091, 0);
            run.wait();
        }
    }
}

#[test]
fn closing_a_lost_session_ends_its_processes() {
    let root = prepared("");
    let person = root.person(&["door"]);
    request(&root, &person, "door", &[]);
    let line = "setsid sleep 5061 & sleep 5061";
    let mut session = root.pty_as(&person.name, ["su", &person.name, "-c", line]);
    sleep(&root, 5061, 2);
    let run = start_of(&root, &person, "pam-session").text("run").to_owned();
    // Its watchdog has this name too, and ends nothing.
    root.script("pkill -STOP -x jit-sudo-broker; pkill -KILL -x jit-sudo-broker; while pgrep -x jit-sudo-broker >/dev/null; do sleep 0.05; done");
    root.as_root(["jitctl", "sweep"]).succeeded();
    sleep(&root, 5061, 0);
    session.wait();
    let end = end_of(&root, &person, &run);
    assert_eq!(end.text("ended_by"), "lost");
    assert!(end.text("detail").contains("still running and were killed"), "{}", end.body);
}

#[test]
fn processes_left_by_a_closed_session_are_listed_and_end_with_the_grant() {
    for (nap, how) in [(5071, "revocation"), (5072, "kill"), (5073, "expiry")] {
        let person = root().person(&["door"]);
        let lasts = if how == "expiry" { "6s" } else { "5m" };
        let grant = id(&request(root(), &person, "door", &["--for", lasts]));
        let line = format!("setsid -f sh -c 'trap \"\" TERM; sleep {nap}; sleep {nap}' >/dev/null 2>&1 </dev/null");
        root().run_as(&person.name, ["su", &person.name, "-c", &line]).succeeded();
        let run = start_of(root(), &person, "pam-session").text("run").to_owned();
        assert_eq!(end_of(root(), &person, &run).text("ended_by"), "itself");
        let of = |kind: &'static str| {
            eventually(kind, harness::PATIENCE, || {
                records_of(root(), &person).into_iter().find(|one| one.kind() == kind)
            })
        };
        assert_eq!(of("left-running").text("run"), run);
        assert_eq!(sleepers(root(), nap), 1);
        let listed = root().run_as(&person.name, ["jitctl", "session", "list"]);
        assert!(listed.succeeded().contains("left running"), "{listed:?}");
        match how {
            "revocation" => revoke(root(), &grant),
            "kill" => drop(root().as_root(["jitctl", "session", "kill", &run, "--reason", "x"]).succeeded()),
            _ => {}
        }
        sleep(root(), nap, 0);
        assert_eq!(of("left-ended").text("ended_by"), how);
    }
    // A session that leaves no processes behind leaves no such record.
    let person = root().person(&["door"]);
    request(root(), &person, "door", &[]);
    root().run_as(&person.name, ["su", &person.name, "-c", "true"]).succeeded();
    std::thread::sleep(Duration::from_secs(1));
    assert!(records_of(root(), &person).iter().all(|record| record.kind() != "left-running"));
}
