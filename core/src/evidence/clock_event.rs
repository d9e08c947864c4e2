//! The record of a confirmed clock: from here the time of records is known from outside the host.

use serde::{Deserialize, Serialize};

/// The kind of the record.
pub const CLOCK: &str = "clock";

/// The clock of this boot was confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockConfirmed {
    /// What confirmed it.
    pub confirmed_by: Confirmation,
}

/// What confirmed the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirmation {
    /// The kernel: a daemon synchronises the clock (adjtimex(2)).
    Synchronised,
}
