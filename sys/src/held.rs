//! The bytes of a program that its owner could rewrite, held as they are until they were executed.

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

/// fcntl(2) of Linux: which signal tells of a waiting writer.
const F_SETSIG: libc::c_int = 10;

/// The file systems of which a file changes only by writes that this kernel sees, so that a lease keeps them out: not those that
/// a program or another machine serves, nor those that show the files of others.
const LOCAL: [FsType; 5] = [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, TMPFS_MAGIC];

/// The largest program that is copied, in bytes: the copy is memory of root's.
const LARGEST_COPY: u64 = 512 << 20;

/// An opened program whose bytes nobody can change as long as this lives, and [stands](Self::stands).
#[derive(Debug)]
#[must_use]
pub struct HeldProgram {
    file: File,
    is_leased: bool,
}

impl HeldProgram {
    /// A program in the machine's format. Takes a read lease (fcntl(2)): the kernel gives one only while nobody has the file open
    /// for writing, and then makes writers wait. Where there is none to be had it makes a sealed copy.
    ///
    /// # Errors
    /// Those of [`Self::copy`].
    pub fn program(program: BorrowedFd<'_>, who: &Credentials) -> io::Result<Self> {
        let file = again(program)?;
        if !LOCAL.contains(&fstatfs(&file)?.filesystem_type()) {
            return Self::copy(program, who);
        }
        // What tells of a waiting writer must not end us: SIGURG is ignored unless somebody asks for it.
        // SAFETY: both take integers.
        let leased = check(unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) })
            .and_then(|_| check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) }));
        if leased.is_ok() { Ok(Self { file, is_leased: true }) } else { Self::copy(program, who) }
    }

    /// A sealed copy in memory, of a file that `who` may execute and read.
    ///
    /// # Errors
    /// `PermissionDenied` also where the file system is mounted with `noexec`; `EFBIG` above 512 MiB; those of memfd_create(2)
    /// and read(2).
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
        // For reading alone: what is open for writing is not executed.
        Ok(Self { file: again(copy.as_fd())?, is_leased: false })
    }

    /// Whether nobody could write so far. The kernel lets a writer wait for a lease, but not for ever
    /// (`/proc/sys/fs/lease-break-time`): whoever has read the bytes asks before they are executed.
    pub fn stands(&self) -> bool {
        // SAFETY: takes nothing.
        let lease = || unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETLEASE) };
        !self.is_leased || lease() == libc::F_RDLCK
    }

    /// What is executed.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl AsFd for HeldProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// An open file of its own, at its beginning.
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

fn may_run(file: &File) -> bool {
    let (fd, path, how) = (file.as_raw_fd(), c"".as_ptr(), libc::AT_EACCESS | libc::AT_EMPTY_PATH);
    // SAFETY: the path ends in NUL, and the descriptor is open.
    let answer = unsafe { libc::syscall(libc::SYS_faccessat2, fd, path, libc::R_OK | libc::X_OK, how) };
    answer == 0
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn what_is_held_is_not_written() {
        // Memory, which has leases; of the directory for temporary files nobody knows.
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
            assert!(!leased.stands(), "somebody wants to write");
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
