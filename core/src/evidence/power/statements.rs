//! Rows of `statement`.

use std::collections::HashMap;

use super::documents::{RequestDocument, StatementDocument, is_personal};
use super::names::{Id, digest_of};
use super::rows::StatementRow;
use super::words::{self, Words};
use super::{Power, RecordKeys, Table};
use crate::escape::hex;
use crate::grant::StatementKind;
use crate::grant::sshsig::Namespace;

/// What the records say of statements, by the digest of their bytes.
pub(super) type Statements = HashMap<[u8; 32], Stated>;

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
        let words = words::of_statement(row.kind, row.body, &asked.role, (asked.uid, &asked.user));
        if told_words.is_some_and(|told| Some(told) != words) {
            return Err(words::OTHER.to_owned());
        }
        self.hosts.stated(seq, &document, &asked, (row.body, row.host_signature))?;
        is_personal(Namespace::Statement, row.body, row.signature, row.key)
    }
}
