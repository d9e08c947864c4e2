//! THE STORY: one run, from the words typed to the exit of the command.

pub(crate) mod grant_watch;
pub mod listing;
pub mod validate;

mod approval;
mod attempt;
mod authorize;
mod background;
mod edit;
pub mod enforcer;
mod entries;
mod inquiry;
pub(crate) mod left;
mod offer;
mod reel;
pub(crate) mod removal;
mod steward;

use std::mem::ManuallyDrop;

use crate::audit::Journal;
use crate::audit::recorded::Recorded;
use crate::audit::sink::Delivery;
use crate::authorized::Authorized;
use crate::authorized::environment::{RunEnvironment, build};
use crate::elevation::{Caller, CallersEnvironment};
use crate::host::Host;
use crate::policy_index::PolicyIndex;
use crate::refusal::Refusal;
use crate::session::{ExitStatus, Family, LaunchError, Outcome, Session};
use crate::voice::Voice;
use attempt::Attempt;
use authorize::authorize;
use grant_watch::GrantWatch;
use jit_core::cli::{EnvironmentWish, Run};
use jit_core::evidence::record::{EndedBy, Ending};
use jit_core::policy::SyslogMode;
use reel::Reel;
use sys::sanitize::Inherited;

/// Everything that one run works with.
pub(crate) struct Scene<'a> {
    pub(crate) host: &'a Host,
    pub(crate) policy: &'a PolicyIndex<'a>,
    pub(crate) journal: &'a Journal<'a>,
    pub(crate) inherited: &'a Inherited,
}

/// Runs one command, or says why not. With -b this process returns when the command has begun.
pub fn run(run: &Run, inherited: &Inherited, voice: &mut Voice) -> Result<ExitStatus, Refusal> {
    if run.background {
        return background::run(run, inherited, voice);
    }
    perform(run, inherited, voice, || {})
}

/// The run itself; `begun` is called when nothing can refuse it any more.
fn perform(run: &Run, inherited: &Inherited, voice: &mut Voice, begun: impl FnOnce()) -> Result<ExitStatus, Refusal> {
    let caller = Caller::identify(&inherited.identity)?;
    // Not dropped: this process ends with the run, and the kernel closes and frees faster than SQLite and we do.
    let host = ManuallyDrop::new(Host::open(caller.host())?);
    let policy = ManuallyDrop::new(host.policy(Some(&caller))?);
    let journal = host.journal(&policy.settings().audit);
    let scene = Scene { host: &host, policy: &policy, journal: &journal, inherited };
    edit::mind_the_name(run, voice);
    let reading = host.database().reading(voice);
    host.notice(&journal)?;

    let attempt = Attempt::of(run, &caller);
    let (mut recorded, family) = authorize(run, caller, &scene, reading)
        .and_then(|authorized| record(authorized, &scene, voice)) // on disk before anything runs
        .map_err(|refusal| attempt.reject(refusal, &scene, voice))?;

    begun();
    let mut watch = GrantWatch::on(&mut recorded, &host, &journal);
    let grace = policy.settings().grace_period;
    let reel = Reel::of(&recorded, &scene);
    let blank = || reel.blank();
    let mut tape = reel.tape(&recorded, &blank);
    let mut unsaid = Vec::new();
    let (recorded, outcome) = edit::around(recorded, &scene, &mut watch, &mut unsaid, |recorded, editor, watch| {
        Session::open(recorded, family, inherited, grace).editing(editor).run(watch, &mut tape)
    });
    watch.catch_up(); // where the command could not be started
    let ending = outcome.as_ref().map_or_else(without_outcome, Outcome::to_record);
    let ending = reel.seal(tape, watch.complete(ending), &mut watch);
    let recording_bytes = ending.recording_bytes;
    end(&recorded, ending, &scene, voice);
    if watch.is_sealing_due() {
        host.seal_apart();
    }
    reel::shrink(recording_bytes, recorded.run());
    drop(recorded); // its PAM session ends before anybody is waited for
    unsaid.iter().for_each(|sentence| edit::say(sentence, voice));
    Ok(outcome?.exit_status())
}

/// Opens the PAM session, builds the environment and commits the start with both. While the disk writes, a place is made for
/// what will run.
fn record(mut authorized: Authorized, scene: &Scene<'_>, voice: &mut Voice) -> Result<(Recorded, Family), Refusal> {
    let settings = scene.policy.settings();
    edit::choose_editor(&authorized, scene)?;
    let target = authorized.run_as().name().to_string();
    authorized.authenticated().open_session(&target).map_err(Refusal::Session)?;

    let id = scene.host.new_run_id()?;
    let pam = authorized.authenticated().environment().map_err(Refusal::Session)?;
    let environment = match authorized.elevation().command().edit_wish() {
        Some(_) => {
            let inherited = scene.inherited.environment.clone();
            RunEnvironment::Editor(CallersEnvironment::new(inherited, EnvironmentWish::default()))
        }
        None => RunEnvironment::Command(build(&authorized, &pam, &id)?),
    };
    let moment = scene.host.clocks()?;
    let redacted = &settings.audit.redact;
    let (mut recorded, family) =
        Recorded::commit(scene.journal, authorized, environment, id, redacted, &moment, Family::found)?;

    if settings.audit.syslog == SyslogMode::Required && recorded.mirror(scene.journal) == Delivery::Missed {
        end(&recorded, not_executed(&Refusal::SyslogRequired.sentence()), scene, voice);
        return Err(Refusal::SyslogRequired);
    }
    Ok((recorded, family))
}

/// Records the end. The command has had its way: its status stays whatever happens here, but a journal that fails now is
/// shouted on the alert path.
fn end(recorded: &Recorded, ending: Ending, scene: &Scene<'_>, voice: &mut Voice) {
    let written = scene
        .host
        .clocks()
        .map_err(Refusal::from)
        .and_then(|moment| recorded.end(scene.journal, ending, &moment).map_err(Refusal::from));
    if let Err(refusal) = written {
        scene.host.shout(&format!("the end of a run cannot be recorded: {}", refusal.sentence()), voice);
    }
}

/// The command never began, or nobody saw how it ended.
fn without_outcome(error: &LaunchError) -> Ending {
    let why = error.to_string();
    if error.has_begun() {
        Ending { detail: Some(why.into()), ..Ending::unknown(EndedBy::Lost) }
    } else {
        not_executed(&why)
    }
}

fn not_executed(why: &str) -> Ending {
    Ending { detail: Some(why.into()), ..Ending::unknown(EndedBy::NotExecuted) }
}
