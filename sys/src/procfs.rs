//! Reads `/proc`; the name of a process cannot mislead it. Opens nothing but `/proc`.
//!
//! A process can make some files of its directory there block every reader for ever (see `locked`). This module offers
//! only files that the kernel answers at once for any process: `status`, `comm`, `cgroup` and `task/TID/children`.

pub(crate) mod locked;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use crate::no_wait::may_wait_for;
use crate::process::Pid;

pub use locked::{ProcessStat, parse_stat};

/// The maximum length of a 32-bit number with its line break, in bytes.
const MAX_NUMBER: u64 = 16;

/// The maximum size of `/proc/PID/status` that is read, in bytes: groups are listed in it.
const MAX_STATUS: u64 = 1 << 20;

/// The lines of `/proc/PID/status` (proc_pid_status(5)) that are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessStatus {
    /// The state letter, such as `R`, `S`, `T` (stopped) or `Z`. When the main thread has ended and others have not, it
    /// is the state of one of those: proc(5) shows such a process as `Z`, but it lives.
    pub state: u8,
    /// The parent; 0 when it is outside our pid namespace.
    pub parent: i32,
    /// The real user id.
    pub real_uid: u32,
    /// The effective user id.
    pub effective_uid: u32,
    /// The number of threads; the main thread counts until the process is reaped.
    threads: u64,
    /// The kernel takes it first when a process ends. A thread of the kernel never has one.
    has_memory: bool,
}

impl ProcessStatus {
    /// Returns whether the process has ended; it may still be a zombie.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Returns whether the process runs no code of its own any more: it has ended, or is ending. A user can keep a process from
    /// ending for ever, by a descriptor whose last close does not return; its parent, its pidfds and its sockets then tell nothing.
    pub fn is_dead(&self) -> bool {
        self.has_ended() || !self.has_memory
    }

    /// Returns whether a signal or a tracer has stopped the process.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }
}

/// Reads the state, the parent and the users of a process.
///
/// # Errors
/// `NotFound` (or `ESRCH`) when the process does not exist; `InvalidData` when the file is not as proc(5) says.
pub fn status(pid: Pid) -> io::Result<ProcessStatus> {
    let main = read_status(&format!("/proc/{pid}/status"))?;
    if main.is_dead() && main.threads > 1 {
        let state = living_threads(pid).map(|(_, thread)| thread.state).min_by_key(|state| *state == b'T');
        return Ok(ProcessStatus { state: state.unwrap_or(main.state), has_memory: state.is_some(), ..main });
    }
    Ok(main)
}

/// Returns whether a process lives, see [`ProcessStatus::is_dead`].
pub fn lives(pid: Pid) -> bool {
    status(pid).is_ok_and(|status| !status.is_dead())
}

/// The status of one process with one thread, for a process that can no longer open files. It never tells of another process with
/// the same pid.
#[derive(Debug)]
pub struct StatusFile(File);

impl StatusFile {
    /// Opens it.
    ///
    /// # Errors
    /// `NotFound` when the process does not exist.
    pub fn open(pid: Pid) -> io::Result<Self> {
        may_wait_for("a process");
        File::open(format!("/proc/{pid}/status")).map(Self)
    }

    /// Returns whether the process lives, see [`ProcessStatus::is_dead`].
    pub fn lives(&self) -> bool {
        self.status().is_some_and(|status| !status.is_dead())
    }

    /// Returns whether a signal has stopped the process, as [`is_stopped_by_signal`] does.
    pub fn is_stopped_by_signal(&self) -> bool {
        self.status().is_some_and(|status| status.state == b'T')
    }

    fn status(&self) -> Option<ProcessStatus> {
        let mut bytes = [0; 4096];
        let length = self.0.read_at(&mut bytes, 0).unwrap_or(0);
        parse_status(bytes.get(..length)?)
    }
}

impl AsFd for StatusFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns whether the process runs or sleeps (states R and S): it is neither stopped nor dead.
pub fn is_awake(pid: Pid) -> bool {
    status(pid).is_ok_and(|status| matches!(status.state, b'R' | b'S'))
}

/// Returns whether a signal has stopped the process, so that SIGCONT continues it. False when it does not exist.
pub fn is_stopped_by_signal(pid: Pid) -> bool {
    status(pid).is_ok_and(|status| status.state == b'T')
}

/// Returns whether a signal or a tracer has stopped the process.
///
/// # Errors
/// As [`status`].
pub fn is_stopped(pid: Pid) -> io::Result<bool> {
    status(pid).map(|status| status.is_stopped())
}

/// Returns whether the process is one of root, lives and has this start time, so that it is not another one with the
/// same pid.
pub fn lives_since(pid: Pid, started: u64) -> bool {
    lives(pid) && crate::started::is_still(pid, started)
}

/// Returns the children of all threads of a process (proc_tid_children(5)), ended ones included. While a child ends, another one may
/// be left out.
///
/// # Errors
/// `Unsupported` where the kernel has no such lists (before Linux 4.2, or without CONFIG_PROC_CHILDREN); `NotFound` when the
/// process does not exist.
pub(crate) fn children(pid: Pid) -> io::Result<Vec<Pid>> {
    may_wait_for("a process");
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let thread = thread.path();
        let list = match fs::read_to_string(thread.join("children")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && thread.exists() => {
                return Err(io::ErrorKind::Unsupported.into());
            }
            list => list.unwrap_or_default(), // the thread has ended, and another one has its children
        };
        children.extend(list.split_ascii_whitespace().filter_map(|child| Pid::new(child.parse().ok()?)));
    }
    Ok(children)
}

/// Returns the name of the program of a process, or the one that it has chosen (proc_pid_comm(5)): at most 15 bytes.
pub fn name_of(pid: Pid) -> Option<Vec<u8>> {
    may_wait_for("a process");
    let mut name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let _ = name.pop_if(|last| *last == b'\n');
    Some(name)
}

/// Returns the threads that have not ended.
fn living_threads(pid: Pid) -> impl Iterator<Item = (i32, ProcessStatus)> {
    may_wait_for("a process");
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(move |entry| {
        let thread = entry.file_name().to_str()?.parse().ok()?;
        let status = read_status(&format!("/proc/{pid}/task/{thread}/status")).ok()?;
        (!status.is_dead()).then_some((thread, status))
    })
}

fn read_status(path: &str) -> io::Result<ProcessStatus> {
    may_wait_for("a process");
    parse_opened(File::open(path)?)
}

fn parse_opened(file: File) -> io::Result<ProcessStatus> {
    let mut bytes = Vec::with_capacity(2048);
    file.take(MAX_STATUS).read_to_end(&mut bytes)?;
    parse_status(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed /proc/PID/status"))
}

/// Parses the file. The kernel escapes newlines in the name of the process there.
pub(crate) fn parse_status(bytes: &[u8]) -> Option<ProcessStatus> {
    let (mut state, mut parent, mut users, mut threads, mut has_memory) = (None, None, None, None, false);
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (key, value) = line.split_at(colon);
        let value = || std::str::from_utf8(value.get(1..)?).ok().map(str::trim_ascii);
        match key {
            b"State" => state = value()?.bytes().next(),
            b"PPid" => parent = Some(value()?.parse().ok()?),
            b"Uid" => {
                let mut ids = value()?.split_ascii_whitespace().map(str::parse);
                users = Some((ids.next()?.ok()?, ids.next()?.ok()?));
            }
            b"VmSize" => has_memory = true,
            b"Threads" => {
                threads = Some(value()?.parse().ok()?);
                break; // no later line is used
            }
            _ => {}
        }
    }
    let (real_uid, effective_uid) = users?;
    Some(ProcessStatus { state: state?, parent: parent?, real_uid, effective_uid, threads: threads?, has_memory })
}

/// Returns the login user id of this process, which does not change with its other ids (proc_pid_loginuid(5)); `None`
/// when it is unset, or the kernel has no audit support.
pub fn login_uid() -> Option<u32> {
    may_wait_for("the login user id");
    let mut text = String::new();
    File::open("/proc/self/loginuid").ok()?.take(MAX_NUMBER).read_to_string(&mut text).ok()?;
    parse_login_uid(&text)
}

/// Parses a login user id. -1, written without its sign, means unset.
pub(crate) fn parse_login_uid(text: &str) -> Option<u32> {
    text.trim_ascii().parse().ok().filter(|uid| *uid != u32::MAX)
}

/// Returns the effective user id of a process; `None` when the process does not exist.
pub fn effective_uid(pid: Pid) -> Option<u32> {
    status(pid).ok().map(|status| status.effective_uid)
}

/// Returns whether /proc hides processes from users who may not trace them (`hidepid`, proc(5)).
pub fn hides_processes() -> bool {
    fs::read_to_string("/proc/self/mounts").is_ok_and(|mounts| mounts.lines().any(is_hiding))
}

pub(crate) fn is_hiding(mount: &str) -> bool {
    let mut fields = mount.split(' ').skip(1);
    let (Some("/proc"), Some("proc"), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
        return false;
    };
    options.split(',').filter_map(|option| option.strip_prefix("hidepid=")).any(|how| !matches!(how, "0" | "off"))
}

/// Returns the real user id of a process; `None` when the process does not exist.
pub fn real_uid(pid: Pid) -> Option<u32> {
    status(pid).ok().map(|status| status.real_uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_as_long_as_one_of_its_threads() {
        let child = crate::process::fork(|| {
            std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(60)));
            // SAFETY: only this thread ends, and it holds nothing.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
            unreachable!()
        })
        .unwrap();
        let path = format!("/proc/{child}/status");
        while !read_status(&path).unwrap().has_ended() {
            std::thread::yield_now();
        }
        let one = status(child).unwrap();
        assert!(!one.has_ended() && one.threads == 2, "{} {}", char::from(one.state), one.threads);
        assert!(lives(child) && is_awake(child));
        let started = crate::process::process_start(child);
        assert!(started.is_err() || lives_since(child, started.unwrap()));
        crate::process::kill(child, libc::SIGSTOP).unwrap();
        while is_awake(child) {
            std::thread::yield_now();
        }
        assert!(lives(child));
        crate::process::kill(child, libc::SIGKILL).unwrap();
        while lives(child) {
            std::thread::yield_now();
        }
        assert!(StatusFile::open(Pid::own()).unwrap().lives());
        let file = StatusFile::open(child).unwrap();
        crate::process::wait(child, crate::process::Waiting::ForEnd).unwrap();
        assert!(!file.lives());
    }

    #[test]
    fn the_name_of_a_process_does_not_shift_the_lines() {
        // The kernel writes a newline in a name as a backslash and an n.
        let text = b"Name:\tx\\nUid:\t0\t0\nState:\tT (stopped)\nPPid:\t7\nUid:\t1000\t1001\t0\t0\nThreads:\t3\n";
        let found = parse_status(text).unwrap();
        assert_eq!((found.state, found.parent, found.threads), (b'T', 7, 3));
        assert_eq!((found.real_uid, found.effective_uid), (1000, 1001));
        assert!(found.is_dead() && !found.has_ended(), "the kernel has taken its memory");
        let text = b"Name:\tx\nState:\tD (disk sleep)\nPPid:\t7\nUid:\t0\t0\t0\t0\nVmSize:\t 12 kB\nThreads:\t1\n";
        assert!(!parse_status(text).unwrap().is_dead());
        for text in [&b""[..], b"Name:\tx\n", b"State:\tR\nPPid:\t1\nUid:\t0\t0\n", b"\xff:\nUid:\n"] {
            assert_eq!(parse_status(text), None);
        }
        let own = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap());
        assert_eq!(effective_uid(Pid::own()), Some(own));
        let parent = status(Pid::own()).unwrap().parent;
        assert_eq!(parent.cast_unsigned(), std::os::unix::process::parent_id());
        assert!(name_of(Pid::own()).unwrap().len() <= 15);
    }

    #[test]
    fn hidepid_is_detected_from_the_mount_options() {
        for options in ["rw,nosuid,hidepid=invisible", "rw,hidepid=2,gid=4", "hidepid=ptraceable", "hidepid=1"] {
            assert!(is_hiding(&format!("proc /proc proc {options} 0 0")), "{options}");
        }
        for line in
            ["proc /proc proc rw,hidepid=0 0 0", "proc /proc proc rw,hidepid=off 0 0", "proc /proc proc rw 0 0", "x"]
        {
            assert!(!is_hiding(line), "{line}");
        }
        assert!(!is_hiding("proc /other proc hidepid=2 0 0"));
    }

    #[test]
    fn login_uid_minus_one_means_unset() {
        for (text, uid) in [
            ("1000", Some(1000)),
            ("0\n", Some(0)),
            ("4294967295", None),
            ("4294967296", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(parse_login_uid(text), uid, "{text:?}");
        }
        let own = fs::read_to_string("/proc/self/loginuid").ok();
        assert_eq!(login_uid(), own.and_then(|text| parse_login_uid(&text)));
    }
}
