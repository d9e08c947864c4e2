//! A fair lock between processes with a timeout: flock(2), whose waiters the kernel serves in the order of their
//! requests, interrupted by a timer. While this thread waits for the lock and holds it, the terminal cannot stop it:
//! any user can type ^Z, and every other process would wait for the holder.

use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use crate::interruption::{Timer, succeed};
use crate::signals::Unstoppable;

/// A lock that is held until it is dropped. The kernel releases the lock of a killed process.
#[derive(Debug)]
#[must_use]
pub struct Locked<F: AsFd> {
    file: F,
    _unstoppable: Unstoppable,
}

impl<F: AsFd> Locked<F> {
    /// Waits at most `limit` for the exclusive lock on `file`.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] when other processes held it for that long; those of flock(2).
    pub fn within(file: F, limit: Duration) -> Result<Self> {
        let unstoppable = Unstoppable::begin()?;
        if flock(&file, libc::LOCK_EX | libc::LOCK_NB).is_ok() {
            return Ok(Self { file, _unstoppable: unstoppable });
        }
        let deadline = Instant::now() + limit;
        let timer = Timer::start(limit)?;
        let result = loop {
            match flock(&file, libc::LOCK_EX) {
                Err(error) if error.kind() != ErrorKind::Interrupted => break Err(error),
                Ok(()) => break Ok(()),
                Err(_) if Instant::now() >= deadline => break Err(Error::from(ErrorKind::TimedOut)),
                Err(_) => {}
            }
        };
        drop(timer);
        result.map(|()| Self { file, _unstoppable: unstoppable })
    }

    /// Returns the locked file.
    pub fn file(&self) -> &F {
        &self.file
    }
}

impl<F: AsFd> Drop for Locked<F> {
    fn drop(&mut self) {
        // Errors are ignored: closing the descriptor releases the lock too.
        let _ = flock(&self.file, libc::LOCK_UN);
    }
}

/// Takes the exclusive lock on a file if it is free, for as long as any descriptor of this open file exists, in this
/// process or in a child. Returns false when another process holds it.
pub fn claim(file: &impl AsFd) -> Result<bool> {
    match flock(file, libc::LOCK_EX | libc::LOCK_NB) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes the lock (`F_OFD_SETLK`, fcntl(2)) on the first free one of `count` bytes of a file from `first` on, for as
/// long as any descriptor of this open file exists. The bytes need not exist. Returns false when all are taken.
pub fn claim_one(file: &impl AsFd, first: i64, count: u32) -> Result<bool> {
    for at in (first..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        let range = byte(at, libc::F_WRLCK);
        // SAFETY: `range` lives through the call, and the descriptor is open because `file` is borrowed.
        let taken = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &raw const range) };
        match succeed(taken) {
            Ok(()) => return Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Takes a shared lock (`F_OFD_SETLK`, fcntl(2)) on one byte of a file, which need not exist, for as long as any
/// descriptor of this open file exists.
pub fn share(file: &impl AsFd, at: i64) -> Result<()> {
    let range = byte(at, libc::F_RDLCK);
    // SAFETY: `range` lives through the call, and the descriptor is open because `file` is borrowed.
    succeed(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &raw const range) })
}

/// Releases the lock of [`share`].
pub fn unshare(file: &impl AsFd, at: i64) -> Result<()> {
    let range = byte(at, libc::F_UNLCK);
    // SAFETY: as in `share`.
    succeed(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &raw const range) })
}

/// Returns whether another open file holds a lock on that byte.
pub fn is_shared(file: &impl AsFd, at: i64) -> Result<bool> {
    let mut range = byte(at, libc::F_WRLCK);
    // SAFETY: as in `share`; the kernel writes to `range` alone.
    succeed(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_OFD_GETLK, &raw mut range) })?;
    Ok(range.l_type != libc::F_UNLCK as libc::c_short)
}

fn byte(at: i64, kind: libc::c_int) -> libc::flock {
    // SAFETY: flock is plain integers, for which zero is valid.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    (range.l_start, range.l_len) = (at, 1);
    range
}

/// Returns whether another open file holds the lock that [`claim`] takes.
pub fn is_claimed(file: &impl AsFd) -> Result<bool> {
    if !claim(file)? {
        return Ok(true);
    }
    flock(file, libc::LOCK_UN)?;
    Ok(false)
}

fn flock(file: &impl AsFd, operation: libc::c_int) -> Result<()> {
    // SAFETY: flock takes two integers, and the descriptor is open because `file` is borrowed.
    if unsafe { libc::flock(file.as_fd().as_raw_fd(), operation) } == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::signals::{self, SignalSet};

    #[test]
    fn waiting_for_a_held_lock_times_out() {
        let path = std::env::temp_dir().join(format!("jit-sudo-lock-{}", std::process::id()));
        File::create(&path).unwrap();
        let held = Locked::within(File::open(&path).unwrap(), Duration::ZERO).unwrap();
        let begun = Instant::now();
        let refused = Locked::within(File::open(&path).unwrap(), Duration::from_millis(50)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
        assert!((50..1000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        drop(held);
        drop(Locked::within(File::open(&path).unwrap(), Duration::ZERO).unwrap());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_lock_holder_cannot_be_stopped_from_a_terminal() {
        let path = std::env::temp_dir().join(format!("jit-sudo-stop-{}", std::process::id()));
        File::create(&path).unwrap();
        let before = signals::block(SignalSet::EMPTY).unwrap();
        let held = Locked::within(File::open(&path).unwrap(), Duration::ZERO).unwrap();
        assert!(signals::block(SignalSet::EMPTY).unwrap().contains(libc::SIGTSTP));
        drop(held);
        assert_eq!(signals::block(SignalSet::EMPTY).unwrap(), before);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_shared_byte_lock_is_visible_to_others() {
        let path = std::env::temp_dir().join(format!("jit-sudo-share-{}", std::process::id()));
        File::create(&path).unwrap();
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let (first, second) = (open(), open());
        share(&first, 1 << 40).unwrap();
        assert!(!is_shared(&first, 1 << 40).unwrap(), "the own lock does not count");
        assert!(is_shared(&second, 1 << 40).unwrap() && !is_shared(&second, (1 << 40) + 1).unwrap());
        share(&second, 1 << 40).unwrap();
        assert!(is_shared(&first, 1 << 40).unwrap());
        unshare(&second, 1 << 40).unwrap();
        assert!(!is_shared(&first, 1 << 40).unwrap());
        share(&second, 1 << 40).unwrap();
        drop(second);
        assert!(!is_shared(&first, 1 << 40).unwrap());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn waiters_get_the_lock_when_it_is_dropped() {
        let path = std::env::temp_dir().join(format!("jit-sudo-turns-{}", std::process::id()));
        File::create(&path).unwrap();
        let held = Locked::within(File::open(&path).unwrap(), Duration::ZERO).unwrap();
        let open = || File::open(&path).unwrap();
        let waiters: Vec<_> = (0..20)
            .map(|_| {
                let file = open();
                std::thread::spawn(move || drop(Locked::within(file, Duration::from_secs(10)).unwrap()))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(20));
        drop(held);
        for waiter in waiters {
            waiter.join().unwrap();
        }
        std::fs::remove_file(&path).unwrap();
    }
}
