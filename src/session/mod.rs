//! The session: from the moment the `start` record is on disk until the command has ended. Knows no database; it asks about the
//! grant through a [`Watch`].

pub mod outcome;
pub mod watch;

pub mod enforcement;

mod buffer;
mod closing;
mod dead;
mod direct;
mod ending;
mod freeze;
mod hold;
mod hosted;
mod known;
mod launch;
mod launch_error;
mod line;
mod lost;
mod message;
mod modes;
mod monitor;
mod process_tree;
mod progress;
mod ready;
mod reaper;
mod relay;
mod relay_process;
mod run_groups;
mod session_recording;
mod streams;
mod subreaper;
mod watchdog;

use std::time::{Duration, Instant};

pub use hosted::{Hosted, Program};
pub use known::Known;
pub use launch_error::LaunchError;
pub use lost::{Ended, LostRun, end_group_of, end_lost, give_up_stopped, take_sessions_back};
pub use outcome::{ExitStatus, Outcome};
pub use process_tree::ProcessTree;
pub use run_groups::{abandoned, can_found, is_frozen, keepers, refuge, stand_alone, stand_apart, supervise_for};
pub use session_recording::{BlankOf, SessionRecording};
pub use watch::{EndReason, EnforcedRun, Verdict, Watch};

use crate::audit::recorded::Recorded;
use crate::elevation::Editor;
use ending::Enforcer;
use jit_core::policy::{Record, Role};
use launch::Launch;
use sys::process::WaitEvent;
use sys::sanitize::Inherited;
use sys::signals::SIGKILL;
use sys::terminal::Terminal;

/// A recorded run, ready to begin.
#[must_use = "an opened session is run"]
pub struct Session<'a> {
    recorded: Recorded,
    process_tree: ProcessTree,
    inherited: &'a Inherited,
    grace: Duration,
    editor: Option<Editor>,
}

impl<'a> Session<'a> {
    /// Opens a session for a recorded run; all its processes belong to `process_tree`. `grace` is the time between SIGTERM and
    /// SIGKILL when we end the command.
    pub fn open(recorded: Recorded, process_tree: ProcessTree, inherited: &'a Inherited, grace: Duration) -> Self {
        Self { recorded, process_tree, inherited, grace, editor: None }
    }

    /// Replaces the command with an editor, which runs as the caller and in the recorded environment.
    pub fn editing(self, editor: Option<Editor>) -> Self {
        Self { editor, ..self }
    }

    /// Runs the command until it has ended; on a pty of its own when the caller has a terminal and the role wants it.
    pub fn run(
        self,
        watch: &mut dyn Watch,
        session_recording: &mut SessionRecording<'_>,
    ) -> (Recorded, Result<Outcome, LaunchError>) {
        let Self { recorded, process_tree, inherited, grace, editor } = self;
        let launch = match &editor {
            None => Launch::prepare(&recorded, process_tree, inherited),
            Some(editor) => Launch::prepare_editor(&recorded, editor, process_tree, inherited),
        };
        let outcome = launch.and_then(Launch::can_end).and_then(|launch| {
            let limit = recorded.authorized().plan().time_limit().map(Duration::from);
            let enforcer = Enforcer::new(watch, grace, limit);
            perform(&launch, recorded.authorized().role(), inherited, enforcer, session_recording)
        });
        let _ = recorded.sync(); // done, unless the command was not started
        (recorded, outcome)
    }
}

fn perform(
    launch: &Launch,
    role: &Role,
    inherited: &Inherited,
    mut enforcer: Enforcer<'_>,
    session_recording: &mut SessionRecording<'_>,
) -> Result<Outcome, LaunchError> {
    let begun = Instant::now();
    // Nothing opens a terminal, or holds one, while the command may run: its user decides how long that takes.
    let terminal = if wants_pty(role) { Terminal::controlling().ok() } else { None };
    let end = match terminal {
        Some(terminal) => relay::run(launch, inherited, terminal, &mut enforcer, session_recording),
        None => direct::run(launch, inherited, &mut enforcer, session_recording),
    };
    let end = end?;
    let is_killed = matches!(end.event, WaitEvent::Signaled { signal: SIGKILL, .. });
    let unanswered = is_killed && launch.process_tree().was_killed();
    Ok(Outcome { end, ending: enforcer.ending(), duration: begun.elapsed(), failed: None, unanswered })
}

/// Output on a terminal can be recorded only on a pty of our own (sudo's rule too).
fn wants_pty(role: &Role) -> bool {
    role.options.use_pty || role.recording.record != Record::None
}
