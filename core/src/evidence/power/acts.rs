//! Applies the records of one request and its grant in their order. This module knows no rows.

use super::names::Id;
use super::said::Recorded;
use super::state::{Act, State};
use super::{Cause, FirstBad, Power};
use crate::clock::Timestamp;

/// Returns the error that record `seq` contradicts earlier records.
pub(super) fn inconsistency(seq: u64, what: String) -> FirstBad {
    FirstBad { seq, cause: Cause::Acts(what) }
}

impl Power {
    /// Applies record `seq` at the latest time so far. Even if it contradicts earlier records, which is the error, it
    /// counts.
    pub(super) fn act(&mut self, seq: u64, id: Id, act: Act) -> (&mut Recorded, Result<(), FirstBad>) {
        let doubted = self.kept.doubted.filter(|_| act.gives_power()).map_or(Ok(()), |alert| {
            let was = if self.kept.retired == alert { "host was retired" } else { "database was an older copy" };
            let what = format!("is {} of {id}, but according to record {alert} the {was} then", act.phrase());
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
        Act::BreakGlass,
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
        assert_eq!(
            allowed(State::Pending),
            [Act::BreakGlass, Act::Approval, Act::Denial, Act::Cancellation, Act::Grant]
        );
        assert_eq!(allowed(State::Granted), [Act::Use, Act::GoneOn, Act::Revocation, Act::Release, Act::Review]);
        assert_eq!(allowed(State::Ended), [Act::GoneOn, Act::Review]);
        assert_eq!(allowed(State::Older), ACTS);
    }
}
