//! Root declares that the host's database, identity and clock are right as they are. All earlier requests and grants end.

use super::Context;
use super::failure::{Refused, refused};
use super::statement::{StatementAuthor, StatementSubject};
use super::words::given;
use crate::audit::{
    Due, InRecords, RequestInRecords, Written, by_statements, of_this_host, open_in_records, request_in_records,
    state_checks,
};
use crate::database::Durability;
use crate::host::Identity;
use crate::store::GrantStore;
use jit_core::escape::Word;
use jit_core::evidence::Event;
use jit_core::evidence::record::Alert;
use jit_core::grant::StatementKind;
use jit_core::grant::lifecycle::GrantEnd;
use jit_core::names::GrantId;
use jit_core::wire::AcceptedInfo;

impl Context<'_> {
    pub(super) fn key_accept(&self, reason: &Word) -> Result<AcceptedInfo, Refused> {
        let reason = given("reason", reason)?;
        let identity = self.host.record_identity_for_statements()?;
        let is_restored = self.journal.restored()?.is_some();
        // An index may hide the records of a grant whose rows are gone. Where the tables themselves are damaged, all that can be ended
        // ends below.
        let _ = self.journal.repair_indexes(self.now.moment());
        let (accepted, written) = self.host.database().write(Durability::Synced, |tx| {
            of_this_host(tx, identity.id.as_str())?;
            let _ = self.journal.rebuild_indexes(tx, self.now.moment())?;
            let alert = Alert {
                code: jit_core::evidence::acceptance::ACCEPTED.to_owned(),
                sentence: reason.clone(),
                uid: Some(self.caller.uid()),
                user: Some(Word::from(self.caller.name().as_str())),
                run: None,
                grant: None,
                identity: Some(identity.host.clone()),
            };
            let doomed = self.doomed(tx)?;
            // The first record, because it names the host identity for which the following statements are signed.
            let alert = self.journal.append(tx, self.now.moment(), Event::Alert(Box::new(alert)))?;
            let (accepted, statements) = self.end_everything(tx, &doomed, reason, &identity)?;
            state_checks::accept(tx)?;
            Ok::<_, Refused>((accepted, [vec![alert], statements].concat()))
        })?;
        self.host.announce(self.journal, &written);
        self.host.begin_line_after_acceptance(self.journal, is_restored)?;
        // Signed with the present key: a verification demands that where another key signed before.
        self.host.seal(self.journal, Due::Now)?;
        Ok(accepted)
    }

    /// Ends all grants and denies all requests.
    pub(super) fn end_everything(
        &self,
        tx: &rusqlite::Transaction<'_>,
        doomed: &[GrantId],
        reason: &Word,
        identity: &Identity,
    ) -> Result<(AcceptedInfo, Vec<Written>), Refused> {
        let mut written = Vec::new();
        let mut ended = AcceptedInfo { grants: Vec::new(), requests: Vec::new(), damaged: Vec::new() };
        self.end_all(tx, doomed, reason, identity, (&mut ended, &mut written))?;
        self.deny_all(tx, reason, identity, (&mut ended, &mut written))?;
        Ok((ended, written))
    }

    /// Returns the grants that are to end though their rows do not ask for it: those that are open by their records, and those under
    /// which a command still runs. Reads the records before the acceptance, by which each of them counts as ended.
    pub(super) fn doomed(&self, tx: &rusqlite::Transaction<'_>) -> Result<Vec<GrantId>, Refused> {
        let recorded = open_in_records(tx, self.now.moment().wall.seconds())?;
        let mut ids: Vec<GrantId> = recorded.into_iter().map(|open| open.id).collect();
        for id in self.journal.grants_in_use()? {
            let is_closed = matches!(GrantStore::new(tx).end_of(&id)?, Some(GrantEnd::Revoked | GrantEnd::Released));
            let is_due = match by_statements(tx, &id)? {
                InRecords::Open => true,
                InRecords::Ended(_) => false,
                InRecords::Unknown => !is_closed,
            };
            if is_due && !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Ends each grant that has not expired by the wall clock, or under which a command runs, each with its own statement. Any other
    /// that has expired by the wall clock stays expired: the journal's time continues from the wall clock.
    fn end_all(
        &self,
        tx: &rusqlite::Transaction<'_>,
        doomed: &[GrantId],
        reason: &Word,
        identity: &Identity,
        (accepted, written): (&mut AcceptedInfo, &mut Vec<Written>),
    ) -> Result<(), Refused> {
        let mut after = 0;
        while let Some((last, open)) = GrantStore::new(tx).unended(after, self.now.moment().wall.seconds())? {
            after = last;
            let mut subjects: Vec<StatementSubject> =
                open.read.iter().map(|grant| StatementSubject::from(&grant.terms)).collect();
            for id in open.damaged.iter().chain(&open.earlier) {
                match StatementSubject::by_request(tx, id, self.now.seconds())? {
                    Some(subject) => subjects.push(subject),
                    None if open.damaged.contains(id) => accepted.damaged.push(Word::from(id.as_str())),
                    None => {}
                }
            }
            for subject in subjects {
                // By its records it had ended before.
                if matches!(by_statements(tx, subject.id())?, InRecords::Ended(_)) {
                    continue;
                }
                self.state(tx, StatementKind::Revocation, &subject, reason, identity, written)?;
                accepted.grants.push(subject.id().clone());
            }
        }
        for id in doomed.iter().filter(|id| !accepted.grants.contains(id)).cloned().collect::<Vec<_>>() {
            let named = Word::from(id.as_str());
            match StatementSubject::by_request(tx, id.as_str(), self.now.seconds())? {
                Some(subject) => {
                    self.state(tx, StatementKind::Revocation, &subject, reason, identity, written)?;
                    accepted.grants.push(id);
                }
                None if accepted.damaged.contains(&named) => {}
                None => accepted.damaged.push(named),
            }
        }
        Ok(())
    }

    /// Denies each request that is undecided and has not expired by the wall clock. Otherwise an approval that was used in a lost
    /// database could be used again.
    fn deny_all(
        &self,
        tx: &rusqlite::Transaction<'_>,
        reason: &Word,
        identity: &Identity,
        (accepted, written): (&mut AcceptedInfo, &mut Vec<Written>),
    ) -> Result<(), Refused> {
        let undecided = GrantStore::new(tx).undecided(self.now.moment().wall.seconds())?;
        accepted.damaged.extend(undecided.damaged.into_iter().map(Word::from));
        for request in undecided.read {
            // By its records it was decided before, and its grant has ended with the others.
            if !matches!(
                request_in_records(tx, &request.terms.id)?,
                RequestInRecords::Pending | RequestInRecords::Unknown
            ) {
                continue;
            }
            self.state(tx, StatementKind::Denial, &StatementSubject::from(&request), reason, identity, written)?;
            accepted.requests.push(request.terms.id);
        }
        Ok(())
    }

    /// Executes root's statement about one request or grant.
    fn state(
        &self,
        tx: &rusqlite::Transaction<'_>,
        kind: StatementKind,
        subject: &StatementSubject,
        reason: &Word,
        identity: &Identity,
        written: &mut Vec<Written>,
    ) -> Result<(), Refused> {
        let statement = self.stated(StatementAuthor::Here(self.caller), kind, subject, reason, identity)?;
        let cannot = || refused("damaged", format!("the end of {} cannot be stored", statement.terms().id));
        written.push(self.carry_out(tx, &statement, subject)?.ok_or_else(cannot)?);
        Ok(())
    }
}
