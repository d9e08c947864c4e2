//! What a `prune` record may say: a pruning removes only what is a day old at least, and so does not hide what has just happened.
//! The time of what was removed is proved by the signature of the checkpoint that is left of it, not by the record.

use serde::Deserialize;

use super::faults::{Cause, FirstBad};
use super::mark::Mark;
use super::record::parse;
use crate::clock::{TOLERANCE_US, Timestamp};

/// The shortest time that records are kept, in seconds.
pub const KEEP_LEAST: i64 = 86_400;

/// The prune records of a verification in progress.
#[derive(Debug, Default)]
pub(super) struct Prunings {
    /// The last record that was removed.
    begin: Option<Mark>,
    /// When its checkpoint was signed, in seconds since 1970.
    signed: Option<i64>,
    /// The latest time of a kept `epoch` record of the line that the checkpoint of the last removed record belongs to.
    certified: Option<Timestamp>,
    /// The last record, if it is a prune record whose own checkpoint has not come yet, with its time.
    unsigned: Option<(u64, Timestamp)>,
    /// The last prune record whose own checkpoint is by a key that does not count.
    foreign: Option<u64>,
}

#[derive(Deserialize)]
struct Keys {
    time: Timestamp,
    before: Timestamp,
    through: u64,
}

impl Prunings {
    /// Starts behind the last record that was removed, if any was.
    pub(super) fn behind(begin: Option<Mark>) -> Self {
        Self { begin, ..Self::default() }
    }

    /// Sets the latest time of a kept `epoch` record of the present line.
    pub(super) fn certified(&mut self, latest: Option<Timestamp>) {
        self.certified = latest;
    }

    /// Processes a checkpoint with a valid signature. `counts`: it is by a key of the host.
    pub(super) fn checkpoint(&mut self, seq: u64, at: i64, counts: bool) -> Result<(), FirstBad> {
        if self.begin.is_some_and(|begin| begin.seq == seq) {
            self.signed = Some(at);
        }
        let Some((pruning, time)) = self.unsigned.take_if(|(pruning, _)| *pruning == seq) else { return Ok(()) };
        if !counts {
            self.foreign = Some(pruning);
        }
        // The second of the signature has begun before it.
        let latest = Timestamp::from_seconds(at).plus_seconds(1).0.saturating_add(TOLERANCE_US);
        if time.0 > latest {
            return Err(bad(pruning, "is a pruning that was signed earlier than it says".to_owned()));
        }
        Ok(())
    }

    /// Processes record `seq` of this kind.
    pub(super) fn record(&mut self, seq: u64, kind: &str, body: &[u8]) -> Result<(), FirstBad> {
        self.is_signed()?;
        if kind == "prune" { self.prune(seq, body) } else { Ok(()) }
    }

    /// Ends the verification. `accepted`: the last acceptance by root; `signed`: the last record that a key of the host signed.
    pub(super) fn end(mut self, accepted: u64, signed: u64) -> Result<(), FirstBad> {
        self.is_signed()?;
        match self.foreign {
            Some(pruning) if accepted <= pruning || signed < accepted => {
                Err(bad(pruning, "is a pruning that another key signed, and root has not accepted that".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// The transaction that writes the record of a pruning stores its checkpoint too.
    fn is_signed(&mut self) -> Result<(), FirstBad> {
        self.unsigned.take().map_or(Ok(()), |(pruning, _)| {
            Err(bad(pruning, "is a pruning without a checkpoint of its own: this host has not written it".to_owned()))
        })
    }

    fn prune(&mut self, seq: u64, body: &[u8]) -> Result<(), FirstBad> {
        // A record that lacks a key is reported as that.
        let Ok(Keys { time, before, through }) = parse::<Keys>(body) else { return Ok(()) };
        self.unsigned = Some((seq, time));
        if before > time.plus_seconds(-KEEP_LEAST) {
            return Err(bad(seq, "is a pruning of records that were not a day old".to_owned()));
        }
        if self.begin.is_none_or(|begin| begin.seq != through) {
            return Ok(());
        }
        if self.certified.is_some_and(|certified| certified >= before) {
            return Err(bad(
                seq,
                format!("is a pruning of what was older than record {through}, whose epoch began later"),
            ));
        }
        match self.signed {
            None => Err(bad(seq, format!("is a pruning up to record {through}, and no checkpoint of that is left"))),
            Some(at) if Timestamp::from_seconds(at) > before => Err(bad(
                seq,
                format!("is a pruning of what was older than record {through}, whose checkpoint was signed later"),
            )),
            Some(_) => Ok(()),
        }
    }
}

fn bad(seq: u64, what: String) -> FirstBad {
    FirstBad { seq, cause: Cause::Pruning(what) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Digest;

    const DAY: i64 = 86_400_000_000;

    fn pruned(time: i64, before: i64, through: u64) -> Vec<u8> {
        format!(r#"{{"before":{before},"through":{through},"time":{time}}}"#).into_bytes()
    }

    fn behind(seq: u64) -> Prunings {
        Prunings::behind(Some(Mark { seq, hash: Digest::ZERO }))
    }

    #[test]
    fn a_pruning_removes_nothing_that_is_not_a_day_old() {
        let told = |before| behind(3).record(9, "prune", &pruned(9 * DAY, before, 2));
        assert!(told(8 * DAY).is_ok());
        assert!(told(8 * DAY + 1).unwrap_err().to_string().contains("not a day old"));
        assert!(told(i64::MAX).is_err() && told(i64::MIN).is_ok());
    }

    #[test]
    fn the_checkpoint_that_is_left_is_older_than_what_was_removed() {
        let told = |at: Option<i64>| {
            let mut prunings = behind(3);
            at.map_or(Ok(()), |at| prunings.checkpoint(3, at, false)).unwrap();
            prunings.record(9, "prune", &pruned(9 * DAY, 8 * DAY, 3))
        };
        assert!(told(Some(8 * 86_400)).is_ok());
        assert!(told(Some(8 * 86_400 + 1)).unwrap_err().to_string().contains("signed later"));
        assert!(told(None).unwrap_err().to_string().contains("no checkpoint"));
    }

    /// Without a key: a record of a time to come, which the next signature covers; an alert about the clock changes nothing.
    #[test]
    fn a_pruning_has_its_own_checkpoint_of_its_time() {
        let begun = || {
            let mut prunings = behind(3);
            prunings.record(9, "prune", &pruned(9 * DAY, 8 * DAY, 2)).unwrap();
            prunings
        };
        let missing = |told: Result<(), FirstBad>| {
            let bad = told.unwrap_err();
            assert!(bad.seq == 9 && bad.to_string().contains("without a checkpoint of its own"), "{bad}");
        };
        missing(begun().end(0, 9));
        for code in ["clock-set-back", "clock-behind-after-boot", crate::evidence::acceptance::ACCEPTED] {
            let mut prunings = begun();
            missing(prunings.record(10, "alert", format!(r#"{{"code":"{code}"}}"#).as_bytes()));
            assert!(prunings.record(11, "x", b"{}").is_ok(), "once");
        }
        missing(begun().record(10, "prune", &pruned(9 * DAY, 8 * DAY, 2)));
        let signed = |at, counts| {
            let mut prunings = begun();
            prunings.checkpoint(9, at, counts).map(|()| prunings)
        };
        assert!(signed(8 * 86_400, true).unwrap_err().to_string().contains("signed earlier"));
        assert!(signed(9 * 86_400 - 61, true).is_ok() && signed(9 * 86_400 - 62, true).is_err());
        assert!(signed(i64::MIN, true).is_err());
        assert!(signed(9 * 86_400, true).unwrap().end(0, 9).is_ok());
        let foreign = |accepted, through| signed(9 * 86_400, false).unwrap().end(accepted, through);
        assert!(foreign(0, 9).is_err() && foreign(10, 9).is_err() && foreign(10, 11).is_ok());
        let mut prunings = begun();
        prunings.checkpoint(8, 9 * 86_400, true).unwrap();
        missing(prunings.end(0, 9));
    }

    #[test]
    fn no_epoch_of_the_removed_records_began_after_them() {
        let told = |certified| {
            let mut prunings = behind(3);
            prunings.certified(Some(Timestamp(certified)));
            prunings.checkpoint(3, 2 * 86_400, true).unwrap();
            prunings.record(9, "prune", &pruned(9 * DAY, 8 * DAY, 3))
        };
        assert!(told(8 * DAY - 1).is_ok());
        assert!(told(8 * DAY).unwrap_err().to_string().contains("epoch began later"));
    }
}
