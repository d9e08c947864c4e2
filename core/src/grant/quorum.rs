//! Which approvals of a request count together: each is by another person with another key, and none is by the requester. One rule
//! for the broker, which grants, for each use of a grant, and for a verification of the evidence.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an approval does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uncounted {
    /// The requester gave it.
    OwnRequest,
    /// Its approver gave another one that counts.
    SamePerson,
    /// Another one that counts was signed with the same key.
    SameKey,
    /// It is for another text of the role than the request.
    OtherRole,
    /// Its author is not an approver of the role.
    NotAnApprover,
    /// The role requires a signature, and it has none.
    Unsigned,
    /// Its signature or its key is not valid.
    NotValid,
    /// The role requires a password or a verified user, and the approver gave none.
    NotAuthenticated,
    /// Its approver gave a later one, which is not wider.
    Superseded,
}

impl fmt::Display for Uncounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnRequest => "its author made the request",
            Self::SamePerson => "its approver gave another one",
            Self::SameKey => "another one was signed with the same key",
            Self::OtherRole => "it is for another text of the role",
            Self::NotAnApprover => "its author is not an approver of the role",
            Self::Unsigned => "it is not signed",
            Self::NotValid => "its signature or its key is not valid",
            Self::NotAuthenticated => "its approver was not authenticated as the role requires",
            Self::Superseded => "its approver gave a later one",
        })
    }
}

/// The approvals that count so far.
pub struct Quorum<'a, K> {
    requester: (i64, &'a [u8]),
    people: Vec<(i64, &'a [u8])>,
    keys: Vec<K>,
}

impl<'a, K: PartialEq> Quorum<'a, K> {
    /// Starts without approvals, for a request by the user with this uid and name.
    pub fn new(uid: i64, name: &'a [u8]) -> Self {
        Self { requester: (uid, name), people: Vec::new(), keys: Vec::new() }
    }

    /// Adds the approval of the user with this uid and name, who signed it with `key`, if at all. Either of uid and name is enough
    /// to be the same person.
    ///
    /// # Errors
    /// It does not count beside the previous ones.
    pub fn admit(&mut self, uid: i64, name: &'a [u8], key: Option<K>) -> Result<(), Uncounted> {
        let is = |person: &(i64, &[u8])| person.0 == uid || person.1 == name;
        if is(&self.requester) {
            return Err(Uncounted::OwnRequest);
        }
        if self.people.iter().any(is) {
            return Err(Uncounted::SamePerson);
        }
        if key.as_ref().is_some_and(|key| self.keys.contains(key)) {
            return Err(Uncounted::SameKey);
        }
        self.people.push((uid, name));
        self.keys.extend(key);
        Ok(())
    }

    /// Returns the number of approvals that count.
    pub fn count(&self) -> usize {
        self.people.len()
    }

    /// Returns whether as many as `needed` count.
    pub fn reaches(&self, needed: u32) -> bool {
        usize::try_from(needed).is_ok_and(|needed| self.count() >= needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_approval_counts_that_is_by_another_person_with_another_key() {
        let mut quorum = Quorum::new(1000, b"alice");
        assert_eq!(quorum.admit(1001, b"bob", Some("k1")), Ok(()));
        assert_eq!(quorum.admit(1000, b"other", Some("k2")), Err(Uncounted::OwnRequest), "under another name");
        assert_eq!(quorum.admit(1009, b"alice", Some("k2")), Err(Uncounted::OwnRequest), "with another uid");
        assert_eq!(quorum.admit(1001, b"robert", None), Err(Uncounted::SamePerson));
        assert_eq!(quorum.admit(1009, b"bob", None), Err(Uncounted::SamePerson));
        assert_eq!(quorum.admit(1002, b"carol", Some("k1")), Err(Uncounted::SameKey));
        assert!(quorum.reaches(1) && !quorum.reaches(2));
        assert_eq!(quorum.admit(1002, b"carol", None), Ok(()));
        assert_eq!(quorum.admit(1003, b"dave", None), Ok(()), "several without a key");
        assert!(quorum.reaches(3) && !quorum.reaches(u32::MAX));
    }
}
