-- Tables and indexes that the functions of 0003_functions.sql read, besides the log.
--
-- What a column of memory_snapshots and memory_conflicts holds is named by section 5 of the semantics; NUL in it reads as
-- U+FFFD, as in memory_events.

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

-- Of each key the last record alone, as in a compacted topic. The second lock, behind the checkpoint, is by hash: keys have no
-- limit of their own, and a b-tree refuses those above 2.7 kB.
CREATE TABLE memory_snapshots (
    kafka_topic          text        NOT NULL,
    kafka_partition      integer     NOT NULL,
    kafka_offset         bigint      NOT NULL,
    record_time          timestamptz NOT NULL DEFAULT '-infinity',
    record_timestamp_ms  bigint      NOT NULL DEFAULT -1,
    kafka_key            bytea,
    kafka_header_names   bytea[]     NOT NULL DEFAULT '{}',
    kafka_header_values  bytea[]     NOT NULL DEFAULT '{}',
    kafka_value          bytea,
    record_type          text,
    memory_id            text,
    user_id              text,
    timestamp            timestamptz,
    vector_clock         jsonb,
    status               text,
    resolved             jsonb,
    snapshot_id          text,
    node_id              text,
    memories             jsonb,
    entities             jsonb,
    relationships        jsonb,
    metadata             jsonb,
    memory_count         bigint,
    entity_count         bigint,
    relationship_count   bigint,
    error_class          text,
    error_message        text,
    mirrored_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kafka_topic, kafka_partition, kafka_offset),
    CONSTRAINT memory_snapshots_one_of_key EXCLUDE USING hash (kafka_key WITH =)
);

CREATE INDEX memory_snapshots_memory_id ON memory_snapshots USING hash (memory_id);

COMMENT ON TABLE memory_snapshots IS 'What the stream has resolved, as last emitted: one row for each memory, and one for the snapshot of each user. A key whose last record cannot be read has a row that says so.';
COMMENT ON COLUMN memory_snapshots.kafka_topic IS 'Topic that the record lies in.';
COMMENT ON COLUMN memory_snapshots.kafka_partition IS 'Partition of the topic.';
COMMENT ON COLUMN memory_snapshots.kafka_offset IS 'Offset in the partition.';
COMMENT ON COLUMN memory_snapshots.record_time IS 'Timestamp of the record, to read: -infinity when it has none, infinity when it lies beyond what timestamptz holds.';
COMMENT ON COLUMN memory_snapshots.record_timestamp_ms IS 'Timestamp of the record as Kafka has it: milliseconds since 1970, -1 when it has none.';
COMMENT ON COLUMN memory_snapshots.kafka_key IS 'Key bytes; null when the record has none.';
COMMENT ON COLUMN memory_snapshots.kafka_header_names IS 'Names of the headers, in order, repeats kept; compare with kafka_header_values by position.';
COMMENT ON COLUMN memory_snapshots.kafka_header_values IS 'Values of the headers, at the positions of their names; null for a header without value.';
COMMENT ON COLUMN memory_snapshots.kafka_value IS 'Value bytes, untouched; null when the record has none.';
COMMENT ON COLUMN memory_snapshots.record_type IS 'memory.resolved or user.snapshot, as the header says. Null, as the columns after it, when the record could not be read (see error_class).';
COMMENT ON COLUMN memory_snapshots.memory_id IS 'Memory that the row is about; null for the snapshot of a user.';
COMMENT ON COLUMN memory_snapshots.user_id IS 'Owner; null when nobody is known.';
COMMENT ON COLUMN memory_snapshots.timestamp IS 'Time of the snapshot of a user; of a memory the time of its latest event (updated_at). Cut to microseconds.';
COMMENT ON COLUMN memory_snapshots.vector_clock IS 'Vector clock of all that is in it, node to counter.';
COMMENT ON COLUMN memory_snapshots.status IS 'Of a memory: active, deleted or merged; null for the snapshot of a user.';
COMMENT ON COLUMN memory_snapshots.resolved IS 'The resolved memory, whole; null for the snapshot of a user.';
COMMENT ON COLUMN memory_snapshots.snapshot_id IS 'Id of the snapshot of a user; null, as the columns after it, for a memory.';
COMMENT ON COLUMN memory_snapshots.node_id IS 'Application that made the snapshot.';
COMMENT ON COLUMN memory_snapshots.memories IS 'The active memories of the user, by id.';
COMMENT ON COLUMN memory_snapshots.entities IS 'The entities of these memories.';
COMMENT ON COLUMN memory_snapshots.relationships IS 'The relationships of these memories.';
COMMENT ON COLUMN memory_snapshots.metadata IS 'What the snapshot says beside.';
COMMENT ON COLUMN memory_snapshots.memory_count IS 'Number of memories.';
COMMENT ON COLUMN memory_snapshots.entity_count IS 'Number of entities.';
COMMENT ON COLUMN memory_snapshots.relationship_count IS 'Number of relationships.';
COMMENT ON COLUMN memory_snapshots.error_class IS 'Why the columns between kafka_value and this one are null: empty_value, malformed_json, missing_field, wrong_type, bad_timestamp, wrong_key (the key is not that of what the record says), unknown_record_type, or mirror_rejected when the record is good and this database refused it. Null for a good row.';
COMMENT ON COLUMN memory_snapshots.error_message IS 'What was wrong, in words.';
COMMENT ON COLUMN memory_snapshots.mirrored_at IS 'When the row was written: start of its transaction, by this database''s clock.';

CREATE TABLE memory_conflicts (
    kafka_topic          text        NOT NULL,
    kafka_partition      integer     NOT NULL,
    kafka_offset         bigint      NOT NULL,
    record_time          timestamptz NOT NULL DEFAULT '-infinity',
    record_timestamp_ms  bigint      NOT NULL DEFAULT -1,
    kafka_key            bytea,
    kafka_header_names   bytea[]     NOT NULL DEFAULT '{}',
    kafka_header_values  bytea[]     NOT NULL DEFAULT '{}',
    kafka_value          bytea,
    conflict_id          uuid,
    memory_id            text,
    user_id              text,
    conflict_type        text,
    local_event_id       text,
    remote_event_id      text,
    resolution_strategy  text,
    resolved_version     jsonb,
    resolved_by          text,
    detected_at          timestamptz,
    resolved_at          timestamptz,
    details              jsonb,
    status               text,
    superseded_by        text,
    error_class          text,
    error_message        text,
    mirrored_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kafka_topic, kafka_partition, kafka_offset)
);

CREATE INDEX memory_conflicts_detected_at ON memory_conflicts (detected_at);
CREATE INDEX memory_conflicts_conflict_id ON memory_conflicts (conflict_id, kafka_offset DESC);
CREATE INDEX memory_conflicts_memory_id ON memory_conflicts USING hash (memory_id);

COMMENT ON TABLE memory_conflicts IS 'Every record of the conflicts topic, once, under its place in Kafka. A conflict has a further record when it is superseded: see memory_conflicts_current.';
COMMENT ON COLUMN memory_conflicts.kafka_topic IS 'Topic that the record lies in.';
COMMENT ON COLUMN memory_conflicts.kafka_partition IS 'Partition of the topic. All records of a conflict lie in one.';
COMMENT ON COLUMN memory_conflicts.kafka_offset IS 'Offset in the partition.';
COMMENT ON COLUMN memory_conflicts.record_time IS 'Timestamp of the record, to read: -infinity when it has none, infinity when it lies beyond what timestamptz holds.';
COMMENT ON COLUMN memory_conflicts.record_timestamp_ms IS 'Timestamp of the record as Kafka has it: milliseconds since 1970, -1 when it has none.';
COMMENT ON COLUMN memory_conflicts.kafka_key IS 'Key bytes; null when the record has none.';
COMMENT ON COLUMN memory_conflicts.kafka_header_names IS 'Names of the headers, in order, repeats kept; compare with kafka_header_values by position.';
COMMENT ON COLUMN memory_conflicts.kafka_header_values IS 'Values of the headers, at the positions of their names; null for a header without value.';
COMMENT ON COLUMN memory_conflicts.kafka_value IS 'Value bytes, untouched; null when the record has none.';
COMMENT ON COLUMN memory_conflicts.conflict_id IS 'The conflict; the same in all of its records. Null, as the columns after it, when the record could not be read (see error_class).';
COMMENT ON COLUMN memory_conflicts.memory_id IS 'Memory in which it arose.';
COMMENT ON COLUMN memory_conflicts.user_id IS 'Owner of the memory then; null when nobody was known.';
COMMENT ON COLUMN memory_conflicts.conflict_type IS 'equivocation, clock_regression, delete_update or concurrent_update.';
COMMENT ON COLUMN memory_conflicts.local_event_id IS 'The other participant that was greatest in last-write order.';
COMMENT ON COLUMN memory_conflicts.remote_event_id IS 'The event whose arrival made the conflict.';
COMMENT ON COLUMN memory_conflicts.resolution_strategy IS 'Strategy of the application.';
COMMENT ON COLUMN memory_conflicts.resolved_version IS 'The memory as it was resolved; null in the record that supersedes.';
COMMENT ON COLUMN memory_conflicts.resolved_by IS 'Application that resolved it.';
COMMENT ON COLUMN memory_conflicts.detected_at IS 'Time of the event that made the conflict, cut to microseconds.';
COMMENT ON COLUMN memory_conflicts.resolved_at IS 'Time of the event that resolved or superseded it, cut to microseconds.';
COMMENT ON COLUMN memory_conflicts.details IS 'fields: per field in conflict its contenders, the winner and why; delete_update: the participants of a delete against an update. Null in the record that supersedes.';
COMMENT ON COLUMN memory_conflicts.status IS 'auto_resolved, pending or superseded.';
COMMENT ON COLUMN memory_conflicts.superseded_by IS 'Event that superseded the conflict; null in other records.';
COMMENT ON COLUMN memory_conflicts.error_class IS 'Why the columns between kafka_value and this one are null: empty_value, malformed_json, missing_field, wrong_type, bad_timestamp, unknown_record_type, or mirror_rejected when the record is good and this database refused it. Null for a good row.';
COMMENT ON COLUMN memory_conflicts.error_message IS 'What was wrong, in words.';
COMMENT ON COLUMN memory_conflicts.mirrored_at IS 'When the row was written: start of its transaction, by this database''s clock.';

CREATE VIEW memory_conflicts_current AS
    SELECT DISTINCT ON (conflict_id) *
    FROM memory_conflicts
    WHERE conflict_id IS NOT NULL
    ORDER BY conflict_id, kafka_offset DESC;

COMMENT ON VIEW memory_conflicts_current IS 'The last record of each conflict.';

COMMENT ON COLUMN memory_event_checkpoints.next_offset IS 'Every record below this offset has its row; in memory_snapshots, its own or that of a later record of its key.';
COMMENT ON COLUMN memory_event_checkpoints.row_count IS 'Records of the partition mirrored so far.';

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
