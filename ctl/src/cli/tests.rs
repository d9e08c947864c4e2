use clap::CommandFactory;

use super::*;

fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
    let words: Vec<OsString> = std::iter::once("jitctl").chain(words.iter().copied()).map(OsString::from).collect();
    Cli::parse_words(&words)
}

#[test]
fn the_declaration_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_command_begins_at_its_first_word_with_or_without_dashes() {
    for words in [
        &["request", "--reason", "x", "--", "ls", "-l", "--json"][..],
        &["request", "--reason", "x", "ls", "-l", "--json"][..],
    ] {
        let cli = parse(words).unwrap();
        assert_eq!(cli.format(), Format::Text);
        let Verb::Request(request) = cli.verb else { panic!("not a request") };
        assert_eq!(request.command, ["ls", "-l", "--json"].map(Word::from).to_vec());
    }
}

#[test]
fn a_mistyped_option_is_not_taken_for_a_command() {
    assert!(parse(&["request", "--resaon", "x", "ls"]).is_err());
    assert!(parse(&["why", "-x", "ls"]).is_err());
}

#[test]
fn wait_takes_its_duration_only_with_an_equals_sign() {
    let wait = |words: &[&str]| match parse(words).unwrap().verb {
        Verb::Request(request) => (request.wait, request.command.len()),
        _ => panic!("not a request"),
    };
    assert_eq!(wait(&["request", "--wait", "ls"]), (Some(None), 1));
    assert_eq!(wait(&["request", "--wait=5m", "ls"]), (Some(Some(Seconds(300))), 1));
    assert_eq!(wait(&["request", "ls"]), (None, 1));
}

#[test]
fn a_request_needs_a_role_or_a_command() {
    assert!(parse(&["request", "--reason", "x"]).is_err());
    assert!(parse(&["request", "--role", "web-ops"]).is_ok());
    assert!(parse(&["request", "--role", "web-ops", "ls"]).is_ok());
}

#[test]
fn a_revocation_has_exactly_one_target() {
    assert!(parse(&["revoke", "--reason", "x"]).is_err());
    assert!(parse(&["revoke", "abc", "--all", "--reason", "x"]).is_err());
    assert!(parse(&["revoke", "--user", "bob"]).is_err());
    assert!(parse(&["revoke", "--user", "bob", "--reason", "x"]).is_ok());
}

#[test]
fn ids_names_and_kinds_are_checked_before_the_broker_is_asked() {
    for words in [
        &["show", "ab%"][..],
        &["show", ""],
        &["show", "01234567890"],
        &["request", "--role", "a b"],
        &["revoke", "--user", "#0", "--reason", "x"],
        &["audit", "list", "--kind", "Start!"],
        &["audit", "list", "--limit", "0"],
        &["audit", "show", "../x"],
        &["approve", "abc", "--for", "0"],
    ] {
        assert!(parse(words).is_err(), "{words:?}");
    }
}

/// Every verb that performs an action, with its parent.
fn leaves(command: &clap::Command, family: &str) -> Vec<String> {
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown
        .flat_map(|verb| {
            let name = format!("{family}{}", verb.get_name());
            if verb.has_subcommands() { leaves(verb, &format!("{name} ")) } else { vec![name] }
        })
        .collect()
}

#[test]
fn every_verb_is_in_docs_json_md_and_tried_with_json_on_the_installed_product() {
    let json = include_str!("../../../docs/json.md");
    let tried = include_str!("../../../tests/installed/json.rs");
    for verb in leaves(&Cli::command(), "") {
        if verb == "completion" {
            continue; // a script is a text for a shell in either format
        }
        assert!(json.contains(&format!("`{verb}`")), "docs/json.md does not say what `{verb}` prints");
        assert!(tried.contains(&format!("\"{verb}\"")), "tests/installed/json.rs does not try `{verb}`");
    }
}
