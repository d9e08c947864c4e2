//! Running sessions: list, freeze, thaw and kill.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use jit_core::escape::Word;
use jit_core::names::{GrantId, RoleName};
use jit_core::wire::{Act, Intervene, SessionInfo, Sessions};

use crate::broker::Broker;
use crate::clean::clean;
use crate::complete;
use crate::grant_text::line;
use crate::output::Output;
use crate::run_prefix::RunPrefix;
use crate::screen::{Report, Screen};
use crate::speech::Trouble;
use crate::table::Column::{Key, Text, Value};
use crate::table::Listing;
use crate::typed::word;
use crate::when;

/// Below `session`
#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// List running sessions, and processes that finished commands left running
    ///
    /// Lists your own, and those that you may watch or end. Root and readers of the audit see those of all users.
    List,
    /// Stop every process of a session until it is thawed
    ///
    /// Root and the approvers of the session's role may use this verb, `jitctl session thaw` and `jitctl session kill`.
    /// The processes are stopped within half a second. A message appears on the session's terminal, and the journal
    /// records the act with the reason. A frozen session still ends when its grant ends. Without control groups of
    /// version 2, a user can continue the processes with SIGCONT. They are then stopped again within 50 ms, and the
    /// fifth time the session is ended.
    Freeze(SessionWords),
    /// Continue a frozen session
    ///
    /// Only root thaws what root has frozen, and no user thaws their own session if another person has frozen it.
    Thaw(SessionWords),
    /// End every process of a session
    ///
    /// This is final: the session cannot be frozen or thawed any more. The processes get SIGTERM and, after
    /// `grace_period` of the policy, SIGKILL. The processes of a frozen session get SIGKILL at once.
    Kill(SessionWords),
}

/// `session freeze`, `thaw` and `kill`
#[derive(Debug, Args)]
pub(crate) struct SessionWords {
    /// The id of the run, or its first characters
    #[arg(value_name = "RUN", value_parser = RunPrefix::parse, add = ArgValueCandidates::new(complete::sessions))]
    run: RunPrefix,
    /// The reason, which is recorded
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
    let ask = Intervene { run: words.run.session(broker)?, act, reason: words.reason };
    let sessions = broker.ask(&ask)?;
    let line = |session: &SessionInfo| {
        format!("session {} of {} {done}: {}\n", clean(session.run.as_str()), session.user, command(session))
    };
    let text = sessions.iter().map(line).collect();
    Ok(Report::done(Output::Sessions(sessions), text))
}

pub(crate) fn table(sessions: &[SessionInfo], screen: &Screen) -> String {
    let mut listing = Listing::new([
        Key("RUN"),
        Value("SINCE", 4),
        Value("USER", 2),
        Value("AS", 5),
        Value("STATE", 1),
        Value("ROLE", 6),
        Value("GRANT", 7),
        Value("MAY", 8),
        Text("COMMAND", 3),
    ]);
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
            session.role.as_ref().map_or("-", RoleName::as_str).into(),
            session.grant.as_ref().map_or("-", GrantId::as_str).into(),
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
