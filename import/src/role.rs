//! A role to be written.

use std::collections::BTreeSet;

use super::command::{Effect, Rule};
use super::terms::Terms;
use super::tree::Position;

/// A role to be written.
#[derive(Debug, Clone, Default)]
pub(super) struct Role {
    /// The positions of its rules.
    pub(super) places: Vec<Position>,
    /// What its users are called.
    pub(super) name: String,
    /// The alias that all its commands are from.
    pub(super) from_alias: Option<String>,
    pub(super) users: Vec<String>,
    pub(super) hosts: Vec<String>,
    pub(super) run_as: Vec<String>,
    pub(super) run_as_groups: Vec<String>,
    /// `None` for a role that only denies, which combines with any.
    pub(super) terms: Option<Terms>,
    pub(super) commands: Vec<Rule>,
    /// Keys that a tag has set, which no Defaults line overrides.
    pub(super) tagged: BTreeSet<String>,
}

impl Role {
    /// Returns whether a rule denies.
    pub(super) fn refuses(&self) -> bool {
        self.commands.iter().any(|rule| rule.effect == Effect::Deny)
    }
}

/// The maximum number of roles from one sudoers file.
pub(super) const MOST_ROLES: usize = 100_000;
