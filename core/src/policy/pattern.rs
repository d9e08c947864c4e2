//! Wildcards of arguments in command rules and of variable names, over bytes. Linear in practice, and never recursive.

use serde::{Deserialize, Serialize};

/// The maximum length of a pattern in bytes: a longer one is a mistake, and matching time grows with it.
pub(super) const LONGEST_PATTERN: usize = 4096;

/// A pattern for one argument of a command: `*` and `?` never match `/` and never make a component empty, `.` or `..`,
/// and a backslash makes the next character literal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WordPattern {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    AnyCharacter,
    AnyRun,
}

impl WordPattern {
    /// Parses the pattern; the error is a sentence fragment.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_PATTERN {
            return Err(format!("is longer than {LONGEST_PATTERN} bytes"));
        }
        if text.contains('\0') {
            return Err("contains a NUL byte, which no argument can contain".to_owned());
        }
        let mut tokens = Vec::with_capacity(text.len());
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            tokens.push(match byte {
                b'\\' => Token::Byte(bytes.next().ok_or("ends with a backslash that escapes nothing")?),
                b'*' if tokens.last() == Some(&Token::AnyRun) => {
                    return Err(
                        "contains '**' inside a word; it must stand alone, and '*' never matches '/'".to_owned()
                    );
                }
                b'*' => Token::AnyRun,
                b'?' => Token::AnyCharacter,
                byte => Token::Byte(byte),
            });
        }
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the whole `word` matches.
    pub fn matches(&self, word: &[u8]) -> bool {
        let mut components = word.split(|byte| *byte == b'/');
        for wanted in self.tokens.split(|token| *token == Token::Byte(b'/')) {
            if !components.next().is_some_and(|component| component_matches(wanted, component)) {
                return false;
            }
        }
        components.next().is_none()
    }

    /// Returns the only word that matches, or `None` if there is a wildcard.
    pub(super) fn literal(&self) -> Option<Vec<u8>> {
        let byte = |token: &Token| match token {
            Token::Byte(byte) => Some(*byte),
            Token::AnyCharacter | Token::AnyRun => None,
        };
        self.tokens.iter().map(byte).collect()
    }

    /// Returns the part before the first component with a wildcard, without the slash that follows it.
    pub(super) fn literal_start(&self) -> (Vec<u8>, Tail) {
        let literal: Vec<_> = self.components().map_while(|component| component).collect();
        let tail = if literal.len() == self.components().count() { Tail::Nothing } else { Tail::Wildcards };
        (literal.join(&b'/'), tail)
    }

    /// Returns the components between slashes, each as its literal bytes, or `None` for one with a wildcard.
    pub(super) fn components(&self) -> impl Iterator<Item = Option<Vec<u8>>> {
        self.tokens.split(|token| *token == Token::Byte(b'/')).map(|tokens| {
            let literal = |token: &Token| if let Token::Byte(byte) = token { Some(*byte) } else { None };
            tokens.iter().map(literal).collect()
        })
    }
}

impl TryFrom<String> for WordPattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<WordPattern> for String {
    fn from(pattern: WordPattern) -> String {
        pattern.text
    }
}

/// What follows the literal part of a path pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing: the whole path is literal.
    Nothing,
    /// A component with a wildcard, and perhaps more; the part before it is a directory.
    Wildcards,
}

/// Returns whether a name matches a pattern in which `*` is any sequence of bytes (`LC_*`, `*_TOKEN`); case-sensitive.
pub fn name_matches(pattern: &str, name: &[u8]) -> bool {
    let token = |byte: &u8| if *byte == b'*' { Token::AnyRun } else { Token::Byte(*byte) };
    glob(|at| pattern.as_bytes().get(at).map(token), name)
}

/// Matches one component. A component that a wildcard matches must be a name: `/var/log/*` does not match
/// `/var/log/..`, nor `--in=*` `--in=..`.
fn component_matches(tokens: &[Token], component: &[u8]) -> bool {
    let wild = tokens.iter().any(|token| matches!(token, Token::AnyCharacter | Token::AnyRun));
    let last = component.rsplit(|byte| *byte == b'=').next().unwrap_or(component);
    if wild && (component.is_empty() || last == b"." || last == b"..") {
        return false;
    }
    glob(|at| tokens.get(at).copied(), component)
}

/// Matches without recursion, by backtracking to two positions: only the last `*` ever needs to be retried. `token_at`
/// returns the token at an index.
fn glob(token_at: impl Fn(usize) -> Option<Token>, text: &[u8]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let step = match token_at(token) {
            Some(Token::AnyRun) => {
                retry = Some((token + 1, at));
                token += 1;
                continue;
            }
            Some(Token::Byte(byte)) if rest.first() == Some(&byte) => Some(1),
            Some(Token::AnyCharacter) if !rest.is_empty() => Some(character_length(rest)),
            None if rest.is_empty() => return true,
            Some(Token::Byte(_) | Token::AnyCharacter) | None => None,
        };
        match (step, retry) {
            (Some(length), _) => {
                token += 1;
                at += length;
            }
            (None, Some((after, from))) => {
                let Some(given) = text.get(from..).filter(|given| !given.is_empty()) else { return false };
                let longer = from + character_length(given);
                retry = Some((after, longer));
                (token, at) = (after, longer);
            }
            (None, None) => return false,
        }
    }
}

/// Returns the length of the first character in bytes; a byte that is not UTF-8 counts as one character.
fn character_length(text: &[u8]) -> usize {
    let start = text.get(..text.len().min(4)).unwrap_or(text);
    let valid = start.utf8_chunks().next().map(|chunk| chunk.valid()).unwrap_or_default();
    valid.chars().next().map_or(1, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, word: &str) -> bool {
        WordPattern::parse(pattern).unwrap().matches(word.as_bytes())
    }

    #[test]
    fn wildcards_stay_inside_a_component() {
        assert!(matches("/var/log/*", "/var/log/syslog"));
        assert!(matches("/var/log/*.log", "/var/log/.log"));
        assert!(matches("/var/*/x?", "/var/a b/xy"));
        for word in
            ["/var/log/a/b", "/var/log/", "/var/log/..", "/var/log/.", "/var/log", "/var/log/a/", "var/log/a", ""]
        {
            assert!(!matches("/var/log/*", word), "{word}");
        }
        assert!(!matches("/a?b", "/a/b"));
        assert!(!matches("/var/*/shadow", "/var//shadow"));
        assert!(!matches("/home/.*/x", "/home/../x"));
        assert!(!matches("/home/?/x", "/home/./x"));
        assert!(!matches("--directory=*", "--directory=.."));
    }

    #[test]
    fn a_backslash_makes_any_character_ordinary() {
        assert!(matches(r"\*", "*"));
        assert!(!matches(r"\*", "x"));
        assert!(matches(r"a\?b\\c\ d", r"a?b\c d"));
        assert!(WordPattern::parse("a\\").is_err());
        assert!(WordPattern::parse("a**b").is_err());
        assert!(WordPattern::parse(r"a*\*b").is_ok());
    }

    #[test]
    fn a_question_mark_is_one_character_of_any_length() {
        assert!(matches("?", "é") && matches("?", "x") && matches("a?c", "a日c") && matches("*??", "日本"));
        assert!(!matches("??", "é") && !matches("*??", "日") && !matches("?", ""));
        assert!(WordPattern::parse("?").unwrap().matches(b"\xff"));
        assert!(!WordPattern::parse("?").unwrap().matches(b"\xff\xfe"));
    }

    #[test]
    fn matching_a_hostile_argument_takes_no_exponential_time() {
        let pattern = WordPattern::parse(&format!("{}b", "*a".repeat(200))).unwrap();
        assert!(!pattern.matches(&vec![b'a'; 128 * 1024]));
    }

    #[test]
    fn variable_names_match_with_case() {
        assert!(
            name_matches("LC_*", b"LC_ALL") && name_matches("*SECRET*", b"SECRET") && name_matches("*_KEY", b"A_KEY")
        );
        assert!(
            !name_matches("LC_*", b"lc_all") && !name_matches("*_KEY", b"A_KEYS") && !name_matches("LANG", b"LANGUAGE")
        );
    }

    /// Matches recursively, simply and slowly, to compare with.
    fn reference(tokens: &[Token], text: &[char]) -> bool {
        match tokens.split_first() {
            None => text.is_empty(),
            Some((Token::AnyRun, rest)) => (0..=text.len()).any(|n| reference(rest, &text[n..])),
            Some((Token::AnyCharacter, rest)) => !text.is_empty() && reference(rest, &text[1..]),
            Some((Token::Byte(byte), rest)) => text.first() == Some(&char::from(*byte)) && reference(rest, &text[1..]),
        }
    }

    #[test]
    fn random_patterns_agree_with_the_plain_matcher_and_never_cross_a_slash() {
        let mut numbers = fastrand::Rng::with_seed(1);
        let mut random = move |bound: u64| numbers.u64(..bound);
        let mut both = [0u32; 2];
        for _ in 0..60_000 {
            let mut pick = |letters: &[u8], most| {
                (0..random(most)).map(|_| letters[random(letters.len() as u64) as usize]).collect::<Vec<u8>>()
            };
            let pattern = String::from_utf8(pick(b"ab./*?", 8)).unwrap();
            let word = pick(b"ab./", 8);
            let Ok(parsed) = WordPattern::parse(&pattern) else { continue };
            let said = parsed.matches(&word);
            both[usize::from(said)] += 1;
            if said {
                let plain: Vec<char> = word.iter().map(|byte| char::from(*byte)).collect();
                assert!(reference(&parsed.tokens, &plain), "{pattern} {word:?}");
                assert_eq!(pattern.matches('/').count(), word.iter().filter(|byte| **byte == b'/').count());
                for (wanted, got) in pattern.split('/').zip(word.split(|byte| *byte == b'/')) {
                    let wild = wanted.contains(['*', '?']);
                    assert!(!wild || !(got == b".." || got == b"." || got.is_empty()), "{pattern} {word:?}");
                }
            }
            let tokens = &parsed.tokens;
            let plain: Vec<char> = word.iter().map(|byte| char::from(*byte)).collect();
            assert_eq!(glob(|at| tokens.get(at).copied(), &word), reference(tokens, &plain), "{pattern} {word:?}");
        }
        assert!(both[0] > 1000 && both[1] > 1000, "{both:?}");
    }
}
