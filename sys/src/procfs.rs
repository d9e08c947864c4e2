//! Reads `/proc/PID/stat` and similar files; the name of a process cannot mislead it. Opens nothing but `/proc`.

use std::fs::{self, File};
use std::io::{self, Read};

use crate::process::Pid;

/// The maximum size of `/proc/PID/stat` that is read, in bytes: 52 numbers and a name of 15 or 64 bytes.
const MAX_STAT: u64 = 4096;

/// PF_FORKNOEXEC of include/linux/sched.h, one of the flags.
const NEVER_EXECUTED: u32 = 0x40;

/// The maximum length of a 32-bit number with its line break, in bytes.
const MAX_NUMBER: u64 = 16;

/// The fields of `/proc/PID/stat` (proc(5)) that are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessStat {
    /// The state letter, such as `R`, `S`, `T` (stopped) or `Z`. When the main thread has ended and others have not, it
    /// is the state of one of those: proc(5) shows such a process as `Z`, but it lives.
    pub state: u8,
    /// The parent; 0 when it is outside our pid namespace.
    pub parent: i32,
    /// The process group.
    pub group: i32,
    /// The session.
    pub session: i32,
    /// The controlling terminal in the kernel's own encoding; 0 for none.
    pub terminal: u32,
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

impl ProcessStat {
    /// Returns whether the process has ended; it may still be a zombie.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Returns whether a process lives.
pub fn lives(pid: Pid) -> bool {
    stat(pid).is_ok_and(|stat| !stat.has_ended())
}

/// Returns whether the process runs or sleeps (states R and S): it is neither stopped nor dead.
pub fn is_awake(pid: Pid) -> bool {
    stat(pid).is_ok_and(|stat| matches!(stat.state, b'R' | b'S'))
}

/// Returns whether the process lives and has not executed any program since it was forked.
pub fn has_executed_nothing(pid: Pid) -> bool {
    stat(pid).is_ok_and(|stat| stat.is_copy && !stat.has_ended())
}

/// Returns whether a signal or a tracer has stopped the process.
///
/// # Errors
/// As [`stat`].
pub fn is_stopped(pid: Pid) -> io::Result<bool> {
    stat(pid).map(|stat| matches!(stat.state, b'T' | b't'))
}

/// Returns whether the process lives and has this start time, so that it is not another one with the same pid.
pub fn lives_since(pid: Pid, started: u64) -> bool {
    stat(pid).is_ok_and(|stat| stat.started == started && !stat.has_ended())
}

/// Reads the state of a process.
///
/// # Errors
/// `NotFound` (or `ESRCH`) when the process does not exist; `InvalidData` when the line is not as proc(5) says.
pub fn stat(pid: Pid) -> io::Result<ProcessStat> {
    let main = read_stat(&format!("/proc/{pid}/stat"))?;
    if main.has_ended() && main.threads > 1 {
        let state = living_threads(pid).map(|(_, stat)| stat.state).min_by_key(|state| *state == b'T');
        return Ok(ProcessStat { state: state.unwrap_or(main.state), ..main });
    }
    Ok(main)
}

/// Opens the file `name` of a process, as in `/proc/PID/environ`: that of its main thread or, when that has ended, of
/// another thread.
///
/// # Errors
/// When the process does not exist, or its file may not be read.
pub fn open(pid: Pid, name: &str) -> io::Result<File> {
    let main = read_stat(&format!("/proc/{pid}/stat"))?;
    let ended = main.has_ended().then(|| living_threads(pid).next()).flatten();
    match ended {
        Some((thread, _)) => File::open(format!("/proc/{pid}/task/{thread}/{name}")),
        None => File::open(format!("/proc/{pid}/{name}")),
    }
}

/// Returns the threads that have not ended.
fn living_threads(pid: Pid) -> impl Iterator<Item = (i32, ProcessStat)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(move |entry| {
        let thread = entry.file_name().to_str()?.parse().ok()?;
        let stat = read_stat(&format!("/proc/{pid}/task/{thread}/stat")).ok()?;
        (!stat.has_ended()).then_some((thread, stat))
    })
}

fn read_stat(path: &str) -> io::Result<ProcessStat> {
    let mut bytes = Vec::with_capacity(512);
    File::open(path)?.take(MAX_STAT).read_to_end(&mut bytes)?;
    parse_stat(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed /proc/PID/stat"))
}

/// Returns the login user id of this process, which does not change with its other ids (proc_pid_loginuid(5)); `None`
/// when it is unset, or the kernel has no audit support.
pub fn login_uid() -> Option<u32> {
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
    uid_in(&fs::read_to_string(format!("/proc/{}/status", pid.raw())).ok()?, 1)
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
    uid_in(&fs::read_to_string(format!("/proc/{}/status", pid.raw())).ok()?, 0)
}

/// Returns a number of the line `Uid:` (proc_pid_status(5)). The kernel escapes newlines in the process name there.
pub(crate) fn uid_in(status: &str, place: usize) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().nth(place)?.parse().ok()
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
    // Fields 9, 20, 22 and 28; seven were taken before, with pid and name.
    let flags: u32 = fields.nth(1)?.parse().ok()?;
    let is_copy = flags & NEVER_EXECUTED != 0;
    let threads = fields.nth(10)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    let stack = fields.nth(5).and_then(|stack| stack.parse().ok()).unwrap_or_default();
    let terminal = terminal.cast_unsigned();
    Some(ProcessStat { state, parent, group, session, terminal, started, threads, is_copy, stack })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_stat_line_agrees_with_the_kernel() {
        let own = stat(Pid::own()).unwrap();
        assert_eq!(own.parent, i32::try_from(std::os::unix::process::parent_id()).unwrap());
        assert!(own.started > 0 && own.stack > 0 && !own.is_copy);
    }

    #[test]
    fn a_name_with_parentheses_and_newlines_does_not_shift_the_fields() {
        let line = b"42 (a) S 1 1 1 34816 \n) R) T 7 8 9 34817 9 0 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0\n";
        let parsed = parse_stat(line).unwrap();
        assert_eq!((parsed.state, parsed.parent, parsed.group, parsed.session), (b'T', 7, 8, 9));
        assert_eq!((parsed.terminal, parsed.started, parsed.threads), (34817, 123_456, 1));
    }

    #[test]
    fn a_process_lives_as_long_as_one_of_its_threads() {
        let child = crate::process::fork(|| {
            std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(60)));
            // SAFETY: only this thread ends, and it holds nothing.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
            unreachable!()
        })
        .unwrap();
        let path = format!("/proc/{child}/stat");
        while !read_stat(&path).unwrap().has_ended() {
            std::thread::yield_now();
        }
        let one = stat(child).unwrap();
        assert!(!one.has_ended() && one.threads == 2, "{} {}", char::from(one.state), one.threads);
        assert!(lives(child) && is_awake(child) && lives_since(child, one.started));
        let mut environment = Vec::new();
        open(child, "environ").unwrap().read_to_end(&mut environment).unwrap();
        assert_eq!(environment, fs::read("/proc/self/environ").unwrap());
        crate::process::kill(child, libc::SIGSTOP).unwrap();
        while is_awake(child) {
            std::thread::yield_now();
        }
        assert!(lives(child));
        crate::process::kill(child, libc::SIGKILL).unwrap();
        while lives(child) {
            std::thread::yield_now();
        }
        crate::process::wait(child, crate::process::Waiting::ForEnd).unwrap();
    }

    #[test]
    fn user_ids_are_not_parsed_from_a_process_name() {
        // The kernel writes a newline in a name as a backslash and an n.
        let status = "Name:\tx\\nUid:\t0\t0\nUid:\t1000\t1001\t0\t0\n";
        assert_eq!((uid_in(status, 0), uid_in(status, 1)), (Some(1000), Some(1001)));
        assert_eq!(uid_in("Name:\tx\n", 1), None);
        let own = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap());
        assert_eq!(effective_uid(Pid::own()), Some(own));
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

    #[test]
    fn short_or_invalid_lines_are_rejected() {
        for line in [&b""[..], b")", b"1 (x) R", b"1 (x) R 1 2 3 4 5", b"1 (x R 1 2 3", b"1 (x) R a b c d \xff"] {
            assert_eq!(parse_stat(line), None, "{line:?}");
        }
    }
}
