//! What a role permits, as exact bytes with a digest: a grant names the digest of its role as it was approved. A run
//! must be allowed by that role and by the present one ([`super::Role::narrowed`]).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::command_rule::CommandRule;
use super::host::Hosts;
use super::listed::Listed;
use super::on_end::{Leftovers, OnExpiry, OnRemoval};
use super::options::Options;
use super::recording::is_default;

use super::run_as::{RunAs, RunAsGroups};
use crate::escape::hex;
use crate::names::RoleName;

/// The maximum size of a role's text in bytes.
pub(super) const POWER_LIMIT: usize = 16 << 20;

/// The part of a role that gives power: which commands may run, as which user, on which hosts, and with which options.
/// Who may use it and how it is activated are not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolePower {
    /// Whether the caller is authenticated.
    pub authenticate: bool,
    /// The rules; the last one that matches the command decides.
    pub commands: Vec<CommandRule>,
    /// The hosts on which it is valid.
    pub hosts: Listed<Hosts>,
    /// What happens to processes that a finished command left running; absent if they are ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leftovers: Leftovers,
    /// Its name.
    pub name: RoleName,
    /// Whether its commands may not execute other programs.
    pub noexec: bool,
    /// What happens to a running command when the grant expires.
    pub on_expiry: OnExpiry,
    /// What happens to a running command when its user loses the role; absent if it is ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_removal: OnRemoval,
    /// The options for its commands, without those that only concern authentication and messages.
    pub(super) options: Map<String, Value>,
    /// The users that its commands may run as.
    pub run_as: RunAs,
    /// The groups that `-g` may name.
    pub run_as_groups: RunAsGroups,
}

/// Bytes that are not a role, or not the one with this digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPower;

impl RolePower {
    /// Returns its exact bytes: compact JSON with the keys sorted at every depth.
    ///
    /// # Errors
    /// Only after a bug: every role can be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        // Through a value, whose maps are sorted.
        serde_json::to_vec(&serde_json::to_value(self)?)
    }

    /// Decodes exact bytes.
    ///
    /// # Errors
    /// For bytes that this version would not have written.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidPower> {
        if bytes.len() > POWER_LIMIT {
            return Err(InvalidPower);
        }
        let power: Self = serde_json::from_slice(bytes).map_err(|_| InvalidPower)?;
        // Each option must be known to this version, with a value that it would write.
        let known = power.options().map(|options| options.powers());
        match power.encode() {
            Ok(again) if again == bytes && known.is_some_and(|known| known == power.options) => Ok(power),
            _ => Err(InvalidPower),
        }
    }

    /// Decodes the bytes with this `digest` (lower-case hexadecimal).
    ///
    /// # Errors
    /// For other bytes, and those of [`RolePower::decode`].
    pub fn named(digest: &str, bytes: &[u8]) -> Result<Self, InvalidPower> {
        if role_digest(bytes) == digest { Self::decode(bytes) } else { Err(InvalidPower) }
    }

    /// Returns the options that differ from the built-in defaults, for display.
    pub fn changed_options(&self) -> Map<String, Value> {
        self.options().map(|options| options.changed()).unwrap_or_default()
    }

    /// Returns everything besides its commands and run-as users that differs from the built-in defaults, by the keys of
    /// the policy, for display.
    pub fn particulars(&self) -> Map<String, Value> {
        let mut particulars = self.changed_options();
        let mut add = |key: &str, is_usual: bool, value: Value| {
            if !is_usual {
                particulars.insert(key.to_owned(), value);
            }
        };
        let on_expiry = serde_json::to_value(self.on_expiry).unwrap_or_default();
        let leftovers = serde_json::to_value(self.leftovers).unwrap_or_default();
        let on_removal = serde_json::to_value(self.on_removal).unwrap_or_default();
        add("authenticate", self.authenticate, self.authenticate.into());
        add("noexec", !self.noexec, self.noexec.into());
        add("on_expiry", self.on_expiry == OnExpiry::Terminate, on_expiry);
        add("on_removal", is_default(&self.on_removal), on_removal);
        add("leftovers", is_default(&self.leftovers), leftovers);
        add("run_as_groups", self.run_as_groups.as_written().is_empty(), self.run_as_groups.as_written().into());
        add("hosts", self.hosts == Listed::only(Hosts::All), self.hosts.as_written().into());
        particulars
    }

    pub(super) fn options(&self) -> Option<Options> {
        serde_json::from_value(Value::Object(self.options.clone())).ok()
    }
}

/// Returns the SHA-256 digest of a role's exact bytes, lower-case hexadecimal.
pub fn role_digest(bytes: &[u8]) -> String {
    hex(&<[u8; 32]>::from(Sha256::digest(bytes)))
}
