CREATE TABLE role_text (digest TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE statement (request TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, uid INTEGER NOT NULL, body BLOB NOT NULL, host_signature BLOB NOT NULL, signature BLOB, key TEXT) STRICT;
CREATE INDEX statement_by_request ON statement (request);
UPDATE request SET state = 'expired' WHERE state = 'pending';
DELETE FROM journal_meta WHERE name = 'host';
DROP TABLE policy_stamp;
DELETE FROM policy_principal;
DROP TABLE policy_settings;
DROP TABLE policy_role;
CREATE TABLE policy_settings (
    id INTEGER PRIMARY KEY CHECK (id = 1), format TEXT NOT NULL, stamp TEXT NOT NULL, seal BLOB NOT NULL,
    body BLOB NOT NULL, sha256 BLOB NOT NULL, policy BLOB NOT NULL) STRICT;
CREATE TABLE policy_role (
    name TEXT PRIMARY KEY, body BLOB NOT NULL, sha256 BLOB NOT NULL, digest BLOB NOT NULL) STRICT;
CREATE TABLE policy_file (path TEXT PRIMARY KEY, sha256 BLOB NOT NULL) STRICT, WITHOUT ROWID;
DROP INDEX review_debt_open;
CREATE UNIQUE INDEX review_debt_open ON review_debt (uid, user) WHERE reviewer IS NULL;
DELETE FROM precedent;
DROP TABLE credential_cache;
CREATE TABLE credential_cache (uid INTEGER NOT NULL, user TEXT NOT NULL, boot_id TEXT NOT NULL, leader INTEGER NOT NULL, leader_start INTEGER NOT NULL, tty INTEGER NOT NULL, service TEXT NOT NULL, at INTEGER NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (uid, user, boot_id, leader, leader_start, tty, service)) STRICT, WITHOUT ROWID;
CREATE TABLE left_run (start INTEGER PRIMARY KEY, run TEXT NOT NULL, uid INTEGER NOT NULL, grant_id TEXT, pid INTEGER NOT NULL, pid_start INTEGER NOT NULL, boot_id TEXT NOT NULL, wish TEXT) STRICT;
