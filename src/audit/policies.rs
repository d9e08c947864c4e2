//! The policies that the records of a chain name: each was told of by a `policy` record before.
//! May not: need SQLite, a privilege or a clock; jitctl verifies exported records with this very code.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::{Cause, FirstBad};
use super::policy_history::{PolicyHistory, PolicyKeys};

/// What a record names.
pub(super) struct Named<'a> {
    pub(super) policy: &'a str,
    pub(super) role: Option<&'a str>,
    /// The digest of the role's text.
    pub(super) power: Option<&'a str>,
}

/// What is known of policies so far.
#[derive(Debug, Clone)]
pub(super) enum Policies {
    /// What was before the first record is taken for granted.
    Unasked,
    /// Each has to be known.
    Asked {
        /// By their digests.
        known: BTreeSet<String>,
        /// Named behind a pruned beginning, each by this record first: the `prune` record has to remember it.
        owed: BTreeMap<String, u64>,
        /// Which roles they had.
        history: Box<PolicyHistory>,
    },
}

impl Policies {
    /// Nothing is known. `whole`: nothing was before the first record.
    pub(super) fn asked(whole: bool) -> Self {
        Self::Asked { known: BTreeSet::new(), owed: BTreeMap::new(), history: Box::new(PolicyHistory::new(whole)) }
    }

    /// Which roles the policies had; nothing where nobody asks.
    pub(super) fn history(&self) -> Option<&PolicyHistory> {
        match self {
            Self::Unasked => None,
            Self::Asked { history, .. } => Some(history),
        }
    }

    /// Record `seq` is of the kind `policy`.
    pub(super) fn told(&mut self, seq: u64, policy: &str, keys: &PolicyKeys<'_>) -> Result<(), FirstBad> {
        let Self::Asked { known, history, .. } = self else { return Ok(()) };
        known.insert(policy.to_owned());
        history.tells(seq, policy, keys)
    }

    /// Record `seq` names a policy, which has to be known, and perhaps a role of it. `unproven`: the record of the pruning of
    /// what was before was not met yet.
    pub(super) fn named(&mut self, seq: u64, named: &Named<'_>, unproven: bool) -> Result<(), FirstBad> {
        let Self::Asked { known, owed, history } = self else { return Ok(()) };
        let policy = named.policy;
        if !known.contains(policy) {
            if !unproven {
                return Err(FirstBad { seq, cause: Cause::UnknownPolicy(policy.to_owned()) });
            }
            owed.entry(policy.to_owned()).or_insert(seq);
        }
        named.role.map_or(Ok(()), |role| history.judged(seq, policy, role, named.power))
    }

    /// The record of the pruning was met, which remembers these.
    pub(super) fn remembered(&mut self, policies: &[&str], keys: &PolicyKeys<'_>) -> Result<(), FirstBad> {
        let Self::Asked { known, owed, history } = self else { return Ok(()) };
        known.extend(policies.iter().map(|policy| (*policy).to_owned()));
        history.remembered(policies.first().copied(), keys);
        let missing = std::mem::take(owed).into_iter().filter(|(policy, _)| !known.contains(policy));
        match missing.min_by_key(|(_, seq)| *seq) {
            Some((policy, seq)) => Err(FirstBad { seq, cause: Cause::UnknownPolicy(policy) }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::{Begin, Chain, Verified, hash};
    use crate::audit::{Digest, Mark};

    /// A chain of these kinds; the second word is the policy that a record names.
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
            let body = format!("{{\"kind\":\"{kind}\",{named},\"prev\":\"{prev}\",\"seq\":{seq},\"time\":1{more}}}");
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
    fn a_start_or_grant_names_a_policy_of_which_a_record_before_it_tells() {
        let unknown = |seq, policy: &str| Err(FirstBad { seq, cause: Cause::UnknownPolicy(policy.to_owned()) });
        let two = [("policy", "a"), ("policy", "b"), ("start", "a"), ("grant", "b"), ("start", "b")];
        assert_eq!(fed(Begin::First, &two).unwrap().records, 5);
        assert_eq!(fed(Begin::First, &two[1..]), unknown(2, "a"));
        assert_eq!(fed(Begin::First, &[("start", "a"), ("policy", "a")]), unknown(1, "a"), "not afterwards");
        assert_eq!(fed(Begin::First, &[("policy", "a"), ("grant", "b")]), unknown(2, "b"));
        assert_eq!(fed(Begin::Part(1), &two[2..]).unwrap().records, 3, "what was before a part is taken for granted");
        let said = fed(Begin::First, &[("start", "a")]).unwrap_err().to_string();
        assert_eq!(said, "record 1 names policy a, and no policy record before it has that digest");
    }

    #[test]
    fn behind_a_pruned_beginning_the_record_of_the_pruning_knows_the_policies() {
        let mark = Mark { seq: 2, hash: Digest([9; 32]) };
        // The records of a pruned chain are numbered and linked behind the last one that went.
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
        assert!(fed(&[("prune", "a"), ("start", "a"), ("policy", "b"), ("start", "b"), ("start", "a")]).is_ok());
        let unknown = |seq, policy: &str| Err(FirstBad { seq, cause: Cause::UnknownPolicy(policy.to_owned()) });
        assert_eq!(fed(&[("start", "b"), ("start", "c"), ("prune", "a")]), unknown(3, "b"));
        assert_eq!(fed(&[("start", "a"), ("prune", "a"), ("start", "b")]), unknown(5, "b"));
        assert!(matches!(fed(&[("start", "b")]), Err(FirstBad { cause: Cause::NotPruned, .. })));
    }
}
