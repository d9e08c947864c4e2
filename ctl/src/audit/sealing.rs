//! The sealing keys that a verification was given, and what it found out about those of the journal.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use jit_core::evidence::certificate::certifier;
use jit_core::evidence::epoch_event::Certifier;
use jit_core::evidence::{Event, KnownEpoch, Record};
use jit_core::grant::PublicKey;
use jit_core::wire::{LineInfo, RetirementInfo, RotationInfo, SealingInfo};
use serde_json::Value;

use crate::clean::clean;
use crate::speech::{Notice, Trouble};
use crate::when;

/// The longest line that is examined, in bytes.
const LINE_LIMIT: u64 = 1 << 20;

/// The length of a fingerprint: `SHA256:` and 32 bytes in base64.
const FINGERPRINT: usize = 7 + 43;

/// Returns the fingerprints of the sealing keys that these words name (fingerprints, or files), and the certified `epoch` records in
/// the files. `hosts`: the keys of the host. A record counts only if its certificate leads to one of these keys, or to a fingerprint
/// among the words: any user can have text recorded, or write lines into syslog.
pub(super) fn keys(words: &[String], hosts: &[PublicKey]) -> Result<(Vec<String>, Vec<KnownEpoch>), Trouble> {
    let (mut found, mut epochs) = (BTreeSet::new(), Vec::new());
    let (prints, files): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| word.starts_with("SHA256:"));
    for word in prints {
        if word.len() != FINGERPRINT {
            let notice = Notice::new(format!("{} is no fingerprint", clean(word)))
                .with_hint("on the host: jitctl key show prints that of the present sealing key");
            return Err(Trouble::Usage(notice));
        }
        found.insert(word.clone());
    }
    for word in files {
        let shown = clean(word);
        let failed = |error| {
            Trouble::Local("unreadable", Notice::new(format!("cannot read {shown}: {}", sys::plain_words(&error))))
        };
        let file = in_file(BufReader::new(File::open(word).map_err(failed)?)).map_err(failed)?;
        let certified = file.certified(hosts, &found);
        if file.keys.is_empty() && certified.is_empty() {
            let (said, hint) = match (file.epochs.is_empty(), hosts.is_empty()) {
                (false, true) => {
                    ("has epoch records, and the key of the host is not known", "give it with --public-key KEY")
                }
                (false, false) => ("has epoch records, and none is certified by this host", "give a file of this host"),
                (true, _) => (
                    "holds no sealing key",
                    "give an earlier export, a JSON file, syslog lines of jit-sudo, or public keys",
                ),
            };
            return Err(Trouble::Local("no-key", Notice::new(format!("{shown} {said}")).with_hint(hint)));
        }
        found.extend(file.keys);
        found.extend(certified.iter().map(|epoch| epoch.key.clone()));
        epochs.extend(certified);
    }
    Ok((found.into_iter().collect(), epochs))
}

/// What a file holds.
#[derive(Default)]
struct Held {
    /// The fingerprints of its keys, if it is a list of public keys.
    keys: BTreeSet<String>,
    /// Its `epoch` records, not verified yet.
    epochs: Vec<Candidate>,
}

/// An `epoch` record that may be forged.
struct Candidate {
    known: KnownEpoch,
    by: PublicKey,
    is_by_host: bool,
}

impl Held {
    /// Returns the `epoch` records whose certificates lead to a key of the host, or to one of these sealing keys.
    fn certified(&self, hosts: &[PublicKey], given: &BTreeSet<String>) -> Vec<KnownEpoch> {
        let (mut accepted, mut found) = (given.clone(), Vec::new());
        let mut rest: Vec<&Candidate> = self.epochs.iter().collect();
        loop {
            let is_certified = |candidate: &&Candidate| match candidate.is_by_host {
                true => hosts.contains(&candidate.by),
                false => accepted.contains(&candidate.by.fingerprint()),
            };
            let (next, others): (Vec<&Candidate>, Vec<&Candidate>) = rest.into_iter().partition(is_certified);
            if next.is_empty() {
                return found;
            }
            accepted.extend(next.iter().map(|candidate| candidate.known.key.clone()));
            found.extend(next.into_iter().map(|candidate| candidate.known.clone()));
            rest = others;
        }
    }
}

fn in_file(mut lines: impl BufRead) -> std::io::Result<Held> {
    let mut held = Held::default();
    let (mut line, mut is_list) = (Vec::new(), true);
    loop {
        line.clear();
        if lines.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        held.epochs.extend(epoch_in(&text));
        match public_key(&text) {
            Some(key) => drop(held.keys.insert(key.fingerprint())),
            None => is_list &= text.trim().is_empty() || text.starts_with('#'),
        }
    }
    if !is_list {
        held.keys.clear();
    }
    Ok(held)
}

fn public_key(line: &str) -> Option<PublicKey> {
    let mut words = line.split_ascii_whitespace();
    PublicKey::from_words(words.next()?, words.next()?)
}

/// Returns the `epoch` record that a line is, or holds in one of the forms in which jit-sudo writes records.
fn epoch_in(line: &str) -> Option<Candidate> {
    let object = match line.trim_start().starts_with('{') {
        true => line.trim_start(),
        false => line.split_once("@cee:").filter(|(tag, _)| tag.contains("jit-sudo["))?.1,
    };
    let value: Value = serde_json::Deserializer::from_str(object).into_iter().next()?.ok()?;
    let body = match ["certificate", "JIT_SUDO_RECORD"].iter().find_map(|name| value.get(name)?.as_str()) {
        Some(body) => body.to_owned(),
        None => value.get("record").unwrap_or(&value).to_string(),
    };
    let record = Record::decode(&body).ok()?;
    let Event::Epoch(epoch) = &record.event else { return None };
    let key = epoch.public_key()?.fingerprint();
    let is_by_host = matches!(epoch.certified_by, Certifier::HostKey);
    Some(Candidate { known: KnownEpoch { seq: record.seq, key }, by: certifier(body.as_bytes())?, is_by_host })
}

/// Tells what is proved, each line of sealing keys after the first, and each change of the host key.
pub(super) fn told(sealing: &SealingInfo, now: i64) -> String {
    let mut text = String::new();
    for (index, line) in sealing.lines.iter().enumerate() {
        if index > 0 {
            text.push_str(&begun(line));
        }
        if let Some((given, proved)) = line.given.zip(line.proved) {
            text.push_str(&format!(
                "sealed: the given key of epoch {given}, or one that it leads to, has signed up to record {proved}, so no root of a later \
                 epoch than a record's has forged it\n"
            ));
        }
    }
    for RotationInfo { seq, at, old, new } in &sealing.rotations {
        let (old, new, at) = (clean(old), clean(new), when::long(*at, now));
        text.push_str(&format!("host key: record {seq} replaces {old} by {new}, {at}; both have signed that\n"));
    }
    for RetirementInfo { seq, at, key } in &sealing.retirements {
        let (key, at) = (clean(key), when::long(*at, now));
        text.push_str(&format!("retired: this host was retired {at}, with record {seq}, the last that {key} signs\n"));
    }
    text
}

fn begun(line: &LineInfo) -> String {
    let mut text = format!("sealing began anew: record {} begins another line of sealing keys", line.line);
    if let Some(accepted) = line.accepted {
        text.push_str(&format!(", after record {accepted} accepted the state of the host"));
    }
    text.push_str("; only copies elsewhere show whether root rewrote what is before it\n");
    text
}

#[cfg(test)]
mod tests {
    use jit_core::clock::Moment;
    use jit_core::evidence::Digest;
    use jit_core::evidence::certificate::certify;
    use jit_core::evidence::epoch_event::{Epoch, key_words};
    use jit_core::grant::HostKey;

    use super::*;

    fn key(seed: u8) -> HostKey {
        HostKey::from_seed([seed; 32])
    }

    fn epoch(seq: u64, seed: u8, by: u8, certified_by: Certifier) -> String {
        use jit_core::clock::{BootTime, Timestamp};
        let moment = Moment { wall: Timestamp(1), boot: BootTime(1), boot_id: "b".to_owned() };
        let key_of = key_words(&key(seed).public_key());
        let epoch = Epoch { number: seq, line: 1, key: key_of, certified_by, signature: String::new() };
        let record = Record::new(seq, Digest::ZERO, &moment, "web1", Event::Epoch(Box::new(epoch)));
        certify(record, &key(by)).unwrap().encode().unwrap()
    }

    fn found(text: &str, given: &[u8]) -> Vec<u64> {
        let given = given.iter().map(|seed| key(*seed).fingerprint()).collect();
        let certified = in_file(text.as_bytes()).unwrap().certified(&[key(1).public_key()], &given);
        certified.iter().map(|known| known.seq).collect()
    }

    #[test]
    fn epoch_records_are_found_in_every_kind_of_file_and_only_with_a_certificate() {
        let record = epoch(1, 11, 1, Certifier::HostKey);
        let certificate = serde_json::json!({"certificate": record, "kind": "certificate"});
        let journald = serde_json::json!({"JIT_SUDO_RECORD": record, "MESSAGE": "x"});
        let forms = |record: &str| {
            let lines = [
                format!("{record}\n"),
                format!("<85>Jan 15 jit-sudo[42]: @cee: {{\"seq\":1,\"head\":\"ab\",\"record\":{record}}}"),
                format!("{{\"seq\":1,\"head\":\"ab\",\"record\":{record}}}"),
            ];
            lines.into_iter()
        };
        for line in forms(&record).chain([certificate.to_string(), journald.to_string()]) {
            assert_eq!(found(&line, &[]), [1], "{line}");
        }
        // What any user can write into syslog, or have recorded.
        let planted = key_words(&key(66).public_key());
        let bare = format!(r#"{{"kind":"epoch","key":"{planted}"}}"#);
        let argument = format!(r#""kind":"epoch","key":"{planted}""#);
        let reject = serde_json::json!({"argv": ["/usr/bin/true", argument], "kind": "reject", "seq": 9}).to_string();
        let own = epoch(5, 66, 66, Certifier::HostKey);
        for line in forms(&bare).chain(forms(&reject)).chain(forms(&own)).chain([planted.clone() + "\n" + &record]) {
            assert!(!found(&line, &[]).contains(&5) && in_file(line.as_bytes()).unwrap().keys.is_empty(), "{line}");
        }
        // A later one leads back, in any order.
        let second = epoch(4, 12, 11, Certifier::SealingKey);
        assert_eq!(found(&format!("{second}\n{record}"), &[]), [1, 4]);
        assert_eq!((found(&second, &[]), found(&second, &[11])), (vec![], vec![4]));
        let altered = second.replace("\"number\":4", "\"number\":5");
        assert_eq!(found(&format!("{record}\n{altered}"), &[]), [1]);
    }

    #[test]
    fn a_list_of_public_keys_and_fingerprints_are_taken_as_they_are() {
        let line = key_words(&key(11).public_key());
        let held = in_file(format!("# noted\n{line} a comment\n\n").as_bytes()).unwrap();
        assert_eq!(held.keys.into_iter().collect::<Vec<_>>(), [key(11).fingerprint()]);
        let keys = |word: &str| keys(&[word.to_owned(), word.to_owned()], &[]);
        assert!(keys("SHA256:short").is_err() && keys("/nonexistent").is_err());
        let whole = format!("SHA256:{}", "A".repeat(43));
        assert_eq!(keys(&whole).unwrap(), (vec![whole], vec![]));
    }
}
