//! What a program that is not ours begets from a moment on: found as its descendants and as the members of a control group
//! that it was put into. Signals through pidfds, as in `descendants`; the program itself is never stopped or ended.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::cgroup::{Cgroup, Scope};
use crate::descendants::{Living, MAX_PASSES, scan, send};
use crate::process::Pid;
use crate::procfs;

/// The program, and since when what it begets is meant.
#[derive(Debug)]
pub struct Guests {
    host: Living,
    since: u64,
    group: Option<Cgroup>,
    /// The programs that go on when the others are frozen.
    spared: &'static [&'static str],
    /// The terminal at which the program was asked, by its number, and whose it was.
    seat: Option<(u32, u32)>,
    /// Where logind has moved them.
    scope: OnceCell<Scope>,
}

impl Guests {
    /// What `host` begets from now on. With a `group`, `host` is moved there, so that whatever leaves its family stays in
    /// sight; where that is not possible its family alone is seen. What runs one of the programs `spared` with the rights of root
    /// is never frozen or stopped by [`Self::freeze`] and [`Self::stop`]: it may hold what others wait for.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(host: Pid, group: Option<Cgroup>, spared: &'static [&'static str]) -> io::Result<Self> {
        let started = procfs::stat(host)?.started;
        let group = group.filter(|group| group.adopt(host).is_ok());
        // This very process was started when the host asked: whatever is younger is meant.
        let since = procfs::stat(Pid::own())?.started;
        Ok(Self { host: Living { pid: host, started }, since, group, spared, seat: None, scope: OnceCell::new() })
    }

    /// Who asks sits at this terminal, such as `/dev/pts/3` or `pts/3`; what the program begets may have none, or another.
    #[must_use]
    pub fn seated_at(self, terminal: &OsStr) -> Self {
        let path = Path::new("/dev").join(terminal); // an absolute path stays as it is
        let seat = fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_char_device());
        Self { seat: seat.map(|found| (number(found.rdev()), found.uid())), ..self }
    }

    /// Looks whether logind has given the program a group of its own, as pam_systemd has it do; whatever leaves the family is
    /// seen there then.
    pub fn look(&self) {
        if let (None, Some(group)) = (self.scope.get(), &self.group)
            && let Some(scope) = group.scope_of(self.host.pid).filter(|_| self.host_lives())
        {
            let _ = self.scope.set(scope); // it was empty
        }
    }

    /// Whether the program still runs; false for one that is dead and not buried yet.
    pub fn host_lives(&self) -> bool {
        procfs::stat(self.host.pid)
            .is_ok_and(|stat| stat.started == self.host.started && !matches!(stat.state, b'Z' | b'X'))
    }

    /// Sends a signal to every one, and again to those that appeared meanwhile; gives how many were signalled.
    ///
    /// For SIGKILL all are frozen first, or stopped where that cannot be, so that none forks faster than it is killed.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn signal(&self, signal: i32) -> io::Result<usize> {
        if signal == libc::SIGKILL && self.freeze().is_err() {
            self.signal_all(libc::SIGSTOP, |_| true)?;
        }
        self.signal_all(signal, |_| true)
    }

    /// SIGSTOP, where [`Self::freeze`] cannot be had: whoever may signal them can wake them.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn stop(&self) -> io::Result<usize> {
        self.signal_all(libc::SIGSTOP, |guest| self.may_be_frozen(guest))
    }

    /// Stops every one until [`Self::thaw`], and what they beget: in a group of control of their own, where neither their parents
    /// notice it nor anybody but root can wake them, as SIGCONT could (kill(2): whoever is of the same session).
    ///
    /// # Errors
    /// `Unsupported` where there are no groups of control; whatever the kernel says where they cannot be written.
    pub fn freeze(&self) -> io::Result<()> {
        let ice = self.ice()?;
        ice.freeze()?;
        for _ in 0..MAX_PASSES {
            let seen = self.seen()?.into_iter();
            let warm = seen.filter(|guest| !ice.holds(guest.pid) && self.may_be_frozen(*guest));
            // One that has ended meanwhile cannot be moved; what it begot is found in the next pass.
            if warm.filter(|guest| ice.adopt(guest.pid).is_ok()).count() == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Lets all go on that [`Self::freeze`] has stopped, where they were before.
    ///
    /// # Errors
    /// As `freeze`.
    pub fn thaw(&self) -> io::Result<()> {
        let ice = self.ice()?;
        ice.thaw()?;
        for pid in ice.members() {
            // Whoever has ended needs no place.
            let _ = match (self.scope.get(), &self.group) {
                (Some(scope), _) => scope.adopt(pid),
                (None, Some(group)) => group.adopt(pid),
                (None, None) => Ok(()),
            };
        }
        Ok(())
    }

    /// Whether one of them, or the program, has a terminal; none has it any more when that was hung up.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn have_terminal(&self) -> io::Result<bool> {
        let mut all = self.seen()?.into_iter().chain([self.host]);
        Ok(all.any(|one| procfs::stat(one.pid).is_ok_and(|stat| stat.terminal != 0)))
    }

    /// How many there are.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn count(&self) -> io::Result<usize> {
        Ok(self.seen()?.len())
    }

    fn may_be_frozen(&self, guest: Living) -> bool {
        !procfs::runs_as_root(guest.pid, self.spared)
    }

    fn ice(&self) -> io::Result<Cgroup> {
        self.group.as_ref().ok_or(io::Error::from(io::ErrorKind::Unsupported))?.below("frozen")
    }

    /// Lets the program itself go on: su(1) stops when what it waits for is stopped.
    pub fn wake_host(&self) {
        let _ = send(self.host, libc::SIGCONT); // it may have ended
    }

    /// Writes a line on each terminal that they have, and on that of [`Self::seated_at`], where that can be done without waiting.
    pub fn tell(&self, line: &str) {
        let seen = self.seen().unwrap_or_default();
        let mut numbers: HashSet<u32> =
            seen.into_iter().filter_map(|guest| procfs::stat(guest.pid).ok()).map(|stat| stat.terminal).collect();
        // By now it may be somebody else's.
        let is_theirs = |(number, uid): &(u32, u32)| {
            terminal(*number).is_some_and(|path| fs::symlink_metadata(path).is_ok_and(|found| found.uid() == *uid))
        };
        numbers.extend(self.seat.filter(is_theirs).map(|(number, _)| number));
        for path in numbers.into_iter().filter_map(terminal) {
            let flags = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
            // Nobody may be there to read it, and the session goes on.
            let _ = OpenOptions::new()
                .write(true)
                .custom_flags(flags)
                .open(path)
                .and_then(|mut terminal| terminal.write_all(format!("\r\n{line}\r\n").as_bytes()));
        }
    }

    /// The group is left to whoever stays in it.
    pub fn part(self) {
        self.group.into_iter().for_each(Cgroup::remove);
    }

    fn signal_all(&self, signal: i32, meant: impl Fn(Living) -> bool) -> io::Result<usize> {
        let mut seen = HashSet::new();
        for _ in 0..MAX_PASSES {
            let before = seen.len();
            for guest in self.seen()? {
                if meant(guest) && seen.insert(guest) {
                    // It may have ended since; then there is nothing to signal.
                    let _ = send(guest, signal);
                }
            }
            if seen.len() == before {
                break;
            }
        }
        Ok(seen.len())
    }

    fn seen(&self) -> io::Result<HashSet<Living>> {
        self.look();
        let family = if self.host_lives() { scan(self.host.pid)? } else { Vec::new() };
        let mut all: HashSet<Living> = family.into_iter().filter(|one| one.started >= self.since).collect();
        let grouped = self.group.as_ref().map(Cgroup::members).unwrap_or_default();
        let scoped = self.scope.get().map(Scope::members).unwrap_or_default();
        for pid in grouped.into_iter().chain(scoped) {
            let Ok(stat) = procfs::stat(pid) else { continue };
            if !matches!(stat.state, b'Z' | b'X') {
                all.insert(Living { pid, started: stat.started });
            }
        }
        all.remove(&self.host);
        Ok(all)
    }
}

/// The number of a terminal (proc_pid_stat(5), `tty_nr`) from that of its device.
fn number(device: u64) -> u32 {
    let (major, minor) = (libc::major(device), libc::minor(device));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The terminal of this number (proc_pid_stat(5), `tty_nr`), if it is one that people sit at.
fn terminal(number: u32) -> Option<String> {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xf_ff00));
    let path = match (major, minor) {
        (136..=143, minor) => format!("/dev/pts/{}", (major - 136) * 256 + minor),
        (4, 1..=63) => format!("/dev/tty{minor}"),
        _ => return None,
    };
    fs::symlink_metadata(&path).ok().map(|_| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_have_the_names_that_people_know() {
        assert_eq!(terminal(0), None);
        assert_eq!(terminal(0x0500), None, "/dev/tty itself");
        for number_of in [0x8800, 0x8803, 0x0401, 0x0010_8812] {
            let device = libc::makedev((number_of >> 8) & 0xfff, (number_of & 0xff) | ((number_of >> 12) & 0xf_ff00));
            assert_eq!(number(device), number_of);
        }
        assert!(terminal(0x8800).is_none_or(|path| path == "/dev/pts/0"));
    }

    /// A process that does as it is told by the lines that it reads; `None` where there is no shell.
    fn host() -> (std::process::Child, Pid) {
        let child = std::process::Command::new("sh").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
        (child, pid)
    }

    #[test]
    fn what_a_program_begets_is_ended_and_the_program_is_not() {
        let (mut child, pid) = host();
        let guests = Guests::of(pid, None, &[]).unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "sleep 61 & sleep 62").unwrap();
        let found = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            guests.seen().unwrap().len() == 2
        });
        assert!(found && guests.host_lives());
        assert_eq!(guests.signal(libc::SIGKILL).unwrap(), 2);
        assert!(guests.host_lives() && child.try_wait().unwrap().is_none());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!guests.host_lives());
        assert_eq!(guests.signal(libc::SIGKILL).unwrap(), 0);
    }

    #[test]
    fn what_is_frozen_stands_still_though_it_is_told_to_go_on_and_the_program_does_not() {
        let (mut child, pid) = host();
        let Ok(group) = Cgroup::create("sys-tests", "icebox") else { return drop(child.kill()) };
        let guests = Guests::of(pid, Some(group), &[]).unwrap();
        let place = std::env::temp_dir().join(format!("sys-guests-{}", std::process::id()));
        let size = || fs::metadata(&place).map_or(0, |found| found.len());
        let grows = || {
            let before = size();
            std::thread::sleep(std::time::Duration::from_millis(300));
            size() > before
        };
        writeln!(child.stdin.as_mut().unwrap(), "sh -c 'while sleep 0.01; do echo; done' >{} &", place.display())
            .unwrap();
        assert!((0..50).any(|_| grows()));
        guests.freeze().unwrap();
        for _ in 0..3 {
            guests.signal(libc::SIGCONT).unwrap();
            assert!(!grows());
        }
        assert_eq!(procfs::stat(pid).unwrap().state, b'S');
        guests.thaw().unwrap();
        assert!((0..50).any(|_| grows()));
        // And a frozen one can be killed.
        guests.freeze().unwrap();
        guests.signal(libc::SIGKILL).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!((0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            guests.count().unwrap() == 0
        }));
        guests.part();
        let _ = fs::remove_file(&place);
    }

    #[test]
    fn a_daemon_that_left_the_family_is_found_in_the_group() {
        let (mut child, pid) = host();
        let Ok(group) = Cgroup::create("sys-tests", "guests") else { return drop(child.kill()) };
        let guests = Guests::of(pid, Some(group), &[]).unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "setsid sh -c 'sleep 63 & exit' & wait; exit").unwrap();
        child.wait().unwrap();
        assert!(!guests.host_lives());
        assert_eq!(guests.signal(libc::SIGKILL).unwrap(), 1);
        for _ in 0..500 {
            if guests.seen().unwrap().is_empty() {
                return guests.part();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the daemon lives");
    }
}
