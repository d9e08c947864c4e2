//! A running private root. Starts it, accesses its files, and verifies that the product in it is the real one.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use crate::evidence::{self, Record, SyslogLine};
use crate::person::{self, Person};
use crate::pty::PtySession;
use crate::run::{Output, Run};

/// A private root; it ends, with everything in it, when the value is dropped or the process that created it dies.
pub struct PrivateRoot {
    init: u32,
    script: Child,
    people: Mutex<HashMap<String, Person>>,
}

impl PrivateRoot {
    /// Returns the root that all tests of one binary share.
    pub fn shared() -> &'static PrivateRoot {
        static SHARED: OnceLock<PrivateRoot> = OnceLock::new();
        SHARED.get_or_init(PrivateRoot::start)
    }

    /// Starts a new root, in about half a second. `PROFILE` in the environment selects the build that is installed (`dev`).
    pub fn start() -> PrivateRoot {
        let profile = std::env::var("PROFILE").unwrap_or_else(|_| "dev".to_owned());
        build(&profile);
        let mut script = Command::new(project().join("tests/private-root"));
        script.env("PROFILE", &profile);
        PrivateRoot::held_by(script)
    }

    /// Starts a new root with another version: the release build of its checkout, which is not rebuilt. `target` is its target
    /// directory where that is not in the checkout.
    pub fn start_of(checkout: &Path, target: Option<&Path>) -> PrivateRoot {
        let mut script = Command::new(checkout.join("tests/private-root"));
        script.env("PROFILE", "release").env_remove("CARGO_TARGET_DIR");
        script.envs(target.map(|target| ("CARGO_TARGET_DIR", target)));
        PrivateRoot::held_by(script)
    }

    fn held_by(mut script: Command) -> PrivateRoot {
        let mut script = script
            .arg("hold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("tests/private-root cannot be started: {error}"));
        let mut line = String::new();
        if let Some(stdout) = script.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        let Ok(init) = line.trim().parse() else {
            let mut said = String::new();
            if let Some(mut stderr) = script.stderr.take() {
                let _ = stderr.read_to_string(&mut said);
            }
            panic!("tests/private-root did not come up:\n{said}");
        };
        let root = PrivateRoot { init, script, people: Mutex::default() };
        root.assert_real();
        root
    }

    /// Returns the pid, on the host, of the root's first process.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// Returns the path on the host of a file of the root.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }

    /// Returns the text of a file in the root.
    pub fn read(&self, inside: &str) -> String {
        let bytes = fs::read(self.path(inside)).unwrap_or_else(|error| panic!("{inside} cannot be read: {error}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Writes a file of the root, owned by root, with these permission bits.
    pub fn write(&self, inside: &str, mode: u32, text: impl AsRef<[u8]>) {
        let path = self.path(inside);
        let beside = path.with_extension("harness-new");
        let written = fs::write(&beside, text)
            .and_then(|()| fs::set_permissions(&beside, fs::Permissions::from_mode(mode)))
            .and_then(|()| fs::rename(&beside, &path));
        written.unwrap_or_else(|error| panic!("{inside} cannot be written: {error}"));
    }

    /// Adds a policy file to the installed default; the whole policy must be valid with it.
    pub fn add_policy(&self, name: &str, text: &str) {
        self.write(&format!("/etc/jit-sudo/policy.d/{name}.toml"), 0o640, text);
        let check = self.as_root(["jitctl", "policy", "check"]);
        assert!(check.status.success(), "the policy of this test is not valid: {check:?}");
    }

    /// Replaces the installed policy, valid or not.
    pub fn write_policy(&self, text: &str) {
        self.write("/etc/jit-sudo/policy.toml", 0o640, text);
    }

    /// Returns a user that the root starts with, or that [`PrivateRoot::person`] created.
    pub fn user(&self, name: &str) -> Person {
        let mut people = self.people.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = people.get(name) {
            return known.clone();
        }
        let found = person::find(self, name);
        people.insert(name.to_owned(), found.clone());
        found
    }

    /// Creates a user in these groups (created where missing), with a password and a home, that no other test uses.
    pub fn person(&self, groups: &[&str]) -> Person {
        let mut people = self.people.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let name = format!("person{}", people.len());
        let made = person::make(self, &name, groups);
        people.insert(name, made.clone());
        made
    }

    /// Returns a command to be run in the root by `user`; see [`Run`] for its options.
    pub fn command<W: AsRef<std::ffi::OsStr>>(&self, user: &str, words: impl IntoIterator<Item = W>) -> Run<'_> {
        Run::new(self, if user == "root" { Person::root() } else { self.user(user) }, words)
    }

    /// Runs a command as a user without a terminal and with empty standard input.
    pub fn run_as<W: AsRef<std::ffi::OsStr>>(&self, user: &str, words: impl IntoIterator<Item = W>) -> Output {
        self.command(user, words).run()
    }

    /// Runs a command as root.
    pub fn as_root<W: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Output {
        self.command("root", words).run()
    }

    /// Runs a shell script as root that must succeed, and returns its output.
    pub fn script(&self, text: &str) -> String {
        let output = self.as_root(["sh", "-euc", text]);
        assert!(output.status.success(), "{text}\n{output:?}");
        output.stdout
    }

    /// Starts a command as a user on a terminal of its own.
    pub fn pty_as<W: AsRef<std::ffi::OsStr>>(&self, user: &str, words: impl IntoIterator<Item = W>) -> PtySession {
        self.command(user, words).on_terminal()
    }

    /// Returns every record of the journal, in order, from the database and not through the product.
    pub fn journal(&self) -> Vec<Record> {
        evidence::journal(self)
    }

    /// Returns what rsyslog has stored of jit-sudo so far, as its own JSON parser parsed it.
    pub fn syslog(&self) -> Vec<SyslogLine> {
        evidence::syslog(self)
    }

    /// Returns what rsyslog has stored of all programs, in its traditional format.
    pub fn auth_log(&self) -> Vec<String> {
        evidence::auth_log(self)
    }

    /// Checks that the installed programs are the real setuid programs: a test of anything else would prove nothing.
    fn assert_real(&self) {
        for program in ["/usr/bin/jit-sudo", "/usr/libexec/jit-sudo/jit-sudo-broker"] {
            let status = fs::metadata(self.path(program)).unwrap_or_else(|error| panic!("{program}: {error}"));
            assert_eq!((status.uid(), status.mode() & 0o7777), (0, 0o4755), "{program} is not setuid root (uid, mode)");
        }
        // Also checks that the setuid bit has an effect here: a setuid id(1) shows that it runs as root for alice.
        self.script("install -m 4755 /usr/bin/id /run/setuid-id");
        let seen = self.run_as("alice", ["/run/setuid-id", "-u"]);
        assert_eq!(seen.stdout.trim(), "0", "the setuid bit has no effect in the private root: {seen:?}");
    }
}

impl Drop for PrivateRoot {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// Returns the directory of the project.
pub fn project() -> &'static Path {
    static PROJECT: OnceLock<PathBuf> = OnceLock::new();
    PROJECT.get_or_init(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap_or_default())
}

/// Builds something with cargo that is not installed, with these additional arguments, in `place` below the target directory.
/// Returns the bytes of `file` there. A build with other features than the product needs a directory of its own.
pub fn extra(words: &[&str], place: &str, file: &str) -> Vec<u8> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project().join("target"), PathBuf::from).join(place);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let made = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--target-dir"])
        .arg(&target)
        .args(words)
        .current_dir(project())
        .status();
    assert!(made.is_ok_and(|status| status.success()), "cargo build {words:?} failed");
    let file = target.join("debug").join(file);
    fs::read(&file).unwrap_or_else(|error| panic!("{file:?} was not made: {error}"))
}

/// Builds the programs, once per process: cargo has built this test but perhaps not jitctl.
fn build(profile: &str) {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let made = Command::new("make")
            .args(["--silent", "build"])
            .arg(format!("PROFILE={profile}"))
            .current_dir(project())
            .status();
        assert!(made.is_ok_and(|status| status.success()), "make build PROFILE={profile} failed");
    });
}
