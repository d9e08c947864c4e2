//! A bell: a small file whose change wakes whoever waits, in any process. It carries no meaning of its own; whoever is
//! woken looks for what changed.

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

/// How often a waiter looks that could get no inotify instance (limits of inotify(7)).
const FALLBACK_INTERVAL: Duration = Duration::from_secs(1);

/// An open bell.
#[derive(Debug)]
pub struct Bell {
    file: File,
    path: PathBuf,
}

/// What the bell showed at a moment. The default is a bell that was never rung.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ring([u8; 8]);

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Bell {
    /// Opens a bell, hanging it first where there is none (mode 0600). Its directory must be trusted.
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

    /// Wakes all who wait. Not synced: after a crash nobody waits.
    pub fn ring(&self) -> io::Result<()> {
        // Fresh bytes, not a counter or a time: two who ring at once, or within one tick of the clock, are both heard.
        self.file.write_all_at(&random::<8>()?, 0)
    }

    /// What it shows now; compare with [`Self::changed_since`].
    pub fn now(&self) -> io::Result<Ring> {
        let mut bytes = [0; 8];
        let length = self.file.read_at(&mut bytes, 0)?;
        Ok(if length == bytes.len() { Ring(bytes) } else { Ring::default() })
    }

    /// Whether it was rung since; one read of 8 bytes.
    pub fn changed_since(&self, ring: Ring) -> io::Result<bool> {
        Ok(self.now()? != ring)
    }

    /// Begins to wait. Rings from this call on are not missed; look at the matter itself after it, then wait.
    ///
    /// `uid` is on whose account: each user has only so many instances of inotify(7), and whoever could make root wait would
    /// use up those of every program of root's.
    pub fn waiter(&self, uid: u32) -> io::Result<Waiter<'_>> {
        let made = on_account_of(uid, || Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK))?;
        let inotify = made.and_then(|inotify| {
            // Through the open file, so that it is the bell even if the path means another file by now.
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            inotify.add_watch(own.as_str(), AddWatchFlags::IN_MODIFY)?;
            Ok(inotify)
        });
        // Without inotify the bell is heard later, but it is heard.
        Ok(Waiter { bell: self, inotify: inotify.ok(), last: self.now()? })
    }

    /// Where it hangs.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// One who waits for a bell.
#[derive(Debug)]
pub struct Waiter<'a> {
    bell: &'a Bell,
    inotify: Option<Inotify>,
    last: Ring,
}

impl Waiter<'_> {
    /// Waits until the bell is rung or the time is over; `true` when it was rung since the last call.
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

    /// Whether it was rung since the last call; never waits.
    pub fn rung(&mut self) -> io::Result<bool> {
        if let Some(inotify) = &self.inotify {
            // Emptied, so that a poll of the descriptor waits again; what matters is read from the bell itself.
            while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
        let now = self.bell.now()?;
        let rung = now != self.last;
        self.last = now;
        Ok(rung)
    }

    /// For a poll with other descriptors: readable after a ring, until [`Self::rung`] is called. `None` when there is
    /// no inotify; then call [`Self::rung`] once a second.
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
    fn ring_is_heard_at_once_by_one_who_waits() {
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
    fn each_of_many_rings_within_one_tick_changes_it() {
        let hung = TempBell::new();
        assert!(!hung.0.changed_since(Ring::default()).unwrap());
        for _ in 0..1000 {
            let before = hung.0.now().unwrap();
            hung.0.ring().unwrap();
            assert!(hung.0.changed_since(before).unwrap());
        }
    }

    #[test]
    fn waiter_without_inotify_hears_it_too() {
        let hung = TempBell::new();
        let mut waiter = Waiter { bell: &hung.0, inotify: None, last: hung.0.now().unwrap() };
        assert!(!waiter.wait(Duration::from_millis(20)).unwrap());
        hung.0.ring().unwrap();
        assert!(waiter.wait(Duration::from_millis(20)).unwrap());
    }

    #[test]
    fn who_waits_uses_up_their_own_instances_and_not_roots() {
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
        // They wait without one from here on, and are heard.
        assert!(hung.0.waiter(SOMEBODY).unwrap().descriptor().is_none(), "{}", waiters.len());
        assert!(hung.0.waiter(SOMEBODY - 1).unwrap().descriptor().is_some());
        assert!(hung.0.waiter(0).unwrap().descriptor().is_some());
    }

    #[test]
    fn bell_is_no_link() {
        let hung = TempBell::new();
        let link = hung.0.path().with_extension("link");
        std::os::unix::fs::symlink(hung.0.path(), &link).unwrap();
        assert!(Bell::open(&link).is_err());
        std::fs::remove_file(&link).unwrap();
    }
}
