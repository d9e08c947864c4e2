//! The protocol between the program that compiles the policy and the one that stores it: a request with the texts, and an
//! answer of which everything that can be checked is checked. Only the reader turns an answer into a [`Policy`].

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::PolicyError;
use super::options::{pam_service, variable_pattern};
use super::power::{POWER_LIMIT, RolePower, role_digest};
use super::role::{Activation, Role};
use super::settings::{AuditSettings, Settings};
use super::{Policy, PolicyText};
use crate::clock::duration::{LONGEST, Seconds};
use crate::escape::escape;

/// The maximum size of the texts of all files together, in bytes; 100,000 roles take about 30 MB.
pub const TEXTS_LIMIT: usize = 128 << 20;

/// The exit status of a compiler that could not drop its privileges; it has read nothing.
pub const STILL_PRIVILEGED: i32 = 2;

/// The maximum length of the cause of an error, in bytes: it quotes truncated parts of the policy, and the path of a
/// file.
const CAUSE_LIMIT: usize = 32 << 10;

/// Both sides must have the same version, because the version that wrote a row determines its meaning.
const FORMAT: &str = concat!(env!("CARGO_PKG_VERSION"), "/1");

/// One file of a request.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    path: String,
    text: String,
}

/// The texts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    format: String,
    files: Vec<Text>,
}

/// The first line of an answer. The roles of a policy follow, one per line in the form of its row.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    found: Found,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Found {
    Policy { roles: usize, settings: Box<Settings> },
    Error { file: usize, line: usize, column: usize, cause: String },
}

/// Why there is no compiled policy.
#[derive(Debug)]
pub enum Uncompiled {
    /// Its files have an error.
    Policy(PolicyError),
    /// This version could not have given the answer to these files.
    Answer(InvalidAnswer),
}

/// An error in an answer. It quotes nothing of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidAnswer {
    /// The line of the answer, from 1.
    pub line: usize,
    /// What is wrong with it: a verb phrase whose subject is the line.
    pub fault: &'static str,
}

impl fmt::Display for InvalidAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of its answer {}", self.line, self.fault)
    }
}

impl From<InvalidAnswer> for Uncompiled {
    fn from(invalid: InvalidAnswer) -> Self {
        Self::Answer(invalid)
    }
}

/// Returns the request to compile these files.
///
/// # Errors
/// The files are longer than [`TEXTS_LIMIT`] together.
pub fn request(files: &[PolicyText]) -> Result<Vec<u8>, PolicyError> {
    let (mut all, mut length) = (Vec::new(), 0_usize);
    for file in files {
        let whole = |cause| PolicyError { file: file.path.clone(), line: 0, column: 0, cause };
        length = length.saturating_add(file.text.len());
        if length > TEXTS_LIMIT {
            return Err(whole(format!("with this file the policy is larger than {TEXTS_LIMIT} bytes")));
        }
        all.push(Text { path: path_of(file), text: file.text.clone() });
    }
    let request = Request { format: FORMAT.to_owned(), files: all };
    // Serializing texts cannot fail.
    Ok(serde_json::to_vec(&request).unwrap_or_default())
}

/// Returns the maximum length of an answer for these files, in bytes: each role includes the defaults, so it is longer
/// than its text.
pub fn answer_limit(files: &[PolicyText]) -> usize {
    const LEAST: usize = 4 << 20;
    const MOST: usize = 1 << 30;
    let texts: usize = files.iter().map(|file| file.text.len()).sum();
    texts.saturating_mul(512).saturating_add(LEAST).min(MOST)
}

/// Returns the answer to a request; `None` if the bytes are not a request of this version.
#[cfg(feature = "policy-text")]
pub fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let request: Request = serde_json::from_slice(request).ok()?;
    if request.format != FORMAT {
        return None;
    }
    let file = |file: Text| PolicyText { path: file.path.into(), text: file.text };
    let files: Vec<PolicyText> = request.files.into_iter().map(file).collect();
    written(&Policy::parse(&files), &files).ok()
}

#[cfg(feature = "policy-text")]
fn written(parsed: &Result<Policy, PolicyError>, files: &[PolicyText]) -> serde_json::Result<Vec<u8>> {
    let roles = parsed.as_ref().map_or(&[][..], Policy::roles);
    let found = match parsed {
        Ok(policy) => Found::Policy { roles: roles.len(), settings: Box::new(policy.settings().clone()) },
        Err(error) => Found::Error {
            file: files.iter().position(|file| file.path == error.file).unwrap_or_default(),
            line: error.line,
            column: error.column,
            cause: error.cause.clone(),
        },
    };
    let mut answer = serde_json::to_vec(&Head { format: FORMAT.to_owned(), found })?;
    answer.push(b'\n');
    for role in roles {
        serde_json::to_writer(&mut answer, role)?;
        answer.push(b'\n');
    }
    Ok(answer)
}

/// Returns the policy in an answer, if this version could have given the answer to these files.
///
/// # Errors
/// The error in the files that the answer reports, or the reason why the answer is invalid.
pub fn read_answer(answer: &[u8], files: &[PolicyText]) -> Result<Policy, Uncompiled> {
    let mut lines = Lines { rest: answer, number: 0 };
    let line = lines.next().ok_or(lines.invalid("is missing or cut off"))?;
    let head: Head = lines.decoded(line)?;
    if head.format != FORMAT {
        return Err(lines.invalid("is of another version").into());
    }
    let (count, settings) = match head.found {
        Found::Policy { roles, settings } => (roles, *settings),
        Found::Error { file, line, column, cause } => {
            let read = error(files, (file, line, column), cause).map_err(|fault| lines.invalid(fault))?;
            return Err(if lines.rest.is_empty() { Uncompiled::Policy(read) } else { lines.more().into() });
        }
    };
    let (mut roles, mut place) = (Vec::new(), (0, 0));
    let known: Vec<(String, usize)> = files.iter().map(|file| (path_of(file), count_of_lines(file))).collect();
    for _ in 0..count {
        let line = lines.next().ok_or(lines.invalid("is missing or cut off"))?;
        let role: Role = lines.decoded(line)?;
        check_role(&role).map_err(|fault| lines.invalid(fault))?;
        let here = place_of(&role, &known, place.0).filter(|here| *here >= place);
        place = here.ok_or(lines.invalid("is a role that does not stand there in the files"))?;
        roles.push(role);
    }
    if !lines.rest.is_empty() {
        return Err(lines.more().into());
    }
    let mut names = HashSet::with_capacity(roles.len());
    if let Some(twice) = roles.iter().position(|role| !names.insert(role.name.as_str())) {
        return Err(InvalidAnswer { line: twice + 2, fault: "is a role that came before" }.into());
    }
    let ordered = roles.iter().any(|role| role.order > 0);
    if settings.ordered != ordered || !is_sound(&settings) {
        return Err(InvalidAnswer { line: 1, fault: "has settings that no file could have given" }.into());
    }
    Ok(Policy { settings, roles })
}

/// Splits an answer into lines, each terminated by a newline.
struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        self.number += 1;
        let (line, rest) = self.rest.split_at_checked(self.rest.iter().position(|byte| *byte == b'\n')?)?;
        self.rest = rest.get(1..)?;
        Some(line)
    }

    /// Decodes a value that this version encodes as exactly this line, so that it has no unknown and no repeated keys.
    fn decoded<T: Serialize + for<'d> Deserialize<'d>>(&self, line: &[u8]) -> Result<T, InvalidAnswer> {
        let value = serde_json::from_slice(line).map_err(|_| self.invalid("is not understood"))?;
        match serde_json::to_vec(&value) {
            Ok(again) if again == line => Ok(value),
            _ => Err(self.invalid("is not as this version writes it")),
        }
    }

    fn invalid(&self, fault: &'static str) -> InvalidAnswer {
        InvalidAnswer { line: self.number, fault }
    }

    fn more(&self) -> InvalidAnswer {
        InvalidAnswer { line: self.number + 1, fault: "is one too many" }
    }
}

/// Returns the path as the request contains it.
fn path_of(file: &PolicyText) -> String {
    file.path.to_string_lossy().into_owned()
}

fn error(
    files: &[PolicyText],
    (file, line, column): (usize, usize, usize),
    cause: String,
) -> Result<PolicyError, &'static str> {
    let text = files.get(file).ok_or("tells of an error in a file that was not sent")?;
    if line > count_of_lines(text) || cause.len() > CAUSE_LIMIT {
        return Err("tells of an error that the file cannot have");
    }
    // The compiler has escaped the cause where necessary. Backslashes of the policy are shown as written.
    let escaped = escape(cause.as_bytes());
    let is_shown = escaped.replace("\\\\", "\\") == cause.replace("\\\\", "\\");
    let cause = if is_shown { cause } else { escaped };
    Ok(PolicyError { file: text.path.clone(), line, column, cause })
}

fn count_of_lines(file: &PolicyText) -> usize {
    file.text.bytes().filter(|byte| *byte == b'\n').count() + 1
}

/// Returns the number of the role's file, not before `first`, and its line; `known` has the path and the number of lines
/// of each file.
fn place_of(role: &Role, known: &[(String, usize)], first: usize) -> Option<(usize, usize)> {
    let (number, (_, count)) = known.iter().enumerate().skip(first).find(|(_, (path, _))| *path == role.source.file)?;
    (1..=*count).contains(&role.source.line).then_some((number, role.source.line))
}

/// Checks what a run relies on beyond the form of each value.
fn check_role(role: &Role) -> Result<(), &'static str> {
    let power = RolePower::of(role).encode().map_err(|_| "is a role that cannot be written down")?;
    if power.len() > POWER_LIMIT || role_digest(&power) != role.digest {
        return Err("is a role with the digest of another");
    }
    let terms = &role.activation;
    let is_span = |seconds: Seconds| (Seconds(1)..=LONGEST).contains(&seconds);
    let is_sound = role.options.unsound().is_none()
        && role.pam_service.as_ref().is_none_or(|name| pam_service(name).is_ok())
        && role.description.len() <= 1000
        && !role.description.chars().any(char::is_control)
        && !role.commands.is_empty()
        && !role.run_as.0.is_empty()
        && !role.hosts.is_empty()
        && role.order <= 1_000_000
        && is_span(terms.maximum_duration)
        && is_span(terms.request_lifetime)
        && (1..101).contains(&terms.approvals)
        && Activation::contradiction(terms).is_none();
    if is_sound { Ok(()) } else { Err("is a role that no file could have given") }
}

fn is_sound(settings: &Settings) -> bool {
    let Settings { options, grace_period, audit, request_rate, ordered: _ } = settings;
    let AuditSettings { json_file, redact, recording, storage, .. } = audit;
    let is_size = |size: u64| (4096..=1 << 40).contains(&size);
    options.unsound().is_none()
        && grace_period.as_millis() <= 60_000
        && (1..100_001).contains(request_rate)
        && json_file
            .as_ref()
            .is_none_or(|file| file.path.is_absolute() && is_size(file.size) && (1..1_001).contains(&file.count))
        && redact.iter().all(|name| variable_pattern(name).is_ok())
        && is_size(recording.limit)
        && is_size(recording.reserve)
        && [storage, &recording.per_user].iter().all(|storage| is_size(storage.at_once) && is_size(storage.per_day))
}

/// Returns the policy of the files, after checking that the round trip between the two programs loses nothing.
#[cfg(test)]
pub(super) fn parsed(files: &[PolicyText]) -> Result<Policy, PolicyError> {
    let parsed = Policy::parse(files);
    let Ok(request) = request(files) else { return parsed };
    let answer = answer(&request).unwrap();
    assert!(answer.len() < answer_limit(files));
    match (&parsed, read_answer(&answer, files)) {
        (Ok(parsed), Ok(read)) => {
            assert_eq!((parsed.settings(), parsed.roles()), (read.settings(), read.roles()));
        }
        (Err(parsed), Err(Uncompiled::Policy(read))) => assert_eq!(*parsed, read),
        (_, Err(Uncompiled::Answer(invalid))) => panic!("{invalid}"),
        (_, read) => panic!("{}", read.is_ok()),
    }
    parsed
}

#[cfg(test)]
mod tests;
