//! Nested groups: the descendants of a foreign program live below the group of their session, apart from the program
//! itself, which must not be frozen with them. Freezing one group also freezes the runs and sessions nested in it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::below::DEPTH;
use super::leader_in;
use super::maker::{Maker, made};
use super::tree::{is_roots_all_the_way, seen};
use crate::descendants::Living;
use crate::process::Pid;

/// The prefix of the name of a group of foreign processes; the host follows.
const FOREIGN: &str = "foreign-";

/// The link count of a directory without subdirectories.
const LINKS: u64 = 2;

/// Returns the name of the group for the descendants of `host`.
pub(super) fn name_of(host: Pid) -> io::Result<String> {
    // Its start time cannot be read without a wait: it need not be a process of root.
    let living = Living::at(host).ok_or(io::ErrorKind::NotFound)?;
    Ok(format!("{FOREIGN}{host}-{}", living.number()))
}

/// Returns where a group for `process`, which is in `member`, is created: in `parent`, or in a group below it.
pub(super) fn around(parent: &Path, member: &Path, process: Pid) -> PathBuf {
    let mut around = innermost(parent, member).or_else(|| of_session(parent, member)).unwrap_or(parent.to_owned());
    let own = name_of(process).ok();
    loop {
        let foreign = if is_foreign(&around) { Some(around.clone()) } else { foreign_in(&around) };
        let Some(foreign) = foreign else { return around };
        match (own.as_deref() == foreign.file_name().and_then(OsStr::to_str), foreign.ancestors().nth(2)) {
            (true, Some(next)) => around = next.to_owned(),
            (true, None) | (false, _) => return foreign,
        }
    }
}

/// Returns whether `path`, from the root of any view of the tree, is in the group at `group`, from the root of ours. It
/// compares the two names that no other group has, and ignores what is above them.
pub(super) fn is_in(path: &Path, group: &Path) -> bool {
    let (Some(name), Some(around)) = (group.file_name(), group.parent().and_then(Path::file_name)) else {
        return false;
    };
    let mut parts = path.components();
    if !is_foreign(group) {
        return parts.any(|part| part == Component::Normal(name));
    }
    // One program may host several sessions.
    parts.any(|part| part == Component::Normal(around)) && parts.next() == Some(Component::Normal(name))
}

/// Returns the names of the groups of runs and sessions below `parent` around a process at `member`, the outermost
/// first.
pub(super) fn made_around(parent: &Path, member: &Path) -> Vec<OsString> {
    let path = innermost(parent, member).unwrap_or_default();
    let parts = path.components().map(|part| part.as_os_str());
    parts.filter(|part| part.to_str().is_some_and(|name| made(name).is_some())).map(OsStr::to_owned).collect()
}

/// Returns the innermost group of ours below `parent` that a process at `member` is in.
fn innermost(parent: &Path, member: &Path) -> Option<PathBuf> {
    let below = member.strip_prefix("/").ok()?.strip_prefix(parent.file_name()?).ok()?;
    let is_ours = |part: &Component<'_>| {
        let name = Path::new(part.as_os_str());
        is_foreign(name) || name.to_str().is_some_and(|name| made(name).is_some())
    };
    let path: PathBuf = below.components().take_while(is_ours).collect();
    (path.components().next().is_some()).then(|| parent.join(path))
}

/// When pam_systemd(8) runs after our module, a process of our session is in the group that logind made for it. The
/// leader of that session is then our host.
fn of_session(parent: &Path, member: &Path) -> Option<PathBuf> {
    let tree = parent.parent()?;
    let scope = seen(tree, member)?;
    // Users may give their own groups any name.
    let leader = leader_in(&scope).filter(|_| is_roots_all_the_way(tree, &scope).unwrap_or(false))?;
    let mut found = Vec::new();
    hosted(parent, &name_of(leader).ok()?, DEPTH, &mut found);
    // With several groups, the right one is unknown.
    found.pop().filter(|_| found.is_empty())
}

fn hosted(path: &Path, name: &str, depth: u32, found: &mut Vec<PathBuf>) {
    let is_leaf = fs::symlink_metadata(path).is_ok_and(|directory| directory.nlink() == LINKS);
    if depth == 0 || is_leaf {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_str() == Some(name) {
                found.push(entry.path());
            }
            hosted(&entry.path(), name, depth - 1, found);
        }
    }
}

fn foreign_in(group: &Path) -> Option<PathBuf> {
    let is_leaf = fs::symlink_metadata(group).is_ok_and(|directory| directory.nlink() == LINKS);
    let entries = (!is_leaf).then(|| fs::read_dir(group).ok()).flatten();
    entries.into_iter().flatten().flatten().map(|entry| entry.path()).find(|path| is_foreign(path))
}

fn is_foreign(path: &Path) -> bool {
    let host = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix(FOREIGN));
    host.is_some_and(|host| host.parse::<Maker>().is_ok())
}

#[cfg(test)]
mod tests {
    use crate::cgroup::Cgroup;
    use crate::process::{self, Waiting, exit_now, fork};
    use std::time::Duration;

    #[test]
    fn groups_of_a_session_are_nested_in_its_frozen_group() {
        let Some(session) = Cgroup::create("sys-tests", "session").ok() else { return };
        let sleeper = || {
            fork(|| {
                std::thread::sleep(Duration::from_secs(60));
                exit_now(0)
            })
            .unwrap()
        };
        let [host, other, guest] = [sleeper(), sleeper(), sleeper()];
        let inside = session.for_foreign_of(host).unwrap();
        session.adopt(host).unwrap();
        session.adopt(other).unwrap();
        inside.adopt(guest).unwrap();
        let made = |name: &str, process| Cgroup::create_for("sys-tests", name, process).unwrap();
        let groups = [("by-host", host), ("by-other", other), ("by-guest", guest)].map(|(name, pid)| made(name, pid));
        let around = |group: &Cgroup| group.path().parent().unwrap().to_owned();
        let top = session.path().parent().unwrap();
        assert_eq!([0, 1, 2].map(|number| around(&groups[number])), [top, inside.path(), inside.path()]);
        // Another session of the same host.
        let second = groups[0].for_foreign_of(host).unwrap();
        assert!(inside.holds(guest) && !second.holds(guest) && !inside.holds(other));
        groups[1].adopt(other).unwrap();
        assert!(inside.holds(other) && session.holds(other) && !second.holds(other));
        // A nested run that does not belong to this session.
        let nested = made("nested", other);
        assert_eq!(around(&nested), groups[1].path());
        for child in [host, other, guest] {
            process::kill(child, libc::SIGKILL).unwrap();
            process::wait(child, Waiting::ForEnd).unwrap();
        }
        for group in [nested, second].into_iter().chain(groups).chain([inside, session]) {
            group.remove();
        }
    }
}
