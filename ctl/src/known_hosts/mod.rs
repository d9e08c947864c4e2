//! The hosts whose documents were seen here, kept as ssh(1) keeps hosts: added when first seen, with a warning, and
//! compared afterwards. A document proves that the holder of some key made it; only this list can tell whose key that is.

mod file;
mod list;

use std::path::Path;

use jit_core::escape::escape;
use jit_core::evidence::key_statement::{leads, lineage};
use jit_core::grant::{HostDescriptor, PublicKey};
use jit_core::wire::HostInfo;

use crate::speech::{Notice, Trouble};
use crate::surface::Tone;
use file::{id_of, look, pin, place, replaced_on, succeed, with_id};
use list::Found;

pub(crate) use list::is_plain_name;

/// Shown of a host if the list is not valid.
const UNUSABLE: &str = "NO: the list of hosts cannot be used";

/// How a host compares with the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostStatus {
    /// Seen before with the same name, key and id: `FILE:LINE`.
    Known(String),
    /// As `Known`, but the user has not compared the key since that day: `FILE:LINE`.
    Seen(String, String),
    /// Seen before with another key, which has signed for this one; the fingerprint of that key, and the line, which has the new key
    /// now, or why it has not.
    Rotated(String, Result<String, String>),
    /// Seen for the first time; the line where it was added, or why it was not.
    New(Result<String, String>),
    /// Key and id were seen before under this other name: `FILE:LINE`.
    Renamed(String, String),
    /// Its key was seen before, under this name, on another machine: `FILE:LINE`.
    Cloned(String, String),
    /// The list cannot be used, for this reason.
    Unchecked(String),
}

/// A host's description of itself, and how it compares with the list.
pub(crate) struct Host<'p> {
    described: &'p HostDescriptor,
    key: &'p PublicKey,
    standing: HostStatus,
}

impl<'p> Host<'p> {
    /// Looks the host up in the list, and adds it if it is new. `rotations`: records by which its key may have been replaced.
    ///
    /// # Errors
    /// The host is known with another key, and no rotation leads from that to this one.
    pub(crate) fn meet(
        described: &'p HostDescriptor,
        key: &'p PublicKey,
        rotations: &[String],
    ) -> Result<Self, Trouble> {
        let standing = match place() {
            Some(path) => standing(&path, described, key, rotations)?,
            None => HostStatus::New(Err("neither HOME nor XDG_CONFIG_HOME names a directory".to_owned())),
        };
        Ok(Self { described, key, standing })
    }

    /// Returns a host with this status.
    #[cfg(test)]
    pub(crate) fn of(described: &'p HostDescriptor, key: &'p PublicKey, standing: HostStatus) -> Self {
        Self { described, key, standing }
    }

    /// Describes the status in one line, for the user who decides, and whether it is good.
    pub(crate) fn in_words(&self) -> (String, Tone) {
        match &self.standing {
            HostStatus::Known(line) => (format!("yes, by {line}"), Tone::Good),
            HostStatus::Seen(day, line) => (format!("seen since {day}, not compared: {line}"), Tone::Waiting),
            HostStatus::Rotated(old, Ok(line)) => {
                (format!("yes: the key {old} has signed for it, now in {line}"), Tone::Waiting)
            }
            HostStatus::Rotated(old, Err(_)) => (format!("yes: the key {old} has signed for it"), Tone::Waiting),
            HostStatus::New(Ok(line)) => (format!("NO: seen for the first time, now in {line}"), Tone::Bad),
            HostStatus::New(Err(_)) => ("NO: seen for the first time".to_owned(), Tone::Bad),
            HostStatus::Renamed(name, line) => (format!("as {name}, by {line}"), Tone::Waiting),
            HostStatus::Cloned(name, line) => (format!("NO: it has the key of {name}, by {line}"), Tone::Bad),
            HostStatus::Unchecked(_) => (UNUSABLE.to_owned(), Tone::Bad),
        }
    }

    /// Returns the warning for the user who decides; none if the host is known.
    pub(crate) fn warning(&self) -> Option<Notice> {
        let (name, print) = (&self.described.name, self.key.fingerprint());
        let compare = format!("compare it with `jitctl key show` on {name}");
        Some(match &self.standing {
            HostStatus::Known(_) | HostStatus::Seen(..) => return None,
            HostStatus::Rotated(old, kept) => {
                let unkept = kept.as_ref().err().map(|cause| format!("; it was not written down: {cause}"));
                let message = format!(
                    "{name} has another key, {print}, for which the known one, {old}, has signed{}",
                    unkept.unwrap_or_default()
                );
                Notice::new(message).with_hint(format!("if the old key may have been stolen, {compare}"))
            }
            HostStatus::New(pinned) => {
                let unpinned = pinned
                    .as_ref()
                    .err()
                    .map(|cause| format!("; it was not written down: {cause}"))
                    .unwrap_or_default();
                let message = format!("the host {name} is not known here: its key is {print}{unpinned}");
                Notice::new(message).with_hint(compare)
            }
            HostStatus::Renamed(known, line) => {
                Notice::new(format!("the host {name} is known here as {known} ({line}): it has that host's key"))
                    .with_hint(format!("change the name in {line} if the host was renamed"))
            }
            HostStatus::Cloned(..) => self.cloned()?,
            HostStatus::Unchecked(cause) => {
                Notice::new(format!("the host {name} cannot be checked, its key is {print}: {cause}"))
                    .with_hint(compare)
            }
        })
    }

    /// Returns the warning for the user who signs for a host whose key was never compared.
    pub(crate) fn uncompared(&self) -> Option<Notice> {
        let HostStatus::Seen(day, line) = &self.standing else { return None };
        let (name, print) = (&self.described.name, self.key.fingerprint());
        let message = format!("the key of {name} was never compared, only seen since {day}: it is {print}");
        let hint = format!("compare it with `jitctl key show` on {name}, and then remove seen={day} from {line}");
        Some(Notice::new(message).with_hint(hint))
    }

    /// Checks that the user may sign something for the host.
    ///
    /// # Errors
    /// Its key is that of another machine, or the list cannot be used.
    pub(crate) fn may_be_signed_for(&self) -> Result<(), Trouble> {
        match &self.standing {
            HostStatus::Known(_)
            | HostStatus::Seen(..)
            | HostStatus::Rotated(..)
            | HostStatus::New(_)
            | HostStatus::Renamed(..) => Ok(()),
            HostStatus::Cloned(..) => Err(untrusted(self.cloned())),
            HostStatus::Unchecked(_) => Err(untrusted(self.warning())),
        }
    }

    /// Returns the form for programs.
    pub(crate) fn info(&self) -> HostInfo {
        let standing = match &self.standing {
            HostStatus::Known(_) => "known",
            HostStatus::Seen(..) => "seen",
            HostStatus::Rotated(..) => "rotated",
            HostStatus::New(_) => "new",
            HostStatus::Renamed(..) => "renamed",
            HostStatus::Cloned(..) => "cloned",
            HostStatus::Unchecked(_) => "unchecked",
        };
        HostInfo {
            name: self.described.name.clone(),
            key: self.described.key.clone(),
            fingerprint: self.key.fingerprint(),
            id: self.described.id.clone(),
            standing: standing.to_owned(),
        }
    }

    fn cloned(&self) -> Option<Notice> {
        let HostStatus::Cloned(known, line) = &self.standing else { return None };
        let name = &self.described.name;
        let message = format!(
            "the host {name} has the key of {known} ({line}) and is another machine: a copy of it, or its machine-id has \
             changed; nothing is signed for it"
        );
        Some(Notice::new(message).with_hint(format!(
            "make a key of its own on the copy; if {known} itself has changed, remove line {} of its file",
            line.rsplit(':').next().unwrap_or_default()
        )))
    }
}

/// Describes in one line what the list says of the host with this id, for a document without a description of the host, and
/// whether it is good.
pub(crate) fn of_id(id: &str) -> (String, Tone) {
    place().map_or_else(not_listed, |path| of_id_in(&path, id))
}

fn of_id_in(path: &Path, id: &str) -> (String, Tone) {
    let file = escape(path.as_os_str().as_encoded_bytes());
    match with_id(path, id) {
        Ok(Some(known)) => {
            let (name, place) = (known.name, format!("{file}:{}", known.line));
            match known.seen {
                None => (format!("yes, {name}, by {place}"), Tone::Good),
                Some(day) => (format!("{name}, seen since {day}, not compared: {place}"), Tone::Waiting),
            }
        }
        Ok(None) => not_listed(),
        Err(_) => (UNUSABLE.to_owned(), Tone::Bad),
    }
}

fn not_listed() -> (String, Tone) {
    ("NO: the id is not in the list of known hosts".to_owned(), Tone::Bad)
}

/// Looks a host up in a list with this text.
pub(crate) fn found(text: &str, host: &HostDescriptor, key: &PublicKey) -> Result<String, String> {
    list::List::parse(text).map(|list| format!("{:?}", list.find(host, key))).map_err(|broken| broken.to_string())
}

fn standing(path: &Path, host: &HostDescriptor, key: &PublicKey, rotations: &[String]) -> Result<HostStatus, Trouble> {
    let file = escape(path.as_os_str().as_encoded_bytes());
    let found = match look(path, host, key) {
        Ok(Found::Nowhere) => match pin(path, host, key) {
            Ok(Ok(line)) => return Ok(HostStatus::New(Ok(format!("{file}:{line}")))),
            Ok(Err(found)) => found,
            Err(cause) => return Ok(HostStatus::New(Err(format!("{file}: {cause}")))),
        },
        Ok(found) => found,
        Err(cause) => return Ok(HostStatus::Unchecked(format!("{file}: {cause}"))),
    };
    Ok(match found {
        Found::Here(line, None) => HostStatus::Known(format!("{file}:{line}")),
        Found::Here(line, Some(day)) => HostStatus::Seen(day, format!("{file}:{line}")),
        Found::UnderName(line, name) => HostStatus::Renamed(name, format!("{file}:{line}")),
        Found::OtherMachine(line, name) => HostStatus::Cloned(name, format!("{file}:{line}")),
        Found::OtherKey(_, old) if is_succeeded(path, host, &old, rotations) => {
            let kept = succeed(path, host, &former(key, &old, rotations)).map_err(|cause| format!("{file}: {cause}"));
            HostStatus::Rotated(old.fingerprint(), kept.map(|line| format!("{file}:{line}")))
        }
        Found::OtherKey(line, old) => {
            let line = format!("line {line} of {file}");
            return Err(match replaced_on(path, &host.name, key) {
                Some(day) => outdated(host, key, &old, (&line, &day)),
                None => changed(host, key, &old, &line),
            });
        }
        Found::Nowhere => HostStatus::Unchecked(format!("{file} changes while it is read")),
    })
}

/// Whether the known key of a host has signed for its present one, directly or through others.
fn is_succeeded(path: &Path, host: &HostDescriptor, old: &PublicKey, rotations: &[String]) -> bool {
    let id = id_of(path, &host.name, old);
    id.is_some_and(|id| leads(rotations.iter().map(String::as_str), old, &id, host))
}

/// Returns the keys of a host before the present one, from `old` on, by rotations that lead from that to it.
fn former(key: &PublicKey, old: &PublicKey, rotations: &[String]) -> Vec<PublicKey> {
    let mut former = lineage(rotations.iter().map(String::as_str), key.clone());
    former.remove(0);
    former.truncate(former.iter().position(|key| key == old).map_or(former.len(), |place| place.saturating_add(1)));
    former.reverse();
    former
}

fn outdated(host: &HostDescriptor, key: &PublicKey, present: &PublicKey, (line, day): (&str, &str)) -> Trouble {
    let (name, key, present) = (&host.name, key.fingerprint(), present.fingerprint());
    let message = format!(
        "this document is from before the key of {name} was replaced: it is signed with {key}, and since {day} {line} has {present}; \
         refusing"
    );
    untrusted(Some(
        Notice::new(message).with_hint(format!(
            "every request and grant ended when the key was replaced: make a new request on {name}"
        )),
    ))
}

fn changed(host: &HostDescriptor, key: &PublicKey, old: &PublicKey, line: &str) -> Trouble {
    let (name, old, new) = (&host.name, old.fingerprint(), key.fingerprint());
    let message =
        format!("the key of {name} has CHANGED: {line} says {old}, this document is signed with {new}; refusing");
    untrusted(Some(
        Notice::new(message).with_hint(format!("remove {line} if `jitctl key show` on {name} prints the new one")),
    ))
}

fn untrusted(notice: Option<Notice>) -> Trouble {
    Trouble::Local("unknown-host", notice.unwrap_or_else(|| Notice::new("the host is not known here")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::list::tests::described;
    use super::*;

    fn met(path: &Path, host: &HostDescriptor) -> Result<HostStatus, String> {
        standing(path, host, &host.public_key().unwrap(), &[]).map_err(|trouble| trouble.notice().message)
    }

    fn said(host: &HostDescriptor, standing: HostStatus) -> (String, bool) {
        let key = host.public_key().unwrap();
        let host = Host { described: host, key: &key, standing };
        let message = host.warning().map(|notice| notice.message).unwrap_or_default();
        (message, host.may_be_signed_for().is_ok())
    }

    #[test]
    fn a_host_is_new_once_and_known_afterwards() {
        let place = std::env::temp_dir().join(format!("jitctl-standing-{}", std::process::id()));
        let path = place.join("known_hosts");
        let (web1, file) = (described(1, "web1", "m"), path.display().to_string());
        assert_eq!(met(&path, &web1), Ok(HostStatus::New(Ok(format!("{file}:2")))));
        assert_eq!(met(&path, &web1), Ok(HostStatus::Seen(crate::when::today(), format!("{file}:2"))));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(&format!(" seen={}", crate::when::today()), "")).unwrap();
        assert_eq!(met(&path, &web1), Ok(HostStatus::Known(format!("{file}:2"))));
        let message = met(&path, &described(2, "web1", "m")).unwrap_err();
        for part in ["CHANGED", "line 2 of", "refusing", &web1.public_key().unwrap().fingerprint()] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let renamed = HostStatus::Renamed("web1".into(), format!("{file}:2"));
        assert_eq!(met(&path, &described(1, "web9", "m")), Ok(renamed));
        let cloned = HostStatus::Cloned("web1".into(), format!("{file}:2"));
        assert_eq!(met(&path, &described(1, "web1", "n")), Ok(cloned));
        fs::write(&path, "web1\n").unwrap();
        let unchecked =
            format!("{file}: line 1 is not \"NAME ssh-ed25519 KEY HOSTID\", perhaps with \"seen=YYYY-MM-DD\"");
        assert_eq!(met(&path, &web1), Ok(HostStatus::Unchecked(unchecked)));
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn an_id_is_known_by_the_list_alone() {
        let place = std::env::temp_dir().join(format!("jitctl-by-id-{}", std::process::id()));
        let (path, web1) = (place.join("known_hosts"), described(1, "web1", "m"));
        fs::create_dir_all(&place).unwrap();
        let said = |text: &str| {
            fs::write(&path, text).unwrap();
            of_id_in(&path, &web1.id)
        };
        let line = format!("web1 {} {}", web1.key, web1.id);
        let file = path.display();
        assert_eq!(of_id_in(&path, &web1.id), not_listed());
        assert_eq!(said(""), not_listed());
        assert_eq!(said(&line.replace(&web1.id, &"ab".repeat(32))).1, Tone::Bad);
        assert_eq!(said(&line), (format!("yes, web1, by {file}:1"), Tone::Good));
        let seen = format!("web1, seen since 2026-11-28, not compared: {file}:1");
        assert_eq!(said(&format!("{line} seen=2026-11-28")), (seen, Tone::Waiting));
        assert_eq!(said("web1\n"), (UNUSABLE.to_owned(), Tone::Bad));
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn a_key_for_which_the_known_one_has_signed_takes_its_place() {
        use jit_core::clock::{BootTime, Moment, Timestamp};
        use jit_core::evidence::epoch_event::key_words;
        use jit_core::evidence::key_statement::sign_rotation;
        use jit_core::evidence::record::{Digest, Event, Record, Rotation};
        use jit_core::grant::HostKey;

        let place = std::env::temp_dir().join(format!("jitctl-rotated-{}", std::process::id()));
        let path = place.join("known_hosts");
        let (old, new) = (described(1, "web1", "m"), described(2, "web1", "m"));
        let moment = Moment { wall: Timestamp(7), boot: BootTime(7), boot_id: "b".to_owned() };
        let event = Event::Rotation(Box::new(Rotation {
            uid: 0,
            user: "root".into(),
            reason: "yearly".into(),
            old_key: key_words(&old.public_key().unwrap()),
            identity: new.clone(),
            old_signature: String::new(),
            new_signature: String::new(),
        }));
        let record = Record::new(9, Digest::ZERO, &moment, "web1", event);
        let (first, second) = (HostKey::from_seed([1; 32]), HostKey::from_seed([2; 32]));
        let body = sign_rotation(record, &first, &second).unwrap().encode().unwrap();
        let met = |host: &HostDescriptor, rotations: &[String]| {
            standing(&path, host, &host.public_key().unwrap(), rotations).map_err(|trouble| trouble.notice().message)
        };
        let before = "# mine\nweb0 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea ";
        let before = format!("{before}{}\n", "a".repeat(64));
        fs::create_dir_all(&place).unwrap();
        fs::write(&path, format!("{before}WEB1 {} {}\n", old.key, old.id)).unwrap();
        let text = || fs::read_to_string(&path).unwrap();
        let altered = body.replace("yearly", "monthly");
        for rotations in [vec![], vec!["{}".to_owned()], vec![altered]] {
            assert!(met(&new, &rotations).unwrap_err().contains("CHANGED"), "{rotations:?}");
        }
        let known = format!("{}:3", path.display());
        let print = old.public_key().unwrap().fingerprint();
        let rotated = HostStatus::Rotated(print.clone(), Ok(known.clone()));
        assert_eq!(met(&new, &["{}".to_owned(), body.clone()]), Ok(rotated.clone()));
        let day = crate::when::today();
        let seen = format!("{before}WEB1 {} {} seen={day}\n# replaced {day} WEB1 {}\n", new.key, new.id, old.key);
        assert_eq!(text(), seen, "nobody has compared the new key");
        assert_eq!(met(&new, &[]), Ok(HostStatus::Seen(day, known)));
        let late = met(&old, &[body]).unwrap_err();
        assert!(late.contains("is from before the key of web1 was replaced") && late.contains(&print), "{late}");
        assert!(met(&described(3, "web1", "m"), &[]).unwrap_err().contains("CHANGED"));
        let (message, signs) = said(&new, rotated);
        assert!(signs && message.contains(&print), "{message}");
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn a_key_that_was_never_compared_is_reported() {
        let web1 = described(1, "web1", "m");
        let key = web1.public_key().unwrap();
        let seen = HostStatus::Seen("2026-01-02".into(), "f:3".into());
        let notice = Host::of(&web1, &key, seen).uncompared().unwrap();
        assert!(notice.message.contains("never compared") && notice.message.contains(&key.fingerprint()), "{notice:?}");
        assert!(Host::of(&web1, &key, HostStatus::Known("f:3".into())).uncompared().is_none());
    }

    #[test]
    fn nothing_is_signed_for_a_copied_key_or_without_a_usable_list() {
        let web1 = described(1, "web1", "m");
        assert_eq!(said(&web1, HostStatus::Known("f:1".into())), (String::new(), true));
        let (message, may) = said(&web1, HostStatus::New(Err("read-only file system".into())));
        assert!(message.contains("is not known here") && message.contains("not written down: read-only") && may);
        let (message, may) = said(&web1, HostStatus::Renamed("old".into(), "f:1".into()));
        assert!(message.contains("known here as old") && may, "{message}");
        let (message, may) = said(&web1, HostStatus::Cloned("old".into(), "f:1".into()));
        assert!(message.contains("another machine") && !may, "{message}");
        let (message, may) = said(&web1, HostStatus::Unchecked("f: line 3".into()));
        assert!(message.contains("line 3") && !may, "{message}");
    }
}
