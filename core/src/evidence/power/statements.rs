//! Rows of `statement`.

use std::collections::HashMap;

use super::documents::{RequestDocument, StatementDocument, is_personal};
use super::names::{Id, digest_of};
use super::rows::StatementRow;
use super::words::{self, Words};
use super::{Power, RecordKeys, Table};
use crate::escape::{hex, unhex};
use crate::grant::StatementKind;
use crate::grant::sshsig::Namespace;

/// What the records say of statements, by the digest of their bytes.
pub(super) type Statements = HashMap<[u8; 32], Stated>;

/// The statements whose rows were read, by the digest of their bytes: about which grant, of which kind, and by whom.
pub(super) type Causes = HashMap<[u8; 32], (Id, StatementKind, i64, u32)>;

/// What a record says of the statement that it names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stated {
    seq: u64,
    id: Id,
    kind: StatementKind,
    uid: i64,
    /// Seconds since 1970.
    at: i64,
    by: u32,
    key: Option<u32>,
    /// The digest of what the record says of the document.
    words: Words,
    /// Whether its row was found.
    met: bool,
}

impl Power {
    /// Stores what a record of this kind says of its statement; records of earlier versions have none.
    pub(super) fn stated(
        &mut self,
        (seq, kind): (u64, &str),
        id: Id,
        (at, by, words): (i64, u32, Words),
        told: &RecordKeys<'_>,
    ) -> Option<()> {
        let (Some(kind), Some(digest)) = (StatementKind::of_record(kind), &told.sha256) else {
            return Some(());
        };
        let key = told.key.as_ref().map(|key| self.names.of(key.as_bytes()));
        self.statements.insert(digest.0, Stated { seq, id, kind, uid: told.uid?, at, by, key, words, met: false });
        Some(())
    }

    /// Compares the next row.
    pub fn statement(&mut self, row: &StatementRow<'_>) {
        self.compared.statements = self.compared.statements.saturating_add(1);
        if let Err(what) = self.compare_statement(row) {
            let kind = crate::escape::escape(row.kind.as_bytes());
            self.differs(Table::Statement, row.request, format!("its {kind}: {what}"));
        }
    }

    /// Ends the table and reports missing rows.
    pub fn end_of_statements(&mut self) {
        let mut missing: Vec<(Id, StatementKind)> = self
            .statements
            .drain()
            .filter(|(_, stated)| !stated.met)
            .map(|(_, stated)| (stated.id, stated.kind))
            .collect();
        missing.sort_unstable_by_key(|(id, kind)| (*id, kind.as_str()));
        for (id, kind) in missing {
            self.differs(Table::Statement, &id.to_string(), format!("the row of its {} is missing", kind.as_str()));
        }
    }

    fn compare_statement(&mut self, row: &StatementRow<'_>) -> Result<(), String> {
        let said = Id::parse(row.request).and_then(|id| self.said.get(&id)).filter(|said| said.rows.request);
        let said = said.ok_or("there is no such request")?;
        let request = said.request_digest().ok_or("there is no such request")?;
        let document = StatementDocument::read(row.body)?;
        let (mut seq, mut told_words) = (None, None);
        match self.statements.get_mut(&digest_of(row.body)) {
            Some(stated) => {
                (seq, told_words) = (Some(stated.seq), Some(stated.words));
                if std::mem::replace(&mut stated.met, true) {
                    return Err("there is a second row for it".to_owned());
                }
                let key = row.key.map(|key| self.names.of(key.as_bytes()));
                let told = (Some(stated.id), stated.kind.as_str(), stated.uid, stated.at, stated.key);
                if told != (Id::parse(row.request), row.kind, row.uid, row.at, key) {
                    return Err("a column differs from its record".to_owned());
                }
                if document.by.as_bytes() != self.names.name(stated.by) {
                    return Err("the journal names another user".to_owned());
                }
            }
            None if said.request.is_none() => {}
            None => return Err("the journal has no record of it".to_owned()),
        }
        if document.id != row.request || document.kind != row.kind || document.request != hex(&request) {
            return Err("it was made for another request".to_owned());
        }
        let asked = row.request_body.filter(|bytes| digest_of(bytes) == request).ok_or("its request is missing")?;
        let asked = RequestDocument::read(asked)?;
        may_state(row, &document.by, &asked)?;
        self.follows(row, &document, &asked)?;
        let words = words::of_statement(row.kind, row.body, &asked.role, (asked.uid, &asked.user));
        if told_words.is_some_and(|told| Some(told) != words) {
            return Err(words::OTHER.to_owned());
        }
        self.hosts.stated(seq, &document, &asked, (row.body, row.host_signature))?;
        is_personal(Namespace::Statement, row.body, row.signature, row.key)
    }
}

impl Power {
    /// Checks that a statement which follows from another names one of the same kind by the same author, in an earlier row, about
    /// the grant that is extended.
    fn follows(
        &mut self,
        row: &StatementRow<'_>,
        document: &StatementDocument,
        asked: &RequestDocument,
    ) -> Result<(), String> {
        let by = self.names.of(document.by.as_bytes());
        let this = |id: Option<Id>| Some((id?, StatementKind::of_record(row.kind)?, row.uid, by));
        if let Some(cause) = &document.follows {
            let found = unhex::<32>(cause).and_then(|cause| self.causes.get(&cause).copied());
            let ends = matches!(row.kind, "revocation" | "release");
            if !ends || found.is_none() || found != this(asked.extends.as_deref().and_then(Id::parse)) {
                return Err("it follows from no statement about the grant that is extended".to_owned());
            }
        }
        if let Some(this) = this(Id::parse(row.request)) {
            self.causes.insert(digest_of(row.body), this);
        }
        Ok(())
    }
}

/// Checks that the requester makes no decision about the own request and grant, and that only the requester gives them back. Root
/// may deny the own requests, because the acceptance of the state of the host denies all of them.
fn may_state(row: &StatementRow<'_>, by: &str, asked: &RequestDocument) -> Result<(), String> {
    let is_own = asked.is_by(row.uid, by);
    match row.kind {
        "cancellation" | "release" if asked.uid != row.uid || asked.user != by => {
            Err("its author is not the requester".to_owned())
        }
        "review" if is_own => Err("its author used the break-glass".to_owned()),
        "denial" if is_own && (row.uid, asked.uid) != (0, 0) => Err("its author made the request".to_owned()),
        _ => Ok(()),
    }
}
