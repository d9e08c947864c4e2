//! What a wait of the relay brought.

/// Independent facts of one poll; `taps` in the order of the entries that were waited for.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "five independent facts of one poll")]
pub(super) struct Ready {
    pub(super) signals: bool,
    pub(super) report: bool,
    pub(super) taps: Vec<bool>,
    pub(super) from_caller: bool,
    pub(super) to_caller: bool,
    pub(super) from_command: bool,
    pub(super) to_command: bool,
}
