//! The text of `known_hosts`, and the comparison with a host that describes itself. Opens no files.

use std::fmt;

use jit_core::escape::{escape, unhex};
use jit_core::evidence::epoch_event::key_words;
use jit_core::grant::{HostDescriptor, PublicKey};

/// A host that was seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownHost {
    /// The line number, from 1.
    pub(super) line: usize,
    pub(super) name: String,
    key: PublicKey,
    id: String,
    /// The day on which it was added, if the user has not compared the key since.
    pub(super) seen: Option<String>,
}

/// All hosts of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct List(Vec<KnownHost>);

/// The prefix of the day.
const SEEN: &str = "seen=";

/// The beginning of a comment that names a former key of a host: the day, the name and the key follow.
const REPLACED: &str = "# replaced ";

/// Returns the day on which a rotation of this key of a host was seen, by the comments of a list.
pub(super) fn replaced(text: &str, name: &str, key: &PublicKey) -> Option<String> {
    text.lines().filter_map(|line| line.strip_prefix(REPLACED)).find_map(|rest| {
        let [day, known, algorithm, encoded] = rest.split(' ').collect::<Vec<_>>()[..] else { return None };
        let is_it = known.eq_ignore_ascii_case(name) && PublicKey::from_words(algorithm, encoded).as_ref() == Some(key);
        (is_it && is_day(day)).then(|| day.to_owned())
    })
}

/// A line that is neither a host, a comment nor empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BrokenLine(pub(super) usize);

impl fmt::Display for BrokenLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is not \"NAME ssh-ed25519 KEY HOSTID\", perhaps with \"seen=YYYY-MM-DD\"", self.0)
    }
}

/// The result of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// This line has the same name, key and id; the day is set if the user has not compared the key.
    Here(usize, Option<String>),
    /// No line has the name or the key.
    Nowhere,
    /// This line has the same key and id, with this other name.
    UnderName(usize, String),
    /// This line has the same key, with this name and the id of another machine.
    OtherMachine(usize, String),
    /// This line has the same name, with this other key.
    OtherKey(usize, PublicKey),
}

impl List {
    /// Parses the text of a file.
    pub(super) fn parse(text: &str) -> Result<Self, BrokenLine> {
        let mut hosts = Vec::new();
        for (index, content) in text.lines().enumerate() {
            let line = index.saturating_add(1);
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            hosts.push(host(line, content).ok_or(BrokenLine(line))?);
        }
        Ok(Self(hosts))
    }

    /// Returns the host with this id.
    pub(super) fn with_id(self, id: &str) -> Option<KnownHost> {
        self.0.into_iter().find(|known| known.id == id)
    }

    /// Returns the id of the host with this name and key.
    pub(super) fn id_of(&self, name: &str, key: &PublicKey) -> Option<&str> {
        self.of(name, key).map(|known| known.id.as_str())
    }

    fn of(&self, name: &str, key: &PublicKey) -> Option<&KnownHost> {
        self.0.iter().find(|known| known.name.eq_ignore_ascii_case(name) && known.key == *key)
    }

    /// Returns `text`, which is that of this list, with the present key and id of a host in the place of its key `former[0]`, and the
    /// number of the line. Nobody has compared the new key, so the line has the day again. Comments below it name the former keys.
    pub(super) fn succeeded(
        &self,
        text: &str,
        host: &HostDescriptor,
        former: &[PublicKey],
        day: &str,
    ) -> Option<(String, usize)> {
        let known = self.of(&host.name, former.first()?)?;
        let mut new = format!("{} {} {} {SEEN}{day}", known.name, host.key, host.id);
        for key in former {
            new.push_str(&format!("\n{REPLACED}{day} {} {}", known.name, key_words(key)));
        }
        let lines =
            text.lines().zip(1..).map(|(content, line)| if line == known.line { new.as_str() } else { content });
        Some((lines.map(|content| format!("{content}\n")).collect(), known.line))
    }

    /// Looks up a host. Host names are compared without regard to case (RFC 4343).
    pub(super) fn find(&self, host: &HostDescriptor, key: &PublicKey) -> Found {
        let named = |known: &&KnownHost| known.name.eq_ignore_ascii_case(&host.name);
        let keyed = |known: &&KnownHost| known.key == *key;
        let same = |known: &&KnownHost| known.id == host.id;
        let hosts = || self.0.iter();
        if let Some(known) = hosts().find(|known| named(known) && keyed(known) && same(known)) {
            return Found::Here(known.line, known.seen.clone());
        }
        if let Some(known) = hosts().find(|known| named(known) && keyed(known)) {
            return Found::OtherMachine(known.line, known.name.clone());
        }
        if let Some(known) = hosts().find(named) {
            return Found::OtherKey(known.line, known.key.clone());
        }
        if let Some(known) = hosts().find(|known| keyed(known) && same(known)) {
            return Found::UnderName(known.line, known.name.clone());
        }
        match hosts().find(keyed) {
            Some(known) => Found::OtherMachine(known.line, known.name.clone()),
            None => Found::Nowhere,
        }
    }
}

/// Returns the line for a host that was first seen on this day.
pub(super) fn line_of(host: &HostDescriptor, day: &str) -> String {
    format!("{} {} {} {SEEN}{day}\n", host.name, host.key, host.id)
}

/// Returns whether a name can be in the list and cannot be mistaken for another: visible ASCII characters, at most 255
/// (RFC 1035).
pub(crate) fn is_plain_name(name: &str) -> bool {
    let visible = name.bytes().all(|byte| byte.is_ascii_graphic());
    visible && !name.starts_with('#') && (1..=255).contains(&name.len()) && escape(name.as_bytes()) == name
}

fn host(line: usize, content: &str) -> Option<KnownHost> {
    let mut words = content.split_ascii_whitespace();
    let (name, algorithm, encoded, id) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let key = PublicKey::from_words(algorithm, encoded).filter(|key| matches!(key, PublicKey::Plain(_)))?;
    unhex::<32>(id)?;
    let seen = match words.next() {
        None => None,
        Some(word) => Some(word.strip_prefix(SEEN).filter(|day| is_day(day))?.to_owned()),
    };
    (is_plain_name(name) && words.next().is_none()).then(|| KnownHost {
        line,
        name: name.to_owned(),
        key,
        id: id.to_owned(),
        seen,
    })
}

fn is_day(text: &str) -> bool {
    text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() })
}

#[cfg(test)]
pub(super) mod tests {
    use jit_core::grant::HostKey;

    use super::*;

    pub(in crate::known_hosts) fn described(seed: u8, name: &str, machine: &str) -> HostDescriptor {
        HostDescriptor::of(&HostKey::from_seed([seed; 32]), name, machine)
    }

    fn find(list: &str, host: &HostDescriptor) -> Found {
        List::parse(list).unwrap().find(host, &host.public_key().unwrap())
    }

    fn day() -> Option<String> {
        Some("2026-11-28".to_owned())
    }

    #[test]
    fn a_line_without_a_day_means_that_the_key_was_compared() {
        let web1 = described(1, "web1", "m");
        let list = line_of(&web1, "2026-11-28").replace(" seen=2026-11-28", "");
        assert_eq!(find(&list, &web1), Found::Here(1, None));
        let with_id =
            |id: &str| List::parse(&list).unwrap().with_id(id).map(|known| (known.line, known.name, known.seen));
        assert_eq!((with_id(&web1.id), with_id("ab")), (Some((1, "web1".to_owned(), None)), None));
    }

    #[test]
    fn a_host_is_known_by_name_key_and_id_together() {
        let web1 = described(1, "web1", "m");
        let list = format!("# hosts\n\n  {}", line_of(&web1, "2026-11-28"));
        assert_eq!(find(&list, &web1), Found::Here(3, day()));
        assert_eq!(find(&list, &described(1, "WEB1", "m")), Found::Here(3, day()));
        assert_eq!(find(&list, &described(2, "web2", "m")), Found::Nowhere);
        assert_eq!(find("", &web1), Found::Nowhere);
        assert_eq!(find(&list, &described(2, "web1", "m")), Found::OtherKey(3, web1.public_key().unwrap()));
        assert_eq!(find(&list, &described(1, "web9", "m")), Found::UnderName(3, "web1".into()));
        for clone in [described(1, "web1", "n"), described(1, "web9", "n")] {
            assert_eq!(find(&list, &clone), Found::OtherMachine(3, "web1".into()));
        }
    }

    #[test]
    fn a_second_line_with_the_same_name_counts_too() {
        let (old, new) = (described(1, "web1", "m"), described(2, "web1", "n"));
        let list = format!("{}{}", line_of(&old, "2026-11-28"), line_of(&new, "2026-11-28"));
        assert_eq!((find(&list, &old), find(&list, &new)), (Found::Here(1, day()), Found::Here(2, day())));
        assert!(matches!(find(&list, &described(3, "web1", "m")), Found::OtherKey(1, _)));
    }

    #[test]
    fn a_broken_line_is_reported_and_ends_the_list() {
        let seen = line_of(&described(1, "web1", "m"), "2026-11-28");
        let good = seen.replace(" seen=2026-11-28", "");
        let words: Vec<&str> = good.split_whitespace().collect();
        let [name, algorithm, key, id] = words[..] else { panic!("{good}") };
        for bad in [
            format!("{name} {algorithm} {key}"),
            format!("{name} {algorithm} {key} {id} more"),
            format!("{name} {algorithm} {key} {id} seen=yesterday"),
            format!("{name} {algorithm} {key} {id} seen=2026-11-28 more"),
            format!("{name} ssh-rsa {key} {id}"),
            format!("{name} {algorithm} {} {id}", &key[..key.len() - 4]),
            format!("{name} {algorithm} {key} {}", id.to_uppercase()),
            format!("{name} {algorithm} {key} {}", &id[1..]),
            format!("wéb1 {algorithm} {key} {id}"),
            "<<<<<<< HEAD".to_owned(),
        ] {
            assert_eq!(List::parse(&format!("{good}{bad}\n")), Err(BrokenLine(2)), "{bad}");
        }
    }

    #[test]
    fn a_name_has_only_visible_ascii_characters() {
        for name in ["web1", "web1.example.org", "[::1]", "a_b-c"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in ["", "#web1", "web 1", "wéb1", "w\u{435}b1", "web1\n", "a\\x20b", &"a".repeat(256)] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
