//! Compares the rows of the tables that give permission with the journal: each table in full and by itself, never through an
//! index, which could hide a row.
//! May not: write.

use rusqlite::{Connection, Row};

use super::error::JournalError;
use super::meta::meta;
use jit_core::evidence::power::{
    ApprovalRow, CertificationRow, DebtRow, EndColumns, GrantRow, MetaRow, PolicyRoleRow, Power, PrecedentRow,
    PrincipalRow, RequestRow, RoleRow, RunRow, SettingsRow, StatementRow,
};

/// Compares every row with the records.
pub(super) fn compare(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    power.journal_key(meta(connection, "redaction_key")?);
    requests(connection, power)?;
    approvals(connection, power)?;
    grants(connection, power)?;
    debts(connection, power)?;
    roles(connection, power)?;
    statements(connection, power)?;
    policy_settings(connection, power)?;
    policy_roles(connection, power)?;
    policy_principals(connection, power)?;
    certifications(connection, power)?;
    runs(connection, power)?;
    precedents(connection, power)?;
    kept(connection, power)
}

fn requests(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    let query = "SELECT rowid, id, uid, role, state, created, deadline, needed, body, ended_by, ended_at, ended_reason, extends \
                 FROM request NOT INDEXED ORDER BY rowid";
    each(connection, query, |row| {
        power.request(&RequestRow {
            rowid: row.get(0)?,
            id: text(row, 1)?,
            uid: row.get(2)?,
            role: text(row, 3)?,
            state: text(row, 4)?,
            created: row.get(5)?,
            deadline: row.get(6)?,
            needed: row.get(7)?,
            body: bytes(row, 8)?,
            ended: end(row, 9)?,
            extends: text_or_null(row, 12)?,
        });
        Ok(())
    })?;
    power.end_of_requests();
    Ok(())
}

fn approvals(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    let query = "SELECT a.request, a.uid, a.at, a.body, a.signature, a.key, r.body FROM approval a \
                 LEFT JOIN request r ON r.id = a.request ORDER BY a.request, a.uid";
    each(connection, query, |row| {
        power.approval(&ApprovalRow {
            request: text(row, 0)?,
            uid: row.get(1)?,
            at: row.get(2)?,
            body: bytes(row, 3)?,
            signature: bytes_or_null(row, 4)?,
            key: text_or_null(row, 5)?,
            request_body: bytes_or_null(row, 6)?,
        });
        Ok(())
    })?;
    power.end_of_approvals();
    Ok(())
}

fn grants(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    // Joining the request by its index is safe: the digest of the request is known, and a missing one is reported.
    let query = "SELECT g.rowid, g.id, g.uid, g.role, g.starts, g.expires, g.body, g.signature, g.ended, g.ended_by, g.ended_at, \
                 g.ended_reason, r.body FROM granted g NOT INDEXED LEFT JOIN request r ON r.id = g.id ORDER BY g.rowid";
    each(connection, query, |row| {
        power.grant(&GrantRow {
            rowid: row.get(0)?,
            id: text(row, 1)?,
            uid: row.get(2)?,
            role: text(row, 3)?,
            starts: row.get(4)?,
            expires: row.get(5)?,
            body: bytes(row, 6)?,
            signature: bytes(row, 7)?,
            ended: text_or_null(row, 8)?,
            end: end(row, 9)?,
            request: bytes_or_null(row, 12)?,
        });
        Ok(())
    })?;
    power.end_of_grants();
    Ok(())
}

fn debts(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    let query = "SELECT d.id, d.uid, d.user, d.role, d.at, d.reviewer, d.reviewed, d.comment, r.body \
                 FROM review_debt d NOT INDEXED LEFT JOIN request r ON r.id = d.id ORDER BY d.rowid";
    each(connection, query, |row| {
        power.debt(&DebtRow {
            id: text(row, 0)?,
            uid: row.get(1)?,
            user: text(row, 2)?,
            role: text(row, 3)?,
            at: row.get(4)?,
            reviewed: end(row, 5)?,
            request: bytes_or_null(row, 8)?,
        });
        Ok(())
    })?;
    power.end_of_debts();
    Ok(())
}

fn roles(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    each(connection, "SELECT digest, body FROM role_text ORDER BY digest", |row| {
        power.role(&RoleRow { digest: text(row, 0)?, body: bytes(row, 1)? });
        Ok(())
    })?;
    power.end_of_roles();
    Ok(())
}

fn statements(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    let query = "SELECT s.request, s.kind, s.at, s.uid, s.body, s.host_signature, s.signature, s.key, r.body \
                 FROM statement s NOT INDEXED LEFT JOIN request r ON r.id = s.request ORDER BY s.rowid";
    each(connection, query, |row| {
        power.statement(&StatementRow {
            request: text(row, 0)?,
            kind: text(row, 1)?,
            at: row.get(2)?,
            uid: row.get(3)?,
            body: bytes(row, 4)?,
            host_signature: bytes(row, 5)?,
            signature: bytes_or_null(row, 6)?,
            key: text_or_null(row, 7)?,
            request_body: bytes_or_null(row, 8)?,
        });
        Ok(())
    })?;
    power.end_of_statements();
    Ok(())
}

fn policy_settings(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    each(connection, "SELECT policy, body, sha256, format, stamp, seal, files FROM policy_settings", |row| {
        power.policy_settings(&SettingsRow {
            policy: bytes(row, 0)?,
            body: bytes(row, 1)?,
            sha256: bytes(row, 2)?,
            format: text(row, 3)?,
            stamp: text(row, 4)?,
            seal: bytes(row, 5)?,
            files: text(row, 6)?,
        });
        Ok(())
    })?;
    power.end_of_policy_settings();
    Ok(())
}

fn policy_roles(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    let query = "SELECT name, body, sha256, digest FROM policy_role NOT INDEXED ORDER BY name";
    each(connection, query, |row| {
        power.policy_role(&PolicyRoleRow {
            name: text(row, 0)?,
            body: bytes(row, 1)?,
            sha256: bytes(row, 2)?,
            digest: bytes(row, 3)?,
        });
        Ok(())
    })?;
    power.end_of_policy_roles();
    Ok(())
}

fn policy_principals(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    each(connection, "SELECT principal, kind, role FROM policy_principal ORDER BY role, kind, principal", |row| {
        let row = PrincipalRow { principal: text(row, 0)?, kind: text(row, 1)?, role: text(row, 2)? };
        power.policy_principal(&row);
        Ok(())
    })?;
    power.end_of_policy_principals();
    Ok(())
}

fn certifications(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    let query = "SELECT role, holder, verdict, reviewer, at, comment FROM certification ORDER BY role, holder";
    each(connection, query, |row| {
        power.certification(&CertificationRow {
            role: text(row, 0)?,
            holder: text(row, 1)?,
            verdict: text(row, 2)?,
            reviewed: end(row, 3)?,
        });
        Ok(())
    })?;
    power.end_of_certifications();
    Ok(())
}

fn runs(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    each(connection, "SELECT start, run, uid, grant_id, ended FROM open_run ORDER BY start", |row| {
        power.open_run(&RunRow {
            start: row.get(0)?,
            run: text(row, 1)?,
            uid: row.get(2)?,
            grant: text_or_null(row, 3)?,
            ended: row.get(4)?,
        });
        Ok(())
    })?;
    power.end_of_open_runs();
    Ok(())
}

fn precedents(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    each(connection, "SELECT uid, command, runs, last FROM precedent ORDER BY uid, command", |row| {
        let row = PrecedentRow { uid: row.get(0)?, command: bytes(row, 1)?, runs: row.get(2)?, last: row.get(3)? };
        power.precedent(&row);
        Ok(())
    })
}

fn kept(connection: &Connection, power: &mut Power) -> Result<(), JournalError> {
    each(connection, "SELECT name, value FROM journal_meta ORDER BY name", |row| {
        power.meta(&MetaRow { name: text(row, 0)?, value: bytes(row, 1)? });
        Ok(())
    })?;
    power.end_of_meta();
    Ok(())
}

fn each(
    connection: &Connection,
    query: &str,
    mut feed: impl FnMut(&Row<'_>) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        feed(row)?;
    }
    Ok(())
}

fn end<'r>(row: &'r Row<'_>, first: usize) -> Result<EndColumns<'r>, JournalError> {
    Ok(EndColumns { by: text_or_null(row, first)?, at: row.get(first + 1)?, words: bytes_or_null(row, first + 2)? })
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, JournalError> {
    Ok(text_or_null(row, column)?.unwrap_or_default())
}

fn text_or_null<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, JournalError> {
    row.get_ref(column)?.as_str_or_null().map_err(|_| JournalError::Damaged("a column that is not text"))
}

fn bytes<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], JournalError> {
    Ok(bytes_or_null(row, column)?.unwrap_or_default())
}

fn bytes_or_null<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r [u8]>, JournalError> {
    row.get_ref(column)?.as_bytes_or_null().map_err(|_| JournalError::Damaged("a column that is not bytes"))
}
