//! Sample answers.

use std::process::{Command, Stdio};

use jit_core::clock::duration::Seconds;
use jit_core::names::{GrantId, RoleName, RunId};
use jit_core::wire::{
    AssignmentInfo, Background, DebtInfo, EndedInfo, Evaluation, GrantInfo, PolicyShown, Precedent, RecordInfo,
    RecordPage, RecordingInfo, RoleDetails, RoleInfo, RoleVerdict, SessionInfo, SettingsInfo, Show, WhyInfo,
};
use jitctl::output::{Difference, Expectations};

use crate::support::{Answer, Scripted};

pub(crate) fn grant(info: GrantInfo) -> Answer {
    Answer::to::<Show>(info)
}

pub(crate) fn role() -> RoleInfo {
    RoleInfo {
        name: RoleName::parse("web-ops").unwrap(),
        description: "Restart the web tier".into(),
        standing: false,
        commands: vec!["/usr/bin/systemctl restart nginx".into()],
        run_as: vec!["root".into()],
        maximum_duration: Seconds(5400),
        require_justification: true,
        ticket: None,
        require_approval: true,
        approvers: vec!["bob".into()],
        approvals: 1,
        authenticate: true,
        one_shot: false,
        exact_command: false,
        signed_approvals: false,
        approval_authentication: false,
        user_verification: false,
        break_glass: false,
    }
}

pub(crate) fn debt() -> DebtInfo {
    let info = crate::support::active();
    DebtInfo {
        id: info.id,
        user: info.requester,
        uid: info.requester_uid,
        role: info.role,
        at: info.requested,
        reason: info.reason,
        command: info.command,
        runs: 2,
        reviewers: vec!["bob".into()],
        may_review: true,
    }
}

pub(crate) fn assignment() -> AssignmentInfo {
    AssignmentInfo {
        role: RoleName::parse("web-ops").unwrap(),
        holder: "%web".into(),
        assignment: "eligible".into(),
        last_used: Some(1),
        verdict: Some("confirmed".into()),
        reviewed: Some(EndedInfo { by: "bob".into(), at: 2, reason: "still on call".into(), key: None }),
    }
}

pub(crate) fn background() -> Background {
    Background {
        precedent: Some(Precedent { runs: 3, last: 1 }),
        role_commands: vec!["ALL".into()],
        role_commands_then: Vec::new(),
        role_run_as: vec!["root".into()],
        role_run_as_then: vec!["root".into(), "bob".into()],
        role_options: serde_json::json!({"setenv": true}).as_object().unwrap().clone(),
        role_options_then: serde_json::json!({"noexec": true}).as_object().cloned(),
        chosen_among: vec![RoleName::parse("web-ops").unwrap()],
    }
}

pub(crate) fn policy() -> PolicyShown {
    let settings = SettingsInfo {
        secure_path: "/usr/bin".into(),
        timestamp_timeout: Seconds(900),
        passwd_tries: 3,
        passwd_timeout: Seconds(300),
        grace_period_ms: 500,
        env_keep: vec!["DISPLAY".into()],
        options: serde_json::Map::new(),
        request_rate: 30,
        syslog_format: None,
        syslog: "mirror".into(),
        journald: true,
        auditd: true,
        json_file: Some("/var/log/jit-sudo/audit.jsonl".into()),
        redact: vec!["*_KEY".into()],
        readers: vec!["carol".into()],
        recording: "strict".into(),
        recording_limit: 1 << 30,
        recording_reserve: 64 << 20,
        keep: Some(Seconds(86_400)),
    };
    let details = RoleDetails {
        terms: role(),
        eligible: vec!["%web".into()],
        standing_for: Vec::new(),
        run_as_groups: Vec::new(),
        hosts: vec!["*".into()],
        env_keep: Vec::new(),
        options: serde_json::Map::from_iter([("umask".to_owned(), "0027".into())]),
        setenv: false,
        noexec: false,
        pam_service: Some("jit-sudo-strict".into()),
        request_lifetime: Seconds(86_400),
        on_expiry: "terminate".into(),
        on_removal: "end".into(),
        leftovers: "end".into(),
        order: 0,
        record: "tty".into(),
        record_input: true,
        observers: vec!["carol".into()],
        source: "/etc/jit-sudo/policy.toml:7".into(),
    };
    PolicyShown { sha256: "ab".repeat(32), settings, roles: vec![details] }
}

pub(crate) fn evaluation() -> Evaluation {
    Evaluation {
        user: "alice".into(),
        run_as: "root".into(),
        command: vec!["/usr/bin/ls".into()],
        verdict: "eligible".into(),
        roles: vec![RoleName::parse("web-ops").unwrap()],
        because: "role web-ops is eligible".into(),
        terms: Some(role()),
    }
}

pub(crate) fn expectations() -> Expectations {
    let difference = Difference {
        place: "e.toml, case 1".into(),
        question: "alice as root: ls".into(),
        expected: "denied".into(),
        found: "standing".into(),
        because: "role ops is standing".into(),
    };
    Expectations { cases: 1, differences: vec![difference] }
}

pub(crate) fn why(allowed: bool) -> WhyInfo {
    WhyInfo {
        allowed,
        because: "no active grant of role web-ops".into(),
        command: vec!["/bin/ls".into()],
        run_as: "root".into(),
        role: Some(RoleName::parse("web-ops").unwrap()),
        grant: None,
        approvers: vec!["bob".into()],
        hint: Some("jitctl request --reason TEXT -- ls".into()),
        roles: vec![RoleVerdict {
            role: RoleName::parse("web-ops").unwrap(),
            verdict: "allows".into(),
            rule: Some("ALL".into()),
        }],
    }
}

pub(crate) fn page() -> RecordPage {
    let record = |seq: u64, body: &str| RecordInfo { seq, body: body.to_owned(), hash: "ab".repeat(32) };
    RecordPage {
        records: vec![
            record(
                1,
                r#"{"argv":["/bin/ls","a b"],"environment":[{"name":"A_TOKEN","digest":"00"}],"kind":"start","run":"r1","run_as":"root","seq":1,"time":1000000,"uid":1001,"user":"alice"}"#,
            ),
            record(
                2,
                r#"{"duration_us":1500000,"ended_by":"itself","exit":0,"kind":"end","run":"r1","seq":2,"time":3000000,"uid":1001}"#,
            ),
        ],
        more: false,
        looked_at: 2,
    }
}

/// Runs jitctl on a terminal of 70 columns made by script(1).
pub(crate) fn on_a_terminal(broker: &Scripted, words: &str, environment: &str) -> String {
    let call = broker.command(&[]);
    let mut program = vec![call.get_program().to_string_lossy().into_owned()];
    program.extend(call.get_args().map(|word| word.to_string_lossy().into_owned()));
    let line = format!("stty cols 70; {environment} {} {words}", program.join(" "));
    let output = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

pub(crate) fn recording() -> RecordingInfo {
    RecordingInfo {
        run: RunId::stored("run000000001"),
        user: "alice".into(),
        run_as: "root".into(),
        command: vec!["bash".into()],
        since: 0,
        live: false,
        encoding: "asciicast".into(),
        sha256: Some("ab".into()),
        bytes: Some(7),
    }
}

pub(crate) fn session() -> SessionInfo {
    SessionInfo {
        run: RunId::stored("run000000001"),
        user: "alice".into(),
        uid: 1000,
        run_as: "root".into(),
        command: vec!["bash".into()],
        tty: Some("/dev/pts/1".into()),
        since: 0,
        pid: 7,
        role: RoleName::parse("web-ops").ok(),
        grant: GrantId::parse("0123456789").ok(),
        state: "frozen".into(),
        by: Some("bob".into()),
        recorded: true,
        may_watch: true,
        may_intervene: false,
    }
}
