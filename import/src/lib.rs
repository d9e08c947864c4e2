//! A sudoers becomes a policy that gives the same answers, and whatever could not be converted is told by file and line. Reads
//! what sudo would read, with the caller's own rights, and writes nothing.

mod command;
mod convert;
mod defaults;
mod expression;
mod finding;
mod grammar;
mod lexer;
mod meaning;
mod members;
mod scope;
mod source;
mod token;
mod toml;
mod tree;
mod trust;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use jit_core::escape::{command_line, escape};

use finding::Findings;
pub use trust::Authors;
use trust::Distrust;
pub use write::People;

/// What is to be converted.
#[derive(Debug)]
pub struct Sudoers<'a> {
    /// The file; what it includes is read too. `-` is standard input, which only [`Authors::Anybody`] take.
    pub file: &'a Path,
    /// Who may have written it.
    pub authors: Authors,
    /// The name of this host, short or fully qualified, for `%h`.
    pub host: &'a str,
    /// When it is: what sudo does not know any more then is left out.
    pub now: DateTime<Utc>,
    /// How people come to the roles.
    pub people: People,
}

/// A policy made of a sudoers.
#[derive(Debug)]
pub struct Imported {
    /// The policy in TOML; this version reads it without an error.
    pub policy: String,
    /// How many roles it has.
    pub roles: usize,
    /// What could not be converted: `FILE:LINE: what`.
    pub left_out: Vec<String>,
    /// What sudo would not read, and was read all the same: one line each.
    pub untrusted: Vec<String>,
}

/// Why there is no policy. `Display` is a sentence.
#[derive(Debug)]
pub enum ImportError {
    /// The file cannot be read.
    Unreadable(PathBuf, String),
    /// Others than root may have written it, so sudo would not read it.
    Untrusted(PathBuf, Distrust),
    /// What came out of it is no policy (a bug).
    NoPolicy(PathBuf, String),
}

impl ImportError {
    /// What root types against it.
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Untrusted(path, fault) => Some(format!("{}; to review a copy, add --untrusted", cure(fault, path))),
            Self::Unreadable(..) | Self::NoPolicy(..) => None,
        }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &Path| escape(path.as_os_str().as_encoded_bytes());
        match self {
            Self::Unreadable(path, why) => write!(f, "cannot read {}: {why}", shown(path)),
            Self::Untrusted(path, fault) => write!(f, "{} {}, so sudo does not read it", shown(path), fault.what),
            Self::NoPolicy(path, why) => write!(f, "cannot make a policy of {}: {why}", shown(path)),
        }
    }
}

impl std::error::Error for ImportError {}

/// Converts a sudoers.
///
/// # Errors
/// The file itself cannot be read, or sudo would not read it. What it includes is left out then, and told.
pub fn import(wanted: &Sudoers<'_>) -> Result<Imported, ImportError> {
    let short = wanted.host.split('.').next().unwrap_or_default();
    let mut findings = Findings::default();
    let source = source::read(wanted.file, wanted.authors, short, &mut findings)?;
    converted(wanted, source, findings)
}

fn converted(wanted: &Sudoers<'_>, source: source::Source, mut findings: Findings) -> Result<Imported, ImportError> {
    let source::Source { sudoers, untrusted } = source;
    let settings = defaults::everywhere(&sudoers, &mut findings);
    let roles = convert::roles(&sudoers, &settings, wanted.now, &mut findings);
    let roles = defaults::somewhere(&sudoers, roles, &mut findings);
    let name = escape(wanted.file.as_os_str().as_encoded_bytes());
    let policy = write::policy(&name, &untrusted, &settings, &roles, wanted.people);
    toml::accepted(&policy).map_err(|why| ImportError::NoPolicy(wanted.file.to_owned(), why))?;
    Ok(Imported { policy, roles: roles.len(), left_out: findings.lines(), untrusted })
}

/// Converts a sudoers that is one text; what it includes is told and not read.
///
/// # Errors
/// [`ImportError::NoPolicy`].
#[doc(hidden)]
pub fn import_text(wanted: &Sudoers<'_>, text: &[u8]) -> Result<Imported, ImportError> {
    let mut findings = Findings::default();
    let sudoers = source::of_text(wanted.file, text, &mut findings);
    converted(wanted, source::Source { sudoers, untrusted: Vec::new() }, findings)
}

/// What root types against a distrust.
fn cure(fault: &Distrust, path: &Path) -> String {
    format!("look at it, then {} {}", fault.cure, command_line([path.as_os_str()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(text: &str) -> Imported {
        let wanted = Sudoers {
            file: Path::new("/etc/sudoers"),
            authors: Authors::Anybody,
            host: "web1",
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            people: People::Standing,
        };
        import_text(&wanted, text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_command_that_no_rule_can_name_leaves_the_rest_of_the_file_alone() {
        for path in ["/bin/l\x07s", "/bin/l\u{202e}s", "/bin/l\u{feff}s"] {
            let told = imported(&format!("alice ALL = {path}\nbob ALL = /bin/id\n"));
            assert_eq!((told.roles, told.left_out.len()), (1, 1), "{}", told.policy);
            assert!(told.policy.contains("[roles.bob]") && told.left_out[0].starts_with("/etc/sudoers:1: command"));
            let refused = imported(&format!("alice ALL = ALL, !{path}\n"));
            assert!(refused.policy.contains(r#"["ALL", "!ALL"]"#), "{}", refused.policy);
        }
    }
}
