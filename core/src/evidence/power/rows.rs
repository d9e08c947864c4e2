//! Rows as they are stored, untrusted.

/// The columns about an end or a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndColumns<'r> {
    /// The user who did it.
    pub by: Option<&'r str>,
    /// The time, in seconds since 1970.
    pub at: Option<i64>,
    /// The user's text.
    pub words: Option<&'r [u8]>,
}

impl EndColumns<'_> {
    pub(super) fn are_empty(&self) -> bool {
        self.by.is_none() && self.at.is_none() && self.words.is_none()
    }
}

/// A row of `request`.
#[derive(Debug, Clone, Copy)]
pub struct RequestRow<'r> {
    /// SQLite's number of the row.
    pub rowid: i64,
    /// The id.
    pub id: &'r str,
    /// The requester.
    pub uid: i64,
    /// The role.
    pub role: &'r str,
    /// The name of its state.
    pub state: &'r str,
    /// Seconds since 1970.
    pub created: i64,
    /// Seconds since 1970.
    pub deadline: i64,
    /// The number of approvals that it needs.
    pub needed: i64,
    /// The exact bytes.
    pub body: &'r [u8],
    /// How it ended.
    pub ended: EndColumns<'r>,
    /// The grant that it extends.
    pub extends: Option<&'r str>,
}

/// A row of `approval`.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalRow<'r> {
    /// The id of the request.
    pub request: &'r str,
    /// The approver.
    pub uid: i64,
    /// Seconds since 1970.
    pub at: i64,
    /// The exact bytes.
    pub body: &'r [u8],
    /// The approver's own signature.
    pub signature: Option<&'r [u8]>,
    /// The fingerprint of their key.
    pub key: Option<&'r str>,
    /// The exact bytes of the request.
    pub request_body: Option<&'r [u8]>,
}

/// A row of `granted`.
#[derive(Debug, Clone, Copy)]
pub struct GrantRow<'r> {
    /// SQLite's number of the row.
    pub rowid: i64,
    /// The id.
    pub id: &'r str,
    /// The holder.
    pub uid: i64,
    /// The role.
    pub role: &'r str,
    /// Seconds since 1970.
    pub starts: i64,
    /// Seconds since 1970.
    pub expires: i64,
    /// The exact bytes.
    pub body: &'r [u8],
    /// The host's signature.
    pub signature: &'r [u8],
    /// How it ended early.
    pub ended: Option<&'r str>,
    /// Who ended it, when, and why.
    pub end: EndColumns<'r>,
    /// The exact bytes of the request of the same id.
    pub request: Option<&'r [u8]>,
}

/// A row of `review_debt`.
#[derive(Debug, Clone, Copy)]
pub struct DebtRow<'r> {
    /// The grant.
    pub id: &'r str,
    /// The user who activated it (break-glass).
    pub uid: i64,
    /// The user's name.
    pub user: &'r str,
    /// The role.
    pub role: &'r str,
    /// Seconds since 1970.
    pub at: i64,
    /// The review that settled it.
    pub reviewed: EndColumns<'r>,
    /// The exact bytes of the request of the same id.
    pub request: Option<&'r [u8]>,
}

/// A row of `role_text`.
#[derive(Debug, Clone, Copy)]
pub struct RoleRow<'r> {
    /// Lower-case hexadecimal.
    pub digest: &'r str,
    /// The exact bytes.
    pub body: &'r [u8],
}

/// A row of `statement`.
#[derive(Debug, Clone, Copy)]
pub struct StatementRow<'r> {
    /// The id of the request.
    pub request: &'r str,
    /// The name of its kind.
    pub kind: &'r str,
    /// Seconds since 1970.
    pub at: i64,
    /// The user who made it.
    pub uid: i64,
    /// The exact bytes.
    pub body: &'r [u8],
    /// The host's signature.
    pub host_signature: &'r [u8],
    /// The user's own signature.
    pub signature: Option<&'r [u8]>,
    /// The fingerprint of their key.
    pub key: Option<&'r str>,
    /// The exact bytes of the request.
    pub request_body: Option<&'r [u8]>,
}
