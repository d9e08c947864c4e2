//! What reads bytes that strangers wrote, each as one function: for the fuzz targets in `fuzz/`, and for nothing else.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use jit_core::evidence::{FirstBad, Mark, Proven, Signers};
use jit_core::grant::sshsig::dearmor;
use jit_core::grant::{CarriedStatement, HostDescriptor, PublicKey};
use jit_core::wire::{Answer, Paper};

use crate::replay::cast::{Lines, What};
use crate::replay::filter::Filter;
use crate::replay::plain::Plain;
use crate::speech::Trouble;
use crate::{audit, door, known_hosts, paper};

/// What a replay shows of a recorded text that comes in these pieces.
pub fn shown<'t>(pieces: impl IntoIterator<Item = &'t str>) -> String {
    let mut filter = Filter::default();
    pieces.into_iter().map(|piece| filter.pass(piece)).collect()
}

/// What a search reads of it.
pub fn plain<'t>(pieces: impl IntoIterator<Item = &'t str>) -> String {
    let mut plain = Plain::default();
    pieces.into_iter().map(|piece| plain.pass(piece)).collect()
}

/// What a recording that comes in these pieces shows, with the microsecond of each event; `None` where it is no recording.
pub fn recorded<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Option<Vec<(u128, String)>> {
    let (mut lines, mut shown) = (Lines::default(), Vec::new());
    for piece in pieces {
        for event in lines.take(piece).ok()? {
            match event.what {
                What::Output(text) | What::Said(text) => shown.push((event.at.as_micros(), text)),
                What::Other => {}
            }
        }
    }
    Some(shown)
}

/// The one paper in a text; the error is what a person reads.
pub fn paper(text: &str) -> Result<(Paper, String), String> {
    let (kind, paper) = paper::from_text(text).map_err(|trouble| trouble.notice().message)?;
    let again = paper::to_text(kind, &paper);
    Ok((paper, again))
}

/// Whether a text is a request, an approval or a statement whose signature holds; the error is what a person reads.
pub fn signed_paper(text: &str) -> Result<(), String> {
    let said = |trouble: Trouble| trouble.notice().message;
    let (kind, paper) = paper::from_text(text).map_err(said)?;
    match kind {
        paper::Kind::Request => paper::Request::read(&paper).map(drop).map_err(said),
        paper::Kind::Approval => paper::approval(&paper).map(drop).map_err(said),
        paper::Kind::Statement => {
            let signature = paper.signature.as_deref().and_then(dearmor).unwrap_or_default();
            let carried = CarriedStatement::read(paper.body.into_bytes(), signature);
            carried.map_err(|fault| fault.to_string())?.key().map(drop).map_err(|fault| fault.to_string())
        }
    }
}

/// An exported journal.
///
/// # Errors
/// Reading from memory has none.
pub fn exported(bytes: &[u8], signers: Signers) -> io::Result<Result<Proven, FirstBad>> {
    audit::bundle::prove(bytes, None, signers, Vec::new())
}

/// The heads of a journal in a file of any kind.
///
/// # Errors
/// Reading from memory has none.
pub fn heads(bytes: &[u8]) -> io::Result<Vec<Mark>> {
    audit::anchor::marks(bytes)
}

/// What a list of known hosts says of a host; the error is what a person reads.
pub fn known_host(text: &str, host: &HostDescriptor, key: &PublicKey) -> Result<String, String> {
    known_hosts::found(text, host, key)
}

/// What the broker answered; the error is what a person reads.
pub fn answer(heard: &[u8]) -> Result<Answer, String> {
    door::understand(heard, ExitStatus::from_raw(0)).map_err(|error| error.to_string())
}

/// A paper as a text, by the word that its first line has for it.
pub fn paper_of(word: &str, paper: &Paper) -> Option<String> {
    let kind = match word {
        "REQUEST" => paper::Kind::Request,
        "APPROVAL" => paper::Kind::Approval,
        "STATEMENT" => paper::Kind::Statement,
        _ => return None,
    };
    Some(paper::to_text(kind, paper))
}
