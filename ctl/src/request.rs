//! Creates a request, and says what to do next.

use jit_core::clock::duration::Seconds;
use jit_core::escape::{Word, shell_line};
use jit_core::names::{IdPrefix, RoleName};
use jit_core::wire::{CommandWords, GrantInfo, NewRequest};

use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::RequestWords;
use crate::documents;
use crate::grant_text;
use crate::output::Output;
use crate::screen::{Format, Report, Screen};
use crate::speech::{Exit, Notice, Trouble};
use crate::waiting::{self, Limit, Waited};
use crate::when;

/// `jitctl request`
pub(crate) fn request(words: RequestWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let wait = words.wait;
    let (environment, command) = grant_text::variables_first(words.command);
    let typed = Typed {
        run_as: words.run_as.clone(),
        run_as_group: words.run_as_group.clone(),
        directory: words.directory.clone(),
        words: environment.iter().chain(&command).cloned().collect(),
    };
    let new = NewRequest {
        role: words.role,
        duration: words.duration,
        start: words.start,
        reason: words.reason,
        ticket: words.ticket,
        one_shot: words.one_shot,
        command: CommandWords {
            run_as: words.run_as,
            run_as_group: words.run_as_group,
            directory: words.directory,
            environment,
            command,
        },
        break_glass: words.break_glass,
    };
    let info = broker.ask(&new)?;
    if let Some(line) = chosen(&info) {
        screen.note(&Notice::new(line));
    }
    if words.print {
        return documents::print(IdPrefix::from(&info.id), broker);
    }
    match wait {
        Some(limit) if info.state == "pending" => wait_for(info, limit, &typed, broker, screen),
        _ => Ok(report(info, &typed, screen.now)),
    }
}

/// Says which role was inferred, and why; the request itself is reported on stdout.
fn chosen(info: &GrantInfo) -> Option<String> {
    let among = &info.background.as_ref()?.chosen_among;
    let others: Vec<&str> = among.iter().map(RoleName::as_str).filter(|name| *name != info.role.as_str()).collect();
    match (among.is_empty(), others.is_empty(), info.command.is_empty()) {
        (true, ..) => None,
        (_, true, true) => Some(format!("role {} was chosen: it is the only one you may ask for", info.role)),
        (_, true, false) => Some(format!("role {} was chosen: no other one allows the command", info.role)),
        _ => Some(format!(
            "role {} was chosen: it is narrower than {}, which would do as well (--role names another)",
            info.role,
            others.join(" and ")
        )),
    }
}

/// The arguments of the request, for the command that the user types next.
struct Typed {
    run_as: Option<Word>,
    run_as_group: Option<Word>,
    directory: Option<Word>,
    words: Vec<Word>,
}

impl Typed {
    fn next_command(&self) -> String {
        let options = [("-u", &self.run_as), ("-g", &self.run_as_group), ("-D", &self.directory)];
        let options = options
            .into_iter()
            .flat_map(|(flag, value)| value.iter().flat_map(move |value| [flag.into(), value.clone()]));
        let words: Vec<Word> = std::iter::once("jit-sudo".into()).chain(options).chain(self.words.clone()).collect();
        let line = shell_line(words.iter().map(Word::as_os_str));
        if self.words.is_empty() { format!("{line} COMMAND") } else { line }
    }
}

fn wait_for(
    info: GrantInfo,
    limit: Option<Seconds>,
    typed: &Typed,
    broker: &Broker,
    screen: &Screen,
) -> Result<Report, Trouble> {
    if screen.format == Format::Text {
        // On stderr, because stdout gets the outcome.
        screen.note(&Notice::new(grant_text::pending_line(&info)));
    }
    let id = info.id.clone();
    let limit = limit.map_or(Limit::Deadline, Limit::AtMost);
    match waiting::until_decided(info, limit, broker, screen)? {
        // The wait may have been long.
        Waited::Decided(info) => Ok(report(info, typed, when::now())),
        Waited::TimeUp(info) | Waited::Interrupted(info) => {
            let notice = Notice::new(format!("request {id} is still pending")).with_hint(format!(
                "jitctl show {id} shows its state, jitctl cancel {id} cancels it, then {}",
                typed.next_command()
            ));
            Ok(Report::done(Output::grant(info), String::new()).but(Exit::Pending, notice))
        }
    }
}

/// Describes the outcome of a request; the report fails if it was denied, cancelled or decided too late.
fn report(info: GrantInfo, typed: &Typed, now: i64) -> Report {
    let grant = info.grant.clone();
    let text = match grant.as_deref() {
        None if info.state == "pending" => {
            format!("{}\nnext: jitctl show {}\n", grant_text::pending_line(&info), info.id)
        }
        Some("active") => {
            let until =
                info.expires.map(|time| format!(" until {}", when::short_relative(time, now))).unwrap_or_default();
            format!("{}: active{until}{}\nnext: {}\n", head(&info), terms(&info), typed.next_command())
        }
        Some("scheduled") => {
            let from = info.starts.map(|time| format!(" from {}", when::short_relative(time, now))).unwrap_or_default();
            format!("{}: scheduled{from}{}\nnext, then: {}\n", head(&info), terms(&info), typed.next_command())
        }
        _ => String::new(),
    };
    if !text.is_empty() {
        return Report::done(Output::grant(info), text);
    }
    let notice = Notice::new(refusal(&info)).with_hint(format!("jitctl show {}", info.id));
    Report::done(Output::grant(info), String::new()).but(Exit::Refused, notice)
}

fn head(info: &GrantInfo) -> String {
    format!("grant {} for role {}", info.id, info.role)
}

fn terms(info: &GrantInfo) -> String {
    let terms = grant_text::narrowed(info.one_shot, info.exact);
    if terms.is_empty() { terms } else { format!(" ({terms})") }
}

fn refusal(info: &GrantInfo) -> String {
    let mut text = format!("request {} for role {} is {}", info.id, info.role, clean(grant_text::state(info)));
    if let Some(ended) = &info.ended {
        text.push_str(&format!(" by {}", clean(&ended.by)));
        if !ended.reason.as_bytes().is_empty() {
            text.push_str(&format!(": {}", ended.reason));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use jit_core::wire::EndedInfo;

    use super::*;
    use crate::show::tests::pending;

    fn typed() -> Typed {
        let words = vec!["ls".into(), "a b".into()];
        Typed { run_as: Some("www-data".into()), run_as_group: None, directory: None, words }
    }

    #[test]
    fn a_pending_request_is_a_success_and_names_the_approvers() {
        let report = report(pending(), &typed(), 0);
        assert_eq!(report.exit, Exit::Done);
        assert_eq!(
            report.text,
            "request 0123456789 for role web-ops: pending, 0 of 2 approvals given; approvers: bob, %sre\n\
             next: jitctl show 0123456789\n"
        );
    }

    #[test]
    fn an_active_grant_says_the_command_to_type_next() {
        let mut info = pending();
        info.state = "approved".into();
        info.grant = Some("active".into());
        info.one_shot = true;
        let report = report(info, &typed(), 0);
        assert_eq!(report.exit, Exit::Done);
        assert!(report.text.ends_with("active (one run)\nnext: jit-sudo -u www-data ls 'a b'\n"), "{}", report.text);
    }

    #[test]
    fn a_denied_request_fails_with_the_approvers_reason() {
        let mut info = pending();
        info.state = "denied".into();
        info.ended = Some(EndedInfo { by: "bob".into(), at: 0, reason: "not\ntoday".into(), key: None });
        let report = report(info, &typed(), 0);
        assert_eq!(report.exit, Exit::Refused);
        let message = report.notice.unwrap().message;
        assert_eq!(message, "request 0123456789 for role web-ops is denied by bob: not\\x0atoday");
    }
}
