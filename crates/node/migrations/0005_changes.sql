-- The last changes of what is shown of memories, for streams of events: numbered without a gap, and
-- the last row is always there.
CREATE TABLE changes (
    number INTEGER PRIMARY KEY,
    -- The opening of the database in which it was made: a copy of the database, or one that was
    -- rolled back, counts with the same numbers.
    opening INTEGER NOT NULL REFERENCES openings (number),
    -- Bytes of all changes up to this one, since the first.
    total INTEGER NOT NULL,
    -- The memory; null where the row stands for the opening itself.
    memory_id TEXT,
    -- Its user and session after the change, and before it.
    user_id TEXT,
    session_id TEXT,
    was_shown INTEGER NOT NULL,
    old_user_id TEXT,
    old_session_id TEXT,
    -- Whether own events lie over it, its clock token, and the memory as it is shown since the
    -- change; null where the node no longer holds it.
    pending INTEGER NOT NULL,
    token TEXT,
    memory TEXT
) STRICT;

-- A digest of what is shown of a memory; null where an earlier version of the program has written
-- the row.
ALTER TABLE memories ADD COLUMN shown_digest BLOB;
