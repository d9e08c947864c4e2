//! The columns that the journal keeps for a record.

/// The columns that the journal keeps for searching; they must agree with the record.
#[derive(Debug, Clone, Copy)]
pub struct Copies<'a> {
    /// The kind.
    pub kind: &'a str,
    /// The uid.
    pub uid: Option<i64>,
    /// The run.
    pub run: Option<&'a str>,
    /// The grant.
    pub grant: Option<&'a str>,
    /// The time, µs.
    pub at: i64,
    /// The latest time so far, µs.
    pub high: i64,
}
