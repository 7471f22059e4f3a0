-- The changes that are kept are shared by users: where there are too many, those of the user who has
-- most are removed first, so that numbers have gaps.

-- Bytes of this change, which count for its user.
ALTER TABLE changes ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE changes SET bytes = sizes.bytes
FROM (SELECT number AS at, total - coalesce(lag(total) OVER (ORDER BY number), total) AS bytes FROM changes) AS sizes
WHERE changes.number = sizes.at;
-- A large change is in no page that is read for the sizes alone.
CREATE INDEX changes_sizes ON changes (number, user_id, old_user_id, bytes);

-- How many changes there are, and their bytes. No change up to `floor` is kept, whoever its user is.
CREATE TABLE kept_changes (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    changes INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    floor INTEGER NOT NULL
) STRICT;
INSERT INTO kept_changes (number, changes, bytes, floor)
SELECT 1, count(*), coalesce(sum(bytes), 0), coalesce(min(number), 1) - 1 FROM changes;
CREATE TRIGGER kept_changes_grow AFTER INSERT ON changes BEGIN
    UPDATE kept_changes SET changes = changes + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER kept_changes_shrink AFTER DELETE ON changes BEGIN
    UPDATE kept_changes SET changes = changes - 1, bytes = bytes - old.bytes;
END;

-- The last change that was removed of the memories of a user; '' is no user.
CREATE TABLE removed_changes (
    user_id TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX removed_changes_number ON removed_changes (number);

-- The first change of an opening; null where its changes are not kept any more. A change belongs to
-- the last opening that has begun before it.
ALTER TABLE openings ADD COLUMN first_change INTEGER;
UPDATE openings SET first_change = (SELECT min(number) FROM changes WHERE opening = openings.number);
