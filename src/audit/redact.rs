//! Keeps secrets of the environment out of the journal: values of matching names become keyed digests, so that two
//! runs can be compared and a suspected value can be checked, but none can be read. Names are always complete.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::record::{Digest, Variable};
use crate::escape::Word;

/// The list of secret names and the key of the digests.
pub struct Redactor<'a> {
    patterns: &'a [String],
    key: [u8; 32],
}

impl<'a> Redactor<'a> {
    /// `patterns`: names of variables, upper and lower case alike, `*` stands for any text (also none).
    pub fn new(patterns: &'a [String], key: [u8; 32]) -> Self {
        Self { patterns, key }
    }

    /// The environment as a record holds it, in the same order.
    pub fn environment<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Vec<Variable> {
        variables.into_iter().map(|(name, value)| self.variable(name.as_ref(), value.as_ref())).collect()
    }

    /// One variable.
    pub fn variable(&self, name: &OsStr, value: &OsStr) -> Variable {
        let secret = self.patterns.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()));
        let (value, digest) =
            if secret { (None, Some(self.digest(value.as_bytes()))) } else { (Some(Word::from(value)), None) };
        Variable { name: Word::from(name), value, digest }
    }

    /// HMAC-SHA256 (RFC 2104) of a value.
    pub fn digest(&self, value: &[u8]) -> Digest {
        Digest(authentication_code(&self.key, value))
    }
}

fn authentication_code(key: &[u8], value: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length, so the error does not occur; were it to, no digest is better than a wrong one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(value);
    mac.finalize().into_bytes().into()
}

/// Glob with `*` only; ASCII case does not matter. Backtracks to the last star alone, so it takes at most
/// `pattern.len() * name.len()` steps.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), name.get(n)) {
            (Some(b'*'), _) => {
                star = Some((p + 1, n));
                p += 1;
            }
            (Some(wanted), Some(found)) if wanted.eq_ignore_ascii_case(found) => {
                p += 1;
                n += 1;
            }
            (None, None) => return true,
            _ => match star {
                Some((after, eaten)) if eaten < name.len() => {
                    star = Some((after, eaten + 1));
                    p = after;
                    n = eaten + 1;
                }
                _ => return false,
            },
        }
    }
}
