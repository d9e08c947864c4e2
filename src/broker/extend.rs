//! Extensions of grants: the holder requests one, and it is decided like any other request.

use super::Context;
use super::failure::{Refused, refused};
use crate::activation::Activation;
use crate::activation::extension::{Longer, extend};
use crate::audit::{InRecords, base_in_records};
use crate::judge::subject;
use crate::store::{StoredGrant, StoredRequest};
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::grant::lifecycle::GrantEnd;
use jit_core::names::{GrantId, IdPrefix};
use jit_core::policy::{Assignment, Role};
use jit_core::wire::GrantInfo;

impl Context<'_> {
    pub(super) fn extend(
        &self,
        id: &IdPrefix,
        duration: Option<Seconds>,
        reason: Option<&Word>,
    ) -> Result<GrantInfo, Refused> {
        let request = self.visible(id)?;
        let id = &request.terms.id;
        if !self.is_own(&request) {
            return Err(refused("not-yours", format!("grant {id} belongs to {}", request.terms.user)));
        }
        let old = self.extensible(id)?;
        let role = self.role_of(&request)?;
        let wanted = Longer { old: &old.terms, ticket: &request.terms.ticket, role: &role, duration, reason };
        match extend(self.host, self.policy, &wanted, self.now)? {
            Activation::Granted(id) | Activation::Pending(id) => Ok(self.info_of(&id)?),
        }
    }

    /// Fails when the grant that the request would extend was revoked or released.
    pub(super) fn still_extends(&self, request: &StoredRequest) -> Result<(), Refused> {
        let Some(old) = &request.terms.extends else { return Ok(()) };
        let grant = self.host.store().grant(old)?;
        if let Some(grant) = &grant {
            of_one_identity(grant, &request.terms.host.id)?;
        }
        match self.taken(old, grant.as_ref())? {
            None => Ok(()),
            Some(end) => {
                Err(refused("not-active", format!("grant {old}, which it would extend, was {}", end.as_str())))
            }
        }
    }

    /// Returns how a grant was ended before its time, by its row, or by its records and those of the grants that it extends.
    fn taken(&self, id: &GrantId, grant: Option<&StoredGrant>) -> Result<Option<GrantEnd>, Refused> {
        let by_row = grant.and_then(|grant| grant.end.as_ref()).map(|(end, _)| *end);
        let by_records = match base_in_records(self.host.database().connection(), id)? {
            InRecords::Ended(end) => Some(end),
            InRecords::Open | InRecords::Unknown => None,
        };
        Ok([by_row, by_records].into_iter().flatten().find(|end| *end != GrantEnd::Used))
    }

    /// Returns the grant, if it is active or a command still runs under it. A grant has at most one extension; a later one extends
    /// that extension.
    fn extensible(&self, id: &GrantId) -> Result<StoredGrant, Refused> {
        let store = self.host.store();
        let again = |why: String| refused("not-active", why).hint("jitctl request --reason 'WHY' -- COMMAND");
        let grant = store.grant(id)?.ok_or_else(|| again(format!("request {id} has no grant")))?;
        if let Some(end) = self.taken(id, Some(&grant))? {
            return Err(again(format!("grant {id} was {}", end.as_str())));
        }
        of_one_identity(&grant, self.host.record_public_identity()?.id.as_str())?;
        if self.now.seconds() < grant.terms.starts {
            return Err(refused("not-active", format!("grant {id} has not begun")));
        }
        let over = grant.end.is_some() || self.now.seconds() >= grant.terms.expires;
        if over && !self.runs_on_under(id)? {
            return Err(again(format!("grant {id} is over, and nothing runs under it")));
        }
        if !over && grant.terms.one_shot.is_set() {
            return Err(refused("not-used", format!("grant {id} serves one run, which has not begun")));
        }
        if let Some(pending) = store.pending_extension(id, self.now.seconds())? {
            return Err(refused("extended", format!("request {pending} would extend it already")));
        }
        match store.extension(id)?.filter(|extension| self.now.seconds() < extension.terms.expires) {
            Some(extension) if extension.end.as_ref().is_none_or(|(end, _)| *end == GrantEnd::Used) => {
                let next = &extension.terms.id;
                Err(refused("extended", format!("grant {id} was extended already, by {next}"))
                    .hint(format!("jitctl extend {next} --reason 'WHY'")))
            }
            _ => Ok(grant),
        }
    }

    /// Returns whether a run that began under this grant, or under one that it extends, has not ended.
    fn runs_on_under(&self, id: &GrantId) -> Result<bool, Refused> {
        let store = self.host.store();
        for begun in self.journal.grants_in_use()? {
            let mut next = Some(begun);
            while let Some(under) = next {
                if &under == id {
                    return Ok(true);
                }
                next = store.extension(&under)?.map(|extension| extension.terms.id);
            }
        }
        Ok(false)
    }

    fn role_of(&self, request: &StoredRequest) -> Result<Role, Refused> {
        let name = &request.terms.role;
        let role = self.policy.role(name)?;
        let role =
            role.ok_or_else(|| refused("unknown-role", format!("the policy no longer knows the role {name}")))?;
        if role.assigns(&subject(self.caller)?, Assignment::Eligible) {
            Ok(role)
        } else {
            Err(refused("not-eligible", format!("you are no longer eligible for role {name}")))
        }
    }
}

/// Fails when the grant was issued under another identity of this host.
fn of_one_identity(old: &StoredGrant, host: &str) -> Result<(), Refused> {
    if old.terms.host == host {
        return Ok(());
    }
    let sentence = format!("grant {} was given under another identity of this host", old.terms.id);
    Err(refused("other-identity", sentence).hint("jitctl request --reason 'WHY' -- COMMAND"))
}
