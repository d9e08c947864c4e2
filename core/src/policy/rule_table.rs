//! The table form of a command rule: which keys may be combined, and their meaning.

use super::arguments::{Arguments, parse_arguments};
use super::digest::Digest;
use super::expression::Expression;
use super::glob::Glob;
use super::program_path::{Effect, ProgramPath, parse_path, refuse_invisible, split_effect};

/// The table form of a rule, as written.
#[derive(Debug, Default)]
pub(super) struct RuleTable<'a> {
    pub(super) path: Option<&'a str>,
    pub(super) path_glob: Option<&'a str>,
    pub(super) path_regex: Option<&'a str>,
    pub(super) args: Option<Vec<String>>,
    pub(super) args_glob: Option<&'a str>,
    pub(super) args_regex: Option<&'a str>,
    pub(super) sha256: Option<&'a str>,
    pub(super) digests: Vec<String>,
}

type Reader = fn(&str) -> Result<ProgramPath, String>;

impl RuleTable<'_> {
    /// Returns the program; `None` for ALL.
    pub(super) fn program(&self) -> Result<(Effect, Option<ProgramPath>), String> {
        let (text, read): (_, Reader) = match (self.path, self.path_glob, self.path_regex) {
            (Some(path), None, None) => (path, |text| parse_path(text).map(ProgramPath::Words)),
            (None, Some(glob), None) => (glob, |text| absolute_glob(text).map(ProgramPath::Glob)),
            (None, None, Some(regex)) => (regex, |text| Expression::read(text).map(ProgramPath::Regex)),
            (None, None, None) => return Err("has an entry without path".to_owned()),
            _ => return Err("names the program twice: path, path_glob or path_regex".to_owned()),
        };
        refuse_invisible(text)?;
        let (effect, program) = split_effect(text);
        if self.path.is_some() && program == "ALL" { Ok((effect, None)) } else { Ok((effect, Some(read(program)?))) }
    }

    /// Returns the arguments; `None` if they are not restricted.
    pub(super) fn arguments(&self) -> Result<Option<Arguments>, String> {
        for word in self.args.iter().flatten().map(String::as_str).chain(self.args_glob).chain(self.args_regex) {
            refuse_invisible(word)?;
        }
        match (&self.args, self.args_glob, self.args_regex) {
            (None, None, None) => Ok(None),
            (Some(words), None, None) => parse_arguments(words).map(|words| Some(Arguments::Words(words))),
            (None, Some(glob), None) => Glob::read(glob).map(|glob| Some(Arguments::Glob(glob))),
            (None, None, Some(regex)) => Expression::read(regex).map(|regex| Some(Arguments::Regex(regex))),
            _ => Err("has the arguments twice: args, args_glob or args_regex".to_owned()),
        }
    }

    pub(super) fn digests(&self) -> Result<Vec<Digest>, String> {
        let sha256 = self.sha256.map(|digits| format!("sha256:{digits}"));
        sha256.iter().chain(&self.digests).map(|text| Digest::read(text)).collect()
    }

    /// Formats the rule as one line: in the string form, or with the keys of the table.
    pub(super) fn text(&self, digests: &[Digest]) -> String {
        let mut parts = Vec::new();
        match (self.path, &self.args) {
            (Some(path), words) if self.args_glob.or(self.args_regex).is_none() => {
                parts.push(table_text(path, words.as_deref().unwrap_or_default()));
            }
            (path, words) => {
                let one = |key: &str, value: &Option<&str>| value.map(|value| format!("{key} '{value}'"));
                parts.extend(one("path", &path));
                parts.extend(one("path_glob", &self.path_glob));
                parts.extend(one("path_regex", &self.path_regex));
                parts.extend(words.as_ref().map(|words| format!("args {}", quoted(words))));
                parts.extend(one("args_glob", &self.args_glob));
                parts.extend(one("args_regex", &self.args_regex));
            }
        }
        parts.extend(digests.iter().map(|digest| format!("({})", digest.to_string().replace(':', " "))));
        parts.join(" ")
    }
}

fn table_text(path: &str, arguments: &[String]) -> String {
    if arguments.is_empty() {
        quoted(&[path.to_owned()])
    } else {
        format!("{} {}", quoted(&[path.to_owned()]), quoted(arguments))
    }
}

fn quoted(words: &[String]) -> String {
    let one = |word: &String| {
        if word.is_empty() || word.contains([' ', '\t', '\'', '"']) { format!("\"{word}\"") } else { word.clone() }
    };
    words.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn absolute_glob(text: &str) -> Result<Glob, String> {
    if text.starts_with('/') { Glob::read(text) } else { Err("does not begin with an absolute path".to_owned()) }
}
