//! The digest of a program in a rule. Opens no program; the caller does.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

/// The SHA-2 algorithms (FIPS 180-4) of sudoers(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// 28 bytes.
    Sha224,
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl Algorithm {
    /// The number of algorithms.
    pub(super) const COUNT: usize = 4;

    const ALL: [(Self, &'static str, usize); Self::COUNT] = [
        (Self::Sha224, "sha224", 28),
        (Self::Sha256, "sha256", 32),
        (Self::Sha384, "sha384", 48),
        (Self::Sha512, "sha512", 64),
    ];

    /// Returns the digest of these bytes.
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha224 => Sha224::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// A digest written as `sha512:` and hexadecimal digits; lower-case as text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Digest {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl Digest {
    /// Parses a digest; the error is a sentence fragment.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let form = || "must be such as \"sha256:\" and 64 hexadecimal digits, or sha224, sha384, sha512".to_owned();
        let (name, digits) = text.split_once(':').ok_or_else(form)?;
        let (algorithm, name, length) = Algorithm::ALL.into_iter().find(|known| known.1 == name).ok_or_else(form)?;
        let bytes = unhex(digits).filter(|bytes| bytes.len() == length);
        let bytes = bytes.ok_or_else(|| format!("{name} is not {} hexadecimal digits", length * 2))?;
        Ok(Self { algorithm, bytes })
    }

    /// Returns whether `known` returns this digest for its algorithm; `None` if that is unknown.
    pub(super) fn is(&self, known: &dyn Fn(Algorithm) -> Option<Vec<u8>>) -> Option<bool> {
        known(self.algorithm).map(|found| found == self.bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Algorithm::ALL.iter().find(|known| known.0 == self.algorithm).map_or("", |known| known.1);
        write!(f, "{name}:")?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_the_length_of_its_algorithm() {
        for (name, length) in [("sha224", 56), ("sha256", 64), ("sha384", 96), ("sha512", 128)] {
            let text = format!("{name}:{}", "aB".repeat(length / 2));
            assert_eq!(Digest::read(&text).unwrap().to_string(), text.to_lowercase());
            for wrong in [format!("{name}:{}", "a".repeat(length - 1)), format!("{name}:{}", "g".repeat(length))] {
                assert!(Digest::read(&wrong).is_err(), "{wrong}");
            }
        }
        for wrong in ["", "sha256", "md5:00", &"0".repeat(64)] {
            assert!(Digest::read(wrong).is_err(), "{wrong}");
        }
    }
}
