//! Documents as text that survives mail and chat: the exact bytes in base64 between two marker lines, and the SSH
//! signature below. The text comes from untrusted users: nothing in it is used before its signature is checked.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64ct::{Base64, Encoding};
use jit_core::escape::escape;
use jit_core::grant::sshsig::{self, Namespace};
use jit_core::grant::terms::{Extensions, decode};
use jit_core::grant::{ApprovalTerms, PublicKey, RequestTerms, StatementTerms, TermsFault};
use jit_core::policy::{InvalidPower, RolePower, role_digest};
use jit_core::wire::{Document, RequestDocument};

use crate::clean::clean;
use crate::known_hosts::is_plain_name;
use crate::speech::{Notice, Trouble};

/// The maximum size of a text, in bytes: a request with 2 MiB of arguments, all escaped, in base64.
const TEXT_LIMIT: u64 = 32 << 20;

const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----";
const SIGNATURE_END: &str = "-----END SSH SIGNATURE-----";

/// The kind of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request, signed by its host.
    Request,
    /// An approval, signed by its approver.
    Approval,
    /// A denial, cancellation, revocation, release or review, signed by its author.
    Statement,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Request => "REQUEST",
            Self::Approval => "APPROVAL",
            Self::Statement => "STATEMENT",
        }
    }
}

/// A complete request from another host. The digest that an approval names covers all of it, and the host's key has
/// signed it. The document itself cannot prove that the key belongs to the host.
pub(crate) struct Request {
    /// The request.
    pub(crate) terms: RequestTerms,
    /// Its exact bytes.
    pub(crate) bytes: String,
    /// The requested role.
    pub(crate) role: RolePower,
    /// What a later version of the host has added to the document around the request and the role.
    pub(crate) additions: Extensions,
    /// The host's key.
    pub(crate) host_key: PublicKey,
    /// The records by which the host key was replaced, as they came with the request; not checked.
    pub(crate) rotations: Vec<String>,
}

/// The word of a record by which a host key was replaced. It may follow a request; it has its signatures inside.
const ROTATION: &str = "ROTATION";

/// Returns the document as text.
pub(crate) fn to_text(kind: Kind, document: &Document) -> String {
    let mut text = block(kind.word(), &document.body);
    text.push_str(document.signature.as_deref().unwrap_or_default());
    text
}

/// Returns the records by which the host key was replaced as text, to follow that of a request.
pub(crate) fn rotations_text(rotations: &[String]) -> String {
    rotations.iter().map(|body| block(ROTATION, body)).collect()
}

/// Returns the records by which a host key was replaced in a text; nothing about them is checked.
pub(crate) fn rotations(text: &str) -> Vec<String> {
    let (begin, end) = markers(ROTATION);
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(inside) = between(rest, &begin, &end) {
        found.extend(decoded(inside));
        let Some((_, after)) = rest.split_once(&end) else { break };
        rest = after;
    }
    found
}

fn block(word: &str, body: &str) -> String {
    let (begin, end) = markers(word);
    let mut text = format!("{begin}\n");
    let encoded = Base64::encode_string(body.as_bytes());
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(76));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("{end}\n"));
    text
}

/// Returns the lines between which a document stands.
fn markers(word: &str) -> (String, String) {
    (format!("-----BEGIN JIT-SUDO {word}-----"), format!("-----END JIT-SUDO {word}-----"))
}

/// Returns the text that is encoded there, without the quotation marks of mail.
fn decoded(inside: &str) -> Option<String> {
    let encoded: String = inside.chars().filter(|c| !c.is_whitespace() && *c != '>').collect();
    String::from_utf8(Base64::decode_vec(&encoded).ok()?).ok()
}

/// Returns the one document in a text, ignoring the lines before and after it and the quotation marks of mail. An
/// approval or a statement may also be given as its exact bytes followed by the signature, as `cat approval approval.sig`
/// prints it.
pub(crate) fn from_text(text: &str) -> Result<(Kind, Document), Trouble> {
    for kind in [Kind::Request, Kind::Approval, Kind::Statement] {
        let (begin, end) = markers(kind.word());
        if let Some(inside) = between(text, &begin, &end) {
            let body = decoded(inside).ok_or_else(|| bad("the text is damaged"))?;
            return Ok((kind, Document { body, signature: signature(text) }));
        }
    }
    match text.find(SIGNATURE) {
        Some(at) if text.starts_with('{') => {
            let body = text.get(..at).unwrap_or_default().to_owned();
            let is_statement = decode::<StatementTerms>(body.as_bytes()).is_ok();
            let kind = if is_statement { Kind::Statement } else { Kind::Approval };
            Ok((kind, Document { body, signature: signature(text) }))
        }
        _ => Err(bad("there is no request or approval in the text, and no statement")),
    }
}

/// Reads standard input, or the files in order; `-` is standard input.
pub(crate) fn read<P: AsRef<Path>>(files: &[P]) -> Result<String, Trouble> {
    if files.is_empty() {
        return read_one(Path::new("-"));
    }
    files.iter().map(|file| read_one(file.as_ref())).collect()
}

/// Returns the request in a text, after the checks that need nothing but the document.
pub(crate) fn request(text: &str) -> Result<Request, Trouble> {
    match from_text(text)? {
        (Kind::Request, document) => Ok(Request { rotations: rotations(text), ..Request::read(&document)? }),
        (Kind::Approval, _) => Err(bad("the text is an approval, not a request")),
        (Kind::Statement, _) => Err(bad("the text is a statement, not a request")),
    }
}

impl Request {
    /// Checks that the parts of a document belong together: the description of the host and its id, the text of the role
    /// and its digest, and the signature by the key in the description.
    pub(crate) fn read(document: &Document) -> Result<Self, Trouble> {
        let altered = || bad("the request was altered: its host's signature does not hold");
        let contents: RequestDocument =
            decode(document.body.as_bytes()).map_err(|fault| bad(&format!("the request cannot be used: {fault}")))?;
        let terms = decode::<RequestTerms>(contents.request.as_bytes())
            .map_err(|fault| bad(&format!("the request cannot be used: {fault}")))?;
        let described = terms.host.host_id().and(terms.host.public_key());
        let host_key = described.ok_or_else(|| bad("the request is not whole: its host's id does not fit its key"))?;
        if !is_plain_name(&terms.host.name) {
            return Err(bad(&format!("the request names no host: \"{}\" is not a host name", clean(&terms.host.name))));
        }
        let signature = document.signature.as_deref().and_then(sshsig::dearmor).ok_or_else(altered)?;
        match sshsig::signer(Namespace::Request, document.body.as_bytes(), &signature) {
            Ok(signer) if signer == host_key => {}
            _ => return Err(altered()),
        }
        let role = asked_role(&terms, contents.role.as_bytes())?;
        let RequestDocument { request: bytes, extensions: additions, .. } = contents;
        Ok(Self { terms, bytes, role, additions, host_key, rotations: Vec::new() })
    }
}

/// Returns the role of a request whose document contains the role's text.
fn asked_role(terms: &RequestTerms, text: &[u8]) -> Result<RolePower, Trouble> {
    if role_digest(text) != terms.role_digest {
        return Err(bad("the request is not whole: the text of its role does not fit its digest"));
    }
    let role = RolePower::decode(text).map_err(|InvalidPower| {
        bad("the request cannot be used: this version does not know the text of its role; a later version may have \
             written it")
    })?;
    if role.name != terms.role {
        let (asked, found) = (&terms.role, &role.name);
        return Err(bad(&format!(
            "the request is not whole: it asks for role {asked}, and the text is that of {found}"
        )));
    }
    Ok(role)
}

/// An approval as given in a text, and the key that signed it. Only the host knows whose key that is.
pub(crate) fn approval(document: &Document) -> Result<(ApprovalTerms, PublicKey), Trouble> {
    let terms = decode::<ApprovalTerms>(document.body.as_bytes()).map_err(|fault| match fault {
        TermsFault::Malformed => bad("the text is no approval"),
        fault => bad(&format!("the approval cannot be used: {fault}")),
    })?;
    let signature = document.signature.as_deref().and_then(sshsig::dearmor);
    let signature = signature.ok_or_else(|| bad("the approval has no signature"))?;
    let key = sshsig::signer(Namespace::Approval, document.body.as_bytes(), &signature)
        .map_err(|fault| bad(&format!("the approval does not hold: {fault}")))?;
    Ok((terms, key))
}

/// Returns the error for a document that cannot be used.
pub(crate) fn bad(sentence: &str) -> Trouble {
    Trouble::Local("bad-document", Notice::new(sentence))
}

fn between<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    let (_, after) = text.split_once(begin)?;
    after.split_once(end).map(|(inside, _)| inside)
}

/// Returns the signature without the quotation marks of mail.
fn signature(text: &str) -> Option<String> {
    let inside = between(text, SIGNATURE, SIGNATURE_END)?;
    let lines: String = inside
        .lines()
        .map(|line| line.trim_matches(|c: char| c.is_whitespace() || c == '>'))
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    Some(format!("{SIGNATURE}\n{lines}{SIGNATURE_END}\n"))
}

fn read_one(path: &Path) -> Result<String, Trouble> {
    let name = escape(path.as_os_str().as_encoded_bytes());
    let failed = |cause: String| Trouble::Local("unreadable-file", Notice::new(format!("cannot read {name}: {cause}")));
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().take(TEXT_LIMIT + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(TEXT_LIMIT + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| failed(sys::plain_words(&error)))?;
    if bytes.len() as u64 > TEXT_LIMIT {
        return Err(failed(format!("it is longer than {} MiB", TEXT_LIMIT >> 20)));
    }
    String::from_utf8(bytes).map_err(|_| failed("it is not text".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let signature = format!("{SIGNATURE}\nU1NIU0lH\n{SIGNATURE_END}\n");
        Document { body: format!("{{\"a\":\"{}\"}}", "ü".repeat(200)), signature: Some(signature) }
    }

    fn same(text: &str, kind: Kind) {
        let (found, read) = from_text(text).unwrap();
        assert_eq!((found, read.body, read.signature), (kind, document().body, document().signature));
    }

    #[test]
    fn a_text_survives_mail() {
        for kind in [Kind::Request, Kind::Approval, Kind::Statement] {
            let text = to_text(kind, &document());
            assert!(text.lines().all(|line| line.len() <= 76));
            same(&text, kind);
            same(&format!("Hi Bob,\n\nplease:\n{text}\n-- \nAlice"), kind);
            same(&text.replace('\n', "\r\n"), kind);
            same(&text.lines().map(|line| format!("> {line}\n")).collect::<String>(), kind);
        }
    }

    #[test]
    fn bytes_followed_by_a_signature_are_an_approval() {
        let Document { body, signature } = document();
        same(&format!("{body}{}", signature.unwrap()), Kind::Approval);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "hello", "{}", SIGNATURE, "-----BEGIN JIT-SUDO REQUEST-----\n!\n-----END JIT-SUDO REQUEST-----"]
        {
            assert!(from_text(text).is_err(), "{text}");
        }
        let unsigned = to_text(Kind::Request, &Document { signature: None, ..document() });
        assert!(request(&unsigned).is_err());
        assert!(approval(&document()).is_err());
    }
}
