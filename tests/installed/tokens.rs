//! docs/hardware-keys.md, typed exactly: OpenSSH's own ssh-keygen with a security key (tests/token, in software), approvals on
//! the host and from other machines; a key that was not touched, or belongs to another user, approves nothing.

use std::sync::OnceLock;

use harness::{Output, Person, PrivateRoot};

use crate::own_root;

const MANUAL: &str = include_str!("../../docs/hardware-keys.md");

/// The path of the token library for OpenSSH, in the root.
const PROVIDER: &str = "/usr/local/lib/token.so";

/// The part of the configuration that the manual leaves to its reader.
const ROLE: &str =
    "[roles.db-admin]\neligible = [\"alice\"]\ncommands = [\"/usr/local/bin/psql\"]\nauthenticate = false\n";

/// Returns a command, which must be in the manual.
#[track_caller]
fn written(command: &str) -> &str {
    assert!(MANUAL.contains(command), "the manual does not say: {command}");
    command
}

/// Returns the block of the manual in this language.
fn block(language: &str) -> &'static str {
    let (_, rest) = MANUAL.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// Returns a root in which psql is installed, the role requires `approvals`, and OpenSSH finds a token.
fn host(approvals: u32) -> PrivateRoot {
    static TOKEN: OnceLock<Vec<u8>> = OnceLock::new();
    let root = own_root();
    root.write(PROVIDER, 0o755, TOKEN.get_or_init(|| harness::extra(&["-p", "token"], "", "libtoken.so")));
    root.write(
        "/usr/local/bin/psql",
        0o755,
        "#!/bin/sh\necho psql as $(id -un)\nwhile [ -e /tmp/open ]; do sleep 0.1; done\n",
    );
    root.script("for name in bob carol; do install -d -o $name -m 700 /home/$name/.ssh; done");
    let terms = block("toml");
    assert!(terms.contains("approvals        = 2"), "{terms}");
    root.add_policy("db", &format!("{ROLE}{}", terms.replace("= 2", &format!("= {approvals}"))));
    root
}

/// A user who types in their home, with or without their token.
struct Context<'a> {
    root: &'a PrivateRoot,
    person: Person,
    touch: &'static str,
}

impl<'a> Context<'a> {
    fn of(root: &'a PrivateRoot, name: &str) -> Self {
        Self { root, person: root.user(name), touch: "always" }
    }

    /// Runs `jitctl approve` with a key that verifies its user, at a terminal, with this PIN; returns the success and the screen.
    fn approves_by_pin(&self, id: &str, pin: &str) -> (bool, String) {
        let words = ["jitctl", "approve", id, "--key", "verified"];
        let run = self.root.command(&self.person.name, words).cwd(&self.person.home);
        let mut session = run.env("SSH_SK_PROVIDER", PROVIDER).env("HOME", &self.person.home).on_terminal();
        session.type_password("Enter PIN for ED25519-SK key", pin);
        (session.wait().success(), session.screen())
    }

    fn types(&self, line: &str) -> Output {
        let words = ["bash", "-c", line];
        let run = self.root.command(&self.person.name, words).cwd(&self.person.home);
        run.env("SSH_SK_PROVIDER", PROVIDER).env("TOKEN_TOUCH", self.touch).env("HOME", &self.person.home).run()
    }

    /// Creates a key as the manual says, with these options; returns its public half.
    fn key(&self, line: &str, file: &str) -> String {
        let words = ["bash", "-c", line];
        let run = self.root.command(&self.person.name, words).cwd(&self.person.home);
        let run = run.env("SSH_SK_PROVIDER", PROVIDER).env("HOME", &self.person.home);
        let mut session = run.on_terminal();
        session.expect("You may need to touch your authenticator");
        session.expect("Enter file in which to save the key");
        session.type_line(file);
        session.expect("Enter passphrase");
        session.type_line("");
        session.expect("Enter same passphrase again");
        session.type_line("");
        assert!(session.wait().success(), "{}", session.screen());
        let file = if file.is_empty() { ".ssh/id_ed25519_sk" } else { file };
        self.root.read(&format!("{}/{file}.pub", self.person.home)).trim().to_owned()
    }
}

/// Returns the line of the manual's list of approvers for this key.
fn line(name: &str, key: &str) -> String {
    let example = block("text").lines().next().unwrap();
    let (options, _) = example.split_once(" sk-ssh").unwrap();
    let (kind, rest) = key.split_once(' ').unwrap();
    assert!(example.contains(&format!(" {kind} ")), "{kind}");
    // The date of the example will pass.
    let options = options.replacen("bob", name, 1).replace("20300101", "29991231");
    format!("{options} {kind} {}\n", rest.split(' ').next().unwrap())
}

fn list(root: &PrivateRoot, lines: &[String]) {
    root.write("/etc/jit-sudo/approvers", 0o644, lines.concat());
}

#[test]
fn the_hardware_key_guide_works_as_documented() {
    let root = host(2);
    let (alice, bob, carol) = (Context::of(&root, "alice"), Context::of(&root, "bob"), Context::of(&root, "carol"));
    let check = || root.as_root(["bash", "-c", written("jitctl policy check")]).succeeded().to_owned();
    assert!(check().contains("nobody has a key"), "{}", check());

    let make = written("ssh-keygen -t ed25519-sk -O resident -C bob@laptop");
    let bobs = bob.key(make, "");
    let carols = carol.key(&make.replace("bob@laptop", "carol@laptop"), "");
    assert!(bobs.starts_with("sk-ssh-ed25519@openssh.com ") && bobs.ends_with(" bob@laptop"), "{bobs}");
    list(&root, &[line("bob", &bobs), line("carol", &carols)]);
    assert!(!check().contains("nobody has a key"), "{}", check());

    // On the host, with a touch; and from another machine, by documents.
    let request = written("jitctl request --role db-admin --reason 'index is broken' --print -- psql >request.txt");
    alice.types(request).succeeded();
    let pending = alice.types("jitctl --json requests").json();
    let id = pending["requests"][0]["id"].as_str().unwrap_or_else(|| panic!("{pending}"));
    let said = bob.types(&written("jitctl approve 4k2 --key ~/.ssh/id_ed25519_sk").replace("4k2", id));
    assert!(said.succeeded().contains("1 of 2"), "{said:?}");
    assert!(said.stderr.contains("Confirm user presence for key ED25519-SK"), "a touch is asked for: {said:?}");
    alice.types("jit-sudo -n psql").refused("Sorry");

    root.script("cp /home/alice/request.txt /home/carol/; cp /home/alice/request.txt /home/bob/");
    let shown = bob.types(written("jitctl show - <request.txt"));
    assert!(shown.succeeded().contains("index is broken"), "{shown:?}");
    let approve = written("jitctl approve - --key ~/.ssh/id_ed25519_sk --as bob <request.txt >approval.txt");
    let approve = approve.replace("--as bob", "--as carol");
    let asleep = Context { touch: "never", ..Context::of(&root, "carol") };
    assert!(!asleep.types(&approve).status.success());
    carol.types(&approve).succeeded();
    root.script("cp /home/carol/approval.txt /home/alice/");
    let said = alice.types(written("jitctl import approval.txt"));
    assert!(said.succeeded().contains("approved"), "{said:?}");
    assert_eq!(alice.types("jit-sudo -n psql").succeeded(), "psql as root");

    // The signed documents can be verified anywhere.
    let said = alice.types(&format!("jitctl show {id} --export evidence"));
    let checks: Vec<&str> = said.succeeded().lines().filter(|line| line.starts_with("ssh-keygen")).collect();
    assert_eq!(checks.len(), 4, "request, two approvals, grant: {said:?}");
    for check in checks {
        let judged = alice.types(&format!("cd evidence && {check}"));
        assert!(judged.status.success() && judged.stdout.contains("Good"), "{check}: {judged:?}");
    }

    // A lost key: without its line its grants are no longer valid; running commands continue until they are revoked.
    root.script("touch /tmp/open");
    let mut session = root.pty_as("alice", ["jit-sudo", "-n", "psql"]);
    session.expect("psql as root");
    list(&root, &[line("carol", &carols)]);
    alice.types("jit-sudo -n psql").refused("is not theirs");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(!session.screen().contains("jit-sudo:"), "{}", session.screen());
    root.as_root(["bash", "-c", written("jitctl revoke --all --reason 'lost key'")]).succeeded();
    session.expect("was revoked by root (\"lost key\"): the command is ended");
    session.wait();
    list(&root, &[line("bob", &bobs), line("carol", &carols)]);
    alice.types("jit-sudo -n psql").refused("you have no active grant");
}

#[test]
fn a_token_that_was_not_touched_or_is_another_approvers_approves_nothing() {
    let root = host(1);
    let (alice, bob, carol) = (Context::of(&root, "alice"), Context::of(&root, "bob"), Context::of(&root, "carol"));
    let bobs = bob.key("ssh-keygen -t ed25519-sk", "");
    let lazy = bob.key("ssh-keygen -t ed25519-sk -O no-touch-required", "lazy");
    let carols = carol.key("ssh-keygen -t ed25519-sk", "");
    list(&root, &[line("bob", &bobs), line("bob", &lazy), line("carol", &carols)]);
    alice.types("jitctl request --role db-admin --reason x --print -- psql >/tmp/request.txt").succeeded();
    let refused = |said: Output, why: &str| {
        assert!(!said.status.success() && said.stderr.contains(why), "{why}: {said:?}");
        alice.types("jit-sudo -n psql").refused("Sorry");
    };

    let asleep = Context { touch: "never", ..Context::of(&root, "bob") };
    refused(
        asleep.types("jitctl approve - --key ~/.ssh/id_ed25519_sk --as bob </tmp/request.txt"),
        "ssh-keygen cannot sign with",
    );
    // A key that signs without a touch: jitctl rejects it, and without jitctl the host does.
    refused(bob.types("jitctl approve - --key lazy --as bob </tmp/request.txt"), "a security key must be touched");
    let past = |key: &str, name: &str| {
        format!(
            "rm -f approval approval.sig; jitctl approve - --unsigned --as {name} </tmp/request.txt >approval 2>/dev/null
             ssh-keygen -q -Y sign -f {key} -n jit-sudo/approval/v1 approval && jitctl import approval approval.sig"
        )
    };
    refused(bob.types(&past("lazy", "bob")), "touched");
    // The key of another user, even of an approver.
    refused(carol.types(&past("~/.ssh/id_ed25519_sk", "bob")), "is not theirs");
    refused(
        carol.types("jitctl approve - --key ~/.ssh/id_ed25519_sk --as bob </tmp/request.txt | jitctl import"),
        "is not theirs",
    );
    // With the right key, touched, by plain ssh-keygen.
    bob.types(&past("~/.ssh/id_ed25519_sk", "bob")).succeeded();
    assert_eq!(alice.types("jit-sudo -n psql").succeeded(), "psql as root");
}

#[test]
fn where_the_role_wants_a_verified_user_a_touch_or_a_file_approves_nothing() {
    let root = host(1);
    let set = |more: &str| {
        root.add_policy("db", &format!("{ROLE}{}{more}\n", block("toml").replace("= 2", "= 1")));
    };
    let (alice, bob) = (Context::of(&root, "alice"), Context::of(&root, "bob"));
    let touched = bob.key("ssh-keygen -t ed25519-sk", "");
    let verified = bob.key(&format!("ssh-keygen -t ed25519-sk {}", written("-O verify-required")), "verified");
    bob.types("ssh-keygen -q -t ed25519 -N '' -C '' -f plain").succeeded();
    let plain = root.read(&format!("{}/plain.pub", bob.person.home));
    let plain = format!("bob {}\n", plain.trim());
    let all = [line("bob", &touched), line("bob", &verified), plain];
    list(&root, &all);
    let ask = || {
        alice.types("jitctl request --role db-admin --reason x -- psql").succeeded();
        let pending = alice.types("jitctl --json requests").json();
        pending["requests"][0]["id"].as_str().unwrap_or_else(|| panic!("{pending}")).to_owned()
    };
    let why = "the approval of bob must be signed with a security key that verified its user";

    // Approved with a touch while that was enough; then it is not enough, and then it is again.
    set("");
    let touch = ask();
    bob.types(&format!("jitctl approve {touch} --key .ssh/id_ed25519_sk")).succeeded();
    alice.types("jit-sudo -n psql").succeeded();
    let strict = written("user_verification = true");
    set(strict);
    alice.types("jit-sudo -n psql").refused(why);
    set("");
    alice.types("jit-sudo -n psql").succeeded();
    alice.types("jitctl release").succeeded();

    // At the time of the approval.
    set(strict);
    let pending = ask();
    for key in [".ssh/id_ed25519_sk", "plain"] {
        let said = bob.types(&format!("jitctl approve {pending} --key {key}"));
        assert!(!said.status.success() && said.stderr.contains(why), "{key}: {said:?}");
        assert!(said.stderr.contains("hint: ssh-keygen -t ed25519-sk -O verify-required"), "{said:?}");
    }
    let (done, screen) = bob.approves_by_pin(&pending, "4321");
    assert!(!done && screen.contains("ssh-keygen cannot sign with"), "{screen}");
    alice.types("jit-sudo -n psql").refused("waits for the approval of");
    let (done, screen) = bob.approves_by_pin(&pending, "1234");
    assert!(done && screen.contains("the grant is active"), "{screen}");
    alice.types("jit-sudo -n psql").succeeded();
    let approvals = root.journal().into_iter().filter(|record| record.kind() == "approval").collect::<Vec<_>>();
    assert!(approvals.iter().all(|record| record.text("authenticated") == "key"), "{approvals:?}");
    assert_eq!(approvals.len(), 2, "what was refused is no approval");

    // The list also applies to these keys.
    list(&root, &all[..1]);
    alice.types("jit-sudo -n psql").refused("is not theirs");
    list(&root, &all);
    alice.types("jit-sudo -n psql").succeeded();
}

#[test]
fn an_approval_by_touch_does_not_count_for_a_quorum_that_wants_verified_users_by_now() {
    let root = host(2);
    let set = |more: &str| root.add_policy("db", &format!("{ROLE}{}{more}\n", block("toml")));
    let (alice, bob, carol) = (Context::of(&root, "alice"), Context::of(&root, "bob"), Context::of(&root, "carol"));
    let bobs = bob.key("ssh-keygen -t ed25519-sk", "");
    let carols = carol.key("ssh-keygen -t ed25519-sk -O verify-required", "verified");
    let again = bob.key("ssh-keygen -t ed25519-sk -O verify-required", "verified");
    list(&root, &[line("bob", &bobs), line("carol", &carols), line("bob", &again)]);
    set("");
    alice.types("jitctl request --role db-admin --reason x -- psql").succeeded();
    let pending = alice.types("jitctl --json requests").json();
    let id = pending["requests"][0]["id"].as_str().unwrap_or_else(|| panic!("{pending}"));
    bob.types(&format!("jitctl approve {id} --key .ssh/id_ed25519_sk")).succeeded();
    set("user_verification = true");
    assert!(carol.approves_by_pin(id, "1234").0);
    alice.types("jit-sudo -n psql").refused("waits for the approval of");
    // An approval of the same second has the same bytes, and counts as given.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(bob.approves_by_pin(id, "1234").0);
    alice.types("jit-sudo -n psql").succeeded();
}
