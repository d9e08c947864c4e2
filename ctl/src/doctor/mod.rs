//! `jitctl doctor`: reports what is wrong with this host, and the command that fixes it. jitctl checks with the caller's
//! privileges; the broker checks the rest, for root only. Changes nothing.

mod clock;
mod kernel;
mod pam;
mod programs;

use jit_core::wire::{Examine, Finding, PolicyShow, Severity};

use crate::broker::{Broker, BrokerError};
use crate::clean::clean;
use crate::output::Output;
use crate::screen::Report;
use crate::speech::{Exit, Trouble};

/// `jitctl doctor`
pub(crate) fn doctor(broker: &Broker) -> Result<Report, Trouble> {
    let mut findings = programs::look(broker.path());
    findings.extend(pam::look(&services(broker)));
    findings.extend(clock::look());
    findings.extend(kernel::look());
    findings.extend(inside(broker));
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Good);
    let exit = match worst {
        Severity::Good | Severity::Note => Exit::Done,
        Severity::Warning => Exit::Warned,
        Severity::Error => Exit::Refused,
    };
    let text = render(&findings);
    Ok(Report { exit, ..Report::done(Output::Findings(findings), text) })
}

/// The broker's findings, or the reason why there are none.
fn inside(broker: &Broker) -> Vec<Finding> {
    match broker.ask(&Examine {}) {
        Ok(findings) => findings,
        Err(BrokerError::Refused(failure)) if failure.code == "not-root" => vec![finding(
            "inside",
            Severity::Note,
            "policy, state, database, key, anchor, log sinks and control groups are looked at for root alone"
                .to_owned(),
            Some("run jitctl doctor as root".to_owned()),
        )],
        Err(error) => vec![bad("broker", error.to_string(), AGAIN)],
    }
}

/// The PAM services that the product uses, and those that roles name if the caller may see them.
fn services(broker: &Broker) -> Vec<String> {
    let mut services = vec!["jit-sudo".to_owned(), "jit-sudo-i".to_owned()];
    if let Ok(policy) = broker.ask(&PolicyShow { role: None }) {
        services.extend(policy.roles.into_iter().filter_map(|role| role.pam_service));
    }
    services.sort();
    services.dedup();
    services
}

/// The fix for a product with missing parts.
const AGAIN: &str = "install jit-sudo again";

fn finding(area: &str, severity: Severity, message: String, fix: Option<String>) -> Finding {
    Finding { area: area.to_owned(), severity, message, fix }
}

fn good(area: &str, message: impl Into<String>) -> Finding {
    finding(area, Severity::Good, message.into(), None)
}

fn warning(area: &str, message: impl Into<String>, fix: impl Into<String>) -> Finding {
    finding(area, Severity::Warning, message.into(), Some(fix.into()))
}

fn bad(area: &str, message: impl Into<String>, fix: impl Into<String>) -> Finding {
    finding(area, Severity::Error, message.into(), Some(fix.into()))
}

/// Shows two lines for each fault, one for each passed check, and the totals.
fn render(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = match finding.severity {
            Severity::Good => "ok",
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        text.push_str(&format!("{word:<8} {}: {}\n", clean(&finding.area), clean(&finding.message)));
        if let Some(fix) = &finding.fix {
            text.push_str(&format!("{:<8} fix: {}\n", "", clean(fix)));
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let sum = match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => "nothing is wrong".to_owned(),
        (errors, warnings) => [(errors, "error"), (warnings, "warning")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
            .collect::<Vec<_>>()
            .join(", "),
    };
    text.push_str(&format!("{sum}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_followed_by_its_fix() {
        let text = render(&[
            good("key", "is there"),
            bad("state", "is open\u{1b}", "chmod 700 x"),
            warning("clock", "w", "m"),
        ]);
        assert_eq!(
            text,
            "ok       key: is there\nerror    state: is open\\x1b\n         fix: chmod 700 x\nwarning  clock: w\n         fix: m\n1 error, 1 warning\n"
        );
        assert!(render(&[good("key", "is there")]).ends_with("nothing is wrong\n"));
    }

    #[test]
    fn a_missing_broker_is_a_finding_and_the_checks_continue() {
        let broker = Broker::at(std::path::Path::new("/nonexistent/broker"));
        let report = doctor(&broker).unwrap();
        assert_eq!(report.exit, Exit::Refused);
        assert!(report.text.contains("cannot start the broker /nonexistent/broker"), "{}", report.text);
    }
}
