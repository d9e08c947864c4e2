//! Runs under grants: each is compared with the grant that it names.

use super::acts::inconsistency;
use super::names::{Id, Terms};
use super::runs::Command;
use super::said::Recorded;
use super::state::Act;
use super::used::Used;
use super::{Copies, FirstBad, Power, Table};
use crate::clock::Timestamp;

impl Power {
    /// Processes record `seq`, the start of a run under a grant.
    pub(super) fn used(&mut self, seq: u64, copies: &Copies<'_>, id: Id, start: &Command<'_>) -> Result<(), FirstBad> {
        let who = (
            copies.uid.unwrap_or(-1),
            self.names.of(start.user.as_bytes()),
            self.names.of(start.role.unwrap_or_default().as_bytes()),
        );
        let boot = (self.names.of(start.boot_id.as_bytes()), start.boot);
        let (identity, accepted) = (self.kept.identity, self.kept.accepted);
        let now = Timestamp(self.last).seconds();
        let (said, follows) = self.act(seq, id, Act::Use);
        let before = said.starts > 0;
        let wrong = said.grant.and_then(|issued| Some((issued.seq, differs(&issued.terms, who, now, before)?)));
        let fits = wrong.map_or(Ok(()), |(issued, what)| {
            Err(inconsistency(seq, format!("is the start of a run under grant {id} of record {issued}: {what}")))
        });
        let outlived = accepted.filter(|accepted| said.grant.is_none_or(|issued| issued.seq < *accepted));
        let living = outlived.map_or(Ok(()), |accepted| {
            let what = "by which root accepted the state of the host, and all grants ended";
            Err(inconsistency(
                seq,
                format!("is the start of a run under grant {id}, which is older than record {accepted}, {what}"),
            ))
        });
        if said.starts == 0 {
            said.first = Timestamp(copies.at).seconds();
        }
        said.starts = said.starts.saturating_add(1);
        let used = said.used.get_or_insert_with(|| Box::new(Used::first(seq, who, now, start)));
        used.take(seq, who, now, start);
        used.circumstances(seq, boot, identity, start.grant_sha256.map(|digest| digest.0));
        follows.and(fits).and(living)
    }

    /// Processes record `seq`, the end of a run that started under `base` and continued under `last`.
    pub(super) fn gone_on(&mut self, seq: u64, base: Id, last: Id) -> Result<(), FirstBad> {
        let (said, follows) = self.act(seq, last, Act::GoneOn);
        let before = said.went_on;
        match before {
            None => said.went_on = Some(seq),
            Some(_) => said.again = said.again.or(Some(seq)),
        }
        let one_shot = said.grant.is_some_and(|issued| issued.terms.one_shot);
        let alone = before.filter(|_| one_shot).map_or(Ok(()), |before| {
            let what = format!("ends a run that continued under {last}, as that of record {before}: it is for one run");
            Err(inconsistency(seq, what))
        });
        let leads = match self.leads(base, last) {
            Some(true) => Ok(()),
            Some(false) => {
                let what = format!("ends a run under {base} that continued under {last}, which does not extend that");
                Err(inconsistency(seq, what))
            }
            None if self.pruned.is_some() => {
                self.unproven.insert((base, last), seq);
                Ok(())
            }
            None => Err(inconsistency(seq, format!("names grant {base}, which no earlier record mentions"))),
        };
        follows.and(alone).and(leads)
    }

    /// Returns whether `last` extends `base`, perhaps through other grants, for the same user in the same role; `None`
    /// when that is unknown.
    fn leads(&self, base: Id, last: Id) -> Option<bool> {
        let terms = |id: &Id| self.said.get(id).and_then(Recorded::terms);
        let first = terms(&base)?;
        let mut at = last;
        // No grant extends itself: each is younger than the one that it extends.
        for _ in 0..self.said.len() {
            let here = terms(&at)?;
            if here.holder() != first.holder() {
                return Some(false);
            }
            match here.extends {
                None => return Some(false),
                Some(next) if next == base => return Some(true),
                Some(next) => at = next,
            }
        }
        Some(false)
    }

    /// Checks the extensions that were unknown when their runs ended, now that all rows are known.
    pub(super) fn end_of_extended(&mut self) {
        for ((base, last), seq) in std::mem::take(&mut self.unproven) {
            if self.leads(base, last) != Some(true) {
                let what = format!(
                    "record {seq} ends a run under {base} that continued under it, and it does not extend that"
                );
                self.differs(Table::Granted, &last.to_string(), what);
            }
        }
    }
}

/// Returns how a run by `who` at `now` (seconds since 1970) differs from the terms of its grant.
fn differs(terms: &Terms, who: (i64, u32, u32), now: i64, before: bool) -> Option<String> {
    let time = |seconds| Timestamp::from_seconds(seconds).to_the_second();
    if (terms.uid, terms.user) != (who.0, who.1) {
        Some("it was given to another user".to_owned())
    } else if terms.role != who.2 {
        Some("it was given for another role".to_owned())
    } else if now < terms.starts {
        Some(format!("it starts at {}", time(terms.starts)))
    } else if now >= terms.expires {
        Some(format!("it ended at {}", time(terms.expires)))
    } else if terms.one_shot && terms.extends.is_some() {
        Some("it continues one run and permits no new one".to_owned())
    } else if terms.one_shot && before {
        Some("it is for one run, and it was used before".to_owned())
    } else {
        None
    }
}
