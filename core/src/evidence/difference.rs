//! A row that differs from the records.

use std::fmt;

/// The compared tables, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Requests.
    Request,
    /// Approvals.
    Approval,
    /// Grants, and how they ended.
    Granted,
    /// Break-glass activations that await a review.
    ReviewDebt,
    /// The texts of roles.
    RoleText,
    /// Other acts of users than approvals.
    Statement,
    /// Settings of the whole host.
    PolicySettings,
    /// The files that the policy was compiled from.
    PolicyFile,
    /// The compiled roles.
    PolicyRole,
    /// The index of roles by users and groups.
    PolicyPrincipal,
    /// Reviews of assignments.
    Certification,
    /// Runs that have not ended.
    OpenRun,
    /// Processes that finished commands left running.
    LeftRun,
    /// How often a user ran a command.
    Precedent,
    /// What the journal stores beside its records.
    JournalMeta,
}

impl Table {
    /// Returns its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Approval => "approval",
            Self::Granted => "granted",
            Self::ReviewDebt => "review_debt",
            Self::RoleText => "role_text",
            Self::Statement => "statement",
            Self::PolicySettings | Self::PolicyFile => "policy_settings",
            Self::PolicyRole => "policy_role",
            Self::PolicyPrincipal => "policy_principal",
            Self::Certification => "certification",
            Self::OpenRun | Self::LeftRun => "open_run",
            Self::Precedent => "precedent",
            Self::JournalMeta => "journal_meta",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Approval => "the approval of request",
            Self::Granted => "grant",
            Self::ReviewDebt => "the review of grant",
            Self::RoleText => "the text of role",
            Self::Statement => "a statement about",
            Self::PolicySettings => "the settings of policy",
            Self::PolicyFile => "the policy file",
            Self::PolicyRole => "the compiled role",
            Self::PolicyPrincipal => "an assignment of role",
            Self::Certification => "a review of role",
            Self::OpenRun => "the open run",
            Self::LeftRun => "what is left of run",
            Self::Precedent => "the earlier runs of command",
            Self::JournalMeta => "what is kept as",
        }
    }
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: Table,
    /// The id of the request or grant; for a role text its digest; for the compiled policy its role, file or digest.
    pub id: String,
    /// The difference, as a clause.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = crate::escape::escape(self.id.as_bytes());
        write!(f, "{} {id} (table {}): {}", self.table.noun(), self.table.name(), self.what)
    }
}

/// All differences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// The first ones, at most a hundred.
    pub found: Vec<Difference>,
    /// Their number.
    pub count: u64,
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.found.first() {
            first.fmt(f)?;
        }
        match self.count.saturating_sub(1) {
            0 => Ok(()),
            1 => f.write_str("; and one other difference"),
            more => write!(f, "; and {more} other differences"),
        }
    }
}
