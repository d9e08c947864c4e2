//! The interpreters of a script, which the kernel executes instead of it (execve(2), "Interpreter scripts").

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::trusted::{TrustError, changed_by_none_but};

/// How many bytes of the first line the kernel reads (BINPRM_BUF_SIZE).
const LINE: usize = 256;

/// The maximum length of a chain of interpreters; the kernel rejects a longer one.
const DEPTH: usize = 6;

/// Checks that only root and `user` can change which interpreters execute the opened script: the one that its first
/// line names, that one's interpreter if it is a script too, and so on. A file that names none has none, or is run by a
/// shell.
///
/// # Errors
/// The file, directory or link that belongs to another user.
pub fn check(script: &File, user: u32) -> Result<(), TrustError> {
    let mut named = interpreter(script, Path::new("the script"))?;
    for _ in 0..DEPTH {
        let Some(path) = named else { return Ok(()) };
        let leads_to = changed_by_none_but(&path, user)?;
        let at = |error| TrustError::Io { path: leads_to.clone(), error };
        named = interpreter(&File::open(&leads_to).map_err(at)?, &leads_to)?;
    }
    Ok(())
}

fn interpreter(file: &File, path: &Path) -> Result<Option<PathBuf>, TrustError> {
    let mut line = [0; LINE];
    let length =
        file.read_at(&mut line, 0).map_err(|error: io::Error| TrustError::Io { path: path.to_owned(), error })?;
    Ok(line.get(..length).and_then(named_in))
}

/// Returns the interpreter that a `#!` line names.
pub(crate) fn named_in(start: &[u8]) -> Option<PathBuf> {
    let line = start.strip_prefix(b"#!")?.split(|byte| matches!(byte, b'\n' | 0)).next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    words.next().map(|word| PathBuf::from(OsStr::from_bytes(word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_word_of_the_first_line_is_the_interpreter() {
        for (line, interpreter) in [
            ("#!/bin/sh -e\nx", Some("/bin/sh")),
            ("#! \t/usr/bin/env python3", Some("/usr/bin/env")),
            ("#!interp\n", Some("interp")),
            ("#!\n/bin/sh", None),
            ("#! \n", None),
            ("echo", None),
            ("", None),
            (" #!/bin/sh", None),
        ] {
            assert_eq!(named_in(line.as_bytes()), interpreter.map(PathBuf::from), "{line:?}");
        }
    }

    #[test]
    fn an_untrusted_interpreter_is_found_at_any_depth() {
        let place = PathBuf::from(format!("/var/lib/jit-sudo-interpreter-{}", std::process::id()));
        std::fs::create_dir(&place).unwrap();
        let write = |name: &str, text: &str, owner: u32| {
            let path = place.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
            path
        };
        let theirs = write("theirs", "#!/bin/sh\n", 4242);
        let between = write("between", &format!("#!{}\n", theirs.display()), 0);
        let judged = |text: String, user| check(&File::open(write("script", &text, 0)).unwrap(), user);
        for interpreter in [&theirs, &between] {
            let text = format!("#!{} -x\n", interpreter.display());
            let error = judged(text.clone(), 0).unwrap_err().to_string();
            assert!(error.contains("theirs") && error.contains("4242"), "{error}");
            assert!(judged(text.clone(), 4242).is_ok(), "the run-as user's own");
            assert!(judged(text, 4243).is_err());
        }
        assert!(judged("#!/bin/sh\n".to_owned(), 0).is_ok() && judged("echo\n".to_owned(), 0).is_ok());
        assert!(judged("#!sh\n".to_owned(), 0).is_err(), "it would be looked up where the caller is");
        std::fs::remove_dir_all(place).unwrap();
    }
}
