//! Checks what a user may see of the file system: the kernel answers, while this process has that user's file-system
//! ids.

use std::fs;
use std::io;
use std::path::Path;

use crate::exec::Credentials;
use crate::fsuid::as_user;
use crate::opened::Opened;

/// Returns whether a user with these ids can look a path up, and it exists (stat(2) as them). Every error means no.
///
/// # Errors
/// As [`as_user`].
pub fn can_see(uid: u32, gid: u32, groups: &[u32], path: &Path) -> io::Result<bool> {
    as_user(&Credentials { uid, gid, groups: groups.to_vec() }, || fs::metadata(path).is_ok())
}

/// Returns whether a user with these ids cannot find out what is in a directory: false when they may list it, and when
/// they can tell that it does not exist. Every other error means yes.
///
/// # Errors
/// As [`as_user`].
pub fn is_hidden(uid: u32, gid: u32, groups: &[u32], directory: &Path) -> io::Result<bool> {
    let who = Credentials { uid, gid, groups: groups.to_vec() };
    as_user(&who, || match fs::metadata(directory.join(".")) {
        Ok(_) => false,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    })
}

/// Returns whether a user with these ids may read the regular file at a path. Every error means no.
///
/// # Errors
/// As [`as_user`].
pub fn can_read(uid: u32, gid: u32, groups: &[u32], path: &Path) -> io::Result<bool> {
    let who = Credentials { uid, gid, groups: groups.to_vec() };
    as_user(&who, || Opened::find(path).is_ok_and(|found| found.metadata().is_file() && found.may_be_read()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_paths_that_the_user_can_resolve_are_visible() {
        let hidden = std::env::temp_dir().join(format!("access-{}", std::process::id()));
        fs::create_dir(&hidden).unwrap();
        fs::write(hidden.join("file"), "").unwrap();
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(can_see(0, 0, &[], &hidden.join("file")).unwrap());
        assert!(can_see(65534, 65534, &[65534], &hidden).unwrap());
        assert!(!can_see(65534, 65534, &[65534], &hidden.join("file")).unwrap());
        assert!(!can_see(65534, 65534, &[65534], &hidden.join("nothing")).unwrap());
        let is_hidden = |path: &Path| is_hidden(65534, 65534, &[65534], path).unwrap();
        assert!(is_hidden(&hidden) && is_hidden(&hidden.join("file")) && is_hidden(&hidden.join("none/none")));
        assert!(!is_hidden(Path::new("/")) && !is_hidden(Path::new("/none/none")));
        assert!(can_read(0, 0, &[], &hidden.join("file")).unwrap());
        assert!(!can_read(0, 0, &[], &hidden).unwrap());
        assert!(!can_read(65534, 65534, &[65534], &hidden.join("file")).unwrap());
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o711)).unwrap();
        assert!(can_read(65534, 65534, &[65534], &hidden.join("file")).unwrap());
        fs::set_permissions(hidden.join("file"), fs::Permissions::from_mode(0o711)).unwrap();
        assert!(!can_read(65534, 65534, &[65534], &hidden.join("file")).unwrap());
        fs::write(hidden.join("more"), "").unwrap();
        fs::remove_dir_all(&hidden).unwrap();
    }
}
