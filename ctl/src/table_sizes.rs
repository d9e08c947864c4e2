//! Every table of every verb, on terminals of every width, with short and long data.

use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::names::{GrantId, RoleName, RunId, UserName};
use jit_core::wire::{AssignmentInfo, DebtInfo, EndedInfo, GrantInfo, RecordInfo, RecordPage, RoleInfo, SessionInfo};

use crate::screen::{Format, Screen};
use crate::show::tests::pending;
use crate::surface::Surface;
use crate::{audit, grants, requests, review, roles, sessions};

const NOW: i64 = 1_000_000;

/// How much the objects of a table contain.
#[derive(Clone, Copy, Debug)]
enum Data {
    Short,
    Long,
}

impl Data {
    fn word(self, short: &str) -> String {
        match self {
            Self::Short => short.to_owned(),
            Self::Long => format!("{short}-of-the-database-team-in-another-building"),
        }
    }

    fn user(self, short: &str) -> UserName {
        UserName::parse(&match self {
            Self::Short => short.to_owned(),
            Self::Long => format!("{short}.with-a-long-name@example.com"),
        })
        .unwrap()
    }

    fn role(self) -> RoleName {
        RoleName::parse(&match self {
            Self::Short => "web".to_owned(),
            Self::Long => "database-administrators-of-production".to_owned(),
        })
        .unwrap()
    }

    fn text(self, short: &str) -> String {
        match self {
            Self::Short => short.to_owned(),
            Self::Long => format!("{short} {}", "--option=value /a/long/path/to/a/file ".repeat(20)),
        }
    }
}

fn screen(width: Option<u16>) -> Screen {
    let out = if width.is_some() { Surface::Plain } else { Surface::Pipe };
    Screen { format: Format::Text, out, err: Surface::Pipe, width, now: NOW }
}

fn grant(data: Data) -> GrantInfo {
    GrantInfo {
        id: GrantId::parse("0123456789").unwrap(),
        requester: data.user("alice"),
        role: data.role(),
        run_as: data.word("root"),
        command: vec![Word::from(data.text("/usr/bin/id").as_str())],
        reason: Word::from(data.text("disk").as_str()),
        state: "approved".to_owned(),
        grant: Some("active".to_owned()),
        expires: Some(NOW + 900),
        exact: true,
        one_shot: true,
        ..pending()
    }
}

fn session(data: Data) -> SessionInfo {
    serde_json::from_value(serde_json::json!({
        "run": RunId::parse("0123456789ab").unwrap(), "since": NOW - 60, "user": data.user("alice"), "uid": 1001,
        "run_as": data.word("root"), "state": "frozen", "by": data.user("bob"), "role": data.role(), "grant": "0123456789",
        "command": [data.text("/usr/bin/id")], "pid": 7, "recorded": true, "may_watch": true, "may_intervene": true,
    }))
    .unwrap()
}

fn role(data: Data) -> RoleInfo {
    let several = |short: &str| vec![data.text(short), data.text(short)];
    RoleInfo {
        name: data.role(),
        description: data.text("web"),
        standing: false,
        commands: several("/usr/bin/id"),
        run_as: vec![data.word("root")],
        maximum_duration: Seconds(3600),
        require_justification: true,
        ticket: None,
        require_approval: true,
        approvers: vec![data.word("bob")],
        approvals: 1,
        authenticate: true,
        one_shot: false,
        exact_command: false,
        signed_approvals: false,
        approval_authentication: true,
        user_verification: false,
        break_glass: false,
    }
}

fn debt(data: Data) -> DebtInfo {
    DebtInfo {
        id: GrantId::parse("0123456789").unwrap(),
        user: data.user("alice"),
        uid: 1001,
        role: data.role(),
        at: NOW - 60,
        reason: Word::from(data.text("fire").as_str()),
        command: Vec::new(),
        runs: 1,
        reviewers: vec![data.word("bob")],
        may_review: true,
    }
}

fn assignment(data: Data) -> AssignmentInfo {
    AssignmentInfo {
        role: data.role(),
        holder: data.word("%web"),
        assignment: "eligible".to_owned(),
        last_used: None,
        verdict: Some("confirmed".to_owned()),
        reviewed: Some(EndedInfo { by: data.word("bob"), at: NOW, reason: data.text("ok").as_str().into(), key: None }),
    }
}

fn records(data: Data) -> RecordPage {
    let body = serde_json::json!({
        "kind": "request", "grant": "0123456789", "uid": 1001, "user": data.user("alice"), "role": data.role(),
        "reason": data.text("disk"), "time": "1970-01-12T13:46:40Z",
    });
    let record = RecordInfo { seq: 123_456, body: body.to_string(), hash: String::new() };
    RecordPage { records: vec![record], more: false, looked_at: 0 }
}

/// Returns every table, each with its verb and the headings that stay on every terminal.
fn tables(data: Data, screen: &Screen) -> Vec<(&'static str, &'static [&'static str], String)> {
    vec![
        ("grants", &["ID", "STATE"][..], grants::table(&[grant(data)], screen)),
        ("requests", &["ID", "STATE"][..], requests::table(&[grant(data)], screen)),
        ("roles", &["ROLE"][..], roles::table(&[role(data)], screen)),
        ("review", &["ID"][..], review::debt_table(&[debt(data)], screen)),
        ("review --unused", &["ROLE"][..], review::table(&[assignment(data)], screen)),
        ("session list", &["RUN", "STATE"][..], sessions::table(&[session(data)], screen)),
        ("audit list", &["SEQ", "KIND"][..], audit::table(&records(data), screen)),
    ]
}

#[test]
fn every_table_fits_every_terminal_and_is_legible() {
    for data in [Data::Short, Data::Long] {
        for width in [40, 60, 80, 120, 200] {
            for (verb, headings, text) in tables(data, &screen(Some(width))) {
                let place = format!("{verb} at {width}, {data:?}:\n{text}");
                for line in text.lines() {
                    assert!(line.chars().count() <= usize::from(width), "too wide: {place}");
                    let body = line.trim_start().trim_start_matches('…');
                    assert!(body.chars().count() > 1, "a letter on a line: {place}");
                }
                let head: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
                assert!(headings.iter().all(|heading| head.contains(heading)), "a heading is missing: {place}");
                assert!(!text.lines().next().unwrap().contains('…'), "a heading is cut: {place}");
                assert!(text.lines().count() <= 12, "folded: {place}");
            }
        }
    }
}

#[test]
fn short_data_stands_on_one_line_at_eighty_columns() {
    for (verb, _, text) in tables(Data::Short, &screen(Some(80))) {
        let lines = text.lines().count();
        assert!(lines <= 4, "{verb}:\n{text}");
    }
}

#[test]
fn a_pipe_gets_every_value_on_one_line() {
    for (verb, _, text) in tables(Data::Long, &screen(None)) {
        assert_eq!(text.lines().count(), 2, "{verb}:\n{text}");
        assert!(text.contains("--option=value") && !text.contains('…'), "{verb}:\n{text}");
    }
}
