//! What reads bytes that strangers wrote, each as one function: for the fuzz targets in `fuzz/`, and for nothing else.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use jit_core::evidence::{FirstBad, Mark, Proven, Signers};
use jit_core::grant::sshsig::dearmor;
use jit_core::grant::{CarriedStatement, HostDescriptor, PublicKey};
use jit_core::wire::{Document, Verb};

use crate::replay::cast::{EventKind, Lines};
use crate::replay::filter::Filter;
use crate::replay::plain::Plain;
use crate::speech::Trouble;
use crate::{audit, broker, document, known_hosts};

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
                EventKind::Output(text) | EventKind::Said(text) => shown.push((event.at.as_micros(), text)),
                EventKind::Other => {}
            }
        }
    }
    Some(shown)
}

/// The one document in a text; the error is what a person reads.
pub fn document(text: &str) -> Result<(Document, String), String> {
    let (kind, document) = armor::from_text(text).map_err(|trouble| trouble.notice().message)?;
    let again = armor::to_text(kind, &document);
    Ok((document, again))
}

/// Whether a text is a request, an approval or a statement whose signature holds; the error is what a person reads.
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
pub fn answer<V: Verb>(heard: &[u8]) -> Result<V::Answer, String> {
    broker::understand::<V>(heard, ExitStatus::from_raw(0)).map_err(|error| error.to_string())
}

/// A document as a text, by the word that its first line has for it.
pub fn document_of(word: &str, document: &Document) -> Option<String> {
    let kind = match word {
        "REQUEST" => armor::Kind::Request,
        "APPROVAL" => armor::Kind::Approval,
        "STATEMENT" => armor::Kind::Statement,
        _ => return None,
    };
    Some(armor::to_text(kind, document))
}
