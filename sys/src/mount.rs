//! How the file system of a file is mounted (statvfs(3)).

use std::io;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

/// Whether set-user-ID bits count for nothing where this file lies (`nosuid`).
///
/// # Errors
/// Those of statvfs(3).
pub fn is_nosuid(path: &Path) -> io::Result<bool> {
    Ok(statvfs(path)?.flags().contains(FsFlags::ST_NOSUID))
}
