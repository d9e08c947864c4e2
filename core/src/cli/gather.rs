//! Splits the arguments as getopt_long(3) does with a leading `+`: bundles, attached values, long names and their
//! unambiguous abbreviations. It knows the table, but not how flags combine.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::error::UsageError;
use super::flags::{Argument, FLAGS, Flag, FlagName, Support};
use crate::escape::escape;

/// The arguments, split.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Flags and their values, in the order given.
    pub(super) flags: Vec<(FlagName, Option<OsString>)>,
    /// `VAR=value` before the command.
    pub(super) variables: Vec<(OsString, OsString)>,
    /// Names of `--preserve-env=list` that follow such a variable of the same name, and are not followed by another one.
    pub(super) preserved_over: Vec<OsString>,
    /// Everything after the flags and variables.
    pub(super) command: Vec<OsString>,
}

/// Splits the arguments after the program's name. The first unsupported flag is an error.
pub(super) fn gather(arguments: &[OsString]) -> Result<Words, UsageError> {
    let mut words = Words::default();
    let mut rest = arguments;
    while let Some((word, after)) = rest.split_first() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            rest = after;
            break;
        } else if let Some(long) = bytes.strip_prefix(b"--") {
            rest = take_long(&mut words, long, after)?;
        } else if bytes.len() > 1 && bytes.starts_with(b"-") {
            rest = take_bundle(&mut words, bytes.get(1..).unwrap_or_default(), after)?;
        } else if let Some(variable) = variable(word) {
            words.preserved_over.retain(|name| *name != variable.0);
            words.variables.push(variable);
            rest = after;
        } else {
            break;
        }
    }
    words.command = rest.to_vec();
    Ok(words)
}

/// Returns the name and value of `VAR=value`: a `=` after at least one byte, in an argument that is not a path.
fn variable(word: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = word.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    let (name, value) = (bytes.get(..at)?, bytes.get(at + 1..)?);
    if name.starts_with(b"/") { None } else { Some((owned(name), owned(value))) }
}

fn take_bundle<'a>(words: &mut Words, bundle: &[u8], after: &'a [OsString]) -> Result<&'a [OsString], UsageError> {
    let mut letters = bundle;
    while let Some((letter, more)) = letters.split_first() {
        let flag = FLAGS
            .iter()
            .find(|flag| flag.short == Some(*letter))
            .ok_or_else(|| UsageError::Mistake(format!("invalid option -- '{}'", escape(&[*letter]))))?;
        if flag.name == FlagName::Help && names_a_host(more, after) {
            return Err(refusal(FlagName::Host));
        }
        if let Argument::Required(_) = flag.argument {
            let (value, after) = match after.split_first() {
                _ if !more.is_empty() => (owned(more), after),
                Some((next, after)) => (next.clone(), after),
                None => {
                    return Err(UsageError::Mistake(format!(
                        "option requires an argument -- '{}'",
                        char::from(*letter)
                    )));
                }
            };
            push(words, flag, Some(value))?;
            return Ok(after);
        }
        push(words, flag, None)?;
        letters = more;
    }
    Ok(after)
}

/// Returns whether `-h` names a host: as in sudo, it does if a value is attached, or if an argument follows that is
/// neither a flag nor a variable.
fn names_a_host(attached: &[u8], after: &[OsString]) -> bool {
    let follows = after.first().is_some_and(|next| !next.as_bytes().starts_with(b"-") && variable(next).is_none());
    !attached.is_empty() || follows
}

fn take_long<'a>(words: &mut Words, long: &[u8], after: &'a [OsString]) -> Result<&'a [OsString], UsageError> {
    let (name, value) = match long.iter().position(|byte| *byte == b'=') {
        Some(at) => (long.get(..at).unwrap_or_default(), long.get(at + 1..).map(owned)),
        None => (long, None),
    };
    let flag = find_long(name, long)?;
    let full = flag.long.unwrap_or_default();
    match (flag.argument, value) {
        (Argument::None, Some(_)) => Err(UsageError::Mistake(format!("option '--{full}' doesn't allow an argument"))),
        (Argument::Required(_), None) => match after.split_first() {
            Some((next, after)) => push(words, flag, Some(next.clone())).map(|()| after),
            None => Err(UsageError::Mistake(format!("option '--{full}' requires an argument"))),
        },
        (Argument::None | Argument::Optional(..), None) => push(words, flag, None).map(|()| after),
        (Argument::Required(_) | Argument::Optional(..), Some(value)) => push(words, flag, Some(value)).map(|()| after),
    }
}

fn find_long(name: &[u8], typed: &[u8]) -> Result<&'static Flag, UsageError> {
    let begins = |flag: &&Flag| flag.long.is_some_and(|long| long.as_bytes().starts_with(name));
    let mut near: Vec<&Flag> = FLAGS.iter().filter(begins).collect();
    near.sort_unstable_by_key(|flag| flag.long);
    if let Some(exact) = near.iter().find(|flag| flag.long.is_some_and(|long| long.as_bytes() == name)) {
        return Ok(exact);
    }
    match near.as_slice() {
        [only] => Ok(only),
        [] => Err(UsageError::Mistake(format!("unrecognized option '--{}'", shown(typed)))),
        several => {
            let names: Vec<String> =
                several.iter().filter_map(|flag| flag.long).map(|long| format!("'--{long}'")).collect();
            Err(UsageError::Mistake(format!(
                "option '--{}' is ambiguous; possibilities: {}",
                shown(typed),
                names.join(" ")
            )))
        }
    }
}

fn push(words: &mut Words, flag: &Flag, value: Option<OsString>) -> Result<(), UsageError> {
    match flag.support {
        Support::Built => {
            if let (FlagName::PreserveEnv, Some(list)) = (flag.name, &value) {
                let names = list.as_bytes().split(|byte| *byte == b',').map(owned);
                let is_set = |name: &OsString| words.variables.iter().any(|(set, _)| set == name);
                words.preserved_over.extend(names.filter(is_set));
            }
            words.flags.push((flag.name, value));
            Ok(())
        }
        Support::Never(sentence) => Err(UsageError::Unsupported(sentence.to_owned())),
    }
}

pub(super) fn refusal(name: FlagName) -> UsageError {
    match FLAGS.iter().find(|flag| flag.name == name).map(|flag| flag.support) {
        Some(Support::Never(sentence)) => UsageError::Unsupported(sentence.to_owned()),
        Some(Support::Built) | None => UsageError::Usage,
    }
}

/// Returns the argument escaped and truncated: a flag may be two megabytes long.
fn shown(typed: &[u8]) -> String {
    const LONGEST: usize = 100;
    match typed.get(..LONGEST) {
        Some(cut) if typed.len() > LONGEST => format!("{}…", escape(cut)),
        _ => escape(typed),
    }
}

fn owned(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_os_string()
}
