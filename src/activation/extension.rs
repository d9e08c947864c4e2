//! Extends a grant: by a new request with everything of the old grant but its end.

use super::{Activation, ActivationError, justification, submit, within_maximum};
use crate::host::{Host, HostError, Identity};
use crate::policy_index::PolicyIndex;
use jit_core::clock::Now;
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::grant::terms::{Extensions, Flag, VERSION};
use jit_core::grant::{GrantTerms, RequestTerms};
use jit_core::names::GrantId;
use jit_core::policy::Role;

/// What the holder asks for. Everything else is as in the old grant.
pub struct Longer<'a> {
    /// The grant that is extended.
    pub old: &'a GrantTerms,
    /// The ticket of its request, which also applies to the extension.
    pub ticket: &'a Word,
    /// Its role, for which the holder is still eligible.
    pub role: &'a Role,
    /// In seconds, from the end of the old grant; the role's maximum when absent.
    pub duration: Option<Seconds>,
    /// The reason.
    pub reason: Option<&'a Word>,
}

/// Records the request, and grants it at once where the role needs no approver. The extension begins at the end of the old grant,
/// or at the approval if that comes later.
pub fn extend(
    host: &Host,
    policy: &PolicyIndex<'_>,
    wanted: &Longer<'_>,
    now: &Now,
) -> Result<Activation, ActivationError> {
    let identity = host.record_identity()?;
    let random = sys::random::random().map_err(|error| HostError::System("make an id", error))?;
    let terms = terms(wanted, GrantId::from_random(random), &identity, now)?;
    submit(host, policy, wanted.role, &terms, &identity, now, || true)
}

fn terms(wanted: &Longer<'_>, id: GrantId, identity: &Identity, now: &Now) -> Result<RequestTerms, ActivationError> {
    let Longer { old, ticket, role, .. } = wanted;
    let created = now.seconds();
    let (reason, ticket) = justification(role, wanted.reason, Some(ticket))?;
    let lifetime = role.activation.request_lifetime.signed();
    Ok(RequestTerms {
        break_glass: Flag::No,
        command: old.command.clone(),
        created,
        critical: Vec::new(),
        deadline: created.saturating_add(lifetime),
        duration: within_maximum(role, wanted.duration)?,
        exact: old.exact,
        extends: Some(old.id.clone()),
        extensions: Extensions::new(),
        host: identity.host.clone(),
        id,
        one_shot: old.one_shot.or(Flag::from(role.activation.one_shot)),
        reason,
        role: role.name.clone(),
        role_digest: old.role_digest.clone(),
        run_as: old.run_as.clone(),
        start: if old.expires > created { old.expires } else { 0 },
        ticket,
        uid: old.uid,
        user: old.user.clone(),
        version: VERSION,
    })
}
