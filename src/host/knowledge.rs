//! The facts with which this host verifies grants of one person: gathered once, for any number of grants.

use super::{Host, HostError, Identity};
use crate::audit::{InRecords, stands_in_records};
use crate::verify::Facts;
use jit_core::clock::Now;
use jit_core::grant::{GrantTerms, HostPublicKey, Vouchers};
use jit_core::names::Person;
use jit_core::policy::{Role, RolePower};

/// Returns the power of the role with a digest, as it was approved.
type Approved<'h> = dyn Fn(&str) -> Option<RolePower> + 'h;

/// Whether the journal says that a grant has ended.
type Ended<'h> = dyn Fn(&GrantTerms) -> bool + 'h;

/// The identity of the host, the data behind signed approvals, and the roles as they were approved.
pub struct Knowledge<'h> {
    identity: Identity<HostPublicKey>,
    vouchers: Option<Vouchers>,
    approved: Box<Approved<'h>>,
    ended: Box<Ended<'h>>,
}

impl Host {
    /// Gathers the facts for grants of `holder` that activate one of `roles`.
    ///
    /// # Errors
    /// Those of [`Self::record_public_identity`] and [`Self::vouchers`].
    pub fn knowledge(&self, roles: &[Role], holder: &Person, now: &Now) -> Result<Knowledge<'_>, HostError> {
        let identity = self.record_public_identity()?;
        let vouchers = self.vouchers(roles, holder, now.seconds())?;
        let ended = |terms: &GrantTerms| {
            let said = stands_in_records(self.database().connection(), terms);
            !matches!(said, Ok(InRecords::Open))
        };
        let approved = Box::new(|digest: &str| self.store().role(digest));
        Ok(Knowledge { identity, vouchers, approved, ended: Box::new(ended) })
    }
}

impl Knowledge<'_> {
    /// Returns the facts for one moment.
    pub fn facts<'a>(&'a self, now: &'a Now) -> Facts<'a> {
        let Identity { key, id, .. } = &self.identity;
        Facts { key, host: id, now, vouchers: self.vouchers.as_ref(), approved: &*self.approved, ended: &*self.ended }
    }
}
