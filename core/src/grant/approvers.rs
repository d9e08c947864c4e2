//! The keys of approvers: the lines of `/etc/jit-sudo/approvers` in OpenSSH's allowed_signers format (ssh-keygen(1),
//! "ALLOWED SIGNERS"). An invalid line makes the whole file invalid; the caller passes the text.

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use super::public_key::PublicKey;
use super::sshsig::Namespace;
use crate::escape::escape;
use crate::names::UserName;
use crate::policy::PolicyWords;

/// The maximum size of the file in bytes.
pub const APPROVERS_LIMIT: usize = 4 << 20;

const NO_KEY: &str = "has no key: write USER ssh-ed25519 AAAA…";

/// The keys with which approvals may be signed.
#[derive(Debug, Clone, Default)]
pub struct Approvers {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    names: Vec<UserName>,
    key: PublicKey,
    /// Patterns; empty for any namespace.
    namespaces: Vec<String>,
    /// Seconds since 1970, inclusive; so is `valid_before`.
    valid_after: Option<i64>,
    valid_before: Option<i64>,
}

/// A mistake in the file. All users may see `Display` and `Debug`, which give file and line; only
/// [`ApproversError::words`] includes the contents.
#[derive(Clone, PartialEq, Eq)]
pub struct ApproversError {
    file: String,
    line: usize,
    cause: String,
}

impl fmt::Display for ApproversError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the list of keys has an error", self.place())
    }
}

impl fmt::Debug for ApproversError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApproversError({self})")
    }
}

impl ApproversError {
    /// Returns file, line and mistake.
    pub fn words(&self) -> PolicyWords {
        PolicyWords::new(format!("{}: {}", self.place(), self.cause))
    }

    fn place(&self) -> String {
        format!("{}:{}", escape(self.file.as_bytes()), self.line)
    }
}

/// Why a key is not valid for a user now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFault {
    /// No line gives this key to the user.
    Unknown,
    /// It is valid only for other purposes.
    OtherPurpose,
    /// It is not valid yet.
    NotYet,
    /// It has expired.
    Expired,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "is not theirs",
            Self::OtherPurpose => "is not for approvals",
            Self::NotYet => "is not valid yet",
            Self::Expired => "is no longer valid",
        })
    }
}

impl Approvers {
    /// Parses the file's bytes; `file` is its path, for errors.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, ApproversError> {
        let mut lines = Vec::new();
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let failed = |cause| ApproversError { file: file.to_owned(), line: number + 1, cause };
            let text = std::str::from_utf8(line).map_err(|_| failed("is not UTF-8 text".to_owned()))?;
            let text = text.trim_matches([' ', '\t', '\r']);
            if !text.is_empty() && !text.starts_with('#') {
                lines.push(Line::parse(text).map_err(failed)?);
            }
        }
        Ok(Self { lines })
    }

    /// Checks that `key` is valid for `name` at `now` (seconds since 1970) for this purpose.
    pub fn speaks(&self, key: &PublicKey, name: &UserName, purpose: Namespace, now: i64) -> Result<(), KeyFault> {
        let mut fault = KeyFault::Unknown;
        for line in self.lines.iter().filter(|line| &line.key == key && line.names.contains(name)) {
            match line.check(purpose, now) {
                Ok(()) => return Ok(()),
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }

    /// Returns whether any line gives `key` to `name`, valid or not.
    pub fn is_of(&self, key: &PublicKey, name: &UserName) -> bool {
        self.lines.iter().any(|line| &line.key == key && line.names.contains(name))
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl Line {
    fn parse(text: &str) -> Result<Self, String> {
        let (principals, rest) = principals(text)?;
        let names = principals.split(',').map(name).collect::<Result<Vec<_>, _>>()?;
        let mut line = Self {
            names,
            key: PublicKey::Plain([0; 32]),
            namespaces: Vec::new(),
            valid_after: None,
            valid_before: None,
        };
        // As OpenSSH parses it: the key, or else options and then the key.
        if rest.trim().is_empty() {
            return Err(NO_KEY.to_owned());
        }
        let words = if is_key_type(first_word(rest)) { rest } else { line.options(rest)? };
        let mut words = words.split([' ', '\t']).filter(|word| !word.is_empty());
        let (Some(algorithm), Some(encoded)) = (words.next(), words.next()) else {
            return Err(NO_KEY.to_owned());
        };
        line.key = PublicKey::from_words(algorithm, encoded).ok_or_else(|| {
            if is_ours(algorithm) {
                "has a damaged key".to_owned()
            } else {
                let shown = shorten(algorithm);
                format!("has a key of type {shown}; only ssh-ed25519 and sk-ssh-ed25519@openssh.com are accepted")
            }
        })?;
        if let (Some(after), Some(before)) = (line.valid_after, line.valid_before)
            && before <= after
        {
            return Err("is never valid: valid-before is not after valid-after".to_owned());
        }
        Ok(line)
    }

    /// Parses the options at the beginning of `text` and returns the rest.
    fn options<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let mut rest = text;
        let mut seen: Vec<String> = Vec::new();
        loop {
            let end = rest.find(['=', ',', ' ', '\t']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let option = word.to_ascii_lowercase();
            if option == "cert-authority" {
                return Err("names a certificate authority; certificates are not accepted, name each key".to_owned());
            }
            if !["namespaces", "valid-after", "valid-before"].contains(&option.as_str()) {
                return Err(format!("has an unknown option or type of key '{}'", shorten(word)));
            }
            if seen.contains(&option) {
                return Err(format!("says {option} twice"));
            }
            let value = after.strip_prefix('=').ok_or_else(|| format!("says {option} without a value"))?;
            let (value, after) = quoted(value).ok_or_else(|| format!("has a value of {option} without quotes"))?;
            match option.as_str() {
                "namespaces" => self.namespaces = patterns(&value)?,
                "valid-after" => self.valid_after = Some(date(&option, &value)?),
                _ => self.valid_before = Some(date(&option, &value)?),
            }
            seen.push(option);
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None if after.is_empty() || after.starts_with([' ', '\t']) => return Ok(after),
                None => return Err("has unexpected text after a quoted value".to_owned()),
            }
        }
    }

    fn check(&self, purpose: Namespace, now: i64) -> Result<(), KeyFault> {
        if !self.namespaces.is_empty() && !matches_list(&self.namespaces, purpose.as_str()) {
            Err(KeyFault::OtherPurpose)
        } else if self.valid_after.is_some_and(|after| now < after) {
            Err(KeyFault::NotYet)
        } else if self.valid_before.is_some_and(|before| now > before) {
            Err(KeyFault::Expired)
        } else {
            Ok(())
        }
    }
}

/// Splits the first word, which may be in quotes, from the rest.
fn principals(text: &str) -> Result<(&str, &str), String> {
    if let Some(inside) = text.strip_prefix('"') {
        return inside.split_once('"').ok_or_else(|| "has an unterminated quote".to_owned());
    }
    Ok(text.split_at(text.find([' ', '\t']).unwrap_or(text.len()))).map(|(word, rest)| (word, rest.trim_start()))
}

/// Parses a principal, which is one user. OpenSSH accepts patterns here, but with a pattern the owner of a key would be
/// unknown.
fn name(text: &str) -> Result<UserName, String> {
    if text.contains(['*', '?', '!']) {
        return Err(format!("has the pattern '{}' where user names are expected; write each name", shorten(text)));
    }
    UserName::parse(text).map_err(|error| format!("has a principal that is not a user: {error}"))
}

fn first_word(text: &str) -> &str {
    text.trim_start().split([' ', '\t']).next().unwrap_or_default()
}

fn is_ours(algorithm: &str) -> bool {
    algorithm == super::public_key::PLAIN || algorithm == super::public_key::TOKEN
}

/// Returns whether a word is the name of a key type: each has a dash and no `=`, and every option except cert-authority
/// has a `=`.
fn is_key_type(word: &str) -> bool {
    is_ours(word) || ["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| word.starts_with(prefix) && !word.contains('='))
}

/// Splits a value in quotes, in which `\"` means a quote, from the rest.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut value = String::new();
    loop {
        let end = rest.find(['"', '\\'])?;
        let (plain, from) = rest.split_at(end);
        value.push_str(plain);
        if let Some(after) = from.strip_prefix("\\\"") {
            value.push('"');
            rest = after;
        } else if let Some(after) = from.strip_prefix('"') {
            return Some((value, after));
        } else {
            value.push('\\');
            rest = from.strip_prefix('\\')?;
        }
    }
}

fn patterns(value: &str) -> Result<Vec<String>, String> {
    let list: Vec<String> = value.split(',').map(|pattern| pattern.trim().to_owned()).collect();
    if list.iter().any(|pattern| pattern.trim_start_matches('!').is_empty()) {
        return Err("has an empty namespace".to_owned());
    }
    Ok(list)
}

/// Matches a pattern list of ssh_config(5): a matching pattern allows, a matching pattern with `!` denies.
fn matches_list(patterns: &[String], text: &str) -> bool {
    let mut allowed = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if glob(pattern.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => allowed |= glob(pattern.as_bytes(), text.as_bytes()),
        }
    }
    allowed
}

/// Matches a glob: `*` for any bytes, `?` for one. Backtracks to the last star only, so the time is bounded by the
/// product of the lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (pattern, text);
    let mut back: Option<(&[u8], &[u8])> = None;
    loop {
        match (p.split_first(), t.split_first()) {
            (Some((b'*', after)), _) => {
                back = Some((after, t));
                p = after;
            }
            (Some((wanted, after)), Some((found, rest))) if *wanted == b'?' || wanted == found => {
                (p, t) = (after, rest)
            }
            (None, None) => return true,
            _ => {
                let Some((after, from)) = back else { return false };
                let Some((_, later)) = from.split_first() else { return false };
                back = Some((after, later));
                (p, t) = (after, later);
            }
        }
    }
}

/// Parses `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, optionally with `Z` or `UTC`. Always UTC: the programs never
/// read the local time zone.
fn date(option: &str, text: &str) -> Result<i64, String> {
    let refused = || format!("has {option}=\"{}\", which is not YYYYMMDD[HHMM[SS]][Z]", shorten(text));
    let upper = text.to_ascii_uppercase();
    let digits = upper.strip_suffix("UTC").or_else(|| upper.strip_suffix('Z')).unwrap_or(&upper);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || ![8, 12, 14].contains(&digits.len()) {
        return Err(refused());
    }
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |text| text.parse::<u32>().ok());
    let parts = || {
        let year = digits.get(..4)?.parse::<i32>().ok()?;
        let day = NaiveDate::from_ymd_opt(year, part(4, 6)?, part(6, 8)?)?;
        let time = NaiveTime::from_hms_opt(part(8, 10)?, part(10, 12)?, part(12, 14)?)?;
        Some(NaiveDateTime::new(day, time).and_utc().timestamp())
    };
    parts().ok_or_else(refused)
}

fn shorten(text: &str) -> String {
    let shown: String = text.chars().take(64).collect();
    escape(shown.as_bytes())
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding};
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::policy::PolicyReader;

    const NOW: i64 = 1_800_000_000; // 2027-01-15T08:00:00Z

    fn key(seed: u8) -> PublicKey {
        PublicKey::Plain(SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes())
    }

    fn words(key: &PublicKey) -> String {
        format!("{} {}", key.algorithm(), Base64::encode_string(&key.blob()))
    }

    fn parse(text: &str) -> Result<Approvers, String> {
        let reader = PolicyReader::of(&[]);
        Approvers::parse("/a", text.as_bytes()).map_err(|error| error.words().told_to(&reader).to_owned())
    }

    fn bob() -> UserName {
        UserName::parse("bob").unwrap()
    }

    /// Returns whether a line with these options makes bob's key valid now.
    fn verdict(options: &str) -> Result<(), KeyFault> {
        let approvers = parse(&format!("bob {options} {}\n", words(&key(1)))).unwrap();
        approvers.speaks(&key(1), &bob(), Namespace::Approval, NOW)
    }

    #[test]
    fn a_key_is_valid_for_the_users_that_its_line_names() {
        let text = format!(
            "# ours\n\n  alice,bob {}  bob@laptop # a comment\r\n\"carol\" {}\n",
            words(&key(1)),
            words(&key(2))
        );
        let approvers = parse(&text).unwrap();
        assert_eq!(approvers.len(), 2);
        let carol = UserName::parse("carol").unwrap();
        let speaks = |key: &PublicKey, name: &UserName| approvers.speaks(key, name, Namespace::Approval, NOW);
        assert_eq!(speaks(&key(1), &bob()), Ok(()));
        assert_eq!(speaks(&key(2), &carol), Ok(()));
        assert_eq!(speaks(&key(2), &bob()), Err(KeyFault::Unknown));
        assert_eq!(speaks(&key(3), &bob()), Err(KeyFault::Unknown));
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn keys_in_tokens_are_accepted() {
        let point = SigningKey::from_bytes(&[5; 32]).verifying_key().to_bytes();
        let token = PublicKey::Token { point, application: b"ssh:".to_vec() };
        let approvers = parse(&format!("bob {}\n", words(&token))).unwrap();
        assert_eq!(approvers.speaks(&token, &bob(), Namespace::Approval, NOW), Ok(()));
        assert_eq!(
            approvers.speaks(&PublicKey::Plain(point), &bob(), Namespace::Approval, NOW),
            Err(KeyFault::Unknown)
        );
    }

    #[test]
    fn namespaces_are_a_list_of_patterns() {
        assert_eq!(verdict("namespaces=\"jit-sudo/approval/v1\""), Ok(()));
        assert_eq!(verdict("NameSpaces=\"git,jit-sudo/*\""), Ok(()));
        assert_eq!(verdict("namespaces=\"*\""), Ok(()));
        assert_eq!(verdict("namespaces=\"jit-sudo/approval/v?\""), Ok(()));
        for refused in
            ["git", "jit-sudo/approval", "jit-sudo/grant/v1", "*,!jit-sudo/*", "!git", "jit-sudo/approval/v1?"]
        {
            assert_eq!(verdict(&format!("namespaces=\"{refused}\"")), Err(KeyFault::OtherPurpose), "{refused}");
        }
    }

    #[test]
    fn validity_dates_are_parsed_in_every_form() {
        for (options, expected) in [
            ("valid-after=\"20270115\"", Ok(())),
            ("valid-after=\"20270115Z\"", Ok(())),
            ("valid-after=\"202701150800\"", Ok(())),
            ("valid-after=\"20270115080001Z\"", Err(KeyFault::NotYet)),
            ("valid-before=\"20270115080000utc\"", Ok(())),
            ("valid-before=\"20270115075959\"", Err(KeyFault::Expired)),
            ("valid-before=\"20270115\"", Err(KeyFault::Expired)),
            ("valid-after=\"20270101\",valid-before=\"20270201\",namespaces=\"jit-sudo/approval/v1\"", Ok(())),
        ] {
            assert_eq!(verdict(options), expected, "{options}");
        }
    }

    #[test]
    fn one_of_several_lines_is_enough() {
        let line = |options: &str| format!("bob {options} {}\n", words(&key(1)));
        let text = format!("{}{}", line("valid-before=\"20200101\""), line(""));
        assert_eq!(parse(&text).unwrap().speaks(&key(1), &bob(), Namespace::Approval, NOW), Ok(()));
    }

    #[test]
    fn mistakes_are_reported_with_file_and_line() {
        let good = words(&key(1));
        let encoded = good.split(' ').nth(1).unwrap();
        for (line, sentence) in [
            ("bob".to_owned(), "has no key"),
            (format!("bob cert-authority {good}"), "certificate authority"),
            (format!("bob namespaces=\"*\",cert-authority {good}"), "certificate authority"),
            (format!("* {good}"), "write each name"),
            (format!("!bob {good}"), "write each name"),
            (format!("#0,bob {good}").replacen('#', "bob,#", 1), "not a user"),
            (format!("bob,,alice {good}"), "not a user"),
            (format!("\"bob {good}"), "unterminated quote"),
            (format!("bob namespaces=git {good}"), "without quotes"),
            (format!("bob namespaces=\"git {good}"), "without quotes"),
            (format!("bob namespaces {good}"), "without a value"),
            (format!("bob namespaces=\"\" {good}"), "empty namespace"),
            (format!("bob namespaces=\"a\"b {good}"), "unexpected text"),
            (format!("bob namespaces=\"a\",namespaces=\"b\" {good}"), "namespaces twice"),
            (format!("bob valid-until=\"20270101\" {good}"), "unknown option"),
            (format!("bob valid-after=\"20271301\" {good}"), "is not YYYYMMDD"),
            (format!("bob valid-after=\"2027-01-01\" {good}"), "is not YYYYMMDD"),
            (format!("bob valid-after=\"20270202\",valid-before=\"20270101\" {good}"), "never valid"),
            (format!("bob ssh-rsa {encoded}"), "only ssh-ed25519"),
            (format!("bob ssh-ed25519-cert-v01@openssh.com {encoded}"), "only ssh-ed25519"),
            (format!("bob sk-ssh-ed25519@openssh.com {encoded}"), "damaged key"),
            ("bob ssh-ed25519 AAAA".to_owned(), "damaged key"),
        ] {
            let error = parse(&format!("# first\n{line}\n")).unwrap_err();
            assert!(error.starts_with("/a:2: ") && error.contains(sentence), "{line}: {error}");
        }
        let error = Approvers::parse("/a", b"\xff").unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), format!("{error:?}").as_str()),
            ("/a:1: the list of keys has an error", "ApproversError(/a:1: the list of keys has an error)")
        );
    }

    #[test]
    fn random_lines_never_panic() {
        let good = format!("bob namespaces=\"*\",valid-after=\"20270101\" {}", words(&key(1)));
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut bytes = good.clone().into_bytes();
            for _ in 0..3 {
                let index = random.usize(..bytes.len());
                match random.u8(..3) {
                    0 => bytes[index] = b"\"\\=, \t*!#\n\xff"[random.usize(..11)],
                    1 => bytes.truncate(index.max(1)),
                    _ => bytes[index] = random.u8(..),
                }
            }
            if let Ok(approvers) = Approvers::parse("/a", &bytes) {
                let _ = approvers.speaks(&key(1), &bob(), Namespace::Approval, NOW);
            }
        }
    }
}
