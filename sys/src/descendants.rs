//! Finds and kills the descendants of a process. Reads `/proc`; sends signals through pidfds, so that a reused pid is
//! never hit.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use crate::kernel::check;
use crate::poll::{PollEntry, poll};
use crate::process::{Pid, kill, open_process};
use crate::procfs;
use crate::procfs::locked::reader;
use crate::started::has_numbers;

/// The maximum number of processes that one pass examines; the next pass finds the rest.
const MAX_PROCESSES: usize = 1 << 17;

/// How many times a signal is repeated for processes that were started meanwhile.
pub(crate) const MAX_PASSES: usize = 64;

/// Returns every living descendant of a process, without the process itself.
///
/// The result includes orphans if `of` is a subreaper ([`become_subreaper`](crate::process::become_subreaper)).
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn descendants(of: Pid) -> io::Result<Vec<Pid>> {
    Ok(scan(of)?.into_iter().map(|process| process.pid).collect())
}

/// Sends SIGKILL to every descendant that is `meant`, and again to those that appeared meanwhile. Returns their number.
///
/// It first stops all of them, so that a program that forks faster than it is killed loses the race.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn kill_descendants(of: Pid, meant: &dyn Fn(Pid) -> bool) -> io::Result<usize> {
    signal_descendants(of, libc::SIGSTOP, meant)?;
    signal_descendants(of, libc::SIGKILL, meant)
}

/// Sends a signal to every descendant that is `meant`, and again to those that appeared meanwhile. Returns how many it
/// signalled.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn signal_descendants(of: Pid, signal: i32, meant: &dyn Fn(Pid) -> bool) -> io::Result<usize> {
    let mut seen = HashSet::new();
    // A signal that a process can ignore needs no second pass: SIGKILL follows for those that fork away from it.
    let passes = if matches!(signal, libc::SIGKILL | libc::SIGSTOP) { MAX_PASSES } else { 1 };
    for _ in 0..passes {
        let before = seen.len();
        let all = kin(of)?;
        let parents: HashSet<i32> = all.iter().map(|kin| kin.process.pid.raw()).chain([of.raw()]).collect();
        for Descendant { process, .. } in all {
            if !seen.contains(&process) && meant(process.pid) {
                seen.insert(process);
                let is_one = || procfs::status(process.pid).is_ok_and(|status| parents.contains(&status.parent));
                // The process may have ended since the scan; then there is nothing to signal.
                let _ = send_if(process, signal, &is_one);
            }
        }
        if seen.len() == before {
            break;
        }
    }
    Ok(seen.len())
}

/// A process at one moment. Nothing that a user does can delay finding out who it is, as reading its start time could.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Living {
    pub(crate) pid: Pid,
    /// The inode number of its pidfds, which since Linux 6.9 no other process has; before, it is always the same.
    number: u64,
}

impl Living {
    /// Identifies a process; `None` when it does not exist.
    pub(crate) fn at(pid: Pid) -> Option<Self> {
        match open_process(pid) {
            Ok(line) => Some(Self { pid, number: number_of(&line) }),
            Err(error) if is_missing(&error) => procfs::status(pid).ok().map(|_| Self { pid, number: 0 }),
            Err(_) => None,
        }
    }

    /// Returns whether the process lives.
    pub(crate) fn lives(self) -> bool {
        Self::at(self.pid) == Some(self) && procfs::lives(self.pid)
    }

    /// Returns the number, for a name that no other process has.
    pub(crate) fn number(self) -> u64 {
        self.number
    }
}

/// Processes that descended from a process at one moment.
#[derive(Debug, Clone, Default)]
pub struct Earlier(HashMap<i32, Identity>);

/// What tells a process from a later one with the same pid.
#[derive(Debug, Clone)]
struct Identity {
    /// The number of its pidfds; before Linux 6.9 its start time.
    number: u64,
    /// Before Linux 6.9 one of its pidfds: no other process has the pid before the process has ended.
    line: Option<Rc<OwnedFd>>,
}

/// How many ancestors of a process are looked at.
const MAX_ANCESTORS: usize = 1 << 12;

impl Earlier {
    /// Returns the present descendants of this process. Before Linux 6.9 those that do not answer are missing.
    pub fn of_this_process() -> Self {
        if !has_child() {
            return Self::default();
        }
        let all = scan(Pid::own()).unwrap_or_default();
        if has_numbers() { Self::numbered(&all) } else { Self::timed(all.into_iter().map(|one| one.pid), &|_, _| true) }
    }

    /// Returns those with these [`numbers`](Self::numbers).
    pub fn with(numbers: impl IntoIterator<Item = (i32, u64)>) -> Self {
        let numbers: HashMap<i32, u64> = numbers.into_iter().collect();
        if has_numbers() {
            return Self(numbers.into_iter().map(|(pid, number)| (pid, Identity { number, line: None })).collect());
        }
        let is_one = |pid: Pid, started| numbers.get(&pid.raw()) == Some(&started);
        Self::timed(numbers.keys().filter_map(|pid| Pid::new(*pid)), &is_one)
    }

    fn numbered(all: &[Living]) -> Self {
        Self(all.iter().map(|one| (one.pid.raw(), Identity { number: one.number, line: None })).collect())
    }

    /// Identifies those processes by their start times for which `is_meant` holds, given that time.
    fn timed(pids: impl Iterator<Item = Pid>, is_meant: &dyn Fn(Pid, u64) -> bool) -> Self {
        // Opened before the start times are read: a process that has not ended then is the one that was opened.
        let lines: HashMap<Pid, OwnedFd> = pids.filter_map(|pid| Some((pid, open_process(pid).ok()?))).collect();
        let starts: HashMap<Pid, u64> = match lines.is_empty() {
            true => HashMap::new(),
            false => reader::starts(lines.keys().copied().collect()).into_iter().collect(),
        };
        let identified = lines.into_iter().filter_map(|(pid, line)| {
            let number = *starts.get(&pid).filter(|started| is_meant(pid, **started))?;
            is_unended(&line).then(|| (pid.raw(), Identity { number, line: Some(Rc::new(line)) }))
        });
        Self(identified.collect())
    }

    /// Returns pid and number of each, for another process.
    pub fn numbers(&self) -> Vec<(i32, u64)> {
        self.0.iter().map(|(pid, identity)| (*pid, identity.number)).collect()
    }

    /// Whether a process is one of them, or descends from one that still lives.
    pub fn covers(&self, pid: Pid) -> bool {
        let mut next = Some(pid).filter(|_| !self.0.is_empty());
        for _ in 0..MAX_ANCESTORS {
            let Some(one) = next else { return false };
            if self.holds(one) {
                return true;
            }
            next = procfs::status(one).ok().and_then(|status| Pid::new(status.parent));
        }
        false
    }

    fn holds(&self, pid: Pid) -> bool {
        self.0.get(&pid.raw()).is_some_and(|known| match &known.line {
            Some(line) => is_unended(line),
            None => Living::at(pid).is_some_and(|found| found.number == known.number),
        })
    }
}

/// Whether a pidfd belongs to a process that has not ended. False where the kernel cannot tell.
fn is_unended(line: &OwnedFd) -> bool {
    let mut entries = [PollEntry::reading(line.as_fd())];
    poll(&mut entries, Some(Duration::ZERO)).is_ok_and(|ready| ready == 0)
}

/// Whether this process has a child, ended or not.
fn has_child() -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: no result is asked for.
    check(unsafe { libc::waitid(libc::P_ALL, 0, std::ptr::null_mut(), options) }).is_ok()
}

fn number_of(line: &OwnedFd) -> u64 {
    nix::sys::stat::fstat(line).map_or(0, |found| found.st_ino)
}

/// Returns every living descendant.
pub(crate) fn scan(of: Pid) -> io::Result<Vec<Living>> {
    Ok(kin(of)?.into_iter().map(|kin| kin.process).collect())
}

/// A descendant and its parent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descendant {
    pub(crate) process: Living,
    pub(crate) parent: i32,
}

/// Returns every living descendant, each after its parent.
///
/// The cost grows with the number of descendants, where the kernel lists the children of a process
/// (proc_tid_children(5)); else with the number of all processes.
pub(crate) fn kin(of: Pid) -> io::Result<Vec<Descendant>> {
    if of == Pid::own() && !has_child() {
        return Ok(Vec::new());
    }
    kin_by_children(of).map_or_else(|| kin_by_parents(of), Ok)
}

/// How many times the list of the children of a process is read.
const MAX_LISTINGS: usize = 3;

/// Returns the children of a process, from lists that `list` reads. While a child ends, the kernel may leave out another one: the list
/// is read again while one that it names `has_ended`, a limited number of times.
fn listed(list: &dyn Fn() -> io::Result<Vec<Pid>>, has_ended: &dyn Fn(Pid) -> bool) -> io::Result<Vec<Pid>> {
    let mut all = list()?;
    let mut last = all.clone();
    for _ in 1..MAX_LISTINGS {
        if !last.iter().any(|child| has_ended(*child)) {
            break;
        }
        last = list().unwrap_or_default(); // the parent has ended
        let known: HashSet<Pid> = all.iter().copied().collect();
        all.extend(last.iter().copied().filter(|child| !known.contains(child)));
    }
    Ok(all)
}

/// Follows the lists of children; `None` where the kernel has none.
fn kin_by_children(of: Pid) -> Option<Vec<Descendant>> {
    let (mut found, mut seen) = (Vec::new(), HashSet::from([of]));
    let mut parents = vec![of];
    let has_ended = |child: Pid| procfs::status(child).map_or(true, |status| status.has_ended());
    while let Some(parent) = parents.pop() {
        let children = match listed(&|| procfs::children(parent), &has_ended) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return None,
            listed => listed.unwrap_or_default(), // it has ended
        };
        for child in children {
            let Ok(status) = procfs::status(child) else { continue };
            let is_there = !status.has_ended() || status.parent == of.raw();
            if is_there && found.len() < MAX_PROCESSES && seen.insert(child) {
                parents.push(child);
                found.extend(Living::at(child).map(|process| Descendant { process, parent: parent.raw() }));
            }
        }
    }
    Some(found)
}

/// Looks at the parents of all processes.
fn kin_by_parents(of: Pid) -> io::Result<Vec<Descendant>> {
    let mut children: HashMap<i32, Vec<Pid>> = HashMap::new();
    for entry in fs::read_dir("/proc")?.take(MAX_PROCESSES) {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::new) else { continue };
        let Ok(status) = procfs::status(pid) else { continue };
        if !status.has_ended() || status.parent == of.raw() {
            children.entry(status.parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut parents = vec![of.raw()];
    while let Some(parent) = parents.pop() {
        // Removed, not only read: a parent that changed during the scan cannot cause a cycle.
        for child in children.remove(&parent).unwrap_or_default() {
            parents.push(child.raw());
            found.extend(Living::at(child).map(|process| Descendant { process, parent }));
        }
    }
    Ok(found)
}

/// Sends a signal to exactly this process.
pub(crate) fn send(process: Living, signal: i32) -> io::Result<()> {
    send_if(process, signal, &|| true)
}

/// Sends a signal to exactly this process if the check, which is made now, holds for it. Before Linux 6.9 the check
/// alone tells the process from a later one with the same pid. Without pidfds, in the kernel or because of a filter,
/// the pid is used immediately after the check.
fn send_if(process: Living, signal: i32, is_meant: &dyn Fn() -> bool) -> io::Result<()> {
    // Opened before the check: if the pid is used again, this is still the process that was checked, or one that is
    // gone.
    let line = open_process(process.pid);
    let is_same = line.as_ref().map_or(true, |line| number_of(line) == process.number);
    if !is_same || !is_meant() {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    match line.and_then(|line| send_along(&line, signal)) {
        Err(error) if is_missing(&error) => kill(process.pid, signal),
        done => done,
    }
}

/// Sends a signal to a process if the check, which is made now, holds for it; never to another one that has got its pid
/// meanwhile.
///
/// # Errors
/// `ESRCH` when the process does not exist, or the check does not hold.
pub fn signal_if(pid: Pid, signal: i32, is_meant: &dyn Fn() -> bool) -> io::Result<()> {
    let process = Living::at(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    send_if(process, signal, is_meant)
}

/// Sends a signal to the process of a pidfd.
pub(crate) fn send_along(line: &OwnedFd, signal: i32) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open; no information and no flags are passed.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, line.as_raw_fd(), signal, no_info, 0) };
    check(answer as libc::c_int).map(drop)
}

/// Returns whether pidfds are unavailable: an old kernel lacks the call, and the filter of a container denies it.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{WaitEvent, Waiting, become_subreaper, exit_now, fork, new_session, wait, wait_any};

    fn sleep_for_ever() -> ! {
        loop {
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
    }

    #[test]
    fn a_double_forked_daemon_is_found_and_killed() {
        // A separate subreaper, so that the test's own process does not become one.
        let reaper = fork(|| {
            become_subreaper().unwrap();
            let middle = fork(|| {
                fork(|| {
                    new_session().unwrap();
                    sleep_for_ever()
                })
                .unwrap();
                exit_now(0)
            })
            .unwrap();
            wait(middle, Waiting::ForEnd).unwrap();
            let found = descendants(Pid::own()).unwrap();
            let killed = kill_descendants(Pid::own(), &|_| true).unwrap();
            let (pid, event, _) = wait_any(Waiting::ForEnd).unwrap().unwrap();
            let left = descendants(Pid::own()).unwrap();
            let right = found == [pid]
                && killed == 1
                && event == WaitEvent::Signaled { signal: libc::SIGKILL, core: false }
                && left.is_empty();
            exit_now(if right { 0 } else { 1 })
        })
        .unwrap();
        assert_eq!(wait(reaper, Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(0));
    }

    #[test]
    fn the_list_of_children_is_read_again_while_one_of_them_ends() {
        let pids = |all: &[i32]| all.iter().map(|pid| Pid::new(*pid).unwrap()).collect::<Vec<_>>();
        for (answers, reads, found) in [
            (vec![vec![11, 12]], 1, vec![11, 12]),
            (vec![vec![7, 12], vec![11, 12]], 2, vec![7, 12, 11]),
            (vec![vec![7], vec![7, 11], vec![12]], 3, vec![7, 11, 12]),
            (vec![vec![7]; 9], MAX_LISTINGS, vec![7]),
            (vec![vec![]], 1, vec![]),
        ] {
            let read = std::cell::Cell::new(0);
            let list = || {
                let answer = pids(&answers[read.get()]);
                read.set(read.get() + 1);
                Ok(answer)
            };
            let all = listed(&list, &|child| child.raw() == 7).unwrap();
            assert_eq!((read.get(), all), (reads, pids(&found)), "{answers:?}");
        }
    }

    #[test]
    fn both_ways_find_the_same_descendants_each_after_its_parent() {
        let family = fork(|| {
            become_subreaper().unwrap();
            let line = |depth: u32| -> Pid {
                fork(|| {
                    for _ in 1..depth {
                        if let Ok(child) = fork(|| sleep_for_ever()) {
                            let _ = child;
                        }
                    }
                    sleep_for_ever()
                })
                .unwrap()
            };
            let children = [line(1), line(4), line(2)];
            let all = |kin: Vec<Descendant>| {
                let mut before = HashSet::from([Pid::own().raw()]);
                let ordered =
                    kin.iter().all(|one| before.contains(&one.parent) && before.insert(one.process.pid.raw()));
                let pids: HashSet<i32> = kin.iter().map(|one| one.process.pid.raw()).collect();
                (ordered, pids)
            };
            let mut same = false;
            for _ in 0..500 {
                std::thread::sleep(std::time::Duration::from_millis(10));
                let by_parents = all(kin_by_parents(Pid::own()).unwrap());
                let by_children = kin_by_children(Pid::own()).map(all);
                let whole = by_parents.0 && by_parents.1.len() == 7;
                if whole && by_children.is_none_or(|found| found == by_parents) {
                    same = true;
                    break;
                }
            }
            let killed = kill_descendants(Pid::own(), &|_| true).unwrap();
            let _ = children;
            exit_now(if same && killed == 7 { 0 } else { 1 })
        });
        assert_eq!(wait(family.unwrap(), Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(0));
        let childless = fork(|| exit_now(descendants(Pid::own()).map_or(1, |none| i32::from(!none.is_empty()))));
        assert_eq!(wait(childless.unwrap(), Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(0));
    }

    #[test]
    fn earlier_processes_are_told_from_later_ones_by_numbers_and_without() {
        let child = fork(|| sleep_for_ever()).unwrap();
        let another = fork(|| sleep_for_ever()).unwrap();
        let numbered = Earlier::numbered(&[Living::at(child).unwrap()]);
        // As before Linux 6.9.
        let timed = Earlier::timed([child].into_iter(), &|_, _| true);
        let numbers: HashMap<i32, u64> = timed.numbers().into_iter().collect();
        assert_eq!(numbers[&child.raw()], crate::process::process_start(child).unwrap());
        let is_one = |pid: Pid, started| numbers.get(&pid.raw()) == Some(&started);
        let handed_over = Earlier::timed([child].into_iter(), &is_one);
        let later = Earlier::timed([child].into_iter(), &|pid, started| is_one(pid, started + 1));
        assert!(numbered.covers(child) && timed.covers(child) && handed_over.covers(child));
        assert!(!later.covers(child) && ![&numbered, &timed].iter().any(|earlier| earlier.covers(another)));
        for child in [child, another] {
            kill(child, libc::SIGKILL).unwrap();
            wait(child, Waiting::ForEnd).unwrap();
        }
        assert!(![numbered, timed, handed_over].iter().any(|earlier| earlier.covers(child)), "it has ended");
    }

    #[test]
    fn another_process_than_the_meant_one_is_not_signalled() {
        let child = fork(|| sleep_for_ever()).unwrap();
        let living = Living::at(child).unwrap();
        assert!(living.lives() && !Living { number: living.number + 1, ..living }.lives());
        assert!(send(Living { number: living.number + 1, ..living }, libc::SIGKILL).is_err());
        assert!(signal_if(child, libc::SIGKILL, &|| false).is_err());
        assert_eq!(wait(child, Waiting::EndNow).unwrap(), None);
        send(living, libc::SIGKILL).unwrap();
        let event = wait(child, Waiting::ForEnd).unwrap().unwrap().0;
        assert_eq!(event, WaitEvent::Signaled { signal: libc::SIGKILL, core: false });
        assert!(!living.lives() && Living::at(child).is_none());
    }
}
