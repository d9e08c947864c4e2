//! The user's file `known_hosts`: reads it, and adds a line. Follows a symbolic link as ssh(1) does: the target is
//! changed.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_core::grant::{HostDescriptor, PublicKey};
use sys::lock::Locked;

use super::list::{Found, KnownHost, List, line_of, replaced};
use crate::when::today;

/// The maximum size of the file, in bytes.
const FILE_LIMIT: u64 = 4 << 20;

/// The maximum time that another process may hold the lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// The file beside it that a process locks while it adds a line.
const LOCK: &str = ".known_hosts.lock";

/// The first lines of a new file.
const HEAD: &str =
    "# Hosts whose documents jitctl has seen. When you have compared a key, remove seen=… from its line.\n";

/// Returns the path of the file: below `$XDG_CONFIG_HOME`, which the XDG Base Directory Specification requires to be
/// absolute, else below `~/.config`; `None` if the environment has neither.
pub(super) fn place() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(config.join("jit-sudo").join("known_hosts"))
}

/// Looks a host up in the file; an absent file contains no host.
///
/// # Errors
/// The reason, if the file cannot be read or parsed.
pub(super) fn look(path: &Path, host: &HostDescriptor, key: &PublicKey) -> Result<Found, String> {
    Ok(parse(&read(path)?)?.find(host, key))
}

/// Returns the host with this id, if the file contains it.
///
/// # Errors
/// The reason, if the file cannot be read or parsed.
pub(super) fn with_id(path: &Path, id: &str) -> Result<Option<KnownHost>, String> {
    Ok(parse(&read(path)?)?.with_id(id))
}

/// Returns the id of the host with this name and key, if the file can be read and contains it.
pub(super) fn id_of(path: &Path, name: &str, key: &PublicKey) -> Option<String> {
    parse(&read(path).ok()?).ok()?.id_of(name, key).map(str::to_owned)
}

/// Returns the day on which a rotation of this key of a host was seen, if the file can be read and says so.
pub(super) fn replaced_on(path: &Path, name: &str, key: &PublicKey) -> Option<String> {
    replaced(&read(path).ok()?, name, key)
}

/// Puts the present key and id of a host in the place of the first of its `former` keys, and returns the number of the line.
///
/// # Errors
/// The reason why nothing was written.
pub(super) fn succeed(path: &Path, host: &HostDescriptor, former: &[PublicKey]) -> Result<usize, String> {
    let failed = |error: &io::Error| sys::plain_words(error);
    let target = followed(path).map_err(|error| failed(&error))?;
    let directory = target.parent().unwrap_or(Path::new("/"));
    let _lock = Locked::at(&directory.join(LOCK), PATIENCE).map_err(|error| failed(&error))?;
    let text = read(&target)?;
    let succeeded = parse(&text)?.succeeded(&text, host, former, &today());
    let (text, line) = succeeded.ok_or("it changes while it is read")?;
    replace(&target, &text).map_err(|error| failed(&error))?;
    Ok(line)
}

/// Adds a host that the file does not contain, and returns its line number; if another process added it first, what that
/// one wrote.
///
/// # Errors
/// The reason why nothing was written.
pub(super) fn pin(path: &Path, host: &HostDescriptor, key: &PublicKey) -> Result<Result<usize, Found>, String> {
    let failed = |error: &io::Error| sys::plain_words(error);
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| failed(&error))?;
    }
    let target = followed(path).map_err(|error| failed(&error))?;
    let directory = target.parent().unwrap_or(Path::new("/"));
    let _lock = Locked::at(&directory.join(LOCK), PATIENCE).map_err(|error| failed(&error))?;
    let mut text = read(&target)?;
    match parse(&text)?.find(host, key) {
        Found::Nowhere => {}
        found => return Ok(Err(found)),
    }
    if text.is_empty() {
        text.push_str(HEAD);
    } else if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&line_of(host, &today()));
    replace(&target, &text).map_err(|error| failed(&error))?;
    Ok(Ok(text.lines().count()))
}

fn parse(text: &str) -> Result<List, String> {
    List::parse(text).map_err(|broken| broken.to_string())
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() as u64 > FILE_LIMIT => Err(format!("it is longer than {} MiB", FILE_LIMIT >> 20)),
        Ok(_) => String::from_utf8(bytes).map_err(|_| "it is not text".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(sys::plain_words(&error)),
    }
}

/// Returns the target if the path is a link. A dangling link is an error, left to its owner.
fn followed(path: &Path) -> io::Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => fs::canonicalize(path),
        Ok(_) => Ok(path.to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(error),
    }
}

/// Replaces the file atomically; a reader sees the old text or the new one. The caller holds the lock.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    // A killed process may have left it.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = fs::metadata(path).map_or(0o600, |found| found.permissions().mode() & 0o777);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::list::tests::described;
    use super::*;

    /// The directory of one test, removed at its end.
    struct TestDir(PathBuf);

    impl TestDir {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("jitctl-known-hosts-{}-{number}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for TestDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn pinned(path: &Path, host: &HostDescriptor) -> Result<Result<usize, Found>, String> {
        pin(path, host, &host.public_key().unwrap())
    }

    #[test]
    fn a_new_file_is_private_and_gains_a_line_per_host() {
        let place = TestDir::new();
        let path = place.0.join("config/jit-sudo/known_hosts");
        let (one, two) = (described(1, "web1", "m"), described(2, "web2", "n"));
        assert_eq!(pinned(&path, &one), Ok(Ok(2)));
        assert_eq!(pinned(&path, &two), Ok(Ok(3)));
        assert_eq!(pinned(&path, &two), Ok(Err(Found::Here(3, Some(today())))), "nothing is written twice");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{HEAD}{}{}", line_of(&one, &today()), line_of(&two, &today()))
        );
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(mode(&place.0.join("config")), 0o700);
        let files = fs::read_dir(path.parent().unwrap()).unwrap().flatten().map(|file| file.file_name());
        assert!(
            files.into_iter().all(|name| name == "known_hosts" || name == ".known_hosts.lock"),
            "no other file is left"
        );
        assert_eq!(look(&path, &one, &one.public_key().unwrap()), Ok(Found::Here(2, Some(today()))));
    }

    #[test]
    fn a_link_stays_and_its_file_changes() {
        let place = TestDir::new();
        let (path, real) = (place.0.join("known_hosts"), place.0.join("dotfiles"));
        fs::create_dir(&real).unwrap();
        fs::write(real.join("hosts"), "# mine").unwrap();
        fs::set_permissions(real.join("hosts"), Permissions::from_mode(0o644)).unwrap();
        symlink(real.join("hosts"), &path).unwrap();
        let host = described(1, "web1", "m");
        assert_eq!(pinned(&path, &host), Ok(Ok(2)));
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(real.join("hosts")).unwrap(), format!("# mine\n{}", line_of(&host, &today())));
        assert_eq!(mode(&real.join("hosts")), 0o644, "its mode is its owner's choice");
        fs::remove_file(real.join("hosts")).unwrap();
        assert!(pinned(&path, &host).is_err(), "a link that leads nowhere");
    }

    #[test]
    fn an_unreadable_or_malformed_file_is_never_overwritten() {
        let place = TestDir::new();
        let path = place.0.join("known_hosts");
        let host = described(1, "web1", "m");
        for text in [&b"web1 what is this\n"[..], b"\xff\n", &vec![b'#'; 5 << 20]] {
            fs::write(&path, text).unwrap();
            assert!(pinned(&path, &host).is_err());
            assert_eq!(fs::read(&path).unwrap(), text);
        }
        assert_eq!(look(&path, &host, &host.public_key().unwrap()), Err("it is longer than 4 MiB".into()));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(look(&path, &host, &host.public_key().unwrap()).is_err() && pinned(&path, &host).is_err());
    }

    #[test]
    fn no_concurrent_addition_is_lost() {
        let place = TestDir::new();
        let path = place.0.join("known_hosts");
        std::thread::scope(|scope| {
            for seed in 1..=16 {
                let path = &path;
                scope.spawn(move || pinned(path, &described(seed, &format!("web{seed}"), "m")).unwrap().unwrap());
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 17);
    }
}
