//! Reviews: of break-glass, and of who may ask for a role.

use super::verb::verb;
use super::{EndedInfo, GrantInfo};
use crate::escape::Word;
use crate::names::{GrantId, IdPrefix, RoleName, UserName};
use serde::{Deserialize, Serialize};

/// Broken glass that nobody has reviewed: everything for root and readers, else what the caller did or may review.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewDebts {}

verb!("review-debts", ReviewDebts => "debts", Vec<DebtInfo>);

/// Settle such a debt: approvers of the role, never who broke the glass.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewSettle {
    /// Which grant.
    pub id: IdPrefix,
    /// What was found.
    pub comment: Word,
}

verb!("review-settle", ReviewSettle => "grant", GrantInfo);

/// Eligibility that was not used for so long: root, readers, and approvers for their roles.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewUnused {
    /// Seconds.
    pub since: u64,
}

verb!("review-unused", ReviewUnused => "assignments", Vec<AssignmentInfo>);

/// Who may ask for what, and what reviewers said of it: as for [`Ask::ReviewUnused`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewAssignments {
    /// Only this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
}

verb!("review-assignments", ReviewAssignments => "assignments", Vec<AssignmentInfo>);

/// Answer for assignments of a role: root, and approvers of the role, never for oneself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewCertify {
    /// Of which role.
    pub role: RoleName,
    /// Whose assignment: a user, or `%group` as the policy says; all of the role when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// What is said.
    pub verdict: Certify,
    /// Why.
    pub comment: Word,
}

verb!("review-certify", ReviewCertify => "assignments", Vec<AssignmentInfo>);

/// What a reviewer says of an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certify {
    /// It shall stay.
    Confirm,
    /// It should go.
    Remove,
}

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
