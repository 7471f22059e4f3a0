-- The semantics in SQL: what the events of memory_events resolve to, computed from the log alone.
--
-- Bodies are of the SQL standard's form: names are bound when a function is made, so that it works with any search_path. Functions
-- that give rows are single SELECTs, which the planner takes into the query that calls them: a caller plans once for all its memories.
-- An event at a memory is called an arrival: the event itself, or an absorb where a merge elsewhere took the memory in.

------------------------------------------------------------------------------------------------------------------------
-- Values
------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION memory_refuse(reason text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = reason; END $$;

COMMENT ON FUNCTION memory_refuse(text) IS 'Ends the query with a message.';

CREATE FUNCTION memory_time(nanoseconds bigint) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN to_char(timestamp '1970-01-01' + make_interval(secs => nanoseconds / 1000000000), 'YYYY-MM-DD"T"HH24:MI:SS')
    || CASE WHEN nanoseconds % 1000000000 = 0 THEN '' ELSE '.' || rtrim(lpad((nanoseconds % 1000000000)::text, 9, '0'), '0') END
    || 'Z';

COMMENT ON FUNCTION memory_time(bigint) IS 'Nanoseconds since 1970 as outputs write them: RFC 3339 in UTC, the fraction as long as needed.';

CREATE FUNCTION memory_nanoseconds(moment timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(-1, least(9223372036854775807, extract(epoch FROM moment) * 1000000000))::bigint;

COMMENT ON FUNCTION memory_nanoseconds(timestamptz) IS 'Nanoseconds since 1970; what lies before or beyond all events is the nearest bound.';

CREATE FUNCTION memory_number(document jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(document) = 'number' THEN (document #>> '{}')::numeric END;

COMMENT ON FUNCTION memory_number(jsonb) IS 'The number that a JSON value is; null for any other.';

-- Numbers came in the digits of canonical JSON, and those order as the values do, but for one: the double -2^63 has the digits of a
-- smaller number, while the integer -2^63 is its equal.
CREATE FUNCTION memory_weight(digits numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN digits = -9223372036854776000 THEN -9223372036854775808 ELSE digits END;

COMMENT ON FUNCTION memory_weight(numeric) IS 'A number to compare by, as the stream compares numbers.';

CREATE FUNCTION memory_canonical_number(number numeric) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN number = 0 OR abs(number) >= 0.000001 AND abs(number) < 1e21 THEN trim_scale(number)::text
        ELSE CASE WHEN number < 0 THEN '-' ELSE '' END || left(digits, 1)
            || CASE WHEN length(digits) > 1 THEN '.' || substr(digits, 2) ELSE '' END
            || CASE WHEN exponent < 0 THEN 'e-' ELSE 'e+' END || abs(exponent)
        END
    FROM (SELECT trim_scale(abs(number))::text) AS plain (shown),
        LATERAL (SELECT trim(BOTH '0' FROM replace(shown, '.', ''))) AS significant (digits),
        LATERAL (SELECT CASE WHEN abs(number) >= 1 THEN length(split_part(shown, '.', 1)) - 1
            ELSE length(ltrim(split_part(shown, '.', 2), '0')) - length(split_part(shown, '.', 2)) - 1 END) AS scale (exponent);
END;

COMMENT ON FUNCTION memory_canonical_number(numeric) IS 'A number as ECMAScript writes the double nearest to it, given the shortest digits that tell that double, or an integer of 64 bits.';

-- The parts of the text in order of where they stand: a value's first part at its path, a container's end behind all paths within.
CREATE FUNCTION memory_canonical_json(document jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH RECURSIVE nodes (path, lead, value) AS (
        SELECT ARRAY[]::bigint[], '', document
        UNION ALL
        SELECT nodes.path || inner_node.place, inner_node.lead, inner_node.value
        FROM nodes, LATERAL (
            SELECT place, CASE WHEN place > 1 THEN ',' ELSE '' END, value
            FROM jsonb_array_elements(CASE WHEN jsonb_typeof(nodes.value) = 'array' THEN nodes.value ELSE '[]' END)
                WITH ORDINALITY AS item (value, place)
            UNION ALL
            SELECT place, CASE WHEN place > 1 THEN ',' ELSE '' END || to_json(key)::text || ':', value
            FROM (
                SELECT row_number() OVER (ORDER BY key COLLATE "C"), key, value
                FROM jsonb_each(CASE WHEN jsonb_typeof(nodes.value) = 'object' THEN nodes.value ELSE '{}' END)
            ) AS member (place, key, value)
        ) AS inner_node (place, lead, value)
    ), parts (path, part) AS (
        SELECT path, lead || CASE jsonb_typeof(value)
            WHEN 'array' THEN '[' WHEN 'object' THEN '{' WHEN 'number' THEN memory_canonical_number((value #>> '{}')::numeric)
            ELSE value::text END
        FROM nodes
        UNION ALL
        SELECT path || 9223372036854775807, CASE jsonb_typeof(value) WHEN 'array' THEN ']' ELSE '}' END
        FROM nodes
        WHERE jsonb_typeof(value) IN ('array', 'object')
    )
    SELECT string_agg(part, '' ORDER BY path) FROM parts;
END;

COMMENT ON FUNCTION memory_canonical_json(jsonb) IS 'Canonical JSON, which decides the order of values that tie in all else.';

CREATE FUNCTION memory_text_set(texts text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT coalesce(jsonb_agg(item ORDER BY item COLLATE "C"), '[]') FROM (SELECT DISTINCT unnest(texts)) AS items (item));

COMMENT ON FUNCTION memory_text_set(text[]) IS 'A set of texts as a JSON array: sorted by bytes, no repeats.';

------------------------------------------------------------------------------------------------------------------------
-- Settings
------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION memory_known(setting text, value text, known text[]) RETURNS text
LANGUAGE sql STABLE
RETURN CASE WHEN value = ANY (known) THEN value
    ELSE memory_refuse(format('%s is "%s", but must be one of %s', setting, value, array_to_string(known, ', '))) END;

COMMENT ON FUNCTION memory_known(text, text, text[]) IS 'The value of a setting, if it is one of those known.';

CREATE FUNCTION memory_known_strategy(setting text, value text) RETURNS text
LANGUAGE sql STABLE
RETURN CASE value
    WHEN 'custom' THEN memory_refuse(setting || ' is custom: a custom resolver runs in the stream alone, so SQL cannot rebuild what it decides. Name another strategy')
    ELSE memory_known(setting, value, ARRAY['last_write_wins', 'importance', 'vector_clock', 'merge_all']) END;

COMMENT ON FUNCTION memory_known_strategy(text, text) IS 'A strategy, if SQL can follow it.';

CREATE FUNCTION memory_settings(
    strategy text, delete_policy text, trust_clocks boolean, unclocked text, max_clock_skew interval,
    OUT strategy_of_all text, OUT overrides jsonb, OUT update_wins boolean, OUT trusts_clocks boolean, OUT by_time boolean, OUT skew_ns numeric
) RETURNS SETOF record
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT
        memory_known_strategy('strategy', coalesce($1, run.strategy, 'merge_all')),
        (SELECT coalesce(jsonb_object_agg(path, memory_known_strategy('the strategy of ' || path, value)), '{}')
            FROM jsonb_each_text(run.overrides) AS override (path, value)),
        memory_known('delete_policy', coalesce($2, run.delete_policy, 'update_wins'), ARRAY['update_wins', 'delete_wins']) = 'update_wins',
        coalesce($3, run.trust_clocks, false),
        memory_known('unclocked', coalesce($4, run.unclocked, 'by_time'), ARRAY['by_time', 'concurrent']) = 'by_time',
        CASE
            WHEN run.tombstone_retention_ns IS NOT NULL THEN
                memory_refuse('tombstone_retention is set: what the stream has forgotten depends on its time, so SQL cannot rebuild it')::numeric
            WHEN $5 < interval '0' THEN memory_refuse('max_clock_skew is negative')::numeric
            ELSE coalesce(extract(epoch FROM $5) * 1000000000, run.max_clock_skew_ns, 2000000000) END
    FROM (SELECT) AS always LEFT JOIN (
        SELECT * FROM memory_resolver_settings ORDER BY written_at DESC, application_id LIMIT 1
    ) AS run ON true;
END;

COMMENT ON FUNCTION memory_settings(text, text, boolean, text, interval) IS 'What to resolve with: what is given, else what memory_resolver_settings has, else the defaults.';

------------------------------------------------------------------------------------------------------------------------
-- Causality
------------------------------------------------------------------------------------------------------------------------

-- An extent is a clock as a set of numbers: of each counter that an actor has in the memory's events there is one number, and a
-- clock holds those up to its own counter. So a clock is within another where its set is, and heights, the sizes, tell at once
-- which of two cannot be.

CREATE FUNCTION memory_happened_before(
    extent int8multirange, height bigint, version bigint,
    other_extent int8multirange, other_height bigint, other_version bigint, trusts_clocks boolean
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN height < other_height AND (trusts_clocks OR version <= other_version) AND extent <@ other_extent;

COMMENT ON FUNCTION memory_happened_before(int8multirange, bigint, bigint, int8multirange, bigint, bigint, boolean) IS 'Whether one event happened before the other, for certain.';

CREATE FUNCTION memory_presumed_by_skew(
    extent int8multirange, height bigint, version bigint, event_time_ns bigint, is_clocked boolean,
    other_extent int8multirange, other_height bigint, other_version bigint, other_event_time_ns bigint, other_is_clocked boolean,
    skew_ns numeric
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN version > other_version AND height < other_height AND is_clocked AND other_is_clocked
    AND skew_ns > 0 AND abs(event_time_ns - other_event_time_ns) <= skew_ns AND extent <@ other_extent;

COMMENT ON FUNCTION memory_presumed_by_skew(int8multirange, bigint, bigint, bigint, boolean, int8multirange, bigint, bigint, bigint, boolean, numeric) IS 'Whether one event is presumed before the other, since machine clocks that disagree explain versions that contradict the vector clocks.';

CREATE FUNCTION memory_presumed_by_time(
    extent int8multirange, height bigint, version bigint, event_time_ns bigint, is_clocked boolean,
    other_extent int8multirange, other_height bigint, other_version bigint, other_event_time_ns bigint, other_is_clocked boolean,
    trusts_clocks boolean, by_time boolean
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN by_time AND is_clocked <> other_is_clocked AND event_time_ns < other_event_time_ns
    AND NOT memory_happened_before(other_extent, other_height, other_version, extent, height, version, trusts_clocks);

COMMENT ON FUNCTION memory_presumed_by_time(int8multirange, bigint, bigint, bigint, boolean, int8multirange, bigint, bigint, bigint, boolean, boolean, boolean) IS 'Whether one event is presumed before the other, since exactly one of them has no clock and this one has the earlier time.';

CREATE FUNCTION memory_presumed(
    extent int8multirange, height bigint, version bigint, event_time_ns bigint, is_clocked boolean,
    other_extent int8multirange, other_height bigint, other_version bigint, other_event_time_ns bigint, other_is_clocked boolean,
    trusts_clocks boolean, by_time boolean, skew_ns numeric
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN memory_presumed_by_skew(extent, height, version, event_time_ns, is_clocked,
        other_extent, other_height, other_version, other_event_time_ns, other_is_clocked, skew_ns)
    OR memory_presumed_by_time(extent, height, version, event_time_ns, is_clocked,
        other_extent, other_height, other_version, other_event_time_ns, other_is_clocked, trusts_clocks, by_time);

COMMENT ON FUNCTION memory_presumed(int8multirange, bigint, bigint, bigint, boolean, int8multirange, bigint, bigint, bigint, boolean, boolean, boolean, numeric) IS 'Whether one event is presumed before the other, for either reason.';

------------------------------------------------------------------------------------------------------------------------
-- Events at a memory
------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION memory_changed_by(event_type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN event_type IN ('memory.created', 'memory.updated', 'memory.deleted', 'memory.merged', 'entity.created', 'entity.updated',
    'entity.linked', 'relationship.created', 'relationship.updated', 'relationship.deleted');

COMMENT ON FUNCTION memory_changed_by(text) IS 'Whether an event of the type changes the memory that it names.';

CREATE FUNCTION memory_rows(of_memory text, until timestamptz)
RETURNS TABLE (
    kafka_topic text, kafka_partition integer, kafka_offset bigint, record_time timestamptz, event_id text, event_type text,
    event_time timestamptz, event_time_ns bigint, node_id text, user_id text, session_id text, content text, embedding jsonb,
    importance numeric, tags text[], entities jsonb, relationships jsonb, metadata jsonb, version bigint, vector_clock jsonb,
    merged_from text[], cleared text[], absorbed_into text
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT e.kafka_topic, e.kafka_partition, e.kafka_offset, e.record_time, e.event_id, e.event_type, e.event_time, e.event_time_ns, e.node_id,
        e.user_id, e.session_id, e.content, e.embedding, e.importance, e.tags, e.entities, e.relationships, e.metadata, e.version,
        e.vector_clock, e.merged_from, e.cleared, NULL::text
    FROM memory_events AS e
    WHERE e.memory_id = of_memory AND e.record_time <= until
    UNION ALL
    SELECT e.kafka_topic, e.kafka_partition, e.kafka_offset, e.record_time, e.event_id, e.event_type, e.event_time, e.event_time_ns, e.node_id,
        e.user_id, e.session_id, e.content, e.embedding, e.importance, e.tags, e.entities, e.relationships, e.metadata, e.version,
        e.vector_clock, e.merged_from, e.cleared, e.memory_id
    FROM memory_events AS e
    WHERE e.event_type = 'memory.merged' AND memory_id_hashes(e.merged_from) @> memory_id_hashes(ARRAY[of_memory])
        AND of_memory = ANY (e.merged_from) AND of_memory <> '' AND e.memory_id <> of_memory AND e.record_time <= until;
END;

COMMENT ON FUNCTION memory_rows(text, timestamptz) IS 'The rows of the log that are about a memory or absorb it, records up to a record_time.';

CREATE FUNCTION memory_arrivals(of_memory text, until timestamptz, trusts_clocks boolean)
RETURNS TABLE (
    arrival bigint, kafka_topic text, kafka_partition integer, kafka_offset bigint, event_id text, event_type text, event_time timestamptz,
    event_time_ns bigint, node_id text, user_id text, session_id text, content text, embedding jsonb, importance numeric, tags text[], entities jsonb,
    relationships jsonb, metadata jsonb, version bigint, vector_clock jsonb, merged_from text[], cleared text[], absorbed_into text,
    is_delete boolean, is_clocked boolean, height bigint, extent int8multirange, is_maximal boolean
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    -- The same event twice is one: all that was decoded is equal. What tells most apart is compared first.
    WITH told_apart AS MATERIALIZED (
        SELECT DISTINCT ON (event_time_ns, event_id COLLATE "C", version, node_id COLLATE "C", event_type COLLATE "C", absorbed_into COLLATE "C",
            vector_clock, importance, user_id COLLATE "C", session_id COLLATE "C", content COLLATE "C", cleared, tags, merged_from, metadata,
            entities, relationships, embedding) *
        FROM memory_rows(of_memory, until)
        WHERE memory_changed_by(event_type)
        ORDER BY event_time_ns, event_id COLLATE "C", version, node_id COLLATE "C", event_type COLLATE "C", absorbed_into COLLATE "C",
            vector_clock, importance, user_id COLLATE "C", session_id COLLATE "C", content COLLATE "C", cleared, tags, merged_from, metadata,
            entities, relationships, embedding, kafka_topic, kafka_partition, kafka_offset
    ), arrived AS MATERIALIZED (
        SELECT row_number() OVER () AS arrival, * FROM told_apart
    ), entries AS (
        SELECT arrival, actor COLLATE "C" AS actor, counter::bigint AS counter
        FROM arrived, LATERAL jsonb_each_text(vector_clock) AS entry (actor, counter)
        WHERE counter <> '0'
    ), numbered AS (
        SELECT arrival, dense_rank() OVER (ORDER BY actor, counter) AS number, dense_rank() OVER (PARTITION BY actor ORDER BY counter) AS count
        FROM entries
    ), clocks AS (
        SELECT arrival, sum(count)::bigint AS height, range_agg(int8range(number - count, number)) AS extent
        FROM numbered
        GROUP BY arrival
    ), measured AS MATERIALIZED (
        SELECT arrived.*, coalesce(height, 0) AS height, coalesce(extent, '{}') AS extent
        FROM arrived LEFT JOIN clocks USING (arrival)
        ORDER BY height DESC NULLS LAST
    )
    SELECT arrival, kafka_topic, kafka_partition, kafka_offset, event_id, event_type, event_time, event_time_ns, node_id, user_id, session_id,
        content, embedding, importance, tags, entities, relationships, metadata, version, vector_clock, merged_from, cleared, absorbed_into,
        absorbed_into IS NOT NULL OR event_type = 'memory.deleted', vector_clock - '~' <> '{}', height, extent,
        -- Greatest clocks come first, so that what has been seen is mostly told by the first look.
        NOT EXISTS (SELECT FROM measured AS later WHERE memory_happened_before(
            measured.extent, measured.height, measured.version, later.extent, later.height, later.version, trusts_clocks))
    FROM measured;
END;

COMMENT ON FUNCTION memory_arrivals(text, timestamptz, boolean) IS 'The events at a memory, each once, records up to a record_time: is_maximal those that happened before no other.';

------------------------------------------------------------------------------------------------------------------------
-- Fields
------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION memory_writes(
    event_type text, user_id text, session_id text, content text, embedding jsonb, importance numeric, tags text[], merged_from text[],
    entities jsonb, relationships jsonb, metadata jsonb, cleared text[]
) RETURNS TABLE (path text, value jsonb)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT path, coalesce(value, 'null')
    FROM (VALUES ('user_id', to_jsonb(user_id)), ('session_id', to_jsonb(session_id)), ('content', to_jsonb(content)),
        ('embedding', embedding), ('importance', to_jsonb(importance)), ('tags', CASE WHEN tags IS NOT NULL THEN memory_text_set(tags) END),
        ('merged_from', CASE WHEN merged_from IS NOT NULL THEN memory_text_set(merged_from) END)) AS plain (path, value)
    WHERE value IS NOT NULL OR path = ANY (cleared)
    UNION ALL
    SELECT 'entities.' || (entity ->> 'id'), entity
    FROM jsonb_array_elements(entities) AS entity
    UNION ALL
    SELECT 'relationships.' || (relationship ->> 'id'), CASE WHEN event_type = 'relationship.deleted' THEN 'null' ELSE relationship END
    FROM jsonb_array_elements(relationships) AS relationship
    UNION ALL
    SELECT 'metadata.' || key, value
    FROM jsonb_each(metadata) AS member (key, value);
END;

COMMENT ON FUNCTION memory_writes(text, text, text, text, jsonb, numeric, text[], text[], jsonb, jsonb, jsonb, text[]) IS 'What an event writes, by field path; JSON null clears.';

CREATE FUNCTION memory_contenders(of_memory text, until timestamptz, trusts_clocks boolean, by_time boolean, skew_ns numeric)
RETURNS TABLE (
    path text, value jsonb, arrival bigint, event_id text, event_time_ns bigint, node_id text, version bigint, importance numeric,
    vector_clock jsonb, carried_content jsonb, is_clocked boolean, height bigint, extent int8multirange
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH arrived AS MATERIALIZED (
        SELECT * FROM memory_arrivals(of_memory, until, trusts_clocks)
    ), deletes AS MATERIALIZED (
        -- What happened before any delete happened before one of these, and only these are asked what is presumed before them.
        SELECT * FROM arrived AS d
        WHERE is_delete AND NOT EXISTS (SELECT FROM arrived AS later WHERE later.is_delete AND memory_happened_before(
            d.extent, d.height, d.version, later.extent, later.height, later.version, trusts_clocks))
    ), written AS MATERIALIZED (
        SELECT w.path, w.value, a.arrival, a.event_id, a.event_time_ns, a.node_id, a.version, a.importance, a.vector_clock,
            CASE WHEN w.path = 'embedding' AND 'content' = ANY (a.cleared) THEN 'null' WHEN w.path = 'embedding' THEN to_jsonb(a.content) END
                AS carried_content,
            a.is_clocked, a.height, a.extent, a.is_maximal
        FROM arrived AS a, LATERAL memory_writes(a.event_type, a.user_id, a.session_id, a.content, a.embedding, a.importance, a.tags,
            a.merged_from, a.entities, a.relationships, a.metadata, a.cleared) AS w
        WHERE a.absorbed_into IS NULL AND (NOT a.is_delete OR w.path = 'user_id')
    ), maximal AS (
        SELECT * FROM written WHERE is_maximal
        UNION ALL
        SELECT * FROM written AS w
        WHERE NOT is_maximal AND NOT EXISTS (SELECT FROM written AS later WHERE later.path = w.path AND memory_happened_before(
            w.extent, w.height, w.version, later.extent, later.height, later.version, trusts_clocks))
    ), live AS MATERIALIZED (
        SELECT * FROM maximal AS w
        WHERE path = 'user_id' OR NOT EXISTS (SELECT FROM deletes AS d
            WHERE memory_happened_before(w.extent, w.height, w.version, d.extent, d.height, d.version, trusts_clocks)
                OR memory_presumed(w.extent, w.height, w.version, w.event_time_ns, w.is_clocked,
                    d.extent, d.height, d.version, d.event_time_ns, d.is_clocked, trusts_clocks, by_time, skew_ns))
    ), unskewed AS MATERIALIZED (
        -- Skew before time: the other way round, each of two could hide the other.
        SELECT * FROM live AS w
        WHERE NOT EXISTS (SELECT FROM live AS other WHERE other.path = w.path AND memory_presumed_by_skew(
            w.extent, w.height, w.version, w.event_time_ns, w.is_clocked,
            other.extent, other.height, other.version, other.event_time_ns, other.is_clocked, skew_ns))
    )
    SELECT path, value, arrival, event_id, event_time_ns, node_id, version, importance, vector_clock, carried_content, is_clocked, height, extent
    FROM unskewed AS w
    WHERE NOT EXISTS (SELECT FROM unskewed AS other WHERE other.path = w.path AND other.is_clocked = (NOT w.is_clocked) AND memory_presumed_by_time(
        w.extent, w.height, w.version, w.event_time_ns, w.is_clocked,
        other.extent, other.height, other.version, other.event_time_ns, other.is_clocked, trusts_clocks, by_time));
END;

COMMENT ON FUNCTION memory_contenders(text, timestamptz, boolean, boolean, numeric) IS 'The writes that contend for each field of a memory: live, and not presumed before a delete or another of them.';

CREATE FUNCTION memory_clock_sum(vector_clock jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT coalesce(sum(counter::numeric), 0) FROM jsonb_each_text(vector_clock) AS entry (actor, counter) WHERE actor <> '~');

COMMENT ON FUNCTION memory_clock_sum(jsonb) IS 'The sum of a clock''s entries without the synthetic actor.';

CREATE FUNCTION memory_rank(strategy text, path text, value jsonb, importance numeric, vector_clock jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE strategy
    WHEN 'importance' THEN memory_weight(coalesce(importance, 0))
    WHEN 'vector_clock' THEN memory_clock_sum(vector_clock)
    WHEN 'merge_all' THEN CASE
        WHEN path = 'content' THEN coalesce(char_length(value #>> '{}'), 0)
        WHEN path = 'importance' THEN coalesce(memory_weight(memory_number(value)), '-Infinity')
        WHEN value = 'null' AND (path LIKE 'entities.%' OR path LIKE 'relationships.%') THEN '-Infinity'
        WHEN path LIKE 'entities.%' THEN coalesce(memory_weight(memory_number(value -> 'confidence')), 0)
        WHEN path LIKE 'relationships.%' THEN coalesce(memory_weight(memory_number(value -> 'strength')), 0)
        ELSE 0 END
    ELSE 0 END;

COMMENT ON FUNCTION memory_rank(text, text, jsonb, numeric, jsonb) IS 'What a strategy looks at before last-write order; vector_clock looks at no time at all after it.';

CREATE FUNCTION memory_picks(
    of_memory text, until timestamptz, strategy_of_all text, overrides jsonb, trusts_clocks boolean, by_time boolean, skew_ns numeric
) RETURNS TABLE (path text, value jsonb, is_conflicted boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH contending AS MATERIALIZED (
        SELECT c.*, strategy,
            rank() OVER (PARTITION BY path ORDER BY memory_rank(strategy, path, value, importance, vector_clock) DESC,
                CASE WHEN strategy <> 'vector_clock' THEN event_time_ns END DESC, version DESC,
                coalesce(node_id, '') COLLATE "C" DESC, event_id COLLATE "C" DESC) AS place
        FROM memory_contenders(of_memory, until, trusts_clocks, by_time, skew_ns) AS c,
            LATERAL (SELECT coalesce(overrides ->> path, overrides ->> split_part(path, '.', 1), strategy_of_all)) AS chosen (strategy)
    ), texts AS MATERIALIZED (
        SELECT DISTINCT ON (path) value, place, path
        FROM contending
        WHERE path = 'content' AND place = 1
        ORDER BY path, memory_canonical_json(value) COLLATE "C" DESC
    ), belonging AS (
        SELECT * FROM contending AS e
        WHERE path <> 'embedding' OR CASE
            WHEN carried_content IS NOT NULL THEN carried_content = coalesce((SELECT value FROM texts), 'null')
            WHEN NOT EXISTS (SELECT FROM texts) THEN true
            ELSE EXISTS (SELECT FROM contending AS c JOIN texts USING (path, place, value)
                WHERE memory_happened_before(c.extent, c.height, c.version, e.extent, e.height, e.version, trusts_clocks)
                    OR memory_presumed(c.extent, c.height, c.version, c.event_time_ns, c.is_clocked,
                        e.extent, e.height, e.version, e.event_time_ns, e.is_clocked, trusts_clocks, by_time, skew_ns)) END
    ), greatest AS (
        SELECT *, rank() OVER (PARTITION BY path ORDER BY place) AS first FROM belonging
    ), picked AS (
        SELECT DISTINCT ON (path) path, value
        FROM (SELECT *, count(*) OVER (PARTITION BY path) AS ties FROM greatest WHERE first = 1) AS tied
        ORDER BY path, CASE WHEN ties > 1 THEN memory_canonical_json(value) END COLLATE "C" DESC
    ), joined AS (
        SELECT path, CASE WHEN bool_or(contending.value <> 'null') THEN memory_text_set(array_agg(item) FILTER (WHERE item IS NOT NULL))
            ELSE 'null' END AS value
        FROM contending LEFT JOIN LATERAL
            jsonb_array_elements_text(CASE WHEN contending.value <> 'null' THEN contending.value ELSE '[]' END) AS element (item) ON true
        WHERE path IN ('tags', 'merged_from') AND strategy = 'merge_all'
        GROUP BY path
    ), conflicts AS (
        SELECT path, count(DISTINCT value) > 1 AS is_conflicted FROM contending GROUP BY path
    )
    SELECT path, coalesce(joined.value, picked.value), is_conflicted
    FROM conflicts LEFT JOIN picked USING (path) LEFT JOIN joined USING (path);
END;

COMMENT ON FUNCTION memory_picks(text, timestamptz, text, jsonb, boolean, boolean, numeric) IS 'What each field of a memory is resolved to: JSON null or SQL null where it has no value. An embedding is picked among those that belong to the content.';

------------------------------------------------------------------------------------------------------------------------
-- Memories
------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION memory_standing(of_memory text, until timestamptz, update_wins boolean, trusts_clocks boolean, by_time boolean, skew_ns numeric)
RETURNS TABLE (status text, merged_into text, created_at_ns bigint, updated_at_ns bigint, version bigint, vector_clock jsonb, event_ids jsonb)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH arrived AS MATERIALIZED (
        SELECT * FROM memory_arrivals(of_memory, until, trusts_clocks)
    ), frontier AS MATERIALIZED (
        SELECT * FROM arrived WHERE is_maximal
    ), left_on_reading AS MATERIALIZED (
        SELECT * FROM frontier AS e
        WHERE NOT EXISTS (SELECT FROM frontier AS other WHERE other.is_delete = (NOT e.is_delete) AND memory_presumed(
            e.extent, e.height, e.version, e.event_time_ns, e.is_clocked,
            other.extent, other.height, other.version, other.event_time_ns, other.is_clocked, trusts_clocks, by_time, skew_ns))
    ), activity AS (
        SELECT coalesce(CASE WHEN update_wins THEN bool_or(NOT is_delete) ELSE bool_and(NOT is_delete) END, false) AS is_active FROM left_on_reading
    ), absorb AS (
        SELECT absorbed_into FROM left_on_reading
        WHERE absorbed_into IS NOT NULL
        ORDER BY event_time_ns DESC, version DESC, coalesce(node_id, '') COLLATE "C" DESC, event_id COLLATE "C" DESC, absorbed_into COLLATE "C" DESC
        LIMIT 1
    ), counted AS (
        SELECT actor, max(counter::bigint) AS counter
        FROM arrived, LATERAL jsonb_each_text(arrived.vector_clock) AS entry (actor, counter)
        GROUP BY actor
    )
    SELECT CASE WHEN is_active THEN 'active' WHEN EXISTS (SELECT FROM absorb) THEN 'merged' ELSE 'deleted' END,
        CASE WHEN NOT is_active THEN (SELECT absorbed_into FROM absorb) END,
        joins.created_at_ns, joins.updated_at_ns, joins.version, (SELECT jsonb_object_agg(actor, counter) FROM counted),
        (SELECT jsonb_agg(event_id ORDER BY event_id COLLATE "C") FROM (SELECT DISTINCT event_id FROM frontier) AS ids)
    FROM activity, (
        SELECT min(event_time_ns) AS created_at_ns, max(event_time_ns) AS updated_at_ns, max(arrived.version) AS version FROM arrived HAVING count(*) > 0
    ) AS joins;
END;

COMMENT ON FUNCTION memory_standing(text, timestamptz, boolean, boolean, boolean, numeric) IS 'What the frontier of a memory shows, and the joins over all of its events; no row where none has reached it.';

CREATE FUNCTION memory_resolved(
    of_memory text, until timestamptz, strategy text, delete_policy text, trust_clocks boolean, unclocked text, max_clock_skew interval
) RETURNS SETOF jsonb
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH setting AS MATERIALIZED (
        SELECT * FROM memory_settings(strategy, delete_policy, trust_clocks, unclocked, max_clock_skew)
    ), standing AS MATERIALIZED (
        SELECT standing.* FROM setting, LATERAL memory_standing(of_memory, until, update_wins, trusts_clocks, by_time, skew_ns) AS standing
    ), picked AS MATERIALIZED (
        SELECT pick.*, split_part(path, '.', 1) AS field, substr(path, strpos(path, '.') + 1) AS key
        FROM setting, LATERAL memory_picks(of_memory, until, strategy_of_all, overrides, trusts_clocks, by_time, skew_ns) AS pick
    ), shown AS (
        -- Of a memory that is not active nothing shows but whose it is.
        SELECT picked.* FROM picked, standing WHERE picked.value <> 'null' AND (status = 'active' OR path = 'user_id')
    ), members (name, value) AS (
        SELECT member.* FROM standing, LATERAL (VALUES ('memory_id', to_jsonb(of_memory)), ('status', to_jsonb(status)),
            ('merged_into', to_jsonb(merged_into)), ('created_at', to_jsonb(memory_time(created_at_ns))),
            ('updated_at', to_jsonb(memory_time(updated_at_ns))), ('version', to_jsonb(version)), ('vector_clock', vector_clock),
            ('event_ids', event_ids)) AS member
        UNION ALL
        SELECT field, value FROM shown WHERE field NOT IN ('entities', 'relationships', 'metadata')
        UNION ALL
        SELECT field, jsonb_agg(value ORDER BY key COLLATE "C") FROM shown WHERE field IN ('entities', 'relationships') GROUP BY field
        UNION ALL
        SELECT field, jsonb_object_agg(key, value) FROM shown WHERE field = 'metadata' GROUP BY field
        UNION ALL
        SELECT 'conflicted_fields', coalesce((SELECT jsonb_agg(path ORDER BY path COLLATE "C") FROM picked WHERE is_conflicted), '[]')
        FROM standing WHERE status = 'active'
        UNION ALL
        SELECT note.* FROM (VALUES ('memory_id', to_jsonb(of_memory)), ('incomplete', 'true')) AS note
        WHERE EXISTS (SELECT FROM memory_dropped_events WHERE memory_id = of_memory)
    )
    SELECT jsonb_object_agg(name, value) FROM members WHERE value IS NOT NULL;
END;

COMMENT ON FUNCTION memory_resolved(text, timestamptz, text, text, boolean, text, interval) IS 'The resolved memory of the records up to a record_time; null where none is about it.';

CREATE FUNCTION rebuild_memory_from_events(
    memory_id text, strategy text DEFAULT NULL, delete_policy text DEFAULT NULL, trust_clocks boolean DEFAULT NULL, unclocked text DEFAULT NULL,
    max_clock_skew interval DEFAULT NULL
) RETURNS jsonb
LANGUAGE sql STABLE
SET jit = off
BEGIN ATOMIC
    SELECT * FROM memory_resolved($1, 'infinity', $2, $3, $4, $5, $6);
END;

COMMENT ON FUNCTION rebuild_memory_from_events(text, text, text, boolean, text, interval) IS 'The memory as its events in the log resolve it. What is not given is taken from memory_resolver_settings; so are, always, the strategies of single fields. Null where no event is about the memory; with a member "incomplete" where retention has dropped events of it.';

CREATE FUNCTION memory_as_of(memory_id text, as_of timestamptz) RETURNS jsonb
LANGUAGE sql STABLE
SET jit = off
BEGIN ATOMIC
    SELECT * FROM memory_resolved($1, $2, NULL, NULL, NULL, NULL, NULL);
END;

COMMENT ON FUNCTION memory_as_of(text, timestamptz) IS 'The memory as the records resolve it that Kafka had at that time (record_time, which may lie apart from the times of the events).';

------------------------------------------------------------------------------------------------------------------------
-- History
------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION get_memory_event_history(memory_id text)
RETURNS TABLE (
    event_id text, event_type text, "timestamp" timestamptz, node_id text, version bigint, content text, importance numeric, user_id text,
    session_id text, tags text[], entities jsonb, relationships jsonb, metadata jsonb, embedding jsonb, merged_from text[], cleared text[],
    vector_clock jsonb, absorbed_into text, event_time_ns bigint, record_time timestamptz, kafka_topic text, kafka_partition integer,
    kafka_offset bigint
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT event_id, event_type, event_time, node_id, version, content, importance, user_id, session_id, tags, entities, relationships,
        metadata, embedding, merged_from, cleared, vector_clock, absorbed_into, event_time_ns, record_time, kafka_topic, kafka_partition,
        kafka_offset
    FROM memory_rows($1, 'infinity')
    ORDER BY event_time_ns, kafka_topic, kafka_partition, kafka_offset;
END;

COMMENT ON FUNCTION get_memory_event_history(text) IS 'Every record about a memory, of any event type and redeliveries too, by the time of its event; merges that absorbed it name the memory that did (absorbed_into).';

CREATE FUNCTION get_events_since(since timestamptz, user_id text DEFAULT NULL)
RETURNS TABLE (
    event_id text, event_type text, "timestamp" timestamptz, node_id text, memory_id text, user_id text, session_id text, content text,
    embedding jsonb, importance numeric, tags text[], entities jsonb, relationships jsonb, metadata jsonb, version bigint, vector_clock jsonb,
    merged_from text[], cleared text[], event_time_ns bigint, record_time timestamptz, kafka_topic text, kafka_partition integer,
    kafka_offset bigint
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT event_id, event_type, event_time, node_id, memory_id, e.user_id, session_id, content, embedding, importance, tags, entities,
        relationships, metadata, version, vector_clock, merged_from, cleared, event_time_ns, record_time, kafka_topic, kafka_partition,
        kafka_offset
    FROM memory_events AS e
    WHERE event_time_ns > memory_nanoseconds($1) AND ($2 IS NULL OR e.user_id = $2)
    ORDER BY event_time_ns, kafka_topic, kafka_partition, kafka_offset;
END;

COMMENT ON FUNCTION get_events_since(timestamptz, text) IS 'Events of any type whose time is later, to the nanosecond, in order; of one user those that name it.';

CREATE FUNCTION causal_history(memory_id text)
RETURNS TABLE (
    event_id text, event_type text, "timestamp" timestamptz, node_id text, version bigint, vector_clock jsonb, absorbed_into text,
    is_current boolean, happened_after text[], concurrent_with text[], superseded_by text[], event_time_ns bigint, kafka_topic text,
    kafka_partition integer, kafka_offset bigint
)
LANGUAGE sql STABLE
SET jit = off
BEGIN ATOMIC
    WITH arrived AS MATERIALIZED (
        SELECT arrivals.*, trusts_clocks
        FROM memory_settings(NULL, NULL, NULL, NULL, NULL), LATERAL memory_arrivals($1, 'infinity', trusts_clocks) AS arrivals
    ), pairs AS MATERIALIZED (
        SELECT e.arrival, other.arrival AS other_arrival, other.event_id AS other_id,
            memory_happened_before(other.extent, other.height, other.version, e.extent, e.height, e.version, e.trusts_clocks) AS is_after,
            memory_happened_before(e.extent, e.height, e.version, other.extent, other.height, other.version, e.trusts_clocks) AS is_before
        FROM arrived AS e JOIN arrived AS other ON other.arrival <> e.arrival
    ), relations AS (
        SELECT arrival,
            array_agg(other_id ORDER BY other_arrival) FILTER (WHERE is_after) AS happened_after,
            array_agg(other_id ORDER BY other_arrival) FILTER (WHERE NOT is_after AND NOT is_before) AS concurrent_with,
            array_agg(other_id ORDER BY other_arrival) FILTER (WHERE is_before) AS superseded_by
        FROM pairs
        GROUP BY arrival
    )
    SELECT event_id, event_type, event_time,
        node_id, version, vector_clock, absorbed_into, is_maximal, coalesce(happened_after, '{}'), coalesce(concurrent_with, '{}'),
        coalesce(superseded_by, '{}'), event_time_ns, kafka_topic, kafka_partition, kafka_offset
    FROM arrived LEFT JOIN relations USING (arrival)
    ORDER BY arrival;
END;

COMMENT ON FUNCTION causal_history(text) IS 'Each event at a memory with the ids of those that it happened after, that are concurrent with it, and that happened after it; is_current where none did. Redeliveries are left out, and what is merely presumed does not count.';

CREATE FUNCTION get_conflict_stats(from_time timestamptz, to_time timestamptz)
RETURNS TABLE (
    total_conflicts bigint, resolved_conflicts bigint, pending_conflicts bigint, avg_resolution_time interval, conflict_types jsonb
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    -- All records of a conflict have the time of the first, so the last of them is among those of the range.
    WITH current AS MATERIALIZED (
        SELECT DISTINCT ON (conflict_id) conflict_type, status, detected_at, resolved_at
        FROM memory_conflicts
        WHERE conflict_id IS NOT NULL AND detected_at >= from_time AND detected_at < to_time
        ORDER BY conflict_id, kafka_offset DESC
    ), types AS (
        SELECT conflict_type, count(*) AS count FROM current GROUP BY conflict_type
    )
    SELECT count(*), count(*) FILTER (WHERE status <> 'pending'), count(*) FILTER (WHERE status = 'pending'),
        avg(resolved_at - detected_at) FILTER (WHERE status <> 'pending'),
        (SELECT coalesce(jsonb_object_agg(conflict_type, count), '{}') FROM types WHERE conflict_type IS NOT NULL)
    FROM current;
END;

COMMENT ON FUNCTION get_conflict_stats(timestamptz, timestamptz) IS 'Conflicts detected from one time up to, not at, another, each once as it stands now; their number by type. A conflict is resolved unless it is pending, and its resolution took as long as event times say.';

------------------------------------------------------------------------------------------------------------------------
-- Checks and retention
------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION memory_ids_of(of_user text) RETURNS TABLE (memory_id text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT memory_id FROM memory_snapshots WHERE memory_id IS NOT NULL AND (of_user IS NULL OR user_id = of_user)
    UNION
    SELECT memory_id FROM memory_events
    WHERE memory_id IS NOT NULL AND memory_changed_by(event_type) AND (of_user IS NULL OR user_id = of_user)
    UNION
    SELECT absorbed FROM memory_events AS e, LATERAL unnest(e.merged_from) AS absorbed
    WHERE of_user IS NULL AND event_type = 'memory.merged' AND absorbed <> '' AND absorbed <> memory_id;
END;

COMMENT ON FUNCTION memory_ids_of(text) IS 'The memories that are known, from snapshots or from events; of one user those that may be its.';

CREATE FUNCTION memory_members_apart(one jsonb, other jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT array_agg(name ORDER BY name COLLATE "C")
    FROM (SELECT jsonb_object_keys(one) UNION SELECT jsonb_object_keys(other)) AS names (name)
    WHERE one -> name IS DISTINCT FROM other -> name
);

COMMENT ON FUNCTION memory_members_apart(jsonb, jsonb) IS 'The members in which two objects differ; null where they do not.';

CREATE FUNCTION diff_rebuilt(user_id text DEFAULT NULL)
RETURNS TABLE (memory_id text, state text, fields text[], snapshot jsonb, rebuilt jsonb)
LANGUAGE sql STABLE
SET jit = off
BEGIN ATOMIC
    WITH compared AS MATERIALIZED (
        SELECT known.memory_id, snapshots.resolved AS snapshot, rebuild_memory_from_events(known.memory_id) AS rebuilt
        FROM memory_ids_of($1) AS known LEFT JOIN memory_snapshots AS snapshots USING (memory_id)
        WHERE known.memory_id IS NOT NULL
    )
    SELECT memory_id, CASE
            WHEN rebuilt ? 'incomplete' THEN 'incomplete'
            WHEN snapshot IS NULL OR rebuilt IS NULL OR fields && ARRAY['vector_clock', 'version', 'created_at', 'updated_at', 'event_ids']
                THEN 'pending'
            ELSE 'differs' END,
        fields, snapshot, rebuilt
    FROM compared, LATERAL (SELECT memory_members_apart(coalesce(snapshot, '{}'), coalesce(rebuilt, '{}'))) AS apart (fields)
    WHERE fields IS NOT NULL AND ($1 IS NULL OR snapshot ->> 'user_id' = $1 OR rebuilt ->> 'user_id' = $1);
END;

COMMENT ON FUNCTION diff_rebuilt(text) IS 'Memories of which the stream''s snapshot and the rebuild from events are not equal, of all users or one. pending: the two do not reach equally far, as clock, version, times or frontier say, so the mirror of one topic waits for the other''s. differs: they reach equally far, and are not equal. incomplete: retention has dropped events. None on a mirror that has caught up.';

CREATE FUNCTION note_dropped_events(before timestamptz) RETURNS bigint
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    WITH noted AS (
        INSERT INTO memory_dropped_events (memory_id, dropped_rows, last_record_time)
        SELECT about, count(*), max(record_time)
        FROM memory_events AS e, LATERAL (
            SELECT e.memory_id
            UNION
            SELECT absorbed FROM unnest(e.merged_from) AS absorbed WHERE e.event_type = 'memory.merged' AND absorbed <> ''
        ) AS touched (about)
        WHERE record_time < before AND memory_changed_by(event_type) AND about IS NOT NULL
        GROUP BY about
        RETURNING memory_id
    )
    SELECT count(*) FROM noted;
END;

COMMENT ON FUNCTION note_dropped_events(timestamptz) IS 'Notes of which memories there are rows with an earlier record_time, and gives their number. For retention, which drops those rows in the same transaction: a rebuild then says that it is incomplete.';
