//! Converts bytes to text that can be displayed, logged and read back. Knows no concepts of jit-sudo.
//!
//! Input of the caller reaches terminals, logs and JSON only through this module. Printable UTF-8 stays as it is; a
//! backslash is doubled; control characters, bytes that are not UTF-8 and invisible characters become `\xNN`.
//! [`unescape`] is the exact inverse, so evidence preserves every byte.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Escapes `bytes`; the result contains no control character and is valid UTF-8.
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

/// Returns the bytes that [`escape`] was given, or `None` when `text` is not an escaped text.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        if let Some(after) = escaped.strip_prefix('\\') {
            bytes.push(b'\\');
            rest = after;
        } else {
            let (digits, after) = escaped.strip_prefix('x')?.split_at_checked(2)?;
            bytes.push(hex_byte(*digits.as_bytes().first_chunk()?)?);
            rest = after;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

/// Formats bytes as lower-case hexadecimal, for digests.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2];
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits.copy_from_slice(&hex_digits(*byte));
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Parses the result of [`hex`]; `None` when `text` is not lower-case hexadecimal of exactly `N` bytes.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    let (digits, _) = text.as_bytes().as_chunks();
    for (byte, digits) in bytes.iter_mut().zip(digits) {
        *byte = hex_byte(*digits)?;
    }
    Some(bytes)
}

/// Arbitrary bytes whose text form (JSON, `Display`, `Debug`) is escaped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Word(pub OsString);

impl Word {
    /// Returns the raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Creates it from a text that is already escaped, such as a message, so that writing it does not escape it again.
    /// A text that is not escaped stays as it is.
    pub fn of_escaped(text: &str) -> Self {
        unescape(text).map_or_else(|| Self::from(text), |bytes| Self(OsString::from_vec(bytes)))
    }

    /// Returns its length in JSON, in bytes: escaped, with backslashes doubled.
    pub fn written_length(&self) -> usize {
        written_length(self.as_bytes())
    }

    /// Returns the longest prefix that has at most `most` bytes as written.
    pub fn beginning(&self, most: usize) -> Self {
        let bytes = self.as_bytes();
        // Each byte takes at least one, so no more than this can fit.
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

    /// Returns the raw bytes as a string for system calls.
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
        deserializer.deserialize_str(Escaped)
    }
}

/// Deserializes a value without copying its text.
struct Escaped;

impl serde::de::Visitor<'_> for Escaped {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Word, E> {
        let bytes = unescape(text)
            .ok_or_else(|| E::custom("not an escaped word: a backslash is \\\\ and other bytes are \\xNN"))?;
        // Two texts are never one word.
        let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\');
        if !is_plain && escape(&bytes) != text {
            return Err(E::custom("not an escaped word: it has an escape that is not needed, or lacks one"));
        }
        Ok(Word(OsString::from_vec(bytes)))
    }
}

/// Formats arguments as one shell-like line for display; an argument with anything but letters, digits and harmless
/// punctuation is in single quotes.
pub fn command_line<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        let text = escape(word.as_ref().as_bytes());
        if !text.is_empty() && text.chars().all(is_plain) {
            line.push_str(&text);
        } else {
            line.push('\'');
            line.push_str(&text.replace('\'', "'\\''"));
            line.push('\'');
        }
    }
    line
}

/// Formats arguments as a line that a shell parses back to the same arguments; an argument with bytes that cannot be
/// displayed is in `$'…'`.
pub fn shell_line<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    let quoted = |word: W| {
        let bytes = word.as_ref().as_bytes();
        let text = escape(bytes);
        match std::str::from_utf8(bytes) {
            Ok(plain) if !plain.is_empty() && plain.chars().all(is_plain) && plain == text => text,
            Ok(plain) if text == plain.replace('\\', "\\\\") => format!("'{}'", plain.replace('\'', "'\\''")),
            _ => format!("$'{}'", text.replace('\'', "\\'")),
        }
    };
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn written_length(bytes: &[u8]) -> usize {
    escape(bytes).bytes().map(|byte| if matches!(byte, b'\\' | b'"') { 2 } else { 1 }).sum()
}

/// Returns whether a character needs no quotes: letters and digits of any script, and ASCII punctuation without meaning
/// to a shell. Everything else is quoted, so that no character looks like the end of an argument.
fn is_plain(character: char) -> bool {
    character.is_alphanumeric() || "_@%+=:,./-".contains(character)
}

/// Returns whether a character is invisible, or changes what a reader sees (Trojan Source, CVE-2021-42574): separators,
/// and every blank but the space, because `a<NO-BREAK SPACE>b` is one argument and must not look like two.
fn is_invisible(character: char) -> bool {
    is_blank(character) || is_ignorable(character)
}

/// Returns whether a character is displayed as a blank: White_Space except the space and controls, the braille pattern
/// without dots, the musical symbol of a null notehead, the Khitan filler and the object replacement.
fn is_blank(character: char) -> bool {
    matches!(
        character,
        '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{202f}'
                | '\u{205f}'
                | '\u{2800}'
                | '\u{3000}'
                | '\u{fffc}'
                | '\u{16fe4}'
                | '\u{1d159}'
    )
}

/// Returns whether a character is not displayed: Default_Ignorable_Code_Point (Unicode, DerivedCoreProperties), and the
/// other format characters (Cf) without a glyph: interlinear annotations and the joiners of hieroglyphs.
fn is_ignorable(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push_str("\\x");
        text.extend(hex_digits(*byte).map(char::from));
    }
}

/// Returns the byte as two hexadecimal digits.
fn hex_digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) };
    [digit(byte >> 4), digit(byte & 15)]
}

fn hex_byte([high, low]: [u8; 2]) -> Option<u8> {
    let nibble = |digit| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    Some(nibble(high)? << 4 | nibble(low)?)
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
    fn invisible_characters_are_escaped_and_visible_ones_are_not() {
        // One character of each range, and the ends of the long ranges.
        let unseen = "\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{1680}\u{17b4}\u{17b5}\u{180b}\u{180e}\u{180f}\u{2000}\
                      \u{200b}\u{200d}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{202f}\u{205f}\u{2060}\u{2065}\u{206f}\
                      \u{2800}\u{3000}\u{3164}\u{fe00}\u{fe0f}\u{feff}\u{ffa0}\u{fff0}\u{fff8}\u{fff9}\u{fffb}\u{fffc}\
                      \u{13430}\u{16fe4}\u{1bca0}\u{1d159}\u{1d173}\u{1d17a}\u{e0001}\u{e007f}\u{e0100}\u{e01ef}\u{e0fff}";
        for character in unseen.chars() {
            let text = escape(character.to_string().as_bytes());
            assert!(text.starts_with("\\x") && text.is_ascii(), "{character:?}: {text}");
            assert_eq!(unescape(&text).unwrap(), character.to_string().as_bytes());
        }
        for seen in ["a b", "grün", "日本語", "Привет", "…", "\u{301}", "\u{2801}", "\u{fffd}", "🙂", "\u{600}"]
        {
            assert_eq!(escape(seen.as_bytes()), seen);
        }
    }

    #[test]
    fn one_argument_never_looks_like_two() {
        for (word, line) in [
            ("a\u{2800}b", "'a\\xe2\\xa0\\x80b'"),
            ("a\u{3164}b", "'a\\xe3\\x85\\xa4b'"),
            ("a\u{2009}b", "'a\\xe2\\x80\\x89b'"),
            ("a─b", "'a─b'"),
            ("’", "'’'"),
            ("🙂", "'🙂'"),
            ("grün/日本", "grün/日本"),
        ] {
            assert_eq!(command_line([word]), line);
        }
    }

    #[test]
    fn unescaping_another_text_fails() {
        for text in ["\\", "\\x", "\\x1", "\\xZZ", "\\n", "\\x1F", "a\\é"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }

    #[test]
    fn a_word_has_one_form() {
        let read = |text: &str| serde_json::from_value::<Word>(text.into()).map(|word| word.as_bytes().to_vec()).ok();
        for (text, bytes) in [("a b~", "a b~".as_bytes()), ("\\x1b\\\\", b"\x1b\\"), ("grün", "grün".as_bytes())] {
            assert_eq!(read(text).as_deref(), Some(bytes), "{text:?}");
        }
        // An escape that is not needed, and characters that need one.
        for text in ["\\x41", "gr\\xc3\\xbcn", "\u{7f}", "\u{9b}", "\u{202e}", "\u{feff}", "\u{e0001}"] {
            assert_eq!(read(text), None, "{text:?}");
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
    fn a_shell_parses_the_line_to_the_same_arguments() {
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
