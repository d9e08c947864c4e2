//! Where this process lives: the group in which it was started, and that it leaves a group that an ordinary user controls.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::Cgroup;
use super::refuge::settle;
use super::tree::{is_roots_all_the_way, membership, open, seen, tree};

/// Where [`leave_foreign`] found this process and left it: the root of the tree, and the group.
pub(super) static STAYED: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();

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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::process::{Pid, WaitEvent, Waiting, exit_now, fork, wait};

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
