//! Denials, cancellations, revocations, releases and reviews that are signed with a key, here or on another machine.

use std::path::Path;

use jit_core::escape::{Word, hex};
use jit_core::grant::sshsig::{self, Namespace};
use jit_core::grant::terms::{Extensions, RequestTerms, VERSION, encode};
use jit_core::grant::{CarriedStatement, Preview, PublicKey, StatementKind, StatementTerms, TermsFault, digest};
use jit_core::names::{IdPrefix, UserName};
use jit_core::wire::{Document, ImportStatement, StatedInfo, StatementDocument};

use crate::armor::{self, Kind, Request, bad};
use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::KeyWords;
use crate::foreign;
use crate::grant_text;
use crate::output::Output;
use crate::request_documents;
use crate::screen::{Report, Screen};
use crate::signing::{account, sign};
use crate::speech::{Notice, Trouble};
use crate::table::Fields;
use crate::typed::RequestSource;
use crate::vouching::{host_fields, signer_fields};
use crate::when;

/// The statement that the user wants to make.
pub(crate) struct NewStatement {
    pub(crate) kind: StatementKind,
    pub(crate) reason: Word,
    pub(crate) signed: KeyWords,
}

/// How it was made.
pub(crate) enum Way {
    /// Without a key: the broker learns the user from the kernel.
    Plain(IdPrefix),
    /// It was signed and submitted.
    Stated(StatedInfo),
    /// It was signed, to be submitted on its host.
    Printed(Report),
}

/// Signs and submits the statement if a key is given; prints it if the request is a text.
pub(crate) fn say(
    place: RequestSource,
    saying: NewStatement,
    broker: &Broker,
    screen: &Screen,
) -> Result<Way, Trouble> {
    let kind = saying.kind.as_str();
    match (place, saying.signed.key.clone()) {
        (RequestSource::Here(id), None) => Ok(Way::Plain(id)),
        (RequestSource::Here(id), Some(key)) => here(id, saying, &key, broker, screen).map(Way::Stated),
        (RequestSource::Text, Some(key)) => elsewhere(saying, &key, screen).map(Way::Printed),
        (RequestSource::Text, None) => {
            let notice = Notice::new(format!("the {kind} of a text must be signed"));
            Err(Trouble::Usage(notice.with_hint("add --key FILE")))
        }
    }
}

/// A key signs for one request or grant, which must be named.
pub(crate) fn unsigned(signed: &KeyWords) -> Result<(), Trouble> {
    match signed.key {
        Some(_) => Err(Trouble::Usage(Notice::new("a key signs for one grant").with_hint("name its ID"))),
        None => Ok(()),
    }
}

fn here(
    id: IdPrefix,
    saying: NewStatement,
    key: &Path,
    broker: &Broker,
    screen: &Screen,
) -> Result<StatedInfo, Trouble> {
    let documents = request_documents::fetch(id, broker)?;
    let request = Request::read(&documents.request)?;
    let kind = saying.kind.as_str();
    let by = saying.signed.name.clone().unwrap_or(documents.you);
    let statement = statement(saying, by, &request.bytes, &request.terms)?;
    screen.tell(&about(&request, kind, screen.now));
    let signature = sign(key, Namespace::Statement, &statement)?;
    Ok(broker.ask(&ImportStatement { statement, signature })?)
}

/// Reads the request from standard input, writes the statement to standard output.
fn elsewhere(saying: NewStatement, key: &Path, screen: &Screen) -> Result<Report, Trouble> {
    let kind = saying.kind;
    let by =
        saying.signed.name.clone().or_else(account).ok_or_else(|| {
            Trouble::Usage(Notice::new("your name on that host is not known").with_hint("add --as NAME"))
        })?;
    let request = foreign::to_sign(screen)?;
    let pending = matches!(kind, StatementKind::Denial | StatementKind::Cancellation);
    if pending && request.terms.deadline <= screen.now {
        return Err(bad(&format!("request {} has died at its deadline", request.terms.id)));
    }
    let body = statement(saying, by.clone(), &request.bytes, &request.terms)?;
    screen.tell(&about(&request, kind.as_str(), screen.now));
    screen.tell(&request_documents::host_of(&request));
    let document = Document { signature: Some(sign(key, Namespace::Statement, &body)?), body };
    let text = armor::to_text(Kind::Statement, &document);
    Ok(Report::done(Output::Statement(StatementDocument { kind, by, document, host_signature: None }), text))
}

/// Describes what the user is about to sign.
fn about(request: &Request, kind: &str, now: i64) -> String {
    Preview::of(&request.terms, &request.role, now).text(&format!("signing the {kind} of"))
}

/// Returns the exact text to be signed.
fn statement(saying: NewStatement, by: UserName, request: &str, about: &RequestTerms) -> Result<String, Trouble> {
    let terms = StatementTerms {
        at: when::now(),
        by,
        critical: Vec::new(),
        extensions: Extensions::new(),
        follows: None,
        host: about.host.id.clone(),
        id: about.id.clone(),
        kind: saying.kind,
        reason: saying.reason,
        request: hex(&digest(request.as_bytes())),
        version: VERSION,
    };
    let bytes = encode(&terms).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    bytes.ok_or_else(|| bad("the statement cannot be written"))
}

/// Returns a statement as given in a text, and the key that signed it. Only the host knows whose key that is.
pub(crate) fn read(document: &Document) -> Result<(StatementTerms, PublicKey), Trouble> {
    let signature = document.signature.as_deref().and_then(sshsig::dearmor);
    let signature = signature.ok_or_else(|| bad("the statement has no signature"))?;
    let carried =
        CarriedStatement::read(document.body.clone().into_bytes(), signature).map_err(|fault| match fault {
            TermsFault::Malformed => bad("the text is not a statement"),
            fault => bad(&format!("the statement cannot be used: {fault}")),
        })?;
    let key = carried.key().map_err(|fault| bad(&fault.to_string()))?;
    Ok((carried.terms().clone(), key))
}

/// `jitctl import` of a statement
pub(crate) fn import(document: Document, broker: &Broker) -> Result<Report, Trouble> {
    let signature = document.signature.ok_or_else(|| bad("the statement has no signature"))?;
    let ask = ImportStatement { statement: document.body, signature };
    let info = broker.ask(&ask)?;
    let (kind, who, key) = (info.kind.as_str(), clean(info.by.as_str()), clean(&info.key));
    let mut text = format!("request {}: {kind} by {who}, signed with {key}: {}\n", info.id, clean(&info.state));
    text.extend(info.ended.iter().map(|id| format!("grant {id}: ended\n")));
    Ok(Report::done(Output::Stated(info), text))
}

/// `jitctl show -` of a statement
pub(crate) fn show(document: Document, screen: &Screen) -> Result<Report, Trouble> {
    let (terms, key) = read(&document)?;
    let text = described(&terms, &key, screen);
    let answer = StatementDocument { kind: terms.kind, by: terms.by, document, host_signature: None };
    Ok(Report::done(Output::Statement(answer), text))
}

fn described(terms: &StatementTerms, key: &PublicKey, screen: &Screen) -> String {
    let mut fields = Fields::default();
    fields.add("statement", terms.kind.as_str());
    fields.add("request", terms.id.as_str());
    signer_fields(&mut fields, &terms.by, key);
    fields.add("at", when::long(terms.at, screen.now));
    fields.maybe("reason", (!terms.reason.as_bytes().is_empty()).then(|| terms.reason.to_string()));
    fields.add("request digest", &terms.request);
    host_fields(&mut fields, &terms.host);
    grant_text::unknown(&mut fields, &terms.extensions);
    fields.render_on(screen)
}

/// One signature over one statement, as `--export` writes it.
pub(crate) struct SignedFile<'p> {
    /// The file of the exact bytes.
    pub(crate) name: String,
    /// The bytes, if this is the first signature over them.
    pub(crate) body: Option<&'p str>,
    /// The file of the signature.
    pub(crate) file: String,
    pub(crate) signature: &'p str,
    /// `host`, or the name of who made the statement.
    pub(crate) signer: &'p str,
}

/// Returns the signatures over each statement: the host's and its author's.
pub(crate) fn signed_files(statements: &[StatementDocument]) -> Vec<SignedFile<'_>> {
    let mut files: Vec<SignedFile<'_>> = Vec::new();
    for (index, statement) in statements.iter().enumerate() {
        let kind = statement.kind.as_str();
        // Each kind should come once; if one comes twice, neither file may overwrite the other.
        let again = statements.iter().take(index).filter(|other| other.kind == statement.kind).count();
        let name = if again == 0 {
            format!("statement-{kind}.json")
        } else {
            format!("statement-{kind}-{}.json", again.saturating_add(1))
        };
        let own = format!("{name}.{}.sig", statement.by);
        let host = statement.host_signature.as_deref().map(|signature| (format!("{name}.sig"), signature, "host"));
        let person = statement.document.signature.as_deref().map(|signature| (own, signature, statement.by.as_str()));
        for (place, (file, signature, signer)) in host.into_iter().chain(person).enumerate() {
            let body = (place == 0).then_some(statement.document.body.as_str());
            files.push(SignedFile { name: name.clone(), body, file, signature, signer });
        }
    }
    files
}
