-- Whether a resolved memory has listed the event in `event_ids`, which shows that the stream has
-- processed it: a dead letter of it is then forged, or of another branch of the topology.
ALTER TABLE outbox ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;

-- Whether this node has ever written the memory, under whichever incarnation.
ALTER TABLE memories ADD COLUMN own INTEGER NOT NULL DEFAULT 0;
UPDATE memories SET own = 1 WHERE last_own <> 0 OR pending IS NOT NULL
    OR EXISTS (SELECT 1 FROM outbox WHERE outbox.memory_id = memories.memory_id);

-- Events that have failed are removed by their age.
DROP INDEX outbox_failed;
CREATE INDEX outbox_failed ON outbox (accepted_at_ms) WHERE state = 'failed' OR dead_letter IS NOT NULL;
