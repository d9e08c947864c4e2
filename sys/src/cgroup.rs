//! Control groups, version 2 (cgroups(7)): creates groups that can be frozen and killed as a whole, and moves a process
//! out of a group that an ordinary user controls.

mod below;
mod controls;
mod maker;
mod nest;
mod own;
mod refuge;
mod tree;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use below::{DEPTH, has_event, is_populated, members, named, orphaned, remove, sweep};
pub use controls::GroupControls;
pub(crate) use maker::maker_of_group_of;
use maker::{Maker, made};
use own::STAYED;
pub use own::{leave_foreign, started_in};
pub(crate) use refuge::beget;
use refuge::open_refuge;
pub use refuge::{refuge, settle, share, take_out};
pub(crate) use tree::parse_membership;
pub use tree::root;
use tree::{UNLISTED, is_roots_alone, membership, open, own_directory, tree, write};

use crate::descendants::signal_if;
use crate::process::Pid;

/// Where logind keeps its state of login sessions, one file for each.
const SESSIONS: &str = "/run/systemd/sessions";

/// One in this many created groups triggers a sweep of stale groups: a sweep is slow where many daemons still run.
const SWEEPERS: i32 = 7;

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

    /// Returns whether all processes of the group are frozen.
    pub fn is_frozen(&self) -> bool {
        has_event(&self.path, "frozen 1")
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

/// Returns the leader of the login session for which logind made this group, from logind's own file.
fn leader_in(scope: &Path) -> Option<Pid> {
    let id = scope.file_name()?.to_str()?.strip_prefix("session-")?.strip_suffix(".scope")?;
    let told = fs::read_to_string(Path::new(SESSIONS).join(id)).ok()?;
    told.lines().find_map(|line| line.strip_prefix("LEADER="))?.parse().ok().and_then(Pid::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{WaitEvent, Waiting, exit_now, fork_into, wait};
    use std::time::Duration;

    /// Returns a group for one test, and a child that sleeps in it; `None` on a machine without version 2.
    pub(super) fn sleeper(name: &str) -> Option<(Cgroup, Pid)> {
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
}
