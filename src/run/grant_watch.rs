//! Watches the grant of a running command: when it expires by any clock, when it is ended early and when it is extended in the
//! database. Queries the database only when the bell was rung.

mod extension;
mod place;
mod reasons;

use std::cell::OnceCell;
use std::io;
use std::time::Duration;

use rusqlite::Transaction;

use super::charge::Charge;
use super::watched::{Supervised, Watched};
use crate::audit::Journal;
use crate::audit::JournalError;
use crate::audit::OpenRun;
use crate::audit::Wish;
use crate::audit::journal::Written;
use crate::audit::recorded::Recorded;
use crate::audit::{InRecords, in_records};
use crate::authorized::Power;
use crate::database::Durability;
use crate::host::{Host, SystemClock};
use crate::session::{EndReason, EnforcedRun, Verdict, Watch};
use jit_core::budget::ProcessLimit;
use jit_core::clock::duration::{Seconds, spell};
use jit_core::clock::{Clock, Moment, Timestamp};
use jit_core::escape::Word;
use jit_core::evidence::record;
use jit_core::evidence::record::{Act, Alert, Event};
use jit_core::grant::GrantTerms;
use jit_core::grant::lifecycle::GrantEnd;
use jit_core::names::{Person, RunId, UserName};
use jit_core::policy::{OnExpiry, Role};
use place::Place;
use sys::bell::{Bell, Ring};
use sys::process::Pid;

/// How often the bell is checked; a revocation is seen within this time.
const GLANCE: Duration = Duration::from_millis(250);

/// Remaining times at which the user is warned; each applies to grants that last longer.
const WARNINGS: [Seconds; 2] = [Seconds(300), Seconds(60)];

/// Watches the grants of one run, and orders of administrators about its session.
pub(crate) struct GrantWatch<'a> {
    /// The grant under which the run began, followed by its extensions, each extending the one before.
    held: Vec<GrantTerms>,
    role: Role,
    /// The uid of the run-as user; root until it is known.
    run_as: u32,
    /// The user and run that an alert concerns.
    concerns: Alert,
    host: &'a Host,
    journal: &'a Journal<'a>,
    /// Where the database is.
    place: Place<'a>,
    what: Supervised,
    /// The start record, until it was sent to the log sinks.
    unsent: Option<Written>,
    caught_up: bool,
    /// Other open runs, until it was checked whether they have to be closed or ended.
    others: Vec<OpenRun>,
    is_sealing_due: bool,
    bell: Option<Bell>,
    /// What the bell showed when the database was last queried; `None` before the first query and when it must be repeated.
    heard: Option<Ring>,
    /// The first look comes right after the start was committed, when the grant was valid.
    looked: bool,
    /// The message to show when the session asks next.
    words: Option<String>,
    /// What was left of the last grant at the last look.
    left: Duration,
    /// The first reading of the clocks.
    began: OnceCell<Moment>,
    taken: Option<EndReason>,
    /// No control group holds what is frozen.
    is_loose: bool,
    /// An administrator has frozen the session.
    frozen: bool,
    /// While it lives, another process watches as well; only it takes a one-shot extension.
    handed_over: bool,
    /// No enforcer could be started, and an alert says so.
    is_alone: bool,
    /// No watchdog could be started, and an alert says so.
    is_unwatched: bool,
    /// The last verdict that was announced, so that each is announced once.
    announced: Verdict,
}

impl<'a> GrantWatch<'a> {
    pub(super) fn on(recorded: &mut Recorded, host: &'a Host, journal: &'a Journal<'a>) -> Self {
        let unsent = recorded.unsent();
        let authorized = recorded.authorized();
        let caller = authorized.elevation().caller();
        let watched = Watched {
            grants: match authorized.power() {
                Power::Grant(terms) => vec![(**terms).clone()],
                Power::Standing => Vec::new(),
            },
            role: authorized.role().clone(),
            uid: caller.uid(),
            user: Word::from(caller.name().as_str()),
            run: recorded.run().clone(),
            what: Supervised::Command,
            unsent,
        };
        Self { run_as: authorized.plan().credentials().uid, ..Self::over(watched, host, journal) }
    }

    pub(crate) fn over(watched: Watched, host: &'a Host, journal: &'a Journal<'a>) -> Self {
        Self {
            held: watched.grants,
            role: watched.role,
            run_as: 0,
            concerns: Alert {
                run: Some(watched.run),
                ..Alert::new("recording-failed", Word::default()).about(watched.uid, watched.user)
            },
            host,
            journal,
            place: Place::of(host.database().place(), GLANCE),
            what: watched.what,
            unsent: watched.unsent,
            is_sealing_due: false,
            caught_up: false,
            others: Vec::new(),
            // Without a bell the database is queried at every look: slower, but nothing is missed.
            bell: host.bell().ok(),
            heard: None,
            looked: false,
            words: None,
            left: Duration::ZERO,
            began: OnceCell::new(),
            taken: None,
            is_loose: false,
            frozen: false,
            handed_over: false,
            is_alone: false,
            is_unwatched: false,
            announced: Verdict::Run,
        }
    }

    /// Does the work that was put off until after the start of the command, unless it was done before. The journal has the start
    /// record already; a failing log sink changes nothing here. Waits for no file system, and looks up no path: nobody else may end the
    /// run yet.
    fn catch_up(&mut self) {
        if std::mem::replace(&mut self.caught_up, true) {
            return;
        }
        if let Some(written) = &self.unsent {
            self.journal.mirror_promptly(std::slice::from_ref(written));
            let others = self.host.clocks().ok().and_then(|moment| self.journal.others_open(&moment).ok());
            self.others = others.unwrap_or_default(); // otherwise a later run looks after them
        }
        self.is_sealing_due = self.host.is_sealing_due(self.journal);
        self.host.database().tidy();
    }

    /// Does the rest of this work: when another process ends the run in time, or the command has ended.
    pub(crate) fn finish_catching_up(&mut self) {
        self.catch_up(); // not done yet when the command could not be started
        self.look_after_others();
        if let Some(written) = self.unsent.take() {
            self.journal.mirror_rest(&[written]);
        }
    }

    /// Has other runs closed that are lost, and ended that are overdue. Any user can make a look at their supervisors wait for ever.
    fn look_after_others(&mut self) {
        self.host.close_lost_apart(self.journal, &std::mem::take(&mut self.others));
    }

    /// Whether a checkpoint was due when the command had begun.
    pub(crate) fn is_sealing_due(&self) -> bool {
        self.is_sealing_due
    }

    /// Records that no process could be started for this user that supervises a run.
    pub(crate) fn cannot_supervise(&self) {
        let name = self.concerns.user.as_ref().and_then(|user| UserName::parse(&user.to_string()).ok());
        if let Some((uid, name)) = self.concerns.uid.zip(name) {
            // The run goes on, or is refused, whether this is recorded or not.
            let _ = self.host.tell_limit(self.journal, &Person { uid, name }, ProcessLimit::Supervisors);
        }
    }

    /// Returns the grant under which the run began and its extensions. All but the last have expired.
    pub(crate) fn held(&self) -> &[GrantTerms] {
        &self.held
    }

    /// Adds what the watch knows to the end record.
    pub(crate) fn complete(&self, ending: record::RunOutcome) -> record::RunOutcome {
        let Some(last) = self.held.last() else { return ending };
        let over = self.clocks().is_ok_and(|moment| last.left(&moment).is_zero());
        let finished = over && self.role.on_expiry == OnExpiry::Finish && ending.ended_by == record::EndedBy::Itself;
        record::RunOutcome {
            expired: finished.then(|| Timestamp::from_seconds(last.expires)),
            extended_by: (self.held.len() > 1).then(|| last.id.clone()),
            ..ending
        }
    }

    fn judge(&mut self) -> Verdict {
        if self.taken.is_none() && self.place.is_replaced() {
            self.abandon();
        }
        if self.was_rung() {
            self.look();
        }
        if let Some(ending) = self.taken {
            return Verdict::End(ending);
        }
        match self.judge_grant() {
            Verdict::Run if self.frozen => Verdict::Freeze(EndReason::Kill),
            verdict => verdict,
        }
    }

    /// Reads the clocks. A wall clock that is set back during the run makes no grant longer.
    fn clocks(&self) -> io::Result<Moment> {
        let read = SystemClock.read()?;
        Ok(read.clone().onward(self.began.get_or_init(|| read)))
    }

    fn judge_grant(&mut self) -> Verdict {
        if self.held.is_empty() {
            return Verdict::Run;
        }
        // When the clocks cannot be read, the grant could not be ended in time later, so it ends now.
        let Ok(moment) = self.clocks() else { return Verdict::End(EndReason::Expiry) };
        let Some(last) = self.held.last() else { return Verdict::Run };
        let before = std::mem::replace(&mut self.left, last.left(&moment));
        if !self.left.is_zero() {
            self.words = self.words.take().or_else(|| self.warning(last, before));
            return Verdict::Run;
        }
        match self.on_expiry() {
            OnExpiry::Terminate => Verdict::End(EndReason::Expiry),
            OnExpiry::Freeze => Verdict::Freeze(EndReason::Expiry),
            OnExpiry::Finish => {
                let words = || format!("grant {} has expired; {} may finish", last.id, self.what.noun());
                self.words = self.words.take().or_else(|| (!before.is_zero()).then(words));
                Verdict::Run
            }
        }
    }

    /// Without a group that holds it, a frozen command could be woken and run without a grant.
    fn on_expiry(&self) -> OnExpiry {
        match self.role.on_expiry {
            OnExpiry::Freeze if self.is_loose => OnExpiry::Terminate,
            wanted => wanted,
        }
    }

    /// Ends the run, because no process sees what is done to the old database, and this one does not see the new one.
    fn abandon(&mut self) {
        self.words = Some(format!("the database was replaced: {} is ended", self.what.noun()));
        self.ended_by(EndReason::Kill);
        if !self.handed_over {
            let user = self.concerns.user.clone().unwrap_or_default();
            self.host.alert(&format!("the database was replaced during run {} of {user}, which is ended", self.run()));
        }
    }

    fn was_rung(&mut self) -> bool {
        if !std::mem::replace(&mut self.looked, true) {
            return false;
        }
        let Some(Ok(now)) = self.bell.as_ref().map(Bell::now) else { return true };
        self.heard.replace(now) != Some(now)
    }

    /// Queries the database: orders about this session, the end of each grant, and an extension of the last one.
    fn look(&mut self) {
        self.look_for_a_wish();
        // After the database was restored from a backup, the run cannot be listed or ended through it.
        match self.journal.knows(self.run()) {
            Ok(true) => {}
            Ok(false) => return self.forsake(),
            Err(_) => self.heard = None, // as below
        }
        // A clock that cannot be read ends the run anyway, see `judge_grant`.
        let Ok(moment) = &self.clocks() else { return };
        while let Some(extension) = self.extension(moment) {
            let span = spell(Seconds(extension.left(moment).as_secs()));
            self.words = Some(format!("the grant was extended by {}: {span} left", extension.id));
            self.held.push(extension);
        }
        let ends: Vec<_> = self.held.iter().map(|terms| self.end_of(terms)).collect();
        for end in ends {
            match end {
                Ok(Some(GrantEnd::Revoked)) => self.ended_by(EndReason::Revocation),
                Ok(Some(GrantEnd::Released)) => self.ended_by(EndReason::Release),
                // A one-shot grant was used up by this very run: it holds no other run's.
                Ok(Some(GrantEnd::Used) | None) => {}
                Err(_) => self.heard = None, // busy or failing: try again at the next look
            }
        }
    }

    /// Keeps the first reason. Of two that are seen at once, the one concerning the session itself wins, because it is read first.
    fn ended_by(&mut self, ending: EndReason) {
        self.taken.get_or_insert(ending);
    }

    /// Ends a run of which the journal has no record.
    pub(crate) fn forsake(&mut self) {
        self.words = Some(format!("the journal has no record of {}, which is ended", self.what.noun()));
        self.ended_by(EndReason::Kill);
    }

    fn look_for_a_wish(&mut self) {
        let wish = match self.journal.wish_for(self.run()) {
            Ok(wish) => wish,
            Err(_) => return self.heard = None, // as below
        };
        let was_frozen = std::mem::replace(&mut self.frozen, false);
        match wish {
            Some(Wish { act: Act::Kill, by }) => {
                self.words = Some(format!("{by} ends this session{}", self.reason_of(Act::Kill)));
                self.ended_by(EndReason::Kill);
            }
            Some(Wish { act: Act::Freeze, by }) => {
                self.frozen = true;
                if !was_frozen && self.words.is_none() {
                    let why = self.reason_of(Act::Freeze);
                    self.words = Some(format!("{by} has frozen this session{why}{}", self.what.way_out()));
                }
            }
            Some(Wish { act: Act::Thaw, .. }) | None if was_frozen => {
                if self.words.is_none() {
                    self.words = self.thawed();
                }
            }
            Some(Wish { act: Act::Thaw, .. }) | None => {}
        }
    }

    fn run(&self) -> &str {
        self.concerns.run.as_ref().map_or("", RunId::as_str)
    }

    /// Returns how a grant has ended, by its records or by its row.
    fn end_of(&self, terms: &GrantTerms) -> Result<Option<GrantEnd>, JournalError> {
        match self.in_records(terms)? {
            // The records of a command that may finish may be pruned.
            InRecords::Open | InRecords::Unknown | InRecords::Ended(GrantEnd::Used) => {
                Ok(self.host.store().end_of(&terms.id)?)
            }
            InRecords::Ended(end) => Ok(Some(end)),
        }
    }

    fn in_records(&self, terms: &GrantTerms) -> Result<InRecords, JournalError> {
        in_records(self.host.database().connection(), terms)
    }

    /// Records an alert about this session.
    pub(super) fn alert(&self, code: &str, why: &str) {
        let grant = self.held.last().map(|terms| terms.id.clone());
        let alert = Alert { code: code.to_owned(), sentence: Word::from(why), grant, ..self.concerns.clone() };
        let written = SystemClock.read().map_err(|error| error.to_string()).and_then(|moment| {
            let append = |tx: &Transaction<'_>| self.journal.append(tx, &moment, Event::Alert(Box::new(alert)));
            self.host.database().write(Durability::Synced, append).map_err(|error| error.to_string())
        });
        match written {
            Ok(written) => self.journal.mirror_promptly(&[written]),
            Err(error) => self.host.alert(&format!("{why}, and this cannot be recorded: {error}")),
        }
    }

    /// Returns the warning that is due when `before` was left at the last look and less is left now.
    fn warning(&self, last: &GrantTerms, before: Duration) -> Option<String> {
        let length = Seconds::between(last.starts, last.expires);
        let crossed = |seconds: &&Seconds| {
            let limit = Duration::from(**seconds);
            length > **seconds && before > limit && self.left <= limit
        };
        let span = spell(*WARNINGS.iter().rev().find(crossed)?);
        let what = self.what.noun();
        let then = match self.on_expiry() {
            OnExpiry::Terminate => format!("then {what} is ended"),
            OnExpiry::Freeze => format!("then {what} is frozen"),
            OnExpiry::Finish => format!("{what} may finish"),
        };
        Some(format!("grant {0} expires in {span}, {then}; for more time: {1}", last.id, extend_hint(last)))
    }

    fn announcement(&self, verdict: &Verdict) -> Option<String> {
        let last = self.held.last()?;
        match verdict {
            Verdict::Run | Verdict::Say(_) => None,
            Verdict::Freeze(EndReason::Expiry) => Some(format!(
                "grant {} has expired and {} is frozen{}; to continue it: {}",
                last.id,
                self.what.noun(),
                self.what.way_out(),
                extend_hint(last)
            )),
            // Announced when the order was seen.
            Verdict::Freeze(_) => None,
            Verdict::End(EndReason::Expiry) if self.on_expiry() != self.role.on_expiry => Some(format!(
                "grant {} has expired: {} cannot be frozen without a control group of its own and is ended",
                last.id,
                self.what.noun()
            )),
            Verdict::End(ending) => {
                let how = match ending {
                    EndReason::Expiry => "has expired".to_owned(),
                    EndReason::Revocation => format!("was revoked{}", self.revoked_by(&last.id)),
                    EndReason::Release => "was released".to_owned(),
                    // Not caused by the grant, and announced elsewhere.
                    EndReason::Unrecorded | EndReason::Kill | EndReason::TimeLimit => return None,
                };
                Some(format!("grant {} {how}: {} is ended", last.id, self.what.noun()))
            }
        }
    }
}

impl Watch for GrantWatch<'_> {
    fn begun(&mut self) {
        self.catch_up();
        self.journal.prepare_end();
        crate::auth::prepare_end();
    }

    fn hand_over(&mut self, enforced_run: &EnforcedRun) -> Option<Pid> {
        let watched = Watched {
            grants: self.held.clone(),
            role: self.role.clone(),
            uid: self.concerns.uid?,
            user: self.concerns.user.clone()?,
            run: self.concerns.run.clone()?,
            what: self.what,
            unsent: None,
        };
        let line = enforced_run.watchdog.as_ref().map(|(_, line)| &**line);
        match Charge::new(watched, enforced_run, self.run_as).and_then(|charge| charge.hand_over(line)) {
            Ok(enforcer) => {
                self.handed_over = true;
                self.finish_catching_up();
                Some(enforcer)
            }
            Err(error) => {
                let is_first = !std::mem::replace(&mut self.is_alone, true);
                if is_first && error.kind() == io::ErrorKind::WouldBlock {
                    self.cannot_supervise(); // once a day, and not for each run
                } else if is_first {
                    let sentence = "no enforcer can be started, so only supervisors end runs, and processes that they leave behind";
                    self.host.alert(&format!("{sentence} are ended: {error}"));
                }
                None
            }
        }
    }

    fn watched(&mut self) {
        self.look_after_others();
    }

    fn unwatched(&mut self, why: &io::Error) {
        if std::mem::replace(&mut self.is_unwatched, true) {
            return;
        }
        if why.kind() == io::ErrorKind::WouldBlock {
            return self.cannot_supervise(); // once a day, and not for each run
        }
        self.host.alert(&format!("run {} has no watchdog, because none can be started: {why}", self.run()));
    }

    fn cannot_freeze(&mut self) {
        self.is_loose = true;
    }

    fn taken_back(&mut self) {
        self.handed_over = false;
        self.look_again();
    }

    fn look_again(&mut self) {
        self.looked = true;
        self.heard = None;
        self.place.make_due();
    }

    fn verdict(&mut self) -> Verdict {
        let verdict = self.judge();
        if let Some(words) = self.words.take() {
            return Verdict::Say(words);
        }
        if verdict != self.announced {
            self.announced = verdict.clone();
            if let Some(words) = self.announcement(&verdict) {
                return Verdict::Say(words);
            }
        }
        verdict
    }

    fn unrecorded(&mut self, why: &str) {
        self.alert("recording-failed", why);
    }

    fn silent(&mut self, count: usize) {
        let which = "did not show in time whether they belong to session";
        self.host.alert(&format!("{count} processes {which} {}, and do not count as its own", self.run()));
    }

    fn patience(&self) -> Option<Duration> {
        let ends = !self.held.is_empty() && !self.left.is_zero();
        Some(if ends { GLANCE.min(self.left) } else { GLANCE })
    }
}

fn extend_hint(terms: &GrantTerms) -> String {
    format!("jitctl extend {} --reason 'WHY'", terms.id)
}
