//! Recordings of sessions: their contents, who may see them, and what happens when they cannot be written.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use harness::{Person, PrivateRoot, Record};
use serde_json::Value;

use crate::{id, kinds, records_of, request};

const LIVE: &str = "/var/lib/jit-sudo/recordings";
const DONE: &str = "/var/lib/jit-sudo/recordings/done";

/// Returns the shared root, with the roles of these tests.
fn root() -> &'static PrivateRoot {
    static ROOT: OnceLock<&'static PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(|| {
        crate::root().add_policy("recordings", include_str!("recordings.policy.toml"));
        crate::root()
    })
}

/// Returns a root for one test, with an `[audit]` table of its own.
fn strict_root(audit: &str) -> PrivateRoot {
    let root = PrivateRoot::start();
    root.add_policy("recordings", include_str!("recordings.policy.toml"));
    root.add_policy("audit", &format!("[audit]\n{audit}\n"));
    root
}

/// Runs a shell script on a terminal, from its start to its end record.
fn film(root: &PrivateRoot, role: &str, script: &str) -> (Person, Record) {
    let person = root.person(&[role]);
    let mut session = root.pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", script]);
    session.wait();
    let end = end_of(root, &person);
    (person, end)
}

/// A power failure after the `end` record must not make a recording look as if it had been changed.
#[test]
fn a_recording_is_on_the_disk_before_its_end_record() {
    let root = crate::own_root();
    let mut session = root.pty_as(
        "root",
        [
            "strace",
            "-f",
            "-q",
            "-y",
            "-o",
            "/root/trace",
            "-e",
            "trace=fdatasync,fsync,rename,renameat,renameat2,pwrite64",
            "/usr/bin/jit-sudo",
            "-n",
            "echo",
            "recorded",
        ],
    );
    session.wait();
    let end = root.journal().into_iter().rfind(|record| record.kind() == "end").unwrap();
    assert!(end.text("recording").len() == 64, "{}", end.body);
    let trace = root.read("/root/trace");
    let lines: Vec<&str> = trace.lines().collect();
    let called = lines.iter().position(|line| line.contains("sync(") && line.contains(".cast")).unwrap();
    // While another process runs, strace shows the end of a call on a line of its own.
    let pid = lines[called].split(' ').next().unwrap();
    let returned = |line: &&str| line.starts_with(pid) && line.contains("sync resumed");
    let synced = match lines[called].ends_with("<unfinished ...>") {
        true => lines.iter().skip(called).position(returned).map(|after| called + after),
        false => Some(called),
    };
    let synced = synced.filter(|synced| lines[*synced].ends_with("= 0"));
    let end = lines.iter().rposition(|line| line.contains("pwrite64") && line.contains("journal.db-wal")).unwrap();
    assert!(synced.is_some_and(|synced| synced < end), "{trace}");
}

#[test]
fn the_reason_of_an_intervention_is_neither_empty_nor_huge() {
    let root = crate::own_root();
    let mut session = root.pty_as("root", ["jit-sudo", "-n", "sh", "-c", "echo begun; exec sleep 60"]);
    session.expect("begun");
    let sessions = root.as_root(["jitctl", "--json", "session", "list"]).json();
    let run = sessions["sessions"][0]["run"].as_str().unwrap().to_owned();
    root.as_root(["jitctl", "session", "kill", &run, "--reason", " "]).refused("the reason is empty");
    let asked = serde_json::json!({"verb": "intervene", "run": run, "act": "freeze", "reason": "x".repeat(3 << 20)});
    let broker = "/usr/libexec/jit-sudo/jit-sudo-broker";
    let answer = root.command("root", [broker]).stdin(asked.to_string()).run();
    assert_eq!(answer.json()["error"]["code"], "too-long", "{}", &answer.stdout[..answer.stdout.len().min(300)]);
    root.as_root(["jitctl", "session", "kill", &run, "--reason", "over"]).succeeded();
    session.wait();
    let acts = root.journal().into_iter().filter(|record| record.kind() == "intervention").count();
    assert_eq!(acts, 1);
}

fn end_of(root: &PrivateRoot, person: &Person) -> Record {
    records_of(root, person).into_iter().rfind(|record| record.kind() == "end").expect("no end record")
}

/// Returns header and events of a finished recording, after a check of its digest in the end record.
fn sealed(root: &PrivateRoot, end: &Record) -> (Value, Vec<(f64, String, String)>) {
    let text = text_of(root, end.text("run"));
    let digest = root.script(&format!("{} | sha256sum | cut -d' ' -f1", unpacked(end.text("run"))));
    assert_eq!(end.text("recording"), digest.trim());
    assert_eq!(end.number("recording_bytes"), i64::try_from(text.len()).unwrap());
    events(&text)
}

fn text_of(root: &PrivateRoot, run: &str) -> String {
    root.script(&unpacked(run))
}

/// Returns a command that prints a finished recording, which may be compressed at any moment.
fn unpacked(run: &str) -> String {
    format!("(cd {DONE}; cat {run}.cast 2>/dev/null || zstd -dcq {run}.cast.zst)")
}

fn events(text: &str) -> (Value, Vec<(f64, String, String)>) {
    let mut lines = text.lines();
    let header = serde_json::from_str(lines.next().unwrap()).unwrap();
    (header, lines.map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Returns the output, joined.
fn shown(events: &[(f64, String, String)], kind: &str) -> String {
    events.iter().filter(|event| event.1 == kind).map(|event| event.2.as_str()).collect()
}

/// Returns the id of the user's current run.
fn running(root: &PrivateRoot, person: &Person) -> String {
    harness::eventually("the session is recorded", harness::PATIENCE, || {
        let start = records_of(root, person).into_iter().rfind(|record| record.kind() == "start")?;
        root.path(&format!("{LIVE}/{}.cast", start.text("run"))).exists().then(|| start.text("run").to_owned())
    })
}

#[test]
fn a_session_with_a_terminal_is_recorded_and_sealed_in_its_end_record() {
    let (person, end) = film(root(), "filmed", "printf '\\033[31mred\\033[0m\\n'; sleep 0.3; echo 'grün \"\\'");
    let (header, events) = sealed(root(), &end);
    assert_eq!((&header["version"], &header["width"], &header["height"]), (&2.into(), &80.into(), &24.into()));
    assert!(header["title"].as_str().unwrap().contains(&person.name), "{header}");
    assert!(header["command"].as_str().unwrap().starts_with("sh -c "), "{header}");
    assert!(shown(&events, "o").ends_with("\u{1b}[31mred\u{1b}[0m\r\ngrün \"\\\r\n"), "{events:?}");
    // The time when it was read, which on a busy machine is a moment after it was shown.
    assert!(events.last().unwrap().0 - events.first().unwrap().0 >= 0.2, "{events:?}");
    assert_eq!(
        root().script(&format!("stat -c %a%U {LIVE} {DONE} {DONE}/{}.cast", end.text("run"))),
        "700root\n700root\n600root\n"
    );
    assert!(!root().path(&format!("{LIVE}/{}.cast", end.text("run"))).exists());
}

#[test]
fn bytes_that_are_no_text_are_replaced_and_cut_characters_put_together() {
    let (_, end) = film(root(), "filmed", "printf '\\342'; sleep 0.2; printf '\\202\\254 \\377\\376 \\0'; echo end");
    let (_, events) = sealed(root(), &end);
    assert!(shown(&events, "o").ends_with("€ \u{fffd}\u{fffd} \0end\r\n"), "{events:?}");
}

#[test]
fn the_size_of_the_window_is_recorded_as_it_changes() {
    let person = root().person(&["filmed"]);
    let script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done";
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", script]);
    session.expect("ready");
    session.resize(44, 122);
    session.expect("44 122");
    session.wait();
    let (_, events) = sealed(root(), &end_of(root(), &person));
    assert!(shown(&events, "r").ends_with("122x44"), "{events:?}");
}

#[test]
fn where_the_policy_says_nothing_of_it_pipes_are_not_recorded_and_where_it_says_none_nothing_is() {
    let (_, end) = film(root(), "unfilmed", "echo secret");
    assert_eq!((end.text("recording"), end.number("recording_bytes")), ("", -1));
    let person = root().person(&["filmed"]);
    assert_eq!(root().run_as(&person.name, ["jit-sudo", "-n", "echo", "piped"]).succeeded(), "piped");
    let end = end_of(root(), &person);
    assert_eq!(end.text("recording"), "");
    assert_eq!(root().script(&format!("find {LIVE} -name '{}*'", end.text("run"))), "");
}

#[test]
fn pipes_are_recorded_where_the_policy_says_all_and_the_command_hardly_notices() {
    let person = root().person(&["all-filmed"]);
    let script = "echo out; echo err >&2; cat; head -c 300000 /dev/zero | tr '\\0' x; exit 7";
    let output = root().command(&person.name, ["jit-sudo", "-n", "sh", "-c", script]).stdin("typed\n").run();
    output.exited(7);
    assert_eq!((output.stdout.len(), output.stderr.as_str()), (4 + 6 + 300_000, "err\n"));
    assert!(output.stdout.starts_with("out\ntyped\n"));
    let (_, events) = sealed(root(), &end_of(root(), &person));
    let all = shown(&events, "o");
    assert!(all.contains("out\r\n") && all.contains("err\r\n") && all.contains("typed\r\n"), "{all:.100}");
    assert_eq!(all.matches('x').count(), 300_000);
    assert_eq!(shown(&events, "i"), "");
    // Both streams into one file keep their order, and the end of a reader is noticed.
    let both = ["jit-sudo", "-n", "sh", "-c", "echo 1; echo 2 >&2; echo 3"];
    let words = format!("{} 2>&1", both.map(|word| format!("'{word}'")).join(" "));
    assert_eq!(root().run_as(&person.name, ["sh", "-c", &words]).succeeded(), "1\n2\n3");
    let endless = root().run_as(&person.name, ["sh", "-c", "jit-sudo -n yes | head -n 1; echo done"]);
    assert_eq!(endless.succeeded(), "y\ndone");
    assert_eq!(end_of(root(), &person).number("signal"), 13, "SIGPIPE, as without us");
}

#[test]
fn streams_beside_the_terminal_are_recorded_where_the_policy_says_all() {
    let person = root().person(&["all-filmed"]);
    let script = "jit-sudo -n sh -c 'echo to pipe; echo to terminal >&2' | tr a-z A-Z; echo over";
    let mut session = root().pty_as(&person.name, ["sh", "-c", script]);
    session.expect("TO PIPE");
    session.expect("over");
    session.wait();
    let (_, events) = sealed(root(), &end_of(root(), &person));
    let all = shown(&events, "o");
    assert!(all.contains("to pipe\r\n") && all.contains("to terminal\r\n"), "{events:?}");
    // The end of a reader is noticed.
    let mut session = root().pty_as(&person.name, ["sh", "-c", "jit-sudo -n yes | head -n 1; echo over"]);
    session.expect("over");
    session.wait();
    harness::eventually("the end is recorded", harness::PATIENCE, || {
        (end_of(root(), &person).number("signal") == 13).then_some(())
    });
}

#[test]
fn a_terminal_without_job_control_is_recorded_too() {
    let person = root().person(&["filmed"]);
    let mut session = root().pty_as(&person.name, ["setsid", "--wait", "jit-sudo", "-n", "echo", "in passing"]);
    session.expect("in passing");
    session.wait();
    let (_, events) = sealed(root(), &end_of(root(), &person));
    assert_eq!(shown(&events, "o"), "in passing\r\n");
}

#[test]
fn input_is_recorded_if_the_policy_says_so_but_never_a_password() {
    let script = "read a; stty -echo; echo ready; read b; stty echo; echo again; read c; echo got $a $b $c";
    for (role, typed) in [("overheard", true), ("filmed", false)] {
        let person = root().person(&[role]);
        let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", script]);
        std::thread::sleep(Duration::from_millis(300));
        session.type_line("visible-one");
        session.expect("ready");
        session.type_line("hidden-word");
        session.expect("again");
        session.type_line("visible-two");
        session.expect("got");
        session.wait();
        let (_, events) = sealed(root(), &end_of(root(), &person));
        let input = shown(&events, "i");
        assert!(!input.contains("hidden"), "{role}: {input}");
        assert_eq!(input.contains("visible-one") && input.contains("visible-two"), typed, "{role}: {input}");
    }
}

#[test]
fn a_recording_is_at_most_a_second_behind_and_survives_a_killed_supervisor() {
    let person = root().person(&["filmed"]);
    let mut session =
        root().pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "printf 'n%s\\n' ow; exec sleep 1000"]);
    session.expect("now");
    let shown_at = Instant::now();
    let run = running(root(), &person);
    harness::eventually("the recording has it", Duration::from_secs(5), || {
        root().read(&format!("{LIVE}/{run}.cast")).contains("now").then_some(())
    });
    // The read itself takes time on a busy machine.
    assert!(shown_at.elapsed() < Duration::from_secs(3), "{:?}", shown_at.elapsed());
    let start = records_of(root(), &person).into_iter().rfind(|record| record.kind() == "start").unwrap();
    root().script(&format!("kill -9 {}", start.number("pid")));
    session.wait();
    harness::eventually("the run is closed as lost", harness::PATIENCE, || {
        root().as_root(["jitctl", "session", "list"]).succeeded();
        (end_of(root(), &person).text("ended_by") == "lost").then_some(())
    });
    let (_, events) = events(&root().read(&format!("{LIVE}/{run}.cast")));
    assert!(shown(&events, "o").contains("now"));
    assert!(root().run_as(&person.name, ["jitctl", "replay", &run]).succeeded().contains("now"));
}

#[test]
fn users_see_their_own_recordings_and_readers_see_all() {
    let (person, end) = film(root(), "filmed", "echo for your eyes");
    let run = end.text("run");
    let before = root().journal().len();
    assert!(root().run_as(&person.name, ["jitctl", "replay", run]).succeeded().contains("for your eyes"));
    assert!(!root().journal()[before..].iter().any(|record| record.kind() == "reading" && record.text("run") == run));

    assert!(root().as_root(["jitctl", "replay", run]).succeeded().contains("for your eyes"));
    let reading = root().journal().into_iter().rfind(|record| record.text("run") == run).unwrap();
    assert_eq!((reading.kind(), reading.text("user"), reading.text("purpose")), ("reading", "root", "replay"));
    assert_eq!((reading.text("holder"), reading.number("holder_uid")), (person.name.as_str(), i64::from(person.uid)));

    // Another user learns nothing, not even that the run exists.
    let stranger = root().person(&["observers"]);
    let refused = root().run_as(&stranger.name, ["jitctl", "replay", run]);
    let unknown = root().run_as(&stranger.name, ["jitctl", "replay", "000000000000"]);
    assert_eq!(refused.refused("there is no run").replace(run, "000000000000"), unknown.refused("there is no run"));
    root().run_as(&person.name, ["jitctl", "replay", "../../../x"]).exited(2);
    let (unfilmed, end) = film(root(), "unfilmed", "true");
    let nothing = root().run_as(&unfilmed.name, ["jitctl", "replay", end.text("run")]);
    nothing.refused("there is no recording of run");
}

#[test]
fn a_replay_shows_the_screen_and_acts_on_no_terminal() {
    let script = "printf 'a\\033]0;title\\007\\033[6n\\033[31mred\\033[0m\\033]52;c;ZXZpbA==\\007\\n'";
    let (person, end) = film(root(), "filmed", script);
    let run = end.text("run");
    let filtered = root().run_as(&person.name, ["jitctl", "replay", run]);
    assert!(filtered.succeeded().contains("a\u{1b}[31mred\u{1b}[0m"), "{filtered:?}");
    assert!(
        !filtered.stdout.contains("\u{1b}]") && !filtered.stdout.contains("[6n") && !filtered.stdout.contains('\x07')
    );
    let raw = root().run_as(&person.name, ["jitctl", "replay", "--raw", run]);
    assert!(raw.succeeded().contains("\u{1b}]0;title\x07\u{1b}[6n"), "{raw:?}");
}

#[test]
fn a_replay_on_a_terminal_has_its_time_and_its_keys() {
    let (person, end) = film(root(), "filmed", "echo first; sleep 1; echo second; sleep 11; echo third");
    let run = end.text("run").to_owned();
    let begun = Instant::now();
    let mut session = root().pty_as(&person.name, ["jitctl", "replay", &run]);
    session.expect(&format!("run {run} of {} as root", person.name));
    session.expect("q leaves");
    session.expect("first");
    session.expect("second");
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    // Forward in steps of five seconds, and back to the start.
    for _ in 0..3 {
        session.type_text("\x1b[C");
        std::thread::sleep(Duration::from_millis(150));
    }
    session.expect("third");
    session.wait();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let mut session = root().pty_as(&person.name, ["jitctl", "replay", &run, "--at", "2", "--speed", "2"]);
    session.expect("q leaves");
    session.expect("second");
    session.type_text(" ");
    session.expect("paused, space goes on: 0:0");
    session.type_text("\x1b[D");
    session.expect("first");
    session.type_text("q");
    session.expect(&format!("left the recording of run {run} at 0:0"));
    assert!(session.wait().success());
    let hurried = Instant::now();
    let mut session = root().pty_as(&person.name, ["jitctl", "replay", &run, "--idle-limit", "0.1"]);
    session.expect("q leaves");
    session.expect("third");
    session.wait();
    assert!(hurried.elapsed() < Duration::from_secs(10), "{:?}", hurried.elapsed());
}

#[test]
fn an_exported_recording_is_played_by_asciinema() {
    let (person, end) = film(root(), "filmed", "echo exported");
    let run = end.text("run");
    let file = format!("{}/session.cast", person.home);
    let words = ["jitctl", "replay", run, "--export", &file];
    assert!(root().run_as(&person.name, words).succeeded().contains("asciinema play"));
    assert_eq!(root().read(&file), text_of(root(), run));
    let again = root().run_as(&person.name, words);
    again.refused("cannot write the recording");
    let mut session = root().command(&person.name, ["asciinema", "play", &file]).env("LC_ALL", "C.UTF-8").on_terminal();
    session.expect("exported");
    assert!(session.wait().success());
    let piped = root().run_as(&person.name, ["jitctl", "replay", run, "--export", "-"]);
    assert_eq!(piped.stdout, text_of(root(), run));
}

#[test]
fn observers_of_a_role_watch_it_live_and_others_do_not() {
    let person = root().person(&["filmed"]);
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "echo before; read a; echo after $a"]);
    session.expect("before");
    let run = running(root(), &person);
    let observer = root().person(&["observers"]);
    let listed = root().run_as(&observer.name, ["jitctl", "--json", "session", "list"]).json();
    let seen = listed["sessions"].as_array().unwrap().iter().find(|session| session["run"] == run.as_str()).unwrap();
    assert_eq!((&seen["may_watch"], &seen["may_intervene"]), (&true.into(), &false.into()), "{seen}");
    root().run_as(&observer.name, ["jitctl", "replay", &run]).refused("there is no run");
    root()
        .run_as(&observer.name, ["jitctl", "session", "kill", &run, "--reason", "x"])
        .refused("only root and the approvers");
    let stranger = root().person(&["deploy"]);
    root().run_as(&stranger.name, ["jitctl", "watch", &run]).refused("there is no run");
    let nothing = root().run_as(&stranger.name, ["jitctl", "--json", "session", "list"]).json();
    assert_eq!(nothing["sessions"].as_array().unwrap().len(), 0, "{nothing}");

    let mut watching = root().pty_as(&observer.name, ["jitctl", "watch", &run]);
    watching.expect("before");
    session.type_line("word");
    watching.expect("after word");
    session.wait();
    watching.expect("no longer watching");
    assert!(watching.wait().success());
    let readings: Vec<Record> =
        root().journal().into_iter().filter(|record| record.kind() == "reading" && record.text("run") == run).collect();
    assert_eq!(readings.len(), 1);
    assert_eq!((readings[0].text("user"), readings[0].text("purpose")), (observer.name.as_str(), "watch"));
    root().run_as(&observer.name, ["jitctl", "watch", &run]).refused("there is no run");
    root().run_as(&person.name, ["jitctl", "watch", &run]).refused("is over");
}

#[test]
fn a_watcher_can_leave_and_the_broker_exits() {
    let person = root().person(&["filmed"]);
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "echo up; read a"]);
    session.expect("up");
    let run = running(root(), &person);
    let mut watching = root().pty_as(&person.name, ["jitctl", "watch", &run]);
    watching.expect("up");
    let broker = "pgrep -f '^/usr/libexec/jit-sudo/jit-sudo-broker' -P $(pgrep -f '^jitctl watch {RUN}') || true"
        .replace("{RUN}", &run);
    let pid = root().script(&broker).trim().to_owned();
    assert!(!pid.is_empty());
    watching.type_text("q");
    assert!(watching.wait().success());
    harness::eventually("the broker ends", Duration::from_secs(5), || {
        root().script(&format!("kill -0 {pid} 2>/dev/null && echo there; true")).is_empty().then_some(())
    });
    session.type_line("");
    session.wait();
}

#[test]
fn approvers_freeze_thaw_and_end_a_session_of_their_role() {
    let person = root().person(&["guarded"]);
    let guard = root().person(&["guards"]);
    let grant = id(&request(root(), &person, "guarded", &[]));
    root().run_as(&guard.name, ["jitctl", "approve", &grant]).succeeded();
    let file = format!("/tmp/{}-ticks", person.name);
    let script = "while :; do echo tick >> \"$1\"; sleep 0.1; done";
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", script, "sh", &file]);
    let run = running(root(), &person);
    let ticks = || std::fs::read(root().path(&file)).map_or(0, |text| text.len());
    let act = |verb: &str| root().run_as(&guard.name, ["jitctl", "session", verb, &run, "--reason", "let me see"]);

    assert!(act("freeze").succeeded().contains("is frozen"));
    session.expect(&format!("{} has frozen this session (\"let me see\")", guard.name));
    harness::eventually("it stands still", harness::PATIENCE, || {
        let before = ticks();
        std::thread::sleep(Duration::from_millis(600));
        (ticks() == before).then_some(())
    });
    let listed = root().run_as(&person.name, ["jitctl", "session", "list"]);
    assert!(listed.succeeded().contains(&format!("frozen by {}", guard.name)), "{listed:?}");
    let before = ticks();
    assert!(act("thaw").succeeded().contains("goes on"));
    session.expect(&format!("{} thaws this session (\"let me see\")", guard.name));
    harness::eventually("it goes on", harness::PATIENCE, || (ticks() > before).then_some(()));
    root()
        .run_as(&person.name, ["jitctl", "session", "kill", &run, "--reason", "x"])
        .refused("only root and the approvers");
    assert!(act("kill").succeeded().contains("is being ended"));
    session.expect(&format!("{} ends this session (\"let me see\")", guard.name));
    session.wait();
    let end = end_of(root(), &person);
    assert_eq!((end.text("ended_by"), end.number("signal")), ("kill", 15));
    let (_, events) = sealed(root(), &end);
    assert!(shown(&events, "m").contains("has frozen this session"), "{events:?}");
    let acts: Vec<Record> = records_of(root(), &guard).into_iter().filter(|r| r.kind() == "intervention").collect();
    let words: Vec<&str> = acts.iter().map(|record| record.text("act")).collect();
    assert_eq!(words, ["freeze", "thaw", "kill"]);
    assert_eq!((acts[0].text("holder"), acts[0].text("reason")), (person.name.as_str(), "let me see"));
    assert_eq!((acts[0].text("role"), acts[0].text("grant")), ("guarded", grant.as_str()));
    act("kill").refused("there is no run");
    root().as_root(["jitctl", "session", "kill", &run, "--reason", "x"]).refused("is over");
}

#[test]
fn a_kill_is_not_taken_back_and_nobody_thaws_their_own_session() {
    let [person, other] = [(); 2].map(|()| root().person(&["guarded", "guards"]));
    let grant = id(&request(root(), &person, "guarded", &[]));
    root().run_as(&other.name, ["jitctl", "approve", &grant]).succeeded();
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "sleep", "600"]);
    let run = running(root(), &person);
    let act = |name: &str, verb: &str| root().run_as(name, ["jitctl", "session", verb, &run, "--reason", "let me see"]);
    act(&other.name, "freeze").succeeded();
    act(&person.name, "thaw").refused(&format!("was frozen by {}", other.name));
    act("root", "thaw").succeeded();
    act("root", "freeze").succeeded();
    act(&person.name, "thaw").refused("was frozen by root");
    act(&other.name, "thaw").refused("only root can thaw it");
    act(&other.name, "freeze").refused("was frozen by root");
    // One command after the other, before the supervisor has read the first.
    let script = format!(
        "jitctl session kill {run} --reason x; \
         for i in 1 2 3 4 5; do jitctl session thaw {run} --reason x; jitctl session freeze {run} --reason x; done"
    );
    let orders = root().as_root(["sh", "-c", &script]);
    assert!(orders.stdout.contains("is being ended") && !orders.stdout.contains("goes on"), "{orders:?}");
    session.wait();
    assert_eq!(end_of(root(), &person).text("ended_by"), "kill");
}

#[test]
fn root_ends_a_session_without_a_terminal_and_of_a_standing_role() {
    let person = root().person(&["filmed"]);
    let root_of = root();
    let name = person.name.clone();
    let command = std::thread::spawn(move || root_of.run_as(&name, ["jit-sudo", "-n", "sleep", "1000"]));
    let run = harness::eventually("it runs", harness::PATIENCE, || {
        let listed = root().as_root(["jitctl", "--json", "session", "list"]).json();
        let own =
            listed["sessions"].as_array()?.iter().find(|session| session["user"] == person.name.as_str())?.clone();
        assert_eq!(own["recorded"], false, "{own}");
        own["run"].as_str().map(str::to_owned)
    });
    root().as_root(["jitctl", "session", "freeze", &run, "--reason", "x"]).succeeded();
    root().as_root(["jitctl", "session", "kill", &run, "--reason", "x"]).succeeded();
    let output = command.join().unwrap();
    assert_eq!(output.status.signal().or(output.status.code().map(|code| code - 128)), Some(15), "{output:?}");
    assert_eq!(end_of(root(), &person).text("ended_by"), "kill");
}

#[test]
fn a_session_that_reaches_its_limit_goes_on_with_an_alert_or_ends_where_the_policy_is_strict() {
    let flood = "seq 1 30000; echo the end; exit 5";
    let lax = strict_root("recording_limit = \"64K\"");
    let (person, end) = film(&lax, "filmed", flood);
    assert_eq!((end.number("exit"), end.text("ended_by")), (5, "itself"));
    let (_, events) = sealed(&lax, &end);
    assert!(end.number("recording_bytes") <= 64 << 10 && shown(&events, "o").contains("1\r\n2\r\n"));
    let alert = lax.journal().into_iter().find(|record| record.kind() == "alert").expect("no alert");
    assert_eq!(
        (alert.text("code"), alert.text("run"), alert.text("user")),
        ("recording-failed", end.text("run"), person.name.as_str())
    );
    assert!(alert.text("sentence").contains("its limit of 64 KiB"), "{}", alert.body);
    assert!(lax.as_root(["jitctl", "audit", "verify"]).intact().contains("chain intact"));

    let strict = strict_root("recording = \"strict\"\nrecording_limit = \"64K\"");
    let person = strict.person(&["filmed"]);
    let script = "seq 1 30000; sleep 100";
    let mut session = strict.pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", script]);
    session.expect("so the command is ended");
    session.wait();
    let end = end_of(&strict, &person);
    assert_eq!((end.text("ended_by"), end.number("signal")), ("unrecorded", 15));
    let _ = sealed(&strict, &end);
}

#[test]
fn recordings_of_one_user_do_not_use_the_space_of_others() {
    let own = strict_root("recording_limit = \"1M\"\nuser_recordings = \"1M\"\nuser_recordings_per_day = \"1M\"");
    let (person, other) = (own.person(&["filmed"]), own.person(&["filmed"]));
    let lengths = |person: &Person, script: &str, times: usize| -> Vec<i64> {
        let runs = (0..times).map(|_| {
            own.pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", script]).wait();
            end_of(&own, person).json["recording_bytes"].as_i64().unwrap_or(0)
        });
        runs.collect()
    };
    let alerts = || own.journal().iter().filter(|record| record.kind() == "alert").count();
    // Unused space is returned.
    assert!(lengths(&person, "echo short", 12).iter().all(|length| *length < 4096));
    assert_eq!(alerts(), 0);
    // Half of the remaining space, each time.
    let flooded = lengths(&person, "seq 1 300000", 9);
    assert!((400_000..=512 << 10).contains(&flooded[0]) && (200_000..=270_000).contains(&flooded[1]), "{flooded:?}");
    // The beginning of each is recorded in any case.
    assert!(flooded.iter().sum::<i64>() <= (1 << 20) + 9 * (16 << 10), "{flooded:?}");
    assert!(flooded.iter().all(|length| *length > 8 << 10), "{flooded:?}");
    let told = own.journal().iter().rev().find(|record| record.kind() == "alert").unwrap().text("sentence").to_owned();
    assert!(told.contains("the recording has reached its limit of 16 KiB"), "{told}");
    // Other users have their own budget.
    let of_other = lengths(&other, "seq 1 300000", 1);
    assert!(of_other[0] > 400_000, "{of_other:?}");
    own.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn without_space_recording_fails_and_a_strict_policy_denies_runs() {
    let lax = strict_root("recording_reserve = \"1024G\"");
    let (_, end) = film(&lax, "filmed", "exit 5");
    assert_eq!((end.number("exit"), end.text("recording")), (5, ""));
    let alert = lax.journal().into_iter().find(|record| record.kind() == "alert").expect("no alert");
    assert!(alert.text("sentence").contains("are free for recordings"), "{}", alert.body);

    let strict = strict_root("recording = \"strict\"\nrecording_reserve = \"1024G\"");
    let person = strict.person(&["filmed"]);
    let mut session = strict.pty_as(&person.name, ["jit-sudo", "-n", "touch", "/tmp/ran"]);
    session.expect("nothing may run unrecorded");
    assert_eq!(session.wait().code(), Some(1));
    assert!(!strict.path("/tmp/ran").exists());
    let records = records_of(&strict, &person);
    assert_eq!(kinds(&records), ["start", "end"]);
    assert_eq!(records[1].text("ended_by"), "not-executed");
    // A command that is not recorded at all is not affected.
    strict.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
}

#[test]
fn a_disk_that_fills_up_while_a_session_is_recorded_leaves_whole_lines_under_the_seal() {
    let lax = strict_root("recording_reserve = \"4K\"");
    lax.script("mkdir -m 700 /var/lib/jit-sudo/recordings && mount -t tmpfs -o size=256k,mode=700 tmpfs /var/lib/jit-sudo/recordings");
    let (_, end) = film(&lax, "filmed", "seq 1 100000; echo the end; exit 5");
    assert_eq!(end.number("exit"), 5);
    let (_, events) = sealed(&lax, &end);
    assert!(shown(&events, "o").contains("1\r\n2\r\n3\r\n"));
    let alert = lax.journal().into_iter().find(|record| record.kind() == "alert").expect("no alert");
    assert!(alert.text("sentence").contains("cannot be written"), "{}", alert.body);
}

#[test]
fn a_long_recording_is_compressed_by_an_unprivileged_process_and_replayed_and_exported() {
    let (person, end) = film(root(), "filmed", "seq 1 20000");
    let run = end.text("run");
    harness::eventually("it is compressed", harness::PATIENCE, || {
        let there = root().path(&format!("{DONE}/{run}.cast.zst")).exists();
        (there && !root().path(&format!("{DONE}/{run}.cast")).exists()).then_some(())
    });
    assert_eq!(root().script(&format!("stat -c %a%U {DONE}/{run}.cast.zst; find {DONE} -name '.{run}*'")), "600root\n");
    let (_, events) = sealed(root(), &end);
    assert!(shown(&events, "o").ends_with("19999\r\n20000\r\n"));
    let packed = std::fs::metadata(root().path(&format!("{DONE}/{run}.cast.zst"))).unwrap().len();
    assert!(packed * 2 < u64::try_from(end.number("recording_bytes")).unwrap(), "{packed}");
    assert!(root().run_as(&person.name, ["jitctl", "replay", run]).succeeded().ends_with("\n20000\r"));
    let exported = root().run_as(&person.name, ["jitctl", "replay", run, "--export", "-"]);
    assert_eq!(exported.stdout, text_of(root(), run));
    let info = root().run_as(&person.name, ["jitctl", "--json", "replay", run]).json();
    assert_eq!(info["recording"]["encoding"], "zstd");
}

#[test]
fn recordings_that_were_altered_or_removed_are_found_by_the_verification() {
    let root = strict_root("");
    let verify = || root.as_root(["jitctl", "audit", "verify", "--recordings"]);
    assert!(verify().intact().contains("recordings intact: 0"));
    let (_, short) = film(&root, "filmed", "echo short");
    let (_, long) = film(&root, "filmed", "seq 1 20000");
    let (_, gone) = film(&root, "filmed", "echo gone");
    harness::eventually("the long one is compressed", harness::PATIENCE, || {
        let [packed, plain] = [".zst", ""].map(|end| format!("{DONE}/{}.cast{end}", long.text("run")));
        (root.path(&packed).exists() && !root.path(&plain).exists()).then_some(())
    });
    assert!(verify().intact().contains("recordings intact: 3"));
    let reading = root.journal().into_iter().rfind(|record| record.kind() == "reading").unwrap();
    assert_eq!((reading.text("purpose"), reading.text("run")), ("verify", ""));

    root.script(&format!("sed -i s/short/shorn/ {DONE}/{}.cast", short.text("run")));
    let output = verify();
    output.exited(1);
    assert!(output.stderr.contains(&format!("the recording of run {} was altered", short.text("run"))), "{output:?}");
    root.script(&format!(
        "sed -i s/shorn/short/ {DONE}/{}.cast; rm {DONE}/{}.cast",
        short.text("run"),
        gone.text("run")
    ));
    assert!(verify().stderr.contains(&format!("the recording of run {} is missing", gone.text("run"))));
    let packed = format!("{DONE}/{}.cast.zst", long.text("run"));
    root.script(&format!("printf X | dd of={packed} bs=1 seek=1000 conv=notrunc 2>/dev/null"));
    let output = root.as_root(["jitctl", "--json", "audit", "verify", "--recordings"]);
    output.exited(1);
    let checked = &output.json()["verified"]["recordings"];
    assert_eq!((&checked["intact"], checked["bad"].as_array().unwrap().len()), (&1.into(), 2), "{checked}");
    assert!(root.as_root(["jitctl", "audit", "verify"]).intact().contains("chain intact"));
}

#[test]
fn a_search_finds_text_in_recordings_with_its_time() {
    let script = "echo first; sleep 1.2; printf 'the \\033[1mNeedle\\033[0m '; printf 'in hay\\n'; echo last";
    let (person, end) = film(root(), "filmed", script);
    let run = end.text("run");
    let search =
        |user: &str| root().run_as(user, ["jitctl", "--json", "audit", "search", "needle in", "--recordings"]).json();
    let found = search(&person.name)["found"].clone();
    let hit = found.as_array().unwrap().iter().find(|hit| hit["run"] == run).unwrap_or_else(|| panic!("{found}"));
    assert_eq!(hit["line"], "the Needle in hay");
    assert!((1200..6000).contains(&hit["at_ms"].as_u64().unwrap()), "{hit}");
    let shown = root().run_as(&person.name, ["jitctl", "audit", "search", "NEEDLE", "--recordings"]);
    assert!(shown.succeeded().contains(&format!("jitctl replay {run} --at 1.")), "{shown:?}");
    // Other users find only their own, and the search by root is recorded.
    let stranger = root().person(&["filmed"]);
    assert_eq!(search(&stranger.name)["found"].as_array().unwrap().len(), 0);
    assert!(search("root")["found"].to_string().contains(run));
    let reading = root().journal().into_iter().rfind(|record| record.text("purpose") == "search").unwrap();
    assert_eq!((reading.text("user"), reading.text("run")), ("root", ""));
    root().run_as(&person.name, ["jitctl", "audit", "search", "x", "--recordings", "--kind", "end"]).exited(2);
}
