//! The proof types cannot be forged from outside: each program in tests/proofs must fail to compile, and for the reason
//! that stands beside it.

use std::fs;
use std::path::Path;

/// What a program may be refused for, and what is written there then; a name that does not exist, or a field, is no such reason:
/// the program would be refused whatever it may do.
const REASONS: [&str; 8] = [
    "E0277", // a trait that a type does not have
    "E0308", // another type
    "E0382", // moved
    "E0423", // private fields of a tuple
    "E0451", // private fields
    "E0499", // borrowed
    "E0599", // a method that a type does not have
    "E0624", // a private method
];

#[test]
fn proofs_are_made_only_where_they_are_proved() {
    trybuild::TestCases::new().compile_fail("tests/proofs/*.rs");
}

#[test]
fn each_program_is_refused_for_what_it_does_and_not_for_a_slip() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proofs");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let expected: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "stderr")).collect();
    assert!(expected.len() > 10, "{expected:?}");
    for path in expected {
        let text = fs::read_to_string(&path).unwrap();
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error")).collect();
        assert!(!errors.is_empty(), "{}", path.display());
        for error in errors {
            assert!(REASONS.iter().any(|reason| error.contains(reason)), "{}: {error}", path.display());
        }
    }
}
