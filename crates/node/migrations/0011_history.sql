-- The resolved states of memories that this node has applied, the last ones of each memory.
CREATE TABLE history (
    number INTEGER PRIMARY KEY,
    memory_id TEXT NOT NULL,
    -- Its place among the states of this memory, from 1.
    place INTEGER NOT NULL,
    -- Bytes of this row, and of all rows of this memory up to it, removed ones included.
    bytes INTEGER NOT NULL,
    total INTEGER NOT NULL,
    -- Whether the node had no resolved state of the memory before.
    is_first INTEGER NOT NULL,
    -- The memory's user in this state, and in the state before.
    user_id TEXT,
    old_user_id TEXT,
    -- The state and its differences from the one before, as canonical JSON.
    state TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX history_memory ON history (memory_id, place, total);

-- Bytes of all rows of `history`, which has a limit of its own.
CREATE TABLE history_size (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    bytes INTEGER NOT NULL
) STRICT;
INSERT INTO history_size (number, bytes) VALUES (1, 0);
CREATE TRIGGER history_grows AFTER INSERT ON history BEGIN
    UPDATE history_size SET bytes = bytes + new.bytes;
END;
CREATE TRIGGER history_shrinks AFTER DELETE ON history BEGIN
    UPDATE history_size SET bytes = bytes - old.bytes;
END;
