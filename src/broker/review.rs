//! Reviews: broken glass that an approver has to look at. Whoever broke it is never the one who settles it.

use super::Desk;
use super::decisions::{given, unattested};
use super::failure::{Refused, refused};
use super::view::texts;
use super::wire::{Answer, DebtInfo};
use crate::audit::Event;
use crate::audit::record::{Review, Verdict};
use crate::database::Durability;
use crate::escape::Word;
use crate::grant::{Act, Consent};
use crate::names::{GrantId, IdPrefix, RoleName};
use crate::policy::Role;
use crate::policy::judge::{names, subject};
use crate::store::{Debt, FindError, StoredRequest, settle_debt};

impl Desk<'_> {
    pub(super) fn review_debts(&self) -> Result<Answer, Refused> {
        let reader = self.is_reader()?;
        let mut infos = Vec::new();
        for debt in self.host.store().open_debts()? {
            let may_review = self.may_settle(&debt)?;
            if reader || may_review || self.caller.person().is(debt.uid, &debt.user) {
                infos.push(self.debt_info(&debt, may_review)?);
            }
        }
        Ok(Answer::Debts(infos))
    }

    pub(super) fn review_settle(
        &self,
        id: &IdPrefix,
        comment: &Word,
        consent: Option<Consent>,
    ) -> Result<Answer, Refused> {
        let comment = given("comment", comment)?;
        let (request, debt, role) = self.settleable(id)?;
        let id = &request.terms.id;
        let uid = self.caller.uid();
        let act = match &role {
            Some(role) => Act::in_person(uid, &request.bytes, &role.activation, consent)
                .map_err(|fault| unattested(fault).hint(format!("jitctl review {id} --comment 'WHAT YOU FOUND'")))?,
            None => Act::of_root(uid).ok_or_else(|| not_approver(&debt.role))?,
        };
        let event = Event::Review(Box::new(Review {
            grant: Some(id.clone()),
            uid: self.caller.uid(),
            user: Word::from(self.caller.name().as_str()),
            holder: Word::from(debt.user.as_str()),
            holder_uid: Some(debt.uid),
            role: debt.role,
            verdict: Verdict::Settled,
            comment: comment.clone(),
        }));
        let written = self.host.database().write(Durability::Synced, |tx| {
            if !settle_debt(tx, id, &act, self.caller.name(), self.now(), comment.as_bytes())? {
                return Err(owes_nothing(id));
            }
            Ok::<_, Refused>(self.journal.append(tx, self.moment, event)?)
        })?;
        let _ = self.journal.mirror(&[written]);
        Ok(Answer::Grant(Box::new(self.info_of(id)?)))
    }

    /// The break-glass that the caller may settle, with its role where the policy still has it.
    pub(super) fn settleable(&self, id: &IdPrefix) -> Result<(StoredRequest, Debt, Option<Role>), Refused> {
        let request = self.visible(id)?;
        let id = &request.terms.id;
        let debt = self.host.store().open_debt(id).map_err(|error| match error {
            FindError::Unknown => owes_nothing(id),
            error => Refused::from(error),
        })?;
        if debt.uid == self.caller.uid() {
            return Err(refused("own-request", "nobody reviews their own break-glass"));
        }
        if !self.may_settle(&debt)? {
            return Err(not_approver(&debt.role));
        }
        let role = self.policy.role(&debt.role)?;
        Ok((request, debt, role))
    }

    /// The approvers of the role as the policy stands now; root for a role that it no longer knows, which nobody else
    /// could ever settle.
    fn may_settle(&self, debt: &Debt) -> Result<bool, Refused> {
        if self.caller.person().shares(debt.uid, &debt.user) {
            return Ok(false);
        }
        match self.policy.role(&debt.role)? {
            Some(role) => self.approves(&role),
            None => Ok(self.caller.uid() == 0),
        }
    }

    /// Whether the caller is an approver of `role`.
    pub(super) fn approves(&self, role: &Role) -> Result<bool, Refused> {
        Ok(names(&role.activation.approvers, &subject(self.caller)?))
    }

    /// The role of this name, for those who review it: root and its approvers.
    pub(super) fn reviewable(&self, name: &RoleName) -> Result<Role, Refused> {
        let role = self.policy.role(name)?;
        let role = role.ok_or_else(|| refused("unknown-role", format!("the policy does not know a role {name}")))?;
        if self.caller.uid() == 0 || self.approves(&role)? { Ok(role) } else { Err(not_approver(name)) }
    }

    fn debt_info(&self, debt: &Debt, may_review: bool) -> Result<DebtInfo, Refused> {
        let terms = self.host.store().request(&debt.id, self.now())?.terms;
        let role = self.policy.role(&debt.role)?;
        Ok(DebtInfo {
            id: debt.id.clone(),
            user: debt.user.clone(),
            uid: debt.uid,
            role: debt.role.clone(),
            at: debt.at,
            command: terms.argv().to_vec(),
            reason: terms.reason,
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
