#![no_main]
//! Patterns of a policy and the arguments that they are matched with: a pattern, a NUL byte, and the arguments.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jit_core::names::{GrantId, GroupName, IdPrefix, RoleName, UserName};
use jit_core::policy::{
    Answer, CommandRule, NOWHERE, Policy, PolicyText, Principal, ProgramNames, Question, Role, Target, WordPattern,
    name_matches,
};
use jit_sudo_fuzz::{glob, shown};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut words = data.split(|byte| *byte == 0);
    let Some(pattern) = words.next().and_then(|pattern| std::str::from_utf8(pattern).ok()) else { return };
    let words: Vec<OsString> = words.map(|word| OsStr::from_bytes(word).to_owned()).collect();
    let word = words.first().map(|word| word.as_bytes()).unwrap_or_default();
    of_words(pattern, word);
    literally(word);
    names(pattern);
    of_commands(pattern, &words);
});

fn of_words(pattern: &str, word: &[u8]) {
    name_matches(pattern, word);
    match WordPattern::parse(pattern) {
        Ok(read) if pattern.len() * word.len() < 1 << 14 => {
            assert_eq!(Some(read.matches(word)), glob::matches(pattern, word), "{pattern:?} {word:?}");
        }
        Ok(read) => drop(read.matches(word)),
        Err(why) => shown(why),
    }
}

/// Checks that a text with a backslash before each byte matches itself and nothing else.
fn literally(word: &[u8]) {
    let Some(text) = std::str::from_utf8(word).ok().filter(|text| text.is_ascii() && text.len() < 1024) else { return };
    let pattern: String = text.chars().flat_map(|character| ['\\', character]).collect();
    let read = WordPattern::parse(&pattern).expect("every byte is escaped");
    assert!(read.matches(word));
    assert!(!read.matches(&[word, b"x"].concat()) && !read.matches(&[b"/", word].concat()));
}

fn names(text: &str) {
    let told = [
        RoleName::parse(text).map(|name| assert_eq!(name.as_str(), text)).err(),
        UserName::parse(text).map(|name| assert_eq!(name.as_str(), text)).err(),
        GroupName::parse(text).map(|name| assert_eq!(name.as_str(), text)).err(),
        GrantId::parse(text).map(|name| assert_eq!(name.as_str(), text)).err(),
        IdPrefix::parse(text).map(drop).err(),
    ];
    told.into_iter().flatten().for_each(shown);
    match Principal::parse(text) {
        Ok(principal) => assert_eq!(Principal::parse(&principal.to_string()), Ok(principal)),
        Err(why) => shown(why),
    }
}

/// Checks that a single rule denies with `!` what it allows without it.
fn of_commands(rule: &str, words: &[OsString]) {
    if let Err(why) = CommandRule::parse(rule) {
        shown(why);
    }
    let (Some((program, arguments)), false) = (words.split_first(), rule.starts_with('!')) else { return };
    if !program.as_bytes().starts_with(b"/") {
        return;
    }
    let answers = |rule: &str| role(rule).map(|role| answer(&role, Path::new(program), arguments));
    match (answers(rule), answers(&format!("!{rule}"))) {
        (Some(Said::Allowed), denied) => assert!(matches!(denied, Some(Said::Denied) | None), "{rule:?} {words:?}"),
        (Some(said), _) => assert_ne!(said, Said::Denied),
        (None, _) => {}
    }
}

fn role(rule: &str) -> Option<Role> {
    // A JSON string is a TOML string, except for what TOML rejects.
    let text = format!("[roles.r]\nstanding=[\"ALL\"]\ncommands=[{}]\n", serde_json::to_string(rule).ok()?);
    Policy::parse(&[PolicyText { path: "p".into(), text }]).ok().map(|policy| policy.roles()[0].clone())
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Allowed,
    Denied,
    Nothing,
}

fn answer(role: &Role, program: &Path, arguments: &[OsString]) -> Said {
    let groups = || Some(Vec::new());
    let question = Question {
        run_as: Target { name: "root", uid: 0, groups: &groups, is_caller: false, lookup: &NOWHERE },
        run_as_group: None,
        host: "web1",
        program: ProgramNames { place: program, canonical: program, lookup: &NOWHERE },
        arguments,
        digest: &|_| Some(vec![0xab; 32]),
    };
    match role.answers(&question) {
        Answer::Allowed { .. } => Said::Allowed,
        Answer::Denied { .. } => Said::Denied,
        Answer::NoRule | Answer::OtherRunAs | Answer::OtherGroup | Answer::OtherHost => Said::Nothing,
    }
}
