//! A bell: a small file whose change wakes all waiting processes. It has no content of its own; a process that wakes
//! checks what has changed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::fsuid::on_account_of;
use crate::poll::{PollEntry, poll};
use crate::random::random;

/// The polling interval of a waiter that got no inotify instance (limits of inotify(7)).
const FALLBACK_INTERVAL: Duration = Duration::from_secs(1);

/// An open bell.
#[derive(Debug)]
pub struct Bell {
    file: File,
    path: PathBuf,
}

/// The state of the bell at a moment. The default is a bell that was never rung.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ring([u8; 8]);

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Bell {
    /// Opens a bell; creates the file if it is missing (mode 0600). Its directory must be trusted.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags)
            .open(path)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Wakes all waiters. Not synced: after a crash there are none.
    pub fn ring(&self) -> io::Result<()> {
        // Random bytes, not a counter or a time: two processes that ring at once, or within one tick of the clock, both
        // cause a change.
        self.file.write_all_at(&random::<8>()?, 0)
    }

    /// Returns the present state, for [`Self::changed_since`].
    pub fn now(&self) -> io::Result<Ring> {
        let mut bytes = [0; 8];
        let length = self.file.read_at(&mut bytes, 0)?;
        Ok(if length == bytes.len() { Ring(bytes) } else { Ring::default() })
    }

    /// Returns whether the bell was rung since; one read of 8 bytes.
    pub fn changed_since(&self, ring: Ring) -> io::Result<bool> {
        Ok(self.now()? != ring)
    }

    /// Starts to wait. No ring after this call is missed: the caller checks its condition after it, then waits.
    ///
    /// `uid` is the user for whom the kernel counts the inotify(7) instance: the number for each user is limited, and a
    /// user who could make root wait would otherwise use up the instances of root's programs.
    pub fn waiter(&self, uid: u32) -> io::Result<Waiter<'_>> {
        let made = on_account_of(uid, || Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK))?;
        let inotify = made.and_then(|inotify| {
            // Through the open file, so that it is the bell even if the path now refers to another file.
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            inotify.add_watch(own.as_str(), AddWatchFlags::IN_MODIFY)?;
            Ok(inotify)
        });
        // Without inotify the waiter notices a ring later, by polling.
        Ok(Waiter { bell: self, inotify: inotify.ok(), last: self.now()? })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A process that waits for a bell.
#[derive(Debug)]
pub struct Waiter<'a> {
    bell: &'a Bell,
    inotify: Option<Inotify>,
    last: Ring,
}

impl Waiter<'_> {
    /// Waits until the bell is rung or the timeout has passed; `true` when it was rung since the last call.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if self.rung()? {
                return Ok(true);
            }
            let left = deadline.map_or(FALLBACK_INTERVAL, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(false);
            }
            match self.descriptor() {
                Some(fd) => drop(poll(&mut [PollEntry::reading(fd)], Some(left))?),
                None => std::thread::sleep(left.min(FALLBACK_INTERVAL)),
            }
        }
    }

    /// Returns whether it was rung since the last call; never blocks.
    pub fn rung(&mut self) -> io::Result<bool> {
        if let Some(inotify) = &self.inotify {
            // Emptied, so that a poll of the descriptor waits again; the state is read from the bell itself.
            while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
        let now = self.bell.now()?;
        let rung = now != self.last;
        self.last = now;
        Ok(rung)
    }

    /// Returns a descriptor for a poll with others: readable after a ring, until [`Self::rung`] is called. `None`
    /// without inotify; then the caller calls [`Self::rung`] once a second.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TempBell(Bell);

    impl TempBell {
        fn new() -> Self {
            let name = u64::from_ne_bytes(random().unwrap());
            Self(Bell::open(Path::new(&format!("/run/sys-bell-{name:016x}"))).unwrap())
        }
    }

    impl Drop for TempBell {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(self.0.path());
        }
    }

    #[test]
    fn a_ring_wakes_a_waiter_at_once() {
        let hung = TempBell::new();
        let mut waiter = hung.0.waiter(0).unwrap();
        assert!(waiter.descriptor().is_some());
        let other = Bell::open(hung.0.path()).unwrap();
        let ringer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let begun = Instant::now();
            other.ring().unwrap();
            begun
        });
        assert!(waiter.wait(Duration::from_secs(10)).unwrap());
        let heard = Instant::now();
        assert!(heard.duration_since(ringer.join().unwrap()) < Duration::from_millis(50));
        assert!(!waiter.wait(Duration::from_millis(20)).unwrap());
    }

    #[test]
    fn each_of_many_rings_within_one_tick_is_a_change() {
        let hung = TempBell::new();
        assert!(!hung.0.changed_since(Ring::default()).unwrap());
        for _ in 0..1000 {
            let before = hung.0.now().unwrap();
            hung.0.ring().unwrap();
            assert!(hung.0.changed_since(before).unwrap());
        }
    }

    #[test]
    fn a_waiter_without_inotify_wakes_too() {
        let hung = TempBell::new();
        let mut waiter = Waiter { bell: &hung.0, inotify: None, last: hung.0.now().unwrap() };
        assert!(!waiter.wait(Duration::from_millis(20)).unwrap());
        hung.0.ring().unwrap();
        assert!(waiter.wait(Duration::from_millis(20)).unwrap());
    }

    #[test]
    fn a_waiter_uses_the_inotify_instances_of_its_own_user() {
        const SOMEBODY: u32 = 3_999_999_999;
        let hung = TempBell::new();
        let mut waiters = Vec::new();
        for _ in 0..100_000 {
            let waiter = hung.0.waiter(SOMEBODY).unwrap();
            if waiter.descriptor().is_none() {
                break;
            }
            waiters.push(waiter);
        }
        // From here on they wait without inotify, and still notice a ring.
        assert!(hung.0.waiter(SOMEBODY).unwrap().descriptor().is_none(), "{}", waiters.len());
        assert!(hung.0.waiter(SOMEBODY - 1).unwrap().descriptor().is_some());
        assert!(hung.0.waiter(0).unwrap().descriptor().is_some());
    }

    #[test]
    fn a_symbolic_link_is_rejected_as_a_bell() {
        let hung = TempBell::new();
        let link = hung.0.path().with_extension("link");
        std::os::unix::fs::symlink(hung.0.path(), &link).unwrap();
        assert!(Bell::open(&link).is_err());
        std::fs::remove_file(&link).unwrap();
    }
}
