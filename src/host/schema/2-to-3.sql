CREATE TABLE role_text (digest TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE statement (request TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, uid INTEGER NOT NULL, body BLOB NOT NULL, host_signature BLOB NOT NULL, signature BLOB, key TEXT) STRICT;
CREATE INDEX statement_by_request ON statement (request);
UPDATE request SET state = 'expired' WHERE state = 'pending';
