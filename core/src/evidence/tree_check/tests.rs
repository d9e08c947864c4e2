//! Tree heads that were kept elsewhere, and lines that any user can write.

use super::super::chain::{self, Begin, Row};
use super::super::checkpoint::VERSION;
use super::super::elsewhere::Elsewhere;
use super::super::lineage::KeyEnd;
use super::super::note::signed_by_host;
use super::super::proof::{Proof, Proven};
use super::super::record::{Event, Record};
use super::*;
use crate::grant::HostKey;
use crate::grant::sshsig::Namespace;
use crate::grant::terms::encode;
use crate::samples::{self, HOST_SEED};

type Chained = (u64, String, Digest);

fn tree(records: &[Chained]) -> Frontier {
    let mut tree = Frontier::default();
    records.iter().for_each(|(_, _, hash)| tree.push(*hash, |_| ()));
    tree
}

/// A head that the host has signed.
fn known(head: TreeHead) -> KnownHead {
    KnownHead { head, cosigned: None, witnesses: 0, is_own: true, is_other: false, end: None, seq: None }
}

fn head(records: &[Chained]) -> KnownHead {
    known(tree(records).head())
}

fn mark((seq, _, hash): &Chained) -> Mark {
    Mark { seq: *seq, hash: *hash }
}

fn prove(records: &[Chained], heads: &[KnownHead], unsigned: &[Mark]) -> Result<Proven, FirstBad> {
    let elsewhere = Elsewhere { heads: heads.to_vec(), unsigned: unsigned.to_vec(), epochs: Vec::new() };
    let mut proof = Proof::new(Begin::First, Signers::Anybody, []).with(elsewhere);
    for (seq, body, hash) in records {
        proof.record(&Row { seq: *seq, body: body.as_bytes(), hash: &hash.0, copies: None })?;
    }
    proof.end(u64::MAX, None)
}

fn bad(seq: u64, cause: Cause) -> Result<Proven, FirstBad> {
    Err(FirstBad { seq, cause })
}

#[test]
fn signed_heads_decide_and_unsigned_ones_do_not() {
    let records = samples::chain(20);
    let other = Digest([9; 32]);
    let heads = prove(&records, &[head(&records[..7]), head(&records[..15])], &[]).unwrap().heads;
    assert_eq!(heads.signed, Some(Agreed { seq: 15, size: 15, at: None }));
    let cosigned = KnownHead { cosigned: Some(99), ..head(&records[..7]) };
    let heads = prove(&records, &[cosigned, head(&records[..15])], &[]).unwrap().heads;
    assert_eq!(heads.cosigned, Some(Agreed { seq: 7, size: 7, at: Some(99) }));
    assert_eq!((heads.signed.unwrap().seq, heads.disagreeing), (15, 0));
    // A head of another origin confirms nothing, and is a fault where it differs.
    let foreign = |records| KnownHead { is_own: false, witnesses: 1, cosigned: Some(9), ..head(records) };
    let heads = prove(&records, &[foreign(&records[..7])], &[]).unwrap().heads;
    assert_eq!((heads.signed, heads.cosigned, heads.witnesses), (None, None, 0));
    assert_eq!(prove(&records[..14], &[foreign(&records[..15])], &[]), bad(15, Cause::CutOffHead(15)));
    // Each witness may have cosigned another head.
    let by = |records, witnesses| KnownHead { witnesses, ..head(records) };
    let heads = prove(&records, &[by(&records[..7], 2), by(&records[..15], 1)], &[]).unwrap().heads;
    assert_eq!(heads.witnesses, 3);
    let altered = known(TreeHead { size: 7, root: other });
    assert_eq!(prove(&records, &[altered, head(&records)], &[]), bad(7, Cause::OtherHead(7)));
    assert_eq!(prove(&records[..14], &[head(&records[..15])], &[]), bad(15, Cause::CutOffHead(15)));
    let forged = [Mark { seq: 7, hash: other }, Mark { seq: 900, hash: other }, mark(&records[3])];
    let heads = prove(&records, &[head(&records[..15])], &forged).unwrap().heads;
    assert_eq!((heads.disagreeing, heads.first_disagreeing, heads.unsigned), (2, Some(7), Some(4)));
}

#[test]
fn a_checkpoint_that_states_another_tree_is_found_although_the_host_signed_it() {
    let (records, key) = (samples::chain(9), HostKey::from_seed([HOST_SEED; 32]));
    let right = tree(&records).head();
    let verify = |head: TreeHead, noted: TreeHead| {
        let TreeHead { size, root } = head;
        let statement =
            Statement { at: 7, head: records[8].2, host: "ab".into(), root, seq: 9, size, version: VERSION };
        let body = encode(&statement).unwrap();
        let note = signed_by_host(&key, "ab", &noted).unwrap().to_string();
        let checkpoint = Checkpoint { seq: 9, signature: key.sign(Namespace::Checkpoint, &body), body, note };
        let mut proof = Proof::new(Begin::First, Signers::Host(key.public_key()), []);
        for (seq, body, hash) in &records {
            proof.record(&Row { seq: *seq, body: body.as_bytes(), hash: &hash.0, copies: None }).unwrap();
        }
        proof.checkpoint(&checkpoint)
    };
    assert_eq!(verify(right, right), Ok(()));
    let (smaller, other) = (tree(&records[..8]).head(), TreeHead { root: Digest([9; 32]), ..right });
    for wrong in [smaller, other, TreeHead { size: 10, ..right }] {
        for (head, noted) in [(wrong, wrong), (right, wrong), (wrong, right)] {
            assert!(matches!(verify(head, noted), Err(FirstBad { seq: 9, cause: Cause::Checkpoint(_) })), "{head:?}");
        }
    }
}

#[test]
fn heads_of_a_lost_branch_are_explained_by_its_fork_and_others_are_not() {
    let lost = samples::chain(15);
    let mut records = lost[..10].to_vec();
    let mut append = |seq: u64, event: Event| {
        let prev = records.last().map_or(Digest::ZERO, |last| last.2);
        let body = Record::new(seq, prev, &samples::moment(99), "web1", event).encode().unwrap();
        records.push((seq, body.clone(), chain::hash(body.as_bytes())));
    };
    let fork = Fork { continues: 10, highest: 15, heads: Vec::new(), sentence: "x".into() };
    append(21, Event::Fork(Box::new(fork)));
    let Event::Alert(mut alert) = samples::events().remove(11) else { panic!() };
    alert.code = "database-older".to_owned();
    append(22, Event::Alert(alert));
    let heads =
        prove(&records, &[head(&lost[..9]), head(&lost[..12]), head(&lost), head(&records)], &[]).unwrap().heads;
    assert_eq!((heads.lost, heads.signed.map(|agreed| agreed.size)), (2, Some(12)));
    let far = samples::chain(21);
    assert_eq!(
        prove(&records, &[head(&far)], &[]),
        bad(23, Cause::CutOffHead(21)),
        "more than the branch can have had"
    );
    let other = known(TreeHead { size: 10, root: Digest([9; 32]) });
    assert_eq!(prove(&records, &[other], &[]), bad(10, Cause::OtherHead(10)), "it is before the branch");
}

/// After a restore the new branch has heads of the same sizes as the lost one. Root puts the directory back once more.
#[test]
fn a_head_of_the_new_branch_is_not_explained_by_the_fork_before_it() {
    let lost = samples::chain(15);
    let mut records = lost[..10].to_vec();
    let mut append = |seq: u64, second: i64, event: Event| {
        let prev = records.last().map_or(Digest::ZERO, |last| last.2);
        let body = Record::new(seq, prev, &samples::moment(second), "web1", event).encode().unwrap();
        records.push((seq, body.clone(), chain::hash(body.as_bytes())));
    };
    let alert = |code: &str| {
        let Event::Alert(mut alert) = samples::events().remove(11) else { panic!() };
        alert.code = code.to_owned();
        Event::Alert(alert)
    };
    let fork = Fork { continues: 10, highest: 15, heads: Vec::new(), sentence: "x".into() };
    append(1015, 99, Event::Fork(Box::new(fork)));
    append(1016, 99, alert("database-older"));
    append(1017, 200, alert(super::super::acceptance::ACCEPTED));
    append(1018, 300, samples::events().remove(2));
    let told =
        |head: KnownHead| prove(&records, &[head], &[]).map(|proven| (proven.heads.lost, proven.heads.undecided));
    let at = |second: i64| Some(samples::moment(second).wall.seconds().unsigned_abs());
    for (size, of_the_end) in [(12, false), (15, true)] {
        let head = head(&lost[..size]);
        let differs = match of_the_end {
            true => FirstBad { seq: 1019, cause: Cause::CutOffHead(15) },
            false => FirstBad { seq: 1016, cause: Cause::OtherHead(12) },
        };
        assert_eq!(told(KnownHead { cosigned: at(99), ..head }), Ok((1, 0)));
        assert_eq!(
            told(KnownHead { cosigned: at(201), ..head }),
            Err(differs),
            "cosigned after root had accepted the fork"
        );
        assert_eq!(told(KnownHead { cosigned: at(150), ..head }), Ok((0, 1)), "in between");
        assert_eq!(told(KnownHead { seq: Some(1014), ..head }), Ok((1, 0)));
        assert_eq!(told(KnownHead { seq: Some(1015), ..head }), Ok((0, 1)), "any user can write such a line");
        assert_eq!(told(head), Ok((0, 1)), "nothing shows when it was signed");
    }
}

#[test]
fn a_power_failure_explains_no_signed_head() {
    let lost = samples::chain(15);
    let mut records = lost[..10].to_vec();
    let fork = Fork { continues: 10, highest: 15, heads: Vec::new(), sentence: "x".into() };
    let body =
        Record::new(1015, records[9].2, &samples::moment(99), "web1", Event::Fork(Box::new(fork))).encode().unwrap();
    records.push((1015, body.clone(), chain::hash(body.as_bytes())));
    assert_eq!(prove(&records, &[head(&lost)], &[]), bad(1016, Cause::CutOffHead(15)));
    assert_eq!(prove(&records, &[head(&lost[..11])], &[]), bad(1015, Cause::OtherHead(11)));
    assert!(prove(&records, &[head(&lost[..10])], &[mark(&lost[12])]).is_ok(), "what nobody signed may be lost");
}

#[test]
fn without_the_records_before_a_part_no_head_is_compared() {
    let records = samples::chain(9);
    let other = known(TreeHead { size: 7, root: Digest([9; 32]) });
    let part = |before: Option<Frontier>| {
        let mut proof = Proof::new(Begin::Part(5), Signers::Anybody, []);
        proof =
            before.into_iter().fold(proof, Proof::after).with(Elsewhere { heads: vec![other], ..Elsewhere::default() });
        for (_, body, _) in &records[4..] {
            proof.bare_record(body.as_bytes())?;
        }
        proof.end(9, None)
    };
    let proven = part(None).unwrap();
    assert_eq!((proven.tree, proven.heads.uncompared), (false, 1));
    assert_eq!(part(Some(tree(&records[..4]))), bad(7, Cause::OtherHead(7)));
}

/// Somebody has a former host key, and writes a head into the log; or root has put an older journal back before the rotation.
#[test]
fn a_head_by_a_former_key_decides_up_to_its_end() {
    let records = samples::chain(20);
    let at = samples::moment(500).wall.seconds();
    let former = |records: &[Chained], is_retirement: bool| KnownHead {
        end: Some(KeyEnd { seq: 15, at, is_retirement }),
        ..head(records)
    };
    let counted = |known: KnownHead| {
        prove(&records, &[known], &[])
            .map(|proven| (proven.heads.signed.map(|agreed| agreed.size), proven.heads.beyond))
    };
    let altered = |known: KnownHead| KnownHead { head: TreeHead { root: Digest([9; 32]), ..known.head }, ..known };
    assert_eq!(counted(former(&records[..14], false)), Ok((Some(14), 0)));
    assert_eq!(counted(altered(former(&records[..14], false))).unwrap_err().cause, Cause::OtherHead(14));
    assert_eq!(counted(former(&records[..15], true)), Ok((Some(15), 0)));
    assert_eq!(counted(altered(former(&records[..15], true))).unwrap_err().cause, Cause::OtherHead(15));
    assert_eq!(counted(former(&records[..15], false)), Ok((None, 0)), "it confirms nothing");
    let far = samples::chain(30);
    for known in [altered(former(&records[..15], false)), altered(former(&records[..16], true)), former(&far, false)] {
        assert_eq!(counted(known), Ok((None, 1)));
        let cosigned = |second: i64| KnownHead { cosigned: Some(second.unsigned_abs()), ..known };
        assert_eq!(counted(cosigned(at + 1)), Ok((None, 1)));
        assert!(counted(cosigned(at)).is_err(), "it was the host key when the witness saw it");
    }
    // One by another given key is counted, and decides nothing.
    let heads = prove(&records, &[KnownHead { is_own: false, is_other: true, ..head(&far) }], &[]).unwrap().heads;
    assert_eq!((heads.others, heads.signed), (1, None));
}
