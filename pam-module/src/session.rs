//! An open session: the socket to its supervisor, kept in the program until it closes the session. When the program dies, the
//! kernel closes the socket, and the supervisor ends what the program has left behind.

use std::fmt;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::broker::{self, BrokerError, FAREWELL};
use crate::question::{NoAnswer, Question, closed};

/// Exists while logind runs; pam_systemd checks the same path.
const SEATS: &str = "/run/systemd/seats";

/// The socket, its identity when it was opened, and the run it belongs to.
pub(crate) struct Session {
    line: ManuallyDrop<UnixStream>,
    file: Option<(u64, u64)>,
    run: String,
}

/// Why the end of a session was not confirmed.
#[derive(Debug)]
pub(crate) enum NotClosed {
    Broker(BrokerError),
    Answer(NoAnswer),
}

impl fmt::Display for NotClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(error) => error.fmt(f),
            Self::Answer(error) => error.fmt(f),
        }
    }
}

impl Session {
    /// Creates the session of `run`, whose supervisor has the other end of `line`.
    pub(crate) fn on(line: UnixStream, run: &str) -> Self {
        let file = file(&line);
        Self { line: ManuallyDrop::new(line), file, run: run.to_owned() }
    }

    /// Closes the session in order: over its socket, or by a new broker where the program has closed the socket.
    pub(crate) fn close(self) -> Result<(), NotClosed> {
        if self.is_ours() {
            return broker::close(&self.line).map_err(NotClosed::Broker);
        }
        let question = Question::CloseSession { run: &self.run }.encode().map_err(NotClosed::Answer)?;
        let (answer, _) = broker::ask(question, FAREWELL).map_err(NotClosed::Broker)?;
        closed(&answer).map_err(NotClosed::Answer)
    }

    /// Programs close descriptors that they do not know, and may open others with the same number: those are not used.
    fn is_ours(&self) -> bool {
        self.file.is_some() && file(&self.line) == self.file
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: nothing uses the line after this, and its descriptor is the one that was opened.
            unsafe { ManuallyDrop::drop(&mut self.line) };
        }
    }
}

/// Returns device and inode of the descriptor's file; each socket has an inode number of its own.
fn file(line: &UnixStream) -> Option<(u64, u64)> {
    // SAFETY: stat is integers, for which zero is valid.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `found` lives through the call; a closed descriptor is only an error.
    let answer = unsafe { libc::fstat(line.as_raw_fd(), &raw mut found) };
    (answer == 0).then_some((found.st_dev, found.st_ino))
}

/// Whether logind runs, which ends sessions after their maximum duration.
pub(crate) fn logind_runs() -> bool {
    Path::new(SEATS).exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{FromRawFd, OwnedFd};

    #[test]
    fn a_descriptor_that_the_program_has_reused_is_left_alone() {
        let (line, _other) = UnixStream::pair().unwrap();
        let number = line.as_raw_fd();
        let session = Session::on(line, "no-such-run");
        let null = std::fs::File::open("/dev/null").unwrap();
        // SAFETY: as in programs that close all descriptors they do not know: the number is reused for another file.
        assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), number) }, number);
        assert!(!session.is_ours() && session.close().is_err());
        // SAFETY: it is still open, and has no other owner.
        let still = unsafe { OwnedFd::from_raw_fd(number) };
        assert!(still.try_clone().is_ok());
    }

    #[test]
    fn a_session_whose_socket_is_closed_cannot_be_closed_in_order() {
        let (line, other) = UnixStream::pair().unwrap();
        drop(other);
        assert!(Session::on(line, "no-such-run").close().is_err());
    }
}
