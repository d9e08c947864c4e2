//! Lines of sudoers files and how they are parsed.

use super::*;

fn parse(text: &str) -> (Sudoers, Vec<String>) {
    let mut sudoers = Sudoers::default();
    let mut parser = Parser::new("s".into(), text);
    let mut told = Vec::new();
    while let Some(event) = parser.next_event(&mut sudoers) {
        told.push(match event {
            Event::Include(path, place) => format!("{place} include {path}"),
            Event::IncludeDirectory(path, place) => format!("{place} includedir {path}"),
            Event::Wrong(why, place) => format!("{place} {why}"),
        });
    }
    (sudoers, told)
}

fn good(text: &str) -> Sudoers {
    let (sudoers, told) = parse(text);
    assert!(told.is_empty(), "{text}: {told:?}");
    sudoers
}

fn command(text: &str) -> Command {
    let sudoers = good(&format!("alice ALL={text}\n"));
    match &sudoers.specs[0].privileges[0].commands[0].command.what {
        MemberKind::Command(command) => command.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rule_has_users_hosts_and_commands() {
    let sudoers = good(
        "# c\n%sudo, !bob,+ng , #1000 , \"%a b\" web1, !10.0.0.0/8 = (root,%db:adm) NOPASSWD: SETENV : /bin/ls, \\\n\
         !/bin/cat : ALL=()ALL",
    );
    let spec = &sudoers.specs[0];
    assert_eq!((spec.users.len(), spec.privileges.len(), spec.place.line), (5, 2, 2));
    assert!(spec.users[1].negated && spec.users[4].what == MemberKind::Group("%a b".into()));
    let commands = &spec.privileges[0].commands;
    assert_eq!(commands[1].tags, [(Tag::Passwd, Say::No), (Tag::Setenv, Say::Yes)]);
    assert!(commands[1].command.negated && commands[1].run_as.as_ref().unwrap().groups.is_some());
    assert_eq!(
        spec.privileges[1].commands[0].run_as.as_ref().unwrap().users.as_ref().unwrap()[0].what,
        MemberKind::Myself
    );
}

#[test]
fn arguments_become_one_line_as_in_sudo() {
    for (text, path, args) in [
        ("/bin/ls", "/bin/ls", None),
        ("/bin/ls \"\"", "/bin/ls", Some("\"\"")),
        ("/bin/ls   -l \\\n  /x", "/bin/ls", Some("-l /x")),
        ("/bin/ls a\\,b\\=c \\*\\#", "/bin/ls", Some("a,b=c \\*#")),
        ("/bin/dd if=/x of=y", "/bin/dd", Some("if=/x of=y")),
        ("/bin/a\\ b c", "/bin/a b", Some("c")),
        ("/bin/ls ^-l (a|b), c$", "/bin/ls", Some("^-l (a|b), c$")),
        ("^/bin/(ls|cat)$ ^x\\$y$", "^/bin/(ls|cat)$", Some("^x\\$y$")),
        ("/usr/bin/", "/usr/bin/", None),
        ("sudoedit /etc/motd", "sudoedit", Some("/etc/motd")),
        ("/usr/bin/sudoedit", "sudoedit", None),
    ] {
        let found = command(text);
        assert_eq!((found.path.as_str(), found.args.as_deref()), (path, args), "{text}");
    }
    assert!(command("/bin/ls a\\ b").blanks && !command("/bin/ls a b").blanks);
}

#[test]
fn digests_are_hexadecimal_or_base64() {
    let sha = "0".repeat(64);
    let base64 = format!("g{}", "A".repeat(42));
    let found = command(&format!("sha256:{sha}, sha256:{base64}=, sha256: {base64} /bin/ls"));
    let decoded = format!("sha256:80{}", "0".repeat(62));
    assert_eq!(found.digests, [format!("sha256:{sha}"), decoded.clone(), decoded]);
    assert_eq!(parse(&format!("alice ALL=sha512:{sha} /bin/ls\nbob ALL=ALL\n")).0.specs.len(), 1);
}

#[test]
fn defaults_have_scopes_and_values() {
    let sudoers = good(
        "Defaults env_reset, !lecture, passwd_tries = 2\nDefaults:alice,%web !authenticate\nDefaults@web1 a=\"b c\"\n\
         Defaults!/bin/ls,PAGERS noexec\nDefaults>root x+=y, z-=\"q\"\nDefaults    secure_path=\"/a:/b\"\n",
    );
    let names: Vec<&str> = sudoers.defaults.iter().map(|default| default.name.as_str()).collect();
    assert_eq!(names, ["env_reset", "lecture", "passwd_tries", "authenticate", "a", "noexec", "x", "z", "secure_path"]);
    assert_eq!(sudoers.defaults[4].value, Value::Set("b c".into()));
    assert!(matches!(&sudoers.defaults[5].scope, Scope::Commands(list) if list.len() == 2));
    assert_eq!(sudoers.defaults[7].value, Value::Remove("q".into()));
}

#[test]
fn aliases_of_all_kinds_and_includes() {
    let text = "User_Alias A = bob, !C : B = %x\nHost_Alias A = web*\nCmd_Alias P = /bin/ls, !/bin/cat\n\
                Runas_Alias R = www-data\n@include /x/y\n#includedir d\n@include \"/a b\"\n#include z # c\n";
    let (sudoers, told) = parse(text);
    assert_eq!(sudoers.aliases.len(), 5);
    assert_eq!(told, ["s:5 include /x/y", "s:6 includedir d", "s:7 include /a b", "s:8 include z"]);
}

#[test]
fn an_invalid_line_is_reported_and_the_others_count() {
    let (sudoers, told) = parse(
        "alice ALL=ls\nbob ALL=(root /bin/ls\nUser_Alias X = a\nUser_Alias X = b\ncarol ALL=/bin/ls : ALL=x : ALL=/bin/id\n\
         alice ALL = sha256:00 /bin/ls\n%\nalice\nALL = x\ndave ALL=ALL",
    );
    assert_eq!(sudoers.specs.len(), 2, "{told:?}");
    assert_eq!(sudoers.specs[0].privileges.len(), 2);
    let lines: Vec<&str> = told.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["s:1", "s:2", "s:4", "s:5", "s:6", "s:7", "s:8", "s:9"], "{told:?}");
}

#[test]
fn random_text_never_panics() {
    let pieces = [
        "alice",
        " ",
        "ALL",
        "=",
        ",",
        ":",
        "(",
        ")",
        "!",
        "\n",
        "\\\n",
        "\\",
        "\"",
        "#",
        "#1",
        "%",
        "+",
        "^",
        "$",
        "/bin/ls",
        "Defaults",
        "@include",
        "User_Alias",
        "Cmnd_Alias",
        "sha224:",
        "NOPASSWD:",
        "\u{e9}",
        "\t",
        "*",
        "[",
        "CWD=",
        "::1",
        "\r\n",
        "env_reset",
        "+=",
        "\u{0}",
        "10.1.1.1/8",
        "sudoedit",
    ];
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..30_000 {
        let mut text = String::new();
        for _ in 0..14 {
            text.push_str(pieces[random.usize(..pieces.len())]);
        }
        let (_, told) = parse(&text);
        assert!(told.len() <= text.len(), "{text:?}");
    }
}
