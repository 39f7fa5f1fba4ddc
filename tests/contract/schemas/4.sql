BEGIN TRANSACTION;
CREATE TABLE "blocks" (
    owner INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    lines BLOB NOT NULL
) STRICT;
INSERT INTO "blocks" VALUES(2,0,2,X'7B2278223A307D0A7B2278223A317D0A');
INSERT INTO "blocks" VALUES(2,2,1,X'7B2278223A327D0A');
INSERT INTO "blocks" VALUES(3,0,3,X'7B2278223A307D0A7B2278223A317D0A7B2278223A327D0A');
INSERT INTO "blocks" VALUES(4,0,1,X'7B2278223A307D0A');
CREATE TABLE digests (
    owner INTEGER PRIMARY KEY,
    digest TEXT NOT NULL
) STRICT;
INSERT INTO "digests" VALUES(2,'{"job_id":"done","done_before":3,"failed_before":1}');
INSERT INTO "digests" VALUES(3,'{"job_id":"half","done_before":1,"failed_before":0}');
CREATE TABLE "file_uses" (
    file_id TEXT NOT NULL,
    owner INTEGER NOT NULL, made INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (file_id, owner)
) STRICT, WITHOUT ROWID;
INSERT INTO "file_uses" VALUES('sha256-0000000000000000000000000000000000000000000000000000000000000000',2,0);
CREATE TABLE "files" (
    id TEXT NOT NULL,
    uploaded_by TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    name TEXT,
    media_type TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (id, uploaded_by)
) STRICT, WITHOUT ROWID;
INSERT INTO "files" VALUES('sha256-0000000000000000000000000000000000000000000000000000000000000000','',3,'a.jpg','image/jpeg','2030-01-02T12:00:00.250000+00:00');
CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    job_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "idempotency" VALUES('key','done','00','2030-01-02T12:00:00.250000+00:00');
INSERT INTO "idempotency" VALUES('other','half','11','2030-01-02T12:00:00.250000+00:00');
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of submission
    id TEXT NOT NULL UNIQUE,
    task TEXT NOT NULL,
    status TEXT NOT NULL,
    total INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    sealed INTEGER NOT NULL,
    options TEXT NOT NULL,      -- JSON
    params TEXT NOT NULL,       -- JSON
    metadata TEXT,              -- JSON
    error TEXT,                 -- JSON
    label TEXT,
    submitted_by TEXT,
    retry_of TEXT,
    fingerprint TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    cancel_requested_at TEXT,
    expires_at TEXT
, owner INTEGER NOT NULL DEFAULT 0, error_groups TEXT) STRICT;
INSERT INTO "jobs" VALUES(2,'done','sqrt','completed',3,2,1,0,1,'{"chunksize": "auto", "priority": "normal", "max_attempts": 1, "item_timeout_seconds": null, "job_timeout_seconds": null, "max_failures": null, "max_in_flight": null, "retention_seconds": 604800.0, "key_field": null}','{}','{"run": 1}',NULL,'Nightly',NULL,NULL,'00','2030-01-02T12:00:00.250000+00:00','2030-01-02T12:00:00.250000+00:00','2030-01-02T12:00:02.250000+00:00',NULL,'2030-01-09T12:00:00.250000+00:00',2,NULL);
INSERT INTO "jobs" VALUES(3,'half','sqrt','running',3,1,0,0,1,'{"chunksize": "auto", "priority": "normal", "max_attempts": 1, "item_timeout_seconds": null, "job_timeout_seconds": null, "max_failures": null, "max_in_flight": null, "retention_seconds": 604800.0, "key_field": null}','{}',NULL,NULL,NULL,NULL,NULL,'11','2030-01-02T12:00:00.250000+00:00','2030-01-02T12:00:00.250000+00:00',NULL,NULL,NULL,3,NULL);
CREATE TABLE "notes" (
    owner INTEGER NOT NULL,
    item INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at TEXT NOT NULL,
    error TEXT,                 -- JSON
    log TEXT,
    death INTEGER NOT NULL
) STRICT;
INSERT INTO "notes" VALUES(2,1,1,'2030-01-02T12:00:00.250000+00:00','{"kind": "exception", "type": "ValueError", "message": "bad"}',NULL,0);
INSERT INTO "notes" VALUES(2,0,1,'2030-01-02T12:00:00.250000+00:00',NULL,'hello
',0);
CREATE TABLE owners (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    upload TEXT,                        -- the submission under way; NULL once it is a job
    dead INTEGER NOT NULL DEFAULT 0     -- 1: nobody's any more, to be swept away
) STRICT;
INSERT INTO "owners" VALUES(2,NULL,0);
INSERT INTO "owners" VALUES(3,NULL,0);
INSERT INTO "owners" VALUES(4,'upload-1',0);
CREATE TABLE "segments" (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    done_before INTEGER NOT NULL,
    failed_before INTEGER NOT NULL,
    lines BLOB NOT NULL
) STRICT;
INSERT INTO "segments" VALUES(1,2,1,1,1,0,0,X'7B22696E646578223A312C226572726F72223A7B226B696E64223A22657863657074696F6E222C226D657373616765223A22227D7D0A');
INSERT INTO "segments" VALUES(2,2,0,1,0,1,1,X'7B22696E646578223A302C226F7574707574223A22227D0A');
INSERT INTO "segments" VALUES(3,2,2,1,0,2,1,X'7B22696E646578223A322C226F7574707574223A22227D0A');
INSERT INTO "segments" VALUES(4,3,2,1,0,0,0,X'7B22696E646578223A322C226F7574707574223A22227D0A');
CREATE TABLE tombstones (
    job_id TEXT PRIMARY KEY,
    fingerprint TEXT,
    expired_at TEXT NOT NULL
, submitted_by TEXT) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_status ON jobs (status, seq);
CREATE UNIQUE INDEX owners_upload ON owners (upload) WHERE upload IS NOT NULL;
CREATE INDEX owners_dead ON owners (id) WHERE dead;
CREATE UNIQUE INDEX blocks_place ON blocks (owner, first, count);
CREATE UNIQUE INDEX segments_by_index ON segments (owner, first, count, failed);
CREATE UNIQUE INDEX segments_by_cursor ON segments (owner, done_before, count, failed_before, failed);
CREATE INDEX notes_place ON notes (owner, item);
CREATE INDEX file_uses_of ON file_uses (owner);
CREATE INDEX jobs_expiry ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX idempotency_age ON idempotency (created_at);
CREATE INDEX tombstones_age ON tombstones (expired_at);
CREATE INDEX jobs_of ON jobs (submitted_by, seq) WHERE submitted_by IS NOT NULL;
CREATE INDEX files_of ON files (uploaded_by, size_bytes) WHERE uploaded_by != '';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',3);
INSERT INTO "sqlite_sequence" VALUES('owners',4);
INSERT INTO "sqlite_sequence" VALUES('segments',4);
COMMIT;
PRAGMA user_version = 4;
