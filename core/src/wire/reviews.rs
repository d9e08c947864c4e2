//! Answers about what waits for a review.

use serde::{Deserialize, Serialize};

use super::EndedInfo;
use crate::escape::Word;
use crate::names::{GrantId, RoleName, UserName};

/// Broken glass that nobody has reviewed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DebtInfo {
    /// The grant.
    pub id: GrantId,
    /// Who broke it.
    pub user: UserName,
    /// Their uid.
    pub uid: u32,
    /// For which role.
    pub role: RoleName,
    /// When.
    pub at: i64,
    /// Why.
    pub reason: Word,
    /// The command it was asked for; empty for the whole role.
    pub command: Vec<Word>,
    /// Runs made under the grant.
    pub runs: u64,
    /// Who may review it, as the policy names them.
    pub reviewers: Vec<String>,
    /// The caller may review it.
    pub may_review: bool,
}

/// One assignment of a role: who has it in which way, when it was used last, and what a reviewer said of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AssignmentInfo {
    /// The role.
    pub role: RoleName,
    /// As the policy writes it: a user, `#uid`, `%group`, `%#gid` or `ALL`.
    pub holder: String,
    /// `eligible` or `standing`; `through %group` for a person that was reviewed as a member.
    pub assignment: String,
    /// When it last led to a grant (for a group: by any member); absent when it never did, and for standing ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<i64>,
    /// The latest verdict: `confirmed` or `removal-proposed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// By whom, when and in which words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed: Option<EndedInfo>,
}
