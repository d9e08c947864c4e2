//! Rules and the commands that they match.

use std::path::Path;

use super::*;

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

fn means(rule: &str, command: &str) -> bool {
    let command = words(command);
    CommandRule::parse(rule).unwrap().matches(Path::new(&command[0]), &command[1..], &|_| None)
}

#[test]
fn a_rule_matches_exactly_its_arguments() {
    assert!(means("/usr/bin/systemctl restart nginx", "/usr/bin/systemctl restart nginx"));
    for command in [
        "/usr/bin/systemctl",
        "/usr/bin/systemctl restart",
        "/usr/bin/systemctl restart nginx now",
        "/usr/bin/systemctl restart nginxx",
        "/bin/systemctl restart nginx",
        "/usr/bin/systemctl RESTART nginx",
    ] {
        assert!(!means("/usr/bin/systemctl restart nginx", command), "{command}");
    }
    assert!(means("/usr/bin/id", "/usr/bin/id"));
    assert!(!means("/usr/bin/id", "/usr/bin/id -u"));
}

#[test]
fn arguments_are_never_joined() {
    let rule = CommandRule::parse("/bin/cat /a b").unwrap();
    assert!(!rule.matches(Path::new("/bin/cat"), &["/a b".into()], &|_| None));
    let rule = CommandRule::parse(r"/bin/cat /a\ b").unwrap();
    assert!(rule.matches(Path::new("/bin/cat"), &["/a b".into()], &|_| None));
    assert!(!rule.matches(Path::new("/bin/cat"), &words("/a b"), &|_| None));
    let rule = CommandRule::parse("/bin/cat /var/log/*").unwrap();
    assert!(!rule.matches(Path::new("/bin/cat"), &words("/var/log/a /etc/shadow"), &|_| None));
    assert!(rule.matches(Path::new("/bin/cat"), &["/var/log/a b".into()], &|_| None));
}

#[test]
fn a_star_matches_one_argument_and_two_stars_any_number() {
    assert!(means("/bin/x *", "/bin/x ../../etc"));
    assert!(!means("/bin/x *", "/bin/x"));
    assert!(!means("/bin/x *", "/bin/x a b"));
    for command in ["/bin/x", "/bin/x a", "/bin/x a b c"] {
        assert!(means("/bin/x **", command), "{command}");
    }
    assert!(means("/bin/x ** -f *", "/bin/x -f -f -f y"));
    assert!(means("/bin/x ** -- ** end", "/bin/x a -- b -- c end"));
    assert!(!means("/bin/x ** -- ** end", "/bin/x a b end"));
    assert!(!means("/bin/x ** end", "/bin/x end end2"));
}

#[test]
fn rules_that_cannot_match_a_program_are_rejected() {
    for text in [
        "",
        "!",
        " ",
        "ls",
        "./ls",
        "*",
        "**",
        "ALL x",
        "all",
        "/",
        "/usr/bin/",
        "/usr//bin/ls",
        "/usr/../bin/ls",
        "/usr/./ls",
        "/bin/sh -c 'a b'",
        "/bin/x \"\"",
        "/bin/x a\\",
        "/var/log/**",
        "/bin/x a**",
        "/bin/\u{202e}sl",
        "/bin/x\n/bin/y",
        "/bin/x \0",
        "!!/bin/x",
        "^/bin/.*$",
        "\\/bin/x",
    ] {
        assert!(CommandRule::parse(text).is_err(), "{text:?}");
    }
    assert!(CommandRule::parse(&format!("/bin/x{}", " a".repeat(2000))).is_err());
    assert!(CommandRule::parse(&format!("/bin/{}", "a".repeat(5000))).is_err());
}

#[test]
fn negation_is_parsed_and_shown() {
    let rule = CommandRule::parse("!/usr/bin/journalctl -f").unwrap();
    assert_eq!(rule.effect(), Effect::Deny);
    assert_eq!(rule.to_string(), "!/usr/bin/journalctl -f");
    assert_eq!(CommandRule::parse("!ALL").unwrap().effect(), Effect::Deny);
    assert!(CommandRule::parse("ALL").unwrap().means_all());
}

#[test]
fn a_denied_program_is_also_denied_with_a_merged_usr() {
    assert!(means("!/bin/sh **", "/usr/bin/sh -c x") && means("!/sbin/*", "/usr/sbin/reboot"));
    assert!(!means("/bin/sh **", "/usr/bin/sh -c x"));
    assert!(!means("!/usr/bin/gone", "/bin/gone") && !means("!/local/bin/gone", "/usr/local/bin/gone"));
}

#[test]
fn rules_for_editing_match_full_paths() {
    assert!(means("sudoedit /etc/motd", "sudoedit /etc/motd"));
    assert!(!means("sudoedit /etc/motd", "sudoedit /etc/motd /etc/shadow"));
    assert!(means("sudoedit /etc/nginx/*", "sudoedit /etc/nginx/nginx.conf"));
    assert!(!means("sudoedit /etc/nginx/*", "sudoedit /etc/nginx/sites/x"));
    assert!(means("sudoedit **", "sudoedit /a /b") && means("ALL", "sudoedit /a"));
    assert!(!means("sudoedit *", "/usr/bin/sudoedit /a") && !means("/usr/bin/* **", "sudoedit /a"));
    for text in ["sudoedit motd", "sudoedit *.conf", "sudoedit ./x", "sudoedi /x", "sudoedit* /x"] {
        assert!(CommandRule::parse(text).is_err(), "{text}");
    }
    let table = |path, word: &str, sha256| {
        let args = Some(vec![word.to_owned()]);
        CommandRule::from_table(&RuleTable { path: Some(path), args, sha256, ..RuleTable::default() })
    };
    let digits = "ab".repeat(32);
    assert!(table("sudoedit", "/etc/a b", None).is_ok() && table("!sudoedit", "b", None).is_err());
    assert!(table("sudoedit", "/etc/x", Some(&digits)).is_err());
    let any = RuleTable { path_regex: Some("^.*$"), args_glob: Some("*"), ..RuleTable::default() };
    let edit = [OsString::from("/etc/x")];
    assert!(!CommandRule::from_table(&any).unwrap().matches(Path::new("sudoedit"), &edit, &|_| None));
}

#[test]
fn a_digest_is_computed_only_when_the_arguments_match() {
    let (digits, zz) = ("AB".repeat(32), "zz".repeat(32));
    let with = |path, args: &[&str], sha256| {
        let args = Some(args.iter().map(|word| (*word).to_owned()).collect());
        CommandRule::from_table(&RuleTable { path: Some(path), args, sha256: Some(sha256), ..RuleTable::default() })
    };
    let rule = with("/bin/x", &[], &digits).unwrap();
    assert_eq!(rule.to_string(), format!("/bin/x (sha256 {})", digits.to_lowercase()));
    let good = |algorithm| (algorithm == Algorithm::Sha256).then(|| vec![0xab; 32]);
    assert!(rule.matches(Path::new("/bin/x"), &[], &good));
    assert!(!rule.matches(Path::new("/bin/x"), &[], &|_| Some(vec![0; 32])));
    assert!(!rule.matches(Path::new("/bin/x"), &[], &|_| None));
    assert!(!rule.matches(Path::new("/bin/y"), &[], &|_| panic!("asked without need")));
    let denied = with("!/bin/x", &["**"], &digits).unwrap();
    assert!(denied.matches(Path::new("/bin/x"), &words("a"), &|_| None));
    assert!(with("/bin/x", &[], "abc").is_err() && with("/bin/x", &[], &zz).is_err());
}

#[test]
fn one_of_several_digests_is_enough_even_for_all() {
    let digests = vec![format!("sha512:{}", "cd".repeat(64)), format!("sha224:{}", "ab".repeat(28))];
    let rule = CommandRule::from_table(&RuleTable { path: Some("ALL"), digests, ..RuleTable::default() }).unwrap();
    assert!(!rule.means_all() && rule.literal_path().is_none());
    let has = |known: Algorithm, bytes: Vec<u8>| {
        rule.matches(Path::new("/bin/x"), &words("a"), &|algorithm| (algorithm == known).then(|| bytes.clone()))
    };
    assert!(has(Algorithm::Sha224, vec![0xab; 28]) && has(Algorithm::Sha512, vec![0xcd; 64]));
    assert!(!has(Algorithm::Sha224, vec![0xcd; 28]) && !has(Algorithm::Sha256, vec![0xab; 32]));
}

fn line_rule<'a>(path_regex: Option<&'a str>, args_glob: Option<&'a str>, args_regex: Option<&'a str>) -> CommandRule {
    let path = path_regex.is_none().then_some("/bin/cat");
    CommandRule::from_table(&RuleTable { path, path_regex, args_glob, args_regex, ..RuleTable::default() }).unwrap()
}

fn runs(rule: &CommandRule, command: &str) -> bool {
    let command = words(command);
    rule.matches(Path::new(&command[0]), &command[1..], &|_| None)
}

#[test]
fn arguments_are_joined_to_a_line_as_by_sudo() {
    let glob = line_rule(None, Some("/var/log/*"), None);
    assert!(
        runs(&glob, "/bin/cat /var/log/a /etc/shadow")
            && !runs(&glob, "/bin/cat")
            && !runs(&glob, "/bin/tac /var/log/a")
    );
    let regex = line_rule(None, None, Some("^-n [0-9]+( /var/log/[a-z]+)*$"));
    assert!(runs(&regex, "/bin/cat -n 5 /var/log/a /var/log/b") && !runs(&regex, "/bin/cat -n 5 /etc/a"));
    assert_eq!(regex.to_string(), "path '/bin/cat' args_regex '^-n [0-9]+( /var/log/[a-z]+)*$'");
    let anywhere = line_rule(Some("!^/usr/s?bin/[a-c]"), Some("*"), None);
    assert!(runs(&anywhere, "/usr/sbin/ab x") && !runs(&anywhere, "/usr/bin/x a"));
    assert_eq!(anywhere.effect(), Effect::Deny);
}

#[test]
fn arguments_that_an_expression_cannot_read_are_denied() {
    let odd = [OsString::from_vec(vec![0xff])];
    let run = |rule: &str| {
        let table = RuleTable { path: Some(rule), args_regex: Some("^a$"), ..RuleTable::default() };
        CommandRule::from_table(&table).unwrap().matches(Path::new("/bin/x"), &odd, &|_| None)
    };
    assert!(run("!/bin/x") && !run("/bin/x"));
    let hidden = line_rule(None, None, Some("^.*secret.*$"));
    assert!(hidden.matches(Path::new("/bin/cat"), &["a\nsecret".into()], &|_| None));
}

#[test]
fn tables_with_conflicting_or_missing_keys_are_rejected() {
    let path = Some("/bin/x");
    for table in [
        RuleTable::default(),
        RuleTable { path, path_glob: path, ..RuleTable::default() },
        RuleTable { path, args_glob: Some("a"), args_regex: Some("a"), ..RuleTable::default() },
        RuleTable { path: Some("ALL"), args_glob: Some("a"), ..RuleTable::default() },
        RuleTable { path_glob: Some("bin/*"), ..RuleTable::default() },
        RuleTable { path_regex: Some("("), ..RuleTable::default() },
        RuleTable { path, args_glob: Some("a\u{202e}"), ..RuleTable::default() },
        RuleTable { path, digests: vec!["md5:00".into()], ..RuleTable::default() },
    ] {
        assert!(CommandRule::from_table(&table).is_err(), "{table:?}");
    }
}

#[test]
fn arguments_that_are_not_utf_8_match_by_their_bytes() {
    let rule = CommandRule::parse("/bin/x a*").unwrap();
    assert!(rule.matches(Path::new("/bin/x"), &[OsString::from_vec(b"a\xff\xfe".to_vec())], &|_| None));
    assert!(!rule.matches(Path::new("/bin/x"), &[OsString::from_vec(b"\xffa".to_vec())], &|_| None));
}

#[test]
fn the_stored_form_has_the_same_meaning() {
    for text in ["ALL", "!/bin/x ** a\\ b *", "/bin/*x -?", "/bin/x"] {
        let rule = CommandRule::parse(text).unwrap();
        let stored = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<CommandRule>(&stored).unwrap(), rule);
    }
}

#[test]
fn two_mebibytes_of_arguments_are_matched_quickly() {
    let many: Vec<OsString> = (0..1_000_000).map(|_| OsString::from("a")).collect();
    let rule = CommandRule::parse("/bin/x ** a a a a b").unwrap();
    assert!(!rule.matches(Path::new("/bin/x"), &many, &|_| None));
}

#[test]
fn random_rules_never_panic_and_their_text_round_trips() {
    let mut random = fastrand::Rng::with_seed(1);
    let alphabet: Vec<char> = "/ab.*?! \\\t'\"-=ALL\u{1b}é\u{202e}\0".chars().collect();
    let mut accepted = 0;
    for _ in 0..50_000 {
        let length = random.usize(..24);
        let mut text: String = (0..length).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
        if random.bool() {
            text.insert_str(0, "/b");
        }
        let Ok(rule) = CommandRule::parse(&text) else { continue };
        accepted += 1;
        assert_eq!(rule.to_string(), text);
        assert_eq!(CommandRule::parse(&rule.to_string()).as_ref(), Ok(&rule));
        let _ = rule.matches(Path::new("/b/a"), &words("a .. /b"), &|_| None);
    }
    assert!(accepted > 2000, "{accepted}");
}
