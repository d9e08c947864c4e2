//! A verification on the host with more heads than fit into one request: several requests, each with some of the heads that decide, so
//! that each of these is compared. Of heads without a signature, which decide nothing, it sends as many as fit besides.

use jit_core::wire::{AuditVerify, ForkInfo, HeadsInfo, VerifyInfo};

use crate::broker::{Broker, BrokerError};

/// How many heads without a signature fit into one request to the broker, and how many copies of the anchor.
const MARKS: usize = 5_000;

/// How many signed heads fit into it besides.
const HEADS: usize = 7_000;

/// Asks the broker as often as needed. Returns what it has found, and how many heads without a signature were compared.
pub(super) fn ask(broker: &Broker, whole: AuditVerify) -> Result<(VerifyInfo, usize), BrokerError> {
    let parts = parts(whole);
    let unsigned = parts.iter().map(|part| part.unsigned.len()).sum();
    let mut found: Option<VerifyInfo> = None;
    for part in parts {
        let next = broker.ask(&part)?;
        let both = match found {
            Some(before) => merged(before, next),
            None => next,
        };
        if !both.intact {
            return Ok((both, unsigned));
        }
        found = Some(both);
    }
    Ok((found.unwrap_or_default(), unsigned))
}

/// Divides a request so that each part fits.
fn parts(whole: AuditVerify) -> Vec<AuditVerify> {
    let AuditVerify { anchor, heads, unsigned, keys, sealing_keys, epochs } = whole;
    let count = heads.len().div_ceil(HEADS).max(anchor.len().div_ceil(MARKS)).max(1);
    let unsigned = spread(unsigned, count.saturating_mul(MARKS));
    let (mut anchor, mut heads, mut unsigned) = (anchor.into_iter(), heads.into_iter(), unsigned.into_iter());
    let part = |_| AuditVerify {
        anchor: anchor.by_ref().take(MARKS).collect(),
        heads: heads.by_ref().take(HEADS).collect(),
        unsigned: unsigned.by_ref().take(MARKS).collect(),
        keys: keys.clone(),
        sealing_keys: sealing_keys.clone(),
        epochs: epochs.clone(),
    };
    (0..count).map(part).collect()
}

/// Selects at most `count`, spread over all of them, always including the last.
fn spread<T>(mut all: Vec<T>, count: usize) -> Vec<T> {
    let step = all.len().div_ceil(count).max(1);
    let last = all.len().saturating_sub(1) % step;
    let mut number = 0;
    all.retain(|_| {
        number += 1;
        (number - 1) % step == last
    });
    all
}

/// Combines two verifications of one journal with different heads; the second was made later.
fn merged(before: VerifyInfo, next: VerifyInfo) -> VerifyInfo {
    if !next.intact {
        return next;
    }
    VerifyInfo {
        anchored: before.anchored.max(next.anchored),
        heads: heads(before.heads, next.heads),
        pruned_heads: before.pruned_heads.saturating_add(next.pruned_heads),
        forks: next.forks.into_iter().map(|fork| with_heads(fork, &before.forks)).collect(),
        ..next
    }
}

fn heads(before: HeadsInfo, next: HeadsInfo) -> HeadsInfo {
    let HeadsInfo {
        signed,
        cosigned,
        cosigned_at,
        witnesses,
        lost,
        replaced,
        beyond,
        others,
        undecided,
        pruned,
        uncompared,
        unsigned,
        disagreeing,
        first_disagreeing,
    } = next;
    let (cosigned, cosigned_at) = (before.cosigned, before.cosigned_at).max((cosigned, cosigned_at));
    HeadsInfo {
        signed: before.signed.max(signed),
        cosigned,
        cosigned_at,
        witnesses: before.witnesses | witnesses,
        lost: before.lost.saturating_add(lost),
        replaced: before.replaced.saturating_add(replaced),
        beyond: before.beyond.saturating_add(beyond),
        others: before.others.saturating_add(others),
        undecided: before.undecided.saturating_add(undecided),
        pruned: before.pruned.saturating_add(pruned),
        uncompared: before.uncompared.saturating_add(uncompared),
        unsigned: before.unsigned.max(unsigned),
        disagreeing: before.disagreeing.saturating_add(disagreeing),
        first_disagreeing: before.first_disagreeing.into_iter().chain(first_disagreeing).min(),
    }
}

/// Returns the fork with the heads elsewhere that an earlier verification has found of its lost branch.
fn with_heads(fork: ForkInfo, before: &[ForkInfo]) -> ForkInfo {
    let same = before.iter().find(|other| other.seq == fork.seq);
    let first = same.and_then(|other| other.first_elsewhere).into_iter().chain(fork.first_elsewhere).min();
    let last = same.and_then(|other| other.last_elsewhere).max(fork.last_elsewhere);
    ForkInfo { first_elsewhere: first, last_elsewhere: last, ..fork }
}

#[cfg(test)]
mod tests {
    use jit_core::wire::{HeadInfo, MarkInfo, REQUEST_LIMIT, Verb};

    use super::*;

    fn head(size: u64) -> HeadInfo {
        HeadInfo {
            size,
            root: "f".repeat(64),
            origin: format!("jit-sudo/{}", "f".repeat(64)),
            key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea".to_owned(),
            cosigned: Some(u64::MAX),
            witnesses: u64::MAX,
            seq: Some(u64::MAX),
        }
    }

    fn marks(count: u64) -> Vec<MarkInfo> {
        (0..count).map(|seq| MarkInfo { seq: u64::MAX - seq, head: "f".repeat(64) }).collect()
    }

    fn whole(heads: u64, unsigned: u64) -> AuditVerify {
        AuditVerify {
            anchor: marks(1),
            heads: (0..heads).map(|size| head(u64::MAX - size)).collect(),
            unsigned: marks(unsigned),
            keys: vec!["k".to_owned()],
            sealing_keys: Vec::new(),
            epochs: Vec::new(),
        }
    }

    #[test]
    fn each_signed_head_is_in_a_request_that_the_broker_reads() {
        for (heads, count) in [(0, 1), (7_000, 1), (7_001, 2), (17_000, 3)] {
            let all = whole(heads, 30_000);
            let sent = parts(all.clone());
            assert_eq!(sent.len(), count, "{heads}");
            let sizes = |parts: &[AuditVerify]| -> Vec<u64> {
                parts.iter().flat_map(|part| part.heads.iter().map(|head| head.size)).collect()
            };
            assert_eq!(sizes(&sent), sizes(&[all]), "no head is left out");
            for part in &sent {
                assert!(part.to_question().unwrap().len() <= REQUEST_LIMIT && part.keys == ["k"]);
            }
            let last = sent.iter().flat_map(|part| &part.unsigned).next_back().unwrap();
            assert_eq!(last.seq, u64::MAX - 29_999, "the last of those without a signature");
        }
    }

    #[test]
    fn what_was_found_in_any_part_is_found() {
        let info = |heads: HeadsInfo| VerifyInfo { intact: true, heads, ..VerifyInfo::default() };
        let first = HeadsInfo {
            signed: Some(9),
            cosigned: Some(7),
            cosigned_at: Some(70),
            witnesses: 1,
            lost: 1,
            disagreeing: 1,
            first_disagreeing: Some(4),
            ..HeadsInfo::default()
        };
        let second = HeadsInfo {
            signed: Some(8),
            cosigned: Some(3),
            cosigned_at: Some(90),
            witnesses: 2,
            undecided: 2,
            ..HeadsInfo::default()
        };
        let both = merged(info(first), info(second)).heads;
        assert_eq!((both.signed, both.cosigned, both.cosigned_at, both.witnesses), (Some(9), Some(7), Some(70), 3));
        assert_eq!((both.lost, both.undecided, both.disagreeing, both.first_disagreeing), (1, 2, 1, Some(4)));
        let bad = VerifyInfo { first_bad: Some("record 7".to_owned()), ..VerifyInfo::default() };
        assert!(!merged(info(HeadsInfo::default()), bad).intact);
    }

    #[test]
    fn the_last_of_many_heads_is_always_selected() {
        for count in [0, 1, MARKS, MARKS + 1, 3 * MARKS + 7] {
            let all: Vec<usize> = (0..count).collect();
            let last = all.last().copied();
            let spread = spread(all, MARKS);
            assert!(spread.len() <= MARKS && spread.last().copied() == last, "{count}: {}", spread.len());
        }
    }
}
