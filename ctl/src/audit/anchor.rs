//! Heads of a journal that were kept elsewhere: in syslog, in a JSON file, in a copy of the anchor, in an earlier export.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use jit_core::escape::unhex;
use jit_core::evidence::{Digest, Mark};

use crate::clean::clean;
use crate::speech::{Notice, Trouble};

/// The longest line that is examined, in bytes; the head is near its beginning.
const LINE_LIMIT: u64 = 1 << 20;

/// Reads the heads in these files, without duplicates.
pub(super) fn read(files: &[impl AsRef<Path>]) -> Result<Vec<Mark>, Trouble> {
    let mut marks = BTreeSet::new();
    for path in files {
        let path = path.as_ref();
        let shown = clean(&path.display().to_string());
        let failed = |error| {
            Trouble::Local("unreadable", Notice::new(format!("cannot read {shown}: {}", sys::plain_words(&error))))
        };
        let before = marks.len();
        marks.extend(heads(BufReader::new(File::open(path).map_err(failed)?)).map_err(failed)?);
        if marks.len() == before {
            let notice = Notice::new(format!("{shown} holds no head of a journal")).with_hint(
                "give a file of syslog lines of jit-sudo, its JSON file, a copy of its anchor, or an earlier export",
            );
            return Err(Trouble::Local("no-anchor", notice));
        }
    }
    Ok(as_marks(marks))
}

/// Reads the heads in one file.
pub(crate) fn marks(lines: impl BufRead) -> std::io::Result<Vec<Mark>> {
    heads(lines).map(as_marks)
}

fn as_marks(heads: BTreeSet<(u64, [u8; 32])>) -> Vec<Mark> {
    heads.into_iter().map(|(seq, hash)| Mark { seq, hash: Digest(hash) }).collect()
}

fn heads(mut lines: impl BufRead) -> std::io::Result<BTreeSet<(u64, [u8; 32])>> {
    let mut found = BTreeSet::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        found.extend(head(&String::from_utf8_lossy(&line)));
    }
}

/// Returns the head that a line states, if it states one.
fn head(line: &str) -> Option<(u64, [u8; 32])> {
    let line = line.trim_end();
    // The anchor file that is kept beside the database.
    if let Some(mark) = Mark::parse(format!("{line}\n").as_bytes()) {
        return Some((mark.seq, mark.hash.0));
    }
    // A checkpoint of an export contains its statement as a text; then come lines of our JSON file, then lines of syslog.
    // Any program may write to syslog, so only lines with our name count.
    let inner = match line.strip_prefix("{\"checkpoint\":") {
        Some(rest) => rest.replace("\\\"", "\""),
        None if line.starts_with("{\"seq\":") => line.to_owned(),
        None => line.split_once("@cee:").filter(|(tag, _)| tag.contains("jit-sudo["))?.1.to_owned(),
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
    use super::*;

    #[test]
    fn heads_are_found_in_every_kind_of_file() {
        let hash = "ab".repeat(32);
        let checkpoint = format!(
            "{{\\\"at\\\":7,\\\"head\\\":\\\"{hash}\\\",\\\"host\\\":\\\"h\\\",\\\"seq\\\":9,\\\"version\\\":1}}"
        );
        for line in [
            format!("00000000000000000009 {hash}\n"),
            format!(
                "Jan 15 08:00:01 web1 jit-sudo[42]: @cee: {{\"seq\":9,\"head\":\"{hash}\",\"record\":{{\"seq\":3}}}}"
            ),
            format!("{{\"seq\":9,\"head\":\"{hash}\",\"record\":{{\"seq\":3}}}}"),
            format!("<85>Jan 15 jit-sudo[42]: @cee: {{\"seq\": 9, \"head\": \"{hash}\", \"part\":1,\"data\":\"x\"}}"),
            format!("{{\"checkpoint\":\"{checkpoint}\",\"kind\":\"checkpoint\",\"seq\":9,\"signature\":\"x\"}}"),
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
}
