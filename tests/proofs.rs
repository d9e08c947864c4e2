//! The proof types cannot be forged from outside: each program in tests/proofs must fail to compile, and for the reason
//! that stands beside it.

#[test]
fn proofs_are_made_only_where_they_are_proved() {
    trybuild::TestCases::new().compile_fail("tests/proofs/*.rs");
}
