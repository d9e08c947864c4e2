//! The result of a verification as text: one line for each check.

use jit_core::wire::{ComparedInfo, ForkInfo, VerifyInfo};

use super::verdict::{Check, Verdict};
use crate::audit::sealing::told;
use crate::clean::clean;
use crate::screen::Screen;
use crate::when;

/// Describes the checks of a journal in which nothing is wrong.
pub(super) fn lines(
    info: &VerifyInfo,
    verdict: Verdict,
    checks: &[Check],
    witnesses: &[String],
    screen: &Screen,
) -> String {
    let mut text = format!("chain intact: {} records, head {}\n", info.records, clean(&info.head));
    if info.before > 0 {
        text.push_str(&format!("begins after record {}\n", info.before));
    }
    let rows: Vec<(&str, String)> =
        checks.iter().map(|check| (row(check), sentence(check, info, witnesses, screen))).collect();
    let compared = info.compared.as_deref().map(|compared| ("tables", tables(compared)));
    for (name, sentence) in rows.into_iter().chain(compared) {
        text.push_str(&format!("{name:<11}  {sentence}\n"));
    }
    if let Some(sealing) = &info.sealing {
        text.push_str(&told(sealing, screen.now));
    }
    for fork in &info.forks {
        text.push_str(&forked(fork));
    }
    text.push_str(match verdict {
        Verdict::Intact => "intact\n",
        Verdict::AsFarAsCanBeTold | Verdict::Broken => "intact as far as can be told\n",
    });
    text
}

fn row(check: &Check) -> &'static str {
    match check {
        Check::Signed(..)
        | Check::Unsigned
        | Check::UnsignedEnd(..)
        | Check::AfterRetirement(..)
        | Check::SignedLater(_)
        | Check::Foreign(_) => "signatures",
        Check::Tree | Check::NoTree => "tree heads",
        Check::Anchor(_) => "anchor",
        Check::Head(_)
        | Check::NoHead
        | Check::OnlyPrunedHeads
        | Check::UndecidedHeads(_)
        | Check::HeadsOfUnknownKey
        | Check::LostHeads(_)
        | Check::ReplacedHeads(_)
        | Check::HeadsBeyond(_)
        | Check::OtherHeads(_)
        | Check::PrunedHeads(_) => "kept heads",
        Check::UnacceptedFork(_) => "forks",
        Check::Witness(..) | Check::NoCosignature(_) | Check::NoWitness => "witness",
        Check::Disagreeing(..) | Check::SomeUnsigned(..) => "other lines",
    }
}

fn sentence(check: &Check, info: &VerifyInfo, witnesses: &[String], screen: &Screen) -> String {
    let at = |seconds: i64| when::short(seconds, screen.now);
    let sentence = match check {
        Check::Signed(through, known) => {
            let (when, key) =
                info.signed.as_ref().map(|signed| (at(signed.at), clean(&signed.key))).unwrap_or_default();
            let whose = if *known { "" } else { " (whose key that is was not asked: --public-key)" };
            format!("signed up to record {through} at {when} by {key}{whose}")
        }
        Check::Unsigned => "no record is signed".to_owned(),
        Check::UnsignedEnd(first, last) if first == last => format!("record {last} is not signed yet"),
        Check::UnsignedEnd(first, last) => format!("records {first} to {last} are not signed yet"),
        Check::AfterRetirement(first, last) if first == last => {
            format!("record {last} follows the retirement of the host, and nobody signs it")
        }
        Check::AfterRetirement(first, last) => {
            format!("records {first} to {last} follow the retirement of the host, and nobody signs them")
        }
        Check::SignedLater(seq) => format!("the checkpoint of record {seq} states a time in the future"),
        Check::Tree => "those of all checkpoints are the trees of the records".to_owned(),
        Check::NoTree => "the records before this file are unknown".to_owned(),
        Check::Anchor(seq) => format!("the anchor agrees up to record {seq}"),
        Check::Head(seq) => format!("a signed head that was kept elsewhere agrees up to record {seq}"),
        Check::NoHead => "no signed head of this journal that was kept elsewhere was given (--anchor FILE)".to_owned(),
        Check::OnlyPrunedHeads => "the signed heads that were given are of records that were pruned".to_owned(),
        Check::UndecidedHeads(count) => format!(
            "{count} differ, and nothing shows whether they are of records that were lost or of the journal after that loss"
        ),
        Check::UnacceptedFork(seq) => {
            format!("root has not accepted that records were lost before record {seq} (jitctl key accept --reason WHY)")
        }
        Check::HeadsOfUnknownKey => "the key that signed them was not given (--public-key KEY)".to_owned(),
        Check::Witness(seq, time) => {
            format!("cosigned up to record {seq} at {}", at(i64::try_from(*time).unwrap_or(i64::MAX)))
        }
        Check::NoCosignature(witness) => format!(
            "no head of this journal with a cosignature of {} that could be compared was given (--anchor FILE)",
            witnesses.get(*witness).map(|name| clean(name)).unwrap_or_default()
        ),
        Check::NoWitness => "no witness was named (--witness KEY)".to_owned(),
        Check::LostHeads(count) => format!("{count} belong to records that were lost"),
        Check::ReplacedHeads(count) => format!(
            "{count} differ; a fork explains them that names another record in the place of one of this journal, and explains every head \
             up to there"
        ),
        Check::HeadsBeyond(count) => format!(
            "{count} by a former host key are of more records than it can have signed here: an older journal was put back before the key \
             was replaced, or somebody has that key"
        ),
        Check::OtherHeads(count) => format!(
            "{count} are by given keys that this journal is not by: it was begun anew or rewritten, or the keys are those of other hosts"
        ),
        Check::PrunedHeads(count) => format!("{count} are of records that were pruned, and not compared"),
        Check::Disagreeing(count, first) => format!(
            "{count} without a signature disagree, from record {first} on; any user can write such lines, so they do not decide"
        ),
        Check::SomeUnsigned(count, all) => {
            format!("{count} of {all} heads without a signature were compared; they do not decide")
        }
        Check::Foreign(count) => format!("{count} checkpoints by other keys count for nothing"),
    };
    let missing = check.is_missing() || matches!(check, Check::NoWitness);
    if missing && !matches!(check, Check::Signed(..)) { format!("not checked: {sentence}") } else { sentence }
}

/// Describes a fork: which records were lost, and which of them have a head elsewhere.
fn forked(fork: &ForkInfo) -> String {
    let ForkInfo { seq, continues, highest, .. } = fork;
    let lost = match continues.checked_add(1) {
        Some(first) if first == *highest => format!("record {first} was lost"),
        Some(first) if first < *highest => format!("records {first} to {highest} were lost"),
        _ => "an unknown number of records was lost".to_owned(),
    };
    let after = if *continues == 0 { "has none before it".to_owned() } else { format!("continues record {continues}") };
    let mut text = format!("fork: record {seq} {after}; {lost}");
    if let Some(accepted) = fork.accepted {
        text.push_str(&format!("; accepted by record {accepted}"));
    } else {
        text.push_str("; root has not accepted that");
    }
    text.push('\n');
    for head in &fork.heads {
        text.push_str(&format!("  lost head: record {}, {} ({})\n", head.seq, clean(&head.head), clean(&head.source)));
    }
    match (fork.first_elsewhere, fork.last_elsewhere) {
        (Some(first), Some(last)) if first == last => {
            text.push_str(&format!("  the anchor has record {first} of the lost branch\n"));
        }
        (Some(first), Some(last)) => {
            text.push_str(&format!("  the anchor has records of the lost branch, from {first} to {last}\n"));
        }
        _ => {}
    }
    text
}

fn tables(compared: &ComparedInfo) -> String {
    let ComparedInfo { requests, approvals, grants, debts, statements, older, older_open } = compared;
    let mut text = format!(
        "the database agrees: {}, {}, {}, {}, {}",
        counted(*requests, "request", "requests"),
        counted(*approvals, "approval", "approvals"),
        counted(*grants, "grant", "grants"),
        counted(*debts, "break-glass review", "break-glass reviews"),
        counted(*statements, "denial, revocation or release", "denials, revocations and releases"),
    );
    if *older > 0 {
        let grants = counted(*older, "grant from before the pruning", "grants from before the pruning");
        text.push_str(&format!("\n             {grants}, {older_open} open: the end was not compared"));
    }
    text
}

fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}
