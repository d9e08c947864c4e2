//! `rlimit_*`: a resource limit in the policy (sudoers(5), "Resource limits").

use std::fmt;

use serde::{Deserialize, Serialize};

/// The resources that may be limited, by the part of their names after `rlimit_`, and after `RLIMIT_` in getrlimit(2).
pub const RESOURCES: &[&str] =
    &["as", "core", "cpu", "data", "fsize", "locks", "memlock", "nofile", "nproc", "rss", "stack"];

/// The limit of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rlimit {
    /// `default`: as the PAM session sets it, otherwise the caller's.
    Default,
    /// `user`: the caller's, whatever the PAM session says.
    Caller,
    /// `SOFT,HARD`; `u64::MAX` is no limit.
    Limit {
        /// The limit that the kernel enforces.
        soft: u64,
        /// The maximum to which the soft limit may be raised.
        hard: u64,
    },
}

impl Rlimit {
    /// Parses a value of the policy; the error is a sentence fragment.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let one = |text: &str| match text.trim() {
            "infinity" => Some(u64::MAX),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
            _ => None,
        };
        let limit = match text.split_once(',') {
            _ if text == "default" => Some(Self::Default),
            _ if text == "user" => Some(Self::Caller),
            Some((soft, hard)) => one(soft)
                .zip(one(hard))
                .filter(|(soft, hard)| soft <= hard)
                .map(|(soft, hard)| Self::Limit { soft, hard }),
            None => one(text).map(|both| Self::Limit { soft: both, hard: both }),
        };
        limit.ok_or(
            "must be \"SOFT,HARD\" or one number for both, where \"infinity\" is no limit, \"default\" or \"user\"",
        )
    }
}

impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |limit: u64| if limit == u64::MAX { "infinity".to_owned() } else { limit.to_string() };
        match self {
            Self::Default => f.write_str("default"),
            Self::Caller => f.write_str("user"),
            Self::Limit { soft, hard } => write!(f, "{},{}", one(*soft), one(*hard)),
        }
    }
}

impl TryFrom<String> for Rlimit {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Rlimit> for String {
    fn from(limit: Rlimit) -> Self {
        limit.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_round_trip_and_invalid_ones_are_rejected() {
        for text in ["default", "user", "0,0", "1,2", "1,infinity", "infinity,infinity"] {
            assert_eq!(Rlimit::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Rlimit::parse("500").unwrap().to_string(), "500,500");
        for text in ["", ",", "2,1", "-1", "1,2,3", "+1", "1k", "infinity,1", "99999999999999999999", "0x10"] {
            assert!(Rlimit::parse(text).is_err(), "{text}");
        }
    }
}
