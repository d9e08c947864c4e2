//! The policy: what its files say, checked when they are read, and what it answers. Opens no file, asks no account
//! database and grants nothing: an answer is the policy's opinion, not an authorization.

mod arguments;
#[cfg(feature = "policy-text")]
mod audit_file;
#[cfg(feature = "policy-text")]
mod cause;
mod change;
mod command_rule;
pub mod compiled;
mod digest;
mod environment;
mod error;
mod evaluate;
mod expression;
#[cfg(feature = "policy-text")]
mod file;
mod glob;
mod host;
mod listed;
mod lookup;
mod meet;
mod options;
mod pattern;
mod power;
mod principal;
mod reader;
mod recording;
mod role;
#[cfg(feature = "policy-text")]
mod role_file;
#[cfg(feature = "policy-text")]
mod rule_table;
mod run_as;
mod settings;
pub mod stored;
#[cfg(feature = "policy-text")]
mod table;
mod warning;

use std::path::PathBuf;

pub use change::{
    Became, Digests, FileEntry, LISTED, Names, PolicyChange, RoleDigests, Roles, SourceFile, Stored, digest_of,
    policy_digest,
};
pub use command_rule::{Algorithm, CommandRule, EDIT, Effect};
pub use environment::{EnvironmentOptions, VariableRules};
pub use error::PolicyError;
pub use evaluate::{Decision, Evaluated, decide, with};
pub use host::Hosts;
pub use listed::{Entry, Line, Listed, Side};
pub use lookup::{Address, FileId, Lookup, NOWHERE, ProgramNames};
pub use options::{Lecture, Options, RESOURCES, Rlimit, RunDirectory, TimestampType, UNTIL_REBOOT, Umask};
pub use pattern::{WordPattern, name_matches};
pub use power::{InvalidPower, Narrowed, Origin, RolePower, role_digest};
pub use principal::{People, Principal, Subject};
pub use reader::{PolicyReader, PolicyWords};
pub use recording::{Record, Recording, RecordingMode, RecordingSettings};
pub use role::{
    Activation, Answer, Assignment, LONGEST_TICKET, Leftovers, OnExpiry, OnRemoval, Question, Role, Source,
    TicketPattern,
};
pub use run_as::{Groups, RunAs, RunAsGroup, RunAsGroups, RunAsUser, Target};
pub use settings::{AuditSettings, JsonFile, Settings, SyslogMode};
pub use stored::{StoredRole, row_digest, settings_digest, stamp_seal};

/// A policy file as it was read.
#[derive(Debug, Clone)]
pub struct PolicyText {
    /// Where it was; shown in errors.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// A policy without mistakes.
#[derive(Debug, Clone)]
pub struct Policy {
    settings: Settings,
    roles: Vec<Role>,
}

impl Policy {
    /// Reads the files in their order; `[defaults]` and `[audit]` hold for all of them, wherever they stand. Without
    /// files or roles nobody may do anything.
    #[cfg(feature = "policy-text")]
    pub fn parse(files: &[PolicyText]) -> Result<Self, PolicyError> {
        let (settings, roles) = file::read(files)?;
        Ok(Self { settings, roles })
    }

    /// A policy that says nothing: nobody may do anything.
    pub fn nothing() -> Self {
        Self { settings: Settings::default(), roles: Vec::new() }
    }

    /// What holds for the whole host.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The roles in the order in which they stand in the files.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// How many command rules the roles have together.
    pub fn rule_count(&self) -> usize {
        self.roles.iter().map(|role| role.commands.len()).sum()
    }

    /// What is allowed but unwise, one line each, with file and line.
    pub fn warnings(&self) -> Vec<String> {
        warning::of(&self.settings, &self.roles)
    }
}

#[cfg(test)]
mod tests;
