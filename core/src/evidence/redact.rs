//! Keeps secret environment variables out of the journal: the values of matching names become keyed digests. Two runs
//! of one user can be compared and root can check a suspected value, but no value can be read. The digest is bound to the user and
//! the name: otherwise any reader could run a command with a guess and compare. Names are always complete.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::digest::Digest;
use super::record::Variable;
use crate::escape::Word;

/// The list of secret names and the key of the digests.
pub struct Redactor<'a> {
    patterns: &'a [String],
    key: [u8; 32],
    /// The caller.
    uid: u32,
}

impl<'a> Redactor<'a> {
    /// Creates a redactor for the variables of the user `uid`. `patterns`: names of variables, ignoring case; `*` matches any text, even an empty one.
    pub fn new(patterns: &'a [String], key: [u8; 32], uid: u32) -> Self {
        Self { patterns, key, uid }
    }

    /// Returns the environment for a record, in the same order.
    pub fn environment<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Vec<Variable> {
        variables.into_iter().map(|(name, value)| self.variable(name.as_ref(), value.as_ref())).collect()
    }

    /// Returns one variable for a record.
    pub fn variable(&self, name: &OsStr, value: &OsStr) -> Variable {
        let secret = self.patterns.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()));
        let (value, digest) =
            if secret { (None, Some(self.digest(name, value))) } else { (Some(Word::from(value)), None) };
        Variable { name: Word::from(name), value, digest }
    }

    /// Returns the HMAC-SHA256 (RFC 2104) of user, name and value. A name contains neither NUL nor `=`.
    fn digest(&self, name: &OsStr, value: &OsStr) -> Digest {
        let uid = self.uid.to_string();
        let text = [uid.as_bytes(), b"\0", name.as_bytes(), b"=", value.as_bytes()].concat();
        Digest(authentication_code(&self.key, &text))
    }
}

fn authentication_code(key: &[u8], value: &[u8]) -> [u8; 32] {
    // HMAC accepts a key of any length, so this error does not occur; if it did, no digest would be better than a wrong
    // one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(value);
    mac.finalize().into_bytes().into()
}

/// Matches a glob with `*` only, ignoring ASCII case. Backtracks to the last star alone, so it takes at most
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escape::hex;

    /// RFC 4231, test cases 1, 2, 3 and 6.
    #[test]
    fn digests_are_hmac_sha256() {
        for (key, data, wanted) in [
            (vec![0x0b; 20], b"Hi There".to_vec(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (vec![0xaa; 20], vec![0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&authentication_code(&key, &data)), wanted);
        }
    }

    #[test]
    fn secret_values_become_digests_and_the_order_is_kept() {
        let patterns = ["*_TOKEN".to_owned(), "*secret*".to_owned()];
        let redactor = Redactor::new(&patterns, [1; 32], 7);
        let variables =
            redactor.environment([("API_TOKEN", "t0p"), ("HOME", "/root"), ("MySecrets", "t0p"), ("TOKEN", "x")]);
        let shown: Vec<_> = variables.iter().map(|v| (v.name.to_string(), v.value.is_some())).collect();
        let wanted = [("API_TOKEN", false), ("HOME", true), ("MySecrets", false), ("TOKEN", true)];
        assert_eq!(shown, wanted.map(|(name, value)| (name.to_owned(), value)));
        assert_ne!(variables[0].digest, variables[2].digest, "another name");
        let by = |redactor: Redactor<'_>| redactor.variable("API_TOKEN".as_ref(), "t0p".as_ref()).digest;
        assert_eq!(variables[0].digest, by(Redactor::new(&patterns, [1; 32], 7)));
        assert_ne!(variables[0].digest, by(Redactor::new(&patterns, [1; 32], 8)), "another user");
        assert_ne!(variables[0].digest, by(Redactor::new(&patterns, [2; 32], 7)), "another key");
        let text = b"7\0API_TOKEN=t0p";
        assert_eq!(variables[0].digest, Some(Digest(authentication_code(&[1; 32], text))));
        assert!(!serde_json::to_string(&variables).unwrap().contains("t0p"));
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, wanted) in [
            ("*", "", true),
            ("", "", true),
            ("", "A", false),
            ("A", "a", true),
            ("*_KEY", "SSH_KEY", true),
            ("*_KEY", "SSH_KEYS", false),
            ("*A*B*", "xAxxBx", true),
            ("*A*B*", "xBxxAx", false),
            ("A*A", "A", false),
            ("A*A", "AA", true),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), wanted, "{pattern} {name}");
        }
        assert!(matches(b"*TOKEN", b"\xff\x00TOKEN"));
    }

    #[test]
    fn matching_hostile_names_takes_bounded_time() {
        let name = "a".repeat(100_000);
        let begun = std::time::Instant::now();
        assert!(!matches(b"*a*a*a*a*a*a*a*b", name.as_bytes()));
        assert!(begun.elapsed().as_secs() < 2);
    }
}
