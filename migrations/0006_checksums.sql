-- A running checksum of what was mirrored of each partition, to be compared with a recount of the log.

ALTER TABLE memory_event_checkpoints ADD COLUMN checksum bigint;

-- Of records that were mirrored before, nobody has counted it: it stays null there.
UPDATE memory_event_checkpoints SET checksum = 0 WHERE row_count = 0;
ALTER TABLE memory_event_checkpoints ALTER COLUMN checksum SET DEFAULT 0;

COMMENT ON COLUMN memory_event_checkpoints.checksum IS 'Sum, modulo 2^64 and read as a signed number, of the checksums (XXH3 over place, time, key, headers and value) of the records mirrored so far: helixstream mirror verify counts it again. Null where records were mirrored by a version that did not count it.';
