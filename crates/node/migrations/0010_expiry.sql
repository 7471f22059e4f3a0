-- When an active memory expires, and when the node next looks whether it is to delete it then: in
-- nanoseconds since 1970, and null where it does not expire.
ALTER TABLE memories ADD COLUMN expires_at INTEGER;
ALTER TABLE memories ADD COLUMN expiry_due INTEGER;
CREATE INDEX memories_expiry ON memories (expiry_due) WHERE expiry_due IS NOT NULL;
