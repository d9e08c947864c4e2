//! Extends a grant that is in use.

use std::os::unix::fs::MetadataExt;

use clap::Args;
use clap_complete::ArgValueCandidates;
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::names::IdPrefix;
use jit_core::wire::{Extend, GrantInfo, Grants};

use crate::broker::Broker;
use crate::complete;
use crate::grant_text::pending_line;
use crate::output::Output;
use crate::screen::{Report, Screen};
use crate::speech::{Notice, Trouble};
use crate::typed::word;
use crate::when;

/// `extend`
#[derive(Debug, Args)]
pub(crate) struct ExtendWords {
    /// The id of the grant; your only active grant if you name none
    #[arg(value_name = "ID", value_parser = IdPrefix::parse, add = ArgValueCandidates::new(complete::grants))]
    pub(crate) id: Option<IdPrefix>,
    /// The additional time, counted from the end of the grant [default: the role's maximum]
    #[arg(long = "for", value_name = "DURATION", value_parser = when::parse_duration)]
    pub(crate) duration: Option<Seconds>,
    /// The reason
    #[arg(long, value_name = "TEXT", value_parser = word())]
    pub(crate) reason: Option<Word>,
}

/// `jitctl extend`
pub(crate) fn extend(words: ExtendWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let id = match words.id {
        Some(id) => id,
        None => only_grant(&broker.ask_all(|before| Grants { all: false, before })?, own_uid()?)?,
    };
    let ask = Extend { id, duration: words.duration, reason: words.reason };
    let info = broker.ask(&ask)?;
    let text = outcome(&info, screen.now);
    Ok(Report::done(Output::grant(info), text))
}

fn own_uid() -> Result<u32, Trouble> {
    let failed = |error: std::io::Error| {
        Trouble::Local("no-proc", Notice::new(format!("cannot read your uid: {}", sys::plain_words(&error))))
    };
    Ok(std::fs::metadata("/proc/self").map_err(failed)?.uid())
}

/// Returns the only active grant of this user.
fn only_grant(grants: &[GrantInfo], uid: u32) -> Result<IdPrefix, Trouble> {
    let is_own = |info: &&GrantInfo| info.requester_uid == uid && info.grant.as_deref() == Some("active");
    let own: Vec<&GrantInfo> = grants.iter().filter(is_own).collect();
    match own.as_slice() {
        [one] => Ok(IdPrefix::from(&one.id)),
        [] => Err(Trouble::Local("no-grant", Notice::new("you have no active grant to extend"))),
        several => {
            let ids: Vec<String> = several.iter().map(|info| format!("{} ({})", info.id, info.role)).collect();
            let notice = Notice::new(format!("you have {} active grants: {}", several.len(), ids.join(", ")));
            Err(Trouble::Usage(notice.with_hint("jitctl extend ID --reason 'WHY'")))
        }
    }
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
    fn without_an_id_the_only_grant_is_extended() {
        let active = GrantInfo { grant: Some("active".to_owned()), ..pending() };
        let of_another = GrantInfo { requester_uid: 7, ..active.clone() };
        let grants = [of_another, active.clone(), pending()];
        assert_eq!(only_grant(&grants, 1001).unwrap(), IdPrefix::parse("0123456789").unwrap());
        assert!(matches!(only_grant(&grants, 8), Err(Trouble::Local("no-grant", _))));
        let several = only_grant(&[active.clone(), active], 1001);
        assert!(matches!(several, Err(Trouble::Usage(notice)) if notice.message.contains("0123456789 (web-ops)")));
    }

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
