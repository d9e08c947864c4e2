//! jitctl: the full user interface, without privileges. It turns arguments into one [`jit_core::wire::Verb`]; the broker,
//! which learns the caller from the kernel, decides. No module here may open the database, the keys or the installed
//! policy instead of the broker.

mod approvals;
mod armor;
mod audit;
mod backup;
mod broker;
mod cases;
mod clean;
mod cli;
mod complete;
mod doctor;
mod documents;
mod extend;
mod foreign;
mod grant_text;
mod grants;
mod key;
mod key_change;
mod known_hosts;
pub mod output;
mod policy;
mod policy_import;
mod policy_test;
mod progress;
#[doc(hidden)]
pub mod readers;
mod replay;
mod request;
mod request_documents;
mod requests;
mod review;
mod roles;
mod run_prefix;
mod screen;
mod sessions;
mod show;
mod signed_approvals;
mod signing;
mod speech;
mod statement;
mod stream;
mod surface;
mod sweep;
mod table;
mod typed;
mod usage;
mod vouching;
mod waiting;
mod when;
mod witness;

#[cfg(test)]
mod table_sizes;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::CompleteEnv;
use cli::{AuditVerb, Cli, KeyVerb, PolicyVerb, Verb};
use screen::{Report, Screen, Width};
use speech::{Exit, Notice, Trouble};

pub use broker::Broker;

/// Runs jitctl with these arguments and this broker, and returns the exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>, broker: &Broker) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let (cli, screen) = match Cli::parse_words(&arguments) {
        Ok(cli) => {
            let screen = Screen::of_process(cli.format(), cli.width());
            (cli, screen)
        }
        Err(error) => {
            let screen = Screen::of_process(cli::format_wanted(&arguments), Width::OfTerminal);
            return usage::answer_parser(error, &screen);
        }
    };
    if let Verb::Completion(words) = &cli.verb {
        return completion(words, &screen).into();
    }
    match carry_out(cli.verb, broker, &screen) {
        Ok(report) => screen.show(&report),
        Err(trouble) => screen.complain(&trouble),
    }
    .into()
}

/// Answers a shell's completion request and ends the process; returns if this call is not one.
pub fn complete_if_asked() {
    CompleteEnv::with_factory(Cli::command).var(complete::VARIABLE).completer("jitctl").bin("jitctl").complete();
}

/// Returns jitctl's clap command, for its manual page.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Prints the script, which is a text for a shell in either format.
fn completion(words: &complete::CompletionWords, screen: &Screen) -> Exit {
    let script = complete::script(words).unwrap_or_default();
    screen.print(&script).map_or_else(|exit| exit, |()| Exit::Done)
}

fn carry_out(verb: Verb, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    match verb {
        Verb::Roles => roles::list(broker, screen),
        Verb::Why(words) => roles::why(words, broker),
        Verb::Request(words) => request::request(words, broker, screen),
        Verb::Requests(words) => requests::list(&words, broker, screen),
        Verb::Show(words) => show::show(words, broker, screen),
        Verb::Approve(words) => approvals::approve(words, broker, screen),
        Verb::Import(words) => signed_approvals::import(&words.files, broker),
        Verb::Deny(words) => approvals::deny(words, broker, screen),
        Verb::Cancel(words) => approvals::cancel(words, broker, screen),
        Verb::Grants(words) => grants::list(&words, broker, screen),
        Verb::Release(words) => grants::release(words, broker, screen),
        Verb::Revoke(words) => grants::revoke(words, broker, screen),
        Verb::Review(words) => review::review(words, broker, screen),
        Verb::Extend(words) => extend::extend(words, broker, screen),
        Verb::Replay(words) => replay::replay(words, broker, screen),
        Verb::Watch(words) => replay::watch::watch(words, broker, screen),
        Verb::Session(verb) => sessions::session(verb, broker, screen),
        Verb::Policy(PolicyVerb::Check(words)) => policy::check(&words, broker),
        Verb::Policy(PolicyVerb::Show(words)) => policy_test::show(words, broker),
        Verb::Policy(PolicyVerb::Import(words)) => {
            progress::during("converting", screen, || policy_import::import(&words, screen))
        }
        Verb::Policy(PolicyVerb::Test(words)) => policy_test::test(words, broker),
        Verb::Audit(AuditVerb::List(words)) => audit::list(words, broker, screen),
        Verb::Audit(AuditVerb::Show(words)) => audit::show(words, broker, screen),
        Verb::Audit(AuditVerb::Verify(words)) => {
            progress::during("verifying the journal", screen, || audit::verify(&words, broker, screen))
        }
        Verb::Audit(AuditVerb::Search(words)) => {
            progress::during("searching", screen, || audit::search(words, broker, screen))
        }
        // On a terminal, the records themselves show the progress.
        Verb::Audit(AuditVerb::Export(words)) if screen.out.is_terminal() => audit::export(&words, broker, screen),
        Verb::Audit(AuditVerb::Export(words)) => {
            progress::during("exporting the journal", screen, || audit::export(&words, broker, screen))
        }
        Verb::Audit(AuditVerb::Prove(words)) => audit::prove(&words, broker),
        Verb::Audit(AuditVerb::CheckProof(words)) => audit::check_proof(&words, screen),
        Verb::Witness(verb) => witness::witness(&verb, screen),
        Verb::Audit(AuditVerb::Prune(words)) => audit::prune(&words, broker, screen),
        Verb::Key(KeyVerb::Init) => key::init(broker),
        Verb::Key(KeyVerb::Show(words)) => key::show(&words, broker),
        Verb::Key(KeyVerb::Accept(words)) => key::accept(words, broker),
        Verb::Key(KeyVerb::Rotate(words)) => key_change::rotate(&words, broker),
        Verb::Key(KeyVerb::Retire(words)) => key_change::retire(&words, broker, screen),
        Verb::Backup(words) => backup::backup(&words, broker),
        Verb::Restore(words) => backup::restore(&words, broker),
        Verb::Doctor => doctor::doctor(broker),
        Verb::Sweep => sweep::sweep(broker),
        // Handled in `run`.
        Verb::Completion(_) => Err(Trouble::Usage(Notice::new("completion prints a script"))),
    }
}
