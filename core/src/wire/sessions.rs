//! Running sessions.

use super::Act;
use super::verb::verb;
use crate::escape::Word;
use crate::names::{GrantId, RoleName, RunId};
use serde::{Deserialize, Serialize};

/// List running sessions: the caller's, those that the caller may watch or end, all for root and readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {}

verb!("sessions", Sessions => "sessions", Vec<SessionInfo>);

/// Freeze, thaw or end a session: root, and approvers of its role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervene {
    /// Which run.
    pub run: RunId,
    /// What to do.
    pub act: Act,
    /// The reason, which is recorded.
    pub reason: Word,
}

verb!("intervene", Intervene => "sessions", Vec<SessionInfo>);

/// A running session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The id of the run.
    pub run: RunId,
    /// The user who runs it.
    pub user: Word,
    /// Their uid.
    pub uid: u32,
    /// The run-as user.
    pub run_as: Word,
    /// The command.
    pub command: Vec<Word>,
    /// The terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Word>,
    /// When it began.
    pub since: i64,
    /// The pid of its supervisor.
    pub pid: i32,
    /// The role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// `running`, `frozen`, `ending` or `left running`.
    pub state: String,
    /// The user who froze or ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Whether it is being recorded.
    pub recorded: bool,
    /// Whether the caller may watch it.
    pub may_watch: bool,
    /// Whether the caller may freeze, thaw and end it.
    pub may_intervene: bool,
}
