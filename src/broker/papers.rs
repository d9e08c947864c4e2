//! The papers of a request: exact bytes and signatures, to be read, signed and checked on other machines.

use super::Desk;
use super::failure::{Refused, refused};
use super::wire::{Answer, ApprovalPaper, Paper, PapersInfo, RequestPaper, StatementPaper};
use crate::grant::sshsig::{Namespace, armor};
use crate::grant::terms::VERSION;
use crate::names::IdPrefix;
use crate::store::StoredStatement;

impl Desk<'_> {
    pub(super) fn papers(&self, id: &IdPrefix) -> Result<Answer, Refused> {
        let request = self.visible(id)?;
        let terms = &request.terms;
        let key = self.host.identity()?.key;
        let body = serde_json::to_string(&RequestPaper {
            request: text(request.bytes.clone())?,
            role: text(self.host.store().role_text(&terms.role_digest)?.unwrap_or_default())?,
            version: VERSION,
        })?;
        let signature = Some(armor(&key.sign(Namespace::Request, body.as_bytes())));
        let mut approvals = Vec::new();
        for approval in self.host.store().approvals(&terms.id)? {
            let signature = approval.signature.as_deref().map(armor);
            let paper = Paper { body: text(approval.bytes)?, signature };
            approvals.push(ApprovalPaper { approver: approval.terms.approver, paper });
        }
        let grant = match self.host.store().signed_grant(&terms.id)? {
            Some(grant) => {
                Some(Paper { body: text(grant.bytes().to_vec())?, signature: Some(armor(grant.signature())) })
            }
            None => None,
        };
        let mut statements = Vec::new();
        for StoredStatement { terms, bytes, host_signature, signature } in self.host.store().statements(&terms.id)? {
            let paper = Paper { body: text(bytes)?, signature: signature.as_deref().map(armor) };
            let host_signature = Some(armor(&host_signature));
            statements.push(StatementPaper { kind: terms.kind, by: terms.by, paper, host_signature });
        }
        let (id, you, request) = (terms.id.clone(), self.caller.name().clone(), Paper { body, signature });
        Ok(Answer::Papers(Box::new(PapersInfo { id, you, request, approvals, grant, statements })))
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Refused> {
    String::from_utf8(bytes).map_err(|_| refused("damaged", "the database holds terms that are no text"))
}
