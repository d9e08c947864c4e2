//! Helpers for the fuzz targets. A target reads bytes as the product does, and asserts what the product promises about
//! them.

pub mod cast;
pub mod glob;
pub mod screen;
pub mod shell;

use std::fmt::{Debug, Display};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Checks that a text for display contains nothing that acts on a terminal.
pub fn shown(text: impl Display) {
    let text = text.to_string();
    assert!(!text.chars().any(char::is_control), "a control character is shown: {text:?}");
}

/// Checks the same for a text of several lines.
pub fn shown_lines(text: &str) {
    text.split('\n').for_each(shown);
}

/// Checks that a value that is read from JSON is the same after it is written and read again.
pub fn json_comes_back<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return };
    let text = serde_json::to_string(&value).expect("what was read is written");
    let again: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(serde_json::to_string(&again).expect("it was written before"), text);
}

/// Checks that accepted bytes are the only form of their value: it is encoded as exactly these bytes, and nothing may
/// follow them.
pub fn exact<T, E: Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Option<T> {
    let value = decode(bytes).ok()?;
    let again = encode(&value);
    assert_eq!(again, bytes, "accepted as {:?}", String::from_utf8_lossy(&again));
    for byte in [b' ', b'\n', 0, b'}', b'x'] {
        assert!(decode(&[bytes, &[byte]].concat()).is_err(), "byte {byte} may follow");
    }
    Some(value)
}

/// Returns where an input is split in two; every position is possible.
pub fn cut(length: usize, seed: u8) -> usize {
    usize::from(seed) % (length + 1)
}
