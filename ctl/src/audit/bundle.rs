//! Verifies an exported journal. Needs no privilege, and not the host that it came from.

use std::io::{BufRead, Read};

use jit_core::escape::unhex;
use jit_core::evidence::chain::{Begin, Cause};
use jit_core::evidence::checkpoint::Statement;
use jit_core::evidence::proof::Proof;
use jit_core::evidence::tree::Frontier;
use jit_core::evidence::{Checkpoint, Digest, Elsewhere, FirstBad, Mark, Proven, Signers};
use jit_core::wire::{GapInfo, TreeInfo};
use serde::{Deserialize, Serialize};

/// The longest line in bytes: no record is longer than what the database accepts.
const LINE_LIMIT: u64 = (64 << 20) + 1;

/// The tree of the records before the first one of the file, on its first line.
#[derive(Debug, Serialize, Deserialize)]
struct TreeLine {
    /// The number before the first record of the file.
    after: u64,
    /// Distinguishes the line from records, for programs.
    kind: String,
    /// The number of records before it.
    size: u64,
    /// The largest complete subtrees of their tree, from left to right.
    tree: Vec<Digest>,
}

/// Formats the line of a tree.
pub(super) fn tree_line(after: u64, info: &TreeInfo) -> String {
    let tree = info.tree.iter().filter_map(|hash| unhex(hash).map(Digest)).collect();
    let line = TreeLine { after, kind: "tree".to_owned(), size: info.size, tree };
    serde_json::to_string(&line).map(|line| line + "\n").unwrap_or_default()
}

/// Decodes a line if it is a tree.
fn read_tree(line: &[u8]) -> Option<Frontier> {
    let line = line.starts_with(b"{\"after\":").then(|| serde_json::from_slice::<TreeLine>(line).ok())??;
    Frontier::new(line.size, line.tree)
}

/// The `epoch` record of an earlier part, on a line of its own before the first record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CertificateLine {
    /// The exact bytes of the record.
    certificate: String,
    /// Distinguishes the line from records, for programs.
    kind: String,
}

impl CertificateLine {
    pub(super) fn line(body: &str) -> String {
        let line = Self { certificate: body.to_owned(), kind: "certificate".to_owned() };
        serde_json::to_string(&line).map(|line| line + "\n").unwrap_or_default()
    }

    /// Decodes the line if it is a certificate, and returns the exact bytes of the record.
    pub(super) fn read(line: &[u8]) -> Option<String> {
        let line = line.starts_with(b"{\"certificate\":").then(|| serde_json::from_slice::<Self>(line).ok())??;
        Some(line.certificate)
    }
}

/// A line of a salvaged journal in the place of records that could not be read.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GapLine {
    /// The number of the first.
    gap: u64,
    /// Distinguishes the line from records, for programs.
    kind: String,
    /// The number of the last.
    last: u64,
    /// The reason.
    why: String,
}

impl GapLine {
    pub(super) fn line(gap: &GapInfo) -> String {
        let line = Self { gap: gap.first, kind: "gap".to_owned(), last: gap.last, why: gap.why.clone() };
        serde_json::to_string(&line).map(|line| line + "\n").unwrap_or_default()
    }

    /// Decodes the line if it is a gap, and returns the first record that is bad by it.
    fn read(line: &[u8]) -> Option<FirstBad> {
        let line = line.starts_with(b"{\"gap\":").then(|| serde_json::from_slice::<Self>(line).ok())??;
        let cause = Cause::Malformed(format!(
            "the file was salvaged without records {} to {}: {}",
            line.gap, line.last, line.why
        ));
        Some(FirstBad { seq: line.gap, cause })
    }
}

/// Verifies an export to its end. `from` is its first record, if it is not the first of the journal.
pub(crate) fn prove(
    mut lines: impl BufRead,
    from: Option<u64>,
    signers: Signers,
    anchor: Vec<Mark>,
    elsewhere: Elsewhere,
    sealing_keys: Vec<String>,
) -> std::io::Result<Result<Proven, FirstBad>> {
    let mut line = Vec::new();
    read_line(&mut lines, &mut line)?;
    let mut certificates = Vec::new();
    while let Some(certificate) = CertificateLine::read(&line) {
        certificates.push(certificate);
        read_line(&mut lines, &mut line)?;
    }
    let tree = read_tree(&line);
    if tree.is_some() {
        read_line(&mut lines, &mut line)?;
    }
    let first = Checkpoint::from_line(&line);
    let begin = match (from, first.as_ref().and_then(|first| Statement::decode(&first.body))) {
        (Some(from), _) => Begin::Part(from),
        // The last pruned record, which this checkpoint states.
        (None, Some(last)) => Begin::Pruned(Mark { seq: last.seq, hash: last.head }),
        (None, None) => Begin::First,
    };
    let mut proof = Proof::new(begin, signers, anchor).with_sealing_keys(begin, sealing_keys);
    if let Some(tree) = tree.filter(|_| begin != Begin::First) {
        proof = proof.after(tree);
    }
    proof = proof.with(elsewhere);
    for certificate in &certificates {
        if let Err(bad) = proof.certificate(certificate.as_bytes()) {
            return Ok(Err(bad));
        }
    }
    let mut seen = 0;
    while !line.is_empty() {
        if let Some(bad) = GapLine::read(&line) {
            return Ok(Err(bad));
        }
        let fed = match Checkpoint::from_line(&line) {
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
    // A complete export ends with a checkpoint; one without was truncated or never finished.
    Ok(proof.end(0, None))
}

/// Reads a line; empty at the end of the file.
pub(super) fn read_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<()> {
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
