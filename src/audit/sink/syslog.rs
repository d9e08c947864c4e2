//! The mirror on /dev/log: RFC 3164 framing, `@cee:` and JSON (docs/formats.md, "Syslog lines").
//! May not: wait longer than [`STALL`] for a syslog daemon that does not read, or try again after it failed.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

use super::{Delivery, Sink};
use crate::audit::journal::Written;
use crate::clock::Timestamp;

/// Where syslog daemons listen (syslog(3)).
pub const DEV_LOG: &str = "/dev/log";

/// How long one line may wait for a daemon that does not read; after that, nothing more is tried in this process.
pub const STALL: Duration = Duration::from_millis(200);

/// How long all lines of one process may take together, however slowly the daemon reads.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The longest line in bytes: rsyslog cuts at 8 KiB, header included.
pub const LINE_LIMIT: usize = 8_000;

/// The syslog daemon of this host.
pub struct Syslog {
    socket: PathBuf,
    pid: u32,
    link: Link,
    patience: Duration,
}

enum Link {
    Unconnected,
    Connected(Logger<LoggerBackend, Frame>),
    /// It failed once; in this process it is not tried again.
    GivenUp,
}

impl Syslog {
    /// A mirror on `socket` (normally [`DEV_LOG`]); nothing is opened before the first record.
    pub fn new(socket: impl Into<PathBuf>, pid: u32) -> Self {
        Self { socket: socket.into(), pid, link: Link::Unconnected, patience: PATIENCE }
    }

    fn connect(&self) -> std::io::Result<Logger<LoggerBackend, Frame>> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.socket)?;
        Ok(Logger::new(LoggerBackend::Unix(socket), Frame))
    }

    /// Sends one line, over a new connection when the daemon was restarted since the last one.
    fn send(&mut self, severity: Severity, line: &str) -> std::io::Result<()> {
        if matches!(self.link, Link::Unconnected) {
            self.link = Link::Connected(self.connect()?);
        } else if let Err(error) = self.send_once(severity, line) {
            use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected};
            if !matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | NotConnected) {
                return Err(error);
            }
            self.link = Link::Connected(self.connect()?);
        } else {
            return Ok(());
        }
        self.send_once(severity, line)
    }

    fn send_once(&mut self, severity: Severity, line: &str) -> std::io::Result<()> {
        let Link::Connected(logger) = &mut self.link else { return Err(std::io::ErrorKind::NotConnected.into()) };
        if let LoggerBackend::Unix(socket) = &logger.backend {
            // A timeout of zero means "for ever", so an exhausted patience still waits one microsecond.
            socket.set_write_timeout(Some(STALL.min(self.patience).max(Duration::from_micros(1))))?;
        }
        let begun = Instant::now();
        let sent = logger.formatter.format(&mut logger.backend, severity, line);
        self.patience = self.patience.saturating_sub(begun.elapsed());
        sent.map_err(|error| match error {
            syslog::Error::Write(error) | syslog::Error::Io(error) => error,
            syslog::Error::Initialization(error) => std::io::Error::other(error),
        })
    }
}

impl Sink for Syslog {
    fn mirror(&mut self, written: &Written) -> Delivery {
        if matches!(self.link, Link::GivenUp) {
            return Delivery::Missed;
        }
        let severity = severity(written.kind());
        for line in lines(written, self.pid) {
            if self.send(severity, &line).is_err() {
                self.link = Link::GivenUp;
                return Delivery::Missed;
            }
        }
        Delivery::Delivered
    }
}

fn severity(kind: &str) -> Severity {
    match kind {
        "alert" => Severity::LOG_ALERT,
        "reject" | "denial" => Severity::LOG_WARNING,
        _ => Severity::LOG_NOTICE,
    }
}

/// The framing: the crate's own formatter would read the local time zone.
struct Frame;

impl LogFormat<&str> for Frame {
    fn format<W: std::io::Write>(&self, w: &mut W, severity: Severity, line: &str) -> syslog::Result<()> {
        // One datagram is one line, so it must be one write.
        let priority = Facility::LOG_AUTHPRIV as u8 | severity as u8;
        w.write_all(format!("<{priority}>{line}").as_bytes()).map_err(syslog::Error::Write)
    }
}

/// A record without `<PRI>`, on as many lines as it needs.
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

/// Cuts `text` between characters so that no piece is longer than `limit` bytes once it is a JSON string.
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

/// `Mon dd hh:mm:ss` (RFC 3164, 4.1.2) in UTC; daemons put their own time on what comes from /dev/log.
fn stamp(time: Timestamp) -> String {
    let time: DateTime<Utc> = DateTime::from_timestamp_micros(time.0).unwrap_or_default();
    time.format("%b %e %H:%M:%S").to_string()
}
