-- The state of the node counts the memories that are shown.
CREATE INDEX memories_shown ON memories (status) WHERE status IS NOT NULL;
