//! One command in the private root: its user, its environment and its result.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::PATIENCE;
use crate::person::Person;
use crate::pty::PtySession;
use crate::root::PrivateRoot;

/// A command that is not started yet.
#[must_use]
pub struct Run<'a> {
    root: &'a PrivateRoot,
    person: Person,
    words: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    directory: String,
    stdin: Vec<u8>,
    patience: Duration,
}

impl<'a> Run<'a> {
    pub(crate) fn new<W: AsRef<OsStr>>(
        root: &'a PrivateRoot,
        person: Person,
        words: impl IntoIterator<Item = W>,
    ) -> Run<'a> {
        let path = if person.uid == 0 {
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        } else {
            "/usr/local/bin:/usr/bin:/bin"
        };
        let environment = [
            ("HOME", person.home.as_str()),
            ("LANG", "C.UTF-8"),
            ("LOGNAME", &person.name),
            ("PATH", path),
            ("SHELL", "/bin/bash"),
            ("TERM", "xterm"),
            ("USER", &person.name),
        ]
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
        let directory = person.home.clone();
        let words = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        Run { root, person, words, environment, directory, stdin: Vec::new(), patience: PATIENCE }
    }

    /// Sets a variable of the command's environment, which otherwise holds only what login sets.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Sets the standard input; only without a terminal.
    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = bytes.as_ref().to_owned();
        self
    }

    /// Sets the working directory; the default is the home directory.
    pub fn cwd(mut self, directory: &str) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    /// Sets how long the command may take; the default is 20 seconds.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Runs it in a session of its own without a terminal. Panics when it takes too long.
    pub fn run(self) -> Output {
        let what = self.to_string();
        let (patience, stdin) = (self.patience, self.stdin.clone());
        let mut command = self.enter(Session::Detached);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("nsenter cannot be started: {error}"));
        if let Some(mut pipe) = child.stdin.take() {
            // A command may end without reading its input, and one that prints before it reads must not block on the test.
            thread::spawn(move || pipe.write_all(&stdin));
        }
        let stdout = child.stdout.take().map(Collector::start);
        let stderr = child.stderr.take().map(Collector::start);
        let status = wait(&mut child, patience);
        let [stdout, stderr] = [stdout, stderr].map(|collector| collector.map(Collector::finish).unwrap_or_default());
        let Some(status) = status else {
            panic!("`{what}` took longer than {patience:?}\nstdout: {}\nstderr: {}", text(&stdout), text(&stderr));
        };
        Output { status: Status(status), stdout: text(&stdout), stderr: text(&stderr), raw_stdout: stdout }
    }

    /// Starts it as the session leader of a new terminal.
    pub fn on_terminal(self) -> PtySession {
        let what = self.to_string();
        let (uid, patience) = (self.person.uid, self.patience);
        PtySession::start(what, uid, patience, self.enter(Session::OnTerminal))
    }

    /// Returns the command that enters the root's namespaces and cgroup, becomes the user and executes the command itself.
    fn enter(self, session: Session) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.root.init()));
        command.args(["--mount", "--uts", "--pid", "--cgroup", "--", "/bin/sh", "-c"]);
        command.arg("echo 0 2>/dev/null >/sys/fs/cgroup/cgroup.procs; cd \"$1\" && shift && exec \"$@\"");
        command.arg("sh").arg(&self.directory).arg("setsid");
        if matches!(session, Session::OnTerminal) {
            command.arg("--ctty");
        }
        if self.person.uid != 0 {
            let Person { uid, gid, .. } = self.person;
            command.arg("setpriv").args([format!("--reuid={uid}"), format!("--regid={gid}")]).arg("--init-groups");
        }
        // The user that runs the tests may ignore signals (nohup); a login does not.
        command.args(["env", "-i", "--default-signal"]);
        for (name, value) in &self.environment {
            let mut entry = name.clone();
            entry.push("=");
            entry.push(value);
            command.arg(entry);
        }
        command.args(&self.words);
        command.current_dir("/").process_group(0);
        command
    }
}

impl fmt::Display for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}$", self.person.name)?;
        self.words.iter().try_for_each(|word| write!(f, " {}", word.to_string_lossy()))
    }
}

#[derive(Clone, Copy)]
enum Session {
    Detached,
    OnTerminal,
}

/// The result of a command.
#[derive(Clone)]
#[must_use]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// Standard output, with U+FFFD for bytes that are not UTF-8.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Standard output, unchanged.
    pub raw_stdout: Vec<u8>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}\n--- stdout\n{}\n--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

impl Output {
    /// Panics unless the command succeeded; returns its output without the final newline.
    #[track_caller]
    pub fn succeeded(&self) -> &str {
        assert!(self.status.success(), "{self:?}");
        self.stdout.trim_end_matches('\n')
    }

    /// Panics unless `jitctl audit verify` found the journal intact, with or without a signed head from elsewhere; returns its
    /// output without the final newline.
    #[track_caller]
    pub fn intact(&self) -> &str {
        assert!(matches!(self.status.code(), Some(0 | 5)), "{self:?}");
        self.stdout.trim_end_matches('\n')
    }

    /// Panics unless it exited with this status.
    #[track_caller]
    pub fn exited(&self, status: i32) {
        assert_eq!(self.status.code(), Some(status), "{self:?}");
    }

    /// Panics unless it exited with status 1, printed nothing on standard output, and printed on standard error, in lines with
    /// the prefix of jit-sudo and without a sign of a crash, text that contains `sentence`.
    #[track_caller]
    pub fn refused(&self, sentence: &str) -> &str {
        assert_eq!(self.status.code(), Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "a refusal prints nothing on standard output: {self:?}");
        assert!(self.stderr.contains(sentence), "expected '{sentence}' on standard error: {self:?}");
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("RUST_BACKTRACE"), "{self:?}");
        &self.stderr
    }

    /// Parses standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("not JSON ({error}): {self:?}"),
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status(pub(crate) ExitStatus);

impl Status {
    /// Whether it exited with 0.
    pub fn success(self) -> bool {
        self.0.success()
    }

    /// Returns the exit status, unless a signal ended it.
    pub fn code(self) -> Option<i32> {
        self.0.code()
    }

    /// Returns the signal that ended it.
    pub fn signal(self) -> Option<i32> {
        self.0.signal()
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Waits for a child, and kills it and all its descendants when it takes longer than `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
            _ => {
                kill_tree(child.id());
                let _ = child.wait();
                return None;
            }
        }
    }
}

/// Kills a process and its descendants: killing nsenter does not kill its child.
pub(crate) fn kill_tree(top: u32) {
    for pid in tree(top) {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}

/// Returns a process and its descendants.
fn tree(top: u32) -> Vec<u32> {
    let mut found = vec![top];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        next += 1;
    }
    found
}

/// Returns a line for each of these processes: its state, where in the kernel it waits, its control group and its command.
pub(crate) fn describe_tree(top: u32) -> String {
    let describe = |pid: u32| {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let (status, group, command) = (read("status"), read("cgroup"), read("cmdline").replace('\0', " "));
        let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or("\t?").trim_start();
        let group = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("?");
        format!("{pid} {state} {} {group} {command}", read("wchan"))
    };
    tree(top).into_iter().map(describe).collect::<Vec<_>>().join("\n")
}

/// Reads a pipe to its end in a thread.
struct Collector {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<()>,
}

impl Collector {
    fn start(mut pipe: impl Read + Send + 'static) -> Collector {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = mpsc::channel();
        let target = Arc::clone(&bytes);
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                target.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend_from_slice(&buffer[..count]);
            }
            let _ = end.send(());
        });
        Collector { bytes, ended }
    }

    /// Returns what was read. A command left in the background may keep the pipe open; this does not wait for it.
    fn finish(self) -> Vec<u8> {
        let _ = self.ended.recv_timeout(Duration::from_millis(500));
        self.bytes.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
