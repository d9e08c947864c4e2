//! Forks that need root's acceptance: all but one that a power failure explains. Until then nothing gives power.

use serde::Deserialize;

use super::acts::inconsistency;
use super::{FirstBad, Power};
use crate::evidence::fork_event::{FORK, Fork, MARGIN};
use crate::evidence::record::parse;

/// How many records a power failure may lose at most.
const UNSYNCED: u64 = 64;

/// The source of the head that names the last synced record, which no power failure loses.
const ANCHOR: &str = "anchor";

/// What is kept of the records for this.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// The last record.
    last: Vec<u8>,
    /// A fork that needs an alert, which has not come yet.
    untold: Option<u64>,
}

#[derive(Deserialize)]
struct Boot<'a> {
    #[serde(borrow)]
    boot_id: std::borrow::Cow<'a, str>,
    #[serde(default)]
    seq: u64,
}

impl Power {
    /// Processes record `seq`. Returns an error if it follows a fork that lacks its alert.
    pub(super) fn doubt(&mut self, seq: u64, kind: &str, body: &[u8]) -> Result<(), FirstBad> {
        let mut told = Ok(());
        if kind == FORK {
            // The record before it may be pruned.
            let before = (!self.doubt.last.is_empty()).then_some(&self.doubt.last[..]);
            if !is_power_failure(before, self.pruned.is_some(), body) {
                (self.kept.doubted, self.doubt.untold) = (Some(seq), Some(seq));
            }
        } else if kind == "alert" && self.kept.doubted.is_some_and(|doubted| doubted == seq) {
            // Its alert.
            self.doubt.untold = None;
        } else if kind != "alert" {
            told = self.alerted();
        }
        self.doubt.last.clear();
        self.doubt.last.extend_from_slice(body);
        told
    }

    /// Returns the error for a fork without its alert, once.
    pub(super) fn alerted(&mut self) -> Result<(), FirstBad> {
        self.doubt.untold.take().map_or(Ok(()), |fork| {
            Err(inconsistency(fork, "is a fork, and no alert says that the database is an older copy".to_owned()))
        })
    }
}

/// Whether a power failure explains the fork: it follows a boot, at most so many records are lost, they are behind all others, and
/// none of them was synced.
fn is_power_failure(before: Option<&[u8]>, is_pruned: bool, body: &[u8]) -> bool {
    let (Ok(fork), Ok(now)) = (parse::<Fork>(body), parse::<Boot<'_>>(body)) else { return false };
    let follows_boot = match before {
        Some(before) => parse::<Boot<'_>>(before).is_ok_and(|then| then.boot_id != now.boot_id),
        None => is_pruned,
    };
    let is_lost = |head: &crate::evidence::record::LostHead| head.seq > fork.continues && head.source != ANCHOR;
    // The anchor is there, so the highest number is known.
    let is_near = now.seq.saturating_sub(fork.highest) <= MARGIN;
    follows_boot && is_near && fork.highest.saturating_sub(fork.continues) <= UNSYNCED && fork.heads.iter().all(is_lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fork(boot: &str, highest: u64, head: (u64, &str)) -> Vec<u8> {
        let heads = format!(r#"[{{"head":"{}","seq":{},"source":"{}"}}]"#, "a".repeat(64), head.0, head.1);
        let seq = highest + MARGIN;
        format!(
            r#"{{"boot_id":"{boot}","continues":7,"heads":{heads},"highest":{highest},"sentence":"x","seq":{seq}}}"#
        )
        .into_bytes()
    }

    #[test]
    fn only_a_boot_and_a_few_unsynced_records_explain_a_fork() {
        let before = br#"{"boot_id":"a"}"#;
        let explains = |fork: &[u8]| is_power_failure(Some(before), false, fork);
        assert!(explains(&fork("b", 8, (8, "syslog"))) && explains(&fork("b", 71, (71, "syslog"))));
        assert!(!explains(&fork("a", 8, (8, "syslog"))), "the same boot");
        assert!(!explains(&fork("b", 72, (72, "syslog"))), "too many");
        assert!(!explains(&fork("b", 8, (8, "anchor"))), "a synced record");
        assert!(!explains(&fork("b", 8, (7, "syslog"))), "not the last ones");
        let far = String::from_utf8(fork("b", 8, (8, "syslog"))).unwrap().replace("1008", "1009");
        assert!(!explains(far.as_bytes()), "a gap that only an unknown number explains");
        let first = |is_pruned| is_power_failure(None, is_pruned, &fork("b", 8, (8, "syslog")));
        assert!(!explains(b"{}") && !first(false) && first(true));
    }
}
