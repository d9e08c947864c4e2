//! Answers to play with.

use std::process::{Command, Stdio};

use jit_sudo::broker::wire::{Answer, GrantInfo, RecordInfo, RecordPage, RoleInfo, RoleVerdict, WhyInfo};
use jit_sudo::names::RoleName;

use crate::support::Scripted;

pub(crate) fn grant(info: GrantInfo) -> Answer {
    Answer::Grant(Box::new(info))
}

pub(crate) fn role() -> RoleInfo {
    RoleInfo {
        name: RoleName::parse("web-ops").unwrap(),
        description: "Restart the web tier".into(),
        standing: false,
        commands: vec!["/usr/bin/systemctl restart nginx".into()],
        run_as: vec!["root".into()],
        maximum_duration: 5400,
        require_justification: true,
        ticket: None,
        require_approval: true,
        approvers: vec!["bob".into()],
        approvals: 1,
        authenticate: true,
        one_shot: false,
        exact_command: false,
        signed_approvals: false,
    }
}

pub(crate) fn why(allowed: bool) -> Answer {
    Answer::Why(WhyInfo {
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
    })
}

pub(crate) fn page() -> Answer {
    let record = |seq: u64, body: &str| RecordInfo { seq, body: body.to_owned(), hash: "ab".repeat(32) };
    Answer::Records(RecordPage {
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
    })
}

/// Calls jitctl on a terminal of 70 columns made by script(1).
pub(crate) fn on_a_terminal(broker: &Scripted, words: &str, environment: &str) -> String {
    let call = broker.command(&[]);
    let mut program = vec![call.get_program().to_string_lossy().into_owned()];
    program.extend(call.get_args().map(|word| word.to_string_lossy().into_owned()));
    let line = format!("stty cols 70; {environment} {} {words}", program.join(" "));
    let output = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}
