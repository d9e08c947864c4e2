//! `jitctl audit verify`: verifies the journal of this host through the broker, or an exported file in this process.

mod lines;
mod parts;
mod verdict;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;

use jit_core::evidence::epoch_event::key_words;
use jit_core::evidence::key_statement::followed;
use jit_core::evidence::note::{KeyKind, NoteKey};
use jit_core::evidence::{Elsewhere, Mark, Origins, Signers};
use jit_core::grant::PublicKey;
use jit_core::wire::{AuditVerify, DifferenceInfo, EpochInfo, HeadInfo, KeyInfo, KeyShow, MarkInfo, VerifyInfo};

use super::anchor::{self, Kept};
use super::{bundle, origins, sealing};
use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::AuditVerifyWords;
use crate::output::Output;
use crate::replay::check::check;
use crate::screen::{Report, Screen};
use crate::speech::{Exit, Notice, Trouble};
use lines::lines;
use verdict::{Asked, Verdict, judge};

/// How many witnesses can be named.
const WITNESSES: usize = 64;

/// How many faults are shown; the JSON output has up to a hundred.
const TOLD: usize = 10;

/// The longest file of public keys, in bytes.
const KEYS_LIMIT: u64 = 1 << 20;

/// The exit status is 0 only for a journal that is intact for certain.
pub(crate) fn verify(words: &AuditVerifyWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let kept = anchor::read(&words.anchor)?;
    let keys = words.public_key.as_deref().map(keys).transpose()?.unwrap_or_default();
    let witnesses = words.witness.iter().map(|text| witness_key(text)).collect::<Result<Vec<_>, _>>()?;
    if witnesses.len() > WITNESSES {
        return Err(Trouble::Usage(Notice::new(format!("at most {WITNESSES} witnesses can be named"))));
    }
    let mut signers: Vec<PublicKey> = keys.iter().map(|(_, key)| key.clone()).collect();
    // The records of a file name the keys that rotations have put in the place of the given ones, and these in the place of others.
    let (mut file, mut origins) = (words.file.as_deref().map(open).transpose()?, Origins::default());
    if let Some(whole) = file.take_if(|_| !signers.is_empty() && (kept.has_notes() || !words.sealing_key.is_empty())) {
        let failed = |error| unreadable(words.file.as_deref().unwrap_or(Path::new("-")), &error);
        let (found, whole) = origins::of_export(whole).map_err(failed)?;
        signers = found.lineage().joined(&signers);
        (origins, file) = (found, Some(whole));
    }
    if words.file.is_none() && (kept.has_notes() || signers.is_empty() && !words.sealing_key.is_empty()) {
        signers = followed(&signers, &lineage(broker)?);
    }
    let heads = kept.heads(&signers, &witnesses);
    let names: Vec<String> = witnesses.iter().map(|witness| witness.name.clone()).collect();
    let mut asked = Asked {
        key: words.file.is_none() || !keys.is_empty(),
        witnesses: names.len(),
        unreadable_heads: signers.is_empty() && kept.has_notes(),
        unsigned: (kept.unsigned.len(), kept.unsigned.len()),
    };
    let Kept { marks, unsigned, .. } = kept;
    let (sealing_keys, epochs) = sealing::keys(&words.sealing_key, &signers)?;
    let info = match (&words.file, file) {
        (Some(path), Some(input)) => {
            let elsewhere = Elsewhere { heads: origins.of_journal(heads, &signers), unsigned, epochs };
            of_file((path, input), words.from, &keys, (marks, elsewhere), sealing_keys)?
        }
        _ => {
            let info = |mark: Mark| MarkInfo { seq: mark.seq, head: mark.hash.to_string() };
            let keys = keys.iter().map(|(line, _)| line.clone()).collect();
            let anchor = marks.into_iter().map(info).collect();
            let unsigned = unsigned.into_iter().map(info).collect();
            let heads = heads.into_iter().map(|signed| HeadInfo {
                size: signed.head.size,
                root: signed.head.root.to_string(),
                origin: signed.origin,
                key: key_words(&signed.key),
                cosigned: signed.cosigned,
                witnesses: signed.witnesses,
                seq: signed.seq,
            });
            let epochs = epochs.into_iter().map(|known| EpochInfo { seq: known.seq, key: known.key }).collect();
            let whole = AuditVerify { anchor, heads: heads.collect(), unsigned, keys, sealing_keys, epochs };
            let (info, compared) = parts::ask(broker, whole)?;
            asked.unsigned.0 = compared;
            info
        }
    };
    // A broken journal proves nothing about recordings.
    let checks = words.recordings && info.intact;
    let recordings = if checks { Some(check(broker)?) } else { None };
    Ok(report(VerifyInfo { recordings, ..info }, asked, &names, screen))
}

/// Returns the key of this host and those that it has taken the place of, the latest first.
fn lineage(broker: &Broker) -> Result<Vec<PublicKey>, Trouble> {
    let KeyInfo { public_key, former_keys, .. } = broker.ask(&KeyShow {})?;
    Ok([public_key].iter().chain(&former_keys).filter_map(|line| key(line)).map(|(_, key, _)| key).collect())
}

fn open(path: &Path) -> Result<File, Trouble> {
    let opened = match path.to_str() {
        Some("-") => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        _ => File::open(path),
    };
    opened.map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Trouble {
    let shown = clean(&path.display().to_string());
    Trouble::Local("unreadable", Notice::new(format!("cannot read {shown}: {}", sys::plain_words(error))))
}

fn of_file(
    (path, input): (&Path, File),
    from: Option<u64>,
    keys: &[(String, PublicKey)],
    (marks, elsewhere): (Vec<Mark>, Elsewhere),
    sealing_keys: Vec<String>,
) -> Result<VerifyInfo, Trouble> {
    let signers = match keys {
        [] => Signers::Anybody,
        keys => Signers::These(keys.iter().map(|(_, key)| key.clone()).collect()),
    };
    let lines = BufReader::with_capacity(1 << 20, input);
    let proven = bundle::prove(lines, from, signers, marks, elsewhere, sealing_keys);
    Ok(proven.map_err(|error| unreadable(path, &error))?.map_or_else(Into::into, Into::into))
}

fn report(info: VerifyInfo, asked: Asked, witnesses: &[String], screen: &Screen) -> Report {
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
    let (verdict, checks) = judge(&info, asked, screen.now);
    let mut text = lines(&info, verdict, &checks, witnesses, screen);
    let exit = if verdict == Verdict::Intact { Exit::Done } else { Exit::NotAllChecked };
    let Some(checked) = &info.recordings else {
        return Report::done(Output::Verified(Box::new(info)), text).ended(exit);
    };
    text.push_str(&format!("recordings intact: {}\n", checked.intact));
    if checked.unsealed > 0 {
        text.push_str(&format!("{} of lost runs have no digest\n", checked.unsealed));
    }
    for bad in &checked.bad {
        text.push_str(&format!("{}\n", clean(bad)));
    }
    let notice = match checked.bad.as_slice() {
        [] => return Report::done(Output::Verified(Box::new(info)), text).ended(exit),
        [bad] => Notice::new(clean(bad)),
        many => Notice::new(format!("{} recordings differ from the journal", many.len())),
    };
    Report::done(Output::Verified(Box::new(info)), text).but(Exit::Refused, notice)
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

/// Returns the key of a witness that a text or a file contains.
pub(super) fn witness_key(text: &str) -> Result<NoteKey, Trouble> {
    let witness = |text: &str| NoteKey::parse(text.trim()).filter(|key| key.kind == KeyKind::Witness);
    if let Some(key) = witness(text) {
        return Ok(key);
    }
    let shown = clean(text);
    let mut content = String::new();
    File::open(text).and_then(|file| file.take(KEYS_LIMIT).read_to_string(&mut content)).map_err(|error| {
        Trouble::Local("unreadable", Notice::new(format!("cannot read {shown}: {}", sys::plain_words(&error))))
    })?;
    content.lines().find_map(witness).ok_or_else(|| {
        let notice = Notice::new(format!("{shown} holds no key of a witness"));
        Trouble::Local("no-key", notice.with_hint("at the witness: jitctl witness key"))
    })
}

/// Returns the keys that a text or a file contains, each with its two fields.
pub(super) fn keys(text: &str) -> Result<Vec<(String, PublicKey)>, Trouble> {
    Ok(key_lines(text)?.into_iter().map(|(words, key, _)| (words, key)).collect())
}

/// Returns the keys that a text or a file contains, each with its two fields and what follows them.
pub(crate) fn key_lines(text: &str) -> Result<Vec<(String, PublicKey, String)>, Trouble> {
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

/// Returns the key of a line, wherever its two fields are (a public key file, or a list of allowed signers), and what follows them.
fn key(line: &str) -> Option<(String, PublicKey, String)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    words.windows(2).enumerate().find_map(|(place, pair)| {
        let [algorithm, encoded] = pair else { return None };
        let rest = words.get(place + 2..).unwrap_or_default().join(" ");
        Some((pair.join(" "), PublicKey::from_words(algorithm, encoded)?, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
