//! Refuges: groups for processes that no session ends and no limit of a session applies to. They have no creator.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::Cgroup;
use super::tree::{membership, open, own_directory, tree, write};
use crate::process::Pid;

/// How many times a refuge is created again when another process removes it while it is still empty.
const REMADE: u32 = 100;

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

pub(super) fn open_refuge(path: &Path, most: u32) -> io::Result<Cgroup> {
    let parent = path.parent().ok_or(io::ErrorKind::NotFound)?;
    own_directory(parent)?;
    let directory = again(|| {
        own_directory(path)?;
        bound(parent, path, &most.to_string());
        open(path)
    })?;
    Ok(Cgroup { directory, path: path.to_owned(), controls: None, most: Some(most) })
}

/// Returns the name of the [`refuge`] for the processes of one user.
pub fn share(name: &str, uid: u32) -> String {
    format!("{name}-{uid}")
}

pub(super) fn is_share(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(name, uid)| !name.contains('.') && uid.parse::<u32>().is_ok())
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

/// Returns whether the error says that the group was removed meanwhile.
fn is_gone(error: &io::Error) -> bool {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::below::sweep;
    use super::*;
    use crate::process::{self, WaitEvent, Waiting, exit_now, fork, fork_into, wait};

    #[test]
    fn a_refuge_is_reused_and_keeps_its_processes() {
        // In a process of its own, because the child allocates memory: another thread may hold the lock for that.
        let own = std::env::current_exe().unwrap();
        let words = ["--exact", "cgroup::refuge::tests::child_in_a_refuge", "--ignored", "--test-threads=1"];
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
}
