-- The last change of a memory is looked up by its id.
CREATE INDEX changes_memory ON changes (memory_id) WHERE memory_id IS NOT NULL;
