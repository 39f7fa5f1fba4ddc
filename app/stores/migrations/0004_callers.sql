-- What belongs to which caller.  Jobs say so themselves; a NULL there, and '' here, is what nobody in particular sent.

ALTER TABLE tombstones ADD COLUMN submitted_by TEXT;

CREATE INDEX jobs_of ON jobs (submitted_by, seq) WHERE submitted_by IS NOT NULL;

-- The same bytes may be uploaded by several callers: one file, but each has its own name for it.
CREATE TABLE uploaded_files (
    id TEXT NOT NULL,
    uploaded_by TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    name TEXT,
    media_type TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (id, uploaded_by)
) STRICT, WITHOUT ROWID;
INSERT INTO uploaded_files SELECT id, '', size_bytes, name, media_type, created_at FROM files;
DROP TABLE files;
ALTER TABLE uploaded_files RENAME TO files;
CREATE INDEX files_of ON files (uploaded_by, size_bytes) WHERE uploaded_by != '';

-- 1: a task gave the file in a result of this job.  0: an item names it, which anybody may write.
ALTER TABLE file_uses ADD COLUMN made INTEGER NOT NULL DEFAULT 0;
