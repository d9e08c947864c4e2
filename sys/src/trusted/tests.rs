//! Runs as root, in a directory of root below `/run`: all users can write to the directory of temporary files.

use super::*;
use std::fs;
use std::os::unix::fs::{chown, symlink};

/// A directory of root below `/run`, removed at the end.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> Self {
        let path = PathBuf::from(format!("/run/sys-test-{:016x}", u64::from_ne_bytes(random().unwrap())));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, "text").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_of_root_is_read_up_to_the_limit() {
    let place = TestDir::new();
    let file = TrustedFile::open(&place.file("a", 0o644)).unwrap();
    assert!(matches!(file.read(3), Err(TrustError::TooLarge { limit: 3, .. })));
    assert_eq!(file.read(4).unwrap(), b"text");
    assert!(matches!(file.private(), Err(TrustError::Readable { mode: 0o644, .. })));
}

#[test]
fn a_file_writable_by_others_is_rejected() {
    let place = TestDir::new();
    let group = TrustedFile::open(&place.file("a", 0o660));
    assert!(matches!(group, Err(TrustError::Writable { by: Writer::Group, .. })));
    let others = TrustedFile::open(&place.file("b", 0o602));
    assert!(matches!(others, Err(TrustError::Writable { by: Writer::Others, .. })));
}

#[test]
fn a_file_of_another_user_is_rejected() {
    let place = TestDir::new();
    let path = place.file("a", 0o600);
    chown(&path, Some(65534), None).unwrap();
    assert!(matches!(TrustedFile::open(&path), Err(TrustError::NotRootOwned { uid: 65534, .. })));
}

#[test]
fn parent_directories_are_checked_and_a_sticky_bit_is_no_exception() {
    let place = TestDir::new();
    let inner = place.0.join("inner");
    fs::create_dir(&inner).unwrap();
    let path = place.file("inner/a", 0o600);
    assert!(TrustedFile::open(&path).is_ok());
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o1777)).unwrap();
    let error = TrustedFile::open(&path).unwrap_err();
    assert!(matches!(&error, TrustError::Writable { path, by: Writer::Others } if *path == inner), "{error}");
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&inner, Some(65534), None).unwrap();
    assert!(matches!(TrustedFile::open(&path), Err(TrustError::NotRootOwned { .. })));
}

#[test]
fn symbolic_links_are_never_followed() {
    let place = TestDir::new();
    let path = place.file("a", 0o600);
    symlink(&path, place.0.join("link")).unwrap();
    symlink(&place.0, place.0.join("loop")).unwrap();
    assert!(matches!(TrustedFile::open(&place.0.join("link")), Err(TrustError::Symlink { .. })));
    assert!(matches!(TrustedFile::open(&place.0.join("loop/a")), Err(TrustError::Symlink { .. })));
    assert!(matches!(TrustedDirectory::open(&place.0.join("loop")), Err(TrustError::Symlink { .. })));
}

#[test]
fn pipes_devices_and_directories_are_rejected() {
    let place = TestDir::new();
    nix::unistd::mkfifo(&place.0.join("pipe"), Mode::S_IRUSR).unwrap();
    assert!(matches!(TrustedFile::open(&place.0.join("pipe")), Err(TrustError::NotRegular { .. })));
    assert!(matches!(TrustedFile::open(&place.0), Err(TrustError::NotRegular { .. })));
    assert!(matches!(TrustedFile::open(Path::new("/dev/null")), Err(TrustError::NotRegular { .. })));
    assert!(matches!(TrustedFile::open(&place.0.join("none")), Err(TrustError::Missing { .. })));
    let path = place.file("a", 0o600);
    assert!(matches!(TrustedFile::open(&path.join("b")), Err(TrustError::NotDirectory { .. })));
}

#[test]
fn relative_paths_and_parent_components_are_rejected() {
    for path in ["etc/passwd", "", "/etc/../etc/passwd", "/", "/etc/.."] {
        assert!(matches!(TrustedFile::open(Path::new(path)), Err(TrustError::NotCanonical { .. })), "{path}");
    }
}

#[test]
fn a_created_file_is_complete_and_never_overwrites_another() {
    let place = TestDir::new();
    let directory = TrustedDirectory::open(&place.0).unwrap();
    directory.private().unwrap();
    directory.create(OsStr::new("key"), b"one", 0o600).unwrap();
    let error = directory.create(OsStr::new("key"), b"two", 0o600).unwrap_err();
    assert!(matches!(error, TrustError::Io { error, .. } if error.kind() == io::ErrorKind::AlreadyExists));
    let file = directory.file(OsStr::new("key")).unwrap();
    file.private().unwrap();
    assert_eq!(file.read(10).unwrap(), b"one");
    directory.replace(OsStr::new("key"), b"three", 0o644).unwrap();
    let replaced = directory.file(OsStr::new("key")).unwrap();
    assert_eq!(replaced.read(10).unwrap(), b"three");
    assert_ne!(replaced.stamp(), file.stamp());
    assert_eq!(directory.entries().unwrap(), ["key"]);
    assert!(directory.create(OsStr::new("../x"), b"", 0o600).is_err());
}

#[test]
fn entries_are_sorted_and_can_be_read_twice() {
    let place = TestDir::new();
    for name in ["b", "a", "c"] {
        place.file(name, 0o600);
    }
    let directory = TrustedDirectory::open(&place.0).unwrap();
    assert_eq!(directory.entries().unwrap(), ["a", "b", "c"]);
    assert_eq!(directory.entries().unwrap(), ["a", "b", "c"]);
}

#[test]
fn a_directory_open_to_others_is_not_private() {
    let place = TestDir::new();
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o755)).unwrap();
    let directory = TrustedDirectory::open(&place.0).unwrap();
    assert!(matches!(directory.private(), Err(TrustError::Readable { mode: 0o755, .. })));
}

#[test]
fn a_directory_that_others_may_list_is_not_listed() {
    let place = TestDir::new();
    let found = |mode: u32, gid: u32| {
        chown(&place.0, None, Some(gid)).unwrap();
        fs::set_permissions(&place.0, fs::Permissions::from_mode(mode)).unwrap();
        let directory = TrustedDirectory::open(&place.0).unwrap();
        let refused = |result| matches!(result, Err(TrustError::Listable { mode: found, .. }) if found == mode);
        (refused(directory.entries().map(drop)), refused(directory.closed()))
    };
    for (mode, gid, expected) in [
        (0o700, 0, (false, false)),
        (0o750, 0, (false, false)),
        (0o750, 4, (true, false)),
        (0o710, 4, (false, false)),
        (0o711, 0, (false, true)),
        (0o704, 0, (true, true)),
        (0o755, 0, (true, true)),
    ] {
        assert_eq!(found(mode, gid), expected, "{mode:o} {gid}");
    }
}

#[test]
fn a_system_program_is_trusted() {
    let program = crate::program::OpenedProgram::open(Path::new("/bin/sh")).unwrap();
    assert_eq!(program.roots_name().unwrap().path(), program.place());
}

#[test]
fn a_file_is_created_once_moved_and_removed() {
    let place = TestDir::new();
    let directory = TrustedDirectory::open(&place.0).unwrap();
    let inner = directory.private_directory(OsStr::new("inner")).unwrap();
    let _ = directory.private_directory(OsStr::new("inner")).unwrap();
    let mut file = directory.begin(OsStr::new("a")).unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    file.write_all(b"one").unwrap();
    std::os::unix::fs::symlink("/nonexistent", place.0.join("link")).unwrap();
    for name in ["a", "link"] {
        let error = directory.begin(OsStr::new(name)).unwrap_err();
        assert!(
            matches!(error, TrustError::Io { error, .. } if error.kind() == io::ErrorKind::AlreadyExists),
            "{name}"
        );
    }
    directory.hand_over(OsStr::new("a"), &inner, OsStr::new("b")).unwrap();
    assert_eq!(inner.file(OsStr::new("b")).unwrap().read(10).unwrap(), b"one");
    let again = inner.file(OsStr::new("b")).unwrap().into_file();
    crate::lock::hold(&file).unwrap();
    assert!(crate::lock::is_held(&again).unwrap());
    drop(file);
    assert!(!crate::lock::is_held(&again).unwrap());
    inner.remove(OsStr::new("b")).unwrap();
    assert!(directory.begin(OsStr::new("../x")).is_err());
    assert!(free_space(again.as_fd()).unwrap() > 0);
    fs::set_permissions(place.0.join("inner"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(directory.private_directory(OsStr::new("inner")).is_err());
}
