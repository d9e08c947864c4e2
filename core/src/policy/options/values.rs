//! The values of options that are more than a number or a text, in the form of the policy.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::names::UserName;

/// A file mode mask, written in octal; 0777 leaves the caller's mask unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Umask(pub(super) u32);

/// `runcwd`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RunDirectory {
    /// `*`: the caller may choose it with -D.
    CallersChoice,
    /// `~`: the home directory of the run-as user.
    TargetsHome,
    /// `~USER`
    HomeOf(UserName),
    /// An absolute path.
    Path(PathBuf),
}

/// The scope of cached credentials (`timestamp_type` of sudoers(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimestampType {
    /// The terminal in its session, or the parent process without a terminal.
    Tty,
    /// The parent process.
    Ppid,
    /// The caller, in any session.
    Global,
}

/// `lecture`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lecture {
    /// Never.
    Never,
    /// Once for each user.
    Once,
    /// Every time.
    Always,
}

impl Umask {
    /// `022`
    pub const USUAL: Self = Self(0o022);

    /// Returns the bits; `None` leaves the caller's mask unchanged.
    pub fn bits(self) -> Option<u32> {
        (self.0 != 0o777).then_some(self.0)
    }

    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let plain = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        match u32::from_str_radix(text, 8) {
            Ok(bits) if plain && bits <= 0o777 => Ok(Self(bits)),
            _ => Err("must be a file mode mask in octal, such as \"022\", or \"0777\" for the caller's own"),
        }
    }
}

impl fmt::Display for Umask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl TryFrom<String> for Umask {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Umask> for String {
    fn from(mask: Umask) -> Self {
        mask.to_string()
    }
}

impl RunDirectory {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "*" => Ok(Self::CallersChoice),
            "~" => Ok(Self::TargetsHome),
            _ => match text.strip_prefix('~') {
                Some(user) => UserName::parse(user).map(Self::HomeOf).map_err(|error| error.to_string()),
                None => absolute(text).map(Self::Path),
            },
        }
    }
}

impl fmt::Display for RunDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallersChoice => f.write_str("*"),
            Self::TargetsHome => f.write_str("~"),
            Self::HomeOf(user) => write!(f, "~{user}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl TryFrom<String> for RunDirectory {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<RunDirectory> for String {
    fn from(directory: RunDirectory) -> Self {
        directory.to_string()
    }
}

#[cfg(feature = "policy-text")]
impl TimestampType {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "tty" => Ok(Self::Tty),
            "ppid" => Ok(Self::Ppid),
            "global" => Ok(Self::Global),
            _ => Err("must be \"tty\", \"ppid\" or \"global\""),
        }
    }
}

#[cfg(feature = "policy-text")]
impl Lecture {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "never" => Ok(Self::Never),
            "once" => Ok(Self::Once),
            "always" => Ok(Self::Always),
            _ => Err("must be \"never\", \"once\" or \"always\""),
        }
    }
}

/// Parses an unambiguous absolute path.
pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let plain = !text.chars().any(char::is_control) && !path.components().any(|part| part == Component::ParentDir);
    if path.is_absolute() && plain && text.len() < 4096 {
        Ok(path.to_path_buf())
    } else {
        Err("must be an absolute path without '..'".to_owned())
    }
}

/// The name of a file in /etc/pam.d.
pub(in super::super) fn pam_service(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !text.is_empty() && text.len() <= 64 && !text.starts_with(['.', '-']) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("must be the name of a PAM service: letters, digits, '.', '_' and '-'".to_owned())
    }
}

/// Words for a terminal: no control characters but tabs and line ends.
pub(super) fn words(text: &str) -> Result<String, &'static str> {
    if text.len() > 1024 || text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        Err("must be at most 1024 bytes without control characters")
    } else {
        Ok(text.to_owned())
    }
}
