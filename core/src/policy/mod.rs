//! The policy: parses its files with all checks, and answers questions. Opens no file, asks no account database and
//! grants nothing: an answer is not an authorization.

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
mod narrowed;
mod on_end;
mod options;
mod pattern;
mod power;
mod principal;
mod program_path;
mod reader;
mod recording;
mod role;
#[cfg(feature = "policy-text")]
mod role_file;
#[cfg(feature = "policy-text")]
mod rule_table;
mod run_as;
mod settings;
mod source;
pub mod stored;
#[cfg(feature = "policy-text")]
mod table;
mod ticket_example;
mod warning;

use std::path::PathBuf;

pub use change::{
    Became, Digests, FileEntry, LISTED, Names, PolicyChange, RoleDigests, Roles, SourceFile, Stored, digest_of,
    policy_digest,
};
pub use command_rule::{Algorithm, CommandRule};
pub use environment::{EnvironmentOptions, VariableRules};
pub use error::PolicyError;
pub use evaluate::{Decision, Evaluated, decide, with};
pub use host::Hosts;
pub use listed::{Entry, Line, Listed, Side};
pub use lookup::{Address, FileId, Lookup, NOWHERE, ProgramNames};
pub use narrowed::Narrowed;
pub use on_end::{Leftovers, OnExpiry, OnRemoval};
pub use options::{Lecture, Options, RESOURCES, Rlimit, RunDirectory, TimestampType, UNTIL_REBOOT, Umask};
pub use pattern::{WordPattern, name_matches};
pub use power::{InvalidPower, RolePower, role_digest};
pub use principal::{People, Principal, Subject};
pub use program_path::{EDIT, Effect};
pub use reader::{PolicyReader, PolicyWords};
pub use recording::{Record, Recording, RecordingMode, RecordingSettings};
pub use role::{Activation, Answer, Assignment, LONGEST_TICKET, Origin, Question, Role, TicketPattern};
pub use run_as::{Groups, RunAs, RunAsGroup, RunAsGroups, RunAsUser, Target};
pub use settings::{AuditSettings, EPOCH, JsonFile, Settings, SyslogFormat, SyslogMode};
pub use source::Source;
pub use stored::{StoredRole, row_digest, settings_digest, stamp_seal};

/// A policy file as it was read.
#[derive(Debug, Clone)]
pub struct PolicyText {
    /// Its path, for errors.
    pub path: PathBuf,
    /// Its contents.
    pub text: String,
}

/// A valid policy.
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

    /// Returns an empty policy, which denies everything.
    pub fn nothing() -> Self {
        Self { settings: Settings::default(), roles: Vec::new() }
    }

    /// Returns the settings of the whole host.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the roles in the order of the files.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// Returns the number of command rules in all roles.
    pub fn rule_count(&self) -> usize {
        self.roles.iter().map(|role| role.commands.len()).sum()
    }

    /// Returns warnings about what is valid but unwise, one line each, with file and line.
    pub fn warnings(&self) -> Vec<String> {
        warning::of(&self.settings, &self.roles)
    }
}

#[cfg(test)]
mod tests;
