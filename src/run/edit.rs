//! An edit: the files are copied out, the caller's editor runs on the copies in a session like any other, and changes are recorded
//! and then written back.

use std::rc::Rc;

use crate::audit::recorded::Recorded;
use crate::authorized::Authorized;
use crate::console::{self, Console};
use crate::edit::{Copied, Copy, EditCredentials, EditError};
use crate::elevation::edit::credentials_of_caller;
use crate::elevation::{Edit, Editor, Editors, is_edit_word};
use crate::refusal::Refusal;
use crate::run::RunContext;
use crate::session::{LaunchError, Outcome, Verdict, Watch};
use jit_core::cli::{Mode, Run};
use jit_core::escape::Word;
use jit_core::evidence::record::Change;

/// Shows sudo's remark to a caller who runs sudoedit through sudo, which works too.
pub(super) fn mind_the_name(run: &Run, console: &mut Console) {
    if run.mode == Mode::Command && run.command.first().is_some_and(|word| is_edit_word(word)) {
        say("sudoedit doesn't need to be run via sudo", console);
    }
}

/// Chooses the editor, before the start is recorded.
pub(super) fn choose_editor(authorized: &Authorized, context: &RunContext<'_>) -> Result<(), Refusal> {
    let elevation = authorized.elevation();
    let Some(edit) = elevation.command().edit_wish() else { return Ok(()) };
    let options = &authorized.role().options;
    let editors = if options.env_editor { Editors::Any(&options.editor) } else { Editors::Only(&options.editor) };
    edit.choose_editor(&context.inherited.environment, editors, elevation.caller()).map_err(Refusal::Editor)
}

/// Runs the session by `run`; for an edit, copies the files out before and writes them back afterwards. Messages go to `unsaid` and
/// are shown when the end is recorded, so that a caller who does not read them delays nothing.
pub(super) fn around<W: Watch>(
    recorded: Recorded,
    context: &RunContext<'_>,
    watch: &mut W,
    unsaid: &mut Vec<String>,
    run: impl FnOnce(Recorded, Option<Editor>, &mut W) -> (Recorded, Result<Outcome, LaunchError>),
) -> (Recorded, Result<Outcome, LaunchError>) {
    let elevation = recorded.authorized().elevation();
    let wish = elevation.command().edit_wish().map(Rc::clone);
    let Some((edit, editor)) = wish.and_then(|edit| Some((Rc::clone(&edit), edit.editor()?.clone()))) else {
        return run(recorded, None, watch);
    };
    let hands = EditCredentials {
        run_as: recorded.authorized().plan().credentials().clone(),
        caller: credentials_of_caller(elevation.caller()),
        umask: context.inherited.umask,
    };
    let copies = match copy_out(&edit, &hands, unsaid) {
        Ok(copies) => copies,
        Err(error) => return (recorded, Err(LaunchError::Edit(error))),
    };
    let words = editor.words.into_iter().chain(copies.iter().map(|copy| copy.path().into())).collect();
    let (recorded, outcome) = run(recorded, Some(Editor { path: editor.path, words }), watch);
    match outcome {
        Ok(outcome) => {
            let mut allowed = || outcome.ending.is_none() && still_allowed(watch);
            let back = Back { hands: &hands, recorded: &recorded, context };
            let failed = back.all(copies, &mut allowed, unsaid);
            (recorded, Ok(Outcome { failed, ..outcome }))
        }
        Err(error) => {
            copies.into_iter().for_each(|copy| copy.discard(&hands));
            (recorded, Err(error))
        }
    }
}

/// Copies out all files that can be edited; fails with the last error when there are none.
fn copy_out<'a>(edit: &'a Edit, hands: &EditCredentials, unsaid: &mut Vec<String>) -> Result<Vec<Copy<'a>>, EditError> {
    let mut copies = Vec::new();
    let mut last = None;
    for target in edit.targets() {
        let held = copies.iter().map(Copy::held).fold(0, usize::saturating_add);
        match Copy::out(target, hands, held) {
            Ok(copy) => copies.push(copy),
            Err(error) => {
                unsaid.extend(last.replace(error).map(|error| error.to_string()));
            }
        }
    }
    match last {
        Some(error) if copies.is_empty() => Err(error),
        last => {
            unsaid.extend(last.map(|error| error.to_string()));
            Ok(copies)
        }
    }
}

/// Called before each file: a caller who delays the reading of one copy must not gain time for the next.
fn still_allowed(watch: &mut impl Watch) -> bool {
    watch.look_again();
    loop {
        match watch.verdict() {
            Verdict::Run => return true,
            Verdict::Say(_) => {} // it is about the command, which has ended
            Verdict::Freeze(_) | Verdict::End(_) => return false,
        }
    }
}

/// What is needed to write copies back.
struct Back<'a> {
    hands: &'a EditCredentials,
    recorded: &'a Recorded,
    context: &'a RunContext<'a>,
}

impl Back<'_> {
    /// Writes the copies back. Returns what failed in one line for the record; the messages about each file, and where its contents
    /// are left, go to `unsaid`.
    fn all(
        &self,
        copies: Vec<Copy<'_>>,
        allowed: &mut dyn FnMut() -> bool,
        unsaid: &mut Vec<String>,
    ) -> Option<String> {
        let mut failed = Vec::new();
        for copy in copies {
            let name = copy.name();
            match copy.look(self.hands) {
                Err(error) => {
                    unsaid.extend([error.to_string(), format!("{name} left unmodified")]);
                    failed.push(error.to_string());
                }
                Ok(Copied::Unchanged) => {
                    unsaid.push(format!("{name} unchanged"));
                    copy.discard(self.hands);
                }
                Ok(Copied::Changed(after, change)) => match self.one(&copy, &after, *change, allowed()) {
                    Ok(()) => copy.discard(self.hands),
                    Err(error) => {
                        let left = format!("contents of edit session left in {}", Word::from(copy.path()));
                        unsaid.extend([error.clone(), left]);
                        failed.push(error);
                    }
                },
            }
        }
        if failed.is_empty() { None } else { Some(failed.join("; ")) }
    }

    fn one(&self, copy: &Copy<'_>, after: &[u8], change: Change, allowed: bool) -> Result<(), String> {
        if !allowed {
            return Err(format!("the run was ended, {} left unmodified", copy.name()));
        }
        record(self.recorded, change, self.context)?;
        copy.back(after, self.hands).map_err(|error| error.to_string())
    }
}

/// Records a change. No file is written before its record is on disk.
fn record(recorded: &Recorded, change: Change, context: &RunContext<'_>) -> Result<(), String> {
    let name = change.path.clone();
    let moment = context.host.clocks().map_err(|error| error.to_string())?;
    let unrecorded = |error| format!("the edit of {name} cannot be recorded, so it is not written: {error}");
    recorded.edit(context.journal, change, &moment).map_err(unrecorded)
}

/// Shows a message about an edit.
pub(super) fn say(sentence: &str, console: &mut Console) {
    console.say(&console::line(sentence));
}
