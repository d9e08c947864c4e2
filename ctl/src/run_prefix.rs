//! The id of a run as a user types it: its first characters are enough, as for grants.

use jit_core::names::RunId;
use jit_core::wire::{AuditList, RecordInfo, Sessions};
use serde_json::Value;

use crate::broker::Broker;
use crate::clean::clean;
use crate::speech::{Notice, Trouble};

/// The most records of starts that are searched for a run.
const STARTS: u32 = 1000;

/// The beginning of a run's id, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunPrefix(String);

impl RunPrefix {
    /// Checks what was typed; the error is a sentence fragment.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let fits = (1..=RunId::LENGTH).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if fits { Ok(Self(text.to_ascii_lowercase())) } else { Err("a run's id has 12 letters and digits") }
    }

    /// Returns the running session that it names.
    pub(crate) fn session(&self, broker: &Broker) -> Result<RunId, Trouble> {
        match self.whole() {
            Some(run) => Ok(run),
            None => self.only(broker.ask(&Sessions {})?.into_iter().map(|session| session.run), "jitctl session list"),
        }
    }

    /// Returns the run that it names among those of the newest records.
    pub(crate) fn recorded(&self, broker: &Broker) -> Result<RunId, Trouble> {
        if let Some(run) = self.whole() {
            return Ok(run);
        }
        let ask = AuditList {
            after: 0,
            limit: STARTS,
            newest: true,
            kind: Some("start".to_owned()),
            user: None,
            before: None,
            filter: Box::default(),
        };
        let page = broker.ask(&ask)?;
        self.only(page.records.iter().filter_map(started), "jitctl audit list --kind start")
    }

    fn whole(&self) -> Option<RunId> {
        RunId::parse(&self.0).ok()
    }

    fn only(&self, runs: impl Iterator<Item = RunId>, list: &str) -> Result<RunId, Trouble> {
        let mut found: Vec<RunId> = runs.filter(|run| run.as_str().starts_with(&self.0)).collect();
        found.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        found.dedup();
        let begins = format!("whose id begins with {}", self.0);
        let notice = match found.as_slice() {
            [run] => return Ok(run.clone()),
            [] => Notice::new(format!("there is no run {begins}")),
            several => {
                let ids: Vec<String> = several.iter().take(6).map(|run| clean(run.as_str())).collect();
                Notice::new(format!("there are {} runs {begins}: {}", several.len(), ids.join(", ")))
            }
        };
        Err(Trouble::Local("unknown-run", notice.with_hint(list)))
    }
}

fn started(record: &RecordInfo) -> Option<RunId> {
    let body: Value = serde_json::from_str(&record.body).ok()?;
    RunId::parse(body.get("run")?.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_names_one_run_or_says_which_there_are() {
        let runs = ["aaaaaaaaaaa1", "aaaaaaaaaaa2", "bbbbbbbbbbbb"].map(|id| RunId::parse(id).unwrap());
        let found = |text: &str| RunPrefix::parse(text).unwrap().only(runs.iter().cloned(), "jitctl session list");
        assert_eq!(found("B").unwrap(), runs[2]);
        let message = |text: &str| match found(text) {
            Err(Trouble::Local("unknown-run", notice)) => notice.message,
            other => panic!("{other:?}"),
        };
        assert_eq!(message("aa"), "there are 2 runs whose id begins with aa: aaaaaaaaaaa1, aaaaaaaaaaa2");
        assert_eq!(message("c"), "there is no run whose id begins with c");
        for text in ["", "../x", "aaaaaaaaaaaaa"] {
            assert!(RunPrefix::parse(text).is_err(), "{text}");
        }
    }
}
