//! Whether the files of the database are still those that were opened.

use std::time::{Duration, Instant};

use crate::database::DatabaseFiles;

/// The opened database, and when it was last checked whether its files are still there.
pub(super) struct Place<'a> {
    files: &'a DatabaseFiles,
    checked: Option<Instant>,
    interval: Duration,
}

impl<'a> Place<'a> {
    /// The files were opened a moment ago; they are checked at most once in `interval`.
    pub(super) fn of(files: &'a DatabaseFiles, interval: Duration) -> Self {
        Self { files, checked: Some(Instant::now()), interval }
    }

    /// The next question is answered by a check.
    pub(super) fn make_due(&mut self) {
        self.checked = None;
    }

    /// Whether root has replaced the database. Returns false when the last check is newer than the interval.
    pub(super) fn is_replaced(&mut self) -> bool {
        if self.checked.is_some_and(|checked| checked.elapsed() < self.interval) {
            return false;
        }
        self.checked = Some(Instant::now());
        !self.files.is_the_same()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::SCHEMA;
    use crate::database::Database;
    use crate::database::tests::Scratch;

    #[test]
    fn a_replaced_database_is_noticed_at_once_when_a_check_is_due() {
        let scratch = Scratch::new("place");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let mut place = Place::of(database.place(), Duration::from_secs(3600));
        place.make_due();
        assert!(!place.is_replaced(), "it is the one that was opened");
        std::fs::copy(scratch.path(), scratch.path().with_extension("copy")).unwrap();
        std::fs::rename(scratch.path().with_extension("copy"), scratch.path()).unwrap();
        assert!(!place.is_replaced(), "it was checked a moment ago");
        place.make_due();
        assert!(place.is_replaced());
    }
}
