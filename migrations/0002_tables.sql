-- Tables and indexes that the functions of 0003_functions.sql read, besides the log.
--
-- The writers of memory_snapshots and memory_conflicts follow the comments below: diff_rebuilt and get_conflict_stats go by
-- these columns. What a column holds is named by section 5 of the semantics; NUL in it reads as U+FFFD, as in memory_events.

CREATE TABLE memory_resolver_settings (
    application_id         text        NOT NULL PRIMARY KEY,
    strategy               text        NOT NULL DEFAULT 'merge_all'
        CHECK (strategy IN ('last_write_wins', 'importance', 'vector_clock', 'merge_all', 'custom')),
    overrides              jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(overrides) = 'object'),
    delete_policy          text        NOT NULL DEFAULT 'update_wins' CHECK (delete_policy IN ('update_wins', 'delete_wins')),
    trust_clocks           boolean     NOT NULL DEFAULT false,
    unclocked              text        NOT NULL DEFAULT 'by_time' CHECK (unclocked IN ('by_time', 'concurrent')),
    max_clock_skew_ns      bigint      NOT NULL DEFAULT 2000000000 CHECK (max_clock_skew_ns >= 0),
    tombstone_retention_ns bigint      CHECK (tombstone_retention_ns >= 0),
    max_value_bytes        bigint      NOT NULL DEFAULT 8388608,
    max_clock_entries      bigint      NOT NULL DEFAULT 10000,
    max_contenders         bigint      NOT NULL DEFAULT 100,
    max_output_bytes       bigint      NOT NULL DEFAULT 16777216,
    written_at             timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE memory_resolver_settings IS 'What each application resolves with, written when it starts. The functions take what they are not told from the row written last, or the defaults where there is none.';
COMMENT ON COLUMN memory_resolver_settings.application_id IS 'The application: resolved_by of its conflict records.';
COMMENT ON COLUMN memory_resolver_settings.strategy IS 'Strategy of every field that has no override.';
COMMENT ON COLUMN memory_resolver_settings.overrides IS 'Strategy by field path (content, metadata.lang) or by container (metadata, entities, relationships) for all its keys; a path goes before its container.';
COMMENT ON COLUMN memory_resolver_settings.delete_policy IS 'What a delete does that is concurrent with an update: update_wins or delete_wins.';
COMMENT ON COLUMN memory_resolver_settings.trust_clocks IS 'Whether vector clocks alone decide what happened before what, versions not asked.';
COMMENT ON COLUMN memory_resolver_settings.unclocked IS 'How an event without a clock stands to one with a clock: by_time or concurrent.';
COMMENT ON COLUMN memory_resolver_settings.max_clock_skew_ns IS 'How far apart machine clocks may be, in nanoseconds; 0 switches the rule off.';
COMMENT ON COLUMN memory_resolver_settings.tombstone_retention_ns IS 'How long deleted memories are remembered, in nanoseconds; null: for ever. Where it is set nothing can be rebuilt from events alone.';
COMMENT ON COLUMN memory_resolver_settings.max_value_bytes IS 'Bytes of a record''s value above which it is bad input.';
COMMENT ON COLUMN memory_resolver_settings.max_clock_entries IS 'Entries of a vector clock above which a record is bad input.';
COMMENT ON COLUMN memory_resolver_settings.max_contenders IS 'Contenders of a field that a conflict record lists at most.';
COMMENT ON COLUMN memory_resolver_settings.max_output_bytes IS 'Bytes above which an output goes to the dead letters instead.';
COMMENT ON COLUMN memory_resolver_settings.written_at IS 'When the application started with these settings, by this database''s clock.';

CREATE TABLE memory_snapshots (
    memory_id text,
    user_id   text,
    resolved  jsonb
);

-- By hash, as in memory_events: ids have no limit of their own.
CREATE INDEX memory_snapshots_memory_id ON memory_snapshots USING hash (memory_id);

COMMENT ON TABLE memory_snapshots IS 'What the stream has resolved, as last emitted: one row for each memory, and the snapshots of users.';
COMMENT ON COLUMN memory_snapshots.memory_id IS 'Memory that the row is about; null for the snapshot of a user.';
COMMENT ON COLUMN memory_snapshots.user_id IS 'Owner; null when nobody is known.';
COMMENT ON COLUMN memory_snapshots.resolved IS 'The resolved memory, whole; null for the snapshot of a user.';

CREATE TABLE memory_conflicts (
    kafka_topic     text    NOT NULL,
    kafka_partition integer NOT NULL,
    kafka_offset    bigint  NOT NULL,
    conflict_id     uuid,
    memory_id       text,
    conflict_type   text,
    status          text,
    detected_at     timestamptz,
    resolved_at     timestamptz,
    PRIMARY KEY (kafka_topic, kafka_partition, kafka_offset)
);

CREATE INDEX memory_conflicts_detected_at ON memory_conflicts (detected_at);
CREATE INDEX memory_conflicts_conflict_id ON memory_conflicts (conflict_id, kafka_offset DESC);

COMMENT ON TABLE memory_conflicts IS 'Every conflict record of the stream, once, under its place in Kafka. A conflict has a further record when it is superseded: see memory_conflicts_current.';
COMMENT ON COLUMN memory_conflicts.kafka_topic IS 'Topic that the record lies in.';
COMMENT ON COLUMN memory_conflicts.kafka_partition IS 'Partition of the topic. All records of a conflict lie in one.';
COMMENT ON COLUMN memory_conflicts.kafka_offset IS 'Offset in the partition.';
COMMENT ON COLUMN memory_conflicts.conflict_id IS 'The conflict; the same in all of its records. Null, as the columns after it, when the record could not be read.';
COMMENT ON COLUMN memory_conflicts.memory_id IS 'Memory in which it arose.';
COMMENT ON COLUMN memory_conflicts.conflict_type IS 'equivocation, clock_regression, delete_update or concurrent_update.';
COMMENT ON COLUMN memory_conflicts.status IS 'auto_resolved, pending or superseded.';
COMMENT ON COLUMN memory_conflicts.detected_at IS 'Time of the event that made the conflict, cut to microseconds.';
COMMENT ON COLUMN memory_conflicts.resolved_at IS 'Time of the event that resolved or superseded it, cut to microseconds.';

CREATE VIEW memory_conflicts_current AS
    SELECT DISTINCT ON (conflict_id) *
    FROM memory_conflicts
    WHERE conflict_id IS NOT NULL
    ORDER BY conflict_id, kafka_offset DESC;

COMMENT ON VIEW memory_conflicts_current IS 'The last record of each conflict.';

CREATE TABLE memory_dropped_events (
    memory_id        text        NOT NULL,
    dropped_rows     bigint      NOT NULL,
    last_record_time timestamptz NOT NULL,
    noted_at         timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX memory_dropped_events_memory_id ON memory_dropped_events USING hash (memory_id);

COMMENT ON TABLE memory_dropped_events IS 'Memories of which rows of memory_events were dropped by retention: what is rebuilt of them is incomplete. Empty where retention is off.';
COMMENT ON COLUMN memory_dropped_events.memory_id IS 'Memory that the rows were about, or that they absorbed.';
COMMENT ON COLUMN memory_dropped_events.dropped_rows IS 'Rows of it that were dropped together.';
COMMENT ON COLUMN memory_dropped_events.last_record_time IS 'Greatest record_time among them.';
COMMENT ON COLUMN memory_dropped_events.noted_at IS 'When they were dropped, by this database''s clock.';

-- Which merges absorbed a memory. By hash again, since an index over the ids themselves would refuse long ones.
CREATE FUNCTION memory_id_hashes(ids text[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT array_agg(hashtextextended(id COLLATE "C", 0)) FROM unnest(ids) AS id);

COMMENT ON FUNCTION memory_id_hashes(text[]) IS 'Hash of each id, for the index over merged_from.';

CREATE INDEX memory_events_absorbed ON memory_events USING gin (memory_id_hashes(merged_from)) WHERE event_type = 'memory.merged';

-- What came after a point in time, in order.
CREATE INDEX memory_events_time ON memory_events (event_time_ns);
