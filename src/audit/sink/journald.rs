//! The sink in systemd's journal: its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), one datagram per record, complete at
//! any length.
//! May not: wait longer than `Patience` allows, or try again after a failure.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use super::patience::Patience;
use super::{Delivery, Transport};
use crate::audit::journal::Written;
use jit_core::clock::Timestamp;
use jit_core::evidence::Checkpoint;
use sys::memfd::send_sealed;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// `EMSGSIZE` (errno(3)): too long for a datagram.
const TOO_LONG: i32 = 90;

/// `authpriv` (syslog(3)).
const FACILITY: u8 = 10;

/// The journal daemon of this host.
pub struct Journald {
    socket: PathBuf,
    link: Option<UnixDatagram>,
    given_up: bool,
    patience: Patience,
}

impl Journald {
    /// Creates a sink on `socket` (normally [`SOCKET`]); nothing is opened before the first record.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), link: None, given_up: false, patience: Patience::new() }
    }

    fn send_entry(&mut self, bytes: &[u8]) -> Delivery {
        if !self.given_up && self.try_send(bytes).is_ok() {
            return Delivery::Delivered;
        }
        self.given_up = true;
        Delivery::Missed
    }

    fn connection(&self) -> io::Result<UnixDatagram> {
        let link = UnixDatagram::unbound()?;
        link.connect(&self.socket)?;
        Ok(link)
    }

    fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let link = match self.link.take() {
            Some(link) => link,
            None => self.connection()?,
        };
        link.set_write_timeout(Some(self.patience.limit()))?;
        self.patience.during(|| match link.send(bytes) {
            Err(error) if error.raw_os_error() == Some(TOO_LONG) => send_sealed(&link, bytes),
            sent => sent.map(drop),
        })?;
        self.link = Some(link);
        Ok(())
    }
}

impl Transport for Journald {
    fn is_prompt(&self) -> bool {
        self.given_up || self.link.is_some()
    }

    fn connect(&mut self) {
        self.link = self.link.take().or_else(|| self.connection().ok());
    }

    fn send(&mut self, record: &Written) -> Delivery {
        self.send_entry(&entry(record))
    }

    fn send_checkpoint(&mut self, checkpoint: &Checkpoint, _: Timestamp) -> Delivery {
        self.send_entry(&checkpoint_entry(checkpoint))
    }
}

/// Formats the fields of one entry. No value holds a line feed: a record's exact bytes have every control character escaped.
fn entry(record: &Written) -> Vec<u8> {
    let (seq, head, kind, priority) = (record.seq, record.hash, record.kind(), super::syslog::severity(record.kind()));
    let priority = priority as u8;
    format!(
        "MESSAGE={kind} (record {seq})\nPRIORITY={priority}\nSYSLOG_FACILITY={FACILITY}\nSYSLOG_IDENTIFIER=jit-sudo\n\
         JIT_SUDO_KIND={kind}\nJIT_SUDO_SEQ={seq}\nJIT_SUDO_HEAD={head}\nJIT_SUDO_RECORD={}\n",
        record.body
    )
    .into_bytes()
}

/// Formats the fields of the entry of a checkpoint.
fn checkpoint_entry(checkpoint: &Checkpoint) -> Vec<u8> {
    let (seq, priority) = (checkpoint.seq, super::syslog::severity("checkpoint") as u8);
    format!(
        "MESSAGE=checkpoint (record {seq})\nPRIORITY={priority}\nSYSLOG_FACILITY={FACILITY}\nSYSLOG_IDENTIFIER=jit-sudo\n\
         JIT_SUDO_KIND=checkpoint\nJIT_SUDO_SEQ={seq}\nJIT_SUDO_CHECKPOINT={}\n",
        checkpoint.to_line()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::patience::STALL;
    use super::super::syslog::tests::{with_argument, written};
    use super::*;
    use crate::audit::sample;
    use crate::database::tests::Scratch;

    fn daemon(scratch: &Scratch) -> UnixDatagram {
        let socket = UnixDatagram::bind(scratch.path()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        socket
    }

    #[test]
    fn an_entry_holds_the_record_and_searchable_fields() {
        let scratch = Scratch::new("journald-entry");
        let daemon = daemon(&scratch);
        let mut sink = Journald::new(scratch.path());
        for event in sample::events() {
            let record = written(event);
            assert_eq!(sink.send(&record), Delivery::Delivered);
            let mut bytes = vec![0; 1 << 16];
            let length = daemon.recv(&mut bytes).unwrap();
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            assert!(text.lines().all(|line| line.split_once('=').is_some()), "{text}");
            assert!(text.contains(&format!("\nJIT_SUDO_RECORD={}\n", record.body)), "{text}");
            assert!(text.contains(&format!("\nJIT_SUDO_HEAD={}\n", record.hash)));
        }
    }

    #[test]
    fn a_record_of_megabytes_comes_as_a_file_beside_an_empty_datagram() {
        let scratch = Scratch::new("journald-large");
        let daemon = daemon(&scratch);
        let record = with_argument("x".repeat(4 << 20).into());
        assert_eq!(Journald::new(scratch.path()).send(&record), Delivery::Delivered);
        assert_eq!(daemon.recv(&mut [0; 16]).unwrap(), 0);
    }

    #[test]
    fn an_absent_or_stopped_daemon_is_reported_in_time() {
        let scratch = Scratch::new("journald-absent");
        let record = written(sample::events().remove(0));
        let begun = Instant::now();
        assert_eq!(Journald::new(scratch.path()).send(&record), Delivery::Missed);
        let _daemon = daemon(&scratch);
        let mut sink = Journald::new(scratch.path());
        let missed = (0..2_000).filter(|_| sink.send(&record) == Delivery::Missed).count();
        assert!(missed > 1_000 && begun.elapsed() < 3 * STALL, "{missed} {:?}", begun.elapsed());
    }
}
