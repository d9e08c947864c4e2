//! The documents together: every link leads to an existing file and heading, and the manual lists every page.

// A test that cannot examine its object must fail, and it does so by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every document of the source tree.
fn documents() -> Vec<PathBuf> {
    let in_directory = |directory: PathBuf| fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let all = in_directory(root().to_owned()).chain(in_directory(root().join("docs")));
    all.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Returns the lines of a document that are not code.
fn prose(document: &Path) -> Vec<String> {
    let text = fs::read_to_string(document).unwrap();
    let mut fenced = false;
    let outside = |line: &&str| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    };
    text.lines().filter(outside).map(str::to_owned).collect()
}

/// Returns the texts in parentheses after `]`.
fn links(document: &Path) -> Vec<String> {
    let text = prose(document).join("\n");
    let targets = text.match_indices("](").map(|(at, _)| text[at + 2..].split(')').next().unwrap().to_owned());
    targets.collect()
}

/// Returns the anchors of a document's headings, as GitHub and mdBook make them.
fn anchors(document: &Path) -> BTreeSet<String> {
    let slug = |heading: &str| -> String {
        let kept = |letter: char| letter.is_alphanumeric() || "-_ ".contains(letter);
        heading.to_lowercase().chars().filter(|letter| kept(*letter)).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    let lines = prose(document);
    let headings = lines.iter().filter(|line| line.starts_with('#'));
    headings.map(|line| slug(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn every_link_has_a_target() {
    let mut seen = 0;
    for document in documents() {
        for link in links(&document).iter().filter(|link| !link.contains("://")) {
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.clone() } else { document.with_file_name(file) };
            assert!(target.exists(), "{}: there is no {link}", document.display());
            assert!(
                anchor.is_empty() || anchors(&target).contains(anchor),
                "{}: {link}: no heading gives this anchor",
                document.display()
            );
        }
    }
    assert!(seen > 50, "only {seen} links were found");
}

#[test]
fn the_manual_lists_every_page() {
    let listed: BTreeSet<String> = links(&root().join("docs/SUMMARY.md")).into_iter().collect();
    let pages = documents().into_iter().filter(|path| path.starts_with(root().join("docs")));
    let names = pages.map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    assert_eq!(listed, names.filter(|name| name != "SUMMARY.md").collect());
}
