DROP INDEX record_by_kind;
CREATE INDEX record_by_kind ON record (kind) WHERE kind NOT IN ('start', 'end');
CREATE TEMP TABLE moved AS SELECT extends, request FROM extension;
DROP TABLE extension;
CREATE TABLE extension (extends TEXT NOT NULL, request TEXT NOT NULL, PRIMARY KEY (extends, request)) STRICT, WITHOUT ROWID;
INSERT INTO extension (extends, request) SELECT extends, request FROM moved;
DROP TABLE moved;
