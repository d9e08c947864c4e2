//! Rows of `granted`.

use super::documents::{GrantDocument, RequestDocument};
use super::names::{Id, Names, digest_of};
use super::requests::{closed, spoken};
use super::rows::GrantRow;
use super::said::{Approved, Recorded};
use super::{Ordered, Power, Table, words};
use crate::clock::Timestamp;
use crate::escape::{hex, unhex};
use crate::grant::{Limits, Quorum, Uncounted};

impl Power {
    /// Compares the next row, in the order of their numbers.
    pub fn grant(&mut self, row: &GrantRow<'_>) {
        self.compared.grants = self.compared.grants.saturating_add(1);
        if let Err(what) = self.compare_grant(row) {
            self.differs(Table::Granted, row.id, what);
        }
    }

    /// Ends the table. Every grant that was used, ended or approved must have a row.
    pub fn end_of_grants(&mut self) {
        self.lacking_in_order(Ordered::Grants, Table::Granted, |said| {
            let known = said.grant.is_some() || said.ended.is_some() || said.starts > 0 || said.went_on.is_some();
            (known || said.rows.approved) && !said.rows.grant
        });
        self.end_of_extended();
        self.extensions_of_ended();
    }

    /// Reports each grant that extends one which was revoked or released, has not ended, and had not expired by then.
    pub(super) fn extensions_of_ended(&mut self) {
        let mut found: Vec<(Id, String)> = Vec::new();
        for (id, said) in &self.said {
            let Some(issued) = said.grant.filter(|_| said.ended.is_none()) else { continue };
            let base = issued.terms.extends.and_then(|base| Some((base, self.said.get(&base)?.ended.as_ref()?)));
            if let Some((base, done)) = base.filter(|(_, done)| done.high < issued.terms.expires) {
                found.push((
                    *id,
                    format!("it has not ended, but {base}, which it extends, was {}", done.sentence(&self.names)),
                ));
            }
        }
        found.sort_unstable();
        for (id, what) in found {
            self.differs(Table::Granted, &id.to_string(), what);
        }
    }

    fn compare_grant(&mut self, row: &GrantRow<'_>) -> Result<(), String> {
        let id = Id::parse(row.id).ok_or("its id is not valid")?;
        let seq = self.said.get(&id).and_then(|said| said.grant).map(|issued| issued.seq);
        let placed = self.placed(Ordered::Grants, row.rowid, id, seq, (row.expires, row.ended.is_some()));
        let said = self.said.entry(id).or_default();
        if std::mem::replace(&mut said.rows.grant, true) {
            return Err("there is a second row for it".to_owned());
        }
        let pruned = placed?;
        if said.grant.is_some_and(|issued| issued.sha256 != digest_of(row.body)) {
            return Err("its bytes are not those of its record".to_owned());
        }
        let document = GrantDocument::read(row.body)?;
        columns(row, &document)?;
        if let Some(issued) = said.grant.filter(|_| !document.is_of_the_first_version()) {
            if words::of_grant(row.body) != Some(issued.words) {
                return Err(words::OTHER.to_owned());
            }
            self.hosts.granted(issued.seq, &document.host)?;
        }
        let asked = asked(row, said, &document)?;
        let limits = approvals(said, &document, &asked, &self.names)?;
        document.is_within(&asked, &limits)?;
        document.is_signed(&asked, row.body, row.signature)?;
        if pruned {
            said.row = Some(Box::new(document.terms(&mut self.names)));
        }
        uses(row, said, &document, pruned)?;
        if let Some(used) = &said.used {
            if said.grant.is_none() {
                used.is_of_holder(&document, &mut self.names)?;
            }
            used.compare((&document, row.body), &self.names)?;
        }
        end(row, said, &document, pruned, &self.names)?;
        if pruned {
            self.compared.older = self.compared.older.saturating_add(1);
            let open = row.ended.is_none() && Timestamp::from_seconds(row.expires).0 > self.last;
            self.compared.older_open = self.compared.older_open.saturating_add(u64::from(open));
        }
        Ok(())
    }
}

fn columns(row: &GrantRow<'_>, document: &GrantDocument) -> Result<(), String> {
    let same = [
        ("id", row.id == document.id),
        ("uid", row.uid == document.uid),
        ("role", row.role == document.role),
        ("starts", row.starts == document.starts),
        ("expires", row.expires == document.expires),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((column, _)) => Err(format!("the column '{column}' differs from its bytes")),
        None => Ok(()),
    }
}

/// Checks the request of the grant.
fn asked(row: &GrantRow<'_>, said: &Recorded, document: &GrantDocument) -> Result<RequestDocument, String> {
    let (Some(bytes), true) = (row.request, said.rows.approved) else {
        return Err("there is no approved request of this id".to_owned());
    };
    let digest = digest_of(bytes);
    if said.request_digest() != Some(digest) || document.request != hex(&digest) {
        return Err("it was given for another request".to_owned());
    }
    let asked = RequestDocument::read(bytes)?;
    let same = asked.uid == document.uid
        && asked.user == document.user
        && asked.role == document.role
        && asked.role_digest == document.role_digest
        && asked.break_glass == document.break_glass
        && asked.extends == document.extends;
    if same { Ok(asked) } else { Err("it grants something else than its request asks for".to_owned()) }
}

/// Checks that the grant names approvals in the table, as many as its request needs, that count together. Returns how they narrow the
/// request.
fn approvals(
    said: &Recorded,
    document: &GrantDocument,
    asked: &RequestDocument,
    names: &Names,
) -> Result<Vec<Limits>, String> {
    let mut limits = Vec::new();
    let mut quorum = Quorum::new(asked.uid, asked.user.as_bytes());
    for (digest, approver) in document.approvals.iter().zip(&document.approvers) {
        let named = unhex::<32>(digest)
            .and_then(|digest| said.approvals.iter().find(|approval| approval.met && approval.sha256 == digest));
        match named.filter(|approval| names.name(approval.by) == approver.as_bytes()) {
            Some(approval) => {
                quorum
                    .admit(approval.uid, approver.as_bytes(), approval.key)
                    .map_err(|why| format!("the approval of {} does not count: {why}", spoken(approver)))?;
                limits.extend(approval.limits);
            }
            None => return Err(format!("the approval of {} that it names is missing", spoken(approver))),
        }
    }
    let needed = asked.needed().unwrap_or(said.rows.needed);
    if document.approvals.len() != document.approvers.len() || !quorum.reaches(needed) {
        return Err(format!("it names {} approvals, and its request needs {needed}", quorum.count()));
    }
    if !document.is_of_the_first_version() {
        if limits.len() < quorum.count() {
            return Err("one of its approvals cannot be read".to_owned());
        }
        explained(said, document, asked, names)?;
    }
    Ok(limits)
}

/// Checks that the grant names each approval, or that its record says why it does not count.
fn explained(said: &Recorded, document: &GrantDocument, asked: &RequestDocument, names: &Names) -> Result<(), String> {
    let is_named = |approval: &Approved| document.approvals.contains(&hex(&approval.sha256));
    let named: Vec<&Approved> = said.approvals.iter().filter(|approval| is_named(approval)).collect();
    for approval in said.approvals.iter().filter(|_| said.grant.is_some()) {
        let by = || crate::escape::escape(names.name(approval.by));
        let entry = said.not_counted.iter().find(|(sha256, by, _)| (*sha256, *by) == (approval.sha256, approval.by));
        match (is_named(approval), entry) {
            (true, None) if !approval.superseded => {}
            (false, Some((_, _, why))) if is_reason(*why, approval, &named, names.name(approval.by), asked) => {}
            (false, Some((_, _, why))) => {
                return Err(format!("its record says of the approval of {} that {why}, which is not so", by()));
            }
            (false, None) => {
                return Err(format!("it does not name the approval of {}, and its record does not say why", by()));
            }
            (true, _) => return Err(format!("the approval of {} does not count, by its records", by())),
        }
    }
    let is_known = |sha256: &[u8; 32]| said.approvals.iter().any(|approval| approval.sha256 == *sha256);
    let mut digests: Vec<[u8; 32]> = said.not_counted.iter().map(|(sha256, ..)| *sha256).collect();
    let entries = digests.len();
    digests.sort_unstable();
    digests.dedup();
    if !digests.iter().all(is_known) {
        Err("its record names an approval that was not given".to_owned())
    } else if digests.len() < entries {
        Err("its record names an approval twice that does not count".to_owned())
    } else {
        Ok(())
    }
}

/// Returns whether the evidence allows this reason why an approval does not count beside those that the grant names. What the host
/// knew of users, keys and passwords is not part of the evidence.
fn is_reason(why: Uncounted, approval: &Approved, named: &[&Approved], name: &[u8], asked: &RequestDocument) -> bool {
    if approval.superseded != (why == Uncounted::Superseded) {
        return false;
    }
    match why {
        Uncounted::OwnRequest => asked.uid == approval.uid || asked.user.as_bytes() == name,
        Uncounted::SamePerson => named.iter().any(|other| other.uid == approval.uid || other.by == approval.by),
        Uncounted::SameKey => approval.key.is_some() && named.iter().any(|other| other.key == approval.key),
        // Such an approval has no row.
        Uncounted::OtherRole => false,
        Uncounted::Unsigned => approval.key.is_none(),
        Uncounted::NotValid => approval.key.is_some(),
        Uncounted::NotAnApprover | Uncounted::NotAuthenticated | Uncounted::Superseded => true,
    }
}

/// Checks that at most one run starts or continues under a grant for one run, and that none starts after its end. If
/// the grant has its record, that was checked before.
fn uses(row: &GrantRow<'_>, said: &Recorded, document: &GrantDocument, pruned: bool) -> Result<(), String> {
    let one_shot = document.one_shot == 1;
    if one_shot && said.starts > 1 {
        return Err(format!("it is for one run, but {} started", said.starts));
    }
    if one_shot && document.extends.is_some() && said.starts > 0 {
        return Err("it continues one run and permits no new one, but one started".to_owned());
    }
    if let (true, Some(seq)) = (one_shot, said.again) {
        return Err(format!("it is for one run, and record {seq} ends a second one that continued under it"));
    }
    // The record of its end is older than all remaining ones.
    let over = matches!(row.ended, Some("revoked" | "released")) && said.ended.is_none();
    if pruned && over && said.starts > 0 {
        return Err("a run started after its end".to_owned());
    }
    Ok(())
}

fn end(
    row: &GrantRow<'_>,
    said: &Recorded,
    document: &GrantDocument,
    pruned: bool,
    names: &Names,
) -> Result<(), String> {
    let database = row.ended.map_or_else(|| "active".to_owned(), spoken);
    let wrong = |journal: &str| Err(format!("the database says {database}, the journal says {journal}"));
    let one_shot = document.one_shot == 1;
    if let Some(done) = &said.ended {
        return if row.ended == Some(done.how.word()) {
            closed(&row.end, done, names)
        } else {
            wrong(&done.sentence(names))
        };
    }
    let begun = one_shot && said.starts > 0;
    // A run that continues under an extension for one run uses it up, and is recorded when it ends; a killed run never
    // is.
    let taken = one_shot && document.extends.is_some();
    match row.ended {
        None if begun => wrong(&format!("used at {}", Timestamp::from_seconds(said.first).to_the_second())),
        None if one_shot && said.went_on.is_some() => wrong("used"),
        None if row.end.are_empty() => Ok(()),
        None => Err("the database says who ended it, but it was not ended".to_owned()),
        Some("used") if begun || taken || (one_shot && pruned) => {
            let by = row.end.by == Some(&document.user) && row.end.words == Some(b"");
            let at = !begun || row.end.at == Some(said.first);
            if by && at { Ok(()) } else { Err("who used it or when differs from the journal".to_owned()) }
        }
        Some("revoked" | "released") if pruned => Ok(()),
        Some(_) => wrong("active"),
    }
}
