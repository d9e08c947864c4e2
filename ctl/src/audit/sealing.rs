//! The sealing keys that a verification was given, and what it found out about those of the journal.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use jit_core::grant::PublicKey;
use jit_core::wire::{LineInfo, SealingInfo};

use crate::clean::clean;
use crate::speech::{Notice, Trouble};

/// The longest line that is examined, in bytes.
const LINE_LIMIT: u64 = 1 << 20;

/// The length of a fingerprint: `SHA256:` and 32 bytes in base64.
const FINGERPRINT: usize = 7 + 43;

/// Returns the fingerprints of the sealing keys that these words name: fingerprints, or files.
pub(super) fn keys(words: &[String]) -> Result<Vec<String>, Trouble> {
    let mut found = BTreeSet::new();
    for word in words {
        if word.starts_with("SHA256:") {
            if word.len() != FINGERPRINT {
                let notice = Notice::new(format!("{} is no fingerprint", clean(word)))
                    .with_hint("on the host: jitctl key show prints that of the present sealing key");
                return Err(Trouble::Usage(notice));
            }
            found.insert(word.clone());
            continue;
        }
        let shown = clean(word);
        let failed = |error| {
            Trouble::Local("unreadable", Notice::new(format!("cannot read {shown}: {}", sys::plain_words(&error))))
        };
        let before = found.len();
        found.extend(in_file(BufReader::new(File::open(word).map_err(failed)?)).map_err(failed)?);
        if found.len() == before {
            let notice = Notice::new(format!("{shown} holds no sealing key"))
                .with_hint("give an earlier export, a JSON file, syslog lines of jit-sudo, or public keys");
            return Err(Trouble::Local("no-key", notice));
        }
    }
    Ok(found.into_iter().collect())
}

fn in_file(mut lines: impl BufRead) -> std::io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        found.extend(in_line(&String::from_utf8_lossy(&line)).map(|key| key.fingerprint()));
    }
}

/// Returns the key of an `epoch` record wherever it is in the line, or that of a public key file.
fn in_line(line: &str) -> Option<PublicKey> {
    let words = match line.trim_start().starts_with("ssh-ed25519 ") {
        true => line.trim().to_owned(),
        false => {
            // The record may be a text in another JSON object.
            let plain = line.replace("\\\"", "\"");
            plain.contains("\"kind\":\"epoch\"").then_some(())?;
            plain.split_once("\"key\":\"")?.1.split('"').next()?.to_owned()
        }
    };
    let mut words = words.split_ascii_whitespace();
    PublicKey::from_words(words.next()?, words.next()?)
}

/// Tells what is proved, and each line of sealing keys after the first.
pub(super) fn told(sealing: &SealingInfo) -> String {
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
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";

    #[test]
    fn sealing_keys_are_found_in_every_kind_of_file() {
        let record = format!(r#"{{"certified_by":"host-key","key":"{KEY}","kind":"epoch","line":1,"seq":1}}"#);
        let escaped = record.replace('"', "\\\"");
        for line in [
            format!("{KEY} a comment\n"),
            format!("{record}\n"),
            format!(r#"{{"certificate":"{escaped}","kind":"certificate"}}"#),
            format!("<85>Jan 15 jit-sudo[42]: @cee: {{\"seq\":1,\"head\":\"ab\",\"record\":{record}}}"),
            format!("{{\"seq\":1,\"head\":\"ab\",\"record\":{record}}}"),
        ] {
            assert_eq!(in_file(line.as_bytes()).unwrap().len(), 1, "{line}");
        }
        for line in ["", "ssh-ed25519 AAAA", r#"{"key":"x","kind":"epoch"}"#, &record.replace("epoch", "start")] {
            assert!(in_file(line.as_bytes()).unwrap().is_empty(), "{line}");
        }
        assert!(keys(&["SHA256:short".to_owned()]).is_err() && keys(&["/nonexistent".to_owned()]).is_err());
        let whole = format!("SHA256:{}", "A".repeat(43));
        assert_eq!(keys(&[whole.clone(), whole.clone()]).unwrap(), [whole]);
    }
}
