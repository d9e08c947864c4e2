//! Lists running sessions, and lets approvers freeze, thaw and end them. The request is stored with the open run; the bell wakes
//! its supervisor, which executes it.

use super::Context;
use super::attempt::Recording;
use super::failure::{Refused, refused};
use super::recordings::unknown;
use super::words::given;
use crate::audit::{Intervened, OpenRun, Wish};
use crate::host::{Stage, end_overdue_apart};
use jit_core::escape::Word;
use jit_core::evidence::record::{Act, Intervention, Start};
use jit_core::names::RunId;
use jit_core::wire::SessionInfo;

impl Context<'_> {
    /// Returns the sessions that the caller may see: their own, those of roles that they observe or approve, and all for root and
    /// readers.
    pub(super) fn sessions(&self) -> Result<Vec<SessionInfo>, Refused> {
        self.host.close_every_lost(self.journal)?;
        let mut sessions = Vec::new();
        for open in self.journal.living_runs()? {
            sessions.extend(self.session(&open)?);
        }
        Ok(sessions)
    }

    /// Returns the run with this id, if it has not ended.
    pub(super) fn open_run(&self, run: &RunId) -> Result<Option<OpenRun>, Refused> {
        Ok(self.journal.open_runs()?.into_iter().find(|open| open.run == *run))
    }

    /// Returns the run with this id, if it has not ended or has left processes running.
    fn living_run(&self, run: &RunId) -> Result<Option<OpenRun>, Refused> {
        Ok(self.journal.living_runs()?.into_iter().find(|living| living.run == *run))
    }

    /// Stores an intervention for the supervisor of a session, and wakes the supervisor.
    pub(super) fn intervene(&self, run: &RunId, act: Act, reason: &Word) -> Result<Vec<SessionInfo>, Refused> {
        let reason = given("reason", reason)?;
        if self.recording == Recording::Required {
            self.host.close_every_lost(self.journal)?;
        }
        let open = self.living_run(run)?;
        let seen = open.as_ref().map(|open| self.session(open)).transpose()?.flatten();
        let (Some(open), Some(seen)) = (open, seen) else {
            return match self.known_run(run)? {
                Some(known) if self.ran(&known.start) || self.is_reader()? => Err(over(run)),
                _ => Err(unknown(run)),
            };
        };
        if !seen.may_intervene {
            return Err(refused(
                "not-an-approver",
                "only root and the approvers of its role may stop or end a session",
            ));
        }
        let start = self.known_run(run)?.ok_or_else(|| unknown(run))?.start;
        let wish = Wish::of(act, self.caller.uid(), self.caller.name().as_str());
        let intervention = self.intervention(&start, act, reason);
        let done = self.journal.intervene(self.now.moment(), open.which(), &wish, intervention).map_err(Refused::from);
        let written = match done {
            Err(error) if self.recording == Recording::Impossible && act == Act::Kill => {
                return Err(self.end_unrecorded(&[open], "this cannot be recorded", &error));
            }
            Err(error) => return Err(error),
            Ok(Intervened::Done(written)) => written,
            Ok(Intervened::Over) => return Err(over(run)),
            Ok(Intervened::Overruled(standing)) => return Err(overruled(run, &standing)),
        };
        self.host.announce(self.journal, &[written]);
        if act == Act::Kill {
            end_overdue_apart(); // where its supervisor does not do it
        }
        Ok(self.session(&OpenRun { wish: Some(wish), ..open })?.into_iter().collect())
    }

    fn intervention(&self, start: &Start, act: Act, reason: &Word) -> Intervention {
        Intervention {
            uid: self.caller.uid(),
            user: Word::from(self.caller.name().as_str()),
            act,
            run: start.run.clone(),
            holder: start.user.clone(),
            holder_uid: start.uid,
            role: start.role.clone(),
            grant: start.grant.clone(),
            reason: reason.clone(),
        }
    }

    /// Returns whether the caller started the run.
    fn ran(&self, start: &Start) -> bool {
        self.caller.person().is_recorded(start.uid, &start.user)
    }

    fn approves_role_of(&self, start: &Start) -> Result<bool, Refused> {
        let Some(role) = &start.role else { return Ok(false) };
        self.policy.role(role)?.map_or(Ok(false), |role| self.approves(&role))
    }

    /// Returns an open run as the caller may see it; `None` if the caller may not.
    fn session(&self, open: &OpenRun) -> Result<Option<SessionInfo>, Refused> {
        let Some(known) = self.known_run(&open.run)? else { return Ok(None) };
        let start = &known.start;
        let (own, observes) = (self.ran(start), self.observes(start)?);
        let (reads, may_intervene) = (self.is_reader()?, self.caller.uid() == 0 || self.approves_role_of(start)?);
        if !(own || observes || reads || may_intervene) {
            return Ok(None);
        }
        let stage = self.host.recording(&open.run)?.map(|stored| stored.stage);
        let recorded = stage == Some(Stage::Live);
        let state = match open.wish.as_ref().map(|wish| wish.act) {
            Some(Act::Freeze) => "frozen",
            Some(Act::Kill) => "ending",
            Some(Act::Thaw) | None if known.end.is_some() => "left running",
            // Frozen because its grant has ended.
            Some(Act::Thaw) | None if crate::session::is_frozen(open.run.as_str()) => "frozen",
            Some(Act::Thaw) | None => "running",
        };
        Ok(Some(SessionInfo {
            run: open.run.clone(),
            user: start.user.clone(),
            uid: start.uid,
            run_as: start.run_as.clone(),
            command: start.argv.clone(),
            tty: start.tty.clone(),
            since: known.since,
            pid: start.pid,
            role: start.role.clone(),
            grant: start.grant.clone(),
            state: state.to_owned(),
            by: open.wish.as_ref().filter(|wish| wish.act != Act::Thaw).map(|wish| wish.by.clone()),
            recorded,
            may_watch: recorded && (own || observes || reads),
            may_intervene,
        }))
    }
}

fn overruled(run: &RunId, standing: &Wish) -> Refused {
    let by = &standing.by;
    match standing.act {
        Act::Kill => refused("session-ending", format!("the session of run {run} is being ended by {by}")),
        Act::Freeze | Act::Thaw => {
            let sentence = format!("the session of run {run} was frozen by {by}");
            refused("session-frozen", sentence).hint(match by.as_str() {
                "root" => "only root can thaw it".to_owned(),
                by => format!("only root, {by} or another approver of its role can thaw it"),
            })
        }
    }
}

pub(super) fn over(run: &RunId) -> Refused {
    refused("session-over", format!("the session of run {run} is over")).hint(format!("jitctl audit show {run}"))
}
