//! The sealing keys of a journal, in the result of its verification.

use crate::evidence::{FoundLine, FoundRetirement, FoundRotation, Sealing};
use serde::{Deserialize, Serialize};

/// The sealing keys of a journal.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SealingInfo {
    /// The lines of sealing keys. In each, every key is certified by the one before it.
    pub lines: Vec<LineInfo>,
    /// The number of the last epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The number of the record that begins it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Its key, `SHA256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many certificates were checked.
    pub certificates: u64,
    /// Whether sealing keys were given that the lines must have.
    pub asked: bool,
    /// The rotations of the host key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<RotationInfo>,
    /// The retirements of the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retirements: Vec<RetirementInfo>,
    /// The last of them, unless another host key has begun a line since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<RetirementInfo>,
}

/// A rotation of the host key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RotationInfo {
    /// The number of its record.
    pub seq: u64,
    /// When, in seconds since 1970.
    pub at: i64,
    /// The old key, `SHA256:…`.
    pub old: String,
    /// The new key, `SHA256:…`.
    pub new: String,
}

/// The retirement of the host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RetirementInfo {
    /// The number of its record.
    pub seq: u64,
    /// When, in seconds since 1970.
    pub at: i64,
    /// The key, `SHA256:…`.
    pub key: String,
}

/// A line of sealing keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LineInfo {
    /// The number of the record that begins it.
    pub line: u64,
    /// The number of its first epoch.
    pub first: u64,
    /// The host key that certified its first sealing key, `SHA256:…`; absent if the records that say so were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// The record with which root had accepted the state of the host before it; absent in the first line of a journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<u64>,
    /// The first of its epochs whose key was given and has signed something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<u64>,
    /// The last record that this key, or one that it leads to, has signed. No later root has forged the records up to this one, except
    /// those of an epoch of which that root has the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proved: Option<u64>,
}

impl SealingInfo {
    /// Describes what was found; `None` if the journal has no sealing keys.
    pub fn of(sealing: Sealing) -> Option<Self> {
        let Sealing { lines, last, epochs, rotations, retirements, retired, asked } = sealing;
        if lines.is_empty() && last.is_none() && rotations.is_empty() && retirements.is_empty() {
            return None;
        }
        let (epoch, since) = last.as_ref().map(|last| (last.number, last.seq)).unzip();
        let key = last.map(|last| last.key.fingerprint());
        let lines = lines.into_iter().map(Into::into).collect();
        let rotations = rotations.into_iter().map(Into::into).collect();
        Some(Self {
            lines,
            epoch,
            since,
            key,
            certificates: epochs,
            asked,
            rotations,
            retirements: retirements.into_iter().map(Into::into).collect(),
            retired: retired.map(Into::into),
        })
    }
}

impl From<FoundRotation> for RotationInfo {
    fn from(found: FoundRotation) -> Self {
        let FoundRotation { seq, at, old, new } = found;
        Self { seq, at, old: old.fingerprint(), new: new.fingerprint() }
    }
}

impl From<FoundRetirement> for RetirementInfo {
    fn from(found: FoundRetirement) -> Self {
        let FoundRetirement { seq, at, key } = found;
        Self { seq, at, key: key.fingerprint() }
    }
}

impl From<FoundLine> for LineInfo {
    fn from(found: FoundLine) -> Self {
        let FoundLine { line, first, host_key, accepted, given, proved } = found;
        Self { line, first, host_key, accepted, given, proved }
    }
}
