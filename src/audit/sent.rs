//! How far a log sink has got, as a file beside the database says.

use jit_core::evidence::Mark;

/// What a log sink got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The name of the sink.
    pub sink: String,
    /// The last record.
    pub last: Mark,
    /// The last of those that were on the disk when it got them, which no power failure can lose; number 0 without one. `None` if it
    /// is not known, as an earlier version left it.
    pub synced: Option<Mark>,
}

impl Sent {
    /// Decodes the file of a log sink: the last record, and the last synced one.
    pub fn parse(sink: &str, bytes: &[u8]) -> Option<Self> {
        let (last, rest) = bytes.split_at_checked(Mark::LENGTH)?;
        Some(Self { sink: sink.to_owned(), last: Mark::parse(last)?, synced: Mark::parse(rest) })
    }
}
