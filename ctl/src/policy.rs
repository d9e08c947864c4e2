//! Checks a policy: the installed one through the broker, other files here, with the caller's privileges.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jit_core::escape::escape;
use jit_core::policy::{Policy, PolicyReader, PolicyText};
use jit_core::wire::{PolicyCheck, PolicyInfo};

use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::PolicyCheckWords;
use crate::output::Output;
use crate::screen::Report;
use crate::speech::{Notice, Trouble};

/// The maximum size of a file, in bytes.
const FILE_LIMIT: u64 = 128 << 20;

/// `jitctl policy check`
pub(crate) fn check(words: &PolicyCheckWords, broker: &Broker) -> Result<Report, Trouble> {
    let policy = if words.files.is_empty() {
        broker.ask(&PolicyCheck {})?
    } else {
        let texts = words.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
        info(&texts)?
    };
    let text = summary(&policy);
    Ok(Report::done(Output::PolicyChecked(policy), text))
}

/// Reads one of the caller's files, up to the limit; it must be UTF-8.
pub(crate) fn read(path: &Path) -> Result<PolicyText, Trouble> {
    let failed = |cause: String| {
        let name = escape(path.as_os_str().as_encoded_bytes());
        Trouble::Local("unreadable-file", Notice::new(format!("cannot read {name}: {cause}")))
    };
    let file = File::open(path).map_err(|error| failed(sys::plain_words(&error)))?;
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(|error: io::Error| failed(sys::plain_words(&error)))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(failed(format!("it is longer than {} MiB", FILE_LIMIT >> 20)));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| failed(format!("it is not UTF-8 from byte {} on", error.utf8_error().valid_up_to())))?;
    Ok(PolicyText { path: path.to_owned(), text })
}

/// Returns the policy that these files make together.
pub(crate) fn parse_files(files: &[PathBuf]) -> Result<Policy, Trouble> {
    parse(&files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?)
}

fn parse(texts: &[PolicyText]) -> Result<Policy, Trouble> {
    Policy::parse(texts).map_err(|error| {
        // Errors may quote the files, because they were read with the caller's privileges.
        let sentence = error.words().told_to(&PolicyReader::of(texts)).to_owned();
        Trouble::Local("bad-policy", Notice::new(sentence))
    })
}

fn info(texts: &[PolicyText]) -> Result<PolicyInfo, Trouble> {
    let policy = parse(texts)?;
    Ok(PolicyInfo {
        files: texts.iter().map(|text| escape(text.path.as_os_str().as_encoded_bytes())).collect(),
        roles: policy.roles().len(),
        rules: policy.rule_count(),
        warnings: policy.warnings(),
    })
}

fn summary(policy: &PolicyInfo) -> String {
    let mut text = String::new();
    for file in &policy.files {
        text.push_str(&format!("read {}\n", clean(file)));
    }
    for warning in &policy.warnings {
        text.push_str(&format!("warning: {}\n", clean(warning)));
    }
    let (roles, rules) = (count(policy.roles, "role"), count(policy.rules, "command rule"));
    text.push_str(&format!("the policy is good: {roles}, {rules}\n"));
    text
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
