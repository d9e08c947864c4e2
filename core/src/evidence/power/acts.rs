//! Which records may follow which, for one request and its grant, in the order of their records. This module knows no
//! rows.

use super::said::{Id, Recorded};
use super::{Cause, FirstBad, Power};
use crate::clock::Timestamp;

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
    Glass,
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
    fn after(self, act: Act) -> Option<Self> {
        match (self, act) {
            (Self::New | Self::Older, Act::Request) => Some(Self::Pending),
            (Self::Pending | Self::Older, Act::Glass | Act::Approval) => Some(Self::Pending),
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

    fn phrase(self) -> &'static str {
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

    fn phrase(self) -> &'static str {
        match self {
            Self::Request => "the request",
            Self::Glass => "the break-glass alert",
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
    fn needs_time(self) -> bool {
        matches!(self, Self::Approval)
    }

    /// Returns whether the act gives power; such an act is not allowed while the database is an older copy.
    pub(super) fn gives_power(self) -> bool {
        matches!(self, Self::Approval | Self::Grant | Self::Use)
    }
}

/// Returns the error that record `seq` contradicts earlier records.
pub(super) fn inconsistency(seq: u64, what: String) -> FirstBad {
    FirstBad { seq, cause: Cause::Acts(what) }
}

impl Power {
    /// Applies record `seq` at the latest time so far. Even if it contradicts earlier records, which is the error, it
    /// counts.
    pub(super) fn act(&mut self, seq: u64, id: Id, act: Act) -> (&mut Recorded, Result<(), FirstBad>) {
        let doubted = self.kept.doubted.filter(|_| act.gives_power()).map_or(Ok(()), |alert| {
            let what = format!(
                "is {} of {id}, but according to record {alert} the database was an older copy then",
                act.phrase()
            );
            Err(inconsistency(seq, what))
        });
        let now = Timestamp(self.last).seconds();
        let new = if self.pruned.is_some() { State::Older } else { State::New };
        let said = self.said.entry(id).or_insert_with(|| Recorded { state: new, ..Recorded::default() });
        let allowed = said.state.after(act);
        let follows = allowed.map(|_| ()).ok_or_else(|| {
            let before = match said.since {
                0 => "no earlier record mentions it".to_owned(),
                since => format!("it may not follow record {since}, {}", said.state.phrase()),
            };
            inconsistency(seq, format!("is {} of {id}: {before}", act.phrase()))
        });
        let dead = said.request.filter(|asked| asked.deadline.is_some_and(|end| now >= end));
        let in_time = dead.filter(|_| act.needs_time()).map_or(Ok(()), |asked| {
            let what =
                format!("is {} of {id}, but according to record {} it had expired by then", act.phrase(), asked.seq);
            Err(inconsistency(seq, what))
        });
        let next = allowed.or_else(|| State::Older.after(act)).unwrap_or(said.state);
        if said.state != next {
            (said.state, said.since) = (next, seq);
        }
        (said, doubted.and(follows).and(in_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTS: [Act; 11] = [
        Act::Request,
        Act::Glass,
        Act::Approval,
        Act::Denial,
        Act::Cancellation,
        Act::Grant,
        Act::Use,
        Act::GoneOn,
        Act::Revocation,
        Act::Release,
        Act::Review,
    ];

    fn allowed(state: State) -> Vec<Act> {
        ACTS.into_iter().filter(|act| state.after(*act).is_some()).collect()
    }

    #[test]
    fn only_uses_ends_and_reviews_follow_a_grant_and_nothing_follows_a_denial() {
        assert_eq!(allowed(State::New), [Act::Request]);
        assert_eq!(allowed(State::Closed), []);
        assert_eq!(allowed(State::Pending), [Act::Glass, Act::Approval, Act::Denial, Act::Cancellation, Act::Grant]);
        assert_eq!(allowed(State::Granted), [Act::Use, Act::GoneOn, Act::Revocation, Act::Release, Act::Review]);
        assert_eq!(allowed(State::Ended), [Act::GoneOn, Act::Review]);
        assert_eq!(allowed(State::Older), ACTS);
    }
}
