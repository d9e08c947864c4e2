//! A scripted broker in a directory of its own, and calls of jitctl with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use jit_core::escape::Word;
use jit_core::names::{GrantId, RoleName, UserName};
use jit_core::wire::{Failure, GrantInfo, GrantPage, Reply, Roles, Verb};
use serde_json::Value;

/// The result of a call.
pub(crate) struct Called {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A valid reply of the broker.
pub(crate) struct Answer(Vec<u8>);

impl Answer {
    /// Returns an answer to this verb.
    pub(crate) fn to<V: Verb>(answer: V::Answer) -> Self {
        Self(serde_json::to_vec(&Reply::<V>::Ok(answer)).unwrap())
    }

    /// Returns the value that jitctl prints for it with `--json`, where a listing is not divided into pages.
    pub(crate) fn shown(&self) -> Value {
        let mut reply: Value = serde_json::from_slice(&self.0).unwrap();
        let mut answer = reply["ok"].take();
        for value in answer.as_object_mut().unwrap().values_mut() {
            if let Some(entries) = value.get_mut("entries") {
                *value = entries.take();
            }
        }
        answer
    }
}

/// Returns a listing of one page.
pub(crate) fn listed(entries: Vec<GrantInfo>) -> GrantPage {
    GrantPage { entries, before: None }
}

/// One test's broker; its directory is removed at the end.
pub(crate) struct Scripted {
    directory: PathBuf,
}

impl Scripted {
    /// Returns a broker that ends without an answer (exit status 7).
    pub(crate) fn silent() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("jitctl-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripted/broker.sh");
        std::os::unix::fs::symlink(script, directory.join("broker")).unwrap();
        Self { directory }
    }

    /// Returns a broker that always gives this answer.
    pub(crate) fn answering(answer: Answer) -> Self {
        Self::silent().with("reply", answer.0)
    }

    /// Returns a broker that gives these answers in order.
    pub(crate) fn answering_in_turn(answers: impl IntoIterator<Item = Answer>) -> Self {
        let broker = Self::silent();
        answers
            .into_iter()
            .zip(1..)
            .fold(broker, |broker, (answer, number)| broker.with(&format!("reply.{number}"), answer.0))
    }

    /// Returns a broker that refuses.
    pub(crate) fn refusing(message: &str, hint: Option<&str>, exit: u8) -> Self {
        let failure = Failure {
            code: "not-eligible".to_owned(),
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
            exit,
        };
        Self::silent().with("reply", serde_json::to_vec(&Reply::<Roles>::Error(failure)).unwrap())
    }

    /// Adds a file for the script.
    pub(crate) fn with(self, file: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.directory.join(file), content).unwrap();
        self
    }

    /// Returns the path of a file of this test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Returns a file that the script wrote.
    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Returns the number of requests.
    pub(crate) fn times_asked(&self) -> usize {
        (1..).take_while(|number| self.directory.join(format!("ask.{number}")).exists()).count()
    }

    /// Returns the first request.
    pub(crate) fn asked(&self) -> Value {
        serde_json::from_str(&self.file("ask.1")).unwrap()
    }

    /// Prepares a call of jitctl with this broker, UTC, no terminal.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().and_then(Path::parent).unwrap().join("examples/jitctl-at");
        assert!(program.exists(), "{} is missing: run the whole `cargo test -p jitctl`", program.display());
        let mut command = Command::new(program);
        command.arg(self.directory.join("broker")).args(words);
        command.env("TZ", "UTC").env("SECRET_OF_CALLER", "x").env_remove("COLUMNS");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts jitctl.
    pub(crate) fn start(&self, words: &[&str]) -> Child {
        self.command(words).spawn().unwrap()
    }

    /// Runs jitctl and waits for it.
    pub(crate) fn call(&self, words: &[&str]) -> Called {
        finish(self.start(words))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Waits for a started jitctl; a signal counts as a negative status.
pub(crate) fn finish(child: Child) -> Called {
    let output = child.wait_with_output().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    Called {
        status: output.status.code().or(signal.map(|signal| -signal)).unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Returns a pending request of alice that bob may decide and that expires in an hour.
pub(crate) fn pending() -> GrantInfo {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    GrantInfo {
        id: GrantId::parse("0123456789").unwrap(),
        state: "pending".into(),
        grant: None,
        requester: UserName::parse("alice").unwrap(),
        requester_uid: 1001,
        role: RoleName::parse("web-ops").unwrap(),
        run_as: "root".into(),
        command: ["/usr/bin/systemctl", "restart", "nginx"].map(Word::from).to_vec(),
        command_bytes: None,
        bound: None,
        sha256: Some("ab".repeat(32)),
        reason: "disk full".into(),
        ticket: None,
        duration: jit_core::clock::duration::Seconds(3600),
        requested: now - 3610,
        deadline: now + 3600,
        starts: None,
        expires: None,
        one_shot: false,
        exact: false,
        approvals_needed: 1,
        approvers: vec!["bob".into()],
        approvals: Vec::new(),
        may_decide: true,
        ended: None,
        runs: 0,
        background: None,
        host: None,
        extends: None,
        extended_by: None,
        signed_approvals: false,
        break_glass: false,
        role_changed: false,
    }
}

/// Returns the same, approved and active.
pub(crate) fn active() -> GrantInfo {
    let mut info = pending();
    info.state = "approved".into();
    info.grant = Some("active".into());
    info.starts = Some(info.requested + 3600);
    info.expires = Some(info.requested + 3600 + 3600);
    info
}
