//! Waits for several descriptors at once; creates the pipes and sockets for communication with a child.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use crate::kernel::check;

/// A descriptor, the events to wait for, and the events that [`poll`] found.
#[derive(Debug)]
pub struct PollEntry<'fd> {
    /// The descriptor.
    pub fd: BorrowedFd<'fd>,
    /// Whether to wait until it is readable.
    pub read: bool,
    /// Whether to wait until it is writable.
    pub write: bool,
    /// It is readable, or at its end.
    pub ready_read: bool,
    /// It is writable.
    pub ready_write: bool,
    /// The peer has closed it, or the descriptor is broken; set even if no event was requested.
    pub hangup: bool,
}

impl<'fd> PollEntry<'fd> {
    /// Returns an entry that waits for input.
    pub fn reading(fd: BorrowedFd<'fd>) -> Self {
        Self::new(fd, true, false)
    }

    /// Returns an entry that waits until output is possible.
    pub fn writing(fd: BorrowedFd<'fd>) -> Self {
        Self::new(fd, false, true)
    }

    /// Returns an entry that waits for the events that are `true`.
    pub fn new(fd: BorrowedFd<'fd>, read: bool, write: bool) -> Self {
        Self { fd, read, write, ready_read: false, ready_write: false, hangup: false }
    }
}

/// Waits until an entry is ready or the timeout has passed, and fills in the entries. Returns how many are ready.
///
/// `None` waits for ever. After a signal it waits for the rest of the time.
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
        // After a hangup the rest of the buffer is readable, then the end.
        entry.ready_read = entry.read && raw.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0;
        entry.ready_write = entry.write && raw.revents & (libc::POLLOUT | libc::POLLERR) != 0;
    }
    Ok(ready)
}

/// Whether reads and writes block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocking {
    /// They block.
    Yes,
    /// They fail with `WouldBlock` instead.
    No,
}

/// Sets whether reads and writes block, for every process that shares the open file. Returns the previous setting.
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

/// Returns whether the reading end of `fd`, a pipe or a socket, is closed; waits at most `patience` for that.
pub fn is_left(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let mut listener = [PollEntry::new(fd, false, false)];
    poll(&mut listener, Some(patience))?;
    Ok(listener.iter().any(|entry| entry.hangup))
}

/// Returns whether a descriptor was opened for writing: privileges do not change that.
#[must_use]
pub fn is_writable(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: F_GETFL takes nothing.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) });
    flags.is_ok_and(|flags| flags & libc::O_PATH == 0 && flags & libc::O_ACCMODE != libc::O_RDONLY)
}

/// Opens the pipe behind a shared descriptor again for writing, so that writes here do not block while those of the
/// other holders still do. It is opened with our own rights, so it must be what the descriptor already gave access to:
/// the same pipe, opened for writing. A terminal is never opened: its name may refer to another one (`/dev/tty`,
/// `/dev/ptmx`), and the descriptor of a terminal after a hangup cannot be used.
///
/// # Errors
/// `Unsupported` for anything else; any error of open(2), which needs /proc.
pub fn reopen_pipe_for_writing(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let unsupported = || io::Error::from(io::ErrorKind::Unsupported);
    let passed = nix::sys::stat::fstat(fd)?;
    if !is_pipe(&passed) || !is_writable(fd) {
        return Err(unsupported());
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().write(true).custom_flags(flags).open(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    let own = nix::sys::stat::fstat(&file)?;
    let is_same = is_pipe(&own) && (own.st_dev, own.st_ino) == (passed.st_dev, passed.st_ino);
    is_same.then(|| file.into()).ok_or_else(unsupported)
}

fn is_pipe(stat: &libc::stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFIFO
}

/// Creates a pipe (reader, writer), close-on-exec.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(io::Error::from)
}

/// Creates two connected sockets that preserve message boundaries, close-on-exec.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for the two descriptors and lives through the call.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) })?;
    let [left, right] = pair;
    // SAFETY: the kernel has just made both descriptors and nothing else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(left), OwnedFd::from_raw_fd(right)) })
}

/// Reads once; 0 is the end of the file.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    nix::unistd::read(fd, buffer).map_err(io::Error::from)
}

/// Writes once; returns the number of bytes.
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
    fn data_and_hangup_are_distinguished() {
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
    fn poll_returns_after_the_timeout() {
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
    fn only_a_writable_pipe_is_reopened() {
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
    fn a_socket_pair_preserves_message_boundaries() {
        let (left, right) = socket_pair().unwrap();
        write(left.as_fd(), b"one").unwrap();
        write(left.as_fd(), b"two").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(read(right.as_fd(), &mut buffer).unwrap(), 3);
    }
}
