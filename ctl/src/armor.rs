//! Documents as texts that survive mail and chat: exact bytes in base64 between two lines, and the SSH signature below.
//! Whatever is read here was written by strangers, and nothing is believed before its signature was checked.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64ct::{Base64, Encoding};
use jit_core::escape::escape;
use jit_core::grant::sshsig::{self, Namespace};
use jit_core::grant::terms::{VERSION, decode};
use jit_core::grant::{ApprovalTerms, PublicKey, RequestTerms, StatementTerms, TermsFault};
use jit_core::policy::{InvalidPower, RolePower, role_digest};
use jit_core::wire::{Document, RequestDocument};

use crate::known_hosts::is_plain_name;
use crate::screen::clean;
use crate::speech::{Notice, Trouble};

/// The longest text that is read, in bytes: a request with 2 MiB of arguments, all escaped, in base64.
const TEXT_LIMIT: u64 = 32 << 20;

const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----";
const SIGNATURE_END: &str = "-----END SSH SIGNATURE-----";

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request, signed by its host.
    Request,
    /// An approval, signed by its approver.
    Approval,
    /// A denial, cancellation, revocation, release or review, signed by whoever made it.
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

/// A request from some host, whole: everything in it is covered by the digest that an approval names, and the host's key
/// has signed it. Whether that key is the host's, the document itself cannot tell.
pub(crate) struct Request {
    /// The request.
    pub(crate) terms: RequestTerms,
    /// Its exact bytes.
    pub(crate) bytes: String,
    /// The role as it was asked for.
    pub(crate) role: RolePower,
    /// The host's key.
    pub(crate) host_key: PublicKey,
}

/// The document as a text.
pub(crate) fn to_text(kind: Kind, document: &Document) -> String {
    let word = kind.word();
    let mut text = format!("-----BEGIN JIT-SUDO {word}-----\n");
    let encoded = Base64::encode_string(document.body.as_bytes());
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(76));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END JIT-SUDO {word}-----\n"));
    text.push_str(document.signature.as_deref().unwrap_or_default());
    text
}

/// The one document in a text; what stands before and behind it is ignored, and so are marks of quotation. An approval or a
/// statement may also stand as its exact bytes with the signature behind them, as `cat approval approval.sig` prints it.
pub(crate) fn from_text(text: &str) -> Result<(Kind, Document), Trouble> {
    for kind in [Kind::Request, Kind::Approval, Kind::Statement] {
        let (begin, end) =
            (format!("-----BEGIN JIT-SUDO {}-----", kind.word()), format!("-----END JIT-SUDO {}-----", kind.word()));
        if let Some(inside) = between(text, &begin, &end) {
            let encoded: String = inside.chars().filter(|c| !c.is_whitespace() && *c != '>').collect();
            let bytes = Base64::decode_vec(&encoded).map_err(|_| bad("the text is damaged"))?;
            let body = String::from_utf8(bytes).map_err(|_| bad("the text is damaged"))?;
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

/// Reads standard input, or files one after the other; `-` is standard input too.
pub(crate) fn read<P: AsRef<Path>>(files: &[P]) -> Result<String, Trouble> {
    if files.is_empty() {
        return read_one(Path::new("-"));
    }
    files.iter().map(|file| read_one(file.as_ref())).collect()
}

/// The request in a text, checked by itself.
pub(crate) fn request(text: &str) -> Result<Request, Trouble> {
    match from_text(text)? {
        (Kind::Request, document) => Request::read(&document),
        (Kind::Approval, _) => Err(bad("the text is an approval, not a request")),
        (Kind::Statement, _) => Err(bad("the text is a statement, not a request")),
    }
}

impl Request {
    /// Checks that the parts of a document belong together: the host's description and its id, the role's text and its digest,
    /// and the signature of the key that the host has by its own description.
    pub(crate) fn read(document: &Document) -> Result<Self, Trouble> {
        let altered = || bad("the request was altered: its host's signature does not hold");
        let contents = contents(&document.body)?;
        let terms = decode::<RequestTerms>(contents.request.as_bytes())
            .map_err(|fault| bad(&format!("the request cannot be used: {fault}")))?;
        let described = terms.host.host_id().and(terms.host.public_key());
        let host_key = described.ok_or_else(|| bad("the request is not whole: its host's id does not fit its key"))?;
        if !is_plain_name(&terms.host.name) {
            return Err(bad(&format!("the request names no host: \"{}\" is no name of one", clean(&terms.host.name))));
        }
        let signature = document.signature.as_deref().and_then(sshsig::dearmor).ok_or_else(altered)?;
        match sshsig::signer(Namespace::Request, document.body.as_bytes(), &signature) {
            Ok(signer) if signer == host_key => {}
            _ => return Err(altered()),
        }
        let role = asked_role(&terms, contents.role.as_bytes())?;
        Ok(Self { terms, bytes: contents.request, role, host_key })
    }
}

/// The role of a request, of which the document has the text.
fn asked_role(terms: &RequestTerms, text: &[u8]) -> Result<RolePower, Trouble> {
    if role_digest(text) != terms.role_digest {
        return Err(bad("the request is not whole: the text of its role does not fit its digest"));
    }
    let role = RolePower::decode(text).map_err(|InvalidPower| {
        bad("the request cannot be used: the text of its role is none that this version writes")
    })?;
    if role.name != terms.role {
        let (asked, found) = (&terms.role, &role.name);
        return Err(bad(&format!(
            "the request is not whole: it asks for role {asked}, and the text is that of {found}"
        )));
    }
    Ok(role)
}

/// An approval as it stands in a text, and the key that made its signature. Whose key that is, only the host can tell.
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

/// The parts of a request's document, which are what this version writes, byte by byte.
fn contents(body: &str) -> Result<RequestDocument, Trouble> {
    let unusable = |fault: TermsFault| bad(&format!("the request cannot be used: {fault}"));
    let read: Option<RequestDocument> = serde_json::from_str(body).ok();
    if let Some(contents) = read.filter(|contents| contents.version == VERSION) {
        return match serde_json::to_string(&contents) {
            Ok(again) if again == body => Ok(contents),
            _ => Err(unusable(TermsFault::Malformed)),
        };
    }
    Err(unusable(TermsFault::of_version(body.as_bytes())))
}

/// A document that cannot be used.
pub(crate) fn bad(sentence: &str) -> Trouble {
    Trouble::Local("bad-document", Notice::new(sentence))
}

fn between<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    let (_, after) = text.split_once(begin)?;
    after.split_once(end).map(|(inside, _)| inside)
}

/// The signature without marks of quotation.
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
    String::from_utf8(bytes).map_err(|_| failed("it is no text".to_owned()))
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
    fn bytes_and_signature_one_behind_the_other_are_an_approval() {
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
