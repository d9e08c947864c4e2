//! What -e works on: files, each located before it is judged whether it may be edited, and the editor, which runs as the caller.
//! Reads and writes no file.

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::elevation::{Caller, RunAs, RunAsError};
use jit_core::escape::Word;
use jit_core::policy::EDIT;
use sys::exec::Credentials;
use sys::fsuid::as_user;
use sys::user_path::{Place, PlaceError};

/// The search path for editors when the caller's environment has no PATH.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The variables that name an editor, in the order of preference.
const VARIABLES: [&[u8]; 3] = [b"SUDO_EDITOR=", b"VISUAL=", b"EDITOR="];

/// Files to edit, and the editor.
pub struct Edit {
    targets: Vec<Target>,
    editor: OnceCell<Editor>,
}

/// One file.
pub struct Target {
    typed: OsString,
    path: PathBuf,
    place: Result<Place, PlaceError>,
}

/// A program of the caller's choice with its arguments; it runs with the caller's privileges only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Editor {
    /// Its path.
    pub path: PathBuf,
    /// Its argv, as the caller wrote it.
    pub words: Vec<OsString>,
}

/// Which editors a caller may use; paths in the order of preference.
#[derive(Debug, Clone, Copy)]
pub enum Editors<'a> {
    /// Any that the caller names, else one of these.
    Any(&'a [PathBuf]),
    /// One of these.
    Only(&'a [PathBuf]),
}

/// Why there is no editor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditorError {
    /// None of the named editors can be executed.
    NotFound(Word),
    /// Its arguments contain `--` (CVE-2023-22809); it would have no effect here, and sudo denies it.
    Dashes(Word),
}

impl std::fmt::Display for EditorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound(editor) => write!(f, "{editor}: command not found"),
            Self::Dashes(editor) => write!(f, "ignoring editor: {editor}"),
        }
    }
}

/// Whether a command name means editing.
pub fn is_edit_word(word: &OsStr) -> bool {
    let name = Path::new(word).file_name().unwrap_or_default();
    name == EDIT || name == "jit-sudoedit"
}

/// Returns the credentials for files of the caller.
pub fn credentials_of_caller(caller: &Caller) -> Credentials {
    Credentials { uid: caller.uid(), gid: caller.gid(), groups: caller.group_ids().to_vec() }
}

/// Returns the credentials with which the files are read and written.
pub fn credentials_of_run_as(run_as: &RunAs) -> Result<Credentials, RunAsError> {
    Ok(Credentials { uid: run_as.uid(), gid: run_as.gid(), groups: run_as.group_ids()?.to_vec() })
}

impl Edit {
    /// Locates the directories of the files with the permissions of `reader`. Errors are kept, and reported only to a caller who
    /// may edit the file.
    pub(super) fn find(files: &[OsString], caller: &Caller, reader: &Credentials) -> Self {
        let stranger = credentials_of_caller(caller);
        let target = |typed: &OsString| {
            let absolute = caller.directory().unwrap_or(Path::new("/")).join(typed);
            let place = Place::find(&absolute, reader, &stranger);
            // Rules match the file's real location; a file that cannot be located will not be edited.
            let path = place.as_ref().map_or_else(|_| lexical(&absolute), |place| place.path().to_owned());
            Target { typed: typed.clone(), path, place }
        };
        Self { targets: files.iter().map(target).collect(), editor: OnceCell::new() }
    }

    /// Returns the files, in the order typed.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Chooses the editor, once: SUDO_EDITOR, VISUAL or EDITOR of the caller's `environment` if it is allowed, else the first of
    /// `editors` that exists.
    pub fn choose_editor(
        &self,
        environment: &[OsString],
        editors: Editors<'_>,
        caller: &Caller,
    ) -> Result<(), EditorError> {
        let editor = choose(environment, editors, &credentials_of_caller(caller))?;
        let _ = self.editor.set(editor); // the first choice stays
        Ok(())
    }

    /// Returns the editor, once it was chosen.
    pub fn editor(&self) -> Option<&Editor> {
        self.editor.get()
    }
}

impl Target {
    /// Returns the name as typed, for messages to the caller.
    pub fn typed(&self) -> &OsStr {
        &self.typed
    }

    /// Returns the path for rules and records: the directory without symbolic links, and the file name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its location, if it may be used.
    pub fn place(&self) -> Result<&Place, &PlaceError> {
        self.place.as_ref()
    }
}

/// Returns an absolute path without `//` and `/./`.
fn lexical(path: &Path) -> PathBuf {
    path.components().collect()
}

fn choose(environment: &[OsString], editors: Editors<'_>, who: &Credentials) -> Result<Editor, EditorError> {
    let value = |prefix: &[u8]| environment.iter().find_map(|entry| entry.as_bytes().strip_prefix(prefix));
    let path = value(b"PATH=").map_or(OsStr::new(PATH), OsStr::from_bytes);
    let (Editors::Any(usual) | Editors::Only(usual)) = editors;
    let mut named = None;
    for line in VARIABLES.iter().filter_map(|prefix| value(prefix)).filter(|line| !line.is_empty()) {
        let words = split_words(line);
        if words.iter().any(|word| word == "--") {
            return Err(EditorError::Dashes(Word::from(OsStr::from_bytes(line))));
        }
        let found = find(words, path, who);
        let allowed = |editor: &Editor| matches!(editors, Editors::Any(_)) || usual.contains(&editor.path);
        if let Some(editor) = found.filter(allowed) {
            return Ok(editor);
        }
        named = named.or(Some(line));
    }
    for editor in usual {
        if let Some(editor) = find(vec![editor.clone().into_os_string()], path, who) {
            return Ok(editor);
        }
    }
    let name = named.or_else(|| usual.first().map(|editor| editor.as_os_str().as_bytes())).unwrap_or(b"editor");
    Err(EditorError::NotFound(Word::from(OsStr::from_bytes(name))))
}

/// Finds the program of `words` as the caller's shell would, with the caller's permissions.
fn find(words: Vec<OsString>, path: &OsStr, who: &Credentials) -> Option<Editor> {
    let name = words.first().filter(|name| !name.is_empty())?;
    let can_run = |path: &Path| {
        let found = as_user(who, || fs::metadata(path));
        matches!(found, Ok(Ok(file)) if file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let found = if name.as_bytes().contains(&b'/') {
        Some(PathBuf::from(name)).filter(|path| can_run(path))
    } else {
        std::env::split_paths(path)
            .map(|directory| Path::new(".").join(directory).join(name))
            .find(|path| can_run(path))
    };
    found.map(|path| Editor { path, words })
}

/// Splits a line into arguments as a shell would, as far as quotes and backslashes go (sudo's editor.c).
fn split_words(line: &[u8]) -> Vec<OsString> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<Vec<u8>>, None);
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\\', _) => word.get_or_insert_default().extend(bytes.next()),
            (b'\'' | b'"', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (_, Some(open)) if byte == open => quote = None,
            (_, None) if byte.is_ascii_whitespace() => words.extend(word.take().map(OsString::from_vec)),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word.map(OsString::from_vec));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Credentials {
        Credentials { uid: 0, gid: 0, groups: vec![] }
    }

    fn environment(entries: &[&str]) -> Vec<OsString> {
        entries.iter().map(OsString::from).collect()
    }

    #[test]
    fn arguments_are_split_outside_of_quotes() {
        assert_eq!(split_words(b" vi  -x\t'a b' \"c'd\" e\\ f '' g"), ["vi", "-x", "a b", "c'd", "e f", "", "g"]);
        assert_eq!(split_words(b"  "), [""; 0]);
        assert_eq!(split_words(b"a'b"), ["ab"]);
        assert_eq!(split_words(b"a\\"), ["a"]);
    }

    #[test]
    fn the_first_variable_that_names_a_program_wins() {
        let usual = [PathBuf::from("/bin/sh")];
        let path_of =
            |entries: &[&str]| choose(&environment(entries), Editors::Any(&usual), &root()).map(|editor| editor.path);
        let found = path_of(&["EDITOR=cat", "VISUAL=env -i", "PATH=/nowhere:/usr/bin"]).unwrap();
        assert!(found.ends_with("usr/bin/env"), "{found:?}");
        let found = path_of(&["EDITOR=cat", "SUDO_EDITOR=", "VISUAL=no-such-editor", "PATH=/usr/bin"]).unwrap();
        assert!(found.ends_with("usr/bin/cat"), "{found:?}");
        assert_eq!(path_of(&[]).unwrap(), PathBuf::from("/bin/sh"));
        assert_eq!(path_of(&["EDITOR=/etc/passwd"]).unwrap(), PathBuf::from("/bin/sh"));
        let dashes = path_of(&["EDITOR=cat -- /etc/shadow"]);
        assert_eq!(dashes, Err(EditorError::Dashes("cat -- /etc/shadow".into())));
        assert_eq!(
            choose(&environment(&["EDITOR=x"]), Editors::Any(&[]), &root()),
            Err(EditorError::NotFound("x".into()))
        );
    }

    #[test]
    fn an_editor_that_is_not_listed_is_skipped_when_only_listed_ones_are_allowed() {
        let usual = [PathBuf::from("/bin/sh"), PathBuf::from("/usr/bin/cat")];
        let path_of = |entry: &str| choose(&environment(&[entry]), Editors::Only(&usual), &root()).unwrap().path;
        assert_eq!(path_of("EDITOR=/usr/bin/env"), PathBuf::from("/bin/sh"));
        assert_eq!(path_of("EDITOR=cat -n"), PathBuf::from("/usr/bin/cat"));
    }

    #[test]
    fn editing_is_recognized_by_name() {
        for word in ["sudoedit", "/usr/bin/sudoedit", "jit-sudoedit"] {
            assert!(is_edit_word(OsStr::new(word)));
        }
        assert!(!is_edit_word(OsStr::new("vim")) && !is_edit_word(OsStr::new("")));
    }
}
