//! Reviews of break-glass grants by an approver. The holder of the grant cannot review it.

use super::Context;
use super::approvals::unattested;
use super::failure::{Refused, refused};
use super::signed_approvals::VERIFYING_KEY;
use super::statement::{StatementAuthor, StatementSubject};
use super::words::given;
use crate::database::Durability;
use crate::elevation::Caller;
use crate::judge::{names, subject};
use crate::store::{Debt, FindError, StoredRequest, settle};
use crate::verify::{Act, Consent, Shown};
use jit_core::escape::Word;
use jit_core::grant::StatementKind;
use jit_core::names::{GrantId, IdPrefix, RoleName};
use jit_core::policy::Role;
use jit_core::wire::{DebtInfo, GrantInfo, texts};

impl Context<'_> {
    pub(super) fn review_debts(&self) -> Result<Vec<DebtInfo>, Refused> {
        let reader = self.is_reader()?;
        let mut infos = Vec::new();
        for debt in self.host.store().open_debts()? {
            let may_review = self.may_settle(self.caller, &debt)?;
            if reader || may_review || self.caller.person().is(debt.uid, &debt.user) {
                infos.push(self.debt_info(&debt, may_review)?);
            }
        }
        Ok(infos)
    }

    pub(super) fn review_settle(
        &self,
        id: &IdPrefix,
        comment: &Word,
        consent: Option<Consent>,
    ) -> Result<GrantInfo, Refused> {
        let request = self.visible(id)?;
        self.settle_as(StatementAuthor::Here(self.caller), &request, comment, consent)?;
        self.info_of(&request.terms.id)
    }

    pub(super) fn settle_as(
        &self,
        author: StatementAuthor<'_>,
        request: &StoredRequest,
        comment: &Word,
        consent: Option<Consent>,
    ) -> Result<(), Refused> {
        let comment = given("comment", comment)?;
        let (debt, role) = self.settleable_by(author.who(), request)?;
        let act = settling(author, request, &debt, role.as_ref(), consent)?;
        let subject = StatementSubject::of_debt(&debt, request);
        let statement = self.stated(
            author,
            StatementKind::Review,
            &subject,
            comment,
            &self.host.record_identity_for_statements()?,
        )?;
        let written = self.host.database().write(Durability::Synced, |tx| {
            let settled = settle(tx, &statement, &act, self.now.moment().wall.seconds())?;
            self.recorded(tx, settled, &statement, &subject)?.ok_or_else(|| owes_nothing(&request.terms.id))
        })?;
        let _ = self.journal.mirror(&[written]);
        Ok(())
    }

    /// Returns the break-glass grant that the caller may review, with its role if the policy still has it.
    pub(super) fn settleable(&self, id: &IdPrefix) -> Result<(StoredRequest, Debt, Option<Role>), Refused> {
        let request = self.visible(id)?;
        let (debt, role) = self.settleable_by(self.caller, &request)?;
        Ok((request, debt, role))
    }

    fn settleable_by(&self, who: &Caller, request: &StoredRequest) -> Result<(Debt, Option<Role>), Refused> {
        let id = &request.terms.id;
        let debt = self.host.store().open_debt(id).map_err(|error| match error {
            FindError::Unknown => owes_nothing(id),
            error => Refused::from(error),
        })?;
        if who.person().shares(debt.uid, &debt.user) {
            return Err(refused("own-request", "nobody reviews their own break-glass"));
        }
        if !self.may_settle(who, &debt)? {
            return Err(not_approver(&debt.role));
        }
        let role = self.policy.role(&debt.role)?;
        Ok((debt, role))
    }

    /// Returns whether `who` may review: approvers of the role in the present policy, or root if the policy no longer has the role.
    fn may_settle(&self, who: &Caller, debt: &Debt) -> Result<bool, Refused> {
        if who.person().shares(debt.uid, &debt.user) {
            return Ok(false);
        }
        match self.policy.role(&debt.role)? {
            Some(role) => Ok(names(&role.activation.approvers, &subject(who)?)),
            None => Ok(who.uid() == 0),
        }
    }

    /// Returns whether the caller is an approver of `role`.
    pub(super) fn approves(&self, role: &Role) -> Result<bool, Refused> {
        Ok(names(&role.activation.approvers, &subject(self.caller)?))
    }

    /// Returns the role of this name, if the caller may review its assignments: root and approvers of the role.
    pub(super) fn reviewable(&self, name: &RoleName) -> Result<Role, Refused> {
        let role = self.policy.role(name)?;
        let role = role.ok_or_else(|| refused("unknown-role", format!("the policy does not know a role {name}")))?;
        if self.caller.uid() == 0 || self.approves(&role)? { Ok(role) } else { Err(not_approver(name)) }
    }

    fn debt_info(&self, debt: &Debt, may_review: bool) -> Result<DebtInfo, Refused> {
        // The request of an earlier version cannot be read any more; its review is listed anyway.
        let asked = match self.host.store().request(&debt.id, self.now.seconds()) {
            Ok(request) => Some(request.terms),
            Err(FindError::Database(error)) => return Err(FindError::Database(error).into()),
            Err(_) => None,
        };
        let role = self.policy.role(&debt.role)?;
        Ok(DebtInfo {
            id: debt.id.clone(),
            user: debt.user.clone(),
            uid: debt.uid,
            role: debt.role.clone(),
            at: debt.at,
            command: asked.as_ref().map(|terms| terms.argv().to_vec()).unwrap_or_default(),
            reason: asked.map_or_else(|| Word::from("(cannot be read)"), |terms| terms.reason),
            runs: self.journal.count_runs_of_grant(&debt.id)?,
            reviewers: role.map_or_else(|| vec!["root".to_owned()], |role| texts(&role.activation.approvers)),
            may_review,
        })
    }
}

fn owes_nothing(id: &GrantId) -> Refused {
    refused("no-debt", format!("grant {id} waits for no review")).hint("jitctl review")
}

fn not_approver(role: &RoleName) -> Refused {
    refused("not-an-approver", format!("you are not an approver of role {role}"))
}

/// Returns the proof that the reviewer made the review in the way that the role demands.
fn settling(
    author: StatementAuthor<'_>,
    request: &StoredRequest,
    debt: &Debt,
    role: Option<&Role>,
    consent: Option<Consent>,
) -> Result<Act, Refused> {
    let uid = author.who().uid();
    let Some(role) = role else {
        return Act::of_root(uid).ok_or_else(|| not_approver(&debt.role));
    };
    let id = &request.terms.id;
    match author {
        StatementAuthor::Here(_) => Act::in_person(uid, &Shown::whole(&request.bytes), &role.activation, consent)
            .map_err(|fault| unattested(fault).hint(format!("jitctl review {id} --comment 'WHAT YOU FOUND'"))),
        StatementAuthor::Elsewhere(_, vouched) => Act::signed(uid, vouched, &role.activation)
            .map_err(|fault| refused("bad-statement", fault).hint(VERIFYING_KEY)),
    }
}
