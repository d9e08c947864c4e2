//! jit-sudo-enforcer: the process that ends a run when its grant ends, and what a finished command left running with it. It is a
//! program of its own, because a database connection must not be used across a fork, and uses nothing of the caller's: no terminal,
//! no pipe, no directory. Therefore it also signs checkpoints.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::charge::Charge;
use super::helper::Helper;
use super::left::Left;
use super::removal::{Holding, RemovalWatch};
use super::watched::Supervised;
use crate::activation::apart::{Outcome, Refused, Submission};
use crate::audit::Due;
use crate::host::{CLOSE, Host, HostError, OVERDUE, SEAL};
use crate::refusal::Refusal;
use crate::session::enforcement::{self, Enforcement, Taken};
use crate::session::supervise_for;
use jit_core::places::STATE;
use jit_core::policy::AuditSettings;
use sys::descriptors::take_standard_output;
use sys::poll::is_left;
use sys::process::{Earlier, Pid};
use sys::sandbox::{self, AllowedPath, Capability, Files, Post};
use sys::sanitize::Inherited;

/// What is read inside the sandbox: the policy's files, accounts and NSS modules, and processes.
const READ: [&str; 8] = ["/etc", "/proc", "/usr", "/lib", "/lib64", "/run", "/dev", "/var/lib/sss"];

/// The longest charge in bytes: a role and a grant are each smaller.
const CHARGE_LIMIT: u64 = 64 << 20;

/// The end of a run that lasted this long is signed at once; that of a shorter one by the next checkpoint that is due.
const SESSION: Duration = Duration::from_secs(1);

/// Runs the enforcer until it ends, and returns its exit status. Only root may start it.
pub fn serve(inherited: &Inherited) -> i32 {
    if inherited.identity.uid() != 0 {
        return 1;
    }
    let mut text = Vec::new();
    if io::stdin().take(CHARGE_LIMIT).read_to_end(&mut text).is_err() {
        return 1;
    }
    let done = match serde_json::from_slice::<Charge>(&text) {
        Ok(charge) => {
            supervise_for(charge.uid);
            enforce(&charge)
        }
        Err(_) if text == SEAL => seal(Due::InTime),
        Err(_) if text == CLOSE => close_lost(),
        Err(_) if text == OVERDUE => end_overdue(),
        Err(_) => match Holding::in_order(&text) {
            Some(holding) => open_host().and_then(|host| holding.look(&host)),
            None => return Submission::in_order(&text).map_or(1, |submission| submit(&submission)),
        },
    };
    i32::from(done.is_err())
}

/// Whether another process still reads our standard output.
fn is_heard() -> bool {
    is_left(io::stdout().as_fd(), Duration::ZERO).is_ok_and(|left| !left)
}

/// Submits a request, and writes the result to standard output.
fn submit(submission: &Submission) -> i32 {
    let done = open_host().map_err(Refusal::from).and_then(|host| Ok(submission.carry_out(&host, is_heard)?));
    let outcome: Outcome = done.map_err(|refusal| Refused { sentence: refusal.sentence(), hint: refusal.hint() });
    let mut out = io::stdout();
    let told = serde_json::to_writer(&mut out, &outcome).map_err(io::Error::from).and_then(|()| out.flush());
    i32::from(told.is_err())
}

fn open_host() -> Result<Host, HostError> {
    let name = sys::machine::host_name().map_err(|error| HostError::System("read the host's name", error))?;
    Host::open(&name)
}

fn seal(due: Due) -> Result<(), HostError> {
    let host = open_host()?;
    let policy = host.last_policy()?;
    host.seal(&host.journal(&policy.settings().audit), due)
}

/// Ends the processes of some runs whose supervisor has died, and closes these runs.
fn close_lost() -> Result<(), HostError> {
    let host = open_host()?;
    let policy = host.last_policy()?;
    host.close_some_lost(&host.journal(&policy.settings().audit))
}

/// Ends the runs that had to end and did not.
fn end_overdue() -> Result<(), HostError> {
    let host = open_host()?;
    let policy = host.last_policy()?;
    host.end_overdue(&host.journal(&policy.settings().audit), policy.settings().grace_period)
}

fn enforce(charge: &Charge) -> Result<(), HostError> {
    let watchdog = charge.watchdog.and_then(Pid::new).and_then(|pid| Some((pid, take_standard_output().ok()?)));
    let helper = Rc::new(Helper::start(&charge.programs));
    let (ours, told) = (Rc::clone(&helper), Rc::clone(&helper));
    let relay_process = charge.relay_process.and_then(Pid::new);
    let (back, run, run_as) = (Rc::clone(&helper), charge.run.clone(), charge.run_as);
    let since = charge.since;
    let take_back = Box::new(move || back.take_sessions_back(&run, run_as, since));
    let taken = Taken {
        supervisor: charge.supervisor,
        parent: charge.parent,
        command: charge.command.and_then(Pid::new),
        relay_process,
        group: charge.group.as_deref(),
        watchdog,
    };
    let enforcement = Enforcement::take(taken, ours, take_back);
    enforcement.spare_earlier(Earlier::with(charge.earlier.iter().copied()));
    let (begun, grace) = (Instant::now(), Duration::from_millis(charge.grace_ms));
    let host = open_host()?;
    let policy = host.last_policy()?;
    let audit = &policy.settings().audit;
    let journal = host.journal_with_hooks_by(audit, Rc::new(move |events| told.start_hooks(events)));
    journal.connect_sinks();

    let mut watch = RemovalWatch::over(charge.watched(charge.role.clone()), &host, &journal, &*helper);
    if helper.is_apart() {
        confine(audit);
    }
    let ending = enforcement.attend(&mut watch, grace, charge.limit_ms.map(Duration::from_millis));
    let grants = watch.grant().held().to_vec();
    drop(watch);
    let unrecorded = journal.open_runs()?.into_iter().any(|open| open.run == charge.run);
    let mut closed = Ok(());
    if unrecorded || ending.is_some() {
        // The run has lost its supervisor, or its time has ended.
        enforcement.end(if unrecorded { Duration::ZERO } else { grace });
        closed = host.close_every_lost_by(&journal, &|lost| helper.end_lost(lost)).map(drop);
    }
    if enforcement.left() == enforcement::Left::Somebody {
        let left = Left {
            run: &charge.run,
            uid: charge.uid,
            user: &charge.user,
            grants: &grants,
            role: &charge.role,
            what: Supervised::Command,
        };
        left.outlast(&enforcement.members(), &host, &journal, &*helper, &|watch| enforcement.outwatch(watch, grace))?;
    }
    enforcement.relieve_watchdog();
    closed?;
    let due = if begun.elapsed() >= SESSION { Due::Now } else { Due::InTime };
    host.seal(&journal, due)
}

/// Drops everything that is needed neither to end a run nor to record it. What stays: signals, records, log sinks and signatures.
fn confine(audit: &AuditSettings) {
    let cgroups = sys::cgroup::root().ok();
    let mirrored = audit.json_file.as_ref().and_then(|file| file.path.parent());
    let mut grounds = vec![AllowedPath::Write(Path::new(STATE))];
    grounds.extend(cgroups.as_deref().into_iter().chain(mirrored).map(AllowedPath::Write));
    grounds.extend(READ.iter().map(|path| AllowedPath::Read(Path::new(path))));
    let mut kept = vec![Capability::Kill, Capability::AuditWrite, Capability::AuditControl];
    // A kernel that lacks a part of the sandbox enforces the rest; `jitctl doctor` reports it.
    let _ = if sys::procfs::hides_processes() {
        // Landlock does not allow tracing processes outside the sandbox, and so hides which processes are left to be ended.
        kept.push(Capability::Ptrace);
        sandbox::confine(Post::Enforcer, &kept, Files::Any)
    } else {
        sandbox::confine(Post::Enforcer, &kept, Files::Below(&grounds))
    };
}
