CREATE TABLE record (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, uid INTEGER, run TEXT, grant_id TEXT, at INTEGER NOT NULL, high INTEGER NOT NULL, hash BLOB NOT NULL, body BLOB NOT NULL) STRICT;
CREATE INDEX record_by_kind ON record (kind) WHERE kind NOT IN ('start', 'end');
CREATE INDEX record_by_uid ON record (uid) WHERE uid IS NOT NULL;
CREATE INDEX record_by_run ON record (run) WHERE run IS NOT NULL;
CREATE INDEX record_by_grant ON record (grant_id, kind) WHERE grant_id IS NOT NULL;
CREATE TABLE open_run (start INTEGER PRIMARY KEY, run TEXT NOT NULL, uid INTEGER NOT NULL, grant_id TEXT, pid INTEGER NOT NULL, pid_start INTEGER NOT NULL, boot_id TEXT NOT NULL, wish TEXT) STRICT;
CREATE TABLE journal_meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, signature BLOB NOT NULL) STRICT;
CREATE TABLE precedent (uid INTEGER NOT NULL, command BLOB NOT NULL, runs INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (uid, command)) STRICT, WITHOUT ROWID;
CREATE TABLE request (id TEXT PRIMARY KEY, uid INTEGER NOT NULL, role TEXT NOT NULL, state TEXT NOT NULL, created INTEGER NOT NULL, deadline INTEGER NOT NULL, needed INTEGER NOT NULL, body BLOB NOT NULL, ended_by TEXT, ended_at INTEGER, ended_reason BLOB) STRICT;
CREATE INDEX request_by_user ON request (uid, created);
CREATE INDEX request_pending ON request (deadline) WHERE state = 'pending';
CREATE TABLE approval (request TEXT NOT NULL, uid INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL, signature BLOB, key TEXT, PRIMARY KEY (request, uid)) STRICT, WITHOUT ROWID;
CREATE TABLE granted (id TEXT PRIMARY KEY, uid INTEGER NOT NULL, role TEXT NOT NULL, starts INTEGER NOT NULL, expires INTEGER NOT NULL, body BLOB NOT NULL, signature BLOB NOT NULL, ended TEXT, ended_by TEXT, ended_at INTEGER, ended_reason BLOB) STRICT;
CREATE INDEX granted_open ON granted (uid, expires) WHERE ended IS NULL;
CREATE INDEX granted_by_end ON granted (expires) WHERE ended IS NULL;
CREATE TABLE review_debt (id TEXT PRIMARY KEY, uid INTEGER NOT NULL, user TEXT NOT NULL, role TEXT NOT NULL, at INTEGER NOT NULL, reviewer TEXT, reviewed INTEGER, comment BLOB) STRICT;
CREATE UNIQUE INDEX review_debt_open ON review_debt (uid) WHERE reviewer IS NULL;
CREATE TABLE certification (role TEXT NOT NULL, holder TEXT NOT NULL, verdict TEXT NOT NULL, reviewer TEXT NOT NULL, at INTEGER NOT NULL, comment BLOB NOT NULL, PRIMARY KEY (role, holder)) STRICT, WITHOUT ROWID;
CREATE INDEX granted_by_role ON granted (role, uid, starts);
CREATE TABLE extension (extends TEXT NOT NULL, request TEXT NOT NULL, PRIMARY KEY (extends, request)) STRICT, WITHOUT ROWID;
CREATE TABLE credential_cache (uid INTEGER NOT NULL, boot_id TEXT NOT NULL, leader INTEGER NOT NULL, leader_start INTEGER NOT NULL, tty INTEGER NOT NULL, service TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (uid, boot_id, leader, leader_start, tty, service)) STRICT, WITHOUT ROWID;
CREATE TABLE policy_stamp (
    id INTEGER PRIMARY KEY CHECK (id = 1), format TEXT NOT NULL, text TEXT NOT NULL) STRICT;
CREATE TABLE policy_settings (
    id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL, sha256 BLOB NOT NULL) STRICT;
CREATE TABLE policy_role (
    name TEXT PRIMARY KEY, body BLOB NOT NULL, sha256 BLOB NOT NULL) STRICT;
CREATE TABLE policy_principal (
    principal TEXT NOT NULL, kind TEXT NOT NULL, role TEXT NOT NULL,
    PRIMARY KEY (principal, kind, role)) STRICT, WITHOUT ROWID;
