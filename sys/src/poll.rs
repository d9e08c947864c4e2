//! Waiting for several descriptors at once, and the descriptors that talk to a child.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use crate::kernel::check;

/// A descriptor, what to wait for, and what [`poll`] found.
#[derive(Debug)]
pub struct PollEntry<'fd> {
    /// The descriptor.
    pub fd: BorrowedFd<'fd>,
    /// Wait until it can be read.
    pub read: bool,
    /// Wait until it can be written.
    pub write: bool,
    /// It can be read, or is at its end.
    pub ready_read: bool,
    /// It can be written.
    pub ready_write: bool,
    /// The other side is gone, or the descriptor is broken; told even when nothing was asked for.
    pub hangup: bool,
}

impl<'fd> PollEntry<'fd> {
    /// Waits for input.
    pub fn reading(fd: BorrowedFd<'fd>) -> Self {
        Self::new(fd, true, false)
    }

    /// Waits for room for output.
    pub fn writing(fd: BorrowedFd<'fd>) -> Self {
        Self::new(fd, false, true)
    }

    /// Waits for whichever is `true`.
    pub fn new(fd: BorrowedFd<'fd>, read: bool, write: bool) -> Self {
        Self { fd, read, write, ready_read: false, ready_write: false, hangup: false }
    }
}

/// Waits until an entry is ready or the time is over, and fills the entries in; gives how many are ready.
///
/// `None` waits for ever. A signal that interrupts it is not an error; the remaining time is waited for.
pub fn poll(entries: &mut [PollEntry<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut raw: Vec<libc::pollfd> = entries.iter().map(wanted).collect();
    let count = libc::nfds_t::try_from(raw.len()).map_err(io::Error::other)?;
    let ready = loop {
        let left = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let left = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: pointer and count describe `raw`; the time, if any, lives through the call; the mask stays.
        match check(unsafe { libc::ppoll(raw.as_mut_ptr(), count, left, std::ptr::null()) }) {
            Ok(ready) => break usize::try_from(ready).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    for (entry, raw) in entries.iter_mut().zip(&raw) {
        entry.hangup = raw.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0;
        // A hang-up is readable: what is left in the buffer, then the end.
        entry.ready_read = entry.read && raw.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0;
        entry.ready_write = entry.write && raw.revents & (libc::POLLOUT | libc::POLLERR) != 0;
    }
    Ok(ready)
}

/// Whether reads and writes wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocking {
    /// They wait.
    Yes,
    /// They fail with `WouldBlock` instead.
    No,
}

/// Sets whether reads and writes wait, for everybody who shares the open file; gives what it was.
pub fn set_blocking(fd: BorrowedFd<'_>, blocking: Blocking) -> io::Result<Blocking> {
    // SAFETY: F_GETFL takes nothing.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    let wanted = match blocking {
        Blocking::Yes => flags & !libc::O_NONBLOCK,
        Blocking::No => flags | libc::O_NONBLOCK,
    };
    if wanted != flags {
        // SAFETY: F_SETFL takes an integer.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted) })?;
    }
    Ok(if flags & libc::O_NONBLOCK == 0 { Blocking::Yes } else { Blocking::No })
}

/// Whether nobody reads any more what is written to `fd`, a pipe or a socket; waits at most `patience` for that.
pub fn is_left(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let mut listener = [PollEntry::new(fd, false, false)];
    poll(&mut listener, Some(patience))?;
    Ok(listener.iter().any(|entry| entry.hangup))
}

/// Whether a descriptor was opened for writing: no rights make more of it.
#[must_use]
pub fn is_writable(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: F_GETFL takes nothing.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) });
    flags.is_ok_and(|flags| flags & libc::O_PATH == 0 && flags & libc::O_ACCMODE != libc::O_RDONLY)
}

/// The pipe behind a descriptor that others share, opened anew for writing, so that writes here do not wait and those of the others
/// do as before. It is opened with our own rights, so only what the descriptor gave already is: the same pipe, where it was opened
/// for writing. A terminal never is: its name may lead to another (`/dev/tty`, `/dev/ptmx`), and the descriptor of one that was hung
/// up gives nothing.
///
/// # Errors
/// `Unsupported` where it is something else; whatever open(2) says, which needs /proc.
pub fn reopen_pipe_for_writing(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let unsupported = || io::Error::from(io::ErrorKind::Unsupported);
    let lent = nix::sys::stat::fstat(fd)?;
    if !is_pipe(&lent) || !is_writable(fd) {
        return Err(unsupported());
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().write(true).custom_flags(flags).open(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    let own = nix::sys::stat::fstat(&file)?;
    let is_same = is_pipe(&own) && (own.st_dev, own.st_ino) == (lent.st_dev, lent.st_ino);
    is_same.then(|| file.into()).ok_or_else(unsupported)
}

fn is_pipe(stat: &libc::stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFIFO
}

/// A pipe (reader, writer), close-on-exec.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(io::Error::from)
}

/// Two connected sockets that keep messages apart, close-on-exec.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for the two descriptors and lives through the call.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) })?;
    let [left, right] = pair;
    // SAFETY: the kernel has just made both descriptors and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(left), OwnedFd::from_raw_fd(right)) })
}

/// Reads once; 0 is the end.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    nix::unistd::read(fd, buffer).map_err(io::Error::from)
}

/// Writes once; gives how much.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    nix::unistd::write(fd, bytes).map_err(io::Error::from)
}

fn wanted(entry: &PollEntry<'_>) -> libc::pollfd {
    let read = if entry.read { libc::POLLIN } else { 0 };
    let write = if entry.write { libc::POLLOUT } else { 0 };
    libc::pollfd { fd: entry.fd.as_raw_fd(), events: read | write, revents: 0 }
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn data_and_hangup_are_told_apart() {
        let (reader, writer) = pipe().unwrap();
        let mut entries = [PollEntry::reading(reader.as_fd())];
        assert_eq!(poll(&mut entries, Some(Duration::ZERO)).unwrap(), 0);
        write(writer.as_fd(), b"x").unwrap();
        assert_eq!(poll(&mut entries, None).unwrap(), 1);
        assert!(entries[0].ready_read && !entries[0].hangup);
        drop(writer);
        let mut buffer = [0; 8];
        assert_eq!(read(reader.as_fd(), &mut buffer).unwrap(), 1);
        assert_eq!(poll(&mut entries, None).unwrap(), 1);
        assert!(entries[0].ready_read && entries[0].hangup);
    }

    #[test]
    fn poll_ends_when_the_time_is_over() {
        let (reader, _writer) = pipe().unwrap();
        let begun = Instant::now();
        let ready = poll(&mut [PollEntry::reading(reader.as_fd())], Some(Duration::from_millis(30))).unwrap();
        assert_eq!(ready, 0);
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn nonblocking_read_of_an_empty_pipe_does_not_wait() {
        let (reader, _writer) = pipe().unwrap();
        assert_eq!(set_blocking(reader.as_fd(), Blocking::No).unwrap(), Blocking::Yes);
        assert_eq!(set_blocking(reader.as_fd(), Blocking::No).unwrap(), Blocking::No);
        assert_eq!(read(reader.as_fd(), &mut [0; 1]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn only_a_pipe_that_can_be_written_is_opened_anew() {
        let (reader, writer) = pipe().unwrap();
        assert!(!is_left(writer.as_fd(), Duration::ZERO).unwrap());
        assert!(is_writable(writer.as_fd()) && !is_writable(reader.as_fd()));
        let own = reopen_pipe_for_writing(writer.as_fd()).unwrap();
        assert_eq!(write(own.as_fd(), b"x").unwrap(), 1);
        assert_eq!(read(reader.as_fd(), &mut [0; 8]).unwrap(), 1);
        assert_eq!(reopen_pipe_for_writing(reader.as_fd()).unwrap_err().kind(), io::ErrorKind::Unsupported);
        let named = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/dev/null").unwrap();
        assert!(!is_writable(named.as_fd()));
        let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
        assert!(is_writable(null.as_fd()) && reopen_pipe_for_writing(null.as_fd()).is_err());
        drop(reader);
        assert!(is_left(writer.as_fd(), Duration::from_secs(10)).unwrap());
    }

    #[test]
    fn socket_pair_keeps_messages_apart() {
        let (left, right) = socket_pair().unwrap();
        write(left.as_fd(), b"one").unwrap();
        write(left.as_fd(), b"two").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(read(right.as_fd(), &mut buffer).unwrap(), 3);
    }
}
