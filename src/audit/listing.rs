//! Reads the journal: listings in pages of bounded size.
//! May not: write.

use rusqlite::{OptionalExtension, Row as SqlRow, params};

use super::columns::{digest, sql_bound};
use super::error::JournalError;
use super::history::{HISTORY, history};
use super::journal::{Journal, Written};
use super::sink::Backlog;
use jit_core::clock::Timestamp;
use jit_core::escape::Word;
use jit_core::evidence::filter::{Span, Words};
use jit_core::evidence::record::{Digest, Event, Record};
use jit_core::grant::Means;
use jit_core::names::GrantId;
use jit_core::names::Person;

/// The maximum number of records in one page of a listing.
pub const PAGE_LIMIT: u32 = 10_000;

/// A page of a listing ends when its bodies have this many bytes.
pub const PAGE_BYTES: usize = 8 << 20;

/// A page of a listing ends when this many records were examined, however few of them match.
pub const LOOK_LIMIT: u32 = 20_000;

/// A person sees in a listing what others decided about this many of their latest requests.
const OWN_REQUESTS: u32 = 1000;

/// One stored record, as a listing returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The number.
    pub seq: u64,
    /// The exact bytes.
    pub body: String,
    /// The stored hash.
    pub hash: Digest,
}

/// Part of a listing, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records.
    pub records: Vec<Stored>,
    /// Whether more records follow (or precede, when the newest were requested), or may.
    pub more: bool,
    /// The last record that was examined: where to continue when there is more.
    pub looked_at: u64,
}

/// A range of record numbers, both ends excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    /// Only greater numbers.
    pub after: u64,
    /// Only smaller numbers.
    pub before: u64,
}

impl Between {
    /// Returns the range of all numbers greater than this.
    pub fn after(after: u64) -> Self {
        Self { after, before: u64::MAX }
    }
}

/// Whose records to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Whose {
    /// The records of all users.
    #[default]
    Everybody,
    /// The acts of this user.
    By(Person),
    /// The acts of this user, and the acts of others on their requests and grants.
    About(Person),
}

/// Which records to list.
#[derive(Debug, Clone, Default)]
pub struct Filter<'a> {
    /// Only records of this kind.
    pub kind: Option<&'a str>,
    /// Only rejections, by the program or by a person.
    pub denied: bool,
    /// Only records of these users.
    pub whose: Whose,
    /// Only records of this time.
    pub span: Span,
    /// Only records that contain this text.
    pub words: Words,
}

/// Which end of the journal a listing returns when it cannot return all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The oldest records.
    Oldest,
    /// The newest records (but listed oldest first, too).
    Newest,
}

impl Journal<'_> {
    /// Returns at most `limit` records (and at most [`PAGE_LIMIT`], about [`PAGE_BYTES`], and those among [`LOOK_LIMIT`]).
    pub fn list(&self, between: Between, limit: u32, order: Order, filter: &Filter<'_>) -> Result<Page, JournalError> {
        let direction = match order {
            Order::Oldest => "ASC",
            Order::Newest => "DESC",
        };
        // SQLite uses an index only for conditions in the text of the query, so it holds only those that apply. The index of
        // kinds does not hold starts and ends: they are most of all records.
        let by_kind = match filter.kind {
            None => "AND ?3 IS NULL",
            Some("start" | "end") => "AND kind = ?3",
            Some(_) => "AND kind = ?3 AND kind NOT IN ('start', 'end')",
        };
        let select = |condition: &str| {
            format!(
                "SELECT seq, body, hash, kind, at FROM history WHERE seq > ?1 AND seq < ?2 {by_kind} AND {condition}"
            )
        };
        let (rows, person) = match &filter.whose {
            Whose::Everybody => (select("?4 IS NULL AND ?5 IS NULL AND ?6 IS NULL"), None),
            Whose::By(person) => (select(&format!("{BY_PERSON} AND ?6 IS NOT NULL")), Some(person)),
            Whose::About(person) => (format!("{} UNION ALL {}", select(BY_PERSON), select(&of_others())), Some(person)),
        };
        let uid = person.map(|person| person.uid);
        let in_record = person.map(|person| named(&Word::from(person.name.as_str())));
        let in_request = person.map(|person| named(&person.name));
        let query = format!("{HISTORY} {rows} ORDER BY seq {direction}");
        let parameters =
            params![sql_bound(between.after), sql_bound(between.before), filter.kind, uid, in_record, in_request];
        let mut page = self.page(&query, parameters, limit, filter)?;
        if order == Order::Newest {
            page.records.reverse();
        }
        Ok(page)
    }

    /// Whether the person did what this record describes.
    pub fn is_by(&self, person: &Person, seq: u64) -> rusqlite::Result<bool> {
        let query = format!(
            "{HISTORY} SELECT count(*) FROM history WHERE seq = ?1 AND ?2 IS NULL AND ?3 IS NULL AND {BY_PERSON}"
        );
        let nothing: Option<i64> = None;
        let parameters =
            params![sql_bound(seq), nothing, nothing, person.uid, named(&Word::from(person.name.as_str()))];
        let count: i64 = self.database.connection().query_row(&query, parameters, |row| row.get(0))?;
        Ok(count > 0)
    }

    /// Returns the number of the first record that is not older than `time` by the running maximum of the clock: the start of an
    /// export since then. One more than the number of the last record when all are older.
    pub fn first_since(&self, time: Timestamp) -> Result<u64, JournalError> {
        let connection = self.database.connection();
        let ends = history!("SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM history WHERE seq > 0");
        let (mut low, high): (i64, i64) = connection.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut high = high.saturating_add(1);
        let mut look = connection.prepare(history!("SELECT high FROM history WHERE seq >= ?1 ORDER BY seq LIMIT 1"))?;
        while low < high {
            let middle = low.midpoint(high);
            let reached: Option<i64> = look.query_row([middle], |row| row.get(0)).optional()?;
            if reached.is_some_and(|reached| reached < time.0) { low = middle.saturating_add(1) } else { high = middle }
        }
        Ok(low.unsigned_abs())
    }

    /// Returns every record of one run.
    pub fn by_run(&self, run: &str) -> Result<Page, JournalError> {
        let query = history!("SELECT seq, body, hash, kind, at FROM history WHERE run = ?1 ORDER BY seq");
        self.page(query, params![run], PAGE_LIMIT, &Filter::default())
    }

    /// Returns every record of one request and its grant, including runs.
    pub fn by_grant(&self, grant: &GrantId) -> Result<Page, JournalError> {
        let query = history!("SELECT seq, body, hash, kind, at FROM history WHERE grant_id = ?1 ORDER BY seq");
        self.page(query, params![grant.as_str()], PAGE_LIMIT, &Filter::default())
    }

    /// Returns one record.
    pub fn by_seq(&self, seq: u64) -> Result<Option<Stored>, JournalError> {
        let query = history!("SELECT seq, body, hash, kind, at FROM history WHERE seq = ?1");
        Ok(self.page(query, params![sql_bound(seq)], 1, &Filter::default())?.records.pop())
    }

    /// Returns the number of runs that were started under a grant.
    pub fn count_runs_of_grant(&self, grant: &GrantId) -> Result<u64, JournalError> {
        let query = history!("SELECT count(*) FROM history WHERE grant_id = ?1 AND kind = 'start'");
        let count: i64 = self.database.connection().query_row(query, [grant.as_str()], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Returns the digests of those approvals of a request whose approvers PAM has authenticated, according to the records.
    pub fn approvals_by_password(&self, grant: &GrantId) -> Result<Vec<Digest>, JournalError> {
        let query = history!("SELECT body FROM history WHERE grant_id = ?1 AND kind = 'approval'");
        let mut statement = self.database.connection().prepare(query)?;
        let bodies = statement.query_map([grant.as_str()], |row| row.get::<_, Vec<u8>>(0))?;
        let mut digests = Vec::new();
        for body in bodies {
            // A record that cannot be decoded does not show that an approver was authenticated.
            match Record::decode(&String::from_utf8_lossy(&body?)).map(|record| record.event) {
                Ok(Event::Approval(approval)) if approval.authenticated == Some(Means::Password) => {
                    digests.push(approval.sha256);
                }
                _ => {}
            }
        }
        Ok(digests)
    }

    fn page(
        &self,
        query: &str,
        parameters: impl rusqlite::Params,
        limit: u32,
        filter: &Filter<'_>,
    ) -> Result<Page, JournalError> {
        let limit = usize::try_from(limit.min(PAGE_LIMIT)).unwrap_or(usize::MAX);
        let mut statement = self.database.connection().prepare(query)?;
        let mut rows = statement.query(parameters)?;
        let mut page = Page { records: Vec::new(), more: false, looked_at: 0 };
        let (mut bytes, mut looks) = (0, 0_u32);
        while let Some(row) = rows.next()? {
            if page.records.len() >= limit || bytes >= PAGE_BYTES || looks >= LOOK_LIMIT {
                page.more = true;
                break;
            }
            looks = looks.saturating_add(1);
            page.looked_at = row.get::<_, i64>(0)?.unsigned_abs();
            let kind = row.get_ref(3)?.as_str().unwrap_or_default();
            let denied = matches!(kind, "reject" | "denial");
            if (filter.denied && !denied) || !filter.span.holds(row.get(4)?) {
                continue;
            }
            let stored = stored(row)?;
            if filter.words.fit(&stored.body) {
                bytes += stored.body.len();
                page.records.push(stored);
            }
        }
        Ok(page)
    }
}

/// Selects the acts of the person with uid ?4: the record names them as the text ?5, or the start of its run does. The bundled
/// SQLite has no JSON functions; inside a JSON string a quotation mark always has a backslash, so the text can only match the key
/// itself.
const BY_PERSON: &str = "uid = ?4 AND (instr(body, ?5) > 0 OR instr(body, CAST('\"user\":' AS BLOB)) = 0 \
    AND EXISTS (SELECT 1 FROM history s WHERE s.run = history.run AND s.kind = 'start' AND instr(s.body, ?5) > 0))";

/// Selects the acts of others on the requests and grants of that person, whom a request names as ?6.
fn of_others() -> String {
    format!(
        "uid IS NOT ?4 AND grant_id IN (SELECT id FROM request WHERE uid = ?4 \
         AND instr(body, ?6) > 0 ORDER BY created DESC LIMIT {OWN_REQUESTS})"
    )
}

/// Returns the key and value by which exact bytes name a person.
fn named<T: serde::Serialize>(user: &T) -> Vec<u8> {
    // A name that cannot be encoded matches nothing: no record holds a zero byte.
    serde_json::to_vec(user).map_or(vec![0], |value| [b"\"user\":", &value[..]].concat())
}

impl Backlog for Journal<'_> {
    fn between(&self, from: u64, to: u64) -> Result<Vec<Written>, JournalError> {
        let query = history!("SELECT seq, body, hash, kind, at FROM history WHERE seq >= ?1 AND seq < ?2 ORDER BY seq");
        let page = self.page(query, params![sql_bound(from), sql_bound(to)], PAGE_LIMIT, &Filter::default())?;
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
                let events = sample::events().into_iter().filter(|event| event.keys().kind != "policy");
                for event in events.take(11).cycle().take(110) {
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
        let list = |after, limit, order| journal.list(Between::after(after), limit, order, &Filter::default()).unwrap();
        assert_eq!((numbers(&list(0, 3, Order::Oldest)), list(0, 3, Order::Oldest).more), (vec![1, 2, 3], true));
        assert_eq!((numbers(&list(108, 3, Order::Oldest)), list(108, 3, Order::Oldest).more), (vec![109, 110], false));
        assert_eq!(numbers(&list(0, 3, Order::Newest)), [108, 109, 110]);
        assert_eq!(numbers(&list(109, 3, Order::Newest)), [110]);
        assert!(list(u64::MAX, 3, Order::Newest).records.is_empty());
        assert_eq!((numbers(&list(0, 0, Order::Oldest)), list(0, 0, Order::Oldest).more), (vec![], true));
        assert_eq!(list(0, u32::MAX, Order::Oldest).records.len(), 110);
    }

    /// Returns one of the persons in the sample.
    fn person(uid: u32) -> Person {
        let name = if uid == 1001 { "bob" } else { "alice" };
        Person { uid, name: jit_core::names::UserName::parse(name).unwrap() }
    }

    #[test]
    fn filters_by_kind_and_user_combine() {
        let scratch = Scratch::new("listing-filters");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        fill(&database);
        let journal = Journal::new(&database, "web1", Vec::new());
        let count = |kind, uid: Option<u32>| {
            let whose = uid.map_or(Whose::Everybody, |uid| Whose::By(person(uid)));
            let filter = Filter { kind, whose, ..Filter::default() };
            journal.list(Between::after(0), 1000, Order::Newest, &filter).unwrap().records.len()
        };
        assert_eq!(count(Some("start"), None), 10);
        assert_eq!(count(None, Some(1001)), 30);
        assert_eq!(count(Some("denial"), Some(1001)), 10);
        assert_eq!(count(Some("denial"), Some(1000)), 0);
        assert_eq!(count(Some("x' OR 1=1 --"), None), 0);
        assert_eq!(count(None, Some(u32::MAX)), 0);
        let own = journal.list(Between::after(0), 1, Order::Newest, &by(person(1001))).unwrap().records.remove(0).seq;
        let later = Person { uid: 1001, ..person(1000) };
        assert!(journal.is_by(&person(1001), own).unwrap() && !journal.is_by(&later, own).unwrap());
        let inherited = journal.list(Between::after(0), 1000, Order::Newest, &by(later)).unwrap().records;
        assert!(inherited.is_empty(), "who gets a uid does not get its records");
    }

    fn by(person: Person) -> Filter<'static> {
        Filter { whose: Whose::By(person), ..Filter::default() }
    }

    #[test]
    fn a_person_sees_what_others_decided_about_their_requests() {
        let scratch = Scratch::new("listing-about");
        let database = Database::create(&scratch.path(), &[SCHEMA, crate::store::SCHEMA]).unwrap();
        fill(&database);
        let journal = Journal::new(&database, "web1", Vec::new());
        let about = |uid, order| {
            let filter = Filter { whose: Whose::About(person(uid)), ..Filter::default() };
            numbers(&journal.list(Between::after(0), 1000, order, &filter).unwrap())
        };
        assert_eq!(about(1001, Order::Newest).len(), 30);
        let request = "INSERT INTO request (id, uid, role, state, created, deadline, needed, body) \
                       VALUES (?1, 1000, 'web-ops', 'approved', 1, 2, 1, CAST('{\"user\":\"alice\"}' AS BLOB))";
        database.connection().execute(request, [sample::grant().as_str()]).unwrap();
        let all = about(1000, Order::Oldest);
        assert!(all.is_sorted() && all == about(1000, Order::Newest), "{all:?}");
        assert_eq!(all.len(), 100, "their own and those of bob about their grant, and no alert about root");
        let filter = Filter { whose: Whose::About(person(1000)), kind: Some("denial"), ..Filter::default() };
        assert_eq!(journal.list(Between::after(0), 1000, Order::Newest, &filter).unwrap().records.len(), 10);
    }

    #[test]
    fn text_and_time_filters_work_across_pages() {
        let scratch = Scratch::new("listing-words");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        sample::fill(&journal, LOOK_LIMIT as usize + 50);
        let last = sample::started(&journal, "run000000009", 5).written().seq;
        let words = Words { text: Some("run000000009".into()), ..Words::default() };
        let filter = Filter { words, ..Filter::default() };
        let first = journal.list(Between::after(0), 10, Order::Oldest, &filter).unwrap();
        assert_eq!((numbers(&first), first.more, first.looked_at), (vec![], true, u64::from(LOOK_LIMIT)));
        let next = journal.list(Between::after(first.looked_at), 10, Order::Oldest, &filter).unwrap();
        assert_eq!((numbers(&next), next.more), (vec![last], false));
        let newest = journal.list(Between::after(0), 10, Order::Newest, &filter).unwrap();
        assert_eq!((numbers(&newest), newest.more), (vec![last], true));
        let span = Span { since: sample::moment(5).wall, ..Span::default() };
        let since = Filter { span, ..Filter::default() };
        assert_eq!(numbers(&journal.list(Between::after(last - 9), 10, Order::Oldest, &since).unwrap()), [last]);
        let denied = Filter { denied: true, ..Filter::default() };
        let between = Between { after: 0, before: 14 };
        assert_eq!(numbers(&journal.list(between, 99, Order::Oldest, &denied).unwrap()), [3, 7]);
        for (second, wanted) in [(0, 1), (1, 1), (2, last), (5, last), (6, last + 1)] {
            assert_eq!(journal.first_since(sample::moment(second).wall).unwrap(), wanted, "{second}");
        }
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
    fn every_listing_uses_an_index() {
        let scratch = Scratch::new("listing-plan");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        for (condition, index) in [
            ("seq > 5", "USING INTEGER PRIMARY KEY"),
            ("seq > 5 AND kind = 'a' AND kind NOT IN ('start', 'end')", "USING INDEX record_by_kind"),
            ("seq > 5 AND uid = 1", "USING INDEX record_by_uid"),
            ("run = 'a'", "USING INDEX record_by_run"),
            ("grant_id = 'a'", "USING INDEX record_by_grant"),
        ] {
            let query = format!(
                "EXPLAIN QUERY PLAN {HISTORY} SELECT seq, body, hash FROM history WHERE {condition} ORDER BY seq"
            );
            let plan: String = database.connection().query_row(&query, [], |row| row.get(3)).unwrap();
            assert!(plan.starts_with("SEARCH") && plan.contains(index), "{condition}: {plan}");
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
        let page = journal.list(Between::after(0), 10, Order::Oldest, &Filter::default()).unwrap();
        assert_eq!((numbers(&page), page.more), (vec![1], true));
    }
}
