//! The journal as its readers see it: everything for root and readers, their own for everybody else.

use super::Desk;
use super::failure::{Refused, refused};
use super::wire::{Answer, RecordInfo, RecordPage, VerifyInfo};
use crate::audit::{Filter, Order, Page, Record, Stored};
use crate::escape::{escape, hex};
use crate::names::{GrantId, UserName};

/// The most records in one answer.
const PAGE: u32 = 1000;

/// What a listing asks for.
pub(super) struct Listing {
    pub(super) after: u64,
    pub(super) limit: u32,
    pub(super) newest: bool,
    pub(super) kind: Option<String>,
    pub(super) user: Option<UserName>,
}

impl Desk<'_> {
    pub(super) fn audit_list(&self, listing: &Listing) -> Result<Answer, Refused> {
        let uid = match (&listing.user, self.is_reader()?) {
            (Some(user), true) => Some(uid_of(user)?),
            (None, true) => None,
            (Some(user), false) if user != self.caller.name() => {
                return Err(refused("not-a-reader", "only root and the readers of the policy may see others"));
            }
            (_, false) => Some(self.caller.uid()),
        };
        let order = if listing.newest { Order::Newest } else { Order::Oldest };
        let filter = Filter { kind: listing.kind.as_deref(), uid };
        let page = self.journal.list(listing.after, listing.limit.min(PAGE), order, filter)?;
        Ok(Answer::Records(shown(page)))
    }

    pub(super) fn audit_show(&self, what: &str) -> Result<Answer, Refused> {
        let mut page = match what.parse::<u64>() {
            // Ten digits may be a number or the id of a grant; no journal has so many records.
            Ok(seq) if what.len() < crate::names::ID_LENGTH => {
                Page { records: self.journal.by_seq(seq)?.into_iter().collect(), more: false }
            }
            _ => match GrantId::parse(what) {
                Ok(id) => self.journal.by_grant(&id)?,
                Err(_) => self.journal.by_run(what)?,
            },
        };
        if !self.is_reader()? {
            page.records.retain(|stored| is_about(stored, self.caller.uid()));
        }
        if page.records.is_empty() {
            let shown = escape(what.as_bytes());
            return Err(refused("unknown-record", format!("there is no record, run or grant {shown}"))
                .hint("jitctl audit list"));
        }
        Ok(Answer::Records(shown(page)))
    }

    pub(super) fn audit_verify(&self) -> Result<Answer, Refused> {
        Ok(Answer::Verified(match self.journal.verify_all()? {
            Ok(verified) => {
                VerifyInfo { intact: true, records: verified.records, head: hex(&verified.head.0), first_bad: None }
            }
            Err(bad) => VerifyInfo {
                intact: false,
                records: bad.seq.saturating_sub(1),
                head: String::new(),
                first_bad: Some(bad.to_string()),
            },
        }))
    }
}

fn uid_of(user: &UserName) -> Result<u32, Refused> {
    let account = sys::users::account_by_name(user.as_str())
        .map_err(|error| refused("lookup", format!("unable to look up {user}: {error}")))?;
    account.map(|account| account.uid).ok_or_else(|| refused("unknown-user", format!("unknown user {user}")))
}

fn is_about(stored: &Stored, uid: u32) -> bool {
    Record::decode(&stored.body).is_ok_and(|record| record.event.keys().uid == Some(uid))
}

fn shown(page: Page) -> RecordPage {
    let records = page
        .records
        .into_iter()
        .map(|stored| RecordInfo { seq: stored.seq, hash: hex(&stored.hash.0), body: stored.body })
        .collect();
    RecordPage { records, more: page.more }
}
