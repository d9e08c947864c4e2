//! Everything that the command's process needs, prepared before the fork. Between fork and exec the kernel may refuse, and so may
//! [`Launch::hold`]: a program that its owner can rewrite is held and hashed again there, in the child.
//! Our programs have one thread, so that a child may allocate.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::launch_error::LaunchError;
use super::process_tree::ProcessTree;
use super::streams::{CommandStreams, end_of};
use crate::audit::recorded::{Recorded, Unsynced};
use crate::authorized::environment::RunEnvironment;
use crate::authorized::{ExecPlan, trusted};
use crate::elevation::Editor;
use crate::elevation::command::sha256_of;
use crate::elevation::edit::credentials_of_caller;
use crate::judge::WorkingDirectory;
use crate::programs::UNBORN;
use jit_core::escape::Word;
use sys::cgroup::{self, Cgroup};
use sys::disk::is_served_by_kernel;
use sys::exec::{Credentials, Directory, ExecError, Execution, Image, Programs, Step};
use sys::held::HeldProgram;
use sys::limits::Limits;
use sys::poll::pipe;
use sys::process::{Pid, exit_now, fork_into, under_name};
use sys::sandbox::{Capability, holds};
use sys::sanitize::Inherited;
use sys::trusted::RootsName;

/// The prepared command.
pub(super) struct Launch {
    image: PreparedImage,
    argv: Vec<CString>,
    environment: Vec<CString>,
    credentials: Credentials,
    directory: WorkingDirectory,
    kept: Vec<RawFd>,
    umask: u32,
    limits: Limits,
    own_limits: Limits,
    /// The record of the start, for which the exec waits.
    start: Rc<Unsynced>,
    detached: bool,
    process_tree: ProcessTree,
    start_group: StartGroup,
    programs: Programs,
    /// Whether only the kernel determines how long the exec takes.
    is_prompt: bool,
}

/// A command's process.
pub(super) struct Started {
    pub(super) command: Pid,
    /// Returns why the command was not executed, after its process has ended; `None` when it was executed.
    pub(super) failure: Option<OwnedFd>,
}

/// The control group in which a process is started.
enum StartGroup {
    /// The group of the process tree, which can be frozen and killed as a whole.
    Ours,
    /// The caller's group, under the limits of their session: the process has only their privileges.
    Callers(Option<Cgroup>),
}

enum PreparedImage {
    Descriptor(OwnedFd),
    /// A program that its owner can rewrite: it must have the recorded digest while it is held.
    Owned(OwnedProgram),
    Script(HeldProgram),
    Path(RootsName),
    Editor(CString),
}

/// A program that its owner can rewrite.
struct OwnedProgram {
    fd: OwnedFd,
    path: PathBuf,
    /// The recorded digest.
    digest: [u8; 32],
}

impl Launch {
    /// Prepares the recorded command.
    pub(super) fn prepare(
        recorded: &Recorded,
        process_tree: ProcessTree,
        inherited: &Inherited,
    ) -> Result<Self, LaunchError> {
        let authorized = recorded.authorized();
        let plan = authorized.plan();
        let RunEnvironment::Command(environment) = recorded.environment() else {
            return Err(LaunchError::OtherEnvironment);
        };
        let image = image(plan)?;
        Ok(Self {
            is_prompt: is_prompt(plan, &image),
            image,
            argv: plan.argv().words().map(c_string).collect::<Result<_, _>>()?,
            environment: c_strings(environment.entries())?,
            credentials: plan.credentials().clone(),
            directory: plan.directory().clone(),
            kept: inherited.descriptors.iter().copied().filter(|fd| is_below(*fd, plan.closefrom())).collect(),
            umask: plan.umask(),
            detached: plan.elevation().wish().background,
            limits: authorized.session_limits(inherited),
            own_limits: authorized.own_limits(inherited),
            start: recorded.unsynced(),
            process_tree,
            start_group: StartGroup::Ours,
            programs: plan.programs(),
        })
    }

    /// Prepares an editor, with the caller's privileges only.
    pub(super) fn prepare_editor(
        recorded: &Recorded,
        editor: &Editor,
        process_tree: ProcessTree,
        inherited: &Inherited,
    ) -> Result<Self, LaunchError> {
        let caller = recorded.authorized().elevation().caller();
        let RunEnvironment::Editor(environment) = recorded.environment() else {
            return Err(LaunchError::OtherEnvironment);
        };
        let group = cgroup::started_in(inherited.group.as_deref());
        let group = group.map_err(|error| LaunchError::System("open your control group", error))?;
        Ok(Self {
            image: PreparedImage::Editor(c_string(editor.path.as_os_str())?),
            argv: c_strings(&editor.words)?,
            environment: c_strings(environment.entries())?,
            credentials: credentials_of_caller(caller),
            directory: WorkingDirectory::Callers,
            kept: Vec::new(),
            umask: inherited.umask,
            detached: false,
            limits: inherited.limits.clone(),
            own_limits: recorded.authorized().own_limits(inherited),
            start: recorded.unsynced(),
            process_tree,
            start_group: StartGroup::Callers(group),
            programs: Programs::Any,
            is_prompt: false,
        })
    }

    /// Returns the owner of the command's terminal.
    pub(super) fn owner(&self) -> u32 {
        self.credentials.uid
    }

    /// Whether -b was given: the command never gets the caller's terminal.
    pub(super) fn is_detached(&self) -> bool {
        self.detached
    }

    fn is_command(&self) -> bool {
        !matches!(self.image, PreparedImage::Editor(_))
    }

    /// Checks that the command can be ended: the kernel kills the processes of a control group for root, but a process without
    /// CAP_KILL can signal only those of its own user, and root can become any other.
    pub(super) fn can_end(self) -> Result<Self, LaunchError> {
        if !self.is_command() || self.process_tree.group().is_some() || holds(Capability::Kill) {
            return Ok(self);
        }
        Err(LaunchError::Endless(format!("uid {}", self.credentials.uid)))
    }

    /// Returns the process tree of the command.
    pub(super) fn process_tree(&self) -> &ProcessTree {
        &self.process_tree
    }

    /// Returns the group in which the process is started; `None` means the current one.
    pub(super) fn start_group(&self) -> Option<&Cgroup> {
        match &self.start_group {
            StartGroup::Ours => self.process_tree.group(),
            StartGroup::Callers(group) => group.as_ref(),
        }
    }

    /// Waits until the record of the start is on the disk. Where this process goes on before the exec, it waits itself, because it
    /// sends the record to the sinks.
    pub(super) fn sync(&self) -> Result<(), ExecError> {
        self.start.sync_data().map_err(|error| ExecError::at(Step::Record, &error))
    }

    /// Starts the command as our child with our standard streams, except for the given `ends`. Waits for the exec only where
    /// nothing but the kernel can delay it: the process that waits here does not end the command.
    pub(super) fn start(&self, inherited: &Inherited, ends: &CommandStreams) -> Result<Started, ExecError> {
        let [output, error] = ends;
        let (own, standard) = (Pid::own(), [None, end_of(output), end_of(error)]);
        // A stream that the child replaces is closed there, which a file system may delay.
        if self.is_prompt && standard.iter().all(Option::is_none) {
            let spawn = || self.execution(inherited, own, None, standard).spawn(self.start_group());
            let command = if self.is_command() { spawn()? } else { under_name(UNBORN, spawn)? };
            self.start.was_synced();
            return Ok(Started { command, failure: None });
        }
        self.sync()?;
        let (failure, told) = pipe().map_err(|error| ExecError::unborn(&error))?;
        let fork = || fork_into(self.start_group(), || self.exec_or_report(inherited, own, standard, &told));
        let command = if self.is_command() { fork() } else { under_name(UNBORN, fork) };
        let command = command.map_err(|error| ExecError::unborn(&error))?;
        Ok(Started { command, failure: Some(failure) })
    }

    /// Converts an error of the command's process into one that names its object.
    pub(super) fn failed(&self, error: ExecError) -> LaunchError {
        let path = |path: &CString| PathBuf::from(OsStr::from_bytes(path.as_bytes()));
        match (error.step, &self.directory, &self.image) {
            (Step::Directory, WorkingDirectory::Opened(directory), _) => {
                LaunchError::Path("change directory to", directory.path().to_owned(), error)
            }
            (Step::Image, _, PreparedImage::Owned(program)) if error == ExecError::CHANGED => changed(&program.path),
            (Step::Image, _, PreparedImage::Path(program)) => {
                LaunchError::Path("execute", program.path().to_owned(), error)
            }
            (Step::Image, _, PreparedImage::Editor(program)) => LaunchError::Path("execute", path(program), error),
            _ => LaunchError::Exec(error),
        }
    }

    /// Holds a program that its owner can rewrite until it was executed, and checks that it is the recorded one. Called in the
    /// child that executes it.
    fn hold(&self) -> Result<Option<HeldProgram>, ExecError> {
        let PreparedImage::Owned(OwnedProgram { fd, digest, .. }) = &self.image else { return Ok(None) };
        let unread = |error: io::Error| match error.raw_os_error() {
            Some(errno) => ExecError { step: Step::Image, errno },
            None => ExecError::CHANGED,
        };
        let held = HeldProgram::program(fd.as_fd(), &self.credentials).map_err(unread)?;
        let is_same = sha256_of(held.file()).map_err(unread)? == *digest;
        held.die_when_written().map_err(unread)?;
        if is_same && held.stands() { Ok(Some(held)) } else { Err(ExecError::CHANGED) }
    }

    /// Returns the execution of the command, for this process or a child, with `standard` as fds 0 to 2 where given.
    fn execution<'a>(
        &'a self,
        inherited: &'a Inherited,
        parent: Pid,
        held: Option<&'a HeldProgram>,
        standard: [Option<BorrowedFd<'a>>; 3],
    ) -> Execution<'a> {
        let image = match &self.image {
            PreparedImage::Descriptor(fd) => Image::Descriptor(fd.as_fd()),
            PreparedImage::Owned(program) => Image::Descriptor(held.map_or(program.fd.as_fd(), HeldProgram::as_fd)),
            PreparedImage::Script(fd) => Image::Script(fd.as_fd()),
            PreparedImage::Path(name) => Image::Path(name),
            PreparedImage::Editor(path) => Image::Powerless(path),
        };
        Execution {
            image,
            argv: &self.argv,
            environment: &self.environment,
            credentials: &self.credentials,
            // An editor has no privileges that would have to be ended.
            dies_with: self.is_command().then_some(parent),
            limits: &self.limits,
            own_limits: &self.own_limits,
            unsynced: self.start.pending(),
            scheduling: &inherited.scheduling,
            umask: self.umask,
            directory: match &self.directory {
                WorkingDirectory::Callers => Directory::Unchanged,
                WorkingDirectory::Opened(directory) => Directory::Opened(directory.as_fd()),
                WorkingDirectory::Instead(words) => Directory::Instead(words),
            },
            ignored_signals: inherited.ignored_signals,
            blocked_signals: inherited.blocked_signals,
            oom_score_adj: inherited.oom_score_adj,
            standard,
            kept: &self.kept,
            programs: self.programs,
        }
    }

    /// Executes the command in a child of `parent`, which reads the other end of `report`.
    pub(super) fn exec_or_report(
        &self,
        inherited: &Inherited,
        parent: Pid,
        standard: [Option<BorrowedFd<'_>>; 3],
        report: &OwnedFd,
    ) -> Infallible {
        sys::process::set_name(UNBORN);
        // Held here and not in the parent, so that the exec itself releases it.
        let ran = self.hold().and_then(|held| self.execution(inherited, parent, held.as_ref(), standard).run());
        match ran {
            Ok(never) => never,
            Err(error) => {
                let _ = sys::poll::write(report.as_fd(), &error.to_bytes());
                exit_now(1)
            }
        }
    }
}

/// Reads the error that the child reported before exec; `None` when the exec succeeded.
pub(super) fn read_report(report: &OwnedFd) -> Option<ExecError> {
    let mut bytes = [0; 5];
    match sys::poll::read(report.as_fd(), &mut bytes) {
        Ok(length) if length == bytes.len() => ExecError::from_bytes(bytes),
        _ => None,
    }
}

/// Returns how the program is executed. If only root can change what the judged path refers to, by that path: the process
/// then has its proper name, and a script sees the path as `$0`. Otherwise the opened file itself is executed. A script
/// is then read by its interpreter from `/dev/fd/N`, a sealed copy; others can change the files beside it, so this needs
/// a role that allows everything, and a grant that is not exact.
fn image(plan: &ExecPlan) -> Result<PreparedImage, LaunchError> {
    let look = |error| LaunchError::System("look at the program again", error);
    let command = plan.elevation().command();
    let program = command.program().ok_or_else(|| look(io::ErrorKind::InvalidInput.into()))?;
    let changed = || changed(program.path());
    if !program.unchanged().map_err(look)? {
        return Err(changed());
    }
    plan.scripts().admit(command, trusted_user(plan)).map_err(LaunchError::Program)?;
    match program.roots_name() {
        Ok(name) if !program.same_as(name.path()).map_err(look)? => return Err(changed()),
        Ok(name) => return Ok(PreparedImage::Path(name.clone())),
        Err(_) => {}
    }
    if program.is_binary().map_err(look)? {
        let fd = program.as_fd().try_clone_to_owned().map_err(look)?;
        if !program.writable_by_others() {
            return Ok(PreparedImage::Descriptor(fd));
        }
        let digest = command.digest().map_err(|error| LaunchError::Script(error.to_string()))?;
        return Ok(PreparedImage::Owned(OwnedProgram { fd, path: program.path().to_owned(), digest }));
    }
    let denied = |error: io::Error| match error.raw_os_error() {
        Some(errno) => LaunchError::Path("execute", program.path().to_owned(), ExecError { step: Step::Image, errno }),
        None => look(error),
    };
    let copy = HeldProgram::copy(program.as_fd(), plan.credentials()).map_err(denied)?;
    let digest = command.digest().map_err(|error| LaunchError::Script(error.to_string()))?;
    if sha256_of(copy.file()).map_err(look)? == digest { Ok(PreparedImage::Script(copy)) } else { Err(changed()) }
}

fn trusted_user(plan: &ExecPlan) -> u32 {
    let credentials = plan.credentials();
    let groups: Vec<u32> = std::iter::once(credentials.gid).chain(credentials.groups.iter().copied()).collect();
    trusted(plan.elevation().run_as(), &groups)
}

/// Returns whether only the kernel determines how long the exec takes: root executes a program that root alone can change, from a
/// file system that the kernel serves, in a directory of one. Any other user may have a process that stops the child before the
/// exec; a program or a directory elsewhere may not answer; and a message on standard error waits for its reader.
fn is_prompt(plan: &ExecPlan, image: &PreparedImage) -> bool {
    let is_roots = match image {
        PreparedImage::Descriptor(_) | PreparedImage::Path(_) => plan.credentials().uid == 0,
        PreparedImage::Owned(_) | PreparedImage::Script(_) | PreparedImage::Editor(_) => false,
    };
    let is_near = || match plan.directory() {
        WorkingDirectory::Callers => true,
        WorkingDirectory::Opened(directory) => is_served_by_kernel(directory),
        WorkingDirectory::Instead(_) => false,
    };
    let program = plan.elevation().command().program();
    is_roots
        && is_near()
        && program.is_some_and(|program| is_served_by_kernel(program) && program.check_interpreters(0).is_ok())
}

fn changed(path: &Path) -> LaunchError {
    LaunchError::Script(format!("{} changed while it was checked", Word::from(path.as_os_str())))
}

fn is_below(fd: RawFd, closefrom: u32) -> bool {
    u32::try_from(fd).is_ok_and(|fd| fd < closefrom)
}

fn c_strings(texts: &[OsString]) -> Result<Vec<CString>, LaunchError> {
    texts.iter().map(|text| c_string(text)).collect()
}

fn c_string(text: &OsStr) -> Result<CString, LaunchError> {
    CString::new(text.as_bytes()).map_err(|_| LaunchError::Nul)
}
