//! A row that is not what the records say.

use std::fmt;

/// What gives power and is compared: rows of tables, in their order, and what a row holds besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// What was asked.
    Request,
    /// Who agreed.
    Approval,
    /// What was granted, and how it ended.
    Granted,
    /// Broken glass that somebody has to look at.
    ReviewDebt,
    /// What roles gave power to.
    RoleText,
    /// What people did besides approving.
    Statement,
    /// What holds for the whole host.
    PolicySettings,
    /// The files that the policy was compiled of.
    PolicyFile,
    /// The compiled roles.
    PolicyRole,
    /// By which people the roles are found.
    PolicyPrincipal,
    /// What reviewers said of assignments.
    Certification,
    /// Runs without an end.
    OpenRun,
    /// What finished commands have left running.
    LeftRun,
    /// How often somebody ran a command.
    Precedent,
    /// What the journal remembers beside its records.
    JournalMeta,
}

impl Table {
    /// Its name in the database.
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

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In which table.
    pub table: Table,
    /// Of which request or grant; for a role text its digest; for the compiled policy its role, file or digest.
    pub id: String,
    /// What differs, as a clause.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = crate::escape::escape(self.id.as_bytes());
        write!(f, "{} {id} (table {}): {}", self.table.noun(), self.table.name(), self.what)
    }
}

/// What differs, the first first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// At most a hundred of them.
    pub found: Vec<Difference>,
    /// How many there are.
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
