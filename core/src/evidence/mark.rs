//! A position in the journal, as stored in separate files.

use std::fmt;

use super::digest::Digest;
use crate::escape::unhex;

/// Number and hash of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
}

impl Mark {
    /// The length of a mark in a file: twenty digits, a space, 64 hexadecimal digits and a newline. The length is
    /// fixed, so that one write replaces it whole.
    pub const LENGTH: usize = 86;

    /// Parses the output of `Display` with its newline; nothing else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() == Self::LENGTH)?;
        let (seq, hash) = text.strip_suffix('\n')?.split_once(' ')?;
        let mark = Self { seq: seq.parse().ok()?, hash: Digest(unhex(hash)?) };
        (mark.to_string() == text.trim_end()).then_some(mark)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020} {}", self.seq, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_round_trips_and_other_bytes_are_rejected() {
        for seq in [0, 7, u64::MAX] {
            let mark = Mark { seq, hash: Digest([seq.to_le_bytes()[0]; 32]) };
            let text = format!("{mark}\n");
            assert_eq!(text.len(), Mark::LENGTH);
            assert_eq!(Mark::parse(text.as_bytes()), Some(mark));
            for damaged in ["", &text[1..], &text[..85], &text.replace('0', "x"), &text.replace(' ', "\0")] {
                assert_eq!(Mark::parse(damaged.as_bytes()), None, "{damaged:?}");
            }
        }
    }

    #[test]
    fn a_sign_is_no_digit_of_a_mark() {
        let text = format!("{}\n", Mark { seq: 9, hash: Digest::ZERO });
        assert_eq!(Mark::parse(text.replacen('0', "+", 1).as_bytes()), None);
    }
}
