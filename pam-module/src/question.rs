//! The questions to the broker and its answers, in the broker's format (core/src/wire). The answer is treated as untrusted input:
//! only a complete and positive one counts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A question.
#[derive(Debug, Serialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub(crate) enum Question<'a> {
    /// Asks whether a user holds a role.
    Membership {
        holder: &'a Holder,
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<&'a str>,
        /// In seconds.
        wait: u64,
    },
    /// Opens a session for a user who holds a role.
    OpenSession {
        holder: &'a Holder,
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<&'a str>,
        run_as: &'a str,
        service: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tty: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        remote: Option<&'a str>,
        pid: i32,
    },
    /// Reports the end of a session whose socket is lost.
    CloseSession { run: &'a str },
}

/// The user in question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Holder {
    User(String),
    Uid(u32),
}

/// An answer or an error.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reply {
    Ok(Answer),
    Error(Failure),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Membership(Membership),
    Session(Begun),
    Closed {},
}

/// A session that has begun.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Begun {
    pub(crate) run: String,
    pub(crate) grant: Option<String>,
    /// Seconds until it expires.
    pub(crate) left: Option<u64>,
}

/// Whether the user holds the role.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Membership {
    pub(crate) holds: bool,
    pub(crate) role: Option<String>,
    pub(crate) grant: Option<String>,
    pub(crate) left: Option<u64>,
    pub(crate) pending: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Failure {
    code: String,
    message: String,
}

/// Why there is no valid answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// It cannot be parsed, or answers another question.
    Garbled,
    /// The user does not hold the role.
    NotHeld,
    /// The broker refused, with this message.
    Refused(String),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Garbled => f.write_str("the broker's answer cannot be understood"),
            Self::NotHeld => f.write_str("there is no active grant"),
            Self::Refused(message) => write!(f, "the broker refused: {message}"),
        }
    }
}

impl Question<'_> {
    /// Returns the bytes to send.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, NoAnswer> {
        serde_json::to_vec(self).map_err(|_| NoAnswer::Garbled)
    }
}

/// Reads the answer to [`Question::Membership`].
pub(crate) fn membership(line: &[u8]) -> Result<Membership, NoAnswer> {
    match understand(line)? {
        Answer::Membership(membership) => Ok(membership),
        Answer::Session(_) | Answer::Closed {} => Err(NoAnswer::Garbled),
    }
}

/// Reads the answer to [`Question::OpenSession`].
pub(crate) fn session(line: &[u8]) -> Result<Begun, NoAnswer> {
    match understand(line)? {
        Answer::Session(begun) => Ok(begun),
        Answer::Membership(_) | Answer::Closed {} => Err(NoAnswer::Garbled),
    }
}

/// Reads the answer to [`Question::CloseSession`].
pub(crate) fn closed(line: &[u8]) -> Result<(), NoAnswer> {
    match understand(line)? {
        Answer::Closed {} => Ok(()),
        Answer::Membership(_) | Answer::Session(_) => Err(NoAnswer::Garbled),
    }
}

fn understand(line: &[u8]) -> Result<Answer, NoAnswer> {
    match serde_json::from_slice(line) {
        Ok(Reply::Ok(answer)) => Ok(answer),
        Ok(Reply::Error(failure)) if failure.code == "not-held" => Err(NoAnswer::NotHeld),
        Ok(Reply::Error(failure)) => Err(NoAnswer::Refused(failure.message)),
        Err(_) => Err(NoAnswer::Garbled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_core::wire;

    /// The question as the broker reads it.
    fn understood<V: wire::Verb>(question: &[u8]) -> V {
        let question: wire::Question = serde_json::from_slice(question).unwrap();
        assert_eq!(question.verb(), V::NAME);
        question.read().unwrap()
    }

    #[test]
    fn the_broker_understands_the_question() {
        for holder in [Holder::User("alice".to_owned()), Holder::Uid(1000)] {
            for role in [None, Some("web-ops")] {
                let question = Question::Membership { holder: &holder, role, wait: 7 }.encode().unwrap();
                let wire::Membership { holder: heard, role: of, wait } = understood(&question);
                assert_eq!(wait.0, 7);
                assert_eq!(of.as_ref().map(|name| name.as_str()), role);
                assert!(matches!(heard, Some(wire::Holder::User(_) | wire::Holder::Uid(1000))));
            }
        }
    }

    #[test]
    fn the_broker_understands_a_session() {
        let question = Question::OpenSession {
            holder: &Holder::Uid(1000),
            role: Some("shell"),
            run_as: "alice",
            service: "sshd",
            tty: None,
            remote: Some("192.0.2.1"),
            pid: 42,
        };
        let new: wire::NewSession = understood(&question.encode().unwrap());
        assert_eq!((new.run_as.as_str(), new.pid, new.tty), ("alice", 42, None));
    }

    #[test]
    fn the_end_of_a_session_is_reported_and_confirmed() {
        let question = Question::CloseSession { run: "abc" }.encode().unwrap();
        assert_eq!(understood::<wire::CloseSession>(&question).run.as_str(), "abc");
        let line = serde_json::to_vec(&wire::Reply::<wire::CloseSession>::Ok(wire::Closed {})).unwrap();
        assert_eq!(closed(&line), Ok(()));
        assert!(membership(&line).is_err() && closed(b"{\"ok\":{}}").is_err());
    }

    #[test]
    fn the_answer_of_the_broker_is_understood() {
        let info = wire::MembershipInfo {
            holds: true,
            left: Some(jit_core::clock::duration::Seconds(60)),
            ..wire::MembershipInfo::default()
        };
        let line = serde_json::to_vec(&wire::Reply::<wire::Membership>::Ok(info)).unwrap();
        let told = membership(&line).unwrap();
        assert!(told.holds && told.left == Some(60) && told.grant.is_none());
    }

    #[test]
    fn an_invalid_answer_is_a_denial() {
        for line in [
            "",
            "yes",
            "true",
            "{}",
            "null",
            r#"{"ok":{}}"#,
            r#"{"ok":{"membership":{}}}"#,
            r#"{"ok":{"membership":{"holds":1}}}"#,
            r#"{"ok":{"membership":{"holds":"true"}}}"#,
            r#"{"ok":{"membership":{"holds":true}}} {}"#,
            r#"{"ok":{"membership":{"holds":true}},"error":{"message":"x"}}"#,
            r#"{"ok":{"membership":{"holds":false,"holds":true}}}"#,
            r#"{"ok":{"roles":[]}}"#,
            r#"{"error":{"message":"no"}}"#,
            "{\"ok\":{\"membership\":{\"holds\":true}}\0}",
        ] {
            assert!(membership(line.as_bytes()).is_err(), "{line}");
        }
        assert!(membership(&vec![b'['; 1 << 20]).is_err());
    }
}
