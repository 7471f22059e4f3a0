-- A write that is several events: the id of the last one of them, which each of them has. They are
-- published in one transaction, and fail together. Null in a write that is one event.
ALTER TABLE outbox ADD COLUMN part_of TEXT;
CREATE INDEX outbox_part_of ON outbox (part_of) WHERE part_of IS NOT NULL;
