//! THE STORY: one run, from the words typed to the exit of the command.

pub mod listing;
pub mod validate;

mod approval;
mod attempt;
mod authorize;
mod background;
mod grant_watch;
mod offer;

use std::mem::ManuallyDrop;

use crate::audit::Journal;
use crate::audit::record::{EndedBy, Ending};
use crate::audit::recorded::Recorded;
use crate::audit::sink::Delivery;
use crate::authorized::Authorized;
use crate::cli::Run;
use crate::elevation::Caller;
use crate::host::Host;
use crate::policy::{PolicyIndex, SyslogMode};
use crate::refusal::Refusal;
use crate::session::environment::{Rules, build};
use crate::session::{ExitStatus, Outcome, Session};
use attempt::Attempt;
use authorize::authorize;
use grant_watch::GrantWatch;
use sys::sanitize::Inherited;

/// Everything that one run works with.
pub(crate) struct Scene<'a> {
    pub(crate) host: &'a Host,
    pub(crate) policy: &'a PolicyIndex<'a>,
    pub(crate) journal: &'a Journal<'a>,
    pub(crate) inherited: &'a Inherited,
}

/// Runs one command, or says why not. With -b this process returns when the command has begun.
pub fn run(run: &Run, inherited: &Inherited) -> Result<ExitStatus, Refusal> {
    if run.background {
        return background::run(run, inherited);
    }
    perform(run, inherited, || {})
}

/// The run itself; `begun` is called when nothing can refuse it any more.
fn perform(run: &Run, inherited: &Inherited, begun: impl FnOnce()) -> Result<ExitStatus, Refusal> {
    let caller = Caller::identify(&inherited.identity)?;
    // Not dropped: this process ends with the run, and the kernel closes faster than SQLite does.
    let host = ManuallyDrop::new(Host::open(caller.host())?);
    let policy = host.policy()?;
    let journal = host.journal(&policy.settings().audit);
    let scene = Scene { host: &host, policy: &policy, journal: &journal, inherited };
    host.tend(&journal)?;

    let attempt = Attempt::of(run, &caller);
    let mut recorded = authorize(run, caller, &scene)
        .and_then(|authorized| record(authorized, &scene)) // on disk before anything runs
        .map_err(|refusal| attempt.reject(refusal, &scene))?;

    begun();
    let mut watch = GrantWatch::on(&mut recorded, &host, &journal);
    let (recorded, outcome) = Session::open(recorded, inherited, policy.settings().grace_period).run(&mut watch);
    watch.catch_up(); // where the command could not be started
    let ending = outcome.as_ref().map_or_else(|error| not_executed(&error.to_string()), Outcome::to_record);
    end(&recorded, watch.complete(ending), &scene);
    Ok(outcome?.exit_status())
}

/// Opens the PAM session, builds the environment and commits the start with both.
fn record(mut authorized: Authorized, scene: &Scene<'_>) -> Result<Recorded, Refusal> {
    let settings = scene.policy.settings();
    let target = authorized.run_as().name().to_string();
    authorized.authenticated().open_session(&target).map_err(Refusal::Session)?;

    let id = scene.host.new_run_id()?;
    let pam = authorized.authenticated().environment().map_err(Refusal::Session)?;
    let rules = Rules { secure_path: &settings.path_variable(), env_keep: &settings.env_keep };
    let environment = build(&authorized, &rules, &pam, &id)?;
    let moment = scene.host.now()?;
    let mut recorded = Recorded::commit(scene.journal, authorized, environment, id, &settings.audit.redact, &moment)?;

    if settings.audit.syslog == SyslogMode::Required && recorded.mirror(scene.journal) == Delivery::Missed {
        end(&recorded, not_executed(&Refusal::SyslogRequired.sentence()), scene);
        return Err(Refusal::SyslogRequired);
    }
    Ok(recorded)
}

/// Records the end. The command has had its way: its status stays whatever happens here, but a journal that fails now is
/// shouted on the alert path.
fn end(recorded: &Recorded, ending: Ending, scene: &Scene<'_>) {
    let written = scene
        .host
        .now()
        .map_err(Refusal::from)
        .and_then(|moment| recorded.end(scene.journal, ending, &moment).map_err(Refusal::from));
    if let Err(refusal) = written {
        scene.host.shout(&format!("the end of a run cannot be recorded: {}", refusal.sentence()));
    }
}

fn not_executed(why: &str) -> Ending {
    Ending { detail: Some(why.into()), ..Ending::unknown(EndedBy::NotExecuted) }
}
