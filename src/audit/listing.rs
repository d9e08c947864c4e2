//! Reading the journal: listings in pages of bounded size, and the verification of the whole chain.
//! May not: write.

use rusqlite::{Row as SqlRow, params};

use super::chain::{Chain, Copies, FirstBad, Row, Verified};
use super::journal::{Journal, JournalError, Written, digest, sql_bound};
use super::record::Digest;
use super::sink::Backlog;
use crate::names::GrantId;

/// The most records that one page of a listing holds.
pub const PAGE_LIMIT: u32 = 10_000;

/// A page of a listing ends when its bodies have this many bytes.
pub const PAGE_BYTES: usize = 8 << 20;

/// One stored record, as a listing gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub seq: u64,
    /// Its exact bytes.
    pub body: String,
    /// Its stored hash.
    pub hash: Digest,
}

/// Part of a listing, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records.
    pub records: Vec<Stored>,
    /// More follow (or precede, when the newest were asked for).
    pub more: bool,
}

/// Which records to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Only this kind.
    pub kind: Option<&'a str>,
    /// Only what this user did.
    pub uid: Option<u32>,
}

/// Which end of the journal a listing gives when it cannot give all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The oldest records.
    Oldest,
    /// The newest records (but listed oldest first, too).
    Newest,
}

impl Journal<'_> {
    /// At most `limit` records (and [`PAGE_LIMIT`], and about [`PAGE_BYTES`]) with a number greater than `after`.
    pub fn list(&self, after: u64, limit: u32, order: Order, filter: Filter<'_>) -> Result<Page, JournalError> {
        let direction = match order {
            Order::Oldest => "ASC",
            Order::Newest => "DESC",
        };
        // An index is used only for what is really asked, so the text holds only the conditions that apply.
        let by_kind = if filter.kind.is_some() { "AND kind = ?2" } else { "AND ?2 IS NULL" };
        let by_uid = if filter.uid.is_some() { "AND uid = ?3" } else { "AND ?3 IS NULL" };
        let query =
            format!("SELECT seq, body, hash FROM record WHERE seq > ?1 {by_kind} {by_uid} ORDER BY seq {direction}");
        let mut page = self.page(&query, params![sql_bound(after), filter.kind, filter.uid], limit)?;
        if order == Order::Newest {
            page.records.reverse();
        }
        Ok(page)
    }

    /// Every record of one run.
    pub fn by_run(&self, run: &str) -> Result<Page, JournalError> {
        self.page("SELECT seq, body, hash FROM record WHERE run = ?1 ORDER BY seq", params![run], PAGE_LIMIT)
    }

    /// Every record of one request and its grant, runs included.
    pub fn by_grant(&self, grant: &GrantId) -> Result<Page, JournalError> {
        let query = "SELECT seq, body, hash FROM record WHERE grant_id = ?1 ORDER BY seq";
        self.page(query, params![grant.as_str()], PAGE_LIMIT)
    }

    /// One record.
    pub fn by_seq(&self, seq: u64) -> Result<Option<Stored>, JournalError> {
        let query = "SELECT seq, body, hash FROM record WHERE seq = ?1";
        Ok(self.page(query, params![sql_bound(seq)], 1)?.records.pop())
    }

    /// How many runs were started under a grant.
    pub fn count_runs_of_grant(&self, grant: &GrantId) -> Result<u64, JournalError> {
        let query = "SELECT count(*) FROM record WHERE grant_id = ?1 AND kind = 'start'";
        let count: i64 = self.database.connection().query_row(query, [grant.as_str()], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Verifies every record, from the first to the last, in one pass over a snapshot.
    pub fn verify_all(&self) -> Result<Result<Verified, FirstBad>, JournalError> {
        let query = "SELECT seq, kind, uid, run, grant_id, at, high, hash, body FROM record ORDER BY seq";
        let mut statement = self.database.connection().prepare(query)?;
        let mut rows = statement.query([])?;
        let mut chain = Chain::default();
        while let Some(row) = rows.next()? {
            if let Err(bad) = chain.feed(&chain_row(row)?) {
                return Ok(Err(bad));
            }
        }
        Ok(Ok(chain.verified()))
    }

    fn page(&self, query: &str, parameters: impl rusqlite::Params, limit: u32) -> Result<Page, JournalError> {
        let limit = usize::try_from(limit.min(PAGE_LIMIT)).unwrap_or(usize::MAX);
        let mut statement = self.database.connection().prepare(query)?;
        let mut rows = statement.query(parameters)?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            if records.len() >= limit || bytes >= PAGE_BYTES {
                return Ok(Page { records, more: true });
            }
            let stored = stored(row)?;
            bytes += stored.body.len();
            records.push(stored);
        }
        Ok(Page { records, more: false })
    }
}

impl Backlog for Journal<'_> {
    fn between(&self, from: u64, to: u64) -> Result<Vec<Written>, JournalError> {
        let query = "SELECT seq, body, hash FROM record WHERE seq >= ?1 AND seq < ?2 ORDER BY seq";
        let page = self.page(query, params![sql_bound(from), sql_bound(to)], PAGE_LIMIT)?;
        page.records.into_iter().map(Written::stored).collect()
    }

    fn hash(&self, seq: u64) -> Result<Option<Digest>, JournalError> {
        Ok(self.by_seq(seq)?.map(|stored| stored.hash))
    }
}

fn stored(row: &SqlRow<'_>) -> Result<Stored, JournalError> {
    let body = row.get_ref(1)?.as_bytes().ok().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let body = body.ok_or(JournalError::Damaged("a record that is not text"))?.to_owned();
    Ok(Stored { seq: row.get::<_, i64>(0)?.unsigned_abs(), body, hash: digest(row, 2)? })
}

fn chain_row<'r>(row: &'r SqlRow<'_>) -> Result<Row<'r>, JournalError> {
    let text = |column| -> Result<Option<&'r str>, JournalError> {
        row.get_ref(column)?.as_str_or_null().map_err(|_| JournalError::Damaged("a column that is not text"))
    };
    Ok(Row {
        seq: row.get::<_, i64>(0)?.unsigned_abs(),
        body: row.get_ref(8)?.as_bytes().unwrap_or_default(),
        hash: row.get_ref(7)?.as_bytes().unwrap_or_default(),
        copies: Some(Copies {
            kind: text(1)?.unwrap_or_default(),
            uid: row.get(2)?,
            run: text(3)?,
            grant: text(4)?,
            at: row.get(5)?,
            high: row.get(6)?,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{SCHEMA, sample};
    use crate::database::tests::Scratch;
    use crate::database::{Database, Durability};

    /// 110 records: the first eleven kinds, each ten times.
    fn fill(database: &Database) {
        let journal = Journal::new(database, "web1", Vec::new());
        database
            .write(Durability::Ordered, |transaction| {
                for event in sample::events().into_iter().take(11).cycle().take(110) {
                    let _ = journal.append(transaction, &sample::moment(1), event)?;
                }
                Ok::<_, JournalError>(())
            })
            .unwrap();
    }

    fn numbers(page: &Page) -> Vec<u64> {
        page.records.iter().map(|record| record.seq).collect()
    }

    #[test]
    fn pages_come_oldest_first_from_either_end() {
        let scratch = Scratch::new("listing-pages");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        fill(&database);
        let journal = Journal::new(&database, "web1", Vec::new());
        let list = |after, limit, order| journal.list(after, limit, order, Filter::default()).unwrap();
        assert_eq!((numbers(&list(0, 3, Order::Oldest)), list(0, 3, Order::Oldest).more), (vec![1, 2, 3], true));
        assert_eq!((numbers(&list(108, 3, Order::Oldest)), list(108, 3, Order::Oldest).more), (vec![109, 110], false));
        assert_eq!(numbers(&list(0, 3, Order::Newest)), [108, 109, 110]);
        assert_eq!(numbers(&list(109, 3, Order::Newest)), [110]);
        assert!(list(u64::MAX, 3, Order::Newest).records.is_empty());
        assert_eq!((numbers(&list(0, 0, Order::Oldest)), list(0, 0, Order::Oldest).more), (vec![], true));
        assert_eq!(list(0, u32::MAX, Order::Oldest).records.len(), 110);
    }

    #[test]
    fn filters_by_kind_and_user_combine() {
        let scratch = Scratch::new("listing-filters");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        fill(&database);
        let journal = Journal::new(&database, "web1", Vec::new());
        let count = |kind, uid| journal.list(0, 1000, Order::Newest, Filter { kind, uid }).unwrap().records.len();
        assert_eq!(count(Some("start"), None), 10);
        assert_eq!(count(None, Some(1001)), 30);
        assert_eq!(count(Some("denial"), Some(1001)), 10);
        assert_eq!(count(Some("denial"), Some(1000)), 0);
        assert_eq!(count(Some("x' OR 1=1 --"), None), 0);
        assert_eq!(count(None, Some(u32::MAX)), 0);
    }

    #[test]
    fn records_are_found_by_run_grant_and_number() {
        let scratch = Scratch::new("listing-find");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        fill(&database);
        let journal = Journal::new(&database, "web1", Vec::new());
        assert_eq!(journal.by_run("run000000001").unwrap().records.len(), 30);
        assert_eq!(journal.by_run("").unwrap().records.len(), 0);
        assert_eq!(journal.by_grant(&sample::grant()).unwrap().records.len(), 90);
        assert_eq!(journal.count_runs_of_grant(&sample::grant()).unwrap(), 10);
        assert_eq!(journal.count_runs_of_grant(&GrantId::from_random([0; 8])).unwrap(), 0);
        assert_eq!(journal.by_seq(7).unwrap().unwrap().seq, 7);
        for seq in [0, 111, u64::MAX] {
            assert_eq!(journal.by_seq(seq).unwrap(), None);
        }
    }

    #[test]
    fn every_listing_is_served_by_an_index() {
        let scratch = Scratch::new("listing-plan");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        for condition in ["seq > 5", "seq > 5 AND kind = 'a'", "seq > 5 AND uid = 1", "run = 'a'", "grant_id = 'a'"] {
            let query = format!("EXPLAIN QUERY PLAN SELECT seq, body, hash FROM record WHERE {condition} ORDER BY seq");
            let plan: String = database.connection().query_row(&query, [], |row| row.get(3)).unwrap();
            assert!(plan.starts_with("SEARCH"), "{condition}: {plan}");
        }
    }

    #[test]
    fn a_page_is_bounded_in_bytes() {
        let scratch = Scratch::new("listing-bytes");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let mut start = sample::start("run000000001");
        start.argv = vec!["x".repeat(PAGE_BYTES).into()];
        for second in 1..=2 {
            let start = start.clone();
            let _ = journal.start(&sample::moment(second), start, sample::SELF, |_| Ok::<_, JournalError>(())).unwrap();
        }
        let page = journal.list(0, 10, Order::Oldest, Filter::default()).unwrap();
        assert_eq!((numbers(&page), page.more), (vec![1], true));
    }
}
