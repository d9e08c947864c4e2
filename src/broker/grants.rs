//! Lists, releases and revokes grants.

use std::collections::BTreeSet;

use super::Context;
use super::attempt::Recording;
use super::failure::{Refused, refused};
use super::page::Pager;
use super::statement::{StatementAuthor, StatementSubject};
use super::words::given;
use crate::audit::{
    Altered, InRecords, OpenInRecords, Written, asked_in_records, by_statements, grants_beginning_with, open_in_records,
};
use crate::database::Durability;
use crate::elevation::Caller;
use crate::host::Identity;
use crate::judge::{names, subject};
use crate::policy_index::Next;
use crate::store::{GrantScope, LIST_LIMIT, StoredGrant, StoredRequest};
use jit_core::escape::Word;
use jit_core::grant::lifecycle::GrantEnd;
use jit_core::grant::{SignedStatement, StatementKind};
use jit_core::names::{GrantId, IdPrefix, RoleName};
use jit_core::wire::{GrantPage, RevokeTarget};
use rusqlite::Transaction;

/// The most grants that a listing shows.
const LISTED: usize = LIST_LIMIT as usize;

/// The most grants that are ended in one transaction, so that no other process waits long.
const ENDED_AT_ONCE: usize = 1000;

/// The error code when no grant matches what is to be revoked.
const NO_GRANT: &str = "no-grant";

/// The error code when the grant with an id is not active.
const NOT_ACTIVE: &str = "not-active";

/// The error codes of a revocation that finds nothing to revoke. The records of the grant may have been hidden.
const NOT_FOUND: [&str; 3] = [NO_GRANT, NOT_ACTIVE, "unknown-id"];

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
    fn in_records(&self, prefix: &IdPrefix) -> Result<Option<StatementSubject>, Refused> {
        let connection = self.host.database().connection();
        let ids = grants_beginning_with(connection, prefix, 2)?;
        let [id] = ids.as_slice() else { return Ok(None) };
        match by_statements(connection, id)? {
            InRecords::Open => StatementSubject::by_records(connection, id),
            InRecords::Ended(_) | InRecords::Unknown => Ok(None),
        }
    }

    /// Returns the id of the grant that is to be revoked. Where the row of its request cannot be found or read, its records say
    /// whether there is such a grant and whether this person may revoke it.
    fn revocable(&self, prefix: &IdPrefix, author: StatementAuthor<'_>) -> Result<GrantId, Refused> {
        let hidden = match self.visible(prefix) {
            Ok(request) => return Ok(request.terms.id),
            Err(hidden) => hidden,
        };
        match self.in_records(prefix)? {
            Some(subject) if self.may_revoke(author.who(), subject.role())? => Ok(subject.id().clone()),
            Some(_) | None => Err(hidden),
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

    pub(super) fn revoke(&self, target: &RevokeTarget, reason: &Word) -> Result<Vec<GrantId>, Refused> {
        let (reason, author) = (given("reason", reason)?, StatementAuthor::Here(self.caller));
        let ended = match target {
            RevokeTarget::Id(prefix) => {
                match self.revocable(prefix, author).and_then(|id| Ok((self.revoke_as(author, &id, reason)?, id))) {
                    // There is no other grant with this id, but extensions of it may be hidden.
                    Ok((ended, id)) => {
                        return match self.journal.altered_about(&id)? {
                            Some(what) => Err(altered(&what, &ended)),
                            None => Ok(ended),
                        };
                    }
                    Err(none) => Err(none),
                }
            }
            RevokeTarget::User(user) => self.revoke_those(author, |subject| subject.holder() == user, reason),
            RevokeTarget::All => self.revoke_those(author, |_| true, reason),
        };
        let ended = match ended {
            Err(none) if NOT_FOUND.contains(&none.failure.code.as_str()) && self.revokes_any()? => Err(none),
            ended => Ok(ended?),
        };
        // Nothing else shows that no record of a grant was hidden from the search. It comes last, because it reads all records.
        match self.journal.altered()? {
            Some(what) => Err(altered(&what, ended.as_deref().unwrap_or_default())),
            None => ended,
        }
    }

    /// Returns whether the caller may revoke grants of any role, or see those of everybody.
    fn revokes_any(&self) -> Result<bool, Refused> {
        if self.is_reader()? {
            return Ok(true);
        }
        let caller = subject(self.caller)?;
        let mut is_approver = false;
        self.policy.each_role(|role| {
            is_approver = names(&role.activation.approvers, &caller);
            if is_approver { Next::Stop } else { Next::Continue }
        })?;
        Ok(is_approver)
    }

    /// Revokes one grant.
    pub(super) fn revoke_as(
        &self,
        author: StatementAuthor<'_>,
        id: &GrantId,
        reason: &Word,
    ) -> Result<Vec<GrantId>, Refused> {
        self.revoke_those(author, |subject| subject.id() == id, reason).map_err(|refusal| {
            match refusal.failure.code.as_str() {
                NO_GRANT => refused(NOT_ACTIVE, format!("there is no active grant {id}")),
                _ => refusal,
            }
        })
    }

    fn revoke_those(
        &self,
        author: StatementAuthor<'_>,
        which: impl Fn(&StatementSubject) -> bool,
        reason: &Word,
    ) -> Result<Vec<GrantId>, Refused> {
        let connection = self.host.database().connection();
        let mut subjects: Vec<StatementSubject> = Vec::new();
        for StoredGrant { terms, .. } in self.endable(GrantScope::Everybody)? {
            // A row that says something else hides the grant from none who may revoke it.
            let recorded = StatementSubject::by_records(connection, &terms.id)?;
            subjects.push(recorded.unwrap_or_else(|| StatementSubject::from(&terms)));
        }
        let mut lost = self.unreadable(&mut subjects)?;
        let recorded = open_in_records(connection, self.now.moment().wall.seconds())?;
        let mut contradicted = self.contradicted(&recorded, &mut subjects, &mut lost)?;
        subjects.retain(which);
        let found = !subjects.is_empty();
        let mut mine = Vec::new();
        for subject in subjects {
            if self.may_revoke(author.who(), subject.role())? {
                mine.push(subject);
            }
        }
        let lost = self.told_to(author.who(), lost, mine.is_empty())?;
        match (mine.is_empty(), found) {
            (false, _) => {
                let asked: Vec<GrantId> = mine.iter().map(|subject| subject.id().clone()).collect();
                let ended = self.end(author, mine, StatementKind::Revocation, reason)?;
                contradicted.retain(|id| asked.contains(id) || ended.contains(id));
                match (lost.is_empty(), contradicted.is_empty()) {
                    (false, _) => Err(stays(&lost, &ended)),
                    (true, false) => Err(differs(&contradicted, &ended)),
                    (true, true) => Ok(ended),
                }
            }
            (true, false) if !lost.is_empty() => Err(stays(&lost, &[])),
            (true, true) => Err(refused("not-an-approver", "only root and approvers of the role may revoke")),
            (true, false) => Err(refused(NO_GRANT, "there is no active grant to revoke")),
        }
    }

    /// Adds the open grants whose bytes cannot be read, with the data of their requests. Returns the ids of those whose requests
    /// cannot be read either.
    fn unreadable(&self, subjects: &mut Vec<StatementSubject>) -> Result<Vec<String>, Refused> {
        let store = self.host.store();
        let open = store.open_grants(GrantScope::Everybody, self.now.moment().wall.seconds())?;
        let (mut lost, connection) = (Vec::new(), self.host.database().connection());
        for id in open.damaged.iter().chain(&open.earlier) {
            match StatementSubject::by_request(connection, id, self.now.seconds())? {
                Some(subject) => {
                    self.left_out.borrow_mut().remove(id);
                    subjects.push(subject);
                }
                None if open.damaged.contains(id) => lost.push(id.clone()),
                None => {}
            }
        }
        Ok(lost)
    }

    /// Returns those of the `lost` grants of which this person is told: all, if they may see everybody's grants; those of the roles
    /// of which they may revoke grants; and those of an unknown role, if they may revoke others.
    fn told_to(&self, who: &Caller, lost: Vec<String>, revokes_none: bool) -> Result<Vec<String>, Refused> {
        if self.is_reader()? {
            return Ok(lost);
        }
        let mut told = Vec::new();
        for id in lost {
            let recorded = GrantId::parse(&id).ok().map(|id| asked_in_records(self.host.database().connection(), &id));
            let is_told = match recorded.transpose()?.flatten() {
                Some(asked) => self.may_revoke(who, &asked.role)?,
                None => !revokes_none,
            };
            if is_told {
                told.push(id);
            }
        }
        Ok(told)
    }

    /// Adds the grants that are open by their records (`recorded`), with the data of their requests: also those whose rows say the
    /// same, because another search may not have found them. Then those under which a command runs and whose rows say something else.
    /// Returns the ids of all whose rows say something else or are missing, and those of the rows that are open though their records
    /// say that they have ended. The ids of those whose requests cannot be read either are added to `lost`.
    fn contradicted(
        &self,
        recorded: &[OpenInRecords],
        subjects: &mut Vec<StatementSubject>,
        lost: &mut Vec<String>,
    ) -> Result<Vec<GrantId>, Refused> {
        let (store, connection) = (self.host.store(), self.host.database().connection());
        let mut found = Vec::new();
        for subject in &*subjects {
            // In this order: an end changes both at once, perhaps just now.
            if matches!(by_statements(connection, subject.id())?, InRecords::Ended(_))
                && store.end_of(subject.id())?.is_none()
            {
                found.push(subject.id().clone());
            }
        }
        let mut hidden: Vec<GrantId> = recorded.iter().map(|open| open.id.clone()).collect();
        for id in self.journal.grants_in_use()? {
            let is_closed = matches!(store.end_of(&id)?, Some(GrantEnd::Revoked | GrantEnd::Released));
            if is_closed && !hidden.contains(&id) && by_statements(connection, &id)? == InRecords::Open {
                hidden.push(id);
            }
        }
        for id in hidden {
            if !subjects.iter().any(|subject| *subject.id() == id) {
                match StatementSubject::by_request(connection, id.as_str(), self.now.seconds())? {
                    Some(subject) => subjects.push(subject),
                    None if !lost.iter().any(|lost| lost == id.as_str()) => lost.push(id.to_string()),
                    None => {}
                }
            }
            if !recorded.iter().any(|open| open.agrees && open.id == id) {
                found.push(id);
            }
        }
        Ok(found)
    }

    fn may_revoke(&self, who: &Caller, role: &RoleName) -> Result<bool, Refused> {
        if who.uid() == 0 {
            return Ok(true);
        }
        match self.policy.role(role)? {
            Some(role) => Ok(names(&role.activation.approvers, &subject(who)?)),
            None => Ok(false),
        }
    }

    /// Returns the grants that can be ended: those that have not ended (also if only by the wall clock), and those that have
    /// expired or are used up while a command still runs under them.
    fn endable(&self, which: GrantScope<'_>) -> Result<Vec<StoredGrant>, Refused> {
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
    fn end(
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
            let done = self.host.database().write(Durability::Synced, |tx| {
                self.journal.rebuild_indexes(tx, self.now.moment())?;
                let mut ending = Ending { tx, author, identity: &identity, known: BTreeSet::new(), open: None };
                // An extension ends in the same transaction as what it extends.
                ending.known.extend(some.iter().map(|(subject, _)| subject.id().clone()));
                let mut written = Vec::new();
                for (subject, statement) in some {
                    self.end_with_extensions(&mut ending, subject, statement, &mut written)?;
                }
                Ok::<_, Refused>(written)
            });
            let (ended, written): (Vec<GrantId>, Vec<Written>) = match done {
                Err(error) if self.recording == Recording::Impossible && error.unwritten.is_some() => {
                    let left = "their grants could not be ended and stay active until this is repeated";
                    return Err(self.end_unrecorded(&self.runs_under(&self.and_extensions(all)?)?, left, &error));
                }
                done => done?.into_iter().unzip(),
            };
            ids.extend(ended);
            let _ = self.journal.mirror(&written);
            self.host.ring();
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

/// Returns the error for grants whose holder and request cannot be read: no statement about them is possible.
fn stays(lost: &[String], ended: &[GrantId]) -> Refused {
    let ids: Vec<String> = lost.iter().map(|id| jit_core::escape::escape(id.as_bytes())).collect();
    let others = match ended.len() {
        0 => "nothing was revoked".to_owned(),
        1 => "1 other grant was revoked".to_owned(),
        more => format!("{more} other grants were revoked"),
    };
    let message =
        format!("grant {}: neither it nor its request can be read, so it stays as it is; {others}", ids.join(", "));
    refused("damaged", message)
        .hint("jitctl audit verify; put the right database back, then: jitctl key accept --reason 'WHY'")
}

/// Returns the error for a journal in which a record is not as it was written, or an index lacks one, so that a grant may have been
/// hidden.
fn altered(what: &Altered, ended: &[GrantId]) -> Refused {
    let grants = if ended.len() == 1 { "1 grant was".to_owned() } else { format!("{} grants were", ended.len()) };
    let message = format!("{grants} revoked, but {what}, so there may be other grants");
    refused("damaged", message)
        .hint("jitctl audit verify; put the right database back, or end all grants: jitctl key accept --reason 'WHY'")
}

/// Returns the error for grants whose rows say something else than their records, by which they were revoked.
fn differs(contradicted: &[GrantId], ended: &[GrantId]) -> Refused {
    let ids: Vec<&str> = contradicted.iter().map(GrantId::as_str).collect();
    let grants = if ended.len() == 1 { "grant was" } else { "grants were" };
    let message = format!(
        "grant {}: its row in the database says something else than the journal, by which it is ended now; {} {grants} revoked",
        ids.join(", "),
        ended.len()
    );
    refused("damaged", message).hint("jitctl audit verify")
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
