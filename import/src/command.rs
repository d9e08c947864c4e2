//! Converts a command of a sudoers file to a rule of the policy: to arguments if they have the same meaning, otherwise
//! to a line of wildcards or a regular expression. A rule that allows may become stricter where arguments are joined;
//! one that denies never becomes weaker.

use std::path::Path;

use jit_core::policy::{NOWHERE, ProgramNames};

use super::expression;
use super::toml::{entry, policy, quoted};
use super::tree::Command;

/// A rule of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Its TOML: a string or an inline table.
    pub(super) toml: String,
    /// Whether it allows or denies.
    pub(super) effect: Effect,
    /// The command that it matches.
    pub(super) of: Command,
    /// Its only program, if there is only one.
    program: Option<String>,
}

impl Rule {
    fn new(toml: String, effect: Effect, of: &Command) -> Self {
        Self { toml, effect, of: of.clone(), program: program(of) }
    }

    /// Returns whether it matches every command.
    pub(super) fn is_everything(&self) -> bool {
        self.of.path == ALL && self.any()
    }

    /// Returns its only program, if there is only one.
    pub(super) fn program(&self) -> Option<String> {
        self.program.clone()
    }

    /// Returns the arguments, if there is only one line of them.
    pub(super) fn plain_arguments(&self) -> Option<String> {
        match self.of.args.as_deref()? {
            "\"\"" => Some(String::new()),
            args if is_expression(args) || self.of.blanks => None,
            args => literal(args),
        }
    }

    /// Returns whether no command certainly matches both, where both allow.
    pub(super) fn is_apart_from(&self, other: &Self) -> bool {
        match (&self.program, &other.program) {
            (Some(own), Some(program)) if own != program => true,
            (Some(own), Some(_)) if own != EDIT => {
                let arguments = self.plain_arguments().zip(other.plain_arguments());
                arguments.is_some_and(|(own, theirs)| own != theirs)
            }
            (Some(own), None) => other.of.path != ALL && !other.means(own),
            (None, Some(program)) => self.of.path != ALL && !self.means(program),
            _ => false,
        }
    }

    /// Returns a rule that denies what this one allows; `None` if only a rule that denies everything would.
    pub(super) fn denial(&self) -> Option<Self> {
        let exact = rules(&self.of, Effect::Deny).ok().filter(|rules| rules.len() == 1)?.pop();
        exact.filter(Self::is_accepted)
    }

    /// Returns whether the policy accepts it.
    pub(super) fn is_accepted(&self) -> bool {
        policy(&format!("[roles.x]\ncommands = [{}]\n", self.toml)).is_ok()
    }

    /// Returns whether it matches any arguments and digests.
    fn any(&self) -> bool {
        self.of.args.is_none() && self.of.digests.is_empty()
    }

    /// Returns whether it matches `program` with any arguments; the policy's own code decides.
    fn means(&self, program: &str) -> bool {
        let of = Command { args: None, digests: Vec::new(), ..self.of.clone() };
        let Ok(rules) = rules(&of, Effect::Allow) else { return false };
        rules.iter().any(|rule| matches(&rule.toml, program))
    }

    /// Returns rules for what both match, with the effect of this one; the outer `None` if that cannot be expressed.
    pub(super) fn shared_with(&self, other: &Self) -> Option<Option<Vec<Self>>> {
        if other.is_everything() || self.of == other.of {
            return Some(Some(vec![self.clone()]));
        }
        match (self.program(), other.program()) {
            (Some(own), Some(program)) if own != program => Some(None),
            (_, Some(program)) if self.any() && self.means(&program) => rules(&other.of, self.effect).ok().map(Some),
            (None, None) if self.is_everything() => rules(&other.of, self.effect).ok().map(Some),
            (Some(_), Some(_)) if other.any() => Some(Some(vec![self.clone()])),
            (None, Some(program)) if !self.means(&program) => Some(None),
            (None, Some(program)) if other.any() => {
                let of = Command { path: program, ..self.of.clone() };
                rules(&of, self.effect).ok().map(Some)
            }
            (Some(own), None) if !other.means(&own) => Some(None),
            (Some(_), None) if other.any() => Some(Some(vec![self.clone()])),
            _ => None,
        }
    }
}

/// Returns whether a rule of the policy matches this program without arguments.
fn matches(rule: &str, program: &str) -> bool {
    let names = ProgramNames { place: Path::new(program), canonical: Path::new(program), lookup: &NOWHERE };
    policy(&format!("[roles.x]\ncommands = [{rule}]\n")).is_ok_and(|policy| {
        policy.roles().iter().flat_map(|role| &role.commands).any(|rule| rule.matches(names, &[], &|_| None))
    })
}

/// Whether the rule allows or denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// The path that matches every command.
const ALL: &str = "ALL";

/// The program of rules for editing.
const EDIT: &str = "sudoedit";

/// Any arguments.
const ANY: &str = "**";

/// Returns the rule for ALL, with or without digests.
pub(super) fn everything(digests: &[String], effect: Effect) -> Rule {
    let all = format!("{}ALL", sign(effect));
    let toml = if digests.is_empty() { quoted(&all) } else { table(&[("path", quoted(&all))], digests) };
    let of = Command { path: ALL.to_owned(), args: None, blanks: false, digests: digests.to_vec() };
    Rule { toml, effect, of, program: None }
}

fn program(of: &Command) -> Option<String> {
    match of.path.as_str() {
        EDIT => Some(EDIT.to_owned()),
        path if is_plain(path) && !path.ends_with('/') => Some(place_of(path)),
        _ => None,
    }
}

/// Returns the rules with the meaning of the command; the error is a sentence fragment.
pub(super) fn rules(command: &Command, effect: Effect) -> Result<Vec<Rule>, String> {
    let path = command.path.as_str();
    match path.as_bytes().first() {
        _ if path == ALL => Ok(vec![everything(&command.digests, effect)]),
        Some(b'^') => {
            let path = ("path_regex", quoted(&format!("{}{}", sign(effect), program_expression(path)?)));
            Ok(vec![Rule::new(with_arguments(path, command)?, effect, command)])
        }
        Some(b'/') if !is_plain(path) => globbed(command, effect),
        Some(b'/') if path.ends_with('/') => {
            let directory = match linked(path) {
                Some(Linked::To(..)) if effect == Effect::Deny => path.trim_end_matches('/').to_owned(),
                _ => canonical(path.trim_end_matches('/')),
            };
            let toml = words(&format!("{}/*", escaped(&directory)), Some(ANY), &command.digests, effect);
            Ok(vec![Rule::new(toml, effect, command)])
        }
        Some(b'/') => named(command, effect),
        _ if path == "sudoedit" => edited(command, effect),
        _ => Err("only root and audit readers may list commands of others".to_owned()),
    }
}

/// Returns a rule that denies at least what the command matches, if it cannot be expressed exactly; `None` if only a
/// rule that denies everything would.
pub(super) fn at_least(command: &Command) -> Option<Rule> {
    is_plain(&command.path).then(|| {
        let path = place_of(&command.path);
        let path = if path.ends_with('/') { format!("{}*", escaped(&path)) } else { escaped(&path) };
        let toml = words(&path, Some(ANY), &[], Effect::Deny);
        let of = Command { args: None, digests: Vec::new(), ..command.clone() };
        Rule::new(toml, Effect::Deny, &of)
    })
}

/// A rule that denies names the path as it was written: the policy follows its links at each run, as sudo does.
fn named_by(path: &str, effect: Effect) -> String {
    match (effect, linked(path)) {
        (Effect::Deny, Some(Linked::To(..))) => path.to_owned(),
        _ => place_of(path),
    }
}

/// The directory of a path, where it may lead elsewhere later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Linked {
    /// A link in it leads to this directory now.
    To(String, String),
    /// It does not exist here.
    Nowhere(String),
}

/// Returns whether the directory of a path contains a link, other than those of a merged `/usr`, or does not exist.
pub(super) fn linked(path: &str) -> Option<Linked> {
    let wild = path.find(['*', '?', '[', ']', '\\']).unwrap_or(path.len());
    let (directory, _) = path.get(..wild)?.rsplit_once('/')?;
    if directory.is_empty() {
        return None;
    }
    match std::fs::canonicalize(directory).map(|found| found.into_os_string().into_string()) {
        Ok(Ok(found)) if found == directory || found == format!("/usr{directory}") => None,
        Ok(Ok(found)) => Some(Linked::To(directory.to_owned(), found)),
        Ok(Err(_)) => None,
        Err(_) => Some(Linked::Nowhere(directory.to_owned())),
    }
}

fn named(command: &Command, effect: Effect) -> Result<Vec<Rule>, String> {
    let path = named_by(&command.path, effect);
    let toml = match argument_words(command, effect) {
        Some(arguments) => words(&escaped(&path), arguments.as_deref(), &command.digests, effect),
        None => {
            let path = quoted(&format!("{}{}", sign(effect), escaped(&path)));
            with_arguments(("path", path), command)?
        }
    };
    Ok(vec![Rule::new(toml, effect, command)])
}

fn globbed(command: &Command, effect: Effect) -> Result<Vec<Rule>, String> {
    let pattern = match linked(&command.path) {
        Some(Linked::To(..)) if effect == Effect::Deny => command.path.clone(),
        _ => canonical_glob(&command.path),
    };
    let said = |pattern: &str| ("path_glob", quoted(&format!("{}{pattern}", sign(effect))));
    let rule = |toml| Rule::new(toml, effect, command);
    if pattern.ends_with('/') {
        // Every program in the directories, hidden ones too, with any arguments.
        let any = |pattern: String| table(&[said(&pattern), ("args", format!("[{}]", quoted(ANY)))], &command.digests);
        return Ok(vec![rule(any(format!("{pattern}*"))), rule(any(format!("{pattern}.?*")))]);
    }
    Ok(vec![rule(with_arguments(said(&pattern), command)?)])
}

/// Converts a rule for `sudoedit`, whose arguments are paths in which no wildcard matches a slash, as in the policy.
fn edited(command: &Command, effect: Effect) -> Result<Vec<Rule>, String> {
    let rule = |words: &str| {
        let toml = self::words("sudoedit", Some(words), &command.digests, effect);
        Ok(vec![Rule::new(toml, effect, command)])
    };
    let Some(args) = &command.args else { return rule(ANY) };
    if args.contains(['[', '\\']) || args.starts_with('^') || args.contains("**") || command.blanks {
        return Err("sudoedit with other wildcards than * and ?, or with an expression".to_owned());
    }
    let paths: Vec<String> = args.split(' ').map(|word| word.replace('"', "\\\"").replace('\'', "\\'")).collect();
    rule(&paths.join(" "))
}

/// Returns the arguments as arguments of a rule, if these have the same meaning; otherwise the outer `None`.
fn argument_words(command: &Command, effect: Effect) -> Option<Option<String>> {
    match command.args.as_deref() {
        None => Some(Some(ANY.to_owned())),
        Some("\"\"") => Some(None),
        Some(args) if is_expression(args) || command.blanks || effect == Effect::Deny => {
            // A single argument cannot be joined in another way.
            let literal = literal(args).filter(|_| !is_expression(args) && !args.contains(' '))?;
            Some(Some(escaped(&literal)))
        }
        Some(args) => {
            let literal = literal(args)?;
            let words: Vec<String> = literal.split(' ').map(escaped).collect();
            words.iter().all(|word| !word.is_empty()).then(|| Some(words.join(" ")))
        }
    }
}

fn with_arguments(path: (&str, String), command: &Command) -> Result<String, String> {
    let mut fields = vec![path];
    match command.args.as_deref() {
        None => fields.push(("args", format!("[{}]", quoted(ANY)))),
        Some("\"\"") => {}
        Some(args) if is_expression(args) => {
            let expression = expression::translate(args).map_err(|why| format!("the expression {args}: {why}"))?;
            fields.push(("args_regex", quoted(&expression)));
        }
        Some(args) => fields.push(("args_glob", quoted(args))),
    }
    Ok(table(&fields, &command.digests))
}

/// Converts a regular expression for a path. The policy identifies programs by directories without links, which an
/// expression cannot know.
fn program_expression(posix: &str) -> Result<String, String> {
    let translated = expression::translate(posix).map_err(|why| format!("the expression {posix}: {why}"))?;
    let plain = posix.trim_start_matches('^');
    let plain = plain.get(
        ..plain.find(['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$']).unwrap_or(plain.len()),
    );
    let directory = plain.and_then(|plain| plain.rsplit_once('/')).map_or("", |(directory, _)| directory);
    match canonical(directory) {
        found if found != directory => {
            Err(format!("the expression {posix}: programs of {directory} are identified by {found} here"))
        }
        _ => Ok(translated),
    }
}

fn is_plain(path: &str) -> bool {
    path.starts_with('/') && !path.contains(['*', '?', '[', ']', '\\'])
}

fn is_expression(args: &str) -> bool {
    args.starts_with('^') && args.ends_with('$')
}

fn words(path: &str, arguments: Option<&str>, digests: &[String], effect: Effect) -> String {
    let sign = sign(effect);
    if digests.is_empty() {
        return quoted(&format!("{sign}{path}{}", arguments.map(|words| format!(" {words}")).unwrap_or_default()));
    }
    let mut fields = vec![("path", quoted(&format!("{sign}{path}")))];
    // In the table form words are not split, and each is a pattern of its own.
    if let Some(arguments) = arguments {
        let each: Vec<String> = split(arguments).iter().map(|word| quoted(word)).collect();
        fields.push(("args", format!("[{}]", each.join(", "))));
    }
    table(&fields, digests)
}

/// Splits the arguments of the string form at blanks that are not escaped.
fn split(words: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = words.chars();
    while let Some(character) = characters.next() {
        match (character, parts.last_mut()) {
            (' ', _) => parts.push(String::new()),
            (character, Some(part)) => {
                part.push(character);
                if character == '\\' {
                    part.extend(characters.next());
                }
            }
            (_, None) => {}
        }
    }
    parts
}

fn table(fields: &[(&str, String)], digests: &[String]) -> String {
    let mut entries: Vec<String> = fields.iter().map(|(key, value)| entry(key, value)).collect();
    if !digests.is_empty() {
        let digests: Vec<String> = digests.iter().map(|digest| quoted(digest)).collect();
        entries.push(entry("digests", &format!("[{}]", digests.join(", "))));
    }
    format!("{{ {} }}", entries.join(", "))
}

fn sign(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "",
        Effect::Deny => "!",
    }
}

/// Returns the only text that fnmatch(3) would match, if there is only one.
fn literal(pattern: &str) -> Option<String> {
    let mut text = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' | '?' | '[' => return None,
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
    Some(text)
}

/// Escapes a text as an argument of a rule.
fn escaped(text: impl AsRef<str>) -> String {
    let mut word = String::new();
    for character in text.as_ref().chars() {
        if matches!(character, '*' | '?' | '\\' | ' ' | '\t' | '"' | '\'') {
            word.push('\\');
        }
        word.push(character);
    }
    word
}

/// Returns the path by which the policy identifies a program: its directory without links, and its name.
fn place_of(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((directory, name)) => format!("{}/{name}", canonical(directory)),
        None => path.to_owned(),
    }
}

fn canonical(directory: &str) -> String {
    let path = if directory.is_empty() { "/" } else { directory };
    let found = std::fs::canonicalize(path).ok().and_then(|path| path.into_os_string().into_string().ok());
    let found = found.unwrap_or_else(|| path.to_owned());
    if found == "/" { String::new() } else { found }
}

/// Resolves the links in the directories before the first wildcard.
fn canonical_glob(pattern: &str) -> String {
    let wild = pattern.find(['*', '?', '[', ']', '\\']).unwrap_or(pattern.len());
    let (plain, rest) = pattern.split_at(pattern.get(..wild).and_then(|before| before.rfind('/')).unwrap_or(0));
    format!("{}{rest}", canonical(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str, args: Option<&str>, effect: Effect) -> String {
        let command = Command { path: path.into(), args: args.map(str::to_owned), blanks: false, digests: Vec::new() };
        rules(&command, effect).unwrap().iter().map(|rule| rule.toml.clone()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn plain_commands_become_arguments() {
        let allowed = |path, args| one(path, args, Effect::Allow);
        assert_eq!(allowed("/no/such/a", None), r#""/no/such/a **""#);
        assert_eq!(allowed("/no/such/a", Some("\"\"")), r#""/no/such/a""#);
        assert_eq!(allowed("/no/such/a", Some("restart nginx")), r#""/no/such/a restart nginx""#);
        assert_eq!(allowed("/no/such/a", Some("\\*.x y")), r"'/no/such/a \*.x y'");
        assert_eq!(allowed("/no/such/", None), r#""/no/such/* **""#);
        assert_eq!(one("/no/such/a", None, Effect::Deny), r#""!/no/such/a **""#);
    }

    #[test]
    fn lines_of_arguments_keep_their_meaning() {
        let glob = r#"{ path = "/no/such/a", args_glob = "/var/log/* -n" }"#;
        assert_eq!(one("/no/such/a", Some("/var/log/* -n"), Effect::Allow), glob);
        assert_eq!(one("/no/such/a", Some("b c"), Effect::Deny), r#"{ path = "!/no/such/a", args_glob = "b c" }"#);
        assert_eq!(one("/no/such/[ab]", None, Effect::Allow), r#"{ path_glob = "/no/such/[ab]", args = ["**"] }"#);
        let regex = r#"{ path_regex = "^/no/[a-z]+$", args_regex = "^-[0-9]+$" }"#;
        assert_eq!(one("^/no/[a-z]+$", Some("^-[0-9]+$"), Effect::Allow), regex);
    }

    #[test]
    fn inexpressible_denials_are_replaced_by_wider_ones() {
        let command =
            Command { path: "/no/such/a".into(), args: Some("^(a)\\1$".into()), blanks: false, digests: Vec::new() };
        assert!(rules(&command, Effect::Deny).is_err());
        assert_eq!(at_least(&command).map(|rule| rule.toml).as_deref(), Some(r#""!/no/such/a **""#));
    }
}
