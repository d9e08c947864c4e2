//! What somebody else may see of the file system: the kernel answers, with their identity on this process for the moment of
//! the question.

use std::fs;
use std::io;
use std::path::Path;

use crate::exec::Credentials;
use crate::lent::as_user;

/// Whether a user with these ids may look a path up, and it is there (stat(2) as them). Every error is a no.
///
/// # Errors
/// As [`as_user`].
pub fn can_see(uid: u32, gid: u32, groups: &[u32], path: &Path) -> io::Result<bool> {
    as_user(&Credentials { uid, gid, groups: groups.to_vec() }, || fs::metadata(path).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_what_the_user_could_look_up_is_seen() {
        let hidden = std::env::temp_dir().join(format!("sight-{}", std::process::id()));
        fs::create_dir(&hidden).unwrap();
        fs::write(hidden.join("file"), "").unwrap();
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(can_see(0, 0, &[], &hidden.join("file")).unwrap());
        assert!(can_see(65534, 65534, &[65534], &hidden).unwrap());
        assert!(!can_see(65534, 65534, &[65534], &hidden.join("file")).unwrap());
        assert!(!can_see(65534, 65534, &[65534], &hidden.join("nothing")).unwrap());
        fs::write(hidden.join("more"), "").unwrap();
        fs::remove_dir_all(&hidden).unwrap();
    }
}
