//! Requests that leave their host, and evidence that can be verified without it: print, export, and `show -`.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use jit_core::escape::{command_line, escape, hex};
use jit_core::grant::sshsig::Namespace;
use jit_core::grant::terms::decode;
use jit_core::grant::{GrantTerms, digest};
use jit_core::names::IdPrefix;
use jit_core::policy::RolePower;
use jit_core::wire::{Document, DocumentsInfo};

use crate::armor::{self, Kind, Request, bad};
use crate::broker::Broker;
use crate::foreign;
use crate::output::Output;
use crate::request_documents;
use crate::screen::{Report, Screen};
use crate::signed_approvals;
use crate::speech::{Notice, Trouble};
use crate::statement;

/// The file with the digests of request and role, for `sha256sum -c`.
const DIGESTS: &str = "sha256sums";

/// `jitctl show ID --print`, `jitctl request --print`
pub(crate) fn print(id: IdPrefix, broker: &Broker) -> Result<Report, Trouble> {
    let documents = request_documents::fetch(id, broker)?;
    let text = armor::to_text(Kind::Request, &documents.request) + &armor::rotations_text(&documents.rotations);
    Ok(Report::done(Output::Documents(Box::new(documents)), text))
}

/// `jitctl show ID --export DIRECTORY`: exact bytes, signatures and the host's key, for any `ssh-keygen -Y verify`.
pub(crate) fn export(id: IdPrefix, directory: &Path, broker: &Broker) -> Result<Report, Trouble> {
    let documents = request_documents::fetch(id, broker)?;
    let request = Request::read(&documents.request)?;
    let shown = escape(directory.as_os_str().as_encoded_bytes());
    let failed = |error: &std::io::Error| {
        let notice = Notice::new(format!("cannot write to {shown}: {}", sys::plain_words(error)));
        Trouble::Local("unwritable", notice.with_hint("name a directory that is not there yet"))
    };
    // A new directory only: others may have prepared an existing one.
    DirBuilder::new().mode(0o755).create(directory).map_err(|error| failed(&error))?;
    let write = |name: &str, text: &str| {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(directory.join(name));
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| failed(&error))
    };
    write("signers", &signers(&request, &documents))?;
    write("request.json", &request.bytes)?;
    write("role.json", &encoded(&request.role)?)?;
    // The digests that grant and approvals name.
    let digests =
        [(hex(&digest(request.bytes.as_bytes())), "request.json"), (request.terms.role_digest.clone(), "role.json")];
    write(DIGESTS, &digests.map(|(digest, file)| format!("{digest}  {file}\n")).concat())?;
    let mut named: Vec<(String, &Document, &str, &str)> =
        vec![("document.json".into(), &documents.request, "host", "jit-sudo/request/v1")];
    for approval in &documents.approvals {
        let name = format!("approval-{}.json", approval.approver);
        named.push((name, &approval.document, approval.approver.as_str(), "jit-sudo/approval/v1"));
    }
    if let Some(grant) = &documents.grant {
        named.push(("grant.json".into(), grant, "host", "jit-sudo/grant/v1"));
    }
    let mut text = format!("sha256sum -c {DIGESTS}\n");
    let mut together = vec![
        "jq -j .request document.json | cmp - request.json\n".to_owned(),
        names("request.json", "role_digest", "role.json"),
    ];
    together.extend(
        documents
            .approvals
            .iter()
            .map(|of| names(&format!("approval-{}.json", of.approver), "request", "request.json")),
    );
    if let Some(grant) = &documents.grant {
        together.push(names("grant.json", "request", "request.json"));
        together.push(names("grant.json", "role_digest", "role.json"));
        if decode::<GrantTerms>(grant.body.as_bytes()).is_ok_and(|terms| !terms.approvals.is_empty()) {
            together.push(format!("jq -r {APPROVALS} grant.json | sha256sum -c -\n"));
        }
    }
    for (name, document, signer, namespace) in named {
        write(&name, &document.body)?;
        let Some(signature) = &document.signature else { continue };
        let file = format!("{name}.sig");
        write(&file, signature)?;
        text.push_str(&verification(&name, &file, signer, namespace));
    }
    for signed in statement::signed_files(&documents.statements) {
        signed.body.map_or(Ok(()), |body| write(&signed.name, body))?;
        write(&signed.file, signed.signature)?;
        if signed.body.is_some() {
            together.push(names(&signed.name, "request", "request.json"));
        }
        text.push_str(&verification(&signed.name, &signed.file, signed.signer, Namespace::Statement.as_str()));
    }
    let directory = command_line([directory.as_os_str()]);
    let head = format!(
        "cd {directory}; then the first line checks the digests, each line of ssh-keygen one signature, and each line of jq that what was \
         signed names the other files; all have to hold:\n"
    );
    Ok(Report::done(Output::Documents(Box::new(documents)), format!("{head}{text}{}", together.concat())))
}

/// Returns the lines of allowed_signers, in OpenSSH's format, for the host and each person.
fn signers(request: &Request, documents: &DocumentsInfo) -> String {
    let host = &request.terms.host.key;
    let host = format!("host namespaces=\"jit-sudo/grant/v1,jit-sudo/request/v1,jit-sudo/statement/v1\" {host}\n");
    documents.signers.iter().fold(host, |text, line| text + line + "\n")
}

/// Returns the command that verifies the signature in `file` over `name`.
fn verification(name: &str, file: &str, signer: &str, namespace: &str) -> String {
    let words = ["ssh-keygen", "-Y", "verify", "-f", "signers", "-I", signer, "-n", namespace, "-s", file];
    let line = command_line(words.into_iter().map(std::ffi::OsStr::new));
    format!("{line} < {}\n", command_line([std::ffi::OsStr::new(name)]))
}

/// A jq filter: the digests of the approvals that a grant names, each with the file of its approver, as sha256sum(1)
/// reads them.
const APPROVALS: &str = r#"'[.approvals, .approvers] | transpose[] | "\(.[0])  approval-\(.[1]).json"'"#;

/// Returns the command that checks that `file` names the digest of `other` under this key.
fn names(file: &str, key: &str, other: &str) -> String {
    let file = command_line([std::ffi::OsStr::new(file)]);
    format!("echo \"$(jq -r .{key} {file})  {other}\" | sha256sum -c -\n")
}

/// `jitctl show -`: shows a request, an approval or a statement from another host, without the broker.
pub(crate) fn show(screen: &Screen) -> Result<Report, Trouble> {
    let text = armor::read::<&Path>(&[])?;
    let (kind, document) = armor::from_text(&text)?;
    match kind {
        Kind::Request => foreign::show(&armor::request(&text)?, screen),
        Kind::Statement => statement::show(document, screen),
        Kind::Approval => signed_approvals::show(document, screen),
    }
}

/// Returns the exact bytes of a role.
fn encoded(role: &RolePower) -> Result<String, Trouble> {
    let bytes = role.encode().ok().and_then(|bytes| String::from_utf8(bytes).ok());
    bytes.ok_or_else(|| bad("the role cannot be written"))
}
