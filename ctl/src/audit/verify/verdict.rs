//! Decides what a verification shows: which checks were made, which could not be made, and whether the journal is intact.
//! May not: print, or ask anything.

use jit_core::wire::VerifyInfo;

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
            | Self::NoTree
            | Self::NoHead
            | Self::OnlyPrunedHeads
            | Self::UndecidedHeads(_)
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
pub(super) fn judge(info: &VerifyInfo, asked: Asked) -> (Verdict, Vec<Check>) {
    if !info.intact {
        return (Verdict::Broken, Vec::new());
    }
    let mut checks = signatures(info, asked);
    checks.extend(elsewhere(info, asked));
    if info.foreign > 0 {
        checks.push(Check::Foreign(info.foreign));
    }
    let missing = checks.iter().any(Check::is_missing);
    (if missing { Verdict::AsFarAsCanBeTold } else { Verdict::Intact }, checks)
}

fn signatures(info: &VerifyInfo, asked: Asked) -> Vec<Check> {
    let mut checks = match &info.signed {
        Some(signed) => vec![Check::Signed(signed.through, asked.key)],
        None => vec![Check::Unsigned],
    };
    match &info.signed {
        Some(signed) if signed.through < info.last => {
            checks.push(Check::UnsignedEnd(signed.through.saturating_add(1), info.last));
        }
        Some(_) | None => {}
    }
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
    if heads.lost > 0 {
        checks.push(Check::LostHeads(heads.lost));
    }
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
    use jit_core::wire::{ForkInfo, HeadsInfo, SignedInfo};

    use super::*;

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
}
