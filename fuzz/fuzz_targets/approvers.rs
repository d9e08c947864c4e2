#![no_main]
//! The list of approvers' keys in OpenSSH's allowed_signers format, and the list of known hosts.

use jit_core::grant::sshsig::Namespace;
use jit_core::grant::{Approvers, HostDescriptor, HostKey, PublicKey};
use jit_core::names::UserName;
use jit_core::policy::PolicyReader;
use jit_core::samples;
use jit_sudo_fuzz::shown;
use jitctl::readers::known_host;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    match Approvers::parse("/etc/jit-sudo/approvers", data) {
        Ok(approvers) => accepted(&approvers, data),
        Err(error) => {
            shown(&error);
            shown(error.words().told_to(&PolicyReader::of(&[])));
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        hosts(text);
    }
});

/// Checks that each line is valid by itself, and that a comment changes nothing.
fn accepted(approvers: &Approvers, data: &[u8]) {
    let alone = |line: &[u8]| Approvers::parse("/a", line).expect("a line of a good file").len();
    assert_eq!(data.split(|byte| *byte == b'\n').map(alone).sum::<usize>(), approvers.len());
    let longer = Approvers::parse("/a", &[b"# before\n", data, b"\n# behind\n"].concat()).expect("with comments");
    let key = PublicKey::Plain(samples::key(1).verifying_key().to_bytes());
    let bob = UserName::parse("bob").expect("a name");
    for purpose in [Namespace::Approval, Namespace::Request, Namespace::Statement] {
        for now in [0, 1_800_000_000, 4_000_000_000] {
            let speaks = approvers.speaks(&key, &bob, purpose, now);
            assert_eq!(longer.speaks(&key, &bob, purpose, now), speaks);
            assert!(speaks.is_err() || approvers.is_of(&key, &bob));
        }
    }
}

fn hosts(text: &str) {
    let key = HostKey::from_seed([1; 32]);
    let host = HostDescriptor::of(&key, "web1", "machine");
    let found = known_host(text, &host, &key.public_key());
    let longer = known_host(&format!("{text}\n# behind\n"), &host, &key.public_key());
    match (found, longer) {
        (Err(why), _) => shown(why),
        (found, longer) => assert_eq!(found, longer),
    }
}
