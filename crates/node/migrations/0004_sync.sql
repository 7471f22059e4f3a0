-- Sync requests of this node, which its publisher sends beside the events of the outbox. They
-- change no memory: they have no counter, and their order does not matter.
CREATE TABLE sync_requests (
    number INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    -- The user whose memories are asked for; null asks for those of all.
    user_id TEXT,
    -- The value of the record and its timestamp.
    value TEXT NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'failed')),
    -- The reason of a broker that refuses it.
    failure TEXT,
    -- When it was sent or has failed; null before.
    ended_at_ms INTEGER
) STRICT;
CREATE INDEX sync_requests_pending ON sync_requests (number) WHERE state = 'pending';
CREATE INDEX sync_requests_user ON sync_requests (user_id, number);

-- Whether the memory is known by a user snapshot alone that was brought back: no record of the
-- snapshots topic has confirmed it.
ALTER TABLE memories ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;

-- The memories that the node kept when its database was last opened, as canonical JSON: "all", or
-- an object with the lists `sessions` and `users`. Null where that is not known.
ALTER TABLE identity ADD COLUMN subscription TEXT;
