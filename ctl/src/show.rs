//! Shows one request and its grant: everything an approver needs, escaped so that it cannot deceive them.

use jit_core::escape::Word;
use jit_core::names::GrantId;
use jit_core::wire::{ApprovalInfo, Background, GrantInfo, Precedent, Show};
use serde_json::{Map, Value};

use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::ShowWords;
use crate::documents;
use crate::grant_text::{approvers, bound_fields, command, exact_words, is_of_nothing, narrowed, options};
use crate::output::Output;
use crate::screen::{Report, Screen};
use crate::speech::{Notice, Trouble};
use crate::table::Fields;
use crate::typed::RequestSource;
use crate::when;

/// `jitctl show`
pub(crate) fn show(words: ShowWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let id = match (words.place, words.print, words.export) {
        (RequestSource::Here(id), false, None) => id,
        (RequestSource::Here(id), true, _) => return documents::print(id, broker),
        (RequestSource::Here(id), false, Some(directory)) => return documents::export(id, &directory, broker),
        (RequestSource::Text, false, None) => return documents::show(screen),
        (RequestSource::Text, ..) => return Err(Trouble::Usage(Notice::new("a text is shown and nothing else"))),
    };
    let info = broker.ask(&Show { id })?;
    let text = everything(&info, screen.now);
    Ok(Report::done(Output::grant(info), text))
}

/// Returns every field of a request and its grant.
pub(crate) fn everything(info: &GrantInfo, now: i64) -> String {
    let mut fields = Fields::default();
    fields.add("id", info.id.as_str());
    fields.add("request", &info.state);
    fields.maybe("grant", info.grant.as_ref());
    fields.maybe("extends", info.extends.as_ref().map(GrantId::as_str));
    fields.maybe("extended by", info.extended_by.as_ref().map(GrantId::as_str));
    fields.add("requester", format!("{} (uid {})", clean(info.requester.as_str()), info.requester_uid));
    let changed = match (info.role_changed, is_outdated(info)) {
        (_, true) => " (changed since the request: cannot be approved)",
        (true, false) => " (changed since the request: only what it allowed then and allows now)",
        (false, false) => "",
    };
    fields.add("role", format!("{}{changed}", info.role));
    fields.add("run as", &info.run_as);
    fields.add("command", command(info));
    exact_words(&mut fields, &info.command);
    if let Some(bound) = &info.bound {
        bound_fields(&mut fields, &info.command, bound);
    }
    fields.maybe("sha256", info.sha256.as_ref().filter(|sha256| !is_of_nothing(sha256)));
    fields.add("reason", info.reason.to_string());
    fields.maybe("ticket", info.ticket.as_ref().map(Word::to_string));
    fields.add("duration", when::spell(info.duration));
    let terms = narrowed(info.one_shot, info.exact);
    fields.add("serves", if terms.is_empty() { "any number of runs of the role's commands" } else { &terms });
    if info.break_glass {
        fields.add("break-glass", "yes: nobody approved it");
    }
    fields.add("requested", when::long(info.requested, now));
    if info.state == "pending" {
        fields.add("deadline", when::long(info.deadline, now));
    }
    fields.maybe("starts", info.starts.map(|time| when::long(time, now)));
    fields.maybe("expires", info.expires.map(|time| when::long(time, now)));
    if info.approvals_needed > 0 {
        let given =
            format!("{} of {} given; approvers: {}", info.approvals_given(), info.approvals_needed, approvers(info));
        fields.add("approvals", given);
    }
    for approval in &info.approvals {
        fields.add("", approved(approval, now));
    }
    if let Some(ended) = &info.ended {
        let reason = if ended.reason.as_bytes().is_empty() { String::new() } else { format!(": {}", ended.reason) };
        let key = ended.key.as_ref().map(|key| format!(", signed with {}", clean(key))).unwrap_or_default();
        fields.add("ended by", format!("{}, {}{key}{reason}", clean(&ended.by), when::long(ended.at, now)));
    }
    fields.add("runs", info.runs.to_string());
    if let Some(background) = &info.background {
        evaluate(&mut fields, info, background, now);
    }
    let mut text = fields.render();
    if info.may_decide {
        let key = if info.signed_approvals { " --key FILE" } else { "" };
        let id = &info.id;
        let deny = format!("jitctl deny {id} --reason TEXT");
        if is_outdated(info) {
            text.push_str(&format!("\nto decide: {deny}\n"));
        } else {
            text.push_str(&format!("\nto decide: jitctl approve {id}{key}\n           {deny}\n"));
        }
    }
    text
}

/// Returns whether the request can no longer be approved because the policy has changed its role.
fn is_outdated(info: &GrantInfo) -> bool {
    info.role_changed && info.state == "pending"
}

/// Shows what an approver weighs: whether the requester ran this command before, and what else the grant would allow.
fn evaluate(fields: &mut Fields, info: &GrantInfo, background: &Background, now: i64) {
    if !info.command.is_empty() {
        let before = match background.precedent {
            None => "never ran by this requester".to_owned(),
            Some(Precedent { runs: 1, last }) => format!("ran once by this requester, {}", when::long(last, now)),
            Some(Precedent { runs, last }) => {
                format!("ran {runs} times by this requester, the last time {}", when::long(last, now))
            }
        };
        fields.add("before", before);
    }
    if info.exact {
        return;
    }
    role(fields, info, background);
}

/// Shows what the role allows; if it has changed since the request, both versions.
fn role(fields: &mut Fields, info: &GrantInfo, background: &Background) {
    let now = RoleShown {
        rules: &background.role_commands,
        run_as: &background.role_run_as,
        options: &background.role_options,
    };
    match (&background.role_options_then, info.role_changed) {
        (None, false) => now.add_to(fields, "role allows"),
        (None, true) => {
            fields.add("allowed then", "cannot be read, so that nothing is given: make a new request");
            now.add_to(fields, "allows now");
        }
        (Some(options), _) => {
            let unchanged = background.role_commands_then.is_empty();
            let rules = if unchanged { &background.role_commands } else { &background.role_commands_then };
            RoleShown { rules, run_as: &background.role_run_as_then, options }.add_to(fields, "allowed then");
            now.add_to(fields, "allows now");
            let outdated = "nothing: it cannot be approved; make a new request";
            let given = if is_outdated(info) { outdated } else { "only what it allowed then and allows now" };
            fields.add("given", given);
        }
    }
}

/// A role at one time.
struct RoleShown<'a> {
    rules: &'a [String],
    run_as: &'a [String],
    options: &'a Map<String, Value>,
}

impl RoleShown<'_> {
    fn add_to(&self, fields: &mut Fields, name: &str) {
        if self.rules.is_empty() {
            fields.add(name, "nothing: the policy has no such role");
        }
        for (index, rule) in self.rules.iter().enumerate() {
            fields.add(if index == 0 { name } else { "" }, rule);
        }
        if !self.run_as.is_empty() {
            fields.add("  as", self.run_as.join(", "));
        }
        options(fields, "  with", self.options);
    }
}

fn approved(approval: &ApprovalInfo, now: i64) -> String {
    let mut text = format!("{}, {}", clean(approval.approver.as_str()), when::long(approval.at, now));
    if let Some(seconds) = approval.duration {
        text.push_str(&format!(", for {}", when::spell(seconds)));
    }
    let terms = narrowed(approval.one_shot, approval.exact);
    if !terms.is_empty() {
        text.push_str(&format!(", {terms}"));
    }
    if let Some(key) = &approval.key {
        text.push_str(&format!(", signed with {}", clean(key)));
    }
    if !approval.counts {
        text.push_str(", counts no more");
    }
    if let Some(comment) = &approval.comment {
        text.push_str(&format!(": {comment}"));
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use jit_core::clock::duration::Seconds;
    use jit_core::names::{RoleName, UserName};
    use jit_core::wire::{BoundInfo, EndedInfo};

    use super::*;

    pub(crate) fn pending() -> GrantInfo {
        GrantInfo {
            id: GrantId::parse("0123456789").unwrap(),
            state: "pending".into(),
            grant: None,
            requester: UserName::parse("alice").unwrap(),
            requester_uid: 1001,
            role: RoleName::parse("web-ops").unwrap(),
            run_as: "root".into(),
            command: ["/usr/bin/systemctl", "restart", "nginx"].map(Word::from).to_vec(),
            command_bytes: None,
            bound: Some(BoundInfo {
                path: "/usr/bin/systemctl".into(),
                directory: "/home/alice".into(),
                environment: vec!["LANG=C".into()],
                run_as_uid: 0,
                run_as_gid: 0,
                run_as_groups: vec![0],
            }),
            sha256: Some("ab".repeat(32)),
            reason: "disk full".into(),
            ticket: None,
            duration: Seconds(3600),
            requested: 1_000_000,
            deadline: 1_086_400,
            starts: None,
            expires: None,
            one_shot: false,
            exact: false,
            approvals_needed: 2,
            approvers: vec!["bob".into(), "%sre".into()],
            approvals: Vec::new(),
            may_decide: true,
            ended: None,
            runs: 0,
            background: None,
            host: None,
            extends: None,
            extended_by: None,
            signed_approvals: false,
            break_glass: false,
            role_changed: false,
        }
    }

    #[test]
    fn an_approver_sees_every_word_and_what_to_type() {
        let text = everything(&pending(), 1_000_060);
        for part in [
            "alice (uid 1001)",
            "word 2   nginx",
            "directory  /home/alice",
            "uid 0, gid 0, groups 0",
            "variables  LANG=C",
            "abababab",
            "0 of 2 given",
            "(1m ago)",
            "jitctl approve 0123456789",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn an_approver_sees_earlier_runs_and_what_else_the_role_allows() {
        let mut info = pending();
        let mut background = Background {
            role_commands: vec!["/usr/bin/systemctl **".into(), "!/usr/bin/systemctl halt".into()],
            role_run_as: vec!["root".into()],
            ..Background::default()
        };
        info.background = Some(background.clone());
        let text = everything(&info, 1_000_060);
        for part in ["before       never ran", "role allows  /usr/bin/systemctl **", "!/usr/bin/systemctl halt"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        background.precedent = Some(Precedent { runs: 41, last: 1_000_000 });
        info.background = Some(background);
        info.exact = true;
        let text = everything(&info, 1_000_060);
        assert!(text.contains("ran 41 times") && text.contains("(1m ago)"), "{text}");
        assert!(!text.contains("role allows"), "an exact grant allows nothing else\n{text}");
    }

    #[test]
    fn both_versions_of_a_changed_role_are_shown_with_users_and_options() {
        let rules = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>();
        let map = |value: serde_json::Value| value.as_object().unwrap().clone();
        let background = Background {
            role_commands: rules(&["ALL"]),
            role_commands_then: rules(&["/usr/bin/id **", "/usr/bin/date"]),
            role_run_as: rules(&["ALL"]),
            role_run_as_then: rules(&["root"]),
            role_options: map(serde_json::json!({"setenv": true})),
            role_options_then: Some(map(serde_json::json!({"noexec": true}))),
            ..Background::default()
        };
        let state = "approved".to_owned();
        let info = GrantInfo { background: Some(background.clone()), role_changed: true, state, ..pending() };
        let both = "allowed then  /usr/bin/id **\n              /usr/bin/date\n  as          root\n  with        noexec = true\n\
                    allows now    ALL\n  as          ALL\n  with        setenv = true\n\
                    given         only what it allowed then and allows now\n";
        let text = everything(&info, 1_000_060);
        assert!(text.contains(both), "{text}");
        let text = everything(&GrantInfo { state: "pending".to_owned(), ..info.clone() }, 1_000_060);
        assert!(
            text.contains("given         nothing: it cannot be approved") && !text.contains("jitctl approve"),
            "{text}"
        );
        // Only the options changed; the role was removed; the earlier text of the role was lost.
        let alone = Background { role_commands_then: Vec::new(), ..background.clone() };
        let text = everything(&GrantInfo { background: Some(alone), ..info.clone() }, 1_000_060);
        assert!(text.contains("allowed then  ALL\n  as          root\n"), "{text}");
        let gone = Background { role_commands: Vec::new(), role_run_as: Vec::new(), ..background.clone() };
        let text = everything(&GrantInfo { background: Some(gone), ..info.clone() }, 1_000_060);
        assert!(text.contains("allows now    nothing: the policy has no such role\n"), "{text}");
        let lost = Background { role_options_then: None, role_commands_then: Vec::new(), ..background };
        let text = everything(&GrantInfo { background: Some(lost), ..info }, 1_000_060);
        assert!(text.contains("allowed then  cannot be read"), "{text}");
    }

    #[test]
    fn look_alike_characters_and_spaces_inside_words_are_shown_as_bytes() {
        let mut info = pending();
        info.command = vec!["/bin/rm".into(), Word(OsString::from_vec(b"a\xc2\xa0b\xff\x1b[2J\n".to_vec()))];
        let text = everything(&info, 0);
        assert!(text.contains("bytes   a\\xc2\\xa0b\\xff\\x1b[2J\\x0a"), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn an_edit_has_no_directory_and_no_digest_of_a_program() {
        let mut info = pending();
        info.command = vec!["sudoedit".into(), "/etc/motd".into()];
        info.sha256 = Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into());
        let bound = info.bound.as_mut().unwrap();
        (bound.path, bound.directory) = ("sudoedit".into(), "".into());
        let text = everything(&info, 1_000_060);
        assert!(!text.contains("directory") && !text.contains("sha256"), "{text}");
        assert!(text.contains("word 1   /etc/motd") && text.contains("uid 0, gid 0"), "{text}");
    }

    #[test]
    fn hostile_strings_stay_on_their_line() {
        let mut info = pending();
        info.run_as = "root\nstate: approved".into();
        info.approvers = vec!["\x1b[31mbob".into()];
        info.ended = Some(EndedInfo { by: "x\r".into(), at: 0, reason: "\x07".into(), key: None });
        let text = everything(&info, 0);
        assert!(text.contains("root\\x0astate: approved") && text.contains("\\x1b[31mbob") && text.contains("\\x07"));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    }

    #[test]
    fn the_grants_state_is_shown_instead_of_the_requests() {
        let mut info = pending();
        info.state = "approved".into();
        info.grant = Some("revoked".into());
        assert_eq!(crate::grant_text::state(&info), "revoked");
    }
}
