//! A one-shot extension: only the run that took it continues under it, and only its record names it.

use harness::{Person, PrivateRoot, PtySession, Record, eventually};

use crate::{id, own_root, records_of, request};

const POLICY: &str = r#"
[roles.one-run]
eligible     = ["%one-run"]
commands     = ["ALL"]
run_as       = ["ALL"]
authenticate = false
env_editor   = true
leftovers    = "end"

[roles.one-run.activation]
maximum_duration        = "10m"
require_approval        = true
approvers               = ["%approvers"]
approval_authentication = false
"#;

const DATABASE: &str = "/var/lib/jit-sudo/journal.db";

/// A user with a grant under which several runs are active.
struct Scene {
    root: PrivateRoot,
    person: Person,
    approver: Person,
    grant: String,
}

impl Scene {
    fn set(time: &str) -> Scene {
        let root = own_root();
        root.add_policy("one-run", POLICY);
        let (person, approver) = (root.person(&["one-run"]), root.person(&["approvers"]));
        let grant = id(&request(&root, &person, "one-run", &["--for", time]));
        root.run_as(&approver.name, ["jitctl", "approve", &grant]).succeeded();
        Scene { root, person, approver, grant }
    }

    fn sleep(&self, nap: &str) -> PtySession {
        let session = self.root.pty_as(&self.person.name, ["jit-sudo", "-n", "sleep", nap]);
        eventually("it sleeps", harness::PATIENCE, || self.sleeps(nap).then_some(()));
        session
    }

    fn sleeps(&self, nap: &str) -> bool {
        self.root.as_root(["pgrep", "-fx", &format!("sleep {nap}")]).status.success()
    }

    /// Creates an extension for one run.
    fn extended(&self) -> String {
        let words = ["jitctl", "--json", "extend", &self.grant, "--reason", "more", "--for", "5m"];
        let extension = id(&self.root.run_as(&self.person.name, words).json()["grant"]);
        self.root.run_as(&self.approver.name, ["jitctl", "approve", &extension, "--one-shot"]).succeeded();
        extension
    }

    fn is_taken_by(&self, extension: &str) -> String {
        let query = format!("SELECT used_by FROM granted WHERE id = '{extension}' AND ended = 'used'");
        eventually("it is taken", harness::PATIENCE, || {
            let run = self.root.script(&format!("sqlite3 {DATABASE} \"{query}\"")).trim().to_owned();
            (!run.is_empty()).then_some(run)
        })
    }

    /// Returns the record of this kind of the run whose start contains `word`.
    fn record(&self, word: &str, kind: &str) -> Record {
        eventually(&format!("{kind} of {word}"), harness::PATIENCE, || {
            let mut records = records_of(&self.root, &self.person);
            let start = records.iter().find(|record| record.kind() == "start" && record.body.contains(word))?;
            let run = start.text("run").to_owned();
            let at = records.iter().position(|record| record.kind() == kind && record.text("run") == run)?;
            Some(records.swap_remove(at))
        })
    }

    fn kill_enforcer(&self, word: &str) {
        let supervisor = self.record(word, "start").number("pid");
        let find = format!("pgrep -P {supervisor} jit-sudo-enforc");
        let enforcer = eventually("it has an enforcer", harness::PATIENCE, || {
            let pid = self.root.script(&format!("{find} || :")).trim().to_owned();
            (!pid.is_empty()).then_some(pid)
        });
        self.root.script(&format!("kill -KILL {enforcer}"));
    }

    fn ended(&self, word: &str) -> (String, Option<String>) {
        let end = self.record(word, "end");
        let extended = end.body.contains("\"extended_by\"").then(|| end.text("extended_by").to_owned());
        (end.text("ended_by").to_owned(), extended)
    }
}

#[test]
fn an_extension_for_one_run_applies_to_one_run_only() {
    let scene = Scene::set("8s");
    let Scene { root, person, .. } = &scene;
    let editor = "#!/bin/sh\necho altered >> \"$1\"\nexec sleep 81005\n";
    root.write("/usr/local/bin/slow-editor", 0o755, editor);
    root.write("/etc/one-run", 0o644, "as it was\n");
    let first = scene.sleep("81001");
    let extension = scene.extended();
    assert_eq!(scene.is_taken_by(&extension), scene.record("81001", "start").text("run"));

    let others = [scene.sleep("81002"), scene.sleep("81003")];
    let edit = "EDITOR=/usr/local/bin/slow-editor exec jit-sudo -n -e /etc/one-run";
    let _edits = root.pty_as(&person.name, ["sh", "-c", edit]);
    eventually("it edits", harness::PATIENCE, || scene.sleeps("81005").then_some(()));
    root.run_as(&person.name, ["jit-sudo", "-n", "sleep", "0.77"]).succeeded();
    scene.kill_enforcer("81003");

    // The run that ended by itself meanwhile, those that ended with the grant, and the one that has no other process to end it.
    assert_eq!(scene.ended("\"0.77\""), ("itself".to_owned(), None));
    for word in ["81002", "81003", "sudoedit"] {
        assert_eq!(scene.ended(word), ("expiry".to_owned(), None), "{word}");
    }
    assert_eq!(root.read("/etc/one-run"), "as it was\n");
    drop(others);

    // Without its enforcer the first run continues under the extension that it has taken, and no longer.
    assert!(scene.sleeps("81001"));
    scene.kill_enforcer("81001");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(scene.sleeps("81001"));
    root.as_root(["jitctl", "revoke", &extension, "--reason", "enough"]).succeeded();
    assert_eq!(scene.ended("81001"), ("revocation".to_owned(), Some(extension)));
    drop(first);
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_supervisor_without_its_enforcer_uses_an_extension_itself() {
    let scene = Scene::set("6s");
    let _session = scene.sleep("82001");
    scene.kill_enforcer("82001");
    let extension = scene.extended();
    assert_eq!(scene.is_taken_by(&extension), scene.record("82001", "start").text("run"));
    std::thread::sleep(std::time::Duration::from_millis(6000));
    assert!(scene.sleeps("82001"));
    scene.root.as_root(["jitctl", "revoke", &scene.grant, "--reason", "enough"]).succeeded();
    assert_eq!(scene.ended("82001"), ("revocation".to_owned(), Some(extension)));
}

#[test]
fn descendants_of_a_run_continue_under_its_extension() {
    let scene = Scene::set("5s");
    let script = "setsid sleep 83001 >/dev/null 2>&1 & sleep 3; :";
    let mut session = scene.root.pty_as(&scene.person.name, ["jit-sudo", "-n", "sh", "-c", script]);
    eventually("it sleeps", harness::PATIENCE, || scene.sleeps("83001").then_some(()));
    let extension = scene.extended();
    let _ = scene.is_taken_by(&extension);
    session.wait();
    let _ = scene.record("83001", "left-running");
    std::thread::sleep(std::time::Duration::from_millis(4000));
    assert!(scene.sleeps("83001"), "it ended with the grant before");
    assert_eq!(scene.record("83001", "end").text("extended_by"), extension);
    scene.root.as_root(["jitctl", "revoke", &scene.grant, "--reason", "enough"]).succeeded();
    assert_eq!(scene.record("83001", "left-ended").text("ended_by"), "revocation");
    assert!(!scene.sleeps("83001"));
    scene.root.as_root(["jitctl", "audit", "verify"]).intact();
}
