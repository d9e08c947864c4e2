#![no_main]
//! Requests, approvals, grants and statements: exact bytes, each in one form only.

use jit_core::grant::terms::{Terms, claimed_id, decode, encode};
use jit_core::grant::{ApprovalTerms, CarriedStatement, GrantTerms, RequestTerms, StatementTerms};
use jit_sudo_fuzz::{exact, shown};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    shown(claimed_id(data));
    if let Some(request) = read::<RequestTerms>(data) {
        request.circumstances().iter().for_each(shown);
        request.argv().iter().for_each(shown);
    }
    read::<ApprovalTerms>(data);
    if let Some(grant) = read::<GrantTerms>(data) {
        assert_eq!(grant.sha256(), Some(jit_core::grant::digest(data)));
    }
    if let Some(terms) = read::<StatementTerms>(data) {
        let carried = CarriedStatement::read(data.to_vec(), Vec::new());
        assert_eq!(carried.is_ok(), terms.follows.is_none());
        assert!(carried.is_ok_and(|carried| carried.key().is_err()) || terms.follows.is_some());
    }
});

fn read<T: Terms>(bytes: &[u8]) -> Option<T> {
    if let Err(fault) = decode::<T>(bytes) {
        shown(fault);
    }
    exact(bytes, decode::<T>, |terms| encode(terms).expect("what was read is written"))
}
