//! The session: what runs after the `start` record is on disk, until the command has ended. Knows no database; the
//! grant reaches it as a [`Watch`].

pub mod environment;
pub mod outcome;
pub mod watch;

mod buffer;
mod direct;
mod ending;
mod family;
mod launch;
mod message;
mod monitor;
mod relay;

use std::time::{Duration, Instant};

pub use environment::EnvironmentError;
pub use family::{stand_alone, stand_apart};
pub use launch::LaunchError;
pub use outcome::{ExitStatus, Outcome};
pub use watch::{Ending, Verdict, Watch};

use crate::audit::recorded::Recorded;
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
}

impl<'a> Session<'a> {
    /// A session for what was recorded. `grace` is the time between SIGTERM and SIGKILL when we end the command.
    pub fn open(recorded: Recorded, inherited: &'a Inherited, grace: Duration) -> Self {
        Self { recorded, inherited, grace }
    }

    /// Runs the command until it has ended; on a pty of its own when the caller has a terminal.
    pub fn run(self, watch: &mut dyn Watch) -> (Recorded, Result<Outcome, LaunchError>) {
        let outcome = self.perform(watch);
        (self.recorded, outcome)
    }

    fn perform(&self, watch: &mut dyn Watch) -> Result<Outcome, LaunchError> {
        let launch = Launch::prepare(&self.recorded, self.inherited)?;
        let begun = Instant::now();
        let mut enforcer = Enforcer::new(watch, self.grace);
        let end = match Terminal::controlling() {
            Ok(terminal) => relay::run(&launch, self.inherited, terminal, &mut enforcer),
            Err(_) => direct::run(&launch, self.inherited, &mut enforcer),
        };
        launch.into_family().part();
        Ok(Outcome { end: end?, ending: enforcer.ending(), duration: begun.elapsed() })
    }
}
