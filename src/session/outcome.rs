//! How a session ended, for the `end` record and for our own exit.

use std::time::Duration;

use super::watch::EndReason;
use jit_core::escape::Word;
use jit_core::evidence::record::{self, EndedBy};
use sys::process::{Usage, WaitEvent, exit_now, raise_default};

/// How the command's process ended.
#[derive(Debug, Clone, Copy)]
pub struct CommandEnd {
    /// Exit or signal.
    pub event: WaitEvent,
    /// The resources it used.
    pub usage: Usage,
}

/// The whole result of a session.
#[derive(Debug)]
#[must_use = "an outcome belongs into the journal"]
pub struct Outcome {
    /// How the command's process ended.
    pub end: CommandEnd,
    /// Why we ended it, if we did.
    pub ending: Option<EndReason>,
    /// From exec to the end.
    pub duration: Duration,
    /// Why an edited file could not be written back.
    pub failed: Option<String>,
    /// Whether the watchdog has killed the run, or this process has, because the process that ends it in time did not answer.
    pub unanswered: bool,
}

/// The detail of the record of such a run.
pub const UNANSWERED: &str = "the process that ends the run in time did not answer, so another one killed it";

/// How jit-sudo itself exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the exit status is what the caller waits for"]
pub enum ExitStatus {
    /// It exits with this status.
    Code(i32),
    /// It is killed by this signal, as the command was.
    Signal(i32),
}

impl Outcome {
    /// Returns the `end` record.
    pub fn to_record(&self) -> record::RunOutcome {
        let micros = |time: Duration| Some(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        let (exit, signal, core) = match self.end.event {
            _ if self.failed.is_some() => (Some(1), None, None),
            WaitEvent::Exited(code) => (Some(code), None, None),
            WaitEvent::Signaled { signal, core } => (None, Some(signal), Some(u32::from(core))),
            WaitEvent::Stopped(_) | WaitEvent::Continued => (None, None, None),
        };
        record::RunOutcome {
            exit,
            signal,
            core,
            duration_us: micros(self.duration),
            user_us: micros(self.end.usage.user),
            system_us: micros(self.end.usage.system),
            max_rss_kib: Some(self.end.usage.max_rss_kib),
            detail: self.failed.as_ref().map(Word::from).or_else(|| self.unanswered.then(|| Word::from(UNANSWERED))),
            ..record::RunOutcome::unknown(ended_by(self.ending))
        }
    }

    /// Returns the command's own status: a signal that killed it kills us too.
    pub fn exit_status(&self) -> ExitStatus {
        match self.end.event {
            _ if self.failed.is_some() => ExitStatus::Code(1),
            WaitEvent::Exited(code) => ExitStatus::Code(code),
            WaitEvent::Signaled { signal, .. } => ExitStatus::Signal(signal),
            // Neither ends a process; a session never returns them.
            WaitEvent::Stopped(_) | WaitEvent::Continued => ExitStatus::Code(1),
        }
    }
}

/// Returns what has ended the run, for the record.
pub fn ended_by(ending: Option<EndReason>) -> EndedBy {
    match ending {
        None => EndedBy::Itself,
        Some(EndReason::Expiry) => EndedBy::Expiry,
        Some(EndReason::Revocation) => EndedBy::Revocation,
        Some(EndReason::Release) => EndedBy::Release,
        Some(EndReason::TimeLimit) => EndedBy::TimeLimit,
        Some(EndReason::Unrecorded) => EndedBy::Unrecorded,
        Some(EndReason::Kill) => EndedBy::Kill,
    }
}

impl ExitStatus {
    /// Ends this process.
    pub fn exit(self) -> ! {
        match self {
            Self::Code(code) => exit_now(code),
            Self::Signal(signal) => raise_default(signal),
        }
    }
}
