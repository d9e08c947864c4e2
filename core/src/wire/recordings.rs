//! What is said about running sessions and recordings. A recording is longer than an answer may be, so it follows its
//! answer on the same stream, in frames: one line of JSON, and behind `bytes` so many bytes of the file.

use serde::{Deserialize, Serialize};

use crate::escape::Word;
use crate::names::{GrantId, RoleName};

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

/// A line of a recording that holds what was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingHit {
    /// In the recording of which run.
    pub run: String,
    /// Whose run.
    pub user: Word,
    /// When it began.
    pub since: i64,
    /// When the line was shown, milliseconds from the beginning of the recording.
    pub at_ms: u64,
    /// The line, as a person read it.
    pub line: Word,
}

/// A session that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The run.
    pub run: String,
    /// Whose run.
    pub user: Word,
    /// Their uid.
    pub uid: u32,
    /// As whom.
    pub run_as: Word,
    /// What runs.
    pub command: Vec<Word>,
    /// On which terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Word>,
    /// When it began.
    pub since: i64,
    /// The process that supervises it.
    pub pid: i32,
    /// Under which role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Under which grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// `running`, `frozen`, or `ending`: what was last asked of it, if anything.
    pub state: String,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// It is being recorded.
    pub recorded: bool,
    /// The caller may watch it.
    pub may_watch: bool,
    /// The caller may freeze, thaw and end it.
    pub may_intervene: bool,
}
