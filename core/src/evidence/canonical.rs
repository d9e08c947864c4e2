//! The canonical form of a record's bytes: a compact JSON object with sorted keys (docs/formats.md, "Records").
//! Verification accepts no other form, so that all readers of a record read the same, even in keys that they do not
//! know.

use std::fmt;

/// The maximum nesting depth.
const DEPTH: usize = 127;

/// Why bytes are not canonical. `Display` is a sentence fragment about the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotCanonical {
    /// Not UTF-8.
    Text,
    /// Not JSON, or not in canonical form, at this byte.
    At(usize),
    /// The key at this byte is not after the previous one, or contains an escape.
    Order(usize),
    /// Nested too deeply.
    Depth,
}

impl fmt::Display for NotCanonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("it is not UTF-8"),
            Self::At(at) => write!(f, "it is not compact JSON of texts, integers, lists and objects from byte {at} on"),
            Self::Order(at) => {
                write!(f, "its keys are not sorted, one is there twice, or one has an escape, at byte {at}")
            }
            Self::Depth => f.write_str("it is nested too deeply"),
        }
    }
}

/// Returns the text of bytes in canonical form.
pub(super) fn text(body: &[u8]) -> Result<&str, NotCanonical> {
    let text = std::str::from_utf8(body).map_err(|_| NotCanonical::Text)?;
    let mut scan = Scan { body, at: 0 };
    scan.expect(b'{')?;
    scan.object(DEPTH - 1)?;
    if scan.at == body.len() { Ok(text) } else { Err(NotCanonical::At(scan.at)) }
}

struct Scan<'b> {
    body: &'b [u8],
    at: usize,
}

impl<'b> Scan<'b> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.body.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    /// Returns the error that the last byte, or the end, is not allowed here.
    fn wrong<T>(&self, read: Option<u8>) -> Result<T, NotCanonical> {
        Err(NotCanonical::At(self.at - usize::from(read.is_some())))
    }

    fn expect(&mut self, wanted: u8) -> Result<(), NotCanonical> {
        match self.next() {
            Some(byte) if byte == wanted => Ok(()),
            read => self.wrong(read),
        }
    }

    /// Parses what follows an opening brace, which may be nested `deeper` more levels.
    fn object(&mut self, deeper: usize) -> Result<(), NotCanonical> {
        let mut before: Option<&[u8]> = None;
        self.members(b'}', |scan| {
            let begin = scan.at;
            scan.expect(b'"')?;
            let key = scan.string()?;
            // Compared as written: a key contains no escape.
            if key.contains(&b'\\') || before.replace(key).is_some_and(|before| before >= key) {
                return Err(NotCanonical::Order(begin));
            }
            scan.expect(b':')?;
            scan.value(deeper)
        })
    }

    /// Parses members with commas between them, and the closing character.
    fn members(
        &mut self,
        close: u8,
        mut member: impl FnMut(&mut Self) -> Result<(), NotCanonical>,
    ) -> Result<(), NotCanonical> {
        if self.body.get(self.at) == Some(&close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            member(self)?;
            match self.next() {
                Some(b',') => {}
                Some(byte) if byte == close => return Ok(()),
                read => return self.wrong(read),
            }
        }
    }

    fn value(&mut self, deeper: usize) -> Result<(), NotCanonical> {
        match (self.next(), deeper.checked_sub(1)) {
            (Some(b'"'), _) => self.string().map(drop),
            (Some(b'{' | b'['), None) => Err(NotCanonical::Depth),
            (Some(b'{'), Some(deeper)) => self.object(deeper),
            (Some(b'['), Some(deeper)) => self.members(b']', |scan| scan.value(deeper)),
            (Some(b'-' | b'0'..=b'9'), _) => self.integer(),
            (read, _) => self.wrong(read),
        }
    }

    /// Parses what follows a quote, up to the next. There are no control characters, and only quotes and backslashes
    /// are escaped.
    fn string(&mut self) -> Result<&'b [u8], NotCanonical> {
        let begin = self.at;
        loop {
            let rest = self.body.get(self.at..).unwrap_or_default();
            self.at +=
                rest.iter().position(|byte| matches!(byte, 0..0x20 | 0x7f | 0xc2 | b'"' | b'\\')).unwrap_or(rest.len());
            match self.next() {
                // U+0080 to U+009F are control characters too.
                Some(0xc2) => match self.next() {
                    Some(0xa0..) => {}
                    read => return self.wrong(read),
                },
                Some(b'"') => return Ok(self.body.get(begin..self.at - 1).unwrap_or_default()),
                Some(b'\\') => match self.next() {
                    Some(b'"' | b'\\') => {}
                    read => return self.wrong(read),
                },
                read => return self.wrong(read),
            }
        }
    }

    /// Parses a 64-bit integer whose first byte was already read.
    fn integer(&mut self) -> Result<(), NotCanonical> {
        let begin = self.at - 1;
        while self.body.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        let digits =
            self.body.get(begin..self.at).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default();
        let fits = digits.parse::<u64>().is_ok() || digits.parse::<i64>().is_ok_and(|number| number < 0);
        let plain = digits == "0" || !digits.trim_start_matches('-').starts_with('0');
        if fits && plain { Ok(()) } else { Err(NotCanonical::At(begin)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn written_records_are_canonical_and_equivalent_json_is_not() {
        for (_, body, _) in samples::chain(20) {
            assert_eq!(text(body.as_bytes()), Ok(body.as_str()));
            for at in 1..body.len() {
                for more in [" ", "\n", ",", "\\u0061", "0", "-"] {
                    if body.is_char_boundary(at) {
                        let other = format!("{}{more}{}", &body[..at], &body[at..]);
                        let same = canonical(&other);
                        assert_eq!(text(other.as_bytes()).is_ok(), same.as_deref() == Some(other.as_str()), "{other}");
                    }
                }
            }
        }
    }

    /// Produces the same form in another way; `None` where a value may not occur.
    fn canonical(text: &str) -> Option<String> {
        fn is_ours(value: &serde_json::Value) -> bool {
            match value {
                serde_json::Value::String(text) => !text.chars().any(char::is_control),
                serde_json::Value::Number(number) => number.is_i64() || number.is_u64(),
                serde_json::Value::Array(items) => items.iter().all(is_ours),
                serde_json::Value::Object(object) => object.values().all(is_ours),
                serde_json::Value::Bool(_) | serde_json::Value::Null => false,
            }
        }
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        (value.is_object() && is_ours(&value)).then(|| value.to_string())
    }

    #[test]
    fn every_other_form_is_rejected() {
        for good in
            [r#"{}"#, r#"{"a":[],"b":{},"c":[-9223372036854775808,18446744073709551615,0]}"#, r#"{"a":"\\\"ü¡¿"}"#]
        {
            assert_eq!(text(good.as_bytes()), Ok(good));
        }
        for bad in [
            "",
            "1",
            "[]",
            "{}{}",
            r#"{"b":1,"a":1}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1 }"#,
            r#"{"a":true}"#,
            r#"{"a":null}"#,
            "{\"a\":\"\u{7f}\"}",
            "{\"a\":\"\u{80}\"}",
            "{\"a\":\"\u{9f}\"}",
            r#"{"a":1.0}"#,
            r#"{"a":1e9}"#,
            r#"{"a":-0}"#,
            r#"{"a":01}"#,
            r#"{"a":-01}"#,
            r#"{"a":-}"#,
            r#"{"a":18446744073709551616}"#,
            r#"{"a":-9223372036854775809}"#,
            r#"{"a":"\n"}"#,
            r#"{"a":"\/"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":"x}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":1,}"#,
            r#"{"a"}"#,
            r#"{"a\\b":1}"#,
            r#"{"a":{"c":1,"b":2}}"#,
        ] {
            assert!(text(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(text(b"{\"a\":\"\xff\"}"), Err(NotCanonical::Text));
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(text(nested(DEPTH - 1).as_bytes()).is_ok());
        assert_eq!(text(nested(DEPTH).as_bytes()), Err(NotCanonical::Depth));
        assert_eq!(text(nested(100_000).as_bytes()), Err(NotCanonical::Depth));
    }
}
