//! Checks whether a stored grant extends the runs of another one: this host must have signed it for that purpose, and
//! it may be wider in nothing.

use super::sshsig::Namespace;
use super::terms::{GrantTerms, decode};
use super::{HostPublicKey, SignedGrant};

/// Returns the terms of `signed` if it extends `old`, which was verified before.
pub fn extends(signed: &SignedGrant, old: &GrantTerms, key: &HostPublicKey) -> Option<GrantTerms> {
    let terms: GrantTerms = decode(&signed.bytes).ok()?;
    key.verify(Namespace::Grant, &signed.bytes, &signed.signature).ok()?;
    let same = terms.extends.as_ref() == Some(&old.id)
        && (&terms.host, terms.uid, &terms.user) == (&old.host, old.uid, &old.user)
        && (&terms.role, &terms.run_as) == (&old.role, &old.run_as)
        && terms.role_digest == old.role_digest
        && terms.command == old.command;
    let not_wider = (terms.exact.is_set() || !old.exact.is_set())
        && (terms.one_shot.is_set() || !old.one_shot.is_set())
        && terms.expires > old.expires;
    (same && not_wider).then_some(terms)
}
