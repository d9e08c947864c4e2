//! Keeps the bytes of a program unchanged until they are executed, although its owner could rewrite the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, TMPFS_MAGIC, XFS_SUPER_MAGIC, fstatfs,
};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::exec::Credentials;
use crate::fsuid::as_user;
use crate::kernel::check;

/// F_SETSIG of Linux (fcntl(2)): which signal reports a waiting writer.
const F_SETSIG: libc::c_int = 10;

/// File systems on which a file changes only by writes through this kernel, so that a lease blocks them. Those that a
/// program or another machine serves, and those that show the files of others, are not among them.
const LOCAL: [FsType; 5] = [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, TMPFS_MAGIC];

/// The maximum size of a program that is copied, in bytes: the copy uses root's memory.
const LARGEST_COPY: u64 = 512 << 20;

/// An opened program whose bytes cannot change while this value lives and [stands](Self::stands).
#[derive(Debug)]
#[must_use]
pub struct HeldProgram {
    file: File,
    is_leased: bool,
}

impl HeldProgram {
    /// Holds a program in the machine's format. Takes a read lease (fcntl(2)): the kernel grants it only while no
    /// process has the file open for writing, and then makes writers wait. Where no lease is available it makes a
    /// sealed copy.
    ///
    /// # Errors
    /// Those of [`Self::copy`].
    pub fn program(program: BorrowedFd<'_>, who: &Credentials) -> io::Result<Self> {
        let file = again(program)?;
        // In a user namespace, root's signals do not reach a process that has become another user; see
        // `die_when_written`.
        let is_reached = who.uid == 0 || is_initial_namespace();
        if !is_reached || !LOCAL.contains(&fstatfs(&file)?.filesystem_type()) {
            return Self::copy(program, who);
        }
        // The signal that reports a waiting writer must not end us: SIGURG is ignored by default. SAFETY: both take
        // integers.
        let leased = check(unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) })
            .and_then(|_| check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) }));
        if leased.is_ok() { Ok(Self { file, is_leased: true }) } else { Self::copy(program, who) }
    }

    /// Makes a sealed copy in memory of a file that `who` may execute and read.
    ///
    /// # Errors
    /// `PermissionDenied` also where the file system is mounted with `noexec`; `EFBIG` above 512 MiB; those of
    /// memfd_create(2) and read(2).
    pub fn copy(program: BorrowedFd<'_>, who: &Credentials) -> io::Result<Self> {
        let mut file = again(program)?;
        let is_barred = fstatvfs(&file)?.flags().contains(FsFlags::ST_NOEXEC);
        if is_barred || !as_user(who, || may_run(&file))? {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        let mut copy = File::from(executable_memory()?);
        if io::copy(&mut (&mut file).take(LARGEST_COPY + 1), &mut copy)? > LARGEST_COPY {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
        fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
        // Read-only: a file that is open for writing cannot be executed.
        Ok(Self { file: again(copy.as_fd())?, is_leased: false })
    }

    /// Returns whether no process could have written so far. The kernel makes a writer wait for a lease, but only for a
    /// time (`/proc/sys/fs/lease-break-time`), so the caller checks this between reading the bytes and executing them.
    pub fn stands(&self) -> bool {
        // SAFETY: takes nothing.
        let lease = || unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETLEASE) };
        !self.is_leased || lease() == libc::F_RDLCK
    }

    /// Has the kernel kill this process, which holds the program, as soon as another process wants to write to the
    /// program, and until the exec closes the file. Without that, a process that is stopped between [`Self::stands`]
    /// and the exec would execute what was written once the kernel had ended the lease. Call it before
    /// [`Self::stands`], in the process that has called [`Self::program`].
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn die_when_written(&self) -> io::Result<()> {
        if !self.is_leased {
            return Ok(());
        }
        // SAFETY: takes integers.
        check(unsafe { libc::fcntl(self.file.as_raw_fd(), F_SETSIG, libc::SIGKILL) }).map(drop)
    }

    /// Returns the file to execute.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl AsFd for HeldProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Opens the file again, with its own offset at the beginning.
fn again(file: BorrowedFd<'_>) -> io::Result<File> {
    OpenOptions::new().read(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn executable_memory() -> io::Result<std::os::fd::OwnedFd> {
    const MFD_EXEC: u32 = 0x10;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let explicit = MFdFlags::from_bits_retain(flags.bits() | MFD_EXEC);
    // Before Linux 6.3 the flag is unknown and the file is executable anyway.
    Ok(memfd_create("program", explicit).or_else(|_| memfd_create("program", flags))?)
}

/// Returns whether the ids of this process are those of the machine (user_namespaces(7)).
fn is_initial_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

fn may_run(file: &File) -> bool {
    let (fd, path, how) = (file.as_raw_fd(), c"".as_ptr(), libc::AT_EACCESS | libc::AT_EMPTY_PATH);
    // SAFETY: the path ends in NUL, and the descriptor is open.
    let answer = unsafe { libc::syscall(libc::SYS_faccessat2, fd, path, libc::R_OK | libc::X_OK, how) };
    answer == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{self, WaitEvent, Waiting};
    use std::fs;
    use std::io::{Seek, Write};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    fn root() -> Credentials {
        Credentials { uid: 0, gid: 0, groups: vec![] }
    }

    fn text(held: &HeldProgram) -> String {
        let mut text = String::new();
        held.file().rewind().unwrap();
        held.file().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_process_that_is_stopped_while_it_holds_a_program_dies_when_that_is_written() {
        let path = std::path::PathBuf::from(format!("/dev/shm/held-dies-{}", std::process::id()));
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let program = File::open(&path).unwrap();
        let someone = Credentials { uid: 65534, gid: 65534, groups: vec![] };
        let child = process::fork(|| {
            let held = HeldProgram::program(program.as_fd(), &someone).unwrap();
            held.die_when_written().unwrap();
            assert!(held.is_leased && held.stands());
            someone.assume().unwrap();
            process::kill(process::Pid::own(), libc::SIGSTOP).unwrap();
            process::exit_now(9)
        });
        let child = child.unwrap();
        let next = |waiting| process::wait(child, waiting).unwrap().unwrap().0;
        assert_eq!(next(Waiting::ForChange), WaitEvent::Stopped(libc::SIGSTOP));
        if is_initial_namespace() {
            let began = std::time::Instant::now();
            fs::write(&path, "two").unwrap();
            assert!(began.elapsed() < std::time::Duration::from_secs(10), "the writer waited for the lease");
            assert_eq!(next(Waiting::ForChange), WaitEvent::Signaled { signal: libc::SIGKILL, core: false });
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_held_program_cannot_be_written() {
        // In memory, which supports leases; the file system of the directory for temporary files is unknown.
        let path = std::path::PathBuf::from(format!("/dev/shm/held-{}", std::process::id()));
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let program = File::open(&path).unwrap();
        let copy = HeldProgram::copy(program.as_fd(), &root()).unwrap();
        {
            let leased = HeldProgram::program(program.as_fd(), &root()).unwrap();
            assert!(leased.is_leased && leased.stands());
            let busy = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path);
            assert_eq!(busy.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert!(!leased.stands(), "a writer waits");
        }
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        let held = HeldProgram::program(program.as_fd(), &root()).unwrap();
        writer.write_all(b"two").unwrap();
        assert_eq!((text(&copy).as_str(), text(&held).as_str()), ("one", "one"));
        let own = format!("/proc/self/fd/{}", held.as_fd().as_raw_fd());
        assert!(OpenOptions::new().write(true).open(own).and_then(|mut file| file.write_all(b"x")).is_err());
        drop(writer);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let nobody = Credentials { uid: 65534, gid: 65534, groups: vec![] };
        assert_eq!(HeldProgram::copy(program.as_fd(), &nobody).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        fs::remove_file(&path).unwrap();
    }
}
