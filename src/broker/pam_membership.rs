//! Tells PAM stacks whether a user holds a role now: the same verification as for a run, without a command.

use std::os::fd::AsFd;
use std::time::Duration;

use super::Context;
use super::failure::{Refused, refused};
use crate::activation::wait_beside;
use crate::elevation::Caller;
use crate::judge::{counts_here, subject};
use crate::store::GrantScope;
use crate::verify::HeldRole;
use jit_core::clock::duration::Seconds;
use jit_core::grant::lifecycle::RequestState;
use jit_core::names::{GrantId, RoleName};
use jit_core::policy::{Assignment, Role};
use jit_core::wire::{Holder, MembershipInfo};

/// The longest wait per question, in seconds.
const WAIT_LIMIT: Seconds = Seconds(3600);

/// How a user holds a role.
pub(super) enum Membership {
    /// By a standing assignment, until it is removed from the policy.
    Standing(Box<Role>),
    /// By a grant, while it is valid.
    Granted(Box<HeldRole>),
}

impl Membership {
    pub(super) fn role(&self) -> &Role {
        match self {
            Self::Standing(role) => role,
            Self::Granted(held) => held.role(),
        }
    }
}

impl Context<'_> {
    pub(super) fn membership(
        &self,
        holder: Option<&Holder>,
        role: Option<&RoleName>,
        wait: Seconds,
    ) -> Result<MembershipInfo, Refused> {
        let described = holder.map(|holder| self.described(holder)).transpose()?;
        let holder = described.as_ref().unwrap_or(self.caller);
        if let Some(held) = self.held(holder, role)? {
            return Ok(self.info_of_role(&held));
        }
        let Some(pending) = self.pending(holder, role)? else {
            return Ok(MembershipInfo::default());
        };
        if wait > Seconds::ZERO {
            let limit = Duration::from(wait.min(WAIT_LIMIT));
            // The wait ends when the client exits.
            let _ = wait_beside(self.host, holder.uid(), &pending, limit, Some(std::io::stdin().as_fd()))?;
            let later = Context { now: &self.host.now()?, ..*self };
            if let Some(held) = later.held(holder, role)? {
                return Ok(later.info_of_role(&held));
            }
        }
        Ok(MembershipInfo { pending: self.pending(holder, role)?, ..MembershipInfo::default() })
    }

    /// Returns a user from the account database. Only root may ask about others than the caller.
    pub(super) fn described(&self, holder: &Holder) -> Result<Caller, Refused> {
        let failed = |error| refused("lookup", format!("unable to look up the account: {error}"));
        let account = match holder {
            Holder::User(name) => sys::users::account_by_name(name.as_str()).map_err(failed)?,
            Holder::Uid(uid) => sys::users::account_by_uid(*uid).map_err(failed)?,
        };
        match (account, self.caller.uid()) {
            (Some(account), 0) => Ok(Caller::described(account)?),
            (Some(account), caller) if caller == account.uid && account.name == self.caller.name().as_str() => {
                Ok(Caller::described(account)?)
            }
            // The error does not reveal whether the user exists.
            (_, caller) if caller != 0 => Err(refused("not-root", "only root may ask about others")),
            _ => Err(refused("unknown-user", "unknown user")),
        }
    }

    /// Returns how `holder` holds `role`, or any role: by a standing assignment, else by the grant that lasts longest.
    pub(super) fn held(&self, holder: &Caller, role: Option<&RoleName>) -> Result<Option<Membership>, Refused> {
        let subject = subject(holder)?;
        let wanted = |found: &Role| role.is_none_or(|name| *name == found.name) && counts_here(found, holder);
        let standing = match role {
            Some(name) => self.policy.role(name)?.filter(|role| role.assigns(&subject, Assignment::Standing)),
            None => self.policy.roles_for(&subject, Assignment::Standing)?.into_iter().find(wanted),
        };
        if let Some(role) = standing.filter(wanted) {
            return Ok(Some(Membership::Standing(Box::new(role))));
        }
        let (names, grants) = self.host.store().held(holder.person(), self.now.seconds())?;
        let mut roles = Vec::new();
        for name in names {
            let eligible = |role: &Role| wanted(role) && role.assigns(&subject, Assignment::Eligible);
            roles.extend(self.policy.role(&name)?.filter(eligible));
        }
        if roles.is_empty() {
            return Ok(None);
        }
        let known = self.host.knowledge(&roles, holder.person(), self.now)?;
        Ok(HeldRole::find(&grants, holder, &roles, &known.facts(self.now))
            .map(|held| Membership::Granted(Box::new(held))))
    }

    /// Returns the newest pending request of `holder` for the role.
    fn pending(&self, holder: &Caller, role: Option<&RoleName>) -> Result<Option<GrantId>, Refused> {
        let now = self.host.now()?.seconds();
        let own = self.host.store().requests(GrantScope::Of(holder.person()), now)?;
        let waits = own.into_iter().filter(|request| {
            request.state == RequestState::Pending && role.is_none_or(|role| *role == request.terms.role)
        });
        Ok(waits.max_by_key(|request| request.terms.created).map(|request| request.terms.id))
    }

    fn info_of_role(&self, held: &Membership) -> MembershipInfo {
        let role = Some(held.role().name.clone());
        match held {
            Membership::Standing(_) => MembershipInfo { holds: true, role, ..MembershipInfo::default() },
            Membership::Granted(held) => MembershipInfo {
                holds: true,
                role,
                grant: Some(held.terms().id.clone()),
                expires: Some(held.terms().expires),
                left: Some(Seconds(held.terms().left(self.now.moment()).as_secs())),
                pending: None,
            },
        }
    }
}
