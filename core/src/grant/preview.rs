//! Describes the grant that an approval would lead to, in lines for the approver: the requester's text is never
//! truncated.

use super::terms::{ApprovalTerms, RequestTerms};
use crate::clock::duration::{Seconds, spell};
use crate::escape::{Word, command_line, escape};
use crate::policy::{Leftovers, OnExpiry, OnRemoval, Role, RolePower};

/// The maximum number of a role's rules that are listed: the last ones, which take precedence. Root wrote them.
const RULES: usize = 100;

/// A text with more lines of 80 columns than this ends with a note: its beginning may have scrolled off the screen.
const SCREEN: usize = 20;

/// The grant that an approval would lead to, alone or with others.
pub struct Preview<'a> {
    /// The request.
    pub request: &'a RequestTerms,
    /// What its role permits.
    pub power: &'a RolePower,
    /// The duration in seconds.
    pub duration: Seconds,
    /// Limited to one run.
    pub one_shot: bool,
    /// Limited to the exact command of the request.
    pub exact: bool,
    /// Whether the policy's role is different today.
    pub differs: bool,
    /// Now, in seconds since 1970.
    pub now: i64,
}

impl<'a> Preview<'a> {
    /// Describes what the requester asked for, without further limits; `power` is that of the role at that time.
    pub fn of(request: &'a RequestTerms, power: &'a RolePower, now: i64) -> Self {
        let (one_shot, exact) = (request.one_shot.is_set(), request.exact.is_set());
        Self { request, power, duration: request.duration, one_shot, exact, differs: false, now }
    }

    /// Compares with the role in today's policy.
    #[must_use]
    pub fn beside(self, role: &Role) -> Self {
        Self { differs: role.digest != self.request.role_digest, ..self }
    }

    /// Applies the limits of this approval.
    #[must_use]
    pub fn narrowed(self, approval: &ApprovalTerms) -> Self {
        Self {
            duration: approval.duration.positive().unwrap_or(self.duration),
            one_shot: self.one_shot || approval.one_shot.is_set(),
            exact: self.exact || approval.exact.is_set(),
            ..self
        }
    }

    /// Returns whole lines that begin with the present action, such as `approving`. Nothing is truncated; if the text
    /// may not fit on a screen, its last line says so.
    pub fn text(&self, doing: &str) -> String {
        let lines = self.lines();
        let rows: usize = lines.iter().map(|line| 1 + line.chars().count() / 80).sum();
        let mut text = format!("{doing} request {}\n", lines.join("\n  "));
        if rows > SCREEN {
            let id = &self.request.id;
            text.push_str(&format!("these are {rows} lines: read them all, or leave by ^C and see jitctl show {id}\n"));
        }
        text
    }

    /// Returns one fact a line, escaped and quoted.
    fn lines(&self) -> Vec<String> {
        let asked = self.request;
        let once = if self.one_shot { ", for one run" } else { "" };
        let mut lines =
            vec![format!("{}: role {} for {}, {}{once}", asked.id, asked.role, asked.user, spell(self.duration))];
        match (self.exact, &asked.command) {
            (true, Some(_)) => {
                lines.push(format!("gives this very command: {}", self.command()));
                lines.extend(self.today());
                lines.extend(self.manner());
            }
            (_, command) => {
                lines.extend(self.rules());
                lines.extend(self.today());
                lines.extend(self.manner());
                if command.is_some() {
                    lines.push(format!("asked for with this command: {}", self.command()));
                }
            }
        }
        lines.extend(asked.circumstances().iter().map(|line| format!("  {line}")));
        lines.extend(self.conditions());
        lines
    }

    fn command(&self) -> String {
        command_line(self.request.argv().iter().map(Word::as_os_str))
    }

    fn rules(&self) -> Vec<String> {
        let rules = &self.power.commands;
        let run_as = self.power.run_as.as_written().join(" or ");
        let mut lines = vec![format!("gives EVERY command of the role, as {run_as}:")];
        let hidden = rules.len().saturating_sub(RULES);
        if hidden > 0 {
            lines.push(format!(
                "  {hidden} rules, and after them, which decides (all: jitctl show {}):",
                self.request.id
            ));
        }
        lines.extend(rules.iter().skip(hidden).map(|rule| format!("  {rule}")));
        lines
    }

    /// Returns how today's policy differs, if it does.
    fn today(&self) -> Option<String> {
        let (id, role) = (&self.request.id, &self.power.name);
        self.differs.then(|| format!("the policy has another role {role} today; a run needs both: jitctl show {id}"))
    }

    /// Returns the options with which commands run, if they differ from the default.
    fn manner(&self) -> Vec<String> {
        let option = |(key, value): (String, serde_json::Value)| {
            format!("  with {}", escape(format!("{key} = {value}").as_bytes()))
        };
        let mut lines: Vec<String> = self.power.changed_options().into_iter().map(option).collect();
        if self.power.on_expiry == OnExpiry::Finish {
            lines.push("  what runs when the grant expires may run to its end".to_owned());
        }
        if self.power.on_removal == OnRemoval::Finish {
            lines.push(
                "  what runs when its user loses the role may run to its end, or to that of the grant".to_owned(),
            );
        }
        if self.power.leftovers == Leftovers::Keep {
            lines.push("  what a finished command leaves running may continue".to_owned());
        }
        lines
    }

    fn conditions(&self) -> Vec<String> {
        let asked = self.request;
        let said = |name: &str, word: &Word| (!word.as_bytes().is_empty()).then(|| format!("{name}: {word}"));
        let begins = asked.start.saturating_sub(self.now);
        let delay = || format!("begins in {}", spell(Seconds(begins.unsigned_abs())));
        [
            said("reason", &asked.reason),
            said("ticket", &asked.ticket),
            (begins > 0).then(delay),
            (asked.needed > 0).then(|| format!("approvals needed: {}", asked.needed)),
            asked.extends.as_ref().map(|grant| format!("extends grant {grant}: what runs under it continues")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
