//! What stands in a row of the compiled policy: its digests, and whom it names. Whoever verifies a database compares rows with
//! records by these.
//! May not: need SQLite, a privilege or a clock.

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::principal::{People, Principal};
use super::role::{Assignment, Source};
use crate::escape::{hex, unhex};

/// A role as its row has it, with what follows from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRole {
    /// By which records tell it from another: SHA-256 of its name, a NUL byte and its bytes without its place in the files,
    /// which moves with every line above it.
    pub digest: [u8; 32],
    /// The digest of its [`RolePower`](super::RolePower).
    pub power: Option<[u8; 32]>,
    /// The rows by which it is found: principal and kind, each once.
    pub principals: Vec<(String, &'static str)>,
}

/// What of a role matters here.
#[derive(Deserialize)]
struct Inside {
    eligible: People,
    standing: People,
    source: Source,
    digest: String,
}

impl StoredRole {
    /// Of the role `name` with these bytes; nothing where they are no role.
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

/// What a role is told from another by, in records: see [`StoredRole::digest`]. Nothing where `source` is not in it.
pub fn role_digest(name: &str, body: &[u8], source: &Source) -> Option<[u8; 32]> {
    // Taken out of what is written anyway: written anew without it, 100,000 roles would take twice as long. No text holds
    // such bytes, because a quote in it is escaped.
    let place = [b",\"source\":", serde_json::to_vec(source).ok()?.as_slice()].concat();
    let at = body.windows(place.len()).rposition(|part| part == place)?;
    let (before, behind) = body.split_at_checked(at)?;
    let hash = begun(name).chain_update(before).chain_update(behind.strip_prefix(place.as_slice())?);
    Some(hash.finalize().into())
}

/// The digest of a row. The name is part of what is digested, so that two rows cannot change places.
pub fn row_digest(name: &str, body: &[u8]) -> [u8; 32] {
    begun(name).chain_update(body).finalize().into()
}

/// The digest of the row of the settings: that of the policy is part of what is digested.
pub fn settings_digest(policy: &[u8; 32], body: &[u8]) -> [u8; 32] {
    row_digest(&settings_name(policy), body)
}

/// Binds what tells whether the compiled policy is that of the files to what was compiled: HMAC-SHA256 under the journal's key.
/// A stamp that was written by anybody else is not believed.
pub fn stamp_seal(key: &[u8], policy: &[u8; 32], settings: &[u8], format: &str, stamp: &str) -> [u8; 32] {
    // HMAC takes a key of any length, so the error does not occur; were it to, no stamp would be believed.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    let settings: [u8; 32] = settings.try_into().unwrap_or_default();
    mac.update(format!("policy {} {} {format}\n{stamp}", hex(policy), hex(&settings)).as_bytes());
    mac.finalize().into_bytes().into()
}

/// As what the settings of this policy are digested.
pub fn settings_name(policy: &[u8; 32]) -> String {
    format!("settings of {}", hex(policy))
}

/// The word of the column.
pub fn kind(assignment: Assignment) -> &'static str {
    match assignment {
        Assignment::Standing => "standing",
        Assignment::Eligible => "eligible",
    }
}

fn begun(name: &str) -> Sha256 {
    Sha256::new().chain_update(name.as_bytes()).chain_update([0])
}
