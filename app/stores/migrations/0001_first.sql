-- Jobs, their items in blocks, their results in segments.  Times are RFC 3339 texts in UTC.

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of submission
    id TEXT NOT NULL UNIQUE,
    task TEXT NOT NULL,
    items TEXT NOT NULL,        -- owner of its blocks
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
) STRICT;

CREATE INDEX jobs_status ON jobs (status, seq);

-- Item lines.  A streamed submission collects them under the name of its upload, which the job then points to,
-- so that accepting a job of any size writes one row.
CREATE TABLE blocks (
    owner TEXT NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    lines BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX blocks_place ON blocks (owner, first, count);

CREATE TABLE uploads (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- The result log.  `done_before` and `failed_before` are the lines of the job that stand before a segment, so a
-- cursor finds its segment by an index, and nothing but the segments that are read is ever decoded.
CREATE TABLE segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    done_before INTEGER NOT NULL,
    failed_before INTEGER NOT NULL,
    lines BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX segments_by_index ON segments (job_id, first, count, failed);
CREATE UNIQUE INDEX segments_by_cursor ON segments (job_id, done_before, count, failed_before, failed);

-- Attempts that failed, and what items printed.
CREATE TABLE notes (
    job_id TEXT NOT NULL,
    item INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at TEXT NOT NULL,
    error TEXT,                 -- JSON
    log TEXT,
    death INTEGER NOT NULL
) STRICT;

CREATE INDEX notes_place ON notes (job_id, item);

CREATE TABLE files (
    id TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    name TEXT,
    media_type TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE file_uses (
    file_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    PRIMARY KEY (file_id, job_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    job_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
