//! The only interface between the unprivileged tools and the grant database: it reads one question and writes one answer. The table
//! in `verbs` says who may use which verb. The caller's identity comes from the kernel; no field of a question names the caller.

mod approvals;
mod attempt;
mod audit;
mod background;
mod backup;
mod consent;
mod documents;
mod extend;
mod failure;
mod grants;
mod host;
mod key;
mod key_life;
mod lost_eligibility;
mod page;
mod pam_membership;
mod pam_sessions;
mod policy;
mod question;
mod recordings;
mod requests;
mod review;
mod review_assignments;
mod revocation;
mod roles;
mod sessions;
mod signed_approvals;
mod statement;
mod sweep;
mod verbs;
mod view;
mod who;
mod words;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;

use crate::audit::{Journal, JournalError};
use crate::console::{Console, PAGING};
use crate::elevation::Caller;
use crate::host::Host;
use crate::judge::{names, subject};
use crate::policy_index::PolicyIndex;
use attempt::{Attempts, Recording};
use failure::{Refused, refused, unchecked};
use jit_core::clock::Now;
use jit_core::evidence::epoch_event::key_words;
use jit_core::grant::HostPublicKey;
use jit_core::policy::{AuditSettings, PolicyReader};
use jit_core::wire::{Failure, KeyInfo, KeyShow, Reply, Verb};
use question::slot_of;
pub use question::{Question, hear};
use sys::interruption::Patiently;
use sys::sanitize::Inherited;
use verbs::{Answered, Needs, Row, Touch};
use who::Who;

/// What the functions that answer a question work with.
pub(crate) struct Context<'a> {
    pub(crate) host: &'a Host,
    pub(crate) policy: &'a PolicyIndex<'a>,
    pub(crate) journal: &'a Journal<'a>,
    pub(crate) caller: &'a Caller,
    pub(crate) now: &'a Now,
    pub(crate) secure_path: &'a str,
    /// The ids that a listing omits because they cannot be read.
    pub(crate) left_out: &'a RefCell<BTreeSet<String>>,
    /// Whether what is done can be recorded.
    pub(crate) recording: Recording,
}

/// Answers one question on standard output, and returns the exit status.
pub fn serve(question: Question, inherited: &Inherited) -> i32 {
    let Some(mut console) = Console::of_this_process() else { return 1 };
    let mut out = Patiently::new(std::io::stdout(), PAGING);
    let mut reader = PolicyReader::root(inherited.identity.uid());
    let mut attempt = |bytes: &[u8], attempts: &Attempts, ends: &mut bool| {
        let (row, answered) = understand(bytes)?;
        let caller = Caller::identify(&inherited.identity)?;
        if row.is_logged {
            reader = None;
        }
        let (consent, handler) = match answered {
            Answered::Before(what, answer) => return answer(&caller, root_alone(&caller, what)?).map(Some),
            Answered::At { is_end, consent, handler } => {
                *ends = is_end;
                (consent, handler)
            }
        };
        let _slot = slot_of(&caller)?;
        // The caller types the password before the database is opened for the answer, so that no other process waits for it.
        let consent = consent.map_or(Ok(None), |due| consent::obtain(due, &caller, &mut console))?;
        let answer = answer(&row, &caller, attempts, &mut console, |context| handler(context, consent, &mut out));
        if let (Err(refused), true, 0) = (&answer, row.alerts, caller.uid()) {
            Host::alert_unopened(&format!("{} failed: {}", row.name, refused.failure.message));
        }
        answer
    };
    let answer = question.bytes().and_then(|bytes| {
        let (mut attempts, mut ends) = (Attempts::new(), false);
        loop {
            match attempt(&bytes, &attempts, &mut ends) {
                Err(refused) if ends && attempts.another(&refused) => {}
                answer => return answer,
            }
        }
    });
    inherited.leave_root();
    let (reply, status) = match answer {
        Ok(None) => return 0,
        Ok(Some(reply)) => (Ok(reply), 0),
        Err(refused) => {
            let failure = refused.told_to(reader.as_ref());
            let status = i32::from(failure.exit);
            (refusal(failure), status)
        }
    };
    match reply.and_then(|line| out.write_all(&line)) {
        Ok(()) => status,
        Err(_) => 1,
    }
}

/// Returns a successful reply to a verb, as a line.
fn line<V: Verb>(answer: V::Answer) -> std::io::Result<Vec<u8>> {
    write_line(&Reply::<V>::Ok(answer))
}

/// Returns an error reply as a line: it is the same for every verb.
fn refusal(failure: Failure) -> std::io::Result<Vec<u8>> {
    write_line(&Reply::<KeyShow>::Error(failure))
}

fn write_line<V: Verb>(reply: &Reply<V>) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    Ok(line)
}

fn understand(bytes: &[u8]) -> Result<(Row, Answered), Refused> {
    let question = serde_json::from_slice(bytes).map_err(|error| {
        let shown = jit_core::escape::escape(error.to_string().as_bytes());
        refused("malformed", format!("the request is not understood: {shown}"))
    })?;
    verbs::of(question)
}

/// Opens the host as `row` needs it, and answers.
fn answer(
    row: &Row,
    caller: &Caller,
    attempts: &Attempts,
    console: &mut Console,
    handler: impl FnOnce(&Context<'_>) -> Result<Option<Vec<u8>>, Refused>,
) -> Result<Option<Vec<u8>>, Refused> {
    let Row { who, needs, touch, .. } = *row;
    let host = Host::open_or_begin(caller.host(), caller.uid())?;
    let (aside, nothing);
    let policy = if touch == Touch::Nothing {
        aside = rusqlite::Connection::open_in_memory()?;
        host.policy_aside(&aside)
    } else {
        host.policy(Some(caller))
    };
    let policy = match policy {
        Err(error) if needs == Needs::Verdict && error.is_of_policy() => return Err(unchecked(error)),
        Err(error) if needs != Needs::Policy && caller.uid() == 0 => {
            let cure = error.cure().map_or_else(String::new, |cure| format!(": {cure}"));
            let sentence = Refused::from(error).told_to(PolicyReader::root(caller.uid()).as_ref()).message;
            console
                .say(&format!("jitctl: warning: {sentence}; no role is available until the policy is fixed{cure}\n"));
            nothing = rusqlite::Connection::open_in_memory()?;
            PolicyIndex::empty(&nothing)?
        }
        policy => policy?,
    };
    let journal = host.journal(&policy.settings().audit);
    let (recording, loan) = (attempts.recording(), attempts.loan());
    if touch == Touch::Tends && recording == Recording::Required {
        host.tend(&journal)?;
    }
    let now = host.now()?;
    if touch == Touch::Tends {
        // A failure is ignored: the counts stay and are recorded later, and the journal must stay readable.
        let _ = journal.tell_counted(now.moment()).map(|counted| journal.mirror(&counted));
    }
    let secure_path = policy.settings().options.path_variable();
    let left_out = RefCell::default();
    let context = Context {
        host: &host,
        policy: &policy,
        journal: &journal,
        caller,
        now: &now,
        secure_path: &secure_path,
        left_out: &left_out,
        recording,
    };
    let answer = context.admit(who).and_then(|()| handler(&context));
    for id in left_out.into_inner() {
        let id = jit_core::escape::escape(id.as_bytes());
        console.say(&format!("jitctl: warning: {id} is left out, it cannot be read; jitctl audit verify says more\n"));
    }
    if let (Ok(_), Some(loan)) = (&answer, loan) {
        // Syslog has the records in any case.
        let _ = host.tell_loan(&journal, loan).map(|told| journal.mirror(&told));
    }
    if touch == Touch::Tends {
        host.seal_in_time(&journal);
    }
    answer
}

impl Context<'_> {
    /// Fails unless the row admits the caller.
    fn admit(&self, who: Who) -> Result<(), Refused> {
        match who {
            Who::Anyone => Ok(()),
            Who::Reader if self.is_reader()? => Ok(()),
            Who::Reader => Err(refused("not-a-reader", "only root and the readers of the policy may do this")),
            Who::Root(what) => root_alone(self.caller, what).map(drop),
        }
    }

    /// Returns whether the caller is root or one of `[audit] readers`.
    fn is_reader(&self) -> Result<bool, Refused> {
        Ok(self.caller.uid() == 0 || names(&self.policy.settings().audit.readers, &subject(self.caller)?))
    }

    fn key_show(&self) -> Result<KeyInfo, Refused> {
        let key = self.host.public_key()?;
        Ok(key_info(&key, self.journal, false)?)
    }
}

fn root_alone(caller: &Caller, what: &str) -> Result<PolicyReader, Refused> {
    PolicyReader::root(caller.uid()).ok_or_else(|| refused("not-root", format!("only root may {what}")))
}

fn key_init(caller: &Caller) -> Result<KeyInfo, Refused> {
    let created = Host::set_up(caller.host())?;
    let host = Host::open(caller.host())?;
    let key = host.key()?;
    Ok(key_info(&key, &host.journal(&AuditSettings::default()), created)?)
}

fn key_info(key: &HostPublicKey, journal: &Journal<'_>, created: bool) -> Result<KeyInfo, JournalError> {
    let current = journal.epoch()?;
    let former = journal.lineage(key.public_key())?.split_off(1);
    Ok(KeyInfo {
        former_keys: former.iter().map(key_words).collect(),
        rotations: journal.rotations()?,
        public_key: key.public_line(),
        fingerprint: key.fingerprint(),
        created,
        epoch: current.as_ref().map(|current| current.epoch.number),
        sealing_key: current.map(|current| current.epoch.key.fingerprint()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Valid questions of every shape. The test damages them; most of the results are not valid.
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
    fn damaged_questions_are_understood_or_rejected_in_one_line() {
        let mut numbers = fastrand::Rng::with_seed(1);
        let mut random = move |below: usize| numbers.usize(..below.max(1));
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
                Ok(_) => understood += 1,
                Err(refused) => {
                    assert_eq!((refused.failure.code.as_str(), refused.failure.exit), ("malformed", 1));
                    assert!(!refused.failure.message.contains(|c: char| c.is_control()), "{}", refused.failure.message);
                }
            }
        }
        assert!((2_000..15_000).contains(&understood), "{understood}: nothing is learned from this");
    }
}
