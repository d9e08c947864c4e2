//! The log sinks with the real daemons: they receive the journal, byte by byte and in order, even when a daemon was away in
//! between.

use std::process::Command;
use std::time::{Duration, Instant};

use harness::{PATIENCE, Person, PrivateRoot, Record, eventually};
use serde_json::Value;

use crate::own_root;

/// Returns a root with these lines in `[audit]`, and a user who may run anything there.
fn mirrored(audit: &str) -> (PrivateRoot, Person) {
    let root = own_root();
    root.add_policy("audit", &format!("[audit]\n{audit}\n"));
    let person = root.person(&["deploy"]);
    (root, person)
}

/// Runs whose records contain what breaks log formats: line feeds, escapes, quotes, bytes that are not UTF-8, and a megabyte of
/// environment.
pub(crate) fn hostile_runs(root: &PrivateRoot, person: &Person) {
    use std::os::unix::ffi::OsStringExt;
    let bytes = std::ffi::OsString::from_vec(b"\xff\xfe\x80 not UTF-8 \\xff \"quoted\" %s %n \xe2\x80\xae".to_vec());
    let run = |argument: &std::ffi::OsStr| {
        let words = ["jit-sudo", "-n", "true"].map(std::ffi::OsString::from).into_iter().chain([argument.to_owned()]);
        root.command(&person.name, words).run().succeeded();
    };
    run("line\nfeed\r\n\x1b[2J\ttab\u{7f}\nJIT_SUDO_SEQ=1\n\n".as_ref());
    run(&bytes);
    // The role `deploy` keeps no variables, but every command has arguments: eight of them, each of the maximum length.
    let long: Vec<String> = (0..8).map(|_| "e\u{308}\\".repeat(32_000)).collect();
    root.command(&person.name, ["jit-sudo", "-n", "true"].into_iter().map(str::to_owned).chain(long)).run().succeeded();
    root.run_as("alice", ["jit-sudo", "-n", "id", "; rm -rf /"]).refused("");
}

/// The number of the policy record that names the sink; it is the first one that the sink gets.
const NAMED: u64 = 3;

/// Waits until `read` returns the records of the journal from number `first` on.
fn same_as_journal(root: &PrivateRoot, first: u64, read: impl Fn() -> Vec<(u64, String)>) {
    let journal = root.journal();
    assert_eq!((journal[2].kind(), journal[3].kind()), ("policy", "start"));
    let journal = journal.into_iter().map(|record| (record.seq, record.body)).filter(|(seq, _)| *seq >= first);
    let journal: Vec<(u64, String)> = journal.collect();
    let mut found = Vec::new();
    let arrived = Instant::now();
    while arrived.elapsed() < Duration::from_secs(20) {
        found = read();
        if found.len() >= journal.len() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let numbers = |records: &[(u64, String)]| records.iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
    assert_eq!(numbers(&found), numbers(&journal));
    for (found, record) in found.iter().zip(&journal) {
        assert!(found.1 == record.1, "record {} arrived as\n{:.400}\ninstead of\n{:.400}", record.0, found.1, record.1);
    }
}

/// Returns the number and the exact text of the JSON value after `"record":`, up to the last brace.
fn record_of(line: &str) -> (u64, String) {
    let seq = serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
    let record = line.split_once("\"record\":").unwrap().1.strip_suffix('}').unwrap();
    (seq, record.to_owned())
}

#[test]
fn a_json_file_holds_the_journal_line_by_line() {
    let (root, person) = mirrored("json_file = \"/var/log/jit-sudo/audit.jsonl\"");
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded(); // no directory yet
    root.script("mkdir -m 700 /var/log/jit-sudo");
    hostile_runs(&root, &person);
    let file = || root.read("/var/log/jit-sudo/audit.jsonl").lines().map(record_of).collect::<Vec<_>>();
    same_as_journal(&root, NAMED, file);
    root.as_root(["jitctl", "audit", "verify", "--anchor", "/var/log/jit-sudo/audit.jsonl"]).intact();
    assert_eq!(root.script("stat -c '%a %U' /var/log/jit-sudo/audit.jsonl").trim(), "600 root");
    root.run_as(&person.name, ["cat", "/var/log/jit-sudo/audit.jsonl"]).exited(1);
}

#[test]
fn a_full_disk_costs_the_json_file_no_record_and_no_run() {
    let (root, person) = mirrored("json_file = \"/var/log/jit-sudo/audit.jsonl\"\njson_file_size = \"1M\"");
    root.script("mkdir -m 700 /var/log/jit-sudo; mount -t tmpfs -o size=64k,mode=700 tmpfs /var/log/jit-sudo");
    let run = || root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded().to_owned();
    run();
    root.script("head -c 1M /dev/zero >/var/log/jit-sudo/filler || true");
    for _ in 0..8 {
        run();
    }
    root.script("rm /var/log/jit-sudo/filler");
    run();
    same_as_journal(&root, NAMED, || root.read("/var/log/jit-sudo/audit.jsonl").lines().map(record_of).collect());
}

#[test]
fn a_full_json_file_is_rotated() {
    let audit = "json_file = \"/var/log/jit-sudo/audit.jsonl\"\njson_file_size = \"8K\"\njson_file_count = 4";
    let (root, person) = mirrored(audit);
    root.script("mkdir -m 700 /var/log/jit-sudo");
    for _ in 0..8 {
        root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    }
    let files = root.script("cd /var/log/jit-sudo && ls && cat audit.jsonl.* | wc -l");
    assert!(files.starts_with("audit.jsonl\naudit.jsonl.1\n"), "{files}");
    assert!(root.script("find /var/log/jit-sudo -size +8k").is_empty());
    root.run_as("root", ["jitctl", "policy", "check"]).succeeded();
    root.write("/etc/jit-sudo/policy.d/audit.toml", 0o640, "[audit]\njson_file_count = 3\n");
    root.as_root(["jitctl", "policy", "check"]).refused("has no effect without json_file");
    root.write("/etc/jit-sudo/policy.d/audit.toml", 0o640, "[audit]\njson_file = \"../a\"\n");
    root.as_root(["jitctl", "policy", "check"]).refused("must be the absolute path of a file");
}

const JOURNALD: &str = "mkdir -p /run/systemd/journal /run/log/journal; \
    /lib/systemd/systemd-journald </dev/null >/run/journald.out 2>&1 & echo $! >/run/journald.pid; \
    until [ -S /run/systemd/journal/socket ]; do sleep 0.02; done";

#[test]
fn journald_has_every_record_whole() {
    let (root, person) = mirrored("journald = true\nsyslog = \"off\"");
    root.script(JOURNALD);
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    hostile_runs(&root, &person);
    // After an absence the missed records come first.
    root.script("kill $(cat /run/journald.pid); sleep 0.3; rm -f /run/systemd/journal/socket");
    for _ in 0..3 {
        root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    }
    root.script(JOURNALD);
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    let read = || {
        let text =
            root.script("journalctl --sync 2>/dev/null || true; journalctl -a -o json SYSLOG_IDENTIFIER=jit-sudo");
        text.lines().map(journald_entry).collect()
    };
    same_as_journal(&root, NAMED, read);
}

fn journald_entry(line: &str) -> (u64, String) {
    let entry: Value = serde_json::from_str(line).unwrap();
    let record = match &entry["JIT_SUDO_RECORD"] {
        Value::String(text) => text.clone(),
        Value::Array(bytes) => {
            String::from_utf8(bytes.iter().map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap()).collect()).unwrap()
        }
        other => panic!("{other}"),
    };
    assert_eq!(entry["SYSLOG_FACILITY"], "10");
    (entry["JIT_SUDO_SEQ"].as_str().unwrap().parse().unwrap(), record)
}

#[test]
fn a_stopped_journald_does_not_delay_a_run() {
    let (root, person) = mirrored("journald = true\nsyslog = \"off\"");
    root.script(JOURNALD);
    root.script("kill -STOP $(cat /run/journald.pid)");
    for _ in 0..40 {
        let begun = Instant::now();
        root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    root.script("kill -CONT $(cat /run/journald.pid)");
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    let read = || {
        let text = root.script("journalctl -a -o json SYSLOG_IDENTIFIER=jit-sudo");
        text.lines().map(journald_entry).collect()
    };
    same_as_journal(&root, NAMED, read);
}

#[test]
fn syslog_gets_missed_records_in_order_when_it_is_back() {
    let (root, person) = mirrored("");
    let run = || root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded().to_owned();
    run();
    root.script("kill $(cat /run/rsyslogd.pid); while [ -e /run/rsyslogd.pid ]; do sleep 0.02; done; rm -f /dev/log");
    for _ in 0..5 {
        run();
    }
    root.script(
        "rsyslogd -n -f /run/rsyslog.conf -i /run/rsyslogd.pid </dev/null >/dev/null 2>&1 & \
         until [ -S /dev/log ]; do sleep 0.02; done",
    );
    run();
    let journal = root.journal();
    let numbers = eventually("rsyslog has all", Duration::from_secs(20), || {
        // The lines of PAM are not JSON.
        let lines = root.syslog();
        let numbers: Vec<u64> = lines.iter().filter(|line| line.parsed).map(|line| line.seq).collect();
        (numbers.len() >= journal.len()).then_some(numbers)
    });
    assert_eq!(numbers, journal.iter().map(|record| record.seq).collect::<Vec<_>>());
}

#[test]
fn a_killed_process_leaves_its_records_to_the_next_one() {
    let (root, person) = mirrored("json_file = \"/var/log/jit-sudo/audit.jsonl\"");
    root.script("mkdir -m 700 /var/log/jit-sudo");
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    // The command kills its supervisor, which cannot report the end.
    let _ = root.run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "kill -KILL $PPID"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    // That run has another process record the end of the killed one.
    harness::eventually("the killed run is closed", harness::PATIENCE, || {
        root.journal().iter().any(|record| record.text("ended_by") == "lost").then_some(())
    });
    // The killed process may have sent its last record before it could note that; then the next process sends the record again.
    let read = || {
        let mut lines: Vec<_> = root.read("/var/log/jit-sudo/audit.jsonl").lines().map(record_of).collect();
        lines.dedup();
        lines
    };
    same_as_journal(&root, NAMED, read);
}

/// The audit daemon only works in the first PID namespace, so it and the runs are moved there.
#[test]
fn auditd_has_every_command_with_number_and_chain_head() {
    let (root, person) = mirrored("auditd = true\nsyslog = \"off\"");
    root.script("mkdir -p /var/log/audit /etc/audit/plugins.d");
    let conf = "local_events = yes\nwrite_logs = yes\nlog_file = /var/log/audit/audit.log\nlog_format = RAW\n\
        flush = NONE\nspace_left = 1\nadmin_space_left = 0\nspace_left_action = IGNORE\nadmin_space_left_action = IGNORE\n\
        disk_full_action = IGNORE\ndisk_error_action = IGNORE\nmax_log_file_action = IGNORE\n";
    root.write("/etc/audit/auditd.conf", 0o640, conf);
    root.write("/root/session", 0o755, include_str!("auditd-session.sh"));
    let output = Command::new("nsenter")
        .arg(format!("--mount=/proc/{}/ns/mnt", root.init()))
        .args(["unshare", "--mount", "sh", "-eu", "/root/session", &person.name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = root.read("/var/log/audit/audit.log");
    let ours: Vec<&str> = log.lines().filter(|line| line.contains("jit_seq=")).collect();
    // Records from before the daemon started are only in the kernel's log.
    let told: Vec<Record> = root.journal().into_iter().filter(|record| record.seq > NAMED).collect();
    for record in &told {
        let place = format!("jit_seq={} jit_head={}", record.seq, record.hash);
        let line = ours.iter().find(|line| line.contains(&place)).unwrap_or_else(|| {
            panic!("record {} is missing in\n{log}", record.seq);
        });
        if record.kind() == "start" {
            let words: Vec<Vec<u8>> = record.json["argv"].as_array().unwrap().iter().map(word).collect();
            let hex: String = words.join(&b' ').iter().map(|byte| format!("{byte:02X}")).collect();
            let cmd = line.split_once(" cmd=").unwrap().1.split(' ').next().unwrap();
            let shown = cmd.trim_matches('"');
            let quoted = words.join(&b' ') == shown.as_bytes();
            assert!(quoted || cmd == hex || line.contains("jit_cut=1") && hex.starts_with(cmd), "{line:.600}");
            assert!(line.starts_with("type=USER_CMD "), "{line:.100}");
        }
    }
    let numbers: Vec<u64> = ours.iter().map(|line| number(line)).collect();
    assert_eq!(numbers, told.iter().map(|record| record.seq).collect::<Vec<_>>(), "in order, each once");
}

fn number(line: &str) -> u64 {
    line.split_once("jit_seq=").unwrap().1.split(' ').next().unwrap().parse().unwrap()
}

/// Decodes the bytes of a text of a record (docs/formats.md).
fn word(value: &Value) -> Vec<u8> {
    let (text, mut bytes) = (value.as_str().unwrap(), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escaped = &rest[at + 1..];
        if let Some(hex) = escaped.strip_prefix('x') {
            bytes.push(u8::from_str_radix(&hex[..2], 16).unwrap());
            rest = &hex[2..];
        } else {
            bytes.push(escaped.as_bytes()[0]);
            rest = &escaped[1..];
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Installs Debian's syslog-ng in place of rsyslog in the root, as on a host where the administrator chose it.
pub(crate) fn install_syslog_ng(root: &PrivateRoot) {
    let install = "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; \
         chmod 755 /usr/sbin/policy-rc.d; export DEBIAN_FRONTEND=noninteractive; \
         apt-get -qq -y --no-install-recommends install syslog-ng-core >/run/apt.out 2>&1 || \
         { apt-get -qq update && apt-get -qq -y --no-install-recommends install syslog-ng-core; } >/run/apt.out 2>&1 || \
         { cat /run/apt.out >&2; exit 1; }";
    // From the package mirror, which may be slow.
    root.command("root", ["sh", "-euc", install]).patience(Duration::from_secs(180)).run().succeeded();
}

#[test]
fn syslog_ng_has_every_record_whole() {
    let (root, person) = mirrored("");
    root.script("kill $(cat /run/rsyslogd.pid); rm -f /dev/log");
    install_syslog_ng(&root);
    let conf = "@version: 3.38\noptions { keep-hostname(yes); log-msg-size(65536); };\n\
        source s { unix-dgram(\"/dev/log\"); };\n\
        parser p { json-parser(prefix(\".cee.\") marker(\"@cee:\")); };\n\
        destination d { file(\"/var/log/ng\" template(\"$(format-json --key .cee.* --rekey .cee.* --shift 5)\\n\")); };\n\
        destination raw { file(\"/var/log/ng.raw\" template(\"${MESSAGE}\\n\")); };\n\
        log { source(s); destination(raw); parser(p); destination(d); };\n";
    root.write("/run/ng.conf", 0o644, conf);
    root.script(
        "syslog-ng -F --no-caps -f /run/ng.conf -p /run/ng.pid -R /run/ng.persist -c /run/ng.ctl </dev/null \
         >/run/ng.out 2>&1 & for i in $(seq 500); do [ -S /dev/log ] && exit 0; sleep 0.02; done; cat /run/ng.out >&2; exit 1",
    );
    hostile_runs(&root, &person);
    same_as_journal(&root, NAMED + 1, || joined(&root.read("/var/log/ng.raw")));
    let parsed = eventually("syslog-ng has parsed all", Duration::from_secs(10), || {
        let numbers = root.read("/var/log/ng").lines().filter(|line| line.contains("seq")).count();
        (numbers >= root.journal().len()).then_some(numbers)
    });
    assert!(parsed > 0);
}

/// Returns records from received lines, with parts joined.
fn joined(lines: &str) -> Vec<(u64, String)> {
    let mut records: Vec<(u64, String)> = Vec::new();
    // Other lines are from PAM.
    for json in lines.lines().filter_map(|line| line.split_once("@cee: ")).map(|(_, json)| json) {
        let value: Value = serde_json::from_str(json).unwrap();
        let seq = value["seq"].as_u64().unwrap();
        match value["data"].as_str() {
            None => records.push(record_of(json)),
            Some(data) if value["part"] == 1 => records.push((seq, data.to_owned())),
            Some(data) => records.last_mut().unwrap().1.push_str(data),
        }
    }
    records
}

/// The lines for programs that read those of sudo, beside Debian's sudo.
#[test]
fn syslog_has_lines_like_those_of_sudo_where_the_policy_says_so() {
    let root = own_root();
    root.add_policy("sudo-lines", "[audit]\nsyslog_format = \"sudo\"\n");
    let person = root.person(&["deploy"]);
    let lines = || -> Vec<String> {
        let log = root.auth_log();
        let lines = log.iter().filter_map(|line| Some(line.split_once(" sudo: ")?.1.to_owned()));
        lines.filter(|text| !text.starts_with("pam_")).collect()
    };
    let numbers: Vec<String> = (0..400).map(|number| number.to_string()).collect();
    let long: Vec<&str> = std::iter::once("/usr/bin/echo").chain(numbers.iter().map(String::as_str)).collect();
    let cases: [(&str, &[&str]); 6] = [
        (&person.name, &["/usr/bin/id", "-u"]),
        (&person.name, &["-u", "bob", "/usr/bin/id"]),
        (&person.name, &["/usr/bin/printf", "a b", "c\\d", "it's", "", "é;$x*"]),
        (&person.name, &["/usr/bin/printf", "new\nline\u{7}\u{1b}[1m\u{7f}\t"]),
        (&person.name, &["/usr/bin/true", "it's a \\ 'test'"]),
        (&person.name, &long),
    ];
    for (name, words) in cases {
        let [ours, theirs] = ["jit-sudo", "sudo"].map(|program| {
            let before = lines().len();
            let _ = root.run_as(name, [&[program, "-n"][..], words].concat());
            let arrived = eventually(&format!("{program} {words:?}"), PATIENCE, || {
                let lines = lines();
                (lines.len() > before).then_some(lines)
            });
            arrived[before..].to_vec()
        });
        assert_eq!(ours, theirs, "{words:?}");
    }
    // Over a terminal, with its name.
    let mut session = root.pty_as(&person.name, ["jit-sudo", "-n", "/usr/bin/true"]);
    session.wait();
    let last = eventually("the line is in the log", PATIENCE, || lines().pop().filter(|line| line.contains("TTY=")));
    assert!(last.contains(" : TTY=pts/") && last.ends_with(" ; USER=root ; COMMAND=/usr/bin/true"), "{last}");
    root.as_root(["jitctl", "audit", "verify"]).intact();
    assert!(root.as_root(["jitctl", "policy", "show"]).succeeded().contains("syslog_format"));
}
