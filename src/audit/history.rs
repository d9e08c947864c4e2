//! The records that count: those behind the last pruning. Whatever stands before is left over from it, or was put there since, and
//! every query of this room reads `history` in place of the table (tests/floors.rs looks for those that do not).

/// A query of `history`: the table `record` without what was pruned.
macro_rules! history {
    ($query:literal) => {
        concat!(
            "WITH history AS NOT MATERIALIZED (SELECT * FROM record WHERE seq > coalesce(\
             (SELECT CAST(substr(value, 1, 20) AS INTEGER) FROM journal_meta WHERE name = 'pruned'), 0)) ",
            $query
        )
    };
}
pub(super) use history;

/// The same for a query that is put together.
pub(super) const HISTORY: &str = history!("");
