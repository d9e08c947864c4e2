use super::*;
use std::os::unix::fs::{chown, symlink};

/// A directory of root, with one in it that the untrusted user may write to.
struct TestDir(PathBuf);

const OTHER_USER: u32 = 65534;

fn stranger() -> Credentials {
    Credentials { uid: OTHER_USER, gid: 65533, groups: vec![4242] }
}

fn root_user() -> Credentials {
    Credentials { uid: 0, gid: 0, groups: vec![] }
}

impl TestDir {
    fn new() -> Self {
        let name = u64::from_ne_bytes(crate::random::random().unwrap());
        let path = PathBuf::from(format!("/run/sys-place-{name:016x}"));
        for (directory, mode) in [("", 0o755), ("safe", 0o755), ("group", 0o775), ("group/sub", 0o755), ("all", 0o1777)]
        {
            let directory = path.join(directory);
            fs::create_dir(&directory).unwrap();
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        }
        chown(path.join("group"), Some(0), Some(4242)).unwrap();
        fs::create_dir(path.join("own")).unwrap();
        chown(path.join("own"), Some(OTHER_USER), None).unwrap();
        fs::set_permissions(path.join("own"), fs::Permissions::from_mode(0o500)).unwrap();
        for directory in ["safe", "group", "group/sub", "all", "own"] {
            fs::write(path.join(directory).join("file"), "text\n").unwrap();
        }
        Self(path)
    }

    fn find(&self, path: &str) -> Result<Place, PlaceError> {
        Place::find(&self.0.join(path), &root_user(), &stranger())
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn errno(found: Result<Place, PlaceError>) -> i32 {
    match found {
        Err(PlaceError::Io(error)) => error.raw_os_error().unwrap_or(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_that_the_untrusted_user_can_write_to_is_rejected() {
    let scene = TestDir::new();
    for directory in ["group", "all", "own"] {
        assert!(matches!(scene.find(&format!("{directory}/file")), Err(PlaceError::Writable)), "{directory}");
    }
    for directory in ["safe", "group/sub", "safe/../safe/.", "/safe"] {
        let directory = directory.trim_start_matches('/');
        assert!(scene.find(&format!("{directory}/file")).is_ok(), "{directory}");
    }
    // Root counts as trusted.
    assert!(Place::find(&scene.0.join("all/file"), &root_user(), &root_user()).is_ok());
}

#[test]
fn a_link_is_followed_if_the_untrusted_user_could_not_have_created_it() {
    let scene = TestDir::new();
    symlink("../safe", scene.0.join("safe/link")).unwrap();
    symlink(scene.0.join("safe"), scene.0.join("group/link")).unwrap();
    symlink(scene.0.join("group/link"), scene.0.join("safe/through")).unwrap();
    symlink("loop", scene.0.join("safe/loop")).unwrap();
    assert_eq!(scene.find("safe/link/file").unwrap().path(), scene.0.join("safe/file"));
    assert_eq!(errno(scene.find("group/link/file")), libc::ENOTDIR);
    assert_eq!(errno(scene.find("safe/through/file")), libc::ENOTDIR, "a link of root's that leads through theirs");
    assert_eq!(errno(scene.find("safe/loop/file")), libc::ELOOP);
    assert_eq!(errno(scene.find("safe/file/x")), libc::ENOTDIR);
    assert_eq!(errno(scene.find("safe/none/x")), libc::ENOENT);
}

#[test]
fn only_a_regular_file_is_read_with_the_privileges_of_the_reader() {
    let scene = TestDir::new();
    symlink("file", scene.0.join("safe/link")).unwrap();
    nix::unistd::mkfifo(&scene.0.join("safe/pipe"), Mode::S_IRWXU).unwrap();
    let read = |name: &str, reader: &Credentials, most| scene.find(name).unwrap().read(reader, most);
    let found = read("safe/file", &root_user(), 5).unwrap().unwrap();
    assert_eq!((found.bytes.as_slice(), found.public), (&b"text\n"[..], true));
    assert!(matches!(read("safe/file", &root_user(), 4), Err(PlaceError::TooLarge(4))));
    assert!(matches!(read("safe/link", &root_user(), 9), Err(PlaceError::Symlink)));
    for name in ["safe/pipe", "safe", "safe/", "safe/..", "safe/."] {
        assert!(matches!(read(name, &root_user(), 9), Err(PlaceError::NotRegular)), "{name}");
    }
    assert!(read("safe/none", &root_user(), 9).unwrap().is_none());
    fs::set_permissions(scene.0.join("safe/file"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(!read("safe/file", &root_user(), 9).unwrap().unwrap().public);
    let refused = read("safe/file", &stranger(), 9);
    assert!(matches!(refused, Err(PlaceError::Io(error)) if error.raw_os_error() == Some(libc::EACCES)));
    fs::set_permissions(scene.0.join("safe"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(scene.0.join("safe/file"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(!read("safe/file", &root_user(), 9).unwrap().unwrap().public, "other users cannot reach it");
}

#[test]
fn a_file_is_written_in_place_unless_it_has_changed() {
    let scene = TestDir::new();
    let (path, place) = (scene.0.join("safe/file"), scene.find("safe/file").unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(&path, scene.0.join("safe/other")).unwrap();
    let before = fs::metadata(&path).unwrap();
    for (old, new) in [("text\n", "longer text\n"), ("longer text\n", "x"), ("x", "")] {
        place.write(&root_user(), Some(old.as_bytes()), new.as_bytes(), 0o644).unwrap();
        assert_eq!(fs::read_to_string(scene.0.join("safe/other")).unwrap(), new);
    }
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
    fs::write(&path, "somebody else").unwrap();
    let refused = place.write(&root_user(), Some(b""), b"mine", 0o644);
    assert!(matches!(refused, Err(PlaceError::Changed)));
    let refused = place.write(&stranger(), Some(b"somebody else"), b"mine", 0o644);
    assert!(matches!(refused, Err(PlaceError::Io(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else");
    fs::remove_file(&path).unwrap();
    assert!(matches!(place.write(&root_user(), Some(b"somebody else"), b"mine", 0o644), Err(PlaceError::Changed)));
    symlink("other", &path).unwrap();
    assert!(matches!(place.write(&root_user(), Some(b""), b"mine", 0o644), Err(PlaceError::Symlink)));
}

#[test]
fn a_new_file_is_created_once_with_its_mode() {
    let scene = TestDir::new();
    let place = scene.find("safe/new").unwrap();
    place.write(&root_user(), None, b"text", 0o604).unwrap();
    assert_eq!(fs::metadata(scene.0.join("safe/new")).unwrap().mode() & 0o7777, 0o604);
    assert!(matches!(place.write(&root_user(), None, b"text", 0o644), Err(PlaceError::Changed)));
    let denied = scene.find("safe/denied").unwrap().write(&stranger(), None, b"text", 0o644);
    assert!(matches!(denied, Err(PlaceError::Io(_))) && !scene.0.join("safe/denied").exists());
}
