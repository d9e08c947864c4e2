//! The documents of a request: exact bytes and signatures, to be read, signed and verified on other machines.

use std::collections::BTreeSet;

use base64ct::{Base64, Encoding};

use super::Context;
use super::failure::{Refused, refused};
use crate::store::StoredStatement;
use jit_core::grant::Approvers;
use jit_core::grant::sshsig::{Namespace, armor, signer};
use jit_core::grant::terms::{Extensions, VERSION, encode};
use jit_core::names::{IdPrefix, UserName};
use jit_core::wire::{ApprovalDocument, Document, DocumentsInfo, RequestDocument, StatementDocument};

impl Context<'_> {
    pub(super) fn documents(&self, id: &IdPrefix) -> Result<DocumentsInfo, Refused> {
        let request = self.visible(id)?;
        let terms = &request.terms;
        // The digest of the role's text is part of the approved request; a text with another digest is not sent.
        if terms.command.is_some() && self.digest_of(&request)?.is_none() {
            let message = "the text of this request would tell the digest of a program that you cannot read";
            let print = format!("an approver can print it: jitctl show {} --print", terms.id);
            return Err(refused("not-allowed", message).hint(print));
        }
        let key = self.host.record_identity()?.key;
        let body = text(encode(&RequestDocument {
            critical: Vec::new(),
            extensions: Extensions::new(),
            request: text(request.bytes.clone())?,
            role: text(self.host.store().role_text(&terms.role_digest)?.unwrap_or_default())?,
            version: VERSION,
        })?)?;
        let signature = Some(armor(&key.sign(Namespace::Request, body.as_bytes())));
        let approvers = self.host.approvers().unwrap_or_default();
        let mut signers = BTreeSet::new();
        let mut approvals = Vec::new();
        for approval in self.host.store().approvals(&terms.id)? {
            let signature = approval.signature.as_deref();
            signers.extend(signature.and_then(|signature| {
                let name = &approval.terms.approver;
                line(&approvers, name, Namespace::Approval, &approval.bytes, signature)
            }));
            let document = Document { signature: signature.map(armor), body: text(approval.bytes)? };
            approvals.push(ApprovalDocument { approver: approval.terms.approver, document });
        }
        let grant = match self.host.store().signed_grant(&terms.id)? {
            Some(grant) => {
                Some(Document { body: text(grant.bytes().to_vec())?, signature: Some(armor(grant.signature())) })
            }
            None => None,
        };
        let mut statements = Vec::new();
        for StoredStatement { terms, bytes, host_signature, signature } in self.host.store().statements(&terms.id)? {
            signers.extend(
                signature
                    .as_deref()
                    .and_then(|signature| line(&approvers, &terms.by, Namespace::Statement, &bytes, signature)),
            );
            let document = Document { body: text(bytes)?, signature: signature.as_deref().map(armor) };
            let host_signature = Some(armor(&host_signature));
            statements.push(StatementDocument { kind: terms.kind, by: terms.by, document, host_signature });
        }
        let signers = signers.into_iter().collect();
        let (id, you, request) = (terms.id.clone(), self.caller.name().clone(), Document { body, signature });
        let rotations = self.journal.rotations()?;
        Ok(DocumentsInfo { id, you, request, approvals, grant, statements, signers, rotations })
    }
}

/// Returns the line of OpenSSH's allowed_signers that verifies `signature` as that of `name`, if this host's list contains the key.
fn line(
    approvers: &Approvers,
    name: &UserName,
    namespace: Namespace,
    bytes: &[u8],
    signature: &[u8],
) -> Option<String> {
    let key = signer(namespace, bytes, signature).ok()?;
    // In that file these characters form patterns or end the name.
    let is_plain = !name.as_str().contains(['*', '?', '!', ',', '"', '#', ' ', '\t']);
    let whose = is_plain && approvers.is_of(&key, name);
    let (algorithm, encoded) = (key.algorithm(), Base64::encode_string(&key.blob()));
    whose.then(|| format!("{name} namespaces=\"{}\" {algorithm} {encoded}", namespace.as_str()))
}

fn text(bytes: Vec<u8>) -> Result<String, Refused> {
    String::from_utf8(bytes).map_err(|_| refused("damaged", "the database contains terms that are not text"))
}
