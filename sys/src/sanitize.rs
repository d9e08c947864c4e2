//! The first step of a privileged program: resets everything that the caller could have set in the process to attack
//! it, returns it as a value for the command, and becomes root in all ids. Makes no decision about access.

use std::cell::Cell;
use std::ffi::{CStr, OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cgroup::Cgroup;
use crate::closable::first_unclosable;
use crate::descriptors::open_descriptors;
use crate::inherited::SchedulingState;
use crate::kernel::check;
use crate::limits::{self, Lifted, LimitError, Limits, Shortfall};
use crate::signals::{self, Disposition, STOPS, SignalSet};

/// What the caller passed on with the exec, for the command.
#[derive(Debug)]
pub struct Inherited {
    /// The caller's identity, from the kernel.
    pub identity: KernelIdentity,
    /// The arguments; possibly none at all (CVE-2021-4034).
    pub arguments: Vec<OsString>,
    /// The environment unchanged: duplicates and entries without `=` included.
    pub environment: Vec<OsString>,
    /// The file mode mask.
    pub umask: u32,
    /// Every resource limit.
    pub limits: Limits,
    /// The resource limits of this process now.
    pub own_limits: Limits,
    /// The scheduling of the process, and what else the command gets back of [`TABLE`](crate::inherited::TABLE).
    pub scheduling: SchedulingState,
    /// Signals that were ignored, for example by `nohup`.
    pub ignored_signals: SignalSet,
    /// Signals that were blocked.
    pub blocked_signals: SignalSet,
    /// The adjustment of the out-of-memory killer's score, -1000 to 1000; `None` when it cannot be read.
    pub oom_score_adj: Option<i32>,
    /// `false` where descriptor 0, 1 or 2 was closed; it is now open on `/dev/null` and stays so.
    pub standard_streams: [bool; 3],
    /// The control group of an ordinary user that this process has left, see
    /// [`leave_foreign`](crate::cgroup::leave_foreign).
    pub group: Option<Rc<Cgroup>>,
    /// Descriptors from 3 on that were open; they still are, until they are given away, and are closed at exec unless they
    /// are kept for the command.
    pub descriptors: Vec<RawFd>,
    /// Whether another process has some of them.
    pub(crate) is_given_away: Cell<bool>,
}

/// Real ids and groups of the caller, as the kernel had them before this process became root. Created only by
/// [`sanitize`].
#[derive(PartialEq, Eq, Debug)]
pub struct KernelIdentity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl KernelIdentity {
    /// Returns an identity for tests.
    #[cfg(test)]
    pub(crate) fn of(uid: u32) -> Self {
        Self { uid, gid: uid, groups: Vec::new() }
    }

    /// Returns the real user id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns the real group id.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Returns the supplementary groups, in the kernel's order.
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }
}

/// Why the process cannot run as root safely. Nothing privileged was done.
#[derive(Debug)]
pub enum SanitizeError {
    /// The program file is not owned by root with the set-user-id bit.
    NotSetuidRoot {
        /// The program.
        program: PathBuf,
    },
    /// It is set-user-ID root, but its file system is mounted `nosuid`.
    NosuidMount {
        /// The program.
        program: PathBuf,
    },
    /// It is set-user-ID root, but the process was started with "no new privileges" (prctl(2)), as in some containers.
    NoNewPrivileges {
        /// The program.
        program: PathBuf,
    },
    /// It is set-user-ID root, but a process without privilege traces this one, as strace(1) does: the kernel then starts it without
    /// its privilege.
    Traced {
        /// The program.
        program: PathBuf,
    },
    /// `/proc` is not mounted, so why this process is not root cannot be found out.
    NotRootWithoutProc,
    /// A user can delay the closing of this descriptor: its file is on FUSE.
    NotClosable(RawFd),
    /// A limit is too low, and cannot be raised.
    Limit(Shortfall),
    /// A system call failed that does not fail on a working system.
    System {
        /// What it was to do.
        what: &'static str,
        /// Its error.
        error: io::Error,
    },
}

impl fmt::Display for SanitizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSetuidRoot { program } => {
                write!(f, "{program:?} must be owned by uid 0 and have the setuid bit set")
            }
            Self::NosuidMount { program } => {
                write!(f, "{program:?} has no effect as setuid: its file system is mounted with the 'nosuid' option")
            }
            Self::NoNewPrivileges { program } => write!(
                f,
                "{program:?} has no effect as setuid: the \"no new privileges\" flag is set, as it is in some containers"
            ),
            Self::Traced { program } => write!(
                f,
                "{program:?} has no effect as setuid: a process without privilege traces it, as strace(1) and debuggers do"
            ),
            Self::NotRootWithoutProc => {
                f.write_str("effective uid is not 0, and why is unknown without /proc: mount it first")
            }
            Self::NotClosable(fd) => {
                let (what, cure) = match fd {
                    0 => ("standard input".to_owned(), "pass it through a pipe (cat FILE |)".to_owned()),
                    1 => ("standard output".to_owned(), "pass it through a pipe (| cat >FILE)".to_owned()),
                    2 => ("standard error".to_owned(), "pass it through a pipe (2>&1 | cat >FILE)".to_owned()),
                    other => (format!("descriptor {other}"), format!("close it first ({other}>&-)")),
                };
                write!(f, "{what} is a file on a FUSE file system, which can delay its closing for ever: {cure}")
            }
            Self::Limit(shortfall) => shortfall.fmt(f),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for SanitizeError {}

/// Resets the process by [`TABLE`](crate::inherited::TABLE) and becomes root in all ids. Called once, before anything
/// else, with one thread. `name` is the program's name in syslog, whatever name the caller gave it.
///
/// From here on no terminal can stop this process: its stop signals ([`STOPS`]) are blocked, and only
/// [`stop_self`](crate::process::stop_self) lets one through. The caller cannot send other signals to a process that is
/// root in all ids.
///
/// The working directory stays unchanged.
///
/// # Errors
/// [`SanitizeError`]; the process is then unchanged, or not fit to go on.
pub fn sanitize(name: &'static CStr) -> Result<Inherited, SanitizeError> {
    let identity = identity().map_err(because("read the caller's ids"))?;
    become_root()?;
    let (uid, gid, groups) = (identity.uid, identity.gid, identity.groups.clone());
    reset(name, identity).inspect_err(|_| {
        let _ = leave_root(uid, gid, &groups); // the caller may keep it from ending
    })
}

fn reset(name: &'static CStr, identity: KernelIdentity) -> Result<Inherited, SanitizeError> {
    let (ignored_signals, blocked_signals) = reset_signals().map_err(because("reset signals"))?;
    let scheduling = SchedulingState::reset(); // early, because a low priority would slow the rest
    call_ourselves(name);
    let standard_streams = open_standard_streams().map_err(because("open /dev/null for closed descriptors"))?;
    let descriptors = open_descriptors().unwrap_or_default(); // without /proc none can be kept for the command
    close_on_exec().map_err(because("mark descriptors close-on-exec"))?;
    let unclosable = first_unclosable(&descriptors).map_err(because("look at a descriptor"))?;
    unclosable.map_or(Ok(()), |fd| Err(SanitizeError::NotClosable(fd)))?;
    let arguments = std::env::args_os().collect();
    let environment = take_environment();
    disarm_timers().map_err(because("disarm timers"))?;
    let Lifted { before: limits, own: own_limits } = limits::lift(descriptors.len()).map_err(|error| match error {
        LimitError::Short(shortfall) => SanitizeError::Limit(shortfall),
        LimitError::System(error) => because("reset resource limits")(error),
    })?;
    // SAFETY: umask takes an integer and cannot fail.
    let umask = unsafe { libc::umask(0o077) };
    reset_process_flags().map_err(because("reset process flags"))?;
    let oom_score_adj = reset_oom_score();
    Ok(Inherited {
        identity,
        arguments,
        environment,
        umask,
        limits,
        own_limits,
        scheduling,
        ignored_signals,
        blocked_signals,
        oom_score_adj,
        standard_streams,
        group: None,
        descriptors,
        is_given_away: Cell::new(false),
    })
}

/// Whether the caller ignored SIGPIPE, recorded by [`note_sigpipe`] before Rust's runtime ignores it ahead of `main`.
static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_sigpipe() {
    // SAFETY: sigaction is integers and an optional pointer, for which zero is valid.
    let mut old: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: nothing is set, `old` lives through the call. Runs as a constructor, when libc is up and there is one
    // thread.
    let answer = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut old) };
    SIGPIPE_WAS_IGNORED.store(answer == 0 && old.sa_sigaction == libc::SIG_IGN, Ordering::Relaxed);
}

// SAFETY: `.init_array` holds pointers to functions of this type, which the loader calls once before `main`; the
// calling convention ignores the additional arguments that it passes.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_SIGPIPE: extern "C" fn() = note_sigpipe;

fn because(what: &'static str) -> impl Fn(io::Error) -> SanitizeError {
    move |error| SanitizeError::System { what, error }
}

fn identity() -> io::Result<KernelIdentity> {
    // SAFETY: both calls take nothing and cannot fail.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    Ok(KernelIdentity { uid, gid, groups: supplementary_groups()? })
}

/// Returns the supplementary groups of this process.
pub(crate) fn supplementary_groups() -> io::Result<Vec<u32>> {
    // SAFETY: with size 0 nothing is written and the number of groups is returned.
    let count = check(unsafe { libc::getgroups(0, std::ptr::null_mut()) })?;
    let mut groups = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the vector has room for `count` groups, which cannot change meanwhile: there is one thread.
    let count = check(unsafe { libc::getgroups(count, groups.as_mut_ptr()) })?;
    groups.truncate(usize::try_from(count).unwrap_or(0));
    Ok(groups)
}

/// Sets the real, effective and saved ids to 0 and drops all supplementary groups: from now on the caller can neither
/// signal nor trace this process.
fn become_root() -> Result<(), SanitizeError> {
    // SAFETY: takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Err(not_root());
    }
    // The user last, because changing groups requires root. SAFETY: a count of 0 reads no groups.
    check(unsafe { libc::setgroups(0, std::ptr::null()) }).map_err(because("drop supplementary groups"))?;
    // SAFETY: takes integers.
    check(unsafe { libc::setresgid(0, 0, 0) }).map_err(because("become group 0"))?;
    // SAFETY: takes integers.
    check(unsafe { libc::setresuid(0, 0, 0) }).map_err(because("become user 0"))?;
    let ids = ids().map_err(because("read ids back"))?;
    if ids != Ids::all(0, 0) {
        return Err(because("become root")(io::Error::other("the kernel kept other ids")));
    }
    Ok(())
}

/// Takes the ids of the caller again, for a process that only reports its error and ends.
fn leave_root(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and count describe the slice.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: takes integers.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: takes integers.
    check(unsafe { libc::setresuid(uid, uid, uid) }).map(drop)
}

/// Real, effective and saved ids.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Ids {
    user: [u32; 3],
    group: [u32; 3],
}

impl Ids {
    /// Returns ids that are the same in all three places.
    pub(crate) fn all(uid: u32, gid: u32) -> Self {
        Self { user: [uid; 3], group: [gid; 3] }
    }
}

/// Returns the ids of this process.
pub(crate) fn ids() -> io::Result<Ids> {
    let (mut ruid, mut euid, mut suid) = (0, 0, 0);
    // SAFETY: the three variables live through the call.
    check(unsafe { libc::getresuid(&raw mut ruid, &raw mut euid, &raw mut suid) })?;
    let (mut rgid, mut egid, mut sgid) = (0, 0, 0);
    // SAFETY: the three variables live through the call.
    check(unsafe { libc::getresgid(&raw mut rgid, &raw mut egid, &raw mut sgid) })?;
    Ok(Ids { user: [ruid, euid, suid], group: [rgid, egid, sgid] })
}

fn not_root() -> SanitizeError {
    let Ok(program) = fs::read_link("/proc/self/exe") else { return SanitizeError::NotRootWithoutProc };
    let setuid_root = fs::metadata("/proc/self/exe")
        .is_ok_and(|file| file.uid() == 0 && file.permissions().mode() & libc::S_ISUID != 0);
    if !setuid_root {
        return SanitizeError::NotSetuidRoot { program };
    }
    // SAFETY: this prctl takes integers only.
    if unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } == 1 {
        SanitizeError::NoNewPrivileges { program }
    } else if is_traced() {
        SanitizeError::Traced { program }
    } else {
        SanitizeError::NosuidMount { program }
    }
}

/// Whether another process traces this one (proc_pid_status(5)).
fn is_traced() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|pid| pid.trim() != "0")
}

/// Opens `/dev/null` where 0, 1 or 2 is closed; returns which were open.
///
/// libc does so before us in setuid programs, with files that fail every read and write (`O_NOFOLLOW` identifies them);
/// Rust's runtime does so in others. Both would look like the caller's, so libc's are replaced.
fn open_standard_streams() -> io::Result<[bool; 3]> {
    let mut open = [true; 3];
    for (fd, open) in (0..).zip(open.iter_mut()) {
        *open = is_open_by_caller(fd)?;
        if *open {
            continue;
        }
        // SAFETY: the path is a constant ending in NUL.
        let null = check(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) })?;
        let standin: libc::stat = stat(null)?;
        if !is_device(&standin, 1, 3) {
            return Err(io::Error::other("/dev/null is not the null device"));
        }
        if null == fd {
            // SAFETY: F_SETFD takes an integer; 0 clears close-on-exec.
            check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })?;
        } else {
            // SAFETY: `fd` is a standard stream that no value owns, `null` was made above and is closed once.
            check(unsafe { libc::dup2(null, fd) })?;
            // SAFETY: as above.
            check(unsafe { libc::close(null) })?;
        }
    }
    Ok(open)
}

fn is_open_by_caller(fd: RawFd) -> io::Result<bool> {
    // SAFETY: F_GETFL takes nothing.
    let flags = match check(unsafe { libc::fcntl(fd, libc::F_GETFL) }) {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Ok(false),
        answer => answer?,
    };
    if flags & libc::O_NOFOLLOW == 0 {
        return Ok(true);
    }
    let file = stat(fd)?;
    Ok(!is_device(&file, 1, 3) && !is_device(&file, 1, 7))
}

fn is_device(file: &libc::stat, major: u32, minor: u32) -> bool {
    file.st_mode & libc::S_IFMT == libc::S_IFCHR && file.st_rdev == libc::makedev(major, minor)
}

fn stat(fd: RawFd) -> io::Result<libc::stat> {
    // SAFETY: stat is plain integers, for which zero is valid.
    let mut file: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: `file` lives through the call.
    check(unsafe { libc::fstat(fd, &raw mut file) })?;
    Ok(file)
}

/// Sets close-on-exec, and closes nothing: closing a descriptor of the caller, such as a lock or a socket, could have
/// an effect.
pub(crate) fn close_on_exec() -> io::Result<()> {
    // SAFETY: takes integers; no descriptor is closed, so every owner keeps its own.
    match check(unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) }) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::EPERM)) => {
            close_on_exec_one_by_one()
        }
        answer => answer.map(drop),
    }
}

/// Sets close-on-exec on kernels before 5.11 and under seccomp filters of that time.
fn close_on_exec_one_by_one() -> io::Result<()> {
    for fd in open_descriptors()? {
        // SAFETY: F_SETFD takes an integer and changes nothing that an owner relies on.
        check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    }
    Ok(())
}

/// Clears close-on-exec of a descriptor that the command shall have. A descriptor that is closed by now is ignored.
pub(crate) fn keep_over_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD takes an integer; 0 clears close-on-exec.
    match check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }) {
        Err(error) if error.raw_os_error() != Some(libc::EBADF) => Err(error),
        _ => Ok(()),
    }
}

unsafe extern "C" {
    /// environ(7); null after clearenv.
    static environ: *const *const libc::c_char;
    /// `argv[0]` as the caller chose it (program_invocation_name(3)).
    static mut program_invocation_name: *const libc::c_char;
    /// Its last component, which libc uses as the program's name in syslog(3): PAM modules log through it.
    static mut program_invocation_short_name: *const libc::c_char;
}

/// Sets the name of the program. A newline in `argv[0]` would start a new line in the log, sent with root's
/// credentials; and a symbolic link gives the process any name that its creator likes.
fn call_ourselves(name: &'static CStr) {
    // SAFETY: one thread, so nothing reads the two meanwhile; the name ends in NUL and is never freed.
    unsafe {
        program_invocation_name = name.as_ptr();
        program_invocation_short_name = name.as_ptr();
    }
    // SAFETY: the kernel copies at most 16 bytes of a name that ends in NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Returns the raw entries and clears the environment: libc's own scrubbing leaves variables that libraries read, such
/// as SQLITE_TMPDIR.
fn take_environment() -> Vec<OsString> {
    let mut entries = Vec::new();
    // SAFETY: one thread, so nothing changes `environ` while we read the pointer.
    let mut next = unsafe { environ };
    if !next.is_null() {
        loop {
            // SAFETY: the array ends with a null pointer, where we stop, so `next` points into it.
            let entry = unsafe { *next };
            if entry.is_null() {
                break;
            }
            // SAFETY: a non-null entry is a string that ends in NUL and that nothing changes; it is copied.
            entries.push(OsStr::from_bytes(unsafe { CStr::from_ptr(entry) }.to_bytes()).to_owned());
            // SAFETY: the entry was not the last element, which is null, so the next one exists.
            next = unsafe { next.add(1) };
        }
    }
    // SAFETY: one thread, so nothing else holds a pointer into the environment.
    unsafe { libc::clearenv() };
    entries
}

/// Sets default dispositions, and blocks only the signals by which a terminal stops a process. SIGPIPE and SIGXFSZ are
/// ignored, so that a write without a reader, or beyond a file size limit that cannot be lifted, fails instead of
/// killing this process.
fn reset_signals() -> io::Result<(SignalSet, SignalSet)> {
    let mut ignored = SignalSet::EMPTY;
    for signal in signals::changeable() {
        let wanted = match signal {
            libc::SIGPIPE | libc::SIGXFSZ => Disposition::Ignore,
            _ => Disposition::Default,
        };
        let before = signals::set_disposition(signal, wanted)?;
        if signal != libc::SIGPIPE && before == Disposition::Ignore {
            ignored.insert(signal);
        }
    }
    if SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed) {
        ignored.insert(libc::SIGPIPE);
    }
    let blocked = signals::set_mask(SignalSet::of(&STOPS))?;
    Ok((ignored, blocked))
}

fn disarm_timers() -> io::Result<()> {
    // SAFETY: itimerval is plain integers; zero means "disarmed".
    let off: libc::itimerval = unsafe { mem::zeroed() };
    for timer in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        // SAFETY: `off` lives through the call and the old value is not requested. ITIMER_REAL is alarm(2)'s too.
        check(unsafe { libc::setitimer(timer, &raw const off, std::ptr::null_mut()) })?;
    }
    Ok(())
}

fn reset_process_flags() -> io::Result<()> {
    for option in [libc::PR_SET_DUMPABLE, libc::PR_SET_PDEATHSIG] {
        let value: libc::c_ulong = 0;
        // SAFETY: these two take one integer each.
        check(unsafe { libc::prctl(option, value, 0, 0, 0) })?;
    }
    Ok(())
}

/// Resets the score: a caller could make this process the first victim of the out-of-memory killer, in the middle of a
/// write.
fn reset_oom_score() -> Option<i32> {
    let before = fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim_end().parse().ok()?;
    if before > 0 {
        // If it cannot be written, the process is only killed more easily, which the journal survives.
        let _ = fs::write("/proc/self/oom_score_adj", "0");
    }
    Some(before)
}
