//! The result of a poll of the relay process.

/// Independent facts of one poll; `streams` in the order of the entries that were waited for.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "four independent facts of one poll")]
pub(super) struct Ready {
    pub(super) streams: Vec<bool>,
    pub(super) from_caller: bool,
    pub(super) to_caller: bool,
    pub(super) from_command: bool,
    pub(super) to_command: bool,
}
