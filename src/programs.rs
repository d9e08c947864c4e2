//! Our own programs: how they are started and recognized. Never by a name that a process can choose for itself.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jit_core::places::{BROKER, ENFORCER, HOOK_RUNNER, JIT_SUDO, SHRINKER};
use sys::cgroup::Cgroup;
use sys::poll::{PollEntry, poll};
use sys::process::{self, Pid, WaitEvent, Waiting, kill, open_process, spawn_apart};
use sys::programs::{KnownFile, Programs};
use sys::signals::SIGKILL;

/// Starts the enforcer in a session of its own, in `group`, with `order` as its standard input, and does not wait.
///
/// # Errors
/// Fails when it cannot be started.
pub fn start_enforcer(order: &[u8], group: Option<&Cgroup>) -> io::Result<Pid> {
    spawn_apart(enforcer(order)?.stdout(Stdio::null()), group)
}

/// Starts the enforcer like [`start_enforcer`], with `line` as its standard output.
///
/// # Errors
/// Fails when it cannot be started.
pub fn start_reporting_enforcer(order: &[u8], line: Option<&OwnedFd>, group: Option<&Cgroup>) -> io::Result<Pid> {
    let output = line.map(OwnedFd::try_clone).transpose()?;
    spawn_apart(enforcer(order)?.stdout(output.map_or_else(Stdio::null, Stdio::from)), group)
}

/// The name of a child of ours that was started to execute a command or a program of the caller's, and has not done so: it is not one
/// of our programs. A command may take this name too, and is then killed where others are asked to end.
pub const UNBORN: &str = "jit-sudo: start";

/// The longest answer, in bytes.
const ANSWER_LIMIT: usize = 64 << 10;

/// What may end a wait early.
pub struct Attention<'a> {
    /// Readable when [`Self::leaves`] has something to look at.
    pub other: BorrowedFd<'a>,
    /// Whether the wait ends.
    pub leaves: &'a dyn Fn() -> bool,
}

/// Starts the enforcer like [`start_enforcer`] and waits at most `patience` for its answer. Afterwards its standard output is
/// closed, from which it can tell that no process waits.
///
/// # Errors
/// Also fails with `TimedOut` when it has not ended by then, with `InvalidData` when it writes more than 64 KiB, and with
/// `Interrupted` when `attention` ends the wait.
pub fn ask_enforcer(
    order: &[u8],
    group: Option<&Cgroup>,
    patience: Duration,
    attention: &Attention<'_>,
) -> io::Result<Vec<u8>> {
    let (hearing, speaking) = io::pipe()?;
    let mut command = enforcer(order)?;
    let child = spawn_apart(command.stdout(speaking), group)?;
    drop(command); // and with it our copy of the end that it speaks into
    let heard = hear(hearing, Instant::now() + patience, ANSWER_LIMIT, Some(attention));
    // Who is silent for good has ended; for another nobody waits.
    let _ = process::wait(child, if heard.is_ok() { Waiting::ForEnd } else { Waiting::EndNow });
    heard
}

/// Why a program gave no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// It could not be started.
    Start(io::Error),
    /// It had not ended by then, and was killed.
    Late(Duration),
    /// It said more than so many bytes, and was killed.
    Long(usize),
    /// It did not end by itself with status 0.
    Ended(WaitEvent),
    /// The kernel did not answer.
    System(io::Error),
}

/// Has `program` answer a request in at most `limit` bytes, and waits for its end, at most `patience`. Then it has ended, or was
/// killed.
///
/// # Errors
/// Each answer that is not whole is none.
pub fn ask(
    program: &str,
    request: &[u8],
    group: Option<&Cgroup>,
    patience: Duration,
    limit: usize,
) -> Result<Vec<u8>, Unanswered> {
    let deadline = Instant::now() + patience;
    let (hearing, speaking) = io::pipe().map_err(Unanswered::System)?;
    let mut command = program_of_ours(program, request).map_err(Unanswered::System)?;
    let child = spawn_apart(command.stdout(speaking), group).map_err(Unanswered::Start)?;
    drop(command); // and with it our copy of the end that it speaks into
    let heard = hear(hearing, deadline, limit, None);
    let ended = heard.is_ok().then(|| end_of(child, deadline));
    if !matches!(ended, Some(Ok(Some(_)))) {
        // Where it may not be killed (no CAP_KILL), its own limits end it, and nobody waits for that.
        let waiting = if kill(child, SIGKILL).is_ok() { Waiting::ForEnd } else { Waiting::EndNow };
        let _ = process::wait(child, waiting);
    }
    match (heard, ended) {
        (Ok(answer), Some(Ok(Some(WaitEvent::Exited(0))))) => Ok(answer),
        (_, Some(Ok(Some(event)))) => Err(Unanswered::Ended(event)),
        (_, Some(Ok(None))) => Err(Unanswered::Late(patience)),
        (Err(error), _) if error.kind() == ErrorKind::TimedOut => Err(Unanswered::Late(patience)),
        (Err(error), _) if error.kind() == ErrorKind::InvalidData => Err(Unanswered::Long(limit)),
        (Err(error), _) | (_, Some(Err(error))) => Err(Unanswered::System(error)),
        (Ok(_), None) => Err(Unanswered::System(ErrorKind::InvalidData.into())),
    }
}

/// How a child has ended; nothing where it has not by then.
fn end_of(child: Pid, deadline: Instant) -> io::Result<Option<WaitEvent>> {
    /// Between two looks where the kernel has no descriptor of a process.
    const PAUSE: Duration = Duration::from_millis(5);
    let end = open_process(child).ok();
    loop {
        if let Some((event, _)) = process::wait(child, Waiting::EndNow)? {
            return Ok(Some(event));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut entries: Vec<PollEntry<'_>> = end.iter().map(|end| PollEntry::reading(end.as_fd())).collect();
        poll(&mut entries, Some(if end.is_some() { left } else { left.min(PAUSE) }))?;
    }
}

fn enforcer(order: &[u8]) -> io::Result<Command> {
    program_of_ours(ENFORCER, order)
}

/// One that reads `order` on its standard input.
fn program_of_ours(program: &str, order: &[u8]) -> io::Result<Command> {
    let mut file: File = sys::memfd::memory_file("order")?;
    file.write_all(order)?;
    file.rewind()?;
    let mut command = Command::new(program);
    command.env_clear().current_dir("/").stdin(file).stderr(Stdio::null());
    Ok(command)
}

fn hear(
    mut speaker: PipeReader,
    deadline: Instant,
    limit: usize,
    attention: Option<&Attention<'_>>,
) -> io::Result<Vec<u8>> {
    let (mut heard, mut part) = (Vec::new(), [0; 16 << 10]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let others = attention.iter().map(|attention| attention.other);
        let mut entries: Vec<PollEntry<'_>> =
            std::iter::once(speaker.as_fd()).chain(others).map(PollEntry::reading).collect();
        poll(&mut entries, Some(left))?;
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let is_ready = |index: usize| entries.get(index).is_some_and(|entry| entry.ready_read);
        if is_ready(1) && attention.is_some_and(|attention| (attention.leaves)()) {
            return Err(ErrorKind::Interrupted.into());
        }
        if !is_ready(0) {
            continue;
        }
        drop(entries);
        let length = speaker.read(&mut part)?;
        if length == 0 {
            return Ok(heard);
        }
        heard.extend(part.get(..length).unwrap_or_default());
        if heard.len() > limit {
            return Err(ErrorKind::InvalidData.into());
        }
    }
}

/// Returns our own programs, which may hold a lock that others on the host wait for, or end what must end in time. They go on when
/// everything around them is frozen, and are ended after it.
pub fn ours() -> Programs {
    Programs::at(&OURS)
}

/// Their paths.
pub const OURS: [&str; 5] = [JIT_SUDO, BROKER, ENFORCER, HOOK_RUNNER, SHRINKER];

/// Finds out which processes run our programs: by looking, or by asking a process that may look.
pub trait Ours {
    /// Looks up the files of our programs.
    fn look(&self);

    /// Does the same if the last time was a while ago. Called several times a second while the processes run: one that was started
    /// from a file keeps it when an upgrade replaces the file.
    fn keep_up(&self);

    /// Returns the files that were seen so far.
    fn known(&self) -> Vec<KnownFile>;

    /// Returns which of our programs a process runs with root's privileges, by its path. Returns `None` when that cannot be
    /// determined.
    fn run_by(&self, pid: Pid) -> Option<&'static str>;
}

impl Ours for Programs {
    fn look(&self) {
        let _ = self.look();
    }

    fn keep_up(&self) {
        let _ = self.keep_up();
    }

    fn known(&self) -> Vec<KnownFile> {
        self.known()
    }

    fn run_by(&self, pid: Pid) -> Option<&'static str> {
        self.run_by(pid)
    }
}
