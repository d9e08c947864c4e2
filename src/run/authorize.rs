//! From the words to the gate: judgement, grant (or the offer to ask for one), authentication.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::auth::cache::{CacheKey, CredentialCache};
use crate::auth::prompt::{DEFAULT_PROMPT, PromptWords, Source, expand};
use crate::auth::{Authenticated, Demand};
use crate::authorized::{Authorized, password_due};
use crate::cli::{Common, PasswordFrom, Run};
use crate::elevation::{Caller, Elevation};
use crate::grant::VerifiedGrant;
use crate::grant::verify::{Facts, verify};
use crate::policy::judge::{Eligible, Judgement, judge};
use crate::policy::Role;
use crate::refusal::Refusal;
use crate::run::{Scene, offer};

/// The service of `-i`.
const LOGIN_SERVICE: &str = "jit-sudo-i";

/// The service of everything else, unless the role names a stricter one.
pub(super) const SERVICE: &str = "jit-sudo";

/// Passes the gate, or says why not.
pub(super) fn authorize(run: Run, caller: Caller, scene: &Scene<'_>) -> Result<Authorized, Refusal> {
    let common = run.common.clone();
    let wish = run.activation.clone();
    let settings = scene.policy.settings();
    let elevation = Elevation::resolve(run, caller, &settings.secure_path, scene.inherited)?;
    let now = scene.host.now()?.wall.seconds();
    let held = scene.host.store().candidate_roles(elevation.caller().uid(), now)?;

    match judge(elevation, scene.policy, &held)? {
        Judgement::Standing(standing) => {
            let proof = authenticate(standing.role(), standing.elevation(), &common, scene)?;
            Ok(Authorized::by_standing(standing, proof)?)
        }
        Judgement::Eligible(eligible) => {
            let grant = match find_grant(eligible, scene) {
                Err(Refusal::NoGrant(refused)) => {
                    let eligible = offer::activate(*refused, &wish, &common, scene)?;
                    find_grant(eligible, scene)?
                }
                found => found?,
            };
            let proof = authenticate(grant.role(), grant.elevation(), &common, scene)?;
            Ok(Authorized::by_grant(grant, proof, &scene.host.now()?, scene.journal.high_water()?)?)
        }
    }
}

fn find_grant(eligible: Eligible, scene: &Scene<'_>) -> Result<VerifiedGrant, Refusal> {
    let moment = scene.host.now()?;
    let candidates = scene.host.store().candidates(eligible.elevation().caller().uid(), moment.wall.seconds())?;
    let identity = scene.host.identity()?;
    let facts = Facts {
        key: &identity.key,
        host: &identity.id,
        moment: &moment,
        high_water: scene.journal.high_water()?,
    };
    verify(candidates, eligible, &facts).map_err(Refusal::NoGrant)
}

fn authenticate(
    role: &Role,
    elevation: &Elevation,
    common: &Common,
    scene: &Scene<'_>,
) -> Result<Authenticated, Refusal> {
    let settings = scene.policy.settings();
    let caller = elevation.caller();
    let service = if elevation.wish().login && role.pam_service == SERVICE { LOGIN_SERVICE } else { &role.pam_service };
    let cache = CredentialCache::new(scene.host.database().connection(), settings.timestamp_timeout);
    let key = CacheKey::of(caller, &role.pam_service).filter(|_| !common.ignore_cache);
    let demand = Demand {
        service,
        user: caller.name().as_str(),
        uid: caller.uid(),
        tty: caller.tty().and_then(|tty| tty.name.to_str()),
        password_due: password_due(role, elevation),
        non_interactive: common.non_interactive,
        source: password_source(common)?,
        prompt: prompt(common, elevation, &scene.inherited.environment),
        tries: settings.passwd_tries,
        timeout: Some(settings.passwd_timeout).filter(|timeout| !timeout.is_zero()),
        cache: key.map(|key| (&cache, key)),
        remember: !common.no_update,
    };
    Ok(Authenticated::prove(demand, &scene.host.now()?)?)
}

pub(super) fn password_source(common: &Common) -> Result<Source, Refusal> {
    match common.password_from {
        PasswordFrom::Terminal => Ok(Source::Terminal),
        PasswordFrom::Stdin => Ok(Source::StandardInput),
        PasswordFrom::Askpass => Err(Refusal::NotBuilt("the option -A is not supported yet")),
    }
}

/// -p, `SUDO_PROMPT`, or the default; expanded.
fn prompt(common: &Common, elevation: &Elevation, environment: &[OsString]) -> OsString {
    let caller = elevation.caller();
    let words = PromptWords {
        user: caller.name().as_str(),
        target: elevation.run_as().name().as_str(),
        password_of: caller.name().as_str(),
        host: caller.host(),
    };
    let from_environment =
        || environment.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"SUDO_PROMPT=")).map(OsStr::from_bytes);
    let template = common.prompt.as_deref().or_else(from_environment).unwrap_or(OsStr::new(DEFAULT_PROMPT));
    expand(template, &words)
}
