//! The privileged programs are built only from the crates in packaging/dependencies.txt, each with a reason. deny.toml lists what
//! is banned; see tests/deny.rs.

// A test that cannot examine its object must fail, and it does so by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const LIST: &str = "packaging/dependencies.txt";

#[test]
fn the_list_of_privileged_dependencies_is_what_cargo_resolves() {
    let listed = listed_for(None);
    let resolved = resolved();
    let unlisted: Vec<_> = resolved.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&resolved).collect();
    assert!(unlisted.is_empty(), "crates without a reason; is each one wanted? then add it to {LIST}: {unlisted:?}");
    assert!(gone.is_empty(), "no longer used; remove from {LIST}: {gone:?}");
}

#[test]
fn the_pam_module_is_made_of_a_few_of_them() {
    let listed = listed_for(None);
    let foreign: Vec<_> = resolved_of("pam_jit_sudo").into_iter().filter(|name| !listed.contains(name)).collect();
    assert!(foreign.is_empty(), "crates in other people's programs that are not in {LIST}: {foreign:?}");
}

#[test]
fn what_has_given_root_up_is_made_of_them_and_of_what_is_listed_for_it() {
    for program in ["jit-sudo-compile", "jit-sudo-shrink"] {
        let own = &resolved_of(program) - &(&resolved() | &BTreeSet::from(["jit-sudo".to_owned()]));
        assert_eq!(own, listed_for(Some(program)), "the section of {program} in {LIST}");
    }
}

#[test]
fn the_compiler_knows_nothing_of_the_privileged_product() {
    let resolved = resolved_of("jit-sudo-compile");
    for name in ["jit-sudo", "rusqlite", "libsqlite3-sys", "pam-sys"] {
        assert!(!resolved.contains(name), "{name} in jit-sudo-compile");
    }
}

#[test]
fn no_privileged_program_reads_toml() {
    for package in ["jit-sudo", "pam_jit_sudo"] {
        let foreign: Vec<_> =
            resolved_of(package).into_iter().filter(|name| name.contains("toml") || name == "winnow").collect();
        assert!(foreign.is_empty(), "{foreign:?} in {package}");
    }
}

#[test]
fn jitctl_has_no_database_and_authenticates_nobody() {
    let resolved = resolved_of("jitctl");
    for name in ["jit-sudo", "rusqlite", "libsqlite3-sys", "pam-sys"] {
        assert!(!resolved.contains(name), "{name} in jitctl");
    }
}

#[test]
fn each_privileged_dependency_has_a_reason() {
    for (name, reason) in listed() {
        assert!(reason.len() >= 4, "{name} stands in {LIST} without a reason");
    }
}

/// The crates of the privileged programs, or those that are only in one that has given root up.
fn listed_for(program: Option<&str>) -> BTreeSet<String> {
    let text = text();
    let (privileged, others) = text.split_once("# --- only in ").unwrap();
    let section = match program {
        None => privileged,
        Some(program) => others.split("# --- only in ").find_map(|part| part.strip_prefix(program)).unwrap(),
    };
    entries(section).into_keys().collect()
}

fn listed() -> BTreeMap<String, String> {
    entries(&text())
}

fn text() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST)).unwrap()
}

fn entries(text: &str) -> BTreeMap<String, String> {
    let entries = text.lines().filter(|line| !line.is_empty() && !line.starts_with([' ', '#']));
    entries
        .map(|line| {
            let (name, reason) = line.split_once(' ').unwrap_or((line, ""));
            (name.to_owned(), reason.trim().to_owned())
        })
        .collect()
}

fn resolved() -> BTreeSet<String> {
    resolved_of("jit-sudo")
}

fn resolved_of(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<String> = text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.contains(package), "cargo tree shows another package");
    names.into_iter().filter(|name| name != package && !name.is_empty()).collect()
}
