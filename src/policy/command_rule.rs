//! One entry of `commands`: which words it means, and whether a command is these words. Opens and runs nothing; the
//! digest of the program comes from the caller, and only when a rule asks for it.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::arguments::{Arguments, MOST_WORDS, parse_arguments};
pub use super::digest::Algorithm;
use super::digest::Digest;
use super::expression::Expression;
use super::glob::Glob;
use super::pattern::WordPattern;
use super::rule_table::RuleTable;
use crate::elevation::edit::EDIT;
use crate::escape;

/// An entry of `commands`: a pattern of a program and its arguments, or `ALL`, perhaps negated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRule {
    text: String,
    effect: Effect,
    means: Means,
    /// One of them must be that of the program, unless there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    digests: Vec<Digest>,
}

/// What the rule does with a command that it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It may run.
    Allow,
    /// It may not: the rule began with `!`.
    Deny,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Means {
    All,
    Program { path: ProgramPath, arguments: Arguments },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProgramPath {
    Words(WordPattern),
    /// glob(7).
    Glob(Glob),
    Regex(Expression),
}

impl CommandRule {
    /// Reads the string form: words parted by spaces or tabs, the first an absolute path. The error is a sentence
    /// fragment about the rule.
    pub fn parse(text: &str) -> Result<Self, String> {
        refuse_invisible(text)?;
        let (effect, rest) = split_effect(text);
        if rest == "ALL" {
            return Ok(Self { text: text.to_owned(), effect, means: Means::All, digests: Vec::new() });
        }
        let words = split_words(rest)?;
        let (path, arguments) = words.split_first().ok_or("is empty")?;
        check_files(path, arguments)?;
        let path = ProgramPath::Words(parse_path(path)?);
        let means = Means::Program { path, arguments: Arguments::Words(parse_arguments(arguments)?) };
        Ok(Self { text: text.to_owned(), effect, means, digests: Vec::new() })
    }

    /// Reads the table form; words are not split, `!` may stand before the path.
    pub(super) fn from_table(table: &RuleTable<'_>) -> Result<Self, String> {
        let (effect, path) = table.program()?;
        let means = match (path, table.arguments()?) {
            (None, None) => Means::All,
            (None, Some(_)) => return Err("has arguments for ALL, which means every command with any".to_owned()),
            (Some(path), arguments) => {
                Means::Program { path, arguments: arguments.unwrap_or(Arguments::Words(Vec::new())) }
            }
        };
        let digests = table.digests()?;
        if table.path.is_some_and(|path| split_effect(path).1 == EDIT) {
            check_files(EDIT, table.args.as_deref().unwrap_or_default())?;
            if !digests.is_empty() {
                return Err(format!("has a digest for {EDIT}, which is no file"));
            }
        }
        Ok(Self { text: table.text(&digests), effect, means, digests })
    }

    /// What the rule does with a command that it means.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether the rule means every command.
    pub fn means_all(&self) -> bool {
        self.means == Means::All && self.digests.is_empty()
    }

    /// The one path that the rule can mean; `None` for `ALL` and where the path has a wildcard.
    pub fn literal_path(&self) -> Option<PathBuf> {
        match &self.means {
            Means::Program { path: ProgramPath::Words(path), .. } => {
                path.literal().map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
            }
            Means::All | Means::Program { .. } => None,
        }
    }

    /// Whether the rule means this command. `digest` is asked last and only by a rule with a digest; where something
    /// cannot be told (`None`), a rule that allows does not match and a rule that denies does.
    pub fn matches(&self, path: &Path, arguments: &[OsString], digest: &dyn Fn(Algorithm) -> Option<Vec<u8>>) -> bool {
        let unknown = self.effect == Effect::Deny;
        let named = match &self.means {
            Means::All => true,
            Means::Program { path: wanted, arguments: words } => {
                self.names(wanted, path.as_os_str().as_bytes()).unwrap_or(unknown)
                    && words.mean(arguments).unwrap_or(unknown)
            }
        };
        named && (self.digests.is_empty() || self.digests.iter().any(|known| known.is(digest).unwrap_or(unknown)))
    }

    fn names(&self, wanted: &ProgramPath, path: &[u8]) -> Option<bool> {
        match self.effect {
            // Whoever wrote about paths did not think of editing, which has none.
            Effect::Allow if path == EDIT.as_bytes() && !matches!(wanted, ProgramPath::Words(_)) => Some(false),
            Effect::Allow => wanted.matches(path),
            Effect::Deny => {
                Some(wanted.matches(path)? || unmerged(path).is_some_and(|other| wanted.matches(other) == Some(true)))
            }
        }
    }
}

impl ProgramPath {
    fn matches(&self, path: &[u8]) -> Option<bool> {
        match self {
            Self::Words(pattern) => Some(pattern.matches(path)),
            Self::Glob(glob) => Some(glob.matches_path(path)),
            Self::Regex(expression) => std::str::from_utf8(path).ok().and_then(|path| expression.matches(path)),
        }
    }
}

/// As written in the policy; the table form as one line.
impl fmt::Display for CommandRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// The same program's path before `/usr` was merged: `!/bin/sh` denies `/usr/bin/sh` too, for where `/bin` is a link to
/// `/usr/bin` the rule would otherwise never match. A rule that allows stays exact, and `jitctl policy check` warns.
fn unmerged(path: &[u8]) -> Option<&[u8]> {
    let other = path.strip_prefix(b"/usr")?;
    let merged = [&b"/bin/"[..], b"/sbin/", b"/lib"].iter().any(|directory| other.starts_with(directory));
    merged.then_some(other)
}

pub(super) fn split_effect(text: &str) -> (Effect, &str) {
    match text.strip_prefix('!') {
        Some(rest) => (Effect::Deny, rest.trim_start_matches([' ', '\t'])),
        None => (Effect::Allow, text),
    }
}

/// Words as written, escapes kept for [`WordPattern`].
fn split_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' if word.is_empty() => {}
            ' ' | '\t' => words.push(std::mem::take(&mut word)),
            '\'' | '"' => {
                return Err(format!(
                    "holds {character}, but quotes do not group words here: write \\{character}, or the table form"
                ));
            }
            '\\' => {
                word.push('\\');
                word.extend(characters.next());
            }
            character => word.push(character),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    if words.len() > MOST_WORDS { Err(format!("has more than {MOST_WORDS} words")) } else { Ok(words) }
}

/// A path in a directory that could be one without links: a rule that can never match is a mistake, and a negated one
/// would be a hole.
pub(super) fn parse_path(text: &str) -> Result<WordPattern, String> {
    // No path: editing, with the files as its words.
    if text == EDIT {
        return WordPattern::parse(text);
    }
    if !text.starts_with('/') {
        return Err(if text == "ALL" || text.starts_with("ALL ") {
            "has words after ALL, which means every command with any arguments".to_owned()
        } else {
            "does not begin with an absolute path".to_owned()
        });
    }
    let pattern = WordPattern::parse(text)?;
    for component in pattern.components().skip(1) {
        match component.as_deref() {
            Some(b"") if text == "/" => return Err("names the root directory, not a program".to_owned()),
            Some(b"") if text.ends_with('/') => {
                return Err("ends with '/': for the programs of a directory write '/*'".to_owned());
            }
            Some(b"" | b"." | b"..") => {
                return Err("has a path with an empty, '.' or '..' component, which no program has".to_owned());
            }
            Some(_) | None => {}
        }
    }
    Ok(pattern)
}

/// Files are judged by their whole paths, so a rule about another word could never match.
fn check_files(program: &str, words: &[String]) -> Result<(), String> {
    match words.iter().find(|word| program == EDIT && !word.starts_with('/') && !matches!(word.as_str(), "*" | "**")) {
        Some(word) => Err(format!("has the word '{word}', which is no absolute path, after {EDIT}")),
        None => Ok(()),
    }
}

/// What cannot be seen in an editor must not decide who is root (CVE-2021-42574).
pub(super) fn refuse_invisible(text: &str) -> Result<(), String> {
    let visible = text.replace(['\\', '\t'], "");
    if escape::escape(visible.as_bytes()) == visible {
        Ok(())
    } else {
        Err("holds a control character or an invisible character".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn means(rule: &str, command: &str) -> bool {
        let command = words(command);
        CommandRule::parse(rule).unwrap().matches(Path::new(&command[0]), &command[1..], &|_| None)
    }

    #[test]
    fn a_rule_means_exactly_its_words() {
        assert!(means("/usr/bin/systemctl restart nginx", "/usr/bin/systemctl restart nginx"));
        for command in [
            "/usr/bin/systemctl",
            "/usr/bin/systemctl restart",
            "/usr/bin/systemctl restart nginx now",
            "/usr/bin/systemctl restart nginxx",
            "/bin/systemctl restart nginx",
            "/usr/bin/systemctl RESTART nginx",
        ] {
            assert!(!means("/usr/bin/systemctl restart nginx", command), "{command}");
        }
        assert!(means("/usr/bin/id", "/usr/bin/id"));
        assert!(!means("/usr/bin/id", "/usr/bin/id -u"));
    }

    #[test]
    fn words_are_never_joined() {
        let rule = CommandRule::parse("/bin/cat /a b").unwrap();
        assert!(!rule.matches(Path::new("/bin/cat"), &["/a b".into()], &|_| None));
        let rule = CommandRule::parse(r"/bin/cat /a\ b").unwrap();
        assert!(rule.matches(Path::new("/bin/cat"), &["/a b".into()], &|_| None));
        assert!(!rule.matches(Path::new("/bin/cat"), &words("/a b"), &|_| None));
        let rule = CommandRule::parse("/bin/cat /var/log/*").unwrap();
        assert!(!rule.matches(Path::new("/bin/cat"), &words("/var/log/a /etc/shadow"), &|_| None));
        assert!(rule.matches(Path::new("/bin/cat"), &["/var/log/a b".into()], &|_| None));
    }

    #[test]
    fn a_star_is_one_word_and_two_are_any_number() {
        assert!(means("/bin/x *", "/bin/x ../../etc"));
        assert!(!means("/bin/x *", "/bin/x"));
        assert!(!means("/bin/x *", "/bin/x a b"));
        for command in ["/bin/x", "/bin/x a", "/bin/x a b c"] {
            assert!(means("/bin/x **", command), "{command}");
        }
        assert!(means("/bin/x ** -f *", "/bin/x -f -f -f y"));
        assert!(means("/bin/x ** -- ** end", "/bin/x a -- b -- c end"));
        assert!(!means("/bin/x ** -- ** end", "/bin/x a b end"));
        assert!(!means("/bin/x ** end", "/bin/x end end2"));
    }

    #[test]
    fn what_cannot_mean_a_program_is_refused() {
        for text in [
            "",
            "!",
            " ",
            "ls",
            "./ls",
            "*",
            "**",
            "ALL x",
            "all",
            "/",
            "/usr/bin/",
            "/usr//bin/ls",
            "/usr/../bin/ls",
            "/usr/./ls",
            "/bin/sh -c 'a b'",
            "/bin/x \"\"",
            "/bin/x a\\",
            "/var/log/**",
            "/bin/x a**",
            "/bin/\u{202e}sl",
            "/bin/x\n/bin/y",
            "/bin/x \0",
            "!!/bin/x",
            "^/bin/.*$",
            "\\/bin/x",
        ] {
            assert!(CommandRule::parse(text).is_err(), "{text:?}");
        }
        assert!(CommandRule::parse(&format!("/bin/x{}", " a".repeat(2000))).is_err());
        assert!(CommandRule::parse(&format!("/bin/{}", "a".repeat(5000))).is_err());
    }

    #[test]
    fn negation_is_seen_and_shown() {
        let rule = CommandRule::parse("!/usr/bin/journalctl -f").unwrap();
        assert_eq!(rule.effect(), Effect::Deny);
        assert_eq!(rule.to_string(), "!/usr/bin/journalctl -f");
        assert_eq!(CommandRule::parse("!ALL").unwrap().effect(), Effect::Deny);
        assert!(CommandRule::parse("ALL").unwrap().means_all());
    }

    #[test]
    fn a_denied_program_is_denied_where_usr_is_merged_too() {
        assert!(means("!/bin/sh **", "/usr/bin/sh -c x") && means("!/sbin/*", "/usr/sbin/reboot"));
        assert!(!means("/bin/sh **", "/usr/bin/sh -c x"));
        assert!(!means("!/usr/bin/sh", "/bin/sh") && !means("!/local/bin/sh", "/usr/local/bin/sh"));
    }

    #[test]
    fn editing_is_a_rule_about_whole_paths() {
        assert!(means("sudoedit /etc/motd", "sudoedit /etc/motd"));
        assert!(!means("sudoedit /etc/motd", "sudoedit /etc/motd /etc/shadow"));
        assert!(means("sudoedit /etc/nginx/*", "sudoedit /etc/nginx/nginx.conf"));
        assert!(!means("sudoedit /etc/nginx/*", "sudoedit /etc/nginx/sites/x"));
        assert!(means("sudoedit **", "sudoedit /a /b") && means("ALL", "sudoedit /a"));
        assert!(!means("sudoedit *", "/usr/bin/sudoedit /a") && !means("/usr/bin/* **", "sudoedit /a"));
        for text in ["sudoedit motd", "sudoedit *.conf", "sudoedit ./x", "sudoedi /x", "sudoedit* /x"] {
            assert!(CommandRule::parse(text).is_err(), "{text}");
        }
        let table = |path, word: &str, sha256| {
            let args = Some(vec![word.to_owned()]);
            CommandRule::from_table(&RuleTable { path: Some(path), args, sha256, ..RuleTable::default() })
        };
        let digits = "ab".repeat(32);
        assert!(table("sudoedit", "/etc/a b", None).is_ok() && table("!sudoedit", "b", None).is_err());
        assert!(table("sudoedit", "/etc/x", Some(&digits)).is_err());
        let any = RuleTable { path_regex: Some("^.*$"), args_glob: Some("*"), ..RuleTable::default() };
        let edit = [OsString::from("/etc/x")];
        assert!(!CommandRule::from_table(&any).unwrap().matches(Path::new("sudoedit"), &edit, &|_| None));
    }

    #[test]
    fn a_digest_is_asked_only_when_the_words_match() {
        let (digits, zz) = ("AB".repeat(32), "zz".repeat(32));
        let with = |path, args: &[&str], sha256| {
            let args = Some(args.iter().map(|word| (*word).to_owned()).collect());
            CommandRule::from_table(&RuleTable { path: Some(path), args, sha256: Some(sha256), ..RuleTable::default() })
        };
        let rule = with("/bin/x", &[], &digits).unwrap();
        assert_eq!(rule.to_string(), format!("/bin/x (sha256 {})", digits.to_lowercase()));
        let good = |algorithm| (algorithm == Algorithm::Sha256).then(|| vec![0xab; 32]);
        assert!(rule.matches(Path::new("/bin/x"), &[], &good));
        assert!(!rule.matches(Path::new("/bin/x"), &[], &|_| Some(vec![0; 32])));
        assert!(!rule.matches(Path::new("/bin/x"), &[], &|_| None));
        assert!(!rule.matches(Path::new("/bin/y"), &[], &|_| panic!("asked without need")));
        let denied = with("!/bin/x", &["**"], &digits).unwrap();
        assert!(denied.matches(Path::new("/bin/x"), &words("a"), &|_| None));
        assert!(with("/bin/x", &[], "abc").is_err() && with("/bin/x", &[], &zz).is_err());
    }

    #[test]
    fn one_of_several_digests_is_enough_and_all_commands_may_have_one() {
        let digests = vec![format!("sha512:{}", "cd".repeat(64)), format!("sha224:{}", "ab".repeat(28))];
        let rule = CommandRule::from_table(&RuleTable { path: Some("ALL"), digests, ..RuleTable::default() }).unwrap();
        assert!(!rule.means_all() && rule.literal_path().is_none());
        let has = |known: Algorithm, bytes: Vec<u8>| {
            rule.matches(Path::new("/bin/x"), &words("a"), &|algorithm| (algorithm == known).then(|| bytes.clone()))
        };
        assert!(has(Algorithm::Sha224, vec![0xab; 28]) && has(Algorithm::Sha512, vec![0xcd; 64]));
        assert!(!has(Algorithm::Sha224, vec![0xcd; 28]) && !has(Algorithm::Sha256, vec![0xab; 32]));
    }

    fn line_rule<'a>(
        path_regex: Option<&'a str>,
        args_glob: Option<&'a str>,
        args_regex: Option<&'a str>,
    ) -> CommandRule {
        let path = path_regex.is_none().then_some("/bin/cat");
        CommandRule::from_table(&RuleTable { path, path_regex, args_glob, args_regex, ..RuleTable::default() }).unwrap()
    }

    fn runs(rule: &CommandRule, command: &str) -> bool {
        let command = words(command);
        rule.matches(Path::new(&command[0]), &command[1..], &|_| None)
    }

    #[test]
    fn a_line_of_arguments_is_joined_as_sudo_joins_it() {
        let glob = line_rule(None, Some("/var/log/*"), None);
        assert!(
            runs(&glob, "/bin/cat /var/log/a /etc/shadow")
                && !runs(&glob, "/bin/cat")
                && !runs(&glob, "/bin/tac /var/log/a")
        );
        let regex = line_rule(None, None, Some("^-n [0-9]+( /var/log/[a-z]+)*$"));
        assert!(runs(&regex, "/bin/cat -n 5 /var/log/a /var/log/b") && !runs(&regex, "/bin/cat -n 5 /etc/a"));
        assert_eq!(regex.to_string(), "path '/bin/cat' args_regex '^-n [0-9]+( /var/log/[a-z]+)*$'");
        let anywhere = line_rule(Some("!^/usr/s?bin/[a-c]"), Some("*"), None);
        assert!(runs(&anywhere, "/usr/sbin/ab x") && !runs(&anywhere, "/usr/bin/x a"));
        assert_eq!(anywhere.effect(), Effect::Deny);
    }

    #[test]
    fn what_an_expression_cannot_read_is_denied_and_not_allowed() {
        let odd = [OsString::from_vec(vec![0xff])];
        let run = |rule: &str| {
            let table = RuleTable { path: Some(rule), args_regex: Some("^a$"), ..RuleTable::default() };
            CommandRule::from_table(&table).unwrap().matches(Path::new("/bin/x"), &odd, &|_| None)
        };
        assert!(run("!/bin/x") && !run("/bin/x"));
        let hidden = line_rule(None, None, Some("^.*secret.*$"));
        assert!(hidden.matches(Path::new("/bin/cat"), &["a\nsecret".into()], &|_| None));
    }

    #[test]
    fn a_table_that_says_something_twice_or_nothing_is_refused() {
        let path = Some("/bin/x");
        for table in [
            RuleTable::default(),
            RuleTable { path, path_glob: path, ..RuleTable::default() },
            RuleTable { path, args_glob: Some("a"), args_regex: Some("a"), ..RuleTable::default() },
            RuleTable { path: Some("ALL"), args_glob: Some("a"), ..RuleTable::default() },
            RuleTable { path_glob: Some("bin/*"), ..RuleTable::default() },
            RuleTable { path_regex: Some("("), ..RuleTable::default() },
            RuleTable { path, args_glob: Some("a\u{202e}"), ..RuleTable::default() },
            RuleTable { path, digests: vec!["md5:00".into()], ..RuleTable::default() },
        ] {
            assert!(CommandRule::from_table(&table).is_err(), "{table:?}");
        }
    }

    #[test]
    fn arguments_that_are_not_utf_8_match_by_their_bytes() {
        let rule = CommandRule::parse("/bin/x a*").unwrap();
        assert!(rule.matches(Path::new("/bin/x"), &[OsString::from_vec(b"a\xff\xfe".to_vec())], &|_| None));
        assert!(!rule.matches(Path::new("/bin/x"), &[OsString::from_vec(b"\xffa".to_vec())], &|_| None));
    }

    #[test]
    fn the_stored_form_means_the_same() {
        for text in ["ALL", "!/bin/x ** a\\ b *", "/bin/*x -?", "/bin/x"] {
            let rule = CommandRule::parse(text).unwrap();
            let stored = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<CommandRule>(&stored).unwrap(), rule);
        }
    }

    #[test]
    fn two_mebibytes_of_arguments_are_judged_quickly() {
        let many: Vec<OsString> = (0..1_000_000).map(|_| OsString::from("a")).collect();
        let rule = CommandRule::parse("/bin/x ** a a a a b").unwrap();
        assert!(!rule.matches(Path::new("/bin/x"), &many, &|_| None));
    }

    #[test]
    fn random_rules_never_panic_and_their_text_round_trips() {
        let mut state: u64 = 88_172_645_463_325_252;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let alphabet: Vec<char> = "/ab.*?! \\\t'\"-=ALL\u{1b}é\u{202e}\0".chars().collect();
        let mut accepted = 0;
        for _ in 0..50_000 {
            let length = random() % 24;
            let mut text: String = (0..length).map(|_| alphabet[(random() % alphabet.len() as u64) as usize]).collect();
            if random() % 2 == 0 {
                text.insert_str(0, "/b");
            }
            let Ok(rule) = CommandRule::parse(&text) else { continue };
            accepted += 1;
            assert_eq!(rule.to_string(), text);
            assert_eq!(CommandRule::parse(&rule.to_string()).as_ref(), Ok(&rule));
            let _ = rule.matches(Path::new("/b/a"), &words("a .. /b"), &|_| None);
        }
        assert!(accepted > 2000, "{accepted}");
    }
}
