//! The files of a sudoers: opened one after the other, where they are included, with the caller's own rights.

use std::fs;
use std::path::{Path, PathBuf};

use jit_sudo::escape::escape;

use super::finding::Findings;
use super::grammar::{Event, Parser};
use super::tree::{Place, Sudoers};
use crate::door::io_cause;
use crate::speech::{Notice, Trouble};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// The most files, so that two that include each other come to an end.
const MOST_FILES: usize = 2000;

/// The deepest include, as in sudo.
const DEEPEST: usize = 128;

/// Reads `path` and all that it includes.
pub(super) fn read(path: &Path, host: &str, findings: &mut Findings) -> Result<Sudoers, Trouble> {
    let mut reader = Reader { sudoers: Sudoers::default(), host, findings, files: 0 };
    let text = text_of(path).map_err(|why| {
        let name = escape(path.as_os_str().as_encoded_bytes());
        Trouble::Local("unreadable-file", Notice::new(format!("cannot read {name}: {why}")))
    })?;
    reader.file(path, &text, 0);
    Ok(reader.sudoers)
}

struct Reader<'a> {
    sudoers: Sudoers,
    host: &'a str,
    findings: &'a mut Findings,
    files: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, text: &str, depth: usize) {
        self.files += 1;
        let mut parser = Parser::new(path.to_string_lossy().into(), text);
        while let Some(event) = parser.next_event(&mut self.sudoers) {
            match event {
                Event::Wrong(why, place) => self.findings.lost(&place, format!("a line that sudo refuses: {why}")),
                Event::Include(name, place) => self.include(&self.included(path, &name), &place, depth + 1),
                Event::IncludeDirectory(name, place) => {
                    for file in directory(&self.included(path, &name)) {
                        self.include(&file, &place, depth + 1);
                    }
                }
            }
        }
    }

    fn include(&mut self, path: &Path, place: &Place, depth: usize) {
        let name = escape(path.as_os_str().as_encoded_bytes());
        if depth > DEEPEST || self.files >= MOST_FILES {
            self.findings
                .lost(place, format!("{name} is included too deep, or there are more than {MOST_FILES} files"));
            return;
        }
        match text_of(path) {
            Ok(text) => self.file(path, &text, depth),
            Err(why) => self.findings.lost(place, format!("{name} cannot be read: {why}")),
        }
    }

    /// `%h` is the short name of the host; a relative path begins where the including file is.
    fn included(&self, from: &Path, name: &str) -> PathBuf {
        let path = name.replace("%h", self.host);
        from.parent().unwrap_or(Path::new("/")).join(path)
    }
}

/// The files of a directory that sudo reads: names without a dot or a `~` at the end, in the order of their bytes.
fn directory(path: &Path) -> Vec<PathBuf> {
    // A directory that is not there is no mistake.
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let counts = |name: &[u8]| !name.contains(&b'.') && !name.ends_with(b"~");
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| counts(entry.file_name().as_encoded_bytes()))
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

fn text_of(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| io_cause(&error))?;
    // Nothing else has an end that can be trusted.
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > LONGEST {
        return Err(format!("it is longer than {} MiB", LONGEST >> 20));
    }
    let bytes = fs::read(path).map_err(|error| io_cause(&error))?;
    // As in sudo, a NUL ends its line; other bytes that are no text end up in names that nobody has.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(text.split_inclusive('\n').map(until_nul).collect())
}

fn until_nul(line: &str) -> String {
    match line.split_once('\0') {
        Some((before, _)) => format!("{before}\n"),
        None => line.to_owned(),
    }
}
