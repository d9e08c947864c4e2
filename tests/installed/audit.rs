//! The records, that nothing runs without them, and the lines in syslog.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use harness::{Person, PrivateRoot, Record};

use crate::{kinds, own_root, records_of, request, root};

/// Returns the `start` record of the last run of this user.
fn last_start(root: &PrivateRoot, person: &Person) -> Record {
    let mut starts = records_of(root, person).into_iter().filter(|record| record.kind() == "start");
    starts.next_back().unwrap_or_else(|| panic!("{} has run nothing", person.name))
}

#[test]
fn a_start_names_caller_command_user_and_origin() {
    let person = root().person(&["deploy"]);
    root()
        .command(&person.name, ["jit-sudo", "-n", "-u", "carol", "echo", "-u", "a b", "c\\d"])
        .cwd("/usr")
        .run()
        .succeeded();
    let start = last_start(root(), &person);
    let carol = root().user("carol");
    assert_eq!((start.text("user"), start.number("uid")), (person.name.as_str(), i64::from(person.uid)));
    assert_eq!((start.text("run_as"), start.number("run_as_uid")), ("carol", i64::from(carol.uid)));
    assert_eq!((start.text("cwd"), start.text("path")), ("/usr", "/usr/bin/echo"));
    assert_eq!(start.json["argv"], serde_json::json!(["echo", "-u", "a b", "c\\\\d"]));
    assert_eq!(start.json["groups"].as_array().map(|groups| groups.len() >= 2), Some(true), "{}", start.body);
    assert_eq!((start.text("role"), start.text("assignment")), ("deploy", "standing"));
    assert_eq!(start.text("sha256"), root().script("sha256sum /usr/bin/echo").split(' ').next().unwrap());
    let stat = root().script("stat -c '%i' /usr/bin/echo");
    assert_eq!(start.number("ino").to_string(), stat.trim());
}

#[test]
fn an_end_holds_the_status_or_signal_and_the_resource_usage() {
    let person = root().person(&["deploy"]);
    root().run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "exit 42"]).exited(42);
    let killed = root().run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "kill -USR1 $$"]);
    assert_eq!(killed.status.signal(), Some(10));
    root().run_as(&person.name, ["jit-sudo", "-n", "perl", "-e", "my $i = 0; $i++ while $i < 3e6"]).succeeded();
    let ends: Vec<Record> = records_of(root(), &person).into_iter().filter(|record| record.kind() == "end").collect();
    assert_eq!((ends[0].number("exit"), ends[0].number("signal")), (42, -1));
    assert_eq!((ends[1].number("exit"), ends[1].number("signal")), (-1, 10));
    assert!(
        ends[2].number("user_us") > 10_000 && ends[2].number("duration_us") >= ends[2].number("user_us") / 2,
        "{}",
        ends[2].body
    );
    assert!(ends[2].number("max_rss_kib") > 1000, "{}", ends[2].body);
}

#[test]
fn secret_values_are_kept_as_digests_and_names_are_complete() {
    let person = root().person(&["keeper"]);
    let words = ["jit-sudo", "-n", "API_TOKEN=s3cr3t-one", "DB_PASSWORD=s3cr3t-two", "PLAIN=visible", "env"];
    let output = root().run_as(&person.name, words);
    assert!(output.succeeded().contains("s3cr3t-one"), "the command itself must get it: {output:?}");
    let start = last_start(root(), &person);
    assert!(!start.body.contains("s3cr3t"), "{}", start.body);
    let environment = start.json["environment"].as_array().unwrap();
    let find = |name: &str| environment.iter().find(|variable| variable["name"] == name).unwrap().clone();
    assert_eq!(find("PLAIN")["value"], "visible");
    for name in ["API_TOKEN", "DB_PASSWORD"] {
        assert!(find(name).get("value").is_none() && find(name)["digest"].is_string(), "{}", find(name));
    }
    let logged = root().auth_log().join("\n");
    assert!(!logged.contains("s3cr3t"), "a secret went to syslog");
}

/// A reader of the journal runs a command with a guess, and compares the digests.
#[test]
fn the_digest_of_a_secret_value_helps_no_other_user_to_guess_it() {
    let (victim, reader) = (root().person(&["keeper"]), root().person(&["keeper"]));
    let digests = |person: &harness::Person, words: [&str; 2]| {
        root().run_as(&person.name, ["jit-sudo", "-n", words[0], words[1], "env"]).succeeded();
        let start = last_start(root(), person);
        let environment = start.json["environment"].as_array().unwrap().clone();
        let digest = |word: &str| {
            let name = word.split('=').next().unwrap();
            let variable = environment.iter().find(|variable| variable["name"] == name).unwrap();
            variable["digest"].as_str().unwrap_or_else(|| panic!("{variable}")).to_owned()
        };
        words.map(digest)
    };
    let words = ["X_PASSWORD=hunter2", "Y_PASSWORD=hunter2"];
    let secret = digests(&victim, words);
    assert_ne!(secret[0], secret[1], "another name");
    assert_ne!(digests(&reader, words), secret, "another user");
    assert_eq!(digests(&victim, words), secret, "the same user, name and value");
    // As docs/formats.md describes it, for root.
    let check = format!(
        "key=$(sqlite3 /var/lib/jit-sudo/journal.db \"SELECT lower(hex(value)) FROM journal_meta WHERE name = 'redaction_key'\") && \
         printf '%d\\0%s' {} X_PASSWORD=hunter2 | openssl dgst -sha256 -mac HMAC -macopt hexkey:$key | sed 's/.*= //'",
        victim.uid
    );
    assert_eq!(root().script(&check).trim(), secret[0]);
}

#[test]
fn each_record_carries_the_hash_of_the_one_before() {
    let root = own_root();
    let person = root.person(&["deploy", "self-service"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    request(&root, &person, "self-service", &[]);
    root.run_as("alice", ["jit-sudo", "-n", "id"]).refused("");
    let journal = root.journal();
    assert!(journal.len() >= 5, "{:?}", kinds(&journal));
    let mut before = "0".repeat(64);
    for (number, record) in (1u64..).zip(&journal) {
        assert_eq!((record.seq, record.number("seq")), (number, number.cast_signed()));
        assert_eq!(record.text("prev"), before, "record {number}");
        root.write("/tmp/body", 0o600, &record.body);
        let sum = root.script("sha256sum < /tmp/body");
        assert_eq!(sum.split(' ').next(), Some(record.hash.as_str()), "record {number}");
        before.clone_from(&record.hash);
    }
    let verified = root.as_root(["jitctl", "--json", "audit", "verify"]).json();
    assert_eq!(verified["verified"]["intact"], true, "{verified}");
    assert_eq!(verified["verified"]["head"], before.as_str());
}

#[test]
fn an_altered_record_is_found() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    for _ in 0..3 {
        root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    }
    root.script("cp -a /var/lib/jit-sudo /root/state");
    let harm = [
        "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '/usr/bin/id', '/usr/bin/ls') AS BLOB) WHERE seq = 5",
        "DELETE FROM record WHERE seq = 3",
        "UPDATE record SET hash = zeroblob(32) WHERE seq = 5",
        "UPDATE record SET seq = seq + 1000 WHERE seq = 6",
    ];
    for sql in harm {
        root.script(&format!("sqlite3 /var/lib/jit-sudo/journal.db \"{sql}\""));
        let output = root.as_root(["jitctl", "audit", "verify"]);
        assert_eq!(output.status.code(), Some(1), "{sql}: {output:?}");
        root.script("settle; rm -r /var/lib/jit-sudo && cp -a /root/state /var/lib/jit-sudo");
    }
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn syslog_has_every_record_with_its_number_and_chain_head() {
    let root = own_root();
    let person = root.person(&["deploy", "self-service"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    request(&root, &person, "self-service", &[]);
    root.run_as("alice", ["jit-sudo", "-n", "id"]).refused("");
    let heads: BTreeMap<u64, String> =
        root.syslog().into_iter().filter(|line| line.parsed).map(|line| (line.seq, line.head)).collect();
    for record in root.journal() {
        assert_eq!(heads.get(&record.seq), Some(&record.hash), "record {} in syslog", record.seq);
    }
}

#[test]
fn a_record_above_the_line_limit_comes_in_numbered_parts() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    let long: Vec<String> = (0..400).map(|i| format!("argument-\u{e4}\"\\-{i:04}-{}", "x".repeat(40))).collect();
    let words = ["jit-sudo", "-n", "true"].into_iter().map(str::to_owned).chain(long);
    root.run_as(&person.name, words).succeeded();
    let start = last_start(&root, &person);
    assert!(start.body.len() > 20_000);
    let mut parts: Vec<_> = root.syslog().into_iter().filter(|line| line.seq == start.seq).collect();
    parts.sort_by_key(|line| line.json["part"].as_i64());
    assert!(
        parts.len() >= 3 && parts.iter().all(|line| line.parsed && line.head == start.hash),
        "{} parts",
        parts.len()
    );
    assert!(parts.iter().all(|line| line.json["parts"].as_i64() == i64::try_from(parts.len()).ok()));
    let whole: String = parts.iter().map(|line| line.json["data"].as_str().unwrap()).collect();
    assert_eq!(whole, start.body);
}

#[test]
fn control_characters_do_not_forge_lines() {
    // CVE-2023-28486.
    let person = root().person(&["deploy"]);
    let forged = "x\nNov 23 00:00:00 web1 sshd[1]: Accepted password for root\r\x1b[2J\u{202e}\u{7f}";
    root().run_as(&person.name, ["jit-sudo", "-n", "true", forged]).succeeded();
    let start = last_start(root(), &person);
    assert!(!start.body.chars().any(|c| c.is_control() || c == '\u{202e}'), "{:?}", start.body);
    let log = root().auth_log();
    assert!(!log.iter().any(|line| line.contains("sshd[1]") && !line.contains("jit-sudo")), "a forged line");
    assert!(log.iter().any(|line| line.contains("jit-sudo") && line.contains("Accepted password")));
}

#[test]
fn arguments_that_are_not_utf8_are_kept_byte_by_byte() {
    let person = root().person(&["deploy"]);
    let word = std::ffi::OsStr::from_bytes(b"a\xff\xfeb\\");
    let output =
        root().run_as(&person.name, ["jit-sudo".as_ref(), "-n".as_ref(), "printf".as_ref(), "%s".as_ref(), word]);
    assert_eq!(output.raw_stdout, b"a\xff\xfeb\\");
    assert_eq!(last_start(root(), &person).json["argv"][2], "a\\xff\\xfeb\\\\");
}

#[test]
fn rejections_are_recorded_with_the_command_line() {
    let person = root().person(&[]);
    root().run_as(&person.name, ["jit-sudo", "-n", "-u", "carol", "cat", "/etc/shadow"]).refused("");
    let records = records_of(root(), &person);
    assert_eq!(kinds(&records), ["reject"]);
    assert_eq!(records[0].json["argv"], serde_json::json!(["cat", "/etc/shadow"]));
    assert_eq!(records[0].text("run_as"), "carol");
}

#[test]
fn without_the_journal_nothing_runs() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    for harm in [
        "rm /var/lib/jit-sudo/journal.db*",
        "dd if=/dev/urandom of=/var/lib/jit-sudo/journal.db bs=4096 count=4 conv=notrunc 2>/dev/null; rm -f /var/lib/jit-sudo/journal.db-*",
        "sqlite3 /var/lib/jit-sudo/journal.db 'CREATE TRIGGER t AFTER INSERT ON record BEGIN SELECT 1; END'",
        "chmod 755 /var/lib/jit-sudo",
        "chown -R alice /var/lib/jit-sudo",
        "mv /var/lib/jit-sudo /root/elsewhere && ln -s /root/elsewhere /var/lib/jit-sudo",
        "rm -r /var/lib/jit-sudo",
    ] {
        root.script(&format!("settle; rm -rf /root/state && cp -a /var/lib/jit-sudo /root/state; {harm}"));
        let output = root.run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "echo ran"]);
        output.refused("jit-sudo: ");
        root.script("rm -rf /var/lib/jit-sudo /root/elsewhere && cp -a /root/state /var/lib/jit-sudo");
    }
    assert_eq!(root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_full_disk_denies_and_recovers_alone() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.script("cp -a /var/lib/jit-sudo /root/state; mount -t tmpfs -o size=6m,mode=700 tmpfs /var/lib/jit-sudo; cp -a /root/state/. /var/lib/jit-sudo/");
    root.script("dd if=/dev/zero of=/var/lib/jit-sudo/filler bs=1k 2>/dev/null || true");
    let mut denied = false;
    for _ in 0..200 {
        let output = root.run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "echo ran"]);
        if !output.status.success() {
            output.refused("jit-sudo: ");
            denied = true;
            break;
        }
    }
    assert!(denied, "the disk never was full");
    root.script("rm /var/lib/jit-sudo/filler");
    assert_eq!(root.run_as(&person.name, ["jit-sudo", "-n", "echo", "ran"]).succeeded(), "ran");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_missing_or_stopped_syslog_neither_hangs_nor_decides() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.script("kill -STOP $(cat /run/rsyslogd.pid)");
    for _ in 0..30 {
        let began = std::time::Instant::now();
        root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
        assert!(began.elapsed().as_secs() < 2, "a stopped syslog costs {:?}", began.elapsed());
    }
    root.script("kill -KILL $(cat /run/rsyslogd.pid); rm -f /dev/log");
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
}

#[test]
fn a_required_syslog_that_is_gone_denies() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.add_policy("audit", "[audit]\nsyslog = \"required\"\n");
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    root.script("kill -KILL $(cat /run/rsyslogd.pid); rm -f /dev/log");
    root.run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "echo ran"]).refused("syslog");
}

#[test]
fn the_start_is_on_disk_before_the_command_is_executed() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.script("cp /usr/bin/id /usr/local/bin/marked");
    let words = [
        "strace",
        "-f",
        "-q",
        "-o",
        "/root/trace",
        "-u",
        &person.name,
        "-e",
        "trace=fdatasync,fsync,execve,execveat",
        "/usr/bin/jit-sudo",
        "-n",
        "marked",
    ];
    root.as_root(words).succeeded();
    let trace = root.read("/root/trace");
    let lines: Vec<&str> = trace.lines().collect();
    let executed = lines.iter().rposition(|line| line.contains("execve")).unwrap();
    let synced = lines.iter().position(|line| line.contains("sync(") && line.ends_with("= 0"));
    assert!(synced.is_some_and(|synced| synced < executed), "{trace}");
}

#[test]
fn the_run_of_a_killed_supervisor_is_closed_as_lost() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    let mut session = root.pty_as(&person.name, ["jit-sudo", "-n", "sleep", "60"]);
    let start = harness::eventually("the run has begun", harness::PATIENCE, || {
        records_of(&root, &person).into_iter().find(|record| record.kind() == "start")
    });
    root.script(&format!("kill -KILL {}", start.number("pid")));
    session.wait();
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    // By the next run, or by the enforcer where there was one by then.
    let lost = harness::eventually("the lost run has an end", harness::PATIENCE, || {
        let is_its_end = |record: &Record| record.kind() == "end" && record.text("run") == start.text("run");
        records_of(&root, &person).into_iter().find(is_its_end)
    });
    assert_eq!(lost.text("ended_by"), "lost", "{}", lost.body);
}

#[test]
fn two_hundred_runs_at_once_all_succeed_and_are_all_recorded() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    let script = "for i in $(seq 200); do (jit-sudo -n sh -c \"exit $((i % 100))\"; [ $? = $((i % 100)) ] || echo wrong $i) & done; wait";
    let output = root.command(&person.name, ["bash", "-c", script]).patience(std::time::Duration::from_secs(60)).run();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    let records = records_of(&root, &person);
    assert_eq!(records.iter().filter(|record| record.kind() == "start").count(), 200);
    assert_eq!(records.iter().filter(|record| record.kind() == "end").count(), 200);
    root.as_root(["jitctl", "audit", "verify"]).intact();
}
