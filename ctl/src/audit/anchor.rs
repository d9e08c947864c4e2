//! Heads of a journal that were kept elsewhere: in syslog, in a JSON file, in a copy of the anchor, in an earlier export, in notes
//! that a witness has cosigned.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use jit_core::escape::unhex;
use jit_core::evidence::note::{Note, NoteKey, ORIGIN};
use jit_core::evidence::{Digest, Mark, SignedHead, TreeHead};
use jit_core::grant::PublicKey;
use serde_json::Value;

use crate::clean::clean;
use crate::speech::{Notice, Trouble};

/// The longest line that is examined, in bytes; the head is near its beginning.
const LINE_LIMIT: u64 = 1 << 20;

/// What was kept elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The heads of copies of the anchor, each a file of one line. They decide.
    pub(crate) marks: Vec<Mark>,
    /// Heads without a signature, in lines that any user can write into syslog. They decide nothing.
    pub(crate) unsigned: Vec<Mark>,
    /// Signed tree heads, not verified yet.
    notes: BTreeSet<String>,
    /// The greatest number of a record that a line with a note says for its tree head. Any user can write such a line.
    numbers: BTreeMap<TreeHead, u64>,
}

impl Kept {
    fn len(&self) -> usize {
        self.marks.len() + self.unsigned.len() + self.notes.len()
    }

    /// Whether there are signed tree heads, of whichever host.
    pub(super) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    /// Returns the tree heads that one of these host keys has signed, with the latest cosignature of one of the witnesses.
    pub(super) fn heads(&self, keys: &[PublicKey], witnesses: &[NoteKey]) -> Vec<SignedHead> {
        let mut heads: BTreeMap<(TreeHead, String, usize), (Option<u64>, u64)> = BTreeMap::new();
        for note in self.notes.iter().filter_map(|text| Note::parse(text)) {
            let by = (0..).zip(keys).filter_map(|(by, key)| Some((by, signed(&note, std::slice::from_ref(key))?)));
            for (by, head) in by {
                let origin = note.head().map(|(origin, _)| origin.to_owned()).unwrap_or_default();
                let (latest, which) = heads.entry((head, origin, by)).or_default();
                for (bit, witness) in (0..u64::BITS).zip(witnesses) {
                    let at = witness.cosigned(&note);
                    *latest = (*latest).max(at);
                    *which |= u64::from(at.is_some()) << bit;
                }
            }
        }
        let head = |((head, origin, by), (cosigned, witnesses))| {
            let key: &PublicKey = keys.get::<usize>(by)?;
            let seq = self.numbers.get(&head).copied();
            Some(SignedHead { head, origin, key: key.clone(), cosigned, witnesses, seq })
        };
        heads.into_iter().filter_map(head).collect()
    }
}

/// Returns the tree head of a note that one of these keys of a host has signed.
pub(crate) fn signed(note: &Note, keys: &[PublicKey]) -> Option<TreeHead> {
    let (origin, head) = note.head().filter(|(origin, _)| origin.starts_with(ORIGIN))?;
    let by = |key| NoteKey::of_host(origin, key).is_some_and(|key| key.signed(note));
    keys.iter().any(by).then_some(head)
}

/// Reads the heads in these files, without duplicates.
pub(super) fn read(files: &[impl AsRef<Path>]) -> Result<Kept, Trouble> {
    let mut kept = Kept::default();
    for path in files {
        let path = path.as_ref();
        let shown = clean(&path.display().to_string());
        let failed = |error| {
            Trouble::Local("unreadable", Notice::new(format!("cannot read {shown}: {}", sys::plain_words(&error))))
        };
        let before = kept.len();
        let known = kept.unsigned.len();
        read_lines(BufReader::new(File::open(path).map_err(failed)?), &mut kept).map_err(failed)?;
        if kept.len() == before && kept.unsigned.len() == known {
            let notice = Notice::new(format!("{shown} holds no head of a journal")).with_hint(
                "give a file of syslog lines of jit-sudo, its JSON file, a copy of its anchor, an earlier export, or a cosigned note",
            );
            return Err(Trouble::Local("no-anchor", notice));
        }
    }
    kept.unsigned.sort_by_key(|mark| (mark.seq, mark.hash));
    kept.unsigned.dedup();
    Ok(kept)
}

/// Reads the heads in one file.
pub(crate) fn read_lines(mut lines: impl BufRead, kept: &mut Kept) -> std::io::Result<()> {
    let (mut line, mut count, mut notes) = (Vec::new(), 0_u64, Notes::default());
    let mut mark = None;
    loop {
        line.clear();
        if lines.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        count += 1;
        let text = String::from_utf8_lossy(&line);
        mark = mark.or_else(|| Mark::parse(&line));
        kept.unsigned.extend(head(&text).map(|(seq, hash)| Mark { seq, hash: Digest(hash) }));
        kept.notes.extend(notes.line(text.trim_end_matches(['\n', '\r'])));
        if let Some((note, seq)) = note_in(&text) {
            let head = Note::parse(&note).and_then(|note| note.head().map(|(_, head)| head));
            if let Some((head, seq)) = head.zip(seq) {
                let known = kept.numbers.entry(head).or_default();
                *known = (*known).max(seq);
            }
            kept.notes.insert(note);
        }
    }
    kept.notes.extend(notes.end());
    // A file with more lines may be a log, into which any user can write.
    if let Some(mark) = mark.filter(|_| count == 1) {
        kept.unsigned.pop();
        kept.marks.push(mark);
    }
    Ok(())
}

/// Finds notes that are stored as they are, on lines of their own.
#[derive(Default)]
struct Notes {
    recent: VecDeque<String>,
    note: Option<String>,
}

impl Notes {
    /// Takes the next line. Returns the note that ended before it.
    fn line(&mut self, line: &str) -> Option<String> {
        let is_signature = line.starts_with("— ");
        if let (true, Some(note)) = (is_signature, &mut self.note) {
            note.push_str(&format!("{line}\n"));
            return None;
        }
        let ended = self.note.take();
        if is_signature && self.recent.len() == 4 && self.recent.back().is_some_and(String::is_empty) {
            let text: String = self.recent.iter().flat_map(|line| [line, "\n"]).collect();
            self.note = Some(format!("{text}{line}\n"));
        }
        if self.recent.len() == 4 {
            self.recent.pop_front();
        }
        self.recent.push_back(line.to_owned());
        ended
    }

    fn end(self) -> Option<String> {
        self.note
    }
}

/// Returns the note in a line of a log sink or of an export, or in the same as another program has stored it, and the number of the
/// record that the line names.
fn note_in(line: &str) -> Option<(String, Option<u64>)> {
    if let Some((before, rest)) = line.split_once(" jit_note=") {
        let seq = before.split_once(" jit_seq=").and_then(|(_, seq)| seq.split(' ').next()?.parse().ok());
        let digits = rest.split(|c: char| !c.is_ascii_hexdigit()).next()?.to_ascii_lowercase();
        let bytes =
            digits.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        return Some((String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()?, seq));
    }
    if !line.contains("note") {
        return None;
    }
    let object = line.get(line.find('{')?..)?;
    let value: Value = serde_json::Deserializer::from_str(object).into_iter().next()?.ok()?;
    let inner = value.get("JIT_SUDO_CHECKPOINT").and_then(Value::as_str);
    let inner = inner.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let value = inner.as_ref().unwrap_or(&value);
    Some((value.get("note")?.as_str()?.to_owned(), value.get("seq").and_then(Value::as_u64)))
}

/// Returns the head that a line states, if it states one.
fn head(line: &str) -> Option<(u64, [u8; 32])> {
    let line = line.trim_end();
    // The anchor file that is kept beside the database.
    if let Some(mark) = Mark::parse(format!("{line}\n").as_bytes()) {
        return Some((mark.seq, mark.hash.0));
    }
    // Lines of our JSON file, then lines of syslog. Any program may write to syslog, so only lines with our name count.
    let inner = match line.starts_with("{\"seq\":") {
        true => line,
        false => line.split_once("@cee:").filter(|(tag, _)| tag.contains("jit-sudo["))?.1,
    };
    let own = inner.split("\"record\"").next()?;
    let seq = after(own, "\"seq\":")?;
    let digits: String = seq.chars().take_while(char::is_ascii_digit).collect();
    let hash = after(own, "\"head\":")?.strip_prefix('"')?.get(..64)?;
    Some((digits.parse().ok()?, unhex(hash)?))
}

fn after<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.split_once(key).map(|(_, rest)| rest.trim_start())
}

#[cfg(test)]
mod tests {
    use jit_core::evidence::Checkpoint;
    use jit_core::evidence::note::signed_by_host;
    use jit_core::grant::HostKey;

    use super::*;

    #[test]
    fn heads_are_found_in_every_kind_of_file() {
        let hash = "ab".repeat(32);
        for line in [
            format!("00000000000000000009 {hash}\n"),
            format!(
                "Jan 15 08:00:01 web1 jit-sudo[42]: @cee: {{\"seq\":9,\"head\":\"{hash}\",\"record\":{{\"seq\":3}}}}"
            ),
            format!("{{\"seq\":9,\"head\":\"{hash}\",\"record\":{{\"seq\":3}}}}"),
            format!("<85>Jan 15 jit-sudo[42]: @cee: {{\"seq\": 9, \"head\": \"{hash}\", \"part\":1,\"data\":\"x\"}}"),
        ] {
            assert_eq!(head(&line), Some((9, [0xab; 32])), "{line}");
        }
        for line in [
            String::new(),
            format!("9 {hash}"),
            format!("{{\"seq\":9,\"record\":{{\"head\":\"{hash}\"}}}}"),
            format!("Jan 15 web1 evil[42]: @cee: {{\"seq\":9,\"head\":\"{hash}\"}}"),
            format!("jit-sudo[42]: @cee: {{\"record\":{{\"seq\":9,\"head\":\"{hash}\"}}}}"),
            format!("jit-sudo[42]: @cee: {{\"seq\":-9,\"head\":\"{hash}\"}}"),
            format!("jit-sudo[42]: @cee: {{\"seq\":9,\"head\":\"{}é\"}}", &hash[1..]),
        ] {
            assert_eq!(head(&line), None, "{line}");
        }
    }
    fn kept(text: &str) -> Kept {
        let mut kept = Kept::default();
        read_lines(text.as_bytes(), &mut kept).unwrap();
        kept
    }

    #[test]
    fn signed_heads_are_found_in_every_kind_of_file() {
        let (key, head) = (HostKey::from_seed([7; 32]), TreeHead { size: 9, root: Digest([5; 32]) });
        let note = signed_by_host(&key, "ab12", &head).unwrap().to_string();
        let checkpoint = Checkpoint { seq: 12, body: b"{}".to_vec(), signature: vec![1; 80], note: note.clone() };
        let (line, hex) = (checkpoint.to_line(), jit_core::escape::hex(note.as_bytes()).to_uppercase());
        let journald = serde_json::json!({"MESSAGE": "x", "JIT_SUDO_CHECKPOINT": line}).to_string();
        let parsed: Value = serde_json::from_str(&line).unwrap();
        for text in [
            line.clone(),
            format!("Jan 15 08:00:01 web1 jit-sudo[42]: @cee: {line}\n"),
            format!("noise\n\n{note}"),
            format!("old 3\nAAAA\n\n{note}after it"),
            format!("type=TRUSTED_APP msg='op=jit-sudo:checkpoint jit_seq=12 jit_note={hex} res=success'"),
            journald,
            format!("{parsed:#}").replace('\n', ""),
        ] {
            let kept = kept(&text);
            let seq = text.contains("seq").then_some(12);
            let (origin, key) = ("jit-sudo/ab12".to_owned(), key.public_key());
            let known = SignedHead { head, origin, key: key.clone(), cosigned: None, witnesses: 0, seq };
            assert_eq!(kept.heads(&[key], &[]), [known], "{text}");
            assert!(
                kept.heads(&[HostKey::from_seed([8; 32]).public_key()], &[]).is_empty() && kept.unsigned.is_empty()
            );
        }
    }

    #[test]
    fn only_a_file_of_one_line_is_an_anchor() {
        let mark = Mark { seq: 9, hash: Digest([5; 32]) };
        let one = kept(&format!("{mark}\n"));
        assert_eq!((one.marks, one.unsigned), (vec![mark], vec![]));
        let log = kept(&format!("{mark}\n{mark}\n"));
        assert_eq!((log.marks, log.unsigned), (vec![], vec![mark, mark]));
    }
}
