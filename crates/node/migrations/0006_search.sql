-- What a search filters by and compares, of each active memory.
CREATE TABLE search_keys (
    number INTEGER PRIMARY KEY REFERENCES memories (number) ON DELETE CASCADE,
    memory_id TEXT NOT NULL,
    user_id TEXT,
    session_id TEXT,
    -- HelixAgent's type and category, which lie in the metadata.
    type TEXT,
    category TEXT,
    -- The time of its first event, in nanoseconds since 1970.
    created_at INTEGER NOT NULL,
    -- How many numbers its embedding has; 0 where it has none, or none but zeros.
    dimensions INTEGER NOT NULL,
    -- The embedding as a vector of length 1: 32-bit floats, little-endian.
    direction BLOB
) STRICT;
CREATE INDEX search_keys_user ON search_keys (user_id);

-- Memories that were there before this table, until the program has put them there.
CREATE TABLE search_keys_due (number INTEGER PRIMARY KEY) STRICT;
INSERT INTO search_keys_due SELECT number FROM memories WHERE status = 'active';
