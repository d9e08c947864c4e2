//! Recordings of sessions. A recording may be longer than an answer, so it follows the answer on the same stream, in frames: each
//! is one line of JSON, and a `bytes` frame is followed by that many bytes of the file.

use super::Purpose;
use super::verb::verb;
use crate::escape::Word;
use crate::names::RunId;
use serde::{Deserialize, Serialize};

/// Send the recording of one run: to its caller, root and readers; live also to the observers of its role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// Which run.
    pub run: RunId,
    /// The purpose; it is recorded if the recording is another user's.
    pub purpose: Purpose,
}

verb!("recording", Recording => "recording", RecordingInfo);

/// Send all finished recordings that the caller may see.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recordings {
    /// The purpose.
    pub purpose: Purpose,
    /// Only those of runs whose `end` record has a greater number.
    #[serde(default)]
    pub after: u64,
}

verb!("recordings", Recordings => "recordings", Vec<RecordingInfo>);

/// The most bytes in one frame.
pub const FRAME_LIMIT: u32 = 256 << 10;

/// The header of each frame after the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frame {
    /// The recording of a run begins.
    Begin(RecordingInfo),
    /// This many bytes of the recording follow.
    Bytes(u32),
    /// The journal names a recording that does not exist.
    Missing(RecordingInfo),
    /// The end of the stream.
    End,
    /// Sending failed; the reason as a sentence fragment.
    Failed(String),
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingInfo {
    /// The id of the run.
    pub run: RunId,
    /// The user who ran it.
    pub user: Word,
    /// The run-as user.
    pub run_as: Word,
    /// The command.
    pub command: Vec<Word>,
    /// When it began.
    pub since: i64,
    /// Whether it is still being written.
    pub live: bool,
    /// `asciicast`, or `zstd` for a compressed one.
    pub encoding: String,
    /// Its digest in the journal (of the uncompressed asciicast); absent for a session that still runs or was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Its uncompressed length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// The result of comparing all recordings with the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingsChecked {
    /// How many match the journal.
    pub intact: u64,
    /// How many have no digest, because their run was lost.
    pub unsealed: u64,
    /// The faults of the others, one sentence each.
    pub bad: Vec<String>,
}
