-- Large payloads stand in a file of their owner's (app/stores/payloads.py), from byte `place` on; then `lines` is empty.

ALTER TABLE blocks ADD COLUMN place INTEGER;
ALTER TABLE blocks ADD COLUMN size INTEGER;
ALTER TABLE blocks ADD COLUMN checksum INTEGER;
ALTER TABLE segments ADD COLUMN place INTEGER;
ALTER TABLE segments ADD COLUMN size INTEGER;
ALTER TABLE segments ADD COLUMN checksum INTEGER;

-- From which byte on its file may not be on the disk; NULL: nowhere.
ALTER TABLE owners ADD COLUMN loose INTEGER;
CREATE INDEX owners_loose ON owners (id) WHERE loose IS NOT NULL;
