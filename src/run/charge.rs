//! What the enforcer reads from its standard input: the run that it watches.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::watched::{Supervised, Watched};
use crate::programs::start_reporting_enforcer;
use crate::session::{EnforcedRun, Known, refuge};
use jit_core::escape::Word;
use jit_core::grant::GrantTerms;
use jit_core::names::RunId;
use jit_core::policy::Role;
use sys::process::{Pid, process_start};
use sys::programs::KnownFile;

/// What the enforcer reads from its standard input.
#[derive(Serialize, Deserialize)]
pub(super) struct Charge {
    /// The id of the run.
    pub(super) run: RunId,
    /// The uid of its user.
    pub(super) uid: u32,
    /// The name of its user.
    pub(super) user: Word,
    /// The grant under which it began, followed by its extensions.
    pub(super) grants: Vec<GrantTerms>,
    /// The role through which it runs.
    pub(super) role: Role,
    pub(super) supervisor: Known,
    /// When the supervisor has started, in clock ticks since boot.
    pub(super) since: u64,
    pub(super) parent: Known,
    pub(super) command: Option<i32>,
    pub(super) relay_process: Option<i32>,
    /// The watchdog of the run; the standard output of the enforcer is the socket to it.
    pub(super) watchdog: Option<i32>,
    /// The processes that the caller had before.
    pub(super) earlier: Vec<(i32, u64)>,
    pub(super) group: Option<PathBuf>,
    pub(super) run_as: u32,
    pub(super) grace_ms: u64,
    pub(super) limit_ms: Option<u64>,
    /// The files of our programs that the supervisor has seen.
    pub(super) programs: Vec<KnownFile>,
}

impl Charge {
    pub(super) fn new(watched: Watched, enforced_run: &EnforcedRun, run_as: u32) -> io::Result<Self> {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            run: watched.run,
            uid: watched.uid,
            user: watched.user,
            grants: watched.grants,
            role: watched.role,
            supervisor: Known::of(Pid::own())?,
            since: process_start(Pid::own())?, // known since the start record
            parent: Known::of(enforced_run.parent)?,
            command: enforced_run.command.map(Pid::raw),
            relay_process: enforced_run.relay_process.map(Pid::raw),
            watchdog: enforced_run.watchdog.as_ref().map(|(pid, _)| pid.raw()),
            earlier: enforced_run.earlier.numbers(),
            group: enforced_run.group.clone(),
            run_as,
            grace_ms: ms(enforced_run.grace),
            limit_ms: enforced_run.limit.map(ms),
            programs: enforced_run.programs.clone(),
        })
    }

    /// Starts the enforcer with this charge, and does not wait. It reports to the watchdog on `line`.
    pub(super) fn hand_over(&self, line: Option<&OwnedFd>) -> io::Result<Pid> {
        start_reporting_enforcer(&serde_json::to_vec(self)?, line, refuge().as_ref())
    }

    pub(super) fn watched(&self, role: Role) -> Watched {
        Watched {
            grants: self.grants.clone(),
            role,
            uid: self.uid,
            user: self.user.clone(),
            run: self.run.clone(),
            what: Supervised::Command,
            unsent: None,
        }
    }
}
