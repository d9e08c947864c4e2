//! The valid records: those after the last pruning. Earlier rows were left over from it or inserted since, so every query
//! of this module reads `history` instead of the table (tests/floors.rs finds those that do not).

/// A query of `history`: the table `record` without the pruned records.
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

/// The same prefix for a query that is composed at run time.
pub(super) const HISTORY: &str = history!("");
