//! Reads asciicast v2 line by line. The input is untrusted.

use std::time::Duration;

use serde::Deserialize;

/// The maximum length of a line: the largest frame of a terminal's output, with every byte escaped, and some margin.
const LONGEST_LINE: usize = 4 << 20;

/// No recording is longer than a year; a larger time is a damaged line.
const LONGEST: f64 = 366.0 * 86_400.0;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// An event, with its time since the beginning of the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) what: EventKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// The command showed this.
    Output(String),
    /// jit-sudo wrote this to the terminal.
    Said(String),
    /// Input, a new window size, or an event of a later version.
    Other,
}

/// Collects bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    waiting: Vec<u8>,
    header: Option<Header>,
}

/// The input is not an asciicast of version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoCast;

impl Lines {
    /// Takes more bytes and returns the events that they complete. Skips lines that are not events.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, NoCast> {
        self.waiting.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut from = 0;
        while let Some(length) = self.waiting[from..].iter().position(|byte| *byte == b'\n') {
            let line = &self.waiting[from..from + length];
            from += length + 1;
            if self.header.is_some() {
                events.extend(event(line));
            } else {
                let header: Header = serde_json::from_slice(line).map_err(|_| NoCast)?;
                self.header = Some(header).filter(|header| header.version == 2);
                self.header.as_ref().ok_or(NoCast)?;
            }
        }
        self.waiting.drain(..from);
        if self.waiting.len() > LONGEST_LINE { Err(NoCast) } else { Ok(events) }
    }

    /// Reads the first line when it is complete.
    pub(crate) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }
}

fn event(line: &[u8]) -> Option<Event> {
    let (at, kind, text): (f64, String, String) = serde_json::from_slice(line).ok()?;
    let at = Duration::from_secs_f64(at.clamp(0.0, LONGEST));
    let what = match kind.as_str() {
        "o" => EventKind::Output(text),
        "m" => EventKind::Said(text),
        _ => EventKind::Other,
    };
    Some(Event { at, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAST: &str = "{\"version\":2,\"width\":80,\"height\":24,\"timestamp\":1}\n[0.5, \"o\", \"a\\r\\n\"]\n\
                        [1.0, \"i\", \"x\"]\n[nonsense\n[1.25, \"m\", \"frozen\"]\n[2.0, \"r\", \"9x9\"]\n[-1, \"o\", \"b\"]\n[1e300, \"o\", \"c\"]\n";

    #[test]
    fn an_event_is_returned_when_its_line_is_complete() {
        for piece in [1, 3, 50, 1000] {
            let mut lines = Lines::default();
            let events: Vec<Event> =
                CAST.as_bytes().chunks(piece).flat_map(|bytes| lines.take(bytes).unwrap()).collect();
            assert_eq!(lines.header(), Some(&Header { version: 2, width: 80, height: 24 }));
            let whats: Vec<&EventKind> = events.iter().map(|event| &event.what).collect();
            let output = |text: &str| EventKind::Output(text.to_owned());
            assert_eq!(
                whats,
                [
                    &output("a\r\n"),
                    &EventKind::Other,
                    &EventKind::Said("frozen".to_owned()),
                    &EventKind::Other,
                    &output("b"),
                    &output("c")
                ]
            );
            assert_eq!(events[0].at, Duration::from_millis(500));
            assert_eq!(events[4].at, Duration::ZERO);
        }
    }

    #[test]
    fn input_that_is_no_asciicast_is_refused() {
        for text in ["{}\n", "[0,\"o\",\"x\"]\n", "{\"version\":3,\"width\":1,\"height\":1}\n", "\0\n"] {
            assert_eq!(Lines::default().take(text.as_bytes()), Err(NoCast), "{text:?}");
        }
        assert_eq!(Lines::default().take(&vec![b'x'; LONGEST_LINE + 1]), Err(NoCast));
        assert_eq!(Lines::default().take(b""), Ok(Vec::new()));
    }
}
