//! Requests, grants and roles as they are shown.

use std::collections::BTreeMap;
use std::path::Path;

use super::Context;
use super::failure::Refused;
use crate::audit::{InRecords, stands_in_records};
use crate::judge::{names, subject};
use crate::store::{ClosedBy, StoredGrant, StoredRequest};
use crate::verify::{GrantFault, window};
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::grant::lifecycle::RequestState;
use jit_core::names::{GrantId, IdPrefix, RoleName};
use jit_core::policy::EDIT;
use jit_core::policy::Role;
use jit_core::wire::{ApprovalInfo, BoundInfo, EndedInfo, GrantInfo, texts};
use sys::access::can_read;

/// The most ids with the same prefix that are searched for the caller's.
const MATCHES: u32 = 256;

impl Context<'_> {
    /// Returns the request that `prefix` names among those that the caller may see; others do not exist for the caller.
    pub(super) fn visible(&self, prefix: &IdPrefix) -> Result<StoredRequest, Refused> {
        let store = self.host.store();
        let ids = store.beginning_with(prefix, MATCHES.saturating_add(1))?;
        if ids.len() > usize::try_from(MATCHES).unwrap_or(usize::MAX) {
            return Err(Refused::ambiguous_id(prefix, &[]));
        }
        // Keeps the ids only, because requests may be long.
        let (mut seen, mut unread) = (Vec::new(), None);
        for id in ids {
            match store.request(&id, self.now.seconds()).map_err(Refused::from) {
                Ok(request) if self.may_see(&request)? => seen.push(id),
                Ok(_) => {}
                // An unreadable request does not hide others. It is reported if the prefix matches nothing else.
                Err(damage) if damage.is_damage() => unread = unread.or(self.may_see_unread(&id)?.then_some(damage)),
                Err(error) => return Err(error),
            }
        }
        match seen.as_slice() {
            [] => Err(unread.unwrap_or_else(|| Refused::unknown_id(prefix))),
            [id] => Ok(store.request(id, self.now.seconds())?),
            several => {
                let ids: Vec<String> = several.iter().take(6).map(GrantId::to_string).collect();
                Err(Refused::ambiguous_id(prefix, &ids))
            }
        }
    }

    /// Returns whether the caller made the request: uid and name must match, because a uid may have been reassigned.
    pub(super) fn is_own(&self, request: &StoredRequest) -> bool {
        self.caller.person().is(request.terms.uid, &request.terms.user)
    }

    fn may_see(&self, request: &StoredRequest) -> Result<bool, Refused> {
        Ok(self.is_own(request) || self.is_reader()? || self.is_approver(request)?)
    }

    /// Returns whether the caller may see a request whose body cannot be read, as far as its columns say whose it is.
    fn may_see_unread(&self, id: &GrantId) -> Result<bool, Refused> {
        if self.is_reader()? {
            return Ok(true);
        }
        let Ok(listed) = self.host.store().columns(id, self.now.seconds()) else { return Ok(false) };
        Ok(listed.uid == self.caller.uid() || self.approves_named(&listed.role)?)
    }

    /// Returns whether the caller is an approver of the request's role in the present policy.
    pub(super) fn is_approver(&self, request: &StoredRequest) -> Result<bool, Refused> {
        self.approves_named(&request.terms.role)
    }

    fn approves_named(&self, role: &RoleName) -> Result<bool, Refused> {
        match self.policy.role(role)? {
            Some(role) => Ok(names(&role.activation.approvers, &subject(self.caller)?)),
            None => Ok(false),
        }
    }

    /// For listings: omits an entry that cannot be read and reports its id, so that the others are still listed.
    pub(super) fn legible<T>(&self, id: &str, found: Result<T, impl Into<Refused>>) -> Result<Option<T>, Refused> {
        match found.map_err(Into::into) {
            Ok(found) => Ok(Some(found)),
            Err(refused) if refused.is_damage() => {
                self.left_out.borrow_mut().insert(id.to_owned());
                Ok(None)
            }
            Err(refused) => Err(refused),
        }
    }

    /// Returns one request and its grant, as the caller may see it.
    pub(super) fn info_of(&self, id: &GrantId) -> Result<GrantInfo, Refused> {
        let request = self.host.store().request(id, self.now.seconds())?;
        self.info(&request)
    }

    pub(super) fn info(&self, request: &StoredRequest) -> Result<GrantInfo, Refused> {
        let store = self.host.store();
        let terms = &request.terms;
        let grant = store.grant(&terms.id)?;
        let role = self.policy.role(&terms.role)?;
        let approvals = self.approvals_of(request, role.as_ref())?;
        let may_decide = request.state == RequestState::Pending
            && !self.caller.person().shares(terms.uid, &terms.user)
            && self.is_approver(request)?;
        let (duration, one_shot, exact) = match &grant {
            Some(grant) => {
                (Seconds::between(grant.terms.starts, grant.terms.expires), grant.terms.one_shot, grant.terms.exact)
            }
            None => (terms.duration, terms.one_shot, terms.exact),
        };
        Ok(GrantInfo {
            id: terms.id.clone(),
            state: request.state.as_str().to_owned(),
            grant: grant.as_ref().map(|grant| self.grant_state(grant)).transpose()?,
            requester: terms.user.clone(),
            requester_uid: terms.uid,
            role: terms.role.clone(),
            run_as: terms.run_as.to_string(),
            command: terms.argv().to_vec(),
            command_bytes: None,
            bound: terms.command.clone().map(BoundInfo::from),
            sha256: self.digest_of(request)?,
            role_changed: role.as_ref().is_none_or(|role| role.digest != terms.role_digest),
            reason: terms.reason.clone(),
            ticket: (!terms.ticket.as_bytes().is_empty()).then(|| terms.ticket.clone()),
            duration,
            requested: terms.created,
            deadline: terms.deadline,
            starts: grant.as_ref().map(|grant| grant.terms.starts),
            expires: grant.as_ref().map(|grant| grant.terms.expires),
            one_shot: one_shot.is_set(),
            exact: exact.is_set(),
            approvals_needed: match (&grant, &role) {
                (None, Some(role)) if terms.needed > 0 => terms.needed.max(role.activation.approvals),
                _ => terms.needed,
            },
            signed_approvals: role.as_ref().is_some_and(|role| role.activation.signed_approvals),
            approvers: role.map_or_else(Vec::new, |role| texts(&role.activation.approvers)),
            approvals,
            may_decide,
            ended: grant
                .and_then(|grant| grant.end)
                .map(|(_, ended)| ended)
                .or_else(|| request.ended.clone())
                .map(|end| Ok::<_, Refused>(ended(end, store.stated_with(&terms.id)?)))
                .transpose()?,
            runs: self.journal.count_runs_of_grant(&terms.id)?,
            background: None,
            host: None,
            break_glass: terms.break_glass.is_set(),
            extends: terms.extends.clone(),
            extended_by: store.extension(&terms.id)?.map(|extension| extension.terms.id),
        })
    }
}

impl Context<'_> {
    /// Returns the approvals of a request, and for a pending request whether each counts now.
    fn approvals_of(&self, request: &StoredRequest, role: Option<&Role>) -> Result<Vec<ApprovalInfo>, Refused> {
        let given = self.host.store().approvals(&request.terms.id)?;
        let counting = match role.filter(|_| request.state == RequestState::Pending && !given.is_empty()) {
            Some(role) => {
                let counting = self.counting(self.host.store().approvals(&request.terms.id)?, request, role)?;
                Some(counting.approvals.iter().map(|approval| approval.uid).collect::<Vec<u32>>())
            }
            None => None,
        };
        let counts = |uid: u32| counting.as_ref().is_none_or(|uids| uids.contains(&uid));
        Ok(given.into_iter().map(|given| ApprovalInfo { counts: counts(given.uid), ..approval(given) }).collect())
    }
}

/// Caches for each role whether the caller is an approver.
#[derive(Default)]
pub(super) struct Decides(BTreeMap<RoleName, bool>);

impl Decides {
    pub(super) fn whether(&mut self, context: &Context<'_>, role: &RoleName) -> Result<bool, Refused> {
        if let Some(known) = self.0.get(role) {
            return Ok(*known);
        }
        let decides = context.approves_named(role)?;
        self.0.insert(role.clone(), decides);
        Ok(decides)
    }
}

impl Context<'_> {
    /// Returns the digest of the program. The requester gets it only if they may read the program, because the digest reveals
    /// something about its contents.
    pub(super) fn digest_of(&self, request: &StoredRequest) -> Result<Option<String>, Refused> {
        let (terms, caller) = (&request.terms, self.caller);
        let Some(command) = &terms.command else { return Ok(None) };
        let program = Path::new(command.path.as_os_str());
        let told = !caller.person().shares(terms.uid, &terms.user)
            || self.is_reader()?
            || program == Path::new(EDIT)
            || can_read(caller.uid(), caller.gid(), caller.group_ids(), program).unwrap_or(false);
        Ok(told.then(|| command.program.clone()))
    }

    /// Returns the state of a grant by the same clocks as the gate uses.
    fn grant_state(&self, grant: &StoredGrant) -> Result<String, Refused> {
        if let Some((end, _)) = &grant.end {
            return Ok(end.as_str().to_owned());
        }
        let terms = &grant.terms;
        let said = stands_in_records(self.host.database().connection(), terms)?;
        if let InRecords::Ended(end) = said {
            return Ok(end.as_str().to_owned());
        }
        let state = match window(&grant.terms, self.now) {
            Ok(()) => "active",
            Err(GrantFault::NotYet) => "scheduled",
            Err(_) => "expired",
        };
        Ok(state.to_owned())
    }
}

fn approval(approval: jit_core::grant::Approval) -> ApprovalInfo {
    let key = approval.fingerprint();
    let terms = approval.terms;
    ApprovalInfo {
        approver: terms.approver,
        at: terms.at,
        duration: terms.duration.positive(),
        one_shot: terms.one_shot.is_set(),
        exact: terms.exact.is_set(),
        comment: (!terms.comment.as_bytes().is_empty()).then_some(terms.comment),
        key,
        counts: true,
    }
}

fn ended(ended: ClosedBy, key: Option<String>) -> EndedInfo {
    let reason = Word(std::os::unix::ffi::OsStringExt::from_vec(ended.reason));
    EndedInfo { by: ended.by, at: ended.at, reason, key }
}
