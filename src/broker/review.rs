//! Reviews: broken glass that an approver has to look at. Whoever broke it is never the one who settles it.

use super::Desk;
use super::decisions::given;
use super::failure::{Refused, refused};
use super::statement::{Matter, Speaker};
use super::view::texts;
use super::wire::{Answer, DebtInfo};
use crate::database::Durability;
use crate::elevation::Caller;
use crate::escape::Word;
use crate::grant::StatementKind;
use crate::names::{IdPrefix, RoleName};
use crate::policy::Role;
use crate::policy::judge::{names, subject};
use crate::store::{Debt, StoredRequest};

impl Desk<'_> {
    pub(super) fn review_debts(&self) -> Result<Answer, Refused> {
        let reader = self.is_reader()?;
        let mut infos = Vec::new();
        for debt in self.host.store().open_debts()? {
            let may_review = self.may_settle(self.caller, &debt)?;
            if reader || may_review || debt.uid == self.caller.uid() {
                infos.push(self.debt_info(&debt, may_review)?);
            }
        }
        Ok(Answer::Debts(infos))
    }

    pub(super) fn review_settle(&self, id: &IdPrefix, comment: &Word) -> Result<Answer, Refused> {
        let request = self.visible(id)?;
        self.settle_as(Speaker::Here(self.caller), &request, comment)?;
        Ok(Answer::Grant(Box::new(self.info_of(&request.terms.id)?)))
    }

    pub(super) fn settle_as(
        &self,
        speaker: Speaker<'_>,
        request: &StoredRequest,
        comment: &Word,
    ) -> Result<(), Refused> {
        let comment = given("comment", comment)?;
        let id = &request.terms.id;
        let owes_nothing = || refused("no-debt", format!("grant {id} waits for no review")).hint("jitctl review");
        let debt = self.host.store().open_debt(id).map_err(|error| match error {
            crate::store::FindError::Unknown => owes_nothing(),
            error => Refused::from(error),
        })?;
        let who = speaker.who();
        if debt.uid == who.uid() {
            return Err(refused("own-request", "nobody reviews their own break-glass"));
        }
        if !self.may_settle(who, &debt)? {
            let (name, role) = (who.name(), &debt.role);
            return Err(refused("not-an-approver", format!("{name} is not an approver of role {role}")));
        }
        let matter = Matter::of_debt(&debt, request);
        let statement = self.stated(speaker, StatementKind::Review, &matter, comment, &self.host.witness()?)?;
        let written = self
            .host
            .database()
            .write(Durability::Synced, |tx| self.carry_out(tx, &statement, &matter)?.ok_or_else(owes_nothing))?;
        let _ = self.journal.mirror(&[written]);
        Ok(())
    }

    /// The approvers of the role as the policy stands now; root for a role that it no longer knows, which nobody else
    /// could ever settle.
    fn may_settle(&self, who: &Caller, debt: &Debt) -> Result<bool, Refused> {
        if debt.uid == who.uid() {
            return Ok(false);
        }
        match self.policy.role(&debt.role)? {
            Some(role) => Ok(names(&role.activation.approvers, &subject(who)?)),
            None => Ok(who.uid() == 0),
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
        if self.caller.uid() == 0 || self.approves(&role)? {
            Ok(role)
        } else {
            Err(refused("not-an-approver", format!("you are not an approver of role {name}")))
        }
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
