//! `jitctl audit verify`: verifies the journal of this host through the broker, or an exported file in this process.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use jit_core::evidence::{Mark, Signers};
use jit_core::grant::PublicKey;
use jit_core::wire::{AuditVerify, ComparedInfo, DifferenceInfo, ForkInfo, MarkInfo, VerifyInfo};

use super::{anchor, bundle, sealing};
use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::AuditVerifyWords;
use crate::output::Output;
use crate::replay::check::check;
use crate::screen::{Report, Screen};
use crate::speech::{Exit, Notice, Trouble};
use crate::when;

/// How many heads fit into one request to the broker.
const MARKS: usize = 20_000;

/// How many faults are shown; the JSON output has up to a hundred.
const TOLD: usize = 10;

/// The longest file of public keys, in bytes.
const KEYS_LIMIT: u64 = 1 << 20;

/// The exit status is 0 only for an intact journal.
pub(crate) fn verify(words: &AuditVerifyWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let marks = anchor::read(&words.anchor)?;
    let keys = words.public_key.as_deref().map(keys).transpose()?.unwrap_or_default();
    let sealing_keys = sealing::keys(&words.sealing_key)?;
    let info = match &words.file {
        Some(file) => of_file(file, words.from, &keys, marks, sealing_keys)?,
        None => {
            let anchor = spread(marks).into_iter().map(|mark| MarkInfo { seq: mark.seq, head: mark.hash.to_string() });
            let keys = keys.iter().map(|(line, _)| line.clone()).collect();
            let ask = AuditVerify { anchor: anchor.collect(), keys, sealing_keys };
            broker.ask(&ask)?
        }
    };
    let named = words.file.is_none() || !keys.is_empty();
    // A broken journal proves nothing about recordings.
    let checks = words.recordings && info.intact;
    let recordings = if checks { Some(check(broker)?) } else { None };
    Ok(report(VerifyInfo { recordings, ..info }, named, screen))
}

fn of_file(
    path: &Path,
    from: Option<u64>,
    keys: &[(String, PublicKey)],
    marks: Vec<Mark>,
    sealing_keys: Vec<String>,
) -> Result<VerifyInfo, Trouble> {
    let shown = clean(&path.display().to_string());
    let failed =
        |error| Trouble::Local("unreadable", Notice::new(format!("cannot read {shown}: {}", sys::plain_words(&error))));
    let input: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(path).map_err(failed)?),
    };
    let signers = match keys {
        [] => Signers::Anybody,
        keys => Signers::These(keys.iter().map(|(_, key)| key.clone()).collect()),
    };
    let lines = BufReader::with_capacity(1 << 20, input);
    Ok(bundle::prove(lines, from, signers, marks, sealing_keys).map_err(failed)?.map_or_else(Into::into, Into::into))
}

fn report(info: VerifyInfo, named: bool, screen: &Screen) -> Report {
    if !info.intact {
        let bad = sentence(&info);
        let notice = match info.differences.first().filter(|_| info.inconsistencies.is_empty()) {
            Some(difference) => {
                Notice::new(format!("the database differs from the journal: {bad}")).with_hint(hint(difference))
            }
            None => Notice::new(format!("chain broken: {bad}")).with_hint(
                "compare with the sequence numbers and heads in the copies outside this host, such as syslog",
            ),
        };
        return Report::done(Output::Verified(Box::new(info)), String::new()).but(Exit::Refused, notice);
    }
    let mut text = format!("chain intact: {} records, head {}\n", info.records, clean(&info.head));
    if info.before > 0 {
        text.push_str(&format!("begins after record {}\n", info.before));
    }
    if let Some(signed) = &info.signed {
        let (key, at) = (clean(&signed.key), when::short(signed.at, screen.now));
        let whose = if named { "" } else { " (whose key that is was not asked: --public-key)" };
        text.push_str(&format!("signed up to record {} at {at} by {key}{whose}\n", signed.through));
    }
    if let Some(seq) = info.anchored {
        text.push_str(&format!("the anchor agrees up to record {seq}\n"));
    }
    if let Some(sealing) = &info.sealing {
        text.push_str(&sealing::told(sealing));
    }
    info.forks.iter().for_each(|fork| text.push_str(&forked(fork)));
    if let Some(compared) = &info.compared {
        text.push_str(&tables(compared));
    }
    if info.foreign > 0 {
        text.push_str(&format!("{} checkpoints by other keys count for nothing\n", info.foreign));
    }
    let Some(checked) = &info.recordings else { return Report::done(Output::Verified(Box::new(info)), text) };
    text.push_str(&format!("recordings intact: {}\n", checked.intact));
    if checked.unsealed > 0 {
        text.push_str(&format!("{} of lost runs have no digest\n", checked.unsealed));
    }
    for bad in &checked.bad {
        text.push_str(&format!("{}\n", clean(bad)));
    }
    let notice = match checked.bad.as_slice() {
        [] => return Report::done(Output::Verified(Box::new(info)), text),
        [bad] => Notice::new(clean(bad)),
        many => Notice::new(format!("{} recordings differ from the journal", many.len())),
    };
    Report::done(Output::Verified(Box::new(info)), text).but(Exit::Refused, notice)
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

/// Describes what is wrong: the first bad record or, if records contain inconsistencies, all inconsistencies and
/// differences.
fn sentence(info: &VerifyInfo) -> String {
    let row = |row: &DifferenceInfo| format!("{} {}: {}", clean(&row.table), clean(&row.id), clean(&row.what));
    let all: Vec<String> =
        info.inconsistencies.iter().map(|line| clean(line)).chain(info.differences.iter().map(row)).collect();
    let hidden = all.len().saturating_sub(TOLD);
    match (info.inconsistencies.is_empty(), &info.first_bad) {
        (true, None) => "the broker does not say where".to_owned(),
        (true, Some(bad)) => clean(bad),
        (false, _) if hidden > 0 => {
            let first = all.get(..TOLD).unwrap_or(&all).join("; ");
            format!("{first}; and {hidden} more: jitctl --json audit verify")
        }
        (false, _) => all.join("; "),
    }
}

/// Names the command that shows what the row should contain, according to the records.
fn hint(difference: &DifferenceInfo) -> String {
    match difference.table.as_str() {
        "role_text" => "jitctl audit list".to_owned(),
        "policy_settings" | "policy_role" | "policy_principal" => "jitctl audit list --kind policy".to_owned(),
        _ => format!("jitctl audit show {}", clean(&difference.id)),
    }
}

fn tables(compared: &ComparedInfo) -> String {
    let ComparedInfo { requests, approvals, grants, debts, statements, older, older_open } = compared;
    let mut text = format!(
        "the database agrees: {}, {}, {}, {},\n{}\n",
        counted(*requests, "request", "requests"),
        counted(*approvals, "approval", "approvals"),
        counted(*grants, "grant", "grants"),
        counted(*debts, "break-glass review", "break-glass reviews"),
        counted(*statements, "denial, revocation or release", "denials, revocations and releases"),
    );
    if *older > 0 {
        let grants = counted(*older, "grant from before the pruning", "grants from before the pruning");
        text.push_str(&format!("{grants}, {older_open} open: the end was not compared\n"));
    }
    text
}

fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// Selects as many heads as one request may name, spread over all of them, always including the last.
fn spread(mut marks: Vec<Mark>) -> Vec<Mark> {
    let step = marks.len().div_ceil(MARKS).max(1);
    let last = marks.len().saturating_sub(1) % step;
    let mut number = 0;
    marks.retain(|_| {
        number += 1;
        (number - 1) % step == last
    });
    marks
}

/// Returns the keys that a text or a file contains, each with its two fields.
fn keys(text: &str) -> Result<Vec<(String, PublicKey)>, Trouble> {
    if let Some(key) = key(text) {
        return Ok(vec![key]);
    }
    let shown = clean(text);
    let mut content = String::new();
    File::open(text).and_then(|file| file.take(KEYS_LIMIT).read_to_string(&mut content)).map_err(|error| {
        Trouble::Local("unreadable", Notice::new(format!("cannot read {shown}: {}", sys::plain_words(&error))))
    })?;
    let found: Vec<_> = content.lines().filter(|line| !line.starts_with('#')).filter_map(key).collect();
    if found.is_empty() {
        let notice =
            Notice::new(format!("{shown} holds no ed25519 public key")).with_hint("on the host: jitctl key show");
        return Err(Trouble::Local("no-key", notice));
    }
    Ok(found)
}

/// Returns the key of a line, wherever its two fields are (a public key file, or a list of allowed signers).
fn key(line: &str) -> Option<(String, PublicKey)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    words.windows(2).find_map(|pair| {
        let [algorithm, encoded] = pair else { return None };
        Some((pair.join(" "), PublicKey::from_words(algorithm, encoded)?))
    })
}

#[cfg(test)]
mod tests {
    use jit_core::evidence::Digest;

    use super::*;

    #[test]
    fn the_last_of_many_heads_is_always_selected() {
        for count in [0, 1, MARKS, MARKS + 1, 3 * MARKS + 7] {
            let marks: Vec<Mark> = (0..count as u64).map(|seq| Mark { seq, hash: Digest::ZERO }).collect();
            let last = marks.last().copied();
            let spread = spread(marks);
            assert!(spread.len() <= MARKS && spread.last().copied() == last, "{count}: {}", spread.len());
        }
    }

    #[test]
    fn keys_are_read_from_a_line_or_a_list_of_signers() {
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
        assert_eq!(key(line).unwrap().0, line);
        assert_eq!(key(&format!("{line} a comment")).unwrap().0, line);
        assert_eq!(key(&format!("host namespaces=\"x\" {line}")).unwrap().0, line);
        assert!(key("ssh-ed25519 AAAA").is_none());
        assert!(keys("/nonexistent").is_err());
    }
}
