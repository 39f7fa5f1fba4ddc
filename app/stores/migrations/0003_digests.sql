-- What a job's results say taken together (app/domain/digest.py), as JSON; jobs in which there was nothing to tell have
-- none.  Of results that were there before, it is only known how many they are.
CREATE TABLE digests (
    owner INTEGER PRIMARY KEY,
    digest TEXT NOT NULL
) STRICT;

INSERT INTO digests
    SELECT owner, json_object('job_id', id, 'done_before', succeeded + failed, 'failed_before', failed)
    FROM jobs WHERE succeeded + failed > 0;

ALTER TABLE jobs ADD COLUMN error_groups TEXT;  -- JSON: the most frequent of the digest's
