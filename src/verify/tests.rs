//! Tests of verification: every fault that a stored grant may have is tried on a real elevation of the root account.

mod bit_flips;
mod random_policies;

use super::exact::{Differs, command_terms};
use super::{Facts, GrantFault, HeldRole, VerifiedGrant, verify, window};
use crate::elevation::{Caller, Command, Elevation, RunAs};
use crate::judge::Eligible;
use jit_core::cli::EnvironmentWish;
use jit_core::clock::duration::Seconds;
use jit_core::clock::{BootTime, Moment, Now, Timestamp};
use jit_core::escape::{Word, hex};
use jit_core::grant::extension::extends;
use jit_core::grant::lifecycle::{Decided, grant_terms};
use jit_core::grant::sshsig::{Namespace, SignatureFault};
use jit_core::grant::terms::{Extensions, Flag, RequestTerms, VERSION, decode, encode};
use jit_core::grant::{
    CommandTerms, GrantTerms, HostDescriptor, HostId, HostKey, HostPublicKey, SignedGrant, TermsFault,
};
use jit_core::names::{GrantId, RoleName, UserName};
use jit_core::policy::{Policy, PolicyText, Role, RolePower};

const NOW: i64 = 1_800_000_000;

fn host() -> HostKey {
    HostKey::from_seed([1; 32])
}

fn id() -> HostId {
    HostDescriptor::of(&host(), "web1", "machine").host_id().unwrap()
}

fn moment(seconds: i64) -> Moment {
    Moment { wall: Timestamp::from_seconds(seconds), boot: BootTime(seconds * 1_000_000), boot_id: "this boot".into() }
}

fn role() -> Role {
    let text = "[roles.ops]\neligible = [\"root\"]\ncommands = [\"/usr/bin/env **\"]\n".to_owned();
    let policy = Policy::parse(&[PolicyText { path: "policy.toml".into(), text }]).unwrap();
    policy.roles()[0].clone()
}

fn elevation(words: &[&str]) -> Elevation {
    let caller = Caller::described(sys::users::account_by_uid(0).unwrap().unwrap()).unwrap();
    let run_as = RunAs::resolve(None, None, &caller).unwrap();
    let words: Vec<_> = words.iter().map(Into::into).collect();
    let command = Command::find(&words, "/usr/bin:/bin", &caller).unwrap();
    Elevation::question(caller, run_as, command, None, EnvironmentWish::default())
}

fn eligible() -> Eligible {
    Eligible::for_tests(elevation(&["env", "true"]), vec![role()])
}

fn terms() -> GrantTerms {
    let elevation = elevation(&["env", "true"]);
    GrantTerms {
        approvals: Vec::new(),
        approvers: Vec::new(),
        boot_deadline: (NOW + 3600) * 1_000_000,
        boot_id: "this boot".into(),
        break_glass: Flag::No,
        command: Some(command_terms(&elevation, &role()).unwrap()),
        critical: Vec::new(),
        exact: Flag::No,
        expires: NOW + 3600,
        extends: None,
        extensions: Extensions::new(),
        host: id().as_str().into(),
        id: GrantId::parse("0123456789").unwrap(),
        issued: NOW,
        one_shot: Flag::No,
        request: hex(&[0; 32]),
        role: RoleName::parse("ops").unwrap(),
        role_digest: role().digest,
        run_as: UserName::parse("root").unwrap(),
        starts: NOW,
        this_boot: Flag::No,
        uid: 0,
        user: UserName::parse("root").unwrap(),
        version: VERSION,
    }
}

/// Returns the verdict on one candidate at [`NOW`], with the journal at the same time.
/// What the host knows where nothing has changed since the approval.
fn facts<'a>(key: &'a HostPublicKey, host: &'a HostId, now: &'a Now) -> Facts<'a> {
    Facts { key, host, now, vouchers: None, approved: &|_| None, ended: &|_| false, clock_is_kept: &|| true }
}

fn verdict(signed: SignedGrant) -> Result<(), GrantFault> {
    verdict_at(signed, &moment(NOW), Some(NOW))
}

fn verdict_at(signed: SignedGrant, moment: &Moment, high_water: Option<i64>) -> Result<(), GrantFault> {
    verdict_by(signed, moment, high_water, true)
}

fn verdict_by(
    signed: SignedGrant,
    moment: &Moment,
    high_water: Option<i64>,
    clock_is_kept: bool,
) -> Result<(), GrantFault> {
    let (key, id) = (host(), id());
    let now = Now::of(moment.clone(), high_water.map(Timestamp::from_seconds));
    let facts = Facts { clock_is_kept: &|| clock_is_kept, ..facts(&key, &id, &now) };
    match verify(vec![signed], eligible(), &facts) {
        Ok(_) => Ok(()),
        Err(refused) => Err(refused.faults[0].1.clone()),
    }
}

fn issue(change: impl FnOnce(&mut GrantTerms)) -> SignedGrant {
    let mut terms = terms();
    change(&mut terms);
    SignedGrant::issue(&terms, &host()).unwrap()
}

#[test]
fn a_grant_issued_while_the_clock_is_behind_the_journal_serves_until_the_next_boot() {
    let grant = terms();
    let request = RequestTerms {
        break_glass: Flag::No,
        command: grant.command,
        created: NOW,
        critical: Vec::new(),
        deadline: NOW + 60,
        duration: Seconds(3600),
        exact: Flag::No,
        extends: None,
        extensions: Extensions::new(),
        host: HostDescriptor::of(&host(), "web1", "machine"),
        id: grant.id,
        needed: 0,
        one_shot: Flag::No,
        reason: Word::default(),
        role: grant.role,
        role_digest: grant.role_digest,
        run_as: grant.run_as,
        start: 0,
        ticket: Word::default(),
        uid: 0,
        user: grant.user,
        version: VERSION,
    };
    let decided = Decided {
        request: &request,
        request_bytes: b"{}",
        approvals: &[],
        not_counted: &[],
        superseded: &[],
        role_one_shot: false,
        role_exact: false,
        maximum_duration: Seconds(3600),
        policy: None,
        role_sha256: None,
    };
    let signed = |behind: i64| {
        let now = Now::of(moment(NOW), Some(Timestamp::from_seconds(NOW + behind)));
        grant_terms(&decided, &id(), &now)
    };
    assert_eq!((signed(60).this_boot, signed(61).this_boot), (Flag::No, Flag::Yes));
    let other = Moment { boot_id: "another boot".into(), ..moment(NOW) };
    for (this_boot, boot, served) in [
        (Flag::Yes, moment(NOW), Ok(())),
        (Flag::No, other.clone(), Ok(())),
        (Flag::Yes, other, Err(GrantFault::OtherBoot)),
    ] {
        let grant = issue(|terms| terms.this_boot = this_boot);
        assert_eq!(verdict_at(grant, &boot, Some(NOW)), served, "{this_boot:?}");
    }
}

#[test]
fn a_proper_grant_holds() {
    assert_eq!(verdict(issue(|_| {})), Ok(()));
    assert_eq!(verdict(issue(|terms| terms.exact = Flag::Yes)), Ok(()));
}

#[test]
fn the_nearest_of_several_grants_that_do_not_serve_is_reported() {
    let exact = |id: &str, change: fn(&mut CommandTerms)| {
        issue(|terms| {
            terms.id = GrantId::parse(id).unwrap();
            terms.exact = Flag::Yes;
            change(terms.command.as_mut().unwrap());
        })
    };
    let another = || exact("aaaaaaaaaa", |command| command.argv.push(Word::from("more")));
    let elsewhere = || exact("bbbbbbbbbb", |command| command.cwd = Word::from("/elsewhere"));
    let told = |grants: Vec<SignedGrant>| {
        let (key, id, at) = (host(), id(), Now::of(moment(NOW), None));
        let facts = facts(&key, &id, &at);
        verify(grants, eligible(), &facts).err().and_then(|refused| refused.nearest())
    };
    let here = std::env::current_dir().unwrap();
    let sentence = format!("grant bbbbbbbbbb serves this command in /elsewhere, and you are in {}", here.display());
    assert_eq!(told(vec![another(), elsewhere()]).as_ref(), Some(&sentence));
    assert_eq!(told(vec![elsewhere(), another()]).as_ref(), Some(&sentence));
    let sentence = "grant aaaaaaaaaa serves exactly one command, and this is another";
    assert_eq!(told(vec![another()]).as_deref(), Some(sentence));
    assert_eq!(told(vec![issue(|terms| terms.role = RoleName::parse("other").unwrap())]), None);
}

#[test]
fn terms_for_another_user_host_or_role_are_rejected() {
    let other_host = HostDescriptor::of(&host(), "web1", "another machine").host_id().unwrap();
    assert_eq!(verdict(issue(|terms| terms.host = other_host.as_str().into())), Err(GrantFault::OtherHost));
    assert_eq!(verdict(issue(|terms| terms.uid = 1000)), Err(GrantFault::OtherHolder));
    let alice = UserName::parse("alice").unwrap();
    assert_eq!(verdict(issue(|terms| terms.user = alice)), Err(GrantFault::OtherHolder));
    let role = RoleName::parse("other").unwrap();
    assert_eq!(verdict(issue(|terms| terms.role = role)), Err(GrantFault::OtherRole));
    let version = |number| verdict(issue(|terms| terms.version = number));
    assert_eq!(version(0), Err(GrantFault::Terms(TermsFault::Malformed)));
    assert_eq!(version(1), Err(GrantFault::Terms(TermsFault::Earlier)));
    assert_eq!(version(3), Err(GrantFault::Terms(TermsFault::Later)));
}

#[test]
fn an_exact_grant_serves_one_command_one_binary_one_target() {
    let exact = |change: fn(&mut GrantTerms)| {
        verdict(issue(|terms| {
            terms.exact = Flag::Yes;
            change(terms);
        }))
    };
    let command = |change: fn(&mut CommandTerms)| {
        verdict(issue(|terms| {
            terms.exact = Flag::Yes;
            change(terms.command.as_mut().unwrap());
        }))
    };
    let other = |differs| Err(GrantFault::OtherCommand(differs));
    assert_eq!(exact(|_| {}), Ok(()));
    assert_eq!(command(|command| command.argv.push(Word::from("more"))), other(Differs::Words));
    assert_eq!(command(|command| command.argv.clear()), Err(GrantFault::Terms(TermsFault::Malformed)));
    assert_eq!(command(|command| command.program = hex(&[7; 32])), other(Differs::Program));
    assert_eq!(command(|command| command.program.clear()), other(Differs::Program));
    let here = Word::from(std::env::current_dir().unwrap().as_os_str());
    let directory = Differs::Directory(Word::from("/elsewhere"), Some(here));
    assert_eq!(command(|command| command.cwd = Word::from("/elsewhere")), other(directory));
    let named = command(|command| command.environment.push(Word::from("LD_PRELOAD=/x.so")));
    assert_eq!(named, other(Differs::Environment(vec![Word::from("LD_PRELOAD=/x.so")])));
    assert_eq!(command(|command| command.path = Word::from("/usr/bin/false")), other(Differs::Program));
    let ids: [fn(&mut CommandTerms); 3] = [
        |command| command.run_as_uid = 1,
        |command| command.run_as_gid = 1,
        |command| command.run_as_groups.push(4242),
    ];
    for change in ids {
        assert_eq!(command(change), other(Differs::Ids));
    }
    assert_eq!(exact(|terms| terms.command = None), other(Differs::Words));
    let daemon = UserName::parse("daemon").unwrap();
    let named = exact(|terms| terms.run_as = UserName::parse("daemon").unwrap());
    assert_eq!(named, other(Differs::User(daemon)));
}

#[test]
fn a_grant_of_another_key_is_refused() {
    let signed = SignedGrant::issue(&terms(), &HostKey::from_seed([2; 32])).unwrap();
    assert_eq!(verdict(signed), Err(GrantFault::Signature(SignatureFault::WrongKey)));
}

#[test]
fn a_signature_for_another_purpose_is_rejected() {
    let bytes = encode(&terms()).unwrap();
    let signature = host().sign(Namespace::Checkpoint, &bytes);
    let signed = SignedGrant::from_stored(bytes, signature);
    assert_eq!(verdict(signed), Err(GrantFault::Signature(SignatureFault::WrongNamespace)));
}

#[test]
fn every_flipped_bit_of_the_terms_is_refused() {
    let good = issue(|_| {});
    for bit in 0..good.bytes().len() * 8 {
        let mut bytes = good.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let signed = SignedGrant::from_stored(bytes, good.signature().to_vec());
        assert!(verdict(signed).is_err(), "bit {bit}");
    }
}

#[test]
fn bytes_that_are_not_canonical_are_rejected() {
    let good = String::from_utf8(encode(&terms()).unwrap()).unwrap();
    assert!(decode::<GrantTerms>(good.as_bytes()).is_ok());
    for bad in [
        good.replace(":2}", ": 2}"),
        good.replace("\"one_shot\":0", "\"one_shot\":2"),
        good.replace("\"uid\":0", "\"uid\":-1"),
        good.replace("{\"approvals\"", "{\"more\":1,\"approvals\""),
        good.replace("\"uid\":0", "\"uid\":0,\"uid\":0"),
        format!("{good} "),
        String::new(),
    ] {
        assert_eq!(decode::<GrantTerms>(bad.as_bytes()), Err(TermsFault::Malformed), "{bad}");
    }
}

#[test]
fn the_time_window_is_checked_by_every_clock() {
    let at = |seconds| verdict_at(issue(|_| {}), &moment(seconds), Some(NOW));
    assert_eq!(at(NOW + 3599), Ok(()));
    assert_eq!(at(NOW + 3600), Err(GrantFault::Expired));
    let scheduled = issue(|terms| terms.starts = NOW + 60);
    assert_eq!(verdict(scheduled), Err(GrantFault::NotYet));
}

#[test]
fn a_clock_set_back_gains_nothing() {
    // The journal has recorded a time after the end: the wall clock does not matter.
    let back = Moment { boot: BootTime((NOW + 10) * 1_000_000), ..moment(0) };
    assert_eq!(verdict_at(issue(|_| {}), &back, Some(NOW + 3600)), Err(GrantFault::Expired));
    // Nothing was recorded since then, but the boot clock has advanced.
    let back = Moment { boot: BootTime((NOW + 3600) * 1_000_000), ..moment(NOW) };
    assert_eq!(verdict_at(issue(|_| {}), &back, Some(NOW)), Err(GrantFault::Expired));
}

#[test]
fn after_a_reboot_no_grant_serves_while_the_clock_is_behind_the_journal() {
    let rebooted = |seconds| Moment { boot_id: "next boot".into(), boot: BootTime(0), ..moment(seconds) };
    assert_eq!(verdict_at(issue(|_| {}), &rebooted(NOW + 5), Some(NOW)), Ok(()));
    assert_eq!(verdict_at(issue(|_| {}), &rebooted(0), Some(NOW)), Err(GrantFault::ClockSetBack));
    assert_eq!(verdict_at(issue(|_| {}), &rebooted(NOW + 3600), Some(NOW)), Err(GrantFault::Expired));
}

#[test]
fn without_a_clock_that_runs_while_the_host_is_off_a_grant_ends_at_the_boot() {
    let rebooted = Moment { boot_id: "next boot".into(), boot: BootTime(0), ..moment(NOW + 5) };
    assert_eq!(verdict_by(issue(|_| {}), &rebooted, Some(NOW), true), Ok(()));
    assert_eq!(verdict_by(issue(|_| {}), &rebooted, Some(NOW), false), Err(GrantFault::TimeUnknown));
    assert_eq!(verdict_by(issue(|_| {}), &moment(NOW + 5), Some(NOW), false), Ok(()), "the same boot");
}

#[test]
fn the_narrowest_grant_is_used() {
    let wide = issue(|terms| terms.id = GrantId::parse("wwwwwwwwww").unwrap());
    let exact = issue(|terms| {
        terms.id = GrantId::parse("eeeeeeeeee").unwrap();
        terms.exact = Flag::Yes;
    });
    let expired = issue(|terms| {
        terms.exact = Flag::Yes;
        terms.expires = NOW;
    });
    let (key, id, at) = (host(), id(), Now::of(moment(NOW), None));
    let facts = facts(&key, &id, &at);
    let Ok(grant) = verify(vec![wide, expired, exact], eligible(), &facts) else { panic!("refused") };
    assert_eq!(grant.terms().id.as_str(), "eeeeeeeeee");
    assert_eq!(
        window(grant.terms(), &Now::of(Moment { wall: Timestamp::from_seconds(NOW + 3600), ..moment(NOW) }, None)),
        Err(GrantFault::Expired)
    );
}

/// Returns an extension of [`terms`], modified by `change`.
fn extension(change: impl FnOnce(&mut GrantTerms)) -> SignedGrant {
    issue(|terms| {
        terms.extends = Some(terms.id.clone());
        terms.id = GrantId::parse("xxxxxxxxxx").unwrap();
        (terms.starts, terms.expires) = (NOW + 3600, NOW + 7200);
        change(terms);
    })
}

#[test]
fn an_extension_is_signed_for_its_grant_and_nothing_wider() {
    let old = terms();
    let good = |signed: &SignedGrant| extends(signed, &old, &host()).is_some();
    assert!(good(&extension(|_| {})));
    assert!(good(&extension(|terms| (terms.exact, terms.one_shot) = (Flag::Yes, Flag::Yes))));
    let wrong: [fn(&mut GrantTerms); 10] = [
        |terms| terms.extends = None,
        |terms| terms.extends = Some(GrantId::parse("yyyyyyyyyy").unwrap()),
        |terms| terms.host = "other".into(),
        |terms| terms.uid = 1,
        |terms| terms.role = RoleName::parse("other").unwrap(),
        |terms| terms.run_as = UserName::parse("other").unwrap(),
        |terms| terms.command = None,
        |terms| terms.role_digest.clear(),
        |terms| terms.version = 1,
        |terms| terms.expires = NOW + 3600,
    ];
    for (number, change) in wrong.into_iter().enumerate() {
        assert!(!good(&extension(change)), "{number}");
    }
    assert!(extends(&extension(|_| {}), &old, &HostKey::from_seed([2; 32])).is_none());
    let narrow = GrantTerms { exact: Flag::Yes, one_shot: Flag::Yes, ..old };
    assert!(extends(&extension(|_| {}), &narrow, &host()).is_none());
}

#[test]
fn an_extension_of_a_one_shot_grant_serves_no_new_run() {
    let begun = |terms: &mut GrantTerms| terms.starts = NOW;
    assert_eq!(verdict(extension(begun)), Ok(()));
    let one_shot = extension(|terms| (terms.starts, terms.one_shot) = (NOW, Flag::Yes));
    assert_eq!(verdict(one_shot), Err(GrantFault::OnlyExtends));
}

#[test]
fn a_grant_that_extends_nothing_is_encoded_as_before() {
    let bytes = encode(&terms()).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("extends"));
    let null = String::from_utf8_lossy(&bytes).replace("\"extensions\"", "\"extends\":null,\"extensions\"");
    assert!(decode::<GrantTerms>(null.as_bytes()).is_err(), "one grant has one form");
    let set = encode(&GrantTerms { extends: Some(terms().id), ..terms() }).unwrap();
    assert_eq!(decode::<GrantTerms>(&set).unwrap().extends, Some(terms().id));
}

#[test]
fn an_extension_is_ignored_unless_it_is_critical() {
    let extended = |critical: &[&str]| {
        issue(|terms| {
            terms.extensions.insert("colour".into(), "red".into());
            terms.critical = critical.iter().map(|key| (*key).to_owned()).collect();
        })
    };
    assert_eq!(verdict(extended(&[])), Ok(()));
    assert_eq!(verdict(extended(&["colour"])), Err(GrantFault::Terms(TermsFault::Critical("colour".into()))));
    assert_eq!(verdict(extended(&["shape"])), Err(GrantFault::Terms(TermsFault::Malformed)));
}

/// Returns the role of a policy with these commands.
fn role_of(commands: &str) -> Role {
    let text = format!("[roles.ops]\neligible = [\"root\"]\ncommands = {commands}\n");
    Policy::parse(&[PolicyText { path: "policy.toml".into(), text }]).unwrap().roles()[0].clone()
}

/// Returns the verdict on a grant of a role that was `then` when it was approved and is `now` now.
fn changed(then: &Role, now: &Role, stored: Option<&Role>) -> Result<Role, GrantFault> {
    let (key, id, at) = (host(), id(), Now::of(moment(NOW), None));
    let approved = |digest: &str| stored.map(RolePower::of).filter(|_| digest == then.digest);
    let facts = Facts { approved: &approved, ..facts(&key, &id, &at) };
    let signed = issue(|terms| terms.role_digest.clone_from(&then.digest));
    let eligible = Eligible::for_tests(elevation(&["env", "true"]), vec![now.clone()]);
    match verify(vec![signed], eligible, &facts) {
        Ok(grant) => Ok(grant.role().clone()),
        Err(refused) => Err(refused.faults[0].1.clone()),
    }
}

#[test]
fn a_widened_role_widens_no_grant() {
    let (narrow, wide) = (role_of("[\"/usr/bin/id **\"]"), role_of("\"ALL\""));
    assert_eq!(changed(&narrow, &wide, Some(&narrow)), Err(GrantFault::RoleWidened));
    assert_eq!(changed(&narrow, &wide, None), Err(GrantFault::RoleReplaced));
    // The role that covers the command is still narrower than the present one.
    let env = role_of("[\"/usr/bin/env **\"]");
    let left = changed(&env, &wide, Some(&env)).unwrap();
    assert!(!left.allows_everything() && !left.lets_set_variables());
    assert!(changed(&wide, &wide, None).unwrap().allows_everything());
}

#[test]
fn a_role_with_nothing_in_common_replaces_what_was_approved() {
    let path = |path: &str| role_of(&format!("\"ALL\"\nsecure_path = \"{path}\""));
    let (then, now) = (path("/opt/bin"), path("/usr/bin"));
    assert_eq!(changed(&then, &now, Some(&then)), Err(GrantFault::RoleReplaced));
}

#[test]
fn a_role_is_held_only_where_it_counts_now_and_did_when_it_was_approved() {
    let holder = Caller::described(sys::users::account_by_uid(0).unwrap().unwrap()).unwrap();
    let (everywhere, elsewhere) = (role_of("\"ALL\""), role_of("\"ALL\"\nhosts = [\"another-host\"]"));
    let held = |then: &Role, now: &Role| {
        let (key, id, at) = (host(), id(), Now::of(moment(NOW), None));
        let approved = |_: &str| Some(RolePower::of(then));
        let facts = Facts { approved: &approved, ..facts(&key, &id, &at) };
        let signed = issue(|terms| terms.role_digest.clone_from(&then.digest));
        HeldRole::find(&[signed], &holder, std::slice::from_ref(now), &facts).is_some()
    };
    assert!(held(&everywhere, &everywhere));
    for (then, now) in [(&elsewhere, &everywhere), (&everywhere, &elsewhere), (&elsewhere, &elsewhere)] {
        assert!(!held(then, now));
    }
}
