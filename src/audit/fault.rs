//! Faults of clock, database and host, each of which is recorded as an alert.

use std::fmt;

use super::clock_checks::ClockFault;
use jit_core::evidence::Mark;
use jit_core::evidence::record::{Alert, Event};
use jit_core::grant::HostDescriptor;

/// A fault to be recorded.
pub(super) enum Fault {
    Clock(ClockFault),
    /// The record that the anchor names and the database lacks.
    Older(Mark),
    /// The log sink that has this record, which the database lacks.
    BehindSink(String, Mark),
    /// The same, where it is one of the last that were not synced, after a boot.
    Unsynced(String, Mark),
    /// The database was missing, and a new one was made; the record that the anchor names.
    Lost(Option<Mark>),
    /// The anchor is that of another database, which had no record when the anchor was written.
    OtherDatabase,
    /// The database has a record of a request, a grant or a run, and its anchor is missing.
    NoAnchor,
    /// The new identity.
    OtherHost(HostDescriptor),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(fault) => fault.fmt(f),
            Self::Older(Mark { seq: u64::MAX, .. }) => f.write_str("the anchor of the database is damaged"),
            Self::OtherDatabase => {
                f.write_str("the database is older than its anchor: that was made for a new database")
            }
            Self::NoAnchor => f.write_str("the database may be an older copy: its anchor is missing"),
            Self::Older(Mark { seq, hash }) => {
                write!(
                    f,
                    "the database is older than its anchor: record {seq} with the hash {hash} is missing or another"
                )
            }
            Self::BehindSink(sink, Mark { seq, hash }) => {
                write!(f, "the database is older than what {sink} got: record {seq} with the hash {hash} is missing")
            }
            Self::Unsynced(sink, Mark { seq, .. }) => {
                write!(f, "the last records before the boot were not synced and are lost: {sink} got record {seq}")
            }
            Self::Lost(Some(Mark { seq, hash })) => {
                write!(f, "the database was lost and is a new one: the last known record is {seq} with the hash {hash}")
            }
            Self::Lost(None) => f.write_str("the database was lost and is a new one, and no anchor says what it had"),
            Self::OtherHost(_) => f.write_str(
                "the identity of this host has changed: a new key or machine-id, or a copy of another host; grants of \
                 another identity are not valid here",
            ),
        }
    }
}

impl Fault {
    /// Returns the new identity of the host, if it has changed.
    fn identity(&self) -> Option<HostDescriptor> {
        match self {
            Self::OtherHost(identity) => Some(identity.clone()),
            Self::Clock(_)
            | Self::Older(_)
            | Self::BehindSink(..)
            | Self::Unsynced(..)
            | Self::Lost(_)
            | Self::OtherDatabase
            | Self::NoAnchor => None,
        }
    }

    /// Whether the database lacks records.
    pub(super) fn is_loss(&self) -> bool {
        match self {
            Self::Clock(_) | Self::OtherHost(_) => false,
            Self::Older(_)
            | Self::BehindSink(..)
            | Self::Unsynced(..)
            | Self::Lost(_)
            | Self::OtherDatabase
            | Self::NoAnchor => true,
        }
    }

    pub(super) fn alert(&self) -> Event {
        let code = match self {
            Self::Clock(fault) => fault.code(),
            Self::OtherHost(_) => "host-changed",
            Self::Older(_)
            | Self::BehindSink(..)
            | Self::Unsynced(..)
            | Self::Lost(_)
            | Self::OtherDatabase
            | Self::NoAnchor => "database-older",
        };
        let alert = Alert::new(code, self.to_string().as_str());
        Event::Alert(Box::new(Alert { identity: self.identity(), ..alert }))
    }
}

/// Returns an alert about the host that names no user.
pub(super) fn alert(code: &str, sentence: &str) -> Event {
    Event::Alert(Box::new(Alert::new(code, sentence)))
}
