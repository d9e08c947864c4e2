//! From the arguments to the gate: judgement, grant (or the offer to request one), authentication.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::activation::insight::Disclosure;
use crate::auth::cache::{CacheKey, CacheScope, CredentialCache};
use crate::auth::prompt::{Askpass, PromptWords, Replaces, Source, expand};
use crate::auth::{AuthError, AuthMethod, Authenticated, Demand};
use crate::authorized::{Authorized, password_due};
use crate::console::Console;
use crate::elevation::edit::credentials_of_caller;
use crate::elevation::{Caller, Elevation, Hidden, RunAs};
use crate::judge::RunOptions;
use crate::judge::{Among, Eligible, FirstRoles, JudgeError, Judgement, judge};
use crate::refusal::{HiddenCommand, Refusal};
use crate::run::{RunContext, offer};
use crate::verify::VerifiedGrant;
use crate::verify::verify;
use jit_core::cli::{Asking, PasswordFrom, Run};
use jit_core::clock::Now;
use jit_core::grant::SignedGrant;
use jit_core::names::RoleName;
use jit_core::places::PAM_SERVICES;
use jit_core::policy::{Lecture, Options, Role, TimestampType};
use sys::sanitize::Inherited;

/// The PAM service of `-i`.
const LOGIN_SERVICE: &str = "jit-sudo-i";

/// The PAM service of everything else, unless the role names a stricter one.
pub(super) const SERVICE: &str = "jit-sudo";

/// Passes the gate, or returns why not.
pub(super) fn authorize(
    run: &Run,
    caller: Caller,
    context: &RunContext<'_>,
    console: &mut Console,
) -> Result<Authorized, Refusal> {
    let path = context.policy.settings().options.path_variable();
    let now = context.host.now()?;
    let disclosure = Disclosure { host: context.host, policy: context.policy, now: &now };
    let mut unsaid = None;
    let reveal = |hidden: Box<Hidden>, caller: &Caller, run_as: &RunAs| {
        unsaid = Some(HiddenCommand::of(&hidden, caller, run_as));
        disclosure.reveal::<Refusal>(hidden, caller, run_as)
    };
    let elevation = Elevation::resolve(run, caller, &path, context.inherited, console, reveal);
    let authorized = elevation.and_then(|elevation| decide(elevation, run, context, &now, console));
    // A caller who may not run the command now gets the same message whether it exists or not, for whatever reason.
    match (authorized, unsaid) {
        (Err(refusal), Some(command)) if refusal.tells_of_command() => Err(Refusal::Hidden(Box::new(command))),
        (authorized, _) => authorized,
    }
}

/// Judges the elevation in one state of the database, and leads it to the gate.
fn decide(
    elevation: Elevation,
    run: &Run,
    context: &RunContext<'_>,
    now: &Now,
    console: &mut Console,
) -> Result<Authorized, Refusal> {
    elevation.caller().named_groups()?; // a name service may not answer, so it is asked before the database is read
    let reading = context.host.database().reading(console);
    // By the wall clock: a caller whose grant has expired only by the journal's time is told about the clock.
    let wall = now.moment().wall.seconds();
    let (roles, grants) = context.host.store().held(elevation.caller().person(), wall)?;
    let named = run.activation.role.as_ref();
    let among = named.map_or(Among::All(&roles), Among::Only);
    let first = FirstRoles::read(elevation.caller(), context.policy, among)?;
    let console = reading.close();
    let judgement = first.judge(elevation, context.policy, among).map_err(|error| match named {
        Some(named) => other_role(error, named, context),
        None => error.into(),
    })?;

    match judgement {
        Judgement::Standing(standing) => {
            let proof = authenticate(standing.role(), standing.elevation(), &run.asking, context, console)?;
            Ok(Authorized::by_standing(*standing, proof)?)
        }
        Judgement::Eligible(eligible) => {
            let found = find_grant(*eligible, grants, context, now);
            let grant = match found {
                Err(Refusal::NoGrant(refused)) if !refused.eligible.elevation().command().is_hidden() => {
                    let eligible = offer::activate(*refused, run, context, console)?;
                    let now = context.host.now()?;
                    let holder = eligible.elevation().caller().person();
                    let candidates = context.host.store().candidates(holder, now.seconds())?;
                    find_grant(eligible, candidates, context, &now)?
                }
                found => found?,
            };
            let proof = authenticate(grant.role(), grant.elevation(), &run.asking, context, console)?;
            Ok(Authorized::by_grant(grant, proof, &context.host.now()?)?)
        }
    }
}

/// Names the roles that would serve to a caller who named one that does not.
fn other_role(error: JudgeError, named: &RoleName, context: &RunContext<'_>) -> Refusal {
    let JudgeError::NotAllowed(not) = error else { return error.into() };
    let roles = match judge(not.elevation, context.policy, Among::All(&[])) {
        Ok(Judgement::Standing(standing)) => vec![standing.role().name.clone()],
        Ok(Judgement::Eligible(eligible)) => eligible.roles().iter().map(|role| role.name.clone()).collect(),
        Err(error) => return error.into(),
    };
    Refusal::OtherRole(named.clone(), roles)
}

fn find_grant(
    eligible: Eligible,
    candidates: Vec<SignedGrant>,
    context: &RunContext<'_>,
    now: &Now,
) -> Result<VerifiedGrant, Refusal> {
    let known = context.host.knowledge(eligible.roles(), eligible.elevation().caller().person(), now)?;
    verify(candidates, eligible, &known.facts(now)).map_err(Refusal::NoGrant)
}

fn authenticate(
    role: &Role,
    elevation: &Elevation,
    asking: &Asking,
    context: &RunContext<'_>,
    console: &mut Console,
) -> Result<Authenticated, Refusal> {
    // Options that are not permitted are denied before a password is asked for; the gate checks them again.
    let _ = RunOptions::of(role, elevation)?;
    let options = &role.options;
    let own = role.pam_service.as_deref();
    let service = match elevation.wish().login {
        true => options.pam_login_service.as_deref().or(own).unwrap_or(LOGIN_SERVICE),
        false => own.unwrap_or(SERVICE),
    };
    let target = elevation.run_as().name().as_str();
    let auth_request = AuthRequest {
        service,
        remembered_as: own.unwrap_or(SERVICE),
        password_due: password_due(role, elevation),
        password_of: match (options.rootpw, options.targetpw) {
            (true, _) => "root",
            (false, true) => target,
            (false, false) => elevation.caller().name().as_str(),
        },
        target,
        options,
    };
    prove(&auth_request, elevation.caller(), asking, context, console)
}

/// What the caller is authenticated for.
pub(super) struct AuthRequest<'a> {
    /// The PAM service.
    pub(super) service: &'a str,
    /// The service under which it is cached: -i is no stricter than a command.
    pub(super) remembered_as: &'a str,
    pub(super) password_due: bool,
    /// The user whose password is asked for.
    pub(super) password_of: &'a str,
    /// The run-as user, for the prompt.
    pub(super) target: &'a str,
    /// How the password is asked for and cached.
    pub(super) options: &'a Options,
}

/// Authenticates the caller.
pub(super) fn prove(
    auth_request: &AuthRequest<'_>,
    caller: &Caller,
    asking: &Asking,
    context: &RunContext<'_>,
    console: &mut Console,
) -> Result<Authenticated, Refusal> {
    let options = auth_request.options;
    let remembered_for = Duration::from(options.timestamp_timeout);
    let cache = CredentialCache::new(context.host.database().connection(), remembered_for);
    // Where no password is required, nothing is cached either.
    let key = if auth_request.password_due { cache_key(auth_request, caller) } else { None };
    let source = password_source(asking, caller, context.inherited)?;
    let lecture = lecture(auth_request, caller, asking, context);
    let is_lectured = lecture.is_some();
    let demand = Demand {
        service: auth_request.service,
        services: Path::new(PAM_SERVICES),
        user: caller.name().as_str(),
        password_of: auth_request.password_of,
        uid: caller.uid(),
        tty: caller.tty().and_then(|tty| tty.name.to_str()),
        password_due: auth_request.password_due,
        non_interactive: asking.non_interactive,
        source,
        prompt: prompt(asking, caller, auth_request, &context.inherited.environment),
        replaces: if options.passprompt_override { Replaces::EveryPrompt } else { Replaces::PlainPrompts },
        lecture,
        badpass_message: &options.badpass_message,
        tries: options.passwd_tries,
        timeout: options.passwd_timeout.positive().map(Duration::from),
        cache: key.map(|key| (&cache, key)),
        use_cache: !asking.ignore_cache,
        remember: !asking.no_update && !asking.ignore_cache,
    };
    let proof = Authenticated::prove(demand, &context.host.clocks()?, console)?;
    if is_lectured && matches!(proof.how(), AuthMethod::Password | AuthMethod::Unasked) {
        context.host.note_lecture(caller.person());
    }
    Ok(proof)
}

/// An authentication by another user's password is cached separately from one by the caller's own.
fn cache_key(auth_request: &AuthRequest<'_>, caller: &Caller) -> Option<CacheKey> {
    let cache_scope = match auth_request.options.timestamp_type {
        TimestampType::Tty => CacheScope::Terminal,
        TimestampType::Ppid => CacheScope::Parent,
        TimestampType::Global => CacheScope::Caller,
    };
    if auth_request.password_of == caller.name().as_str() {
        CacheKey::of(caller, auth_request.remembered_as, cache_scope)
    } else {
        CacheKey::of(caller, &format!("{} of {}", auth_request.remembered_as, auth_request.password_of), cache_scope)
    }
}

/// Returns the text shown before a password is asked for; none with -S, -A, -n or without a terminal, where programs read.
fn lecture(
    auth_request: &AuthRequest<'_>,
    caller: &Caller,
    asking: &Asking,
    context: &RunContext<'_>,
) -> Option<String> {
    let options = auth_request.options;
    let is_due = match options.lecture {
        Lecture::Never => false,
        Lecture::Once => !context.host.was_lectured(caller.person()),
        Lecture::Always => true,
    };
    let is_heard = caller.tty().is_some() && asking.password_from == PasswordFrom::Terminal && !asking.non_interactive;
    (is_due && is_heard && auth_request.password_due).then(|| context.host.lecture(options.lecture_file.as_deref()))
}

fn password_source(asking: &Asking, caller: &Caller, inherited: &Inherited) -> Result<Source, Refusal> {
    match asking.password_from {
        PasswordFrom::Terminal => Ok(Source::Terminal),
        PasswordFrom::Stdin => Ok(Source::StandardInput),
        PasswordFrom::Askpass => {
            let program = variable(&inherited.environment, b"SUDO_ASKPASS=").filter(|program| !program.is_empty());
            let program = program.ok_or(Refusal::Auth(AuthError::NoAskpass))?.to_owned();
            Ok(Source::Askpass(Box::new(Askpass::new(program, credentials_of_caller(caller), inherited))))
        }
    }
}

/// Returns the expanded prompt: -p, `SUDO_PROMPT`, or the policy's.
fn prompt(asking: &Asking, caller: &Caller, auth_request: &AuthRequest<'_>, environment: &[OsString]) -> OsString {
    let words = PromptWords {
        user: caller.name().as_str(),
        target: auth_request.target,
        password_of: auth_request.password_of,
        host: caller.host(),
    };
    let template = asking
        .prompt
        .as_deref()
        .or_else(|| variable(environment, b"SUDO_PROMPT="))
        .unwrap_or(OsStr::new(&auth_request.options.passprompt));
    let expanded = expand(template, &words);
    if asking.bell && asking.password_from == PasswordFrom::Terminal {
        let mut rung = OsString::from("\x07");
        rung.push(expanded);
        return rung;
    }
    expanded
}

fn variable<'e>(environment: &'e [OsString], prefix: &[u8]) -> Option<&'e OsStr> {
    environment.iter().find_map(|entry| entry.as_bytes().strip_prefix(prefix)).map(OsStr::from_bytes)
}
