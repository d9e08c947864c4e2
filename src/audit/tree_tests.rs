//! The stored tree: every record is proved, before and after prunings, and every altered row is found.

use rusqlite::params;

use super::checkpoint::Due;
use super::proving::NoProof;
use super::retention::CutOff;
use super::{Journal, SCHEMA, sample};
use crate::database::Database;
use crate::database::tests::Scratch;
use crate::store;
use jit_core::clock::Timestamp;
use jit_core::evidence::TreeHead;
use jit_core::evidence::chain::hash;
use jit_core::evidence::checkpoint::Statement;
use jit_core::evidence::proof::Signers;
use jit_core::evidence::prunings::KEEP_LEAST as DAY;
use jit_core::evidence::tree::{check_consistency, check_inclusion};
use jit_core::grant::HostKey;

const ALL: [&str; 5] = [SCHEMA, store::SCHEMA, store::REVIEW_SCHEMA, store::ROLE_SCHEMA, store::STATEMENT_SCHEMA];

fn signers() -> Signers {
    Signers::Host(HostKey::from_seed([sample::HOST_SEED; 32]).public_key())
}

fn prune(journal: &Journal<'_>, second: i64) -> u64 {
    let before = sample::moment(second).wall;
    let last = journal.prunable(CutOff::by_time(before), &sample::moment(second)).unwrap().unwrap();
    let _ = sample::prune(journal, DAY + second, last, before);
    journal.sweep(|_| Ok::<_, super::JournalError>(())).unwrap();
    last.seq
}

fn heads(journal: &Journal<'_>) -> Vec<TreeHead> {
    let stored = journal.checkpoints(0, u64::MAX).unwrap();
    stored.iter().map(|checkpoint| Statement::decode(&checkpoint.body).unwrap().tree()).collect()
}

/// Every record that exists is proved, up to the last checkpoint.
fn all_are_proved(journal: &Journal<'_>) {
    let head = *heads(journal).last().unwrap();
    let first = journal.first_since(Timestamp(0)).unwrap();
    let last = journal.head().unwrap().unwrap().0;
    let mut proved = 0;
    // A proof of each of them takes minutes in a debug build.
    for seq in (first..=last).filter(|seq| seq % 7 == first % 7 || seq + 3 > last) {
        let Some(stored) = journal.by_seq(seq).unwrap() else { continue };
        let proof = journal.prove_record(seq).unwrap().unwrap();
        let index = proof.index.unwrap();
        assert_eq!(check_inclusion(&head, index, hash(stored.body.as_bytes()), &proof.hashes), Ok(()), "record {seq}");
        proved += 1;
    }
    assert!(proved > 90, "{proved}");
    for old in heads(journal) {
        let proof = journal.prove_growth(old.size).unwrap().unwrap();
        assert_eq!(check_consistency(&old, &head, &proof.hashes), Ok(()), "{old:?}");
    }
}

#[test]
fn every_record_is_proved_before_and_after_prunings() {
    let scratch = Scratch::new("tree-proofs");
    let database = Database::create(&scratch.path(), &ALL).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    for count in [1, 255, 1, 44, 700, 1000, 13] {
        sample::fill(&journal, count);
        sample::seal(&journal, 1);
    }
    all_are_proved(&journal);
    assert!(journal.prove_records(signers()).unwrap().is_ok());
    let gone = prune(&journal, 2);
    assert_eq!(gone, 1001, "the last record stays, so its thousand does");
    sample::fill(&journal, 700);
    sample::seal(&journal, DAY + 2);
    all_are_proved(&journal);
    assert!(journal.prove_records(signers()).unwrap().is_ok());
    assert!(matches!(journal.prove_record(gone).unwrap(), Err(NoProof::NoRecord(_))));
    assert!(matches!(journal.prove_growth(7).unwrap(), Err(NoProof::Pruned(_))));
    assert!(matches!(journal.prove_growth(99_999).unwrap(), Err(NoProof::Smaller(_))));
    let tree = journal.tree_before(gone + 1).unwrap().unwrap();
    assert_eq!(tree.size(), journal.prove_record(gone + 1).unwrap().unwrap().index.unwrap());
}

#[test]
fn every_altered_row_of_the_tree_is_found_and_no_head_is_signed_that_does_not_follow() {
    for damage in [
        "UPDATE tree SET hash = zeroblob(32) WHERE height = 8 AND place = 1",
        "UPDATE tree SET seq = seq + 1 WHERE height = 8 AND place = 1",
        "UPDATE tree SET place = 7 WHERE height = 8 AND place = 1",
        "DELETE FROM tree WHERE height = 8 AND place = 0",
        "DELETE FROM tree WHERE height = 8 AND place = 1",
        "INSERT INTO tree VALUES (8, 9, 9, zeroblob(32))",
        "INSERT INTO tree VALUES (8, 9, 0, zeroblob(32))",
        "INSERT INTO tree VALUES (3, 0, 9999, zeroblob(32))",
    ] {
        let scratch = Scratch::new("tree-damage");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        sample::fill(&journal, 600);
        sample::seal(&journal, 1);
        assert!(journal.prove_records(signers()).unwrap().is_ok());
        assert_eq!(database.connection().execute(damage, params![]).unwrap(), 1, "{damage}");
        assert!(journal.prove_records(signers()).unwrap().is_err(), "{damage}");
    }
    let scratch = Scratch::new("tree-signed");
    let database = Database::create(&scratch.path(), &ALL).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    sample::fill(&journal, 600);
    sample::seal(&journal, 1);
    sample::fill(&journal, 1);
    database.connection().execute("UPDATE tree SET hash = zeroblob(32) WHERE place = 0", []).unwrap();
    let last = journal.unsealed(sample::moment(9).wall, Due::Now).unwrap().unwrap();
    assert!(journal.grown(last).unwrap().is_none());
}

#[test]
fn the_tree_of_pruned_records_must_be_that_of_the_record_and_of_the_checkpoint() {
    for damage in [
        "UPDATE tree SET hash = zeroblob(32) WHERE height = (SELECT max(height) FROM tree)",
        "DELETE FROM tree WHERE height = (SELECT max(height) FROM tree)",
        "UPDATE tree SET hash = zeroblob(32) WHERE height = (SELECT min(height) FROM tree)",
        "UPDATE tree SET height = 70 WHERE height = (SELECT max(height) FROM tree)",
    ] {
        let scratch = Scratch::new("tree-pruned");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        for count in [1000, 700] {
            sample::fill(&journal, count);
            sample::seal(&journal, 1);
        }
        prune(&journal, 2);
        assert!(journal.prove_records(signers()).unwrap().is_ok());
        database.connection().execute(damage, []).unwrap();
        let proven = journal.prove_records(signers()).unwrap();
        assert!(proven.is_err(), "{damage}: {proven:?}");
    }
}
