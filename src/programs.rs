//! Our own programs: how they are started and known. Nothing about them is asked of a name that a process gives itself.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Seek, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jit_core::places::{BROKER, ENFORCER, HOOK_RUNNER, JIT_SUDO, SHRINKER};
use sys::cgroup::Cgroup;
use sys::poll::{PollEntry, poll};
use sys::process::{self, Pid, Waiting, spawn_apart};
use sys::programs::Programs;

/// Starts the enforcer in a session of its own, in `group`, with `order` as its standard input, and does not wait.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn start_enforcer(order: &[u8], group: Option<&Cgroup>) -> io::Result<Pid> {
    spawn_apart(enforcer(order)?.stdout(Stdio::null()), group)
}

/// The longest answer, in bytes.
const ANSWER_LIMIT: usize = 64 << 10;

/// The same, and waits for its answer, at most `patience`. After that its standard output leads nowhere, by which it can tell.
///
/// # Errors
/// Besides, `TimedOut` where it has not ended by then, and `InvalidData` where it says more than 64 KiB.
pub fn ask_enforcer(order: &[u8], group: Option<&Cgroup>, patience: Duration) -> io::Result<Vec<u8>> {
    let (hearing, speaking) = io::pipe()?;
    let mut command = enforcer(order)?;
    let child = spawn_apart(command.stdout(speaking), group)?;
    drop(command); // and with it our copy of the end that it speaks into
    let heard = hear(hearing, Instant::now() + patience);
    // Who is silent for good has ended; for another nobody waits.
    let _ = process::wait(child, if heard.is_ok() { Waiting::ForEnd } else { Waiting::EndNow });
    heard
}

fn enforcer(order: &[u8]) -> io::Result<Command> {
    let mut file: File = sys::memfd::memory_file("order")?;
    file.write_all(order)?;
    file.rewind()?;
    let mut command = Command::new(ENFORCER);
    command.env_clear().current_dir("/").stdin(file).stderr(Stdio::null());
    Ok(command)
}

fn hear(mut speaker: PipeReader, deadline: Instant) -> io::Result<Vec<u8>> {
    let (mut heard, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut entries = [PollEntry::reading(speaker.as_fd())];
        poll(&mut entries, Some(left))?;
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        if !entries.iter().any(|entry| entry.ready_read) {
            continue;
        }
        let length = speaker.read(&mut part)?;
        if length == 0 {
            return Ok(heard);
        }
        heard.extend(part.get(..length).unwrap_or_default());
        if heard.len() > ANSWER_LIMIT {
            return Err(ErrorKind::InvalidData.into());
        }
    }
}

/// All that may hold what others on the host wait for, or end what must end in time. They go on where everything around them is
/// frozen, and are ended after it.
pub fn ours() -> Programs {
    Programs::at(&OURS)
}

/// Their paths.
pub const OURS: [&str; 5] = [JIT_SUDO, BROKER, ENFORCER, HOOK_RUNNER, SHRINKER];

/// Tells which processes run them: by looking, or by asking a process that may look.
pub trait Ours {
    /// Looks which files lie there now; comes before [`Self::run_by`].
    fn look(&self);

    /// Which of them a process runs with the rights of root, by its path. One that nobody can tell is taken for another.
    fn run_by(&self, pid: Pid) -> Option<&'static str>;
}

impl Ours for Programs {
    fn look(&self) {
        self.look();
    }

    fn run_by(&self, pid: Pid) -> Option<&'static str> {
        self.run_by(pid)
    }
}
