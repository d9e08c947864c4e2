//! The rules by which a request becomes a grant: quorum, intersection of approvals, validity. Pure functions.

use std::fmt;

use crate::clock::duration::Seconds;
use crate::clock::{Now, TOLERANCE_US};
use crate::escape::{Word, hex};
use crate::names::{GrantId, UserName};
use crate::policy::Role;

use super::approval::Approval;
use super::quorum::Uncounted;
use super::terms::{ApprovalTerms, Extensions, Flag, GrantTerms, RequestTerms, VERSION};
use super::{HostId, digest};

/// The state of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// It waits for approvals.
    Pending,
    /// The quorum was reached; there is a grant.
    Approved,
    /// An approver denied it.
    Denied,
    /// The requester cancelled it.
    Cancelled,
    /// It was not decided before its deadline.
    Expired,
}

impl RequestState {
    /// Returns the name that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Returns the state with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Approved, Self::Denied, Self::Cancelled, Self::Expired]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// How a grant ended before it expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantEnd {
    /// Another user revoked it.
    Revoked,
    /// Its holder released it.
    Released,
    /// It was for one run and was used.
    Used,
}

impl GrantEnd {
    /// Returns the name that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Released => "released",
            Self::Used => "used",
        }
    }

    /// Returns the end with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Revoked, Self::Released, Self::Used].into_iter().find(|end| end.as_str() == text)
    }
}

/// A request with its approvals.
pub struct Decided<'a> {
    /// The request.
    pub request: &'a RequestTerms,
    /// Its exact bytes.
    pub request_bytes: &'a [u8],
    /// The approvals, by different users.
    pub approvals: &'a [Approval],
    /// The recorded approvals that do not count.
    pub not_counted: &'a [(Approval, Uncounted)],
    /// The recorded approvals of people who gave a later one: the digests of their bytes, and their approvers.
    pub superseded: &'a [([u8; 32], Word)],
    /// Whether the role limits grants to one run.
    pub role_one_shot: bool,
    /// Whether the role limits grants to the requested command.
    pub role_exact: bool,
    /// The role's present maximum in seconds.
    pub maximum_duration: Seconds,
    /// The digest of the policy that contains the role.
    pub policy: Option<[u8; 32]>,
    /// The digest with which the policy's records identify the role.
    pub role_sha256: Option<[u8; 32]>,
}

impl<'a> Decided<'a> {
    /// Takes the limits that `role` requires now.
    pub fn new(request: &'a RequestTerms, request_bytes: &'a [u8], approvals: &'a [Approval], role: &Role) -> Self {
        Self {
            request,
            request_bytes,
            approvals,
            not_counted: &[],
            superseded: &[],
            role_one_shot: role.activation.one_shot,
            role_exact: role.activation.exact_command,
            maximum_duration: role.activation.maximum_duration,
            policy: role.policy,
            role_sha256: role.compiled,
        }
    }
}

/// Why a request cannot lead to a grant for one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotExact {
    /// It names no command.
    NoCommand,
    /// It extends this grant, which covers its whole role.
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
    /// Checks that the request can lead to a grant for its exact command.
    ///
    /// # Errors
    /// The reason why it cannot.
    pub fn exactly(&self) -> Result<(), NotExact> {
        match &self.extends {
            Some(grant) if !self.exact.is_set() => Err(NotExact::Extends(grant.clone())),
            _ if self.command.is_none() => Err(NotExact::NoCommand),
            Some(_) | None => Ok(()),
        }
    }
}

/// Returns the terms that the host signs: the intersection of the request, every approval and the role. The duration
/// counts from now, or from the requested start.
pub fn grant_terms(decided: &Decided<'_>, host: &HostId, now: &Now) -> GrantTerms {
    let Decided { request, approvals, .. } = decided;
    let this_boot = Flag::from(now.behind() > TOLERANCE_US);
    let (moment, now) = (now.moment(), now.seconds());
    let starts = request.start.max(now);
    let duration = approvals
        .iter()
        .filter_map(|approval| approval.terms.duration.positive())
        .chain([decided.maximum_duration])
        .fold(request.duration, Seconds::min);
    let any =
        |set: fn(&ApprovalTerms) -> Flag| Flag::from(approvals.iter().any(|approval| set(&approval.terms).is_set()));
    let expires = starts.saturating_add(duration.signed());
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
