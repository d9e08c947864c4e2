//! Files on disk: starts writing before a sync, identifies the location of a file, and stores notes in extended
//! attributes.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC,
    fstatfs, statfs,
};

use crate::kernel::{check, check_length};

/// File systems that neither a program nor another machine serves: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs, ramfs,
/// overlayfs, SquashFS, EROFS, ZFS, bcachefs.
const SERVED_BY_KERNEL: [FsType; 11] = [
    EXT4_SUPER_MAGIC,
    XFS_SUPER_MAGIC,
    BTRFS_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    TMPFS_MAGIC,
    FsType(0x8584_58f6),
    OVERLAYFS_SUPER_MAGIC,
    FsType(0x7371_7368),
    FsType(0xe0f5_e1e2),
    FsType(0x2fc1_2fc1),
    FsType(0xca45_1a4e),
];

/// Returns whether only this kernel serves an opened file, so that no program and no other machine can delay access to
/// it. False in case of doubt.
pub fn is_served_by_kernel(file: impl AsFd) -> bool {
    fstatfs(file.as_fd()).is_ok_and(|found| SERVED_BY_KERNEL.contains(&found.filesystem_type()))
}

/// Makes the kernel start to write the file's dirty pages, without waiting (sync_file_range(2)), so that a later sync
/// waits less. It is no sync and promises nothing, so errors are ignored.
pub fn write_out(file: &File) {
    // SAFETY: takes integers; the descriptor is open through the call.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// How many bytes [`allocate`] asks for at once: some file systems allocate all or nothing.
const STEP: u64 = 64 << 10;

/// Extends a file to `size` bytes whose blocks are allocated (fallocate(2)), as far as there is room. Returns its size.
/// A file system that cannot allocate gets random bytes, which it cannot compress.
///
/// # Errors
/// Those of fallocate(2), except that there is no room.
pub fn allocate(file: &File, size: u64) -> io::Result<u64> {
    let mut length = file.metadata()?.len();
    while length < size {
        let step = STEP.min(size - length);
        match extend(file, length, step) {
            Ok(()) => length += step,
            Err(error) => {
                file.set_len(length)?;
                return if is_out_of_space(&error) { Ok(length) } else { Err(error) };
            }
        }
    }
    Ok(length)
}

/// Returns whether a new file in this directory could have this many bytes. True where this cannot be found out, as on a disk that
/// fails.
pub fn has_room(directory: &Path, bytes: u64) -> bool {
    match File::options().read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(directory) {
        Ok(file) => allocate(&file, bytes).map_or(true, |length| length >= bytes),
        Err(error) if is_out_of_space(&error) => false,
        // Not every file system has files without names.
        Err(_) => statfs(directory).map_or(true, |found| {
            let free = u64::try_from(found.block_size()).unwrap_or(0).saturating_mul(found.blocks_free());
            free == 0 && found.blocks() == 0 || free >= bytes
        }),
    }
}

fn extend(file: &File, from: u64, by: u64) -> io::Result<()> {
    match fallocate(file, 0, from, by) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            let mut written = 0;
            while written < by {
                let bytes: [u8; 4096] = crate::random::random()?;
                let part = bytes.get(..usize::try_from(by - written).unwrap_or(bytes.len())).unwrap_or(&bytes);
                file.write_all_at(part, from + written)?;
                written += 4096;
            }
            file.sync_data()
        }
        done => done,
    }
}

/// Allocates this many bytes behind the end of a file (`FALLOC_FL_KEEP_SIZE`, fallocate(2)), for what is appended to it
/// next.
///
/// # Errors
/// Those of fallocate(2).
pub fn allocate_behind(file: &File, bytes: u64) -> io::Result<()> {
    fallocate(file, libc::FALLOC_FL_KEEP_SIZE, file.metadata()?.len(), bytes)
}

/// Returns how many bytes of a file are allocated, at most its size.
///
/// # Errors
/// Those of fstat(2).
pub fn allocated(file: &File) -> io::Result<u64> {
    let found = file.metadata()?;
    Ok(found.len().min(found.blocks().saturating_mul(512)))
}

fn fallocate(file: &File, mode: libc::c_int, from: u64, bytes: u64) -> io::Result<()> {
    let number = |bytes: u64| libc::off64_t::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let (from, bytes) = (number(from)?, number(bytes)?);
    // SAFETY: takes integers; the descriptor is open through the call.
    check(unsafe { libc::fallocate64(file.as_raw_fd(), mode, from, bytes) }).map(drop)
}

fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The location of a file, valid until the next boot: a mount that is made again gets another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLocation {
    /// The id of the mount, unique until the next boot (`STATX_MNT_ID_UNIQUE`, statx(2)).
    pub mount: u64,
    /// The inode on that mount.
    pub inode: u64,
}

/// `STATX_MNT_ID_UNIQUE` of linux/stat.h, since Linux 6.8.
const UNIQUE_MOUNT: u32 = 0x4000;

/// Returns the location of the file at `path`; `None` where the kernel gives mounts no unique ids.
pub fn place(path: &Path) -> io::Result<Option<FileLocation>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let wanted = libc::STATX_INO | UNIQUE_MOUNT;
    let found = statx(&path, libc::AT_SYMLINK_NOFOLLOW, wanted)?;
    let place = FileLocation { mount: found.stx_mnt_id, inode: found.stx_ino };
    Ok((found.stx_mask & wanted == wanted).then_some(place))
}

/// Calls statx(2) for the file at `path`, with the fields of the mask `wanted`.
pub(crate) fn statx(path: &CStr, flags: libc::c_int, wanted: libc::c_uint) -> io::Result<libc::statx> {
    statx_at(libc::AT_FDCWD, path, flags, wanted)
}

/// Does the same for a path in a directory, or with `AT_EMPTY_PATH` and no path for a descriptor.
pub(crate) fn statx_at(
    directory: RawFd,
    path: &CStr,
    flags: libc::c_int,
    wanted: libc::c_uint,
) -> io::Result<libc::statx> {
    // SAFETY: statx is plain integers, for which zero is valid.
    let mut found: libc::statx = unsafe { mem::zeroed() };
    // SAFETY: both pointers live through the call.
    check(unsafe { libc::statx(directory, path.as_ptr(), flags, wanted, &raw mut found) })?;
    Ok(found)
}

/// Reads the note that [`write_note`] stored under this name (fgetxattr(2)), at most 128 bytes.
///
/// # Errors
/// `ENODATA` where there is none, `ERANGE` where it is longer, `ENOTSUP` where the file system does not support
/// extended attributes.
pub fn read_note(file: &File, name: &CStr) -> io::Result<Vec<u8>> {
    let mut note = vec![0; 128];
    // SAFETY: the kernel writes at most as many bytes as `note` has; the name lives through the call.
    let length = unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), note.as_mut_ptr().cast(), note.len()) };
    note.truncate(check_length(length)?);
    Ok(note)
}

/// Stores a note on a file (lsetxattr(2)), without opening it. The process needs write permission for the file.
pub fn write_note(path: &Path, name: &CStr, note: &[u8]) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all pointers live through the call, and the length is that of `note`.
    check(unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), note.as_ptr().cast(), note.len(), 0) }).map(drop)
}

/// Removes the note (lremovexattr(2)).
///
/// # Errors
/// `ENODATA` where there is none.
pub fn remove_note(path: &Path, name: &CStr) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: both pointers live through the call.
    check(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &CStr = c"user.sys-disk-tests";

    #[test]
    fn a_note_stays_with_its_file() {
        let path = std::env::temp_dir().join(format!("sys-disk-tests-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        assert_eq!(read_note(&file, NAME).unwrap_err().raw_os_error(), Some(libc::ENODATA));
        write_note(&path, NAME, b"one").unwrap();
        write_note(&path, NAME, b"another").unwrap();
        assert_eq!(read_note(&file, NAME).unwrap(), b"another");
        remove_note(&path, NAME).unwrap();
        assert_eq!(remove_note(&path, NAME).unwrap_err().raw_os_error(), Some(libc::ENODATA));
        write_note(&path, NAME, &[b'x'; 129]).unwrap();
        assert_eq!(read_note(&file, NAME).unwrap_err().raw_os_error(), Some(libc::ERANGE));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_allocated_file_has_its_blocks_and_grows_only_to_its_size() {
        let path = std::env::temp_dir().join(format!("sys-disk-allocated-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        assert_eq!(allocated(&file).unwrap(), 0);
        assert_eq!(allocate(&file, 150_000).unwrap(), 150_000);
        assert_eq!(allocated(&file).unwrap(), 150_000);
        file.set_len(10).unwrap();
        assert_eq!(allocated(&file).unwrap(), 10);
        assert_eq!(allocate(&file, 150_000).unwrap(), 150_000);
        assert_eq!(allocate(&file, 5).unwrap(), 150_000);
        allocate_behind(&file, 1 << 16).unwrap();
        assert_eq!(allocated(&file).unwrap(), 150_000);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn two_files_of_one_mount_have_the_same_mount_id() {
        let places = ["/etc", "/etc/passwd", "/proc/self/stat"].map(|path| place(Path::new(path)).unwrap());
        let [Some(directory), Some(file), Some(process)] = places else {
            return; // before Linux 6.8
        };
        assert_eq!(directory.mount, file.mount);
        assert_ne!(directory.inode, file.inode);
        assert_ne!(file.mount, process.mount);
    }
}
