//! jitctl: everything rich and never privileged. It holds no right of its own: it turns words into one
//! [`jit_sudo::broker::wire::Ask`], and the broker, which learns from the kernel who asks, decides.
//! No room here may open the database, the keys or the policy in the place of the broker.

mod audit;
mod cli;
mod decide;
mod door;
mod extend;
mod grants;
mod key;
mod later;
mod paper;
mod papers;
mod policy;
mod request;
mod requests;
mod review;
mod roles;
mod screen;
mod show;
mod signing;
mod speech;
mod table;
mod waiting;
mod when;

use std::ffi::OsString;
use std::process::ExitCode;

use cli::{AuditVerb, Cli, KeyVerb, PolicyVerb, Verb};
use screen::{Report, Screen};
use speech::Trouble;

pub use door::Broker;

/// One call of jitctl from the words typed to the exit status, with the broker given.
pub fn run(arguments: impl IntoIterator<Item = OsString>, broker: &Broker) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let (cli, screen) = match Cli::parse_words(&arguments) {
        Ok(cli) => {
            let screen = Screen::of_process(cli.format());
            (cli, screen)
        }
        Err(error) => return speech::answer_parser(error, &Screen::of_process(cli::format_wanted(&arguments))),
    };
    match carry_out(cli.verb, broker, &screen) {
        Ok(report) => screen.show(&report),
        Err(trouble) => screen.complain(&trouble),
    }
    .into()
}

fn carry_out(verb: Verb, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    match verb {
        Verb::Roles => roles::list(broker, screen),
        Verb::Why(words) => roles::why(words, broker),
        Verb::Request(words) => request::request(words, broker, screen),
        Verb::Requests(words) => requests::list(&words, broker, screen),
        Verb::Show(words) => show::show(words, broker, screen),
        Verb::Approve(words) => decide::approve(words, broker, screen),
        Verb::Import(words) => signing::import(&words.files, broker),
        Verb::Deny(words) => decide::deny(words, broker),
        Verb::Cancel(words) => decide::cancel(words, broker),
        Verb::Grants(words) => grants::list(&words, broker, screen),
        Verb::Release(words) => grants::release(words, broker),
        Verb::Revoke(words) => grants::revoke(words, broker),
        Verb::Review(words) => review::review(words, broker, screen),
        Verb::Extend(words) => extend::extend(words, broker, screen),
        Verb::Policy(PolicyVerb::Check(words)) => policy::check(&words, broker),
        Verb::Audit(AuditVerb::List(words)) => audit::list(words, broker, screen),
        Verb::Audit(AuditVerb::Show(words)) => audit::show(words, broker, screen),
        Verb::Audit(AuditVerb::Verify) => audit::verify(broker),
        Verb::Key(KeyVerb::Init) => key::init(broker),
        Verb::Key(KeyVerb::Show) => key::show(broker),
        Verb::Policy(PolicyVerb::Later(verb)) => Err(later::refuse("policy ", verb.name())),
        Verb::Audit(AuditVerb::Later(verb)) => Err(later::refuse("audit ", verb.name())),
        Verb::Later(verb) => Err(later::refuse("", verb.name())),
    }
}
