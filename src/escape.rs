//! Bytes as text that can be shown, logged and read back. Knows no domain word.
//!
//! What a caller typed reaches terminals, logs and JSON only through this room. Printable UTF-8 stays as it is; a
//! backslash is doubled; control characters, bytes that are not UTF-8 and invisible direction marks become `\xNN`.
//! [`unescape`] is the exact inverse, so evidence keeps every byte.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Escapes `bytes`; the result holds no control character and is valid UTF-8.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                c if c.is_control() || is_invisible(c) => {
                    let mut buffer = [0; 4];
                    push_hex(&mut text, c.encode_utf8(&mut buffer).as_bytes());
                }
                c => text.push(c),
            }
        }
        push_hex(&mut text, chunk.invalid());
    }
    text
}

/// The bytes that [`escape`] was given, or `None` when `text` is not an escaped text.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        if let Some(after) = escaped.strip_prefix('\\') {
            bytes.push(b'\\');
            rest = after;
        } else {
            let digits = escaped.strip_prefix('x')?.get(..2)?;
            bytes.push(hex_byte(digits)?);
            rest = escaped.get(3..)?;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

/// Lower-case hexadecimal, for digests.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        push_nibbles(&mut text, *byte);
    }
    text
}

/// The inverse of [`hex`]; `None` when `text` is not lower-case hexadecimal of exactly `N` bytes.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = hex_byte(text.get(index * 2..index * 2 + 2)?)?;
    }
    Some(bytes)
}

/// A word of any bytes whose text form (JSON, `Display`, `Debug`) is escaped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Word(pub OsString);

impl Word {
    /// The bytes as they are.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Of a text that is escaped already, such as a sentence: its bytes, so that it is not escaped once more when it is
    /// written. A text that nobody escaped stays as it is.
    pub fn of_escaped(text: &str) -> Self {
        unescape(text).map_or_else(|| Self::from(text), |bytes| Self(OsString::from_vec(bytes)))
    }

    /// How many bytes it has as it is written in JSON: escaped, with backslashes doubled.
    pub fn written_length(&self) -> usize {
        written_length(self.as_bytes())
    }

    /// The longest beginning of it that has at most `most` bytes as it is written.
    pub fn beginning(&self, most: usize) -> Self {
        let bytes = self.as_bytes();
        // A byte is written as one at least, so more than that need not be looked at.
        let mut end = bytes.len().min(most);
        while written_length(bytes.get(..end).unwrap_or_default()) > most {
            end = end * 3 / 4;
        }
        // Not in the middle of a character.
        while end < bytes.len() && bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) && end > 0 {
            end -= 1;
        }
        Self(OsString::from_vec(bytes.get(..end).unwrap_or_default().to_vec()))
    }

    /// The word as the system takes it.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

impl<T: Into<OsString>> From<T> for Word {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape(self.as_bytes()))
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", escape(self.as_bytes()))
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(self.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = unescape(&text).ok_or_else(|| {
            serde::de::Error::custom("not an escaped word: a backslash is \\\\ and other bytes are \\xNN")
        })?;
        Ok(Self(OsString::from_vec(bytes)))
    }
}

/// Words as one shell-like line for people: a word with spaces or quotes stands in single quotes.
pub fn command_line<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        let text = escape(word.as_ref().as_bytes());
        if !text.is_empty() && text.bytes().all(is_plain) {
            line.push_str(&text);
        } else {
            line.push('\'');
            line.push_str(&text.replace('\'', "'\\''"));
            line.push('\'');
        }
    }
    line
}

/// Words as a line that a shell reads as these very words; a word with bytes that cannot be shown stands in `$'…'`.
pub fn shell_line<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    let quoted = |word: W| {
        let bytes = word.as_ref().as_bytes();
        let text = escape(bytes);
        match std::str::from_utf8(bytes) {
            Ok(plain) if !plain.is_empty() && plain.bytes().all(is_plain) && plain == text => text,
            Ok(plain) if text == plain.replace('\\', "\\\\") => format!("'{}'", plain.replace('\'', "'\\''")),
            _ => format!("$'{}'", text.replace('\'', "\\'")),
        }
    };
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn written_length(bytes: &[u8]) -> usize {
    escape(bytes).bytes().map(|byte| if matches!(byte, b'\\' | b'"') { 2 } else { 1 }).sum()
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte) || byte >= 0x80
}

/// Characters that change what a reader sees without being seen (Trojan Source, CVE-2021-42574), separators, and every
/// blank that is not the space: `a<NO-BREAK SPACE>b` is one word and must not look like two.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{a0}' | '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{1680}' | '\u{180e}' | '\u{2000}'..='\u{200f}'
        | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{3164}' | '\u{ffa0}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push_str("\\x");
        push_nibbles(text, *byte);
    }
}

fn push_nibbles(text: &mut String, byte: u8) {
    for nibble in [byte >> 4, byte & 15] {
        text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('?'));
    }
}

fn hex_byte(digits: &str) -> Option<u8> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() == 2 && digits.bytes().all(lower) { u8::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_bytes_survives_the_round_trip() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let bytes = [b'a', first, second, b'x'];
                let text = escape(&bytes);
                assert!(!text.chars().any(char::is_control));
                assert_eq!(unescape(&text).as_deref(), Some(&bytes[..]));
            }
        }
    }

    #[test]
    fn direction_marks_and_escapes_are_visible() {
        assert_eq!(escape("a\u{202e}b\x1b[2J\n".as_bytes()), "a\\xe2\\x80\\xaeb\\x1b[2J\\x0a");
        assert_eq!(escape("grün".as_bytes()), "grün");
    }

    #[test]
    fn what_is_not_an_escaped_text_is_refused() {
        for text in ["\\", "\\x", "\\x1", "\\xZZ", "\\n", "\\x1F", "a\\é"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }

    #[test]
    fn command_lines_quote_what_a_shell_would_split() {
        assert_eq!(command_line(["ls", "-l", "a b", "", "it's"]), "ls -l 'a b' '' 'it'\\''s'");
    }

    #[test]
    fn hexadecimal_is_exact() {
        assert_eq!(unhex::<2>(&hex(&[0, 255])), Some([0, 255]));
        assert_eq!(unhex::<2>("00f"), None);
        assert_eq!(unhex::<2>("00FF"), None);
    }

    #[test]
    fn a_shell_reads_the_very_words_from_a_line() {
        let words: [&[u8]; 9] =
            [b"id", b"", b"a b", b"it's", b"C:\\dir\\", b"\x1b[2J'", b"\xff\\", "gr\u{fc}n".as_bytes(), b"~"];
        let line = shell_line(words.map(OsStr::from_bytes));
        assert_eq!(line, r"id '' 'a b' 'it'\''s' 'C:\dir\' $'\x1b[2J\'' $'\xff\\' grün '~'");
        let script = format!("printf '%s\\0' {line}");
        let read = std::process::Command::new("bash").args(["-c", &script]).output().unwrap().stdout;
        let read: Vec<&[u8]> = read.split(|byte| *byte == 0).take(words.len()).collect();
        assert_eq!(read, words);
    }
}
