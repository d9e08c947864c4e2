//! Who may use a verb.

/// Who may use a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Every caller, about themselves; the function may allow more.
    Anyone,
    /// Root and the readers of the policy's `[audit]`.
    Reader,
    /// Root. The text completes "only root may".
    Root(&'static str),
}
