use super::*;
use crate::policy::PolicyReader;

const TEXT: &str = "
[defaults]
passwd_tries = 4
env_keep = [\"A_*\"]

[audit]
redact = [\"*_KEY\"]

[roles.web-ops]
eligible = [\"alice\", \"%web\", \"!bob\"]
commands = [\"/usr/bin/systemctl restart *\", { path_regex = \"^/opt/.*$\", args_glob = \"*\" }, \"!/usr/bin/id\"]
pam_service = \"web\"
rlimit_nofile = \"10,20\"
[roles.web-ops.activation]
require_approval = true
approvers = [\"carol\"]
ticket = \"^T-[0-9]+$\"

[roles.base]
standing = [\"dave\"]
commands = \"ALL\"
";

fn file(name: &str, text: &str) -> PolicyText {
    PolicyText { path: format!("/etc/jit-sudo/{name}").into(), text: text.to_owned() }
}

fn files() -> Vec<PolicyText> {
    vec![
        file("policy.toml", TEXT),
        file("policy.d/a.toml", "[roles.last]\nstanding = [\"erin\"]\ncommands = [\"/bin/a\"]\n"),
    ]
}

fn answered(files: &[PolicyText]) -> Vec<u8> {
    answer(&request(files).unwrap()).unwrap()
}

/// Returns the reader's error for an answer about [`files`].
fn fault(answer: &[u8]) -> InvalidAnswer {
    match read_answer(answer, &files()) {
        Err(Uncompiled::Answer(invalid)) => invalid,
        Err(Uncompiled::Policy(error)) => panic!("{error}"),
        Ok(policy) => panic!("a policy with {} roles", policy.roles().len()),
    }
}

fn lines() -> Vec<String> {
    String::from_utf8(answered(&files())).unwrap().lines().map(|line| format!("{line}\n")).collect()
}

/// Returns the answer with `from` replaced once in the line with this number.
fn with(line: usize, from: &str, to: &str) -> Vec<u8> {
    let mut lines = lines();
    assert!(lines[line - 1].contains(from), "{from} is not in {}", lines[line - 1]);
    lines[line - 1] = lines[line - 1].replacen(from, to, 1);
    lines.concat().into_bytes()
}

#[test]
fn the_answer_contains_the_policy_as_parsed() {
    let files = files();
    let (read, parsed) = (read_answer(&answered(&files), &files).unwrap(), Policy::parse(&files).unwrap());
    assert_eq!(read.settings(), parsed.settings());
    assert_eq!(read.roles(), parsed.roles());
    assert_eq!(read.roles().len(), 3);
    let nothing = read_answer(&answered(&[]), &[]).unwrap();
    assert_eq!((nothing.roles().len(), nothing.settings()), (0, &Settings::default()));
}

#[test]
fn an_error_keeps_its_position_and_its_text() {
    for text in [
        "[roles.r\n",
        "[roles.x]\nstanding = [\"a\"]\ncommands = [\"ALL\"]\naprovers = 1\n",
        "\n\n[roles.x]\ncommands = [\"id\\\\x y \\\"\"]\n",
        "[roles.x]\ndescription = \"\\u202e\\u0007\"\ncommands = \"ALL\"\n",
        "[audit]\njournald = \"\u{202e}a\\\\b\"\n",
        "[roles.web-ops]\ncommands = \"ALL\"\n",
    ] {
        let files = [file("policy.toml", TEXT), file("policy.d/b\u{7}.toml", text)];
        let parsed = Policy::parse(&files).unwrap_err();
        let Err(Uncompiled::Policy(read)) = read_answer(&answered(&files), &files) else { panic!("{text}") };
        assert_eq!(read, parsed);
        let root = PolicyReader::root(0).unwrap();
        assert_eq!(read.words().told_to(&root), parsed.words().told_to(&root));
    }
}

#[test]
fn each_truncation_and_each_addition_is_refused() {
    let whole = answered(&files());
    for length in 0..whole.len() {
        assert!(matches!(read_answer(&whole[..length], &files()), Err(Uncompiled::Answer(_))), "{length}");
    }
    for more in ["\n", "{}\n", "x", &lines()[1]] {
        let longer = [whole.as_slice(), more.as_bytes()].concat();
        assert_eq!(fault(&longer).fault, "is one too many", "{more}");
    }
    assert_eq!(fault(&vec![b'x'; 10 << 20]).fault, "is missing or cut off");
    let long = [vec![b'['; 10 << 20], vec![b'\n']].concat();
    assert_eq!(fault(&long).fault, "is not understood");
    assert!(answer_limit(&files()) < 10 << 20);
}

#[test]
fn an_unknown_or_repeated_key_is_refused() {
    let other = "is not as this version writes it";
    assert_eq!(fault(&with(2, "{\"name\"", "{\"power\":1,\"name\"")), InvalidAnswer { line: 2, fault: other });
    assert_eq!(fault(&with(3, "{\"name\"", "{ \"name\"")), InvalidAnswer { line: 3, fault: other });
    assert_eq!(fault(&with(2, "\"one_shot\":false", "\"one_shot\":false,\"more\":1")).fault, other);
    assert_eq!(fault(&with(1, "\"redact\"", "\"extra\":1,\"redact\"")).fault, other);
    for (from, to) in [("{\"format\"", "{\"more\":1,\"format\""), ("\"settings\"", "\"more\":1,\"settings\"")] {
        assert_eq!(fault(&with(1, from, to)).fault, "is not understood", "{to}");
    }
    assert_eq!(fault(&with(3, "\"authenticate\":true", "\"authenticate\":true,\"authenticate\":true")).line, 3);
}

#[test]
fn another_order_and_a_repeated_role_are_refused() {
    let mut lines = lines();
    lines.swap(1, 2);
    let misplaced = "is a role that does not stand there in the files";
    assert_eq!(fault(lines.concat().as_bytes()), InvalidAnswer { line: 3, fault: misplaced });
    lines.swap(1, 2);
    lines[2] = lines[1].clone();
    assert_eq!(fault(lines.concat().as_bytes()), InvalidAnswer { line: 3, fault: "is a role that came before" });
}

#[test]
fn a_role_outside_the_files_is_refused() {
    let misplaced = "is a role that does not stand there in the files";
    assert_eq!(fault(&with(4, "policy.d/a.toml", "policy.d/b.toml")).fault, misplaced);
    for line in ["0", "5", "18446744073709551615"] {
        assert_eq!(fault(&with(4, "\"line\":1", &format!("\"line\":{line}"))).fault, misplaced, "{line}");
    }
}

#[test]
fn the_digest_of_a_role_must_match_its_text() {
    let wrong = "is a role with the digest of another";
    assert_eq!(fault(&with(2, "\"digest\":\"", "\"digest\":\"0")).fault, wrong);
    assert_eq!(fault(&with(3, "\"commands\":[{\"text\":\"ALL\"", "\"commands\":[{\"text\":\"/bin/a\"")).fault, wrong);
    assert_eq!(fault(&with(2, "\"authenticate\":true", "\"authenticate\":false")).fault, wrong);
}

#[test]
fn a_value_that_no_file_could_have_given_is_refused() {
    let impossible = "is a role that no file could have given";
    for (from, to) in [
        ("\"pam_service\":\"web\"", "\"pam_service\":\"../x\""),
        ("\"approvals\":1", "\"approvals\":0"),
        ("\"approvals\":1", "\"approvals\":2"),
        ("\"approvers\":[\"carol\"]", "\"approvers\":[]"),
        ("\"require_approval\":true", "\"require_approval\":false"),
        ("\"maximum_duration\":3600", "\"maximum_duration\":31622401"),
        ("\"description\":\"\"", "\"description\":\"a\\nb\""),
        ("\"passwd_tries\":4", "\"passwd_tries\":11"),
        ("\"order\":0", "\"order\":1000001"),
    ] {
        assert_eq!(fault(&with(2, from, to)), InvalidAnswer { line: 2, fault: impossible }, "{to}");
    }
    for (from, to) in [
        ("\"request_rate\":30", "\"request_rate\":0"),
        ("\"secs\":0,\"nanos\":500000000", "\"secs\":61,\"nanos\":0"),
        ("\"passwd_tries\":4", "\"passwd_tries\":0"),
        ("*_KEY", ""),
        ("\"request_rate\":30", "\"request_rate\":30,\"ordered\":true"),
    ] {
        let fault = fault(&with(1, from, to));
        assert_eq!(fault, InvalidAnswer { line: 1, fault: "has settings that no file could have given" }, "{to}");
    }
    for (from, to) in [("\"web-ops\"", "\"web ops\""), ("\"%web\"", "\"%\""), ("\"!bob\"", "\"!!bob\"")] {
        assert_eq!(fault(&with(2, from, to)).fault, "is not understood", "{to}");
    }
}

#[test]
fn an_error_that_the_files_cannot_have_is_refused() {
    let with = |file: usize, line: usize, cause: &str| {
        let found = Found::Error { file, line, column: 1, cause: cause.to_owned() };
        let mut answer = serde_json::to_vec(&Head { format: FORMAT.to_owned(), found }).unwrap();
        answer.push(b'\n');
        answer
    };
    assert_eq!(fault(&with(2, 1, "x")).fault, "tells of an error in a file that was not sent");
    for answer in [with(0, 100, "x"), with(0, 1, &"x".repeat(CAUSE_LIMIT + 1))] {
        assert_eq!(fault(&answer).fault, "tells of an error that the file cannot have");
    }
    assert_eq!(fault(&[with(0, 1, "x"), b"{}\n".to_vec()].concat()).fault, "is one too many");
    let Err(Uncompiled::Policy(read)) = read_answer(&with(0, 1, "a\u{1b}[2J\nb"), &files()) else { panic!() };
    let root = PolicyReader::root(0).unwrap();
    assert_eq!(read.words().told_to(&root), "/etc/jit-sudo/policy.toml:1: a\\x1b[2J\\x0ab");
}

#[test]
fn both_sides_refuse_another_version() {
    assert_eq!(fault(&with(1, FORMAT, "0.0.0/1")).fault, "is of another version");
    let request = String::from_utf8(request(&files()).unwrap()).unwrap();
    assert!(answer(request.replacen(FORMAT, "0.0.0/1", 1).as_bytes()).is_none());
    for bytes in [&b""[..], b"{}", b"null", &request.as_bytes()[..request.len() - 1]] {
        assert!(answer(bytes).is_none());
    }
}

#[test]
fn ten_thousand_damaged_answers_are_refused_or_keep_their_undamaged_values() {
    let whole = answered(&files());
    let parsed = Policy::parse(&files()).unwrap();
    let mut numbers = fastrand::Rng::with_seed(1);
    for _ in 0..10_000 {
        let mut bytes = whole.clone();
        let at = numbers.usize(..bytes.len());
        match numbers.u8(..4) {
            0 => bytes[at] ^= 1 << numbers.u8(..8),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, b"0[]{}\",:\n\\"[numbers.usize(..10)]),
            _ => bytes[at] = numbers.u8(..),
        }
        if let Ok(read) = read_answer(&bytes, &files()) {
            // The reader cannot check which users and commands a role names; it checks that the role is undamaged.
            assert_eq!(read.roles().len(), parsed.roles().len());
            for role in read.roles() {
                assert_eq!(role.digest, role_digest(&RolePower::of(role).encode().unwrap()));
            }
        }
    }
}

#[test]
#[ignore = "prints figures"]
fn what_it_takes_to_pass_a_policy_on() {
    for count in [1_000, 10_000, 100_000] {
        let role =
            |n| format!("[roles.other-{n}]\nstanding = [\"user{n}\"]\ncommands = [\"/opt/app/bin/tool-{n} *\"]\n\n");
        let files = [file("policy.toml", &(0..count).map(role).collect::<String>())];
        let begun = std::time::Instant::now();
        let parsed = Policy::parse(&files).unwrap();
        let after = begun.elapsed();
        let answer = written(&Ok(parsed), &files).unwrap();
        let wrote = begun.elapsed();
        let read = read_answer(&answer, &files).unwrap();
        let done = begun.elapsed();
        assert_eq!(read.roles().len(), count);
        println!(
            "{count} roles: parsed {after:?}, written {:?}, read {:?}, {} bytes",
            wrote - after,
            done - wrote,
            answer.len()
        );
    }
}
