//! Reads the files of a sudoers configuration: in the order in which they are included, with the caller's own rights.
//! Each file is resolved once, and its owner and mode are checked on the open file.

use std::io;
use std::path::{Path, PathBuf};

use jit_core::escape::escape;
use sys::opened::{Opened, standard_input};

use super::finding::Findings;
use super::grammar::{Event, Parser};
use super::tree::{Position, Sudoers};
use super::trust::{Authors, Believed, Distrust, Kind, Unread};
use crate::{ImportError, cure};

/// The maximum size of a file, in bytes.
const LONGEST: u64 = 16 << 20;

/// The maximum number of files, so that files that include each other cause no endless loop.
const MOST_FILES: usize = 2000;

/// The maximum number of names in a directory.
const MOST_NAMES: usize = 100_000;

/// The maximum depth of includes, as in sudo.
const DEEPEST: usize = 128;

/// The name for standard input.
const STANDARD_INPUT: &str = "-";

/// A sudoers file with everything that it includes.
pub(super) struct Source {
    pub(super) sudoers: Sudoers,
    /// Files that sudo would not have read, but that were read at the caller's request, one line each.
    pub(super) untrusted: Vec<String>,
}

/// Reads `path` and everything that it includes.
pub(super) fn read(path: &Path, authors: Authors, host: &str, findings: &mut Findings) -> Result<Source, ImportError> {
    let mut reader = Reader { sudoers: Sudoers::default(), authors, host, findings, untrusted: Vec::new(), files: 0 };
    let (path, text) = if path == Path::new(STANDARD_INPUT) {
        (Path::new("stdin"), reader.standard_input())
    } else {
        let text = reader.text(path, Opened::find(path));
        if text.is_ok() {
            reader.directory_of(path)?;
        }
        (path, text)
    };
    match text {
        Ok(text) => reader.file(path, &text, 0),
        Err(why) => return Err(unusable(path, why)),
    }
    Ok(Source { sudoers: reader.sudoers, untrusted: reader.untrusted })
}

/// Parses one text without its includes.
pub(super) fn of_text(path: &Path, bytes: &[u8], findings: &mut Findings) -> Sudoers {
    let (text, mut sudoers) = (lines(bytes), Sudoers::default());
    let mut parser = Parser::new(path.to_string_lossy().into(), &text);
    while let Some(event) = parser.next_event(&mut sudoers) {
        match event {
            Event::Wrong(why, place) => refused(&why, &place, findings),
            Event::Include(name, place) | Event::IncludeDirectory(name, place) => {
                findings.lost(&place, format!("{name} is not read"));
            }
        }
    }
    sudoers
}

fn refused(why: &str, place: &Position, findings: &mut Findings) {
    findings.lost(place, format!("a line that sudo rejects: {why}"));
}

fn unusable(path: &Path, why: Unread) -> ImportError {
    match why {
        Unread::Unreadable(why) => ImportError::Unreadable(path.to_owned(), why),
        Unread::Untrusted(fault) => ImportError::Untrusted(path.to_owned(), fault),
    }
}

struct Reader<'a> {
    sudoers: Sudoers,
    authors: Authors,
    host: &'a str,
    findings: &'a mut Findings,
    untrusted: Vec<String>,
    files: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, text: &str, depth: usize) {
        self.files += 1;
        let mut parser = Parser::new(path.to_string_lossy().into(), text);
        while let Some(event) = parser.next_event(&mut self.sudoers) {
            match event {
                Event::Wrong(why, place) => refused(&why, &place, self.findings),
                Event::Include(name, place) => {
                    let path = self.included(path, &name);
                    self.include(&path, Opened::find(&path), &place, depth + 1);
                }
                Event::IncludeDirectory(name, place) => self.directory(&self.included(path, &name), &place, depth + 1),
            }
        }
    }

    fn include(&mut self, path: &Path, found: io::Result<Opened>, place: &Position, depth: usize) {
        if depth > DEEPEST || self.files >= MOST_FILES {
            let name = path.display();
            self.findings
                .lost(place, format!("{name} is included too deep, or there are more than {MOST_FILES} files"));
            return;
        }
        match self.text(path, found) {
            Ok(text) => self.file(path, &text, depth),
            Err(why) => self.left_out(path, &why, place),
        }
    }

    /// Reads the files of a directory that sudo reads: names without a dot or a `~` at the end, in the order of their
    /// bytes.
    fn directory(&mut self, path: &Path, place: &Position, depth: usize) {
        let found = match Opened::find(path) {
            // A missing directory is no error.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            found => found,
        };
        let listed = self.believed(Kind::Directory, path, found).and_then(|directory| {
            let names = directory.opened().names(MOST_NAMES).map_err(|error| unreadable(&error))?;
            Ok((directory, names.ok_or_else(|| Unread::Unreadable(format!("it has more than {MOST_NAMES} names")))?))
        });
        let (directory, names) = match listed {
            Ok(listed) => listed,
            Err(why) => return self.left_out(path, &why, place),
        };
        let counts = |name: &[u8]| !name.contains(&b'.') && !name.ends_with(b"~");
        for name in names.iter().filter(|name| counts(name.as_encoded_bytes())) {
            match directory.opened().find_in(name) {
                // Ignored, as sudo does: what is not a file, and a link to nothing.
                Ok(found) if !found.metadata().is_file() => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => self.include(&path.join(name), found, place, depth),
            }
        }
    }

    /// Checks the directory of the named file like an included one.
    fn directory_of(&mut self, path: &Path) -> Result<(), ImportError> {
        if self.authors == Authors::Anybody {
            return Ok(());
        }
        let directory = match path.parent() {
            Some(directory) if directory.as_os_str().is_empty() => Path::new("."),
            Some(directory) => directory,
            None => path,
        };
        // A missing file or directory is reported with the name of the file.
        let Ok(found) = Opened::find(directory) else { return Ok(()) };
        match self.believed(Kind::Directory, directory, Ok(found)) {
            Err(Unread::Untrusted(fault)) => Err(ImportError::Exposed(directory.to_owned(), fault)),
            Err(Unread::Unreadable(_)) | Ok(_) => Ok(()),
        }
    }

    fn text(&mut self, path: &Path, found: io::Result<Opened>) -> Result<String, Unread> {
        let believed = self.believed(Kind::File, path, found)?;
        text(believed.opened().read(LONGEST))
    }

    /// Reads standard input. The author of text from a pipe is unknown.
    fn standard_input(&mut self) -> Result<String, Unread> {
        let fault =
            Distrust { what: "has no owner that could be checked".to_owned(), cure: "name the file instead of" };
        match self.authors {
            Authors::Root => Err(Unread::Untrusted(fault)),
            Authors::Anybody => {
                self.untrusted.push(format!("stdin {}", fault.what));
                text(standard_input(LONGEST))
            }
        }
    }

    fn believed(&mut self, kind: Kind, path: &Path, found: io::Result<Opened>) -> Result<Believed, Unread> {
        let believed = Believed::of(kind, found.map_err(|error| unreadable(&error))?, self.authors)?;
        if let Some(fault) = &believed.despite {
            self.untrusted.push(format!("{} {}", escape(path.as_os_str().as_encoded_bytes()), fault.what));
        }
        Ok(believed)
    }

    fn left_out(&mut self, path: &Path, why: &Unread, place: &Position) {
        let name = path.display();
        self.findings.lost(
            place,
            match why {
                Unread::Unreadable(why) => format!("{name} cannot be read: {why}"),
                Unread::Untrusted(fault) => {
                    format!("{name} {}, so sudo does not read it: {}", fault.what, cure(fault, path))
                }
            },
        );
    }

    /// Resolves an include: `%h` is the short name of the host; a relative path starts at the directory of the
    /// including file.
    fn included(&self, from: &Path, name: &str) -> PathBuf {
        let path = name.replace("%h", self.host);
        from.parent().unwrap_or(Path::new("/")).join(path)
    }
}

fn unreadable(error: &io::Error) -> Unread {
    Unread::Unreadable(sys::plain_words(error))
}

fn text(bytes: io::Result<Option<Vec<u8>>>) -> Result<String, Unread> {
    let bytes = bytes.map_err(|error| unreadable(&error))?;
    let bytes = bytes.ok_or_else(|| Unread::Unreadable(format!("it is longer than {} MiB", LONGEST >> 20)))?;
    Ok(lines(&bytes))
}

/// Converts bytes to text. As in sudo, a NUL ends its line; other invalid bytes end up in names that no user has.
fn lines(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).split_inclusive('\n').map(until_nul).collect()
}

fn until_nul(line: &str) -> String {
    match line.split_once('\0') {
        Some((before, _)) => format!("{before}\n"),
        None => line.to_owned(),
    }
}
