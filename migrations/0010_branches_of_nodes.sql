-- The branches of a node, which write its stale writes, belong to the node: memory_nodes has one row for it and them.

CREATE FUNCTION memory_node_of(node_id text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN node_id COLLATE "C" LIKE '%.b%'
    THEN coalesce(substring(node_id COLLATE "C" FROM '^([-_0-9A-Za-z]{1,64}[.][0-9a-hjkmnp-tv-z]{20})[.]b[1-9][0-9]{0,19}$'), node_id)
    ELSE node_id
END;

COMMENT ON FUNCTION memory_node_of(text) IS 'The node that an event is one of, by the node_id of the event: that of a branch (NAME.INCARNATION.bN), by which a node writes a stale write, is NAME.INCARNATION, and every other one is the node itself.';

-- One counter numbers the events of a node and of its branches, each in the entry of its own actor, so they are one history here.
CREATE OR REPLACE VIEW memory_nodes AS
    WITH events AS NOT MATERIALIZED (
        SELECT memory_node_of(node_id) AS node_id, node_id AS event_actor, event_id, event_time, event_time_ns, version, vector_clock, record_time
        FROM memory_events
        WHERE node_id IS NOT NULL
    )
    SELECT node_id, registered.node_name, registered.node_type, registered.status,
        coalesce(registered.heard_at, last_event.event_time) AS last_heartbeat,
        coalesce(joined_clock.vector_clock, CASE
            WHEN registered.published_counter > 0 THEN jsonb_build_object(node_id, registered.published_counter)
            WHEN registered.node_id IS NOT NULL THEN '{}'
        END) AS vector_clock,
        coalesce(of_node.version, CASE WHEN registered.node_id IS NOT NULL THEN 0 END) AS version, registered.capabilities,
        CASE WHEN registered.node_id IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object('incarnation', registered.incarnation,
            'software_version', registered.software_version, 'counter', registered.counter, 'published_counter',
            registered.published_counter, 'outbox_depth', registered.outbox_depth, 'successor', registered.successor))
        END AS metadata,
        coalesce(registered.joined_at, first_event.event_time) AS joined_at,
        greatest(of_node.updated_at, registered.heard_at) AS updated_at, first_event.event_id AS first_event_id,
        first_event.event_time_ns AS first_event_time_ns, last_event.event_id AS last_event_id,
        last_event.event_time_ns AS last_event_time_ns, coalesce(of_node.events, 0) AS events, coalesce(of_node.records, 0) AS records,
        own_clock.highest_counter, coalesce(own_clock.clock_resets, 0) AS clock_resets
    FROM (
        SELECT node_id, count(DISTINCT event_id COLLATE "C") AS events, count(*) AS records, max(version) AS version,
            max(CASE WHEN isfinite(record_time) THEN record_time ELSE event_time END) AS updated_at
        FROM events
        GROUP BY node_id
    ) AS of_node
    FULL JOIN (
        SELECT DISTINCT ON (node_id) *, CASE
                WHEN state <> 'running' THEN state
                WHEN heard_at <= now() - interval '10 minutes' THEN 'failed'
                WHEN heard_at < now() - interval '30 seconds' THEN 'inactive'
                ELSE 'active'
            END AS status
        FROM memory_registered_nodes, LATERAL (SELECT CASE WHEN isfinite(record_time) THEN record_time ELSE heartbeat_at END) AS record (heard_at)
        WHERE error_class IS NULL
        ORDER BY node_id, published_counter DESC, heard_at DESC
    ) AS registered USING (node_id)
    LEFT JOIN (
        SELECT DISTINCT ON (node_id) node_id, event_id, event_time, event_time_ns
        FROM events
        ORDER BY node_id, event_time_ns, version, event_id COLLATE "C"
    ) AS first_event USING (node_id)
    LEFT JOIN (
        SELECT DISTINCT ON (node_id) node_id, event_id, event_time, event_time_ns
        FROM events
        ORDER BY node_id, event_time_ns DESC, version DESC, event_id COLLATE "C" DESC
    ) AS last_event USING (node_id)
    LEFT JOIN (
        SELECT node_id, jsonb_object_agg(actor, counter) AS vector_clock
        FROM (
            SELECT node_id, actor, max(counter::bigint) AS counter
            FROM events, LATERAL jsonb_each_text(vector_clock) AS entry (actor, counter)
            GROUP BY node_id, actor
        ) AS entries
        GROUP BY node_id
    ) AS joined_clock USING (node_id)
    LEFT JOIN (
        SELECT node_id, max(counter) AS highest_counter, count(*) FILTER (WHERE is_reset) AS clock_resets
        FROM (
            SELECT node_id, counter, version > lag(version) OVER before AND counter <= lag(counter) OVER before AS is_reset
            FROM (
                SELECT DISTINCT node_id, version, event_time_ns, event_id COLLATE "C" AS event_id, (vector_clock ->> event_actor)::bigint AS counter
                FROM events
                WHERE vector_clock ? event_actor
            ) AS counted
            WINDOW before AS (PARTITION BY node_id ORDER BY version, event_time_ns, event_id, counter)
        ) AS steps
        GROUP BY node_id
    ) AS own_clock USING (node_id);

COMMENT ON VIEW memory_nodes IS 'The nodes that made events, as the mirrored events tell of them, and the nodes that register on the nodes topic; events that retention has dropped are not among these. Events of a branch of a node are its own (memory_node_of). It reads the whole log: see memory_node_checkpoints, where branches have rows of their own, and memory_registered_nodes for what is cheap to know.';
COMMENT ON COLUMN memory_nodes.node_id IS 'Node, as its events name it; for events of its branches, the node without the branch (memory_node_of).';
COMMENT ON COLUMN memory_nodes.vector_clock IS 'Join of the clocks of its events: of each actor the greatest counter; a branch is an actor of its own here. Of a node that registers and has no mirrored event, its own counter of published events.';
COMMENT ON COLUMN memory_nodes.highest_counter IS 'Highest counter in the clocks of its events under the name of the event''s own actor, the node or a branch of it; null when none has one.';

-- HelixAgent's shape takes the columns as they are.
DO $$
DECLARE
    said record;
BEGIN
    FOR said IN
        SELECT shown.attname, col_description(held.attrelid, held.attnum) AS words
        FROM pg_attribute AS shown
            JOIN pg_attribute AS held ON held.attrelid = to_regclass('memory_nodes') AND held.attname = shown.attname
        WHERE shown.attrelid = to_regclass('helixagent_memory_nodes') AND shown.attnum > 0
    LOOP
        EXECUTE format('COMMENT ON COLUMN helixagent_memory_nodes.%I IS %L', said.attname, said.words);
    END LOOP;
END
$$;
