//! Starts and ends of runs, each once; the rows of `open_run` and `precedent`.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};

use super::{Power, Table};
use crate::escape::Word;
use crate::evidence::copies::Copies;
use crate::evidence::digest::Digest;
use crate::evidence::faults::{Cause, FirstBad};
use crate::evidence::precedent;
use crate::evidence::record::parse;
use crate::grant::terms::LOADER;

/// A row of `open_run`.
#[derive(Debug, Clone, Copy)]
pub struct RunRow<'r> {
    /// The number of its `start` record.
    pub start: i64,
    /// Its id.
    pub run: &'r str,
    /// The user who runs it.
    pub uid: i64,
    /// The grant.
    pub grant: Option<&'r str>,
    /// 0 while its command runs, 1 when the command has ended but left processes running.
    pub ended: i64,
}

/// A row of `precedent`.
#[derive(Debug, Clone, Copy)]
pub struct PrecedentRow<'r> {
    /// The user who ran it.
    pub uid: i64,
    /// The digest of the command.
    pub command: &'r [u8],
    /// How many times it ran to its end.
    pub runs: i64,
    /// The start of the latest run, µs.
    pub last: i64,
}

/// A start without an end, or the processes that a finished command left running.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    run: String,
    uid: Option<i64>,
    grant: Option<String>,
}

impl Run {
    /// Returns a short form: a journal has many runs.
    fn key(&self) -> [u8; 16] {
        let uid = self.uid.unwrap_or(-1).to_be_bytes();
        let grant = self.grant.as_deref().unwrap_or_default();
        let digest = Sha256::new().chain_update(uid).chain_update(grant).chain_update("\0").chain_update(&self.run);
        let digest: [u8; 32] = digest.finalize().into();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

/// An open run, and what is counted when it ends.
#[derive(Debug)]
struct Begun {
    run: Run,
    at: i64,
    command: Option<[u8; 32]>,
}

/// How many times a command ran to its end, and the start of the latest run, µs.
#[derive(Debug, Clone, Copy)]
struct Ran {
    runs: i64,
    last: i64,
}

/// What the records say of runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    open: HashMap<u64, Begun>,
    /// Those that have ended, each by its [key](Run::key).
    over: HashMap<u64, [u8; 16]>,
    left: HashMap<u64, Run>,
    ran: HashMap<(i64, [u8; 32]), Ran>,
    /// All pruned records are older than this, µs.
    pruned_until: Option<i64>,
    /// What is wrong with the start that was read last, which counts as what it says.
    pub(super) misjudged: Option<FirstBad>,
}

/// The keys of a `start` record that are read.
#[derive(Deserialize)]
pub(super) struct Command<'a> {
    pub(super) user: Word,
    pub(super) run_as: Word,
    pub(super) path: Word,
    pub(super) argv: Vec<Word>,
    pub(super) cwd: Word,
    pub(super) sha256: Digest,
    pub(super) run_as_uid: i64,
    pub(super) run_as_gid: i64,
    pub(super) run_as_groups: Vec<i64>,
    #[serde(default)]
    environment: Vec<VariableName>,
    editor: Option<IgnoredAny>,
    pub(super) role: Option<&'a str>,
    pub(super) boot: i64,
    #[serde(borrow)]
    pub(super) boot_id: Cow<'a, str>,
    /// By what right.
    #[serde(default)]
    assignment: Option<&'a str>,
    /// Earlier versions did not say.
    pub(super) grant_sha256: Option<Digest>,
}

/// A variable of a run; its value is not read.
#[derive(Deserialize)]
struct VariableName {
    name: Word,
}

impl Command<'_> {
    /// Returns the names of the variables that the program loader obeys. An editor runs as the caller, with the caller's variables.
    pub(super) fn loaded(&self) -> impl Iterator<Item = &Word> {
        let is_command = self.editor.is_none();
        let names = self.environment.iter().map(|variable| &variable.name);
        names.filter(move |name| is_command && name.as_bytes().starts_with(LOADER))
    }
}

#[derive(Deserialize)]
struct EndKeys {
    start: u64,
}

#[derive(Deserialize)]
struct Prune {
    #[serde(default)]
    before: i64,
    /// Absent in earlier versions: then the time is before `before`.
    latest: Option<i64>,
}

impl Power {
    /// Processes the next record as far as runs are concerned. Returns the contents of a start.
    ///
    /// # Errors
    /// When a run ends that did not start, or that has already ended.
    pub(super) fn run<'b>(
        &mut self,
        seq: u64,
        copies: &Copies<'_>,
        body: &'b [u8],
    ) -> Result<Option<Command<'b>>, FirstBad> {
        let malformed = |error: serde_json::Error| FirstBad { seq, cause: Cause::Malformed(error.to_string()) };
        if copies.kind == "prune" {
            let prune: Prune = parse(body).map_err(malformed)?;
            let latest = prune.latest.unwrap_or_else(|| prune.before.saturating_sub(1));
            self.runs.pruned_until = self.runs.pruned_until.max(Some(latest));
            return Ok(None);
        }
        let Some(run) = copies.run else { return Ok(None) };
        let run = Run { run: run.to_owned(), uid: copies.uid, grant: copies.grant.map(str::to_owned) };
        if copies.kind == "start" {
            let start = parse::<Command<'_>>(body).ok();
            let command = start.as_ref().map(|words| {
                let arguments = words.argv.get(1..).unwrap_or_default();
                precedent::key(&words.user, &words.run_as, &words.path, arguments)
            });
            self.runs.open.insert(seq, Begun { run, at: copies.at, command });
            let by_grant = start.as_ref().and_then(|start| Some(start.assignment? == "grant"));
            if by_grant.is_some_and(|by_grant| by_grant != copies.grant.is_some()) {
                let what = if copies.grant.is_some() {
                    "names a grant, and says that it was allowed without one"
                } else {
                    "says that it was allowed by a grant, and names none"
                };
                self.runs.misjudged = Some(FirstBad { seq, cause: Cause::Runs(what.to_owned()) });
            }
            return Ok(start);
        }
        if !["end", "edit", "left-running", "left-ended"].contains(&copies.kind) {
            return Ok(None);
        }
        let ended: EndKeys = parse(body).map_err(malformed)?;
        // A run that started before the oldest remaining record may end once among the remaining ones.
        let older = self.pruned.is_some_and(|pruned| ended.start <= pruned);
        let paired = match copies.kind {
            "end" => self.runs.end(&ended, &run) || older,
            "edit" => self.runs.open.get(&ended.start).is_some_and(|begun| begun.run == run) || older,
            "left-running" => {
                let known = self.runs.over.get(&ended.start).is_some_and(|key| *key == run.key()) || older;
                self.runs.left.insert(ended.start, run.clone()).is_none() && known
            }
            _ => self.runs.left.remove(&ended.start).is_some_and(|left| left == run) || older,
        };
        if paired {
            return Ok(None);
        }
        let what = match copies.kind {
            "edit" => format!("is an edit of run {}, but no record says that it was under way", shown(&run.run)),
            "left-running" => {
                format!("says that run {} left processes, but no record says that it ended before", shown(&run.run))
            }
            _ => format!("says that run {} has ended, but no record says that it started", shown(&run.run)),
        };
        Err(FirstBad { seq, cause: Cause::Runs(what) })
    }

    /// Compares the next row of `open_run`.
    pub fn open_run(&mut self, row: &RunRow<'_>) {
        let start = number(row.start);
        if row.ended == 0 {
            let begun = start.and_then(|start| self.runs.open.remove(&start)).map(|begun| begun.run);
            self.compare_run(Table::OpenRun, begun.as_ref(), row, "it has ended, or no record says that it started");
        } else {
            let left = start.and_then(|start| self.runs.left.remove(&start));
            self.compare_run(Table::LeftRun, left.as_ref(), row, "no record says that it left processes running");
        }
    }

    /// Ends the table and reports missing rows.
    pub fn end_of_open_runs(&mut self) {
        let open: Vec<(u64, Run)> = self.runs.open.drain().map(|(start, begun)| (start, begun.run)).collect();
        self.missing_runs(Table::OpenRun, open);
        let left: Vec<(u64, Run)> = self.runs.left.drain().collect();
        self.missing_runs(Table::LeftRun, left);
    }

    fn compare_run(&mut self, table: Table, recorded: Option<&Run>, row: &RunRow<'_>, unknown: &str) {
        let same = |run: &Run| {
            let columns = (row.run, Some(row.uid), row.grant);
            (run.run.as_str(), run.uid, run.grant.as_deref()) == columns && (0..=1).contains(&row.ended)
        };
        match recorded {
            Some(run) if same(run) => {}
            Some(_) => self.differs(table, row.run, format!("a column differs from record {}", row.start)),
            // A run that started before the oldest remaining record may have no record here.
            None if table == Table::LeftRun && self.is_older(row.start) => {}
            None => self.differs(table, row.run, unknown.to_owned()),
        }
    }

    fn is_older(&self, start: i64) -> bool {
        self.pruned.zip(number(start)).is_some_and(|(pruned, start)| start <= pruned)
    }

    fn missing_runs(&mut self, table: Table, mut runs: Vec<(u64, Run)>) {
        runs.sort_unstable_by_key(|(start, _)| *start);
        for (_, run) in runs {
            self.differs(table, &run.run, "its row is missing".to_owned());
        }
    }

    /// Compares the next row of `precedent`. A lower count than recorded is harmless: it only shows the approver less.
    pub fn precedent(&mut self, row: &PrecedentRow<'_>) {
        let command: Option<[u8; 32]> = row.command.try_into().ok();
        let ran = command.and_then(|command| self.runs.ran.get(&(row.uid, command)));
        let negative = || Some("the number is negative".to_owned());
        let wrong = match (ran, self.runs.pruned_until.filter(|_| self.pruned.is_some())) {
            _ if row.runs < 0 => negative(),
            (Some(ran), None) if row.runs > ran.runs => Some(format!("the journal says {}", ran.runs)),
            (Some(ran), until) if row.last > ran.last.max(until.unwrap_or(i64::MIN)) => {
                Some("the journal has no run as late".to_owned())
            }
            (Some(_), _) => None,
            (None, Some(until)) if row.last <= until => None,
            (None, _) => Some("the journal says none".to_owned()),
        };
        if let Some(journal) = wrong {
            let command = super::names::hexadecimal(row.command);
            let what = format!("the database says {} runs by uid {}, {journal}", row.runs, row.uid);
            self.differs(Table::Precedent, &command, what);
        }
    }
}

impl Runs {
    /// Ends a run; returns whether it was open.
    fn end(&mut self, ended: &EndKeys, run: &Run) -> bool {
        let Some(begun) = self.open.remove(&ended.start) else { return false };
        if let (Some(uid), Some(command)) = (run.uid, begun.command) {
            let ran = self.ran.entry((uid, command)).or_insert(Ran { runs: 0, last: i64::MIN });
            *ran = Ran { runs: ran.runs.saturating_add(1), last: ran.last.max(begun.at) };
        }
        self.over.insert(ended.start, begun.run.key());
        begun.run == *run
    }
}

/// Converts the number of a record; `None` for an invalid one.
fn number(start: i64) -> Option<u64> {
    u64::try_from(start).ok().filter(|start| *start > 0)
}

fn shown(run: &str) -> String {
    crate::escape::escape(run.as_bytes())
}
