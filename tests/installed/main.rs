//! The installed product, from outside: every test runs the real setuid programs in a private root that all tests share. Each
//! creates users of its own (see policy.toml), so they run in parallel; a test that changes the policy, breaks a service or
//! counts every record uses a root of its own.

// A test that cannot examine its object must fail, and it does so by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod ansible;
mod approvals;
mod attacks;
mod audit;
mod backup;
mod binding;
mod break_glass;
mod broker;
mod budgets;
mod caller;
mod callers_streams;
mod clocks;
mod compiler;
mod differential;
mod disclosure;
mod doctor;
mod documents;
mod edit;
mod ends;
mod epochs;
mod evidence;
mod evidence_kills;
mod exact;
mod full_disk;
mod grant_life;
mod grants;
mod handovers;
mod held;
mod held_directory;
mod held_outputs;
mod helpers;
mod hidden;
mod hooks;
mod host;
mod hygiene;
mod identity;
mod import;
mod impossible_runs;
mod in_place;
mod indexes;
mod inherited;
mod jitctl;
mod journals;
mod json;
mod key_accept;
mod key_life;
mod key_life_kills;
mod killed;
mod knowledge;
mod listing;
mod locked_directory;
mod locked_out;
mod lost_records;
mod manual;
mod million;
mod noexec;
mod offline;
mod one_run;
mod options;
mod outliving;
mod overdue;
mod pam;
mod pam_module;
mod pam_programs;
mod pam_sessions;
mod pam_stacks;
mod past;
mod policy;
mod policy_record;
mod property;
mod pruned_rows;
mod recording_cost;
mod recordings;
mod requests;
mod retention;
mod run;
mod sandbox;
mod screen;
mod sealed_key;
mod shells;
mod shippers;
mod signed;
mod sinks;
mod statements;
mod stuck_terminal;
mod tampering;
mod terminal;
mod thawing;
mod tokens;
mod tree;
mod trials;
mod unanswered;

use std::sync::OnceLock;

use harness::{Person, PrivateRoot, Record};
use serde_json::Value;

/// Returns the shared root, with the shared policy.
fn root() -> &'static PrivateRoot {
    static ROOT: OnceLock<&'static PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = PrivateRoot::shared();
        prepare(root);
        root
    })
}

/// Returns a root for one test, with the shared policy.
fn own_root() -> PrivateRoot {
    let root = PrivateRoot::start();
    prepare(&root);
    root
}

fn prepare(root: &PrivateRoot) {
    root.add_policy("tests", include_str!("policy.toml"));
    // The same rules for Debian's sudo, which is the reference where both should behave alike.
    root.write("/etc/sudoers.d/tests", 0o440, "%deploy ALL=(ALL:ALL) NOPASSWD: ALL\n%trusted ALL=(ALL) ALL\n");
}

/// Requests a grant of `role` with a reason; returns the answer of jitctl.
fn request(root: &PrivateRoot, person: &Person, role: &str, more: &[&str]) -> Value {
    let words = [&["jitctl", "--json", "request", "--role", role, "--reason", "a test needs it"][..], more].concat();
    let output = root.run_as(&person.name, words);
    output.succeeded();
    output.json()["grant"].clone()
}

/// Returns the id of a request or grant.
fn id(grant: &Value) -> String {
    grant["id"].as_str().unwrap_or_else(|| panic!("no id in {grant}")).to_owned()
}

/// Creates a user in these groups who already has a grant of this role.
fn granted(root: &PrivateRoot, role: &str) -> Person {
    let person = root.person(&[role]);
    let grant = request(root, &person, role, &[]);
    assert_eq!(grant["grant"], "active", "{grant}");
    person
}

/// Returns the records that name this user as the actor.
fn records_of(root: &PrivateRoot, person: &Person) -> Vec<Record> {
    root.journal().into_iter().filter(|record| record.number("uid") == i64::from(person.uid)).collect()
}

/// Checks that the verification and the second checker accept an intact history, also after an hour.
fn both_say_intact(root: &PrivateRoot) {
    root.as_root(["jitctl", "audit", "verify"]).intact();
    root.script("rm -f /root/copy.db; sqlite3 /var/lib/jit-sudo/journal.db \".backup /root/copy.db\"");
    let check = "python3 /run/private-root/project/tests/check_journal.py --at $(($(date +%s) + 3600)) /root/copy.db \
                 \"$(head -n 1 /var/lib/jit-sudo/host_key.pub)\" || true";
    assert_eq!(root.script(check).trim(), "intact");
}

/// Returns the kinds of these records, in order.
fn kinds(records: &[Record]) -> Vec<&str> {
    records.iter().map(Record::kind).collect()
}
