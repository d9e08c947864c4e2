//! The groups below one: lists, searches and removes them.

use std::fs;
use std::path::Path;

use super::Cgroup;
use super::maker::made;
use super::refuge::is_share;
use super::tree::open;
use crate::process::Pid;
use crate::started::learn_starts;

/// The maximum depth to which nested groups are searched and removed.
pub(super) const DEPTH: u32 = 16;

/// Removes groups whose creators have ended, and empty refuges of users. It never touches a group whose creator runs,
/// even an empty one: a process may be about to start in it.
pub(super) fn sweep(parent: &Path) {
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

pub(super) fn members(path: &Path, depth: u32, found: &mut Vec<Pid>) {
    let listed = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    found.extend(listed.lines().filter_map(|line| line.parse().ok().and_then(Pid::new)));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            members(&entry.path(), depth - 1, found);
        }
    }
}

pub(super) fn named(path: &Path, name: &str, depth: u32, found: &mut Vec<Cgroup>) {
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

pub(super) fn orphaned(path: &Path, depth: u32, found: &mut Vec<String>) {
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

/// Removes nested groups first. A group that cannot be removed has processes, or no longer exists.
pub(super) fn remove(path: &Path, depth: u32) {
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

pub(super) fn is_populated(path: &Path) -> bool {
    has_event(path, "populated 1")
}

pub(super) fn has_event(path: &Path, event: &str) -> bool {
    fs::read_to_string(path.join("cgroup.events")).is_ok_and(|events| events.lines().any(|line| line == event))
}

#[cfg(test)]
mod tests {
    use super::super::maker::Maker;
    use super::super::tests::sleeper;
    use super::*;
    use crate::process::{Waiting, wait};

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
}
