//! Rows of `request`.

use super::documents::RequestDocument;
use super::names::{Id, Names, digest_of};
use super::rows::{EndColumns, RequestRow};
use super::said::{Done, Recorded, RequestRecord};
use super::{Ordered, Power, Table, words};
use crate::escape::unhex;

/// The valid states of a row.
const STATES: [&str; 5] = ["pending", "approved", "denied", "cancelled", "expired"];

impl Power {
    /// Compares the next row, in the order of their numbers.
    pub fn request(&mut self, row: &RequestRow<'_>) {
        self.compared.requests = self.compared.requests.saturating_add(1);
        if let Err(what) = self.compare_request(row) {
            self.differs(Table::Request, row.id, what);
        }
    }

    /// Ends the table and reports missing rows.
    pub fn end_of_requests(&mut self) {
        self.lacking_in_order(Ordered::Requests, Table::Request, |said| said.request.is_some() && !said.rows.request);
    }

    fn compare_request(&mut self, row: &RequestRow<'_>) -> Result<(), String> {
        let id = Id::parse(row.id).ok_or("its id is not valid")?;
        let seq = self.said.get(&id).and_then(|said| said.request).map(|asked| asked.seq);
        let placed = self.placed(Ordered::Requests, row.rowid, id, seq, (row.deadline, row.state != "pending"));
        let said = self.said.entry(id).or_default();
        if std::mem::replace(&mut said.rows.request, true) {
            return Err("there is a second row for it".to_owned());
        }
        let digest = digest_of(row.body);
        // Another fault of the row does not hide what depends on it.
        said.kept = if said.request.is_none() { Some(Box::new(digest)) } else { None };
        said.rows.approved = row.state == "approved";
        said.rows.needed = u32::try_from(row.needed).unwrap_or(u32::MAX);
        let pruned = placed?;
        if said.request.is_some_and(|asked| asked.sha256 != digest) {
            return Err("its bytes are not those of its record".to_owned());
        }
        if let Some(needed) = said.request.and_then(|asked| asked.needed).filter(|needed| *needed != row.needed) {
            return Err(format!("the database says {} approvals, the journal says {needed}", row.needed));
        }
        let document = RequestDocument::read(row.body)?;
        let other = |asked: &RequestRecord| words::of_request(row.body) != Some(asked.words);
        if !document.is_of_the_first_version() && said.request.as_ref().is_some_and(other) {
            return Err(words::OTHER.to_owned());
        }
        self.hosts.asked(said.request.map(|asked| asked.seq), &document)?;
        said.rows.broken = document.break_glass == 1;
        columns(row, &document)?;
        state(row, said, &document, pruned, &self.names)?;
        if let Some(digest) = document.role_digest.as_deref() {
            self.roles.insert(unhex(digest).ok_or("its role digest is not valid")?, false);
        }
        Ok(())
    }
}

fn columns(row: &RequestRow<'_>, document: &RequestDocument) -> Result<(), String> {
    let same = [
        ("id", row.id == document.id),
        ("uid", row.uid == document.uid),
        ("role", row.role == document.role),
        ("created", row.created == document.created),
        ("deadline", row.deadline == document.deadline),
        ("extends", row.extends == document.extends.as_deref()),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((column, _)) => Err(format!("the column '{column}' differs from its bytes")),
        None => Ok(()),
    }
}

fn state(
    row: &RequestRow<'_>,
    said: &Recorded,
    document: &RequestDocument,
    pruned: bool,
    names: &Names,
) -> Result<(), String> {
    let wrong = |journal: &str| Err(format!("the database says {}, the journal says {journal}", spoken(row.state)));
    match (&said.grant, &said.decided) {
        (Some(_), _) if row.state != "approved" => wrong("approved"),
        (None, Some(done)) if row.state != done.how.word() => wrong(&done.sentence(names)),
        (None, Some(done)) => closed(&row.ended, done, names),
        // The record of its end is gone; an approved request still needs its grant.
        (None, None) if pruned && STATES.contains(&row.state) => Ok(()),
        (None, None) if row.state == "expired" && document.is_of_the_first_version() => unclosed(row),
        (None, None) if row.state != "pending" => wrong("pending"),
        (Some(_), _) | (None, None) => unclosed(row),
    }
}

fn unclosed(row: &RequestRow<'_>) -> Result<(), String> {
    if row.ended.are_empty() { Ok(()) } else { Err("the database says who ended it, but it was not ended".to_owned()) }
}

/// Checks that the columns name the same user, time and text as the record.
pub(super) fn closed(columns: &EndColumns<'_>, done: &Done, names: &Names) -> Result<(), String> {
    let same = columns.by.map(str::as_bytes) == Some(names.name(done.by))
        && columns.at == Some(done.at)
        && columns.words.is_some_and(|words| digest_of(words) == done.words);
    if same {
        return Ok(());
    }
    Err(format!("who ended it, when or why differs: the journal says {}", done.sentence(names)))
}

/// Escapes a value of a column, which may be anything.
pub(super) fn spoken(word: &str) -> String {
    crate::escape::escape(word.as_bytes())
}
