//! The approver's password, where the role demands it for an approval or a review. The broker reads what is to be approved, shows
//! it, and closes the database while the user types. Whoever receives the [`Consent`] reads everything again afterwards. A
//! remembered password does not count: any program at the approver's terminal could use it.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::Context;
use super::approvals::Narrowing;
use super::attempt::Recording;
use super::failure::{Refused, refused};
use super::words::given;
use crate::auth::prompt::{PromptWords, Replaces, Source, expand};
use crate::auth::{AuthError, Authenticated, Demand};
use crate::console::Console;
use crate::elevation::Caller;
use crate::host::Host;
use crate::refusal::Refusal;
use crate::verify::{Consent, Shown};
use jit_core::clock::Moment;
use jit_core::escape::Word;
use jit_core::evidence::record::Reject;
use jit_core::grant::{Preview, RequestTerms};
use jit_core::names::{GrantId, IdPrefix};
use jit_core::places::PAM_SERVICES;
use jit_core::policy::{Options, Role, RolePower};
use sys::terminal::Terminal;

/// The PAM service, unless the role names another one.
const SERVICE: &str = "jit-sudo";

/// The timeout of a prompt, even where `passwd_timeout` is 0.
const LONGEST_PROMPT: Duration = Duration::from_secs(300);

/// Reads what the caller has to consent to; `None` where the role demands no password.
pub(super) type Consenting = dyn FnOnce(&Context<'_>) -> Result<Option<ConsentRequest>, Refused>;

/// What the caller is asked to consent to, read while the database was open.
pub(super) struct ConsentRequest {
    kind: ConsentKind,
    id: GrantId,
    /// What is shown before the first prompt: as a value that the later decision must match, and as text (`line`).
    shown: Shown,
    line: String,
    service: String,
    options: Rc<Options>,
    moment: Moment,
}

/// What the password is for.
#[derive(Clone, Copy)]
enum ConsentKind {
    Approve,
    Review,
}

/// Asks the caller for the password that `due` demands. The database is closed before the prompt.
pub(super) fn obtain(due: Box<Consenting>, caller: &Caller, console: &mut Console) -> Result<Option<Consent>, Refused> {
    let host = Host::open(caller.host())?;
    let policy = host.policy(Some(caller))?;
    let journal = host.journal(&policy.settings().audit);
    let now = host.now()?;
    let secure_path = policy.settings().options.path_variable();
    let left_out = &RefCell::default();
    let secure_path = &secure_path;
    let due = due(&Context {
        host: &host,
        policy: &policy,
        journal: &journal,
        caller,
        now: &now,
        secure_path,
        left_out,
        recording: Recording::Required,
    })?;
    drop(policy);
    drop(host);
    let Some(request) = due else { return Ok(None) };
    let refusal = match request.prove(caller, console) {
        // Authentication without a question is not accepted: any program of the approver could obtain it.
        Ok(proof) => match Consent::to(request.shown.clone(), &proof) {
            Some(consent) => return Ok(Some(consent)),
            None => request.unasked(),
        },
        Err(error) => request.refusal(error),
    };
    Err(request.rejected(refusal, caller, console))
}

impl Context<'_> {
    pub(super) fn approval_due(&self, id: &IdPrefix, narrowing: &Narrowing) -> Result<Option<ConsentRequest>, Refused> {
        let (request, role) = self.approvable(id)?;
        if !role.activation.approval_authentication {
            return Ok(None);
        }
        let asked = &request.terms;
        // Invalid terms are rejected before the password prompt.
        let terms = self.approval(&request, narrowing, &role, &asked.host.id)?;
        let power = self.asked_power(asked)?;
        let line = Preview::of(asked, &power, self.now.seconds()).narrowed(&terms).text("approving");
        let shown = Shown::narrowed(&request.bytes, &terms);
        Ok(Some(self.consent_request(ConsentKind::Approve, request.terms.id, shown, &role, line)))
    }

    pub(super) fn review_due(&self, id: &IdPrefix, comment: &Word) -> Result<Option<ConsentRequest>, Refused> {
        given("comment", comment)?;
        let (request, _, role) = self.settleable(id)?;
        let Some(role) = role.filter(|role| role.activation.approval_authentication) else { return Ok(None) };
        let asked = &request.terms;
        let power = self.asked_power(asked)?;
        let line = Preview::of(asked, &power, self.now.seconds()).beside(&role).text("reviewing the break-glass of");
        let shown = Shown::whole(&request.bytes);
        Ok(Some(self.consent_request(ConsentKind::Review, request.terms.id, shown, &role, line)))
    }

    /// Returns the permissions of the role when the request was made. No approval gives more.
    fn asked_power(&self, asked: &RequestTerms) -> Result<RolePower, Refused> {
        self.host.store().role(&asked.role_digest).ok_or_else(|| {
            let sentence = format!(
                "the text of role {} for request {} is missing or damaged, or a later version may have written it",
                asked.role, asked.id
            );
            refused("role-changed", sentence).hint("ask again".to_owned())
        })
    }

    fn consent_request(
        &self,
        kind: ConsentKind,
        id: GrantId,
        shown: Shown,
        role: &Role,
        line: String,
    ) -> ConsentRequest {
        ConsentRequest {
            kind,
            id,
            shown,
            line,
            service: role.pam_service.as_deref().unwrap_or(SERVICE).to_owned(),
            options: Rc::clone(&role.options),
            moment: self.now.moment().clone(),
        }
    }
}

impl ConsentRequest {
    fn prove(&self, caller: &Caller, console: &mut Console) -> Result<Authenticated, AuthError> {
        // A terminal is required even where PAM asks no question.
        Terminal::controlling().map_err(|_| AuthError::NoTerminal)?;
        let (options, name) = (&self.options, caller.name().as_str());
        let words = PromptWords { user: name, target: name, password_of: name, host: caller.host() };
        let limit = Duration::from(options.passwd_timeout);
        let demand = Demand {
            service: &self.service,
            services: Path::new(PAM_SERVICES),
            user: name,
            password_of: name,
            uid: caller.uid(),
            tty: caller.tty().and_then(|tty| tty.name.to_str()),
            password_due: true,
            non_interactive: false,
            source: Source::Terminal,
            prompt: expand(OsStr::new(&options.passprompt), &words),
            replaces: if options.passprompt_override { Replaces::EveryPrompt } else { Replaces::PlainPrompts },
            lecture: Some(self.line.clone()),
            badpass_message: &options.badpass_message,
            tries: options.passwd_tries,
            timeout: Some(if limit.is_zero() { LONGEST_PROMPT } else { limit }),
            cache: None,
            use_cache: false,
            remember: false,
        };
        Authenticated::prove(demand, &self.moment, console)
    }

    /// Records the failed authentication in the same way as that of a run. The caller gets the error even if recording fails.
    fn rejected(&self, refused: Refused, caller: &Caller, console: &mut Console) -> Refused {
        let failure = &refused.failure;
        let words = match self.kind {
            ConsentKind::Approve => ["jitctl", "approve", self.id.as_str()],
            ConsentKind::Review => ["jitctl", "review", self.id.as_str()],
        };
        let reject = Reject {
            uid: caller.uid(),
            user: Word::from(caller.name().as_str()),
            tty: caller.tty().map(|tty| Word::from(tty.name.as_os_str())),
            cwd: Some(caller.directory_word()),
            argv: words.map(Word::from).to_vec(),
            run_as: None,
            code: failure.code.clone(),
            sentence: Word::of_escaped(&failure.message),
            whole_argv: None,
            whole_sentence: None,
            whole_run_as: None,
        };
        match Host::open(caller.host()) {
            Ok(host) => {
                if let Err(error) = record(&host, caller, reject) {
                    host.alert_and_say(&format!("a refusal cannot be recorded: {}", error.sentence()), console);
                }
            }
            Err(error) => return Refusal::from(error).into(),
        }
        refused
    }

    /// Returns the error for an authentication in which PAM asked no question.
    fn unasked(&self) -> Refused {
        let service = jit_core::escape::escape(self.service.as_bytes());
        let what = match self.kind {
            ConsentKind::Approve => "approving",
            ConsentKind::Review => "reviewing",
        };
        let sentence = format!("{what} needs your password, and the PAM service '{service}' asks for none");
        let refused = refused("password-required", sentence);
        match self.kind {
            ConsentKind::Approve => refused.hint(format!(
                "approve with a key: jitctl approve {} --key FILE; the administrator can let the service ask, or set \
                 approval_authentication = false",
                self.id
            )),
            ConsentKind::Review => refused
                .hint("the administrator can let the service ask, or set approval_authentication = false".to_owned()),
        }
    }

    fn refusal(&self, error: AuthError) -> Refused {
        let AuthError::NoTerminal = error else { return Refusal::Auth(error).into() };
        let (what, hint) = match self.kind {
            ConsentKind::Approve => {
                ("approving", format!("approve at a terminal, or with a key: jitctl approve {} --key FILE", self.id))
            }
            ConsentKind::Review => {
                ("reviewing", format!("at a terminal: jitctl review {} --comment 'WHAT YOU FOUND'", self.id))
            }
        };
        let code = Refusal::Auth(error).code();
        refused(code, format!("{what} needs your password, and there is no terminal to ask for it")).hint(hint)
    }
}

fn record(host: &Host, caller: &Caller, reject: Reject) -> Result<(), Refusal> {
    let policy = host.policy(Some(caller))?;
    let journal = host.journal(&policy.settings().audit);
    let written = host.reject(&journal, caller.person(), reject)?;
    let _ = journal.mirror(&written);
    host.seal_in_time(&journal);
    Ok(())
}
