//! -v, -k and -K: the credential cache by itself, without a command.

use crate::auth::cache::{CacheKey, CacheScope, CredentialCache};
use crate::console::Console;
use crate::elevation::{Caller, CallerError};
use crate::host::Host;
use crate::refusal::Refusal;
use crate::run::authorize::{AuthRequest, SERVICE, prove};
use crate::run::inquiry::Inquiry;
use crate::run::{RunContext, slot_of};
use crate::session::ExitStatus;
use jit_core::cli::Validate;
use jit_core::policy::Assignment;
use sys::sanitize::Inherited;

/// What is removed from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// -k
    ThisSession,
    /// -K
    Everything,
}

/// -v: authenticates and caches it, as the commands that the caller may run now would. No password is required where none of them
/// requires one (`verifypw = all`, sudo's default).
pub fn validate(wanted: &Validate, inherited: &Inherited, console: &mut Console) -> Result<ExitStatus, Refusal> {
    let caller = Caller::identify(&inherited.identity)?;
    let _slot = slot_of(&caller)?;
    let host = Host::open(caller.host())?;
    let policy = host.policy(Some(&caller))?;
    let journal = host.journal(&policy.settings().audit);
    let context = RunContext { host: &host, policy: &policy, journal: &journal, inherited };
    let again: &dyn Fn() -> Result<Caller, CallerError> = &|| Caller::identify(&inherited.identity);
    let inquiry = Inquiry { host: &host, policy: &policy, now: host.now()?, asker: &caller, person: &caller, again };
    let serving = inquiry.serving()?;
    let roles = if serving.is_empty() { inquiry.assigned(Assignment::Eligible)? } else { serving };
    if caller.uid() != 0 && roles.is_empty() {
        return Err(Refusal::NoRole(caller.name().to_string(), caller.host().to_owned()));
    }
    let asking = roles.iter().find(|role| role.authenticate);
    let model = asking.or(roles.first());
    let service = model.and_then(|role| role.pam_service.as_deref()).unwrap_or(SERVICE);
    let auth_request = AuthRequest {
        service,
        remembered_as: service,
        password_due: caller.uid() != 0 && asking.is_some(),
        // rootpw and targetpw apply to commands only (sudoers(5)).
        password_of: caller.name().as_str(),
        target: "root",
        options: model.map_or(&policy.settings().options, |role| &role.options),
    };
    let _proof = prove(&auth_request, &caller, &wanted.asking, &context, console)?;
    Ok(ExitStatus::Code(0))
}

/// -k and -K: needs neither a password nor a policy.
pub fn forget(extent: Extent, inherited: &Inherited) -> Result<ExitStatus, Refusal> {
    let caller = Caller::identify(&inherited.identity)?;
    let _slot = slot_of(&caller)?;
    let host = Host::open(caller.host())?;
    let cache = CredentialCache::new(host.database().connection(), std::time::Duration::ZERO);
    match extent {
        Extent::Everything => cache.forget_all(caller.person())?,
        Extent::ThisSession => {
            // Without a key nothing can be cached here.
            let keys = [CacheScope::Terminal, CacheScope::Parent, CacheScope::Caller]
                .map(|cache_scope| CacheKey::of(&caller, SERVICE, cache_scope));
            keys.iter().flatten().try_for_each(|key| cache.forget(key))?;
        }
    }
    Ok(ExitStatus::Code(0))
}
