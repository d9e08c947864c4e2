//! Reviews of break-glass grants and of assignments.

use super::verb::verb;
use super::{EndedInfo, GrantInfo};
use crate::clock::duration::Seconds;
use crate::escape::Word;
use crate::names::{GrantId, IdPrefix, RoleName, UserName};
use serde::{Deserialize, Serialize};

/// List unreviewed break-glass grants: all for root and readers, else those that the caller holds or may review.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewDebts {}

verb!("review-debts", ReviewDebts => "debts", Vec<DebtInfo>);

/// Review a break-glass grant: approvers of the role, never the holder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewSettle {
    /// Which grant.
    pub id: IdPrefix,
    /// The reviewer's finding.
    pub comment: Word,
}

verb!("review-settle", ReviewSettle => "grant", GrantInfo);

/// List eligible assignments that were not used for some time: root, readers, and approvers for their roles.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewUnused {
    /// Unused for this long.
    pub since: Seconds,
}

verb!("review-unused", ReviewUnused => "assignments", Vec<AssignmentInfo>);

/// List assignments and their latest review: permitted as [`ReviewUnused`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewAssignments {
    /// Only this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
}

verb!("review-assignments", ReviewAssignments => "assignments", Vec<AssignmentInfo>);

/// Confirm assignments of a role or propose their removal: root, and approvers of the role, never for oneself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewCertify {
    /// The role.
    pub role: RoleName,
    /// The assignment: a user, or `%group` as in the policy; all of the role when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The verdict.
    pub verdict: Certify,
    /// The reason.
    pub comment: Word,
}

verb!("review-certify", ReviewCertify => "assignments", Vec<AssignmentInfo>);

/// A reviewer's verdict about an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certify {
    /// The assignment should stay.
    Confirm,
    /// The assignment should be removed.
    Remove,
}

/// An unreviewed break-glass grant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DebtInfo {
    /// The grant.
    pub id: GrantId,
    /// The holder.
    pub user: UserName,
    /// Their uid.
    pub uid: u32,
    /// The role.
    pub role: RoleName,
    /// When it was issued.
    pub at: i64,
    /// The reason that the holder gave.
    pub reason: Word,
    /// The requested command; empty for the whole role.
    pub command: Vec<Word>,
    /// The number of runs under the grant.
    pub runs: u64,
    /// The users who may review it, as the policy names them.
    pub reviewers: Vec<String>,
    /// Whether the caller may review it.
    pub may_review: bool,
}

/// One assignment of a role: its holder and kind, when it was last used, and the latest review.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AssignmentInfo {
    /// The role.
    pub role: RoleName,
    /// The holder as in the policy: a user, `#uid`, `%group`, `%#gid` or `ALL`.
    pub holder: String,
    /// `eligible` or `standing`; `through %group` for a user who was reviewed as a member of a group.
    pub assignment: String,
    /// When it last led to a grant (for a group: of any member); absent if it never did, and for standing assignments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<i64>,
    /// The latest verdict: `confirmed` or `removal-proposed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// The reviewer, the time and the comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed: Option<EndedInfo>,
}
