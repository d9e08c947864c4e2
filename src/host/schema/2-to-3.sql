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
    id INTEGER PRIMARY KEY, format TEXT NOT NULL, stamp TEXT NOT NULL, seal BLOB NOT NULL,
    body BLOB NOT NULL, sha256 BLOB NOT NULL, policy BLOB NOT NULL, files TEXT NOT NULL) STRICT;
CREATE TABLE policy_role (
    name TEXT PRIMARY KEY, body BLOB NOT NULL, sha256 BLOB NOT NULL, digest BLOB NOT NULL) STRICT;
DROP INDEX review_debt_open;
CREATE UNIQUE INDEX review_debt_open ON review_debt (uid, user) WHERE reviewer IS NULL;
DELETE FROM precedent;
DROP TABLE credential_cache;
CREATE TABLE credential_cache (uid INTEGER NOT NULL, user TEXT NOT NULL, place TEXT NOT NULL, service TEXT NOT NULL, boot_id TEXT NOT NULL, at INTEGER NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (uid, user, place, service)) STRICT, WITHOUT ROWID;
ALTER TABLE open_run ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;
ALTER TABLE request ADD COLUMN extends TEXT;
UPDATE request SET extends = extension.extends FROM extension WHERE extension.request = request.id;
DROP TABLE extension;
ALTER TABLE granted ADD COLUMN used_by TEXT;
CREATE INDEX request_by_extended ON request (extends) WHERE extends IS NOT NULL;
DROP TABLE checkpoint;
CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, signature BLOB NOT NULL, note TEXT NOT NULL) STRICT;
CREATE TABLE tree (height INTEGER NOT NULL, place INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (height, place)) STRICT, WITHOUT ROWID;
