//! The sink in the kernel's audit log: a start and a rejection as `USER_CMD`, like those of sudo, any other record as a line with
//! its kind; each with number and chain head. The kernel adds who did it.
//! May not: send while the daemon's queue is nearly full, because the kernel blocks senders beyond that for a minute.

use std::io;
use std::time::Duration;

use sys::audit_link::{AuditLink, AuditStatus, TEXT_LIMIT, TRUSTED_APP, USER_CMD};

use super::{Delivery, Transport};
use crate::audit::journal::Written;
use jit_core::clock::Timestamp;
use jit_core::escape::Word;
use jit_core::evidence::Checkpoint;
use jit_core::evidence::record::{Event, Record};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_millis(200);

/// The length at which a name or directory is truncated, so that the rest of the line has room.
const NAME_LIMIT: usize = 512;

/// The audit log of this host.
#[derive(Default)]
pub struct Auditd {
    link: Option<AuditLink>,
    given_up: bool,
}

impl Auditd {
    fn send_message(&mut self, message: &(u16, String)) -> Delivery {
        if !self.given_up && self.try_send(message).is_ok() {
            return Delivery::Delivered;
        }
        self.given_up = true;
        Delivery::Missed
    }

    fn try_send(&mut self, (kind, text): &(u16, String)) -> io::Result<()> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => AuditLink::open(PATIENCE)?,
        };
        if !link.status()?.is_none_or(listens) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        link.send(*kind, text.as_bytes())?;
        self.link = Some(link);
        Ok(())
    }
}

impl Transport for Auditd {
    fn send(&mut self, record: &Written) -> Delivery {
        self.send_message(&message(record))
    }

    fn send_checkpoint(&mut self, checkpoint: &Checkpoint, _: Timestamp) -> Delivery {
        self.send_message(&checkpoint_message(checkpoint))
    }
}

/// Whether the kernel has room for a message: half of the queue is enough for all processes that check at the same moment.
fn listens(status: AuditStatus) -> bool {
    status.enabled && status.daemon && (status.limit == 0 || status.queued < status.limit / 2)
}

fn message(record: &Written) -> (u16, String) {
    let tail = format!("jit_seq={} jit_head={}", record.seq, record.hash);
    match Record::decode(&record.body).map(|record| record.event) {
        Ok(Event::Start(start)) => {
            (USER_CMD, command(&start.cwd, &start.argv, start.tty.as_ref(), &format!("{tail} res=success")))
        }
        Ok(Event::Reject(reject)) => {
            let cwd = reject.cwd.clone().unwrap_or_default();
            (USER_CMD, command(&cwd, &reject.argv, reject.tty.as_ref(), &format!("{tail} res=failed")))
        }
        _ => (TRUSTED_APP, format!("op=jit-sudo:{} {tail} res=success", record.kind())),
    }
}

/// Formats a checkpoint: the note alone, in hexadecimal.
fn checkpoint_message(checkpoint: &Checkpoint) -> (u16, String) {
    let note = value(checkpoint.note.as_bytes());
    (TRUSTED_APP, format!("op=jit-sudo:checkpoint jit_seq={} jit_note={note} res=success", checkpoint.seq))
}

/// Formats a command as audit_log_user_command(3) does. Truncates a command that is longer than a message; the record is
/// complete.
fn command(cwd: &Word, argv: &[Word], tty: Option<&Word>, tail: &str) -> String {
    let terminal = tty.map_or("?".to_owned(), |tty| {
        value(cut(tty.as_bytes().strip_prefix(b"/dev/").unwrap_or(tty.as_bytes()), NAME_LIMIT))
    });
    let front = format!("cwd={} cmd=", value(cut(cwd.as_bytes(), NAME_LIMIT)));
    let back = format!(" exe=\"/usr/bin/jit-sudo\" terminal={terminal} {tail}");
    let words: Vec<&[u8]> = argv.iter().map(Word::as_bytes).collect();
    let joined = words.join(&b' ');
    let room = TEXT_LIMIT.saturating_sub(front.len() + back.len() + "jit_cut=1 ".len()) / 2;
    let (shown, mark) = if joined.len() <= room { (joined.as_slice(), "") } else { (cut(&joined, room), " jit_cut=1") };
    format!("{front}{}{mark}{back}", value(shown))
}

fn cut(bytes: &[u8], limit: usize) -> &[u8] {
    bytes.get(..limit).unwrap_or(bytes)
}

/// Quotes a value, or encodes it in hexadecimal where the kernel would (audit_log_n_untrustedstring).
fn value(bytes: &[u8]) -> String {
    let plain = |byte: &u8| (0x21..0x7f).contains(byte) && *byte != b'"';
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(plain) => format!("\"{text}\""),
        _ => jit_core::escape::hex(bytes).to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::syslog::tests::{with_argument, written};
    use super::*;
    use crate::audit::sample;

    #[test]
    fn a_start_has_the_format_of_sudo() {
        let record = written(Event::Start(Box::new(sample::start("run000000001"))));
        let (kind, text) = message(&record);
        let cmd = "2F7573722F62696E2F73797374656D63746C2072657374617274206E67696E78";
        let expected = format!(
            "cwd=\"/home/alice\" cmd={cmd} exe=\"/usr/bin/jit-sudo\" terminal=\"pts/3\" jit_seq=7 jit_head={} res=success",
            record.hash
        );
        assert_eq!((kind, text), (USER_CMD, expected));
    }

    #[test]
    fn every_kind_of_record_has_its_number_and_fits() {
        for event in sample::events() {
            let (_, text) = message(&written(event));
            assert!(text.contains("jit_seq=7 ") && text.len() <= TEXT_LIMIT, "{text}");
        }
    }

    #[test]
    fn a_command_of_any_bytes_and_length_fits_into_a_message() {
        for argument in [sample::hostile(), "x".repeat(1 << 20).into(), "\n\"".repeat(4_000).into()] {
            let (_, text) = message(&with_argument(argument));
            assert!(text.len() <= TEXT_LIMIT && !text.contains(char::is_control), "{}", text.len());
        }
    }

    #[test]
    fn nothing_is_sent_to_a_half_full_or_unread_queue() {
        let status = AuditStatus { enabled: true, daemon: true, queued: 3, limit: 64 };
        assert!(listens(status) && listens(AuditStatus { queued: 900, limit: 0, ..status }));
        assert!(!listens(AuditStatus { queued: 32, ..status }));
        assert!(
            !listens(AuditStatus { daemon: false, ..status }) && !listens(AuditStatus { enabled: false, ..status })
        );
    }
}
