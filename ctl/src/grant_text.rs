//! Requests and grants in words: their state, command and limits, for every verb that shows them.

use std::os::unix::ffi::OsStrExt;

use jit_core::escape::{Word, command_line, escape, hex};
use jit_core::grant::digest;
use jit_core::grant::terms::Extensions;
use jit_core::wire::{BoundInfo, GrantInfo};
use serde_json::{Map, Value};

use crate::clean::clean;
use crate::surface::Tone;
use crate::table::{Entry, Fields};
use crate::when;

/// The maximum width of a list, in characters: beside its name it fits 80 columns.
const LINE: usize = 66;

/// Returns the state: the grant's, or the request's while there is no grant.
pub(crate) fn state(info: &GrantInfo) -> &str {
    info.grant.as_deref().unwrap_or(&info.state)
}

/// Returns the state as a cell.
pub(crate) fn state_entry(info: &GrantInfo) -> Entry {
    let tone = match state(info) {
        "active" => Tone::Good,
        "pending" | "approved" | "scheduled" => Tone::Waiting,
        "denied" | "revoked" => Tone::Bad,
        _ => Tone::Plain,
    };
    Entry::toned(state(info), tone)
}

/// Returns the requested command in one line, or a note that the request is for the whole role.
pub(crate) fn command(info: &GrantInfo) -> String {
    if info.command.is_empty() { "(the whole role)".to_owned() } else { line(&info.command) }
}

/// Returns the same for a list, with the grant that it extends.
pub(crate) fn matter(info: &GrantInfo) -> String {
    let rest =
        info.command_bytes.map_or_else(String::new, |bytes| format!(" ... ({bytes} bytes: jitctl show {})", info.id));
    match &info.extends {
        Some(old) => format!("{}{rest} (extends {old})", command(info)),
        None => command(info) + &rest,
    }
}

/// Splits what the user types into variables (`NAME=VALUE`), as jit-sudo(8) accepts them before the command, and the
/// command.
pub(crate) fn variables_first(typed: Vec<Word>) -> (Vec<Word>, Vec<Word>) {
    let is_variable = |word: &&Word| {
        let bytes = word.as_bytes();
        bytes
            .iter()
            .position(|byte| *byte == b'=')
            .is_some_and(|at| at > 0 && !bytes.iter().take(at).any(|byte| *byte == b'/'))
    };
    let count = typed.iter().take_while(is_variable).count();
    let mut variables = typed;
    let command = variables.split_off(count);
    (variables, command)
}

/// Returns the arguments as one line.
pub(crate) fn line(words: &[Word]) -> String {
    command_line(words.iter().map(Word::as_os_str))
}

/// Returns `one run, exact command`; empty for an ordinary grant.
pub(crate) fn narrowed(one_shot: bool, exact: bool) -> String {
    let terms = [(one_shot, "one run"), (exact, "exact command")];
    terms.iter().filter(|(is, _)| *is).map(|(_, term)| *term).collect::<Vec<_>>().join(", ")
}

/// Describes who may decide.
pub(crate) fn approvers(info: &GrantInfo) -> String {
    if info.approvers.is_empty() { "nobody".to_owned() } else { clean(&info.approvers.join(", ")) }
}

/// Shows how the commands of a role are run, one option per line.
pub(crate) fn options(fields: &mut Fields, name: &str, options: &Map<String, Value>) {
    for (index, (key, value)) in options.iter().enumerate() {
        option(fields, if index == 0 { name } else { "" }, key, value);
    }
}

/// Shows one option, a long list over several lines.
fn option(fields: &mut Fields, name: &str, key: &str, value: &Value) {
    let mut line = format!("{key} =");
    let Some(entries) = value.as_array() else {
        fields.add(name, format!("{line} {value}"));
        return;
    };
    let mut name = name;
    let last = entries.len().saturating_sub(1);
    for (index, entry) in entries.iter().enumerate() {
        let (open, close) = (if index == 0 { "[" } else { "" }, if index == last { "]" } else { "," });
        let piece = format!("{open}{entry}{close}");
        if line.chars().count() + piece.chars().count() > LINE {
            fields.add(name, &line);
            (name, line) = ("", " ".to_owned());
        }
        line.push_str(&format!(" {piece}"));
    }
    if entries.is_empty() {
        line.push_str(" []");
    }
    fields.add(name, line);
}

/// Returns whether this is the digest of no bytes: an edit has no program.
pub(crate) fn is_of_nothing(sha256: &str) -> bool {
    sha256 == hex(&digest(&[]))
}

/// Shows the directory, the ids and the variables with which the command runs: exactly these if the grant is exact.
pub(crate) fn bound_fields(fields: &mut Fields, command: &[Word], bound: &BoundInfo) {
    if command.first() != Some(&bound.path) {
        exact_word(fields, "program", &bound.path);
    }
    // The files to edit have absolute names, and no directory.
    if !bound.directory.as_bytes().is_empty() {
        exact_word(fields, "directory", &bound.directory);
    }
    let groups: Vec<String> = bound.run_as_groups.iter().map(ToString::to_string).collect();
    fields.add("ids", format!("uid {}, gid {}, groups {}", bound.run_as_uid, bound.run_as_gid, groups.join(" ")));
    for (index, variable) in bound.environment.iter().enumerate() {
        exact_word(fields, if index == 0 { "variables" } else { "" }, variable);
    }
}

/// Shows each argument on a line of its own, so that a space inside an argument cannot look like a separator; and its
/// bytes if it has characters outside ASCII, which could look like others.
pub(crate) fn exact_words(fields: &mut Fields, command: &[Word]) {
    for (index, word) in command.iter().enumerate() {
        exact_word(fields, &format!("  word {index}"), word);
    }
}

/// Shows an argument, and its bytes if it has characters outside ASCII.
pub(crate) fn exact_word(fields: &mut Fields, name: &str, word: &Word) {
    fields.add(name, word.to_string());
    if !word.as_bytes().is_ascii() {
        fields.add("   bytes", ascii(word));
    }
}

/// Returns the argument with every byte outside ASCII written as `\xNN`.
fn ascii(word: &Word) -> String {
    let bytes = word.as_os_str().as_bytes();
    bytes.iter().map(|byte| if byte.is_ascii() { escape(&[*byte]) } else { format!("\\x{byte:02x}") }).collect()
}

/// Returns the keys that a later version has added to a document, which this version does not understand.
pub(crate) fn unknown(fields: &mut Fields, extensions: &Extensions) {
    for (name, value) in extensions {
        fields.toned("unknown", format!("{name} = {value}"), Tone::Bad);
    }
}

/// What an approval changed.
pub(crate) fn after_approval(info: &GrantInfo, now: i64) -> String {
    let who = clean(info.requester.as_str());
    let head = format!("request {} of {who} for {}", info.id, info.role);
    if info.state == "pending" {
        let missing =
            usize::try_from(info.approvals_needed).unwrap_or(usize::MAX).saturating_sub(info.approvals_given());
        return format!(
            "{head}: approval {} of {} given, {missing} still missing ({})\n",
            info.approvals_given(),
            info.approvals_needed,
            approvers(info)
        );
    }
    let mut text = format!("{head}: {}", clean(&info.state));
    if info.grant.is_some() {
        text.push_str(&format!(", the grant is {}", clean(state(info))));
    }
    if let (Some("scheduled"), Some(starts)) = (info.grant.as_deref(), info.starts) {
        text.push_str(&format!(" from {}", when::short_relative(starts, now)));
    }
    if let Some(expires) = info.expires {
        text.push_str(&format!(" until {}", when::short_relative(expires, now)));
    }
    let terms = narrowed(info.one_shot, info.exact);
    if !terms.is_empty() {
        text.push_str(&format!(" ({terms})"));
    }
    text.push('\n');
    text
}

/// Describes the state of a pending request.
pub(crate) fn pending_line(info: &GrantInfo) -> String {
    format!(
        "request {} for role {}: pending, {} of {} approvals given; approvers: {}",
        info.id,
        info.role,
        info.approvals_given(),
        info.approvals_needed,
        approvers(info)
    )
}
