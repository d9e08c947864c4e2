//! The command: found in `secure_path` and opened once. The policy judges the opened file, and that file is executed.

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::elevation::caller::Nowhere;
use crate::elevation::edit::{Edit, credentials_of_run_as, is_edit_word};
use crate::elevation::{Caller, Hidden, RunAs, RunAsError, THIS_HOST};
use jit_core::escape::Word;
use jit_core::policy::{EDIT, ProgramNames};
use sys::exec::Credentials;
use sys::program::OpenedProgram;

/// An opened program with its arguments, or files to edit.
pub struct Command {
    what: CommandKind,
    /// The name that rules match, see [`OpenedProgram::place`].
    path: PathBuf,
    /// The name that the caller typed.
    name: OsString,
    arguments: Vec<OsString>,
    /// Whether -i was given.
    login: bool,
    digest: OnceCell<[u8; 32]>,
    /// What was typed, where the caller may not look into the directory: a caller who may not run the command must not learn that
    /// it exists (CVE-2021-23239).
    hidden: Option<PathBuf>,
}

enum CommandKind {
    Program(OpenedProgram),
    Edit(Rc<Edit>),
}

/// The largest program in bytes: it is read as root before it runs, and an untrusted user may have made it.
const LARGEST: u64 = 4 << 30;

/// Why the arguments are no command.
#[derive(Debug)]
pub enum CommandError {
    /// There are no arguments.
    Empty,
    /// It is not in `secure_path`, or there is no such file.
    NotFound(Word),
    /// The file exists, but it cannot be executed.
    NotExecutable(Word, &'static str),
    /// The file cannot be opened or read.
    Io(Word, io::Error),
    /// The run-as user's groups cannot be looked up.
    RunAs(RunAsError),
    /// It would run in the caller's directory, which has no name that could be approved.
    Nowhere(Nowhere),
    /// The directory where it would run cannot be entered, for this reason.
    Directory(Word, &'static str),
    /// It is where the caller may not look, so the error does not reveal whether it exists.
    Hidden(Box<Hidden>),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no command was given"),
            Self::NotFound(name) => write!(f, "{name}: command not found"),
            Self::NotExecutable(name, cause) => write!(f, "{name}: {cause}"),
            Self::Io(name, error) => write!(f, "{name}: {error}"),
            Self::RunAs(error) => error.fmt(f),
            Self::Nowhere(error) => error.fmt(f),
            Self::Directory(path, reason) => write!(f, "unable to change directory to {path}: {reason}"),
            Self::Hidden(hidden) => {
                let path = Word::from(hidden.path().as_os_str());
                write!(f, "you may not look into the directory of {path}, so it is not reported whether it exists")
            }
        }
    }
}

impl Command {
    /// Finds and opens `words[0]`: a name is looked up in `secure_path`; one with a slash is taken as a path.
    pub fn find(words: &[OsString], secure_path: &str, caller: &Caller) -> Result<Self, CommandError> {
        Self::find_for(words, secure_path, caller, caller)
    }

    /// Like [`Self::find`], for a question of `asker` about `caller`: reveals only what the asker may know.
    pub fn find_for(
        words: &[OsString],
        secure_path: &str,
        caller: &Caller,
        asker: &Caller,
    ) -> Result<Self, CommandError> {
        let (name, arguments) = words.split_first().ok_or(CommandError::Empty)?;
        if name.is_empty() {
            return Err(CommandError::NotFound(Word::from(name)));
        }
        if is_edit_word(name) {
            // This is only a question, so no file is read.
            return Ok(Self::edit_with(arguments, caller, &Credentials { uid: 0, gid: 0, groups: Vec::new() }));
        }
        if name.as_bytes().contains(&b'/') {
            return Self::open_as(asker, Path::new(name), name.clone(), arguments.to_vec());
        }
        let mut refused = CommandError::NotFound(Word::from(name));
        let directories = secure_path.split(':').filter(|directory| directory.starts_with('/')).map(Path::new);
        for directory in directories.clone() {
            match Self::open(&directory.join(name), name.clone(), arguments.to_vec()) {
                Err(CommandError::NotFound(_)) => {}
                // As in a shell: an entry that cannot be executed is remembered, but a later one that can be is used.
                Err(error) => refused = error,
                Ok(command) if may_look_into(directory, asker) => return Ok(command),
                Ok(command) => {
                    let command = Self { hidden: Some(name.into()), ..command };
                    return Err(CommandError::Hidden(Hidden::seal(name.into(), arguments, Ok(command))));
                }
            }
        }
        // A name found in no directory may be in one that the asker may not look into.
        if directories.into_iter().any(|directory| !may_look_into(directory, asker)) {
            return Err(CommandError::Hidden(Hidden::seal(name.into(), arguments, Err(refused))));
        }
        Err(refused)
    }

    /// -e: files that are read and written as `run_as`.
    pub fn edit(files: &[OsString], caller: &Caller, run_as: &RunAs) -> Result<Self, CommandError> {
        if files.is_empty() {
            return Err(CommandError::Empty);
        }
        let reader = credentials_of_run_as(run_as).map_err(CommandError::RunAs)?;
        Ok(Self::edit_with(files, caller, &reader))
    }

    fn edit_with(files: &[OsString], caller: &Caller, reader: &Credentials) -> Self {
        let edit = Edit::find(files, caller, reader);
        let arguments = edit.targets().iter().map(|target| target.path().as_os_str().to_owned()).collect();
        let (path, name) = (PathBuf::from(EDIT), OsString::from(EDIT));
        let what = CommandKind::Edit(Rc::new(edit));
        Self { what, path, name, arguments, login: false, digest: OnceCell::new(), hidden: None }
    }

    /// -i: the run-as user's shell as a login shell, with the arguments quoted for its `-c` as sudo does.
    pub fn login_shell(shell: &Path, words: &[OsString]) -> Result<Self, CommandError> {
        let base = shell.file_name().unwrap_or(OsStr::new("sh"));
        let mut name = OsString::from("-");
        name.push(base);
        let shell_path = shell.as_os_str().to_owned();
        let found = Self::open(shell, shell_path, shell_arguments(words))?; // a message names the shell by its path
        Ok(Self { login: true, name, ..found })
    }

    /// -s: the caller's shell.
    pub fn shell(shell: &Path, words: &[OsString], caller: &Caller) -> Result<Self, CommandError> {
        Self::open_as(caller, shell, shell.as_os_str().to_owned(), shell_arguments(words))
    }

    /// Opens a path that the caller typed with the caller's permissions. Where these do not suffice it is opened as root, because
    /// the caller may be allowed to run the program; otherwise they learn nothing about the path.
    fn open_as(caller: &Caller, path: &Path, name: OsString, arguments: Vec<OsString>) -> Result<Self, CommandError> {
        let looker = Credentials { uid: caller.uid(), gid: caller.gid(), groups: caller.group_ids().to_vec() };
        match OpenedProgram::open_as(path, &looker) {
            Ok(Some(program)) => Self::of(program, name, arguments),
            Ok(None) => {
                let typed = caller.directory().unwrap_or(Path::new("/")).join(path);
                let found = Self::open(path, name, arguments.clone())
                    .map(|command| Self { hidden: Some(typed.clone()), ..command });
                Err(CommandError::Hidden(Hidden::seal(typed, &arguments, found)))
            }
            Err(error) => Err(not_opened(path, &name, error)),
        }
    }

    fn open(path: &Path, name: OsString, arguments: Vec<OsString>) -> Result<Self, CommandError> {
        match OpenedProgram::open(path) {
            Ok(program) => Self::of(program, name, arguments),
            Err(error) => Err(not_opened(path, &name, error)),
        }
    }

    /// A program that is too large to be read is refused here, so that a question about it gets the same answer as a run.
    fn of(program: OpenedProgram, name: OsString, arguments: Vec<OsString>) -> Result<Self, CommandError> {
        let path = program.place().to_owned();
        if program.stamp().size > LARGEST {
            let name = Word::from(path.as_os_str());
            return Err(CommandError::NotExecutable(name, "larger than 4 GiB, the maximum size"));
        }
        let what = CommandKind::Program(program);
        Ok(Self { what, path, name, arguments, login: false, digest: OnceCell::new(), hidden: None })
    }

    /// Returns the opened file; `None` for an edit, whose editor has no privileges.
    pub fn program(&self) -> Option<&OpenedProgram> {
        match &self.what {
            CommandKind::Program(program) => Some(program),
            CommandKind::Edit(_) => None,
        }
    }

    /// Returns the files to edit, if this is an edit.
    pub fn edit_wish(&self) -> Option<&Rc<Edit>> {
        match &self.what {
            CommandKind::Program(_) => None,
            CommandKind::Edit(edit) => Some(edit),
        }
    }

    /// Returns the path that command rules match: the canonical path, or the one by which the program was found where only root can
    /// choose that; [`EDIT`] for an edit.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns both of its names, for rules.
    pub fn names(&self) -> ProgramNames<'_> {
        ProgramNames { place: &self.path, canonical: self.canonical(), lookup: &THIS_HOST }
    }

    /// Returns the canonical path of the opened program; [`EDIT`] for an edit.
    pub fn canonical(&self) -> &Path {
        self.program().map_or(&self.path, OpenedProgram::path)
    }

    /// Returns the arguments without `argv[0]`.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// Returns the name that the caller typed; a login shell's name begins with `-`.
    pub(super) fn typed_name(&self) -> &OsStr {
        &self.name
    }

    /// Whether it is a login shell.
    pub(super) fn is_login(&self) -> bool {
        self.login
    }

    /// Returns the path and the arguments, for records, requests and messages.
    pub fn resolved_words(&self) -> Vec<Word> {
        std::iter::once(Word::from(self.path.as_os_str())).chain(self.arguments.iter().map(Word::from)).collect()
    }

    /// Whether the caller may not look into its directory.
    pub fn is_hidden(&self) -> bool {
        self.hidden.is_some()
    }

    /// Returns the path and the arguments for a refusal: only what the caller already knew.
    pub fn refused_words(&self) -> Vec<Word> {
        let path = self.hidden.as_ref().unwrap_or(&self.path);
        let arguments: Vec<Word> = match &self.what {
            CommandKind::Program(_) => self.arguments.iter().map(Word::from).collect(),
            CommandKind::Edit(edit) => edit.targets().iter().map(|target| Word::from(target.typed())).collect(),
        };
        std::iter::once(Word::from(path.as_os_str())).chain(arguments).collect()
    }

    /// Returns the path and the arguments as one line, as sudo writes it to `SUDO_COMMAND`.
    pub fn line(&self) -> OsString {
        let mut line = self.path.clone().into_os_string().into_vec();
        for argument in &self.arguments {
            line.push(b' ');
            line.extend_from_slice(argument.as_bytes());
        }
        OsString::from_vec(line)
    }

    /// Returns the SHA-256 digest of the opened file, computed once; for an edit that of no bytes, because any editor will do.
    pub fn digest(&self) -> Result<[u8; 32], CommandError> {
        if let Some(digest) = self.digest.get() {
            return Ok(*digest);
        }
        let digest = self.read_through(Sha256::new())?.finalize().into();
        Ok(*self.digest.get_or_init(|| digest))
    }

    /// Returns another digest of the opened file, computed each time.
    pub fn hashed<D: Digest>(&self) -> Result<Vec<u8>, CommandError> {
        Ok(self.read_through(D::new())?.finalize().to_vec())
    }

    fn read_through<D: Digest>(&self, mut hasher: D) -> Result<D, CommandError> {
        let failed = |error| CommandError::Io(Word::from(self.path.as_os_str()), error);
        let Some(program) = self.program() else { return Ok(hasher) };
        let mut reader = program.reader().take(LARGEST); // a file that grows is not the one that was opened
        let mut buffer = vec![0; 16 << 10];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Ok(hasher),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            hasher.update(buffer.get(..count).unwrap_or_default());
        }
    }

    /// Whether a user other than root could rewrite the file while it is checked.
    pub fn is_writable_by_others(&self) -> bool {
        self.program().is_some_and(OpenedProgram::writable_by_others)
    }
}

/// Returns the SHA-256 digest of a file, from its beginning.
///
/// # Errors
/// Fails as read(2) does.
pub fn sha256_of(file: &File) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let (mut buffer, mut offset) = (vec![0; 16 << 10], 0_u64);
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(count) => {
                hasher.update(buffer.get(..count).unwrap_or_default());
                offset = offset.saturating_add(u64::try_from(count).unwrap_or(0));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the caller could list the directory without privileges.
fn may_look_into(directory: &Path, caller: &Caller) -> bool {
    // Search permission for the parents is not enough: the question is whether a name exists in the directory.
    !sys::access::is_hidden(caller.uid(), caller.gid(), caller.group_ids(), directory).unwrap_or(true)
}

fn not_opened(path: &Path, name: &OsStr, error: io::Error) -> CommandError {
    let typed = name.as_bytes().contains(&b'/');
    let shown = || Word::from(if typed { name } else { path.as_os_str() });
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
            CommandError::NotFound(Word::from(name))
        }
        io::ErrorKind::IsADirectory => CommandError::NotExecutable(shown(), "is a directory"),
        io::ErrorKind::PermissionDenied => CommandError::NotExecutable(shown(), "is not executable"),
        _ => CommandError::Io(shown(), error),
    }
}

/// Returns `-c` and the arguments joined to one, with a backslash before each byte that a shell could interpret (sudo's
/// `parse_args.c` keeps letters, digits, `_`, `-` and `$`).
fn shell_arguments(words: &[OsString]) -> Vec<OsString> {
    if words.is_empty() {
        return Vec::new();
    }
    let mut line = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            line.push(b' ');
        }
        for byte in word.as_bytes() {
            if !(byte.is_ascii_alphanumeric() || b"_-$".contains(byte)) {
                line.push(b'\\');
            }
            line.push(*byte);
        }
    }
    vec![OsString::from("-c"), OsString::from_vec(line)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_words_are_quoted_as_sudo_quotes_them() {
        let words = [OsString::from("echo"), OsString::from("a b;$HOME")];
        assert_eq!(shell_arguments(&words), ["-c", "echo a\\ b\\;$HOME"]);
        assert!(shell_arguments(&[]).is_empty());
    }
}
