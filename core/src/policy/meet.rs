//! The intersection of two lists as one list of the same kind, in which the last matching line decides. For display: a
//! line is left out if no single line can express the intersection, so that the result never shows more than both lists
//! allow.

use super::command_rule::CommandRule;
use super::listed::{Line, Listed, Side};
use super::program_path::Effect;

/// A line of such a list.
pub(super) trait Meets: Clone + PartialEq {
    /// Returns whether the line includes.
    fn lets_in(&self) -> bool;
    /// Returns whether this line, which includes, is contained in the other one.
    fn within(&self, other: &Self) -> bool;
}

/// Returns lines that include what both lists include, and nothing else.
pub(super) fn meet<T: Meets>(one: &[T], other: &[T]) -> Vec<T> {
    let out = |lines: &[T]| lines.iter().filter(|line| !line.lets_in()).cloned().collect::<Vec<T>>();
    // Something else may decide where a list has no match, so whatever either list excludes stays excluded.
    let mut common = out(one);
    for line in other {
        if line.lets_in() {
            common.extend(one.iter().filter_map(|beside| narrower(beside, line)).cloned());
        } else {
            common.push(line.clone());
        }
    }
    without_earlier(common)
}

fn narrower<'t, T: Meets>(one: &'t T, other: &'t T) -> Option<&'t T> {
    if !one.lets_in() || one.within(other) { Some(one) } else { other.within(one).then_some(other) }
}

/// Keeps the last of equal lines, which decides.
fn without_earlier<T: PartialEq>(lines: Vec<T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for line in lines.into_iter().rev() {
        if !kept.contains(&line) {
            kept.push(line);
        }
    }
    kept.reverse();
    kept
}

impl Meets for CommandRule {
    fn lets_in(&self) -> bool {
        self.effect() == Effect::Allow
    }

    fn within(&self, other: &Self) -> bool {
        self == other || self.is_within(other)
    }
}

impl<T: Clone + PartialEq + Everything> Meets for Line<T> {
    fn lets_in(&self) -> bool {
        self.side() == Side::In
    }

    fn within(&self, other: &Self) -> bool {
        self == other || other.what().is_everything()
    }
}

/// Returns the intersection of two lists.
pub(super) fn listed_in_both<T: Clone + PartialEq + Everything>(one: &Listed<T>, other: &Listed<T>) -> Listed<T> {
    Listed::new(meet(one.lines(), other.lines()))
}

/// An entry of a line.
pub(super) trait Everything {
    /// Returns whether the entry matches everything.
    fn is_everything(&self) -> bool;
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;

    fn rules(texts: &[&str]) -> Vec<CommandRule> {
        texts.iter().map(|text| CommandRule::parse(text).unwrap()).collect()
    }

    fn met(one: &[&str], other: &[&str]) -> Vec<String> {
        meet(&rules(one), &rules(other)).iter().map(ToString::to_string).collect()
    }

    fn allows(rules: &[CommandRule], command: &str) -> bool {
        let words: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        let last = rules.iter().rev().find(|rule| rule.matches(Path::new(&words[0]), &words[1..], &|_| None));
        last.is_some_and(|rule| rule.effect() == Effect::Allow)
    }

    #[test]
    fn the_intersection_keeps_the_narrower_rules() {
        let id = "/usr/bin/id **";
        for (one, other, common) in [
            (&["ALL"][..], &[id][..], &[id][..]),
            (&[id], &["ALL"], &[id]),
            (&[id, "/usr/bin/uname"], &[id, "/usr/bin/date"], &[id]),
            (&[id], &["/usr/bin/id -u"], &["/usr/bin/id -u"]),
            (&["/usr/bin/* -u"], &["/usr/bin/id -u", "/usr/bin/id -g"], &["/usr/bin/id -u"]),
            (&["ALL", "!/usr/bin/su **"], &["/usr/bin/w", id], &["/usr/bin/w", id, "!/usr/bin/su **"]),
            (&["/usr/bin/uname"], &["/usr/bin/date"], &[]),
        ] {
            assert_eq!(met(one, other), common, "{one:?} and {other:?}");
        }
    }

    #[test]
    fn the_intersection_excludes_what_either_list_denies() {
        const LINES: [&str; 8] = [
            "ALL",
            "!ALL",
            "/usr/bin/id **",
            "!/usr/bin/id -g",
            "/usr/bin/id -u",
            "/usr/bin/* *",
            "!/usr/bin/w",
            "/usr/bin/w",
        ];
        const COMMANDS: [&str; 5] =
            ["/usr/bin/id -u", "/usr/bin/id -g", "/usr/bin/id", "/usr/bin/w", "/usr/sbin/other x"];
        let list = |number: usize| -> Vec<CommandRule> {
            rules(&[LINES[number % 8], LINES[number / 8 % 8], LINES[number / 64]])
        };
        let mut told = [0_usize; 2];
        for (one, other) in (0..512).flat_map(|one| (0..512).map(move |other| (one, other))).step_by(7) {
            let (one, other) = (list(one), list(other));
            let common = meet(&one, &other);
            for command in COMMANDS {
                let both = allows(&one, command) && allows(&other, command);
                assert!(both || !allows(&common, command), "{one:?}\n{other:?}\n{common:?}\n{command}");
                told[usize::from(allows(&common, command))] += usize::from(both);
            }
        }
        assert!(told[1] > 9 * told[0], "too much is left untold: {told:?}");
    }
}
