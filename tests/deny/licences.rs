//! Licence expressions (SPDX 2.3, annex D): OR, AND, WITH and parentheses, and the `/` of older crates, which means OR.

use std::collections::BTreeSet;

/// Whether the allowed licences permit use under this expression. Text that is no expression permits nothing.
pub(crate) fn granted(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    either(&mut words, allowed) == Some(true) && words.is_empty()
}

fn either(words: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut granted = both(words, allowed)?;
    while take(words, "OR") {
        granted |= both(words, allowed)?;
    }
    Some(granted)
}

fn both(words: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut granted = one(words, allowed)?;
    while take(words, "AND") {
        granted &= one(words, allowed)?;
    }
    Some(granted)
}

fn one(words: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    if take(words, "(") {
        let granted = either(words, allowed)?;
        return take(words, ")").then_some(granted);
    }
    let mut licence = next(words)?.to_owned();
    if ["OR", "AND", "WITH", ")"].contains(&licence.as_str()) {
        return None;
    }
    if take(words, "WITH") {
        licence = format!("{licence} WITH {}", next(words)?);
    }
    Some(allowed.contains(&licence))
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let found = words.first() == Some(&word);
    if found {
        *words = &words[1..];
    }
    found
}

fn next<'a>(words: &mut &[&'a str]) -> Option<&'a str> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    Some(first)
}

#[test]
fn licence_expressions_are_evaluated() {
    let allowed = ["MIT", "Zlib"].map(str::to_owned).into();
    for expression in
        ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(GPL-3.0 OR MIT) AND Zlib", "MIT OR GPL-3.0 AND Zlib"]
    {
        assert!(granted(expression, &allowed), "{expression}");
    }
    for expression in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR Zlib) AND GPL-3.0",
        "MIT WITH an-exception",
        "none",
        "",
        "MIT Zlib",
        "MIT OR",
        "(MIT",
        "MIT)",
        "OR MIT",
    ] {
        assert!(!granted(expression, &allowed), "{expression}");
    }
}
