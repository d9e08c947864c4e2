//! The policy's rules for recordings: which sessions of a role are recorded, who may watch them, and what happens on
//! this host when a recording cannot be written.

use serde::{Deserialize, Serialize};

use super::principal::Principal;
use crate::budget::{RECORDINGS, Storage};

/// How the sessions of a role are recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recording {
    /// Which sessions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub record: Record,
    /// Whether input is recorded too, while the terminal echoes it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub input: bool,
    /// The users who may watch a session while it runs, besides root and the audit readers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub observers: Vec<Principal>,
}

/// `record` of `[defaults]` and roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// No session.
    None,
    /// Sessions with a terminal: its input and output.
    #[default]
    Tty,
    /// Every session, including output to pipes and files.
    All,
}

/// `recording` and the related keys of `[audit]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingSettings {
    /// What happens when a session cannot be recorded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: RecordingMode,
    /// The maximum size of a recording in bytes, before it is compressed.
    pub limit: u64,
    /// How many bytes stay free on the file system, for the journal.
    pub reserve: u64,
    /// How much disk space the recordings of one user may take.
    #[serde(default = "usual_storage", skip_serializing_if = "is_usual_storage")]
    pub per_user: Storage,
}

fn usual_storage() -> Storage {
    RECORDINGS
}

fn is_usual_storage(storage: &Storage) -> bool {
    *storage == RECORDINGS
}

/// `recording` of `[audit]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingMode {
    /// An alert is recorded, and the command continues.
    #[default]
    BestEffort,
    /// The command does not start, or is ended.
    Strict,
}

impl Record {
    /// Reads the word of the policy; the error is a sentence fragment.
    #[cfg(feature = "policy-text")]
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "none" => Ok(Self::None),
            "tty" => Ok(Self::Tty),
            "all" => Ok(Self::All),
            _ => Err("must be \"none\", \"tty\" or \"all\""),
        }
    }

    /// Returns the value as written in the policy.
    pub fn as_written(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tty => "tty",
            Self::All => "all",
        }
    }
}

impl RecordingMode {
    /// Reads the word of the policy; the error is a sentence fragment.
    #[cfg(feature = "policy-text")]
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "best-effort" => Ok(Self::BestEffort),
            "strict" => Ok(Self::Strict),
            _ => Err("must be \"best-effort\" or \"strict\""),
        }
    }

    /// Returns the value as written in the policy.
    pub fn as_written(self) -> &'static str {
        match self {
            Self::BestEffort => "best-effort",
            Self::Strict => "strict",
        }
    }
}

/// A gibibyte holds days of typing or ten minutes of a runaway program; the journal needs little.
impl Default for RecordingSettings {
    fn default() -> Self {
        Self { mode: RecordingMode::default(), limit: 1 << 30, reserve: 64 << 20, per_user: RECORDINGS }
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_take_no_space_in_the_index() {
        assert_eq!(serde_json::to_string(&Recording::default()).unwrap(), "{}");
    }
}
