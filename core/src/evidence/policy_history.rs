//! The roles of each policy, tracked from one `policy` record to the next, and what the last record says of the
//! compiled tables. This module needs no SQLite, no privilege and no clock: jitctl verifies exported records with the
//! same code.

use std::collections::{BTreeMap, HashMap};

use super::faults::{Cause, FirstBad};
pub use super::policy_keys::LastPolicy;
use super::policy_keys::PolicyKeys;

/// The policy and role that a record names.
pub(super) struct Named<'a> {
    pub(super) policy: &'a str,
    pub(super) role: Option<&'a str>,
    /// The digest of the role's text.
    pub(super) power: Option<&'a str>,
    /// The digest with which `policy` records identify the role.
    pub(super) sha256: Option<&'a str>,
}

/// The state of a role after a `policy` record.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Present { sha256: String, power: Option<String> },
    Absent,
}

/// What is known of a role at a given record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known<'h> {
    Present { sha256: &'h str, power: Option<&'h str> },
    Absent,
    Unknown,
}

/// All policies so far.
#[derive(Debug, Clone)]
pub struct PolicyHistory {
    /// Whether there are no records before the first one.
    whole: bool,
    /// The number of `policy` records.
    count: usize,
    /// The changes of each role, by its name and the index of the record.
    roles: HashMap<String, Vec<(usize, State)>>,
    /// The records with incomplete lists.
    gaps: Vec<usize>,
    /// Roles that records named while nothing was known of them, and that have not changed since.
    held: BTreeMap<String, NamedRole>,
    last: LastPolicy,
}

/// A role that a record named, to be compared with later records.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NamedRole {
    /// The first record that named it.
    seq: u64,
    sha256: Option<String>,
    power: Option<String>,
}

impl NamedRole {
    fn is(&self, sha256: &str, power: Option<&str>) -> bool {
        self.sha256.as_deref().is_none_or(|said| said == sha256)
            && self.power.as_deref().zip(power).is_none_or(|(said, known)| said == known)
    }
}

impl PolicyHistory {
    /// Starts without policies. `whole`: there are no records before the first one.
    pub(super) fn new(whole: bool) -> Self {
        Self {
            whole,
            count: 0,
            roles: HashMap::new(),
            gaps: Vec::new(),
            held: BTreeMap::new(),
            last: LastPolicy::default(),
        }
    }

    /// Processes record `seq`, which introduces this policy.
    ///
    /// # Errors
    /// When it removes or changes a role that is not in the state that it gives, or adds one that exists.
    pub(super) fn tells(&mut self, seq: u64, policy: &str, keys: &PolicyKeys<'_>) -> Result<(), FirstBad> {
        let index = self.count;
        let counted = keys.counted().map_or(Ok(()), |list| {
            let what = format!("counts the roles that were {list}, but does not list them");
            Err(FirstBad { seq, cause: Cause::Policies(what) })
        });
        if !keys.are_whole() {
            self.gaps.push(index);
        }
        // A policy compiled into empty tables, as after a change of their format: it adds all its roles, and none
        // existed before.
        if keys.replaces.is_none() {
            let gone: Vec<String> = self.present().map(str::to_owned).collect();
            gone.iter().for_each(|role| self.becomes(index, role, State::Absent));
        }
        let mut inconsistency = Ok(());
        let is_whole = self.whole && self.gaps.is_empty() && keys.replaces.is_some();
        for (list, entries) in [("added", &keys.added), ("changed", &keys.changed), ("removed", &keys.removed)] {
            for entry in entries.iter().filter(|_| is_whole) {
                let fits = match (list, self.at(&entry.role, index)) {
                    ("added", Known::Absent) | ("changed", Known::Present { .. }) => true,
                    ("removed", Known::Present { sha256, .. }) => sha256 == entry.sha256,
                    _ => false,
                };
                if !fits {
                    let role = crate::escape::escape(entry.role.as_bytes());
                    let what = format!("role {role} was {list}, which contradicts the earlier policy records");
                    inconsistency =
                        inconsistency.and(Err(FirstBad { seq, cause: Cause::Policies(format!("says that {what}")) }));
                }
            }
        }
        let inconsistency = counted.and(inconsistency).and(self.release(keys));
        for entry in keys.added.iter().chain(&keys.changed) {
            let power = entry.role_digest.map(str::to_owned);
            self.becomes(index, &entry.role, State::Present { sha256: entry.sha256.to_owned(), power });
        }
        keys.removed.iter().for_each(|entry| self.becomes(index, &entry.role, State::Absent));
        self.count = self.count.saturating_add(1);
        self.last = LastPolicy { policy: Some(policy.to_owned()), files: keys.files(), ..keys.tables() };
        inconsistency
    }

    /// Processes the `prune` record, which contains what the last removed `policy` record said.
    pub(super) fn remembered(&mut self, policy: Option<&str>, keys: &PolicyKeys<'_>) {
        if self.count == 0 {
            self.last = LastPolicy { policy: policy.map(str::to_owned), ..keys.tables() };
        }
    }

    /// Processes record `seq`, which depends on this role of the last policy.
    ///
    /// # Errors
    /// When the policy has no such role, or a different one.
    pub(super) fn judged(&mut self, seq: u64, role: &str, named: &Named<'_>) -> Result<(), FirstBad> {
        let policy = named.policy;
        let shown = crate::escape::escape(role.as_bytes());
        let wrong = |what: String| Err(FirstBad { seq, cause: Cause::Policies(what) });
        match self.at(role, self.count) {
            Known::Unknown => self.hold(seq, role, named),
            Known::Absent => wrong(format!("names role {shown}, which policy {policy} does not have")),
            Known::Present { sha256, power } => {
                let same = named.sha256.is_none_or(|said| said == sha256)
                    && named.power.zip(power).is_none_or(|(said, recorded)| said == recorded);
                if same {
                    return Ok(());
                }
                wrong(format!("names role {shown} of policy {policy} with another digest than that policy's record"))
            }
        }
    }

    /// Stores a role of which nothing is known yet, to compare it with later records.
    fn hold(&mut self, seq: u64, role: &str, named: &Named<'_>) -> Result<(), FirstBad> {
        let (sha256, power) = (named.sha256.map(str::to_owned), named.power.map(str::to_owned));
        let Some(held) = self.held.get_mut(role) else {
            self.held.insert(role.to_owned(), NamedRole { seq, sha256, power });
            return Ok(());
        };
        let same = |said: &Option<String>, now: &Option<String>| said.is_none() || now.is_none() || said == now;
        if !same(&held.sha256, &sha256) || !same(&held.power, &power) {
            let (role, policy) = (crate::escape::escape(role.as_bytes()), named.policy);
            let what = format!("names role {role} of policy {policy} with another digest than record {}", held.seq);
            return Err(FirstBad { seq, cause: Cause::Policies(what) });
        }
        held.sha256 = held.sha256.take().or(sha256);
        held.power = held.power.take().or(power);
        Ok(())
    }

    /// Compares stored roles with a `policy` record, which gives their previous state, or changes them, or may have
    /// changed them.
    fn release(&mut self, keys: &PolicyKeys<'_>) -> Result<(), FirstBad> {
        let wrong = |held: &NamedRole, role: &str, what: &str| {
            let what = format!("names role {}, {what}", crate::escape::escape(role.as_bytes()));
            Err(FirstBad { seq: held.seq, cause: Cause::Policies(what) })
        };
        if keys.replaces.is_none() {
            self.held.clear();
        }
        let mut inconsistency = Ok(());
        for entry in &keys.added {
            if let Some(held) = self.held.remove(&*entry.role) {
                inconsistency = inconsistency.and(wrong(&held, &entry.role, "which a later policy added first"));
            }
        }
        for entry in &keys.removed {
            if let Some(held) = self.held.remove(&*entry.role).filter(|held| !held.is(entry.sha256, entry.role_digest))
            {
                inconsistency =
                    inconsistency.and(wrong(&held, &entry.role, "which had another digest when it was removed"));
            }
        }
        for entry in &keys.changed {
            self.held.remove(&*entry.role);
        }
        if !keys.are_whole() {
            self.held.clear();
        }
        inconsistency
    }

    /// Returns the first record that names this role of the last policy with another digest than its row has, if no
    /// `policy` record mentions it. `power`: the digest of the role's text.
    pub fn held_otherwise(&self, role: &str, sha256: &str, power: Option<&str>) -> Option<u64> {
        self.held.get(role).filter(|held| !held.is(sha256, power)).map(|held| held.seq)
    }

    /// Returns the roles that records name and that no `policy` record mentions, each with the first of those records.
    pub fn held(&self) -> impl Iterator<Item = (&str, u64)> {
        self.held.iter().map(|(role, held)| (role.as_str(), held.seq))
    }

    /// Returns what the last `policy` record says.
    pub fn last(&self) -> &LastPolicy {
        &self.last
    }

    /// Returns whether no policy is known, because records were pruned or there were none.
    pub fn is_unknown(&self) -> bool {
        !self.whole && self.last.policy.is_none()
    }

    /// Returns the digest of this role in the last policy; the outer `None` means that it is unknown.
    pub fn role(&self, name: &str) -> Option<Option<&str>> {
        match self.at(name, self.count) {
            Known::Present { sha256, .. } => Some(Some(sha256)),
            Known::Absent => Some(None),
            Known::Unknown => None,
        }
    }

    /// Returns the known roles of the last policy, in no order.
    pub fn present(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str).filter(|name| matches!(self.role(name), Some(Some(_))))
    }

    fn becomes(&mut self, index: usize, role: &str, state: State) {
        self.roles.entry(role.to_owned()).or_default().push((index, state));
    }

    /// Returns what the records before index `end` say of the role.
    fn at(&self, role: &str, end: usize) -> Known<'_> {
        let said = self.roles.get(role).map_or(&[][..], Vec::as_slice);
        let said = said.get(..said.partition_point(|(index, _)| *index < end)).and_then(<[_]>::last);
        // A truncated list may have contained it.
        let behind = said.map_or(0, |(index, _)| index.saturating_add(1));
        let gap = self.gaps.get(self.gaps.partition_point(|gap| *gap < behind)).is_some_and(|gap| *gap < end);
        match said {
            _ if gap => Known::Unknown,
            Some((_, State::Present { sha256, power })) => Known::Present { sha256, power: power.as_deref() },
            Some((_, State::Absent)) => Known::Absent,
            None if self.whole => Known::Absent,
            None => Known::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::LISTED;

    /// Formats one list of a record.
    fn list(name: &str, roles: &[(&str, &str)], count: usize) -> String {
        let entry =
            |(role, power): &(&str, &str)| format!(r#"{{"role":"{role}","role_digest":"{power}","sha256":"{power}"}}"#);
        let entries: Vec<String> = roles.iter().map(entry).collect();
        format!(r#""{name}":[{}],"{name}_count":{count}"#, entries.join(","))
    }

    type Lists<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);

    fn told(history: &mut PolicyHistory, policy: &str, (added, changed, removed): Lists<'_>) -> Result<(), FirstBad> {
        let lists = [
            list("added", added, added.len()),
            list("changed", changed, changed.len()),
            list("removed", removed, removed.len()),
        ];
        let text = format!(r#"{{"file_count":0,"replaces":"o",{}}}"#, lists.join(","));
        history.tells(9, policy, &serde_json::from_str(&text).unwrap())
    }

    /// Processes a record whose list of added roles is truncated.
    fn cut_off(history: &mut PolicyHistory, policy: &str, added: &[(&str, &str)]) {
        let others: Vec<String> = (added.len()..LISTED).map(|number| format!("~{number}")).collect();
        let added: Vec<(&str, &str)> =
            added.iter().copied().chain(others.iter().map(|name| (name.as_str(), "0"))).collect();
        let lists = [list("added", &added, 300), list("changed", &[], 0), list("removed", &[], 0)];
        let text = format!(r#"{{"added_sha256":"x","file_count":0,"replaces":"o",{}}}"#, lists.join(","));
        history.tells(9, policy, &serde_json::from_str(&text).unwrap()).unwrap();
    }

    fn judged(history: &PolicyHistory, role: &str, sha256: Option<&str>, power: Option<&str>) -> Result<(), String> {
        let policy = history.last().policy.clone().unwrap();
        let named = Named { policy: &policy, role: Some(role), power, sha256 };
        history.clone().judged(7, role, &named).map_err(|bad| bad.to_string())
    }

    #[test]
    fn a_list_is_complete_or_truncated_at_the_limit() {
        let said = |changed: &str| {
            let text = format!(
                r#"{{"file_count":0,"replaces":"o",{},{changed},{}}}"#,
                list("added", &[], 0),
                list("removed", &[], 0)
            );
            PolicyHistory::new(false).tells(9, "p", &serde_json::from_str(&text).unwrap()).is_ok()
        };
        let names: Vec<String> = (0..LISTED).map(|number| format!("r{number}")).collect();
        let long: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let digest = r#","changed_sha256":"x""#;
        assert!(said(&list("changed", &long, LISTED)) && said(&(list("changed", &long, LISTED + 1) + digest)));
        assert!(!said(&list("changed", &long, LISTED + 1)), "no digest of the whole");
        assert!(!said(&(list("changed", &long, LISTED - 1) + digest)));
        assert!(!said(&(list("changed", &[], 1) + digest)), "no list");
        assert!(!said(r#""changed_count":1"#));
    }

    #[test]
    fn a_record_names_a_role_of_the_policy_in_force() {
        let mut history = PolicyHistory::new(true);
        told(&mut history, "p", (&[("a", "1"), ("b", "2")], &[], &[])).unwrap();
        let check = |history: &PolicyHistory, rows: &[(&str, Option<&str>, bool)]| {
            for (role, digest, right) in rows {
                assert_eq!(judged(history, role, None, *digest).is_ok(), *right, "{role} {digest:?}");
                assert_eq!(judged(history, role, *digest, None).is_ok(), *right, "{role} {digest:?}");
            }
        };
        check(&history, &[("a", Some("1"), true), ("a", Some("2"), false), ("a", None, true), ("c", Some("3"), false)]);
        assert!(judged(&history, "a", Some("1"), Some("1")).is_ok());
        assert!(judged(&history, "a", Some("2"), Some("1")).is_err(), "the same power for other people");
        told(&mut history, "q", (&[("c", "3")], &[("b", "4")], &[("a", "1")])).unwrap();
        check(
            &history,
            &[("b", Some("2"), false), ("b", Some("4"), true), ("a", Some("1"), false), ("ghost", None, false)],
        );
        let said = judged(&history, "a", None, None).unwrap_err();
        assert_eq!(said, "record 7 names role a, which policy q does not have");
        let said = judged(&history, "b", Some("2"), None).unwrap_err();
        assert_eq!(said, "record 7 names role b of policy q with another digest than that policy's record");
        // The same files again, compiled by another version.
        told(&mut history, "p", (&[("a", "9")], &[("b", "8")], &[("c", "3")])).unwrap();
        check(
            &history,
            &[("a", Some("9"), true), ("a", Some("1"), false), ("b", Some("8"), true), ("c", Some("3"), false)],
        );
        assert_eq!((history.role("a"), history.role("ghost")), (Some(Some("9")), Some(None)));
    }

    #[test]
    fn a_policy_record_that_contradicts_earlier_ones_is_found() {
        let after = |lists: Lists<'_>| {
            let mut history = PolicyHistory::new(true);
            told(&mut history, "p", (&[("a", "1")], &[], &[])).unwrap();
            told(&mut history, "q", lists).map_err(|bad| bad.to_string())
        };
        assert_eq!(after((&[], &[], &[("a", "1")])), Ok(()));
        for lists in [
            (&[][..], &[][..], &[("ghost", "1")][..]),
            (&[], &[], &[("a", "2")]),
            (&[("a", "2")], &[], &[]),
            (&[], &[("ghost", "2")], &[]),
        ] {
            let said = after(lists).unwrap_err();
            assert!(said.ends_with("which contradicts the earlier policy records"), "{said}");
        }
    }

    #[test]
    fn after_a_truncated_list_or_a_pruning_only_listed_roles_are_known() {
        let mut history = PolicyHistory::new(true);
        told(&mut history, "p", (&[("a", "1")], &[], &[])).unwrap();
        assert!(judged(&history, "b", Some("2"), None).is_err(), "before it all is known");
        cut_off(&mut history, "q", &[("b", "2")]);
        let judged = |history: &PolicyHistory, role, digest| judged(history, role, Some(digest), None).is_ok();
        assert!(judged(&history, "ghost", "5") && judged(&history, "a", "5"), "perhaps among the others");
        assert!(!judged(&history, "b", "5"));
        told(&mut history, "r", (&[], &[], &[("ghost", "5")])).unwrap();
        assert!(!judged(&history, "ghost", "5") && judged(&history, "a", "5"));
        assert_eq!((history.role("ghost"), history.role("a")), (Some(None), None));

        let mut history = PolicyHistory::new(false);
        assert!(history.is_unknown());
        told(&mut history, "p", (&[("b", "2")], &[], &[("a", "1")])).unwrap();
        assert!(judged(&history, "ghost", "5") && !judged(&history, "a", "1") && !judged(&history, "b", "1"));
        assert!(!history.is_unknown());
    }

    #[test]
    fn a_policy_that_replaces_none_has_only_the_roles_that_it_adds() {
        let mut history = PolicyHistory::new(true);
        told(&mut history, "p", (&[("a", "1"), ("b", "2")], &[], &[])).unwrap();
        let lists = [list("added", &[("b", "2")], 1), list("changed", &[], 0), list("removed", &[], 0)];
        let text = format!(r#"{{"file_count":0,{}}}"#, lists.join(","));
        history.tells(9, "q", &serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!((history.role("a"), history.role("b")), (Some(None), Some(Some("2"))));
        assert!(judged(&history, "a", None, None).is_err() && judged(&history, "b", Some("2"), None).is_ok());
    }

    #[test]
    fn the_prune_record_describes_the_policy_until_the_next_one() {
        let keys: PolicyKeys<'_> = serde_json::from_str(r#"{"roles_sha256":"r","settings_sha256":"s"}"#).unwrap();
        let mut history = PolicyHistory::new(false);
        history.remembered(Some("p"), &keys);
        let last = history.last().clone();
        assert_eq!((last.policy.as_deref(), last.roles_sha256.as_deref(), last.files), (Some("p"), Some("r"), None));
        told(&mut history, "q", (&[], &[], &[])).unwrap();
        history.remembered(Some("p"), &keys);
        assert_eq!((history.last().policy.as_deref(), history.last().roles_sha256.as_deref()), (Some("q"), None));
    }
}
