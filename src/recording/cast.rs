//! Lines of an asciicast v2 file (<https://docs.asciinema.org/manual/asciicast/v2/>): a header and events, each one line of JSON.
//!
//! JSON is text, and terminals are not: a byte that is not UTF-8 becomes U+FFFD. A character that was split between two reads is
//! joined again.

use std::time::Duration;

use serde::Serialize;

/// The maximum length of a character in bytes.
const LONGEST_CHARACTER: usize = 4;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Always 2.
    pub version: u32,
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
    /// When it began, in seconds since 1970.
    pub timestamp: i64,
    /// The command line.
    pub command: String,
    /// One line that describes the recording.
    pub title: String,
    /// `TERM` and `SHELL` of the command, where it has them.
    pub env: Environment,
}

/// The variables that players use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// `TERM`
    #[serde(rename = "TERM", skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
    /// `SHELL`
    #[serde(rename = "SHELL", skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
}

/// The kind of an event; the letter is asciicast's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Output,
    Input,
    Resize,
    Marker,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Output => 'o',
            Self::Input => 'i',
            Self::Resize => 'r',
            Self::Marker => 'm',
        }
    }
}

/// Appends one event.
pub(super) fn push_event(line: &mut Vec<u8>, at: Duration, kind: Kind, text: &mut Text<'_>) {
    let (seconds, micros) = (at.as_secs(), at.subsec_micros());
    line.extend_from_slice(format!("[{seconds}.{micros:06}, \"{}\", \"", kind.letter()).as_bytes());
    text.push_json(line);
    line.extend_from_slice(b"\"]\n");
}

/// Bytes from a terminal to be written as JSON, with an incomplete character of the bytes before.
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) carry: &'a mut Carry,
}

/// The first bytes of a character whose rest has not been read yet.
#[derive(Debug, Default)]
pub(super) struct Carry(Vec<u8>);

impl Carry {
    /// Whether there is no incomplete character.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Text<'_> {
    fn push_json(&mut self, line: &mut Vec<u8>) {
        let mut rest = self.bytes;
        while !self.carry.is_empty() {
            match std::str::from_utf8(&self.carry.0) {
                Ok(character) => push_escaped(line, character),
                Err(error) if error.error_len().is_none() && self.carry.0.len() < LONGEST_CHARACTER => {
                    let Some((next, behind)) = rest.split_first() else { return };
                    self.carry.0.push(*next);
                    rest = behind;
                    continue;
                }
                Err(_) => {
                    // The last byte did not belong to the character, so it is read again by itself.
                    let again = self.bytes.len() - rest.len();
                    rest = self.bytes.get(again.saturating_sub(1)..).unwrap_or_default();
                    push_escaped(line, "\u{fffd}");
                }
            }
            self.carry.0.clear();
        }
        let mut chunks = rest.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            push_escaped(line, chunk.valid());
            let invalid = chunk.invalid();
            let is_cut = || std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if !invalid.is_empty() && chunks.peek().is_none() && is_cut() {
                self.carry.0.extend_from_slice(invalid);
            } else if !invalid.is_empty() {
                push_escaped(line, "\u{fffd}");
            }
        }
    }
}

/// Appends the text as it is written between the quotes of JSON (RFC 8259, section 7).
fn push_escaped(line: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        line.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        from = at + 1;
        match byte {
            b'"' => line.extend_from_slice(b"\\\""),
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            control => line.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
    }
    line.extend_from_slice(bytes.get(from..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what a reader gets back from pieces that were read one after the other.
    fn told(pieces: &[&[u8]]) -> String {
        let mut carry = Carry::default();
        let mut whole = String::new();
        for piece in pieces {
            let mut line = Vec::new();
            push_event(
                &mut line,
                Duration::from_micros(1_500_001),
                Kind::Output,
                &mut Text { bytes: piece, carry: &mut carry },
            );
            let (time, kind, text): (f64, String, String) = serde_json::from_slice(&line).unwrap();
            assert_eq!((time, kind.as_str(), line.last()), (1.500_001, "o", Some(&b'\n')));
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            whole.push_str(&text);
        }
        whole
    }

    #[test]
    fn every_text_comes_back_as_it_was() {
        let all: String = (0..=0x2fff_u32).chain(0x1f600..0x1f610).filter_map(char::from_u32).collect();
        assert_eq!(told(&[all.as_bytes()]), all);
    }

    #[test]
    fn a_character_that_was_cut_is_put_together() {
        for text in ["é", "€", "😀", "a😀b"] {
            let bytes = text.as_bytes();
            for cut in 0..=bytes.len() {
                assert_eq!(told(&[&bytes[..cut], &bytes[cut..]]), text);
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(told(&single), text);
        }
    }

    #[test]
    fn invalid_utf_8_is_replaced_without_losing_its_neighbours() {
        assert_eq!(told(&[b"a\xffb"]), "a\u{fffd}b");
        assert_eq!(told(&[b"a\xe2\x82", b"b"]), "a\u{fffd}b");
        assert_eq!(told(&[b"\xe2", b"\x82", b"\n"]), "\u{fffd}\n");
        assert_eq!(told(&[b"\xf0\x9f", b"\xe2\x82\xac"]), "\u{fffd}€");
        assert_eq!(told(&[b"\xe2\xe2", b"\x82\xac"]), "\u{fffd}€");
        assert_eq!(told(&[b"\xf0\x9f\x98", b""]), "");
    }

    #[test]
    fn random_bytes_in_random_pieces_are_always_json() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();
            let cut = random.usize(..=bytes.len());
            let whole = String::from_utf8_lossy(&bytes).into_owned();
            let found = told(&[&bytes[..cut], &bytes[cut..]]);
            // A character that is split at the very end waits for its rest.
            assert!(whole.starts_with(&found) && whole.len() - found.len() <= 3, "{whole:?} {found:?}");
        }
    }
}
