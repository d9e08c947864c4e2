//! `jitctl policy import`: a sudoers becomes a policy that gives the same answers, and whatever could not be converted is
//! told by file and line. Reads what sudo would read, with the caller's own rights, asks no broker and writes nothing but its
//! answer.

mod carry;
mod command;
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

use crate::cases::this_host;
use chrono::Utc;
use jit_core::escape::escape;
use jit_core::wire::{Answer, ImportedPolicy};

use crate::cli::PolicyImportWords;
use crate::screen::{Report, Screen};
use crate::speech::{Exit, Notice, Trouble};
use finding::Findings;
use trust::Authors;

/// `jitctl policy import`
pub(crate) fn import(words: &PolicyImportWords, screen: &Screen) -> Result<Report, Trouble> {
    let host = this_host().unwrap_or_default();
    let short = host.split('.').next().unwrap_or_default();
    let mut findings = Findings::default();
    let authors = if words.untrusted { Authors::Anybody } else { Authors::Root };
    let source::Source { sudoers, untrusted } = source::read(&words.file, authors, short, &mut findings)?;
    let settings = defaults::everywhere(&sudoers, &mut findings);
    let roles = carry::roles(&sudoers, &settings, Utc::now(), &mut findings);
    let roles = defaults::somewhere(&sudoers, roles, &mut findings);

    let name = escape(words.file.as_os_str().as_encoded_bytes());
    let people = if words.eligible { write::People::Eligible } else { write::People::Standing };
    let policy = write::policy(&name, &untrusted, &settings, &roles, people);
    toml::accepted(&policy)
        .map_err(|why| Trouble::Local("bad-policy", Notice::new(format!("cannot make a policy of {name}: {why}"))))?;
    let left_out = findings.lines();
    let count = left_out.len();
    let report = Report::done(
        Answer::PolicyImported(ImportedPolicy {
            policy: policy.clone(),
            roles: roles.len(),
            left_out: left_out.clone(),
            untrusted: untrusted.clone(),
        }),
        policy,
    );
    for line in untrusted {
        screen.note(&Notice::new(format!("warning: {line}, so sudo would not read it")));
    }
    if count == 0 {
        return Ok(report);
    }
    left_out.into_iter().for_each(|line| screen.note(&Notice::new(line)));
    let summary = if count == 1 { "1 thing is".to_owned() } else { format!("{count} things are") };
    Ok(report.but(Exit::Refused, Notice::new(format!("{summary} not converted; the rest is the policy"))))
}
