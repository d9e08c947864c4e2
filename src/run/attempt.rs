//! What was attempted, kept for the `reject` record: when a run is denied, the arguments have been consumed.

use std::ffi::OsStr;

use crate::console::Console;
use crate::elevation::Caller;
use crate::elevation::run_as::typed_word;
use crate::refusal::Refusal;
use crate::run::RunContext;
use jit_core::cli::Run;
use jit_core::escape::Word;
use jit_core::evidence::record::Reject;
use jit_core::names::Person;

/// The arguments and the circumstances of one attempt.
pub(super) struct Attempt {
    reject: Reject,
    person: Person,
    non_interactive: bool,
}

impl Attempt {
    pub(super) fn of(run: &Run, caller: &Caller) -> Self {
        let reject = Reject {
            uid: caller.uid(),
            user: Word::from(caller.name().as_str()),
            tty: caller.tty().map(|tty| Word::from(tty.name.as_os_str())),
            cwd: Some(caller.directory_word()),
            argv: run.command.iter().map(Word::from).collect(),
            run_as: Some(typed_word(run.run_as.as_deref().map(OsStr::new))),
            code: String::new(),
            sentence: Word::default(),
            whole_argv: None,
            whole_sentence: None,
            whole_run_as: None,
        };
        Self { reject, person: caller.person().clone(), non_interactive: run.asking.non_interactive }
    }

    /// Records the denial of a user. The denial stands even when the journal fails.
    pub(super) fn reject(self, refusal: Refusal, context: &RunContext<'_>, console: &mut Console) -> Refusal {
        if !refusal.is_rejection(self.non_interactive) {
            return refusal;
        }
        let person = self.person;
        let reject =
            Reject { code: refusal.code().to_owned(), sentence: Word::of_escaped(&refusal.sentence()), ..self.reject };
        let written = context.host.reject(context.journal, &person, reject).map_err(Refusal::from);
        context.host.database().tidy();
        match written {
            Ok(written) => {
                let _ = context.journal.mirror(&written);
            }
            Err(error) => {
                context.host.alert_and_say(&format!("a refusal cannot be recorded: {}", error.sentence()), console)
            }
        }
        refusal
    }
}
