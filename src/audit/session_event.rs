//! What is recorded of others' sessions: who read their recordings, and who stopped or ended them.
//! May not: touch a database or a sink.

use serde::{Deserialize, Serialize};

use crate::escape::Word;
use crate::names::{GrantId, RoleName};

/// Somebody was given the recording of somebody else's session, or of many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
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
