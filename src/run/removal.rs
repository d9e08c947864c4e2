//! Checks during a run whether its user still has the role: they may leave a group, an assignment or the role may be removed. The
//! enforcer, or the supervisor of a session, has another process check this, because no event reports a change of groups, and a
//! network directory may answer slowly. `on_removal` decides what happens.

use crate::elevation::THIS_HOST;
use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::grant_watch::GrantWatch;
use super::watched::Watched;
use crate::audit::Journal;
use crate::audit::{Intervened, RunKey, Wish};
use crate::elevation::{Caller, CallerError};
use crate::host::{Host, HostError};
use crate::judge::subject;
use crate::policy_index::PolicyIndex;
use crate::programs::start_enforcer;
use crate::session::{Verdict, Watch, refuge};
use jit_core::escape::Word;
use jit_core::evidence::record::{Act, Intervention};
use jit_core::names::{GrantId, RoleName, RunId};
use jit_core::policy::{Assignment, OnRemoval};
use sys::bell::{Bell, Ring};
use sys::process::{Pid, Waiting, end_within, wait};

/// The interval between two checks, unless the policy changes sooner.
const EVERY: Duration = Duration::from_secs(60);

/// The interval when a check could not be started.
const AGAIN: Duration = Duration::from_secs(5);

/// The longest time that a check may take.
const PATIENCE: Duration = Duration::from_secs(50);

/// How many checks may be late before no other one is started. What they wait for would hold the others too.
const MOST_LATE: usize = 4;

/// Who ended the session, in the message to its user.
const BY: &str = "the policy";

/// The prefix of the order to check.
const LOOK: &[u8] = b"look ";

/// A run, and the role under which its user began it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Holding {
    run: RunId,
    uid: u32,
    user: Word,
    role: RoleName,
    /// The grant under which it began; `None` with a standing assignment.
    grant: Option<GrantId>,
    /// What the role said of a removal then; the present role must say it too.
    on_removal: OnRemoval,
}

/// A check that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// No other one is running.
    Alone,
    /// Each earlier one that is still running has taken too long, and counts as failed.
    AfterLate,
}

/// Starts a check by this order without waiting for it.
pub(crate) trait Looks {
    /// # Errors
    /// Fails when it cannot be started, an earlier one is still in time, or too many are late.
    fn start(&self, order: &[u8]) -> io::Result<Check>;
}

/// Runs checks as children of this process, each when the previous one has ended or is late.
#[derive(Default)]
pub(crate) struct Looking(RefCell<Vec<(Pid, Instant)>>);

impl Looks for Looking {
    fn start(&self, order: &[u8]) -> io::Result<Check> {
        self.start_by(PATIENCE, || start_enforcer(order, refuge().as_ref()))
    }
}

impl Looking {
    fn start_by(&self, patience: Duration, start: impl FnOnce() -> io::Result<Pid>) -> io::Result<Check> {
        let mut running = self.0.borrow_mut();
        running.retain(|(check, _)| matches!(wait(*check, Waiting::EndNow), Ok(None)));
        // The timer of a check does not end one that waits for a directory in the kernel, which a user may hold for ever.
        let is_late = |(_, begun): &(Pid, Instant)| begun.elapsed() >= patience;
        if running.len() > MOST_LATE || !running.iter().all(is_late) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let check = if running.is_empty() { Check::Alone } else { Check::AfterLate };
        running.push((start()?, Instant::now()));
        Ok(check)
    }
}

impl Holding {
    /// Parses an order.
    pub(super) fn in_order(words: &[u8]) -> Option<Self> {
        serde_json::from_slice(words.strip_prefix(LOOK)?).ok()
    }

    fn order(&self) -> Vec<u8> {
        serde_json::to_vec(self).map(|words| [LOOK, &words].concat()).unwrap_or_default()
    }

    /// Checks, and has the run ended if it must. When the check itself fails the run continues: a directory service that is down
    /// removes no one's role.
    ///
    /// # Errors
    /// Fails when a lookup fails, or the end cannot be recorded.
    pub(super) fn look(&self, host: &Host) -> Result<(), HostError> {
        end_within(PATIENCE).map_err(|error| HostError::System("set a timer", error))?;
        let Some(why) = self.removal(host)? else { return Ok(()) };
        let policy = host.last_policy()?;
        let journal = host.journal(&policy.settings().audit);
        let is_ended = journal.wish_for(self.run.as_str())?.is_some_and(|wish| wish.act == Act::Kill);
        if is_ended { Ok(()) } else { self.end(&why, host, &journal) }
    }

    /// Returns why the run must end, if it must.
    fn removal(&self, host: &Host) -> Result<Option<String>, HostError> {
        let memory = Connection::open_in_memory()?;
        // Compiled aside: the policy is compiled and recorded by the next run or request.
        let policy = host.policy_aside(&memory)?;
        let (role, user) = (&self.role, &self.user);
        let Some(role) = policy.role(role)? else { return Ok(Some(format!("there is no role {role} any more"))) };
        if self.on_removal == OnRemoval::Finish && role.on_removal == OnRemoval::Finish {
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
            Err(_) => return Ok(Some(format!("the uid of {user} belongs to another account now"))),
        };
        let is_same = caller.name().as_str().as_bytes() == user.as_bytes();
        let Ok(subject) = subject(&caller) else { return Ok(None) };
        let has = is_same && role.holds_on(host.name(), &THIS_HOST) && role.assigns(&subject, assignment);
        Ok((!has).then(|| format!("{user} is no longer {word} for role {}", role.name)))
    }

    /// Ends the run as `jitctl session kill` does.
    fn end(&self, why: &str, host: &Host, journal: &Journal<'_>) -> Result<(), HostError> {
        // Of a run that the journal does not know, the supervisor notices that itself and ends it.
        let Some(start) = journal.start_of(self.run.as_str())? else { return Ok(()) };
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
        match journal.intervene(&moment, RunKey { start, run: self.run.as_str() }, &wish, intervention)? {
            Intervened::Done(written) => host.announce(journal, &[written]),
            Intervened::Over | Intervened::Overruled(_) => host.announce(journal, &[]),
        }
        Ok(())
    }
}

/// Watches the grant of a run, and whether its user still has the role.
pub(crate) struct RemovalWatch<'a> {
    watch: GrantWatch<'a>,
    order: Vec<u8>,
    looks: &'a dyn Looks,
    host: &'a Host,
    bell: Option<Bell>,
    heard: Option<Ring>,
    policy: [u8; 32],
    next: Instant,
    /// A late check was reported.
    is_told: bool,
}

impl<'a> RemovalWatch<'a> {
    /// Watches `watched`, which began a moment ago.
    pub(crate) fn over(watched: Watched, host: &'a Host, journal: &'a Journal<'a>, looks: &'a dyn Looks) -> Self {
        let bell = host.bell().ok();
        let heard = bell.as_ref().and_then(|bell| bell.now().ok());
        let holding = Holding {
            run: watched.run.clone(),
            uid: watched.uid,
            user: watched.user.clone(),
            role: watched.role.name.clone(),
            grant: watched.grants.first().map(|terms| terms.id.clone()),
            on_removal: watched.role.on_removal,
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
            is_told: false,
        }
    }

    /// Returns the watch over the grant alone.
    pub(crate) fn grant(&mut self) -> &mut GrantWatch<'a> {
        &mut self.watch
    }

    /// Starts a check once a minute, and at once when the policy has changed.
    fn look_where_due(&mut self) {
        let now = self.bell.as_ref().and_then(|bell| bell.now().ok());
        let is_rung = std::mem::replace(&mut self.heard, now) != now;
        let policy = is_rung.then(|| compiled(self.host)).flatten().filter(|policy| *policy != self.policy);
        if Instant::now() >= self.next || policy.is_some() {
            let check = self.looks.start(&self.order);
            // When it cannot be started, it is tried again.
            self.next = Instant::now() + if check.is_ok() { EVERY } else { AGAIN };
            if matches!(check, Ok(Check::AfterLate)) && !std::mem::replace(&mut self.is_told, true) {
                let within = PATIENCE.as_secs();
                let late =
                    format!("the check whether the user still has the role has not ended within {within} seconds");
                self.watch
                    .alert("removal-unchecked", &format!("{late}, so the session continues; another check is started"));
            }
            self.policy = policy.unwrap_or(self.policy);
        }
    }
}

/// Returns the digest of the policy in force.
fn compiled(host: &Host) -> Option<[u8; 32]> {
    PolicyIndex::open(host.database().connection()).ok().map(|policy| policy.digest())
}

impl Watch for RemovalWatch<'_> {
    fn begun(&mut self) {
        self.watch.begun();
    }

    fn watched(&mut self) {
        self.watch.watched();
    }

    fn unwatched(&mut self, why: &io::Error) {
        self.watch.unwatched(why);
    }

    fn unrecorded(&mut self, why: &str) {
        self.watch.unrecorded(why);
    }

    fn cannot_freeze(&mut self) {
        self.watch.cannot_freeze();
    }

    fn silent(&mut self, count: usize) {
        self.watch.silent(count);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a process that does not end by itself.
    fn stuck() -> io::Result<Pid> {
        let child = std::process::Command::new("sleep").arg("3600").spawn()?;
        Ok(Pid::new(i32::try_from(child.id()).unwrap()).unwrap())
    }

    #[test]
    fn a_late_check_delays_no_other_one() {
        let (looking, never) = (Looking::default(), Duration::from_secs(3600));
        assert_eq!(looking.start_by(never, stuck).unwrap(), Check::Alone);
        let refused = |result: io::Result<Check>| result.unwrap_err().kind() == io::ErrorKind::WouldBlock;
        assert!(refused(looking.start_by(never, stuck)), "the first one is in time");
        for _ in 0..MOST_LATE {
            assert_eq!(looking.start_by(Duration::ZERO, stuck).unwrap(), Check::AfterLate);
        }
        assert!(refused(looking.start_by(Duration::ZERO, stuck)), "too many are late");
        let late: Vec<Pid> = looking.0.borrow().iter().map(|(check, _)| *check).collect();
        for check in &late {
            sys::process::kill(*check, sys::signals::SIGKILL).unwrap();
        }
        while looking.start_by(never, stuck).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let last = looking.0.borrow().last().copied().unwrap().0;
        sys::process::kill(last, sys::signals::SIGKILL).unwrap();
        wait(last, Waiting::ForEnd).unwrap();
    }
}
