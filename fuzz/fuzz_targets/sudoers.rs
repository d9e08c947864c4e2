#![no_main]
//! An unchecked sudoers file: the result is always a policy, or an error with the line.

use std::path::Path;

use chrono::{DateTime, Utc};
use import::{Authors, People, Sudoers, import_text};
use jit_core::policy::{Policy, PolicyText};
use jit_sudo_fuzz::shown;

/// Each rule is tried as a policy of its own, so that a long file takes a second.
const LONGEST: usize = 512;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if data.len() <= LONGEST {
        imported(data, if data.len() % 2 == 0 { People::Standing } else { People::Eligible });
    }
});

fn imported(text: &[u8], people: People) {
    let wanted = Sudoers {
        file: Path::new("/etc/sudoers"),
        authors: Authors::Anybody,
        host: "web1.example.org",
        now: DateTime::<Utc>::from_timestamp(1_800_000_000, 0).expect("a time"),
        people,
    };
    let imported = import_text(&wanted, text).unwrap_or_else(|error| panic!("{error}"));
    let policy = Policy::parse(&[PolicyText { path: "p".into(), text: imported.policy.clone() }]);
    assert_eq!(policy.expect("it was parsed before").roles().len(), imported.roles);
    imported.left_out.iter().for_each(shown);
    imported.policy.split('\n').for_each(shown);
}
