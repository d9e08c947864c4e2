//! The list of differences, docs/sudo-differences.md: a bullet line with a title in backquotes names one.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use harness::project;

use super::trial::Outcome;

/// Returns the titles that the document lists.
pub(super) fn listed() -> BTreeSet<String> {
    let text = fs::read_to_string(project().join("docs/sudo-differences.md")).unwrap();
    let mut titles = BTreeSet::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("- `").and_then(|rest| rest.strip_suffix('`')) {
            assert!(titles.insert(title.to_owned()), "docs/sudo-differences.md lists `{title}` twice");
        }
    }
    titles
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
