//! What a role gives power to, as exact bytes with a digest: a grant names the digest of its role as it was approved. A
//! run needs what both that role and the present one allow ([`Role::narrowed`]).

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::command_rule::{CommandRule, Effect};
use super::host::Hosts;
use super::listed::Listed;
use super::meet::meet;
use super::options::Options;
use super::recording::is_default;
use super::role::{Leftovers, OnExpiry, Role};
use super::run_as::{RunAs, RunAsGroups};
use crate::escape::hex;
use crate::names::RoleName;

/// The longest role text in bytes.
pub(super) const POWER_LIMIT: usize = 16 << 20;

/// The part of a role that gives power: what may be run, as whom, where, and under which options. Who may have it and on
/// what terms is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolePower {
    /// Whether the caller is authenticated.
    pub authenticate: bool,
    /// The rules; the last one that means the command decides.
    pub commands: Vec<CommandRule>,
    /// The hosts on which it means something.
    pub hosts: Listed<Hosts>,
    /// What becomes of what a finished command left running; absent where it is ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leftovers: Leftovers,
    /// Its name.
    pub name: RoleName,
    /// Whether its commands may execute no other program.
    pub noexec: bool,
    /// What becomes of a running command when the grant expires.
    pub on_expiry: OnExpiry,
    /// How its commands are run; what concerns authentication and speech alone is left out.
    options: Map<String, Value>,
    /// As whom its commands may run.
    pub run_as: RunAs,
    /// Which groups `-g` may name.
    pub run_as_groups: RunAsGroups,
}

/// Bytes that are no role, or not the one that their digest names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPower;

impl RolePower {
    /// That of a role.
    pub fn of(role: &Role) -> Self {
        Self {
            authenticate: role.authenticate,
            commands: role.commands.clone(),
            hosts: role.hosts.clone(),
            leftovers: role.leftovers,
            name: role.name.clone(),
            noexec: role.noexec,
            on_expiry: role.on_expiry,
            options: role.options.powers(),
            run_as: role.run_as.clone(),
            run_as_groups: role.run_as_groups.clone(),
        }
    }

    /// Its exact bytes: compact JSON with the keys sorted at every depth.
    ///
    /// # Errors
    /// A bug: there is no role that cannot be written down.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        // By way of a value, whose maps are sorted.
        serde_json::to_vec(&serde_json::to_value(self)?)
    }

    /// Reads exact bytes.
    ///
    /// # Errors
    /// Bytes that this version would not have written itself.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidPower> {
        if bytes.len() > POWER_LIMIT {
            return Err(InvalidPower);
        }
        let power: Self = serde_json::from_slice(bytes).map_err(|_| InvalidPower)?;
        // Each option is one that this version knows, with a value that it would write.
        let known = power.options().map(|options| options.powers());
        match power.encode() {
            Ok(again) if again == bytes && known.is_some_and(|known| known == power.options) => Ok(power),
            _ => Err(InvalidPower),
        }
    }

    /// Reads the bytes that `digest` (lower-case hexadecimal) names.
    ///
    /// # Errors
    /// Other bytes, or what [`RolePower::decode`] refuses.
    pub fn named(digest: &str, bytes: &[u8]) -> Result<Self, InvalidPower> {
        if role_digest(bytes) == digest { Self::decode(bytes) } else { Err(InvalidPower) }
    }

    /// The options that differ from those that hold when nobody says anything, for people.
    pub fn changed_options(&self) -> Map<String, Value> {
        self.options().map(|options| options.changed()).unwrap_or_default()
    }

    /// Everything besides its commands and its run-as users that is not as when nobody says anything, by the keys of the policy,
    /// for people.
    pub fn particulars(&self) -> Map<String, Value> {
        let mut particulars = self.changed_options();
        let mut add = |key: &str, is_usual: bool, value: Value| {
            if !is_usual {
                particulars.insert(key.to_owned(), value);
            }
        };
        let on_expiry = serde_json::to_value(self.on_expiry).unwrap_or_default();
        let leftovers = serde_json::to_value(self.leftovers).unwrap_or_default();
        add("authenticate", self.authenticate, self.authenticate.into());
        add("noexec", !self.noexec, self.noexec.into());
        add("on_expiry", self.on_expiry == OnExpiry::Terminate, on_expiry);
        add("leftovers", is_default(&self.leftovers), leftovers);
        add("run_as_groups", self.run_as_groups.as_written().is_empty(), self.run_as_groups.as_written().into());
        add("hosts", self.hosts == Listed::only(Hosts::All), self.hosts.as_written().into());
        particulars
    }

    /// The present role with the power that it had then.
    fn over(&self, present: &Role) -> Option<Role> {
        Some(Role {
            authenticate: self.authenticate,
            commands: self.commands.clone(),
            hosts: self.hosts.clone(),
            leftovers: self.leftovers,
            name: self.name.clone(),
            noexec: self.noexec,
            on_expiry: self.on_expiry,
            options: Rc::new(self.options()?),
            run_as: self.run_as.clone(),
            run_as_groups: self.run_as_groups.clone(),
            ..present.clone()
        })
    }

    fn options(&self) -> Option<Options> {
        serde_json::from_value(Value::Object(self.options.clone())).ok()
    }
}

/// SHA-256 of a role's exact bytes, lower-case hexadecimal.
pub fn role_digest(bytes: &[u8]) -> String {
    hex(&<[u8; 32]>::from(Sha256::digest(bytes)))
}

/// Of what a narrowed role is the common part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The role as the policy says it, which its digest names.
    pub present: Role,
    /// As it was approved.
    pub approved: Role,
}

/// A role as it was approved and as it is, with what both allow.
pub struct Narrowed {
    /// As it was approved: it has to allow the command as well.
    pub approved: Role,
    /// What a command that both allow runs under: of each option the narrower.
    pub both: Role,
}

impl Narrowed {
    /// What both roles allow, in their own words, for people; `None` where no rule or no user of theirs can say it.
    pub fn in_common(&self) -> Option<Role> {
        let Origin { present, approved } = self.both.narrowed_from.as_deref()?;
        let mut common = Role {
            commands: meet(&present.commands, &approved.commands),
            run_as: present.run_as.met(&approved.run_as),
            run_as_groups: present.run_as_groups.met(&approved.run_as_groups),
            ..self.both.clone()
        };
        let unsaid = [approved, present].iter().all(|role| role.options.setenv.is_none());
        if unsaid && common.options.setenv == Some(common.allows_everything()) {
            common.options = Rc::new(Options { setenv: None, ..Options::clone(&common.options) });
        }
        let allows = common.commands.iter().any(|rule| rule.effect() == Effect::Allow);
        (allows && !common.run_as.names_nobody()).then_some(common)
    }
}

impl Role {
    /// This role, and what is left of it beside the power that `approved` had; `None` where two options leave nothing in
    /// common.
    pub fn narrowed(&self, approved: &RolePower) -> Option<Narrowed> {
        let approved = approved.over(self)?;
        let setenv = self.lets_set_variables() && approved.lets_set_variables();
        let options = Options { setenv: Some(setenv), ..self.options.narrowed(&approved.options)? };
        // Whether every command is allowed is asked of the rules; that the command passes both was checked before.
        let rules = if self.allows_everything() { &approved.commands } else { &self.commands };
        let both = Role {
            authenticate: self.authenticate || approved.authenticate,
            commands: rules.clone(),
            noexec: self.noexec || approved.noexec,
            leftovers: self.leftovers.narrower(approved.leftovers),
            on_expiry: self.on_expiry.narrower(approved.on_expiry),
            options: Rc::new(options),
            narrowed_from: Some(Rc::new(Origin { present: self.clone(), approved: approved.clone() })),
            ..self.clone()
        };
        Some(Narrowed { approved, both })
    }
}

#[cfg(test)]
mod tests;
