//! Which extension of its grant a run continues under.

use rusqlite::Transaction;

use super::GrantWatch;
use crate::audit::{InRecords, JournalError};
use crate::database::Durability;
use crate::store::use_up;
use jit_core::clock::Moment;
use jit_core::grant::GrantTerms;
use jit_core::grant::extension::extends;

/// Who holds an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// This run continues under it.
    Ours,
    /// Another run took it, or it was ended.
    Others,
    /// No run has taken it yet, or the database cannot say now: ask again.
    Unknown,
}

impl GrantWatch<'_> {
    pub(super) fn extension(&mut self, moment: &Moment) -> Option<GrantTerms> {
        let last = self.held.last()?;
        let Ok(candidates) = self.host.store().extensions(&last.id, self.run()) else {
            self.heard = None;
            return None;
        };
        if candidates.is_empty() {
            return None;
        }
        let key = self.host.record_public_identity().ok()?.key;
        for terms in candidates.iter().filter_map(|signed| extends(signed, last, &key)) {
            if terms.left(moment).is_zero() || self.is_over(&terms) || !self.is_vouched_for(&terms, moment) {
                continue;
            }
            match self.claims(&terms, moment) {
                Claim::Ours => return Some(terms),
                Claim::Others => {}
                Claim::Unknown => self.heard = None,
            }
        }
        None
    }

    /// Whether an extension has ended by its records, and this run did not use it up before.
    fn is_over(&self, extension: &GrantTerms) -> bool {
        !matches!(self.in_records(extension), Ok(InRecords::Open))
            && !self.host.store().is_used_by(&extension.id, self.run()).unwrap_or(false)
    }

    /// Where the role takes signed approvals only, whether they are valid now. A wall clock that was set back during the run makes no
    /// key valid again.
    fn is_vouched_for(&self, terms: &GrantTerms, moment: &Moment) -> bool {
        let now = crate::audit::now(self.host.database().connection(), moment.clone());
        let Ok(now) = now.map(|now| now.seconds()) else { return false };
        match self.host.vouchers(std::slice::from_ref(&self.role), &terms.person(), now) {
            // The account database is not asked who is an approver: a directory service that does not answer would delay the end.
            Ok(Some(vouchers)) => vouchers.vouch(terms, &self.role.activation, now, |_| true).is_ok(),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Of several runs only one continues under a one-shot extension: the one that took it, which its row names.
    fn claims(&self, terms: &GrantTerms, moment: &Moment) -> Claim {
        if !terms.one_shot.is_set() {
            return Claim::Ours;
        }
        let (run, at) = (self.run(), moment.wall.seconds());
        match self.host.store().is_used_by(&terms.id, run) {
            Ok(true) => return Claim::Ours,
            // The enforcer takes it, and may not have done so yet.
            Ok(false) if self.handed_over => return Claim::Unknown,
            Ok(false) => {}
            Err(_) => return Claim::Unknown,
        }
        let take = |tx: &Transaction<'_>| use_up(tx, terms, run, at).map_err(JournalError::from);
        match self.host.database().write(Durability::Ordered, take) {
            Ok(true) => Claim::Ours,
            Ok(false) => Claim::Others,
            Err(_) => Claim::Unknown,
        }
    }
}
