//! The contents of rows of the compiled policy: their digests, and the users that they name. Verification compares rows
//! with records by them. This module needs no SQLite, no privilege and no clock.

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::principal::{People, Principal};
use super::role::Assignment;
use super::source::Source;
use crate::escape::{hex, unhex};

/// A role as its row contains it, with what follows from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRole {
    /// The digest with which records identify it: SHA-256 of its name, a NUL byte and its bytes without its position in
    /// the files, which changes with every line above it.
    pub digest: [u8; 32],
    /// The digest of its [`RolePower`](super::RolePower).
    pub power: Option<[u8; 32]>,
    /// The rows by which it is looked up: principal and kind, each once.
    pub principals: Vec<(String, &'static str)>,
}

/// The parts of a role that are needed here.
#[derive(Deserialize)]
struct Inside {
    eligible: People,
    standing: People,
    source: Source,
    digest: String,
}

impl StoredRole {
    /// Parses the role `name` with these bytes; `None` if they are not a role.
    pub fn of(name: &str, body: &[u8]) -> Option<Self> {
        let inside: Inside = serde_json::from_slice(body).ok()?;
        let people = [(Assignment::Standing, &inside.standing), (Assignment::Eligible, &inside.eligible)];
        let named =
            people.into_iter().flat_map(|(assignment, people)| people.named().map(move |who| (who, assignment)));
        let mut principals: Vec<_> = named.map(|(who, assignment)| (Principal::key(who), kind(assignment))).collect();
        principals.sort_unstable();
        principals.dedup();
        Some(Self { digest: role_digest(name, body, &inside.source)?, power: unhex(&inside.digest), principals })
    }
}

/// Returns the digest with which records identify a role: see [`StoredRole::digest`]. `None` if `source` is not in it.
pub fn role_digest(name: &str, body: &[u8], source: &Source) -> Option<[u8; 32]> {
    // Cut out of the encoded bytes: encoding 100,000 roles again without it would take twice as long. No text contains
    // these bytes, because a quote in it is escaped.
    let place = [b",\"source\":", serde_json::to_vec(source).ok()?.as_slice()].concat();
    let at = body.windows(place.len()).rposition(|part| part == place)?;
    let (before, behind) = body.split_at_checked(at)?;
    let hash = begun(name).chain_update(before).chain_update(behind.strip_prefix(place.as_slice())?);
    Some(hash.finalize().into())
}

/// Returns the digest of a row. It covers the name, so that two rows cannot be exchanged.
pub fn row_digest(name: &str, body: &[u8]) -> [u8; 32] {
    begun(name).chain_update(body).finalize().into()
}

/// Returns the digest of the row of the settings; it covers the digest of the policy.
pub fn settings_digest(policy: &[u8; 32], body: &[u8]) -> [u8; 32] {
    row_digest(&settings_name(policy), body)
}

/// Binds the stamp, which tells whether the compiled policy is that of the files, to what was compiled: HMAC-SHA256
/// with the journal's key. So a stamp that another program wrote is not accepted.
pub fn stamp_seal(key: &[u8], policy: &[u8; 32], settings: &[u8], format: &str, stamp: &str) -> [u8; 32] {
    // HMAC accepts a key of any length, so this error does not occur; if it did, no stamp would be accepted.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    let settings: [u8; 32] = settings.try_into().unwrap_or_default();
    mac.update(format!("policy {} {} {format}\n{stamp}", hex(policy), hex(&settings)).as_bytes());
    mac.finalize().into_bytes().into()
}

/// Returns the name under which the settings of this policy are digested.
pub fn settings_name(policy: &[u8; 32]) -> String {
    format!("settings of {}", hex(policy))
}

/// Returns the value of the column.
pub fn kind(assignment: Assignment) -> &'static str {
    match assignment {
        Assignment::Standing => "standing",
        Assignment::Eligible => "eligible",
    }
}

fn begun(name: &str) -> Sha256 {
    Sha256::new().chain_update(name.as_bytes()).chain_update([0])
}
