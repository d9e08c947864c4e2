//! Approvals that are signed with a key of the approver, here or on another machine. jitctl never reads the private key:
//! ssh-keygen(1) signs, so that agents and security keys work.

use std::path::Path;

use jit_core::escape::hex;
use jit_core::grant::sshsig::Namespace;
use jit_core::grant::terms::{Extensions, Flag, VERSION, encode};
use jit_core::grant::{ApprovalTerms, Preview, PublicKey, digest};
use jit_core::names::{IdPrefix, UserName};
use jit_core::wire::{ApprovalDocument, Document, Import, ImportInfo, Show};

use crate::armor::{self, Kind, Request, bad};
use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::ApproveWords;
use crate::foreign;
use crate::grant_text::{self, after_approval};
use crate::output::Output;
use crate::request_documents;
use crate::screen::{Report, Screen};
use crate::signing::{account, sign};
use crate::speech::{Notice, Trouble};
use crate::statement;
use crate::table::Fields;
use crate::vouching::{host_fields, signer_fields};
use crate::when;

/// `jitctl approve ID --key FILE`: fetched, signed and submitted in one step.
pub(crate) fn approve_here(
    id: IdPrefix,
    words: ApproveWords,
    key: &Path,
    broker: &Broker,
    screen: &Screen,
) -> Result<Report, Trouble> {
    let documents = request_documents::fetch(id, broker)?;
    let request = Request::read(&documents.request)?;
    let approver = words.approver.clone().unwrap_or(documents.you);
    let terms = approval(words, approver, &request)?;
    screen.tell(&about(&request, &terms, screen.now));
    let body = written(&terms)?;
    let signature = sign(key, Namespace::Approval, &body)?;
    broker.ask(&Import { approval: body, signature })?;
    let id = IdPrefix::from(&request.terms.id);
    let info = broker.ask(&Show { id })?;
    let text = after_approval(&info, screen.now);
    Ok(Report::done(Output::grant(info), text))
}

/// `jitctl approve -`: reads the request from standard input, writes the approval to standard output.
pub(crate) fn approve_elsewhere(words: ApproveWords, screen: &Screen) -> Result<Report, Trouble> {
    let key = words.key.clone();
    let unsigned = words.unsigned;
    if key.is_none() && !unsigned {
        let notice = Notice::new("an approval of a text must be signed");
        return Err(Trouble::Usage(notice.with_hint("add --key FILE, or --unsigned and sign it yourself")));
    }
    let approver =
        words.approver.clone().or_else(account).ok_or_else(|| {
            Trouble::Usage(Notice::new("your name on that host is not known").with_hint("add --as NAME"))
        })?;
    let request = foreign::to_sign(screen)?;
    if request.terms.deadline <= screen.now {
        return Err(bad(&format!("request {} has died at its deadline", request.terms.id)));
    }
    let terms = approval(words, approver.clone(), &request)?;
    let body = written(&terms)?;
    screen.tell(&about(&request, &terms, screen.now));
    screen.tell(&request_documents::host_of(&request));
    let Some(key) = key.filter(|_| !unsigned) else {
        let document = Document { body: body.clone(), signature: None };
        // The exact bytes that are signed, without a newline at the end.
        return Ok(Report::done(Output::Approval(ApprovalDocument { approver, document }), body));
    };
    let document = Document { signature: Some(sign(&key, Namespace::Approval, &body)?), body };
    let text = armor::to_text(Kind::Approval, &document);
    Ok(Report::done(Output::Approval(ApprovalDocument { approver, document }), text))
}

/// `jitctl import`
pub(crate) fn import<P: AsRef<Path>>(files: &[P], broker: &Broker) -> Result<Report, Trouble> {
    let document = match armor::from_text(&armor::read(files)?)? {
        (Kind::Approval, document) => document,
        (Kind::Statement, document) => return statement::import(document, broker),
        (Kind::Request, _) => {
            let notice = Notice::new("the text is a request, not an approval").with_hint("jitctl approve - --key FILE");
            return Err(Trouble::Local("bad-document", notice));
        }
    };
    let signature = document.signature.ok_or_else(|| bad("the approval has no signature"))?;
    let ask = Import { approval: document.body, signature };
    let info = broker.ask(&ask)?;
    let text = imported(&info);
    Ok(Report::done(Output::Imported(info), text))
}

/// `jitctl show -` of an approval
pub(crate) fn show(document: Document, screen: &Screen) -> Result<Report, Trouble> {
    let (terms, key) = armor::approval(&document)?;
    let text = described(&terms, &key, screen);
    Ok(Report::done(Output::Approval(ApprovalDocument { approver: terms.approver, document }), text))
}

fn described(terms: &ApprovalTerms, key: &PublicKey, screen: &Screen) -> String {
    let mut fields = Fields::default();
    fields.add("statement", "approval");
    fields.add("request", terms.id.as_str());
    signer_fields(&mut fields, &terms.approver, key);
    fields.add("at", when::long(terms.at, screen.now));
    fields.add("for", terms.duration.positive().map_or_else(|| "as long as asked".to_owned(), when::spell));
    let narrowed = grant_text::narrowed(terms.one_shot.is_set(), terms.exact.is_set());
    fields.maybe("narrowed to", (!narrowed.is_empty()).then_some(narrowed));
    fields.maybe("comment", (!terms.comment.as_bytes().is_empty()).then(|| terms.comment.to_string()));
    fields.add("request digest", &terms.request);
    fields.add("role digest", &terms.role_digest);
    host_fields(&mut fields, &terms.host);
    grant_text::unknown(&mut fields, &terms.extensions);
    fields.render_on(screen)
}

fn imported(info: &ImportInfo) -> String {
    let (who, key) = (clean(info.approver.as_str()), clean(&info.key));
    let head = format!("request {}: approval by {who}, signed with {key}", info.id);
    if info.state == "approved" {
        format!("{head}: approved\n")
    } else {
        format!("{head}: {} of {} given\n", info.approvals, info.approvals_needed)
    }
}

/// Describes what the user is about to sign.
fn about(request: &Request, terms: &ApprovalTerms, now: i64) -> String {
    Preview::of(&request.terms, &request.role, now).narrowed(terms).text("signing the approval of")
}

/// Returns the approval to be signed.
fn approval(words: ApproveWords, approver: UserName, request: &Request) -> Result<ApprovalTerms, Trouble> {
    let asked = &request.terms;
    let duration = words.duration.unwrap_or_default();
    if duration > asked.duration {
        let (most, wanted) = (when::spell(asked.duration), when::spell(duration));
        return Err(bad(&format!("an approver may only shorten: {most} was asked, not {wanted}")));
    }
    if words.exact {
        asked.exactly().map_err(|why| bad(&why.to_string()))?;
    }
    Ok(ApprovalTerms {
        approver,
        at: when::now(),
        comment: words.comment.unwrap_or_default(),
        critical: Vec::new(),
        duration,
        exact: Flag::from(words.exact),
        extensions: Extensions::new(),
        host: asked.host.id.clone(),
        id: asked.id.clone(),
        one_shot: Flag::from(words.one_shot),
        request: hex(&digest(request.bytes.as_bytes())),
        role_digest: asked.role_digest.clone(),
        version: VERSION,
    })
}

/// Returns its exact text.
fn written(terms: &ApprovalTerms) -> Result<String, Trouble> {
    let bytes = encode(terms).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    bytes.ok_or_else(|| bad("the approval cannot be written"))
}
