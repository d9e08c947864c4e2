//! The rules by which a request becomes a grant: quorum, intersection of approvals, the window. Pure functions.

use std::fmt;

use crate::clock::{Now, TOLERANCE_US};
use crate::escape::hex;
use crate::names::{GrantId, UserName};
use crate::policy::Role;

use super::approval::Approval;
use super::terms::{ApprovalTerms, Extensions, Flag, GrantTerms, RequestTerms, VERSION};
use super::{HostId, digest};

/// The state of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// Waits for approvals.
    Pending,
    /// The quorum was reached; there is a grant.
    Approved,
    /// An approver said no.
    Denied,
    /// The requester took it back.
    Cancelled,
    /// Nobody decided in time.
    Expired,
}

impl RequestState {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The state that a stored word names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Approved, Self::Denied, Self::Cancelled, Self::Expired]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// How a grant ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantEnd {
    /// By others.
    Revoked,
    /// By its holder.
    Released,
    /// It was one-shot and has served.
    Used,
}

impl GrantEnd {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Released => "released",
            Self::Used => "used",
        }
    }

    /// The end that a stored word names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Revoked, Self::Released, Self::Used].into_iter().find(|end| end.as_str() == text)
    }
}

/// A request with its approvals.
pub struct Decided<'a> {
    /// What was asked.
    pub request: &'a RequestTerms,
    /// Its exact bytes.
    pub request_bytes: &'a [u8],
    /// What was approved, by different people.
    pub approvals: &'a [Approval],
    /// The role's own narrowing.
    pub role_one_shot: bool,
    /// The role's own narrowing.
    pub role_exact: bool,
    /// The role's maximum in seconds, now.
    pub maximum_duration: u64,
    /// The digest of the policy that has the role.
    pub policy: Option<[u8; 32]>,
    /// By which its records tell the role from another.
    pub role_sha256: Option<[u8; 32]>,
}

impl<'a> Decided<'a> {
    /// With the narrowing that `role` demands now.
    pub fn new(request: &'a RequestTerms, request_bytes: &'a [u8], approvals: &'a [Approval], role: &Role) -> Self {
        Self {
            request,
            request_bytes,
            approvals,
            role_one_shot: role.activation.one_shot,
            role_exact: role.activation.exact_command,
            maximum_duration: role.activation.maximum_duration,
            policy: role.policy,
            role_sha256: role.compiled,
        }
    }
}

/// A request that no grant for one command can come of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotExact {
    /// It names none.
    NoCommand,
    /// It extends this grant, which is for its whole role, and carries all that that gives.
    Extends(GrantId),
}

impl fmt::Display for NotExact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => f.write_str("the request names no command, so it cannot be narrowed to one"),
            Self::Extends(grant) => write!(
                f,
                "the request extends grant {grant}, which is for its whole role: what runs under that goes on, whatever it is, so \
                 it cannot be narrowed to one command"
            ),
        }
    }
}

impl RequestTerms {
    /// Whether a grant for its very command can come of it.
    ///
    /// # Errors
    /// Why not.
    pub fn exactly(&self) -> Result<(), NotExact> {
        match &self.extends {
            Some(grant) if !self.exact.is_set() => Err(NotExact::Extends(grant.clone())),
            _ if self.command.is_none() => Err(NotExact::NoCommand),
            Some(_) | None => Ok(()),
        }
    }
}

/// The terms that the host signs: the intersection of the request, every approval and the role. The clock starts now,
/// or at the start that was asked for.
pub fn grant_terms(decided: &Decided<'_>, host: &HostId, now: &Now) -> GrantTerms {
    let Decided { request, approvals, .. } = decided;
    let this_boot = Flag::from(now.behind() > TOLERANCE_US);
    let (moment, now) = (now.moment(), now.seconds());
    let starts = request.start.max(now);
    let duration = approvals
        .iter()
        .map(|approval| approval.terms.duration)
        .filter(|duration| *duration > 0)
        .chain([decided.maximum_duration])
        .fold(request.duration, u64::min);
    let any =
        |set: fn(&ApprovalTerms) -> Flag| Flag::from(approvals.iter().any(|approval| set(&approval.terms).is_set()));
    let seconds = i64::try_from(duration).unwrap_or(i64::MAX);
    let expires = starts.saturating_add(seconds);
    GrantTerms {
        approvals: approvals.iter().map(|approval| hex(&digest(&approval.bytes))).collect(),
        approvers: approvals.iter().map(|approval| approval.terms.approver.clone()).collect::<Vec<UserName>>(),
        boot_deadline: moment.boot.0.saturating_add(expires.saturating_sub(now).saturating_mul(1_000_000)),
        boot_id: moment.boot_id.clone(),
        break_glass: request.break_glass,
        command: request.command.clone(),
        critical: Vec::new(),
        exact: request.exact.or(any(|approval| approval.exact)).or(Flag::from(decided.role_exact)),
        expires,
        extends: request.extends.clone(),
        extensions: Extensions::new(),
        host: host.as_str().to_owned(),
        id: request.id.clone(),
        issued: now,
        one_shot: request.one_shot.or(any(|approval| approval.one_shot)).or(Flag::from(decided.role_one_shot)),
        request: hex(&digest(decided.request_bytes)),
        role: request.role.clone(),
        role_digest: request.role_digest.clone(),
        run_as: request.run_as.clone(),
        starts,
        this_boot,
        uid: request.uid,
        user: request.user.clone(),
        version: VERSION,
    }
}
