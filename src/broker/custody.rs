//! Root states that the host's database, identity and clock are right as they stand. Nothing that was granted before
//! survives it.

use super::Desk;
use super::decisions::given;
use super::failure::{Refused, refused};
use super::statement::{Matter, Speaker};
use super::wire::Answer;
use crate::audit::record::Alert;
use crate::audit::{Due, Event, Written, custody};
use crate::database::Durability;
use crate::escape::Word;
use crate::grant::StatementKind;
use crate::names::GrantId;
use crate::store::{GrantStore, Which};

impl Desk<'_> {
    pub(super) fn key_accept(&self, reason: &Word) -> Result<Answer, Refused> {
        if self.caller.uid() != 0 {
            return Err(refused("not-root", "only root may accept the state of this host"));
        }
        let reason = given("reason", reason)?;
        let (ids, written) = self.host.database().write(Durability::Synced, |tx| {
            let (ids, mut written) = self.end_all(tx, reason)?;
            let accepted = Alert {
                code: custody::ACCEPTED.to_owned(),
                sentence: reason.clone(),
                uid: Some(self.caller.uid()),
                user: Some(Word::from(self.caller.name().as_str())),
                run: None,
                grant: None,
                identity: None,
            };
            written.push(self.journal.append(tx, self.now.moment(), Event::Alert(Box::new(accepted)))?);
            custody::accept(tx)?;
            Ok::<_, Refused>((ids, written))
        })?;
        let _ = self.journal.mirror(&written);
        // By the key of today: a verification asks for it where another one has signed before.
        self.host.seal(self.journal, Due::Now)?;
        self.host.ring();
        Ok(Answer::Ended(ids))
    }

    /// Ends every open grant, however many there are, each by a statement of its own.
    fn end_all(&self, tx: &rusqlite::Transaction<'_>, reason: &Word) -> Result<(Vec<GrantId>, Vec<Written>), Refused> {
        let (identity, speaker) = (self.host.witness()?, Speaker::Here(self.caller));
        let (mut ids, mut written) = (Vec::new(), Vec::new());
        // By the wall clock: what is over by the journal's time alone would begin again with the time that counts from here on.
        let wall = self.now.moment().wall.seconds();
        loop {
            let open = GrantStore::new(tx).open_grants(Which::Everybody, wall)?;
            if open.is_empty() {
                return Ok((ids, written));
            }
            for grant in open {
                let matter = Matter::from(&grant.terms);
                let statement = self.stated(speaker, StatementKind::Revocation, &matter, reason, &identity)?;
                let record = self.carry_out(tx, &statement, &matter)?;
                let cannot = || refused("damaged", format!("grant {} cannot be ended", grant.terms.id));
                written.push(record.ok_or_else(cannot)?);
                ids.push(grant.terms.id);
            }
        }
    }
}
