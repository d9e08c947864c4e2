//! [`Recorded`]: proof that the `start` of a run is committed, and what waits until it is on the disk. Only this module makes it;
//! exec requires it, and syncs first.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use rusqlite::Transaction;

use super::error::JournalError;
use super::journal::{Journal, Started, Written};
use super::open_run::Process;
use super::sink::Delivery;
use crate::auth::AuthMethod;
use crate::authorized::environment::RunEnvironment;
use crate::authorized::{Authorized, Power};
use crate::database::DatabaseError;
pub use crate::database::Unsynced;
use crate::elevation::CommandError;
use crate::store::keep_role;
use jit_core::clock::{Moment, Timestamp};
use jit_core::escape::{Word, unhex};
use jit_core::evidence::record::{Assignment, Authentication, Change, Digest, RunOutcome, Start};
use jit_core::evidence::redact::Redactor;
use jit_core::names::{GrantId, RunId};

/// An authorized run whose start is committed.
#[must_use = "a recorded run is run, and its end recorded"]
pub struct Recorded {
    authorized: Authorized,
    environment: RunEnvironment,
    started: Started,
    unsent: Option<Written>,
    unsynced: Rc<Unsynced>,
}

/// The reason why the start was not recorded, so that the command must not run.
#[derive(Debug)]
pub enum StartError {
    /// The journal cannot be written.
    Journal(JournalError),
    /// The grant was revoked, released or used up in the meantime.
    GrantEnded(GrantId),
    /// The opened program cannot be read to the end.
    Program(CommandError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(error) => write!(f, "the run cannot be recorded, so it does not begin: {error}"),
            Self::GrantEnded(id) => write!(f, "grant {id} was ended or used meanwhile"),
            Self::Program(error) => error.fmt(f),
        }
    }
}

impl From<JournalError> for StartError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<DatabaseError> for StartError {
    fn from(error: DatabaseError) -> Self {
        Self::Journal(error.into())
    }
}

impl From<rusqlite::Error> for StartError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Journal(error.into())
    }
}

impl Recorded {
    /// Commits the start of `authorized`, with the exact `environment` that the command will get. The same transaction claims the
    /// grant: it must still be valid, and a one-shot grant is used up. Does not wait for the disk: see [`Self::sync`]. Does not
    /// send the start to the sinks: see [`Self::mirror`] and [`Self::unsent`].
    pub fn commit(
        journal: &Journal<'_>,
        authorized: Authorized,
        environment: RunEnvironment,
        (run, supervisor): (RunId, Process),
        redacted: &[String],
        moment: &Moment,
    ) -> Result<Self, StartError> {
        let redactor = Redactor::new(redacted, journal.redaction_key()?, authorized.elevation().caller().uid());
        let start = start_event(&authorized, environment.entries(), run.clone(), &redactor)?;
        let claim = |tx: &Transaction<'_>| claim(tx, &authorized, run.as_str(), moment, journal.is_as_read());
        let ((started, ()), unsynced) = journal.start_unsynced(moment, start, supervisor, claim)?;
        let unsent = Some(started.written().clone());
        Ok(Self { authorized, environment, started, unsent, unsynced: Rc::new(unsynced) })
    }

    /// Waits until the start is on the disk. Needed only before something else than the exec of the command depends on it.
    pub fn sync(&self) -> Result<(), StartError> {
        Ok(self.unsynced.sync()?)
    }

    /// Returns what the exec of the command waits for.
    pub fn unsynced(&self) -> Rc<Unsynced> {
        Rc::clone(&self.unsynced)
    }

    /// Returns the id of the run.
    pub fn run(&self) -> &RunId {
        self.started.run()
    }

    /// Returns the time of the start.
    pub fn time(&self) -> Timestamp {
        self.started.written().time
    }

    /// Returns the authorized run.
    pub fn authorized(&self) -> &Authorized {
        &self.authorized
    }

    /// Returns the environment that was recorded.
    pub fn environment(&self) -> &RunEnvironment {
        &self.environment
    }

    /// Sends the start to the sinks, where they decide whether the command may run.
    pub fn mirror(&mut self, journal: &Journal<'_>) -> Delivery {
        self.unsent().map_or(Delivery::Delivered, |written| journal.mirror(&[written]))
    }

    /// Takes the start if it was not sent to the sinks yet; the caller must send it.
    #[must_use = "a committed record is mirrored to the sinks"]
    pub fn unsent(&mut self) -> Option<Written> {
        self.unsent.take()
    }

    /// Records the new contents of a file and sends the record to the sinks; it is on the disk when this returns.
    pub fn edit(&self, journal: &Journal<'_>, change: Change, moment: &Moment) -> Result<(), JournalError> {
        let written = journal.edit(&self.started, moment, change)?;
        let _ = journal.mirror(&[written]); // as for the end
        Ok(())
    }

    /// Records the end and sends it to the sinks.
    pub fn end(&self, journal: &Journal<'_>, ending: RunOutcome, moment: &Moment) -> Result<(), JournalError> {
        let written = journal.end(&self.started, moment, ending)?;
        let _ = journal.mirror(&[written]); // a sink never decides once the command has run
        Ok(())
    }
}

fn claim(
    tx: &Transaction<'_>,
    authorized: &Authorized,
    run: &str,
    moment: &Moment,
    is_unchanged: bool,
) -> Result<(), StartError> {
    let role = authorized.role();
    // The process that requested a grant has stored the text of the role.
    match authorized.power() {
        Power::Grant(terms) if terms.role_digest == role.digest => {}
        Power::Grant(_) | Power::Standing => keep_role(tx, &role.digest, role)?,
    }
    match authorized.power() {
        Power::Grant(terms) if super::claim(tx, terms, run, moment, is_unchanged)? => Ok(()),
        Power::Grant(terms) => Err(StartError::GrantEnded(terms.id.clone())),
        Power::Standing => Ok(()),
    }
}

fn start_event(
    authorized: &Authorized,
    environment: &[OsString],
    run: RunId,
    redactor: &Redactor<'_>,
) -> Result<Start, StartError> {
    let (plan, elevation) = (authorized.plan(), authorized.elevation());
    let (caller, run_as, command) = (elevation.caller(), elevation.run_as(), elevation.command());
    let (grant, grant_sha256) = match authorized.power() {
        Power::Grant(terms) => (Some(terms.id.clone()), terms.sha256().map(Digest)),
        Power::Standing => (None, None),
    };
    Ok(Start {
        run,
        uid: caller.uid(),
        user: Word::from(caller.name().as_str()),
        gid: caller.gid(),
        groups: caller.group_ids().to_vec(),
        tty: caller.tty().map(|tty| Word::from(tty.name.as_os_str())),
        cwd: plan.directory().word(caller),
        pid: sys::process::Pid::own().raw(),
        run_as: Word::from(run_as.name().as_str()),
        run_as_uid: plan.credentials().uid,
        run_as_gid: plan.credentials().gid,
        run_as_groups: plan.credentials().groups.clone(),
        umask: Some(plan.umask()),
        argv: plan.argv().words().map(Word::from).collect(),
        typed: plan.argv().typed().map(Word::from),
        environment: redactor.environment(environment.iter().map(|entry| split(entry))),
        path: Word::from(command.canonical().as_os_str()),
        dev: command.program().map_or(0, |program| program.stamp().dev),
        ino: command.program().map_or(0, |program| program.stamp().ino),
        sha256: Digest(command.digest().map_err(StartError::Program)?),
        role: Some(authorized.role().name.clone()),
        assignment: if grant.is_some() { Assignment::Grant } else { Assignment::Standing },
        grant,
        authenticated: match authorized.how() {
            AuthMethod::Password => Authentication::Password,
            AuthMethod::Unasked => Authentication::Unasked,
            AuthMethod::Cache => Authentication::Cache,
            AuthMethod::NotAsked => Authentication::None,
        },
        auth_service: authorized.authenticated_by().map(|by| Word::from(by.service.as_str())),
        auth_answers: authorized.authenticated_by().map(|by| by.answers),
        editor: command
            .edit_wish()
            .and_then(|edit| edit.editor())
            .map(|editor| editor.words.iter().map(Word::from).collect()),
        service: None,
        remote: None,
        policy: authorized.role().policy.map(Digest),
        role_digest: unhex(&authorized.role().digest).map(Digest),
        role_sha256: authorized.role().compiled.map(Digest),
        grant_sha256,
    })
}

fn split(entry: &OsStr) -> (&OsStr, &OsStr) {
    let bytes = entry.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
    let (name, value) = bytes.split_at_checked(at).unwrap_or((bytes, b""));
    (OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..).unwrap_or_default()))
}
