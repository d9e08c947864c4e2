CREATE TABLE role_text (digest TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
UPDATE request SET state = 'expired' WHERE state = 'pending';
