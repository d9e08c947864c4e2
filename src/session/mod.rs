//! The session: what runs after the `start` record is on disk, until the command has ended. Knows no database; the
//! grant reaches it as a [`Watch`].

pub mod environment;
pub mod outcome;
pub mod watch;

mod buffer;
mod direct;
mod ending;
mod family;
mod hosted;
mod launch;
mod message;
mod modes;
mod monitor;
mod ready;
mod relay;
mod tape;
mod taps;

use std::time::{Duration, Instant};

pub use environment::EnvironmentError;
pub use family::{can_found, stand_alone, stand_apart};
pub use hosted::Hosted;
pub use launch::LaunchError;
pub use outcome::{ExitStatus, Outcome};
pub use tape::Tape;
pub use watch::{Ending, Verdict, Watch};

use crate::audit::recorded::Recorded;
use crate::elevation::Editor;
use crate::policy::{Record, Role};
use ending::Enforcer;
use launch::Launch;
use sys::sanitize::Inherited;
use sys::terminal::Terminal;

/// A recorded run, ready to begin.
#[must_use = "an opened session is run"]
pub struct Session<'a> {
    recorded: Recorded,
    inherited: &'a Inherited,
    grace: Duration,
    editor: Option<Editor>,
}

impl<'a> Session<'a> {
    /// A session for what was recorded. `grace` is the time between SIGTERM and SIGKILL when we end the command.
    pub fn open(recorded: Recorded, inherited: &'a Inherited, grace: Duration) -> Self {
        Self { recorded, inherited, grace, editor: None }
    }

    /// The same session with an editor in the place of the command, as the caller and in the environment that was recorded.
    pub fn editing(self, editor: Option<Editor>) -> Self {
        Self { editor, ..self }
    }

    /// Runs the command until it has ended; on a pty of its own when the caller has a terminal, and the role wants it.
    pub fn run(self, watch: &mut dyn Watch, tape: &mut Tape<'_>) -> (Recorded, Result<Outcome, LaunchError>) {
        let outcome = self.perform(watch, tape);
        (self.recorded, outcome)
    }

    fn perform(&self, watch: &mut dyn Watch, tape: &mut Tape<'_>) -> Result<Outcome, LaunchError> {
        let launch = match &self.editor {
            None => Launch::prepare(&self.recorded, self.inherited)?,
            Some(editor) => Launch::prepare_editor(&self.recorded, editor, self.inherited)?,
        };
        let begun = Instant::now();
        let authorized = self.recorded.authorized();
        let limit = authorized.manner().time_limit.map(Duration::from_secs);
        let mut enforcer = Enforcer::new(watch, self.grace, limit);
        let end = match Terminal::controlling() {
            Ok(terminal) if wants_pty(authorized.role()) => {
                relay::run(&launch, self.inherited, terminal, &mut enforcer, tape)
            }
            _ => direct::run(&launch, self.inherited, &mut enforcer, tape),
        };
        launch.into_family().part();
        Ok(Outcome { end: end?, ending: enforcer.ending(), duration: begun.elapsed(), failed: None })
    }
}

/// What is shown on a terminal can be recorded only on one of our own (sudo's rule too).
fn wants_pty(role: &Role) -> bool {
    role.options.use_pty || role.recording.record != Record::None
}
