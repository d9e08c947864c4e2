//! An exported journal, verified where it lies: needs neither a privilege nor the host it came from.

use std::io::{BufRead, Read};

use jit_core::evidence::chain::{Begin, Cause};
use jit_core::evidence::checkpoint::Statement;
use jit_core::evidence::proof::Proof;
use jit_core::evidence::{Checkpoint, FirstBad, Mark, Proven, Signers};
use jit_core::grant::sshsig::dearmor;
use serde::{Deserialize, Serialize};

/// The longest line in bytes: no record is longer than what the database accepts.
const LINE_LIMIT: u64 = (64 << 20) + 1;

/// A checkpoint on a line of its own; every other line is a record, byte by byte.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CheckpointLine {
    /// The exact bytes that were signed.
    checkpoint: String,
    /// What programs tell lines apart by.
    kind: String,
    /// The record behind which it stands.
    seq: u64,
    /// The armored signature.
    signature: String,
}

impl CheckpointLine {
    pub(super) fn new(seq: u64, checkpoint: &str, signature: &str) -> Self {
        let (checkpoint, signature) = (checkpoint.to_owned(), signature.to_owned());
        Self { checkpoint, kind: "checkpoint".to_owned(), seq, signature }
    }

    /// What the line says, if it is such a line.
    fn read(line: &[u8]) -> Option<Checkpoint> {
        let line = line.starts_with(b"{\"checkpoint\":").then(|| serde_json::from_slice::<Self>(line).ok())??;
        let signature = dearmor(&line.signature).unwrap_or_default();
        Some(Checkpoint { seq: line.seq, body: line.checkpoint.into_bytes(), signature })
    }
}

/// Reads an export to its end. `from`: its first record, where it does not begin with the journal.
pub(crate) fn prove(
    mut lines: impl BufRead,
    from: Option<u64>,
    signers: Signers,
    anchor: Vec<Mark>,
) -> std::io::Result<Result<Proven, FirstBad>> {
    let mut line = Vec::new();
    read_line(&mut lines, &mut line)?;
    let first = CheckpointLine::read(&line);
    let begin = match (from, first.as_ref().and_then(|first| Statement::decode(&first.body))) {
        (Some(from), _) => Begin::Part(from),
        // What is left of pruned records.
        (None, Some(last)) => Begin::Pruned(Mark { seq: last.seq, hash: last.head }),
        (None, None) => Begin::First,
    };
    let mut proof = Proof::new(begin, signers, anchor);
    let mut seen = 0;
    while !line.is_empty() {
        let fed = match CheckpointLine::read(&line) {
            Some(checkpoint) => proof.checkpoint(&checkpoint),
            None => {
                seen += 1;
                proof.bare_record(&line)
            }
        };
        if let Err(bad) = fed {
            return Ok(Err(bad));
        }
        read_line(&mut lines, &mut line)?;
    }
    if seen == 0 {
        let cause = Cause::Malformed("the file holds no record".to_owned());
        return Ok(Err(FirstBad { seq: from.unwrap_or(1), cause }));
    }
    // An export ends with a checkpoint: what lacks one was cut off, or never finished.
    Ok(proof.end(0, None))
}

/// Empty at the end.
fn read_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<()> {
    line.clear();
    lines.by_ref().take(LINE_LIMIT).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.is_empty() {
            line.push(b' '); // an empty line is a bad record, not the end
        }
    }
    Ok(())
}
