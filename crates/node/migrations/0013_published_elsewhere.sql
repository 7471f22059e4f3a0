-- Events of the outbox that another process has published from a copy of the folder, as the events
-- topic has them. They are taken in when the next incarnation begins.
CREATE TABLE published_elsewhere (
    event_id TEXT NOT NULL PRIMARY KEY,
    incarnation TEXT NOT NULL,
    branch INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The incarnation of an event that another process has published; null where it was written again
-- under the next incarnation of this node.
ALTER TABLE translations ADD COLUMN new_incarnation TEXT;
