//! Determines the length of a word, and its text without backslashes.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) fn run(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| wanted(**byte)).count()
}

pub(super) fn blanks(bytes: &[u8]) -> usize {
    run(bytes, |byte| matches!(byte, b' ' | b'\t'))
}

pub(super) fn line_break(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

/// Returns the length of a backslash, blanks and a line break.
pub(super) fn escaped_break(bytes: &[u8]) -> Option<usize> {
    let after = bytes.strip_prefix(b"\\")?;
    let gap = blanks(after);
    line_break(after.get(gap..)?).map(|length| 1 + gap + length)
}

/// Returns the length of characters of a class, and of backslashes followed by any of another class.
pub(super) fn escaped_run(bytes: &[u8], plain: impl Fn(u8) -> bool, escaped: impl Fn(u8) -> bool) -> usize {
    let mut length = 0;
    loop {
        match bytes.get(length..).unwrap_or_default() {
            [b'\\', next, ..] if escaped(*next) => length += 2,
            [byte, ..] if plain(*byte) => length += 1,
            _ => return length,
        }
    }
}

pub(super) fn word(text: &str) -> usize {
    escaped_run(text.as_bytes(), |byte| !b"#>!=:,() \t\r\n\\\"".contains(&byte), |byte| !matches!(byte, b'\t' | b'\n'))
}

/// Returns the length of `#uid`.
pub(super) fn id(text: &str) -> usize {
    let Some(digits) = text.strip_prefix('#') else { return 0 };
    let minus = usize::from(digits.starts_with('-'));
    match run(digits.as_bytes().get(minus..).unwrap_or_default(), |byte| byte.is_ascii_digit()) {
        0 => 0,
        count => 1 + minus + count,
    }
}

pub(super) fn path(bytes: &[u8]) -> usize {
    let Some(after) = bytes.strip_prefix(b"/") else { return 0 };
    let length = escaped_run(
        after,
        |byte| !b",:=\\ \t\r\n#".contains(&byte),
        |byte| matches!(byte, b',' | b':' | b'=' | b' ' | b'\t' | b'#'),
    );
    // A path needs something after its first slash.
    if length == 0 { 0 } else { length + 1 }
}

/// Returns the length from `^` to the last `$` that may end it.
pub(super) fn regex(bytes: &[u8]) -> usize {
    if bytes.first() != Some(&b'^') {
        return 0;
    }
    let mut found = 0;
    let mut previous = b'^';
    for (index, byte) in bytes.iter().enumerate().skip(1) {
        let escaped = previous == b'\\';
        match byte {
            b'\r' | b'\n' => break,
            b'#' if !escaped => break,
            b'$' => {
                found = index + 1;
                if !escaped {
                    break;
                }
            }
            _ => {}
        }
        previous = *byte;
    }
    found
}

pub(super) fn capitals(bytes: &[u8]) -> usize {
    if bytes.first().is_some_and(u8::is_ascii_uppercase) {
        run(bytes, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    } else {
        0
    }
}

pub(super) fn defaults_value(bytes: &[u8]) -> usize {
    let escaped = |byte: u8| !matches!(byte, b'\r' | b'\n');
    let first = escaped_run(bytes.get(..2).unwrap_or(bytes), |byte| !b"#!=, \t\r\n\\\"".contains(&byte), escaped);
    if first == 0 {
        return 0;
    }
    escaped_run(bytes, |byte| !b"#=, \t\r\n\\\"".contains(&byte), escaped)
}

/// Returns the length of the longest address or network at the beginning.
pub(super) fn network(text: &str) -> usize {
    let most = run(text.as_bytes(), |byte| byte.is_ascii_hexdigit() || b".:/".contains(&byte)).min(100);
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_hexdigit() || byte == b':');
    if !begins {
        return 0;
    }
    (1..=most).rev().find(|length| text.get(..*length).is_some_and(is_network)).unwrap_or(0)
}

pub(super) fn is_network(text: &str) -> bool {
    let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
    let bits = |most: u32| mask.is_some_and(|mask| mask.parse().is_ok_and(|bits: u32| bits <= most));
    if address.parse::<Ipv4Addr>().is_ok() {
        return mask.is_none_or(|mask| mask.parse::<Ipv4Addr>().is_ok() || bits(32));
    }
    address.parse::<Ipv6Addr>().is_ok() && mask.is_none_or(|mask| mask.parse::<Ipv6Addr>().is_ok() || bits(128))
}

/// Removes backslashes, and decodes `\xHH` for ASCII.
pub(super) fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
        if character != '\\' || rest.is_empty() {
            plain.push(character);
            continue;
        }
        let hex = rest.strip_prefix('x').and_then(|digits| digits.get(..2)).filter(|digits| digits.is_ascii());
        let decoded =
            hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|byte| byte.is_ascii() && *byte > 0);
        match decoded {
            Some(byte) => {
                plain.push(char::from(byte));
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                plain.extend(rest.chars().next());
                rest = rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
            }
        }
    }
    plain
}

/// Returns an expression unchanged, and a path without the backslashes before characters that are special in sudoers.
pub(super) fn program_name(text: &str) -> String {
    if text.starts_with('^') {
        return text.to_owned();
    }
    let mut name = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match characters.peek() {
            Some(',' | ':' | '=' | ' ' | '\t' | '#') if character == '\\' => name.extend(characters.next()),
            _ => name.push(character),
        }
    }
    if name.ends_with("/sudoedit") { "sudoedit".to_owned() } else { name }
}

/// Decodes a digest in base64, with padding or without (sudo's `base64_decode`), to hexadecimal digits.
pub(super) fn hex_of_base64(text: &str, length: usize) -> Option<String> {
    use base64ct::{Base64, Base64Unpadded, Encoding};
    let bytes = if text.ends_with('=') { Base64::decode_vec(text) } else { Base64Unpadded::decode_vec(text) }.ok()?;
    (bytes.len() == length).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
