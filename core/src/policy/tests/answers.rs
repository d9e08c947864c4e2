//! What a role answers.

use super::*;

fn answer<'r>(
    role: &'r Role,
    run_as: (&str, u32),
    group: Option<(&str, u32)>,
    host: &str,
    command: &str,
) -> Answer<'r> {
    let words: Vec<OsString> = command.split(' ').map(OsString::from).collect();
    let question = Question {
        run_as: Target {
            name: run_as.0,
            uid: run_as.1,
            groups: &|| Some(Vec::new()),
            is_caller: false,
            lookup: &NOWHERE,
        },
        run_as_group: group,
        host,
        program: Path::new(&words[0]).into(),
        arguments: &words[1..],
        digest: &|_| Some(vec![0xab; 32]),
    };
    role.answers(&question)
}

#[test]
fn an_answer_depends_on_hosts_users_groups_and_commands() {
    let role = role(WHOLE);
    let root = ("root", 0);
    let restart = "/usr/bin/systemctl restart nginx";
    assert!(matches!(answer(&role, root, None, "web1.example.org", restart), Answer::Allowed { .. }));
    assert!(matches!(answer(&role, ("www-data", 33), Some(("www-data", 33)), "WEB1", restart), Answer::Allowed { .. }));
    assert_eq!(answer(&role, root, None, "db1", restart), Answer::OtherHost);
    assert_eq!(answer(&role, ("bob", 1002), None, "web1", restart), Answer::OtherRunAs);
    assert_eq!(answer(&role, root, Some(("disk", 6)), "web1", restart), Answer::OtherGroup);
    assert_eq!(answer(&role, root, None, "web1", "/usr/bin/systemctl stop nginx"), Answer::NoRule);
    let Answer::Denied { rule } = answer(&role, root, None, "web1", "/usr/bin/journalctl -u nginx -f") else {
        panic!()
    };
    assert_eq!(rule.to_string(), "!/usr/bin/journalctl -u nginx -f");
    assert!(matches!(answer(&role, root, None, "web1", "/usr/bin/journalctl -u nginx -e"), Answer::Allowed { .. }));
    assert!(matches!(answer(&role, root, None, "web1", "/usr/bin/less /var/log/x"), Answer::Allowed { .. }));
    assert_eq!(answer(&role, root, None, "web1", "/usr/bin/less /var/log/../x"), Answer::NoRule);
}

#[test]
fn the_last_rule_that_matches_the_command_decides() {
    let text = |rules: &str| {
        format!("[roles.r]\nstanding=[\"a\"]\nrun_as=\"ALL\"\nrun_as_groups=\"ALL\"\ncommands=[{rules}]\n")
    };
    for (rules, allowed) in [
        (r#""/bin/x", "!/bin/x""#, false),
        (r#""!/bin/x", "/bin/x""#, true),
        (r#""ALL", "!/bin/x **""#, false),
        (r#""!/bin/x **", "ALL""#, true),
        (r#""/bin/x", "!ALL""#, false),
    ] {
        let role = role(&text(rules));
        assert_eq!(
            matches!(answer(&role, ("z", 9), Some(("g", 9)), "h", "/bin/x"), Answer::Allowed { .. }),
            allowed,
            "{rules}"
        );
    }
}

#[test]
fn a_digest_is_computed_once_for_all_rules() {
    let digest = "cd".repeat(32);
    let rules = format!("{{ path = \"/bin/x\", sha256 = \"{digest}\" }},").repeat(5);
    let role = role(&format!("[roles.r]\ncommands = [{rules}]\n"));
    let asked = std::cell::Cell::new(0);
    let count = |_| {
        asked.set(asked.get() + 1);
        None
    };
    let question = Question {
        run_as: Target { name: "root", uid: 0, groups: &|| None, is_caller: false, lookup: &NOWHERE },
        run_as_group: None,
        host: "h",
        program: Path::new("/bin/x").into(),
        arguments: &[],
        digest: &count,
    };
    assert_eq!(role.answers(&question), Answer::NoRule);
    assert_eq!(asked.get(), 1);
}

#[test]
fn run_as_is_a_list_whose_last_line_decides() {
    let role = role(
        "[roles.r]\nstanding=[\"a\"]\nrun_as=[\"ALL\", \"!root\"]\nrun_as_groups=[\"adm\"]\ncommands=[\"/bin/x\"]\n",
    );
    assert_eq!(answer(&role, ("root", 0), None, "h", "/bin/x"), Answer::OtherRunAs);
    assert!(matches!(answer(&role, ("bob", 5), None, "h", "/bin/x"), Answer::Allowed { .. }));
    assert!(matches!(answer(&role, ("bob", 5), Some(("adm", 4)), "h", "/bin/x"), Answer::Allowed { .. }));
    assert_eq!(answer(&role, ("bob", 5), Some(("disk", 6)), "h", "/bin/x"), Answer::OtherGroup);
}

#[test]
fn the_last_all_decides_whether_every_command_is_allowed() {
    let everything = |commands: &str| role(&format!("[roles.r]\ncommands = {commands}\n")).allows_everything();
    assert!(everything("\"ALL\"") && everything("[\"!ALL\", \"ALL\", \"!/bin/su\"]"));
    assert!(!everything("[\"ALL\", \"!ALL\"]") && !everything("[\"ALL\", \"!ALL\", \"/bin/ls\"]"));
    assert!(!everything("[\"/bin/ls\"]"));
}
