//! Whoever began a run may lose its role while it lasts: they leave a group, an assignment is taken away, the role is removed.
//! Whoever ends the run has another process look, because nobody tells of a group, and a directory of accounts in the network may take
//! as long as it likes; `on_removal` says what comes of it.

use crate::elevation::THIS_HOST;
use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::grant_watch::{GrantWatch, Watched};
use crate::audit::Journal;
use crate::audit::{RunKey, Wish};
use crate::elevation::{Caller, CallerError};
use crate::host::{Host, HostError};
use crate::judge::subject;
use crate::policy_index::PolicyIndex;
use crate::programs::start_enforcer;
use crate::session::{Verdict, Watch, refuge};
use jit_core::escape::Word;
use jit_core::evidence::record::{Act, Intervention};
use jit_core::names::{GrantId, RoleName};
use jit_core::policy::{Assignment, OnRemoval};
use sys::bell::{Bell, Ring};
use sys::process::{Pid, Waiting, end_within, wait};

/// Between two looks at the groups, unless the policy changes sooner.
const EVERY: Duration = Duration::from_secs(60);

/// The same where there could be none.
const AGAIN: Duration = Duration::from_secs(5);

/// The longest look.
const PATIENCE: Duration = Duration::from_secs(50);

/// The words of a session that ends so.
const BY: &str = "the policy";

/// What the order to look begins with.
const LOOK: &[u8] = b"look ";

/// A run, and the role by which somebody began it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Holding {
    run: String,
    uid: u32,
    user: Word,
    role: RoleName,
    /// That it began under; none where the power is standing.
    grant: Option<GrantId>,
}

/// Starts a look by this order, and does not wait for it.
pub(crate) trait Looks {
    /// # Errors
    /// Where it cannot be started, or the one before still looks.
    fn start(&self, order: &[u8]) -> io::Result<()>;
}

/// Looks one after the other, by children of this process.
#[derive(Default)]
pub(crate) struct Looking(Cell<Option<Pid>>);

impl Looks for Looking {
    fn start(&self, order: &[u8]) -> io::Result<()> {
        if let Some(last) = self.0.get()
            && matches!(wait(last, Waiting::EndNow), Ok(None))
        {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.set(Some(start_enforcer(order, refuge().as_ref())?));
        Ok(())
    }
}

impl Holding {
    /// The one that an order names.
    pub(super) fn in_order(words: &[u8]) -> Option<Self> {
        serde_json::from_slice(words.strip_prefix(LOOK)?).ok()
    }

    fn order(&self) -> Vec<u8> {
        serde_json::to_vec(self).map(|words| [LOOK, &words].concat()).unwrap_or_default()
    }

    /// Looks, and has the run ended if it must. What cannot be asked takes nothing away: a directory service that is down is nobody's
    /// removal.
    ///
    /// # Errors
    /// Where it cannot be asked, or recorded.
    pub(super) fn look(&self, host: &Host) -> Result<(), HostError> {
        end_within(PATIENCE).map_err(|error| HostError::System("set a timer", error))?;
        let Some(why) = self.removal(host)? else { return Ok(()) };
        let policy = host.last_policy()?;
        let journal = host.journal(&policy.settings().audit);
        let is_ended = journal.wish_for(&self.run)?.is_some_and(|wish| wish.act == Act::Kill);
        if is_ended { Ok(()) } else { self.end(&why, host, &journal) }
    }

    /// Why the run must end, if it must.
    fn removal(&self, host: &Host) -> Result<Option<String>, HostError> {
        let memory = Connection::open_in_memory()?;
        // Whoever begins something compiles it, and stands in the record.
        let policy = host.policy_aside(&memory)?;
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
        let has = is_same && role.holds_on(host.name(), &THIS_HOST) && role.assigns(&subject, assignment);
        Ok((!has).then(|| format!("{user} is no longer {word} for role {}", role.name)))
    }

    /// As if somebody had said `jitctl session kill`.
    fn end(&self, why: &str, host: &Host, journal: &Journal<'_>) -> Result<(), HostError> {
        // Whoever watches a run that nobody knows ends it by itself.
        let Some(start) = journal.start_of(&self.run)? else { return Ok(()) };
        let moment = host.clocks()?;
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
        let written = journal.intervene(&moment, RunKey { start, run: &self.run }, &wish, intervention)?;
        let _ = journal.mirror(written.as_slice()); // the journal has it; a sink never decides
        host.ring();
        Ok(())
    }
}

/// A watch over the grant, and over whether the person may have the role at all.
pub(crate) struct RemovalWatch<'a> {
    watch: GrantWatch<'a>,
    order: Vec<u8>,
    looks: &'a dyn Looks,
    host: &'a Host,
    bell: Option<Bell>,
    heard: Option<Ring>,
    policy: [u8; 32],
    next: Instant,
}

impl<'a> RemovalWatch<'a> {
    /// Over whatever `watched` names, which began a moment ago.
    pub(crate) fn over(watched: Watched, host: &'a Host, journal: &'a Journal<'a>, looks: &'a dyn Looks) -> Self {
        let bell = host.bell().ok();
        let heard = bell.as_ref().and_then(|bell| bell.now().ok());
        let holding = Holding {
            run: watched.run.clone(),
            uid: watched.uid,
            user: watched.user.clone(),
            role: watched.role.name.clone(),
            grant: watched.grants.first().map(|terms| terms.id.clone()),
        };
        Self {
            order: holding.order(),
            looks,
            watch: GrantWatch::over(watched, host, journal),
            host,
            bell,
            heard,
            policy: compiled(host).unwrap_or_default(),
            next: Instant::now() + EVERY,
        }
    }

    /// The watch over the grant alone.
    pub(crate) fn grant(&mut self) -> &mut GrantWatch<'a> {
        &mut self.watch
    }

    /// Once a minute, and at once where the policy is another than before.
    fn look_where_due(&mut self) {
        let now = self.bell.as_ref().and_then(|bell| bell.now().ok());
        let is_rung = std::mem::replace(&mut self.heard, now) != now;
        let policy = is_rung.then(|| compiled(self.host)).flatten().filter(|policy| *policy != self.policy);
        if Instant::now() >= self.next || policy.is_some() {
            // Where it cannot be started it is tried again.
            let wait = if self.looks.start(&self.order).is_ok() { EVERY } else { AGAIN };
            self.next = Instant::now() + wait;
            self.policy = policy.unwrap_or(self.policy);
        }
    }
}

/// The digest of the policy that is in force.
fn compiled(host: &Host) -> Option<[u8; 32]> {
    PolicyIndex::open(host.database().connection()).ok().map(|policy| policy.digest())
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
        if matches!(verdict, Verdict::Run | Verdict::Freeze(_)) {
            self.look_where_due();
        }
        verdict
    }

    fn patience(&self) -> Option<Duration> {
        let left = self.next.saturating_duration_since(Instant::now());
        Some(self.watch.patience().map_or(left, |patience| patience.min(left)))
    }
}
