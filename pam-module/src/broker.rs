//! Starts the broker from inside a foreign program, as pam_unix starts unix_chkpwd, sends one question and reads one line. Leaves
//! the program's signals, children, file descriptors, limits and environment as they are.
//!
//! The broker is a grandchild, whose parent ends at once. That parent is created by clone(2) without an exit signal, so the program
//! gets no SIGCHLD, none of its wait(-1) calls returns an unknown child, and neither its signal handlers nor its signal mask have
//! to change.

use std::ffi::{CStr, c_int, c_long};
use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::time::{Duration, Instant};

/// The path of the broker, fixed when the module is built.
const BROKER: &str = match option_env!("JIT_SUDO_BROKER") {
    Some(path) => path,
    None => "/usr/libexec/jit-sudo/jit-sudo-broker",
};

/// The longest answer in bytes.
const ANSWER_LIMIT: usize = 16 << 10;

/// How long the broker may take when it waits for no approver: it waits at most ten seconds for its own turn.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// How long the end of a session may take to be recorded.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// Terminates a question; the connection stays open.
const END: u8 = 0;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum BrokerError {
    /// The broker could not be started.
    Start(io::Error),
    /// It did not answer within this time.
    Late(Duration),
    /// It ended, or was killed, before its answer was complete.
    Silent,
    /// Its answer is too long.
    TooLong,
    /// The socket failed.
    Broken(io::Error),
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "the broker {BROKER} cannot be started: {error}"),
            Self::Late(patience) => write!(f, "the broker {BROKER} did not answer within {} s", patience.as_secs()),
            Self::Silent => write!(f, "the broker {BROKER} gave no answer"),
            Self::TooLong => write!(f, "the broker's answer is longer than {ANSWER_LIMIT} bytes"),
            Self::Broken(error) => write!(f, "the connection to the broker failed: {error}"),
        }
    }
}

/// Sends a question and returns the line of the answer, which must arrive within `patience`, and the connection.
pub(crate) fn ask(question: Vec<u8>, patience: Duration) -> Result<(Vec<u8>, UnixStream), BrokerError> {
    let line = call(question)?;
    Ok((hear(&line, patience)?, line))
}

/// Reports that a session is closed, and waits until that was recorded; not long, because the user wants to leave.
pub(crate) fn close(line: &UnixStream) -> Result<(), BrokerError> {
    send(line, b"c").map_err(BrokerError::Broken)?;
    hear(line, FAREWELL).map(drop)
}

fn call(mut question: Vec<u8>) -> Result<UnixStream, BrokerError> {
    let (ours, theirs) = UnixStream::pair().map_err(BrokerError::Start)?;
    // The sockets get descriptors above 2: a program without standard streams must not find one of them there.
    let (ours, theirs) = (above_standard(ours)?, OwnedFd::from(above_standard(theirs)?));
    question.push(END);
    // The broker does not run yet, so this fills a buffer: it cannot block, and the other end is open.
    send(&ours, &question).map_err(BrokerError::Broken)?;
    start(theirs.as_raw_fd()).map_err(BrokerError::Start)?;
    Ok(ours)
}

fn above_standard(stream: UnixStream) -> Result<UnixStream, BrokerError> {
    if stream.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(stream);
    }
    // Returns a descriptor of 3 or more, with close-on-exec (std::os::fd::OwnedFd::try_clone).
    stream.try_clone().map_err(BrokerError::Start)
}

fn send(line: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length describe `bytes`. No SIGPIPE, and no waiting.
    let sent = unsafe {
        libc::send(line.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
    };
    match usize::try_from(sent) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(_) => Err(io::Error::from(io::ErrorKind::WriteZero)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Reads one line and returns it without the newline.
fn hear(mut line: &UnixStream, patience: Duration) -> Result<Vec<u8>, BrokerError> {
    let deadline = Instant::now() + patience;
    let mut heard = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(BrokerError::Late(patience));
        }
        line.set_read_timeout(Some(left)).map_err(BrokerError::Broken)?;
        let count = match line.read(&mut buffer) {
            Ok(0) => return Err(BrokerError::Silent),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => continue,
            Err(error) => return Err(BrokerError::Broken(error)),
        };
        heard.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if heard.last() == Some(&b'\n') {
            heard.pop();
            return Ok(heard);
        }
        if heard.len() > ANSWER_LIMIT {
            return Err(BrokerError::TooLong);
        }
    }
}

/// Starts the broker with `line` as its standard input and output.
fn start(line: RawFd) -> io::Result<()> {
    let program = std::ffi::CString::new(BROKER)?;
    // SAFETY: sigset_t is integers, for which zero is valid; both live through the calls that fill them.
    let (mut all, mut before) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: `all` is a set of ours. The mask is this thread's own, and is restored below: meanwhile no handler of the program may
    // run in a child that is a copy of it.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    // SAFETY: the child only makes system calls, on memory that was prepared before (signal-safety(7)): other threads of the
    // program may have held any lock at this moment.
    let between = unsafe { duplicate() };
    if between == 0 {
        // SAFETY: as above; this child ends here.
        unsafe {
            match duplicate() {
                0 => become_broker(&program, line),
                child => libc::_exit(if child > 0 { 0 } else { 1 }),
            }
        }
    }
    let started = if between > 0 { reap(between as libc::pid_t) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the set was filled in above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    started
}

/// Calls fork(2) without the program's fork handlers, and without a signal when the child ends.
///
/// # Safety
/// The child may only make system calls until it executes a program or ends.
unsafe fn duplicate() -> c_long {
    // SAFETY: no flag and no stack: a copy of this process, on every architecture, since all arguments are 0.
    unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) }
}

/// Reaps the intermediate child, which ends at once.
fn reap(child: libc::pid_t) -> io::Result<()> {
    let mut status: c_int = 0;
    loop {
        // SAFETY: the status lives through the call. __WALL includes children without an exit signal.
        if unsafe { libc::waitpid(child, &raw mut status, libc::__WALL) } == child {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            // Another thread waits for every kind of child and got the status. A failure shows on the socket.
            return Ok(());
        }
    }
    if status == 0 { Ok(()) } else { Err(io::Error::from(io::ErrorKind::OutOfMemory)) }
}

/// Executes the broker: in a session of its own, in `/`, with no descriptor open but the socket.
///
/// # Safety
/// Only in a child of [`duplicate`], see there. `line` is open and above 2.
unsafe fn become_broker(program: &CStr, line: RawFd) -> ! {
    let arguments = [program.as_ptr(), ptr::null()];
    let environment = [ptr::null()];
    // SAFETY: system calls on constants and on memory of this frame. setresuid and setresgid are called without libc, whose
    // wrappers would wait for threads that this copy of the process does not have. In a set-user-ID program the broker shall see
    // root as its caller, as with unix_chkpwd; elsewhere it sees the user who runs the program.
    unsafe {
        if libc::geteuid() == 0 {
            let groups = libc::syscall(libc::SYS_setresgid, 0, 0, 0);
            let users = libc::syscall(libc::SYS_setresuid, 0, 0, 0);
            if groups != 0 || users != 0 {
                libc::_exit(126);
            }
        }
        let _ = libc::setsid();
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        let ready = libc::chdir(c"/".as_ptr()) == 0
            && libc::dup2(line, libc::STDIN_FILENO) >= 0
            && libc::dup2(line, libc::STDOUT_FILENO) >= 0;
        // Opened after the two, so that it takes neither number.
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        if ready && null >= 0 && libc::dup2(null, libc::STDERR_FILENO) >= 0 {
            // Older kernels do not have close_range(2); the broker itself closes inherited descriptors before each exec.
            libc::syscall(libc::SYS_close_range, 3, c_int::MAX, 0);
            libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr());
        }
        libc::_exit(127)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn said(bytes: &[u8]) -> Result<Vec<u8>, BrokerError> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let bytes = bytes.to_vec();
        let speaker = std::thread::spawn(move || drop(theirs.write_all(&bytes)));
        let heard = hear(&ours, Duration::from_secs(5));
        drop(ours);
        speaker.join().unwrap();
        heard
    }

    #[test]
    fn only_one_complete_line_is_an_answer() {
        assert_eq!(said(b"{}\n").unwrap(), b"{}");
        assert!(matches!(said(b""), Err(BrokerError::Silent)));
        assert!(matches!(said(b"{\"ok\":"), Err(BrokerError::Silent)));
        assert!(matches!(said(&vec![b'x'; 1 << 20]), Err(BrokerError::TooLong)));
    }

    #[test]
    fn a_silent_broker_times_out() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(matches!(hear(&ours, Duration::from_millis(50)), Err(BrokerError::Late(_))));
        drop(theirs);
    }
}
