//! Revokes grants: one, those of a user, or all. A grant is found by its records too, whatever its row says.

use super::Context;
use super::failure::{DAMAGED, Refused, refused};
use super::statement::{StatementAuthor, StatementSubject};
use super::words::given;
use crate::audit::{Altered, InRecords, OpenInRecords, asked_in_records, by_statements, open_in_records};
use crate::database::Durability;
use crate::elevation::Caller;
use crate::host::end_overdue_apart;
use crate::judge::{names, subject};
use crate::policy_index::Next;
use crate::store::{GrantScope, StoredGrant};
use jit_core::escape::Word;
use jit_core::grant::StatementKind;
use jit_core::grant::lifecycle::GrantEnd;
use jit_core::names::{GrantId, IdPrefix, RoleName};
use jit_core::wire::RevokeTarget;

/// What to do about records that may hide grants.
const END_ALL: &str =
    "jitctl audit verify; put the right database back, or end all grants: jitctl key accept --reason 'WHY'";

/// The error code when no grant matches what is to be revoked.
const NO_GRANT: &str = "no-grant";

/// The error code when the grant with an id is not active.
const NOT_ACTIVE: &str = "not-active";

/// The error codes of a revocation that finds nothing to revoke. The records of the grant may have been hidden.
const NOT_FOUND: [&str; 3] = [NO_GRANT, NOT_ACTIVE, "unknown-id"];

impl Context<'_> {
    /// Returns the id of the grant that is to be revoked. Where the row of its request cannot be found or read, its records say
    /// whether there is such a grant and whether this person may revoke it.
    fn revocable(&self, prefix: &IdPrefix, author: StatementAuthor<'_>) -> Result<GrantId, Refused> {
        let hidden = match self.visible(prefix) {
            Ok(request) => return Ok(request.terms.id),
            Err(hidden) => hidden,
        };
        match self.in_records(prefix)? {
            Some(subject) if self.may_revoke(author.who(), subject.role(), subject.id())? => Ok(subject.id().clone()),
            Some(_) | None => Err(hidden),
        }
    }

    pub(super) fn revoke(&self, target: &RevokeTarget, reason: &Word) -> Result<Vec<GrantId>, Refused> {
        let reason = given("reason", reason)?;
        let found = self.revoke_found(target, reason)?;
        let Found { altered: Some(Altered::Database(how)), ended } = found else { return found.told() };
        // An index may have hidden a grant. Built again, it hides none.
        let moment = self.now.moment();
        self.host.database().write(Durability::Synced, |tx| self.journal.rebuild_every_index(tx, moment, &how))?;
        let again = self.revoke_found(target, reason)?;
        let ended = match (ended, again.ended) {
            (Ok(first), Ok(more)) => Ok([first, more].concat()),
            (Ok(first), Err(none)) if !first.is_empty() && is_not_found(&none) => Ok(first),
            (_, ended) => ended,
        };
        Found { altered: again.altered, ended }.told()
    }

    /// Revokes what a search finds, and looks for what may have hidden a grant from it.
    fn revoke_found(&self, target: &RevokeTarget, reason: &Word) -> Result<Found, Refused> {
        let author = StatementAuthor::Here(self.caller);
        let ended = match target {
            RevokeTarget::Id(prefix) => {
                match self.revocable(prefix, author).and_then(|id| Ok((self.revoke_as(author, &id, reason)?, id))) {
                    // There is no other grant with this id, but extensions of it may be hidden.
                    Ok((ended, id)) => {
                        return Ok(Found { altered: self.journal.altered_about(&id)?, ended: Ok(ended) });
                    }
                    Err(none) => Err(none),
                }
            }
            RevokeTarget::User(user) => self.revoke_those(author, |subject| subject.holder() == user, reason),
            RevokeTarget::All => self.revoke_those(author, |_| true, reason),
        };
        let ended = match ended {
            Err(none) if is_not_found(&none) && self.revokes_any()? => Err(none),
            Err(damaged) if damaged.failure.code == DAMAGED => Err(damaged),
            ended => Ok(ended?),
        };
        // Nothing else shows that no record of a grant was hidden from the search. It comes last, because it reads all records.
        Ok(Found { altered: self.journal.altered()?, ended })
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
            if self.may_revoke(author.who(), subject.role(), subject.id())? {
                mine.push(subject);
            }
        }
        let lost = self.told_to(author.who(), lost, mine.is_empty())?;
        match (mine.is_empty(), found) {
            (false, _) => {
                let asked: Vec<GrantId> = mine.iter().map(|subject| subject.id().clone()).collect();
                let ended = self.end(author, mine, StatementKind::Revocation, reason)?;
                end_overdue_apart(); // where the supervisors of the runs do not do it
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
            let known = GrantId::parse(&id).ok();
            let asked = |id| asked_in_records(self.host.database().connection(), id);
            let is_told = match (known.as_ref().map(asked).transpose()?.flatten(), &known) {
                (Some(asked), Some(known)) => self.may_revoke(who, &asked.role, known)?,
                _ => !revokes_none,
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

    /// Whether this user may revoke this grant: root, the approvers of its role, and those who approved it where the policy has no
    /// such role any more.
    fn may_revoke(&self, who: &Caller, role: &RoleName, id: &GrantId) -> Result<bool, Refused> {
        if who.uid() == 0 {
            return Ok(true);
        }
        match self.policy.role(role)? {
            Some(role) => Ok(names(&role.activation.approvers, &subject(who)?)),
            None => {
                let approvals = self.host.store().approvals(id)?;
                Ok(approvals.iter().any(|given| who.person().is(given.uid, &given.terms.approver)))
            }
        }
    }
}

/// The result of a revocation.
struct Found {
    /// What may have hidden a grant.
    altered: Option<Altered>,
    ended: Result<Vec<GrantId>, Refused>,
}

impl Found {
    fn told(self) -> Result<Vec<GrantId>, Refused> {
        match (self.altered, self.ended) {
            (Some(what), Err(damaged)) if damaged.failure.code == DAMAGED => Err(altered_too(&what, &damaged)),
            (Some(what), ended) => Err(altered(&what, ended.as_deref().unwrap_or_default())),
            (None, ended) => ended,
        }
    }
}

fn is_not_found(refused: &Refused) -> bool {
    NOT_FOUND.contains(&refused.failure.code.as_str())
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
    refused(DAMAGED, message)
        .hint("jitctl audit verify; put the right database back, then: jitctl key accept --reason 'WHY'")
}

/// Returns the error for a journal in which a record is not as it was written, or an index lacks one, so that a grant may have been
/// hidden.
fn altered(what: &Altered, ended: &[GrantId]) -> Refused {
    let grants = if ended.len() == 1 { "1 grant was".to_owned() } else { format!("{} grants were", ended.len()) };
    let message = format!("{grants} revoked, but {}", may_be_others(what));
    refused(DAMAGED, message).hint(END_ALL)
}

/// Returns the error for such a journal where the rows of some grants are not as they were written either: `damaged` names them.
fn altered_too(what: &Altered, damaged: &Refused) -> Refused {
    refused(DAMAGED, format!("{}; {}", damaged.failure.message, may_be_others(what))).hint(END_ALL)
}

fn may_be_others(what: &Altered) -> String {
    format!("{what}, so there may be other grants")
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
    refused(DAMAGED, message).hint("jitctl audit verify")
}
