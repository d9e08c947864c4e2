//! Sessions that other programs open through PAM. The process that answers stays as the session's supervisor: it keeps the socket
//! to the program open, ends the session with its grant, and records the end.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::Context;
use super::failure::{Refused, refused};
use super::pam_membership::Membership;
use super::sessions::over;
use crate::audit::sink::Delivery;
use crate::audit::{Due, Started, claim};
use crate::elevation::Caller;
use crate::host::{signal_supervisor, slots};
use crate::refusal::Refusal;
use crate::run::left::Left;
use crate::run::removal::{Looking, RemovalWatch};
use crate::run::watched::{Supervised, Watched};
use crate::session::{Hosted, Program, supervise_for};
use crate::store::keep_role;
use jit_core::clock::duration::Seconds;
use jit_core::escape::{Word, unhex};
use jit_core::evidence::record::{Assignment, Authentication, Digest, EndedBy, RunOutcome, Start};
use jit_core::grant::GrantTerms;
use jit_core::names::RunId;
use jit_core::policy::{OnExpiry, SyslogMode};
use jit_core::wire::{Closed, LoginInfo, NewSession};
use sha2::{Digest as _, Sha256};
use sys::process::Pid;
use sys::signals::SIGHUP;
use sys::users::Account;

/// The first argument of the recorded command; the second is the PAM service.
const COMMAND: &str = "pam-session";

/// Offset in the file of the slots at which the locks of PAM sessions begin. The supervisor of each session holds a shared lock on the
/// byte at this offset plus the program's pid, so that each supervisor knows whether the program has other sessions open. The
/// kernel drops the lock when a supervisor is killed. The slots of users are at much higher offsets.
const OPENED: i64 = 1 << 40;

/// How long the remaining processes of a session may take to exit before they count as left running.
const LEAVES_WITHIN: Duration = Duration::from_millis(500);

/// The timeout for recording the end of a session, and the interval between two checks.
const RECORDED_WITHIN: Duration = Duration::from_secs(4);
const ROUND: Duration = Duration::from_millis(20);

impl Context<'_> {
    pub(super) fn open_session(&self, new: &NewSession, out: &mut dyn Write) -> Result<(), Refused> {
        let holder = self.described(&new.holder)?;
        let Some(held) = self.held(&holder, new.role.as_ref())? else {
            return Err(refused("not-held", format!("{} has no active grant", holder.name())));
        };
        let failed = |error| refused("lookup", format!("unable to look up the account: {error}"));
        let run_as = sys::users::account_by_name(new.run_as.as_str())
            .map_err(failed)?
            .ok_or_else(|| refused("unknown-run-as", "unknown user"))?;
        let gone = |error| refused("no-program", format!("there is no process {}: {error}", new.pid));
        let program = Pid::new(new.pid).ok_or_else(|| refused("no-program", "there is no such process"))?;

        supervise_for(holder.uid());
        let run = self.host.new_run_id()?;
        let register = slots().ok_or_else(|| refused("no-slots", "the file with the sessions cannot be opened"))?;
        let place = OPENED.saturating_add(new.pid.into());
        sys::lock::show(register, place).map_err(gone)?;
        // On an error the program counts as shared, so that no processes of another session are ended by mistake.
        let is_shared = || sys::lock::others_show(register, place).unwrap_or(true);
        let session = Hosted::found(
            &run,
            &Program {
                pid: program,
                holder: holder.uid(),
                run_as: run_as.uid,
                terminal: new.tty.as_ref().map(Word::as_os_str),
                is_shared: &is_shared,
            },
        )
        .map_err(gone)?;
        let start = start(new, &holder, &held, &run_as, run.clone()).map_err(failed)?;
        let terms = held.terms();
        let supervisor = self.host.supervisor()?;
        let (started, ()) = self.journal.start(self.now.moment(), start, supervisor, |tx| {
            keep_role(tx, &held.role().digest, held.role())?;
            match terms {
                Some(terms) if !claim(tx, terms, run.as_str(), self.now.moment(), self.journal.is_as_read())? => {
                    Err(refused("not-held", "the grant was ended meanwhile"))
                }
                Some(_) | None => Ok(()),
            }
        })?;
        let mut unsent = Some(started.written().clone());
        self.journal.connect_sinks();
        if self.policy.settings().audit.syslog == SyslogMode::Required
            && unsent.take().is_some_and(|written| self.journal.mirror(&[written]) == Delivery::Missed)
        {
            self.close(&started, not_begun(&Refusal::SyslogRequired.sentence()));
            return Err(Refusal::SyslogRequired.into());
        }
        let ends = held.role().on_expiry == OnExpiry::Terminate;
        let info = LoginInfo {
            run: run.clone(),
            role: held.role().name.clone(),
            grant: terms.map(|terms| terms.id.clone()),
            left: terms.filter(|_| ends).map(|terms| Seconds(terms.left(self.now.moment()).as_secs())),
        };
        let told = super::line::<NewSession>(info).and_then(|line| out.write_all(&line));
        if let Err(error) = told.and_then(|()| out.flush()) {
            self.close(&started, not_begun(&format!("the program is gone: {error}")));
            return Ok(());
        }

        let watched = Watched {
            grants: terms.cloned().into_iter().collect(),
            role: held.role().clone(),
            uid: holder.uid(),
            user: Word::from(holder.name().as_str()),
            run: run.clone(),
            what: Supervised::Session,
            unsent,
        };
        let looking = Looking::default();
        let mut watch = RemovalWatch::over(watched, self.host, self.journal, &looking);
        let grace = self.policy.settings().grace_period;
        let ending = session.supervise(std::io::stdin().as_fd(), &mut watch, grace);
        watch.grant().finish_catching_up();
        self.close(&started, watch.grant().complete(ending));
        let _ = out.write_all(b"\n"); // for a program that waits for the end
        let grants = watch.grant().held().to_vec();
        drop(watch);
        let _ = sys::lock::release(register, place); // on an error the lock stays, and the program's next session counts as shared
        let left = Left {
            run: &run,
            uid: holder.uid(),
            user: &Word::from(holder.name().as_str()),
            grants: &grants,
            role: held.role(),
            what: Supervised::Session,
        };
        self.look_after(&left, session, grace);
        Ok(())
    }

    /// Supervises the processes that a closed session has left running, as the enforcer does for a finished command.
    fn look_after(&self, left: &Left<'_>, session: Hosted<'_>, grace: Duration) {
        let late = Instant::now() + LEAVES_WITHIN;
        let mut members = session.left();
        while !members.is_empty() && Instant::now() < late {
            std::thread::sleep(ROUND);
            members = session.left();
        }
        if !members.is_empty() {
            let outlasted = left.outlast(&members, self.host, self.journal, &Looking::default(), &|watch| {
                session.outwatch(watch, grace)
            });
            if let Err(error) = outlasted {
                // Processes without a record would not be supervised.
                session.end(grace);
                self.host.alert(&format!("processes left by a session cannot be recorded and are ended: {error}"));
            }
        }
        session.part();
    }

    /// Tells the supervisor of a session that its program has closed it, and waits until the end is recorded.
    pub(super) fn close_session(&self, run: &RunId) -> Result<Closed, Refused> {
        self.host.close_every_lost(self.journal)?;
        let hosted = self.known_run(run)?.is_some_and(|known| known.start.path == COMMAND.into());
        let Some(found) = self.open_run(run)?.filter(|_| hosted) else { return Err(over(run)) };
        let gone = |error| refused("session-over", format!("its supervisor is gone: {error}"));
        signal_supervisor(&found.supervisor, SIGHUP, self.now.moment()).map_err(gone)?;
        let deadline = Instant::now() + RECORDED_WITHIN;
        while self.open_run(run)?.is_some() {
            if Instant::now() > deadline {
                return Err(refused("not-recorded", "the end of the session was not recorded in time"));
            }
            std::thread::sleep(ROUND);
        }
        Ok(Closed {})
    }

    /// Records the end, or raises an alert when the end cannot be recorded.
    fn close(&self, started: &Started, ending: RunOutcome) {
        let written = self.host.clocks().map_err(Refusal::from).and_then(|moment| {
            let written = self.journal.end(started, &moment, ending).map_err(Refusal::from)?;
            let _ = self.journal.mirror(&[written]); // the journal has the record; a failing sink does not matter
            Ok(())
        });
        let _ = self.host.seal(self.journal, Due::Now);
        if let Err(refusal) = written {
            self.host.alert(&format!("the end of a session cannot be recorded: {}", refusal.sentence()));
        }
    }
}

impl Membership {
    fn terms(&self) -> Option<&GrantTerms> {
        match self {
            Self::Standing(_) => None,
            Self::Granted(held) => Some(held.terms()),
        }
    }
}

fn not_begun(why: &str) -> RunOutcome {
    RunOutcome { detail: Some(why.into()), ..RunOutcome::unknown(EndedBy::NotExecuted) }
}

fn start(new: &NewSession, holder: &Caller, held: &Membership, run_as: &Account, run: RunId) -> std::io::Result<Start> {
    let terms = held.terms();
    Ok(Start {
        run,
        uid: holder.uid(),
        user: Word::from(holder.name().as_str()),
        gid: holder.gid(),
        groups: holder.group_ids().to_vec(),
        tty: new.tty.clone(),
        cwd: Word::from(run_as.home.as_os_str()),
        pid: Pid::own().raw(),
        run_as: Word::from(run_as.name.as_str()),
        run_as_uid: run_as.uid,
        run_as_gid: run_as.gid,
        run_as_groups: sys::users::groups_of(&run_as.name, run_as.gid)?,
        umask: None,
        argv: vec![COMMAND.into(), new.service.clone()],
        typed: None,
        environment: Vec::new(),
        path: COMMAND.into(),
        dev: 0,
        ino: 0,
        sha256: Digest(Sha256::digest([]).into()),
        role: Some(held.role().name.clone()),
        assignment: if terms.is_some() { Assignment::Grant } else { Assignment::Standing },
        grant: terms.map(|terms| terms.id.clone()),
        authenticated: Authentication::None,
        auth_service: None,
        auth_answers: None,
        editor: None,
        service: Some(new.service.clone()),
        remote: new.remote.clone(),
        policy: held.role().policy.map(Digest),
        role_digest: unhex(&held.role().digest).map(Digest),
        role_sha256: held.role().compiled.map(Digest),
        grant_sha256: terms.and_then(GrantTerms::sha256).map(Digest),
    })
}
