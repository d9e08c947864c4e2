//! Extends a grant that is in use.

use clap::Args;
use clap_complete::ArgValueCandidates;
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::names::IdPrefix;
use jit_core::wire::{Extend, GrantInfo};

use crate::broker::Broker;
use crate::complete;
use crate::grant_text::pending_line;
use crate::output::Output;
use crate::screen::{Report, Screen};
use crate::speech::Trouble;
use crate::typed::word;
use crate::when;

/// `extend`
#[derive(Debug, Args)]
pub(crate) struct ExtendWords {
    /// The id of the grant
    #[arg(value_name = "ID", value_parser = IdPrefix::parse, add = ArgValueCandidates::new(complete::grants))]
    pub(crate) id: IdPrefix,
    /// The additional time, counted from the end of the grant [default: the role's maximum]
    #[arg(long = "for", value_name = "DURATION", value_parser = when::parse_duration)]
    pub(crate) duration: Option<Seconds>,
    /// The reason
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Option<Word>,
}

/// `jitctl extend`
pub(crate) fn extend(words: ExtendWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let ask = Extend { id: words.id, duration: words.duration, reason: words.reason };
    let info = broker.ask(&ask)?;
    let text = outcome(&info, screen.now);
    Ok(Report::done(Output::grant(info), text))
}

fn outcome(info: &GrantInfo, now: i64) -> String {
    let old = info.extends.as_ref().map(|old| format!(" (extends {old})")).unwrap_or_default();
    match info.expires {
        Some(time) => {
            format!("grant {}{old} for role {}: until {}\n", info.id, info.role, when::short_relative(time, now))
        }
        None => format!("{}{old}\nnext: jitctl show {}\n", pending_line(info), info.id),
    }
}

#[cfg(test)]
mod tests {
    use jit_core::names::GrantId;

    use super::*;
    use crate::show::tests::pending;

    #[test]
    fn the_report_names_the_extended_grant_and_its_approvers() {
        let mut info = pending();
        info.extends = GrantId::parse("0000000001").ok();
        let text = outcome(&info, 0);
        assert!(text.contains("pending") && text.contains("(extends 0000000001)"), "{text}");
        info.state = "approved".into();
        info.grant = Some("scheduled".into());
        info.expires = Some(7200);
        let text = outcome(&info, 0);
        assert!(text.starts_with("grant 0123456789 (extends 0000000001) for role web-ops: until "), "{text}");
    }
}
