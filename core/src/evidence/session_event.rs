//! What is recorded of others' sessions: who read their recordings, and who stopped or ended them.
//! May not: touch a database or a sink.

use serde::{Deserialize, Serialize};

use super::run_event::EndedBy;
use crate::escape::Word;
use crate::names::{GrantId, RoleName};

/// Somebody was given the recording of somebody else's session, or of many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingRead {
    /// The reader's uid.
    pub uid: u32,
    /// The reader.
    pub user: Word,
    /// What for.
    pub purpose: Purpose,
    /// Which run; absent where all recordings were gone through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Whose run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Word>,
    /// Their uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder_uid: Option<u32>,
}

/// What a recording is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To be looked at.
    Replay,
    /// To be taken away as a file.
    Export,
    /// To be looked at while it happens.
    Watch,
    /// To find a text in many.
    Search,
    /// To compare their digests with the journal.
    Verify,
}

/// Somebody froze, thawed or ended a running session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// Their uid.
    pub uid: u32,
    /// Who did it.
    pub user: Word,
    /// What was done.
    pub act: Act,
    /// To which run.
    pub run: String,
    /// Whose run.
    pub holder: Word,
    /// Their uid.
    pub holder_uid: u32,
    /// The role it runs under; absent for root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The grant it runs under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// Why.
    pub reason: Word,
}

/// What is done to a running session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// All its processes are stopped.
    Freeze,
    /// They go on.
    Thaw,
    /// They are ended.
    Kill,
}

/// A command has ended, and what it started has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRunning {
    /// The run.
    pub run: String,
    /// The number of its `start`.
    pub start: u64,
    /// The caller's uid, as in `start`.
    pub uid: u32,
    /// The grant with whose end they end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The first of them, at most [`LeftRunning::LISTED`].
    pub processes: Vec<LeftProcess>,
    /// How many there are.
    pub count: u64,
}

impl LeftRunning {
    /// So many processes are listed.
    pub const LISTED: usize = 32;
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftProcess {
    /// Its id.
    pub pid: i32,
    /// Its name, as the kernel has it (proc_pid_comm(5)).
    pub name: Word,
}

/// Nobody is left of what a command had left running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftEnded {
    /// The run.
    pub run: String,
    /// The number of its `start`.
    pub start: u64,
    /// The caller's uid, as in `start`.
    pub uid: u32,
    /// The grant, as in `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// Who or what ended them.
    pub ended_by: EndedBy,
}
