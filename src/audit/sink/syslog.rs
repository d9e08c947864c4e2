//! The sink on /dev/log: RFC 3164 framing, `@cee:` and JSON (docs/formats.md, "Syslog lines").
//! May not: wait longer than `Patience` allows for a daemon that does not read, or try again after a failure.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

use super::patience::Patience;
use super::{Delivery, Transport, sudo_line};
use crate::audit::journal::Written;
use jit_core::clock::Timestamp;
use jit_core::evidence::{Checkpoint, Record};
use jit_core::policy::SyslogFormat;

/// Where syslog daemons listen (syslog(3)).
pub const DEV_LOG: &str = "/dev/log";

/// The longest line in bytes: rsyslog truncates at 8 KiB, header included.
pub const LINE_LIMIT: usize = 8_000;

/// The syslog daemon of this host.
pub struct Syslog {
    socket: PathBuf,
    pid: u32,
    format: SyslogFormat,
    link: Link,
    patience: Patience,
}

enum Link {
    Unconnected,
    Connected(Logger<LoggerBackend, Frame>),
    /// It failed once; this process does not try again.
    GivenUp,
}

impl Syslog {
    /// Creates a sink on `socket` (normally [`DEV_LOG`]); nothing is opened before the first record.
    pub fn new(socket: impl Into<PathBuf>, pid: u32) -> Self {
        let format = SyslogFormat::default();
        Self { socket: socket.into(), pid, format, link: Link::Unconnected, patience: Patience::new() }
    }

    /// Sets what else is sent besides JSON.
    #[must_use]
    pub fn with(self, format: SyslogFormat) -> Self {
        Self { format, ..self }
    }

    /// Sends what the journal could not record: one line of priority alert that belongs to no record.
    pub fn alert(&mut self, time: Timestamp, sentence: &str) -> Delivery {
        let text = serde_json::Value::from(jit_core::escape::escape(sentence.as_bytes()));
        let line = format!("{} jit-sudo[{}]: @cee: {{\"alert\":{text}}}", stamp(time), self.pid);
        match self.hand_over(Severity::LOG_ALERT, line.as_bytes()) {
            Ok(()) => Delivery::Delivered,
            Err(_) => Delivery::Missed,
        }
    }

    fn connection(&self) -> std::io::Result<Logger<LoggerBackend, Frame>> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.socket)?;
        Ok(Logger::new(LoggerBackend::Unix(socket), Frame))
    }

    /// Sends one line; reconnects when the daemon was restarted since the last one.
    fn hand_over(&mut self, severity: Severity, line: &[u8]) -> std::io::Result<()> {
        if matches!(self.link, Link::Unconnected) {
            self.link = Link::Connected(self.connection()?);
        } else if let Err(error) = self.send_once(severity, line) {
            use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected};
            if !matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | NotConnected) {
                return Err(error);
            }
            self.link = Link::Connected(self.connection()?);
        } else {
            return Ok(());
        }
        self.send_once(severity, line)
    }

    fn send_lines(&mut self, severity: Severity, lines: &[impl AsRef<[u8]>]) -> Delivery {
        for line in lines {
            if self.hand_over(severity, line.as_ref()).is_err() {
                self.link = Link::GivenUp;
                return Delivery::Missed;
            }
        }
        Delivery::Delivered
    }

    /// Sends what sudo would write about the record.
    fn send_as_sudo(&mut self, written: &Written) -> Delivery {
        let Ok(Record { event, .. }) = Record::decode(&written.body) else { return Delivery::Delivered };
        let severity = if sudo_line::is_refusal(&event) { Severity::LOG_ALERT } else { Severity::LOG_NOTICE };
        let front = format!("{} sudo: ", stamp(written.time));
        let whole = |line: Vec<u8>| [front.as_bytes(), &line].concat();
        self.send_lines(severity, &sudo_line::lines(&event).into_iter().map(whole).collect::<Vec<_>>())
    }

    fn send_once(&mut self, severity: Severity, line: &[u8]) -> std::io::Result<()> {
        let Link::Connected(logger) = &mut self.link else { return Err(std::io::ErrorKind::NotConnected.into()) };
        if let LoggerBackend::Unix(socket) = &logger.backend {
            socket.set_write_timeout(Some(self.patience.limit()))?;
        }
        let sent = self.patience.during(|| logger.formatter.format(&mut logger.backend, severity, line));
        sent.map_err(|error| match error {
            syslog::Error::Write(error) | syslog::Error::Io(error) => error,
            syslog::Error::Initialization(error) => std::io::Error::other(error),
        })
    }
}

impl Transport for Syslog {
    fn is_prompt(&self) -> bool {
        !matches!(self.link, Link::Unconnected)
    }

    fn connect(&mut self) {
        if matches!(self.link, Link::Unconnected)
            && let Ok(link) = self.connection()
        {
            self.link = Link::Connected(link);
        }
    }

    fn send(&mut self, written: &Written) -> Delivery {
        if matches!(self.link, Link::GivenUp) {
            return Delivery::Missed;
        }
        let sent = self.send_lines(severity(written.kind()), &lines(written, self.pid));
        if sent == Delivery::Delivered && self.format == SyslogFormat::Sudo {
            return self.send_as_sudo(written);
        }
        sent
    }

    fn send_checkpoint(&mut self, checkpoint: &Checkpoint, time: Timestamp) -> Delivery {
        if matches!(self.link, Link::GivenUp) {
            return Delivery::Missed;
        }
        let line = format!("{} jit-sudo[{}]: @cee: {}", stamp(time), self.pid, checkpoint.to_line());
        self.send_lines(severity("checkpoint"), &[line])
    }
}

pub(super) fn severity(kind: &str) -> Severity {
    match kind {
        "alert" => Severity::LOG_ALERT,
        "reject" | "denial" => Severity::LOG_WARNING,
        _ => Severity::LOG_NOTICE,
    }
}

/// The framing. The formatter of the crate would read the local time zone.
struct Frame;

impl LogFormat<&[u8]> for Frame {
    fn format<W: std::io::Write>(&self, w: &mut W, severity: Severity, line: &[u8]) -> syslog::Result<()> {
        // One datagram is one line, so it must be one write.
        let priority = Facility::LOG_AUTHPRIV as u8 | severity as u8;
        w.write_all(&[format!("<{priority}>").as_bytes(), line].concat()).map_err(syslog::Error::Write)
    }
}

/// Formats a record without `<PRI>`, on as many lines as it needs.
fn lines(written: &Written, pid: u32) -> Vec<String> {
    let front = format!("{} jit-sudo[{pid}]: @cee: ", stamp(written.time));
    let (seq, head, body) = (written.seq, written.hash, written.body.as_str());
    let whole = format!("{front}{{\"seq\":{seq},\"head\":\"{head}\",\"record\":{body}}}");
    if whole.len() + "<999>".len() <= LINE_LIMIT {
        return vec![whole];
    }
    let frame = format!("<999>{front}{{\"seq\":{seq},\"head\":\"{head}\",\"part\":,\"parts\":,\"data\":\"\"}}");
    let digits = 2 * u32::MAX.to_string().len();
    let pieces = pieces(body, LINE_LIMIT.saturating_sub(frame.len() + digits));
    let parts = pieces.len();
    let line = |(index, piece): (usize, &&str)| {
        let part = index + 1;
        let data = serde_json::Value::from(*piece);
        format!("{front}{{\"seq\":{seq},\"head\":\"{head}\",\"part\":{part},\"parts\":{parts},\"data\":{data}}}")
    };
    pieces.iter().enumerate().map(line).collect()
}

/// Splits `text` between characters so that no piece is longer than `limit` bytes as a JSON string.
fn pieces(text: &str, limit: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut rest, mut length, mut end) = (text, 0, 0);
    for character in text.chars() {
        let width = match character {
            '"' | '\\' => 2,
            c if c < ' ' => 6,
            c => c.len_utf8(),
        };
        if length + width > limit && end > 0 {
            let (piece, after) = rest.split_at(end);
            pieces.push(piece);
            (rest, length, end) = (after, 0, 0);
        }
        length += width;
        end += character.len_utf8();
    }
    pieces.push(rest);
    pieces
}

/// Formats `Mon dd hh:mm:ss` (RFC 3164, 4.1.2) in UTC; daemons put their own time on messages from /dev/log.
fn stamp(time: Timestamp) -> String {
    let time: DateTime<Utc> = DateTime::from_timestamp_micros(time.0).unwrap_or_default();
    time.format("%b %e %H:%M:%S").to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use serde_json::Value;

    use super::super::patience::STALL;
    use super::*;
    use crate::audit::sample;
    use crate::database::tests::Scratch;
    use jit_core::evidence::chain;
    use jit_core::evidence::{Digest, Event};

    pub(in crate::audit::sink) fn written(event: Event) -> Written {
        let record = Record::new(7, Digest::ZERO, &sample::moment(1), "web1", event);
        let body = record.encode().unwrap();
        let kind = record.event.keys().kind;
        Written::for_test(7, record.time, chain::hash(body.as_bytes()), body, kind)
    }

    pub(in crate::audit::sink) fn with_argument(argument: jit_core::escape::Word) -> Written {
        let mut start = sample::start("run000000001");
        start.argv.push(argument);
        written(Event::Start(Box::new(start)))
    }

    struct Daemon(UnixDatagram);

    impl Daemon {
        fn listen(path: &Path) -> Self {
            let socket = UnixDatagram::bind(path).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            Self(socket)
        }

        fn line(&self) -> Option<String> {
            let mut buffer = vec![0; 65_536];
            let length = self.0.recv(&mut buffer).ok()?;
            buffer.truncate(length);
            Some(String::from_utf8(buffer).unwrap())
        }
    }

    fn payload(line: &str) -> Value {
        serde_json::from_str(line.split_once("@cee: ").unwrap().1).unwrap()
    }

    #[test]
    fn a_small_record_is_one_line_with_its_exact_bytes() {
        let scratch = Scratch::new("syslog-small");
        let daemon = Daemon::listen(&scratch.path());
        let mut sink = Syslog::new(scratch.path(), 4242);
        let record = written(Event::Start(Box::new(sample::start("run000000001"))));
        assert_eq!(sink.send(&record), Delivery::Delivered);
        let line = daemon.line().unwrap();
        let front = "<85>Jan 15 08:00:01 jit-sudo[4242]: @cee: ";
        let (hash, body) = (record.hash, &record.body);
        assert_eq!(line, format!("{front}{{\"seq\":7,\"head\":\"{hash}\",\"record\":{body}}}"));
    }

    #[test]
    fn kinds_have_their_severity() {
        let scratch = Scratch::new("syslog-severity");
        let daemon = Daemon::listen(&scratch.path());
        let mut sink = Syslog::new(scratch.path(), 1);
        for event in sample::events() {
            let record = written(event);
            assert_eq!(sink.send(&record), Delivery::Delivered);
            let priority = match record.kind() {
                "alert" => "<81>",
                "reject" | "denial" => "<84>",
                _ => "<85>",
            };
            let line = daemon.line().unwrap();
            assert!(line.starts_with(priority), "{line}");
            assert!(!line.contains(char::is_control), "{line}");
        }
    }

    #[test]
    fn parts_of_a_large_record_join_to_its_exact_bytes() {
        let scratch = Scratch::new("syslog-parts");
        let hostile = || {
            let argument = sample::hostile();
            let ends: Vec<u8> = (0..40).flat_map(|_| argument.as_bytes().to_vec()).collect();
            jit_core::escape::Word(std::os::unix::ffi::OsStringExt::from_vec(ends))
        };
        for argument in ["x".repeat(50_000).into(), "ü€𝄞\"\\".repeat(9_000).into(), hostile()] {
            let record = with_argument(argument);
            let lines = lines(&record, u32::MAX);
            let mut joined = String::new();
            for (index, line) in lines.iter().enumerate() {
                assert!(line.len() + 5 <= LINE_LIMIT, "{}", line.len());
                let value = payload(line);
                assert_eq!(value["seq"], 7);
                assert_eq!(value["head"], record.hash.to_string());
                assert_eq!(
                    (value["part"].as_u64(), value["parts"].as_u64()),
                    (Some(index as u64 + 1), Some(lines.len() as u64))
                );
                joined.push_str(value["data"].as_str().unwrap());
            }
            assert!(lines.len() > 1);
            assert_eq!(joined, record.body);
            assert_eq!(chain::hash(joined.as_bytes()), record.hash);
        }
        drop(scratch);
    }

    #[test]
    fn records_around_the_limit_fit() {
        for length in LINE_LIMIT - 1_500..LINE_LIMIT {
            let record = with_argument("x".repeat(length).into());
            let lines = lines(&record, 1);
            assert!(lines.iter().all(|line| line.len() + "<85>".len() <= LINE_LIMIT), "{length}");
        }
    }

    #[test]
    fn two_megabytes_go_through_a_daemon_that_reads() {
        let scratch = Scratch::new("syslog-large");
        let daemon = Daemon::listen(&scratch.path());
        let mut sink = Syslog::new(scratch.path(), 1);
        let record = with_argument("x".repeat(2 << 20).into());
        let reader = std::thread::spawn(move || {
            let mut joined = String::new();
            while let Some(line) = daemon.line() {
                joined.push_str(payload(&line)["data"].as_str().unwrap());
            }
            joined
        });
        assert_eq!(sink.send(&record), Delivery::Delivered);
        assert_eq!(reader.join().unwrap(), record.body);
    }

    #[test]
    fn an_absent_daemon_is_reported_at_once_and_not_tried_again() {
        let scratch = Scratch::new("syslog-absent");
        let record = written(sample::events().remove(0));
        let mut sink = Syslog::new(scratch.path(), 1);
        let begun = Instant::now();
        assert_eq!(sink.send(&record), Delivery::Missed);
        let daemon = Daemon::listen(&scratch.path());
        assert_eq!(sink.send(&record), Delivery::Missed);
        assert!(begun.elapsed() < STALL / 2);
        assert_eq!(daemon.line(), None);
    }

    #[test]
    fn a_daemon_that_does_not_read_delays_a_process_only_once() {
        let scratch = Scratch::new("syslog-full");
        let _daemon = Daemon::listen(&scratch.path());
        let record = written(sample::events().remove(0));
        let mut sink = Syslog::new(scratch.path(), 1);
        let begun = Instant::now();
        let missed = (0..2_000).filter(|_| sink.send(&record) == Delivery::Missed).count();
        let elapsed = begun.elapsed();
        assert!(missed > 1_000, "{missed}");
        assert!(elapsed >= STALL && elapsed < 2 * STALL, "{elapsed:?}");
    }

    #[test]
    fn a_restarted_daemon_is_found_again() {
        let scratch = Scratch::new("syslog-restart");
        let record = written(sample::events().remove(0));
        let mut sink = Syslog::new(scratch.path(), 1);
        let daemon = Daemon::listen(&scratch.path());
        assert_eq!(sink.send(&record), Delivery::Delivered);
        drop(daemon);
        std::fs::remove_file(scratch.path()).unwrap();
        let daemon = Daemon::listen(&scratch.path());
        assert_eq!(sink.send(&record), Delivery::Delivered);
        assert!(daemon.line().is_some());
    }

    #[test]
    fn a_stream_socket_is_reported_as_missed() {
        let scratch = Scratch::new("syslog-stream");
        let _listener = std::os::unix::net::UnixListener::bind(scratch.path()).unwrap();
        let mut sink = Syslog::new(scratch.path(), 1);
        assert_eq!(sink.send(&written(sample::events().remove(0))), Delivery::Missed);
    }
}
