//! Running sessions: list, freeze, thaw and kill.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use jit_core::escape::Word;
use jit_core::names::RunId;
use jit_core::wire::{Act, Intervene, SessionInfo, Sessions};

use crate::broker::Broker;
use crate::clean::clean;
use crate::complete;
use crate::grant_text::line;
use crate::output::Output;
use crate::screen::{Report, Screen};
use crate::speech::Trouble;
use crate::table::Listing;
use crate::typed::word;
use crate::when;

/// Below `session`
#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// List the sessions that run, and what finished commands left running: yours, and those that you may watch or end
    ///
    /// For root and readers of the audit everybody's.
    List,
    /// Stop every process of a session until it is thawed
    ///
    /// For root and the approvers of the session's role, as are `jitctl session thaw` and `jitctl session kill`. It
    /// happens within half a second, is said on the session's terminal, and is recorded with the reason. A frozen
    /// session still ends when its grant does. Without control groups of version 2 others can wake it by SIGCONT: it is
    /// stopped again at once, and ended when that happens again and again.
    Freeze(SessionWords),
    /// Let a frozen session go on
    Thaw(SessionWords),
    /// End every process of a session
    ///
    /// They get SIGTERM, and after the policy's `grace_period` SIGKILL; those of a frozen session get SIGKILL at once.
    Kill(SessionWords),
}

/// `session freeze`, `thaw` and `kill`
#[derive(Debug, Args)]
pub(crate) struct SessionWords {
    /// Which run
    #[arg(value_name = "RUN", value_parser = RunId::parse, add = ArgValueCandidates::new(complete::sessions))]
    run: RunId,
    /// Kept in the record
    #[arg(long, value_name = "TEXT", value_parser = word())]
    reason: Word,
}

/// `jitctl session …`
pub(crate) fn session(verb: SessionVerb, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    match verb {
        SessionVerb::List => list(broker, screen),
        SessionVerb::Freeze(words) => intervene(words, Act::Freeze, "is frozen", broker),
        SessionVerb::Thaw(words) => intervene(words, Act::Thaw, "goes on", broker),
        SessionVerb::Kill(words) => intervene(words, Act::Kill, "is being ended", broker),
    }
}

fn list(broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let sessions = broker.ask(&Sessions {})?;
    let text = if sessions.is_empty() { "no sessions\n".to_owned() } else { table(&sessions, screen) };
    Ok(Report::done(Output::Sessions(sessions), text))
}

fn intervene(words: SessionWords, act: Act, done: &str, broker: &Broker) -> Result<Report, Trouble> {
    let ask = Intervene { run: words.run, act, reason: words.reason };
    let sessions = broker.ask(&ask)?;
    let line = |session: &SessionInfo| {
        format!("session {} of {} {done}: {}\n", clean(session.run.as_str()), session.user, command(session))
    };
    let text = sessions.iter().map(line).collect();
    Ok(Report::done(Output::Sessions(sessions), text))
}

fn table(sessions: &[SessionInfo], screen: &Screen) -> String {
    let mut listing = Listing::new(["RUN", "SINCE", "USER", "AS", "STATE", "MAY", "COMMAND"], 1);
    for session in sessions {
        let may = [(session.may_watch, "watch"), (session.may_intervene, "end")];
        let may: Vec<&str> = may.into_iter().filter_map(|(may, word)| may.then_some(word)).collect();
        let by = session.by.as_ref().map(|by| format!(" by {}", clean(by))).unwrap_or_default();
        listing.row([
            clean(session.run.as_str()).into(),
            when::short(session.since, screen.now).into(),
            session.user.to_string().into(),
            session.run_as.to_string().into(),
            format!("{}{by}", clean(&session.state)).into(),
            may.join(", ").into(),
            command(session).into(),
        ]);
    }
    listing.render(screen)
}

/// Returns the command as one could type it.
fn command(session: &SessionInfo) -> String {
    line(&session.command)
}
