//! The forks of a chain, and the heads elsewhere that belong to the branches that were lost.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::digest::Digest;
use super::elsewhere::KnownHead;
use super::faults::{Cause, FirstBad};
use super::fork_event::{FORK, Fork, LostHead};
use super::mark::Mark;
use super::record::parse;
use crate::clock::Timestamp;

/// Decodes a record if it is a fork.
pub(super) fn read(body: &[u8]) -> Option<Fork> {
    #[derive(Deserialize)]
    struct Kind<'b> {
        kind: &'b str,
    }
    let kind: Kind<'_> = parse(body).ok()?;
    if kind.kind == FORK { parse(body).ok() } else { None }
}

/// A fork that a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFork {
    /// The number of its record.
    pub seq: u64,
    /// The number of the record that it continues; 0 if there is none.
    pub continues: u64,
    /// The highest number that was known.
    pub highest: u64,
    /// The known heads of the lost branch.
    pub heads: Vec<LostHead>,
    /// The record with which root accepted the state of the host after it.
    pub accepted: Option<u64>,
    /// The first and the last number of the heads elsewhere that belong to the lost branch.
    pub elsewhere: Option<(u64, u64)>,
    /// Whether an alert follows that says that the database is an older copy. Otherwise the fork says that a power failure has lost
    /// records that were not synced.
    pub told: bool,
    /// The times of its record and of that of the acceptance, in seconds since 1970.
    pub times: (i64, Option<i64>),
}

/// The code of the alert after a fork.
const OLDER: &str = "database-older";

impl FoundFork {
    /// Whether it explains only the loss of records that nobody signed or anchored: those are synced first.
    fn is_of_unsynced(&self) -> bool {
        !self.told && self.accepted.is_none()
    }

    /// Returns whether a signed tree head of its lost sizes, which is not that of the journal, is of the lost branch; `None` if that
    /// cannot be told. The new branch has heads of the same sizes.
    pub(super) fn has_lost(&self, known: &KnownHead) -> Option<bool> {
        if self.is_of_unsynced() {
            return Some(false);
        }
        let (began, Some(accepted)) = self.times else { return Some(true) };
        let second = |time| u64::try_from(time).unwrap_or(0);
        match (known.cosigned, known.seq) {
            (Some(at), _) if at <= second(began) => Some(true),
            (Some(at), _) if at > second(accepted) => Some(false),
            (None, Some(seq)) if seq < self.seq => Some(true),
            _ => None,
        }
    }

    /// Adds other heads elsewhere that belong to the lost branch, by the number of the fork.
    pub(super) fn with(mut self, others: &[(u64, (u64, u64))]) -> Self {
        for (_, (first, last)) in others.iter().filter(|(seq, _)| *seq == self.seq) {
            let (from, to) = self.elsewhere.unwrap_or((*first, *last));
            self.elsewhere = Some((from.min(*first), to.max(*last)));
        }
        self
    }
}

/// Heads elsewhere, by their number.
pub(super) type Heads = BTreeMap<u64, Vec<Digest>>;

/// The forks so far, and the heads elsewhere that differ from the chain and that a later fork has to explain.
#[derive(Debug, Default)]
pub(super) struct Forks {
    found: Vec<FoundFork>,
    differing: Heads,
    /// Whether only alerts have come since the last fork.
    is_open: bool,
}

#[derive(Deserialize)]
struct Told<'b> {
    #[serde(borrow)]
    kind: std::borrow::Cow<'b, str>,
    #[serde(borrow)]
    code: Option<std::borrow::Cow<'b, str>>,
}

#[derive(Deserialize)]
struct Time {
    time: Timestamp,
}

/// Returns the time of a record, in seconds since 1970. A record of the chain has one.
fn seconds(body: &[u8]) -> i64 {
    parse::<Time>(body).map_or(0, |record| record.time.seconds())
}

impl Forks {
    /// Remembers that the heads elsewhere of record `seq` are others.
    pub(super) fn differ(&mut self, seq: u64, heads: Vec<Digest>) {
        self.differing.insert(seq, heads);
    }

    /// Returns the first head elsewhere that differs from the chain and is not explained.
    pub(super) fn differing(&self) -> Option<FirstBad> {
        self.differing.keys().next().map(|seq| FirstBad { seq: *seq, cause: Cause::OtherAnchored })
    }

    /// Returns the heads elsewhere that differ from the chain and are not explained.
    pub(super) fn differing_heads(&self) -> &Heads {
        &self.differing
    }

    /// Processes the fork in record `seq`. Takes the heads of the lost branch from `marks`: all that are in the gap, and, if the
    /// chain has another record in the place of a head that the fork names, those that differ up to that place.
    pub(super) fn fork(&mut self, seq: u64, fork: &Fork, body: &[u8], marks: &mut Heads) -> Result<(), FirstBad> {
        let replaced = fork.heads.iter().map(|lost| lost.seq).filter(|lost| *lost <= fork.continues).max().unwrap_or(0);
        let behind = self.differing.split_off(&replaced.saturating_add(1));
        let mut lost = std::mem::replace(&mut self.differing, behind);
        let mut rest = marks.split_off(&fork.continues.saturating_add(1));
        marks.append(&mut rest.split_off(&seq));
        lost.append(&mut rest);
        for (number, heads) in &lost {
            let named: Vec<Digest> =
                fork.heads.iter().filter(|named| named.seq == *number).map(|named| named.head).collect();
            if !named.is_empty() && heads.iter().any(|head| !named.contains(head)) {
                return Err(FirstBad { seq: *number, cause: Cause::OtherAnchored });
            }
        }
        let elsewhere = lost.keys().next().copied().zip(lost.keys().next_back().copied());
        let Fork { continues, highest, heads, .. } = fork.clone();
        let (told, times) = (false, (seconds(body), None));
        self.found.push(FoundFork { seq, continues, highest, heads, accepted: None, elsewhere, told, times });
        self.is_open = true;
        Ok(())
    }

    /// Processes a record that is no fork.
    pub(super) fn record(&mut self, body: &[u8]) {
        if !self.is_open {
            return;
        }
        let told = parse::<Told<'_>>(body);
        let code = told.as_ref().ok().filter(|told| told.kind == "alert").map(|told| told.code.as_deref());
        self.is_open = code.is_some_and(|code| code != Some(OLDER));
        if let (Some(Some(OLDER)), Some(last)) = (code, self.found.last_mut()) {
            last.told = true;
        }
    }

    /// Returns the first head elsewhere that was synced, and that a power failure can therefore not have lost.
    pub(super) fn unexplained(&self) -> Option<FirstBad> {
        let mut lost = self.found.iter().filter(|fork| fork.is_of_unsynced()).filter_map(|fork| fork.elsewhere);
        lost.next().map(|(seq, _)| FirstBad { seq, cause: Cause::OtherAnchored })
    }

    /// Whether a record with this number may be of a lost branch.
    pub(super) fn has_lost_record(&self, seq: u64) -> bool {
        self.found.iter().filter(|fork| !fork.is_of_unsynced()).any(|fork| {
            let replaced =
                fork.heads.iter().map(|lost| lost.seq).filter(|lost| *lost <= fork.continues).max().unwrap_or(0);
            seq <= replaced || (fork.continues < seq && seq < fork.seq)
        })
    }

    /// Returns the fork in record `seq`.
    pub(super) fn at(&self, seq: u64) -> Option<&FoundFork> {
        self.found.iter().find(|fork| fork.seq == seq)
    }

    /// Processes root's acceptance of the state of the host.
    pub(super) fn accepted(&mut self, seq: u64, body: &[u8]) {
        let at = seconds(body);
        for fork in self.found.iter_mut().filter(|fork| fork.accepted.is_none()) {
            (fork.accepted, fork.times.1) = (Some(seq), Some(at));
        }
    }

    /// Returns what was found.
    pub(super) fn found(self) -> Vec<FoundFork> {
        self.found
    }

    /// Returns the records whose heads are to be compared, by number.
    pub(super) fn heads(anchor: impl IntoIterator<Item = Mark>) -> Heads {
        let mut heads = Heads::new();
        for mark in anchor {
            heads.entry(mark.seq).or_default().push(mark.hash);
        }
        heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::chain::{self, Begin, Row};
    use crate::evidence::fork_event::WIDE_MARGIN;
    use crate::evidence::proof::{Proof, Proven, Signers};
    use crate::evidence::record::{Event, Record};
    use crate::samples;

    type Chained = (u64, String, Digest);

    fn append(records: &mut Vec<Chained>, seq: u64, event: Event) {
        let prev = records.last().map_or(Digest::ZERO, |last| last.2);
        let body = Record::new(seq, prev, &samples::moment(99), "web1", event).encode().unwrap();
        let hash = chain::hash(body.as_bytes());
        records.push((seq, body, hash));
    }

    fn fork(continues: u64, highest: u64, heads: &[Mark]) -> Event {
        let lost = |mark: &Mark| LostHead { seq: mark.seq, head: mark.hash, source: "anchor".to_owned() };
        let heads = heads.iter().map(lost).collect();
        Event::Fork(Box::new(Fork { continues, highest, heads, sentence: "x".into() }))
    }

    fn alert() -> Event {
        let Event::Alert(mut alert) = samples::events().remove(11) else { panic!() };
        alert.code = OLDER.to_owned();
        Event::Alert(alert)
    }

    /// Returns the records of a journal that was restored: 1 to 10, a fork in record 1015, one more.
    fn restored() -> (Vec<Chained>, Vec<Chained>) {
        let lost = samples::chain(15);
        let mut records = lost[..10].to_vec();
        append(&mut records, 1015, fork(10, 15, &[mark(&lost[14])]));
        append(&mut records, 1016, alert());
        (records, lost)
    }

    fn mark((seq, _, hash): &Chained) -> Mark {
        Mark { seq: *seq, hash: *hash }
    }

    fn prove(records: &[Chained], anchor: &[Mark]) -> Result<Proven, FirstBad> {
        let mut proof = Proof::new(Begin::First, Signers::Anybody, anchor.iter().copied());
        for (seq, body, hash) in records {
            proof.record(&Row { seq: *seq, body: body.as_bytes(), hash: &hash.0, copies: None })?;
        }
        proof.end(100, None)
    }

    fn bad(seq: u64, cause: Cause) -> Result<Proven, FirstBad> {
        Err(FirstBad { seq, cause })
    }

    #[test]
    fn a_fork_explains_a_gap_and_the_heads_of_the_lost_branch() {
        let (records, lost) = restored();
        let proven = prove(&records, &[]).unwrap();
        assert_eq!((proven.records, proven.last.seq), (12, 1016));
        let [found] = proven.forks.as_slice() else { panic!("{proven:?}") };
        assert_eq!((found.seq, found.continues, found.highest, found.elsewhere), (1015, 10, 15, None));
        let all: Vec<Mark> = lost.iter().chain(&records).map(mark).collect();
        let proven = prove(&records, &all).unwrap();
        assert_eq!((proven.anchored, proven.forks[0].elsewhere), (Some(1016), Some((11, 15))));
        assert_eq!(proven.forks[0].accepted, None);
    }

    #[test]
    fn heads_that_no_fork_explains_are_found() {
        let (records, lost) = restored();
        let other = |seq| Mark { seq, hash: Digest([9; 32]) };
        assert_eq!(prove(&records, &[other(5)]), bad(5, Cause::OtherAnchored), "it is before the branch");
        assert_eq!(prove(&records, &[other(15)]), bad(15, Cause::OtherAnchored), "the record names another head");
        assert_eq!(prove(&records, &[other(1016)]), bad(1016, Cause::OtherAnchored));
        assert_eq!(prove(&records, &[other(1017)]), bad(1017, Cause::CutOff(1017)));
        // Another database in the place of the own one: all its records stand where others stood.
        let mut foreign = samples::chain(19);
        let (first, second) = (mark(&lost[0]), Mark { seq: 12, hash: Digest([7; 32]) });
        append(&mut foreign, 1019, fork(19, 19, &[second]));
        append(&mut foreign, 1020, alert());
        assert_eq!(prove(&foreign, &[first, other(3), second]).unwrap().forks[0].elsewhere, Some((3, 12)));
        assert_eq!(prove(&foreign, &[other(13)]), bad(13, Cause::OtherAnchored));
        assert_eq!(prove(&foreign, &[other(12)]), bad(12, Cause::OtherAnchored));
    }

    #[test]
    fn a_gap_that_no_fork_explains_is_found() {
        let (records, _) = restored();
        let without = |index: usize| {
            let mut records = records.clone();
            records.remove(index);
            prove(&records, &[])
        };
        assert_eq!(without(10), bad(11, Cause::Gap { found: 1016 }));
        assert_eq!(without(9), bad(10, Cause::Gap { found: 1015 }));
        assert_eq!(without(4), bad(5, Cause::Gap { found: 6 }));
        let mut far = records[..10].to_vec();
        append(&mut far, 15 + WIDE_MARGIN, fork(10, 15, &[]));
        assert!(prove(&far, &[]).is_ok());
        far.pop();
        append(&mut far, 16 + WIDE_MARGIN, fork(10, 15, &[]));
        assert_eq!(prove(&far, &[]), bad(11, Cause::Gap { found: 16 + WIDE_MARGIN }), "no loss makes such a gap");
        far.pop();
        append(&mut far, 1015, fork(10, 15, &[Mark { seq: 16, hash: Digest([7; 32]) }]));
        assert_eq!(prove(&far, &[]), bad(11, Cause::Gap { found: 1015 }), "a head that is higher than the highest");
        for (continues, highest) in [(9, 15), (11, 15), (10, 9), (10, 1015), (0, 15), (10, u64::MAX)] {
            let mut records = records[..10].to_vec();
            append(&mut records, 1015, fork(continues, highest, &[]));
            assert_eq!(prove(&records, &[]), bad(11, Cause::Gap { found: 1015 }), "{continues} {highest}");
        }
        // Without a gap as well.
        let mut records = records[..10].to_vec();
        append(&mut records, 11, fork(9, 9, &[]));
        assert_eq!(prove(&records, &[]), bad(11, Cause::Fork(9)));
        records.pop();
        append(&mut records, 11, fork(10, 10, &[]));
        assert_eq!(prove(&records, &[]).unwrap().forks.len(), 1);
    }

    #[test]
    fn a_new_database_in_the_place_of_a_lost_one_begins_with_a_fork() {
        let mut records = Vec::new();
        append(&mut records, 1030, fork(0, 30, &[]));
        append(&mut records, 1031, alert());
        assert_eq!(
            prove(&records, &[Mark { seq: 7, hash: Digest([7; 32]) }]).unwrap().forks[0].elsewhere,
            Some((7, 7))
        );
        let part = |first: u64| {
            let mut proof = Proof::new(Begin::Part(first), Signers::Anybody, []);
            proof.bare_record(records[0].1.as_bytes()).and_then(|()| proof.end(9, None)).map(|proven| proven.records)
        };
        assert_eq!((part(1030), part(20)), (Ok(1), Ok(1)));
        assert!(part(1031).is_err());
    }

    /// Without a key: a fork that says that a power failure has lost the last records, over records that were synced.
    #[test]
    fn a_power_failure_explains_no_anchored_record() {
        let lost = samples::chain(15);
        let mut records = lost[..10].to_vec();
        append(&mut records, 1015, fork(10, 15, &[]));
        append(&mut records, 1016, samples::events().remove(2));
        assert!(!prove(&records, &[]).unwrap().forks[0].told);
        assert_eq!(prove(&records, &[mark(&lost[12])]), bad(13, Cause::OtherAnchored));
        let Event::Alert(mut alert) = alert() else { panic!() };
        append(&mut records, 1017, Event::Alert(alert.clone()));
        assert!(!prove(&records, &[]).unwrap().forks[0].told, "the alert comes before any other record");
        alert.code = crate::evidence::acceptance::ACCEPTED.to_owned();
        append(&mut records, 1018, Event::Alert(alert));
        assert_eq!(prove(&records, &[mark(&lost[12])]).unwrap().forks[0].accepted, Some(1018));
    }

    #[test]
    fn root_accepts_a_fork_after_it() {
        let (mut records, _) = restored();
        let Event::Alert(mut alert) = alert() else { panic!() };
        alert.code = crate::evidence::acceptance::ACCEPTED.to_owned();
        append(&mut records, 1017, Event::Alert(alert));
        assert_eq!(prove(&records, &[]).unwrap().forks[0].accepted, Some(1017));
    }
}
