//! What comes of a request if it is approved so, in lines for whoever decides: nothing that the requester wrote is cut.

use super::terms::RequestTerms;
use crate::clock::duration::spell;
use crate::escape::{Word, command_line};
use crate::policy::RolePower;

/// So many rules of a role are told, which root wrote.
const RULES: usize = 12;

/// A text that fills more lines of 80 columns says so: its beginning may have left the screen.
const SCREEN: usize = 20;

/// The grant that an approval would lead to, by itself or with others.
pub struct Prospect<'a> {
    /// The request.
    pub request: &'a RequestTerms,
    /// What its role gives power to.
    pub power: &'a RolePower,
    /// In seconds.
    pub duration: u64,
    /// For one run.
    pub one_shot: bool,
    /// For the very command of the request.
    pub exact: bool,
    /// Now, in seconds since 1970.
    pub now: i64,
}

impl<'a> Prospect<'a> {
    /// What the requester asked for, narrowed by nobody.
    pub fn as_asked(request: &'a RequestTerms, power: &'a RolePower, now: i64) -> Self {
        let (one_shot, exact) = (request.one_shot.is_set(), request.exact.is_set());
        Self { request, power, duration: request.duration, one_shot, exact, now }
    }

    /// What is about to be done about it, such as `approving`, and to what: whole lines. Nothing is cut; where it may not fit on a
    /// screen, its last line says so.
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

    /// One fact a line, escaped and quoted.
    fn lines(&self) -> Vec<String> {
        let asked = self.request;
        let once = if self.one_shot { ", for one run" } else { "" };
        let mut lines =
            vec![format!("{}: role {} for {}, {}{once}", asked.id, asked.role, asked.user, spell(self.duration))];
        match (self.exact, &asked.command) {
            (true, Some(_)) => lines.push(format!("gives this very command: {}", self.command())),
            (_, command) => {
                lines.extend(self.rules());
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
        lines.extend(rules.iter().take(RULES).map(|rule| format!("  {rule}")));
        if rules.len() > RULES {
            lines.push(format!("  and {} rules more: jitctl show {}", rules.len() - RULES, self.request.id));
        }
        lines
    }

    fn conditions(&self) -> Vec<String> {
        let asked = self.request;
        let said = |name: &str, word: &Word| (!word.as_bytes().is_empty()).then(|| format!("{name}: {word}"));
        let begins = asked.start.saturating_sub(self.now);
        let delay = || format!("begins in {}", spell(begins.unsigned_abs()));
        [
            said("reason", &asked.reason),
            said("ticket", &asked.ticket),
            (begins > 0).then(delay),
            asked.extends.as_ref().map(|grant| format!("extends grant {grant}: what runs under it goes on")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
