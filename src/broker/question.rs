//! Reads the question before it is parsed. It is read with a deadline, while the kernel counts this process among the caller's
//! processes and before it leaves the caller's control group, so that a caller who sends nothing occupies only their own resources.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::failure::{Refused, refused};
use crate::elevation::Caller;
use crate::host::{Host, Slot, Work};
use jit_core::budget::{BROKERS, ProcessLimit, QUESTION_WITHIN};
use jit_core::wire::REQUEST_LIMIT;
use sys::counted::counted_as;
use sys::poll::{PollEntry, poll};
use sys::sanitize::Inherited;

/// Ends a question of a client that keeps its socket open; otherwise end-of-file does.
const END: u8 = 0;

/// The bytes of a question, or why there are none.
pub struct Question(Result<Vec<u8>, Unheard>);

enum Unheard {
    Io(io::Error),
    TooLong,
    TooSlow,
}

/// Reads one question from standard input, within [`QUESTION_WITHIN`] seconds.
pub fn hear(inherited: &Inherited) -> Question {
    let read = || read_until_end(Instant::now() + Duration::from_secs(QUESTION_WITHIN));
    Question(counted_as(inherited.identity.uid(), read).unwrap_or_else(|error| Err(Unheard::Io(error))))
}

fn read_until_end(deadline: Instant) -> Result<Vec<u8>, Unheard> {
    let (mut question, mut some) = (Vec::new(), [0; 64 << 10]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let input = io::stdin();
        let mut entries = [PollEntry::reading(input.as_fd())];
        poll(&mut entries, Some(left)).map_err(Unheard::Io)?;
        let ready = entries.iter().any(|entry| entry.ready_read || entry.hangup);
        if !ready && Instant::now() >= deadline {
            return Err(Unheard::TooSlow);
        }
        if !ready {
            continue;
        }
        let length = match sys::poll::read(input.as_fd(), &mut some) {
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => continue,
            length => length.map_err(Unheard::Io)?,
        };
        let part = some.get(..length).unwrap_or_default();
        let end = part.iter().position(|byte| *byte == END);
        question.extend_from_slice(part.get(..end.unwrap_or(length)).unwrap_or_default());
        if question.len() > REQUEST_LIMIT {
            return Err(Unheard::TooLong);
        }
        if end.is_some() || length == 0 {
            return Ok(question);
        }
    }
}

impl Question {
    pub(super) fn bytes(self) -> Result<Vec<u8>, Refused> {
        match self.0 {
            Ok(bytes) => Ok(bytes),
            Err(Unheard::Io(error)) => Err(refused("malformed", format!("the request cannot be read: {error}"))),
            Err(Unheard::TooLong) => {
                Err(refused("too-large", format!("the request is longer than {REQUEST_LIMIT} bytes")))
            }
            Err(Unheard::TooSlow) => {
                Err(refused("too-slow", format!("no complete request arrived within {QUESTION_WITHIN} seconds")))
            }
        }
    }
}

/// Claims one of the user's [`BROKERS`] slots, which limit the processes that work or wait for one user at the same time.
pub(super) fn slot_of(caller: &Caller) -> Result<Slot, Refused> {
    let failed = |error| refused("host", format!("the slots of users cannot be counted: {error}"));
    Slot::claim(caller.uid(), Work::Question).map_err(failed)?.ok_or_else(|| {
        let _ = Host::tell_of_flood(caller.host(), caller.person(), ProcessLimit::Questions); // the refusal stands
        refused("too-many", format!("{BROKERS} requests of yours are being worked on or waited for already"))
            .hint("end one of your jitctl processes that wait")
    })
}
