#![no_main]
//! Questions to the broker, and its answers.

use jit_core::wire::{
    AuditList, AuditVerify, Examine, Frame, Intervene, KeyShow, Membership, NewRequest, NewSession, Question, Recording, Release,
    RequestDocument, Requests, ReviewCertify, Revoke, Show, Verb, Why,
};
use jit_sudo_fuzz::{json_comes_back, shown};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    question_comes_back::<Why>(data);
    question_comes_back::<NewRequest>(data);
    question_comes_back::<Revoke>(data);
    question_comes_back::<AuditList>(data);
    question_comes_back::<AuditVerify>(data);
    question_comes_back::<ReviewCertify>(data);
    question_comes_back::<Recording>(data);
    question_comes_back::<Intervene>(data);
    question_comes_back::<Membership>(data);
    question_comes_back::<NewSession>(data);
    json_comes_back::<Frame>(data);
    json_comes_back::<RequestDocument>(data);
    answer::<Release>(data);
    answer::<KeyShow>(data);
    answer::<Show>(data);
    answer::<Requests>(data);
    answer::<Examine>(data);
});

/// A question that is read is written as the same question.
fn question_comes_back<V: Verb>(data: &[u8]) {
    let Ok(question) = serde_json::from_slice::<Question>(data) else { return };
    let Ok(verb) = question.read::<V>() else { return };
    let text = verb.to_question().expect("a verb is written");
    let again: V = serde_json::from_slice::<Question>(&text).expect("a question").read().expect("the same verb");
    assert_eq!(again.to_question().expect("a verb is written"), text);
}

fn answer<V: Verb>(data: &[u8]) {
    if let Err(why) = jitctl::readers::answer::<V>(data) {
        shown(why);
    }
}
