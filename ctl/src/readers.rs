//! The functions that parse untrusted bytes, for the fuzz targets in `fuzz/` only.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use jit_core::evidence::{Elsewhere, FirstBad, Mark, Proven, Signers};
use jit_core::grant::sshsig::dearmor;
use jit_core::grant::{CarriedStatement, HostDescriptor, PublicKey};
use jit_core::wire::{Document, Verb};

use crate::replay::cast::{EventKind, Lines};
use crate::replay::filter::Filter;
use crate::replay::plain::Plain;
use crate::speech::Trouble;
use crate::{armor, audit, broker, known_hosts};

/// Returns what a replay shows of a recorded text that arrives in these pieces.
pub fn shown<'t>(pieces: impl IntoIterator<Item = &'t str>) -> String {
    let mut filter = Filter::default();
    pieces.into_iter().map(|piece| filter.pass(piece)).collect()
}

/// Returns what a search reads of such a text.
pub fn plain<'t>(pieces: impl IntoIterator<Item = &'t str>) -> String {
    let mut plain = Plain::default();
    pieces.into_iter().map(|piece| plain.pass(piece)).collect()
}

/// Returns what a recording that arrives in these pieces shows, with the microsecond of each event; `None` if it is no
/// recording.
pub fn recorded<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Option<Vec<(u128, String)>> {
    let (mut lines, mut shown) = (Lines::default(), Vec::new());
    for piece in pieces {
        for event in lines.take(piece).ok()? {
            match event.what {
                EventKind::Output(text) | EventKind::Said(text) => shown.push((event.at.as_micros(), text)),
                EventKind::Other => {}
            }
        }
    }
    Some(shown)
}

/// Returns the one document in a text and its text written anew, or the error message.
pub fn document(text: &str) -> Result<(Document, String), String> {
    let (kind, document) = armor::from_text(text).map_err(|trouble| trouble.notice().message)?;
    let again = armor::to_text(kind, &document);
    Ok((document, again))
}

/// Checks that a text is a request, an approval or a statement with a valid signature, or returns the error message.
pub fn signed_document(text: &str) -> Result<(), String> {
    let said = |trouble: Trouble| trouble.notice().message;
    let (kind, document) = armor::from_text(text).map_err(said)?;
    match kind {
        armor::Kind::Request => armor::Request::read(&document).map(drop).map_err(said),
        armor::Kind::Approval => armor::approval(&document).map(drop).map_err(said),
        armor::Kind::Statement => {
            let signature = document.signature.as_deref().and_then(dearmor).unwrap_or_default();
            let carried = CarriedStatement::read(document.body.into_bytes(), signature);
            carried.map_err(|fault| fault.to_string())?.key().map(drop).map_err(|fault| fault.to_string())
        }
    }
}

/// Verifies an exported journal.
///
/// # Errors
/// Reading from memory has none.
pub fn exported(bytes: &[u8], signers: Signers) -> io::Result<Result<Proven, FirstBad>> {
    audit::bundle::prove(bytes, None, signers, Vec::new(), Elsewhere::default(), Vec::new())
}

/// Reads the heads of a journal in a file of any kind.
///
/// # Errors
/// Reading from memory has none.
pub fn heads(bytes: &[u8]) -> io::Result<Vec<Mark>> {
    let mut kept = audit::anchor::Kept::default();
    audit::anchor::read_lines(bytes, &mut kept)?;
    Ok([kept.marks, kept.unsigned].concat())
}

/// Returns what a list of known hosts says of a host, or the error message.
pub fn known_host(text: &str, host: &HostDescriptor, key: &PublicKey) -> Result<String, String> {
    known_hosts::found(text, host, key)
}

/// Decodes an answer of the broker, or returns the error message.
pub fn answer<V: Verb>(heard: &[u8]) -> Result<V::Answer, String> {
    broker::understand::<V>(heard, ExitStatus::from_raw(0)).map_err(|error| error.to_string())
}

/// Returns a document as text; `word` is its kind as on the first line.
pub fn document_of(word: &str, document: &Document) -> Option<String> {
    let kind = match word {
        "REQUEST" => armor::Kind::Request,
        "APPROVAL" => armor::Kind::Approval,
        "STATEMENT" => armor::Kind::Statement,
        _ => return None,
    };
    Some(armor::to_text(kind, document))
}
