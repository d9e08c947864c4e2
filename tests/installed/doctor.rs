//! Mistakes of an installation, each made for real: jit-sudo reports it in one clear line, `jitctl doctor` reports it too, and
//! the command that doctor prints fixes it.

use harness::{Output, PrivateRoot};
use serde_json::Value;

/// A policy without findings.
const POLICY: &str = r#"
[roles.deploy]
standing     = ["%deploy"]
commands     = ["/usr/bin/id **", "/usr/bin/sh **"]
authenticate = false

[roles.self-service]
eligible     = ["%self-service"]
commands     = ["/usr/bin/id **"]
authenticate = false
"#;

fn own_root() -> PrivateRoot {
    let root = PrivateRoot::start();
    root.add_policy("tests", POLICY);
    root
}

/// Returns the findings of doctor for root, except for the clock, which belongs to the machine that runs the tests.
fn findings(root: &PrivateRoot) -> Vec<Value> {
    let said = root.as_root(["jitctl", "--json", "doctor"]);
    let all = said.json()["findings"].as_array().unwrap_or_else(|| panic!("{said:?}")).clone();
    let worst = |severity: &str| all.iter().any(|finding| finding["severity"] == severity);
    let status = if worst("error") { 1 } else { 4 * i32::from(worst("warning")) };
    said.exited(status);
    all.into_iter().filter(|finding| finding["area"] != "clock").collect()
}

fn faults(root: &PrivateRoot) -> Vec<Value> {
    let mendable = |finding: &Value| finding["severity"] != "good" && finding["area"] != "capabilities";
    findings(root).into_iter().filter(mendable).collect()
}

/// Runs a command as a user with a standing role and no password.
fn try_it(root: &PrivateRoot) -> Output {
    root.run_as(&deployer(root), ["jit-sudo", "-n", "id", "-u"])
}

fn deployer(root: &PrivateRoot) -> String {
    root.script("id dora >/dev/null 2>&1 || { groupadd -f deploy; useradd --create-home --groups deploy dora; }");
    "dora".to_owned()
}

/// Checks for one clear line: what is wrong, possibly followed by a hint, and nothing else.
#[track_caller]
fn refuses(root: &PrivateRoot, mistake: &str, sentence: &str) {
    let output = try_it(root);
    let said = output.refused(sentence);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains(sentence), "{mistake}: {said}");
    assert!(
        lines.len() <= 2 && lines.iter().skip(1).all(|line| line.starts_with("hint: as root: ")),
        "{mistake}: {said}"
    );
}

/// Makes a mistake, checks that both programs report it, and fixes it with the command from doctor.
#[track_caller]
fn mistake(root: &PrivateRoot, make: &str, sentence: &str, area: &str, doctor_says: &str) {
    root.script(make);
    refuses(root, make, sentence);
    mends(root, make, area, doctor_says);
    assert_eq!(try_it(root).succeeded(), "0", "after the cure of: {make}");
}

#[track_caller]
fn mends(root: &PrivateRoot, make: &str, area: &str, doctor_says: &str) {
    let faults = faults(root);
    let found = faults
        .iter()
        .find(|finding| {
            finding["area"] == area && finding["message"].as_str().is_some_and(|said| said.contains(doctor_says))
        })
        .unwrap_or_else(|| panic!("doctor does not know {doctor_says:?} after {make}: {faults:?}"));
    assert_eq!(found["severity"], "error", "{found}");
    let mend = found["mend"].as_str().unwrap_or_else(|| panic!("no cure: {found}"));
    // The command is the whole text, or follows a colon.
    root.script(mend.rsplit(": ").next().unwrap_or(mend));
    let left = self::faults(root);
    assert!(left.is_empty(), "after `{mend}`: {left:?}");
}

#[test]
fn a_sound_host_has_nothing_wrong_with_it() {
    let root = own_root();
    assert_eq!(try_it(&root).succeeded(), "0");
    let findings = findings(&root);
    // Capabilities that the machine of these tests lacks are reported.
    let is_sound = |finding: &Value| finding["severity"] == "good" || finding["area"] == "capabilities";
    assert!(findings.iter().all(is_sound), "{findings:?}");
    for area in [
        "programs", "PAM", "kernel", "policy", "state", "database", "space", "key", "anchor", "syslog", "cgroups",
        "hooks",
    ] {
        assert!(findings.iter().any(|finding| finding["area"] == area), "{area} was not looked at: {findings:?}");
    }
}

#[test]
fn missing_capabilities_of_the_host_are_reported() {
    let root = own_root();
    let said = |script: &str| root.script(&format!("{script} || true"));
    let state = "/var/lib/jit-sudo";
    root.script(&format!("mount --bind {state} {state} && mount -o remount,bind,ro {state}"));
    let found = said("jitctl doctor");
    assert!(found.contains("error    state: /var/lib/jit-sudo is mounted read-only"), "{found}");
    let run = try_it(&root);
    run.refused(&format!("unable to lock {state}/live-supervisors: Read-only file system"));
    assert!(run.stderr.contains(&format!("mount -o remount,rw the file system of {state}")), "{run:?}");
    root.script(&format!("umount {state}"));
    // A daemon that listens need not be started because a record was held back.
    root.script(&format!("cp {state}/sent-syslog /root/"));
    try_it(&root).succeeded();
    root.script(&format!("cp /root/sent-syslog {state}/sent-syslog"));
    let found = said("jitctl doctor");
    assert!(found.contains("syslog: ") && found.contains(" records have not arrived"), "{found}");
    assert!(
        found.contains("unless they do not arrive with the next record") && !found.contains("start the"),
        "{found}"
    );
    root.add_policy(
        "asking",
        "[roles.asking]\neligible = [\"bob\"]\ncommands = [\"/usr/bin/id\"]\nauthenticate = false\n",
    );
    for (make, refused) in [
        ("echo short >/etc/machine-id", None),
        ("true", Some("does not exist")),
        ("mkdir /etc/machine-id", Some("is not a regular file")),
        ("ln -s /root/machine-id /etc/machine-id", Some("is a symbolic link")),
        ("cp /root/machine-id /etc/machine-id; chmod 666 /etc/machine-id", Some("is writable by everybody")),
    ] {
        root.script(&format!("mv /etc/machine-id /root/machine-id; {make}"));
        let found = said("jitctl doctor");
        let asked = said("runuser -u bob -- jitctl request --role asking --for 1m --reason x 2>&1");
        match refused {
            None => {
                assert!(found.contains("warning  machine-id: /etc/machine-id is no file of 32"), "{make}: {found}");
            }
            Some(why) => {
                assert!(found.contains(&format!("error    machine-id: /etc/machine-id {why}")), "{make}: {found}");
                assert!(asked.contains(&format!("/etc/machine-id {why}")), "{make}: {asked}");
            }
        }
        root.script("rm -rf /etc/machine-id; mv /root/machine-id /etc/machine-id");
    }
    for (capability, effect) in [
        ("kill", "error    capabilities: CAP_KILL is missing: no process that has become another user can be ended"),
        ("setuid", "error    capabilities: CAP_SETUID is missing"),
        ("fowner", "warning  capabilities: CAP_FOWNER is missing"),
        ("audit_write", "note     capabilities: CAP_AUDIT_WRITE is missing"),
    ] {
        let found = said(&format!("setpriv --bounding-set=-{capability} jitctl doctor"));
        assert!(found.contains(effect), "{found}");
    }
    let found = said("unshare -m sh -c 'mount -t tmpfs none /proc; jitctl doctor'");
    assert!(found.contains("error    proc: /proc is not mounted"), "{found}");
    let boot_id = "/proc/sys/kernel/random/boot_id";
    let found = said(&format!("unshare -m sh -c 'mount --bind /dev/null {boot_id}; jitctl doctor'"));
    assert!(found.contains(&format!("error    proc: {boot_id} cannot be used")), "{found}");
}

#[test]
fn a_pam_service_that_accepts_any_password_is_a_warning() {
    let root = own_root();
    let warned = || {
        let findings = root.as_root(["jitctl", "--json", "doctor"]).json()["findings"].clone();
        let about = |finding: &&serde_json::Value| finding["area"] == "PAM" && finding["severity"] == "warning";
        findings
            .as_array()
            .unwrap()
            .iter()
            .filter(about)
            .map(|finding| finding["message"].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(warned(), Vec::<String>::new());
    root.add_policy("strict", "[roles.strict]\nstanding = [\"bob\"]\ncommands = \"ALL\"\npam_service = \"strict\"\n");
    root.write(
        "/etc/pam.d/strict",
        0o644,
        "auth optional pam_unix.so\nauth required pam_permit.so\n@include common-account\n",
    );
    let said = warned();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("service strict succeeds where every module that is known to check a secret fails"),
        "{said:?}"
    );
    root.write(
        "/etc/pam.d/strict",
        0o644,
        "auth required pam_unix.so\nauth required pam_permit.so\n@include common-account\n",
    );
    assert_eq!(warned(), Vec::<String>::new());
}

#[test]
fn an_ordinary_user_sees_only_public_findings() {
    let root = own_root();
    let said = root.run_as("alice", ["jitctl", "--json", "doctor"]);
    assert!(matches!(said.status.code(), Some(0 | 4)), "{said:?}");
    let text = said.json().to_string();
    assert!(text.contains("run jitctl doctor as root") && !text.contains("policy.toml"), "{text}");
    let asked = root.command("alice", ["/usr/libexec/jit-sudo/jit-sudo-broker"]).stdin("{\"verb\":\"examine\"}").run();
    assert_eq!(asked.json()["error"]["code"], "not-root", "{asked:?}");
    root.run_as("alice", ["jitctl", "sweep"]).refused("only root may sweep");
}

#[test]
fn mistakes_with_the_programs_are_reported_and_fixed() {
    let root = own_root();
    let program = "/usr/bin/jit-sudo";
    mistake(
        &root,
        "chmod 755 /usr/bin/jit-sudo",
        "must be owned by uid 0 and have the setuid bit set",
        "programs",
        program,
    );
    mistake(
        &root,
        "chown daemon /usr/bin/jit-sudo; chmod 4755 /usr/bin/jit-sudo",
        "must be owned by uid 0",
        "programs",
        program,
    );
    // These programs run with the rights of their caller; but one that others could have written cannot be trusted.
    root.script("chmod g+w /usr/libexec/jit-sudo/jit-sudo-hooks");
    mends(&root, "chmod g+w jit-sudo-hooks", "programs", "jit-sudo-hooks is writable by its group");
    root.script("chmod u-s /usr/libexec/jit-sudo/jit-sudo-broker");
    root.run_as("alice", ["jitctl", "roles"]).refused("must be owned by uid 0 and have the setuid bit set");
    mends(&root, "chmod u-s jit-sudo-broker", "programs", "jit-sudo-broker\" has no set-user-ID bit");
    root.run_as("alice", ["jitctl", "roles"]).succeeded();
}

#[test]
fn a_compiler_that_is_missing_or_another_is_one_line_with_its_cure() {
    let root = own_root();
    let compiler = "/usr/libexec/jit-sudo/jit-sudo-compile";
    let mend = "install jit-sudo again";
    let only = |message: &str, area: &str| {
        let faults = faults(&root);
        let [fault] = faults.as_slice() else { panic!("not one fault: {faults:?}") };
        assert_eq!((fault["area"].as_str(), fault["severity"].as_str()), (Some(area), Some("error")), "{fault}");
        assert_eq!(fault["mend"].as_str(), Some(mend), "{fault}");
        assert!(fault["message"].as_str().is_some_and(|said| said.contains(message)), "{fault}");
    };
    root.script(&format!("mv {compiler} /root/compiler; touch /etc/jit-sudo/policy.toml"));
    refuses(&root, "no compiler", &format!("the policy was not compiled: {compiler} cannot be started: No such file"));
    only(&format!("{compiler} does not exist"), "programs");
    root.write(compiler, 0o755, "#!/bin/sh\necho '{\"format\":\"0.0.1/1\"}'\n");
    refuses(&root, "another compiler", &format!("the policy was not compiled: {compiler} gave an invalid answer"));
    only(compiler, "policy");
    root.script(&format!("mv /root/compiler {compiler}"));
    assert_eq!(try_it(&root).succeeded(), "0");
}

#[test]
fn a_file_system_without_setuid_is_named_and_mended() {
    let root = own_root();
    root.script(
        "cp -a /usr/libexec/jit-sudo /root/copy; mount -t tmpfs -o nosuid,mode=755 tmpfs /usr/libexec/jit-sudo; \
         cp -a /root/copy/. /usr/libexec/jit-sudo/",
    );
    root.run_as("alice", ["jitctl", "roles"]).refused("mounted with the 'nosuid' option");
    mends(&root, "nosuid", "programs", "mounted with nosuid");
    root.run_as("alice", ["jitctl", "roles"]).succeeded();
}

#[test]
fn mistakes_with_the_policy_are_reported_and_fixed() {
    let root = own_root();
    let policy = "/etc/jit-sudo/policy.toml";
    mistake(&root, &format!("chmod g+w {policy}"), "is writable by its group", "policy", "policy.toml");
    mistake(&root, &format!("chmod o+w {policy}"), "is writable by everybody", "policy", "policy.toml");
    mistake(&root, &format!("chown daemon {policy}"), "is owned by uid 1, should be 0", "policy", "policy.toml");
    mistake(&root, "chmod g+w /etc/jit-sudo/policy.d", "is writable by its group", "policy", "policy.d");
    mistake(&root, "chmod 755 /etc/jit-sudo/policy.d", "is open to other users (mode 0755)", "policy", "policy.d");
    mistake(
        &root,
        &format!("mv {policy} /etc/real.toml; ln -s /etc/real.toml {policy}"),
        "is a symbolic link",
        "policy",
        "link",
    );
    root.script("echo 'no_such_key = 1' >>/etc/jit-sudo/policy.d/tests.toml");
    refuses(&root, "an unknown key", "/etc/jit-sudo/policy.d/tests.toml:");
    let faults = faults(&root);
    assert_eq!(faults[0]["mend"], "jitctl policy check", "{faults:?}");
}

#[test]
fn mistakes_with_the_state_directory_are_reported_and_fixed() {
    let root = own_root();
    let state = "/var/lib/jit-sudo";
    mistake(&root, &format!("chmod 755 {state}"), "is open to others (mode 0755)", "state", state);
    mistake(&root, &format!("chmod 777 {state}"), "is writable by", "state", state);
    mistake(&root, &format!("chown daemon {state}"), "is owned by uid 1, should be 0", "state", state);
    mistake(
        &root,
        &format!("mv {state} /var/lib/elsewhere; ln -s elsewhere {state}"),
        "is a symbolic link",
        "state",
        state,
    );
    mistake(&root, &format!("chmod 644 {state}/journal.db"), "is open to others than root", "state", "journal.db");
    mistake(&root, &format!("chown daemon {state}/journal.db"), "does not belong to root", "state", "journal.db");
    mistake(&root, &format!("rm -r {state}"), "does not exist", "state", state);
}

#[test]
fn a_missing_key_is_reported_and_created() {
    let root = own_root();
    let person = crate::granted(&root, "self-service");
    root.script("rm /var/lib/jit-sudo/host_key /var/lib/jit-sudo/host_key.pub");
    let said = root.run_as(&person.name, ["jit-sudo", "-n", "id"]);
    let line = said.refused("this host has no key: /var/lib/jit-sudo/host_key.pub is missing");
    assert!(line.contains("hint: as root: jitctl key init"), "{line}");
    mends(&root, "rm host_key", "key", "has no key");
    // Another key is another host: signatures of the old one are no longer valid.
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("does not serve");
}

#[test]
fn mistakes_with_pam_are_reported() {
    let root = own_root();
    root.script("mv /etc/pam.d/jit-sudo /root/; sed -i 's/common-account/no-such-file/' /etc/pam.d/jit-sudo-i; echo 'auth required pam_gone.so' >>/etc/pam.d/common-auth");
    let text = faults(&root).iter().map(Value::to_string).collect::<String>();
    for words in ["there is no service jit-sudo ", "jit-sudo-i includes no-such-file", "names the module pam_gone.so"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_dead_syslog_is_a_warning_and_an_error_where_the_policy_requires_it() {
    let root = own_root();
    try_it(&root).succeeded();
    root.script("kill $(cat /run/rsyslogd.pid); while [ -e /run/rsyslogd.pid ]; do sleep 0.05; done; rm -f /dev/log");
    let severity =
        || faults(&root).iter().find(|finding| finding["area"] == "syslog").map(|finding| finding["severity"].clone());
    assert_eq!(severity(), Some("warning".into()));
    root.add_policy("required", "[audit]\nsyslog = \"required\"\n");
    assert_eq!(severity(), Some("error".into()));
}

#[test]
fn a_newer_database_and_a_foreign_one_have_different_messages() {
    let root = own_root();
    let sql = |text: &str| root.script(&format!("sqlite3 /var/lib/jit-sudo/journal.db \"{text}\""));
    let version = sql("PRAGMA user_version").trim().to_owned();
    sql("PRAGMA user_version = 99");
    refuses(&root, "a newer schema", "but this program supports only");
    assert!(faults(&root)[0]["mend"].as_str().unwrap().contains("install the version of jit-sudo that wrote it"));
    sql(&format!("PRAGMA user_version = {version}"));
    try_it(&root).succeeded();
    sql("CREATE TABLE surplus (x)");
    refuses(&root, "a foreign table", "holds an unknown or altered table 'surplus'");
    assert_eq!(faults(&root)[0]["area"], "state");
}

/// Converts a database of the current schema back into the first one.
const FIRST_SCHEMA: &str = "DROP INDEX record_by_kind; CREATE INDEX record_by_kind ON record (kind);
    DROP INDEX request_by_extended; ALTER TABLE request DROP COLUMN extends; ALTER TABLE open_run DROP COLUMN ended;
    ALTER TABLE granted DROP COLUMN used_by;
    CREATE TABLE extension (request TEXT PRIMARY KEY, extends TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX extension_of ON extension (extends);
    DROP TABLE role_text; DROP TABLE statement; DROP TABLE credential_cache;
    CREATE TABLE credential_cache (uid INTEGER NOT NULL, boot_id TEXT NOT NULL, leader INTEGER NOT NULL, leader_start INTEGER NOT NULL, tty INTEGER NOT NULL, service TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (uid, boot_id, leader, leader_start, tty, service)) STRICT, WITHOUT ROWID;
    DROP INDEX review_debt_open; CREATE UNIQUE INDEX review_debt_open ON review_debt (uid) WHERE reviewer IS NULL; DROP TABLE policy_settings;
    CREATE TABLE policy_stamp (
    id INTEGER PRIMARY KEY CHECK (id = 1), format TEXT NOT NULL, text TEXT NOT NULL) STRICT;
    CREATE TABLE policy_settings (
    id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL, sha256 BLOB NOT NULL) STRICT;
    ALTER TABLE policy_role DROP COLUMN digest; DROP TABLE tree; DROP TABLE checkpoint;
    CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, signature BLOB NOT NULL) STRICT;
    PRAGMA user_version = 1";

#[test]
fn the_first_program_migrates_an_earlier_database_while_a_session_runs() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    try_it(&root).succeeded();
    let mut session = root.pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "echo begun; read line; echo done"]);
    session.expect("begun");
    // The enforcer of the session and its helper run, it has opened the database, and those of earlier runs have
    // ended: none of them migrates the database that is made older now.
    root.script(
        "opened() { for pid in $(pidof jit-sudo-enforcer); do ls -l /proc/$pid/fd | grep 'journal.db$' || true; done; }
         until [ $(pidof jit-sudo-enforcer | wc -w) = 2 ] && [ $(opened | wc -l) = 1 ]; do sleep 0.05; done
         sleep 0.2",
    );
    let sql = |text: &str| root.script(&format!("sqlite3 /var/lib/jit-sudo/journal.db \"{text}\""));
    sql(FIRST_SCHEMA);
    // A table that does not belong to the schema is still rejected.
    sql("CREATE TABLE surplus (x)");
    refuses(&root, "a foreign table in an earlier schema", "holds an unknown or altered table 'surplus'");
    assert_eq!(sql("PRAGMA user_version").trim(), "1");
    sql("DROP TABLE surplus");

    try_it(&root).succeeded();
    assert_eq!(sql("PRAGMA user_version").trim(), "3");
    session.type_line("");
    session.expect("done");
    session.wait();
    let ends = crate::records_of(&root, &person).iter().filter(|record| record.kind() == "end").count();
    assert!(ends >= 1, "the session that was running has its end");
    root.as_root(["jitctl", "audit", "verify"]).intact();
    // The old compiled policy has no digests: the first record of a policy lists all roles.
    let baseline = root.journal().into_iter().rfind(|record| record.kind() == "policy").unwrap();
    assert!(baseline.json.get("replaces").is_none() && baseline.body.contains("self-service"), "{}", baseline.body);
    sql(FIRST_SCHEMA);
    root.as_root(["jitctl", "key", "init"]).succeeded();
    assert_eq!(sql("PRAGMA user_version").trim(), "3");
}

#[test]
fn a_sweep_closes_compresses_and_prunes() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.add_policy("keep", "[audit]\nkeep = \"30d\"\n");
    // A supervisor that is killed leaves an open run and a recording without an end.
    let session =
        root.pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "yes | head -n 20000; echo filled; sleep 1000"]);
    let mut session = session;
    session.expect("filled");
    let recording = root.script("sleep 0.5; cd /var/lib/jit-sudo/recordings; ls *.cast").trim().to_owned();
    let start = crate::records_of(&root, &person).into_iter().rfind(|record| record.kind() == "start").unwrap();
    root.script(&format!("kill -9 {}", start.number("pid")));
    session.wait();
    // The monitor ends the command first, and locks the recording until then.
    root.script(&format!("flock -w 15 /var/lib/jit-sudo/recordings/{recording} true"));
    // A recording does not count as abandoned within its first minute.
    root.script(&format!("touch -d '2 minutes ago' /var/lib/jit-sudo/recordings/{recording}"));
    let swept = root.as_root(["jitctl", "--json", "sweep"]);
    swept.succeeded();
    let swept = swept.json()["swept"].clone();
    assert_eq!((&swept["shelved"], &swept["compressed"]), (&1.into(), &1.into()), "{swept}");
    assert_eq!(swept["pruned"]["records"], 0, "{swept}");
    let done = root.script("ls /var/lib/jit-sudo/recordings/done");
    assert_eq!(done.trim(), format!("{recording}.zst"), "{done}");
    let lost = root.journal().iter().any(|record| record.kind() == "end" && record.text("ended_by") == "lost");
    assert!(lost, "the run was not closed");
    assert_eq!(root.as_root(["jitctl", "sweep"]).succeeded(), "nothing to do");
    root.as_root(["jitctl", "audit", "verify", "--recordings"]).intact();
}
