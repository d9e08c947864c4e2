//! Processes: fork, wait, signals, sessions and process groups, children.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::cgroup::{self, Cgroup};
use crate::clone;
use crate::kernel::{check, retry};
use crate::no_wait::may_wait_for;
use crate::poll::{pipe, read, write};
use crate::procfs::locked;
use crate::signals::{self, Disposition, SignalSet};
use crate::started;

pub use crate::descendants::{Earlier, descendants, kill_descendants, signal_descendants, signal_if};

/// A process id; always positive, so that it can never mean a group or every process in kill(2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pid(i32);

impl Pid {
    /// Returns `None` unless `raw` is positive.
    pub fn new(raw: i32) -> Option<Self> {
        (raw > 0).then_some(Self(raw))
    }

    /// Returns the id of this process.
    pub fn own() -> Self {
        // SAFETY: getpid takes nothing, touches no memory and cannot fail.
        Self(unsafe { libc::getpid() })
    }

    /// Returns the parent of this process; `None` when it is outside our pid namespace.
    pub fn parent() -> Option<Self> {
        // SAFETY: getppid takes nothing, touches no memory and cannot fail.
        Self::new(unsafe { libc::getppid() })
    }

    /// Returns the number.
    pub fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a process, which a reused pid or terminal does not match (CVE-2013-2776).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessKey {
    /// The pid.
    pub pid: i32,
    /// The start time, in clock ticks since boot.
    pub started: u64,
}

/// The time in which the kernel must tell the start time of a process of the caller's.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// Returns the leader of this process's session; `None` when it has ended or is outside our pid namespace. As
/// [`parent`], it may end this process.
pub fn session_leader() -> Option<ProcessKey> {
    // SAFETY: getsid(0) asks about this process and cannot fail.
    key_of(Pid::new(unsafe { libc::getsid(0) })?)
}

/// Returns the parent of this process. A user can make the parent block its readers: then the kernel kills this process
/// after two seconds, so no other process may depend on it.
pub fn parent() -> Option<ProcessKey> {
    key_of(Pid::parent()?)
}

fn key_of(pid: Pid) -> Option<ProcessKey> {
    let started = if pid == Pid::own() { process_start(pid) } else { locked::start_within(pid, TOLD_WITHIN) };
    Some(ProcessKey { pid: pid.raw(), started: started.ok()? })
}

/// Returns the name that the kernel gives a process that executes the program at this path (proc_pid_comm(5)).
pub fn name_for(path: &str) -> &[u8] {
    let name = path.rsplit('/').next().unwrap_or(path).as_bytes();
    name.get(..MAX_NAME).unwrap_or(name)
}

/// The maximum length of the name of a process, in bytes.
const MAX_NAME: usize = 15;

/// Returns the name of this process.
pub fn own_name() -> Vec<u8> {
    let mut name = [0; MAX_NAME + 1];
    // SAFETY: PR_GET_NAME writes 16 bytes, as many as `name` has.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name.into_iter().take_while(|byte| *byte != 0).collect()
}

/// Gives this process the name that it would have if it executed the program at this path.
pub fn set_name(path: &str) {
    let mut name = [0; MAX_NAME + 1];
    name.iter_mut().zip(name_for(path)).for_each(|(place, byte)| *place = *byte);
    // SAFETY: PR_SET_NAME reads up to 16 bytes up to a zero, which `name` ends with.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Gives this process another name while `act` runs. A child that it starts has that name from its first moment on, even if it is
/// frozen then.
pub fn under_name<T>(name: &str, act: impl FnOnce() -> T) -> T {
    let own = own_name();
    set_name(name);
    let done = act();
    set_name(&String::from_utf8_lossy(&own));
    done
}

/// Returns the start time of this process, or of another one whose real user is root, in clock ticks since boot. A user
/// can make a process of their own block every reader of its start time, so it is read in a child (see [`started`]).
///
/// # Errors
/// `NotFound` or `ESRCH` when the process does not exist; `PermissionDenied` for a process of another user; `TimedOut`
/// when it does not answer.
pub fn process_start(pid: Pid) -> io::Result<u64> {
    if pid != Pid::own() {
        return started::start_of(pid);
    }
    // Cached, because each run needs it several times; a child does not use the copy of its parent's value.
    match OWN_START.get() {
        Some((own, started)) if *own == pid => Ok(*started),
        _ => {
            let started = locked::own()?.started;
            let _ = OWN_START.set((pid, started));
            started::remember_own(started);
            Ok(started)
        }
    }
}

/// Returns the start time of a child that runs code of ours, as [`process_start`] does.
///
/// # Errors
/// As [`process_start`].
pub fn child_start(pid: Pid) -> io::Result<u64> {
    if pid == Pid::own() { process_start(pid) } else { started::start_of_child(pid) }
}

/// Returns a number that tells a process of root from a later one with the same pid: the number of its pidfds, for which no path is
/// looked up; before Linux 6.9 its start time.
///
/// # Errors
/// `ESRCH` when the process does not exist; before Linux 6.9 as [`process_start`].
pub fn identity(pid: Pid) -> io::Result<u64> {
    match started::number_of(pid)? {
        Some(number) => Ok(number),
        None => child_start(pid),
    }
}

/// The inode numbers of the first pid namespace of a machine and of the first time namespace (`PROC_PID_INIT_INO` and
/// `PROC_TIME_INIT_INO` in the kernel).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
const FIRST_TIME_NAMESPACE: u64 = 0xEFFF_FFFA;

/// Returns the number of the namespaces of this process in which pids and start times mean something: a pid namespace has pids of its
/// own (pid_namespaces(7)), and in a time namespace the kernel reports other start times of the same processes (time_namespaces(7)).
/// `None` for the first ones of the machine, and where the kernel has no others; if one of them is another, its inode number.
///
/// # Errors
/// `/proc` cannot be read; or the children of this process, which read start times for it, are in another time namespace.
pub fn namespaces() -> io::Result<Option<u64>> {
    static OWN: OnceLock<Option<u64>> = OnceLock::new();
    if let Some(known) = OWN.get() {
        return Ok(*known);
    }
    let time = namespace("time")?;
    if time != namespace("time_for_children")? {
        return Err(io::Error::other(
            "this process and its children are in different time namespaces; enter one with a fork, as unshare --time --fork does",
        ));
    }
    let pid = namespace("pid")?.filter(|inode| *inode != FIRST_PID_NAMESPACE);
    Ok(*OWN.get_or_init(|| joined(pid, time.filter(|inode| *inode != FIRST_TIME_NAMESPACE))))
}

/// Returns whether pids and start times that were read in namespaces with this number mean the same processes here.
#[must_use]
pub fn is_within_reach(number: Option<u64>) -> bool {
    namespaces().is_ok_and(|own| own == number)
}

/// Inode numbers of namespaces have 32 bits, and no two namespaces have the same one.
fn joined(pid: Option<u64>, time: Option<u64>) -> Option<u64> {
    match (pid, time) {
        (Some(pid), Some(time)) => Some(time << 32 | pid),
        (pid, time) => pid.or(time),
    }
}

/// Returns the inode number of a namespace of this process; `None` where the kernel has no such namespaces.
fn namespace(kind: &str) -> io::Result<Option<u64>> {
    may_wait_for("a namespace of this process");
    match fs::metadata(format!("/proc/self/ns/{kind}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::exists("/proc/self/ns")? => Ok(None),
        found => Ok(Some(found?.ino())),
    }
}

/// The pid and start time of the first process that asked for its own; a child inherits the copy.
static OWN_START: OnceLock<(Pid, u64)> = OnceLock::new();

/// Forks a child that runs `child`, which never returns; a panic in it aborts the child.
///
/// # Errors
/// Those of fork(2), and an error when this process has more than one thread: the child could find locks held by
/// threads that do not exist in it. (The feature `fork-with-threads` lifts that for test harnesses.)
pub fn fork(child: impl FnOnce() -> Infallible) -> io::Result<Pid> {
    fork_into(None, child)
}

/// Forks as [`fork`] does; the child is a member of `group` from the start, if one is given.
///
/// # Errors
/// As [`fork`], and when the group accepts no process.
pub fn fork_into(group: Option<&Cgroup>, child: impl FnOnce() -> Infallible) -> io::Result<Pid> {
    if !cfg!(any(test, feature = "fork-with-threads")) && !has_one_thread()? {
        return Err(io::Error::other("a program with threads does not fork"));
    }
    // SAFETY: there is one thread, checked above, so the child's memory is consistent and it may allocate. In test
    // harnesses, glibc takes its allocator's locks around fork, and children only use the allocator and the kernel;
    // children that are cloned into a group, without these locks, do not even allocate.
    let born = match group {
        // SAFETY: as above.
        Some(group) => cgroup::beget(group, |group| unsafe { clone::fork(Some(group)) }),
        // SAFETY: as above.
        None => unsafe { clone::fork(None) },
    };
    match born? {
        0 => match catch_unwind(AssertUnwindSafe(child)) {
            Ok(never) => match never {},
            Err(_) => std::process::abort(),
        },
        pid => Ok(Pid(pid)),
    }
}

/// Ends this process at once, without destructors and without flushing buffers (_exit(2)).
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes any number, does not return, and runs no code of ours.
    unsafe { libc::_exit(status) }
}

/// What to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// Until the child ends.
    ForEnd,
    /// Until the child ends, stops or continues.
    ForChange,
    /// Only check whether it ended.
    EndNow,
    /// Only check whether it ended, stopped or continued.
    ChangeNow,
}

/// A change of state of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitEvent {
    /// It ended with this status, 0 to 255.
    Exited(i32),
    /// A signal ended it.
    Signaled {
        /// Its number.
        signal: i32,
        /// Whether it left a core dump.
        core: bool,
    },
    /// A signal stopped it.
    Stopped(i32),
    /// It continues after a stop.
    Continued,
}

/// The resources that an ended child used, with those of its reaped children (getrusage(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Time in user mode.
    pub user: Duration,
    /// Time in the kernel.
    pub system: Duration,
    /// The maximum resident set size, in KiB.
    pub max_rss_kib: u64,
}

/// Waits for one child; `None` only for [`Waiting::EndNow`] and [`Waiting::ChangeNow`], when nothing has changed.
///
/// # Errors
/// `ECHILD` when it is not our child, or was reaped already.
pub fn wait(pid: Pid, waiting: Waiting) -> io::Result<Option<(WaitEvent, Usage)>> {
    wait_raw(pid.0, waiting).map(|answer| answer.map(|(_, event, usage)| (event, usage)))
}

/// Waits as [`wait`] does, for the next child of any pid; so a subreaper reaps orphans.
pub fn wait_any(waiting: Waiting) -> io::Result<Option<(Pid, WaitEvent, Usage)>> {
    wait_raw(-1, waiting)
}

/// Returns whether a child has ended, stopped or continued since [`wait`] last reported it; does not reap it. Returns
/// true for a process that is not our child.
pub fn has_changed(pid: Pid) -> bool {
    // SAFETY: siginfo_t is plain integers and pointers, for which zero is valid.
    let mut news: libc::siginfo_t = unsafe { mem::zeroed() };
    let options = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the place lives through the call.
    let asked = check(unsafe { libc::waitid(libc::P_PID, pid.0.unsigned_abs(), &raw mut news, options) });
    // SAFETY: waitid(2) fills in this member, or leaves it 0 when nothing has changed.
    asked.is_err() || unsafe { news.si_pid() } != 0
}

/// Returns a child that has ended and is not reaped; does not reap it. As long as it is not reaped, it may be returned
/// again in place of another.
pub fn next_ended() -> Option<Pid> {
    // SAFETY: siginfo_t is plain integers and pointers, for which zero is valid.
    let mut news: libc::siginfo_t = unsafe { mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the place lives through the call.
    check(unsafe { libc::waitid(libc::P_ALL, 0, &raw mut news, options) }).ok()?;
    // SAFETY: waitid(2) fills in this member, or leaves it 0 when no child has ended.
    Pid::new(unsafe { news.si_pid() })
}

/// Reaps the children of this process that have ended. Returns whether it has others.
#[must_use]
pub fn bury_the_dead() -> bool {
    loop {
        match wait_any(Waiting::EndNow) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Sends a signal to one process; signal 0 only checks whether that is possible.
///
/// # Errors
/// `ESRCH` when the process does not exist.
pub fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: kill touches no memory; the pid is positive.
    check(unsafe { libc::kill(pid.0, signal) }).map(drop)
}

/// The list of this process's children, for a process that can no longer open files (proc_tid_children(5),
/// CONFIG_PROC_CHILDREN).
#[derive(Debug)]
pub struct Children(File);

impl Children {
    /// Opens the list.
    ///
    /// # Errors
    /// `NotFound` when the kernel does not provide it.
    pub fn open() -> io::Result<Self> {
        File::open("/proc/thread-self/children").map(Self)
    }

    /// Returns the present children, as many as 4,096 bytes can list.
    pub fn now(&self) -> Vec<Pid> {
        let mut bytes = [0; 4096];
        let length = self.0.read_at(&mut bytes, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
        // A space follows each number; a number that was cut has none.
        text.split_inclusive(' ').filter_map(|word| word.strip_suffix(' ')?.parse().ok()).filter_map(Pid::new).collect()
    }
}

/// Returns the children of another process, which has one thread, zombies included.
///
/// # Errors
/// When the process does not exist, or the kernel does not list them.
pub fn children_of(pid: Pid) -> io::Result<Vec<Pid>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_whitespace().filter_map(|word| word.parse().ok().and_then(Pid::new)).collect())
}

impl AsFd for Children {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns whether a process may have children, zombies included; false when it does not exist. Returns true for a
/// living process if the kernel does not list children.
pub fn has_children(pid: Pid) -> bool {
    children_of(pid).map_or_else(|_| crate::procfs::lives(pid), |children| !children.is_empty())
}

/// Opens a descriptor of a process that becomes readable when the process ends (pidfd_open(2)).
///
/// # Errors
/// `ESRCH` when there is none; `ENOSYS` before Linux 5.3; `EPERM` under the filters of some containers.
pub fn open_process(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) } as libc::c_int)?;
    // SAFETY: the kernel has just made the descriptor and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Starts a program in a new session, where no terminal and no shell of the caller can affect it. It is a member of
/// `group` from the start, as in [`fork_into`].
///
/// # Errors
/// Any error that keeps the program from starting.
pub fn spawn_apart(command: &mut Command, group: Option<&Cgroup>) -> io::Result<Pid> {
    let (failure, told) = pipe()?;
    let child = fork_into(group, || {
        let failed = new_session().map_or_else(|error| error, |_| command.exec());
        let _ = write(told.as_fd(), &failed.raw_os_error().unwrap_or(libc::EINVAL).to_ne_bytes());
        exit_now(1)
    })?;
    drop(told);
    let mut errno = [0; 4];
    match read(failure.as_fd(), &mut errno)? {
        4 => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
        _ => Ok(child),
    }
}

/// Sends a signal to every process of a process group.
///
/// # Errors
/// `ESRCH` when the group is empty, `EINVAL` for group 1, whose negative means every process.
pub fn kill_group(group: Pid, signal: i32) -> io::Result<()> {
    if group.0 <= 1 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: kill touches no memory; the group is above 1, so its negative is neither -1 nor 0.
    check(unsafe { libc::kill(-group.0, signal) }).map(drop)
}

/// Makes the kernel end this process by SIGALRM after `limit`, in whole seconds, whatever it waits for then.
///
/// # Errors
/// Those of sigaction(2).
pub fn end_within(limit: Duration) -> io::Result<()> {
    signals::set_disposition(libc::SIGALRM, Disposition::Default)?;
    signals::unblock(SignalSet::of(&[libc::SIGALRM]))?;
    // SAFETY: alarm takes a number.
    unsafe { libc::alarm(u32::try_from(limit.as_secs()).unwrap_or(u32::MAX)) };
    Ok(())
}

/// Ends this process by the signal, so that the parent sees the same end as of the command. Exits with status 128 + the
/// signal if the signal does not kill it. It leaves no core dump: the limit for core files is 0.
pub fn raise_default(signal: i32) -> ! {
    // If these fail, the exit below ends the process.
    let _ = signals::set_disposition(signal, Disposition::Default);
    let _ = signals::unblock(SignalSet::of(&[signal]));
    let _ = kill(Pid::own(), signal);
    exit_now(128_i32.saturating_add(signal))
}

/// The result of a stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suspension {
    /// This process was stopped, and SIGCONT woke it.
    Resumed,
    /// The kernel does not stop processes of an orphaned process group; nothing happened.
    Refused,
}

/// Stops this process by SIGTSTP, SIGTTIN, SIGTTOU or SIGSTOP, so that the shell notices; returns after SIGCONT.
///
/// Restores mask and disposition. A SIGCONT that is blocked (for a [`SignalQueue`](crate::signals::SignalQueue)) stays
/// pending.
pub fn stop_self(signal: i32) -> io::Result<Suspension> {
    // A pending signal stops us as soon as it is unblocked, and one is enough.
    let waits = signals::pending()?.contains(signal);
    suspend(signal, || if waits { Ok(()) } else { kill(Pid::own(), signal) })
}

/// Stops the whole process group as [`stop_self`] does, and as the terminal does on ^Z; needed when this program has
/// intercepted the key.
pub fn stop_own_group(signal: i32) -> io::Result<Suspension> {
    suspend(signal, || kill_group(own_process_group(), signal))
}

/// Returns the process group of `pid`; `None` when the process does not exist.
pub fn process_group(pid: Pid) -> Option<Pid> {
    // SAFETY: takes an integer and touches no memory.
    Pid::new(unsafe { libc::getpgid(pid.0) })
}

/// Returns the session of `pid`; `None` when the process does not exist.
pub fn session_of(pid: Pid) -> Option<Pid> {
    // SAFETY: takes an integer and touches no memory.
    Pid::new(unsafe { libc::getsid(pid.0) })
}

/// Returns the process group of this process.
pub fn own_process_group() -> Pid {
    // SAFETY: getpgrp takes nothing and cannot fail.
    Pid(unsafe { libc::getpgrp() })
}

/// Returns whether the process group of this process is in the foreground of its controlling terminal; `None` when it has
/// no terminal, because there was none or it was hung up. Asks `/proc`, not the terminal, so that no user can delay the
/// answer.
pub fn is_in_foreground() -> Option<bool> {
    match locked::own() {
        Ok(own) => (own.foreground != -1).then_some(own.foreground == own.group),
        Err(_) => Some(true), // as far as is known
    }
}

/// Moves a process (this one or a child before its exec) into a process group; into a new one when `group` is the
/// process itself.
pub fn set_process_group(pid: Pid, group: Pid) -> io::Result<()> {
    // SAFETY: setpgid touches no memory.
    check(unsafe { libc::setpgid(pid.0, group.0) }).map(drop)
}

/// Makes this process the leader of a new session without a terminal.
///
/// # Errors
/// `EPERM` when it is already the leader of a process group.
pub fn new_session() -> io::Result<Pid> {
    // SAFETY: setsid takes nothing and touches no memory.
    check(unsafe { libc::setsid() }).map(Pid)
}

/// Makes a terminal the controlling terminal of this session, whose leader this process is; never steals it from
/// another session.
pub fn set_controlling_terminal(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer; 0 means "do not steal".
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// Makes a process group of this session the foreground group of a terminal. Blocks SIGTTOU meanwhile, so that it does
/// not stop a background caller.
pub fn set_foreground(fd: BorrowedFd<'_>, group: Pid) -> io::Result<()> {
    let before = signals::block(SignalSet::of(&[libc::SIGTTOU]))?;
    // SAFETY: tcsetpgrp touches no memory.
    let answer = check(unsafe { libc::tcsetpgrp(fd.as_raw_fd(), group.0) });
    signals::set_mask(before)?;
    answer.map(drop)
}

/// Makes this process a subreaper: orphaned descendants become its children, so that none escapes by a double fork
/// (prctl(2)).
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: this prctl takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Returns the working directory as the kernel reports it (getcwd(2)). The C library does not rely on the kernel alone:
/// for a directory that cannot be reached from our root, because it lies in another mount namespace, it returns a path
/// that means another directory here.
///
/// # Errors
/// `NotFound` when it was removed; `Unsupported` when it cannot be reached from our root; `ERANGE` when its path is
/// longer than any that can be used.
pub fn working_directory() -> io::Result<PathBuf> {
    let mut buffer = vec![0_u8; LONGEST_PATH];
    // SAFETY: pointer and length describe the buffer. The kernel returns the length with the NUL.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    buffer.truncate(usize::try_from(length).unwrap_or(0).saturating_sub(1));
    // "(unreachable)/where/it/is"
    if buffer.first() == Some(&b'/') {
        Ok(PathBuf::from(OsString::from_vec(buffer)))
    } else {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// The maximum length of a path with its NUL, in bytes (PATH_MAX).
const LONGEST_PATH: usize = 4096;

/// Returns whether this process has one thread. Looks up no path, except where the filter of a container denies unshare(2): any user
/// can make a look-up in the directory of a process in `/proc` wait for ever.
///
/// # Errors
/// `PermissionDenied` in a sandbox, where no process can be started.
fn has_one_thread() -> io::Result<bool> {
    if clone::is_denied() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    if never_had_threads() {
        return Ok(true);
    }
    // With one thread this changes nothing (unshare(2)). SAFETY: takes an integer.
    match check(unsafe { libc::unshare(libc::CLONE_THREAD) }) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        // A directory has one link for itself, one in its parent, and one for each subdirectory.
        Err(_) => fs::metadata("/proc/self/task").map(|task| task.nlink() <= 3),
    }
}

/// Returns whether the C library knows that this process has never started a thread: `__libc_single_threaded` of glibc 2.32.
fn never_had_threads() -> bool {
    // SAFETY: the name ends in NUL, and RTLD_DEFAULT is no handle that could be closed.
    let flag = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) }.cast::<libc::c_char>();
    // SAFETY: the C library has a variable of this name and type (sys/single_threaded.h), or none; it is written by this thread, or
    // before another thread exists.
    !flag.is_null() && unsafe { flag.read_volatile() } != 0
}

fn suspend(signal: i32, stop: impl FnOnce() -> io::Result<()>) -> io::Result<Suspension> {
    // With SIGCONT blocked, its arrival stays visible as pending; the kernel discards older ones when it sends a stop
    // signal.
    let before = signals::block(SignalSet::of(&[libc::SIGCONT]))?;
    let disposition = signals::set_disposition(signal, Disposition::Default).ok();
    let outcome = signals::unblock(SignalSet::of(&[signal])).and_then(|_| stop());
    let resumed = signals::pending().map(|pending| pending.contains(libc::SIGCONT));
    if let Some(disposition) = disposition {
        signals::set_disposition(signal, disposition)?;
    }
    signals::set_mask(before)?;
    outcome?;
    Ok(if resumed? { Suspension::Resumed } else { Suspension::Refused })
}

fn wait_raw(pid: i32, waiting: Waiting) -> io::Result<Option<(Pid, WaitEvent, Usage)>> {
    let options = match waiting {
        Waiting::ForEnd => 0,
        Waiting::ForChange => libc::WUNTRACED | libc::WCONTINUED,
        Waiting::EndNow => libc::WNOHANG,
        Waiting::ChangeNow => libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED,
    };
    let mut status = 0;
    // SAFETY: rusage is plain integers, for which zero is valid.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    let child = retry(|| {
        // SAFETY: both variables live through the call.
        check(unsafe { libc::wait4(pid, &raw mut status, options, &raw mut usage) })
    })?;
    let Some(child) = Pid::new(child) else { return Ok(None) };
    let event = if libc::WIFEXITED(status) {
        WaitEvent::Exited(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        WaitEvent::Signaled { signal: libc::WTERMSIG(status), core: libc::WCOREDUMP(status) }
    } else if libc::WIFSTOPPED(status) {
        WaitEvent::Stopped(libc::WSTOPSIG(status))
    } else {
        WaitEvent::Continued
    };
    Ok(Some((child, event, Usage::from_raw(&usage))))
}

impl Usage {
    fn from_raw(raw: &libc::rusage) -> Self {
        Self {
            user: duration(raw.ru_utime),
            system: duration(raw.ru_stime),
            max_rss_kib: u64::try_from(raw.ru_maxrss).unwrap_or(0),
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u32::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::from(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(child: impl FnOnce() -> i32) -> WaitEvent {
        let pid = fork(|| exit_now(child())).unwrap();
        wait(pid, Waiting::ForEnd).unwrap().unwrap().0
    }

    #[test]
    fn a_time_namespace_counts_as_a_pid_namespace_does() {
        assert_eq!((joined(None, None), joined(Some(3), None), joined(None, Some(4))), (None, Some(3), Some(4)));
        assert_eq!(joined(Some(3), Some(4)), Some((4 << 32) + 3));
        assert_eq!(namespaces().unwrap(), namespaces().unwrap());
        let child = fork(|| {
            let own = namespace("time").unwrap();
            // SAFETY: takes an integer; the children of this process start in the namespace.
            if own.is_none() || unsafe { libc::unshare(libc::CLONE_NEWTIME) } != 0 {
                exit_now(0) // the kernel has none, or only root may do this
            }
            assert_ne!(namespace("time_for_children").unwrap(), own);
            let next = namespace("time_for_children").unwrap();
            let inside = fork(|| exit_now(i32::from(namespace("time").unwrap() != next))).unwrap();
            let ended = wait(inside, Waiting::ForEnd).unwrap().unwrap().0;
            exit_now(i32::from(ended != WaitEvent::Exited(0)))
        })
        .unwrap();
        assert_eq!(wait(child, Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(0));
    }

    #[test]
    fn the_exit_status_of_a_child_is_reported() {
        assert_eq!(status_of(|| 7), WaitEvent::Exited(7));
    }

    #[test]
    fn a_raised_signal_kills_even_when_it_was_blocked_and_ignored() {
        let event = status_of(|| {
            signals::set_disposition(libc::SIGTERM, Disposition::Ignore).unwrap();
            signals::block(SignalSet::of(&[libc::SIGTERM])).unwrap();
            raise_default(libc::SIGTERM)
        });
        assert_eq!(event, WaitEvent::Signaled { signal: libc::SIGTERM, core: false });
    }

    #[test]
    fn a_signal_that_does_not_kill_becomes_an_exit_status() {
        assert_eq!(status_of(|| raise_default(libc::SIGCHLD)), WaitEvent::Exited(128 + libc::SIGCHLD));
    }

    #[test]
    fn a_stopped_child_is_reported_and_resumed() {
        let (reader, writer) = crate::poll::pipe().unwrap();
        let pid = fork(|| {
            // In a process group of its own, whose parent is in the same session: not orphaned.
            set_process_group(Pid::own(), Pid::own()).unwrap();
            let suspension = stop_self(libc::SIGTSTP).unwrap();
            crate::poll::read(reader.as_fd(), &mut [0]).unwrap();
            exit_now(if suspension == Suspension::Resumed { 3 } else { 4 })
        })
        .unwrap();
        assert_eq!(wait(pid, Waiting::ForChange).unwrap().unwrap().0, WaitEvent::Stopped(libc::SIGTSTP));
        assert_eq!(wait(pid, Waiting::ChangeNow).unwrap(), None);
        kill(pid, libc::SIGCONT).unwrap();
        assert_eq!(wait(pid, Waiting::ForChange).unwrap().unwrap().0, WaitEvent::Continued);
        crate::poll::write(writer.as_fd(), b"x").unwrap();
        assert_eq!(wait(pid, Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(3));
    }

    #[test]
    fn a_pending_stop_signal_does_not_stop_twice() {
        let child = fork(|| {
            set_process_group(Pid::own(), Pid::own()).unwrap();
            signals::block(SignalSet::of(&[libc::SIGTSTP])).unwrap();
            kill(Pid::own(), libc::SIGTSTP).unwrap();
            exit_now(i32::from(stop_self(libc::SIGTSTP).unwrap() != Suspension::Resumed))
        })
        .unwrap();
        let mut events = Vec::new();
        while !matches!(events.last(), Some(WaitEvent::Exited(_))) {
            let event = wait(child, Waiting::ForChange).unwrap().unwrap().0;
            if matches!(event, WaitEvent::Stopped(_)) {
                kill(child, libc::SIGCONT).unwrap();
            }
            events.push(event);
        }
        events.retain(|event| *event != WaitEvent::Continued);
        assert_eq!(events, [WaitEvent::Stopped(libc::SIGTSTP), WaitEvent::Exited(0)]);
    }

    #[test]
    fn a_change_is_reported_without_reaping() {
        let child = fork(|| {
            loop {
                std::thread::sleep(Duration::from_secs(60));
            }
        })
        .unwrap();
        assert!(!has_changed(child));
        for (signal, event) in
            [(libc::SIGSTOP, WaitEvent::Stopped(libc::SIGSTOP)), (libc::SIGCONT, WaitEvent::Continued)]
        {
            kill(child, signal).unwrap();
            while !has_changed(child) {
                std::thread::yield_now();
            }
            assert_eq!(wait(child, Waiting::ForChange).unwrap().unwrap().0, event);
            assert!(!has_changed(child));
        }
        kill(child, libc::SIGKILL).unwrap();
        wait(child, Waiting::ForEnd).unwrap();
        assert!(has_changed(child));
    }

    #[test]
    fn stopping_an_orphaned_group_is_reported_as_refused() {
        let event = status_of(|| {
            new_session().unwrap();
            if stop_self(libc::SIGTTIN).unwrap() == Suspension::Refused { 0 } else { 1 }
        });
        assert_eq!(event, WaitEvent::Exited(0));
    }

    #[test]
    fn a_pid_never_means_a_group_or_every_process() {
        assert!(Pid::new(0).is_none() && Pid::new(-1).is_none());
        assert!(kill_group(Pid::new(1).unwrap(), 0).is_err());
    }

    #[test]
    fn a_process_knows_whether_it_has_other_threads() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || held.recv());
        let during = has_one_thread().unwrap();
        let alone = status_of(|| i32::from(!has_one_thread().unwrap()));
        drop(hold);
        let _ = thread.join();
        assert!(!during, "the harness of the tests has threads");
        assert_eq!(alone, WaitEvent::Exited(0));
    }

    #[test]
    fn a_child_is_started_and_known_without_the_look_up_of_a_path() {
        if !started::has_numbers() {
            return; // before Linux 6.9
        }
        let event = status_of(|| {
            let root = std::env::temp_dir().join(format!("no-paths-{}", Pid::own()));
            if fs::create_dir(&root).and_then(|()| nix::unistd::chroot(&root).map_err(io::Error::from)).is_err() {
                return 0; // only root may do this
            }
            if fs::exists("/proc").unwrap_or(true) || !has_one_thread().is_ok_and(|is_one| is_one) {
                return 1;
            }
            let Ok(child) = fork(|| exit_now(0)) else { return 2 };
            let number = identity(child);
            let again = identity(child);
            let _ = wait(child, Waiting::ForEnd);
            i32::from(number.is_err() || number.ok() != again.ok() || identity(child).is_ok())
        });
        assert_eq!(event, WaitEvent::Exited(0));
    }

    #[test]
    fn an_open_list_of_children_works_without_opening_files() {
        let Ok(children) = Children::open() else { return };
        let event = status_of(|| {
            let Ok(children) = Children::open() else { return 1 };
            let sleeper = fork(|| {
                std::thread::sleep(Duration::from_secs(60));
                exit_now(0)
            })
            .unwrap();
            let found = children.now();
            kill(sleeper, libc::SIGKILL).unwrap();
            wait(sleeper, Waiting::ForEnd).unwrap();
            i32::from(found != [sleeper] || !children.now().is_empty())
        });
        assert_eq!(event, WaitEvent::Exited(0));
        assert!(!children.now().contains(&Pid::own()));
    }

    #[test]
    fn the_own_session_has_a_leader_with_a_start_time() {
        let key = session_leader();
        assert_eq!(key, session_leader());
        assert!(key.is_none_or(|key| Pid::new(key.pid).is_some() && key.started > 0));
    }
}
