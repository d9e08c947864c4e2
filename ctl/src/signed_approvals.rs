//! Approvals that are signed with a key of the approver, here or on another machine. jitctl never reads the private key:
//! ssh-keygen(1) signs, so that agents and security keys work.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use jit_core::escape::{escape, hex};
use jit_core::grant::sshsig::{self, Namespace};
use jit_core::grant::terms::{Extensions, Flag, VERSION, encode};
use jit_core::grant::{ApprovalTerms, Preview, digest};
use jit_core::names::{IdPrefix, UserName};
use jit_core::wire::{ApprovalDocument, Document, Import, ImportInfo, Show};

use crate::approvals::after_approval;
use crate::armor::{self, Kind, Request, bad};
use crate::broker::Broker;
use crate::cli::ApproveWords;
use crate::documents;
use crate::foreign;
use crate::output::Output;
use crate::screen::{Report, Screen, clean};
use crate::speech::{Notice, Trouble};
use crate::statement;
use crate::when;

/// `jitctl approve ID --key FILE`: fetched, signed and submitted in one step.
pub(crate) fn approve_here(
    id: IdPrefix,
    words: ApproveWords,
    key: &Path,
    broker: &Broker,
    screen: &Screen,
) -> Result<Report, Trouble> {
    let documents = documents::fetch(id, broker)?;
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
    screen.tell(&documents::host_of(&request));
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

/// Signs with ssh-keygen and checks the result, so that a signature that the host would refuse is refused here.
pub(crate) fn sign(key: &Path, purpose: Namespace, body: &str) -> Result<String, Trouble> {
    let shown = escape(key.as_os_str().as_encoded_bytes());
    let failed = |cause: &str| {
        Trouble::Local("not-signed", Notice::new(format!("ssh-keygen cannot sign with {shown}: {cause}")))
    };
    let system = |error| failed(&sys::plain_words(&error));
    let desk = SigningDir::new().map_err(system)?;
    let file = desk.0.join("approval");
    fs::write(&file, body).map_err(system)?;
    let status = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", purpose.as_str(), "-f"])
        .args([key, &file])
        .stdin(terminal())
        .stdout(Stdio::null())
        .status()
        .map_err(system)?;
    if !status.success() {
        return Err(failed("it has said why"));
    }
    let signature = fs::read_to_string(desk.0.join("approval.sig")).map_err(system)?;
    let made = sshsig::dearmor(&signature).is_some_and(|blob| sshsig::signer(purpose, body.as_bytes(), &blob).is_ok());
    if made { Ok(signature) } else { Err(failed("only ed25519 keys serve, and a security key must be touched")) }
}

/// Returns the standard input for ssh-keygen: it prompts for the PIN of a security key or the passphrase of a file only
/// on a terminal, and our own standard input need not be one.
fn terminal() -> Stdio {
    fs::File::open("/dev/tty").map_or_else(|_| Stdio::null(), Stdio::from)
}

/// A private directory for the text to be signed; removed when the value is dropped.
struct SigningDir(PathBuf);

impl SigningDir {
    fn new() -> io::Result<Self> {
        let name: [u8; 8] = sys::random::random()?;
        let path = std::env::temp_dir().join(format!("jitctl-{}", hex(&name)));
        // Fails if it exists, so that no other user can have put anything in it.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for SigningDir {
    fn drop(&mut self) {
        // What remains is an approval and its signature, which are not secret.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the user's name as the environment gives it; the host compares it with the key.
pub(crate) fn account() -> Option<UserName> {
    ["LOGNAME", "USER"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().and_then(|value| UserName::parse(&value).ok()))
}
