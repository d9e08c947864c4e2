//! The policies that the records of a chain name: a `policy` record must introduce each of them first. This module
//! needs no SQLite, no privilege and no clock: jitctl verifies exported records with the same code.

use std::collections::{BTreeMap, BTreeSet};

use super::faults::{Cause, FirstBad};
use super::policy_history::{Named, PolicyHistory};
use super::policy_keys::PolicyKeys;

/// The policies that are known so far.
#[derive(Debug, Clone)]
pub(super) enum Policies {
    /// Policies are not checked, because earlier records are not verified.
    Unasked,
    /// Each policy has to be known.
    Asked {
        /// The digests of the known policies.
        known: BTreeSet<String>,
        /// Policies named after a pruned beginning, each with the first record that names it: the `prune` record has to
        /// list them.
        owed: BTreeMap<String, u64>,
        /// Their roles.
        history: Box<PolicyHistory>,
    },
}

impl Policies {
    /// Starts without known policies. `whole`: there are no records before the first one.
    pub(super) fn asked(whole: bool) -> Self {
        Self::Asked { known: BTreeSet::new(), owed: BTreeMap::new(), history: Box::new(PolicyHistory::new(whole)) }
    }

    /// Returns the roles of the policies; `None` when policies are not checked.
    pub(super) fn history(&self) -> Option<&PolicyHistory> {
        match self {
            Self::Unasked => None,
            Self::Asked { history, .. } => Some(history),
        }
    }

    /// Processes record `seq`, of kind `policy`.
    pub(super) fn told(&mut self, seq: u64, policy: &str, keys: &PolicyKeys<'_>) -> Result<(), FirstBad> {
        let Self::Asked { known, history, .. } = self else { return Ok(()) };
        known.insert(policy.to_owned());
        history.tells(seq, policy, keys)
    }

    /// Processes record `seq`, which names a policy, and perhaps a role of it. The policy has to be the one in force.
    /// `unproven`: the `prune` record of the removed beginning is yet to come.
    pub(super) fn named(&mut self, seq: u64, named: &Named<'_>, unproven: bool) -> Result<(), FirstBad> {
        let Self::Asked { known, owed, history } = self else { return Ok(()) };
        let policy = named.policy;
        match history.last().policy.as_deref() {
            Some(last) if last == policy => {}
            Some(last) if known.contains(policy) => {
                let cause = Cause::OtherPolicy(policy.to_owned(), last.to_owned());
                return Err(FirstBad { seq, cause });
            }
            None if unproven => {
                owed.entry(policy.to_owned()).or_insert(seq);
            }
            Some(_) | None => return Err(FirstBad { seq, cause: Cause::UnknownPolicy(policy.to_owned()) }),
        }
        named.role.map_or(Ok(()), |role| history.judged(seq, role, named))
    }

    /// Processes the `prune` record, which lists these policies.
    pub(super) fn remembered(&mut self, policies: &[&str], keys: &PolicyKeys<'_>) -> Result<(), FirstBad> {
        let Self::Asked { known, owed, history } = self else { return Ok(()) };
        known.extend(policies.iter().map(|policy| (*policy).to_owned()));
        history.remembered(policies.first().copied(), keys);
        // Records between the removed ones and the next `policy` record depend on the last removed policy.
        let wrong = std::mem::take(owed).into_iter().filter(|(policy, _)| policies.first() != Some(&policy.as_str()));
        let Some((policy, seq)) = wrong.min_by_key(|(_, seq)| *seq) else { return Ok(()) };
        let cause = match policies.first() {
            Some(last) if known.contains(&policy) => Cause::OtherPolicy(policy, (*last).to_owned()),
            Some(_) | None => Cause::UnknownPolicy(policy),
        };
        Err(FirstBad { seq, cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::chain::{Begin, Chain, Verified, hash};
    use crate::evidence::{Digest, Mark};

    /// Returns a chain of records of these kinds; the second text is the policy that a record names.
    fn of_policies(kinds: &[(&str, &str)]) -> Vec<Vec<u8>> {
        let mut prev = Digest::ZERO;
        let record = |(seq, (kind, policy)): (u64, &(&str, &str))| {
            let named = if *kind == "prune" {
                format!("\"policies\":[\"{policy}\"]")
            } else {
                format!("\"policy\":\"{policy}\"")
            };
            let more = if *kind == "prune" {
                format!(",\"through\":2,\"head\":\"{}\"", Digest([9; 32]))
            } else {
                String::new()
            };
            let body = format!(
                "{{\"boot\":1,\"boot_id\":\"b\",\"host\":\"web1\",\"kind\":\"{kind}\",{named},\"prev\":\"{prev}\",\"seq\":{seq},\
                 \"time\":1,\"version\":1{more}}}"
            );
            prev = hash(body.as_bytes());
            body.into_bytes()
        };
        (1..).zip(kinds).map(record).collect()
    }

    fn fed(begin: Begin, kinds: &[(&str, &str)]) -> Result<Verified, FirstBad> {
        let mut chain = Chain::new(begin);
        for body in of_policies(kinds) {
            chain.feed_bare(&body)?;
        }
        chain.end()
    }

    #[test]
    fn a_start_or_grant_names_a_policy_of_an_earlier_record() {
        let unknown = |seq, policy: &str| Err(FirstBad { seq, cause: Cause::UnknownPolicy(policy.to_owned()) });
        let two = [("policy", "a"), ("start", "a"), ("policy", "b"), ("grant", "b"), ("start", "b")];
        assert_eq!(fed(Begin::First, &two).unwrap().records, 5);
        assert_eq!(fed(Begin::First, &two[1..]), unknown(1, "a"));
        assert_eq!(fed(Begin::First, &[("start", "a"), ("policy", "a")]), unknown(1, "a"), "not afterwards");
        assert_eq!(fed(Begin::First, &[("policy", "a"), ("grant", "b")]), unknown(2, "b"));
        assert_eq!(fed(Begin::Part(1), &two[3..]).unwrap().records, 2, "what was before a part is taken for granted");
        let other = |seq, policy: &str, last: &str| {
            Err(FirstBad { seq, cause: Cause::OtherPolicy(policy.to_owned(), last.to_owned()) })
        };
        let back = [("policy", "a"), ("policy", "b"), ("start", "a")];
        assert_eq!(fed(Begin::First, &back), other(3, "a", "b"), "one that was in force before");
        let said = fed(Begin::First, &back).unwrap_err().to_string();
        assert_eq!(said, "record 3 names policy a, and at that time policy b was in force");
        let said = fed(Begin::First, &[("start", "a")]).unwrap_err().to_string();
        assert_eq!(said, "record 1 names policy a, and no earlier policy record has that digest");
    }

    #[test]
    fn the_prune_record_lists_the_policies_of_removed_records() {
        let mark = Mark { seq: 2, hash: Digest([9; 32]) };
        // The records of a pruned chain are numbered and linked after the last removed one.
        let fed = |kinds: &[(&str, &str)]| {
            let mut chain = Chain::new(Begin::Pruned(mark));
            let mut prev = mark.hash;
            for (seq, body) in (3..).zip(of_policies(kinds)) {
                let mut record: serde_json::Value = serde_json::from_slice(&body).unwrap();
                (record["seq"], record["prev"]) = (seq.into(), prev.to_string().into());
                let body = record.to_string();
                prev = hash(body.as_bytes());
                chain.feed_bare(body.as_bytes())?;
            }
            chain.end()
        };
        assert!(fed(&[("start", "a"), ("prune", "a"), ("start", "a")]).is_ok());
        assert!(fed(&[("prune", "a"), ("start", "a"), ("policy", "b"), ("start", "b")]).is_ok());
        assert!(fed(&[("start", "a"), ("policy", "b"), ("start", "b"), ("prune", "a"), ("start", "b")]).is_ok());
        assert!(matches!(
            fed(&[("prune", "a"), ("policy", "b"), ("start", "a")]),
            Err(FirstBad { seq: 5, cause: Cause::OtherPolicy(..) })
        ));
        let unknown = |seq, policy: &str| Err(FirstBad { seq, cause: Cause::UnknownPolicy(policy.to_owned()) });
        assert_eq!(fed(&[("start", "b"), ("start", "c"), ("prune", "a")]), unknown(3, "b"));
        assert_eq!(fed(&[("start", "a"), ("prune", "a"), ("start", "b")]), unknown(5, "b"));
        assert!(matches!(fed(&[("start", "b")]), Err(FirstBad { cause: Cause::NotPruned, .. })));
    }
}
