//! One entry of `commands`: which words it means, and whether a command is these words. Opens and runs nothing; the
//! digest of the program comes from the caller, and only when a rule asks for it.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::pattern::WordPattern;
use crate::elevation::edit::EDIT;
use crate::escape;

/// The most words of one rule.
const MOST_WORDS: usize = 1024;

/// An entry of `commands`: a pattern of a program and its arguments, or `ALL`, perhaps negated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRule {
    text: String,
    effect: Effect,
    means: Means,
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
    Program { path: WordPattern, arguments: Vec<ArgumentPattern>, sha256: Option<Digest> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ArgumentPattern {
    /// `**`
    AnyNumber,
    /// `*`
    AnyWord,
    Word(WordPattern),
}

/// SHA-256 of a program file; lower-case hexadecimal as text.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Digest([u8; 32]);

impl CommandRule {
    /// Reads the string form: words parted by spaces or tabs, the first an absolute path. The error is a sentence
    /// fragment about the rule.
    pub fn parse(text: &str) -> Result<Self, String> {
        refuse_invisible(text)?;
        let (effect, rest) = split_effect(text);
        if rest == "ALL" {
            return Ok(Self { text: text.to_owned(), effect, means: Means::All });
        }
        let words = split_words(rest)?;
        let (path, arguments) = words.split_first().ok_or("is empty")?;
        check_files(path, arguments)?;
        let means = Means::Program { path: parse_path(path)?, arguments: parse_arguments(arguments)?, sha256: None };
        Ok(Self { text: text.to_owned(), effect, means })
    }

    /// Reads the table form; words are not split, `!` may stand before the path.
    pub(super) fn from_table(path: &str, arguments: &[&str], sha256: Option<&str>) -> Result<Self, String> {
        for word in arguments.iter().chain([&path]) {
            refuse_invisible(word)?;
        }
        let (effect, program) = split_effect(path);
        let digest = sha256.map(|text| Digest::try_from(text.to_ascii_lowercase())).transpose()?;
        let text = match digest {
            Some(digest) => format!("{} (sha256 {})", table_text(path, arguments), escape::hex(&digest.0)),
            None => table_text(path, arguments),
        };
        if program == EDIT && digest.is_some() {
            return Err("has a sha256 for sudoedit, which is no file".to_owned());
        }
        let words: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        check_files(program, &words)?;
        let means = Means::Program { path: parse_path(program)?, arguments: parse_arguments(&words)?, sha256: digest };
        Ok(Self { text, effect, means })
    }

    /// What the rule does with a command that it means.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether the rule means every command.
    pub fn means_all(&self) -> bool {
        self.means == Means::All
    }

    /// The one path that the rule can mean; `None` for `ALL` and where the path has a wildcard.
    pub fn literal_path(&self) -> Option<PathBuf> {
        match &self.means {
            Means::All => None,
            Means::Program { path, .. } => path.literal().map(|bytes| PathBuf::from(OsString::from_vec(bytes))),
        }
    }

    /// Whether the rule means this command. `digest` is asked last and only by a rule with a digest; where it cannot
    /// be told (`None`), a rule that allows does not match and a rule that denies does.
    pub fn matches(&self, path: &Path, arguments: &[OsString], digest: &dyn Fn() -> Option<[u8; 32]>) -> bool {
        let (wanted_path, wanted, sha256) = match &self.means {
            Means::All => return true,
            Means::Program { path, arguments, sha256 } => (path, arguments, sha256),
        };
        let path = path.as_os_str().as_bytes();
        let named = match self.effect {
            Effect::Allow => wanted_path.matches(path),
            Effect::Deny => wanted_path.matches(path) || unmerged(path).is_some_and(|other| wanted_path.matches(other)),
        };
        if !named || !arguments_match(wanted, arguments) {
            return false;
        }
        match sha256 {
            None => true,
            Some(Digest(sha256)) => digest().map_or(self.effect == Effect::Deny, |found| found == *sha256),
        }
    }
}

/// As written in the policy; the table form as one line.
impl fmt::Display for CommandRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        escape::unhex(&text).map(Self).ok_or_else(|| "sha256 is not 64 hexadecimal digits".to_owned())
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        escape::hex(&digest.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape::hex(&self.0))
    }
}

/// The same program's path before `/usr` was merged: `!/bin/sh` denies `/usr/bin/sh` too, for where `/bin` is a link to
/// `/usr/bin` the rule would otherwise never match. A rule that allows stays exact, and `jitctl policy check` warns.
fn unmerged(path: &[u8]) -> Option<&[u8]> {
    let other = path.strip_prefix(b"/usr")?;
    let merged = [&b"/bin/"[..], b"/sbin/", b"/lib"].iter().any(|directory| other.starts_with(directory));
    merged.then_some(other)
}

/// As in [`glob`](super::pattern): each word pattern takes one word, so only the last `**` ever needs to give more.
fn arguments_match(wanted: &[ArgumentPattern], words: &[OsString]) -> bool {
    let (mut pattern, mut word) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let fits = match (wanted.get(pattern), words.get(word)) {
            (Some(ArgumentPattern::AnyNumber), _) => {
                retry = Some((pattern + 1, word));
                pattern += 1;
                continue;
            }
            (None, None) => return true,
            (Some(ArgumentPattern::AnyWord), Some(_)) => true,
            (Some(ArgumentPattern::Word(expected)), Some(found)) => expected.matches(found.as_bytes()),
            (Some(_), None) | (None, Some(_)) => false,
        };
        match retry {
            _ if fits => {
                pattern += 1;
                word += 1;
            }
            Some((after, from)) if from < words.len() => {
                retry = Some((after, from + 1));
                (pattern, word) = (after, from + 1);
            }
            Some(_) | None => return false,
        }
    }
}

fn split_effect(text: &str) -> (Effect, &str) {
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
fn parse_path(text: &str) -> Result<WordPattern, String> {
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

fn parse_arguments(words: &[String]) -> Result<Vec<ArgumentPattern>, String> {
    if words.len() > MOST_WORDS {
        return Err(format!("has more than {MOST_WORDS} words"));
    }
    let one = |word: &String| match word.as_str() {
        "**" => Ok(ArgumentPattern::AnyNumber),
        "*" => Ok(ArgumentPattern::AnyWord),
        word => WordPattern::parse(word).map(ArgumentPattern::Word),
    };
    words.iter().map(one).collect()
}

/// What cannot be seen in an editor must not decide who is root (CVE-2021-42574).
fn refuse_invisible(text: &str) -> Result<(), String> {
    let visible = text.replace(['\\', '\t'], "");
    if escape::escape(visible.as_bytes()) == visible {
        Ok(())
    } else {
        Err("holds a control character or an invisible character".to_owned())
    }
}

fn table_text(path: &str, arguments: &[&str]) -> String {
    let quoted = |word: &&str| {
        if word.is_empty() || word.contains([' ', '\t', '\'', '"']) {
            format!("\"{word}\"")
        } else {
            (*word).to_owned()
        }
    };
    std::iter::once(&path).chain(arguments).map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn means(rule: &str, command: &str) -> bool {
        let command = words(command);
        CommandRule::parse(rule).unwrap().matches(Path::new(&command[0]), &command[1..], &|| None)
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
        assert!(!rule.matches(Path::new("/bin/cat"), &["/a b".into()], &|| None));
        let rule = CommandRule::parse(r"/bin/cat /a\ b").unwrap();
        assert!(rule.matches(Path::new("/bin/cat"), &["/a b".into()], &|| None));
        assert!(!rule.matches(Path::new("/bin/cat"), &words("/a b"), &|| None));
        let rule = CommandRule::parse("/bin/cat /var/log/*").unwrap();
        assert!(!rule.matches(Path::new("/bin/cat"), &words("/var/log/a /etc/shadow"), &|| None));
        assert!(rule.matches(Path::new("/bin/cat"), &["/var/log/a b".into()], &|| None));
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
        assert!(CommandRule::from_table("sudoedit", &["/etc/a b"], None).is_ok());
        assert!(CommandRule::from_table("sudoedit", &["/etc/x"], Some(&"ab".repeat(32))).is_err());
    }

    #[test]
    fn a_digest_is_asked_only_when_the_words_match() {
        let rule = CommandRule::from_table("/bin/x", &[], Some(&"AB".repeat(32))).unwrap();
        let good = || Some([0xab; 32]);
        assert!(rule.matches(Path::new("/bin/x"), &[], &good));
        assert!(!rule.matches(Path::new("/bin/x"), &[], &|| Some([0; 32])));
        assert!(!rule.matches(Path::new("/bin/x"), &[], &|| None));
        assert!(!rule.matches(Path::new("/bin/y"), &[], &|| panic!("asked without need")));
        let denied = CommandRule::from_table("!/bin/x", &["**"], Some(&"ab".repeat(32))).unwrap();
        assert!(denied.matches(Path::new("/bin/x"), &words("a"), &|| None));
        assert!(CommandRule::from_table("/bin/x", &[], Some("abc")).is_err());
        assert!(CommandRule::from_table("/bin/x", &[], Some(&"zz".repeat(32))).is_err());
    }

    #[test]
    fn arguments_that_are_not_utf_8_match_by_their_bytes() {
        let rule = CommandRule::parse("/bin/x a*").unwrap();
        assert!(rule.matches(Path::new("/bin/x"), &[OsString::from_vec(b"a\xff\xfe".to_vec())], &|| None));
        assert!(!rule.matches(Path::new("/bin/x"), &[OsString::from_vec(b"\xffa".to_vec())], &|| None));
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
        assert!(!rule.matches(Path::new("/bin/x"), &many, &|| None));
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
            let _ = rule.matches(Path::new("/b/a"), &words("a .. /b"), &|| None);
        }
        assert!(accepted > 2000, "{accepted}");
    }
}
