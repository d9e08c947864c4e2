//! Converts a sudoers file to a policy that gives the same answers, and reports what could not be converted by file and
//! line. Reads what sudo would read, with the caller's own rights, and writes nothing.

mod command;
mod convert;
mod defaults;
mod expression;
mod finding;
mod fold;
mod grammar;
mod lexer;
mod meaning;
mod members;
mod moment;
mod names;
mod pam;
mod role;
mod scope;
mod settings;
mod sound;
mod source;
mod terms;
mod token;
mod toml;
mod tree;
mod trust;
mod unsupported;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use jit_core::escape::{command_line, escape};

use finding::{Findings, Weight};
pub use terms::People;
pub use trust::Authors;
use trust::Distrust;

/// The conversion that is requested.
#[derive(Debug)]
pub struct Sudoers<'a> {
    /// The file; the files that it includes are read too. `-` is standard input, which requires [`Authors::Anybody`].
    pub file: &'a Path,
    /// Which files are trusted.
    pub authors: Authors,
    /// The name of this host, short or fully qualified, for `%h`.
    pub host: &'a str,
    /// The present time: rules that are no longer valid are skipped.
    pub now: DateTime<Utc>,
    /// How users get the roles.
    pub people: People,
}

/// The policy from a sudoers file.
#[derive(Debug)]
pub struct Imported {
    /// The policy in TOML; this version parses it without an error.
    pub policy: String,
    /// The number of roles.
    pub roles: usize,
    /// What could not be converted: `FILE:LINE: what`.
    pub left_out: Vec<String>,
    /// What the policy allows or does in addition to sudo: `FILE:LINE: what`.
    pub wider: Vec<String>,
    /// What changes no answer: `FILE:LINE: what`.
    pub notes: Vec<String>,
    /// Files that sudo would not read, but that were read: one line each.
    pub untrusted: Vec<String>,
}

/// Why there is no policy. `Display` is a message.
#[derive(Debug)]
pub enum ImportError {
    /// The file cannot be read.
    Unreadable(PathBuf, String),
    /// Users other than root may have written it, so sudo would not read it.
    Untrusted(PathBuf, Distrust),
    /// Users other than root can put another file in this directory, so the named one may be theirs. sudo does not check this.
    Exposed(PathBuf, Distrust),
    /// The result is not a valid policy (a bug).
    NoPolicy(PathBuf, String),
}

impl ImportError {
    /// Returns the command with which root fixes it.
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Untrusted(path, fault) | Self::Exposed(path, fault) => {
                Some(format!("{}; to review a copy, add --untrusted", cure(fault, path)))
            }
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
            Self::Exposed(path, fault) => {
                write!(f, "{} {}, so others can replace the sudoers file in it", shown(path), fault.what)
            }
            Self::NoPolicy(path, why) => write!(f, "cannot convert {} to a policy: {why}", shown(path)),
        }
    }
}

impl std::error::Error for ImportError {}

/// Converts a sudoers file.
///
/// # Errors
/// When the file itself cannot be read, or sudo would not read it. Included files are then skipped and reported.
pub fn import(wanted: &Sudoers<'_>) -> Result<Imported, ImportError> {
    let short = wanted.host.split('.').next().unwrap_or_default();
    let mut findings = Findings::default();
    let source = source::read(wanted.file, wanted.authors, short, &mut findings)?;
    converted(wanted, source, findings)
}

fn converted(wanted: &Sudoers<'_>, source: source::Source, mut findings: Findings) -> Result<Imported, ImportError> {
    let source::Source { sudoers, untrusted } = source;
    let mut settings = defaults::everywhere(&sudoers, &mut findings);
    // A copy of the file of another host says nothing about the services of this one.
    if wanted.authors == Authors::Root {
        pam::carry_over(Path::new("/etc/pam.d"), &mut settings, &mut findings);
    }
    let roles = convert::roles(&sudoers, &settings, wanted.now, &mut findings);
    let roles = fold::fold(roles, &mut findings);
    let roles = defaults::somewhere(&sudoers, &settings, roles, &mut findings);
    let mut roles = fold::fold(fold::fold(roles, &mut findings), &mut findings);
    if wanted.people == People::Eligible {
        fold::say_exceptions(&mut roles);
    }
    let name = escape(wanted.file.as_os_str().as_encoded_bytes());
    let no_policy = |why| ImportError::NoPolicy(wanted.file.to_owned(), why);
    let written = |roles: &[role::Role]| write::policy(&name, &untrusted, &settings, roles, wanted.people);
    let (roles, policy) = match written(&roles) {
        policy if toml::accepted(&policy).is_ok() => (roles, policy),
        _ => {
            let roles = sound::sound(roles, &mut findings).map_err(no_policy)?;
            let policy = written(&roles);
            toml::accepted(&policy).map_err(no_policy)?;
            (roles, policy)
        }
    };
    Ok(Imported {
        policy,
        roles: roles.len(),
        left_out: findings.lines(Weight::Less),
        wider: findings.lines(Weight::More),
        notes: findings.lines(Weight::Note),
        untrusted,
    })
}

/// Converts the text of a sudoers file; included files are reported, not read.
///
/// # Errors
/// [`ImportError::NoPolicy`].
#[doc(hidden)]
pub fn import_text(wanted: &Sudoers<'_>, text: &[u8]) -> Result<Imported, ImportError> {
    let mut findings = Findings::default();
    let sudoers = source::of_text(wanted.file, text, &mut findings);
    converted(wanted, source::Source { sudoers, untrusted: Vec::new() }, findings)
}

/// Returns the command with which root fixes an untrusted file.
fn cure(fault: &Distrust, path: &Path) -> String {
    format!("review it, then {} {}", fault.cure, command_line([path.as_os_str()]))
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
