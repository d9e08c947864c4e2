//! An edit: the files are copied out, the caller's editor runs on the copies in a session like any other, and what has
//! changed is recorded and then written back.

use std::rc::Rc;

use crate::audit::recorded::Recorded;
use crate::authorized::Authorized;
use crate::cli::{Mode, Run};
use crate::edit::{Copied, Copy, EditError, Hands};
use crate::elevation::edit::credentials_of_caller;
use crate::elevation::{Edit, Editor, Editors, is_edit_word};
use crate::escape::Word;
use crate::refusal::Refusal;
use crate::run::Scene;
use crate::session::{LaunchError, Outcome, Verdict, Watch};
use crate::voice::Voice;

/// Whoever runs sudoedit by sudo gets what they meant, and sudo's remark.
pub(super) fn mind_the_name(run: &Run, voice: &mut Voice) {
    if run.mode == Mode::Command && run.command.first().is_some_and(|word| is_edit_word(word)) {
        say("sudoedit doesn't need to be run via sudo", voice);
    }
}

/// Decides on the editor, before the start is recorded.
pub(super) fn choose_editor(authorized: &Authorized, scene: &Scene<'_>) -> Result<(), Refusal> {
    let elevation = authorized.elevation();
    let Some(edit) = elevation.command().edit_wish() else { return Ok(()) };
    let options = &authorized.role().options;
    let editors = if options.env_editor { Editors::Any(&options.editor) } else { Editors::Only(&options.editor) };
    edit.choose_editor(&scene.inherited.environment, editors, elevation.caller()).map_err(Refusal::Editor)
}

/// Runs the session by `run`: as it is, or between copying out and copying back where it is an edit.
pub(super) fn around<W: Watch>(
    recorded: Recorded,
    scene: &Scene<'_>,
    watch: &mut W,
    voice: &mut Voice,
    run: impl FnOnce(Recorded, Option<Editor>, &mut W) -> (Recorded, Result<Outcome, LaunchError>),
) -> (Recorded, Result<Outcome, LaunchError>) {
    let elevation = recorded.authorized().elevation();
    let wish = elevation.command().edit_wish().map(Rc::clone);
    let Some((edit, editor)) = wish.and_then(|edit| Some((Rc::clone(&edit), edit.editor()?.clone()))) else {
        return run(recorded, None, watch);
    };
    let hands = Hands {
        run_as: recorded.authorized().plan().credentials().clone(),
        caller: credentials_of_caller(elevation.caller()),
        umask: scene.inherited.umask,
    };
    let copies = match copy_out(&edit, &hands, voice) {
        Ok(copies) => copies,
        Err(error) => return (recorded, Err(LaunchError::Edit(error))),
    };
    let words = editor.words.into_iter().chain(copies.iter().map(|copy| copy.path().into())).collect();
    let (recorded, outcome) = run(recorded, Some(Editor { path: editor.path, words }), watch);
    match outcome {
        Ok(outcome) => {
            let allowed = outcome.ending.is_none() && still_allowed(watch, voice);
            let failed = copy_back(copies, &hands, &recorded, scene, allowed, voice);
            (recorded, Ok(Outcome { failed, ..outcome }))
        }
        Err(error) => {
            copies.into_iter().for_each(|copy| copy.discard(&hands));
            (recorded, Err(error))
        }
    }
}

/// Copies of all files that can be edited; the last error where there is none. The others are told at once.
fn copy_out<'a>(edit: &'a Edit, hands: &Hands, voice: &mut Voice) -> Result<Vec<Copy<'a>>, EditError> {
    let mut copies = Vec::new();
    let mut last = None;
    for target in edit.targets() {
        let held = copies.iter().map(Copy::held).fold(0, usize::saturating_add);
        match Copy::out(target, hands, held) {
            Ok(copy) => copies.push(copy),
            Err(error) => {
                let _ = last.replace(error).map(|error| say(&error.to_string(), voice));
            }
        }
    }
    match last {
        Some(error) if copies.is_empty() => Err(error),
        last => {
            let _ = last.map(|error| say(&error.to_string(), voice));
            Ok(copies)
        }
    }
}

/// The editor may have outlived the grant by a moment.
fn still_allowed(watch: &mut impl Watch, voice: &mut Voice) -> bool {
    loop {
        match watch.verdict() {
            Verdict::Run => return true,
            Verdict::Say(words) => say(&words, voice),
            Verdict::Freeze(_) | Verdict::End(_) => return false,
        }
    }
}

/// What could not be written back, in one line for the record; each was told, with where its contents are.
fn copy_back(
    copies: Vec<Copy<'_>>,
    hands: &Hands,
    recorded: &Recorded,
    scene: &Scene<'_>,
    allowed: bool,
    voice: &mut Voice,
) -> Option<String> {
    let mut failed = Vec::new();
    for copy in copies {
        let name = copy.name();
        match copy.look(hands) {
            Err(error) => {
                say(&error.to_string(), voice);
                say(&format!("{name} left unmodified"), voice);
                failed.push(error.to_string());
            }
            Ok(Copied::Unchanged) => {
                say(&format!("{name} unchanged"), voice);
                copy.discard(hands);
            }
            Ok(Copied::Changed(after, change)) => {
                let written = if allowed {
                    record(recorded, *change, scene).and_then(|()| copy.back(&after, hands).map_err(|e| e.to_string()))
                } else {
                    Err(format!("the run was ended, {name} left unmodified"))
                };
                match written {
                    Ok(()) => copy.discard(hands),
                    Err(error) => {
                        say(&error, voice);
                        say(&format!("contents of edit session left in {}", Word::from(copy.path())), voice);
                        failed.push(error);
                    }
                }
            }
        }
    }
    if failed.is_empty() { None } else { Some(failed.join("; ")) }
}

/// Nothing is written before its record is on the disk.
fn record(recorded: &Recorded, change: crate::audit::record::Change, scene: &Scene<'_>) -> Result<(), String> {
    let name = change.path.clone();
    let moment = scene.host.now().map_err(|error| error.to_string())?;
    let unrecorded = |error| format!("the edit of {name} cannot be recorded, so it is not written: {error}");
    recorded.edit(scene.journal, change, &moment).map_err(unrecorded)
}

fn say(sentence: &str, voice: &mut Voice) {
    voice.say(&format!("jit-sudo: {sentence}\n"));
}
