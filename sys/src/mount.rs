//! Mount options of a file's file system (statvfs(3)).

use std::io;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

/// Returns whether the file system of this file ignores set-user-ID bits (`nosuid`).
///
/// # Errors
/// Those of statvfs(3).
pub fn is_nosuid(path: &Path) -> io::Result<bool> {
    Ok(statvfs(path)?.flags().contains(FsFlags::ST_NOSUID))
}
