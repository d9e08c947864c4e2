//! The proof types cannot be forged from outside: each program in tests/proofs must fail to compile, for the reason that is
//! stored beside it.

use std::fs;
use std::path::Path;

/// The compiler errors that may reject a program. A missing name or field is not among them: such a program would be rejected
/// whatever it does.
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
fn proof_types_cannot_be_forged() {
    trybuild::TestCases::new().compile_fail("tests/proofs/*.rs");
}

#[test]
fn each_program_is_rejected_for_the_intended_reason() {
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
