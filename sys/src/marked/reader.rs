//! Reads the environments of other processes in a child, because a read can block: reading the memory of a process waits
//! for its lock, and a process can hold the lock for ever (with a page of a file system in user space that is never
//! delivered). This module skips a process that does not answer in time for a while, and limits the total time, whatever
//! users do.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Mark;
use crate::descendants::Living;
use crate::poll::{PollEntry, pipe, poll, read, write};
use crate::process::{self, Pid, Waiting, end_within, exit_now, fork};
use crate::procfs;
use crate::sandbox::close_but;

/// The maximum size of an environment that is read, in bytes; by default the kernel allows this size for one exec.
const MAX_ENVIRONMENT: u64 = 2 << 20;

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

/// The answers of a child, one byte for each process.
const CARRIES: u8 = b'+';
const CARRIES_NOT: u8 = b'-';

/// What is known about processes that did not answer.
#[derive(Default)]
struct Silent {
    /// The processes, each with its user and the time of the read.
    known: HashMap<Living, (u32, Instant)>,
    /// When the first read began.
    since: Option<Instant>,
    /// The total time of all reads.
    spent: Duration,
    /// A child could not be killed: each further child might stay for ever.
    is_stuck: bool,
}

static SILENT: Mutex<Option<Silent>> = Mutex::new(None);

/// Returns which of these processes carry the mark, and how many did not answer; those count as not marked.
pub(super) fn marked(mark: &Mark, asked: Vec<Living>) -> (Vec<Living>, usize) {
    let mut silent = SILENT.lock().unwrap_or_else(PoisonError::into_inner);
    let silent = silent.get_or_insert_default();
    silent.known.retain(|_, (_, when)| when.elapsed() < AGAIN);
    let user = |one: &Living| procfs::real_uid(one.pid).unwrap_or(u32::MAX);
    let mut left: Vec<(Living, u32)> = asked.into_iter().map(|one| (one, user(&one))).collect();
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
        let ones: Vec<Living> = left.iter().map(|(one, _)| *one).collect();
        let answers = silent.ask(mark, &ones).unwrap_or_default();
        found.extend(ones.iter().zip(&answers).filter(|(_, answer)| **answer == CARRIES).map(|(one, _)| *one));
        left.drain(..answers.len().min(ones.len()));
        if let Some((one, uid)) = left.first() {
            let _ = silent.known.insert(*one, (*uid, Instant::now()));
        }
        let _ = silent.since.get_or_insert(begun);
        silent.spent += begun.elapsed().saturating_sub(QUICK);
    }
}

impl Silent {
    fn may_ask(&self, one: Living, uid: u32) -> bool {
        let allowed = BUDGET + self.since.map(|since| since.elapsed() / PART).unwrap_or_default();
        !self.is_stuck
            && !self.known.contains_key(&one)
            && self.known.values().filter(|(known, _)| *known == uid).count() < MOST
            && self.spent < allowed
    }

    /// Reads these processes, and returns the answers up to the first process that does not answer.
    fn ask(&mut self, mark: &Mark, ones: &[Living]) -> io::Result<Vec<u8>> {
        let (heard, told) = pipe()?;
        let child = fork(|| answer(mark, ones, &told))?;
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

/// Receives up to `count` answers, as long as the child does not wait for one process for too long.
fn hear(heard: &OwnedFd, child: Pid, count: usize) -> Vec<u8> {
    let (mut answers, mut part) = (Vec::new(), [0; 256]);
    let begun = Instant::now();
    let mut last = begun;
    while answers.len() < count && begun.elapsed() < BUDGET {
        let ready = poll(&mut [PollEntry::reading(heard.as_fd())], Some(PATIENCE));
        match ready.and_then(|ready| if ready > 0 { read(heard.as_fd(), &mut part).map(Some) } else { Ok(None) }) {
            Ok(Some(0)) | Err(_) => break,
            Ok(Some(length)) => {
                answers.extend(part.get(..length).unwrap_or_default());
                last = Instant::now();
            }
            // On a busy machine the child may not have run yet; one that waits for a lock or a disk is in state D.
            Ok(None) if waits(child) && last.elapsed() >= PATIENCE => break,
            Ok(None) => {}
        }
    }
    answers
}

fn waits(child: Pid) -> bool {
    procfs::stat(child).map_or(true, |stat| stat.state == b'D')
}

/// Runs the child. It holds nothing that others wait for.
fn answer(mark: &Mark, ones: &[Living], told: &OwnedFd) -> Infallible {
    if end_within(LIMIT).and_then(|()| close_but(&[told.as_fd()])).is_err() {
        exit_now(1);
    }
    for one in ones {
        let is_carried = value_on(mark, *one).is_some_and(|found| found == mark.value.as_bytes());
        if write(told.as_fd(), &[if is_carried { CARRIES } else { CARRIES_NOT }]).is_err() {
            exit_now(1);
        }
    }
    exit_now(0)
}

fn value_on(mark: &Mark, one: Living) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = procfs::open(one.pid, "environ").ok()?;
    if procfs::stat(one.pid).ok()?.started != one.started {
        return None; // another process has the pid now
    }
    file.take(MAX_ENVIRONMENT).read_to_end(&mut bytes).ok()?;
    let entries = bytes.split(|byte| *byte == 0);
    let value = |entry: &[u8]| entry.strip_prefix(mark.name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
    entries.into_iter().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn living(pid: i32) -> Living {
        Living { pid: Pid::new(pid).unwrap(), started: 1 }
    }

    #[test]
    fn a_user_whose_processes_do_not_answer_is_skipped() {
        let mut silent = Silent::default();
        let now = Instant::now();
        let _ = silent.known.insert(living(11), (1000, now));
        assert!(!silent.may_ask(living(11), 1000) && silent.may_ask(living(12), 1000));
        let _ = silent.known.insert(living(12), (1000, now));
        assert!(!silent.may_ask(living(13), 1000) && silent.may_ask(living(13), 1001));
        (silent.since, silent.spent) = (Some(now), BUDGET * 2);
        assert!(!silent.may_ask(living(13), 1001), "all users together have used the time");
        silent.since = now.checked_sub(BUDGET * 2 * PART);
        assert!(silent.since.is_none() || silent.may_ask(living(13), 1001));
        silent.is_stuck = true;
        assert!(!silent.may_ask(living(13), 0));
    }

    #[test]
    fn a_child_that_does_not_answer_is_abandoned() {
        let (heard, told) = pipe().unwrap();
        let child = fork(|| {
            let _ = write(told.as_fd(), &[CARRIES]);
            std::thread::sleep(LIMIT);
            exit_now(0)
        })
        .unwrap();
        let begun = Instant::now();
        assert_eq!(hear(&heard, child, 2), [CARRIES]);
        assert!(begun.elapsed() < BUDGET * 2);
        process::kill(child, libc::SIGKILL).unwrap();
        process::wait(child, Waiting::ForEnd).unwrap();
    }
}
