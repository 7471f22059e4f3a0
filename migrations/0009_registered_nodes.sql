-- The nodes that register on the nodes topic: their last records, and memory_nodes with what these say.

-- Of each key in each partition the last record alone: where the topic has grown, a node's records lie in several.
CREATE TABLE memory_registered_nodes (
    kafka_topic          text        NOT NULL,
    kafka_partition      integer     NOT NULL,
    kafka_offset         bigint      NOT NULL,
    record_time          timestamptz NOT NULL DEFAULT '-infinity',
    record_timestamp_ms  bigint      NOT NULL DEFAULT -1,
    kafka_key            bytea,
    kafka_header_names   bytea[]     NOT NULL DEFAULT '{}',
    kafka_header_values  bytea[]     NOT NULL DEFAULT '{}',
    kafka_value          bytea,
    node_id              text,
    node_name            text,
    incarnation          text,
    node_type            text,
    state                text,
    successor            text,
    software_version     text,
    capabilities         jsonb,
    counter              bigint,
    published_counter    bigint,
    outbox_depth         bigint,
    outbox_since         timestamptz,
    joined_at            timestamptz,
    heartbeat_at         timestamptz,
    error_class          text,
    error_message        text,
    mirrored_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kafka_topic, kafka_partition, kafka_offset),
    CONSTRAINT memory_registered_nodes_one_of_key EXCLUDE USING hash ((int4send(kafka_partition) || kafka_key) WITH =)
);

COMMENT ON TABLE memory_registered_nodes IS 'The last record of each node in each partition of the nodes topic, which each node writes every 10 s. Where that has grown, the old partition keeps a record of the node; memory_nodes shows the later one. Empty where no nodes topic is mirrored. A key whose last record cannot be read has a row that says so.';
COMMENT ON COLUMN memory_registered_nodes.kafka_topic IS 'Topic that the record lies in.';
COMMENT ON COLUMN memory_registered_nodes.kafka_partition IS 'Partition of the topic.';
COMMENT ON COLUMN memory_registered_nodes.kafka_offset IS 'Offset in the partition.';
COMMENT ON COLUMN memory_registered_nodes.record_time IS 'Timestamp of the record, by which memory_nodes derives the status: -infinity when it has none, infinity when it lies beyond what timestamptz holds.';
COMMENT ON COLUMN memory_registered_nodes.record_timestamp_ms IS 'Timestamp of the record as Kafka has it: milliseconds since 1970, -1 when it has none.';
COMMENT ON COLUMN memory_registered_nodes.kafka_key IS 'Key bytes; null when the record has none.';
COMMENT ON COLUMN memory_registered_nodes.kafka_header_names IS 'Names of the headers, in order, repeats kept; compare with kafka_header_values by position.';
COMMENT ON COLUMN memory_registered_nodes.kafka_header_values IS 'Values of the headers, at the positions of their names; null for a header without value.';
COMMENT ON COLUMN memory_registered_nodes.kafka_value IS 'Value bytes, untouched; null when the record has none: an operator has removed the node.';
COMMENT ON COLUMN memory_registered_nodes.node_id IS 'Actor of the node, its name and its incarnation: the node_id of its events. Null, as the columns after it, when the record could not be read (see error_class).';
COMMENT ON COLUMN memory_registered_nodes.node_name IS 'Name that the operator has chosen.';
COMMENT ON COLUMN memory_registered_nodes.incarnation IS 'Incarnation: the life of its counter.';
COMMENT ON COLUMN memory_registered_nodes.node_type IS 'primary, replica or worker.';
COMMENT ON COLUMN memory_registered_nodes.state IS 'As the node says: running, stopped (it has ended in good order) or replaced (it goes on as another incarnation).';
COMMENT ON COLUMN memory_registered_nodes.successor IS 'Actor that it goes on as; null unless it was replaced.';
COMMENT ON COLUMN memory_registered_nodes.software_version IS 'Program and version.';
COMMENT ON COLUMN memory_registered_nodes.capabilities IS 'Abilities of the node: an array of words.';
COMMENT ON COLUMN memory_registered_nodes.counter IS 'Counter of the last event that it has accepted.';
COMMENT ON COLUMN memory_registered_nodes.published_counter IS 'Counter of the last event that it has published.';
COMMENT ON COLUMN memory_registered_nodes.outbox_depth IS 'Events that waited to be published.';
COMMENT ON COLUMN memory_registered_nodes.outbox_since IS 'When the oldest of them was accepted; null where none waited.';
COMMENT ON COLUMN memory_registered_nodes.joined_at IS 'When the actor wrote its first record.';
COMMENT ON COLUMN memory_registered_nodes.heartbeat_at IS 'When it wrote this record, by the clock of its machine.';
COMMENT ON COLUMN memory_registered_nodes.error_class IS 'Why the columns between kafka_value and this one are null: empty_value, malformed_json, missing_field, wrong_type, bad_timestamp, unknown_version, wrong_key, or mirror_rejected when the record is good and this database refused it. Null for a good row.';
COMMENT ON COLUMN memory_registered_nodes.error_message IS 'What was wrong, in words.';
COMMENT ON COLUMN memory_registered_nodes.mirrored_at IS 'When the row was written: start of its transaction, by this database''s clock.';

-- The columns are those of version 4, in their order. A node that registers and has no mirrored event is a row, too.
CREATE OR REPLACE VIEW memory_nodes AS
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
        FROM memory_events
        WHERE node_id IS NOT NULL
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

COMMENT ON VIEW memory_nodes IS 'The nodes that made events, as the mirrored events tell of them, and the nodes that register on the nodes topic; events that retention has dropped are not among these. It reads the whole log: see memory_node_checkpoints and memory_registered_nodes for what is cheap to know.';
COMMENT ON COLUMN memory_nodes.node_name IS 'Name of the node, as it registers; null for a node that does not register, such as those of HelixAgent.';
COMMENT ON COLUMN memory_nodes.node_type IS 'primary, replica or worker, as it registers; null for a node that does not register.';
COMMENT ON COLUMN memory_nodes.status IS 'By last_heartbeat of a node that registers: active; inactive when its last record is more than 30 s old; failed when it is 10 min old; stopped or replaced as it says itself. By the clock of this database. Null for a node that does not register.';
COMMENT ON COLUMN memory_nodes.last_heartbeat IS 'Time of its last record on the nodes topic, or what the record says itself (heartbeat_at) where its record_time is infinite; for a node that does not register, time of its last event, cut to microseconds.';
COMMENT ON COLUMN memory_nodes.vector_clock IS 'Join of the clocks of its events: of each actor the greatest counter. Of a node that registers and has no mirrored event, its own counter of published events.';
COMMENT ON COLUMN memory_nodes.version IS 'Highest version of its events; 0 for a node that registers and has none.';
COMMENT ON COLUMN memory_nodes.capabilities IS 'Its abilities, as it registers: an array of words; null for a node that does not register.';
COMMENT ON COLUMN memory_nodes.metadata IS 'Of a node that registers: incarnation, software_version, counter (last event accepted), published_counter (last event published), outbox_depth and successor. Null for one that does not.';
COMMENT ON COLUMN memory_nodes.joined_at IS 'Time of its first record on the nodes topic; for a node that does not register, time of its first event, cut to microseconds.';
COMMENT ON COLUMN memory_nodes.updated_at IS 'Greatest record_time of its events and of its record on the nodes topic: when Kafka last had news of it. In the place of an infinite one stands what the record says itself.';
COMMENT ON COLUMN memory_nodes.first_event_id IS 'Its first event, least by time, version and id; null where none is mirrored, as in the columns of events after it.';
COMMENT ON COLUMN memory_nodes.events IS 'Its events; those of the same event_id are one. 0 where none is mirrored.';
COMMENT ON COLUMN memory_nodes.records IS 'Records of its events, redeliveries too. 0 where none is mirrored.';

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
