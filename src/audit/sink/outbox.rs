//! Keeps a sink complete: it gets every record in order, however long the other side was away.
//!
//! A file for each sink holds the last record that arrived, and the last one of those that were on the disk by then. A process that commits a record locks that file, sends
//! what other processes could not or had no time to send, then its own records, and writes the new number. If a process dies
//! between its commit and the sink, the next process sends its records; if it dies while sending, a record may be sent twice, but
//! never not at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Backlog, Delivery, Sink, Transport};
use crate::audit::error::JournalError;
use crate::audit::journal::Written;
use crate::audit::sent::Sent;
use crate::database::Durability;
use jit_core::clock::Timestamp;
use jit_core::evidence::{Checkpoint, Digest, Mark};
use sys::lock::Locked;

/// How long one commit may spend on what others left behind. The next one sends the rest.
const CATCHING_UP: Duration = Duration::from_secs(1);

/// How long to wait for other processes that are sending. They wait for a daemon at most as long.
const TURN: Duration = Duration::from_secs(2);

/// How many records to go back when the number was taken from another database: more than a power failure can lose.
const SLACK: u64 = 64;

/// A transport that resumes after the last delivered record.
pub struct Outbox<T> {
    transport: T,
    cursor: PathBuf,
}

impl<T: Transport> Outbox<T> {
    /// Creates an outbox for `transport`; the file `cursor` holds the number of the last delivered record.
    pub fn new(transport: T, cursor: PathBuf) -> Self {
        Self { transport, cursor }
    }

    /// Sends all records after the last delivered one, up to the end of `commit`.
    fn carry(&mut self, commit: &[Written], journal: &dyn Backlog, file: &File) -> Delivery {
        let (Some(first), Some(last)) = (commit.first(), commit.last()) else { return Delivery::Delivered };
        let Ok((before, synced)) = delivered(file, first, last, journal) else { return self.send_all(commit) };
        // A new sink begins here, and misses nothing from now on.
        let mut done = before.unwrap_or(Mark { seq: first.seq.saturating_sub(1), hash: Digest::ZERO });
        let delivery = self.carry_on(&mut done, commit, journal);
        let is_synced = |record: &&Written| record.seq <= done.seq && record.durability() == Durability::Synced;
        let newest = commit.iter().rfind(is_synced).map(Written::mark).filter(|mark| mark.seq > synced.seq);
        if before != Some(done) || newest.is_some() {
            // If this fails, the records are sent again.
            let _ = file.write_all_at(format!("{done}\n{}\n", newest.unwrap_or(synced)).as_bytes(), 0);
        }
        delivery
    }

    fn carry_on(&mut self, done: &mut Mark, commit: &[Written], journal: &dyn Backlog) -> Delivery {
        let (begun, first) = (Instant::now(), commit.first().map_or(0, |record| record.seq));
        let mut next = done.seq.saturating_add(1);
        while next < first {
            let Ok(missed) = journal.between(next, first) else { return Delivery::Missed };
            let Some(last) = missed.last() else { break };
            next = last.seq.saturating_add(1);
            for record in &missed {
                if begun.elapsed() > CATCHING_UP || self.transport.send(record) == Delivery::Missed {
                    return Delivery::Missed;
                }
                *done = record.mark();
            }
        }
        for record in commit.iter().filter(|record| record.seq >= next) {
            if self.transport.send(record) == Delivery::Missed {
                return Delivery::Missed;
            }
            *done = record.mark();
        }
        Delivery::Delivered
    }

    /// Sends without a number, so records may arrive twice or out of order.
    fn send_all(&mut self, commit: &[Written]) -> Delivery {
        let missed = commit.iter().any(|record| self.transport.send(record) == Delivery::Missed);
        if missed { Delivery::Missed } else { Delivery::Delivered }
    }
}

impl<T: Transport> Sink for Outbox<T> {
    fn mirror(&mut self, commit: &[Written], journal: &dyn Backlog) -> Delivery {
        match Locked::at(&self.cursor, TURN) {
            Ok(locked) => self.carry(commit, journal, locked.file()),
            // Without the file, which a full or read-only disk prevents, the records are sent all the same.
            Err(error) if error.kind() != io::ErrorKind::TimedOut => self.send_all(commit),
            Err(_) => Delivery::Missed,
        }
    }

    fn is_prompt(&self) -> bool {
        self.transport.is_prompt()
    }

    fn connect(&mut self) {
        self.transport.connect();
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint, time: Timestamp) {
        let locked = Locked::at(&self.cursor, TURN);
        if locked.as_ref().err().is_none_or(|error| error.kind() != io::ErrorKind::TimedOut) {
            let _ = self.transport.send_checkpoint(checkpoint, time);
        }
    }
}

/// The mark of no record.
const NONE: Mark = Mark { seq: 0, hash: Digest::ZERO };

/// Returns the last record that arrived; `None` where this sink begins with `first`. Then the last one that was synced.
fn delivered(
    file: &File,
    first: &Written,
    last: &Written,
    journal: &dyn Backlog,
) -> Result<(Option<Mark>, Mark), JournalError> {
    let mut bytes = [0; 2 * Mark::LENGTH];
    let length = file.read_at(&mut bytes, 0).unwrap_or_default();
    let Some(Sent { last: mark, synced, .. }) = bytes.get(..length).and_then(|bytes| Sent::parse("", bytes)) else {
        return Ok((None, NONE));
    };
    let known = match mark.seq {
        seq if seq < first.seq => true, // the usual case, without a query
        seq if seq == last.seq => mark.hash == last.hash,
        seq => journal.hash(seq)? == Some(mark.hash),
    };
    let back = || Mark { seq: first.seq.saturating_sub(SLACK), ..mark };
    Ok(if known { (Some(mark), synced.unwrap_or(NONE)) } else { (Some(back()), NONE) })
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use super::*;
    use crate::audit::{Journal, SCHEMA, sample};
    use crate::database::tests::Scratch;
    use crate::database::{Database, Durability};

    /// The other side: what it received, and whether it is available.
    #[derive(Clone, Default)]
    struct Daemon(Rc<(RefCell<Vec<u64>>, Cell<bool>)>);

    impl Transport for Daemon {
        fn send(&mut self, record: &Written) -> Delivery {
            if self.0.1.get() {
                return Delivery::Missed;
            }
            self.0.0.borrow_mut().push(record.seq);
            Delivery::Delivered
        }

        fn send_checkpoint(&mut self, _: &Checkpoint, _: Timestamp) -> Delivery {
            Delivery::Missed
        }
    }

    impl Daemon {
        fn got(&self) -> Vec<u64> {
            self.0.0.borrow().clone()
        }

        fn away(&self, away: bool) {
            self.0.1.set(away);
        }
    }

    /// Stands for a process: commits `count` records, which the caller may or may not send.
    fn commit(database: &Database, count: usize) -> Vec<Written> {
        let journal = Journal::new(database, "web1", Vec::new());
        let append = |tx: &rusqlite::Transaction<'_>| {
            (0..count).map(|_| journal.append(tx, &sample::moment(1), sample::events().remove(2))).collect()
        };
        database.write(Durability::Ordered, append).unwrap_or_else(|error: JournalError| panic!("{error}"))
    }

    fn mirror(database: &Database, scratch: &Scratch, daemon: &Daemon, records: &[Written]) -> Delivery {
        let cursor = scratch.path().with_extension("cursor");
        let journal = Journal::new(database, "web1", vec![Box::new(Outbox::new(daemon.clone(), cursor))]);
        journal.mirror(records)
    }

    #[test]
    fn a_sink_gets_missed_records_in_order_when_it_is_back() {
        let scratch = Scratch::new("courier-away");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let daemon = Daemon::default();
        let _ = commit(&database, 2); // before there was a mirror
        let run = |count| mirror(&database, &scratch, &daemon, &commit(&database, count));
        daemon.away(true);
        assert_eq!(run(1), Delivery::Missed);
        assert_eq!((run(2), run(1)), (Delivery::Missed, Delivery::Missed));
        daemon.away(false);
        assert_eq!(run(2), Delivery::Delivered);
        assert_eq!(daemon.got(), [3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_killed_process_leaves_its_records_to_the_next_one() {
        let scratch = Scratch::new("courier-killed");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let daemon = Daemon::default();
        assert_eq!(mirror(&database, &scratch, &daemon, &commit(&database, 1)), Delivery::Delivered);
        let slow = commit(&database, 2);
        assert_eq!(mirror(&database, &scratch, &daemon, &commit(&database, 1)), Delivery::Delivered);
        assert_eq!(daemon.got(), [1, 2, 3, 4]);
        // The process was only slow, and its records have been sent already.
        assert_eq!(mirror(&database, &scratch, &daemon, &slow), Delivery::Delivered);
        assert_eq!(daemon.got(), [1, 2, 3, 4]);
    }

    #[test]
    fn a_number_from_another_database_skips_no_record() {
        let scratch = Scratch::new("courier-other");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let daemon = Daemon::default();
        for seq in [2, 9] {
            let ahead = Mark { seq, hash: Digest([1; 32]) };
            std::fs::write(scratch.path().with_extension("cursor"), format!("{ahead}\n")).unwrap();
            assert_eq!(mirror(&database, &scratch, &daemon, &commit(&database, 2)), Delivery::Delivered);
        }
        assert_eq!(daemon.got(), [1, 2, 1, 2, 3, 4]);
        std::fs::write(scratch.path().with_extension("cursor"), "rubbish").unwrap();
        assert_eq!(mirror(&database, &scratch, &daemon, &commit(&database, 1)), Delivery::Delivered);
        assert_eq!(daemon.got().last(), Some(&5));
    }

    #[test]
    fn a_missing_directory_does_not_stop_a_sink() {
        let scratch = Scratch::new("courier-directory");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let daemon = Daemon::default();
        let outbox = Outbox::new(daemon.clone(), "/nonexistent/cursor".into());
        let journal = Journal::new(&database, "web1", vec![Box::new(outbox)]);
        assert_eq!(journal.mirror(&commit(&database, 2)), Delivery::Delivered);
        assert_eq!(daemon.got(), [1, 2]);
    }

    #[test]
    fn concurrent_processes_send_each_record_once_and_in_order() {
        let scratch = Scratch::new("courier-many");
        drop(Database::create(&scratch.path(), &[SCHEMA]).unwrap());
        let got = scratch.path().with_extension("got");
        struct Append(PathBuf);
        impl Transport for Append {
            fn send(&mut self, record: &Written) -> Delivery {
                use std::io::Write;
                let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.0).unwrap();
                writeln!(file, "{}", record.seq).unwrap();
                Delivery::Delivered
            }

            fn send_checkpoint(&mut self, _: &Checkpoint, _: Timestamp) -> Delivery {
                Delivery::Missed
            }
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let database = Database::open(&scratch.path(), &[SCHEMA]).unwrap();
                    for _ in 0..25 {
                        let records = commit(&database, 2);
                        let cursor = scratch.path().with_extension("cursor");
                        let outbox = Outbox::new(Append(got.clone()), cursor);
                        let journal = Journal::new(&database, "web1", vec![Box::new(outbox)]);
                        assert_eq!(journal.mirror(&records), Delivery::Delivered);
                    }
                });
            }
        });
        let lines: Vec<u64> = std::fs::read_to_string(got).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        // If the first process to send was not the first to commit, the sink begins with its record.
        let first = lines[0];
        assert_eq!(lines, (first..=200).collect::<Vec<_>>());
    }
}
