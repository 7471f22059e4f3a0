-- The nodes that write memories: what the log tells of each, how far each is mirrored; and views in HelixAgent's own shape.

------------------------------------------------------------------------------------------------------------------------
-- Nodes, from the log alone
------------------------------------------------------------------------------------------------------------------------

-- Every column follows from the set of the mirrored events, so their order of arrival shows in none, save updated_at.
--
-- A clock reset of a node: take its events that have a counter of its own (vector_clock ->> node_id), equal ones once, in the order
-- of (version, event_time_ns, event_id, counter). Each event whose version is above that of the event before it, while its
-- counter is not, is a reset: the node went on, and its vector clock began again.
CREATE VIEW memory_nodes AS
    SELECT of_node.node_id, NULL::text AS node_name, NULL::text AS node_type, NULL::text AS status, last_event.event_time AS last_heartbeat,
        joined_clock.vector_clock, of_node.version, NULL::jsonb AS capabilities, NULL::jsonb AS metadata, first_event.event_time AS joined_at,
        of_node.updated_at, first_event.event_id AS first_event_id, first_event.event_time_ns AS first_event_time_ns,
        last_event.event_id AS last_event_id, last_event.event_time_ns AS last_event_time_ns, of_node.events, of_node.records,
        own_clock.highest_counter, coalesce(own_clock.clock_resets, 0) AS clock_resets
    FROM (
        SELECT node_id, count(DISTINCT event_id COLLATE "C") AS events, count(*) AS records, max(version) AS version, max(record_time) AS updated_at
        FROM memory_events
        WHERE node_id IS NOT NULL
        GROUP BY node_id
    ) AS of_node
    LEFT JOIN (
        SELECT DISTINCT ON (node_id) node_id, event_id, event_time, event_time_ns
        FROM memory_events
        WHERE node_id IS NOT NULL
        ORDER BY node_id, event_time_ns, version, event_id COLLATE "C"
    ) AS first_event USING (node_id)
    LEFT JOIN (
        SELECT DISTINCT ON (node_id) node_id, event_id, event_time, event_time_ns
        FROM memory_events
        WHERE node_id IS NOT NULL
        ORDER BY node_id, event_time_ns DESC, version DESC, event_id COLLATE "C" DESC
    ) AS last_event USING (node_id)
    LEFT JOIN (
        SELECT node_id, jsonb_object_agg(actor, counter) AS vector_clock
        FROM (
            SELECT node_id, actor, max(counter::bigint) AS counter
            FROM memory_events, LATERAL jsonb_each_text(vector_clock) AS entry (actor, counter)
            WHERE node_id IS NOT NULL
            GROUP BY node_id, actor
        ) AS entries
        GROUP BY node_id
    ) AS joined_clock USING (node_id)
    LEFT JOIN (
        SELECT node_id, max(counter) AS highest_counter, count(*) FILTER (WHERE is_reset) AS clock_resets
        FROM (
            SELECT node_id, counter, version > lag(version) OVER before AND counter <= lag(counter) OVER before AS is_reset
            FROM (
                SELECT DISTINCT node_id, version, event_time_ns, event_id COLLATE "C" AS event_id, (vector_clock ->> node_id)::bigint AS counter
                FROM memory_events
                WHERE vector_clock ? node_id
            ) AS counted
            WINDOW before AS (PARTITION BY node_id ORDER BY version, event_time_ns, event_id, counter)
        ) AS steps
        GROUP BY node_id
    ) AS own_clock USING (node_id);

COMMENT ON VIEW memory_nodes IS 'The nodes that made events, as the mirrored events tell of them; events that retention has dropped are not among these. It reads the whole log: see memory_node_checkpoints for what is cheap to know.';
COMMENT ON COLUMN memory_nodes.node_id IS 'Node, as its events name it.';
COMMENT ON COLUMN memory_nodes.node_name IS 'Always null: the log does not tell it. HelixAgent''s column.';
COMMENT ON COLUMN memory_nodes.node_type IS 'Always null: the log does not tell it. HelixAgent''s column.';
COMMENT ON COLUMN memory_nodes.status IS 'Always null: the log does not tell whether a node that is silent is gone. HelixAgent''s column.';
COMMENT ON COLUMN memory_nodes.last_heartbeat IS 'Time of its last event, cut to microseconds.';
COMMENT ON COLUMN memory_nodes.vector_clock IS 'Join of the clocks of its events: of each actor the greatest counter.';
COMMENT ON COLUMN memory_nodes.version IS 'Highest version of its events.';
COMMENT ON COLUMN memory_nodes.capabilities IS 'Always null: the log does not tell them. HelixAgent''s column.';
COMMENT ON COLUMN memory_nodes.metadata IS 'Always null: the log does not tell any of a node. HelixAgent''s column.';
COMMENT ON COLUMN memory_nodes.joined_at IS 'Time of its first event, cut to microseconds.';
COMMENT ON COLUMN memory_nodes.updated_at IS 'Greatest record_time of its events: when Kafka last had news of it.';
COMMENT ON COLUMN memory_nodes.first_event_id IS 'Its first event, least by time, version and id.';
COMMENT ON COLUMN memory_nodes.first_event_time_ns IS 'Time of its first event in nanoseconds since 1970.';
COMMENT ON COLUMN memory_nodes.last_event_id IS 'Its last event, greatest by time, version and id.';
COMMENT ON COLUMN memory_nodes.last_event_time_ns IS 'Time of its last event in nanoseconds since 1970.';
COMMENT ON COLUMN memory_nodes.events IS 'Its events; those of the same event_id are one.';
COMMENT ON COLUMN memory_nodes.records IS 'Records of its events, redeliveries too.';
COMMENT ON COLUMN memory_nodes.highest_counter IS 'Highest counter of its own in the clocks of its events; null when none has one.';
COMMENT ON COLUMN memory_nodes.clock_resets IS 'How often its own counter did not rise while its version did: a node that lost its clock began again. Counted over its events in order of version, time and id; those without a counter of its own are left out.';

------------------------------------------------------------------------------------------------------------------------
-- Nodes, as part of the checkpoints
------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION memory_digest(id text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256(convert_to(id, 'UTF8'));

COMMENT ON FUNCTION memory_digest(text) IS 'SHA-256 of an id: stands for it in keys, since ids have no limit and a b-tree refuses those above 2.7 kB.';

-- By partition, so that mirrors of different partitions never wait for each other's rows; whoever writes a partition holds its
-- checkpoint locked.
CREATE TABLE memory_node_checkpoints (
    kafka_topic         text        NOT NULL,
    kafka_partition     integer     NOT NULL,
    node_digest         bytea       NOT NULL,
    node_id             text        NOT NULL,
    last_offset         bigint      NOT NULL,
    last_event_id       text        NOT NULL,
    last_event_time     timestamptz NOT NULL,
    last_event_time_ns  bigint      NOT NULL,
    last_version        bigint      NOT NULL,
    vector_clock        jsonb       NOT NULL,
    event_count         bigint      NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kafka_topic, kafka_partition, node_digest)
) WITH (fillfactor = 50);

COMMENT ON TABLE memory_node_checkpoints IS 'How far each node is mirrored: its last event in each partition, of the rows that memory_node_progress says. Retention leaves it as it is.';
COMMENT ON COLUMN memory_node_checkpoints.kafka_topic IS 'Topic.';
COMMENT ON COLUMN memory_node_checkpoints.kafka_partition IS 'Partition of the topic.';
COMMENT ON COLUMN memory_node_checkpoints.node_digest IS 'memory_digest of node_id: the key.';
COMMENT ON COLUMN memory_node_checkpoints.node_id IS 'Node, as its events name it.';
COMMENT ON COLUMN memory_node_checkpoints.last_offset IS 'Offset of the last record that holds an event of the node.';
COMMENT ON COLUMN memory_node_checkpoints.last_event_id IS 'That event: the last by offset.';
COMMENT ON COLUMN memory_node_checkpoints.last_event_time IS 'Its timestamp, cut to microseconds.';
COMMENT ON COLUMN memory_node_checkpoints.last_event_time_ns IS 'Its timestamp in nanoseconds since 1970.';
COMMENT ON COLUMN memory_node_checkpoints.last_version IS 'Its version.';
COMMENT ON COLUMN memory_node_checkpoints.vector_clock IS 'Its vector clock: of that one event, so that the row stays as small as an event. memory_nodes has the join over all.';
COMMENT ON COLUMN memory_node_checkpoints.event_count IS 'Records with events of the node so far, redeliveries too; without those that this database refused.';
COMMENT ON COLUMN memory_node_checkpoints.created_at IS 'When the first of them was counted, by this database''s clock.';
COMMENT ON COLUMN memory_node_checkpoints.updated_at IS 'When the last of them was counted, by this database''s clock.';

CREATE TABLE memory_node_progress (
    kafka_topic     text        NOT NULL,
    kafka_partition integer     NOT NULL,
    counted_offset  bigint      NOT NULL DEFAULT 0,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kafka_topic, kafka_partition)
) WITH (fillfactor = 50);

COMMENT ON TABLE memory_node_progress IS 'How far the rows of each partition are counted in memory_node_checkpoints: half a minute behind memory_event_checkpoints, at most, while a mirror runs.';
COMMENT ON COLUMN memory_node_progress.kafka_topic IS 'Topic.';
COMMENT ON COLUMN memory_node_progress.kafka_partition IS 'Partition of the topic.';
COMMENT ON COLUMN memory_node_progress.counted_offset IS 'Rows below this offset are counted.';
COMMENT ON COLUMN memory_node_progress.updated_at IS 'When it last moved, by this database''s clock.';

-- Now and again, not with each batch: a batch has few rows of each of many nodes, and to look each of them up took the mirror a
-- third of its speed. Its own table says how far it is, so that no writer's checkpoint is locked; of two that count at once each
-- takes what the other has not. Planned anew each time: the tables may have been empty the last time.
CREATE FUNCTION count_memory_nodes(most_offsets bigint DEFAULT 1000000) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    part record;
    moved bigint := 0;
BEGIN
    INSERT INTO memory_node_progress (kafka_topic, kafka_partition)
    SELECT kafka_topic, kafka_partition
    FROM memory_event_checkpoints AS c
    WHERE next_offset > 0
        AND NOT EXISTS (SELECT FROM memory_node_progress AS p WHERE p.kafka_topic = c.kafka_topic AND p.kafka_partition = c.kafka_partition)
    ON CONFLICT DO NOTHING;
    FOR part IN
        SELECT kafka_topic, kafka_partition, counted_offset, least(next_offset, counted_offset + most_offsets) AS upto
        FROM memory_node_progress AS p JOIN memory_event_checkpoints AS c USING (kafka_topic, kafka_partition)
        WHERE next_offset > counted_offset
        FOR UPDATE OF p SKIP LOCKED
    LOOP
        INSERT INTO memory_node_checkpoints AS at (kafka_topic, kafka_partition, node_digest, node_id, last_offset, last_event_id,
            last_event_time, last_event_time_ns, last_version, vector_clock, event_count)
        SELECT part.kafka_topic, part.kafka_partition, memory_digest(node_id), node_id, last_offset, event_id, event_time, event_time_ns,
            version, vector_clock, count
        FROM (
            SELECT node_id, max(kafka_offset) AS last_offset, count(*) AS count
            FROM memory_events
            WHERE kafka_topic = part.kafka_topic AND kafka_partition = part.kafka_partition
                AND kafka_offset >= part.counted_offset AND kafka_offset < part.upto AND node_id IS NOT NULL
            GROUP BY node_id
        ) AS noted CROSS JOIN LATERAL (
            SELECT event_id, event_time, event_time_ns, version, vector_clock
            FROM memory_events
            WHERE kafka_topic = part.kafka_topic AND kafka_partition = part.kafka_partition AND kafka_offset = noted.last_offset
            LIMIT 1
        ) AS last
        ON CONFLICT (kafka_topic, kafka_partition, node_digest) DO UPDATE SET
            last_offset = excluded.last_offset, last_event_id = excluded.last_event_id, last_event_time = excluded.last_event_time,
            last_event_time_ns = excluded.last_event_time_ns, last_version = excluded.last_version, vector_clock = excluded.vector_clock,
            event_count = at.event_count + excluded.event_count, updated_at = now();
        UPDATE memory_node_progress SET counted_offset = part.upto, updated_at = now()
        WHERE kafka_topic = part.kafka_topic AND kafka_partition = part.kafka_partition;
        moved := moved + part.upto - part.counted_offset;
    END LOOP;
    RETURN moved;
END
$$;

COMMENT ON FUNCTION count_memory_nodes(bigint) IS 'Brings memory_node_checkpoints up to the rows mirrored, at most so many offsets of each partition; gives the number of offsets. The mirror calls it every half minute.';

-- PL/pgSQL finds tables when it runs, wherever the caller's search_path points: it is told where they are.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION count_memory_nodes SET search_path = %I, pg_catalog, pg_temp', current_schema());
END
$$;

------------------------------------------------------------------------------------------------------------------------
-- HelixAgent's shape
------------------------------------------------------------------------------------------------------------------------

CREATE VIEW helixagent_memory_events AS
    SELECT event_id, event_type, event_time AS timestamp, node_id, memory_id, user_id, session_id, content, embedding, importance, tags,
        entities, relationships, metadata, version, vector_clock, merged_from, mirrored_at AS created_at
    FROM memory_events
    WHERE error_class IS NULL;

COMMENT ON VIEW helixagent_memory_events IS 'memory_events in HelixAgent''s columns: the records that could be read, redeliveries too.';
COMMENT ON COLUMN helixagent_memory_events.timestamp IS 'Timestamp of the event, cut to microseconds.';
COMMENT ON COLUMN helixagent_memory_events.created_at IS 'When the row was written, by this database''s clock.';

CREATE VIEW helixagent_memory_snapshots AS
    SELECT snapshot_id, timestamp, node_id, user_id, memories, entities, relationships, vector_clock, metadata, memory_count, entity_count,
        relationship_count, mirrored_at AS created_at
    FROM memory_snapshots
    WHERE snapshot_id IS NOT NULL;

COMMENT ON VIEW helixagent_memory_snapshots IS 'memory_snapshots in HelixAgent''s columns: the last snapshot of each user. Single memories are in memory_snapshots.';
COMMENT ON COLUMN helixagent_memory_snapshots.created_at IS 'When the row was written, by this database''s clock.';

CREATE VIEW helixagent_memory_conflicts AS
    SELECT conflict_id, memory_id, user_id, conflict_type, local_event_id, remote_event_id, resolution_strategy,
        coalesce(resolved_version, told.told_version) AS resolved_version,
        CASE WHEN status <> 'pending' THEN resolved_by END AS resolved_by, detected_at,
        CASE WHEN status <> 'pending' THEN resolved_at END AS resolved_at, coalesce(details, told.told_details) AS details
    FROM memory_conflicts_current AS current LEFT JOIN LATERAL (
        SELECT earlier.resolved_version AS told_version, earlier.details AS told_details
        FROM memory_conflicts AS earlier
        WHERE earlier.conflict_id = current.conflict_id AND current.status = 'superseded' AND earlier.status <> 'superseded'
        ORDER BY earlier.kafka_offset DESC
        LIMIT 1
    ) AS told ON true;

COMMENT ON VIEW helixagent_memory_conflicts IS 'memory_conflicts in HelixAgent''s columns: each conflict once, as it stands.';
COMMENT ON COLUMN helixagent_memory_conflicts.resolved_version IS 'The memory as it was resolved when the conflict was told.';
COMMENT ON COLUMN helixagent_memory_conflicts.resolved_by IS 'Application that resolved it; null while it is pending.';
COMMENT ON COLUMN helixagent_memory_conflicts.resolved_at IS 'Time of the event that resolved or superseded it, cut to microseconds; null while it is pending.';
COMMENT ON COLUMN helixagent_memory_conflicts.details IS 'Per field in conflict its contenders, the winner and why; the participants of a delete against an update. As when the conflict was told.';

CREATE VIEW helixagent_memory_nodes AS
    SELECT node_id, node_name, node_type, status, last_heartbeat, vector_clock, version, capabilities, metadata, joined_at, updated_at
    FROM memory_nodes;

COMMENT ON VIEW helixagent_memory_nodes IS 'memory_nodes in HelixAgent''s columns.';

CREATE VIEW helixagent_memory_event_checkpoints AS
    SELECT 'node:' || last.node_id AS checkpoint_id, last.node_id, NULL::text AS user_id, last.last_event_id AS last_processed_event_id,
        last.last_event_time AS last_processed_timestamp, last.last_version AS last_processed_version, joined.vector_clock,
        counted.event_count, counted.created_at, counted.updated_at
    FROM (
        SELECT DISTINCT ON (node_digest) *
        FROM memory_node_checkpoints
        ORDER BY node_digest, last_event_time_ns DESC, last_version DESC, last_event_id COLLATE "C" DESC
    ) AS last JOIN (
        SELECT node_digest, sum(event_count) AS event_count, min(created_at) AS created_at, max(updated_at) AS updated_at
        FROM memory_node_checkpoints
        GROUP BY node_digest
    ) AS counted USING (node_digest) LEFT JOIN (
        SELECT node_digest, jsonb_object_agg(actor, counter) AS vector_clock
        FROM (
            SELECT node_digest, actor, max(counter::bigint) AS counter
            FROM memory_node_checkpoints, LATERAL jsonb_each_text(vector_clock) AS entry (actor, counter)
            GROUP BY node_digest, actor
        ) AS entries
        GROUP BY node_digest
    ) AS joined USING (node_digest);

COMMENT ON VIEW helixagent_memory_event_checkpoints IS 'memory_node_checkpoints in HelixAgent''s columns: each node once, over all partitions.';
COMMENT ON COLUMN helixagent_memory_event_checkpoints.checkpoint_id IS 'node: and the node''s id.';
COMMENT ON COLUMN helixagent_memory_event_checkpoints.node_id IS 'Node, as its events name it.';
COMMENT ON COLUMN helixagent_memory_event_checkpoints.user_id IS 'Always null: checkpoints are kept by node, not by user. HelixAgent''s column.';
COMMENT ON COLUMN helixagent_memory_event_checkpoints.last_processed_event_id IS 'Of the last events of the node in each partition the latest by time, version and id.';
COMMENT ON COLUMN helixagent_memory_event_checkpoints.last_processed_timestamp IS 'Its timestamp, cut to microseconds.';
COMMENT ON COLUMN helixagent_memory_event_checkpoints.last_processed_version IS 'Its version.';
COMMENT ON COLUMN helixagent_memory_event_checkpoints.vector_clock IS 'Join of the clocks of the last events of the node in each partition.';
COMMENT ON COLUMN helixagent_memory_event_checkpoints.event_count IS 'Records with events of the node so far.';
COMMENT ON COLUMN helixagent_memory_event_checkpoints.created_at IS 'When the first of them was mirrored, by this database''s clock.';
COMMENT ON COLUMN helixagent_memory_event_checkpoints.updated_at IS 'When the last of them was mirrored, by this database''s clock.';

-- The columns that a view takes as they are say what they say in the table.
DO $$
DECLARE
    said record;
BEGIN
    FOR said IN
        SELECT views.name, shown.attname, col_description(held.attrelid, held.attnum) AS words
        FROM (VALUES ('memory_conflicts_current', 'memory_conflicts'), ('helixagent_memory_events', 'memory_events'),
                ('helixagent_memory_snapshots', 'memory_snapshots'), ('helixagent_memory_conflicts', 'memory_conflicts'),
                ('helixagent_memory_nodes', 'memory_nodes')) AS views (name, source)
            JOIN pg_attribute AS shown ON shown.attrelid = to_regclass(name) AND shown.attnum > 0
            JOIN pg_attribute AS held ON held.attrelid = to_regclass(source) AND held.attname = shown.attname
        WHERE col_description(shown.attrelid, shown.attnum) IS NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', said.name, said.attname, said.words);
    END LOOP;
END
$$;
