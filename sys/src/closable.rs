//! Which descriptors close without waiting for a user. close(2), dup2(2), execve(2) and the end of a process all ask the file system
//! of a file to flush it, and FUSE asks a program, which need not answer. The process then waits for ever, even for SIGKILL, so a
//! process that ends others must never have such a descriptor.

use std::cell::OnceCell;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::sys::stat::{SFlag, fstat, major, minor};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FUSE_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC,
    fstatfs,
};

use crate::disk::statx_at;

/// The file systems whose files cannot be watched (their operations have no `poll`), and are flushed and released without a server.
/// That of ext4 is also the one of ext2 and ext3. A file of an overlayfs is one of a file system below it, which root has chosen.
const LOCAL: [FsType; 5] = [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC, OVERLAYFS_SUPER_MAGIC];

/// The minor numbers of /dev/null, /dev/zero and /dev/full (null(4)), which cannot be watched either.
const NULLS: [u64; 3] = [3, 5, 7];

/// Whether no user can delay the closing of a descriptor: of the file systems that an ordinary user can mount only FUSE does, and
/// overlayfs above it.
///
/// # Errors
/// The file system of the descriptor, or the mounts of this process, cannot be read.
pub(crate) fn is_closable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match fstatfs(fd)?.filesystem_type() {
        FUSE_SUPER_MAGIC => Ok(false),
        // Before Linux 5.8, which tells no mount, no ordinary user can mount an overlayfs.
        OVERLAYFS_SUPER_MAGIC => Ok(Mounts::default().has(fd)?.unwrap_or(true)),
        _ => Ok(true),
    }
}

/// Returns the first standard stream or other inherited descriptor that a user can keep from being closed.
///
/// # Errors
/// As [`is_closable`].
pub(crate) fn first_unclosable(others: &[RawFd]) -> io::Result<Option<RawFd>> {
    for fd in (0..=2).chain(others.iter().copied()) {
        // SAFETY: the descriptor was open when the list was made, and nothing has closed it since.
        if !is_closable(unsafe { BorrowedFd::borrow_raw(fd) })? {
            return Ok(Some(fd));
        }
    }
    Ok(None)
}

/// Whether not even the last close of a descriptor can wait for a user. Anything that can be watched (epoll(7)) may wait: pipes,
/// sockets, terminals. So may the last file of a mount that is no longer mounted, or was mounted elsewhere: it ends the mount, and
/// those below it. False where this cannot be found out.
pub(crate) fn releases_at_once(fd: BorrowedFd<'_>, mounts: &Mounts) -> bool {
    let is_unwatched = fstat(fd).is_ok_and(|found| match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG | SFlag::S_IFDIR => fstatfs(fd).is_ok_and(|on| LOCAL.contains(&on.filesystem_type())),
        SFlag::S_IFCHR => major(found.st_rdev) == 1 && NULLS.contains(&minor(found.st_rdev)),
        _ => false,
    });
    is_unwatched && mounts.has(fd).is_ok_and(|is_here| is_here == Some(true))
}

/// The mounts of this process. Those are root's; an ordinary user mounts a file system only in a mount namespace of their own.
#[derive(Default)]
pub(crate) struct Mounts {
    /// `/proc/self/mountinfo`, read when it is needed first.
    listed: OnceCell<Vec<u8>>,
}

impl Mounts {
    /// Whether the file of a descriptor is on one of them; `None` before Linux 5.8, which does not tell.
    fn has(&self, fd: BorrowedFd<'_>) -> io::Result<Option<bool>> {
        let Some(mount) = mount_of(fd.as_raw_fd(), c"", libc::AT_EMPTY_PATH)? else { return Ok(None) };
        // In a container nearly everything is on one mount, and the list may be long.
        if mount_of(libc::AT_FDCWD, c"/", 0)? == Some(mount) {
            return Ok(Some(true));
        }
        if self.listed.get().is_none() {
            let _ = self.listed.set(fs::read("/proc/self/mountinfo")?); // it was empty
        }
        let (listed, mount) = (self.listed.get().map_or(&[][..], Vec::as_slice), mount.to_string());
        Ok(Some(listed.split(|byte| *byte == b'\n').any(|line| begins_with(line, &mount))))
    }
}

/// Returns the id of the mount of a file (statx(2), since Linux 5.8).
fn mount_of(directory: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<Option<u64>> {
    let found = statx_at(directory, path, flags, libc::STATX_MNT_ID)?;
    Ok((found.stx_mask & libc::STATX_MNT_ID != 0).then_some(found.stx_mnt_id))
}

/// Whether the first word of a line is this one.
fn begins_with(line: &[u8], word: &str) -> bool {
    line.strip_prefix(word.as_bytes()).is_some_and(|rest| rest.first() == Some(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn files_pipes_and_devices_of_this_machine_are_closable() {
        let (reader, writer) = crate::poll::pipe().unwrap();
        let [file, null] = ["/etc/passwd", "/dev/null"].map(|path| fs::File::open(path).unwrap());
        for fd in [reader.as_fd(), writer.as_fd(), file.as_fd(), null.as_fd()] {
            assert!(is_closable(fd).unwrap());
        }
        assert_eq!(Mounts::default().has(file.as_fd()).unwrap(), Some(true));
    }

    #[test]
    fn a_mount_is_found_by_its_whole_number() {
        assert!(begins_with(b"36 35 98:0 / /mnt rw", "36"));
        assert!(!begins_with(b"36 35 98:0 / /mnt rw", "3") && !begins_with(b"36", "36"));
    }

    #[test]
    fn only_what_cannot_be_watched_is_released_at_once() {
        let mounts = Mounts::default();
        let is = |fd: BorrowedFd<'_>| releases_at_once(fd, &mounts);
        for path in ["/etc", "/etc/passwd", "/dev/null", "/dev/zero"] {
            assert!(is(fs::File::open(path).unwrap().as_fd()), "{path}");
        }
        for path in ["/proc/self/mounts", "/proc", "/sys/kernel/uevent_seqnum", "/dev/ptmx", "/dev/random"] {
            assert!(!is(fs::File::open(path).unwrap().as_fd()), "{path}");
        }
        let (reader, _writer) = crate::poll::pipe().unwrap();
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let nowhere = nix::sys::memfd::memfd_create(c"nowhere", nix::sys::memfd::MFdFlags::empty()).unwrap();
        for fd in [reader.as_fd(), socket.as_fd(), nowhere.as_fd()] {
            assert!(!is(fd), "{:?}", fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())));
        }
    }

    /// The kernel's own word: epoll_ctl(2) fails with EPERM for a file that cannot be watched.
    #[test]
    fn what_is_released_at_once_cannot_be_watched() {
        use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent};
        let mounts = Mounts::default();
        let mut released = 0;
        for place in ["/", "/etc", "/dev", "/proc/self", "/tmp", "/sys/kernel", "/run", "/dev/shm"] {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                use std::os::unix::fs::OpenOptionsExt;
                let opened = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(entry.path());
                let Ok(file) = opened.as_ref() else { continue };
                if releases_at_once(file.as_fd(), &mounts) {
                    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
                    assert_eq!(epoll.add(file, EpollEvent::empty()), Err(nix::Error::EPERM), "{:?}", entry.path());
                    released += 1;
                }
            }
        }
        assert!(released > 10);
    }
}
