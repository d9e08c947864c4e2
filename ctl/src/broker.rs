//! Calls the broker: one request on its stdin, one answer from its stdout. Besides `signed_approvals`, this is the only
//! module that starts a process. The answer is checked as if an untrusted user had sent it: it must be bounded, complete,
//! and exactly one object.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use jit_core::escape::escape;
use jit_core::places::BROKER;
use jit_core::wire::{Failure, GrantInfo, GrantPage, REQUEST_LIMIT, Reply, Verb};
use sys::exec::NO_ROOM;
use sys::signals::{self, SIGINT, SIGQUIT, SignalSet};

/// The maximum size of an answer, in bytes.
pub(crate) const ANSWER_LIMIT: u64 = 64 << 20;

/// The broker's program.
#[derive(Debug, Clone)]
pub struct Broker {
    path: PathBuf,
}

/// Why there is no answer. `Display` is a sentence fragment that names the broker.
#[derive(Debug)]
pub(crate) enum BrokerError {
    /// The broker could not be started.
    Start { path: PathBuf, error: io::Error },
    /// A pipe to it broke.
    Pipe(io::Error),
    /// The request is longer than the broker reads.
    TooLongAsked(usize),
    /// It ended without an answer; it may have written the reason to stderr.
    NoAnswer(ExitStatus),
    /// The answer is longer than [`ANSWER_LIMIT`].
    TooLong,
    /// The answer is incomplete.
    CutOff(ExitStatus),
    /// The answer is not one of this protocol.
    Garbled,
    /// It failed in the middle of a recording.
    Broke(String),
    /// It refused the request.
    Refused(Failure),
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { path, error } if error.kind() == io::ErrorKind::WouldBlock => {
                write!(f, "cannot start the broker {}: {NO_ROOM}", path.display())
            }
            Self::Start { path, error } => {
                write!(f, "cannot start the broker {}: {}", path.display(), sys::plain_words(error))
            }
            Self::Pipe(error) => write!(f, "cannot talk to the broker: {}", sys::plain_words(error)),
            Self::TooLongAsked(length) => {
                write!(f, "the question to the broker has {length} bytes, more than the {REQUEST_LIMIT} it reads")
            }
            Self::NoAnswer(status) => write!(f, "the broker gave no answer ({})", ending(*status)),
            Self::TooLong => write!(f, "the broker's answer is longer than {} MiB", ANSWER_LIMIT >> 20),
            Self::CutOff(status) => write!(f, "the broker's answer is cut off ({})", ending(*status)),
            Self::Garbled => f.write_str("the broker's answer cannot be understood"),
            Self::Broke(why) => write!(f, "the broker could not go on: {}", escape(why.as_bytes())),
            Self::Refused(failure) => f.write_str(&failure.message),
        }
    }
}

impl Broker {
    /// Returns the broker of the installed product.
    pub fn installed() -> Self {
        Self::at(Path::new(BROKER))
    }

    /// Returns a broker at another path, for tests; no argument or variable selects it at run time.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts the broker and sends the request; the caller reads the answer.
    pub(crate) fn start<V: Verb>(&self, verb: &V) -> Result<Child, BrokerError> {
        let question = verb.to_question().map_err(|_| BrokerError::Garbled)?;
        if question.len() > REQUEST_LIMIT {
            return Err(BrokerError::TooLongAsked(question.len()));
        }
        let mut child = Command::new(&self.path)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| BrokerError::Start { path: self.path.clone(), error })?;
        let mut stdin = child.stdin.take().ok_or_else(broken)?;
        // A thread writes the request while this one reads, so that a full pipe cannot block both sides. A broker that
        // refuses without reading closes its end: its answer counts, not our broken pipe. The thread is not joined, so
        // that a broker that never reads cannot block us.
        std::thread::spawn(move || drop(stdin.write_all(&question)));
        Ok(child)
    }

    /// Sends the request and waits for the answer.
    pub(crate) fn ask<V: Verb>(&self, verb: &V) -> Result<V::Answer, BrokerError> {
        let mut child = self.start(verb)?;
        let heard = listen(&mut child);
        let status = child.wait().map_err(BrokerError::Pipe)?;
        understand::<V>(&heard?, status)
    }

    /// Requests all pages of a listing: `page` creates the request that begins where the previous page ended.
    pub(crate) fn ask_all<V>(&self, page: impl Fn(Option<i64>) -> V) -> Result<Vec<GrantInfo>, BrokerError>
    where
        V: Verb<Answer = GrantPage>,
    {
        let (mut all, mut before) = (Vec::new(), None);
        loop {
            let GrantPage { entries, before: next } = self.ask(&page(before))?;
            all.extend(entries);
            let Some(next) = next else { return Ok(all) };
            // Stops if the broker's pages do not advance.
            if before.is_some_and(|before| next >= before) {
                return Err(BrokerError::Garbled);
            }
            before = Some(next);
        }
    }

    /// Like `ask`, for a verb at which the broker may prompt the user on the terminal. Only the broker reacts to ^C
    /// meanwhile: it restores the terminal's modes before it answers, and then this process receives the blocked signal.
    pub(crate) fn ask_person<V: Verb>(&self, verb: &V) -> Result<V::Answer, BrokerError> {
        let before = signals::block(SignalSet::of(&[SIGINT, SIGQUIT]));
        let answer = self.ask(verb);
        // If the mask cannot be set now, it was not changed before either.
        let _ = before.and_then(signals::set_mask);
        answer
    }
}

fn listen(child: &mut Child) -> Result<Vec<u8>, BrokerError> {
    let stdout = child.stdout.take().ok_or_else(broken)?;
    let mut heard = Vec::new();
    let read = stdout.take(ANSWER_LIMIT + 1).read_to_end(&mut heard);
    // The read end is closed now, so a broker that still writes gets a broken pipe and ends.
    read.map_err(BrokerError::Pipe)?;
    if heard.len() as u64 > ANSWER_LIMIT {
        return Err(BrokerError::TooLong);
    }
    Ok(heard)
}

fn broken() -> BrokerError {
    BrokerError::Pipe(io::Error::from(io::ErrorKind::BrokenPipe))
}

/// Decodes what a broker wrote before it ended with this status.
pub(crate) fn understand<V: Verb>(heard: &[u8], status: ExitStatus) -> Result<V::Answer, BrokerError> {
    if heard.trim_ascii().is_empty() {
        return Err(BrokerError::NoAnswer(status));
    }
    match serde_json::from_slice::<Reply<V>>(heard) {
        Ok(Reply::Ok(answer)) => Ok(answer),
        Ok(Reply::Error(failure)) => Err(BrokerError::Refused(failure)),
        Err(error) if error.is_eof() => Err(BrokerError::CutOff(status)),
        Err(_) => Err(BrokerError::Garbled),
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_core::wire::{Release, Roles};

    fn said(text: &str) -> String {
        match understand::<Release>(text.as_bytes(), ExitStatus::from_raw(9)) {
            Ok(answer) => format!("{answer:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_malformed_answer_is_an_error_of_one_line() {
        assert_eq!(said(""), "the broker gave no answer (killed by signal 9)");
        assert_eq!(said("{\"ok\":{\"ended\":["), "the broker's answer is cut off (killed by signal 9)");
        for text in ["hello", "{}", "{\"ok\":{\"ended\":[]}} {}", "{\"ok\":{\"ended\":[\"x\"]}}", "\u{0}", "[[[["] {
            let line = said(text);
            assert!(line.starts_with("the broker's answer"), "{text}: {line}");
        }
        assert_eq!(said("{\"ok\":{\"ended\":[]}}\n"), "[]");
    }

    #[test]
    fn system_errors_read_as_fragments() {
        assert_eq!(sys::plain_words(&io::Error::from_raw_os_error(2)), "no such file or directory");
    }

    #[test]
    fn a_missing_broker_is_named() {
        let error = Broker::at(Path::new("/nonexistent/broker")).ask(&Roles {}).unwrap_err();
        assert_eq!(error.to_string(), "cannot start the broker /nonexistent/broker: no such file or directory");
    }
}
