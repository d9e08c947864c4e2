//! fnmatch(3) in the C locale, over bytes: the wildcards of sudoers(5). `*`, `?`, `[a-z]`, `[!a-z]`, `[[:alpha:]]`, and
//! a backslash that makes the next character literal. Never recursive.

use serde::{Deserialize, Serialize};

use super::pattern::{LONGEST_PATTERN, Tail};

/// A valid pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Any,
    Run,
    /// A set of bytes, with one bit for each.
    Set(Bytes),
}

/// A bit for each byte.
type Bytes = [u64; 4];

/// A parsed value, and the rest of the pattern.
type Rest<'a, T> = (T, &'a [u8]);

impl Glob {
    /// Parses the pattern; the error is a sentence fragment.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_PATTERN {
            return Err(format!("is longer than {LONGEST_PATTERN} bytes"));
        }
        if text.contains('\0') {
            return Err("contains a NUL byte, which no argument can contain".to_owned());
        }
        let mut tokens = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            tokens.push(match byte {
                b'\\' => {
                    let (escaped, after) = rest.split_first().ok_or("ends with a backslash that escapes nothing")?;
                    rest = after;
                    Token::Byte(*escaped)
                }
                b'*' if tokens.last() == Some(&Token::Run) => continue,
                b'*' => Token::Run,
                b'?' => Token::Any,
                b'[' => match set(after)? {
                    Some((set, after)) => {
                        rest = after;
                        Token::Set(set)
                    }
                    None => Token::Byte(b'['),
                },
                byte => Token::Byte(*byte),
            });
        }
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the whole text matches; `*` matches anything, including `/` and spaces.
    pub fn matches(&self, text: &[u8]) -> bool {
        glob(&self.tokens, text, |token, byte| token.fits(byte))
    }

    /// Returns whether the whole name matches, ignoring case (FNM_CASEFOLD).
    pub fn matches_name(&self, name: &str) -> bool {
        let fits =
            |token: &Token, byte: u8| token.fits(byte.to_ascii_lowercase()) || token.fits(byte.to_ascii_uppercase());
        glob(&self.tokens, name.as_bytes(), fits)
    }

    /// Returns the part before the first component with a wildcard, without the slash that follows it.
    pub(super) fn literal_start(&self) -> (Vec<u8>, Tail) {
        let bytes = |tokens: &[Token]| -> Option<Vec<u8>> {
            tokens.iter().map(|token| if let Token::Byte(byte) = token { Some(*byte) } else { None }).collect()
        };
        let mut components = self.tokens.split(|token| *token == Token::Byte(b'/')).map(bytes);
        let literal: Vec<_> = components.by_ref().map_while(|component| component).collect();
        let whole = self.tokens.iter().all(|token| matches!(token, Token::Byte(_)));
        (literal.join(&b'/'), if whole { Tail::Nothing } else { Tail::Wildcards })
    }

    /// Returns whether the whole path matches, as in glob(7): no wildcard matches `/`, or a dot at the start of a
    /// component.
    pub fn matches_path(&self, path: &[u8]) -> bool {
        let mut components = path.split(|byte| *byte == b'/');
        for wanted in self.tokens.split(|token| *token == Token::Byte(b'/')) {
            let Some(component) = components.next() else { return false };
            let hidden = component.first() == Some(&b'.') && wanted.first() != Some(&Token::Byte(b'.'));
            if hidden || !glob(wanted, component, |token, byte| token.fits(byte)) {
                return false;
            }
        }
        components.next().is_none()
    }
}

impl Token {
    fn fits(&self, byte: u8) -> bool {
        match self {
            Self::Byte(wanted) => *wanted == byte,
            Self::Any => true,
            Self::Run => false,
            Self::Set(set) => holds(set, byte),
        }
    }
}

impl TryFrom<String> for Glob {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text)
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> String {
        glob.text
    }
}

/// Matches without recursion, by backtracking to two positions: only the last `*` ever needs to be retried.
fn glob(tokens: &[Token], text: &[u8], fits: impl Fn(&Token, u8) -> bool) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (tokens.get(token), text.get(at)) {
            (Some(Token::Run), _) => {
                token += 1;
                retry = Some((token, at));
                continue;
            }
            (Some(wanted), Some(byte)) if fits(wanted, *byte) => {
                token += 1;
                at += 1;
                continue;
            }
            (None, None) => return true,
            (Some(_) | None, _) => {}
        }
        let Some((after, from)) = retry.filter(|(_, from)| *from < text.len()) else { return false };
        retry = Some((after, from + 1));
        (token, at) = (after, from + 1);
    }
}

/// Parses the set after `[`, and returns the rest after its `]`; `None` without a `]`, so that the `[` is an ordinary
/// character.
fn set(text: &[u8]) -> Result<Option<Rest<'_, Bytes>>, String> {
    let (inverted, mut rest) = match text.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        _ => (false, text),
    };
    let mut set = [0u64; 4];
    let mut first = true;
    loop {
        let Some((byte, after)) = rest.split_first() else { return Ok(None) };
        rest = after;
        if *byte == b']' && !first {
            break;
        }
        first = false;
        if *byte == b'[' && matches!(rest.first(), Some(b':' | b'.' | b'=')) {
            let Some((class, after)) = class(rest)? else { return Ok(None) };
            (0..=u8::MAX).filter(class).for_each(|byte| add(&mut set, byte));
            rest = after;
            continue;
        }
        let Some(from) = literal(*byte, &mut rest) else { return Ok(None) };
        let to = match rest {
            [b'-', next, after @ ..] if *next != b']' => {
                rest = after;
                match literal(*next, &mut rest) {
                    Some(to) => to,
                    None => return Ok(None),
                }
            }
            _ => from,
        };
        (from..=to).for_each(|byte| add(&mut set, byte));
    }
    if inverted {
        set = set.map(|bits| !bits);
    }
    Ok(Some((set, rest)))
}

fn literal(byte: u8, rest: &mut &[u8]) -> Option<u8> {
    if byte != b'\\' {
        return Some(byte);
    }
    let (escaped, after) = rest.split_first()?;
    *rest = after;
    Some(*escaped)
}

type Class = fn(&u8) -> bool;

/// Parses the class after the inner `[`, and returns the rest after its `:]`; `None` if it is not terminated.
fn class(text: &[u8]) -> Result<Option<Rest<'_, Class>>, String> {
    let Some((b':', named)) = text.split_first() else {
        return Err("contains '[.' or '[=', which are not supported".to_owned());
    };
    let Some(end) = named.windows(2).position(|pair| pair == b":]") else { return Ok(None) };
    let (name, after) = named.split_at(end);
    let class: Class = match name {
        b"alpha" => u8::is_ascii_alphabetic,
        b"digit" => u8::is_ascii_digit,
        b"alnum" => u8::is_ascii_alphanumeric,
        b"upper" => u8::is_ascii_uppercase,
        b"lower" => u8::is_ascii_lowercase,
        b"space" => |byte| byte.is_ascii_whitespace() || *byte == 0x0b,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"punct" => u8::is_ascii_punctuation,
        b"print" => |byte| byte.is_ascii_graphic() || *byte == b' ',
        b"graph" => u8::is_ascii_graphic,
        b"cntrl" => u8::is_ascii_control,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return Err("contains a character class that does not exist".to_owned()),
    };
    Ok(Some((class, after.get(2..).unwrap_or_default())))
}

fn add(set: &mut Bytes, byte: u8) {
    if let Some(word) = set.get_mut(usize::from(byte >> 6)) {
        *word |= 1 << (byte & 63);
    }
}

fn holds(set: &Bytes, byte: u8) -> bool {
    set.get(usize::from(byte >> 6)).is_some_and(|word| word & (1 << (byte & 63)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::read(pattern).unwrap().matches(text.as_bytes())
    }

    #[test]
    fn wildcards_match_slashes_and_spaces() {
        assert!(matches("/var/log/*", "/var/log/a /etc/shadow") && matches("*", "") && matches("a?c", "a/c"));
        assert!(matches("-n [0-9] *.log", "-n 5 /x y.log") && !matches("-n [0-9] *.log", "-n x /x.log"));
        assert!(!matches("a", "ab") && !matches("", "a") && matches("", ""));
        assert!(matches(r"\*\?\[x", "*?[x") && !matches(r"\*", "x"));
        assert!(Glob::read("a\\").is_err());
    }

    #[test]
    fn sets_are_those_of_fnmatch() {
        for (pattern, yes, no) in [
            ("[a-c]", "abc", "d-A"),
            ("[!a-c]", "dA-", "abc"),
            ("[^a-c]", "d", "a"),
            ("[]a]", "]a", "b["),
            ("[!]a]", "b", "]a"),
            ("[a-]", "a-", "b"),
            ("[\\]a]", "]a", "\\"),
            ("[[:digit:]x]", "0x", "a:["),
            ("[a\\-c]", "a-c", "b"),
            ("[[:upper:][:digit:]]", "A1", "a"),
        ] {
            for byte in yes.chars() {
                assert!(matches(pattern, &byte.to_string()), "{pattern} {byte}");
            }
            for byte in no.chars() {
                assert!(!matches(pattern, &byte.to_string()), "{pattern} {byte}");
            }
        }
        assert!(matches("[ab", "[ab") && matches("[[:digit:", "[[:digit:"));
        assert!(Glob::read("[[:none:]]").is_err() && Glob::read("[[.a.]]").is_err());
    }

    #[test]
    fn paths_match_by_component_without_hidden_files() {
        let path = |pattern: &str, path: &str| Glob::read(pattern).unwrap().matches_path(path.as_bytes());
        assert!(path("/usr/bin/[a-m]*", "/usr/bin/ls") && path("/usr/*/ls", "/usr/bin/ls"));
        assert!(!path("/usr/*", "/usr/bin/ls") && !path("/usr/bin/*", "/usr/bin/.x") && path("/u/.*", "/u/.x"));
        assert!(!path("/usr/bin/?x", "/usr/bin/.x") && !path("/usr/bin/[!a]x", "/usr/bin/.x"));
    }

    #[test]
    fn matching_a_hostile_text_takes_no_exponential_time() {
        assert!(!matches(&format!("{}b", "*a".repeat(200)), &"a".repeat(128 * 1024)));
    }

    #[test]
    fn random_patterns_never_panic() {
        let mut random = fastrand::Rng::with_seed(1);
        let alphabet = b"[]!^-\\*?:=.ab/x";
        for _ in 0..100_000 {
            let mut text = String::new();
            for _ in 0..12 {
                text.push(char::from(alphabet[random.usize(..alphabet.len())]));
            }
            if let Ok(glob) = Glob::read(&text) {
                assert_eq!(Glob::read(glob.as_str()).as_ref(), Ok(&glob));
                let _ = (glob.matches(b"ab/x[]"), glob.matches_path(b"/a/.b"), glob.matches_name("AB"));
            }
        }
    }
}
