//! pam_jit_sudo.so in real stacks: su, Debian's sudo, sshd, login, screen lockers, and difficult callers.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::time::Duration;

use harness::{Output, Person, PrivateRoot, eventually};
use serde_json::Value;

use crate::{id, own_root, request};

pub(crate) const BROKER: &str = "/usr/libexec/jit-sudo/jit-sudo-broker";

pub(crate) const POLICY: &str = r#"
[roles.door]
eligible = ["%door"]
commands = ["ALL"]

[roles.open-door]
standing = ["%resident"]
commands = ["ALL"]

[roles.guarded]
eligible = ["%guarded"]
commands = ["ALL"]

[roles.guarded.activation]
require_approval = true
approvers        = ["%approvers"]

[roles.sealed]
eligible = ["%door"]
commands = ["ALL"]
hosts    = ["another-host"]
"#;

/// Returns the root of these tests, whose stacks replace Debian's.
pub(crate) fn doors() -> &'static PrivateRoot {
    static ROOT: OnceLock<PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = own_root();
        root.add_policy("doors", POLICY);
        root.write("/usr/local/lib/pam_host.py", 0o644, include_str!("pam_host.py"));
        root.script("sed -i '1i account required pam_jit_sudo.so role=door' /etc/pam.d/su /etc/pam.d/sudo");
        root.script("sed -i '1i account required pam_jit_sudo.so role=door' /etc/pam.d/sshd /etc/pam.d/login");
        let session = "session required pam_jit_sudo.so role=door";
        root.script(&format!("for name in su sudo sshd login; do echo '{session}' >>/etc/pam.d/$name; done"));
        // su by the caller's grant alone, as in the manual.
        root.write(
            "/etc/pam.d/su-l",
            0o644,
            format!("auth required pam_jit_sudo.so role=door\naccount required pam_permit.so\n{session}\n"),
        );
        stack(&root, "door", "role=door");
        root
    })
}

/// Writes a service whose stack has only the module.
pub(crate) fn stack(root: &PrivateRoot, service: &str, options: &str) {
    let line = |facility: &str| format!("{facility} required pam_jit_sudo.so {options}\n");
    root.write(&format!("/etc/pam.d/{service}"), 0o644, line("auth") + &line("account"));
}

/// Runs pamtester as root with `service` for this user.
fn asked(root: &PrivateRoot, service: &str, person: &Person) -> Output {
    root.as_root(["pamtester", service, &person.name, "authenticate", "acct_mgmt"])
}

fn enters(root: &PrivateRoot, service: &str, person: &Person) -> bool {
    asked(root, service, person).status.success()
}

/// Returns the report of pam_host.py.
fn hosted(root: &PrivateRoot, user: &str, words: &[&str]) -> Value {
    let words = [&["python3", "/usr/local/lib/pam_host.py"], words].concat();
    let output = root.command(user, words).patience(Duration::from_secs(240)).run();
    output.succeeded();
    output.json()
}

/// Returns the lines of the module in syslog that contain `text`.
fn logged(root: &PrivateRoot, text: &str) -> Vec<String> {
    let ours = |line: &String| line.contains("pam_jit_sudo(") && line.contains(text);
    root.auth_log().into_iter().filter(ours).collect()
}

#[test]
fn the_module_exports_its_entry_points_and_nothing_else() {
    let module = doors().script("echo /usr/lib/*/security/pam_jit_sudo.so");
    let names =
        std::process::Command::new("nm").args(["-D", "--defined-only"]).arg(doors().path(module.trim())).output();
    let names = String::from_utf8(names.unwrap().stdout).unwrap();
    let mut names: Vec<&str> = names.lines().filter_map(|line| line.split(' ').next_back()).collect();
    names.sort_unstable();
    let expected = ["acct_mgmt", "authenticate", "close_session", "open_session", "setcred"];
    assert_eq!(names, expected.map(|name| format!("pam_sm_{name}")));
}

#[test]
fn known_and_unknown_users_get_the_same_message_before_authentication() {
    let person = doors().person(&["door"]);
    let heard = |name: &str| {
        let output = doors().as_root(["pamtester", "door", name, "authenticate"]);
        (output.status.code(), output.stdout.replace(name, "NAME"), output.stderr.replace(name, "NAME"))
    };
    let known = heard(&person.name);
    assert!(known.2.contains("you have no active grant of role door"), "{known:?}");
    for unknown in ["nobody-of-this-name", "x y", "-x", "#0"] {
        assert_eq!(heard(unknown), known, "{unknown}");
    }
}

#[test]
fn a_grant_permits_access_until_it_is_released() {
    let person = doors().person(&["door"]);
    let output = asked(doors(), "door", &person);
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stderr.contains("jit-sudo: you have no active grant of role door"), "{output:?}");
    assert!(output.stderr.contains("hint: jitctl request --role door --reason 'WHY'"), "{output:?}");
    request(doors(), &person, "door", &[]);
    assert!(enters(doors(), "door", &person));
    doors().run_as(&person.name, ["jitctl", "release"]).succeeded();
    assert!(!enters(doors(), "door", &person));
}

#[test]
fn a_standing_assignment_permits_access() {
    let (resident, other) = (doors().person(&["resident"]), doors().person(&[]));
    stack(doors(), "open-door", "role=open-door");
    assert!(enters(doors(), "open-door", &resident));
    assert!(!enters(doors(), "open-door", &other));
    assert!(!enters(doors(), "door", &resident));
}

#[test]
fn one_shot_and_exact_grants_do_not_permit_access() {
    for narrowing in [&["--one-shot"][..], &["--", "id", "-u"]] {
        let (person, approver) = (doors().person(&["guarded"]), doors().person(&["approvers"]));
        stack(doors(), "guarded", "role=guarded");
        let grant = id(&request(doors(), &person, "guarded", narrowing));
        let narrower = if narrowing.len() > 1 { "--exact" } else { "--one-shot" };
        doors().run_as(&approver.name, ["jitctl", "approve", &grant, narrower]).succeeded();
        assert!(!enters(doors(), "guarded", &person), "{narrowing:?}");
    }
}

#[test]
fn expired_grants_and_those_of_other_hosts_do_not_permit_access() {
    let person = doors().person(&["door"]);
    stack(doors(), "sealed", "role=sealed");
    request(doors(), &person, "door", &["--for", "2s"]);
    assert!(enters(doors(), "door", &person));
    assert!(!enters(doors(), "sealed", &person));
    eventually("the grant expires", harness::PATIENCE, || (!enters(doors(), "door", &person)).then_some(()));
}

#[test]
fn any_role_and_service_role_name_the_role() {
    let (person, resident, other) = (doors().person(&["door"]), doors().person(&["resident"]), doors().person(&[]));
    stack(doors(), "any", "any_role");
    stack(doors(), "guarded-door", "service_role");
    stack(doors(), "open-door", "service_role");
    assert!(!enters(doors(), "any", &person));
    request(doors(), &person, "door", &[]);
    assert!(enters(doors(), "any", &person) && enters(doors(), "any", &resident));
    assert!(!enters(doors(), "any", &other));
    assert!(enters(doors(), "open-door", &resident) && !enters(doors(), "open-door", &person));
    assert!(!enters(doors(), "guarded-door", &person), "no role of that name");
}

#[test]
fn an_option_that_is_not_understood_denies_and_says_so_in_syslog() {
    let resident = doors().person(&["resident"]);
    for (place, options) in
        ["role=open-door nonsense", "", "role=open-door any_role", "role=", "role=open-door wait=x", "role=../door"]
            .into_iter()
            .enumerate()
    {
        let service = format!("wrong{place}");
        stack(doors(), &service, options);
        let output = asked(doors(), &service, &resident);
        assert!(!output.status.success(), "{options}: {output:?}");
        eventually("a line in syslog", harness::PATIENCE, || {
            logged(doors(), &format!("({service}:auth): denied: ")).pop()
        });
    }
    assert!(!logged(doors(), "(wrong0:auth): denied: unknown option 'nonsense'").is_empty());
}

#[test]
fn quiet_says_nothing_and_a_refusal_is_in_syslog() {
    let person = doors().person(&["door"]);
    stack(doors(), "hushed", "role=door quiet");
    let output = asked(doors(), "hushed", &person);
    assert!(!output.status.success() && !output.stderr.contains("jit-sudo"), "{output:?}");
    let line = format!("(hushed:auth): denied: user {} has no active grant of role door", person.name);
    eventually("a line in syslog", harness::PATIENCE, || logged(doors(), &line).pop());
}

#[test]
fn a_stack_that_ignores_ignore_is_not_passed() {
    // PAM_IGNORE would be a success here, as in CVE-2025-23013.
    let person = doors().person(&["door"]);
    let control = "[success=ok ignore=ok default=die] pam_jit_sudo.so";
    for (service, options) in [("ignore1", "role=door"), ("ignore2", "nonsense")] {
        let text = format!("auth {control} {options}\naccount {control} {options}\n");
        doors().write(&format!("/etc/pam.d/{service}"), 0o644, text);
        assert!(!enters(doors(), service, &person));
        let output = doors().as_root(["pamtester", service, &person.name, "acct_mgmt"]);
        assert!(!output.status.success(), "{output:?}");
    }
}

#[test]
fn the_module_waits_for_a_pending_request() {
    let (person, approver) = (doors().person(&["guarded"]), doors().person(&["approvers"]));
    stack(doors(), "patient", "role=guarded wait=60");
    assert!(!enters(doors(), "patient", &person), "nothing to wait for");
    let pending = id(&request(doors(), &person, "guarded", &[]));
    let words = ["pamtester", "patient", &person.name, "acct_mgmt"];
    let mut waiting = doors().pty_as("root", words);
    waiting.expect(&format!("waiting at most 60 s for the approval of request {pending}"));
    doors().run_as(&approver.name, ["jitctl", "approve", &pending]).succeeded();
    waiting.expect("account management done");
    assert!(waiting.wait().success());
    let denied = id(&request(doors(), &person, "guarded", &["--one-shot"]));
    doors().run_as(&person.name, ["jitctl", "release"]).succeeded();
    let mut waiting = doors().pty_as("root", words);
    waiting.expect(&denied);
    doors().run_as(&approver.name, ["jitctl", "deny", &denied, "--reason", "no"]).succeeded();
    assert!(!waiting.wait().success(), "{}", waiting.screen());
}

#[test]
fn a_program_without_privilege_asks_about_its_own_user_alone() {
    let (person, other) = (doors().person(&["door"]), doors().person(&["door"]));
    let locker = |by: &Person, of: &Person| {
        let output = doors().run_as(&by.name, ["pamtester", "door", &of.name, "authenticate", "acct_mgmt"]);
        output.status.success()
    };
    assert!(!locker(&person, &person));
    request(doors(), &person, "door", &[]);
    assert!(locker(&person, &person));
    assert!(!locker(&other, &person) && !locker(&other, &other));
    assert!(!locker(&person, &Person { name: "root".to_owned(), ..person.clone() }));
}

#[test]
fn su_admits_the_caller_who_holds_the_grant() {
    let (person, target) = (doors().person(&["door"]), doors().person(&[]));
    let su = |by: &Person, to: &Person| {
        let mut session = doors().pty_as(&by.name, ["su", &to.name, "-c", "echo as $(id -un)"]);
        session.type_password("Password:", &to.password);
        session
    };
    let mut session = su(&person, &target);
    session.expect("you have no active grant of role door");
    assert!(!session.wait().success());
    request(doors(), &person, "door", &[]);
    let mut session = su(&person, &target);
    session.expect(&format!("as {}", target.name));
    assert!(session.wait().success());
    // The grant belongs to the caller: another user who becomes the caller by su gets nothing from it.
    let mut session = su(&target, &person);
    session.expect("you have no active grant of role door");
    assert!(!session.wait().success());
}

#[test]
fn sudo_of_debian_asks_for_the_grant_as_well() {
    let person = doors().person(&["deploy", "door"]);
    // sudo shows no messages of modules during account management.
    let output = doors().run_as(&person.name, ["sudo", "-n", "id", "-u"]);
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stderr.contains("PAM account management error: Permission denied"), "{output:?}");
    request(doors(), &person, "door", &[]);
    assert_eq!(doors().run_as(&person.name, ["sudo", "-n", "id", "-u"]).succeeded(), "0");
    doors().run_as(&person.name, ["jitctl", "release"]).succeeded();
    assert!(!doors().run_as(&person.name, ["sudo", "-n", "id", "-u"]).status.success());
}

/// Starts Debian's sshd on a port of its own; it ends with the root. Returns the port.
pub(crate) fn sshd(root: &PrivateRoot) -> u16 {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    root.script(&format!("mkdir -p /run/sshd && /usr/sbin/sshd -o ListenAddress=127.0.0.1:{port} -o PidFile=none"));
    port
}

/// Returns an ssh command line that needs no password.
pub(crate) fn ssh(root: &PrivateRoot, port: u16, person: &Person) -> Vec<String> {
    let home = &person.home;
    root.script(&format!(
        "mkdir -p -m 700 {home}/.ssh && ssh-keygen -q -t ed25519 -N '' -f {home}/.ssh/id && \
         cp {home}/.ssh/id.pub {home}/.ssh/authorized_keys && chown -R {0}:{0} {home}/.ssh",
        person.name
    ));
    let line = format!(
        "ssh -q -p {port} -i {home}/.ssh/id -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
         {}@127.0.0.1",
        person.name
    );
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn sshd_admits_a_user_who_holds_the_grant() {
    let person = doors().person(&["door"]);
    let ssh = ssh(doors(), sshd(doors()), &person);
    let words = [ssh, vec!["id -un".to_owned()]].concat();
    let output = doors().run_as(&person.name, &words);
    assert!(!output.status.success(), "{output:?}");
    request(doors(), &person, "door", &[]);
    assert_eq!(doors().run_as(&person.name, &words).succeeded(), person.name);
    doors().run_as(&person.name, ["jitctl", "release"]).succeeded();
    assert!(!doors().run_as(&person.name, &words).status.success());
}

#[test]
fn login_admits_a_user_who_holds_the_grant() {
    let person = doors().person(&["door"]);
    let mut session = doors().pty_as("root", ["login", &person.name]);
    session.type_password("Password:", &person.password);
    session.expect("you have no active grant of role door");
    assert!(!session.wait().success());
    request(doors(), &person, "door", &[]);
    let mut session = doors().pty_as("root", ["login", &person.name]);
    session.type_password("Password:", &person.password);
    session.expect(&format!("{}@web1", person.name));
    session.type_line("echo as $(id -un)");
    session.expect(&format!("as {}", person.name));
    session.type_line("exit");
    session.wait();
}

#[test]
fn a_host_keeps_its_signals_children_descriptors_and_streams() {
    let resident = doors().person(&["resident"]);
    stack(doors(), "resident", "role=open-door");
    for modes in [&["children"][..], &["deaf"], &["bare"], &["threads", "children"], &["rude"]] {
        let report = hosted(doors(), "root", &[&["resident", &resident.name, "110"], modes].concat());
        assert_eq!(report["answer"], 0, "{modes:?}: {report}");
        for unchanged in ["grown_fds", "deaths", "mask"] {
            assert_eq!(report[unchanged], 0, "{modes:?}: {unchanged} of {report}");
        }
        assert_eq!(report["children"], false, "{modes:?}: {report}");
    }
    let report = hosted(doors(), "root", &["door", &resident.name, "101", "rude"]);
    assert_ne!(report["answer"], 0, "a conversation that fails changes no refusal: {report}");
}

#[test]
fn a_panic_in_the_module_denies_and_the_program_lives() {
    let root = own_root();
    root.add_policy("doors", POLICY);
    root.write("/usr/local/lib/pam_host.py", 0o644, include_str!("pam_host.py"));
    root.script("mkdir /run/pam_jit_sudo-panics");
    let module = root.script("echo /usr/lib/*/security/pam_jit_sudo.so").trim().to_owned();
    // Built to panic wherever /run/pam_jit_sudo-panics holds a file with the name of the entry point.
    let words = ["-p", "pam_jit_sudo", "--features", "panics"];
    root.write(&module, 0o644, harness::extra(&words, "panics", "libpam_jit_sudo.so"));
    let lines: Vec<String> = ["auth", "account", "session"]
        .map(|facility| format!("{facility} required pam_jit_sudo.so role=open-door\n"))
        .into();
    root.write("/etc/pam.d/door", 0o644, lines.concat());
    root.write("/etc/pam.d/su", 0o644, lines.concat());
    let person = root.person(&["resident"]);
    let calls = ["authenticate", "acct_mgmt", "open_session", "close_session"];
    let plays = || root.as_root([&["pamtester", "door", &person.name][..], &calls].concat());
    plays().succeeded();
    root.run_as(&person.name, ["su", "-c", "id -u"]).succeeded();
    for entry in calls {
        root.script(&format!("touch /run/pam_jit_sudo-panics/{entry}"));
        let output = plays();
        assert_eq!(output.status.code(), Some(1), "pamtester says no, and was not killed: {entry}: {output:?}");
        assert!(!output.stderr.contains("panicked"), "{entry}: {output:?}");
        // All calls before the panic succeeded.
        let passed = calls.into_iter().take_while(|call| *call != entry).count();
        assert_eq!(output.stdout.lines().count(), passed, "{entry}: {output:?}");
        let line = eventually("a line in syslog", harness::PATIENCE, || logged(&root, "has panicked").pop());
        assert!(line.contains("denied: the module has panicked"), "{line}");
        let su = root.run_as(&person.name, ["su", "-c", "id -u"]);
        assert_eq!(su.status.signal(), None, "{entry}: {su:?}");
        // A command that has run when the end of its session is to be recorded has run.
        assert_eq!(su.stdout.trim(), if entry == "close_session" { "0" } else { "" }, "{entry}: {su:?}");
        root.script(&format!("rm /run/pam_jit_sudo-panics/{entry}"));
    }
    root.script("touch /run/pam_jit_sudo-panics/acct_mgmt");
    let report = hosted(&root, "root", &["door", &person.name, "400", "children"]);
    assert_eq!(report["answer"], 6, "PAM_PERM_DENIED each time: {report}");
    assert_eq!(report["grown_fds"], 0, "{report}");
    assert!(report["grown_kib"].as_i64().unwrap() < 512, "{report}");
}

#[test]
fn ten_thousand_loads_and_unloads_leave_nothing_behind() {
    let root = own_root();
    root.write("/usr/local/lib/pam_host.py", 0o644, include_str!("pam_host.py"));
    stack(&root, "door", "role=door");
    let person = root.person(&[]);
    let cycles = |more: &[&str]| {
        let report = hosted(&root, "root", &[&["door", &person.name], more].concat());
        assert_eq!((&report["grown_fds"], &report["deaths"]), (&Value::from(0), &Value::from(0)), "{report}");
        assert!(report["grown_kib"].as_i64().unwrap() < 512, "{report}");
        report["answer"].clone()
    };
    assert_eq!(cycles(&["10100", "setcred"]), 0);
    assert_ne!(cycles(&["300", "children"]), 0);
    root.script(&format!("rm {BROKER}"));
    assert_ne!(cycles(&["500", "children"]), 0);
}

#[test]
fn a_missing_killed_slow_or_faulty_broker_denies_access() {
    let root = own_root();
    root.add_policy("doors", POLICY);
    let person = root.person(&["resident"]);
    stack(&root, "door", "role=open-door");
    root.write("/etc/pam.d/seat", 0o644, "session required pam_jit_sudo.so role=open-door\n");
    assert!(enters(&root, "door", &person));
    root.script(&format!("mv {BROKER} {BROKER}.real"));
    let refused = |what: &str| {
        let output = asked(&root, "door", &person);
        assert!(!output.status.success(), "{what}: {output:?}");
        assert!(!output.stderr.contains("panicked") && !output.stderr.contains("hint"), "{what}: {output:?}");
        if what != "slow" {
            let output = root.as_root(["pamtester", "seat", &person.name, "open_session"]);
            assert!(!output.status.success(), "{what}: {output:?}");
        }
    };
    refused("missing");
    let yes = r#"{"ok":{"membership":{"holds":true,"role":"open-door"}}}"#;
    for script in [
        "kill -9 $$",
        "exit 0",
        "exec cat",
        "echo yes",
        "yes",
        "head -c 1000000 /dev/zero",
        "head -c 100000 /dev/urandom",
        &format!("printf '%s' '{}'; kill -9 $$", &yes[..30]),
        // An answer without a line end may be incomplete.
        &format!("printf '%s' '{yes}'"),
        &format!("echo '{yes} {yes}'"),
        &format!("echo '{}'", yes.replace("true", "1")),
        r#"echo '{"ok":{"roles":[]}}'"#,
        "exec <&- >&-; sleep 3",
    ] {
        root.write(BROKER, 0o755, format!("#!/bin/sh\n{script}\n"));
        refused(script);
    }
    root.write(BROKER, 0o755, format!("#!/bin/sh\nsleep 60\necho '{yes}'\n"));
    let begun = std::time::Instant::now();
    refused("slow");
    assert!(begun.elapsed() < Duration::from_secs(19), "{:?}", begun.elapsed());
    root.write(BROKER, 0o755, format!("#!/bin/sh\necho '{yes}'\n"));
    assert!(enters(&root, "door", &person), "the door itself works");
    root.script(&format!("mv {BROKER}.real {BROKER}"));
    assert!(enters(&root, "door", &person));
}
