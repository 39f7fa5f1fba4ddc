-- What belongs to a job (items, results, notes, uses of files) hangs on an owner: a number that is given once.  So a
-- job is deleted by one row, and what it left is swept away bit by bit, while another job may live under its id.

CREATE TABLE owners (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    upload TEXT,                        -- the submission under way; NULL once it is a job
    dead INTEGER NOT NULL DEFAULT 0     -- 1: nobody's any more, to be swept away
) STRICT;

CREATE UNIQUE INDEX owners_upload ON owners (upload) WHERE upload IS NOT NULL;
CREATE INDEX owners_dead ON owners (id) WHERE dead;

INSERT INTO owners (id) SELECT seq FROM jobs;
DROP TABLE uploads;

ALTER TABLE jobs ADD COLUMN owner INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET owner = seq;

CREATE TABLE owned_blocks (
    owner INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    lines BLOB NOT NULL
) STRICT;
INSERT INTO owned_blocks SELECT jobs.owner, first, count, lines FROM blocks JOIN jobs ON jobs.items = blocks.owner;
DROP TABLE blocks;
ALTER TABLE owned_blocks RENAME TO blocks;
CREATE UNIQUE INDEX blocks_place ON blocks (owner, first, count);
ALTER TABLE jobs DROP COLUMN items;

CREATE TABLE owned_segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    done_before INTEGER NOT NULL,
    failed_before INTEGER NOT NULL,
    lines BLOB NOT NULL
) STRICT;
INSERT INTO owned_segments
    SELECT segments.id, jobs.owner, first, count, segments.failed, done_before, failed_before, lines
    FROM segments JOIN jobs ON jobs.id = segments.job_id;
DROP TABLE segments;
ALTER TABLE owned_segments RENAME TO segments;
CREATE UNIQUE INDEX segments_by_index ON segments (owner, first, count, failed);
CREATE UNIQUE INDEX segments_by_cursor ON segments (owner, done_before, count, failed_before, failed);

CREATE TABLE owned_notes (
    owner INTEGER NOT NULL,
    item INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at TEXT NOT NULL,
    error TEXT,                 -- JSON
    log TEXT,
    death INTEGER NOT NULL
) STRICT;
INSERT INTO owned_notes
    SELECT jobs.owner, item, attempt, at, notes.error, log, death FROM notes JOIN jobs ON jobs.id = notes.job_id
    ORDER BY notes.rowid;
DROP TABLE notes;
ALTER TABLE owned_notes RENAME TO notes;
CREATE INDEX notes_place ON notes (owner, item);

-- Which files a job's items or results name.
CREATE TABLE owned_file_uses (
    file_id TEXT NOT NULL,
    owner INTEGER NOT NULL,
    PRIMARY KEY (file_id, owner)
) STRICT, WITHOUT ROWID;
INSERT INTO owned_file_uses SELECT file_id, jobs.owner FROM file_uses JOIN jobs ON jobs.id = file_uses.job_id;
DROP TABLE file_uses;
ALTER TABLE owned_file_uses RENAME TO file_uses;
CREATE INDEX file_uses_of ON file_uses (owner);

CREATE INDEX jobs_expiry ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX idempotency_age ON idempotency (created_at);

-- Jobs whose retention is over.
CREATE TABLE tombstones (
    job_id TEXT PRIMARY KEY,
    fingerprint TEXT,
    expired_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstones_age ON tombstones (expired_at);
