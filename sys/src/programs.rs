//! Programs known by the file that they are, device and inode, and not by a name that anybody can give to a file.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::{fs, io};

use crate::cgroup;
use crate::disk::statx;
use crate::process::Pid;
use crate::procfs;

/// Programs of root's at known places.
#[derive(Debug)]
pub struct Programs {
    paths: &'static [&'static str],
    /// Those that have lain there since, by device and inode.
    known: RefCell<HashMap<(u64, u64), &'static str>>,
}

impl Programs {
    /// Those that lie at these places.
    pub fn at(paths: &'static [&'static str]) -> Self {
        Self { paths, known: RefCell::default() }
    }

    /// Looks which files lie there now. One that was seen before is still meant: a process goes on as what it was when its program
    /// is replaced. What is not root's, or can be written by others, is nobody's program.
    pub fn look(&self) {
        for path in self.paths {
            if let Ok(found) = fs::metadata(path)
                && found.is_file()
                && found.uid() == 0
                && found.mode() & 0o022 == 0
            {
                let _ = self.known.borrow_mut().insert((found.dev(), found.ino()), path);
            }
        }
    }

    /// Which of them a process runs with the rights of root; [`Self::look`] comes first. What an ordinary user has started has
    /// these only where the program is set-user-ID. A child that has yet to execute a command, in the group that one of them has made
    /// for that, is the command already: elsewhere it would go on as one that nobody holds.
    pub fn run_by(&self, pid: Pid) -> Option<&'static str> {
        // First what the kernel alone answers.
        if procfs::effective_uid(pid) != Some(0) {
            return None;
        }
        let file = identity(&format!("/proc/{pid}/exe")).ok()?;
        let program = self.known.borrow().get(&file).copied()?;
        (!is_unborn(pid)).then_some(program)
    }
}

/// Whether a process is a copy of the one that has made its group. Two that were executed have their stacks at different places.
fn is_unborn(pid: Pid) -> bool {
    let Some(maker) = cgroup::maker_of_group_of(pid).filter(|maker| *maker != pid) else { return false };
    let (Ok(own), Ok(its)) = (procfs::stat(pid), procfs::stat(maker)) else { return false };
    own.is_copy && own.stack != 0 && own.stack == its.stack
}

/// The device and inode of a file, as the kernel remembers them: no server of a file system is asked, which might not answer.
fn identity(path: &str) -> io::Result<(u64, u64)> {
    let path = CString::new(path)?;
    let found = statx(&path, libc::AT_STATX_DONT_SYNC, libc::STATX_INO)?;
    Ok((libc::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Cgroup;
    use crate::process::{self, Waiting, fork, fork_into};
    use std::process::{Command, Stdio};

    const PLACE: &str = "/run/sys-programs-tests/sleep";

    #[test]
    fn a_child_that_is_about_to_execute_a_command_in_the_group_made_for_that_is_no_program() {
        let Some(group) = Cgroup::create("sys-tests", "unborn").ok() else { return };
        let own: &'static str = fs::read_link("/proc/self/exe").unwrap().to_str().unwrap().to_owned().leak();
        let programs = Programs::at(vec![own].leak());
        programs.look();
        let wait = || loop {
            std::thread::sleep(std::time::Duration::from_secs(60));
        };
        let children = [fork(wait).unwrap(), fork_into(Some(&group), wait).unwrap()];
        assert_eq!(programs.run_by(Pid::own()), Some(own));
        assert_eq!(children.map(|child| programs.run_by(child)), [Some(own), None]);
        for child in children {
            process::kill(child, libc::SIGKILL).unwrap();
            process::wait(child, Waiting::ForEnd).unwrap();
        }
        group.remove();
    }

    #[test]
    fn a_program_is_known_by_its_file_and_not_by_its_name() {
        let directory = std::path::Path::new(PLACE).parent().unwrap();
        fs::create_dir_all(directory.join("theirs")).unwrap();
        let theirs = directory.join("theirs/sleep");
        for place in [std::path::Path::new(PLACE), &theirs] {
            fs::copy("/usr/bin/sleep", place).unwrap();
        }
        let programs = Programs::at(&[PLACE]);
        let run = |place: &std::path::Path| {
            let child = Command::new(place).arg("60").stdin(Stdio::null()).spawn().unwrap();
            (Pid::new(i32::try_from(child.id()).unwrap()).unwrap(), child)
        };
        let (ours, mut first) = run(PLACE.as_ref());
        let (other, mut second) = run(&theirs);
        assert_eq!(programs.run_by(ours), None, "nothing was looked at yet");
        programs.look();
        let root = procfs::effective_uid(Pid::own()) == Some(0);
        assert_eq!(programs.run_by(ours), root.then_some(PLACE));
        assert_eq!(programs.run_by(other), None);
        // Replaced, as an upgrade does it: the old one is still known, and so is the new one.
        fs::rename(&theirs, PLACE).unwrap();
        programs.look();
        assert_eq!([ours, other].map(|pid| programs.run_by(pid)), [root.then_some(PLACE); 2]);
        // A file that others can write is nobody's program.
        let loose = Programs::at(&[PLACE]);
        fs::set_permissions(PLACE, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        loose.look();
        assert_eq!(loose.run_by(other), None);
        for child in [&mut first, &mut second] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
