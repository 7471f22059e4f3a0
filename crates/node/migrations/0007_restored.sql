-- Snapshots are restored for callers that may write for all users, so a memory that is known by a
-- snapshot alone is written as any other.
ALTER TABLE memories DROP COLUMN restored;
