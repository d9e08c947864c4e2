//! Programs identified by their file, by device, inode and time of creation: any user can give a file any name.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CString;
use std::time::{Duration, Instant};

use crate::disk::statx;
use crate::process::{self, Pid};
use crate::procfs;
use crate::procfs::locked::{FileIdentity, identity, reader};

/// The interval in which [`Programs::keep_up`] looks. A file that is at a path for a shorter time is not known.
const EVERY: Duration = Duration::from_millis(200);

/// Programs of root at known paths.
#[derive(Debug)]
pub struct Programs {
    paths: &'static [&'static str],
    /// The files that have been at these paths so far. The time of creation is part of the identity, because after an
    /// upgrade another file may get the inode number of the old one.
    known: RefCell<HashMap<FileIdentity, &'static str>>,
    looked: Cell<Instant>,
}

/// A file that was at a path, for another process that has not seen it: device, inode, time of creation, and the number
/// of the path.
pub type KnownFile = (u64, u64, u64, usize);

impl Programs {
    /// Creates the set of the programs that are at these paths now. A process keeps its program when the file is
    /// replaced, as by an upgrade, so the set must be older than the processes that are to be recognized.
    pub fn at(paths: &'static [&'static str]) -> Self {
        let programs = Self { paths, known: RefCell::default(), looked: Cell::new(Instant::now()) };
        let _ = programs.look();
        programs
    }

    /// Records which files are now at these paths. A file that was seen before still counts. A file that does not
    /// belong to root, or that other users can write to, does not count. Returns whether a file is new.
    pub fn look(&self) -> bool {
        self.looked.set(Instant::now());
        let mut is_new = false;
        for path in self.paths {
            if let Some(found) = file_of_root(path) {
                is_new |= self.known.borrow_mut().insert(found, path).is_none();
            }
        }
        is_new
    }

    /// Does the same if the last time was a while ago. Call it several times a second, so that each file is seen.
    pub fn keep_up(&self) -> bool {
        self.looked.get().elapsed() >= EVERY && self.look()
    }

    /// Returns the files that have been at these paths so far.
    pub fn known(&self) -> Vec<KnownFile> {
        let place = |path: &str| self.paths.iter().position(|known| *known == path);
        self.known
            .borrow()
            .iter()
            .filter_map(|([dev, ino, created], path)| Some((*dev, *ino, *created, place(path)?)))
            .collect()
    }

    /// Adds files that another process of ours, with the same paths, has seen.
    pub fn add(&self, files: &[KnownFile]) {
        let path = |place: usize| self.paths.get(place).copied();
        let files = files.iter().filter_map(|(dev, ino, created, place)| Some(([*dev, *ino, *created], path(*place)?)));
        self.known.borrow_mut().extend(files);
    }

    /// Returns which of these programs a process runs with root's rights. A
    /// process of an ordinary user has such rights only if the program is set-user-ID. A forked child that is about to
    /// execute a command, in the group that the program created for it, counts as the command: otherwise it would be
    /// neither. The process must have the name of its program. Returns `None` for a process that does not answer: one
    /// of root can imitate a program, but delays its own end by that no longer than any other process.
    pub fn run_by(&self, pid: Pid) -> Option<&'static str> {
        // First the checks that the kernel answers at once. A process that has another name is not asked for its file.
        if procfs::effective_uid(pid) != Some(0) || !procfs::name_of(pid).is_some_and(|name| self.is_name(&name)) {
            return None;
        }
        let file = reader::executed(pid)?;
        self.known.borrow().get(&file).copied()
    }

    fn is_name(&self, name: &[u8]) -> bool {
        self.paths.iter().any(|path| process::name_for(path) == name)
    }
}

/// Returns the file at a path, if it belongs to root and no other user can write to it.
fn file_of_root(path: &str) -> Option<FileIdentity> {
    let wanted = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    let found = statx(&CString::new(path).ok()?, libc::AT_STATX_DONT_SYNC, wanted).ok()?;
    let mode = u32::from(found.stx_mode);
    (mode & libc::S_IFMT == libc::S_IFREG && found.stx_uid == 0 && mode & 0o022 == 0).then(|| identity(&found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Cgroup;
    use crate::process::{Waiting, fork, fork_into};
    use std::fs;
    use std::process::{Command, Stdio};

    const PLACE: &str = "/run/sys-programs-tests/sleep";

    #[test]
    fn a_forked_child_in_the_group_of_its_command_is_not_a_program() {
        let Some(group) = Cgroup::create("sys-tests", "unborn").ok() else { return };
        let own: &'static str = fs::read_link("/proc/self/exe").unwrap().to_str().unwrap().to_owned().leak();
        let programs = Programs::at(vec![own].leak());
        let wait = || loop {
            process::set_name(own); // a thread of a test has another name
            std::thread::sleep(std::time::Duration::from_secs(60));
        };
        let children = [fork(wait).unwrap(), fork_into(Some(&group), wait).unwrap()];
        while children.iter().any(|child| procfs::name_of(*child) != Some(process::name_for(own).to_owned())) {
            std::thread::yield_now();
        }
        assert_eq!(programs.run_by(Pid::own()), Some(own));
        assert_eq!(children.map(|child| programs.run_by(child)), [Some(own), None]);
        for child in children {
            process::kill(child, libc::SIGKILL).unwrap();
            process::wait(child, Waiting::ForEnd).unwrap();
        }
        group.remove();
    }

    #[test]
    fn a_later_file_with_the_same_inode_number_is_another_program() {
        let directory = std::env::temp_dir().join(format!("sys-later-{}", Pid::own()));
        fs::create_dir_all(&directory).unwrap();
        let place = directory.join("sleep");
        fs::copy("/usr/bin/sleep", &place).unwrap();
        let programs = Programs::at(vec![&*place.to_str().unwrap().to_owned().leak()].leak());
        let [before] = programs.known()[..] else { panic!("the file belongs to root") };
        // An upgrade removes the old file, and the file system uses its inode number again.
        fs::rename(&place, directory.join("old")).unwrap();
        fs::copy("/usr/bin/sleep", &place).unwrap();
        assert!(programs.look());
        fs::remove_file(directory.join("old")).unwrap();
        fs::create_dir(directory.join("theirs")).unwrap();
        let theirs = directory.join("theirs/sleep");
        let is_reused = (0..100).any(|number| {
            let other = directory.join(number.to_string());
            fs::copy("/usr/bin/sleep", &other).unwrap();
            let found = file_of_root(other.to_str().unwrap()).unwrap();
            let is_same = found[..2] == [before.0, before.1];
            let _ = is_same.then(|| fs::rename(&other, &theirs).unwrap());
            is_same
        });
        if is_reused && before.2 != 0 {
            let mut child = Command::new(&theirs).arg("60").stdin(Stdio::null()).spawn().unwrap();
            let pid = Pid::new(child.id().cast_signed()).unwrap();
            assert_eq!(programs.run_by(pid), None);
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            println!("this file system does not use an inode number again, or stores no time of creation");
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_program_is_identified_by_its_file_and_not_by_its_name() {
        let directory = std::path::Path::new(PLACE).parent().unwrap();
        fs::create_dir_all(directory.join("theirs")).unwrap();
        let theirs = directory.join("theirs/sleep");
        for place in [std::path::Path::new(PLACE), &theirs] {
            fs::copy("/usr/bin/sleep", place).unwrap();
        }
        let programs = Programs::at(&[PLACE]);
        let early = Programs::at(&[PLACE]);
        let run = |place: &std::path::Path| {
            let child = Command::new(place).arg("60").stdin(Stdio::null()).spawn().unwrap();
            (Pid::new(i32::try_from(child.id()).unwrap()).unwrap(), child)
        };
        let (ours, mut first) = run(PLACE.as_ref());
        let (other, mut second) = run(&theirs);
        let root = procfs::effective_uid(Pid::own()) == Some(0);
        assert_eq!(programs.run_by(ours), root.then_some(PLACE));
        assert_eq!(programs.run_by(other), None);
        // Replaced, as by an upgrade: the old file is still known, and so is the new one.
        fs::rename(&theirs, PLACE).unwrap();
        let late = Programs::at(&[PLACE]);
        assert_eq!(late.run_by(ours), None);
        late.add(&early.known());
        assert_eq!(late.run_by(ours), root.then_some(PLACE));
        assert!(programs.look() && !programs.look() && !programs.keep_up());
        assert_eq!([ours, other].map(|pid| programs.run_by(pid)), [root.then_some(PLACE); 2]);
        // A file that other users can write to does not count.
        fs::set_permissions(PLACE, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let loose = Programs::at(&[PLACE]);
        assert!(!loose.look());
        assert_eq!(loose.run_by(other), None);
        for child in [&mut first, &mut second] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
