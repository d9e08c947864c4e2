//! Whether a running command may go on. The session asks; it does not know the grant database.

use std::time::Duration;

/// Why a running command must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The grant's time is over.
    Expiry,
    /// Somebody took the grant back.
    Revocation,
    /// Its holder gave the grant back.
    Release,
}

/// The eye that `run.rs` keeps on the grant of a running command.
pub trait Watch {
    /// Called once, as soon as the command has been started: the moment for work that no one waits for.
    fn begun(&mut self) {}

    /// Why the command must end now, if it must. Must be cheap: it is asked several times a second.
    fn verdict(&mut self) -> Option<Ending>;

    /// How long until it is worth asking again; `None` when nothing can end the command.
    fn patience(&self) -> Option<Duration>;
}
