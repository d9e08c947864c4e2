//! Debian's sudo is the reference: every behaviour in differential/*.behaviours runs with sudo and with jit-sudo, by the same
//! user under an equivalent policy, and must have the same status, output and errors. Every difference is either fixed or listed,
//! with its reason, in docs/sudo-differences.md; a listed one that no longer differs must be removed from there. With
//! DIFFERENTIAL in the environment only behaviours run whose title contains its text.

mod behaviour;
mod differences;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{Person, PrivateRoot};

use crate::root;
use behaviour::Behaviour;
use trial::Outcome;

/// Concurrent comparisons: many of them wait for a prompt or for PAM's delay after a wrong password.
const AT_ONCE: usize = 8;

/// The minimum number of comparisons.
const ENOUGH: usize = 300;

#[test]
fn jit_sudo_behaves_as_sudo_does_but_for_the_listed_differences() {
    let behaviours = behaviour::all();
    let wanted = std::env::var("DIFFERENTIAL").unwrap_or_default();
    let chosen: Vec<&Behaviour> = behaviours.iter().filter(|behaviour| behaviour.title().contains(&wanted)).collect();
    let root = root();
    prepare(root);
    let people = people(root, &behaviours);
    let found = compare_all(root, &people, &chosen);
    let version = root.script("sudo -V | sed -n '1s/.* //p'");
    let version = version.trim();
    let listed = differences::listed(version);

    let names: BTreeSet<String> = behaviours.iter().map(Behaviour::title).collect();
    let unlisted: Vec<&String> =
        found.iter().filter(|(title, _)| !listed.here.contains(*title)).map(|(_, difference)| difference).collect();
    let alike = |title: &str| chosen.iter().any(|behaviour| behaviour.title() == title) && !found.contains_key(title);
    let stale: Vec<&String> = listed.here.iter().filter(|title| alike(title)).collect();
    let unknown: Vec<&String> = listed.all.difference(&names).collect();

    // Not with a macro, whose output cargo captures: this line is shown although the tests pass.
    let _ = writeln!(
        std::io::stderr(),
        "{} behaviours compared with Debian's sudo {version}: {} alike, {} differ, {} of these listed",
        chosen.len(),
        chosen.len() - found.len(),
        found.len(),
        found.len() - unlisted.len(),
    );
    assert!(unlisted.is_empty(), "differences that docs/sudo-differences.md does not list:\n\n{}", join(&unlisted));
    assert!(stale.is_empty(), "docs/sudo-differences.md lists what no longer differs:\n{}", join(&stale));
    assert!(unknown.is_empty(), "docs/sudo-differences.md lists what no table holds:\n{}", join(&unknown));
    assert!(behaviours.len() >= ENOUGH, "only {} behaviours", behaviours.len());
}

/// Gives both programs the same rules, for groups that only these tests use.
fn prepare(root: &PrivateRoot) {
    root.write("/etc/sudoers.d/differential", 0o440, include_str!("differential/sudoers"));
    root.add_policy("differential", include_str!("differential/policy.toml"));
    root.script("getent group diff-extra >/dev/null || groupadd --gid 4321 diff-extra");
    root.script("mkdir -p -m 755 /run/differential; printf '#!/bin/sh\\necho \"tool $*\"\\n' >/usr/local/bin/tool; chmod 755 /usr/local/bin/tool");
}

/// Creates one user for each kind that the tables name.
fn people(root: &PrivateRoot, behaviours: &[Behaviour]) -> BTreeMap<String, Person> {
    let kinds: BTreeSet<&String> = behaviours.iter().map(|behaviour| &behaviour.person).collect();
    kinds
        .into_iter()
        .map(|kind| {
            let groups: Vec<String> =
                kind.split(' ').filter(|word| *word != "nobody").map(|word| format!("diff-{word}")).collect();
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            (kind.clone(), root.person(&groups))
        })
        .collect()
}

/// Returns the differences, by the title of the behaviour.
fn compare_all(
    root: &PrivateRoot,
    people: &BTreeMap<String, Person>,
    behaviours: &[&Behaviour],
) -> BTreeMap<String, String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some(behaviour) = behaviours.get(next.fetch_add(1, Ordering::Relaxed)) {
            let person = &people[&behaviour.person];
            let both = || ["sudo", "jit-sudo"].map(|program| trial::run(root, person, behaviour, program));
            // A timeout counts as a difference, even where both programs agree in it.
            let differ = |[sudo, ours]: &[Outcome; 2]| sudo != ours || sudo.status.is_none();
            // Retried twice, because the machine may be busy.
            let outcomes = Some(both()).filter(differ).map(|_| both()).filter(differ).map(|_| both()).filter(differ);
            if let Some([sudo, ours]) = outcomes {
                let text = format!("{}\n{}", behaviour.title(), differences::describe(&sudo, &ours));
                found.lock().unwrap().insert(behaviour.title(), text);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap()
}

fn join(lines: &[&String]) -> String {
    lines.iter().map(|line| line.as_str()).collect::<Vec<_>>().join("\n")
}
