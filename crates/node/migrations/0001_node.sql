-- The database of a node. Counters, versions and times are integers below 2^63; what is JSON is
-- canonical JSON as text.

-- The node itself: one row.
CREATE TABLE identity (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    -- The name that the operator has chosen, and the present incarnation.
    name TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    -- The issuer of tokens: the incarnation and the present opening, with a dot between them.
    issuer TEXT NOT NULL,
    -- The counter of the last accepted event, and of the last one that is known to be published.
    counter INTEGER NOT NULL,
    published INTEGER NOT NULL,
    -- The chain of the values of all published events: 16 bytes, big-endian.
    chain BLOB NOT NULL,
    -- The greatest version that was seen or written.
    version INTEGER NOT NULL
) STRICT;

-- Each time that the database was opened or a new incarnation began. A token names its opening, so
-- a token of a copy of this folder is no token of this node.
CREATE TABLE openings (
    number INTEGER PRIMARY KEY,
    opening TEXT NOT NULL UNIQUE,
    incarnation TEXT NOT NULL,
    -- The counter at its end; null as long as it lasts.
    last_counter INTEGER
) STRICT;

-- Incarnations that have ended, the oldest first.
CREATE TABLE former_incarnations (
    number INTEGER PRIMARY KEY,
    incarnation TEXT NOT NULL UNIQUE,
    published INTEGER NOT NULL,
    reason TEXT NOT NULL,
    ended_at_ms INTEGER NOT NULL
) STRICT;

-- The events of this node, in the order in which they were accepted.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY,
    incarnation TEXT NOT NULL,
    counter INTEGER NOT NULL,
    memory_id TEXT NOT NULL,
    event_id TEXT NOT NULL UNIQUE,
    -- The value of the record and its timestamp.
    value TEXT NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'published', 'failed')),
    -- The reason of a broker that refuses it.
    failure TEXT,
    accepted_at_ms INTEGER NOT NULL,
    -- The caller's key, a digest of its request, and whether the caller had no token.
    idempotency_key TEXT UNIQUE,
    request_digest BLOB,
    assumed INTEGER NOT NULL,
    UNIQUE (incarnation, counter)
) STRICT;
CREATE INDEX outbox_pending ON outbox (counter) WHERE state = 'pending';
CREATE INDEX outbox_memory ON outbox (memory_id, number);
CREATE INDEX outbox_accepted ON outbox (accepted_at_ms) WHERE state = 'published';

-- The memories, resolved as the snapshots topic has them, and as the node shows them.
CREATE TABLE memories (
    number INTEGER PRIMARY KEY,
    memory_id TEXT NOT NULL UNIQUE,
    -- The resolved memory, and the record that has it; null before the first.
    resolved TEXT,
    resolved_partition INTEGER,
    resolved_offset INTEGER,
    -- The resolved memory with the node's own events over it; null where there are none.
    pending TEXT,
    -- Of what is shown; the status is null where nothing is.
    status TEXT,
    user_id TEXT,
    session_id TEXT,
    conflicted INTEGER NOT NULL DEFAULT 0,
    -- The counter of the last event of the present incarnation to this memory.
    last_own INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX memories_user ON memories (user_id, memory_id);
CREATE INDEX memories_pending ON memories (memory_id) WHERE pending IS NOT NULL;
CREATE INDEX memories_conflicted ON memories (memory_id) WHERE conflicted > 0;

-- The own events that lie over a memory since no resolved memory covers them. A merge lies over the
-- memories that it absorbs, too.
CREATE TABLE overlays (
    memory_id TEXT NOT NULL,
    event INTEGER NOT NULL REFERENCES outbox (number) ON DELETE CASCADE,
    absorbed INTEGER NOT NULL,
    PRIMARY KEY (memory_id, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX overlays_event ON overlays (event);

-- How far the snapshots topic is read.
CREATE TABLE positions (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;

-- What a session was last shown of a memory.
CREATE TABLE shown (
    session TEXT NOT NULL,
    memory_id TEXT NOT NULL,
    token TEXT NOT NULL,
    shown_at_ms INTEGER NOT NULL,
    PRIMARY KEY (session, memory_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX shown_at ON shown (shown_at_ms);

-- Events that were written again under the next incarnation, for tokens that were handed out before.
CREATE TABLE translations (
    incarnation TEXT NOT NULL,
    memory_id TEXT NOT NULL,
    counter INTEGER NOT NULL,
    new_counter INTEGER NOT NULL,
    PRIMARY KEY (incarnation, memory_id, counter)
) STRICT, WITHOUT ROWID;

-- The words of active memories, by the number of their row. The texts themselves lie in `memories`.
CREATE VIRTUAL TABLE memories_fts USING fts5 (
    content, tags, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
