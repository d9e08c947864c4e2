//! Our own programs: how they are started and recognized. Never by a name that a process can choose for itself.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Seek, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jit_core::places::{BROKER, ENFORCER, HOOK_RUNNER, JIT_SUDO, SHRINKER};
use sys::cgroup::Cgroup;
use sys::poll::{PollEntry, poll};
use sys::process::{self, Pid, Waiting, spawn_apart};
use sys::programs::{KnownFile, Programs};

/// Starts the enforcer in a session of its own, in `group`, with `order` as its standard input, and does not wait.
///
/// # Errors
/// Fails when it cannot be started.
pub fn start_enforcer(order: &[u8], group: Option<&Cgroup>) -> io::Result<Pid> {
    spawn_apart(enforcer(order)?.stdout(Stdio::null()), group)
}

/// The longest answer, in bytes.
const ANSWER_LIMIT: usize = 64 << 10;

/// Starts the enforcer like [`start_enforcer`] and waits at most `patience` for its answer. Afterwards its standard output is
/// closed, from which it can tell that no process waits.
///
/// # Errors
/// Also fails with `TimedOut` when it has not ended by then, and with `InvalidData` when it writes more than 64 KiB.
pub fn ask_enforcer(order: &[u8], group: Option<&Cgroup>, patience: Duration) -> io::Result<Vec<u8>> {
    let (hearing, speaking) = io::pipe()?;
    let mut command = enforcer(order)?;
    let child = spawn_apart(command.stdout(speaking), group)?;
    drop(command); // and with it our copy of the write end
    let heard = hear(hearing, Instant::now() + patience);
    // An enforcer that has closed its output has ended; any other is not waited for.
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
