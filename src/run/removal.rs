//! Whoever began a run may lose its role while it lasts: they leave a group, an assignment is taken away, the role is removed.
//! The enforcer looks, because nobody tells of a group; `on_removal` says what comes of it.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::grant_watch::{GrantWatch, Watched};
use crate::audit::Journal;
use crate::audit::record::{Act, Intervention};
use crate::audit::{Which, Wish};
use crate::elevation::{Caller, CallerError};
use crate::escape::Word;
use crate::host::{Host, HostError};
use crate::names::{GrantId, RoleName};
use crate::policy::judge::subject;
use crate::policy::{Assignment, OnRemoval, PolicyIndex};
use crate::session::{Verdict, Watch};
use sys::bell::{Bell, Ring};

/// Between two looks at the groups, unless the policy changes sooner.
const EVERY: Duration = Duration::from_secs(60);

/// The words of a session that ends so.
const BY: &str = "the policy";

/// A watch over the grant, and over whether the person may have the role at all.
pub(crate) struct RemovalWatch<'a> {
    watch: GrantWatch<'a>,
    run: String,
    uid: u32,
    user: Word,
    role: RoleName,
    /// That it began under; none where the power is standing.
    grant: Option<GrantId>,
    host: &'a Host,
    journal: &'a Journal<'a>,
    bell: Option<Bell>,
    heard: Option<Ring>,
    policy: [u8; 32],
    next: Instant,
}

impl<'a> RemovalWatch<'a> {
    /// Over whatever `watched` names, which began a moment ago.
    pub(crate) fn over(watched: Watched, host: &'a Host, journal: &'a Journal<'a>) -> Self {
        let bell = host.bell().ok();
        let heard = bell.as_ref().and_then(|bell| bell.now().ok());
        Self {
            run: watched.run.clone(),
            uid: watched.uid,
            user: watched.user.clone(),
            role: watched.role.name.clone(),
            grant: watched.grants.first().map(|terms| terms.id.clone()),
            watch: GrantWatch::over(watched, host, journal),
            host,
            journal,
            bell,
            heard,
            policy: PolicyIndex::open(host.database().connection()).map(|policy| policy.digest()).unwrap_or_default(),
            next: Instant::now() + EVERY,
        }
    }

    /// The watch over the grant alone.
    pub(crate) fn grant(&mut self) -> &mut GrantWatch<'a> {
        &mut self.watch
    }

    /// Once a minute, and at once where the policy is another than before.
    fn is_due(&mut self) -> bool {
        let now = self.bell.as_ref().and_then(|bell| bell.now().ok());
        let is_rung = std::mem::replace(&mut self.heard, now) != now;
        let changed =
            || PolicyIndex::open(self.host.database().connection()).is_ok_and(|now| now.digest() != self.policy);
        Instant::now() >= self.next || (is_rung && changed())
    }

    /// What cannot be asked takes nothing away: a directory service that is down is nobody's removal.
    fn look(&mut self) {
        self.next = Instant::now() + EVERY;
        if let Ok(Some(why)) = self.removal() {
            let _ = self.end(&why); // asked again in a minute
            self.watch.look_again();
        }
    }

    /// Why the run must end, if it must.
    fn removal(&mut self) -> Result<Option<String>, HostError> {
        let memory = Connection::open_in_memory()?;
        // Whoever begins something compiles it, and stands in the record.
        let policy = self.host.policy_aside(&memory)?;
        self.policy = policy.digest();
        let (role, user) = (&self.role, &self.user);
        let Some(role) = policy.role(role)? else { return Ok(Some(format!("there is no role {role} any more"))) };
        if role.on_removal == OnRemoval::Finish {
            return Ok(None);
        }
        let (assignment, word) = match self.grant {
            Some(_) => (Assignment::Eligible, "eligible"),
            None => (Assignment::Standing, "standing"),
        };
        let unknown = |error| HostError::System("look up an account", error);
        let Some(account) = sys::users::account_by_uid(self.uid).map_err(unknown)? else {
            return Ok(Some(format!("there is no account of {user} any more")));
        };
        let caller = match Caller::described(account) {
            Ok(caller) => caller,
            Err(CallerError::Lookup(_, error)) => return Err(unknown(error)),
            Err(_) => return Ok(Some(format!("the account of {user} is another's now"))),
        };
        let is_same = caller.name().as_str().as_bytes() == user.as_bytes();
        let Ok(subject) = subject(&caller) else { return Ok(None) };
        let has = is_same && role.holds_on(self.host.name()) && role.assigns(&subject, assignment);
        Ok((!has).then(|| format!("{user} is no longer {word} for role {}", role.name)))
    }

    /// As if somebody had said `jitctl session kill`.
    fn end(&mut self, why: &str) -> Result<(), HostError> {
        let Some(start) = self.journal.start_of(&self.run)? else {
            self.watch.forsake();
            return Ok(());
        };
        let moment = self.host.clocks()?;
        let intervention = Intervention {
            uid: 0,
            user: Word::from("root"),
            act: Act::Kill,
            run: self.run.clone(),
            holder: self.user.clone(),
            holder_uid: self.uid,
            role: Some(self.role.clone()),
            grant: self.grant.clone(),
            reason: Word::from(why),
        };
        let wish = Wish { act: Act::Kill, by: BY.to_owned() };
        let written = self.journal.intervene(&moment, Which { start, run: &self.run }, &wish, intervention)?;
        let _ = self.journal.mirror(written.as_slice()); // the journal has it; a sink never decides
        self.host.ring();
        Ok(())
    }
}

impl Watch for RemovalWatch<'_> {
    fn begun(&mut self) {
        self.watch.begun();
    }

    fn unrecorded(&mut self, why: &str) {
        self.watch.unrecorded(why);
    }

    fn cannot_freeze(&mut self) {
        self.watch.cannot_freeze();
    }

    fn look_again(&mut self) {
        self.watch.look_again();
    }

    fn verdict(&mut self) -> Verdict {
        let verdict = self.watch.verdict();
        if matches!(verdict, Verdict::Run | Verdict::Freeze(_)) && self.is_due() {
            self.look();
            return self.watch.verdict();
        }
        verdict
    }

    fn patience(&self) -> Option<Duration> {
        let left = self.next.saturating_duration_since(Instant::now());
        Some(self.watch.patience().map_or(left, |patience| patience.min(left)))
    }
}
