//! The command: found in `secure_path`, opened once. What the policy judges is what was opened, and what was opened is
//! what runs.

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
use crate::elevation::{Argv, Caller, Hidden, Naming, RunAs, RunAsError, THIS_HOST};
use jit_core::escape::Word;
use jit_core::policy::{EDIT, ProgramNames};
use sys::exec::Credentials;
use sys::program::OpenedProgram;

/// An opened program with its arguments, or files to edit.
pub struct Command {
    what: CommandKind,
    /// By which rules know it: see [`OpenedProgram::place`].
    path: PathBuf,
    /// How the caller called it.
    name: OsString,
    arguments: Vec<OsString>,
    /// -i.
    login: bool,
    digest: OnceCell<[u8; 32]>,
    /// What was typed, where the caller may not look into the directory: whoever is not allowed to run it after all shall
    /// not learn that it is there (CVE-2021-23239).
    hidden: Option<PathBuf>,
}

enum CommandKind {
    Program(OpenedProgram),
    Edit(Rc<Edit>),
}

/// The largest program in bytes: it is read as root before it runs, and a caller may have made it.
const LARGEST: u64 = 4 << 30;

/// Why the words typed are not a command.
#[derive(Debug)]
pub enum CommandError {
    /// No words.
    Empty,
    /// Not in `secure_path`, or no such file.
    NotFound(Word),
    /// It is there, but it is no program that can be run.
    NotExecutable(Word, &'static str),
    /// It cannot be opened or read.
    Io(Word, io::Error),
    /// The target's groups cannot be looked up.
    RunAs(RunAsError),
    /// It would run where the caller is, and that has no name that could be approved.
    Nowhere(Nowhere),
    /// The directory where it would run cannot be entered, and why.
    Directory(Word, &'static str),
    /// It lies where the caller may not look, so nothing is said of it, nor whether it is there.
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
                write!(f, "you may not look into the directory of {path}, so nothing is said of it")
            }
        }
    }
}

impl Command {
    /// Finds and opens `words[0]`: a name is looked up in `secure_path`, anything with a slash is taken as a path.
    pub fn find(words: &[OsString], secure_path: &str, caller: &Caller) -> Result<Self, CommandError> {
        Self::find_for(words, secure_path, caller, caller)
    }

    /// The same for a question that `asker` puts about `caller`: told is what the asker may know.
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
            // Only asked about, so that no file is read.
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
                // As in a shell: an entry that cannot be run is remembered, a later one that can be wins.
                Err(error) => refused = error,
                Ok(command) if may_look_into(directory, asker) => return Ok(command),
                Ok(command) => {
                    let command = Self { hidden: Some(name.into()), ..command };
                    return Err(CommandError::Hidden(Hidden::seal(name.into(), arguments, Ok(command))));
                }
            }
        }
        // A name that is in no directory may be one of a directory that the asker may not look into.
        if directories.into_iter().any(|directory| !may_look_into(directory, asker)) {
            return Err(CommandError::Hidden(Hidden::seal(name.into(), arguments, Err(refused))));
        }
        Err(refused)
    }

    /// -e: files to be read and written as `run_as`.
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

    /// -i: the target's shell as a login shell, with the words quoted for its `-c` as sudo does.
    pub fn login_shell(shell: &Path, words: &[OsString]) -> Result<Self, CommandError> {
        let base = shell.file_name().unwrap_or(OsStr::new("sh"));
        let mut name = OsString::from("-");
        name.push(base);
        Ok(Self { login: true, ..Self::open(shell, name, shell_arguments(words))? })
    }

    /// -s: the caller's shell.
    pub fn shell(shell: &Path, words: &[OsString], caller: &Caller) -> Result<Self, CommandError> {
        Self::open_as(caller, shell, shell.as_os_str().to_owned(), shell_arguments(words))
    }

    /// What the caller names by a path is looked up as far as they may look. Beyond that root looks, because the program
    /// may be one that they may run; whoever may not learns nothing of what is there.
    fn open_as(caller: &Caller, path: &Path, name: OsString, arguments: Vec<OsString>) -> Result<Self, CommandError> {
        let looker = Credentials { uid: caller.uid(), gid: caller.gid(), groups: caller.group_ids().to_vec() };
        match OpenedProgram::open_as(path, &looker) {
            Ok(Some(program)) => Ok(Self::of(program, name, arguments)),
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
            Ok(program) => Ok(Self::of(program, name, arguments)),
            Err(error) => Err(not_opened(path, &name, error)),
        }
    }

    fn of(program: OpenedProgram, name: OsString, arguments: Vec<OsString>) -> Self {
        let path = program.place().to_owned();
        let what = CommandKind::Program(program);
        Self { what, path, name, arguments, login: false, digest: OnceCell::new(), hidden: None }
    }

    /// The opened file; none for an edit, whose editor has no power.
    pub fn program(&self) -> Option<&OpenedProgram> {
        match &self.what {
            CommandKind::Program(program) => Some(program),
            CommandKind::Edit(_) => None,
        }
    }

    /// The files to edit, where that is the command.
    pub fn edit_wish(&self) -> Option<&Rc<Edit>> {
        match &self.what {
            CommandKind::Program(_) => None,
            CommandKind::Edit(edit) => Some(edit),
        }
    }

    /// What command rules match: the canonical path, or the name by which the program was found where that is root's alone to
    /// give; [`EDIT`] for an edit.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Both names of it, for rules.
    pub fn names(&self) -> ProgramNames<'_> {
        ProgramNames { place: &self.path, canonical: self.canonical(), lookup: &THIS_HOST }
    }

    /// The canonical path of the opened program; [`EDIT`] for an edit.
    pub fn canonical(&self) -> &Path {
        self.program().map_or(&self.path, OpenedProgram::path)
    }

    /// The arguments without `argv[0]`.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// argv, with the first word that `naming` gives it.
    pub fn argv(&self, naming: Naming) -> Argv {
        Argv::of(self, naming)
    }

    /// How the caller called it; a login shell's name begins with `-`.
    pub(super) fn typed_name(&self) -> &OsStr {
        &self.name
    }

    /// Whether it is a login shell.
    pub(super) fn is_login(&self) -> bool {
        self.login
    }

    /// The path and the arguments, for records, requests and messages.
    pub fn resolved_words(&self) -> Vec<Word> {
        std::iter::once(Word::from(self.path.as_os_str())).chain(self.arguments.iter().map(Word::from)).collect()
    }

    /// The caller may not look into the directory where it lies.
    pub fn is_hidden(&self) -> bool {
        self.hidden.is_some()
    }

    /// The path and the arguments for a refusal: nothing in it that the caller did not know.
    pub fn refused_words(&self) -> Vec<Word> {
        let path = self.hidden.as_ref().unwrap_or(&self.path);
        let arguments: Vec<Word> = match &self.what {
            CommandKind::Program(_) => self.arguments.iter().map(Word::from).collect(),
            CommandKind::Edit(edit) => edit.targets().iter().map(|target| Word::from(target.typed())).collect(),
        };
        std::iter::once(Word::from(path.as_os_str())).chain(arguments).collect()
    }

    /// The path and the arguments as one line, as sudo writes it into `SUDO_COMMAND`.
    pub fn line(&self) -> OsString {
        let mut line = self.path.clone().into_os_string().into_vec();
        for argument in &self.arguments {
            line.push(b' ');
            line.extend_from_slice(argument.as_bytes());
        }
        OsString::from_vec(line)
    }

    /// SHA-256 of the opened file, computed once; of no bytes for an edit, which any editor serves.
    pub fn digest(&self) -> Result<[u8; 32], CommandError> {
        if let Some(digest) = self.digest.get() {
            return Ok(*digest);
        }
        let digest = self.read_through(Sha256::new())?.finalize().into();
        Ok(*self.digest.get_or_init(|| digest))
    }

    /// Another digest of the opened file, computed each time.
    pub fn hashed<D: Digest>(&self) -> Result<Vec<u8>, CommandError> {
        Ok(self.read_through(D::new())?.finalize().to_vec())
    }

    fn read_through<D: Digest>(&self, mut hasher: D) -> Result<D, CommandError> {
        let name = || Word::from(self.path.as_os_str());
        let failed = |error| CommandError::Io(name(), error);
        let Some(program) = self.program() else { return Ok(hasher) };
        if program.stamp().size > LARGEST {
            return Err(CommandError::NotExecutable(name(), "larger than 4 GiB, which is more than is ever read"));
        }
        let mut reader = program.reader().take(LARGEST); // one that grows is not the one that was opened
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

    /// Somebody other than root could rewrite the file while it is checked.
    pub fn is_writable_by_others(&self) -> bool {
        self.program().is_some_and(OpenedProgram::writable_by_others)
    }
}

/// SHA-256 of a file, from its beginning.
///
/// # Errors
/// Those of read(2).
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

/// Whether the caller could find out by themselves what lies in a directory.
fn may_look_into(directory: &Path, caller: &Caller) -> bool {
    // The directory itself must be open to them, not only known: a name in it is what is asked about.
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

/// `-c` and the words in one text, each byte that a shell could read otherwise behind a backslash (sudo's `parse_args.c`
/// keeps letters, digits, `_`, `-` and `$`).
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
