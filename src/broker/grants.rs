//! Grants: listed, given back, taken back.

use super::Desk;
use super::decisions::given;
use super::failure::{Refused, refused};
use super::wire::{Answer, RevokeTarget};
use crate::audit::Event;
use crate::audit::record::{Release, Revocation};
use crate::database::Durability;
use crate::escape::Word;
use crate::grant::GrantTerms;
use crate::grant::lifecycle::GrantEnd;
use crate::names::{GrantId, IdPrefix};
use crate::policy::judge::{names, subject};
use crate::store::{LIST_LIMIT, StoredGrant, StoredRequest, Which, end_grant};

/// The most grants that a listing shows.
const LISTED: usize = LIST_LIMIT as usize;

/// The most grants that are ended in one transaction, so that no other process waits long.
const ENDED_AT_ONCE: usize = 1000;

impl Desk<'_> {
    pub(super) fn grants(&self, all: bool) -> Result<Answer, Refused> {
        let which = if self.is_reader()? { Which::Everybody } else { Which::Of(self.caller.person()) };
        let store = self.host.store();
        let mut answers = Vec::new();
        if all {
            for request in store.requests(which, self.now())? {
                let info = self.info(&request)?;
                if info.grant.is_some() {
                    answers.push(info);
                }
            }
        } else {
            for grant in self.endable(which)?.iter().take(LISTED) {
                answers.push(self.info_of(&grant.terms.id)?);
            }
        }
        Ok(Answer::Grants(answers))
    }

    pub(super) fn release(&self, id: Option<&IdPrefix>) -> Result<Answer, Refused> {
        let mut open = self.endable(Which::Of(self.caller.person()))?;
        if let Some(prefix) = id {
            let request = self.visible(prefix)?;
            self.own(&request)?;
            open.retain(|grant| grant.terms.id == request.terms.id);
        }
        if open.is_empty() {
            return Err(refused("no-grant", "you have no active grant to release").hint("jitctl grants --all"));
        }
        let terms: Vec<GrantTerms> = open.into_iter().map(|grant| grant.terms).collect();
        self.end(&terms, GrantEnd::Released, &Word::default())
    }

    pub(super) fn revoke(&self, target: &RevokeTarget, reason: &Word) -> Result<Answer, Refused> {
        let reason = given("reason", reason)?;
        let mut terms: Vec<GrantTerms> = self.endable(Which::Everybody)?.into_iter().map(|grant| grant.terms).collect();
        match target {
            RevokeTarget::Id(prefix) => {
                let id = self.visible(prefix)?.terms.id;
                if !terms.iter().any(|terms| terms.id == id) {
                    return Err(refused("not-active", format!("there is no active grant {id}")));
                }
                terms.retain(|terms| terms.id == id);
            }
            RevokeTarget::User(user) => terms.retain(|terms| &terms.user == user),
            RevokeTarget::All => {}
        }
        let found = !terms.is_empty();
        let mut mine = Vec::new();
        for terms in terms {
            if self.may_revoke(&terms)? {
                mine.push(terms);
            }
        }
        match (mine.is_empty(), found) {
            (false, _) => self.end(&mine, GrantEnd::Revoked, reason),
            (true, true) => Err(refused("not-an-approver", "only root and approvers of the role may revoke")),
            (true, false) => Err(refused("no-grant", "there is no active grant to revoke")),
        }
    }

    fn own(&self, request: &StoredRequest) -> Result<(), Refused> {
        if self.is_own(request) {
            return Ok(());
        }
        let id = &request.terms.id;
        Err(refused("not-yours", format!("grant {id} belongs to {}", request.terms.user))
            .hint(format!("jitctl revoke {id} --reason 'WHY'")))
    }

    fn may_revoke(&self, terms: &GrantTerms) -> Result<bool, Refused> {
        if self.caller.uid() == 0 {
            return Ok(true);
        }
        match self.policy.role(&terms.role)? {
            Some(role) => Ok(names(&role.activation.approvers, &subject(self.caller)?)),
            None => Ok(false),
        }
    }

    /// Grants that can still be ended: those that are open, and those that are over or used up while a command runs on
    /// under them.
    fn endable(&self, which: Which<'_>) -> Result<Vec<StoredGrant>, Refused> {
        let store = self.host.store();
        let mut grants = store.open_grants(which, self.now())?;
        for id in self.journal.grants_in_use()? {
            // A run goes on under the extensions of its grant.
            let mut next = store.grant(&id)?;
            while let Some(grant) = next {
                next = store.extension(&grant.terms.id)?;
                let wanted = match which {
                    Which::Of(person) => person.is(grant.terms.uid, &grant.terms.user),
                    Which::Pending | Which::Everybody => true,
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

    /// Whoever loses a grant loses what extends it.
    fn with_extensions(&self, grants: &[GrantTerms]) -> Result<Vec<GrantTerms>, Refused> {
        let mut all = grants.to_vec();
        let mut at = 0;
        while let Some(id) = all.get(at).map(|terms| terms.id.clone()) {
            if let Some(extension) = self.host.store().extension(&id)?
                && !all.iter().any(|terms| terms.id == extension.terms.id)
            {
                all.push(extension.terms);
            }
            at += 1;
        }
        Ok(all)
    }

    /// Ends grants and records each; then wakes whoever runs under them. A thousand are ended together or not at all.
    fn end(&self, grants: &[GrantTerms], end: GrantEnd, reason: &Word) -> Result<Answer, Refused> {
        let ended = self.ended(reason);
        let mut ids: Vec<GrantId> = Vec::new();
        for grants in self.with_extensions(grants)?.chunks(ENDED_AT_ONCE) {
            let written = self.host.database().write(Durability::Synced, |tx| {
                let mut written = Vec::new();
                for terms in grants {
                    if end_grant(tx, &terms.id, end, &ended)? {
                        written.push(self.journal.append(tx, self.moment, self.event(terms, end, reason))?);
                        ids.push(terms.id.clone());
                    }
                }
                Ok::<_, Refused>(written)
            })?;
            let _ = self.journal.mirror(&written);
            self.host.ring();
        }
        Ok(Answer::Ended(ids))
    }

    fn event(&self, terms: &GrantTerms, end: GrantEnd, reason: &Word) -> Event {
        let (uid, user) = (self.caller.uid(), Word::from(self.caller.name().as_str()));
        let (grant, role) = (terms.id.clone(), terms.role.clone());
        match end {
            GrantEnd::Released | GrantEnd::Used => Event::Release(Box::new(Release { grant, uid, user, role })),
            GrantEnd::Revoked => Event::Revocation(Box::new(Revocation {
                grant,
                uid,
                user,
                holder_uid: terms.uid,
                holder: Word::from(terms.user.as_str()),
                role,
                reason: reason.clone(),
            })),
        }
    }
}
