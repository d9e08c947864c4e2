//! Decides what a verification shows: which checks were made, which could not be made, and whether the journal is intact.
//! May not: print, or ask anything.

use jit_core::clock::TOLERANCE_US;
use jit_core::wire::{SignedInfo, VerifyInfo};

/// How certain it is that the journal is intact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The host signed it, and a signed head that was kept elsewhere agrees.
    Intact,
    /// Nothing is wrong, but a check that would show a journal that root has rewritten was not made.
    AsFarAsCanBeTold,
    /// Something is wrong.
    Broken,
}

/// What the caller asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// The key of the host is known: it was named, or this is the host.
    pub(super) key: bool,
    /// How many witnesses were named.
    pub(super) witnesses: usize,
    /// A file of heads has signed heads, but the key of the host is not known.
    pub(super) unreadable_heads: bool,
    /// How many heads without a signature were compared, and how many the files have.
    pub(super) unsigned: (usize, usize),
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    /// The host signed all records up to this one; whether its key is known.
    Signed(u64, bool),
    /// No checkpoint counts.
    Unsigned,
    /// These last records are not signed yet.
    UnsignedEnd(u64, u64),
    /// These last records follow the retirement of the host, and nobody signs them.
    AfterRetirement(u64, u64),
    /// The last checkpoint states a time in the future.
    SignedLater(u64),
    /// The tree heads of all checkpoints are those of the records.
    Tree,
    /// The records before the file are not known, so that tree heads could not be compared.
    NoTree,
    /// The anchor agrees up to this record.
    Anchor(u64),
    /// A signed head elsewhere agrees up to this record.
    Head(u64),
    /// There is no signed head elsewhere that could be compared.
    NoHead,
    /// All signed heads elsewhere are of records that were pruned.
    OnlyPrunedHeads,
    /// So many signed heads differ, and nothing shows whether they are of a branch that was lost.
    UndecidedHeads(u64),
    /// Records were lost by this fork, and root has not accepted that.
    UnacceptedFork(u64),
    /// There are signed heads, but nobody said whose key signs them.
    HeadsOfUnknownKey,
    /// A witness has cosigned the head up to this record, at this time.
    Witness(u64, u64),
    /// This witness, which was named, has cosigned no head that agrees.
    NoCosignature(usize),
    /// No witness was named.
    NoWitness,
    /// So many signed heads belong to branches that were lost.
    LostHeads(u64),
    /// So many signed heads differ, and are explained by a fork that names another record in the place of one of this journal.
    ReplacedHeads(u64),
    /// So many signed heads by a former host key are of more records than it can have signed.
    HeadsBeyond(u64),
    /// So many signed heads are by given keys that this journal is not by.
    OtherHeads(u64),
    /// So many heads are of records that were pruned.
    PrunedHeads(u64),
    /// So many heads without a signature disagree; the first names this record.
    Disagreeing(u64, u64),
    /// Only so many of the heads without a signature were compared; the files have this many.
    SomeUnsigned(usize, usize),
    /// So many checkpoints by other keys do not count.
    Foreign(u64),
}

impl Check {
    /// Whether it is a check that was not made, and that the verdict needs.
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Self::Signed(_, known) => !known,
            Self::Unsigned
            | Self::AfterRetirement(..)
            | Self::SignedLater(_)
            | Self::NoTree
            | Self::NoHead
            | Self::OnlyPrunedHeads
            | Self::UndecidedHeads(_)
            | Self::ReplacedHeads(_)
            | Self::HeadsBeyond(_)
            | Self::OtherHeads(_)
            | Self::UnacceptedFork(_)
            | Self::HeadsOfUnknownKey
            | Self::NoCosignature(_) => true,
            Self::UnsignedEnd(..)
            | Self::Tree
            | Self::Anchor(_)
            | Self::Head(_)
            | Self::Witness(..)
            | Self::NoWitness
            | Self::LostHeads(_)
            | Self::PrunedHeads(_)
            | Self::Disagreeing(..)
            | Self::SomeUnsigned(..)
            | Self::Foreign(_) => false,
        }
    }
}

/// Returns the verdict and the checks of a verification.
pub(super) fn judge(info: &VerifyInfo, asked: Asked, now: i64) -> (Verdict, Vec<Check>) {
    if !info.intact {
        return (Verdict::Broken, Vec::new());
    }
    let mut checks = signatures(info, asked, now);
    checks.extend(elsewhere(info, asked));
    if info.foreign > 0 {
        checks.push(Check::Foreign(info.foreign));
    }
    let missing = checks.iter().any(Check::is_missing);
    (if missing { Verdict::AsFarAsCanBeTold } else { Verdict::Intact }, checks)
}

fn signatures(info: &VerifyInfo, asked: Asked, now: i64) -> Vec<Check> {
    let mut checks = match &info.signed {
        Some(signed) => vec![Check::Signed(signed.through, asked.key)],
        None => vec![Check::Unsigned],
    };
    match &info.signed {
        Some(signed) if signed.through < info.last => {
            let (first, last) = (signed.through.saturating_add(1), info.last);
            let is_over = info.sealing.as_ref().is_some_and(|sealing| sealing.retired.is_some());
            let end = if is_over { Check::AfterRetirement(first, last) } else { Check::UnsignedEnd(first, last) };
            checks.push(end);
        }
        Some(_) | None => {}
    }
    let is_later = |signed: &&SignedInfo| signed.at > now.saturating_add(TOLERANCE_US / 1_000_000);
    checks.extend(info.signed.as_ref().filter(is_later).map(|signed| Check::SignedLater(signed.through)));
    checks.push(if info.tree { Check::Tree } else { Check::NoTree });
    checks
}

fn elsewhere(info: &VerifyInfo, asked: Asked) -> Vec<Check> {
    let heads = &info.heads;
    let mut checks: Vec<Check> = info.anchored.map(Check::Anchor).into_iter().collect();
    checks.push(match heads.signed {
        Some(seq) => Check::Head(seq),
        None if heads.pruned > 0 => Check::OnlyPrunedHeads,
        None if asked.unreadable_heads => Check::HeadsOfUnknownKey,
        None => Check::NoHead,
    });
    checks.extend(heads.cosigned.zip(heads.cosigned_at).map(|(seq, at)| Check::Witness(seq, at)));
    let has_cosigned = |witness: &usize| {
        heads.witnesses.checked_shr(u32::try_from(*witness).unwrap_or(u32::MAX)).is_some_and(|bits| bits & 1 == 1)
    };
    checks.extend((0..asked.witnesses).filter(|witness| !has_cosigned(witness)).map(Check::NoCosignature));
    if asked.witnesses == 0 {
        checks.push(Check::NoWitness);
    }
    let counted = [
        (heads.lost.saturating_sub(heads.replaced), Check::LostHeads as fn(u64) -> Check),
        (heads.replaced, Check::ReplacedHeads),
        (heads.beyond, Check::HeadsBeyond),
        (heads.others, Check::OtherHeads),
    ];
    checks.extend(counted.into_iter().filter(|(count, _)| *count > 0).map(|(count, check)| check(count)));
    if heads.undecided > 0 {
        checks.push(Check::UndecidedHeads(heads.undecided));
    }
    let pruned = info.pruned_heads.saturating_add(heads.pruned);
    if pruned > 0 {
        checks.push(Check::PrunedHeads(pruned));
    }
    let unaccepted = info.forks.iter().filter(|fork| fork.accepted.is_none());
    checks.extend(unaccepted.map(|fork| Check::UnacceptedFork(fork.seq)));
    if heads.disagreeing > 0 {
        checks.push(Check::Disagreeing(heads.disagreeing, heads.first_disagreeing.unwrap_or_default()));
    }
    if asked.unsigned.0 < asked.unsigned.1 {
        checks.push(Check::SomeUnsigned(asked.unsigned.0, asked.unsigned.1));
    }
    checks
}

#[cfg(test)]
mod tests {
    use jit_core::wire::{ForkInfo, HeadsInfo, RetirementInfo, SealingInfo};

    use super::*;

    fn judge(info: &VerifyInfo, asked: Asked) -> (Verdict, Vec<Check>) {
        super::judge(info, asked, 100)
    }

    fn info() -> VerifyInfo {
        let signed = Some(SignedInfo { through: 9, at: 7, key: "SHA256:x".into() });
        let heads = HeadsInfo { signed: Some(8), ..HeadsInfo::default() };
        VerifyInfo { intact: true, last: 9, signed, tree: true, heads, ..VerifyInfo::default() }
    }

    const ASKED: Asked = Asked { key: true, witnesses: 0, unreadable_heads: false, unsigned: (0, 0) };

    #[test]
    fn a_journal_is_intact_with_a_signed_head_from_elsewhere_and_the_key_of_its_host() {
        let verdict = |info: &VerifyInfo, asked| judge(info, asked).0;
        assert_eq!(verdict(&info(), ASKED), Verdict::Intact);
        let less = Verdict::AsFarAsCanBeTold;
        assert_eq!(verdict(&info(), Asked { key: false, ..ASKED }), less);
        assert_eq!(verdict(&VerifyInfo { signed: None, ..info() }, ASKED), less);
        assert_eq!(verdict(&VerifyInfo { tree: false, ..info() }, ASKED), less);
        assert_eq!(verdict(&VerifyInfo { heads: HeadsInfo::default(), ..info() }, ASKED), less);
        assert_eq!(verdict(&VerifyInfo { anchored: Some(9), heads: HeadsInfo::default(), ..info() }, ASKED), less);
        assert_eq!(verdict(&info(), Asked { witnesses: 1, ..ASKED }), less, "the witness has cosigned nothing");
        let cosigned = HeadsInfo { cosigned: Some(8), cosigned_at: Some(5), witnesses: 1, ..info().heads };
        let cosigned = VerifyInfo { heads: cosigned, ..info() };
        assert_eq!(verdict(&cosigned, Asked { witnesses: 1, ..ASKED }), Verdict::Intact);
        let (some, checks) = judge(&cosigned, Asked { witnesses: 2, ..ASKED });
        assert!(some == less && checks.contains(&Check::NoCosignature(1)), "each witness that is named: {checks:?}");
        assert_eq!(verdict(&VerifyInfo { intact: false, ..info() }, ASKED), Verdict::Broken);
    }

    #[test]
    fn a_loss_that_root_has_not_accepted_and_a_head_of_an_unknown_branch_are_not_intact() {
        let fork = |accepted| ForkInfo {
            seq: 1015,
            continues: 10,
            highest: 15,
            heads: Vec::new(),
            accepted,
            first_elsewhere: None,
            last_elsewhere: None,
        };
        let judged = |accepted| judge(&VerifyInfo { forks: vec![fork(accepted)], ..info() }, ASKED);
        assert!(judged(None).0 == Verdict::AsFarAsCanBeTold && judged(None).1.contains(&Check::UnacceptedFork(1015)));
        assert_eq!(judged(Some(1017)).0, Verdict::Intact);
        let heads = HeadsInfo { undecided: 1, ..info().heads };
        assert_eq!(judge(&VerifyInfo { heads, ..info() }, ASKED).0, Verdict::AsFarAsCanBeTold);
        let heads = HeadsInfo { signed: None, pruned: 2, ..info().heads };
        let (verdict, checks) = judge(&VerifyInfo { heads, ..info() }, ASKED);
        assert_eq!(verdict, Verdict::AsFarAsCanBeTold);
        assert!(checks.contains(&Check::OnlyPrunedHeads) && checks.contains(&Check::PrunedHeads(2)), "{checks:?}");
    }

    #[test]
    fn lines_that_any_user_can_write_do_not_change_the_verdict() {
        let heads = HeadsInfo { disagreeing: 3, first_disagreeing: Some(99), ..info().heads };
        let info = VerifyInfo { heads, ..info() };
        let (verdict, checks) = judge(&info, ASKED);
        assert!(verdict == Verdict::Intact && checks.contains(&Check::Disagreeing(3, 99)), "{checks:?}");
    }

    #[test]
    fn the_unsigned_end_is_named() {
        let info = VerifyInfo { last: 12, ..info() };
        let (verdict, checks) = judge(&info, ASKED);
        assert!(verdict == Verdict::Intact && checks.contains(&Check::UnsignedEnd(10, 12)), "{checks:?}");
    }

    #[test]
    fn what_the_host_can_not_have_signed_is_not_intact() {
        let sealing =
            |retired: Option<RetirementInfo>| Some(Box::new(SealingInfo { retired, ..SealingInfo::default() }));
        let retired = VerifyInfo { last: 12, sealing: sealing(Some(RetirementInfo::default())), ..info() };
        let (verdict, checks) = judge(&retired, ASKED);
        assert_eq!(verdict, Verdict::AsFarAsCanBeTold, "anybody can have written what follows a retirement");
        assert!(checks.contains(&Check::AfterRetirement(10, 12)), "{checks:?}");
        assert_eq!(judge(&VerifyInfo { last: 9, ..retired }, ASKED).0, Verdict::Intact);
        assert_eq!(judge(&VerifyInfo { last: 12, sealing: sealing(None), ..info() }, ASKED).0, Verdict::Intact);
        let at = |at: i64| VerifyInfo { signed: Some(SignedInfo { through: 9, at, key: "x".into() }), ..info() };
        assert_eq!(judge(&at(160), ASKED).0, Verdict::Intact);
        assert!(judge(&at(161), ASKED).1.contains(&Check::SignedLater(9)));
        assert_eq!(judge(&at(161), ASKED).0, Verdict::AsFarAsCanBeTold);
        let lost = HeadsInfo { lost: 2, ..info().heads };
        assert_eq!(judge(&VerifyInfo { heads: lost.clone(), ..info() }, ASKED).0, Verdict::Intact);
        let replaced = HeadsInfo { replaced: 1, ..lost.clone() };
        let (beyond, others) = (HeadsInfo { beyond: 1, ..info().heads }, HeadsInfo { others: 3, ..info().heads });
        for (heads, check) in
            [(replaced, Check::ReplacedHeads(1)), (beyond, Check::HeadsBeyond(1)), (others, Check::OtherHeads(3))]
        {
            let (verdict, checks) = judge(&VerifyInfo { heads, ..info() }, ASKED);
            assert!(verdict == Verdict::AsFarAsCanBeTold && checks.contains(&check), "{checks:?}");
        }
    }
}
