//! Changes of the policy in the journal: each is recorded before anyone is judged by it, and runs and grants name their policy.

use harness::{PrivateRoot, Record};
use jit_core::policy::{Policy, PolicyText};
use jit_sudo::policy_index::{Compiled, PolicyIndex, Stamp};
use rusqlite::Connection;
use serde_json::json;

use crate::{id, own_root, request};

const POLICY: &str = "/etc/jit-sudo/policy.d";
const STATE: &str = "/var/lib/jit-sudo";

/// Returns a standing role of `who` for everything.
fn standing(role: &str, who: &str) -> String {
    format!("[roles.{role}]\nstanding = [\"{who}\"]\ncommands = [\"ALL\"]\nauthenticate = false\n")
}

fn policies(root: &PrivateRoot) -> Vec<Record> {
    root.journal().into_iter().filter(|record| record.kind() == "policy").collect()
}

fn newest(root: &PrivateRoot) -> Record {
    policies(root).pop().unwrap()
}

/// Returns the names in a list of roles of a record.
fn names(record: &Record, list: &str) -> Vec<String> {
    let entries = record.json[list].as_array().unwrap();
    entries.iter().map(|entry| entry["role"].as_str().unwrap().to_owned()).collect()
}

/// Returns the digest of the files in `/etc/jit-sudo`, computed by an independent program.
fn digest_of_files(root: &PrivateRoot) -> String {
    let program = r#"
import glob, hashlib, os
files = ["/etc/jit-sudo/policy.toml"] + sorted(glob.glob("/etc/jit-sudo/policy.d/*.toml"), key=os.fsencode)
files += [path for path in ["/etc/jit-sudo/approvers"] if os.path.exists(path)]
lines = "".join(hashlib.sha256(open(path, "rb").read()).hexdigest() + "  " + path + "\n" for path in files)
print(hashlib.sha256(lines.encode()).hexdigest())
"#;
    root.as_root(["python3", "-c", program]).succeeded().trim().to_owned()
}

#[test]
fn a_standing_role_that_came_and_went_is_in_the_journal() {
    let root = own_root();
    let before = newest(&root);
    root.write(&format!("{POLICY}/brief.toml"), 0o640, standing("brief", "alice"));
    let named = digest_of_files(&root);
    assert_eq!(root.run_as("alice", ["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
    root.script(&format!("rm {POLICY}/brief.toml"));
    root.run_as("alice", ["jit-sudo", "-n", "id", "-u"]).refused("not allowed");

    let records: Vec<Record> = root.journal().into_iter().filter(|record| record.seq > before.seq).collect();
    assert_eq!(crate::kinds(&records), ["policy", "start", "end", "policy", "reject"]);
    let (came, start, went) = (&records[0], &records[1], &records[3]);
    assert_eq!(
        (names(came, "added"), names(came, "changed"), names(came, "removed")),
        (vec!["brief".to_owned()], vec![], vec![])
    );
    assert_eq!((came.text("policy"), start.text("policy")), (named.as_str(), named.as_str()));
    let shown = root.as_root(["jitctl", "--json", "policy", "show"]).json();
    assert_eq!(shown["policy"]["sha256"], went.text("policy"), "the policy in force says its name");
    assert_eq!(came.text("replaces"), before.text("policy"));
    assert_eq!((names(went, "removed"), went.number("removed_count")), (vec!["brief".to_owned()], 1));
    assert_eq!((went.text("replaces"), went.text("policy")), (named.as_str(), before.text("policy")));
    assert_eq!(came.json["added"], went.json["removed"], "the role that came is the one that went");
    // The record names the file, its owner, and the time of its last change.
    let files = came.json["files"].as_array().unwrap();
    let file = files.iter().find(|file| file["change"] == "added").unwrap();
    assert_eq!((&file["path"], &file["uid"]), (&json!(format!("{POLICY}/brief.toml")), &json!(0)));
    let age = came.number("time") - file["mtime"].as_i64().unwrap();
    assert!((0..60_000_000).contains(&age), "{age}");
    // The user whose run compiled the policy did not change it: the record belongs to no user, and only readers see it.
    assert_eq!((came.text("caller"), came.number("uid")), ("alice", -1));
    let seen = root.run_as("alice", ["jitctl", "audit", "list"]);
    assert!(seen.succeeded().contains("as root: id") && !seen.stdout.contains("brief"), "{seen:?}");
    root.run_as("alice", ["jitctl", "audit", "show", &came.seq.to_string()]).refused("there is no record");
    let shown = root.as_root(["jitctl", "audit", "list", "--kind", "policy"]);
    let line = format!("role brief added; {POLICY}/brief.toml (owner root), first used by alice");
    assert!(shown.succeeded().contains(&line), "{shown:?}");
    let details = root.as_root(["jitctl", "audit", "show", &came.seq.to_string()]);
    let role = &came.json["added"][0];
    let short = |name: &str| role[name].as_str().unwrap()[..12].to_owned();
    let line = format!("brief  text {}…  all {}…", short("role_digest"), short("sha256"));
    assert!(details.succeeded().contains(&line), "{line}: {details:?}");
    let found = root.as_root(["jitctl", "audit", "list", "--role", "brief"]);
    assert_eq!(found.succeeded().lines().count(), 1 + 3, "both policies and the start: {found:?}");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn only_changed_bytes_are_another_policy() {
    let root = own_root();
    let list = || root.run_as("alice", ["jit-sudo", "-l"]);
    let count = || policies(&root).len();
    let stamp = || root.script(&format!("sqlite3 {STATE}/journal.db 'SELECT stamp FROM policy_settings'"));
    let (first, stamped) = (count(), stamp());
    root.script("touch /etc/jit-sudo/policy.toml; cp -p /etc/jit-sudo/policy.d/tests.toml /root/; sleep 0.01");
    root.script("mv /root/tests.toml /etc/jit-sudo/policy.d/tests.toml");
    let _ = list();
    assert!(count() == first && stamp() != stamped, "the same bytes, and another stamp");

    let key = "bob@web1 namespaces=\"jit-sudo/approval/v1\" ssh-ed25519 \
               AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\n";
    root.write("/etc/jit-sudo/approvers", 0o640, key);
    let _ = list();
    let made = newest(&root);
    assert_eq!((count(), made.text("policy")), (first + 1, digest_of_files(&root).as_str()));
    let last = made.json["files"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["path"], &last["change"]), (&json!("/etc/jit-sudo/approvers"), &json!("added")));
    assert_eq!(["added_count", "changed_count", "removed_count"].map(|name| made.number(name)), [0; 3]);

    root.script("echo '# none of them' >>/etc/jit-sudo/approvers");
    let _ = list();
    assert_eq!((count(), newest(&root).text("policy")), (first + 2, digest_of_files(&root).as_str()));
    // A list that other users could have written does not count, and does not affect runs that need none.
    root.script("chmod g+w /etc/jit-sudo/approvers");
    let _ = list();
    let refused = newest(&root);
    assert_eq!(refused.text("policy"), policies(&root)[first - 1].text("policy"));
    root.script("chmod g-w /etc/jit-sudo/approvers");
    let _ = list();
    assert_eq!((count(), newest(&root).text("policy")), (first + 4, digest_of_files(&root).as_str()));
    root.script("rm /etc/jit-sudo/approvers");
    let _ = list();
    assert_eq!((count(), newest(&root).text("policy")), (first + 5, digest_of_files(&root).as_str()));
    assert_eq!(newest(&root).json["files"].as_array().unwrap().last().unwrap()["change"], "removed");
}

#[test]
fn a_policy_with_a_mistake_is_not_used_or_recorded() {
    let root = own_root();
    let (before, stored) = (policies(&root).len(), newest(&root).text("policy").to_owned());
    root.write(&format!("{POLICY}/wrong.toml"), 0o640, "[roles.x]\nstandign = [\"alice\"]\ncommands = [\"ALL\"]\n");
    root.run_as("alice", ["jit-sudo", "-n", "id"]).refused("wrong.toml:2");
    assert_eq!((policies(&root).len(), newest(&root).text("policy")), (before, stored.as_str()));
}

#[test]
fn a_grant_names_the_policy_by_which_it_was_given() {
    let root = own_root();
    let person = root.person(&["self-service"]);
    let first = newest(&root).text("policy").to_owned();
    let grant = id(&request(&root, &person, "self-service", &[]));
    root.write(&format!("{POLICY}/more.toml"), 0o640, standing("more", "bob"));
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    let second = newest(&root).text("policy").to_owned();
    let named = |kind: &str| {
        let records = root.journal();
        let record = records.iter().find(|record| record.kind() == kind && record.text("grant") == grant).unwrap();
        record.text("policy").to_owned()
    };
    assert_ne!(first, second);
    assert_eq!((named("grant"), named("start")), (first, second));
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn the_policy_record_names_the_login_user() {
    let root = own_root();
    root.write(&format!("{POLICY}/more.toml"), 0o640, standing("more", "bob"));
    let uid = root.user("carol").uid;
    // Where the kernel has no audit, or this container may not use it, there is no login uid.
    let script = format!(
        "(echo {uid} >/proc/self/loginuid) 2>/dev/null; cat /proc/self/loginuid 2>/dev/null || echo none
         jitctl policy check >/dev/null"
    );
    let said = root.as_root(["bash", "-c", &script]);
    let loginuid = said.succeeded().trim().parse::<u32>().ok().filter(|uid| *uid != u32::MAX);
    let record = newest(&root);
    assert_eq!(names(&record, "added"), ["more"]);
    assert_eq!(record.json.get("loginuid").and_then(serde_json::Value::as_u64), loginuid.map(u64::from), "{said:?}");
    assert_eq!((record.text("caller"), record.number("caller_uid")), ("root", 0));
}

#[test]
fn a_verification_writes_nothing_though_the_policy_has_changed() {
    let root = own_root();
    root.write(&format!("{POLICY}/more.toml"), 0o640, "[audit]\nreaders = [\"alice\"]\n");
    let before = root.journal().len();
    root.run_as("alice", ["jitctl", "audit", "verify"]).intact();
    assert_eq!(root.journal().len(), before, "and the new policy says who may ask");
    root.run_as("bob", ["jitctl", "audit", "verify"]).refused("only root");
}

/// The policy record comes after all others, so the clock and the anchor are compared with the previous record before.
#[test]
fn a_changed_policy_does_not_hide_that_the_database_is_an_older_copy() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.script(&format!("cp -a {STATE} /root/state"));
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    root.script(&format!("rm {STATE}/journal.db*; cp -a /root/state/journal.db* {STATE}/"));
    root.write(&format!("{POLICY}/more.toml"), 0o640, standing("more", "bob"));
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    let records = root.journal();
    let place = |kind: &str, text: &str| {
        records.iter().rposition(|record| record.kind() == kind && record.body.contains(text)).unwrap()
    };
    assert!(place("alert", "database-older") < place("policy", "more"), "{records:?}");
}

#[test]
fn a_removed_sink_gets_the_record_of_its_removal() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    root.write(&format!("{POLICY}/quiet.toml"), 0o640, "[audit]\nsyslog = \"off\"\n");
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    let last = newest(&root);
    let lines: Vec<_> = root.syslog().into_iter().filter(|line| line.parsed).collect(); // other lines are from PAM
    assert_eq!(lines.last().unwrap().seq, last.seq, "and of nothing after it: {lines:?}");
    assert_eq!(lines.iter().filter(|line| line.seq == last.seq).count(), 1);
    assert_eq!(lines.last().unwrap().head, last.hash);
}

/// A process that has read the files, and continues after other processes have compiled later ones, does not restore the older
/// ones.
#[test]
fn a_slow_process_does_not_bring_a_removed_role_back() {
    let root = own_root();
    root.write(&format!("{POLICY}/brief.toml"), 0o640, standing("brief", "alice"));
    let slow = [
        "strace",
        "-f",
        "-q",
        "-o",
        "/dev/null",
        "-u",
        "alice",
        "-P",
        "/var/lib/jit-sudo/journal.db-lock",
        "-e",
        "inject=fcntl:delay_enter=3000000:when=1",
        "/usr/bin/jit-sudo",
        "-n",
        "id",
        "-u",
    ];
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| root.as_root(slow));
        std::thread::sleep(std::time::Duration::from_millis(1500));
        root.script(&format!("rm {POLICY}/brief.toml"));
        root.run_as("bob", ["jit-sudo", "-n", "id"]).refused("not allowed");
        slow.join().unwrap().refused("not allowed");
    });
    assert!(policies(&root).iter().all(|record| !record.body.contains("brief")), "nobody was judged by it");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_kill_at_any_write_leaves_policy_and_record_in_agreement() {
    let root = own_root();
    let agreement = "SELECT (SELECT lower(hex(policy)) FROM policy_settings) || coalesce(' ' || group_concat(name), '') FROM \
                     (SELECT name FROM policy_role WHERE name LIKE 'turn%' ORDER BY name)";
    let (mut killed, mut stored) = (0, 0);
    for turn in 1..=60 {
        root.write(&format!("{POLICY}/turn.toml"), 0o640, standing(&format!("turn{turn}"), "alice"));
        let known = policies(&root).len();
        let inject = format!("inject=pwrite64,fdatasync,fcntl,ftruncate:signal=KILL:when={}", turn * 2);
        let words =
            ["strace", "-f", "-q", "-o", "/dev/null", "-u", "alice", "-e", &inject, "/usr/bin/jit-sudo", "-n", "true"];
        killed += u32::from(!root.as_root(words).status.success());
        let found = root.script(&format!("sqlite3 -readonly {STATE}/journal.db \"{agreement}\""));
        let record = newest(&root);
        let names: String = names(&record, "added")
            .iter()
            .filter(|name| name.starts_with("turn"))
            .map(|name| format!(" {name}"))
            .collect();
        assert_eq!(found.trim(), format!("{}{names}", record.text("policy")), "{turn}");
        stored += policies(&root).len() - known;
        // The next run finds the new policy, or compiles it.
        root.run_as("alice", ["jit-sudo", "-n", "true"]).succeeded();
        assert_eq!(newest(&root).json["added"][0]["role"], format!("turn{turn}"), "{turn}");
    }
    assert!(killed >= 20 && (1..60).contains(&stored), "{killed} were killed, {stored} policies stored by them");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn concurrent_runs_with_a_new_policy_make_one_record() {
    let root = own_root();
    let known = policies(&root).len();
    root.write(&format!("{POLICY}/more.toml"), 0o640, standing("more", "alice"));
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| root.run_as("alice", ["jit-sudo", "-n", "true"]).succeeded().to_owned());
        }
    });
    assert_eq!(policies(&root).len(), known + 1);
    let (policy, records) = (newest(&root), root.journal());
    let starts = records.iter().filter(|record| record.kind() == "start");
    assert_eq!(starts.filter(|start| start.text("policy") == policy.text("policy")).count(), 12);
}

#[test]
fn many_roles_make_a_short_record() {
    const COUNT: usize = 20_000;
    let root = own_root();
    let known = policies(&root).len();
    let text: String = (0..COUNT).map(|n| standing(&format!("many{n:05}"), &format!("user{n}"))).collect();
    root.write(&format!("{POLICY}/many.toml"), 0o640, text);
    root.command("root", ["jitctl", "policy", "check"]).patience(std::time::Duration::from_secs(120)).run().succeeded();
    let record = newest(&root);
    assert_eq!((policies(&root).len(), record.number("added_count")), (known + 1, COUNT as i64));
    assert_eq!((names(&record, "added").len(), names(&record, "added")[255].as_str()), (256, "many00255"));
    assert!(record.body.len() < 64 << 10, "{} bytes", record.body.len());
    // The digest of the whole list, computed from the digests of the roles in the table.
    let lines = root.script(&format!(
        "sqlite3 -readonly {STATE}/journal.db \"SELECT lower(hex(digest)) || '  ' || name FROM policy_role \
         WHERE name LIKE 'many%' ORDER BY name\" | sha256sum | cut -d' ' -f1"
    ));
    assert_eq!(record.text("added_sha256"), lines.trim());
    root.script(&format!("rm {POLICY}/many.toml"));
    root.as_root(["jitctl", "policy", "check"]).succeeded();
    let gone = newest(&root);
    assert_eq!((gone.number("removed_count"), gone.text("removed_sha256")), (COUNT as i64, lines.trim()));
}

/// Executes SQL as root on the database; returns its output.
fn sql(root: &PrivateRoot, statement: &str) -> String {
    root.command("root", ["sqlite3", &format!("{STATE}/journal.db")])
        .stdin(statement)
        .run()
        .succeeded()
        .trim()
        .to_owned()
}

/// Puts the standing role `ghost` for `who` into the compiled policy as root can, complete and with every digest, under the name
/// `role`.
fn put_in_ghost(root: &PrivateRoot, who: &str, role: &str) {
    let file = PolicyText { path: "/etc/jit-sudo/policy.toml".into(), text: standing(role, who) };
    let memory = Connection::open_in_memory().unwrap();
    let policy = Policy::parse(&[file]).unwrap();
    let _ = PolicyIndex::aside(&memory, &Compiled { policy: &policy, files: &[], stamp: Stamp { text: "", key: &[] } })
        .unwrap();
    let query =
        "SELECT quote(name) || ',' || quote(body) || ',' || quote(sha256) || ',' || quote(digest) FROM policy_role";
    let row: String = memory.query_row(query, [], |row| row.get(0)).unwrap();
    sql(root, &format!("INSERT OR REPLACE INTO policy_role VALUES ({row});"));
    sql(root, &format!("INSERT OR REPLACE INTO policy_principal VALUES ('{who}', 'standing', '{role}');"));
}

#[test]
fn a_role_without_a_policy_file_is_reported_during_and_after_its_use() {
    let root = own_root();
    root.as_root(["jitctl", "audit", "verify"]).intact();
    put_in_ghost(&root, "alice", "ghost");
    let verify = || root.as_root(["jitctl", "audit", "verify"]);
    verify().refused("the compiled role ghost (table policy_role): no policy record has added it");
    root.run_as("alice", ["jit-sudo", "-n", "head", "-c1", "/etc/shadow"]).succeeded();
    sql(&root, "DELETE FROM policy_role WHERE name = 'ghost'; DELETE FROM policy_principal WHERE role = 'ghost';");
    let start = root.journal().into_iter().rfind(|record| record.kind() == "start").unwrap();
    let (seq, policy) = (start.seq, start.text("policy"));
    verify().refused(&format!("record {seq} names role ghost, which policy {policy} does not have"));
    root.as_root(["jitctl", "audit", "export", "--output", "/root/x.jsonl"]).succeeded();
    root.as_root(["jitctl", "audit", "verify", "/root/x.jsonl"]).refused("names role ghost");
}

#[test]
fn a_role_with_more_permissions_than_its_policy_record_is_reported() {
    let root = own_root();
    root.write(
        &format!("{POLICY}/wide.toml"),
        0o640,
        standing("wide", "alice").replace("ALL\"]\n", "/usr/bin/id\"]\n"),
    );
    root.run_as("alice", ["jit-sudo", "-n", "id"]).succeeded();
    let added = newest(&root).json["added"][0].clone();
    let start = root.journal().into_iter().rfind(|record| record.kind() == "start").unwrap();
    assert_eq!((&added["role"], added["role_digest"].as_str()), (&json!("wide"), Some(start.text("role_digest"))));
    root.as_root(["jitctl", "audit", "verify"]).intact();
    // Another role of the same name, used for a run and put back.
    let was = sql(
        &root,
        "SELECT quote(body) || ',' || quote(sha256) || ',' || quote(digest) FROM policy_role WHERE name = 'wide';",
    );
    put_in_ghost(&root, "alice", "wide");
    let verify = || root.as_root(["jitctl", "audit", "verify"]);
    verify().refused("the compiled role wide (table policy_role): it is not that of the policy records");
    root.run_as("alice", ["jit-sudo", "-n", "head", "-c1", "/etc/shadow"]).succeeded();
    sql(&root, &format!("INSERT OR REPLACE INTO policy_role VALUES ('wide',{was});"));
    verify().refused("with another digest than that policy's record");
}
