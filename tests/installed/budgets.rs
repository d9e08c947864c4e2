//! The costs that one user may cause for others: everything that an unprivileged user can cause to be stored, held open or waited
//! for is bounded, and no user is rejected because of another user's requests.

use std::time::Duration;

use harness::{Output, Person, PrivateRoot};

use crate::{id, own_root, records_of, request, root};

/// Calls the broker directly, which every user may do, and prints its answer and its maximum memory, in KiB.
const ASK: &str = r#"
import json, resource, subprocess, sys
broker = "/usr/libexec/jit-sudo/jit-sudo-broker"
question = json.dumps(eval(sys.argv[1])).encode()
answer = subprocess.run([broker], input=question, stdout=subprocess.PIPE).stdout
print(json.dumps({"length": len(answer), "begins": answer[:4000].decode(), "kib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}))
"#;

fn ask(root: &PrivateRoot, who: &Person, question: &str) -> serde_json::Value {
    root.run_as(&who.name, ["python3", "-c", ASK, question]).json()
}

/// Returns the size of all files of the state directory, in bytes.
fn state(root: &PrivateRoot) -> u64 {
    let listed = root.script("find /var/lib/jit-sudo -type f -printf '%s\\n' | awk '{sum += $1} END {print sum}'");
    listed.trim().parse().unwrap()
}

/// The maximum number of bytes that one user may cause to be stored at once; see jit-sudo-policy(5).
const STORED: u64 = 2 << 20;

#[test]
fn a_refusal_with_five_megabytes_of_control_characters_is_a_short_record() {
    let root = own_root();
    let person = root.person(&[]);
    let before = state(&root);
    let line = "import os; os.execvp('jit-sudo', ['jit-sudo', '-n', '-u', '\\x02' * 100000, '/usr/bin/id'] + ['\\x01' * 120000] * 10)";
    let refused = root.run_as(&person.name, ["python3", "-c", line]);
    assert_eq!(refused.status.code(), Some(1));
    let line = "import os; os.execvp('jit-sudo', ['jit-sudo', '-n', '/usr/bin/id'] + ['\\x01' * 120000] * 12)";
    root.run_as(&person.name, ["python3", "-c", line]).exited(1);
    let records = records_of(&root, &person);
    let record = records.last().unwrap();
    assert_eq!(record.kind(), "reject");
    let (text, field) = (record.body.clone(), |name: &str| record.json["whole_argv"][name].clone());
    assert!(text.len() < 10_000, "a record of {} bytes", text.len());
    assert_eq!(field("bytes"), 12 * 120_001 + "/usr/bin/id".len() + 1, "{text}");
    let digest =
        "import hashlib; print(hashlib.sha256(b'/usr/bin/id\\0' + (b'\\1' * 120000 + b'\\0') * 12).hexdigest())";
    assert_eq!(field("sha256"), root.script(&format!("python3 -c \"{digest}\"")).trim());
    assert!(record.json["whole_sentence"]["bytes"].as_u64().unwrap() > 1_000_000, "{text}");
    assert!(state(&root) - before < 200_000, "{} bytes", state(&root) - before);
    let longest = root.syslog().iter().map(|line| line.json.to_string().len()).max().unwrap_or(0);
    assert!(longest < 20_000, "a line of {longest} bytes in syslog");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn the_text_of_a_rejection_is_escaped_once() {
    let person = root().person(&[]);
    root().run_as(&person.name, ["jit-sudo", "-n", "/usr/bin/id", "a\u{1}b\\c"]).refused("");
    let records = records_of(root(), &person);
    let sentence = records[0].text("sentence");
    assert!(sentence.contains("'/usr/bin/id a\\x01b\\\\c'"), "{sentence}");
}

#[test]
fn refusals_of_any_size_fill_no_more_than_their_part_of_the_budget() {
    let root = own_root();
    let (person, other) = (root.person(&["reviewed"]), root.person(&[]));
    let before = state(&root);
    let flood = "import subprocess\nfrom concurrent.futures import ThreadPoolExecutor\n\
        words = ['jit-sudo', '-n', '--role', 'nonsense', '/usr/bin/id'] + ['\\x01' * 100000] * 5\n\
        with ThreadPoolExecutor(16) as pool: list(pool.map(lambda _: subprocess.run(words, stderr=subprocess.DEVNULL), range(150)))";
    root.command(&person.name, ["python3", "-c", flood]).patience(Duration::from_secs(120)).run().succeeded();
    let grown = state(&root) - before;
    assert!(grown < STORED, "150 refusals of 500 KB made {grown} bytes");
    let recorded = records_of(&root, &person).len();
    assert!((10..100).contains(&recorded), "{recorded}");
    root.run_as(&other.name, ["jit-sudo", "-n", "id"]).refused("");
    assert_eq!(records_of(&root, &other).len(), 1, "nobody else is concerned");
    // Rejections leave room for requests.
    request(&root, &person, "reviewed", &["--", "id"]);
}

#[test]
fn a_request_is_short_enough_for_an_approver_to_read() {
    let (person, approver) = (root().person(&["reviewed"]), root().person(&["approvers"]));
    for (count, length) in [(1, 66_000), (40, 2000), (3, 1 << 20)] {
        let question = format!(
            "{{'verb': 'request', 'role': 'reviewed', 'reason': 'x', 'command': ['/usr/bin/id'] + ['y' * {length}] * {count}}}"
        );
        let answer = ask(root(), &person, &question);
        let said = answer["begins"].as_str().unwrap();
        assert!(said.contains("more than the 65536 that a request may have; put it into a script"), "{said}");
    }
    // Characters that are longer when escaped count as escaped.
    let question =
        "{'verb': 'request', 'role': 'reviewed', 'reason': 'x', 'command': ['/usr/bin/id', '\\\\x01' * 16000]}";
    assert!(ask(root(), &person, question)["begins"].as_str().unwrap().contains("more than the 65536"));
    // A command within the limit is bound and shown completely.
    let question = "{'verb': 'request', 'role': 'reviewed', 'reason': 'x', 'command': ['/usr/bin/id', 'y' * 60000]}";
    let answer = ask(root(), &person, question);
    let id = answer["begins"].as_str().unwrap().split("\"id\":\"").nth(1).unwrap()[..10].to_owned();
    let shown = root().run_as(&approver.name, ["jitctl", "--json", "show", &id]).json();
    assert_eq!(shown["grant"]["command"][1].as_str().map(str::len), Some(60_000));
    let listed = root().run_as(&approver.name, ["jitctl", "--json", "requests"]).json();
    let entry = listed["requests"].as_array().unwrap().iter().find(|entry| entry["id"] == id.as_str()).unwrap();
    assert_eq!(entry["command_bytes"], 60_000 + 1 + "/usr/bin/id".len() + 1, "a listing shows the beginning");
    assert!(entry["command"][1].as_str().unwrap().len() <= 1024);
    let table = root().run_as(&approver.name, ["jitctl", "requests"]);
    assert!(table.succeeded().len() < 4000, "{table:?}");
}

#[test]
fn the_budget_limits_requests_but_not_break_glass() {
    let root = own_root();
    root.add_policy(
        "urgent",
        "[roles.urgent]\neligible = [\"%reviewed\"]\ncommands = \"ALL\"\nauthenticate = false\n\
         [roles.urgent.activation]\nrequire_approval = true\napprovers = [\"%approvers\"]\nbreak_glass = true\n",
    );
    let (person, other) = (root.person(&["reviewed"]), root.person(&["reviewed"]));
    let before = state(&root);
    let file = "{'verb': 'request', 'role': 'reviewed', 'reason': 'x', 'command': ['/usr/bin/id', 'y' * 64000]}";
    let mut last = String::new();
    for _ in 0..20 {
        last = ask(&root, &person, file)["begins"].as_str().unwrap().to_owned();
    }
    assert!(last.contains("you have stored as much as one user may (2048 KiB at once, 32768 KiB a day)"), "{last}");
    assert!(state(&root) - before < 2 * STORED, "{} bytes", state(&root) - before);
    let alerts: Vec<_> = root.journal().into_iter().filter(|record| record.text("code") == "budget-used").collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0].number("uid"), i64::from(person.uid));
    request(&root, &other, "reviewed", &["--", "id"]);
    root.add_policy("storage", "[audit]\nuser_storage = \"4M\"\n");
    let answer = ask(&root, &person, file);
    assert!(answer["begins"].as_str().unwrap().contains("pending"), "the policy may give more room: {answer}");
    let urgent =
        root.run_as(&person.name, ["jit-sudo", "--break-glass", "--role", "urgent", "--reason", "fire", "id", "-u"]);
    assert_eq!(urgent.succeeded(), "0", "{urgent:?}");
}

#[test]
fn whatever_was_filed_approvers_and_root_see_every_request_in_little_memory() {
    let root = own_root();
    let (person, approver) = (root.person(&["reviewed"]), root.person(&["approvers"]));
    let pending = id(&request(&root, &person, "reviewed", &["--", "id"]));
    // Requests as an earlier version accepted them: 120 of 1 MiB.
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120) \
         INSERT INTO request (id, uid, role, state, created, deadline, needed, body) \
         SELECT printf('%010d', n.i), uid, role, state, created, deadline, needed, \
         CAST(replace(replace(CAST(body AS TEXT), id, printf('%010d', n.i)), '\"/usr/bin/id\"]', \
         '\"/usr/bin/id\",\"' || printf('%.1048576c', 'y') || '\"]') AS BLOB) FROM n, request WHERE request.id = '{pending}';"
    );
    root.write("/root/many.sql", 0o600, many);
    root.script("sqlite3 /var/lib/jit-sudo/journal.db < /root/many.sql");
    for who in ["root", &approver.name] {
        for words in [&["requests"][..], &["requests", "--all"]] {
            let listed: Output =
                root.command(who, [&["jitctl", "--json"], words].concat()).patience(Duration::from_secs(60)).run();
            assert_eq!(listed.json()["requests"].as_array().map(Vec::len), Some(121), "{who} {words:?}");
        }
    }
    let question = "{'verb': 'requests', 'all': False}";
    let broker =
        root.command(&approver.name, ["python3", "-c", ASK, question]).patience(Duration::from_secs(60)).run().json();
    let kib = broker["kib"].as_u64().unwrap();
    assert!(kib < 40_000, "one listing took {kib} KiB");
    let ambiguous = root.run_as(&approver.name, ["jitctl", "show", "0"]);
    assert!(ambiguous.stderr.contains("fits several"), "{ambiguous:?}");
}

#[test]
fn a_listing_of_many_parts_is_whole_and_in_order() {
    let root = own_root();
    let person = root.person(&["reviewed"]);
    let pending = id(&request(&root, &person, "reviewed", &["--", "id"]));
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3500) \
         INSERT INTO request (id, uid, role, state, created, deadline, needed, body) \
         SELECT printf('%010d', n.i), uid, role, state, created, deadline, needed, \
         CAST(replace(CAST(body AS TEXT), id, printf('%010d', n.i)) AS BLOB) FROM n, request WHERE request.id = '{pending}';"
    );
    root.write("/root/many.sql", 0o600, many);
    root.script("sqlite3 /var/lib/jit-sudo/journal.db < /root/many.sql");
    let listed = root.command("root", ["jitctl", "--json", "requests"]).patience(Duration::from_secs(60)).run().json();
    let ids: Vec<&str> =
        listed["requests"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    let expected: Vec<String> =
        (1..=3500).rev().map(|number| format!("{number:010}")).chain([pending.clone()]).collect();
    assert_eq!(ids, expected.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Starts the given number of brokers, from a user who may have 40 processes, and prints how many live at once and 12 seconds
/// later.
const IDLE: &str = r#"
import resource, subprocess, sys, time
resource.setrlimit(resource.RLIMIT_NPROC, (40, 40))
held = []
for _ in range(600):
    try:
        held.append(subprocess.Popen(["/usr/libexec/jit-sudo/jit-sudo-broker"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))
        if sys.argv[1] == "begins":
            held[-1].stdin.write(b'{"verb":')
            held[-1].stdin.flush()
    except OSError:
        time.sleep(0.002)
time.sleep(0.5)
alive = sum(process.poll() is None for process in held)
time.sleep(12)
print(alive, sum(process.poll() is None for process in held))
"#;

#[test]
fn idle_brokers_count_against_the_process_limit_of_their_user() {
    let root = own_root();
    for manner in ["silent", "begins"] {
        let person = root.person(&[]);
        let run = root.command(&person.name, ["python3", "-c", IDLE, manner]).patience(Duration::from_secs(60)).run();
        let counted: Vec<u32> = run.succeeded().split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert!(counted[0] <= 60, "{} brokers of a user with 40 processes", counted[0]);
        assert_eq!(counted[1], 0, "brokers wait for a question for ever");
    }
}

#[test]
fn a_question_in_pieces_is_heard() {
    let person = root().person(&["reviewed"]);
    let slow = "import subprocess, time\np = subprocess.Popen(['/usr/libexec/jit-sudo/jit-sudo-broker'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\nfor part in (b'{\"verb\":', b'\"roles\"', b'}'):\n    p.stdin.write(part); p.stdin.flush(); time.sleep(0.3)\np.stdin.close()\nprint(p.stdout.read().decode())";
    let said = root().run_as(&person.name, ["python3", "-c", slow]);
    assert!(said.succeeded().contains("reviewed"), "{said:?}");
}

#[test]
fn each_user_has_a_limit_of_waiting_calls() {
    let root = own_root();
    let (person, other) = (root.person(&["reviewed"]), root.person(&["reviewed"]));
    let pending = id(&request(&root, &person, "reviewed", &["--", "id"]));
    let wait = "import json, subprocess, sys, time\n\
                ask = lambda: subprocess.Popen(['/usr/libexec/jit-sudo/jit-sudo-broker'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n\
                held = []\n\
                for _ in range(100):\n    \
                    p = ask(); p.stdin.write(json.dumps({'verb': 'wait', 'id': sys.argv[1], 'seconds': 20}).encode()); p.stdin.close(); held.append(p)\n\
                time.sleep(8)\n\
                over = [p.stdout.read().decode() for p in held if p.poll() is not None]\n\
                print(len(over)); print(over[0]); sys.stdout.flush(); time.sleep(10)";
    std::thread::scope(|scope| {
        let command = root.command(&person.name, ["python3", "-c", wait, &pending]).patience(Duration::from_secs(60));
        let waits = scope.spawn(move || command.run());
        std::thread::sleep(Duration::from_secs(12));
        root.run_as(&person.name, ["jitctl", "requests"]).refused("64 requests of yours are being worked on");
        root.run_as(&other.name, ["jitctl", "requests"]).succeeded();
        root.as_root(["jitctl", "requests"]).succeeded();
        let said = waits.join().unwrap();
        let lines: Vec<&str> = said.succeeded().lines().collect();
        assert_eq!(lines[0], "36", "{said:?}");
        assert!(lines[1].contains("too-many"), "{said:?}");
    });
    // 37 questions were refused.
    let alerts: Vec<_> = root.journal().into_iter().filter(|record| record.kind() == "alert").collect();
    let told: Vec<String> =
        alerts.iter().map(|alert| format!("{} {}", alert.text("code"), alert.text("sentence"))).collect();
    let words = format!("budget-used {} has used up the budget of one user for questions (64 at once)", person.name);
    assert_eq!(told, [words]);
}

#[test]
fn each_user_has_a_limit_of_runs() {
    let root = own_root();
    let (person, other) = (root.person(&["deploy"]), root.person(&["deploy"]));
    let many = "for i in $(seq 200); do jit-sudo -n sleep 9999 </dev/null >/dev/null 2>&1 & done";
    root.run_as(&person.name, ["sh", "-c", many]).succeeded();
    let count = || root.script("pgrep -cxf 'sleep 9999' || true").trim() == "200";
    harness::eventually("all run", harness::PATIENCE * 4, || count().then_some(()));
    for words in [
        &["jit-sudo", "-n", "true"][..],
        &["jit-sudo", "-n", "-b", "true"],
        &["jit-sudo", "-n", "-u", "root", "id"],
        &["jit-sudo", "-l"],
        &["jit-sudo", "-n", "-v"],
    ] {
        root.run_as(&person.name, words).refused("200 commands of yours run or wait already");
    }
    root.run_as(&other.name, ["jit-sudo", "-n", "true"]).succeeded();
    root.as_root(["jit-sudo", "-n", "true"]).succeeded();
    let alerts = root.journal().into_iter().filter(|record| record.text("code") == "budget-used");
    let told: Vec<String> = alerts.map(|alert| alert.text("sentence").to_owned()).collect();
    assert_eq!(told, [format!("{} has used up the budget of one user for runs (200 at once)", person.name)]);
    root.script("pkill -o -xf 'sleep 9999'");
    harness::eventually("there is room for another", harness::PATIENCE, || {
        root.run_as(&person.name, ["jit-sudo", "-n", "true"]).status.success().then_some(())
    });
}

#[test]
fn a_caller_who_reads_nothing_holds_no_read_transaction() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    // Standard error is a pipe that is full, and stays full.
    let full = "import fcntl, os, subprocess, sys, time\n\
                reader, writer = os.pipe()\n\
                fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)\n\
                try:\n    \
                    while True: os.write(writer, b'x' * 4096)\n\
                except BlockingIOError: pass\n\
                fcntl.fcntl(writer, fcntl.F_SETFL, 0)\n\
                for words in (['jit-sudo', '-n', 'sudoedit', '/etc/hostname'], ['jit-sudo', '-n', '--role', 'nonsense', 'id'], ['jit-sudo', '-n', 'no-such-command'], ['jit-sudo', '-n', '-u', 'nobody-at-all', 'id'], ['jit-sudo', '-n', '-U', 'x', '-l']):\n    \
                    subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=writer, stdout=writer)\n\
                time.sleep(60)";
    let size = || root.script("stat -c %s /var/lib/jit-sudo/journal.db-wal").trim().parse::<u64>().unwrap();
    std::thread::scope(|scope| {
        let command =
            root.command(&person.name, ["timeout", "40", "python3", "-c", full]).patience(Duration::from_secs(60));
        let held = scope.spawn(move || command.run());
        std::thread::sleep(Duration::from_secs(2));
        let runs = "for i in $(seq 150); do jit-sudo -n true; done";
        root.command(&person.name, ["bash", "-c", runs]).patience(Duration::from_secs(60)).run().succeeded();
        assert!(size() < 2 << 20, "the WAL has {} bytes", size());
        let _ = held.join().unwrap();
    });
}

#[test]
fn files_that_are_edited_at_once_have_one_limit() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.script("for i in 1 2 3; do head -c 30000000 /dev/zero >/etc/large-$i; done");
    let edit = ["jit-sudo", "-n", "-e", "/etc/large-1", "/etc/large-2", "/etc/large-3"];
    let edited = root.command(&person.name, edit).env("SUDO_EDITOR", "/bin/true").run();
    assert!(
        edited.stderr.contains(
            "/etc/large-3: the files to be edited have more than 64 MiB together; edit them one after another"
        ),
        "{edited:?}"
    );
    for name in ["1", "2"] {
        assert!(edited.stderr.contains(&format!("/etc/large-{name} unchanged")), "{edited:?}");
    }
    let alone =
        root.command(&person.name, ["jit-sudo", "-n", "-e", "/etc/large-3"]).env("SUDO_EDITOR", "/bin/true").run();
    assert!(alone.stderr.contains("/etc/large-3 unchanged"), "{alone:?}");
}

#[test]
fn limits_that_cannot_be_raised_do_not_disable_the_hooks() {
    let root = own_root();
    root.add_policy(
        "urgent",
        "[roles.urgent]\neligible = [\"%reviewed\"]\ncommands = \"ALL\"\nauthenticate = false\n\
         [roles.urgent.activation]\nrequire_approval = true\napprovers = [\"%approvers\"]\nbreak_glass = true\n",
    );
    root.script("mkdir -p /etc/jit-sudo/hooks.d; rm -f /tmp/told; install -d -m 1777 /tmp");
    root.write("/etc/jit-sudo/hooks.d/tell", 0o755, "#!/bin/sh\ncat >>/tmp/told\n");
    let person = root.person(&["reviewed"]);
    // As in a container without CAP_SYS_RESOURCE.
    let ask = |limit: &str| {
        let line = format!(
            "setpriv --bounding-set -sys_resource -- runuser -u {} -- bash -c 'ulimit {limit}; \
             exec jit-sudo --break-glass --role urgent --reason fire id -u'",
            person.name
        );
        root.command("root", ["sh", "-c", &line]).patience(Duration::from_secs(30)).run()
    };
    for (limit, words) in
        [("-u 0", "processes is 0 (ulimit -Hu)"), ("-u 5", "processes is 5 (ulimit -Hu)"), ("-t 5", "CPU time is 5 ")]
    {
        let refused = ask(limit);
        assert!(
            refused.stderr.contains(&format!("your hard limit of {words}"))
                && refused.stderr.contains("cannot be raised"),
            "{limit}: {refused:?}"
        );
        assert_ne!(refused.status.code(), Some(0));
    }
    assert!(!root.path("/tmp/told").exists(), "nothing was granted");
    assert_eq!(ask("-u 4000").succeeded(), "0");
    harness::eventually("the hook was told", harness::PATIENCE, || {
        std::fs::read_to_string(root.path("/tmp/told")).ok().filter(|told| told.contains("break-glass"))
    });
}
