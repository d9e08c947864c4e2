//! The files of `/proc/PID` that wait for a lock of that process: `stat`, `exe`, `environ` and others. Any user can hold
//! the lock for ever, with an exec that never ends (it closes a file of a file system in user space that does not
//! answer) or a page that is never delivered. So nothing outside this module opens such a file, and this module offers
//! only
//!
//! - the files of this process, which is not at its own exec;
//! - the start time of processes of root, which only root can bring into this state ([`start_of_root`]), for processes
//!   of ours and before Linux 6.9 (see `started`);
//! - a read that ends this process when it takes too long ([`start_within`]), for a process for which no other waits;
//! - reads in a child with a deadline ([`reader`]).

pub(crate) mod reader;

use std::collections::HashSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::time::Duration;

use super::parse_opened;
use crate::disk::statx;
use crate::no_wait::may_wait_for;
use crate::process::Pid;
use crate::wake_timer::EndTimer;

/// The maximum size of `/proc/PID/stat` that is read, in bytes: 52 numbers and a name of 15 or 64 bytes.
const MAX_STAT: u64 = 4096;

/// The maximum size of an environment that is read, in bytes; by default the kernel allows this size for one exec.
const MAX_ENVIRONMENT: u64 = 2 << 20;

/// PF_FORKNOEXEC of include/linux/sched.h, one of the flags.
const NEVER_EXECUTED: u32 = 0x40;

/// The fields of `/proc/PID/stat` (proc(5)) that are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessStat {
    /// The state letter, such as `R`, `S`, `T` (stopped) or `Z`, of the main thread.
    pub state: u8,
    /// The parent; 0 when it is outside our pid namespace.
    pub parent: i32,
    /// The process group.
    pub group: i32,
    /// The session.
    pub session: i32,
    /// The controlling terminal in the kernel's own encoding; 0 for none.
    pub terminal: u32,
    /// The process group in the foreground of that terminal; -1 for none.
    pub foreground: i32,
    /// The start time, in clock ticks (1/100 s) since boot.
    pub started: u64,
    /// The number of threads; the main thread counts until the process is reaped.
    pub threads: u64,
    /// The process has executed nothing, and is a copy of its parent.
    pub is_copy: bool,
    /// The start address of its stack, set when it, or the process that it is a copy of, was executed; 0 for a reader
    /// that may not trace it.
    pub stack: u64,
}

/// A file: device, inode, and the time when it was created, in nanoseconds since 1970. A later file may have the same
/// inode number, but was created later. The time is 0 where the file system does not store it.
pub(crate) type FileIdentity = [u64; 3];

/// Reads the state of this process.
///
/// # Errors
/// As `File::open`; `InvalidData` when the line is not as proc(5) says; and when `/proc` was mounted for another pid namespace than
/// that of this process (pid_namespaces(7)): what it says about a pid is about another process.
pub(crate) fn own() -> io::Result<ProcessStat> {
    may_wait_for("this process");
    let bytes = read_line(File::open("/proc/self/stat")?)?;
    let own = Pid::own().to_string();
    if !bytes.strip_prefix(own.as_bytes()).is_some_and(|rest| rest.starts_with(b" ")) {
        return Err(io::Error::other(
            "/proc shows another PID namespace; mount one for this one, as unshare --mount-proc does",
        ));
    }
    parse_line(&bytes)
}

/// Returns the start time of a process of root, in clock ticks since boot.
///
/// # Errors
/// `PermissionDenied` when the real user of the process is not root; `NotFound` or `ESRCH` when it does not exist.
pub(crate) fn start_of_root(pid: Pid) -> io::Result<u64> {
    // Both files are opened before either is read: if the pid is used again meanwhile, the first belongs to a process
    // that is gone, and its read fails.
    may_wait_for("a process");
    let stat = File::open(format!("/proc/{pid}/stat"))?;
    let status = parse_opened(File::open(format!("/proc/{pid}/status"))?)?;
    // The user changes at the end of an exec, after everything that a user could delay.
    if status.real_uid != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    read_stat(stat).map(|stat| stat.started)
}

/// Returns the start time of any process. The kernel kills this process when that takes longer than `limit`: call it
/// where no other process waits for this one.
///
/// # Errors
/// `NotFound` or `ESRCH` when the process does not exist; and when the timer cannot be started.
pub(crate) fn start_within(pid: Pid, limit: Duration) -> io::Result<u64> {
    let _timer = EndTimer::start(limit)?;
    stat(pid).map(|stat| stat.started)
}

fn stat(pid: Pid) -> io::Result<ProcessStat> {
    may_wait_for("a process");
    read_stat(File::open(format!("/proc/{pid}/stat"))?)
}

/// Returns the file that a process executes, from the kernel's cache, without asking the server of a network file
/// system, which might not answer.
fn executed(pid: Pid) -> io::Result<FileIdentity> {
    may_wait_for("the program of a process");
    let path = CString::new(format!("/proc/{pid}/exe"))?;
    statx(&path, libc::AT_STATX_DONT_SYNC, libc::STATX_INO | libc::STATX_BTIME).map(|found| identity(&found))
}

/// Returns the identity of a file.
pub(crate) fn identity(found: &libc::statx) -> FileIdentity {
    let created = found.stx_btime;
    let nanoseconds = created.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000) + u64::from(created.tv_nsec);
    let created = if found.stx_mask & libc::STATX_BTIME == 0 { 0 } else { nanoseconds };
    [libc::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino, created]
}

/// Returns the environment with which a process was executed: read from its main thread or, when that has ended, from
/// another.
fn environment(pid: Pid) -> io::Result<Vec<u8>> {
    let ended = stat(pid)?.state == b'Z';
    let thread = ended.then(|| super::living_threads(pid).next()).flatten();
    let file = match thread {
        Some((thread, _)) => File::open(format!("/proc/{pid}/task/{thread}/environ"))?,
        None => File::open(format!("/proc/{pid}/environ"))?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_ENVIRONMENT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the inode numbers of the sockets that a process holds.
fn sockets(pid: Pid) -> HashSet<String> {
    let number = |link: std::path::PathBuf| {
        let link = link.to_str()?;
        link.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned)
    };
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok().and_then(number)).collect()
}

fn read_stat(file: File) -> io::Result<ProcessStat> {
    parse_line(&read_line(file)?)
}

fn read_line(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    file.take(MAX_STAT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse_line(bytes: &[u8]) -> io::Result<ProcessStat> {
    parse_stat(bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed /proc/PID/stat"))
}

/// Parses the line. The name in it may contain spaces, newlines and `)`, so the other fields are counted from the LAST
/// `)` (CVE-2017-1000367).
pub fn parse_stat(line: &[u8]) -> Option<ProcessStat> {
    let end_of_name = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(end_of_name + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.bytes().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let terminal: i32 = fields.next()?.parse().ok()?;
    let foreground = fields.next()?.parse().ok()?;
    // Fields 9, 20, 22 and 28; eight were taken before, with pid and name.
    let flags: u32 = fields.next()?.parse().ok()?;
    let is_copy = flags & NEVER_EXECUTED != 0;
    let threads = fields.nth(10)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    let stack = fields.nth(5).and_then(|stack| stack.parse().ok()).unwrap_or_default();
    let terminal = terminal.cast_unsigned();
    Some(ProcessStat { state, parent, group, session, terminal, foreground, started, threads, is_copy, stack })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{self, Waiting, fork};

    #[test]
    fn the_own_stat_line_agrees_with_the_kernel() {
        let own = own().unwrap();
        assert_eq!(own.parent, i32::try_from(std::os::unix::process::parent_id()).unwrap());
        assert!(own.started > 0 && own.stack > 0 && !own.is_copy);
        assert_eq!(start_within(Pid::own(), Duration::from_secs(9)).unwrap(), own.started);
    }

    #[test]
    fn the_start_time_of_a_process_of_a_user_is_not_read() {
        let sleep = |words: &[&str]| std::process::Command::new("setpriv").args(words).args(["sleep", "60"]).spawn();
        let pid = |child: &std::process::Child| Pid::new(child.id().cast_signed()).unwrap();
        let Ok(mut child) = sleep(&["--reuid=65534", "--clear-groups"]) else { return };
        while super::super::real_uid(pid(&child)) == Some(0) {
            std::thread::yield_now();
        }
        assert_eq!(start_of_root(pid(&child)).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(start_within(pid(&child), Duration::from_secs(9)).is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
        let child = fork(|| process::exit_now(0)).unwrap();
        assert!(start_of_root(child).is_ok(), "a zombie has a start time");
        process::wait(child, Waiting::ForEnd).unwrap();
        assert!(start_of_root(child).is_err());
    }

    #[test]
    fn a_name_with_parentheses_and_newlines_does_not_shift_the_fields() {
        let line = b"42 (a) S 1 1 1 34816 \n) R) T 7 8 9 34817 9 0 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0\n";
        let parsed = parse_stat(line).unwrap();
        assert_eq!((parsed.state, parsed.parent, parsed.group, parsed.session), (b'T', 7, 8, 9));
        assert_eq!((parsed.terminal, parsed.started, parsed.threads), (34817, 123_456, 1));
    }

    #[test]
    fn short_or_invalid_lines_are_rejected() {
        for line in [&b""[..], b")", b"1 (x) R", b"1 (x) R 1 2 3 4 5", b"1 (x R 1 2 3", b"1 (x) R a b c d \xff"] {
            assert_eq!(parse_stat(line), None, "{line:?}");
        }
    }
}
