//! Recordings of sessions. A recording is longer than an answer may be, so it follows its answer on the same stream, in frames:
//! one line of JSON each, and N bytes of the file behind `bytes`.

use super::Purpose;
use super::verb::verb;
use crate::escape::Word;
use serde::{Deserialize, Serialize};

/// The recording of one run: whose run it is, root and readers; to watch it live, also the observers of its role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// Which run.
    pub run: String,
    /// What for; this is recorded where it is somebody else's.
    pub purpose: Purpose,
}

verb!("recording", Recording => "recording", RecordingInfo);

/// All finished recordings that the caller may see.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recordings {
    /// What for.
    pub purpose: Purpose,
    /// Only of runs whose end has a greater number.
    #[serde(default)]
    pub after: u64,
}

verb!("recordings", Recordings => "recordings", Vec<RecordingInfo>);

/// The most bytes in one frame.
pub const FRAME_LIMIT: u32 = 256 << 10;

/// What stands before each piece of what follows an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frame {
    /// Here begins the recording of a run.
    Begin(RecordingInfo),
    /// So many bytes of it follow.
    Bytes(u32),
    /// The journal knows a recording that is not there.
    Missing(RecordingInfo),
    /// Everything was said.
    End,
    /// It cannot go on; one sentence fragment.
    Failed(String),
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingInfo {
    /// Of which run.
    pub run: String,
    /// Whose run.
    pub user: Word,
    /// As whom.
    pub run_as: Word,
    /// What ran.
    pub command: Vec<Word>,
    /// When it began.
    pub since: i64,
    /// It is still being written.
    pub live: bool,
    /// `asciicast`, or `zstd` for a compressed one.
    pub encoding: String,
    /// What the journal says its digest is (of the asciicast, not compressed); absent for a session that runs or was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Its length in bytes, not compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What came of comparing all recordings with the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingsChecked {
    /// So many are what the journal says.
    pub intact: u64,
    /// So many have no seal, because their run was lost.
    pub unsealed: u64,
    /// What is wrong with the others, one sentence each.
    pub bad: Vec<String>,
}
