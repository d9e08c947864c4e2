//! Which records may follow which, for one request and its grant.

/// The state of a request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No record mentions it.
    #[default]
    New,
    /// Its records were pruned, if there were any: it may be in any state.
    Older,
    /// It waits for approvals, or for its deadline.
    Pending,
    /// It was denied or cancelled; there will be no grant.
    Closed,
    /// There is a grant.
    Granted,
    /// The grant was revoked or released.
    Ended,
}

/// The effect of a record on requests and grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Request,
    /// The alert of a break-glass activation.
    BreakGlass,
    Approval,
    Denial,
    Cancellation,
    Grant,
    /// A run starts under the grant.
    Use,
    /// A run continued under the grant.
    GoneOn,
    Revocation,
    Release,
    /// The review of a break-glass activation.
    Review,
}

impl State {
    /// Returns the state after an act, or `None` where the act is not allowed.
    pub(super) fn after(self, act: Act) -> Option<Self> {
        match (self, act) {
            (Self::New | Self::Older, Act::Request) => Some(Self::Pending),
            (Self::Pending | Self::Older, Act::BreakGlass | Act::Approval) => Some(Self::Pending),
            (Self::Pending | Self::Older, Act::Denial | Act::Cancellation) => Some(Self::Closed),
            (Self::Pending | Self::Older, Act::Grant) => Some(Self::Granted),
            (Self::Granted | Self::Older, Act::Use) => Some(Self::Granted),
            (Self::Granted | Self::Older, Act::Revocation | Act::Release) => Some(Self::Ended),
            // The end of a run is recorded after the end of the grant under which it continued.
            (Self::Older, Act::GoneOn) => Some(Self::Granted),
            (Self::Granted | Self::Ended, Act::GoneOn | Act::Review) | (Self::Older, Act::Review) => Some(self),
            _ => None,
        }
    }

    pub(super) fn phrase(self) -> &'static str {
        match self {
            Self::New | Self::Older => "which is not there",
            Self::Pending => "after which it is pending",
            Self::Closed => "which denied or cancelled it",
            Self::Granted => "after which it is granted",
            Self::Ended => "which ended it",
        }
    }
}

impl Act {
    /// Returns the act of a record of this kind; `None` when the kind alone does not determine it.
    pub(super) fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "request" => Self::Request,
            "approval" => Self::Approval,
            "denial" => Self::Denial,
            "cancellation" => Self::Cancellation,
            "grant" => Self::Grant,
            "revocation" => Self::Revocation,
            "release" => Self::Release,
            _ => return None,
        })
    }

    pub(super) fn phrase(self) -> &'static str {
        match self {
            Self::Request => "the request",
            Self::BreakGlass => "the break-glass alert",
            Self::Approval => "an approval",
            Self::Denial => "the denial",
            Self::Cancellation => "the cancellation",
            Self::Grant => "the grant",
            Self::Use => "the start of a run",
            Self::GoneOn => "the end of a run that continued under the grant",
            Self::Revocation => "the revocation",
            Self::Release => "the release",
            Self::Review => "the review",
        }
    }

    /// Returns whether the act requires a request that has not expired. Acts that take power away have no deadline.
    pub(super) fn needs_time(self) -> bool {
        matches!(self, Self::Approval)
    }

    /// Returns whether the act gives power; such an act is not allowed while the database is an older copy.
    pub(super) fn gives_power(self) -> bool {
        matches!(self, Self::Approval | Self::Grant | Self::Use)
    }
}
