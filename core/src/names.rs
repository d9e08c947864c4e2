//! Names that are validated when they are created, so that later code need not check them. Knows no file and no policy.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::escape::Word;

/// Why a text is not a valid name; `Display` is a sentence fragment such as `role name "a b" may not contain ' '`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName {
    kind: &'static str,
    text: String,
    cause: &'static str,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.text.chars().take(64).collect();
        write!(f, "{} '{}' {}", self.kind, crate::escape::escape(shown.as_bytes()), self.cause)
    }
}

impl std::error::Error for InvalidName {}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Validates `text`.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> Option<&'static str> = $check;
                match check(text) {
                    None => Ok(Self(text.to_owned())),
                    Some(cause) => Err(InvalidName { kind: $kind, text: text.to_owned(), cause }),
                }
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A name of the account database (passwd(5)): no `:`, `/`, white space or control character, at most 256 bytes,
    /// and it looks neither like an option nor like an id (CVE-2023-42456).
    UserName,
    "user name",
    account_name
);
name!(
    /// A group name, by the same rules.
    GroupName,
    "group name",
    account_name
);
name!(
    /// A role name: 1 to 64 of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit.
    RoleName,
    "role name",
    role_name
);
name!(
    /// The id of a request and of the grant that results from it: 10 characters of Crockford's base 32 in lower case.
    GrantId,
    "id",
    grant_id
);

/// Crockford's base 32: no `i`, `l`, `o`, `u`, so that an id can be read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The length of a [`GrantId`] in characters.
pub const ID_LENGTH: usize = 10;

impl GrantId {
    /// Creates an id from 8 random bytes (50 bits of them are used).
    pub fn from_random(random: [u8; 8]) -> Self {
        Self(base32(u64::from_le_bytes(random), ID_LENGTH))
    }
}

/// The id of a run. jit-sudo makes ids of [`RunId::LENGTH`] characters; one that was read from a record or a row may be any
/// text, because the format does not limit it, and is a key and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// The length of an id in characters.
    pub const LENGTH: usize = 12;

    /// Creates an id from 8 random bytes: 60 bits of them, in the alphabet of [`GrantId`].
    pub fn from_random(random: [u8; 8]) -> Self {
        Self(base32(u64::from_le_bytes(random), Self::LENGTH))
    }

    /// Parses an id that a user typed, in upper or lower case.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() == Self::LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("a run's id has 12 letters and digits")
        }
    }

    /// Takes an id as a record, a row or the name of a file contains it.
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The first characters of an id, as a user types it; `O` is read as 0, `I` and `L` as 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdPrefix(String);

impl IdPrefix {
    /// Validates and normalises what was typed.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let refuse = |cause| InvalidName { kind: "id", text: text.to_owned(), cause };
        if text.is_empty() || text.len() > ID_LENGTH {
            return Err(refuse("must have 1 to 10 characters"));
        }
        let typed: String = text
            .chars()
            .map(|c| match c.to_ascii_lowercase() {
                'o' => '0',
                'i' | 'l' => '1',
                c => c,
            })
            .collect();
        if typed.bytes().all(|byte| ALPHABET.contains(&byte)) {
            Ok(Self(typed))
        } else {
            Err(refuse("contains a character that is not allowed in an id"))
        }
    }

    /// Returns the prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IdPrefix {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<&GrantId> for IdPrefix {
    fn from(id: &GrantId) -> Self {
        Self(id.0.clone())
    }
}

impl From<IdPrefix> for String {
    fn from(prefix: IdPrefix) -> String {
        prefix.0
    }
}

impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A user of this host: a uid together with its name. After an account is deleted, its uid may be given to another
/// account, and its name to another uid, so either alone could pass permissions on to another user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Person {
    /// The user id.
    pub uid: u32,
    /// The login name.
    pub name: UserName,
}

impl Person {
    /// Returns whether uid and name are those of this user.
    pub fn is(&self, uid: u32, name: &UserName) -> bool {
        self.uid == uid && self.name == *name
    }

    /// Returns the same for a name as records contain it.
    pub fn is_recorded(&self, uid: u32, name: &Word) -> bool {
        self.uid == uid && self.name.as_str().as_bytes() == name.as_bytes()
    }

    /// Returns whether the uid or the name is that of this user, which is enough to prevent decisions about oneself.
    pub fn shares(&self, uid: u32, name: &UserName) -> bool {
        self.uid == uid || self.name == *name
    }
}

fn base32(mut number: u64, length: usize) -> String {
    let mut text = String::with_capacity(length);
    for _ in 0..length {
        let digit = ALPHABET.get((number & 31) as usize).copied().unwrap_or(b'0');
        text.push(char::from(digit));
        number >>= 5;
    }
    text
}

fn account_name(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.len() > 256 {
        Some("is longer than 256 bytes")
    } else if text.starts_with(['-', '#', '%', '+', '!']) {
        Some("begins with a character that no account name begins with")
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Some("is a number; write an id as #NUMBER")
    } else if text == "." || text == ".." || text.contains([':', '/', ',']) {
        Some("contains a character that is not allowed in an account name")
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Some("contains white space or a control character")
    } else {
        None
    }
}

fn role_name(text: &str) -> Option<&'static str> {
    let first = text.bytes().next();
    if !first.is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        Some("must begin with a letter or digit")
    } else if text.len() > 64 {
        Some("is longer than 64 characters")
    } else if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        Some("may hold only letters, digits, '.', '_' and '-'")
    } else {
        None
    }
}

fn grant_id(text: &str) -> Option<&'static str> {
    if text.len() == ID_LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte)) {
        None
    } else {
        Some("is not 10 characters of an id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_that_look_like_something_else_are_rejected() {
        for text in ["", "-u", "#0", "%wheel", "0", "4294967295", "a/b", "..", "a:b", "a b", "a\nb", &"x".repeat(257)] {
            assert!(UserName::parse(text).is_err(), "{text:?}");
        }
        for text in ["root", "www-data", "j.doe", "DOMAIN\\user", "user@realm", "9lives"] {
            assert!(UserName::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn role_names_are_plain() {
        assert!(RoleName::parse("web-ops").is_ok());
        for text in ["", "-x", ".x", "a b", "ä", &"r".repeat(65)] {
            assert!(RoleName::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn ids_of_runs_have_twelve_letters_and_digits() {
        assert_eq!(RunId::from_random([0xff; 8]).as_str().len(), RunId::LENGTH);
        assert_eq!(RunId::parse("0123456789AB"), Ok(RunId::stored("0123456789ab")));
        for text in ["", "0123456789", "0123456789a/", "../../../etc"] {
            assert!(RunId::parse(text).is_err(), "{text}");
        }
        assert_eq!(serde_json::to_string(&RunId::stored("r1")).unwrap(), "\"r1\"");
    }

    #[test]
    fn ids_are_ten_readable_characters() {
        let id = GrantId::from_random([0xff; 8]);
        assert_eq!(id.as_str(), "zzzzzzzzzz");
        assert_eq!(GrantId::parse(id.as_str()), Ok(id));
        assert!(GrantId::parse("zzzzzzzzzi").is_err());
    }

    #[test]
    fn a_typed_prefix_accepts_look_alike_characters() {
        assert_eq!(IdPrefix::parse("oIL").map(String::from).as_deref(), Ok("011"));
        for text in ["", "abc%", "u", "01234567890"] {
            assert!(IdPrefix::parse(text).is_err(), "{text:?}");
        }
    }
}
