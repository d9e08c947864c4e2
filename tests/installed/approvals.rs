//! An approval is the act of a person: where the role requires it the broker asks for the approver's password, at the terminal,
//! each time; other users do not wait meanwhile.

use std::sync::OnceLock;
use std::time::Duration;

use harness::{Output, PATIENCE, Person, PrivateRoot, PtySession, Record, eventually};

use crate::{id, kinds, own_root, records_of, request, root};

/// Roles without, with and against password approvals.
const POLICY: &str = r#"
[roles.two]                             # a quorum of two, nothing more said
eligible     = ["%asking"]
commands     = ["/usr/bin/id **"]
authenticate = false

[roles.two.activation]
require_approval = true
approvers        = ["%persons"]
approvals        = 2

[roles.one]
eligible     = ["%asking"]
commands     = ["/usr/bin/id **", "/usr/bin/printf **"]
authenticate = false

[roles.one.activation]
require_approval        = true
approvers               = ["%persons"]
approval_authentication = true
break_glass             = true

[roles.hasty]                           # its requests and its prompts do not live long
eligible       = ["%asking"]
commands       = ["/usr/bin/id **"]
authenticate   = false
passwd_timeout = "3s"

[roles.hasty.activation]
require_approval        = true
approvers               = ["%persons"]
approval_authentication = true

[roles.fleeting]
eligible     = ["%asking"]
commands     = ["/usr/bin/id **"]
authenticate = false

[roles.fleeting.activation]
require_approval        = true
approvers               = ["%persons"]
approval_authentication = true
request_lifetime        = "3s"

[roles.trusting]
eligible     = ["%asking"]
commands     = ["/usr/bin/id **"]
authenticate = false

[roles.trusting.activation]
require_approval        = true
approvers               = ["%persons"]
approvals               = 2
approval_authentication = false

[roles.stacked]                         # with a PAM service of its own, which knows nobody
eligible     = ["%asking"]
commands     = ["/usr/bin/id **"]
authenticate = false

[roles.stacked.activation]
require_approval        = true
approvers               = ["%persons"]
approval_authentication = true
pam_service             = "nobody-approves"

[roles.open]                            # with a PAM service that lets everybody in
eligible     = ["%asking"]
commands     = ["/usr/bin/id **"]

[roles.open.activation]
require_approval        = true
approvers               = ["%persons"]
approval_authentication = true
break_glass             = true
pam_service             = "everybody-approves"

[roles.afar]                       # as others, in other places, with variables
eligible      = ["%asking"]
commands      = ["/usr/bin/id **"]
run_as        = "ALL"
run_as_groups = "ALL"
setenv        = true
runcwd        = "*"
authenticate  = false

[roles.afar.activation]
require_approval        = true
approvers               = ["%persons"]
approval_authentication = true

[roles.ordinary]                        # what fills the credential cache
standing = ["%persons"]
commands = ["/usr/bin/true"]
"#;

fn shared() -> &'static PrivateRoot {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        root().write(
            "/etc/pam.d/nobody-approves",
            0o644,
            "auth required pam_deny.so\naccount required pam_permit.so\n",
        );
        root().write(
            "/etc/pam.d/everybody-approves",
            0o644,
            "auth required pam_permit.so\naccount required pam_permit.so\n",
        );
        root().add_policy("approving", POLICY);
    });
    root()
}

/// A requester, an approver, and the id of the request.
#[derive(Clone)]
struct Scene {
    person: Person,
    approver: Person,
    id: String,
}

impl Scene {
    fn of(role: &str, more: &[&str]) -> Self {
        let (person, approver) = (shared().person(&["asking"]), shared().person(&["persons"]));
        let id = id(&request(shared(), &person, role, more));
        Self { person, approver, id }
    }

    /// Runs `jitctl approve` as the approver at a terminal.
    fn approves(&self, more: &[&str]) -> PtySession {
        shared().pty_as(&self.approver.name, [&["jitctl", "approve", &self.id][..], more].concat())
    }

    /// Runs it as a program of the approver would: without a terminal.
    fn automaton(&self) -> Output {
        shared().run_as(&self.approver.name, ["setsid", "--wait", "jitctl", "approve", &self.id])
    }

    fn state(&self) -> serde_json::Value {
        shared().run_as(&self.person.name, ["jitctl", "--json", "show", &self.id]).json()["grant"].clone()
    }

    /// Checks that the request is still pending.
    #[track_caller]
    fn is_untouched(&self) {
        let state = self.state();
        assert_eq!((state["state"].as_str(), state["approvals"].as_array().map(Vec::len)), (Some("pending"), Some(0)));
        assert!(!kinds(&records_of(shared(), &self.approver)).contains(&"approval"));
        shared().run_as(&self.person.name, ["jit-sudo", "-n", "id"]).refused("");
    }

    /// Returns the records of the approver's failures.
    fn rejects(&self) -> Vec<Record> {
        records_of(shared(), &self.approver).into_iter().filter(|record| record.kind() == "reject").collect()
    }
}

const PROMPT: &str = "password for ";
const WITHOUT: &str = "approving needs your password, and there is no terminal to ask for it";

#[test]
fn a_program_of_the_approver_cannot_approve_where_a_password_is_required() {
    for role in ["two", "one"] {
        let scene = Scene::of(role, &[]);
        let said = scene.automaton();
        let hint = format!("hint: approve at a terminal, or with a key: jitctl approve {} --key FILE", scene.id);
        assert!(said.refused(WITHOUT).contains(&hint), "{said:?}");
        // Calls the broker without jitctl and without a terminal, with the password on standard input.
        let ask = format!("{{\"verb\":\"approve\",\"id\":\"{}\"}}\0{}\n", scene.id, scene.approver.password);
        let broker = ["setsid", "--wait", "/usr/libexec/jit-sudo/jit-sudo-broker"];
        let said = shared().command(&scene.approver.name, broker).stdin(ask).run();
        assert_eq!(said.json()["error"]["code"], "password-required", "{said:?}");
        scene.is_untouched();
        let rejects = scene.rejects();
        assert_eq!(rejects.len(), 2, "{rejects:?}");
        assert_eq!((rejects[0].text("code"), rejects[0].text("sentence")), ("password-required", WITHOUT));
        assert!(rejects[0].body.contains(&format!("[\"jitctl\",\"approve\",\"{}\"]", scene.id)), "{}", rejects[0].body);
        // A denial needs no password.
        let deny = ["setsid", "--wait", "jitctl", "deny", &scene.id, "--reason", "no"];
        shared().run_as(&scene.approver.name, deny).succeeded();
    }
}

#[test]
fn the_right_password_at_a_terminal_approves_what_was_shown() {
    let scene = Scene::of("two", &["--", "id", "-u"]);
    let second = Scene { approver: shared().person(&["persons"]), ..scene.clone() };
    for (approver, more, span) in [(&scene, &[][..], "1h"), (&second, &["--for", "10m"], "10m")] {
        let mut session = approver.approves(more);
        let (id, person) = (&approver.id, &approver.person.name);
        session.expect(&format!("approving request {id}: role two for {person}, {span}"));
        session.expect("gives EVERY command of the role, as root");
        session.expect("asked for with this command: /usr/bin/id -u");
        session.type_password(PROMPT, &approver.approver.password);
        session.expect("request ");
        assert!(session.wait().success(), "{}", session.screen());
        assert!(!session.screen().contains(&approver.approver.password), "{}", session.screen());
        let records = records_of(shared(), &approver.approver);
        assert_eq!(kinds(&records).first(), Some(&"approval"));
        assert_eq!(records[0].text("authenticated"), "password", "{}", records[0].body);
    }
    shared().run_as(&scene.person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
}

#[test]
fn an_approver_reads_what_the_grant_will_give_and_all_that_was_asked() {
    let mut filled: Vec<String> = (0..30).map(|number| format!("A{number:02}=1")).collect();
    filled.push("LD_PRELOAD=/tmp/x.so".to_owned());
    let long = format!("{}; rm -rf /", "x".repeat(500));
    let more = ["--at", "+2h", "--"].map(str::to_owned);
    let words = more.into_iter().chain(filled).chain(["/usr/bin/id".to_owned(), long.clone()]);
    let words: Vec<String> = words.collect();
    let scene = Scene::of("afar", &words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut session = scene.approves(&[]);
    session.resize(60, 700);
    let shown = session.expect(PROMPT);
    for part in [
        "role afar for",
        "gives EVERY command of the role, as ALL:",
        "LD_PRELOAD=/tmp/x.so",
        "reason: ",
        "begins in ",
        "approvals needed: 1",
        "lines: read them all",
        &long,
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    session.type_text("\x03");
    session.wait();
    // Narrowed to the command, and to one run.
    let mut session = scene.approves(&["--exact", "--one-shot"]);
    session.resize(60, 700);
    let shown = session.expect(PROMPT);
    assert!(shown.contains("gives this very command: /usr/bin/id") && shown.contains(", for one run"), "{shown}");
    assert!(!shown.contains("EVERY"), "{shown}");
    session.type_text("\x03");
    session.wait();
}

#[test]
fn an_approval_without_a_password_says_none_in_its_record() {
    let scene = Scene::of("trusting", &[]);
    scene.automaton().succeeded();
    let records = records_of(shared(), &scene.approver);
    assert_eq!((kinds(&records), records[0].text("authenticated")), (vec!["approval"], "none"));
}

#[test]
fn wrong_passwords_change_nothing_and_are_recorded() {
    let scene = Scene::of("one", &[]);
    let mut session = scene.approves(&[]);
    session.expect(&format!("approving request {}: role one for {}, 1h", scene.id, scene.person.name));
    session.expect("gives EVERY command of the role");
    for word in ["wrong", "wronger", &scene.person.password] {
        session.type_password(PROMPT, word);
    }
    session.expect("3 incorrect password attempts");
    assert_eq!(session.wait().code(), Some(1), "{}", session.screen());
    scene.is_untouched();
    let rejects = scene.rejects();
    assert_eq!(rejects.len(), 1, "{rejects:?}");
    assert_eq!(
        (rejects[0].text("code"), rejects[0].text("sentence")),
        ("authentication", "3 incorrect password attempts")
    );
    // Also where only the role's own stack asks for something else.
    let scene = Scene::of("stacked", &[]);
    let mut session = scene.approves(&[]);
    assert_eq!(session.wait().code(), Some(1), "{}", session.screen());
    scene.is_untouched();
}

#[test]
fn a_pam_service_without_authentication_approves_and_reviews_nothing() {
    let scene = Scene::of("open", &[]);
    let mut session = scene.approves(&[]);
    session.expect("approving needs your password, and the PAM service 'everybody-approves' asks for none");
    session.expect(&format!("jitctl approve {} --key FILE", scene.id));
    assert_eq!(session.wait().code(), Some(1), "{}", session.screen());
    scene.is_untouched();
    let rejects = scene.rejects();
    assert_eq!((rejects.len(), rejects[0].text("code")), (1, "password-required"), "{rejects:?}");
    // A run is not affected, and its record says that no user was asked.
    let words = ["jit-sudo", "--break-glass", "--role", "open", "--reason", "it burns", "id", "-u"];
    let mut run = shared().pty_as(&scene.person.name, words);
    assert!(run.wait().success(), "{}", run.screen());
    let records = records_of(shared(), &scene.person);
    let start = records.iter().find(|record| record.kind() == "start").unwrap();
    assert_eq!(start.text("authenticated"), "unasked", "{}", start.body);
    let grant = start.text("grant");
    let review = ["jitctl", "review", grant, "--comment", "it did burn"];
    let mut session = shared().pty_as(&scene.approver.name, review);
    session.expect("reviewing needs your password, and the PAM service 'everybody-approves' asks for none");
    assert_eq!(session.wait().code(), Some(1), "{}", session.screen());
    let debts = shared().run_as(&scene.approver.name, ["jitctl", "--json", "review"]);
    assert!(debts.succeeded().contains(grant), "{debts:?}");
}

#[test]
fn run_as_user_directory_and_variables_are_shown_before_the_password() {
    let more = [
        "-u",
        "daemon",
        "-g",
        "games",
        "-D",
        "/var/tmp",
        "--",
        "LD_PRELOAD=/home/x y.so",
        "BASH_ENV=\u{2800}",
        "/usr/bin/id",
        "-u",
    ];
    let scene = Scene::of("afar", &more);
    let parts = [
        "as daemon (uid 1, gid 60, groups ",
        "in /var/tmp",
        "with 'LD_PRELOAD=/home/x y.so'",
        "with 'BASH_ENV=\\xe2\\xa0\\x80'",
    ];
    let mut session = scene.approves(&[]);
    session.resize(24, 80);
    let shown = session.expect(PROMPT);
    let lines = shown.lines().map(str::trim_end).skip_while(|line| !line.starts_with("approving request"));
    let mut lines = lines.skip_while(|line| !line.ends_with("asked for with this command: /usr/bin/id -u"));
    assert!(lines.next().is_some(), "{shown}");
    for part in [parts[0], parts[1], parts[3], parts[2]] {
        let line = lines.next().unwrap();
        assert!(line.trim_start().starts_with(part) && line.chars().count() <= 80, "{part}: {shown}");
    }
    session.type_text("\x03");
    session.wait();
    // With a key, here and elsewhere, and when denying.
    let (name, home) = (&scene.approver.name, &scene.approver.home);
    shared().run_as(name, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &format!("{home}/key")]).succeeded();
    shared().run_as(name, ["sh", "-c", &format!("jitctl show {} --print >~/request", scene.id)]).succeeded();
    for script in [
        format!("jitctl approve {} --key ~/key", scene.id),
        format!("jitctl deny {} --reason x --key ~/key", scene.id),
        format!("jitctl approve - --key ~/key --as {name} <~/request"),
        format!("jitctl deny - --reason x --key ~/key --as {name} <~/request"),
    ] {
        let mut session = shared().pty_as(name, ["sh", "-c", &format!("stty cols 80; {script}")]);
        session.wait();
        let said: String = session.screen().split_whitespace().collect::<Vec<_>>().join(" ");
        for part in parts {
            assert!(said.contains(part), "{script}: {part}: {said}");
        }
    }
}

#[test]
fn an_interrupt_an_end_of_input_and_a_timeout_change_nothing() {
    for key in ["\x03", "\x04"] {
        let scene = Scene::of("one", &[]);
        let mut session = scene.approves(&[]);
        let before = session.attributes();
        session.expect(PROMPT);
        eventually("no echo", PATIENCE, || (!session.echoes()).then_some(()));
        session.type_text(key);
        assert!(!session.wait().success(), "{}", session.screen());
        assert_eq!(session.attributes(), before, "the terminal is as it was");
        eventually("the broker is gone", PATIENCE, || left_on(session.name()).is_empty().then_some(()));
        scene.is_untouched();
    }
    let scene = Scene::of("hasty", &[]);
    let mut session = scene.approves(&[]);
    session.expect("timed out reading password");
    assert_eq!(session.wait().code(), Some(1), "{}", session.screen());
    scene.is_untouched();
}

/// Returns the programs of jit-sudo that are left on the terminal.
fn left_on(terminal: &str) -> String {
    shared().script(&format!("ps -t {terminal} -o comm= | grep -e jitctl -e jit-sudo || true"))
}

#[test]
fn decisions_during_the_password_prompt_count() {
    // Cancelled, decided by another approver, expired: each while the prompt was open.
    let (cancelled, denied) = (Scene::of("one", &[]), Scene::of("one", &[]));
    let other = shared().person(&["persons"]);
    let mut sessions = [cancelled.approves(&[]), denied.approves(&[])];
    for session in &mut sessions {
        session.expect(PROMPT);
    }
    shared().run_as(&cancelled.person.name, ["jitctl", "cancel", &cancelled.id]).succeeded();
    shared().run_as(&other.name, ["jitctl", "deny", &denied.id, "--reason", "no"]).succeeded();
    for (session, (scene, state)) in sessions.iter_mut().zip([(&cancelled, "cancelled"), (&denied, "denied")]) {
        session.type_line(&scene.approver.password);
        session.expect(&format!("is not pending: it is {state}"));
        assert_eq!(session.wait().code(), Some(1));
        assert!(kinds(&records_of(shared(), &scene.approver)).is_empty());
    }
    let late = Scene::of("fleeting", &[]);
    let mut session = late.approves(&[]);
    session.expect(PROMPT);
    std::thread::sleep(Duration::from_millis(3100));
    session.type_line(&late.approver.password);
    session.expect("expired");
    assert_eq!(session.wait().code(), Some(1));
}

#[test]
fn the_policy_counts_as_it_stands_after_the_prompt() {
    let root = own_root();
    let policy = |approvers: &str, more: &str| {
        format!(
            "[roles.fickle]\neligible = [\"alice\"]\ncommands = [\"/usr/bin/id **\"]\nauthenticate = false\n\
             [roles.fickle.activation]\nrequire_approval = true\napprovers = {approvers}\n{more}\n"
        )
    };
    let on = "approval_authentication = true";
    root.add_policy("fickle", &policy("[\"bob\", \"carol\"]", on));
    let (alice, bob) = (root.user("alice"), root.user("bob"));
    let pending = id(&request(&root, &alice, "fickle", &[]));
    let mut session = root.pty_as("bob", ["jitctl", "approve", &pending]);
    session.expect(PROMPT);
    root.add_policy("fickle", &policy("[\"carol\"]", on));
    session.type_line(&bob.password);
    session.expect("there is no request");
    assert_eq!(session.wait().code(), Some(1));

    // An approval without a password, given before the policy required one, does not count for the quorum afterwards.
    let two = |word: &str| policy("[\"bob\", \"carol\"]", &format!("approvals = 2\napproval_authentication = {word}"));
    root.add_policy("fickle", &two("false"));
    root.run_as("bob", ["jitctl", "approve", &pending]).succeeded();
    root.add_policy("fickle", &two("true"));
    let carol = root.user("carol");
    for (approver, expected) in [(&carol, "pending"), (&bob, "approved")] {
        let mut session = root.pty_as(&approver.name, ["jitctl", "approve", &pending]);
        session.type_password(PROMPT, &approver.password);
        assert!(session.wait().success(), "{}", session.screen());
        let shown = root.run_as("alice", ["jitctl", "--json", "show", &pending]).json();
        assert_eq!(shown["grant"]["state"], expected, "{shown}");
    }
    root.run_as("alice", ["jit-sudo", "-n", "id"]).succeeded();
}

#[test]
fn an_approval_is_for_what_was_shown_despite_policy_changes() {
    let root = own_root();
    let policy = |commands: &str, more: &str| {
        let text = format!(
            "[roles.moving]\neligible = [\"alice\"]\ncommands = {commands}\nauthenticate = false\n\
             [roles.moving.activation]\nrequire_approval = true\napprovers = [\"bob\", \"carol\"]\n\
             approval_authentication = true\n{more}\n"
        );
        root.add_policy("moving", &text);
    };
    let (id_alone, all) = ("[\"/usr/bin/id **\"]", "[\"ALL\"]");
    let (alice, bob) = (root.user("alice"), root.user("bob"));
    let ask = || id(&request(&root, &alice, "moving", &["--", "/usr/bin/id", "-u"]));
    let approve = |pending: &str| root.pty_as("bob", ["jitctl", "approve", pending]);

    // Changed after it was read, and before the password was typed.
    policy(all, "");
    let pending = ask();
    let mut session = approve(&pending);
    let shown = session.expect(PROMPT);
    assert!(shown.lines().any(|line| line.trim() == "ALL"), "{shown}");
    policy(id_alone, "");
    session.type_line(&bob.password);
    session.expect("role moving has changed since this was requested");
    assert_eq!(session.wait().code(), Some(1));
    root.run_as("alice", ["jitctl", "cancel", &pending]).succeeded();

    // The role was narrowed while the approver read: the grant is not wider than that.
    for narrowing in ["exact_command = true", "one_shot = true", "maximum_duration = \"5m\""] {
        policy(all, "");
        let pending = ask();
        policy(all, narrowing);
        let mut session = approve(&pending);
        session.expect(PROMPT);
        policy(all, "");
        session.type_line(&bob.password);
        session.expect("what was shown before the password has changed since");
        assert_eq!(session.wait().code(), Some(1));
        let shown = root.run_as("alice", ["jitctl", "--json", "show", &pending]).json();
        assert_eq!(shown["grant"]["state"], "pending", "{shown}");
        root.run_as("alice", ["jitctl", "cancel", &pending]).succeeded();
    }

    // ... also where another approver comes later.
    policy(all, "approvals = 2\none_shot = true\nexact_command = true");
    let pending = ask();
    let mut session = approve(&pending);
    session.expect("gives this very command: /usr/bin/id -u");
    session.type_password(PROMPT, &bob.password);
    assert!(session.wait().success(), "{}", session.screen());
    policy(all, "approvals = 2");
    let carol = root.user("carol");
    let mut session = root.pty_as("carol", ["jitctl", "approve", &pending]);
    session.type_password(PROMPT, &carol.password);
    assert!(session.wait().success(), "{}", session.screen());
    root.run_as("alice", ["jit-sudo", "-n", "/usr/bin/head", "/etc/shadow"]).refused("");
    root.run_as("alice", ["jit-sudo", "-n", "/usr/bin/id", "-u"]).succeeded();
    root.run_as("alice", ["jit-sudo", "-n", "/usr/bin/id", "-u"]).refused("");
}

#[test]
fn everything_that_a_grant_permits_is_shown() {
    let root = own_root();
    let rules: Vec<String> = (0..120).map(|number| format!("\"/usr/bin/id {number}\"")).collect();
    let text = format!(
        "[roles.wide]\neligible = [\"alice\"]\ncommands = [{}, \"ALL\"]\nauthenticate = false\nsetenv = true\n\
         env_keep = [\"LD_PRELOAD\"]\non_expiry = \"finish\"\nleftovers = \"keep\"\n\
         [roles.wide.activation]\nrequire_approval = true\napprovers = [\"bob\"]\napproval_authentication = true\n",
        rules.join(", ")
    );
    root.add_policy("wide", &text);
    let pending = id(&request(&root, &root.user("alice"), "wide", &[]));
    let mut session = root.pty_as("bob", ["jitctl", "approve", &pending]);
    session.resize(200, 300);
    let shown = session.expect(PROMPT);
    for part in [
        "21 rules, and after them, which decides",
        "/usr/bin/id 119",
        "with setenv = true",
        "LD_PRELOAD",
        "may run to its end",
        "leaves running may continue",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.lines().any(|line| line.trim() == "ALL"), "{shown}");
    session.type_text("\x03");
    session.wait();
    // For one command: how it is run, and what may outlive the grant.
    root.run_as("alice", ["jitctl", "cancel", &pending]).succeeded();
    let pending = id(&request(&root, &root.user("alice"), "wide", &["--", "/usr/bin/id", "-u"]));
    let mut session = root.pty_as("bob", ["jitctl", "approve", &pending, "--exact"]);
    session.resize(200, 300);
    let shown = session.expect(PROMPT);
    for part in
        ["gives this very command: /usr/bin/id -u", "with setenv = true", "may run to its end", "running may continue"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    session.type_text("\x03");
    session.wait();
    let shown = root.run_as("bob", ["jitctl", "show", &pending]);
    assert!(shown.succeeded().contains("setenv = true") && shown.stdout.contains("LD_PRELOAD"), "{shown:?}");
}

#[test]
fn a_password_prompt_does_not_delay_other_users() {
    let scene = Scene::of("one", &[]);
    let mut session = scene.approves(&[]);
    session.expect(PROMPT);
    let begin = std::time::Instant::now();
    let other = Scene::of("trusting", &[]);
    other.automaton().succeeded();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    // The broker that asks holds no file descriptor of the database.
    let held = shared().script(
        "for pid in $(pgrep -x jit-sudo-broke); do ls -l /proc/$pid/fd; done 2>/dev/null | grep /var/lib/jit-sudo || true",
    );
    assert_eq!(held, "");
    session.type_line(&scene.approver.password);
    assert!(session.wait().success(), "{}", session.screen());
}

#[test]
fn remembered_passwords_and_approvals_are_independent() {
    let scene = Scene::of("one", &[]);
    let second = Scene { approver: scene.approver.clone(), ..Scene::of("one", &[]) };
    let name = &scene.approver.name;
    let mut shell = shared().pty_as(name, ["bash", "--norc", "-i"]);
    shell.type_line(&format!("jitctl approve {} && echo first-$((1+1))", scene.id));
    shell.type_password(PROMPT, &scene.approver.password);
    shell.expect("first-2");
    // The approval left no remembered password ...
    shell.type_line("jit-sudo -n true || echo asked-$((1+1))");
    shell.expect("asked-2");
    shell.type_line("jit-sudo true && echo ran-$((1+1))");
    shell.type_password(PROMPT, &scene.approver.password);
    shell.expect("ran-2");
    shell.type_line("jit-sudo -n true && echo cached-$((1+1))");
    shell.expect("cached-2");
    // ... and the password that the run left does not approve.
    shell.type_line(&format!("jitctl approve {}", second.id));
    shell.expect("approving request");
    shell.expect(PROMPT);
    shell.type_text("\x03");
    // Input typed ahead is discarded with the prompt.
    shell.expect("$ ");
    shell.type_line("exit");
    shell.wait();
    assert_eq!(second.state()["approvals"].as_array().map(Vec::len), Some(0));
}

#[test]
fn text_of_other_users_is_shown_escaped_and_complete() {
    let hostile = "a\u{1b}[2Jb\nroot's password: ";
    let scene = Scene::of("one", &["--", "printf", hostile, &"x".repeat(2000)]);
    let mut session = scene.approves(&[]);
    let shown = session.expect(PROMPT);
    assert!(!shown.contains('\u{1b}') && shown.contains("\\x1b[2Jb\\x0aroot"), "{shown}");
    assert!(shown.contains(&"x".repeat(2000)) && shown.contains(&format!("jitctl show {}", scene.id)), "{shown}");
    session.type_text("\x03");
    session.wait();
}

#[test]
fn a_review_of_a_break_glass_needs_the_same_password() {
    let (person, reviewer) = (shared().person(&["asking"]), shared().person(&["persons"]));
    let words = ["jit-sudo", "--break-glass", "--role", "one", "--reason", "it burns", "id", "-u"];
    shared().run_as(&person.name, words).succeeded();
    let grant = records_of(shared(), &person)[0].text("grant").to_owned();
    let review = ["jitctl", "review", &grant, "--comment", "it did burn"];
    let said = shared().run_as(&reviewer.name, review);
    said.refused("reviewing needs your password, and there is no terminal to ask for it");
    let mut session = shared().pty_as(&reviewer.name, review);
    session.expect(&format!("reviewing the break-glass of request {grant}: role one for {}", person.name));
    session.expect("/usr/bin/id -u");
    session.type_password(PROMPT, &reviewer.password);
    session.expect("reviewed");
    assert!(session.wait().success(), "{}", session.screen());
}

#[test]
fn rejections_of_an_approver_are_limited_like_those_of_other_users() {
    let scene = Scene::of("one", &[]);
    let script = format!("for i in $(seq 75); do setsid --wait jitctl approve {} 2>/dev/null; done; true", scene.id);
    shared().command(&scene.approver.name, ["sh", "-c", &script]).patience(Duration::from_secs(60)).run().succeeded();
    let recorded = scene.rejects().len();
    assert!((60..75).contains(&recorded), "{recorded}");
}

#[test]
fn a_request_is_approved_only_while_its_role_is_as_it_was_when_it_was_made() {
    let root = own_root();
    let policy = |commands: &str, more: &str| {
        let text = format!(
            "[roles.moving]\neligible = [\"alice\"]\ncommands = [{commands}]\nauthenticate = false\n\
             [roles.moving.activation]\nrequire_approval = true\napprovers = [\"bob\", \"carol\"]\n\
             approval_authentication = false\n{more}\n"
        );
        root.add_policy("moving", &text);
    };
    let (id_alone, all) = ("\"/usr/bin/id **\"", "\"ALL\"");
    let alice = root.user("alice");
    let ask = || id(&request(&root, &alice, "moving", &[]));
    let approve = |who: &str, id: &str| root.run_as(who, ["jitctl", "approve", id]);
    let sentence = "role moving has changed since this was requested";

    // Narrowed between request and approval, and widened again: the approver saw the narrow one.
    policy(all, "");
    let pending = ask();
    policy(id_alone, "");
    let shown = root.run_as("bob", ["jitctl", "show", &pending]);
    assert!(shown.succeeded().contains("cannot be approved"), "{shown:?}");
    let refused = approve("bob", &pending);
    assert_ne!(refused.status.code(), Some(0), "{refused:?}");
    assert!(refused.stderr.contains(sentence) && refused.stderr.contains("hint: "), "{refused:?}");
    let answer = root.run_as("bob", ["jitctl", "--json", "approve", &pending]);
    assert_eq!(answer.json()["error"]["code"], "role-changed", "{answer:?}");
    policy(all, "");
    root.run_as("alice", ["jit-sudo", "-n", "whoami"]).refused("");
    // As it was: what was asked for can be approved again, and a denial was possible all the time.
    approve("bob", &pending).succeeded();
    assert_eq!(root.run_as("alice", ["jit-sudo", "-n", "whoami"]).succeeded(), "root");
    root.run_as("alice", ["jitctl", "release"]).succeeded();

    // The second approver of two comes too late.
    policy(all, "approvals = 2");
    let pending = ask();
    approve("bob", &pending).succeeded();
    policy(id_alone, "approvals = 2");
    assert!(approve("carol", &pending).stderr.contains(sentence));
    root.run_as("carol", ["jitctl", "deny", &pending, "--reason", "too late"]).succeeded();

    // More time is not given for what the role was, either.
    policy(id_alone, "");
    let pending = ask();
    approve("bob", &pending).succeeded();
    policy(all, "");
    let refused = root.run_as("alice", ["jitctl", "extend", &pending, "--reason", "longer"]);
    assert!(refused.stderr.contains("role moving has changed since"), "{refused:?}");
    assert_ne!(refused.status.code(), Some(0), "{refused:?}");
}

/// The row of a request may say another number than the text that approvers sign over.
#[test]
fn a_request_needs_as_many_approvals_as_its_text_says() {
    let root = own_root();
    let policy = |approvals: u32| {
        let text = format!(
            "[roles.counted]\neligible = [\"alice\"]\ncommands = [\"/usr/bin/id **\"]\nauthenticate = false\n\
             [roles.counted.activation]\nrequire_approval = true\napprovers = [\"bob\", \"carol\"]\napprovals = {approvals}\n\
             approval_authentication = false\n"
        );
        root.add_policy("counted", &text);
    };
    let alice = root.user("alice");
    let shown = |id: &str| {
        let shown = root.run_as("alice", ["jitctl", "--json", "show", id]).json();
        (shown["grant"]["state"].clone(), shown["grant"]["approvals_needed"].as_u64())
    };
    for needed in [0, 1, 9] {
        policy(2);
        let pending = id(&request(&root, &alice, "counted", &[]));
        policy(1);
        root.script(&format!(
            "sqlite3 /var/lib/jit-sudo/journal.db \"UPDATE request SET needed = {needed} WHERE id = '{pending}'\""
        ));
        for (approver, state) in [("bob", "pending"), ("carol", "approved")] {
            root.run_as(approver, ["jitctl", "approve", &pending]).succeeded();
            assert_eq!(shown(&pending), (state.into(), Some(2)), "{needed} {approver}");
        }
        root.run_as("alice", ["jit-sudo", "-n", "id"]).succeeded();
        root.run_as("alice", ["jitctl", "release", &pending]).succeeded();
    }
}
