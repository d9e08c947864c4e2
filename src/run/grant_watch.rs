//! The eye on the grant of a running command: its end on every clock, and its early end in the database. The database is
//! asked only when the bell was rung.

use std::time::Duration;

use crate::audit::Journal;
use crate::audit::journal::Written;
use crate::audit::recorded::Recorded;
use crate::authorized::Power;
use crate::clock::Clock;
use crate::grant::GrantTerms;
use crate::grant::lifecycle::GrantEnd;
use crate::host::{Host, SystemClock};
use crate::session::{Ending, Watch};
use sys::bell::{Bell, Ring};

/// How often the bell is looked at: a revocation is seen within this time.
const GLANCE: Duration = Duration::from_millis(250);

/// Watches one grant, or nothing for a standing assignment.
pub(super) struct GrantWatch<'a> {
    terms: Option<GrantTerms>,
    host: &'a Host,
    bell: Option<(Bell, Ring)>,
    journal: &'a Journal<'a>,
    unsent: Option<Written>,
}

impl<'a> GrantWatch<'a> {
    pub(super) fn on(recorded: &mut Recorded, host: &'a Host, journal: &'a Journal<'a>) -> Self {
        let terms = match recorded.authorized().power() {
            Power::Grant(terms) => Some((**terms).clone()),
            Power::Standing => None,
        };
        // Without a bell the database is asked at every glance: slower, never blind.
        let bell = host.bell().ok().and_then(|bell| {
            let stamp = bell.now().ok()?;
            Some((bell, stamp))
        });
        Self { terms, host, bell, journal, unsent: recorded.unsent() }
    }

    /// Mirrors the start, unless that was done before. The journal has it, and a sink never decides here.
    pub(super) fn mirror_start(&mut self) {
        if let Some(written) = self.unsent.take() {
            let _ = self.journal.mirror(&[written]);
        }
    }

    fn was_rung(&mut self) -> bool {
        let Some((bell, heard)) = &mut self.bell else { return true };
        match bell.now() {
            Ok(now) if now == *heard => false,
            Ok(now) => {
                *heard = now;
                true
            }
            Err(_) => true,
        }
    }
}

impl Watch for GrantWatch<'_> {
    fn begun(&mut self) {
        self.mirror_start();
        self.host.database().tidy();
        crate::auth::prepare_end();
    }

    fn verdict(&mut self) -> Option<Ending> {
        let rung = self.terms.is_some() && self.was_rung();
        let terms = self.terms.as_ref()?;
        // A clock that cannot be read any more can end nothing later: it ends now.
        let Ok(moment) = SystemClock.now() else { return Some(Ending::Expiry) };
        let over = moment.wall.seconds() >= terms.expires
            || (moment.boot_id == terms.boot_id && moment.boot.0 >= terms.boot_deadline);
        if over {
            return Some(Ending::Expiry);
        }
        if !rung {
            return None;
        }
        match self.host.store().end_of(&terms.id) {
            Ok(Some(GrantEnd::Revoked)) => Some(Ending::Revocation),
            Ok(Some(GrantEnd::Released)) => Some(Ending::Release),
            // A one-shot grant was used by this very run.
            Ok(Some(GrantEnd::Used) | None) => None,
            Err(_) => {
                self.bell = None; // busy or failing: ask again at the next glance
                None
            }
        }
    }

    fn patience(&self) -> Option<Duration> {
        let terms = self.terms.as_ref()?;
        let Ok(moment) = SystemClock.now() else { return Some(GLANCE) };
        let left = terms.expires.saturating_mul(1_000_000).saturating_sub(moment.wall.0);
        Some(GLANCE.min(Duration::from_micros(u64::try_from(left).unwrap_or(0))))
    }
}
