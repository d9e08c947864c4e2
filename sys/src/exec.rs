//! Sets the attributes of the command's process, in the order that they require, then calls exec.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cgroup::Cgroup;
use crate::clone::vfork;
use crate::inherited::SchedulingState;
use crate::kernel::{check, retry};
use crate::limits::Limits;
use crate::process::{Pid, Waiting, kill, wait};
use crate::sanitize::{Ids, close_on_exec, ids, keep_over_exec, supplementary_groups};
use crate::seccomp::Pass;
use crate::signals::{self, Disposition, STOPS, SignalSet};
use crate::trusted::RootsName;

/// The user and groups that a process runs as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The user id: real, effective and saved.
    pub uid: u32,
    /// The group id: real, effective and saved.
    pub gid: u32,
    /// The supplementary groups, and no others.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// Sets these ids for good, and verifies with the kernel that they are in force. For root, in a program with one
    /// thread.
    ///
    /// # Errors
    /// The id `u32::MAX`, which means "leave as it is" to the kernel (CVE-2019-14287); a call that fails; any mismatch.
    /// The process may then have some of the ids and must exit.
    pub fn assume(&self) -> Result<(), ExecError> {
        if self.uid == u32::MAX || self.gid == u32::MAX || self.groups.contains(&u32::MAX) {
            return Err(ExecError { step: Step::Verify, errno: libc::EINVAL });
        }
        // SAFETY: pointer and count describe the vector.
        check(unsafe { libc::setgroups(self.groups.len(), self.groups.as_ptr()) }).map_err(at(Step::Groups))?;
        // SAFETY: takes integers.
        check(unsafe { libc::setresgid(self.gid, self.gid, self.gid) }).map_err(at(Step::Group))?;
        // SAFETY: takes integers.
        check(unsafe { libc::setresuid(self.uid, self.uid, self.uid) }).map_err(at(Step::User))?;
        self.verify()
    }

    fn verify(&self) -> Result<(), ExecError> {
        let ids = ids().map_err(at(Step::Verify))?;
        let mut held = supplementary_groups().map_err(at(Step::Verify))?;
        let mut wanted = self.groups.clone();
        // The kernel sorts the groups and may drop duplicates.
        held.sort_unstable();
        held.dedup();
        wanted.sort_unstable();
        wanted.dedup();
        if ids == Ids::all(self.uid, self.gid) && held == wanted {
            Ok(())
        } else {
            Err(ExecError { step: Step::Verify, errno: libc::EPERM })
        }
    }
}

/// What to execute.
#[derive(Clone, Copy, Debug)]
pub enum Image<'a> {
    /// The opened file itself, whatever its path refers to by now. Not for scripts: their interpreter needs a path.
    /// Before Linux 6.14 the process list shows the number of the descriptor instead of the program's name.
    Descriptor(BorrowedFd<'a>),
    /// The opened file itself, a script: its interpreter reads it as `/dev/fd/N`, so the descriptor stays open. A
    /// script without an interpreter (`ENOEXEC`) is run by /bin/sh.
    Script(BorrowedFd<'a>),
    /// The file at a path that only root can redirect. A file that the kernel does not know how to execute (`ENOEXEC`)
    /// is run by /bin/sh, as every shell does.
    Path(&'a RootsName),
    /// The file at a path as it is now, for a process without more privilege than its caller: an editor.
    Powerless(&'a CStr),
}

/// The programs that a command and its descendants may execute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Programs {
    /// Any.
    Any,
    /// Only the command's own image, once: every later execve(2) of any process in the tree fails with EACCES.
    ThisAlone,
}

/// The directory in which a command starts.
#[derive(Clone, Copy, Debug)]
pub enum Directory<'a> {
    /// The current directory.
    Unchanged,
    /// This directory; an error if it cannot be entered.
    Required(&'a CStr),
    /// This opened directory.
    Opened(BorrowedFd<'a>),
    /// The current directory instead of the requested one; the text goes to standard error.
    Instead(&'a str),
}

/// All attributes of a command's process.
#[derive(Debug)]
pub struct Execution<'a> {
    /// What to execute.
    pub image: Image<'a>,
    /// Its arguments, `argv[0]` first.
    pub argv: &'a [CString],
    /// Its environment, as `NAME=value`.
    pub environment: &'a [CString],
    /// The user and groups that it runs as.
    pub credentials: &'a Credentials,
    /// The process that starts it, if the kernel shall kill the command when that process dies
    /// (PR_SET_PDEATHSIG(2const)). The command's children do not inherit that.
    pub dies_with: Option<Pid>,
    /// Its resource limits.
    pub limits: &'a Limits,
    /// The limits that this process has.
    pub own_limits: &'a Limits,
    /// A file whose data must be on the disk before the command is executed. The child waits for that while it still has the
    /// credentials of this process.
    pub unsynced: Option<BorrowedFd<'a>>,
    /// Its scheduling and similar attributes; [`SchedulingState::default`] leaves them as they are in this process.
    pub scheduling: &'a SchedulingState,
    /// Its file mode mask.
    pub umask: u32,
    /// Its working directory, entered with the new credentials.
    pub directory: Directory<'a>,
    /// Signals that it ignores from the start; all others have their default action.
    pub ignored_signals: SignalSet,
    /// Signals that are blocked from the start.
    pub blocked_signals: SignalSet,
    /// Its oom_score_adj, written before root is given up, for a positive value that [`sanitize`](crate::sanitize())
    /// removed; errors are ignored.
    pub oom_score_adj: Option<i32>,
    /// Its standard streams; `None` leaves one as it is. All descriptors from 3 on are closed
    /// but for `kept`.
    pub standard: [Option<BorrowedFd<'a>>; 3],
    /// The descriptors from 3 on that stay open.
    pub kept: &'a [RawFd],
    /// The programs that it and its descendants may execute after that.
    pub programs: Programs,
}

impl Execution<'_> {
    /// Starts the command in a child that borrows our memory until it executes the command (vfork(2)), and waits until
    /// it has. No page table is copied and no page is copied on write, which halves the cost of a fork. The child is a
    /// member of `group` from the start, if one is given.
    ///
    /// Nothing interrupts the wait. A terminal cannot stop the child before the exec, but a process of its user can, and
    /// a file system or the reader of its standard error can delay it: where these are not trusted, fork and
    /// [`run`](Self::run).
    ///
    /// # Errors
    /// The step that failed in the child, which has ended and was reaped; [`Step::Process`] when there is no child.
    pub fn spawn(self, group: Option<&Cgroup>) -> Result<Pid, ExecError> {
        let mask = signals::set_mask(SignalSet::ALL).map_err(at(Step::Process))?;
        let mut process = NewProcess { execution: Some(self), error: None };
        // Not zeroed, because most of it is never touched.
        let mut stack = Vec::with_capacity(STACK / size_of::<u128>());
        let group = group.map(AsFd::as_fd);
        // SAFETY: `become_command` runs on a stack of its own, which is aligned for any type and lives until the child
        // has left it, so nothing else touches the shared memory, and all signals are blocked, so no handler does. The
        // child has descriptors, dispositions, credentials and a working directory of its own, and leaves by exec or
        // _exit without unwinding.
        let child = unsafe { vfork(become_command, (&raw mut process).cast(), stack.spare_capacity_mut(), group) };
        let stop = signals::held_back();
        let restored = signals::set_mask(mask);
        let child = Pid::new(child.map_err(at(Step::Process))?);
        if let Some(error) = process.error {
            let _ = child.map(|child| wait(child, Waiting::ForEnd));
            return Err(error);
        }
        restored.map_err(at(Step::Process))?;
        // The stop acts on the command, whose parent waits for nothing now.
        let _ = child.zip(stop).map(|(child, stop)| kill(child, stop));
        child.ok_or(ExecError { step: Step::Process, errno: libc::ECHILD })
    }

    /// Executes the command in this process. For a forked child: after an error the process is in an undefined state
    /// and must exit.
    ///
    /// # Errors
    /// The step that failed; `ENOENT` at [`Step::Image`] also for a missing interpreter (execve(2)).
    pub fn run(self) -> Result<Infallible, ExecError> {
        self.run_with(|signal| signals::set_disposition(signal, Disposition::Default).map(drop))
    }

    /// Executes the command; `restore` handles each signal that is not ignored.
    fn run_with(self, restore: impl Fn(i32) -> io::Result<()>) -> Result<Infallible, ExecError> {
        let argv = pointers(self.argv);
        let environment = pointers(self.environment);
        let script = match self.image {
            Image::Script(fd) => CString::new(format!("/dev/fd/{}", fd.as_raw_fd())).ok(),
            Image::Descriptor(_) | Image::Path(_) | Image::Powerless(_) => None,
        };
        close_on_exec().map_err(at(Step::Descriptors))?;
        place_streams(self.standard).map_err(at(Step::Descriptors))?;
        self.kept.iter().try_for_each(|fd| keep_over_exec(*fd)).map_err(at(Step::Descriptors))?;
        if let Some(score) = self.oom_score_adj.filter(|score| *score > 0) {
            // It only affects which process the kernel kills first; the command starts in any case.
            let _ = fs::write("/proc/self/oom_score_adj", score.to_string());
        }
        for signal in signals::changeable() {
            let done = match self.ignored_signals.contains(signal) {
                true => signals::set_disposition(signal, Disposition::Ignore).map(drop),
                // `sanitize` gave them their default action, and nothing in our programs changes it.
                false if signals::is_realtime(signal) => Ok(()),
                false => restore(signal),
            };
            done.map_err(at(Step::Signals))?;
        }
        // SAFETY: umask takes an integer and cannot fail.
        unsafe { libc::umask(self.umask) };
        self.limits.apply(self.own_limits).map_err(at(Step::Limits))?;
        let pass = match self.programs {
            Programs::Any => Pass::NONE,
            // While we are root, which may install a filter without disabling set-user-ID programs.
            Programs::ThisAlone => Pass::install().map_err(at(Step::Filter))?,
        };
        self.unsynced.map_or(Ok(()), sync_data).map_err(at(Step::Record))?;
        self.scheduling.resume();
        self.credentials.assume()?;
        // A change of credentials clears it, so it comes after them.
        self.dies_with.map_or(Ok(()), die_with).map_err(at(Step::Process))?;
        self.directory.enter()?;
        signals::set_mask(self.blocked_signals).map_err(at(Step::Signals))?;
        let error = match self.image {
            Image::Path(name) => execute_or_interpret(name.as_c_str(), &argv, &environment, &pass),
            Image::Powerless(path) => execute_or_interpret(path, &argv, &environment, &pass),
            Image::Descriptor(fd) => execute_opened(fd, &argv, &environment, &pass),
            Image::Script(fd) => {
                keep_over_exec(fd.as_raw_fd()).map_err(at(Step::Descriptors))?;
                match (execute_opened(fd, &argv, &environment, &pass), script) {
                    (error, Some(script)) if error.raw_os_error() == Some(libc::ENOEXEC) => {
                        execute_by_shell(&script, &argv, &environment, &pass)
                    }
                    (error, _) => error,
                }
            }
        };
        Err(at(Step::Image)(error))
    }
}

/// A step in starting the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Standard streams and close-on-exec.
    Descriptors,
    /// Dispositions and mask.
    Signals,
    /// Resource limits.
    Limits,
    /// setgroups(2).
    Groups,
    /// setresgid(2).
    Group,
    /// setresuid(2).
    User,
    /// The kernel reports other credentials than were set.
    Verify,
    /// chdir(2) or fchdir(2).
    Directory,
    /// execve(2) or execveat(2).
    Image,
    /// clone(2).
    Process,
    /// seccomp(2).
    Filter,
    /// fdatasync(2).
    Record,
}

const STEPS: [Step; 12] = [
    Step::Descriptors,
    Step::Signals,
    Step::Limits,
    Step::Groups,
    Step::Group,
    Step::User,
    Step::Verify,
    Step::Directory,
    Step::Image,
    Step::Process,
    Step::Filter,
    Step::Record,
];

/// The text for EAGAIN when a process is started: fork(2) and the pids controller (cgroups(7)) do not say which limit
/// was reached.
pub const NO_ROOM: &str = "too many processes are running, of this user or in a control group";

/// Why a command did not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExecError {
    /// The step that failed.
    pub step: Step,
    /// The kernel's error number.
    pub errno: i32,
}

impl ExecError {
    /// The program is no longer the one that was to be executed.
    pub const CHANGED: Self = Self { step: Step::Image, errno: libc::ESTALE };

    /// Encodes the error for the pipe to the parent.
    pub fn to_bytes(self) -> [u8; 5] {
        let place = STEPS.iter().position(|step| *step == self.step).and_then(|place| u8::try_from(place).ok());
        let [a, b, c, d] = self.errno.to_le_bytes();
        [place.unwrap_or(u8::MAX), a, b, c, d]
    }

    /// Decodes [`Self::to_bytes`]; `None` for any other bytes.
    pub fn from_bytes(bytes: [u8; 5]) -> Option<Self> {
        let [place, a, b, c, d] = bytes;
        let step = *STEPS.get(usize::from(place))?;
        Some(Self { step, errno: i32::from_le_bytes([a, b, c, d]) })
    }

    /// Returns the error number as a standard error.
    pub fn error(self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }

    /// Returns the error of a step.
    pub fn at(step: Step, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    /// Returns the error of a process that could not be started.
    pub fn unborn(error: &io::Error) -> Self {
        Self { step: Step::Process, errno: error.raw_os_error().unwrap_or(libc::EINVAL) }
    }

    /// Returns the C library's text for the error, without its number, or [`NO_ROOM`] for a process that could not be
    /// started.
    pub fn reason(self) -> &'static str {
        match (self.step, self.errno) {
            (Step::Process, libc::EAGAIN) => NO_ROOM,
            (Step::Process, libc::ENOENT | libc::ENODEV) => "its control group was removed",
            (Step::Process, libc::EBUSY | libc::EOPNOTSUPP) => "its control group accepts no processes",
            (_, errno) => nix::errno::Errno::from_raw(errno).desc(),
        }
    }
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.step {
            Step::Descriptors => "set up standard input and output",
            Step::Signals => "set up signals",
            Step::Limits => "restore resource limits",
            Step::Groups => "set supplementary groups",
            Step::Group => "set the group id",
            Step::User => "set the user id",
            Step::Verify => "verify the credentials",
            Step::Directory => "change to the directory",
            Step::Image => "execute the command",
            Step::Process => "start a process",
            Step::Record => "write the record of the start to the disk",
            Step::Filter => "keep it from executing other programs (noexec)",
        };
        write!(f, "cannot {what}: {}", self.reason())
    }
}

impl std::error::Error for ExecError {}

impl Directory<'_> {
    fn enter(self) -> Result<(), ExecError> {
        let entered = match self {
            Self::Unchanged => Ok(0),
            // SAFETY: the path ends in NUL and lives through the call.
            Self::Required(path) => check(unsafe { libc::chdir(path.as_ptr()) }),
            // SAFETY: takes a descriptor, which is open.
            Self::Opened(fd) => check(unsafe { libc::fchdir(fd.as_raw_fd()) }),
            Self::Instead(words) => {
                // Standard error may be closed.
                let _ = writeln!(io::stderr(), "{words}");
                Ok(0)
            }
        };
        entered.map(drop).map_err(at(Step::Directory))
    }
}

/// Executes the program, or runs it by the shell when the kernel does not know how to execute it.
fn execute_or_interpret(
    path: &CStr,
    argv: &[*const libc::c_char],
    environment: &[*const libc::c_char],
    pass: &Pass,
) -> io::Error {
    match execute(path, argv, environment, pass) {
        error if error.raw_os_error() == Some(libc::ENOEXEC) => execute_by_shell(path, argv, environment, pass),
        error => error,
    }
}

/// Executes the program at a path; returns only with the error.
fn execute(path: &CStr, argv: &[*const libc::c_char], environment: &[*const libc::c_char], pass: &Pass) -> io::Error {
    let (argv, environment) = (argv.as_ptr(), environment.as_ptr());
    // SAFETY: path and strings end in NUL, both arrays end with a null pointer, and all of them outlive the call. The
    // kernel reads three arguments, and a filter the sixth.
    unsafe { libc::syscall(libc::SYS_execve, path.as_ptr(), argv, environment, 0, 0, pass.word()) };
    io::Error::last_os_error()
}

/// Executes an opened program.
fn execute_opened(
    fd: BorrowedFd<'_>,
    argv: &[*const libc::c_char],
    environment: &[*const libc::c_char],
    pass: &Pass,
) -> io::Error {
    let (fd, path, flags) = (fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH);
    let (argv, environment) = (argv.as_ptr(), environment.as_ptr());
    // SAFETY: the strings end in NUL, both arrays end with a null pointer, and all of them outlive the call; the empty
    // path with AT_EMPTY_PATH names the descriptor, which is open. A filter reads the sixth argument.
    unsafe { libc::syscall(libc::SYS_execveat, fd, path, argv, environment, flags, pass.word()) };
    io::Error::last_os_error()
}

/// Runs a script that names no interpreter by the shell.
fn execute_by_shell(
    script: &CStr,
    argv: &[*const libc::c_char],
    environment: &[*const libc::c_char],
    pass: &Pass,
) -> io::Error {
    let words = [c"sh".as_ptr(), script.as_ptr()];
    let argv: Vec<_> = words.into_iter().chain(argv.iter().skip(1).copied()).collect();
    execute(c"/bin/sh", &argv, environment, pass)
}

fn at(step: Step) -> impl Fn(io::Error) -> ExecError {
    move |error| ExecError::at(step, &error)
}

fn sync_data(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes a descriptor, which is open.
    retry(|| check(unsafe { libc::fdatasync(file.as_raw_fd()) })).map(drop)
}

/// The memory that parent and child of [`Execution::spawn`] share.
struct NewProcess<'a> {
    execution: Option<Execution<'a>>,
    error: Option<ExecError>,
}

/// The size of the stack for the few frames between clone and exec, in bytes.
const STACK: usize = 128 << 10;

extern "C" fn become_command(process: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `spawn` passes its own `NewProcess` and does not touch it before the child has left.
    let process = unsafe { &mut *process.cast::<NewProcess<'_>>() };
    // A panic must not unwind into C, nor into a parent that continues in the same memory.
    // Stopped in the borrowed memory, it would stop its parent with it.
    let restore = |signal| match STOPS.contains(&signal) {
        true => signals::hold_back(signal),
        false => signals::set_disposition(signal, Disposition::Default).map(drop),
    };
    let outcome =
        catch_unwind(AssertUnwindSafe(|| process.execution.take().map(|execution| execution.run_with(restore))));
    process.error = Some(match outcome {
        Ok(Some(Err(error))) => error,
        Ok(Some(Ok(never))) => match never {},
        Ok(None) | Err(_) => ExecError { step: Step::Process, errno: libc::EINVAL },
    });
    // SAFETY: takes an integer, runs no destructor and flushes nothing that the parent will flush.
    unsafe { libc::_exit(1) }
}

/// # Errors
/// `ESRCH` when `parent` has already died, so that the kernel would send no signal.
fn die_with(parent: Pid) -> io::Result<()> {
    // SAFETY: takes integers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0, 0, 0) })?;
    if Pid::parent() == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

fn pointers(words: &[CString]) -> Vec<*const libc::c_char> {
    words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Moves descriptors to 0, 1 and 2. It first copies them above 2, since one may have a number that another needs.
fn place_streams(standard: [Option<BorrowedFd<'_>>; 3]) -> io::Result<()> {
    let mut copies: [Option<RawFd>; 3] = [None; 3];
    for (copy, fd) in copies.iter_mut().zip(standard) {
        if let Some(fd) = fd {
            // SAFETY: F_DUPFD_CLOEXEC takes the lowest number wanted and makes a new descriptor.
            *copy = Some(check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) })?);
        }
    }
    for (place, copy) in (0..).zip(copies) {
        if let Some(copy) = copy {
            // SAFETY: replaces a standard stream, which no value owns; the copy is closed at exec.
            retry(|| check(unsafe { libc::dup2(copy, place) }))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
