//! What a `prune` record may say: a pruning removes only what is a day old at least, and so does not hide what has just happened.
//! The time of what was removed is proved by the signature of the checkpoint that is left of it, not by the record.

use serde::Deserialize;

use super::acceptance;
use super::faults::{Cause, FirstBad};
use super::mark::Mark;
use super::record::parse;
use crate::clock::{TOLERANCE_US, Timestamp};

/// The shortest time that records are kept, in seconds.
pub const KEEP_LEAST: i64 = 86_400;

/// Alerts of a clock that was wrong: a signature after them may be of an earlier time.
const CLOCK_CHANGED: [&str; 2] = ["clock-set-back", "clock-behind-after-boot"];

/// The prune records of a verification in progress.
#[derive(Debug, Default)]
pub(super) struct Prunings {
    /// The last record that was removed.
    begin: Option<Mark>,
    /// When its checkpoint was signed, in seconds since 1970.
    signed: Option<i64>,
    /// The last prune record, with its time, until a checkpoint covers it.
    uncovered: Option<(u64, Timestamp)>,
}

#[derive(Deserialize)]
struct Keys {
    time: Timestamp,
    before: Timestamp,
    through: u64,
}

#[derive(Deserialize)]
struct Alerted<'a> {
    code: &'a str,
}

impl Prunings {
    /// Starts behind the last record that was removed, if any was.
    pub(super) fn behind(begin: Option<Mark>) -> Self {
        Self { begin, ..Self::default() }
    }

    /// Processes a checkpoint with a valid signature. `counts`: it is by a key of the host.
    pub(super) fn checkpoint(&mut self, seq: u64, at: i64, counts: bool) -> Result<(), FirstBad> {
        if self.begin.is_some_and(|begin| begin.seq == seq) {
            self.signed = Some(at);
        }
        let Some((pruning, time)) = self.uncovered.filter(|(pruning, _)| counts && *pruning <= seq) else {
            return Ok(());
        };
        self.uncovered = None;
        // The second of the signature has begun before it.
        let latest = Timestamp::from_seconds(at).plus_seconds(1).0.saturating_add(TOLERANCE_US);
        if time.0 > latest {
            return Err(bad(
                pruning,
                format!("was written later than the checkpoint of record {seq}, which covers it"),
            ));
        }
        Ok(())
    }

    /// Processes record `seq` of this kind.
    pub(super) fn record(&mut self, seq: u64, kind: &str, body: &[u8]) -> Result<(), FirstBad> {
        match kind {
            "prune" => self.prune(seq, body),
            "alert" if self.uncovered.is_some() => {
                let is_changed = |code| CLOCK_CHANGED.contains(&code) || acceptance::accepts(kind, Some(code));
                if parse::<Alerted<'_>>(body).is_ok_and(|alert| is_changed(alert.code)) {
                    self.uncovered = None;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn prune(&mut self, seq: u64, body: &[u8]) -> Result<(), FirstBad> {
        // A record that lacks a key is reported as that.
        let Ok(Keys { time, before, through }) = parse::<Keys>(body) else { return Ok(()) };
        self.uncovered = Some((seq, time));
        if before > time.plus_seconds(-KEEP_LEAST) {
            return Err(bad(seq, "is a pruning of records that were not a day old".to_owned()));
        }
        if self.begin.is_none_or(|begin| begin.seq != through) {
            return Ok(());
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

    #[test]
    fn a_pruning_is_not_later_than_the_next_signature() {
        let told = |alert: Option<&str>, counts| {
            let mut prunings = behind(3);
            prunings.record(9, "prune", &pruned(9 * DAY, 8 * DAY, 2)).unwrap();
            if let Some(code) = alert {
                prunings.record(10, "alert", format!(r#"{{"code":"{code}"}}"#).as_bytes()).unwrap();
            }
            prunings.checkpoint(11, 8 * 86_400, counts)
        };
        assert!(told(None, true).unwrap_err().to_string().contains("written later than the checkpoint of record 11"));
        assert!(told(Some("break-glass"), true).is_err());
        for code in ["clock-set-back", "clock-behind-after-boot", acceptance::ACCEPTED] {
            assert!(told(Some(code), true).is_ok(), "{code}");
        }
        assert!(told(None, false).is_ok(), "the signature of another key counts for nothing");
    }
}
