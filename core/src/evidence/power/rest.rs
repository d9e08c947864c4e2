//! Rows of `review_debt` and `role_text`.

use super::documents::RequestDocument;
use super::names::{Id, digest_of};
use super::requests::closed;
use super::rows::{DebtRow, RoleRow};
use super::{Power, Table};
use crate::escape::{hex, unhex};
use crate::evidence::faults::{Cause, FirstBad};

impl Power {
    /// Compares the next row.
    pub fn debt(&mut self, row: &DebtRow<'_>) {
        self.compared.debts = self.compared.debts.saturating_add(1);
        if let Err(what) = self.compare_debt(row) {
            self.differs(Table::ReviewDebt, row.id, what);
        }
    }

    /// Ends the table and reports missing rows.
    pub fn end_of_debts(&mut self) {
        self.lacking(Table::ReviewDebt, |said| {
            (said.rows.broken || said.owed || said.settled.is_some()) && !said.rows.debt
        });
    }

    fn compare_debt(&mut self, row: &DebtRow<'_>) -> Result<(), String> {
        let said = Id::parse(row.id).and_then(|id| self.said.get_mut(&id)).filter(|said| said.rows.broken);
        let said = said.ok_or("no request says that it was a break-glass activation")?;
        if std::mem::replace(&mut said.rows.debt, true) {
            return Err("there is a second row for it".to_owned());
        }
        if said.request.is_some() && !said.owed {
            return Err("the journal has no record of it".to_owned());
        }
        let bytes = row.request.filter(|bytes| said.request_digest() == Some(digest_of(bytes)));
        let asked = RequestDocument::read(bytes.ok_or("its request is missing")?)?;
        if (row.uid, row.user, row.role, row.at) != (asked.uid, &asked.user, &asked.role, asked.created) {
            return Err("it differs from its request".to_owned());
        }
        match &said.settled {
            Some(done) if row.reviewed.are_empty() => {
                Err(format!("the database says open, the journal says {}", done.sentence(&self.names)))
            }
            Some(done) => closed(&row.reviewed, done, &self.names),
            None if row.reviewed.are_empty() || said.request.is_none() => Ok(()),
            None => Err("the database says reviewed, the journal says open".to_owned()),
        }
    }

    /// Processes the next record, which names this digest of a role.
    ///
    /// # Errors
    /// When it is not a digest.
    pub fn names_role(&mut self, seq: u64, digest: &str) -> Result<(), FirstBad> {
        let malformed = || FirstBad { seq, cause: Cause::Malformed("its role digest is not valid".to_owned()) };
        self.roles.insert(unhex(digest).ok_or_else(malformed)?, false);
        Ok(())
    }

    /// Compares the next row.
    pub fn role(&mut self, row: &RoleRow<'_>) {
        if let Err(what) = self.compare_role(row) {
            self.differs(Table::RoleText, row.digest, what);
        }
    }

    /// Ends the table and reports missing rows.
    pub fn end_of_roles(&mut self) {
        let mut missing: Vec<[u8; 32]> = self.roles.drain().filter(|(_, met)| !met).map(|(digest, _)| digest).collect();
        missing.sort_unstable();
        for digest in missing {
            self.differs(Table::RoleText, &hex(&digest), "its row is missing".to_owned());
        }
    }

    fn compare_role(&mut self, row: &RoleRow<'_>) -> Result<(), String> {
        // An upper-case digest is another key, which no lookup finds.
        let named =
            unhex::<32>(row.digest).filter(|named| hex(named) == row.digest).ok_or("its digest is not valid")?;
        match self.roles.get_mut(&named) {
            Some(met) => *met = true,
            // The run that named it may be gone.
            None if self.pruned.is_some() => {}
            None => return Err("no request and no run names it".to_owned()),
        }
        if digest_of(row.body) == named { Ok(()) } else { Err("its bytes have another digest".to_owned()) }
    }
}
