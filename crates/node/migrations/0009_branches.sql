-- The branch of the actor that has written an event, by the counter of its first one: 0 is the actor
-- itself, and others are those of stale writes.
ALTER TABLE outbox ADD COLUMN branch INTEGER NOT NULL DEFAULT 0;

-- The branches of events that were written again, before and after.
ALTER TABLE translations ADD COLUMN branch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE translations ADD COLUMN new_branch INTEGER NOT NULL DEFAULT 0;
