//! This host: its files, its database and its identity. The only module that names concrete back ends (files, database, sinks).

mod anchor;
mod backup;
mod compiler;
mod cure;
mod finished_recordings;
mod identity;
mod inspection;
mod key_life;
mod key_place;
mod knowledge;
mod lectures;
mod lost;
mod overdue;
mod policies;
mod recordings;
mod reserve;
mod schema;
mod sealing;
mod sealing_key;
mod set_up;
mod slots;
mod strays;
mod supervisors;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::audit::sink::auditd::Auditd;
use crate::audit::sink::hooks::{self, Hooks, Starter};
use crate::audit::sink::journald::{self, Journald};
use crate::audit::sink::json_file::JsonFile;
use crate::audit::sink::syslog::{DEV_LOG, Syslog};
use crate::audit::sink::{Outbox, Sink, Transport};
use crate::audit::{self, Journal, JournalError, Sweep, Traces, Written};
use crate::console::{self, Console};
use crate::database::{Database, DatabaseError, Unwritten};
use crate::policy_index::IndexError;
use crate::session::{end_lost, give_up_stopped};
use crate::store::GrantStore;
use anchor::{Anchor, StateTraces};
pub use backup::{CopyFault, Restored};
pub use compiler::CompilerError;
pub use cure::{SALVAGE, free_space, writable};
pub use finished_recordings::FinishedRecording;
pub use identity::Identity;
pub use inspection::Mirror;
use jit_core::clock::{BootTime, Clock, Moment, Now, Timestamp};
use jit_core::evidence::{KeyEnd, Mark};
use jit_core::grant::approvers::{APPROVERS_LIMIT, ApproversError};
use jit_core::grant::hostkey::InvalidHostKey;
use jit_core::grant::{Approvers, TermsFault, Vouchers};
use jit_core::names::{Person, RunId};
use jit_core::places::HOOK_RUNNER;
use jit_core::places::{CONFIGURATION, HOOKS, STATE};
use jit_core::policy::{AuditSettings, PolicyError, PolicyWords, Role, SyslogMode};
use key_place::SEALED;
pub use knowledge::Knowledge;
pub use lost::{CLOSE, Closed};
pub use overdue::{OVERDUE, end_overdue_apart};
pub use policies::OnDisk;
pub use recordings::{Encoding, FinishedRecordings, Stage, StoredRecording, is_written};
pub use reserve::{Loan, RESERVE, RESERVE_SIZE};
pub use schema::open as open_database;
pub use sealing::SEAL;
pub use sealing_key::lost as lost_sealing_key;
pub use slots::{Slot, Work, slots};
use supervisors::SUPERVISORS;
pub(crate) use supervisors::signal_supervisor;
use sys::bell::Bell;
use sys::limits::Limits;
use sys::trusted::{TrustError, TrustedDirectory, TrustedFile};

const POLICY: &str = "policy.toml";
const POLICY_DIRECTORY: &str = "policy.d";
const APPROVERS: &str = "approvers";
const DATABASE: &str = "journal.db";
const HOST_KEY: &str = "host_key";
const PUBLIC_KEY: &str = "host_key.pub";
const BELL: &str = "bell";
const ANCHOR: &str = "anchor";

/// The longest policy file, in bytes.
const POLICY_LIMIT: usize = 64 << 20;

const KEY_LIMIT: usize = 16 << 10;

/// The minimum resource limits (getrlimit(2)) that a hook needs: processes, file descriptors, seconds of CPU time, bytes of a
/// file and of memory.
const HOOKS_NEED: [(&str, u64, &str); 6] = [
    ("nproc", 64, "processes (ulimit -u)"),
    ("nofile", 64, "open files (ulimit -n)"),
    ("cpu", 60, "CPU time (ulimit -t)"),
    ("fsize", 1 << 20, "the size of files (ulimit -f)"),
    ("as", 256 << 20, "memory (ulimit -v)"),
    ("data", 64 << 20, "data (ulimit -d)"),
];

/// The reason why this host cannot serve.
#[derive(Debug)]
pub enum HostError {
    /// A file is missing, or users other than root could write it.
    Trust(TrustError),
    /// The policy is invalid.
    Policy(PolicyError),
    /// The list of the approvers' keys is invalid.
    Approvers(ApproversError),
    /// The policy could not be compiled.
    Compiler(CompilerError),
    /// The policy is not text.
    PolicyEncoding(String),
    /// The compiled policy cannot be used.
    Index(IndexError),
    /// The policy files change faster than they can be read.
    Unsettled,
    /// The database cannot be used.
    Database(DatabaseError),
    /// The journal cannot be used.
    Journal(JournalError),
    /// A row of the database cannot be decoded.
    Damaged(String),
    /// The request or grant with this id has another version.
    Terms(String, TermsFault),
    /// The host has no key yet.
    NoKey(&'static str),
    /// The host key is sealed, and was not unsealed since the host booted.
    Sealed,
    /// The host key is damaged.
    Key(InvalidHostKey),
    /// The host was retired then; the fingerprint of the key that it has got since, which root has not accepted.
    Retired(Timestamp, Option<String>),
    /// The key in the file of the host key signs nothing more.
    Ended(KeyEnd),
    /// The database is an older copy; the text says how that was detected.
    Restored(String),
    /// A copy of the database is not one that can take its place.
    Copy(PathBuf, CopyFault),
    /// The file whose locks show which supervisors live cannot be opened or locked.
    Supervisors(io::Error),
    /// `/proc` is not mounted.
    NoProc,
    /// A system call failed.
    System(&'static str, io::Error),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trust(error) => error.fmt(f),
            Self::Policy(error) => error.fmt(f),
            Self::Approvers(error) => error.fmt(f),
            Self::Compiler(error) => error.fmt(f),
            Self::PolicyEncoding(path) => write!(f, "{path} is not UTF-8 text"),
            Self::Index(error) => error.fmt(f),
            Self::Unsettled => write!(f, "the policy in {CONFIGURATION} changes while it is read"),
            Self::Database(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::Damaged(what) => write!(f, "the database holds damaged terms: {what}"),
            Self::Terms(id, fault) => write!(f, "request {id} cannot be used: {fault}"),
            Self::NoKey(file) => write!(f, "this host has no key: {STATE}/{file} is missing"),
            Self::Sealed => {
                write!(f, "the key of this host is sealed in {STATE}/{SEALED}, and was not unsealed since the boot")
            }
            Self::Key(error) => write!(f, "{STATE}/{HOST_KEY} {error}"),
            Self::Retired(at, None) => {
                write!(f, "this host was retired at {}: its private key was removed", at.to_the_second())
            }
            Self::Retired(at, Some(key)) => write!(
                f,
                "this host was retired at {}, and root has not accepted its new key, {key}, so no grant is given or accepted",
                at.to_the_second()
            ),
            Self::Ended(end) => {
                let what = if end.is_retirement { "retired with its host" } else { "replaced by another one" };
                let at = Timestamp::from_seconds(end.at).to_the_second();
                write!(f, "{STATE}/{HOST_KEY} has a key that was {what} at {at}, so nothing is signed")
            }
            Self::Restored(how) => write!(f, "{how}, so no grant is given or accepted"),
            Self::Copy(path, fault) => write!(f, "{}: {fault}", path.display()),
            Self::Supervisors(error) => write!(f, "unable to lock {STATE}/{SUPERVISORS}: {error}"),
            Self::NoProc => f.write_str("/proc is not mounted, and jit-sudo cannot supervise a command without it"),
            Self::System(what, error) => write!(f, "unable to {what}: {error}"),
        }
    }
}

impl HostError {
    /// Returns details that only users who may read the policy may see, where there are more than `Display` shows.
    pub fn words(&self) -> Option<PolicyWords> {
        match self {
            Self::Policy(error) => Some(error.words()),
            Self::Approvers(error) => Some(error.words()),
            Self::Index(error) => Some(error.words()),
            _ => None,
        }
    }

    /// Returns whether the error is that something could not be stored, and why.
    pub fn unwritten(&self) -> Option<Unwritten> {
        match self {
            Self::Database(error) => error.unwritten(),
            Self::Journal(error) => error.unwritten(),
            Self::Index(IndexError::Database(error)) => Unwritten::of(error),
            Self::Supervisors(error) => Some(Unwritten::of_file(error)),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($error:ty => $variant:ident),*) => {
        $(impl From<$error> for HostError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}
from!(TrustError => Trust, PolicyError => Policy, ApproversError => Approvers, IndexError => Index, DatabaseError => Database,
    JournalError => Journal, InvalidHostKey => Key);

impl From<rusqlite::Error> for HostError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Journal(error.into())
    }
}

/// The opened host.
pub struct Host {
    state: TrustedDirectory,
    database: Database,
    name: String,
    /// Whether a checkpoint is being signed by this process or by one that it has started.
    sealing: Rc<Cell<bool>>,
}

/// The clocks of the system.
pub struct SystemClock;

impl Clock for SystemClock {
    fn read(&self) -> io::Result<Moment> {
        Ok(Moment {
            wall: Timestamp(sys::time::realtime_us()),
            boot: BootTime(sys::time::boottime_us()),
            boot_id: sys::time::boot_id()?,
        })
    }
}

/// Passes events, one per line, to the hooks, through a process that may start programs.
///
/// # Errors
/// Fails when the hook runner cannot be started.
pub fn start_hooks(events: &[u8]) -> std::io::Result<()> {
    hooks::start(Path::new(HOOK_RUNNER), events)
}

impl Host {
    /// Opens the state directory and the database; `name` is the host name in records.
    pub fn open(name: &str) -> Result<Self, HostError> {
        let state = state_directory()?;
        let database = schema::open(&Path::new(STATE).join(DATABASE))?;
        Ok(Self { state, database, name: name.to_owned(), sealing: Rc::default() })
    }

    /// Returns the readings of all clocks, for records.
    pub fn clocks(&self) -> Result<Moment, HostError> {
        SystemClock.read().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound if !Path::new("/proc/self").exists() => HostError::NoProc,
            _ => HostError::System("read the clock", error),
        })
    }

    /// Returns the time that counts for starts, ends and deadlines.
    pub fn now(&self) -> Result<Now, HostError> {
        Ok(audit::now(self.database.connection(), self.clocks()?)?)
    }

    /// Returns a new id for a run: 12 characters of Crockford's base 32.
    pub fn new_run_id(&self) -> Result<RunId, HostError> {
        Ok(RunId::from_random(random("make an id")?))
    }

    /// Does the maintenance that every program start does, with a few indexed queries: writes an `end` with the outcome `lost`
    /// for runs whose supervisor has died, and records a changed clock or a database that is older than its anchor. A run does
    /// the latter first, and has another process close lost runs when its own command has started.
    pub fn tend(&self, journal: &Journal<'_>) -> Result<(), HostError> {
        let moment = self.notice(journal)?;
        self.close_lost(journal, &moment, Sweep::Sample, &give_up_stopped, &end_lost).map(drop)
    }

    /// Returns the record that the anchor names.
    pub fn anchored(&self) -> Result<Option<Mark>, HostError> {
        self.anchor().read().map_err(|error| HostError::System("read the anchor", error))
    }

    /// Reports an event that the journal could not record to syslog and to standard error.
    pub fn alert_and_say(&self, sentence: &str, console: &mut Console) {
        self.alert(sentence);
        console.say(&console::line(sentence));
    }

    /// Does the same without a message to the caller.
    pub fn alert(&self, sentence: &str) {
        Self::alert_unopened(sentence);
    }

    /// Does the same where the host could not be opened.
    pub fn alert_unopened(sentence: &str) {
        let now = Timestamp(sys::time::realtime_us());
        let _ = Syslog::new(DEV_LOG, std::process::id()).alert(now, sentence);
    }

    /// Returns the name of this host.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the database, for modules that change several tables in one transaction.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Returns the store of requests and grants.
    pub fn store(&self) -> GrantStore<'_> {
        GrantStore::new(self.database.connection())
    }

    /// Returns the journal with the sinks that the policy names, and the hooks. Starts a signing process when a record makes a
    /// checkpoint due.
    pub fn journal(&self, audit: &AuditSettings) -> Journal<'_> {
        self.sealed(self.journal_with(audit, Hooks::new(HOOKS, HOOK_RUNNER)))
    }

    /// Does the same for a process that may not start programs.
    pub fn journal_with_hooks_by(&self, audit: &AuditSettings, starter: Starter) -> Journal<'_> {
        self.journal_with(audit, Hooks::started_by(HOOKS, starter))
    }

    fn journal_with(&self, audit: &AuditSettings, hooks: Hooks) -> Journal<'_> {
        let mut sinks = self.sinks(audit);
        sinks.push(Box::new(hooks));
        let journal =
            Journal::new(&self.database, &self.name, sinks).with_storage(audit.storage).with_epoch(audit.epoch);
        journal.with_traces(self.traces())
    }

    /// Returns the resource limit of this process that would keep hooks from running, if there are hooks. It is inherited from
    /// the caller where root may not raise it (no CAP_SYS_RESOURCE, capabilities(7)).
    pub fn deafening_limit(&self) -> Option<&'static str> {
        let limits = Limits::current().ok().filter(|_| hooks::exist(Path::new(HOOKS)))?;
        HOOKS_NEED.iter().find_map(|(name, least, words)| {
            limits.named(name).is_some_and(|limit| limit.soft < *least).then_some(*words)
        })
    }

    /// Returns the journal without hooks, for records that hooks themselves cause, which must not trigger them again.
    pub fn journal_without_hooks(&self, audit: &AuditSettings) -> Journal<'_> {
        Journal::new(&self.database, &self.name, self.sinks(audit)).with_traces(self.traces())
    }

    /// Returns the bell that wakes processes that wait for a request or watch a grant.
    pub fn bell(&self) -> Result<Bell, HostError> {
        Bell::open(&Path::new(STATE).join(BELL)).map_err(|error| HostError::System("open the bell", error))
    }

    /// Tells of a change of requests, grants or sessions, which was committed with these records: first the processes that wait for
    /// it or end a run, then the log sinks, which may take their time. Only this function rings, so nothing comes before.
    pub fn announce(&self, journal: &Journal<'_>, written: &[Written]) {
        self.ring();
        let _ = journal.mirror(written); // the journal has the records; a sink never decides
    }

    /// Wakes all processes that wait for a request or watch a grant. Supervisors see an end only by the bell, so it may use the
    /// reserve on a full disk.
    fn ring(&self) {
        let is_rung = || self.bell().is_ok_and(|bell| bell.ring().is_ok());
        if !is_rung()
            && let Some(mut loan) = Loan::begin()
            && loan.take_for_file()
        {
            let _ = is_rung();
        }
    }

    /// Returns the keys of the approvers; none where the file is missing.
    pub fn approvers(&self) -> Result<Approvers, HostError> {
        let path = Path::new(CONFIGURATION).join(APPROVERS);
        let file = match TrustedFile::open(&path) {
            Ok(file) => file,
            Err(TrustError::Missing { .. }) => return Ok(Approvers::default()),
            Err(error) => return Err(error.into()),
        };
        Ok(Approvers::parse(&path.display().to_string(), &file.read(APPROVERS_LIMIT)?)?)
    }

    /// Returns the approvers' keys, and the approvals and requests of the open grants of `holder`, if one of `roles` requires signed
    /// approvals.
    pub fn vouchers(&self, roles: &[Role], holder: &Person, now: i64) -> Result<Option<Vouchers>, HostError> {
        if !roles.iter().any(|role| role.activation.signed_approvals) {
            return Ok(None);
        }
        let approvals = self.store().candidate_approvals(holder, now)?;
        let requests = self.store().candidate_requests(holder, now)?;
        Ok(Some(Vouchers { approvers: self.approvers()?, approvals, requests }))
    }
}

impl Host {
    /// Records a changed clock, or a database that is older than its anchor. Returns the time.
    pub fn notice(&self, journal: &Journal<'_>) -> Result<Moment, HostError> {
        // The anchor is read before the database: the record that it names was committed before.
        let anchor = self.anchored()?;
        let moment = self.clocks()?;
        let noticed = journal.notice(&moment, anchor)?;
        if anchor.is_none() {
            self.begin_anchor(journal)?;
        }
        let _ = journal.mirror(&noticed);
        Ok(moment)
    }

    /// Makes the anchor that is missing, of the database as it began: any record may be lost with the power that is not synced.
    fn begin_anchor(&self, journal: &Journal<'_>) -> Result<(), HostError> {
        match self.state.create(ANCHOR.as_ref(), format!("{}\n", journal.origin()?).as_bytes(), 0o600) {
            Err(TrustError::Io { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => Ok(made?),
        }
    }

    fn anchor(&self) -> Anchor {
        Anchor::at(self.state.path().join(ANCHOR))
    }

    fn traces(&self) -> impl Traces + use<> {
        StateTraces::of(self.state.path())
    }

    /// Returns the anchor and the log sinks that the policy names.
    fn sinks(&self, audit: &AuditSettings) -> Vec<Box<dyn Sink>> {
        let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(self.anchor())];
        if audit.syslog != SyslogMode::Off {
            sinks.push(self.outbox("syslog", Syslog::new(DEV_LOG, std::process::id()).with(audit.syslog_format)));
        }
        if audit.journald {
            sinks.push(self.outbox("journald", Journald::new(journald::SOCKET)));
        }
        if audit.auditd {
            sinks.push(self.outbox("auditd", Auditd::default()));
        }
        if let Some(rules) = &audit.json_file {
            sinks.push(self.outbox("json_file", JsonFile::new(rules.clone())));
        }
        sinks
    }

    /// Wraps a log sink so that a file beside the database records how far the sink has got.
    fn outbox(&self, name: &str, transport: impl Transport + 'static) -> Box<dyn Sink> {
        Box::new(Outbox::new(transport, self.state.path().join(format!("sent-{name}"))))
    }
}

fn state_directory() -> Result<TrustedDirectory, HostError> {
    let directory = TrustedDirectory::open(Path::new(STATE))?;
    directory.private()?;
    Ok(directory)
}

fn random<const N: usize>(what: &'static str) -> Result<[u8; N], HostError> {
    sys::random::random().map_err(|error| HostError::System(what, error))
}
