//! Lists, releases and revokes grants.

use std::collections::BTreeSet;

use super::Context;
use super::attempt::Recording;
use super::failure::{Refused, refused};
use super::page::Pager;
use super::statement::{StatementAuthor, StatementSubject};
use crate::audit::{InRecords, OpenInRecords, Written, by_statements, grants_beginning_with, open_in_records};
use crate::database::Durability;
use crate::elevation::Caller;
use crate::host::Identity;
use crate::store::{GrantScope, LIST_LIMIT, StoredGrant, StoredRequest};
use jit_core::escape::Word;
use jit_core::grant::lifecycle::GrantEnd;
use jit_core::grant::{SignedStatement, StatementKind};
use jit_core::names::{GrantId, IdPrefix};
use jit_core::wire::GrantPage;
use rusqlite::Transaction;

/// The most grants that a listing shows.
const LISTED: usize = LIST_LIMIT as usize;

/// The most grants that are ended in one transaction, so that no other process waits long.
const ENDED_AT_ONCE: usize = 1000;

impl Context<'_> {
    pub(super) fn grants(&self, all: bool, before: Option<i64>) -> Result<GrantPage, Refused> {
        let which = if self.is_reader()? { GrantScope::Everybody } else { GrantScope::Of(self.caller.person()) };
        let store = self.host.store();
        let mut page = Pager::default();
        if all {
            for row in store.listed(which, before, self.now.seconds())? {
                if page.is_full() {
                    return Ok(page.ending_before(row.row));
                }
                let found = self.legible(row.id.as_str(), store.usable(&row.id, self.now.seconds()))?;
                let Some(request) = found.flatten() else { continue };
                let Some(info) = self.legible(row.id.as_str(), self.info(&request))? else { continue };
                if info.grant.is_some() && (self.is_reader()? || self.is_own(&request)) {
                    page.take(info);
                }
            }
        } else {
            let mut grants = self.endable(which)?;
            grants.truncate(LISTED);
            // Positions are counted from the end, so that each page tells how many grants are left.
            let left = before.and_then(|before| usize::try_from(before).ok()).unwrap_or(usize::MAX).saturating_sub(1);
            for (left, grant) in (1..=grants.len()).rev().zip(&grants).skip_while(|(counted, _)| *counted > left) {
                if page.is_full() {
                    return Ok(page.ending_before(i64::try_from(left).unwrap_or(0)));
                }
                let id = &grant.terms.id;
                if let Some(info) = self.legible(id.as_str(), self.info_of(id))? {
                    page.take(info);
                }
            }
        }
        Ok(page.last())
    }

    pub(super) fn release(&self, id: Option<&IdPrefix>) -> Result<Vec<GrantId>, Refused> {
        let author = StatementAuthor::Here(self.caller);
        let ended = match id {
            Some(prefix) => match self.visible(prefix) {
                Ok(request) => self.release_as(author, &request)?,
                Err(hidden) => self.release_recorded(author, prefix, hidden)?,
            },
            None => self.release_of(author, self.endable(GrantScope::Of(self.caller.person()))?)?,
        };
        Ok(ended)
    }

    /// Releases the own grant with this id where the row of its request cannot be found or read, by its records. Returns the error
    /// `hidden` where there is none.
    fn release_recorded(
        &self,
        author: StatementAuthor<'_>,
        prefix: &IdPrefix,
        hidden: Refused,
    ) -> Result<Vec<GrantId>, Refused> {
        let is_own = |subject: &StatementSubject| author.who().person().is(subject.holder_uid(), subject.holder());
        match self.in_records(prefix)?.filter(is_own) {
            Some(subject) => self.end(author, vec![subject], StatementKind::Release, &Word::default()),
            None => Err(hidden),
        }
    }

    /// Returns the open grant whose id begins with `prefix`, by its records, where there is only one.
    pub(super) fn in_records(&self, prefix: &IdPrefix) -> Result<Option<StatementSubject>, Refused> {
        let connection = self.host.database().connection();
        let ids = grants_beginning_with(connection, prefix, 2)?;
        let [id] = ids.as_slice() else { return Ok(None) };
        match by_statements(connection, id)? {
            InRecords::Open => StatementSubject::by_records(connection, id),
            InRecords::Ended(_) | InRecords::Unknown => Ok(None),
        }
    }

    /// Releases the grant of one request.
    pub(super) fn release_as(
        &self,
        author: StatementAuthor<'_>,
        request: &StoredRequest,
    ) -> Result<Vec<GrantId>, Refused> {
        own(request, author.who())?;
        let mut open = self.endable(GrantScope::Of(author.who().person()))?;
        open.retain(|grant| grant.terms.id == request.terms.id);
        self.release_of(author, open)
    }

    fn release_of(&self, author: StatementAuthor<'_>, open: Vec<StoredGrant>) -> Result<Vec<GrantId>, Refused> {
        if open.is_empty() {
            return Err(refused("no-grant", "you have no active grant to release").hint("jitctl grants --all"));
        }
        let subjects = open.iter().map(|grant| StatementSubject::from(&grant.terms)).collect();
        self.end(author, subjects, StatementKind::Release, &Word::default())
    }

    /// Returns the grants that can be ended: those that have not ended (also if only by the wall clock), and those that have
    /// expired or are used up while a command still runs under them.
    pub(super) fn endable(&self, which: GrantScope<'_>) -> Result<Vec<StoredGrant>, Refused> {
        let store = self.host.store();
        let open = store.open_grants(which, self.now.moment().wall.seconds())?;
        self.left_out.borrow_mut().extend(open.damaged);
        let mut grants = open.read;
        for id in self.journal.grants_in_use()? {
            // A run continues under the extensions of its grant.
            let mut next = self.in_use(&id, which)?;
            while let Some(grant) = next {
                next = self.extension(&grant.terms.id)?;
                let wanted = match which {
                    GrantScope::Of(person) => person.is(grant.terms.uid, &grant.terms.user),
                    GrantScope::Pending | GrantScope::Everybody => true,
                };
                let taken = grant.end.as_ref().is_some_and(|(end, _)| *end != GrantEnd::Used);
                let listed = grants.iter().any(|listed| listed.terms.id == grant.terms.id);
                if wanted && !taken && !listed {
                    grants.push(grant);
                }
            }
        }
        Ok(grants)
    }

    /// Returns the grant of a run. The holder of an unreadable grant is not known, so only callers who see everybody's grants get
    /// its error.
    fn in_use(&self, id: &GrantId, which: GrantScope<'_>) -> Result<Option<StoredGrant>, Refused> {
        match self.host.store().grant(id).map_err(Refused::from) {
            Err(refused) if refused.is_damage() && matches!(which, GrantScope::Of(_)) => Ok(None),
            found => Ok(self.legible(id.as_str(), found)?.flatten()),
        }
    }

    /// Returns the grant that extended this one.
    pub(super) fn extension(&self, id: &GrantId) -> Result<Option<StoredGrant>, Refused> {
        let what = format!("the extension of {id}");
        Ok(self.legible(&what, self.host.store().extension(id))?.flatten())
    }

    /// Ends grants and their extensions, records a statement for each, and wakes the supervisors of their runs. Each transaction ends
    /// up to [`ENDED_AT_ONCE`] grants and their extensions.
    pub(super) fn end(
        &self,
        author: StatementAuthor<'_>,
        grants: Vec<StatementSubject>,
        kind: StatementKind,
        reason: &Word,
    ) -> Result<Vec<GrantId>, Refused> {
        let identity = self.host.record_identity_for_statements()?;
        let all: Vec<GrantId> = grants.iter().map(|subject| subject.id().clone()).collect();
        let mut stated: Vec<(StatementSubject, SignedStatement)> = Vec::new();
        for subject in grants {
            let statement = self.stated(author, kind, &subject, reason, &identity)?;
            stated.push((subject, statement));
        }
        let mut ids: Vec<GrantId> = Vec::new();
        for some in stated.chunks(ENDED_AT_ONCE) {
            let end = |tx: &Transaction<'_>| {
                let mut ending = Ending { tx, author, identity: &identity, known: BTreeSet::new(), open: None };
                // An extension ends in the same transaction as what it extends.
                ending.known.extend(some.iter().map(|(subject, _)| subject.id().clone()));
                let mut written = Vec::new();
                for (subject, statement) in some {
                    self.end_with_extensions(&mut ending, subject, statement, &mut written)?;
                }
                Ok::<_, Refused>(written)
            };
            let database = self.host.database();
            let mut done = database.write(Durability::Synced, end);
            // A damaged index is a reason to fail, and is looked for only then: that reads all grants.
            if done.is_err()
                && database
                    .write(Durability::Synced, |tx| self.journal.rebuild_indexes(tx, self.now.moment()))
                    .unwrap_or(false)
            {
                done = database.write(Durability::Synced, end);
            }
            let (ended, written): (Vec<GrantId>, Vec<Written>) = match done {
                Err(error) if self.recording == Recording::Impossible && error.unwritten.is_some() => {
                    let left = "their grants could not be ended and stay active until this is repeated";
                    return Err(self.end_unrecorded(&self.runs_under(&self.and_extensions(all)?)?, left, &error));
                }
                done => done?.into_iter().unzip(),
            };
            ids.extend(ended);
            self.host.announce(self.journal, &written);
        }
        Ok(ids)
    }

    /// Ends a grant, and all grants that extend it. An extension is looked for after the end, in the same transaction: it was issued
    /// before, and is found here, or it finds the end, and is not issued.
    fn end_with_extensions(
        &self,
        ending: &mut Ending<'_>,
        subject: &StatementSubject,
        statement: &SignedStatement,
        written: &mut Vec<(GrantId, Written)>,
    ) -> Result<(), Refused> {
        let mut carry_out = |subject: &StatementSubject, statement: &SignedStatement| {
            let record = self.carry_out(ending.tx, statement, subject)?;
            written.extend(record.map(|record| (statement.terms().id.clone(), record)));
            Ok::<_, Refused>(())
        };
        carry_out(subject, statement)?;
        let mut causes = Vec::new();
        self.add_extensions(ending, subject, statement, &mut causes)?;
        while let Some((subject, statement)) = causes.pop() {
            carry_out(&subject, &statement)?;
            self.add_extensions(ending, &subject, &statement, &mut causes)?;
        }
        Ok(())
    }

    /// Adds the grants that extend this one, by their rows or by their records, with the statements that follow from `cause`.
    fn add_extensions(
        &self,
        ending: &mut Ending<'_>,
        ended: &StatementSubject,
        cause: &SignedStatement,
        found: &mut Vec<(StatementSubject, SignedStatement)>,
    ) -> Result<(), Refused> {
        let tx = ending.tx;
        let mut subjects = Vec::new();
        if let Some(extension) = self.extension(ended.id())? {
            let recorded = StatementSubject::by_records(tx, &extension.terms.id)?;
            subjects.push(recorded.unwrap_or_else(|| StatementSubject::from(&extension.terms)));
        }
        let open = match &mut ending.open {
            Some(open) => open,
            none => none.insert(open_in_records(tx, self.now.moment().wall.seconds())?),
        };
        for open in open.iter().filter(|open| open.extends.as_ref() == Some(ended.id())) {
            subjects.extend(StatementSubject::by_request(tx, open.id.as_str(), self.now.seconds())?);
        }
        for subject in subjects {
            if ending.known.insert(subject.id().clone()) {
                let statement = self.followed(ending.author, cause, &subject, ending.identity)?;
                found.push((subject, statement));
            }
        }
        Ok(())
    }

    /// Adds the extensions of these grants.
    fn and_extensions(&self, mut ids: Vec<GrantId>) -> Result<Vec<GrantId>, Refused> {
        let mut at = 0;
        while let Some(id) = ids.get(at) {
            if let Some(extension) = self.extension(id)?
                && !ids.contains(&extension.terms.id)
            {
                ids.push(extension.terms.id);
            }
            at += 1;
        }
        Ok(ids)
    }
}

/// What the ends of several grants in one transaction have in common.
struct Ending<'a> {
    tx: &'a Transaction<'a>,
    author: StatementAuthor<'a>,
    identity: &'a Identity,
    /// The grants that have a statement.
    known: BTreeSet<GrantId>,
    /// The grants that were open by their records at the first end.
    open: Option<Vec<OpenInRecords>>,
}

/// Fails unless the grant is the author's own.
fn own(request: &StoredRequest, who: &Caller) -> Result<(), Refused> {
    if who.person().is(request.terms.uid, &request.terms.user) {
        return Ok(());
    }
    let id = &request.terms.id;
    Err(refused("not-yours", format!("grant {id} belongs to {}", request.terms.user))
        .hint(format!("jitctl revoke {id} --reason 'WHY'")))
}
