//! THE STORY: one run, from the typed arguments to the exit of the command.

mod charge;
pub(crate) mod grant_watch;
pub mod listing;
pub mod validate;
pub(crate) mod watched;

mod approval;
mod attempt;
mod authorize;
mod background;
mod decision;
mod edit;
pub mod enforcer;
mod entries;
mod helper;
mod inquiry;
pub(crate) mod left;
mod offer;
pub(crate) mod removal;
mod run_recording;

use std::io;
use std::mem::ManuallyDrop;

use crate::audit::Journal;
use crate::audit::recorded::Recorded;
use crate::audit::sink::Delivery;
use crate::authorized::Authorized;
use crate::authorized::environment::{RunEnvironment, build};
use crate::console::Console;
use crate::elevation::{Caller, CallersEnvironment};
use crate::host::{Host, HostError, Slot, Work};
use crate::policy_index::PolicyIndex;
use crate::refusal::Refusal;
use crate::session::outcome::UNANSWERED;
use crate::session::{ExitStatus, LaunchError, Outcome, ProcessTree, Session, keepers};
use attempt::Attempt;
use authorize::authorize;
use grant_watch::GrantWatch;
use jit_core::budget::ProcessLimit;
use jit_core::cli::{EnvironmentWish, Run};
use jit_core::evidence::record::{EndedBy, RunOutcome};
use jit_core::policy::SyslogMode;
use run_recording::RunRecording;
use sys::sanitize::Inherited;

/// What one run works with.
pub(crate) struct RunContext<'a> {
    pub(crate) host: &'a Host,
    pub(crate) policy: &'a PolicyIndex<'a>,
    pub(crate) journal: &'a Journal<'a>,
    pub(crate) inherited: &'a Inherited,
}

/// Runs one command, or returns why not. With -b this process returns when the command has begun.
pub fn run(run: &Run, inherited: &Inherited, console: &mut Console) -> Result<ExitStatus, Refusal> {
    if run.background {
        return background::run(run, inherited, console);
    }
    perform(run, inherited, console, || {})
}

/// Runs the command. Calls `begun` when nothing can deny it any more.
fn perform(
    run: &Run,
    inherited: &Inherited,
    console: &mut Console,
    begun: impl FnOnce(),
) -> Result<ExitStatus, Refusal> {
    let caller = Caller::identify(&inherited.identity)?;
    let _slot = slot_of(&caller)?;
    // Not dropped: this process ends with the run, and the kernel frees faster than SQLite and our destructors.
    let host = ManuallyDrop::new(Host::open(caller.host())?);
    let policy = ManuallyDrop::new(host.policy(Some(&caller))?);
    let journal = host.journal(&policy.settings().audit);
    let context = RunContext { host: &host, policy: &policy, journal: &journal, inherited };
    edit::mind_the_name(run, console);
    let reading = host.database().reading(console);
    let noticed = host.notice(&journal);
    let console = reading.close(); // what the caller named is looked up next
    noticed?;

    let attempt = Attempt::of(run, &caller);
    let (mut recorded, process_tree) = authorize(run, caller, &context, console)
        .and_then(|authorized| record(authorized, &context, console)) // committed; the exec waits for the disk
        .map_err(|refusal| attempt.reject(refusal, &context, console))?;

    begun();
    let mut watch = GrantWatch::on(&mut recorded, &host, &journal);
    let grace = policy.settings().grace_period;
    let run_recording = RunRecording::of(&recorded, &context);
    let blank = || run_recording.blank();
    let mut session_recording = run_recording.session_recording(&recorded, &blank);
    let mut unsaid = Vec::new();
    let (recorded, outcome) = edit::around(recorded, &context, &mut watch, &mut unsaid, |recorded, editor, watch| {
        Session::open(recorded, process_tree, inherited, grace).editing(editor).run(watch, &mut session_recording)
    });
    watch.finish_catching_up();
    if matches!(outcome, Err(LaunchError::Unsupervised(_))) {
        watch.cannot_supervise();
    }
    if outcome.as_ref().is_ok_and(|outcome| outcome.unanswered) {
        host.alert(&format!("run {}: {UNANSWERED}", recorded.run()));
    }
    let ending = outcome.as_ref().map_or_else(without_outcome, Outcome::to_record);
    let ending = run_recording.seal(session_recording, watch.complete(ending), &mut watch);
    let recording_bytes = ending.recording_bytes;
    end(&recorded, ending, &context, console);
    if watch.is_sealing_due() {
        host.seal_apart();
    }
    run_recording::shrink(recording_bytes, recorded.run());
    drop(recorded); // closes the PAM session before waiting for a reader of our messages
    unsaid.iter().for_each(|sentence| edit::say(sentence, console));
    Ok(outcome?.exit_status())
}

/// Claims one of the user's [`RUNS`](jit_core::budget::RUNS) slots. A refusal uses no database, so many of them hold up nobody.
fn slot_of(caller: &Caller) -> Result<Slot, Refusal> {
    let claimed = Slot::claim(caller.uid(), Work::Run).map_err(|error| HostError::System("count the runs", error))?;
    claimed.ok_or_else(|| {
        let _ = Host::tell_of_flood(caller.host(), caller.person(), ProcessLimit::Runs); // the refusal stands
        Refusal::TooManyRuns
    })
}

/// Opens the PAM session, builds the environment and commits the start record with both. While the disk writes, the run is prepared.
fn record(
    mut authorized: Authorized,
    context: &RunContext<'_>,
    console: &mut Console,
) -> Result<(Recorded, ProcessTree), Refusal> {
    let settings = context.policy.settings();
    match context.inherited.give_away(authorized.plan().closefrom(), keepers) {
        // There is no room for a process: the descriptors stay here.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        given_away => given_away.map_err(|error| HostError::System("hand over descriptors of the caller", error))?,
    }
    edit::choose_editor(&authorized, context)?;
    let target = authorized.run_as().name().to_string();
    authorized.authenticated().open_session(&target, &context.inherited.own_limits).map_err(Refusal::Session)?;

    let id = context.host.new_run_id()?;
    let pam = authorized.authenticated().environment().map_err(Refusal::Session)?;
    let environment = match authorized.elevation().command().edit_wish() {
        Some(_) => {
            let inherited = context.inherited.environment.clone();
            RunEnvironment::Editor(CallersEnvironment::new(inherited, EnvironmentWish::default()))
        }
        None => RunEnvironment::Command(build(&authorized, &pam, &id)?),
    };
    let moment = context.host.clocks()?;
    let redacted = &settings.audit.redact;
    let supervisor = context.host.supervisor()?;
    let mut recorded = Recorded::commit(context.journal, authorized, environment, (id, supervisor), redacted, &moment)?;

    if settings.audit.syslog == SyslogMode::Required {
        recorded.sync()?;
        if recorded.mirror(context.journal) == Delivery::Missed {
            end(&recorded, not_executed(&Refusal::SyslogRequired.sentence()), context, console);
            return Err(Refusal::SyslogRequired);
        }
    }
    context.journal.connect_sinks();
    let process_tree = ProcessTree::found(recorded.run().as_str());
    Ok((recorded, process_tree))
}

/// Records the end. The command has run: its status stays as it is whatever happens here, but a failure of the journal is reported
/// on the alert path.
fn end(recorded: &Recorded, ending: RunOutcome, context: &RunContext<'_>, console: &mut Console) {
    let written = context
        .host
        .clocks()
        .map_err(Refusal::from)
        .and_then(|moment| recorded.end(context.journal, ending, &moment).map_err(Refusal::from));
    if let Err(refusal) = written {
        context.host.alert_and_say(&format!("the end of a run cannot be recorded: {}", refusal.sentence()), console);
    }
}

/// Returns the end record of a command that never began, or whose end was not seen.
fn without_outcome(error: &LaunchError) -> RunOutcome {
    let why = error.to_string();
    if error.has_begun() {
        RunOutcome { detail: Some(why.into()), ..RunOutcome::unknown(EndedBy::Lost) }
    } else {
        not_executed(&why)
    }
}

fn not_executed(why: &str) -> RunOutcome {
    RunOutcome { detail: Some(why.into()), ..RunOutcome::unknown(EndedBy::NotExecuted) }
}
