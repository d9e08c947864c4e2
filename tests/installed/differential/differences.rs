//! The list of differences, docs/sudo-differences.md: a bullet line with a title in backquotes names one, and with a version in
//! parentheses only one from that version of sudo, such as `1.9.13`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use harness::project;

use super::trial::Outcome;

/// The titles that the document lists.
#[derive(Default)]
pub(super) struct Listed {
    /// For every version of sudo.
    pub(super) all: BTreeSet<String>,
    /// For the version that the tests run.
    pub(super) here: BTreeSet<String>,
}

/// Returns the titles that the document lists; `version` is what `sudo -V` prints, for example `1.9.13p3`.
pub(super) fn listed(version: &str) -> Listed {
    let text = fs::read_to_string(project().join("docs/sudo-differences.md")).unwrap();
    let mut listed = Listed::default();
    for line in text.lines() {
        let Some((title, rest)) = line.strip_prefix("- `").and_then(|rest| rest.split_once('`')) else { continue };
        let only = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
        if only.is_none() && !rest.is_empty() {
            continue;
        }
        assert!(listed.all.insert(title.to_owned()), "docs/sudo-differences.md lists `{title}` twice");
        // 1.9.1 is not the beginning of 1.9.13.
        let is_this = |only: &str| {
            version.strip_prefix(only).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        };
        if only.is_none_or(is_this) {
            listed.here.insert(title.to_owned());
        }
    }
    listed
}

/// Returns a readable description of a difference.
pub(super) fn describe(sudo: &Outcome, ours: &Outcome) -> String {
    let mut text = String::new();
    if sudo.status != ours.status {
        let _ = writeln!(text, "  status: {:?} with sudo, {:?} with jit-sudo", sudo.status, ours.status);
    }
    for (what, sudo, ours) in [("stdout", &sudo.stdout, &ours.stdout), ("stderr", &sudo.stderr, &ours.stderr)] {
        if sudo != ours {
            for (who, said) in [("sudo", sudo), ("jit-sudo", ours)] {
                let _ = writeln!(text, "  {what} of {who}:");
                for line in said.split('\n') {
                    let _ = writeln!(text, "    {line:?}");
                }
            }
        }
    }
    text
}
