//! When other processes of root have started, by which a process is told from a later one with the same pid.
//!
//! A command that runs as root can make a process of its own block every reader of its start time, and can give it the
//! pid of a process of ours that has ended. So the start time is read once for each process, in a child with a deadline
//! (`procfs/locked/reader.rs`); after that the number of its pidfds, which no other process has since Linux 6.9, tells who it is.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, fstatfs};

use crate::kernel::check;
use crate::process::{Pid, open_process};
use crate::procfs;
use crate::procfs::locked::{self, reader};

/// `PID_FS_MAGIC` of linux/magic.h, since Linux 6.9.
const PIDFS: FsType = FsType(0x5049_4446);

/// The maximum number of processes that are remembered.
const REMEMBERED: usize = 1 << 12;

/// The number of each process and its start time. A child inherits a copy, which stays true.
static REMEMBERED_STARTS: Mutex<Option<HashMap<Pid, (u64, u64)>>> = Mutex::new(None);

/// Returns whether the kernel gives each process a number that no other process has until the next boot.
pub(crate) fn has_numbers() -> bool {
    number_of(Pid::own()).is_ok_and(|number| number.is_some())
}

/// Returns the number of a process that no other process has until the next boot; `None` where the kernel has no such
/// numbers.
pub(crate) fn number_of(pid: Pid) -> io::Result<Option<u64>> {
    match open_process(pid) {
        Ok(line) if fstatfs(line.as_fd()).is_ok_and(|found| found.filesystem_type() == PIDFS) => {
            Ok(Some(fstat(&line)?.st_ino))
        }
        Ok(_) => Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the start time of a process of root.
///
/// # Errors
/// As [`process_start`](crate::process::process_start).
pub(crate) fn start_of(pid: Pid) -> io::Result<u64> {
    let Some(number) = number_of(pid)?.filter(|_| !reader::is_child()) else { return locked::start_of_root(pid) };
    match remembered(pid) {
        Some((known, started)) if known == number => Ok(started),
        _ => {
            must_be_of_root(pid)?;
            remember(pid, number, reader::started(pid)?)
        }
    }
}

/// Returns the start time of a process that this one has started to run code of ours, which nobody can delay. While it
/// is a child it keeps its pid; another process is asked as by [`start_of`].
///
/// # Errors
/// As [`start_of`].
pub(crate) fn start_of_child(pid: Pid) -> io::Result<u64> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: no result is asked for.
    let is_child =
        check(unsafe { libc::waitid(libc::P_PID, pid.raw().cast_unsigned(), std::ptr::null_mut(), options) });
    match number_of(pid)? {
        Some(number) if is_child.is_ok() => remember(pid, number, locked::start_of_root(pid)?),
        _ => start_of(pid),
    }
}

/// Reads the start times of several processes at once, and remembers them: for code that asks for each of them next.
/// Skips those that cannot be read.
pub fn learn_starts(pids: impl IntoIterator<Item = Pid>) {
    let is_new = |(pid, number): &(Pid, u64)| {
        *pid != Pid::own()
            && remembered(*pid).is_none_or(|(known, _)| known != *number)
            && must_be_of_root(*pid).is_ok()
    };
    let numbered = pids.into_iter().filter_map(|pid| Some((pid, number_of(pid).ok()??)));
    let new: HashMap<Pid, u64> = numbered.filter(is_new).collect();
    if new.len() > 1 {
        for (pid, started) in reader::starts_at_once(&new.keys().copied().collect::<Vec<_>>()) {
            let _ = new.get(&pid).map(|number| remember(pid, *number, started)); // it may have ended
        }
    }
}

/// Remembers this process, for its children.
pub(crate) fn remember_own(started: u64) {
    let own = Pid::own();
    if let Ok(Some(number)) = number_of(own) {
        store(own, number, started);
    }
}

/// Returns whether a process of root is the one with this start time, and lives. One that does not answer is another:
/// no process of ours is in that state. True where nobody can be asked, as in a sandbox.
pub(crate) fn is_still(pid: Pid, started: u64) -> bool {
    let is_another = |number: u64| remembered(pid).is_some_and(|(known, then)| then == started && known != number);
    if pid != Pid::own() && number_of(pid).is_ok_and(|number| number.is_some_and(is_another)) {
        return false;
    }
    match crate::process::process_start(pid) {
        Ok(found) => found == started,
        Err(error) => !is_another_error(&error),
    }
}

/// Whether the error says that the process does not exist, is one of an ordinary user, or does not answer.
pub(crate) fn is_another_error(error: &io::Error) -> bool {
    let kinds = [ErrorKind::NotFound, ErrorKind::PermissionDenied, ErrorKind::TimedOut];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(libc::ESRCH)
}

fn must_be_of_root(pid: Pid) -> io::Result<()> {
    // The user changes at the end of an exec, after everything that a user could delay.
    if procfs::status(pid)?.real_uid == 0 { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
}

/// Remembers a start time that was read for the process with this number, if it still has its pid.
fn remember(pid: Pid, number: u64, started: u64) -> io::Result<u64> {
    if number_of(pid)? != Some(number) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    store(pid, number, started);
    Ok(started)
}

fn store(pid: Pid, number: u64, started: u64) {
    let mut all = REMEMBERED_STARTS.lock().unwrap_or_else(PoisonError::into_inner);
    let all = all.get_or_insert_default();
    if all.len() >= REMEMBERED {
        all.clear();
    }
    let _ = all.insert(pid, (number, started));
}

fn remembered(pid: Pid) -> Option<(u64, u64)> {
    let all = REMEMBERED_STARTS.lock().unwrap_or_else(PoisonError::into_inner);
    all.as_ref().and_then(|all| all.get(&pid)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Waiting, exit_now, fork, kill, process_start, wait};

    #[test]
    fn a_start_time_is_read_once_and_belongs_to_one_process() {
        let child = fork(|| {
            std::thread::sleep(std::time::Duration::from_secs(60));
            exit_now(0)
        })
        .unwrap();
        let started = process_start(child).unwrap();
        assert_eq!(started, locked::start_of_root(child).unwrap());
        assert_eq!(start_of_child(child).unwrap(), started);
        assert!(is_still(child, started) && !is_still(child, started + 1));
        if let Some((number, _)) = remembered(child) {
            // As if another process had the pid.
            let mut all = REMEMBERED_STARTS.lock().unwrap();
            let _ = all.as_mut().unwrap().insert(child, (number + 1, started));
            drop(all);
            assert!(!is_still(child, started), "it is told from the earlier one without being asked");
        }
        kill(child, libc::SIGKILL).unwrap();
        wait(child, Waiting::ForEnd).unwrap();
        assert!(!is_still(child, started) && process_start(child).is_err());
        learn_starts([Pid::own(), Pid::new(1).unwrap(), Pid::new(2).unwrap()]);
        assert!(is_still(Pid::new(1).unwrap(), process_start(Pid::new(1).unwrap()).unwrap()));
    }

    #[test]
    fn errors_tell_whether_a_process_is_another_one() {
        for code in [libc::ESRCH, libc::ENOENT, libc::EACCES, libc::ETIMEDOUT] {
            assert!(is_another_error(&io::Error::from_raw_os_error(code)), "{code}");
        }
        assert!(!is_another_error(&io::Error::other("no child")));
    }
}
