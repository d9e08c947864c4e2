//! Ids, names and digests in a short form, because there is one of each for each request in the journal.

use std::collections::HashMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::names::ID_LENGTH;

/// The id of a request and its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id([u8; ID_LENGTH]);

impl Id {
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(Self)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Returns the SHA-256 digest.
pub(super) fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Formats a digest as hexadecimal, or `(none)` for other bytes.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    <[u8; 32]>::try_from(bytes).map_or_else(|_| "(none)".to_owned(), |digest| crate::escape::hex(&digest))
}

/// Names of users and fingerprints of keys, each stored once: there are few.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Box<[u8]>, u32>,
    names: Vec<Box<[u8]>>,
}

impl Names {
    pub(super) const NOBODY: u32 = u32::MAX;

    pub(super) fn of(&mut self, name: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(Self::NOBODY);
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        number
    }

    pub(super) fn name(&self, number: u32) -> &[u8] {
        usize::try_from(number).ok().and_then(|number| self.names.get(number)).map_or(b"", |name| name)
    }
}

/// The user, run-as user, role and validity of a grant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) uid: i64,
    pub(super) user: u32,
    pub(super) role: u32,
    pub(super) run_as: u32,
    /// Seconds since 1970.
    pub(super) starts: i64,
    /// Seconds since 1970.
    pub(super) expires: i64,
    pub(super) one_shot: bool,
    pub(super) extends: Option<Id>,
}

impl Terms {
    /// Returns what an extension has in common with the grant that it extends.
    pub(super) fn holder(&self) -> (i64, u32, u32, u32) {
        (self.uid, self.user, self.role, self.run_as)
    }
}
