//! The only door from the unprivileged tools to the grant database: one question, one answer, and the table of who may
//! ask what. Who asks is what the kernel says; nothing in the question names them.

pub mod wire;

mod background;
mod consent;
mod custody;
mod decisions;
mod evidence;
mod extend;
mod failure;
pub mod forecast;
mod grants;
mod health;
mod hosted;
mod import;
mod knowledge;
mod membership;
mod page;
mod papers;
mod question;
mod questions;
mod recertify;
mod recordings;
mod requests;
mod review;
mod sessions;
mod statement;
mod sweep;
mod view;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;

use crate::audit::Journal;
use crate::elevation::Caller;
use crate::host::Host;
use crate::judge::{names, subject};
use crate::policy_index::PolicyIndex;
use crate::verify::Consent;
use crate::voice::{PAGING, Voice};
use decisions::Narrowing;
use failure::{Refused, refused, unchecked};
use jit_core::clock::Now;
use jit_core::policy::PolicyReader;
use question::turn_of;
pub use question::{Question, hear};
use sys::interruption::Patiently;
use sys::sanitize::Inherited;
use wire::{Answer, Ask, KeyInfo, Reply};

/// Everything that one answer is made from.
pub(crate) struct Desk<'a> {
    pub(crate) host: &'a Host,
    pub(crate) policy: &'a PolicyIndex<'a>,
    pub(crate) journal: &'a Journal<'a>,
    pub(crate) caller: &'a Caller,
    pub(crate) now: &'a Now,
    pub(crate) secure_path: &'a str,
    /// The ids of what a listing had to leave out, because it cannot be read.
    pub(crate) left_out: &'a RefCell<BTreeSet<String>>,
}

/// Answers one question on standard output, and returns the exit status.
pub fn serve(question: Question, inherited: &Inherited) -> i32 {
    let Some(mut voice) = Voice::of_this_process() else { return 1 };
    let mut out = Patiently::new(std::io::stdout(), PAGING);
    let mut reader = None;
    let answer = question.understood().and_then(|ask| {
        reader = reader_of(&ask, inherited);
        answer(ask, inherited, &mut voice, &mut out)
    });
    let (reply, status) = match answer {
        Ok(None) => return 0,
        Ok(Some(answer)) => (Reply::Ok(answer), 0),
        Err(refused) => {
            let failure = refused.told_to(reader.as_ref());
            let status = i32::from(failure.exit);
            (Reply::Error(failure), status)
        }
    };
    match say(&mut out, &reply) {
        Ok(()) => status,
        Err(_) => 1,
    }
}

/// Who asks, if they may read the policy. A program that asks for somebody writes what it hears into the host's log.
fn reader_of(ask: &Ask, inherited: &Inherited) -> Option<PolicyReader> {
    let logged = matches!(ask, Ask::Membership { .. } | Ask::OpenSession(_) | Ask::CloseSession { .. });
    PolicyReader::root(inherited.identity.uid()).filter(|_| !logged)
}

/// One reply on one line.
fn say(out: &mut dyn Write, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    out.write_all(&line)
}

fn understand(bytes: &[u8]) -> Result<Ask, Refused> {
    serde_json::from_slice(bytes).map_err(|error| {
        let shown = jit_core::escape::escape(error.to_string().as_bytes());
        refused("malformed", format!("the request is not understood: {shown}"))
    })
}

/// The answer; `None` when it was given on `out` already, with more behind it.
fn answer(ask: Ask, inherited: &Inherited, voice: &mut Voice, out: &mut dyn Write) -> Result<Option<Answer>, Refused> {
    let caller = Caller::identify(&inherited.identity)?;
    // The two verbs that work on a host that has nothing yet.
    match ask {
        Ask::KeyInit {} => return key_init(&caller).map(Some),
        Ask::Examine {} => return health::examine(&caller, PolicyReader::root(inherited.identity.uid())).map(Some),
        _ => {}
    }
    let _turn = turn_of(&caller)?;
    // An approver is asked before the database is opened for the answer: nobody else waits for what a person types.
    let consent = consent::obtain(&ask, &caller, voice)?;
    let host = Host::open(caller.host())?;
    // A verification changes nothing: what is added now would stand on what was perhaps tampered with.
    let only_looks = matches!(ask, Ask::AuditVerify { .. });
    let (aside, nothing);
    let policy = if only_looks {
        aside = rusqlite::Connection::open_in_memory()?;
        host.policy_aside(&aside)
    } else {
        host.policy(Some(&caller))
    };
    let policy = match policy {
        // That is the whole answer.
        Err(error) if matches!(ask, Ask::PolicyCheck {}) && error.is_of_policy() => return Err(unchecked(error)),
        Err(error) if caller.uid() == 0 && is_evidence(&ask) => {
            // A broken policy must not hide what happened, nor keep root from ending it.
            let reader = PolicyReader::root(inherited.identity.uid());
            let sentence = Refused::from(error).told_to(reader.as_ref()).message;
            voice.say(&format!("jitctl: warning: {sentence}; no role is known until it is mended\n"));
            nothing = rusqlite::Connection::open_in_memory()?;
            PolicyIndex::empty(&nothing)?
        }
        policy => policy?,
    };
    let journal = host.journal(&policy.settings().audit);
    if !only_looks {
        host.tend(&journal)?;
    }
    let now = host.now()?;
    if !only_looks {
        // What cannot be recorded now is recorded later; whoever reads the journal must not be kept from it.
        let _ = journal.tell_counted(now.moment()).map(|counted| journal.mirror(&counted));
    }
    let secure_path = policy.settings().options.path_variable();
    let left_out = RefCell::default();
    let desk = Desk {
        host: &host,
        policy: &policy,
        journal: &journal,
        caller: &caller,
        now: &now,
        secure_path: &secure_path,
        left_out: &left_out,
    };
    let answer = desk.answer(ask, consent, out);
    for id in left_out.into_inner() {
        let id = jit_core::escape::escape(id.as_bytes());
        voice.say(&format!("jitctl: warning: {id} is left out, it cannot be read; jitctl audit verify says more\n"));
    }
    if !only_looks {
        host.seal_in_time(&journal);
    }
    answer
}

impl Desk<'_> {
    /// THE TABLE: each verb, who may use it, and where it is answered.
    fn answer(&self, ask: Ask, consent: Option<Consent>, out: &mut dyn Write) -> Result<Option<Answer>, Refused> {
        let answer = match ask {
            // Anyone about themselves, root and readers about others, observers of the role while it happens.
            Ask::Recording { run, purpose } => return self.recording(&run, purpose, out).map(|()| None),
            Ask::Recordings { purpose, after } => return self.recordings(purpose, after, out).map(|()| None),
            // Root, that is a program that root or its set-user-ID bit has started.
            Ask::OpenSession(new) => return self.open_session(&new, out).map(|()| None),
            Ask::CloseSession { run } => self.close_session(&run),
            // As far as it is theirs to see; root and approvers of the role may act.
            Ask::Sessions {} => self.sessions(),
            Ask::Intervene { run, act, reason } => self.intervene(&run, act, &reason),
            // Anyone, about themselves.
            Ask::Roles {} => self.roles(),
            Ask::Request(new) => self.request(new),
            Ask::Requests { all, before } => self.requests(all, before),
            Ask::Grants { all, before } => self.grants(all, before),
            Ask::Release { id } => self.release(id.as_ref()),
            Ask::Cancel { id } => self.cancel(&id),
            Ask::KeyShow {} => self.key_show(),
            Ask::Extend { id, duration, reason } => self.extend(&id, duration, reason.as_ref()),
            // Anyone about themselves; about others root and readers.
            Ask::Why { user, command } => self.why(user.as_ref(), &command),
            Ask::AuditList { after, limit, newest, kind, user, before, filter } => {
                self.audit_list(&evidence::Listing { after, before, limit, newest, kind, user, filter })
            }
            Ask::AuditShow { what } => self.audit_show(&what),
            // Anyone who carries it: whose approval it is, its signature says.
            Ask::Import { approval, signature } => self.import(&approval, &signature),
            Ask::ImportStatement { statement, signature } => self.import_statement(&statement, &signature),
            // Who made the request, who may decide it, root and readers.
            Ask::Show { id } => self.show(&id),
            Ask::Papers { id } => self.papers(&id),
            Ask::Wait { id, seconds } => self.wait(&id, seconds),
            // Anyone about themselves; root about everybody.
            Ask::Membership { holder, role, wait } => self.membership(holder.as_ref(), role.as_ref(), wait),
            // Approvers of the role, and never the requester.
            Ask::Approve { id, duration, one_shot, exact, comment } => {
                self.approve(&id, &Narrowing { duration, one_shot, exact, comment }, consent)
            }
            Ask::Deny { id, reason } => self.deny(&id, &reason),
            // Approvers of the role, and root.
            Ask::Revoke { target, reason } => self.revoke(&target, &reason),
            // Root and readers.
            Ask::PolicyCheck {} => self.reading()?.policy_check(),
            Ask::AuditVerify { anchor, keys } => self.reading()?.audit_verify(&anchor, &keys),
            Ask::AuditExport { from, since, through } => self.reading()?.audit_export(from, since, through),
            Ask::PolicyShow { role } => self.reading()?.policy_show(role.as_ref()),
            Ask::PolicyTest { user, command } => self.reading()?.policy_test(&user, &command),
            // Root.
            Ask::KeyAccept { reason } => self.key_accept(&reason),
            Ask::AuditPrune { keep, dry_run } => self.audit_prune(keep, dry_run),
            Ask::Sweep {} => self.sweep(),
            // Approvers of the role, about others; root and readers see everything.
            Ask::ReviewDebts {} => self.review_debts(),
            Ask::ReviewSettle { id, comment } => self.review_settle(&id, &comment, consent),
            Ask::ReviewUnused { since } => self.review_unused(since),
            Ask::ReviewAssignments { role } => self.review_assignments(role.as_ref()),
            Ask::ReviewCertify { role, holder, verdict, comment } => {
                self.review_certify(&role, holder.as_deref(), verdict, &comment)
            }
            // Answered before.
            Ask::KeyInit {} => key_init(self.caller),
            Ask::Examine {} => health::examine(self.caller, None),
        };
        answer.map(Some)
    }

    /// True for root and for `[audit] readers`.
    fn is_reader(&self) -> Result<bool, Refused> {
        Ok(self.caller.uid() == 0 || names(&self.policy.settings().audit.readers, &subject(self.caller)?))
    }

    fn reading(&self) -> Result<&Self, Refused> {
        if self.is_reader()? {
            Ok(self)
        } else {
            Err(refused("not-a-reader", "only root and the readers of the policy may do this"))
        }
    }

    fn key_show(&self) -> Result<Answer, Refused> {
        let key = self.host.public_key()?;
        Ok(Answer::HostKey(KeyInfo { public_key: key.public_line(), fingerprint: key.fingerprint(), created: false }))
    }
}

/// What root may ask on a host whose policy cannot be read.
fn is_evidence(ask: &Ask) -> bool {
    matches!(
        ask,
        Ask::AuditList { .. }
            | Ask::AuditShow { .. }
            | Ask::AuditVerify { .. }
            | Ask::AuditExport { .. }
            | Ask::Grants { .. }
            | Ask::Requests { .. }
            | Ask::Show { .. }
            | Ask::Revoke { .. }
            | Ask::PolicyCheck {}
            | Ask::KeyShow {}
            | Ask::KeyAccept { .. }
            | Ask::Recording { .. }
            | Ask::Recordings { .. }
            | Ask::Sessions {}
            | Ask::Intervene { .. }
    )
}

fn key_init(caller: &Caller) -> Result<Answer, Refused> {
    if caller.uid() != 0 {
        return Err(refused("not-root", "only root may make the host key"));
    }
    let created = Host::set_up()?;
    let key = Host::open(caller.host())?.key()?;
    Ok(Answer::HostKey(KeyInfo { public_key: key.public_line(), fingerprint: key.fingerprint(), created }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole questions of every shape; what is made of them below is mostly none.
    const SEEDS: [&str; 10] = [
        r#"{"verb":"request","role":"web-ops","reason":"a\\x0ab","duration":60,"one_shot":true,"command":["id","-u"]}"#,
        r#"{"verb":"approve","id":"0123456789","duration":1,"one_shot":true,"exact":false,"comment":"x"}"#,
        r#"{"verb":"audit-list","after":18446744073709551615,"limit":10,"newest":true,"kind":"start","user":"bob"}"#,
        r#"{"verb":"why","user":"alice","run_as":"root","command":["/usr/bin/id"]}"#,
        r#"{"verb":"revoke","target":{"user":"bob"},"reason":"x"}"#,
        r#"{"verb":"wait","id":"abc","seconds":4000000000}"#,
        r#"{"verb":"policy-show","role":"a"}"#,
        r#"{"verb":"key-accept","reason":"\u0007"}"#,
        r#"{"verb":"recording","run":"abc","purpose":"watch"}"#,
        r#"{"verb":"intervene","run":"abc","act":"freeze","reason":"x"}"#,
    ];

    #[test]
    fn twenty_thousand_damaged_questions_are_refused_in_one_line_or_understood() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 11).unwrap() % below.max(1)
        };
        let mut understood = 0;
        for _ in 0..20_000 {
            let mut bytes = SEEDS[random(SEEDS.len())].as_bytes().to_vec();
            for _ in 0..random(5) {
                let at = random(bytes.len());
                match random(6) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, u8::try_from(random(256)).unwrap()),
                    2 => bytes.splice(at..at, vec![b"[{\"\\"[random(4)]; random(300)]).for_each(drop),
                    3 => bytes.extend(SEEDS[random(SEEDS.len())].bytes()),
                    4 => bytes.splice(at..at, *b"18446744073709551616").for_each(drop),
                    _ => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (at % 8)),
                }
            }
            match understand(&bytes) {
                Ok(ask) => {
                    understood += 1;
                    let again = serde_json::to_vec(&ask).unwrap();
                    assert_eq!(serde_json::to_vec(&understand(&again).ok().unwrap()).unwrap(), again);
                }
                Err(refused) => {
                    assert_eq!((refused.failure.code.as_str(), refused.failure.exit), ("malformed", 1));
                    assert!(!refused.failure.message.contains(|c: char| c.is_control()), "{}", refused.failure.message);
                }
            }
        }
        assert!((2_000..15_000).contains(&understood), "{understood}: nothing is learned from this");
    }
}
