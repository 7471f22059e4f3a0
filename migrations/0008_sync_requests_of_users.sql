-- Sync requests of one user: what they are answered with, computed from the log alone.

-- An entry of zero names nothing that was seen, as in an event. A memory of which retention has dropped every event has no clock.
CREATE FUNCTION get_unseen_memories(vector_clock jsonb DEFAULT NULL, user_id text DEFAULT NULL)
RETURNS TABLE (memory_id text, resolved jsonb)
LANGUAGE sql STABLE
SET jit = off
BEGIN ATOMIC
    WITH seen AS MATERIALIZED (
        SELECT actor, counter::numeric AS counter
        FROM jsonb_each_text(coalesce(nullif($1, 'null'), '{}')) AS entry (actor, counter)
        WHERE counter::numeric > 0
    ), rebuilt AS MATERIALIZED (
        SELECT known.memory_id, rebuild_memory_from_events(known.memory_id) AS resolved
        FROM memory_ids_of(nullif($2, '')) AS known
    )
    SELECT rebuilt.memory_id, rebuilt.resolved
    FROM rebuilt
    WHERE rebuilt.resolved ? 'vector_clock' AND (nullif($2, '') IS NULL OR rebuilt.resolved ->> 'user_id' = $2)
        AND (NOT EXISTS (SELECT FROM seen) OR EXISTS (
            SELECT FROM jsonb_each_text(rebuilt.resolved -> 'vector_clock') AS own (actor, counter) LEFT JOIN seen USING (actor)
            WHERE own.counter::numeric > coalesce(seen.counter, 0)
        ))
    ORDER BY rebuilt.memory_id COLLATE "C";
END;

COMMENT ON FUNCTION get_unseen_memories(jsonb, text) IS 'What a sync request with this clock (an object, node to counter) and this user is answered with, as the events in the log resolve it: the memories of which the clock has not seen all, of all users or one, deleted and merged ones too. An empty clock, or none, has seen nothing; an empty user is none. With a member "incomplete" in a memory of which retention has dropped events.';

COMMENT ON COLUMN memory_events.user_id IS 'Owner of the memory, or of a memory.sync_request the user whose memories it asks for; null when the event tells none, or clears it (see cleared).';
