//! Reviews: one row for each use of break-glass that must be reviewed, one for each assignment that was reviewed. The
//! history is in the journal; these tables hold the current state.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{FindError, GrantStore, LIST_LIMIT};
use jit_core::grant::RequestTerms;
use jit_core::names::{GrantId, Person, RoleName, UserName};

/// The tables of reviews.
pub const SCHEMA: &str = "
CREATE TABLE review_debt (id TEXT PRIMARY KEY, uid INTEGER NOT NULL, user TEXT NOT NULL, role TEXT NOT NULL, at INTEGER NOT NULL, reviewer TEXT, reviewed INTEGER, comment BLOB) STRICT;
CREATE UNIQUE INDEX review_debt_open ON review_debt (uid, user) WHERE reviewer IS NULL;
CREATE TABLE certification (role TEXT NOT NULL, holder TEXT NOT NULL, verdict TEXT NOT NULL, reviewer TEXT NOT NULL, at INTEGER NOT NULL, comment BLOB NOT NULL, PRIMARY KEY (role, holder)) STRICT, WITHOUT ROWID;
CREATE INDEX granted_by_role ON granted (role, uid, starts);
";

/// A use of break-glass that must be reviewed.
#[derive(Debug, Clone)]
pub struct Debt {
    /// The id of the request and grant.
    pub id: GrantId,
    /// The uid of the user.
    pub uid: u32,
    /// The name of the user at that time.
    pub user: UserName,
    /// The role.
    pub role: RoleName,
    /// When, in seconds since 1970.
    pub at: i64,
}

/// The latest answer about an assignment.
#[derive(Debug, Clone)]
pub struct Certification {
    /// The holder of the assignment, as the policy writes it.
    pub holder: String,
    /// The verdict.
    pub verdict: String,
    /// The name of the reviewer.
    pub reviewer: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// The comment of the reviewer.
    pub comment: Vec<u8>,
}

impl GrantStore<'_> {
    /// Returns the break-glass grant of `person` that has not been reviewed yet.
    pub fn open_debt_of(&self, person: &Person) -> rusqlite::Result<Option<GrantId>> {
        let query = "SELECT id FROM review_debt WHERE uid = ?1 AND user = ?2 AND reviewer IS NULL";
        let id: Option<String> =
            self.connection.query_row(query, params![person.uid, person.name.as_str()], |row| row.get(0)).optional()?;
        id.map(|id| GrantId::parse(&id).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into())))
            .transpose()
    }

    /// Returns every open debt, oldest first.
    pub fn open_debts(&self) -> Result<Vec<Debt>, FindError> {
        let mut statement = self.connection.prepare(
            "SELECT id, uid, user, role, at FROM review_debt WHERE reviewer IS NULL ORDER BY at, id LIMIT ?1",
        )?;
        let rows = statement.query_map([LIST_LIMIT], |row| Ok(read_debt(row)))?;
        let mut debts = Vec::new();
        for row in rows {
            debts.push(row??);
        }
        Ok(debts)
    }

    /// Returns the open debt of this grant.
    pub fn open_debt(&self, id: &GrantId) -> Result<Debt, FindError> {
        let query = "SELECT id, uid, user, role, at FROM review_debt WHERE id = ?1 AND reviewer IS NULL";
        self.connection
            .query_row(query, [id.as_str()], |row| Ok(read_debt(row)))
            .optional()?
            .ok_or(FindError::Unknown)?
    }

    /// Returns the latest answers about the assignments of a role.
    pub fn certifications(&self, role: &RoleName) -> rusqlite::Result<Vec<Certification>> {
        let query = "SELECT holder, verdict, reviewer, at, comment FROM certification WHERE role = ?1";
        let mut statement = self.connection.prepare(query)?;
        let rows = statement.query_map([role.as_str()], |row| {
            Ok(Certification {
                holder: row.get(0)?,
                verdict: row.get(1)?,
                reviewer: row.get(2)?,
                at: row.get(3)?,
                comment: row.get(4)?,
            })
        })?;
        rows.collect()
    }

    /// Returns every person who had a grant of `role` that had begun by `now`, with the start of their last one.
    /// Of several names of one uid it returns only the latest: the others have no account.
    pub fn last_uses(&self, role: &RoleName, now: i64) -> Result<Vec<(Person, i64)>, FindError> {
        let query = "SELECT uid, max(starts) FROM granted WHERE role = ?1 AND starts <= ?2 GROUP BY uid";
        let mut statement = self.connection.prepare(query)?;
        let rows = statement
            .query_map(params![role.as_str(), now], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?)))?;
        let body = "SELECT id FROM granted WHERE role = ?1 AND uid = ?2 AND starts = ?3 LIMIT 1";
        let mut latest = self.connection.prepare(body)?;
        let mut uses = Vec::new();
        for row in rows {
            let (uid, at) = row?;
            let id: String = latest.query_row(params![role.as_str(), uid, at], |row| row.get(0))?;
            let id = GrantId::parse(&id).map_err(|_| FindError::Damaged(id))?;
            let grant = self.grant(&id)?.ok_or(FindError::Unknown)?;
            uses.push((grant.terms.person(), at));
        }
        Ok(uses)
    }
}

/// Stores a use of break-glass that must be reviewed; fails where the same person has an open debt.
pub fn insert_debt(tx: &Transaction<'_>, terms: &RequestTerms) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO review_debt (id, uid, user, role, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![terms.id.as_str(), terms.uid, terms.user.as_str(), terms.role.as_str(), terms.created],
    )?;
    Ok(())
}

/// Stores the latest answer about an assignment.
pub fn certify(tx: &Transaction<'_>, role: &RoleName, answer: &Certification) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO certification (role, holder, verdict, reviewer, at, comment) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![role.as_str(), answer.holder, answer.verdict, answer.reviewer, answer.at, answer.comment],
    )?;
    Ok(())
}

fn read_debt(row: &Row<'_>) -> Result<Debt, FindError> {
    let id: String = row.get(0)?;
    let damaged = || FindError::Damaged(format!("the review debt {id}"));
    let (user, role): (String, String) = (row.get(2)?, row.get(3)?);
    Ok(Debt {
        id: GrantId::parse(&id).map_err(|_| damaged())?,
        uid: row.get(1)?,
        user: UserName::parse(&user).map_err(|_| damaged())?,
        role: RoleName::parse(&role).map_err(|_| damaged())?,
        at: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use crate::store::{carry_out, settle};
    use crate::verify::Act;
    use jit_core::grant::StatementKind;

    fn database(scratch: &Scratch) -> Database {
        Database::create(&scratch.path(), &[super::super::SCHEMA, super::super::STATEMENT_SCHEMA, SCHEMA]).unwrap()
    }

    fn owe(database: &Database, id: &str, uid: u32) -> Result<(), rusqlite::Error> {
        let insert = "INSERT INTO review_debt (id, uid, user, role, at) VALUES (?1, ?2, 'alice', 'ops', 5)";
        database.connection().execute(insert, params![id, uid]).map(drop)
    }

    #[test]
    fn one_person_has_one_open_debt_until_it_is_settled() {
        let scratch = Scratch::new("review-debt");
        let database = database(&scratch);
        let store = GrantStore::new(database.connection());
        owe(&database, "0000000001", 1000).unwrap();
        assert!(owe(&database, "0000000002", 1000).is_err());
        owe(&database, "0000000003", 1001).unwrap();
        assert_eq!(store.open_debts().unwrap().len(), 2);
        let alice = Person { uid: 1000, name: UserName::parse("alice").unwrap() };
        let next = Person { uid: 1000, name: UserName::parse("dave").unwrap() };
        assert_eq!(store.open_debt_of(&next).unwrap(), None, "the uid alone owes nothing");
        let id = store.open_debt_of(&alice).unwrap().unwrap();
        assert_eq!(id.as_str(), "0000000001");
        let review = super::super::tests::statement(StatementKind::Review, &id);
        let (bob, root) = (Act::by_a_key(1001), Act::of_root(0).unwrap());
        // An act of another person than the reviewer does not settle it.
        for (act, settled) in [(&root, false), (&bob, true), (&bob, false)] {
            let tx = database.connection().unchecked_transaction().unwrap();
            assert!(!carry_out(&tx, &review, super::super::tests::NOW).unwrap());
            assert_eq!(settle(&tx, &review, act, 9).unwrap(), settled);
            tx.commit().unwrap();
        }
        assert_eq!(store.statements(&id).unwrap().len(), 1);
        assert_eq!(store.open_debt_of(&alice).unwrap(), None);
        assert!(matches!(store.open_debt(&id), Err(FindError::Unknown)));
        owe(&database, "0000000002", 1000).unwrap();
    }

    #[test]
    fn the_latest_answer_about_an_assignment_counts() {
        let scratch = Scratch::new("review-certify");
        let database = database(&scratch);
        let role = RoleName::parse("ops").unwrap();
        for (verdict, at) in [("confirmed", 1), ("removal-proposed", 2)] {
            let answer = Certification {
                holder: "%web".into(),
                verdict: verdict.into(),
                reviewer: "bob".into(),
                at,
                comment: b"x".to_vec(),
            };
            let tx = database.connection().unchecked_transaction().unwrap();
            certify(&tx, &role, &answer).unwrap();
            tx.commit().unwrap();
        }
        let answers = GrantStore::new(database.connection()).certifications(&role).unwrap();
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].verdict.as_str(), answers[0].at), ("removal-proposed", 2));
    }
}
