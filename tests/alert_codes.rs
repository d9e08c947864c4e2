//! The codes of alerts: the table in docs/formats.md has those that the program records, and no others. Reads the codes from the
//! source.

// A test that cannot examine its object must fail, and it does so by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Calls that make an alert, with the place of the code among their arguments.
const CALLS: &[(&str, usize)] = &[("Alert::new(", 0), ("alert_once(", 1), ("alert(", 0)];

/// Files whose functions get the code from their callers, which are calls as well.
const PASSED_ON: &[&str] = &["src/audit/alert_once.rs", "src/audit/fault.rs", "src/hooks.rs", "src/run/grant_watch.rs"];

/// Files that choose the code in an arm of a `match`.
const CHOSEN: &[&str] = &["src/audit/fault.rs", "src/audit/clock_checks.rs"];

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the source of these directories by its path, without tests and comments.
fn sources(directories: &[&str]) -> BTreeMap<String, String> {
    let mut rest: Vec<PathBuf> = directories.iter().map(|directory| at(directory)).collect();
    let mut found = BTreeMap::new();
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            rest.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(at("")).unwrap().display().to_string();
        let is_test = name.contains("/tests") || name.ends_with("/sample.rs") || name.ends_with("/samples.rs");
        if name.ends_with(".rs") && !is_test {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.insert(name, lines.map(|line| format!("{line}\n")).collect());
        }
    }
    found
}

/// Returns the part of a text up to the bracket that closes the one before it.
fn inside(text: &str) -> &str {
    let mut depth = 1_usize;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'{' | b'[' => depth += 1,
            b')' | b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..index];
        }
    }
    panic!("no closing bracket: {text}")
}

/// Returns an argument of a call, given by the text between its brackets.
fn argument(arguments: &str, place: usize) -> String {
    let mut depth = 0_usize;
    let parts = arguments.split(|c| {
        match c {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            _ => {}
        }
        depth == 0 && c == ','
    });
    parts.map(str::trim).nth(place).unwrap_or_default().to_owned()
}

fn is_code_literal(argument: &str) -> bool {
    argument.starts_with('"') && argument.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'"' | b'-'))
}

/// Returns the expressions by which alerts get their code in a source.
fn expressions(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (call, place) in CALLS {
        for (index, _) in code.match_indices(call) {
            let before = &code[..index];
            // A definition, a method of this name, or the end of a longer name.
            let is_other = before.ends_with("fn ") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let argument = argument(inside(&code[index + call.len()..]), *place);
            // A method of this name may get a sentence alone.
            let is_sentence = before.ends_with('.') && *call == "alert(" && !is_code_literal(&argument);
            if !is_other && !is_sentence {
                found.push(argument);
            }
        }
    }
    let is_value = |index: usize| !["struct ", "impl ", "-> "].iter().any(|word| code[..index].ends_with(word));
    for (index, name) in code.match_indices("Alert {").filter(|(index, _)| is_value(*index)) {
        let fields = inside(&code[index + name.len()..]);
        let code = fields.split("code: ").nth(1).map(|rest| argument(rest, 0));
        found.extend(code);
    }
    found
}

/// Returns the text of an expression that is a string or the name of a constant.
fn code_of(expression: &str, constants: &str) -> Option<String> {
    let word = expression.trim_end_matches(".to_owned()");
    if let Some(text) = word.strip_prefix('"') {
        return text.strip_suffix('"').map(str::to_owned);
    }
    let name = word.rsplit("::").next()?;
    let is_constant = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let (_, value) = constants.split_once(&format!("const {name}: &str = \"")).filter(|_| is_constant)?;
    value.split('"').next().map(str::to_owned)
}

/// Returns the codes that the program may record.
fn recorded() -> BTreeSet<String> {
    let sources = sources(&["src", "core/src"]);
    let all: String = sources.values().map(String::as_str).collect();
    let mut codes = BTreeSet::new();
    for (path, code) in &sources {
        for expression in expressions(code) {
            let is_passed_on =
                expression.trim_end_matches(".to_owned()") == "code" && PASSED_ON.contains(&path.as_str());
            match code_of(&expression, &format!("{code}{all}")) {
                Some(code) => drop(codes.insert(code)),
                None => assert!(is_passed_on, "{path} makes an alert whose code this test cannot read: {expression}"),
            }
        }
        let arms = code.split("=> \"").skip(1).filter(|_| CHOSEN.contains(&path.as_str()));
        let is_code = |text: &&str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        codes.extend(arms.filter_map(|arm| arm.split('"').next()).filter(is_code).map(str::to_owned));
    }
    codes
}

/// Returns the codes of the table in docs/formats.md.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string(at("docs/formats.md")).unwrap();
    let (_, table) = text.split_once("The `code` of an alert is one of these").unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with('|'));
    let codes = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    codes.map(|code| code.trim().trim_matches('`').to_owned()).collect()
}

#[test]
fn the_documented_codes_of_alerts_are_those_that_are_recorded() {
    let (documented, recorded) = (documented(), recorded());
    assert!(recorded.len() > 15, "{recorded:?}");
    let missing: Vec<_> = recorded.difference(&documented).collect();
    let more: Vec<_> = documented.difference(&recorded).collect();
    assert!(missing.is_empty() && more.is_empty(), "not in docs/formats.md: {missing:?}; not in the source: {more:?}");
}
