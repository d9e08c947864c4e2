//! Diagnosis and maintenance of the host.

use super::verb::verb;
use super::{Failure, PruneInfo};
use serde::{Deserialize, Serialize};

/// Examine this host, even if no other verb works: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examine {}

verb!("examine", Examine => "findings", Vec<Finding>);

/// Run the periodic maintenance: clean up after dead supervisors, compress recordings, apply retention: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {}

verb!("sweep", Sweep => "swept", SweepInfo);

/// One finding about the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The part of the host, such as `database`.
    pub area: String,
    /// How severe it is.
    pub severity: Severity,
    /// The finding in one line.
    pub message: String,
    /// The command that fixes it, or what to do.
    #[serde(rename = "mend", default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Severities in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// No fault.
    Good,
    /// It could not be checked, or is worth knowing.
    Note,
    /// It works, but gives less protection than it should.
    Warning,
    /// No command can run, or something is not safe.
    Error,
}

/// The result of the periodic maintenance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepInfo {
    /// Runs whose supervisor had died and that were closed as lost. Those that other verbs closed are not counted.
    pub lost: u64,
    /// Finished runs whose remaining processes had no supervisor any more and were ended.
    pub left: u64,
    /// Recordings that dead supervisors left, moved to the finished ones.
    pub shelved: u64,
    /// Recordings that were compressed.
    pub compressed: u64,
    /// What retention removed; absent if the policy has no `keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<PruneInfo>,
    /// Why retention was refused; only if the policy has `keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Failure>,
}
