//! Blocking calls with a timeout, which a timer interrupts. A caller's descriptor is never made non-blocking, because
//! that would affect every process that has it open.

use std::io::{Error, ErrorKind, Result, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::poll::{PollEntry, poll, write};

/// The interval at which the timer repeats its signal: a signal that comes just before the call would be lost.
const AGAIN: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// How many bytes can be written without blocking when poll(2) reports a descriptor as writable (WAKEUP_CHARS of the
/// kernel's terminals; a pipe takes more).
const AT_ONCE: usize = 256;

/// The pause between two attempts when poll(2) reports a descriptor as writable and the write takes nothing.
const PAUSE: Duration = Duration::from_millis(5);

/// Writes all `bytes`; gives up after `patience`, even if some were written.
///
/// # Errors
/// `TimedOut` after `patience`; else those of write(2).
pub fn write_all(to: BorrowedFd<'_>, bytes: &[u8], patience: Duration) -> Result<()> {
    write_until(to, bytes, Instant::now() + patience)
}

fn write_until(to: BorrowedFd<'_>, mut bytes: &[u8], deadline: Instant) -> Result<()> {
    let timer = Timer::start(deadline.saturating_duration_since(Instant::now()));
    // Without a timer, as under `ulimit -i 0`, it writes only as much as does not block.
    let most = if timer.is_ok() { usize::MAX } else { AT_ONCE };
    let mut refused = false;
    while !bytes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        if timer.is_err() && poll(&mut [PollEntry::writing(to)], Some(left))? == 0 {
            continue;
        }
        match write(to, bytes.get(..most).unwrap_or(bytes)) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => {
                bytes = bytes.get(length..).unwrap_or_default();
                refused = false;
            }
            // Another process has made it non-blocking, or the file always behaves so.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                if std::mem::replace(&mut refused, true) {
                    std::thread::sleep(PAUSE.min(left));
                } else if error.kind() == ErrorKind::WouldBlock {
                    poll(&mut [PollEntry::writing(to)], Some(left))?;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A file to which writes have a deadline, without a buffer.
#[derive(Debug)]
pub struct Patiently<F> {
    file: F,
    patience: Duration,
    deadline: Option<Instant>,
}

impl<F> Patiently<F> {
    /// Creates the writer. `patience` starts with the first byte.
    pub fn new(file: F, patience: Duration) -> Self {
        Self { file, patience, deadline: None }
    }
}

impl<F: AsFd> Write for Patiently<F> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.patience);
        write_until(self.file.as_fd(), bytes, deadline)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Interrupts the blocking calls of this thread once `limit` has passed. It uses the last real-time signal, which
/// nothing here relays or waits for, so that SIGALRM and its timer stay as they are.
pub(crate) struct Timer {
    id: libc::timer_t,
    mask: libc::sigset_t,
}

impl Timer {
    pub(crate) fn start(limit: Duration) -> Result<Self> {
        let signal = libc::SIGRTMAX();
        install_handler(signal)?;
        // SAFETY: both sets are local; sigemptyset initialises the one and pthread_sigmask the other.
        let mask = unsafe {
            let mut only = MaybeUninit::uninit();
            let mut before = MaybeUninit::uninit();
            libc::sigemptyset(only.as_mut_ptr());
            libc::sigaddset(only.as_mut_ptr(), signal);
            succeed(-libc::pthread_sigmask(libc::SIG_UNBLOCK, only.as_ptr(), before.as_mut_ptr()))?;
            before.assume_init()
        };
        let mut id: libc::timer_t = ptr::null_mut();
        // SAFETY: a sigevent is plain data for which zeros are valid; timer_create reads it and writes one id.
        let created = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = libc::gettid();
            libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut id)
        };
        if created != 0 {
            let error = Error::last_os_error();
            restore_mask(&mask);
            return Err(error);
        }
        let timer = Self { id, mask };
        let first = libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(i32::try_from(limit.subsec_nanos().max(1)).unwrap_or(1)),
        };
        let schedule = libc::itimerspec { it_interval: AGAIN, it_value: first };
        // SAFETY: the timer was just made and lives in `timer`; the old schedule is not requested.
        succeed(unsafe { libc::timer_settime(timer.id, 0, &schedule, ptr::null_mut()) })?;
        Ok(timer)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: `start` made the timer with this id, and nothing else deletes it.
        unsafe { libc::timer_delete(self.id) };
        restore_mask(&self.mask);
    }
}

fn restore_mask(mask: &libc::sigset_t) {
    // SAFETY: the set was filled in by pthread_sigmask; the previous mask is not requested.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
}

/// Installs a handler that does nothing, without SA_RESTART, once in a process and for good. An exec resets it.
fn install_handler(signal: libc::c_int) -> Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    static INSTALLED: OnceLock<Option<i32>> = OnceLock::new();
    let failure = INSTALLED.get_or_init(|| {
        // SAFETY: zeros are a valid sigaction; the handler has the type for use without SA_SIGINFO, touches nothing and
        // so is safe in any context.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
            libc::sigaction(signal, &action, ptr::null_mut())
        };
        if result == 0 { None } else { Error::last_os_error().raw_os_error() }
    });
    failure.map_or(Ok(()), |code| Err(Error::from_raw_os_error(code)))
}

/// Converts `result` to an error: it is 0, or -1 with errno set, or a negated error number as the pthread functions
/// return it.
pub(crate) fn succeed(result: libc::c_int) -> Result<()> {
    match result {
        0 => Ok(()),
        -1 => Err(Error::last_os_error()),
        negated => Err(Error::from_raw_os_error(-negated)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};
    use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn writing_to_a_pipe_that_no_process_reads_times_out() {
        let (_reader, writer) = pipe().unwrap();
        let begun = Instant::now();
        let error = Patiently::new(writer, SHORT).write_all(&[0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!((50..1000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_slow_reader_gets_everything_within_the_timeout() {
        let (mut reader, writer) = pipe().unwrap();
        let slow = std::thread::spawn(move || {
            let (mut all, mut part) = (Vec::<u8>::new(), [0; 1 << 16]);
            loop {
                std::thread::sleep(SHORT / 4);
                match reader.read(&mut part).unwrap() {
                    0 => return all,
                    length => all.extend(&part[..length]),
                }
            }
        });
        let bytes: Vec<u8> = (0..1 << 20).map(|place: u32| place as u8).collect();
        write_all(writer.as_fd(), &bytes, SHORT * 100).unwrap();
        drop(writer);
        assert_eq!(slow.join().unwrap(), bytes);
    }

    #[test]
    fn a_reader_that_is_too_slow_times_out() {
        let (mut reader, writer) = pipe().unwrap();
        let slow = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while reader.read(&mut part).unwrap() > 0 {
                std::thread::sleep(SHORT / 2);
            }
        });
        let begun = Instant::now();
        let mut patient = Patiently::new(writer, SHORT * 4);
        assert_eq!(patient.write_all(&[0; 1 << 20]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(patient.write_all(b"x").unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() < SHORT * 20, "{:?}", begun.elapsed());
        drop(patient);
        slow.join().unwrap();
    }

    #[test]
    fn a_file_that_is_writable_but_takes_nothing_times_out_without_spinning() {
        let receiver = netlink(None);
        let sender = netlink(Some(&receiver));
        let begun = (Instant::now(), spent());
        let written = (0..1000).try_for_each(|_| write_all(sender.as_fd(), &[0; 4096], SHORT * 4));
        assert_eq!(written.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(poll(&mut [PollEntry::writing(sender.as_fd())], Some(SHORT)).unwrap() > 0, "it says that it is ready");
        assert!(spent() - begun.1 < SHORT, "{:?} of {:?}", spent() - begun.1, begun.0.elapsed());
    }

    /// Returns a non-blocking socket, connected to another one that no process reads.
    fn netlink(to: Option<&OwnedFd>) -> OwnedFd {
        let flags = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: the calls take integers and addresses that live through them; nothing else owns the descriptor.
        unsafe {
            let fd = libc::socket(libc::AF_NETLINK, flags, libc::NETLINK_USERSOCK);
            assert!(fd >= 0);
            let own = OwnedFd::from_raw_fd(fd);
            let mut address: libc::sockaddr_nl = std::mem::zeroed();
            let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
            if let Some(to) = to {
                assert_eq!(libc::getsockname(to.as_raw_fd(), (&raw mut address).cast(), &raw mut length), 0);
                assert_eq!(libc::connect(fd, (&raw const address).cast(), length), 0);
            } else {
                assert_eq!(libc::bind(fd, (&raw const address).cast(), length), 0);
            }
            own
        }
    }

    /// Returns the processor time of this thread.
    fn spent() -> Duration {
        // SAFETY: clock_gettime fills the structure, for which zeros are valid.
        let now = unsafe {
            let mut now: libc::timespec = std::mem::zeroed();
            assert_eq!(libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now), 0);
            now
        };
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    #[test]
    fn a_closed_pipe_is_an_error_at_once() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        assert_eq!(write_all(writer.as_fd(), b"x", SHORT).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
