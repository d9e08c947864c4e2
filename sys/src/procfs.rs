//! `/proc/PID/stat` and the like, read without being fooled by a process's name. Opens nothing but `/proc`.

use std::fs::{self, File};
use std::io::{self, Read};

use crate::process::Pid;

/// The longest `/proc/PID/stat` that is believed, in bytes: 52 numbers and a name of 15 or 64 bytes.
const MAX_STAT: u64 = 4096;

/// PF_FORKNOEXEC of include/linux/sched.h, among the flags.
const NEVER_EXECUTED: u32 = 0x40;

/// The longest number of 32 bits with its line break, in bytes.
const MAX_NUMBER: u64 = 16;

/// What is used of `/proc/PID/stat` (proc(5)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessStat {
    /// The state letter, such as `R`, `S`, `T` (stopped) or `Z`. Where the main thread has ended and others have not, it is that of
    /// one of them: such a process is a `Z` to proc(5), and lives.
    pub state: u8,
    /// Parent; 0 when it is in no namespace of ours.
    pub parent: i32,
    /// Process group.
    pub group: i32,
    /// Session.
    pub session: i32,
    /// Controlling terminal in the kernel's own encoding; 0 for none.
    pub terminal: u32,
    /// When it began, in clock ticks (1/100 s) since boot.
    pub started: u64,
    /// How many threads it has, the main thread included until the process is buried.
    pub threads: u64,
    /// It has executed nothing, and is what its parent was.
    pub is_copy: bool,
    /// Where its stack began when it, or whose copy it is, was executed; 0 for who may not trace it.
    pub stack: u64,
}

impl ProcessStat {
    /// It is dead, though nobody may have buried it.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Whether a process lives.
pub fn lives(pid: Pid) -> bool {
    stat(pid).is_ok_and(|stat| !stat.has_ended())
}

/// Whether it runs, or waits for something that lets it run: it is neither stopped nor dead.
pub fn is_awake(pid: Pid) -> bool {
    stat(pid).is_ok_and(|stat| matches!(stat.state, b'R' | b'S'))
}

/// Whether it is stopped by a signal, whoever traces it.
///
/// # Errors
/// As [`stat`].
pub fn is_stopped(pid: Pid) -> io::Result<bool> {
    stat(pid).map(|stat| matches!(stat.state, b'T' | b't'))
}

/// Whether it lives and is the one that began then, not another of the same number.
pub fn lives_since(pid: Pid, started: u64) -> bool {
    stat(pid).is_ok_and(|stat| stat.started == started && !stat.has_ended())
}

/// Reads a process's line.
///
/// # Errors
/// `NotFound` (or `ESRCH`) when there is no such process; `InvalidData` when the line is not as proc(5) says.
pub fn stat(pid: Pid) -> io::Result<ProcessStat> {
    let main = read_stat(&format!("/proc/{pid}/stat"))?;
    if main.has_ended() && main.threads > 1 {
        let state = living_threads(pid).map(|(_, stat)| stat.state).min_by_key(|state| *state == b'T');
        return Ok(ProcessStat { state: state.unwrap_or(main.state), ..main });
    }
    Ok(main)
}

/// What the kernel tells in `name` of a process, as in `/proc/PID/environ`: of its main thread, or, where that has ended, of another.
///
/// # Errors
/// Where there is no such process, or it may not be read.
pub fn open(pid: Pid, name: &str) -> io::Result<File> {
    let main = read_stat(&format!("/proc/{pid}/stat"))?;
    let ended = main.has_ended().then(|| living_threads(pid).next()).flatten();
    match ended {
        Some((thread, _)) => File::open(format!("/proc/{pid}/task/{thread}/{name}")),
        None => File::open(format!("/proc/{pid}/{name}")),
    }
}

/// The threads that have not ended.
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

/// As whom this process has logged in, whoever it has become since (proc_pid_loginuid(5)); `None` where nobody has, or where
/// the kernel keeps no audit.
pub fn login_uid() -> Option<u32> {
    let mut text = String::new();
    File::open("/proc/self/loginuid").ok()?.take(MAX_NUMBER).read_to_string(&mut text).ok()?;
    parse_login_uid(&text)
}

/// The kernel's word for nobody is -1, written without its sign.
pub(crate) fn parse_login_uid(text: &str) -> Option<u32> {
    text.trim_ascii().parse().ok().filter(|uid| *uid != u32::MAX)
}

/// The effective user id of a process; `None` when it is gone.
pub fn effective_uid(pid: Pid) -> Option<u32> {
    uid_in(&fs::read_to_string(format!("/proc/{}/status", pid.raw())).ok()?, 1)
}

/// Whether /proc hides processes from who may not trace them (`hidepid`, proc(5)).
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

/// The real user id of a process; `None` when it is gone.
pub fn real_uid(pid: Pid) -> Option<u32> {
    uid_in(&fs::read_to_string(format!("/proc/{}/status", pid.raw())).ok()?, 0)
}

/// A number of the line `Uid:` (proc_pid_status(5)); the name of the process stands there without newlines.
pub(crate) fn uid_in(status: &str, place: usize) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().nth(place)?.parse().ok()
}

/// Parses a line. The name in it may hold spaces, newlines and `)`, so all else is counted from the LAST `)`
/// (CVE-2017-1000367).
pub fn parse_stat(line: &[u8]) -> Option<ProcessStat> {
    let end_of_name = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(end_of_name + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.bytes().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let terminal: i32 = fields.next()?.parse().ok()?;
    // Fields 9, 20, 22 and 28; seven were taken from the front, with pid and name.
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
    fn own_line_agrees_with_the_kernel() {
        let own = stat(Pid::own()).unwrap();
        assert_eq!(own.parent, i32::try_from(std::os::unix::process::parent_id()).unwrap());
        assert!(own.started > 0 && own.stack > 0 && !own.is_copy);
    }

    #[test]
    fn name_with_parentheses_and_newlines_does_not_shift_the_fields() {
        let line = b"42 (a) S 1 1 1 34816 \n) R) T 7 8 9 34817 9 0 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0\n";
        let parsed = parse_stat(line).unwrap();
        assert_eq!((parsed.state, parsed.parent, parsed.group, parsed.session), (b'T', 7, 8, 9));
        assert_eq!((parsed.terminal, parsed.started, parsed.threads), (34817, 123_456, 1));
    }

    #[test]
    fn a_process_lives_as_long_as_one_of_its_threads() {
        let child = crate::process::fork(|| {
            std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(60)));
            // SAFETY: this thread alone ends, and holds nothing.
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
    fn user_ids_are_not_read_from_a_name() {
        // The kernel writes a newline in a name as a backslash and an n.
        let status = "Name:\tx\\nUid:\t0\t0\nUid:\t1000\t1001\t0\t0\n";
        assert_eq!((uid_in(status, 0), uid_in(status, 1)), (Some(1000), Some(1001)));
        assert_eq!(uid_in("Name:\tx\n", 1), None);
        let own = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap());
        assert_eq!(effective_uid(Pid::own()), Some(own));
    }

    #[test]
    fn a_proc_that_hides_processes_is_known_by_its_mount() {
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
    fn nobody_has_logged_in_where_the_kernel_says_minus_one() {
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
    fn short_or_foreign_lines_are_refused() {
        for line in [&b""[..], b")", b"1 (x) R", b"1 (x) R 1 2 3 4 5", b"1 (x R 1 2 3", b"1 (x) R a b c d \xff"] {
            assert_eq!(parse_stat(line), None, "{line:?}");
        }
    }
}
