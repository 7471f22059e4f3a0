-- The log of HelixAgent's memory events, one row a Kafka record, and how far each partition of it is mirrored.
-- Needs PostgreSQL 15 or later and no extension. Migrations go forward only: never edit one that was released.

-- Partitioned from the start (all rows in the default partition for now), since a table cannot become so in place.
CREATE TABLE memory_events (
    kafka_topic          text        NOT NULL,
    kafka_partition      integer     NOT NULL,
    kafka_offset         bigint      NOT NULL,
    record_time          timestamptz NOT NULL,
    record_timestamp_ms  bigint      NOT NULL,
    kafka_key            bytea,
    kafka_header_names   bytea[]     NOT NULL,
    kafka_header_values  bytea[]     NOT NULL,
    kafka_value          bytea,
    event_id             text,
    event_type           text,
    event_time           timestamptz,
    event_time_ns        bigint,
    node_id              text,
    memory_id            text,
    user_id              text,
    session_id           text,
    content              text,
    embedding            jsonb,
    importance           numeric,
    tags                 text[],
    entities             jsonb,
    relationships        jsonb,
    metadata             jsonb,
    version              bigint,
    vector_clock         jsonb,
    merged_from          text[],
    cleared              text[],
    error_class          text,
    error_message        text,
    mirrored_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kafka_topic, kafka_partition, kafka_offset, record_time)
) PARTITION BY RANGE (record_time);

CREATE TABLE memory_events_default PARTITION OF memory_events DEFAULT;

-- By hash: a b-tree refuses keys above 2.7 kB, and ids have no limit of their own.
CREATE INDEX memory_events_memory_id ON memory_events USING hash (memory_id);

COMMENT ON TABLE memory_events IS 'Every record of the events topic, readable or not, once, as it lies in Kafka. NUL, which SQL text cannot hold, reads as U+FFFD in the columns of the event; the kafka_* bytes are as they came.';
COMMENT ON TABLE memory_events_default IS 'Rows of memory_events that no other partition of it takes.';
COMMENT ON COLUMN memory_events.kafka_topic IS 'Topic that the record lies in.';
COMMENT ON COLUMN memory_events.kafka_partition IS 'Partition of the topic.';
COMMENT ON COLUMN memory_events.kafka_offset IS 'Offset in the partition.';
COMMENT ON COLUMN memory_events.record_time IS 'Timestamp of the record, to read and to prune by: -infinity when it has none, infinity when it lies beyond what timestamptz holds.';
COMMENT ON COLUMN memory_events.record_timestamp_ms IS 'Timestamp of the record as Kafka has it: milliseconds since 1970, -1 when it has none.';
COMMENT ON COLUMN memory_events.kafka_key IS 'Key bytes; null when the record has none.';
COMMENT ON COLUMN memory_events.kafka_header_names IS 'Names of the headers, in order, repeats kept; compare with kafka_header_values by position.';
COMMENT ON COLUMN memory_events.kafka_header_values IS 'Values of the headers, at the positions of their names; null for a header without value.';
COMMENT ON COLUMN memory_events.kafka_value IS 'Value bytes, untouched: for HelixAgent''s own records its envelope; null when the record has none.';
COMMENT ON COLUMN memory_events.event_id IS 'Id of the event; null, as all columns of the event, when the record could not be decoded (see error_class).';
COMMENT ON COLUMN memory_events.event_type IS 'Type of the event, known or not.';
COMMENT ON COLUMN memory_events.event_time IS 'Timestamp of the event, cut to microseconds: to read, not to order by. The record''s where the event tells none.';
COMMENT ON COLUMN memory_events.event_time_ns IS 'Timestamp of the event in nanoseconds since 1970: this decides order.';
COMMENT ON COLUMN memory_events.node_id IS 'Node that made the event; null when it names none.';
COMMENT ON COLUMN memory_events.memory_id IS 'Memory that the event is about; null when it names none.';
COMMENT ON COLUMN memory_events.user_id IS 'Owner of the memory; null when the event tells none, or clears it (see cleared).';
COMMENT ON COLUMN memory_events.session_id IS 'Session; null when the event tells none, or clears it (see cleared).';
COMMENT ON COLUMN memory_events.content IS 'Text; null when the event does not write it, or clears it (see cleared).';
COMMENT ON COLUMN memory_events.embedding IS 'Embedding, an array of numbers; null when the event does not write it, or clears it (see cleared).';
COMMENT ON COLUMN memory_events.importance IS 'Importance; null when the event does not write it, or clears it (see cleared).';
COMMENT ON COLUMN memory_events.tags IS 'Tags, as a set: sorted by bytes, no repeats; null when the event does not write them, or clears them (see cleared).';
COMMENT ON COLUMN memory_events.entities IS 'Entities that the event writes, as an array sorted by id; null when there are none.';
COMMENT ON COLUMN memory_events.relationships IS 'Relationships that the event writes, as an array sorted by id; null when there are none. A relationship.deleted clears those that it lists: here stands their id alone.';
COMMENT ON COLUMN memory_events.metadata IS 'Metadata that the event writes, key by key; null under a key clears that key. Null when there is none.';
COMMENT ON COLUMN memory_events.version IS 'Lamport counter, or as HelixAgent sends it a wall clock in nanoseconds; 0 when the event tells none.';
COMMENT ON COLUMN memory_events.vector_clock IS 'Vector clock, node to counter, without zeros; an event without a clock has its timestamp in nanoseconds under ~.';
COMMENT ON COLUMN memory_events.merged_from IS 'Memories that a memory.merged absorbs, as a set: sorted by bytes, no repeats; null when the event does not write them, or clears them (see cleared).';
COMMENT ON COLUMN memory_events.cleared IS 'Fields that the event writes as null, which differs from not writing them; null when there are none.';
COMMENT ON COLUMN memory_events.error_class IS 'Why the columns of the event are null: the class of the dead letter, or mirror_rejected when the event is good and this database refused it. Null for a good row.';
COMMENT ON COLUMN memory_events.error_message IS 'What was wrong, in words.';
COMMENT ON COLUMN memory_events.mirrored_at IS 'When the row was written: start of its transaction, by this database''s clock.';

CREATE TABLE memory_event_checkpoints (
    kafka_topic      text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    next_offset      bigint      NOT NULL DEFAULT 0,
    writer_epoch     bigint      NOT NULL DEFAULT 1,
    row_count        bigint      NOT NULL DEFAULT 0,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kafka_topic, kafka_partition)
) WITH (fillfactor = 50);

COMMENT ON TABLE memory_event_checkpoints IS 'How far each partition is mirrored. Written in the transaction of the rows, and only where next_offset and writer_epoch are as the writer knows them: so no record is written twice or left out, whoever writes.';
COMMENT ON COLUMN memory_event_checkpoints.kafka_topic IS 'Topic.';
COMMENT ON COLUMN memory_event_checkpoints.kafka_partition IS 'Partition of the topic.';
COMMENT ON COLUMN memory_event_checkpoints.next_offset IS 'Every record below this offset has its row.';
COMMENT ON COLUMN memory_event_checkpoints.writer_epoch IS 'Raised by each writer that takes the partition over; writers of older epochs are refused.';
COMMENT ON COLUMN memory_event_checkpoints.row_count IS 'Rows of the partition written so far.';
COMMENT ON COLUMN memory_event_checkpoints.updated_at IS 'When the checkpoint last moved or changed hands.';
