//! The leaf that says whether a stored grant lets the runs of another go on: signed by this host for just that, and in
//! nothing wider than what it extends.

use super::sshsig::Namespace;
use super::terms::{GrantTerms, decode};
use super::{HostPublicKey, SignedGrant};

/// The terms of `signed` when it extends `old`; that `old` is good on this host was verified before.
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
