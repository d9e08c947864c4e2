//! Reads files of other processes in a child, because a read can block for ever. This module skips a process that does
//! not answer in time for a while, and limits the total time, whatever users do: also if hundreds of processes do not
//! answer.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::FileIdentity;
use crate::cgroup;
use crate::descriptors::close_but;
use crate::poll::{PollEntry, pipe, poll, read, write};
use crate::process::{self, Pid, Waiting, end_within, exit_now, fork};
use crate::procfs;

/// The timeout for one process.
const PATIENCE: Duration = Duration::from_millis(200);

/// The time that all processes without an answer may take together, and the fraction of the time since then that is
/// added.
const BUDGET: Duration = Duration::from_secs(2);
const PART: u32 = 20;

/// When this many processes of a user have not answered, no process of this user is read.
const MOST: usize = 2;

/// A read of at most this time does not count towards the budget.
const QUICK: Duration = Duration::from_millis(50);

/// The interval until a process that did not answer is read again. Its memory may have been on a slow disk.
const AGAIN: Duration = Duration::from_secs(10);

/// The time in which a killed child must end. Before Linux 5.3 it does not end while it waits for the lock.
const ENDS_WITHIN: Duration = Duration::from_millis(200);

/// The child ends after this time, even if its parent was killed.
const LIMIT: Duration = Duration::from_secs(10);

/// What the child says about a process: three numbers, or nothing.
type Answer = Option<[u64; 3]>;

/// The length of an answer in bytes: whether there is one, and the numbers.
const LENGTH: usize = 25;

/// What is known about processes that did not answer.
#[derive(Default)]
struct Silent {
    /// The processes, each with its user and the time of the read.
    known: HashMap<Pid, (u32, Instant)>,
    /// Those that did not answer [`started`], each with the time of the read.
    unstarted: HashMap<Pid, Instant>,
    /// When the first read began.
    since: Option<Instant>,
    /// The total time of all reads.
    spent: Duration,
    /// A child could not be killed: each further child might stay for ever.
    is_stuck: bool,
}

static SILENT: Mutex<Option<Silent>> = Mutex::new(None);

/// Returns which of these processes have started at `since` or later (in clock ticks since boot) and have `name` with
/// this value in the environment with which they were executed, and how many did not answer.
pub(crate) fn marked(name: &str, value: &str, since: u64, asked: Vec<Pid>) -> (Vec<Pid>, usize) {
    let (answers, silent) = ask(asked, &|pid| {
        let is_young = since == 0 || super::stat(pid).ok()?.started >= since;
        (is_young && carries(name, value, &super::environment(pid).ok()?)).then_some([0; 3])
    });
    (answers.into_iter().map(|(pid, _)| pid).collect(), silent)
}

/// Returns which of these processes have `name` with one of these values in the environment with which they were
/// executed.
pub(crate) fn marked_with(name: &str, values: &[String], asked: Vec<Pid>) -> HashSet<Pid> {
    let (answers, _) = ask(asked, &|pid| {
        let environment = super::environment(pid).ok()?;
        values.iter().any(|value| carries(name, value, &environment)).then_some([0; 3])
    });
    answers.into_iter().map(|(pid, _)| pid).collect()
}

/// Returns the start times of those processes that answer.
pub(crate) fn starts(asked: Vec<Pid>) -> Vec<(Pid, u64)> {
    let (answers, _) = ask(asked, &start);
    answers.into_iter().map(|(pid, [started, ..])| (pid, started)).collect()
}

/// Returns the start times of these processes up to the first one that does not answer. What is missing says nothing.
pub(crate) fn starts_at_once(asked: &[Pid]) -> Vec<(Pid, u64)> {
    let mut silent = SILENT.lock().unwrap_or_else(PoisonError::into_inner);
    silent.get_or_insert_default().starts_at_once(asked, &start)
}

/// Returns the start time of a process, even when other processes of its user do not answer.
///
/// # Errors
/// `TimedOut` when it does not answer; `NotFound` when it does not exist; another error when no child can be started.
pub(crate) fn started(asked: Pid) -> io::Result<u64> {
    let mut silent = SILENT.lock().unwrap_or_else(PoisonError::into_inner);
    let silent = silent.get_or_insert_default();
    if silent.is_unstarted(asked) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    if silent.is_stuck || !silent.has_time() {
        return Err(io::Error::other("too many processes did not answer"));
    }
    let begun = Instant::now();
    let mut blocked = 0;
    // The child itself may have waited for a disk. So the process must be silent several times.
    for _ in 0..ATTEMPTS {
        let heard = silent.ask(&[asked], &start).map_err(|error| io::Error::other(error.to_string()))?;
        match heard.answers.first() {
            Some(Some([started, ..])) => return Ok(*started),
            Some(None) => return Err(io::ErrorKind::NotFound.into()),
            None => blocked += u32::from(heard.is_blocked),
        }
    }
    silent.charge(begun);
    if blocked < ATTEMPTS {
        return Err(io::Error::other("the process did not answer on a busy machine"));
    }
    let _ = silent.unstarted.insert(asked, begun);
    Err(io::ErrorKind::TimedOut.into())
}

/// How many times a process of root is asked for its start time.
const ATTEMPTS: u32 = 3;

fn start(pid: Pid) -> Answer {
    Some([super::stat(pid).ok()?.started, 0, 0])
}

/// Whether this process is the child that reads. It has a deadline itself, and asks no child.
pub(crate) fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Returns the controlling terminals of these processes, by their numbers (`tty_nr`, proc_pid_stat(5)). A process that
/// does not answer counts as one without a terminal.
pub(crate) fn terminals(asked: Vec<Pid>) -> HashSet<u32> {
    let (answers, _) = ask(asked, &|pid| Some([super::stat(pid).ok()?.terminal.into(), 0, 0]));
    let numbers = answers.into_iter().filter_map(|(_, [number, ..])| u32::try_from(number).ok());
    numbers.filter(|number| *number != 0).collect()
}

/// Returns the file that a process executes. Returns `None` when it does not answer, and for an unexecuted copy of the
/// process that created its group.
pub(crate) fn executed(asked: Pid) -> Option<FileIdentity> {
    let answer = |pid| (!is_unborn(pid)).then(|| super::executed(pid).ok()).flatten();
    ask(vec![asked], &answer).0.first().map(|(_, file)| *file)
}

/// Returns what `judge` says about the sockets of a process, given their inode numbers; `None` when it does not answer.
pub(crate) fn sockets(asked: Pid, judge: &dyn Fn(HashSet<String>) -> [bool; 2]) -> Option<[bool; 2]> {
    let answer = |pid| Some(judge(super::sockets(pid))).map(|[first, second]| [first.into(), second.into(), 0]);
    ask(vec![asked], &answer).0.first().map(|(_, [first, second, _])| [*first == 1, *second == 1])
}

/// Returns whether a process is an unexecuted copy of the one that created its group. Two processes that were executed
/// have their stacks at different addresses.
fn is_unborn(pid: Pid) -> bool {
    let Some(maker) = cgroup::maker_of_group_of(pid).filter(|maker| *maker != pid) else { return false };
    let (Ok(own), Ok(its)) = (super::stat(pid), super::stat(maker)) else { return false };
    own.is_copy && own.stack != 0 && own.stack == its.stack
}

fn carries(name: &str, value: &str, environment: &[u8]) -> bool {
    let entries = environment.split(|byte| *byte == 0);
    let mut values = entries.filter_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    values.next().is_some_and(|found| found == value.as_bytes())
}

/// Returns the answers of those processes that gave one, and how many did not answer in time.
fn ask(asked: Vec<Pid>, answer: &dyn Fn(Pid) -> Answer) -> (Vec<(Pid, [u64; 3])>, usize) {
    let mut silent = SILENT.lock().unwrap_or_else(PoisonError::into_inner);
    let silent = silent.get_or_insert_default();
    silent.known.retain(|_, (_, when)| when.elapsed() < AGAIN);
    let user = |one: Pid| procfs::real_uid(one).unwrap_or(u32::MAX);
    let mut left: Vec<(Pid, u32)> = asked.into_iter().map(|one| (one, user(one))).collect();
    left.sort_by_key(|(_, uid)| *uid != 0); // users cannot delay the reading of root's processes
    let (mut found, mut unanswered) = (Vec::new(), 0);
    loop {
        let before = left.len();
        left.retain(|(one, uid)| silent.may_ask(*one, *uid));
        unanswered += before - left.len();
        if left.is_empty() {
            return (found, unanswered);
        }
        let begun = Instant::now();
        let ones: Vec<Pid> = left.iter().map(|(one, _)| *one).collect();
        // No child can be started, as in a sandbox: this says nothing about the processes.
        let Ok(Heard { answers, .. }) = silent.ask(&ones, answer) else { return (found, unanswered + left.len()) };
        found.extend(ones.iter().zip(&answers).filter_map(|(one, answer)| Some((*one, (*answer)?))));
        left.drain(..answers.len().min(ones.len()));
        if let Some((one, uid)) = left.first() {
            let _ = silent.known.insert(*one, (*uid, Instant::now()));
        }
        silent.charge(begun);
    }
}

impl Silent {
    fn may_ask(&self, one: Pid, uid: u32) -> bool {
        !self.is_stuck
            && !self.known.contains_key(&one)
            && self.known.values().filter(|(known, _)| *known == uid).count() < MOST
            && self.has_time()
    }

    fn has_time(&self) -> bool {
        self.spent < BUDGET + self.since.map(|since| since.elapsed() / PART).unwrap_or_default()
    }

    /// Counts a read that began then.
    fn charge(&mut self, begun: Instant) {
        let _ = self.since.get_or_insert(begun);
        self.spent += begun.elapsed().saturating_sub(QUICK);
    }

    /// Whether the start time of a process was asked for in vain a moment ago.
    fn is_unstarted(&mut self, asked: Pid) -> bool {
        self.unstarted.retain(|_, when| when.elapsed() < AGAIN);
        self.unstarted.contains_key(&asked)
    }

    fn starts_at_once(&mut self, asked: &[Pid], start: &dyn Fn(Pid) -> Answer) -> Vec<(Pid, u64)> {
        let asked: Vec<Pid> = asked.iter().copied().filter(|one| !self.is_unstarted(*one)).collect();
        if asked.is_empty() || self.is_stuck || !self.has_time() {
            return Vec::new();
        }
        let begun = Instant::now();
        let answers = self.ask(&asked, start).map(|heard| heard.answers).unwrap_or_default();
        self.charge(begun);
        asked.iter().zip(answers).filter_map(|(pid, answer)| answer.map(|[started, ..]| (*pid, started))).collect()
    }

    /// Reads these processes, and returns the answers up to the first process that does not answer.
    fn ask(&mut self, ones: &[Pid], answer: &dyn Fn(Pid) -> Answer) -> io::Result<Heard> {
        let (heard, told) = pipe()?;
        let child = fork(|| tell(ones, answer, &told))?;
        drop(told);
        let answers = hear(&heard, child, ones.len());
        let _ = process::kill(child, libc::SIGKILL); // it may have ended
        let late = Instant::now() + ENDS_WITHIN;
        while matches!(process::wait(child, Waiting::EndNow), Ok(None)) {
            if Instant::now() > late {
                self.is_stuck = true;
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(answers)
    }
}

/// What a child has said.
struct Heard {
    answers: Vec<Answer>,
    /// It waited for a lock or a disk when its time was over.
    is_blocked: bool,
}

/// Receives up to `count` answers, as long as the child does not wait for one process for too long.
fn hear(heard: &OwnedFd, child: Pid, count: usize) -> Heard {
    let (mut answers, mut part, mut is_blocked) = (Vec::new(), [0; 256], false);
    let begun = Instant::now();
    let mut last = begun;
    while answers.len() < count * LENGTH && begun.elapsed() < BUDGET {
        let ready = poll(&mut [PollEntry::reading(heard.as_fd())], Some(PATIENCE));
        match ready.and_then(|ready| if ready > 0 { read(heard.as_fd(), &mut part).map(Some) } else { Ok(None) }) {
            Ok(Some(0)) | Err(_) => break,
            Ok(Some(length)) => {
                answers.extend(part.get(..length).unwrap_or_default());
                last = Instant::now();
            }
            // On a busy machine the child may not have run yet; one that waits for a lock or a disk is in state D.
            Ok(None) if waits(child) && last.elapsed() >= PATIENCE => {
                is_blocked = true;
                break;
            }
            Ok(None) => {}
        }
    }
    Heard { answers: answers.chunks_exact(LENGTH).map(unpacked).collect(), is_blocked }
}

fn waits(child: Pid) -> bool {
    procfs::status(child).map_or(true, |status| status.state == b'D')
}

/// Runs the child. It holds nothing that others wait for.
fn tell(ones: &[Pid], answer: &dyn Fn(Pid) -> Answer, told: &OwnedFd) -> Infallible {
    IS_CHILD.store(true, Ordering::Relaxed);
    if end_within(LIMIT).and_then(|()| close_but(&[told.as_fd()])).is_err() {
        exit_now(1);
    }
    for one in ones {
        // The kernel never splits so few bytes in a pipe (pipe(7)).
        if write(told.as_fd(), &packed(answer(*one))).is_err() {
            exit_now(1);
        }
    }
    exit_now(0)
}

fn packed(answer: Answer) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let numbers = answer.unwrap_or_default().map(u64::to_ne_bytes);
    let all = std::iter::once(u8::from(answer.is_some())).chain(numbers.into_iter().flatten());
    bytes.iter_mut().zip(all).for_each(|(place, byte)| *place = byte);
    bytes
}

fn unpacked(bytes: &[u8]) -> Answer {
    let (is_some, numbers) = bytes.split_first()?;
    let mut numbers = numbers.chunks_exact(8).map(|number| number.try_into().map(u64::from_ne_bytes));
    let mut next = || numbers.next()?.ok();
    let answer = [next()?, next()?, next()?];
    (*is_some == 1).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_whose_processes_do_not_answer_is_skipped() {
        let mut silent = Silent::default();
        let (now, one) = (Instant::now(), |pid| Pid::new(pid).unwrap());
        let _ = silent.known.insert(one(11), (1000, now));
        assert!(!silent.may_ask(one(11), 1000) && silent.may_ask(one(12), 1000));
        let _ = silent.known.insert(one(12), (1000, now));
        assert!(!silent.may_ask(one(13), 1000) && silent.may_ask(one(13), 1001));
        (silent.since, silent.spent) = (Some(now), BUDGET * 2);
        assert!(!silent.may_ask(one(13), 1001), "all users together have used the time");
        silent.since = now.checked_sub(BUDGET * 2 * PART);
        assert!(silent.since.is_none() || silent.may_ask(one(13), 1001));
        silent.is_stuck = true;
        assert!(!silent.may_ask(one(13), 0));
    }

    #[test]
    fn asking_several_processes_at_once_uses_the_time_of_all() {
        let mut silent = Silent::default();
        let (answering, hanging) = (Pid::new(11).unwrap(), Pid::new(12).unwrap());
        let _ = silent.unstarted.insert(Pid::new(13).unwrap(), Instant::now());
        let start = |one: Pid| match one.raw() {
            11 => Some([7, 0, 0]),
            12 => loop {
                std::thread::sleep(LIMIT);
            },
            _ => Some([9, 0, 0]),
        };
        let asked = [answering, Pid::new(13).unwrap(), hanging];
        assert_eq!(silent.starts_at_once(&asked, &start), [(answering, 7)]);
        assert!(silent.spent > BUDGET / 2, "{:?}", silent.spent);
        assert_eq!(silent.starts_at_once(&asked, &start), [(answering, 7)]);
        assert_eq!(silent.starts_at_once(&asked, &start), [], "the time is used up");
    }

    #[test]
    fn a_child_that_does_not_answer_is_abandoned() {
        let (heard, told) = pipe().unwrap();
        let child = fork(|| {
            let _ = write(told.as_fd(), &packed(Some([1, 2, 3])));
            std::thread::sleep(LIMIT);
            exit_now(0)
        })
        .unwrap();
        let begun = Instant::now();
        let Heard { answers, is_blocked } = hear(&heard, child, 2);
        assert!(answers == [Some([1, 2, 3])] && !is_blocked);
        assert!(begun.elapsed() < BUDGET * 2);
        process::kill(child, libc::SIGKILL).unwrap();
        process::wait(child, Waiting::ForEnd).unwrap();
    }

    #[test]
    fn answers_are_packed_and_unpacked() {
        for answer in [None, Some([0; 3]), Some([u64::MAX, 7, 1])] {
            assert_eq!(unpacked(&packed(answer)), answer);
        }
    }

    #[test]
    fn the_first_value_of_a_variable_counts() {
        assert!(carries("A", "b", b"X=1\0A=b\0A=c\0"));
        for environment in [&b"A=c\0A=b\0"[..], b"AA=b\0", b"A=bb\0", b""] {
            assert!(!carries("A", "b", environment));
        }
    }
}
