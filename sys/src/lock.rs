//! A fair lock between processes with a timeout: a POSIX record lock (fcntl(2)), whose waiters the kernel serves in the order of
//! their requests, interrupted by a timer. While this thread waits for the lock and holds it, the terminal cannot stop it: any user
//! can type ^Z, and every other process would wait for the holder.
//!
//! A killed process must not keep a lock for which others wait. flock(2) and open file description locks last until the file is
//! released, which the kernel does after it has released the other files of the process, and a user can keep the kernel from
//! releasing a file of theirs for ever (epoll(7)). A POSIX lock ends when the process begins to close its files. In return it ends
//! with the first close of any descriptor of its file, and does not pass to a child.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::interruption::{Timer, succeed};
use crate::signals::Unstoppable;

/// A lock that is held until it is dropped, or until the process is killed. The fields are dropped in this order.
#[derive(Debug)]
#[must_use]
pub struct Locked {
    /// Closing it releases the lock.
    file: File,
    _own: Own,
    _unstoppable: Unstoppable,
}

impl Locked {
    /// Waits at most `limit` for the exclusive lock on the file at `path`, which is created if it is missing (mode 0600). Its directory
    /// must be trusted. Nothing else in this process may open that file while the lock is held: closing it would release the lock. Nor
    /// may a child be forked that uses the lock.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] when others held it for that long; those of open(2) and fcntl(2).
    pub fn at(path: &Path, limit: Duration) -> Result<Self> {
        let unstoppable = Unstoppable::begin()?;
        let deadline = Instant::now() + limit;
        let own = Own::take(path, deadline)?;
        let file = open(path)?;
        lock_until(&file, deadline)?;
        Ok(Self { file, _own: own, _unstoppable: unstoppable })
    }

    /// Returns the locked file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// Opens a file for locks, which is created if it is missing (mode 0600). Its directory must be trusted.
///
/// # Errors
/// Those of open(2).
pub fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(path)
}

fn lock_until(file: &File, deadline: Instant) -> Result<()> {
    let everything = range(0, 0, libc::F_WRLCK);
    if record_lock(file, libc::F_SETLK, &everything).is_ok() {
        return Ok(());
    }
    let _timer = Timer::start(deadline.saturating_duration_since(Instant::now()))?;
    loop {
        match record_lock(file, libc::F_SETLKW, &everything) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Ok(()) => return Ok(()),
            Err(_) if Instant::now() >= deadline => return Err(Error::from(ErrorKind::TimedOut)),
            Err(_) => {}
        }
    }
}

/// The paths whose locks this process holds: the kernel never makes a process wait for itself.
static OWN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static RELEASED: Condvar = Condvar::new();

/// The entry of a path in [`OWN`].
#[derive(Debug)]
struct Own(PathBuf);

impl Own {
    fn take(path: &Path, deadline: Instant) -> Result<Self> {
        let mut own = owned();
        while own.iter().any(|held| held == path) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::from(ErrorKind::TimedOut));
            }
            own = RELEASED.wait_timeout(own, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        own.push(path.to_owned());
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        owned().retain(|held| *held != self.0);
        RELEASED.notify_all();
    }
}

fn owned() -> MutexGuard<'static, Vec<PathBuf>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the POSIX lock on one byte of a file, which need not exist, if it is free. It ends when this process closes any
/// descriptor of the file. Returns false when another process, or an open file, holds a lock on it. A lock that this process
/// holds does not count, see [`is_shared`].
pub fn claim_byte(file: &impl AsFd, at: i64) -> Result<bool> {
    is_taken(record_lock(file, libc::F_SETLK, &range(at, 1, libc::F_WRLCK)))
}

/// Takes a shared POSIX lock on one byte of a file until this process ends, which shows others that it lives. The file must stay open
/// until then, and nothing else in this process may open it.
pub fn show(file: &'static File, at: i64) -> Result<()> {
    record_lock(file, libc::F_SETLK, &range(at, 1, libc::F_RDLCK))
}

/// Replaces the lock of [`claim_byte`] by a shared one and adds that of [`share`], with no moment between them in which the byte is
/// free. The first one lasts until this process closes the file.
pub fn share_claimed(file: &impl AsFd, at: i64) -> Result<()> {
    record_lock(file, libc::F_SETLK, &range(at, 1, libc::F_RDLCK))?;
    share(file, at)
}

/// Takes a shared POSIX lock on a whole file until this process ends, or closes any descriptor of the file: see [`is_held`]. The file
/// must be open for reading.
pub fn hold(file: &impl AsFd) -> Result<()> {
    record_lock(file, libc::F_SETLK, &range(0, 0, libc::F_RDLCK))
}

/// Returns whether any process [holds](hold) a file, this one too.
pub fn is_held(file: &impl AsFd) -> Result<bool> {
    is_locked(file, libc::F_OFD_GETLK, range(0, 0, libc::F_WRLCK))
}

/// Takes the POSIX lock on the first of `count` bytes of a file from `first` on that no other process has locked, and returns its
/// place; `None` when all are taken. The file must stay open, and nothing else in this process may open it.
pub fn claim_one(file: &'static File, first: i64, count: u32) -> Result<Option<i64>> {
    for at in (first..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        if claim_byte(file, at)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Releases the lock of [`claim_one`] or [`show`].
pub fn release(file: &'static File, at: i64) -> Result<()> {
    record_lock(file, libc::F_SETLK, &range(at, 1, libc::F_UNLCK))
}

/// Returns whether another process has locked that byte by [`show`].
pub fn others_show(file: &'static File, at: i64) -> Result<bool> {
    is_locked(file, libc::F_GETLK, range(at, 1, libc::F_WRLCK))
}

/// Takes a shared lock (`F_OFD_SETLK`, fcntl(2)) on one byte of a file, which need not exist, for as long as any
/// descriptor of this open file exists.
pub fn share(file: &impl AsFd, at: i64) -> Result<()> {
    record_lock(file, libc::F_OFD_SETLK, &range(at, 1, libc::F_RDLCK))
}

/// Releases the lock of [`share`].
pub fn unshare(file: &impl AsFd, at: i64) -> Result<()> {
    record_lock(file, libc::F_OFD_SETLK, &range(at, 1, libc::F_UNLCK))
}

/// Returns whether another open file, or a process by a POSIX lock (this one too), holds a lock on that byte.
pub fn is_shared(file: &impl AsFd, at: i64) -> Result<bool> {
    is_locked(file, libc::F_OFD_GETLK, range(at, 1, libc::F_WRLCK))
}

fn is_locked(file: &impl AsFd, operation: libc::c_int, mut range: libc::flock) -> Result<bool> {
    // SAFETY: the kernel writes to `range` alone, and the descriptor is open because `file` is borrowed.
    succeed(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), operation, &raw mut range) })?;
    Ok(range.l_type != libc::F_UNLCK as libc::c_short)
}

fn record_lock(file: &impl AsFd, operation: libc::c_int, range: &libc::flock) -> Result<()> {
    // SAFETY: `range` lives through the call, and the descriptor is open because `file` is borrowed.
    succeed(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), operation, &raw const *range) })
}

/// Returns false for the error of a lock that others hold.
fn is_taken(answer: Result<()>) -> Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A length of 0 stands for the rest of the file.
fn range(start: i64, length: i64, kind: libc::c_int) -> libc::flock {
    // SAFETY: flock is plain integers, for which zero is valid.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    (range.l_start, range.l_len) = (start, length);
    range
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::process::{WaitEvent, Waiting, exit_now, fork, kill, wait};
    use crate::signals::{self, SIGKILL, SignalSet};

    /// A user can keep the file of a killed process from being released. Here another process has it open.
    #[test]
    fn a_killed_process_keeps_no_lock_even_if_its_files_are_never_released() {
        let path = std::env::temp_dir().join(format!("jit-sudo-killed-{}", std::process::id()));
        let (told, tell) = crate::poll::pipe().unwrap();
        let holder = fork(|| {
            let _held = Locked::at(&path, Duration::ZERO).unwrap();
            let heir = fork(|| {
                std::thread::sleep(Duration::from_secs(60));
                exit_now(0)
            });
            let _ = crate::poll::write(tell.as_fd(), &heir.unwrap().raw().to_ne_bytes());
            std::thread::sleep(Duration::from_secs(60));
            exit_now(0)
        })
        .unwrap();
        let mut heir = [0; 4];
        assert_eq!(crate::poll::read(told.as_fd(), &mut heir).unwrap(), 4);
        assert!(Locked::at(&path, Duration::ZERO).is_err());
        kill(holder, SIGKILL).unwrap();
        let next = Locked::at(&path, Duration::from_secs(1));
        wait(holder, Waiting::ForEnd).unwrap();
        kill(crate::process::Pid::new(i32::from_ne_bytes(heir)).unwrap(), SIGKILL).unwrap();
        drop(next.unwrap());
        std::fs::remove_file(&path).unwrap();
    }

    /// A descriptor of the user's can keep the files of a killed process from being released. Here another process has them open.
    #[test]
    fn a_killed_process_keeps_no_claim_and_holds_no_file() {
        let path = std::env::temp_dir().join(format!("jit-sudo-claims-{}", std::process::id()));
        let file: &'static File = Box::leak(Box::new(open(&path).unwrap()));
        let (held_path, held) = (path.with_extension("held"), open(&path.with_extension("held")).unwrap());
        let (told, tell) = crate::poll::pipe().unwrap();
        let holder = fork(|| {
            hold(&held).unwrap();
            assert_eq!(claim_one(file, 1 << 20, 2).unwrap(), Some(1 << 20));
            show(file, 1 << 30).unwrap();
            let _ = crate::poll::write(tell.as_fd(), b"!");
            std::thread::sleep(Duration::from_secs(60));
            exit_now(0)
        })
        .unwrap();
        assert_eq!(crate::poll::read(told.as_fd(), &mut [0]).unwrap(), 1);
        assert!(is_held(&held).unwrap() && others_show(file, 1 << 30).unwrap());
        assert!(!others_show(file, (1 << 30) + 1).unwrap());
        kill(holder, SIGKILL).unwrap();
        wait(holder, Waiting::ForEnd).unwrap();
        assert!(!is_held(&held).unwrap() && !others_show(file, 1 << 30).unwrap());
        let at = claim_one(file, 1 << 20, 2).unwrap().unwrap();
        assert_eq!(at, 1 << 20);
        assert!(is_held(file).unwrap());
        release(file, at).unwrap();
        assert!(!is_held(file).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&held_path).unwrap();
    }

    #[test]
    fn a_claimed_byte_is_shared_without_a_gap() {
        let path = std::env::temp_dir().join(format!("jit-sudo-byte-{}", std::process::id()));
        let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let (file, other) = (open(), open());
        assert!(!is_shared(&file, 7).unwrap() && claim_byte(&file, 7).unwrap());
        assert!(is_shared(&other, 7).unwrap() && share(&other, 7).is_err(), "it is exclusive");
        share_claimed(&file, 7).unwrap();
        share(&other, 7).unwrap();
        drop(other); // ends the POSIX lock, as the last connection of SQLite does
        assert!(is_shared(&open(), 7).unwrap(), "that of the open file remains");
        drop(file);
        assert!(!is_shared(&open(), 7).unwrap());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn waiting_for_a_held_lock_times_out() {
        let path = std::env::temp_dir().join(format!("jit-sudo-lock-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let held = Locked::at(&path, Duration::ZERO).unwrap();
        let is_refused = |begun: Instant| {
            let refused = Locked::at(&path, Duration::from_millis(50)).unwrap_err();
            refused.kind() == ErrorKind::TimedOut && (50..1000).contains(&begun.elapsed().as_millis())
        };
        assert!(is_refused(Instant::now()));
        let other = fork(|| {
            owned().clear(); // another process knows nothing of this one's locks
            exit_now(i32::from(!is_refused(Instant::now())))
        });
        assert_eq!(wait(other.unwrap(), Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(0));
        drop(held);
        drop(Locked::at(&path, Duration::ZERO).unwrap());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_lock_holder_cannot_be_stopped_from_a_terminal() {
        let path = std::env::temp_dir().join(format!("jit-sudo-stop-{}", std::process::id()));
        let before = signals::block(SignalSet::EMPTY).unwrap();
        let held = Locked::at(&path, Duration::ZERO).unwrap();
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
        let held = Locked::at(&path, Duration::ZERO).unwrap();
        let waiters: Vec<_> = (0..20)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || drop(Locked::at(&path, Duration::from_secs(10)).unwrap()))
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
