//! Running sessions.

use super::Act;
use super::verb::verb;
use crate::escape::Word;
use crate::names::{GrantId, RoleName};
use serde::{Deserialize, Serialize};

/// Sessions that run: the caller's, those they may watch or end, everybody's for root and readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {}

verb!("sessions", Sessions => "sessions", Vec<SessionInfo>);

/// Freeze, thaw or end a session: root, and approvers of its role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervene {
    /// Which run.
    pub run: String,
    /// What to do.
    pub act: Act,
    /// Kept in the record.
    pub reason: Word,
}

verb!("intervene", Intervene => "sessions", Vec<SessionInfo>);

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
