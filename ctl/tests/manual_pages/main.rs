//! Compares the manual pages with the tables from which the programs parse their arguments. The text between two markers
//! of a page is generated here, and a page that differs fails; `make man` writes it anew. The long descriptions of
//! jit-sudo's options are in `flags.rs`, so that they need not be in a set-user-ID program; those of jitctl are its own
//! `--help`.

// A test that cannot read its input must fail, and it does so by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod flags;
mod mdoc;
mod verbs;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Begins a generated part; the rest of the line is its name.
const BEGIN: &str = ".\\\" made by `make man`: ";
const END: &str = ".\\\" made by hand again\n";

fn path(page: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/man").join(page)
}

/// Returns the names of the generated parts of `page`, in their order.
fn parts(page: &str) -> Vec<String> {
    let text = fs::read_to_string(path(page)).unwrap();
    text.lines().filter_map(|line| line.strip_prefix(BEGIN)).map(str::to_owned).collect()
}

/// Generates each part of the page anew; compares the page, or writes it if `UPDATE` is set.
fn keep_up(page: &str, part: impl Fn(&str) -> String) {
    let old = fs::read_to_string(path(page)).unwrap();
    let mut new = String::new();
    let mut rest = old.as_str();
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once('\n').unwrap();
        let (_, after) = after.split_once(END).unwrap_or_else(|| panic!("{page}: no end of {name}"));
        new.push_str(&format!("{before}{BEGIN}{name}\n{}{END}", part(name)));
        rest = after;
    }
    new.push_str(rest);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path(page), new).unwrap();
    } else if let Some((old, new)) = old.lines().zip(new.lines()).find(|(old, new)| old != new) {
        panic!("docs/man/{page} is not what the tables say; run `make man`\n  page:  {old}\n  table: {new}");
    } else {
        assert!(old == new, "docs/man/{page} is not what the tables say; run `make man`");
    }
}

#[test]
fn jit_sudo_8_matches_the_table_of_flags() {
    keep_up("jit-sudo.8", flags::part);
}

#[test]
fn jitctl_8_matches_the_table_of_verbs_and_describes_each_verb_once() {
    keep_up("jitctl.8", verbs::part);
    let mut described: Vec<String> = parts("jitctl.8").iter().flat_map(|part| verbs::named(part)).collect();
    let mut known = verbs::all();
    described.sort();
    known.sort();
    assert_eq!(described, known);
}

#[test]
fn every_page_is_mdoc_without_warnings_of_man_and_mandoc() {
    for page in fs::read_dir(path("")).unwrap().map(|entry| entry.unwrap().path()) {
        assert!(fs::read_to_string(&page).unwrap().contains("\n.Sh NAME\n"), "{} is no mdoc(7)", page.display());
        let mut man = Command::new("man");
        man.args(["--warnings", "-l"]).arg(&page).envs([("LC_ALL", "C.UTF-8"), ("MANWIDTH", "100")]);
        let man = man.output().unwrap();
        assert!(man.status.success() && man.stderr.is_empty(), "{}", String::from_utf8_lossy(&man.stderr));
        let lint = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
        assert!(lint.status.success() && lint.stdout.is_empty(), "{}", String::from_utf8_lossy(&lint.stdout));
    }
}
