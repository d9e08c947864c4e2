//! Whether a grant is the intersection of its request and its approvals, as its signer must make it. Pure; the same for each use of
//! a grant and for a verification of the evidence.

use std::fmt;

use crate::clock::duration::{Seconds, spell};

use super::terms::{ApprovalTerms, Flag, GrantTerms, RequestTerms};

/// How one approval narrows its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The maximum duration in seconds; 0 for the requested one.
    pub duration: Seconds,
    /// Limited to the exact command.
    pub exact: Flag,
    /// Limited to one run.
    pub one_shot: Flag,
}

impl Limits {
    /// Returns whether an approval with these limits allows something that one with the limits `before` did not.
    pub fn is_wider_than(&self, before: &Self) -> bool {
        let is_lost = |before: Flag, now: Flag| before.is_set() && !now.is_set();
        let is_longer =
            before.duration.positive().is_some_and(|most| self.duration.positive().is_none_or(|now| now > most));
        is_longer || is_lost(before.exact, self.exact) || is_lost(before.one_shot, self.one_shot)
    }
}

impl From<&ApprovalTerms> for Limits {
    fn from(terms: &ApprovalTerms) -> Self {
        Self { duration: terms.duration, exact: terms.exact, one_shot: terms.one_shot }
    }
}

/// What a grant allows and its request or an approval does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// This key has another value than in the request.
    Key(&'static str),
    /// It is not limited to the exact command.
    NotExact,
    /// It is not limited to one run.
    NotOneShot,
    /// It is valid for these seconds, and these were approved.
    Longer(Seconds, Seconds),
    /// It does not start when it was signed, or at the requested time if that is later.
    Start,
    /// It was signed after the deadline of its request.
    Late,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "its {key} is not that of its request"),
            Self::NotExact => f.write_str("it is not limited to its command, as it was approved"),
            Self::NotOneShot => f.write_str("it is not limited to one run, as it was approved"),
            Self::Longer(has, approved) => {
                write!(f, "it is valid for {}, and {} were approved", spell(*has), spell(*approved))
            }
            Self::Start => f.write_str("it starts at another time than it was approved for"),
            Self::Late => f.write_str("it was signed after the deadline of its request"),
        }
    }
}

impl GrantTerms {
    /// Checks that this grant allows nothing beyond `asked` and the approvals that it names.
    ///
    /// # Errors
    /// The first thing that it allows beyond them.
    pub fn is_within(&self, asked: &RequestTerms, approvals: &[Limits]) -> Result<(), Excess> {
        let same = [
            ("id", self.id == asked.id),
            ("host", self.host == asked.host.id),
            ("uid", self.uid == asked.uid),
            ("user", self.user == asked.user),
            ("role", self.role == asked.role),
            ("role_digest", self.role_digest == asked.role_digest),
            ("run_as", self.run_as == asked.run_as),
            ("command", self.command == asked.command),
            ("break_glass", self.break_glass == asked.break_glass),
            ("extends", self.extends == asked.extends),
        ];
        if let Some((key, _)) = same.iter().find(|(_, same)| !same) {
            return Err(Excess::Key(key));
        }
        let any = |asked: Flag, limit: fn(&Limits) -> Flag| approvals.iter().map(limit).fold(asked, Flag::or).is_set();
        if any(asked.exact, |limits| limits.exact) && !self.exact.is_set() {
            return Err(Excess::NotExact);
        }
        if any(asked.one_shot, |limits| limits.one_shot) && !self.one_shot.is_set() {
            return Err(Excess::NotOneShot);
        }
        if self.starts != self.issued.max(asked.start) {
            return Err(Excess::Start);
        }
        // A request without approvals is granted at once, whatever its deadline.
        if !approvals.is_empty() && self.issued >= asked.deadline {
            return Err(Excess::Late);
        }
        let durations = approvals.iter().filter_map(|limits| limits.duration.positive());
        let approved = durations.fold(asked.duration, Seconds::min);
        let has = Seconds::between(self.starts, self.expires);
        if has > approved { Err(Excess::Longer(has, approved)) } else { Ok(()) }
    }
}
