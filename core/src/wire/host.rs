//! The state of the host.

use super::verb::verb;
use super::{Failure, PruneInfo};
use serde::{Deserialize, Serialize};

/// What is wrong with this host, also where nothing else can be answered: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examine {}

verb!("examine", Examine => "findings", Vec<Finding>);

/// The work that nobody waits for: what was left behind, compression, retention: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {}

verb!("sweep", Sweep => "swept", SweepInfo);

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which part of the host, in a word such as `database`.
    pub area: String,
    /// How it is.
    pub severity: Severity,
    /// One line.
    pub message: String,
    /// The command that mends it, or in a few words what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// How bad something is; the last is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Good,
    /// It could not be looked at, or is worth knowing.
    Note,
    /// It works, and promises less than it should.
    Warning,
    /// Nothing runs, or something is not safe.
    Error,
}

/// What a sweep did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepInfo {
    /// Runs whose supervisor had died, closed as lost, beyond the few that every visit closes.
    pub lost: u64,
    /// Finished runs whose left-overs nobody looked after any more, which were ended.
    pub left: u64,
    /// Recordings that dead supervisors left, put to the others.
    pub shelved: u64,
    /// Recordings that were compressed.
    pub compressed: u64,
    /// What retention removed; absent where the policy has no `keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<PruneInfo>,
    /// Why retention removed nothing, where the policy has `keep` and it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Failure>,
}
