//! The tree against the crate `ct-merkle`, an independent implementation of RFC 6962, and against published roots.

use std::convert::Infallible;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use sha2::Sha256;

use super::*;

/// All leaves in memory.
struct Leaves(Vec<Digest>);

impl Subtrees for Leaves {
    type Error = Infallible;

    fn hash(&self, height: u32, place: u64) -> Result<Digest, Infallible> {
        if height == 0 {
            return Ok(leaf(self.0[usize::try_from(place).unwrap()]));
        }
        Ok(node(self.hash(height - 1, 2 * place)?, self.hash(height - 1, 2 * place + 1)?))
    }
}

fn records(count: u8) -> Vec<Digest> {
    (0..count).map(|number| Digest(Sha256::digest([number]).into())).collect()
}

fn grown(records: &[Digest]) -> Frontier {
    let mut frontier = Frontier::default();
    records.iter().for_each(|record| frontier.push(*record, |_| ()));
    frontier
}

/// The same tree by the other implementation.
fn other(records: &[Digest]) -> MemoryBackedTree<Sha256, [u8; 32]> {
    let mut tree = MemoryBackedTree::new();
    records.iter().for_each(|record| tree.push(record.0));
    tree
}

fn bytes(proof: &[Digest]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

fn root_of(head: &TreeHead) -> RootHash<Sha256> {
    RootHash::new(head.root.0.into(), head.size)
}

#[test]
fn roots_are_those_of_another_implementation() {
    let (records, mut frontier) = (records(130), Frontier::default());
    assert_eq!(frontier.head().root.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (index, record) in records.iter().enumerate() {
        frontier.push(*record, |_| ());
        let theirs = other(&records[..=index]).root();
        assert_eq!(frontier.head().root.0[..], theirs.as_bytes()[..], "{index}");
        assert_eq!(super::frontier(&Leaves(records.clone()), index as u64 + 1), Ok(frontier.clone()));
        assert_eq!(Frontier::new(frontier.size(), frontier.hashes().to_vec()), Some(frontier.clone()));
    }
}

#[test]
fn inclusion_proofs_are_those_of_another_implementation_and_no_others_hold() {
    let all = records(70);
    for size in 1..=all.len() {
        let (part, head, tree) = (&all[..size], grown(&all[..size]).head(), other(&all[..size]));
        for index in 0..size {
            let proof = inclusion(&Leaves(part.to_vec()), index as u64, size as u64).unwrap();
            assert_eq!(bytes(&proof), tree.prove_inclusion(index).as_bytes());
            let holds = |index: usize, record, head: &TreeHead, proof: &[Digest]| {
                check_inclusion(head, index as u64, record, proof).is_ok()
            };
            assert!(holds(index, part[index], &head, &proof));
            let theirs = InclusionProof::from_bytes(bytes(&proof));
            root_of(&head).verify_inclusion(&part[index].0, index as u64, &theirs).unwrap();
            assert!(!holds(index, Digest([9; 32]), &head, &proof));
            assert!(!holds(index + 1, part[index], &head, &proof));
            assert!(!holds(index, part[index], &TreeHead { root: Digest([9; 32]), ..head }, &proof));
            assert!(!holds(index, part[index], &head, &[&proof[..], &[Digest([9; 32])]].concat()));
            for altered in 0..proof.len() {
                let mut bad = proof.clone();
                bad[altered].0[0] ^= 1;
                assert!(!holds(index, part[index], &head, &bad));
                bad.remove(altered);
                assert!(!holds(index, part[index], &head, &bad));
            }
        }
    }
}

#[test]
fn consistency_proofs_are_those_of_another_implementation_and_no_others_hold() {
    let all = records(70);
    let heads: Vec<TreeHead> = (0..=all.len()).map(|size| grown(&all[..size]).head()).collect();
    for size in 1..=all.len() {
        let tree = other(&all[..size]);
        for old in 1..=size {
            let proof = consistency(&Leaves(all[..size].to_vec()), old as u64, size as u64).unwrap();
            let holds = |old: &TreeHead, new: &TreeHead, proof: &[Digest]| check_consistency(old, new, proof).is_ok();
            assert!(holds(&heads[old], &heads[size], &proof), "{old} {size}");
            if old < size {
                assert_eq!(bytes(&proof), tree.prove_consistency(size - old).as_bytes());
                let theirs = ConsistencyProof::try_from_bytes(bytes(&proof)).unwrap();
                root_of(&heads[size]).verify_consistency(&root_of(&heads[old]), &theirs).unwrap();
                assert!(!holds(&heads[size], &heads[old], &proof));
            }
            let other = Digest([9; 32]);
            assert!(!holds(&TreeHead { root: other, ..heads[old] }, &heads[size], &proof));
            assert!(!holds(&heads[old], &TreeHead { root: other, ..heads[size] }, &proof));
            assert!(!holds(&heads[old], &heads[size], &[&proof[..], &[other]].concat()));
            for altered in 0..proof.len() {
                let mut bad = proof.clone();
                bad[altered].0[0] ^= 1;
                assert!(!holds(&heads[old], &heads[size], &bad), "{old} {size} {altered}");
                bad.remove(altered);
                assert!(!holds(&heads[old], &heads[size], &bad), "{old} {size} {altered}");
            }
        }
        assert!(check_consistency(&heads[0], &heads[size], &[]).is_ok());
    }
}

#[test]
fn a_complete_subtree_is_reported_once_with_its_place() {
    let all = records(255);
    let (mut frontier, mut done) = (Frontier::default(), Vec::new());
    for _ in 0..4 {
        all.iter().for_each(|record| frontier.push(*record, |subtree| done.push(subtree)));
    }
    let whole = Leaves(all.iter().cycle().take(1020).copied().collect());
    let high: Vec<_> = done.iter().filter(|subtree| subtree.height == STEP).map(|subtree| subtree.place).collect();
    assert_eq!(high, [0, 1, 2]);
    for subtree in &done {
        assert_eq!(whole.hash(subtree.height, subtree.place), Ok(subtree.hash));
    }
    for subtree in frontier.subtrees() {
        assert_eq!(whole.hash(subtree.height, subtree.place), Ok(subtree.hash));
    }
}
