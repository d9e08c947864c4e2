//! The records about other users' sessions: who read their recordings, and who froze or ended them. This module touches
//! no database and no sink.

use serde::{Deserialize, Serialize};

use super::run_event::EndedBy;
use crate::escape::Word;
use crate::names::{GrantId, RoleName, RunId};

/// A user read the recording of another user's session, or of many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingRead {
    /// The reader's uid.
    pub uid: u32,
    /// The reader.
    pub user: Word,
    /// The purpose.
    pub purpose: Purpose,
    /// The run; absent when all recordings were searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The user whose run it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Word>,
    /// The uid of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder_uid: Option<u32>,
}

/// The purpose of reading a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To replay it.
    Replay,
    /// To export it as a file.
    Export,
    /// To watch it while the session runs.
    Watch,
    /// To search many recordings for a text.
    Search,
    /// To compare digests with the journal.
    Verify,
}

/// A user froze, thawed or ended a running session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// The uid of the user who did it.
    pub uid: u32,
    /// The user who did it.
    pub user: Word,
    /// The action.
    pub act: Act,
    /// The run.
    pub run: RunId,
    /// The user whose run it is.
    pub holder: Word,
    /// The uid of that user.
    pub holder_uid: u32,
    /// The role of the run; absent for root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The grant of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The reason.
    pub reason: Word,
}

/// An action on a running session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// All its processes were frozen.
    Freeze,
    /// They were thawed.
    Thaw,
    /// They were killed.
    Kill,
}

/// A command has ended, but processes that it started have not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRunning {
    /// The run.
    pub run: RunId,
    /// The number of its `start`.
    pub start: u64,
    /// The caller's uid, as in `start`.
    pub uid: u32,
    /// The grant whose end will end them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The first of these processes, at most [`LeftRunning::LISTED`].
    pub processes: Vec<LeftProcess>,
    /// Their number.
    pub count: u64,
}

impl LeftRunning {
    /// The maximum number of processes that are listed.
    pub const LISTED: usize = 32;
}

/// A process that was left running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftProcess {
    /// Its id.
    pub pid: i32,
    /// Its name, as the kernel shows it (proc_pid_comm(5)).
    pub name: Word,
}

/// All processes that a command left running have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftEnded {
    /// The run.
    pub run: RunId,
    /// The number of its `start`.
    pub start: u64,
    /// The caller's uid, as in `start`.
    pub uid: u32,
    /// The grant, as in `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// What ended them.
    pub ended_by: EndedBy,
}
