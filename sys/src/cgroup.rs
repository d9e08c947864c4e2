//! Control groups, version 2 (cgroups(7)): creates groups that can be frozen and killed as a whole, and moves a process
//! out of a group that an ordinary user controls.

mod controls;
mod nest;

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

pub use controls::GroupControls;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::descendants::signal_if;
use crate::process::{self, Pid};
use crate::procfs;
use crate::started::learn_starts;

/// Mount points of version 2: alone, or beside version 1 (systemd's "hybrid" layout).
const TREES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Where logind keeps its state of login sessions, one file for each.
const SESSIONS: &str = "/run/systemd/sessions";

/// The maximum depth to which nested groups are searched and removed.
const DEPTH: u32 = 16;

/// One in this many created groups triggers a sweep of stale groups: a sweep is slow where many daemons still run.
const SWEEPERS: i32 = 7;

/// How many times a refuge is created again when another process removes it while it is still empty.
const REMADE: u32 = 100;

/// The mode of each group. Other users cannot list it: who can list a directory can make every look-up in it wait for ever.
const UNLISTED: u32 = 0o700;

/// The maximum size of `/proc/PID/cgroup` that is read, in bytes.
const MAX_MEMBERSHIP: u64 = 64 << 10;

/// A control group that only root can change: `PARENT/NAME.PID-START` below the root of the tree, where PID and START
/// are the id and the start time of the process that created it.
#[derive(Debug)]
pub struct Cgroup {
    directory: File,
    path: PathBuf,
    /// Set for a group that is to be frozen or killed.
    controls: Option<GroupControls>,
    /// Set for a [`refuge`]: its limit of processes.
    most: Option<u32>,
}

impl Cgroup {
    /// Creates the group, and now and then removes empty groups whose creators have ended. A group is never used twice:
    /// since 6.14 (`kill_seq`), Linux kills at once every process that is cloned into a group that was killed before.
    ///
    /// # Errors
    /// `Unsupported` without version 2; `PermissionDenied` when users other than root can change the tree; any error of
    /// mkdir(2).
    pub fn create(parent: &str, name: &str) -> io::Result<Self> {
        let (tree, member) = match STAYED.get() {
            Some(known) => known.clone(),
            None => (tree()?, membership("self")?),
        };
        Self::create_within(&tree.join(parent), name, &member, Pid::own())
    }

    /// Creates the group as [`Self::create`] does, but inside the group of ours that `process` is in, if any: freezing
    /// or killing the outer group then affects the inner one too. The group of another session that `process` hosts
    /// does not count as outer.
    ///
    /// # Errors
    /// As [`Self::create`], and when the process does not exist.
    pub fn create_for(parent: &str, name: &str, process: Pid) -> io::Result<Self> {
        Self::create_within(&tree()?.join(parent), name, &membership(&process.to_string())?, process)
    }

    fn create_within(parent: &Path, name: &str, member: &Path, process: Pid) -> io::Result<Self> {
        let links = own_directory(parent)?.nlink();
        let around = nest::around(parent, member, process);
        let path = around.join(format!("{name}.{}", Maker::this_process()?));
        DirBuilder::new().mode(UNLISTED).create(&path)?;
        // A directory has two links, and one more for each group in it.
        if links > 2 && Pid::own().raw() % SWEEPERS == 0 {
            sweep(parent);
        }
        let directory = open(&path)?;
        Ok(Self::controlled(directory, path))
    }

    fn controlled(directory: File, path: PathBuf) -> Self {
        Self { directory, controls: Some(GroupControls::open(&path)), path, most: None }
    }

    /// Opens or creates a [`refuge`] again after it was removed. Returns `None` for any other group: no process may
    /// start there any more.
    pub(crate) fn anew(&self) -> Option<io::Result<Self>> {
        self.most.map(|most| open_refuge(&self.path, most))
    }

    /// Opens the group at a path that [`Self::path`] returned.
    ///
    /// # Errors
    /// `NotFound` when it no longer exists; `PermissionDenied` when it is not below `parent`, or users other than root
    /// can change it.
    pub fn open(parent: &str, path: &Path) -> io::Result<Self> {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let is_below =
            path.starts_with(tree()?.join(parent)) && !path.components().any(|part| part == Component::ParentDir);
        if !is_below || !is_roots_alone(&fs::symlink_metadata(path)?) {
            return Err(denied());
        }
        Ok(Self::controlled(open(path)?, path.to_owned()))
    }

    /// Returns every group of this name below `parent`, nested ones included, whoever created it.
    pub fn named(parent: &str, name: &str) -> Vec<Self> {
        let Ok(parent) = tree().map(|tree| tree.join(parent)) else { return Vec::new() };
        let mut found = Vec::new();
        if fs::symlink_metadata(&parent).is_ok_and(|parent| is_roots_alone(&parent)) {
            named(&parent, name, DEPTH, &mut found);
        }
        found
    }

    /// Returns whether a process is in a group of any run or session below `parent`.
    pub fn is_in_one(parent: &str, pid: Pid) -> bool {
        let Ok(parent) = tree().map(|tree| tree.join(parent)) else { return false };
        membership(&pid.to_string()).is_ok_and(|member| !nest::made_around(&parent, &member).is_empty())
    }

    /// Returns the name of every group below `parent`, nested ones included, that still has processes although its
    /// creator has ended.
    pub fn orphaned(parent: &str) -> Vec<String> {
        let Ok(parent) = tree().map(|tree| tree.join(parent)) else { return Vec::new() };
        let mut found = Vec::new();
        if fs::symlink_metadata(&parent).is_ok_and(|parent| is_roots_alone(&parent)) {
            orphaned(&parent, DEPTH, &mut found);
        }
        found
    }

    /// Returns the group that logind made for the login session that `leader` leads (sd_session_get_leader(3)): PAM
    /// moves su(1) and similar programs there, with their descendants. logind removes it.
    pub fn of_session_led_by(leader: Pid) -> Option<Self> {
        let Scope(path) = Scope::around(leader).ok()?;
        let is_led = leader_in(&path) == Some(leader);
        is_led.then(|| open(&path).ok()).flatten().map(|directory| Self::controlled(directory, path))
    }

    /// Returns the path of the group.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether a living process is in the group or in a nested one; false when the group no longer exists.
    pub fn is_populated(&self) -> bool {
        is_populated(&self.path)
    }

    /// Returns whether all processes of the group are frozen, or all in the group inside it for the descendants of a foreign
    /// program (see [`Self::for_foreign_of`]): the program itself is never frozen.
    pub fn is_frozen(&self) -> bool {
        let is_frozen = |path: &Path| has_event(path, "frozen 1");
        let inside = || nest::foreign_in(&self.path).is_some_and(|inside| is_populated(&inside) && is_frozen(&inside));
        is_frozen(&self.path) || inside()
    }

    /// Removes the group if it has neither processes nor nested groups. Returns whether it did.
    pub fn remove_leaf(&self) -> bool {
        fs::remove_dir(&self.path).is_ok()
    }

    /// Removes the group, with nested groups, if it has no processes. Returns false if it has some.
    pub fn remove_if_empty(&self) -> bool {
        if self.remove_leaf() {
            return true;
        }
        remove(&self.path, DEPTH);
        !self.is_populated()
    }

    /// Creates a group inside this one for the descendants of `host`, but not for `host` itself. From now on
    /// [`Self::create`] and [`Self::create_for`] use that group where they would have used this one. It is removed with
    /// this one.
    ///
    /// # Errors
    /// Any error of mkdir(2), and when the process does not exist.
    pub fn for_foreign_of(&self, host: Pid) -> io::Result<Self> {
        let path = self.path.join(nest::name_of(host)?);
        DirBuilder::new().mode(UNLISTED).create(&path)?;
        Ok(Self::controlled(open(&path)?, path))
    }

    /// Freezes every process in the group, without a signal, and every process that will be started in it. Frozen
    /// processes can still be killed.
    pub fn freeze(&self) -> io::Result<()> {
        self.controls.as_ref().map_or_else(|| self.write("cgroup.freeze", "1"), GroupControls::freeze)
    }

    /// Thaws the group.
    pub fn thaw(&self) -> io::Result<()> {
        self.controls.as_ref().map_or_else(|| self.write("cgroup.freeze", "0"), GroupControls::thaw)
    }

    /// Returns whether [`Self::freeze`] was called later than [`Self::thaw`]; a group around it may freeze it too.
    pub fn is_set_to_freeze(&self) -> bool {
        self.controls.as_ref().is_some_and(GroupControls::is_set_to_freeze)
    }

    /// Returns the files by which the group is frozen and killed, which were opened with it.
    pub fn controls(&self) -> Option<&GroupControls> {
        self.controls.as_ref()
    }

    /// Kills every process in the group and in nested groups: first all at once, so that no fork escapes
    /// (`cgroup.kill`), then each by SIGKILL. `cgroup.kill` passes over a process whose main thread has ended. Before
    /// Linux 5.14 only the second step exists, and the group is frozen meanwhile. The caller repeats the call for
    /// processes that survive it.
    pub fn kill(&self) {
        let killed = self.controls.as_ref().map_or_else(|| self.write("cgroup.kill", "1"), GroupControls::kill);
        let is_held = killed.is_err() && self.freeze().is_ok();
        for pid in self.members() {
            // The process may have ended, and its pid may belong to another one.
            let _ = signal_if(pid, libc::SIGKILL, &|| self.holds(pid));
        }
        if is_held {
            let _ = self.thaw();
        }
    }

    /// Opens `cgroup.kill`, for a process that cannot open files later.
    ///
    /// # Errors
    /// Any error of open(2); `NotFound` before Linux 5.14.
    pub fn killer(&self) -> io::Result<Killer> {
        OpenOptions::new().write(true).open(self.path.join("cgroup.kill")).map(Killer)
    }

    /// Returns whether a process is in the group or in a nested one; false when the process no longer exists.
    pub fn holds(&self, pid: Pid) -> bool {
        membership(&pid.to_string()).is_ok_and(|path| nest::is_in(&path, &self.path))
    }

    /// Returns the names of the groups beside this one whose creators run.
    pub(crate) fn names_beside(&self) -> Vec<String> {
        let entries = self.path.parent().and_then(|parent| fs::read_dir(parent).ok());
        let named = entries.into_iter().flatten().flatten().filter(|entry| entry.path() != self.path);
        let names = named.filter_map(|entry| {
            let called = entry.file_name();
            let (name, maker) = made(called.to_str()?)?;
            (!maker.has_ended()).then(|| name.to_owned())
        });
        names.collect()
    }

    /// Returns whether a process is in the group of another run or session: one that neither is this group, nor
    /// contains it, nor is in it.
    pub fn is_of_another(&self, pid: Pid) -> bool {
        let Ok(member) = membership(&pid.to_string()) else { return false };
        let parent = tree().ok().and_then(|tree| {
            let name = self.path.strip_prefix(&tree).ok()?.components().next()?;
            Some(tree.join(name))
        });
        let groups = parent.map(|parent| nest::made_around(&parent, &member)).unwrap_or_default();
        let is_ours = |group: &OsString| self.path.components().any(|part| part.as_os_str() == group);
        !nest::is_in(&member, &self.path) && !groups.iter().all(is_ours)
    }

    /// Moves a process into the group; the children that it forks from now on start there.
    ///
    /// # Errors
    /// When the process does not exist.
    pub fn adopt(&self, pid: Pid) -> io::Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Returns the processes in the group and in nested groups.
    pub fn members(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        members(&self.path, DEPTH, &mut found);
        found
    }

    /// Returns the group of the login session to which logind has moved a process that was in this group before.
    pub fn scope_of(&self, pid: Pid) -> Option<Scope> {
        let path = membership(&pid.to_string()).ok()?;
        let name = path.file_name()?.to_str()?;
        let is_scope = name.starts_with("session-") && name.ends_with(".scope");
        (is_scope && !self.holds(pid))
            .then(|| tree().ok())?
            .map(|tree| Scope(tree.join(path.strip_prefix("/").unwrap_or(&path))))
    }

    /// Removes the group. If processes remain in it, a later [`Self::create`] removes it when they have ended.
    pub fn remove(self) {
        remove(&self.path, DEPTH);
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        write(&self.path, file, text)
    }
}

/// An open `cgroup.kill`, see [`Cgroup::killer`].
#[derive(Debug)]
pub struct Killer(File);

impl Killer {
    /// Kills every process that has a main thread.
    pub fn kill(&self) -> io::Result<()> {
        (&self.0).write_all(b"1")
    }
}

impl AsFd for Killer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A group that another program creates and removes.
#[derive(Debug)]
pub struct Scope(PathBuf);

impl Scope {
    /// Returns the group that a process is in.
    ///
    /// # Errors
    /// When the process does not exist, and without version 2.
    pub fn around(pid: Pid) -> io::Result<Self> {
        let path = membership(&pid.to_string())?;
        Ok(Self(tree()?.join(path.strip_prefix("/").unwrap_or(&path))))
    }

    /// Moves a process into the group.
    ///
    /// # Errors
    /// When the process or the group does not exist.
    pub fn adopt(&self, pid: Pid) -> io::Result<()> {
        write(&self.0, "cgroup.procs", &pid.to_string())
    }

    /// Returns the processes in the group and in nested groups.
    pub fn members(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        members(&self.0, DEPTH, &mut found);
        found
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Returns the process that created the group of ours that `pid` is in, if it still runs.
pub(crate) fn maker_of_group_of(pid: Pid) -> Option<Pid> {
    let path = membership(&pid.to_string()).ok()?;
    let (_, maker) = path.file_name()?.to_str().and_then(made)?;
    (maker.is_within_reach() && !maker.has_ended()).then_some(maker.pid)
}

/// Leaves a group that a user other than root controls: its owner could freeze or kill even a set-user-ID process in
/// it. Moves this process to the group `name` below `parent`; a process stays where it is if root controls every group
/// above it. Returns the group that was left: work that is done as its owner belongs there, under its owner's limits.
///
/// # Errors
/// As [`Cgroup::create`], and when the group of this process is unknown.
pub fn leave_foreign(parent: &str, name: &str, most: u32) -> io::Result<Option<Cgroup>> {
    let (tree, own) = (tree()?, membership("self")?);
    // The group is outside our view of the tree: the creator of that view is responsible for it.
    let Some(path) = seen(&tree, &own) else { return Ok(None) };
    if is_roots_all_the_way(&tree, &path)? {
        let _ = STAYED.set((tree, own)); // a second call stores the same value
        return Ok(None);
    }
    let left = open(&path).ok();
    settle(parent, name, most)?;
    Ok(left.map(|directory| Cgroup { directory, path, controls: None, most: None }))
}

/// Returns the group in which this process was started, for processes that run as its caller. Another process may have moved this
/// one since. If the caller's own group, which [`leave_foreign`] returned, was removed, it is the nearest group above. `None` without
/// control groups, and where the group is outside our view of the tree.
///
/// # Errors
/// `NotFound` when a group that only root can remove is gone.
pub fn started_in(left: Option<&Cgroup>) -> io::Result<Option<Cgroup>> {
    let (tree, path) = match (left, STAYED.get()) {
        (Some(left), _) => (tree()?, left.path.clone()),
        (None, Some((tree, own))) => (tree.clone(), seen(tree, own).ok_or(io::ErrorKind::NotFound)?),
        (None, None) => return Ok(None),
    };
    let depth = if left.is_some() { usize::MAX } else { 1 };
    let groups = path.ancestors().take_while(|group| group.starts_with(&tree)).take(depth);
    let mut open_groups = groups.filter_map(|path| {
        Some(Cgroup { directory: open(path).ok()?, path: path.to_owned(), controls: None, most: None })
    });
    open_groups.next().map(Some).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Moves this process to the [`refuge`] `name` below `parent`, wherever it was before. The limits and the end of a
/// session no longer apply to it there, and it does not keep the session open.
///
/// # Errors
/// As [`Cgroup::create`].
pub fn settle(parent: &str, name: &str, most: u32) -> io::Result<()> {
    place(parent, name, most, "0")
}

/// Moves another process to the refuge; a frozen process runs again there.
///
/// # Errors
/// As [`settle`], and when the process does not exist.
pub fn take_out(pid: Pid, parent: &str, name: &str, most: u32) -> io::Result<()> {
    place(parent, name, most, &pid.to_string())
}

/// Opens the group that [`settle`] moves processes to, so that a child can be started in it. That costs nothing; moving
/// a process later blocks every fork on the machine for milliseconds. With `most` processes and threads in the group,
/// none of them can fork. Creates the group if it is missing; a later [`Cgroup::create`] removes it when it is empty.
///
/// # Errors
/// As [`settle`].
pub fn refuge(parent: &str, name: &str, most: u32) -> io::Result<Cgroup> {
    open_refuge(&tree()?.join(parent).join(name), most)
}

fn open_refuge(path: &Path, most: u32) -> io::Result<Cgroup> {
    let parent = path.parent().ok_or(io::ErrorKind::NotFound)?;
    own_directory(parent)?;
    let directory = again(|| {
        own_directory(path)?;
        bound(parent, path, &most.to_string());
        open(path)
    })?;
    Ok(Cgroup { directory, path: path.to_owned(), controls: None, most: Some(most) })
}

/// Returns whether the error says that the group was removed meanwhile.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT))
}

fn again<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..REMADE {
        match attempt() {
            Err(error) if is_gone(&error) => {}
            done => return done,
        }
    }
    attempt()
}

/// Starts a process in a group. Creates a refuge again that was removed while it was still empty.
pub(crate) fn beget<T>(group: &Cgroup, mut beget: impl FnMut(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
    let mut born = beget(group.as_fd());
    for _ in 0..REMADE {
        match &born {
            Err(error) if is_gone(error) => {}
            _ => return born,
        }
        let Some(anew) = group.anew() else { return born };
        born = beget(anew?.as_fd());
    }
    born
}

fn place(parent: &str, name: &str, most: u32, who: &str) -> io::Result<()> {
    let member = if who == "0" { "self" } else { who };
    if membership(member)
        .is_ok_and(|path| path.strip_prefix("/").is_ok_and(|path| path == Path::new(parent).join(name)))
    {
        return Ok(());
    }
    again(|| refuge(parent, name, most)?.write("cgroup.procs", who))
}

/// Sets the limit of processes, once for each group: the kernel blocks every fork while a controller is enabled.
fn bound(parent: &Path, group: &Path, bound: &str) {
    if fs::read_to_string(parent.join("cgroup.subtree_control"))
        .is_ok_and(|on| on.split_whitespace().any(|on| on == "pids"))
    {
        if fs::read_to_string(group.join("pids.max")).is_ok_and(|most| most.trim() != bound) {
            let _ = write(group, "pids.max", bound);
        }
        return;
    }
    // Without the controller the group has no limit, as a process without a group has none.
    let available = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    if available.split_whitespace().any(|controller| controller == "pids") {
        let _ = write(parent, "cgroup.subtree_control", "+pids").and_then(|()| write(group, "pids.max", bound));
    }
}

fn write(group: &Path, file: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(group.join(file))?.write_all(text.as_bytes())
}

/// Returns the root of the version 2 tree.
///
/// # Errors
/// `Unsupported` without version 2.
pub fn root() -> io::Result<PathBuf> {
    tree()
}

fn tree() -> io::Result<PathBuf> {
    let is_version_2 = |path: &str| statfs(path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC);
    let found = TREES.into_iter().find(|path| is_version_2(path)).map(PathBuf::from);
    found.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

/// Creates a group if it is missing, and checks that only root can change it.
fn own_directory(path: &Path) -> io::Result<Metadata> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Another run may create it at the same time.
            let _ = DirBuilder::new().mode(UNLISTED).create(path);
            fs::symlink_metadata(path)?
        }
        found => found?,
    };
    if is_roots_alone(&found) { Ok(found) } else { Err(io::Error::from(io::ErrorKind::PermissionDenied)) }
}

/// Returns the directory of a group; `None` when it is outside our view of the tree.
fn seen(tree: &Path, membership: &Path) -> Option<PathBuf> {
    let is_outside = membership.components().any(|part| part == Component::ParentDir);
    (!is_outside).then(|| tree.join(membership.strip_prefix("/").unwrap_or(membership)))
}

fn is_roots_all_the_way(tree: &Path, path: &Path) -> io::Result<bool> {
    for around in path.ancestors().take_while(|around| *around != tree && around.starts_with(tree)) {
        if !is_roots_alone(&fs::symlink_metadata(around)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_roots_alone(found: &Metadata) -> bool {
    found.is_dir() && found.uid() == 0 && found.permissions().mode() & 0o022 == 0
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

/// Where [`leave_foreign`] found this process and left it: the root of the tree, and the group.
static STAYED: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();

/// Returns the leader of the login session for which logind made this group, from logind's own file.
fn leader_in(scope: &Path) -> Option<Pid> {
    let id = scope.file_name()?.to_str()?.strip_prefix("session-")?.strip_suffix(".scope")?;
    let told = fs::read_to_string(Path::new(SESSIONS).join(id)).ok()?;
    told.lines().find_map(|line| line.strip_prefix("LEADER="))?.parse().ok().and_then(Pid::new)
}

/// Returns the version 2 group of a process, as a path from the root of the tree that we see.
fn membership(pid: &str) -> io::Result<PathBuf> {
    let mut bytes = Vec::with_capacity(1024);
    File::open(format!("/proc/{pid}/cgroup"))?.take(MAX_MEMBERSHIP).read_to_end(&mut bytes)?;
    parse_membership(&bytes).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// The process of root that created a group, or that a group is for: its pid alone may belong to another process by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Maker {
    pid: Pid,
    /// The start time of the creator, in clock ticks since boot.
    started: u64,
    /// Where pid and start time are its, see [`process::namespaces`].
    namespace: Option<u64>,
}

impl Maker {
    fn this_process() -> io::Result<Self> {
        let pid = Pid::own();
        Self::of(pid)
    }

    fn of(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid, started: process::process_start(pid)?, namespace: process::namespaces()? })
    }

    /// Whether the pid means this process here too.
    fn is_within_reach(self) -> bool {
        process::is_within_reach(self.namespace)
    }

    /// Returns whether the process has ended. One whose state cannot be read counts as running while its pid exists, and one of
    /// another namespace always does.
    fn has_ended(self) -> bool {
        if !self.is_within_reach() {
            return false;
        }
        if procfs::status(self.pid).is_ok_and(|status| status.is_dead()) {
            return true;
        }
        match process::process_start(self.pid) {
            Ok(started) => started != self.started,
            // Another process: of an ordinary user, or one that does not answer, as none of ours does.
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::TimedOut) => true,
            Err(_) => process::kill(self.pid, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH)),
        }
    }
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)?;
        self.namespace.map_or(Ok(()), |namespace| write!(f, "-{namespace}"))
    }
}

impl FromStr for Maker {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let parsed = text.split_once('-').and_then(|(pid, started)| {
            let (started, namespace) = match started.split_once('-') {
                Some((started, namespace)) => (started, Some(namespace.parse().ok()?)),
                None => (started, None),
            };
            Some(Self { pid: pid.parse().ok().and_then(Pid::new)?, started: started.parse().ok()?, namespace })
        });
        parsed.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Splits the name of a group from its creator.
fn made(name: &str) -> Option<(&str, Maker)> {
    let (called, maker) = name.rsplit_once('.')?;
    Some((called, maker.parse().ok()?))
}

pub(crate) fn parse_membership(bytes: &[u8]) -> Option<PathBuf> {
    let path = bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(PathBuf::from(std::ffi::OsStr::new(std::str::from_utf8(path).ok()?)))
}

/// Returns the name of the [`refuge`] for the processes of one user.
pub fn share(name: &str, uid: u32) -> String {
    format!("{name}-{uid}")
}

fn is_share(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(name, uid)| !name.contains('.') && uid.parse::<u32>().is_ok())
}

/// Removes groups whose creators have ended, and empty refuges of users. It never touches a group whose creator runs,
/// even an empty one: a process may be about to start in it.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let entries: Vec<_> = entries.flatten().collect();
    let makers =
        entries.iter().filter_map(|entry| entry.file_name().to_str().and_then(made).map(|(_, maker)| maker.pid));
    learn_starts(makers);
    for entry in entries {
        let name = entry.file_name();
        if name.to_str().is_some_and(is_share) {
            let _ = fs::remove_dir(entry.path()); // most refuges are in use
        } else if name.to_str().and_then(made).is_some_and(|(_, maker)| maker.has_ended()) {
            remove(&entry.path(), DEPTH);
        }
    }
}

fn members(path: &Path, depth: u32, found: &mut Vec<Pid>) {
    let listed = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    found.extend(listed.lines().filter_map(|line| line.parse().ok().and_then(Pid::new)));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            members(&entry.path(), depth - 1, found);
        }
    }
}

fn named(path: &Path, name: &str, depth: u32, found: &mut Vec<Cgroup>) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        let called = entry.file_name();
        let is_meant = called.to_str().and_then(made).is_some_and(|(called, _)| called == name);
        if is_meant && let Ok(directory) = open(&path) {
            found.push(Cgroup::controlled(directory, path));
        } else if depth > 0 {
            named(&path, name, depth - 1, found);
        }
    }
}

fn orphaned(path: &Path, depth: u32, found: &mut Vec<String>) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let called = entry.file_name();
        if let Some((name, maker)) = called.to_str().and_then(made)
            && is_populated(&entry.path())
            && maker.has_ended()
        {
            found.push(name.to_owned());
        }
        if depth > 0 {
            orphaned(&entry.path(), depth - 1, found);
        }
    }
}

fn is_populated(path: &Path) -> bool {
    has_event(path, "populated 1")
}

fn has_event(path: &Path, event: &str) -> bool {
    fs::read_to_string(path.join("cgroup.events")).is_ok_and(|events| events.lines().any(|line| line == event))
}

/// Removes nested groups first. A group that cannot be removed has processes, or no longer exists.
fn remove(path: &Path, depth: u32) {
    if fs::remove_dir(path).is_ok() || depth == 0 {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path(), depth - 1);
        }
    }
    let _ = fs::remove_dir(path);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{WaitEvent, Waiting, exit_now, fork, fork_into, wait};
    use std::time::Duration;

    /// Returns a group for one test, and a child that sleeps in it; `None` on a machine without version 2.
    fn sleeper(name: &str) -> Option<(Cgroup, Pid)> {
        let group = Cgroup::create("sys-tests", name).ok()?;
        let child = fork_into(Some(&group), || {
            loop {
                std::thread::sleep(Duration::from_secs(60));
            }
        })
        .unwrap();
        Some((group, child))
    }

    #[test]
    fn a_child_starts_in_the_group_and_is_killed_with_it() {
        let Some((group, child)) = sleeper("kill") else { return };
        assert!(group.holds(child) && !group.holds(Pid::own()));
        group.kill();
        let event = wait(child, Waiting::ForEnd).unwrap().unwrap().0;
        assert_eq!(event, WaitEvent::Signaled { signal: libc::SIGKILL, core: false });
        let path = group.path.clone();
        group.remove();
        assert!(!path.exists());
    }

    #[test]
    fn no_child_starts_elsewhere_when_the_group_is_gone() {
        let Some(group) = Cgroup::create("sys-tests", "gone").ok() else { return };
        fs::remove_dir(&group.path).unwrap();
        assert!(!group.path().is_dir() && fork_into(Some(&group), || exit_now(0)).is_err());
    }

    #[test]
    fn a_refuge_is_reused_and_keeps_its_processes() {
        // In a process of its own, because the child allocates memory: another thread may hold the lock for that.
        let own = std::env::current_exe().unwrap();
        let words = ["--exact", "cgroup::tests::child_in_a_refuge", "--ignored", "--test-threads=1"];
        let output = std::process::Command::new(own).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "run by a_refuge_is_reused_and_keeps_its_processes"]
    fn child_in_a_refuge() {
        let Some(group) = refuge("sys-tests", "harbour", 99).ok() else { return };
        let child = fork_into(Some(&group), || {
            let settled = settle("sys-tests", "harbour", 99).is_ok();
            exit_now(i32::from(!settled || !membership("self").is_ok_and(|path| path.ends_with("sys-tests/harbour"))))
        })
        .unwrap();
        assert_eq!(wait(child, Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(0));
        fs::remove_dir(&group.path).unwrap();
    }

    #[test]
    fn an_empty_share_is_removed_and_created_again_for_a_new_child() {
        let name = share("berth", 4_000_000_000);
        let Some(group) = refuge("sys-tests", &name, 99).ok() else { return };
        let parent = group.path.parent().unwrap().to_owned();
        sweep(&parent);
        assert!(!group.path().is_dir());
        let child = fork_into(Some(&group), || {
            loop {
                std::thread::sleep(Duration::from_secs(60));
            }
        })
        .unwrap();
        assert!(group.path().is_dir() && group.holds(child));
        sweep(&parent);
        assert!(group.path().is_dir());
        process::kill(child, libc::SIGKILL).unwrap();
        wait(child, Waiting::ForEnd).unwrap();
        sweep(&parent);
        assert!(!group.path().is_dir());
        for (name, is) in [("a-5", true), ("a", false), ("a.7-5", false), ("a-b", false), ("a-4294967296", false)] {
            assert_eq!(is_share(name), is, "{name}");
        }
    }

    #[test]
    fn settling_succeeds_while_the_share_is_repeatedly_removed() {
        let name = share("mooring", 4_000_000_001);
        let Some(group) = refuge("sys-tests", &name, 99).ok() else { return };
        let child = fork(|| {
            for _ in 0..2000 {
                let _ = fs::remove_dir(&group.path);
                std::thread::sleep(Duration::from_micros(200));
            }
            exit_now(0)
        })
        .unwrap();
        for _ in 0..200 {
            let settled = fork_into(Some(&group), || exit_now(0)).unwrap();
            assert_eq!(wait(settled, Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(0));
        }
        process::kill(child, libc::SIGKILL).unwrap();
        wait(child, Waiting::ForEnd).unwrap();
        let _ = fs::remove_dir(&group.path);
    }

    #[test]
    fn each_group_has_its_own_limit() {
        let tree = std::env::temp_dir().join(format!("bounds-{}", Pid::own()));
        let group = tree.join("group");
        fs::create_dir_all(&group).unwrap();
        fs::write(tree.join("cgroup.subtree_control"), "").unwrap();
        fs::write(tree.join("cgroup.controllers"), "cpu pids\n").unwrap();
        fs::write(group.join("pids.max"), "4096").unwrap();
        let most = || fs::read_to_string(group.join("pids.max")).unwrap();
        bound(&tree, &group, "1024");
        assert_eq!(
            (most().as_str(), fs::read_to_string(tree.join("cgroup.subtree_control")).unwrap()),
            ("1024", "+pids".to_owned())
        );
        fs::remove_dir_all(tree).unwrap();
    }

    #[test]
    fn a_frozen_child_does_nothing_until_it_is_thawed() {
        let Some(group) = Cgroup::create("sys-tests", "freeze").ok() else { return };
        group.freeze().unwrap();
        let child = fork_into(Some(&group), || exit_now(7)).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(wait(child, Waiting::EndNow).unwrap(), None);
        group.thaw().unwrap();
        assert_eq!(wait(child, Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(7));
        group.remove();
    }

    #[test]
    fn a_group_with_a_process_stays_and_stale_groups_are_swept() {
        let Some((group, child)) = sleeper("stays") else { return };
        let (path, parent) = (group.path.clone(), group.path.parent().unwrap().to_owned());
        fs::create_dir(path.join("below")).unwrap();
        let own = Maker::this_process().unwrap();
        // One creator that cannot exist, because the largest pid is 2^22; one that had our pid before us; and this
        // process.
        let [gone, before, ours] =
            [(4_194_999, own.started), (own.pid.raw(), own.started - 1), (own.pid.raw(), own.started)]
                .map(|(pid, started)| parent.join(format!("left.{pid}-{started}")));
        for left in [&gone, &before, &ours] {
            fs::create_dir(left).unwrap();
        }
        sweep(&parent);
        assert_eq!([&gone, &before, &ours, &path].map(|path| path.exists()), [false, false, true, true]);
        fs::remove_dir(ours).unwrap();
        remove(&path, DEPTH);
        assert!(path.exists(), "a process is in it");
        group.kill();
        wait(child, Waiting::ForEnd).unwrap();
        group.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_reused_pid_or_a_zombie_is_not_the_creator() {
        let maker = Maker::this_process().unwrap();
        let other = Maker { started: maker.started + 1, ..maker };
        assert!(!maker.has_ended() && other.has_ended());
        let elsewhere = Maker { namespace: Some(7), ..other };
        assert!(!elsewhere.has_ended() && !elsewhere.is_within_reach());
        assert_eq!(made(&format!("a.{elsewhere}")), Some(("a", elsewhere)));
        assert_eq!(made(&format!("a.b.{maker}")), Some(("a.b", maker)));
        for name in ["supervisors", "a.17", "a.0-5", "a.17-", "a.-5", "17-5"] {
            assert_eq!(made(name), None, "{name}");
        }
        let child = fork(|| exit_now(0)).unwrap();
        let dead = Maker::of(child).unwrap();
        while !procfs::status(child).unwrap().has_ended() {
            std::thread::yield_now();
        }
        assert!(dead.has_ended(), "it has not been reaped");
        wait(child, Waiting::ForEnd).unwrap();
        assert!(dead.has_ended());
    }

    #[test]
    fn a_group_is_found_by_its_name() {
        let Some((group, child)) = sleeper("outer") else { return };
        let inner = Cgroup::create_for("sys-tests", "inner", child).unwrap();
        assert_eq!(inner.path.parent(), Some(group.path()));
        let foreign = group.for_foreign_of(child).unwrap();
        let beside = Cgroup::create_for("sys-tests", "beside", child).unwrap();
        assert_eq!(beside.path.parent(), group.path.parent(), "another session of the same program");
        let paths = |name| Cgroup::named("sys-tests", name).into_iter().map(|group| group.path).collect::<Vec<_>>();
        assert_eq!(paths("inner"), [inner.path.as_path()]);
        assert_eq!(paths("outer"), [group.path()]);
        assert!(paths("inn").is_empty() && paths("").is_empty() && paths("supervisors").is_empty());
        group.kill();
        wait(child, Waiting::ForEnd).unwrap();
        for group in [inner, foreign, beside, group] {
            group.remove();
        }
    }

    #[test]
    fn only_the_line_of_version_2_counts() {
        let lines = b"9:name=systemd:/a\n4:memory:/b\n0::/user.slice/x y.scope\n";
        assert_eq!(parse_membership(lines), Some(PathBuf::from("/user.slice/x y.scope")));
        for lines in [&b""[..], b"4:memory:/b\n", b"0::/\xff\n"] {
            assert_eq!(parse_membership(lines), None);
        }
    }

    #[test]
    fn a_process_leaves_a_group_that_a_user_owns() {
        let Some(group) = Cgroup::create("sys-tests", "foreign").ok() else { return };
        let inside = |move_to: bool| {
            // It is not started in the group: a child that allocates, in a program with threads, needs libc's fork.
            let pid = fork(|| {
                group.adopt(Pid::own()).unwrap();
                let left = !move_to || leave_foreign("sys-tests", "refuge", 99).is_ok();
                let own = membership("self").unwrap_or_default();
                exit_now(i32::from(!left) + 2 * i32::from(own.ends_with("sys-tests/refuge")))
            })
            .unwrap();
            wait(pid, Waiting::ForEnd).unwrap().unwrap().0
        };
        assert_eq!(inside(true), WaitEvent::Exited(0), "a group of root's is not left");
        std::os::unix::fs::chown(&group.path, Some(65534), None).unwrap();
        assert_eq!(inside(true), WaitEvent::Exited(2));
        assert_eq!(inside(false), WaitEvent::Exited(0));
        let refuge = group.path.parent().unwrap().join("refuge");
        group.remove();
        let _ = fs::remove_dir(refuge);
    }
}
