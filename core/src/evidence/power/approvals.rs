//! Rows of `approval`.

use super::documents::{ApprovalDocument, RequestDocument, is_personal};
use super::names::{Id, digest_of};
use super::rows::ApprovalRow;
use super::said::Approved;
use super::words::{self, Words};
use super::{Power, Table};
use crate::escape::hex;
use crate::grant::sshsig::Namespace;

impl Power {
    /// Compares the next row.
    pub fn approval(&mut self, row: &ApprovalRow<'_>) {
        self.compared.approvals = self.compared.approvals.saturating_add(1);
        if let Err(what) = self.compare_approval(row) {
            self.differs(Table::Approval, row.request, format!("that of uid {}: {what}", row.uid));
        }
    }

    /// Ends the table and reports missing rows.
    pub fn end_of_approvals(&mut self) {
        self.lacking(Table::Approval, |said| {
            said.approvals.iter().any(|approval| !approval.met && !approval.superseded)
        });
    }

    fn compare_approval(&mut self, row: &ApprovalRow<'_>) -> Result<(), String> {
        let known = Id::parse(row.request).and_then(|id| self.said.get_mut(&id)).filter(|said| said.rows.request);
        let said = known.ok_or("there is no such request")?;
        let pruned = said.request.is_none();
        let request = said.request_digest().ok_or("there is no such request")?;
        let (digest, document) = (digest_of(row.body), ApprovalDocument::read(row.body));
        let mut told = None;
        let limits = document.as_ref().ok().and_then(|document| document.limits);
        let key = row.key.map(|key| self.names.of(key.as_bytes()));
        match said.approvals.iter_mut().find(|approval| approval.uid == row.uid && !approval.superseded) {
            Some(approval) => {
                approval.met = true;
                told = approval.words;
                if approval.sha256 != digest {
                    return Err("its bytes are not those of its record".to_owned());
                }
                approval.limits = limits;
                if (approval.at, approval.key) != (row.at, key) {
                    return Err("its time or its key differs from its record".to_owned());
                }
                if document.as_ref().is_ok_and(|document| document.approver.as_bytes() != self.names.name(approval.by))
                {
                    return Err("the journal names another approver".to_owned());
                }
            }
            None if pruned => {
                let by = document.as_ref().map_or("", |document| &document.approver);
                let by = self.names.of(by.as_bytes());
                said.approvals.push(Approved {
                    uid: row.uid,
                    at: row.at,
                    sha256: digest,
                    words: None,
                    by,
                    key,
                    told: None,
                    limits,
                    superseded: false,
                    met: true,
                });
            }
            None => return Err("the journal has no record of it".to_owned()),
        }
        let document = document?;
        if document.id != row.request || document.request != hex(&request) {
            return Err("it was given for another request".to_owned());
        }
        let asked = row.request_body.filter(|bytes| digest_of(bytes) == request).ok_or("its request is missing")?;
        let asked = RequestDocument::read(asked)?;
        if asked.is_by(row.uid, &document.approver) {
            return Err("its author made the request".to_owned());
        }
        if asked.role_digest != document.role_digest {
            return Err("it was given for another text of the role".to_owned());
        }
        if document.limits.is_none() != asked.is_of_the_first_version() {
            return Err("it has another version than its request".to_owned());
        }
        if document.host.is_some_and(|host| host != asked.host_id()) {
            return Err("it was given for another host".to_owned());
        }
        let other = |told: Words| words::of_approval(row.body, &asked.role) != Some(told);
        if !asked.is_of_the_first_version() && told.is_some_and(other) {
            return Err(words::OTHER.to_owned());
        }
        is_personal(Namespace::Approval, row.body, row.signature, row.key)
    }
}
