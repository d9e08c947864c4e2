//! Asks one question and reads one line. On a terminal, [`Held`] sets the modes before and restores them afterwards.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::is_foreground;
use crate::poll::{self, PollEntry};
use crate::secret::{Secret, wipe};
use crate::signals::SignalQueue;

/// Whether the answer is echoed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Echo {
    /// It is echoed.
    Shown,
    /// It is not echoed.
    Hidden,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum PasswordError {
    /// This signal arrived: SIGINT, SIGQUIT, SIGTERM or SIGHUP.
    Interrupted(i32),
    /// The timeout has passed; the typed input is discarded, so that it appears nowhere (CVE-2025-64170).
    TimedOut,
    /// The input ended before an answer.
    EndOfInput,
    /// The answer is longer than [`MAX_SECRET`](crate::secret::MAX_SECRET) bytes.
    TooLong,
    /// The terminal cannot be used; for example in the background of an orphaned process group.
    Io(io::Error),
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted(_) => f.write_str("the question was interrupted"),
            Self::TimedOut => f.write_str("timed out reading the password"),
            Self::EndOfInput => f.write_str("the input ended before a password"),
            Self::TooLong => f.write_str("the password is too long"),
            Self::Io(error) => write!(f, "cannot read the password: {error}"),
        }
    }
}

impl std::error::Error for PasswordError {}

impl From<io::Error> for PasswordError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The line that was typed.
pub struct Answer {
    /// The line, without its end.
    pub text: Secret,
    /// Whether more input followed at once, as when several lines are pasted. It was discarded.
    pub more: bool,
}

pub(super) struct Question<'a> {
    pub(super) input: BorrowedFd<'a>,
    pub(super) output: BorrowedFd<'a>,
    pub(super) prompt: &'a [u8],
}

pub(super) enum Outcome {
    Answered(Secret),
    /// Stop by this signal, then ask again.
    Suspend(i32),
    /// The process was stopped and continued by other means; the modes may have changed meanwhile.
    AskAgain,
}

impl Question<'_> {
    /// Asks where the answer comes from a file or pipe. Stop signals have their usual effect.
    pub(super) fn ask_elsewhere(&self, timeout: Option<Duration>) -> Result<Secret, PasswordError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let signals = SignalQueue::open(&[libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP])?;
        match self.converse(&signals, deadline, 1)? {
            Outcome::Answered(secret) => Ok(secret),
            Outcome::Suspend(_) | Outcome::AskAgain => Err(io::Error::from_raw_os_error(libc::EIO).into()),
        }
    }

    pub(super) fn converse(
        &self,
        signals: &SignalQueue,
        deadline: Option<Instant>,
        chunk: usize,
    ) -> Result<Outcome, PasswordError> {
        let mut prompt = self.prompt;
        while !prompt.is_empty() {
            if let Some(outcome) = wait(PollEntry::writing(self.output), signals, deadline)? {
                return Ok(outcome);
            }
            // A piece that fits if there is room at all, so that the write does not block.
            let piece = prompt.get(..256).unwrap_or(prompt);
            let written = poll::write(self.output, piece)?;
            prompt = prompt.get(written..).unwrap_or_default();
        }
        let mut secret = Secret::with_room();
        let mut buffer = [0; 256];
        let outcome = self.read_line(signals, deadline, buffer.get_mut(..chunk).unwrap_or_default(), &mut secret);
        wipe(&mut buffer);
        Ok(outcome?.unwrap_or(Outcome::Answered(secret)))
    }

    fn read_line(
        &self,
        signals: &SignalQueue,
        deadline: Option<Instant>,
        buffer: &mut [u8],
        secret: &mut Secret,
    ) -> Result<Option<Outcome>, PasswordError> {
        let mut fits = true;
        let whole = |fits| if fits { Ok(None) } else { Err(PasswordError::TooLong) };
        loop {
            if let Some(outcome) = wait(PollEntry::reading(self.input), signals, deadline)? {
                return Ok(Some(outcome));
            }
            let length = match poll::read(self.input, buffer) {
                Ok(0) if secret.as_bytes().is_empty() => return Err(PasswordError::EndOfInput),
                Ok(0) => return whole(fits),
                Ok(length) => length,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    continue;
                }
                // Moved to the background meanwhile; with SIGTTIN blocked the read fails instead.
                Err(_) if !is_foreground(self.input) => return Ok(Some(Outcome::Suspend(libc::SIGTTIN))),
                Err(error) => return Err(error.into()),
            };
            for byte in buffer.get(..length).unwrap_or_default() {
                if *byte == b'\n' {
                    return whole(fits);
                }
                // The rest of a line that is too long is read too: it must not become the next answer.
                fits = secret.push(*byte) && fits;
            }
        }
    }
}

/// Waits for the entry; returns an outcome when a signal ends the question instead.
fn wait(
    entry: PollEntry<'_>,
    signals: &SignalQueue,
    deadline: Option<Instant>,
) -> Result<Option<Outcome>, PasswordError> {
    let mut entries = [entry, PollEntry::reading(signals.as_fd())];
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if poll::poll(&mut entries, left)? == 0 {
        return Err(PasswordError::TimedOut);
    }
    let Some(event) = signals.next_event()? else { return Ok(None) };
    match event.signal {
        libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Ok(Some(Outcome::Suspend(event.signal))),
        libc::SIGCONT => Ok(Some(Outcome::AskAgain)),
        signal => Err(PasswordError::Interrupted(signal)),
    }
}
