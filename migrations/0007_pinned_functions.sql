-- Functions that do the mirror's work whatever settings their caller has, whatever else a user has added to the tables, and for a
-- role that may neither create nor drop anything itself.
--
-- The functions that are not repeated here write no text of a date, a time or an interval and read none, so no setting of a session
-- reaches their results. They carry no SET clause, since the planner would not take one that does into the query that calls it.

-- A partition's bound is shown in the form of the session and read back, so both have to be of a form that tells all.
CREATE OR REPLACE FUNCTION memory_upper_bound(of_partition regclass) RETURNS timestamptz
LANGUAGE sql STABLE
RETURN (SELECT substring(pg_get_expr(relpartbound, oid) FROM ' TO [(]''([^'']*)''[)]$')::timestamptz FROM pg_class WHERE oid = of_partition);

-- What was in reach of an overflow is the difference of two offsets, which is none.
CREATE OR REPLACE FUNCTION count_memory_nodes(most_offsets bigint DEFAULT 1000000) RETURNS bigint
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
    ON CONFLICT (kafka_topic, kafka_partition) DO NOTHING;
    FOR part IN
        SELECT kafka_topic, kafka_partition, counted_offset, counted_offset + least(greatest(most_offsets, 0), next_offset - counted_offset) AS upto
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
        moved := moved + (part.upto - part.counted_offset);
    END LOOP;
    RETURN moved;
END
$$;

CREATE FUNCTION memory_require_privilege(privilege text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    -- In a function that runs with its owner's rights, current_user is that owner: the caller is whom SET ROLE names, or who logged in.
    caller name := CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role') END;
BEGIN
    IF NOT has_table_privilege(caller, 'memory_events', privilege) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('permission denied: role %I lacks the privilege %s on memory_events', caller, privilege);
    END IF;
END
$$;

COMMENT ON FUNCTION memory_require_privilege(text) IS 'Ends the query when the caller lacks a privilege on memory_events. For the functions that run with the rights of their owner.';

-- With the rights of the owner, so that the mirror's role needs no CREATE. INCLUDING takes over what users have added to the table;
-- the attaching then adds their indexes, triggers and foreign keys.
CREATE OR REPLACE FUNCTION make_memory_event_partitions(months_ahead bigint DEFAULT 3) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET lock_timeout = '2s'
AS $$
DECLARE
    month timestamptz;
    name text;
    home text := (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'memory_events'::regclass);
    made bigint := 0;
BEGIN
    PERFORM memory_require_privilege('INSERT');
    IF NOT memory_try_upkeep() THEN
        RETURN 0;
    END IF;
    FOR later IN 0..least(greatest(months_ahead, 0), 1200)::integer LOOP
        month := memory_month(now(), later);
        name := 'memory_events_' || to_char(month AT TIME ZONE 'UTC', 'YYYYMM');
        CONTINUE WHEN to_regclass(home || '.' || name) IS NOT NULL;
        CONTINUE WHEN EXISTS (SELECT FROM memory_events_default WHERE record_time >= month AND record_time < memory_month(month, 1));
        BEGIN
            EXECUTE format('CREATE TABLE %s.%I (LIKE memory_events INCLUDING DEFAULTS INCLUDING COMMENTS INCLUDING CONSTRAINTS INCLUDING GENERATED '
                || 'INCLUDING STORAGE INCLUDING COMPRESSION)', home, name);
            EXECUTE format('COMMENT ON TABLE %s.%I IS %L', home, name, 'Rows of memory_events with record_time in '
                || to_char(month AT TIME ZONE 'UTC', 'YYYY-MM') || ' (UTC).');
            EXECUTE format('ALTER TABLE memory_events ATTACH PARTITION %s.%I FOR VALUES FROM (%L) TO (%L)', home, name, month, memory_month(month, 1));
            made := made + 1;
        EXCEPTION
            -- It lies in memory_events_past, or rows of it came into the default partition meanwhile.
            WHEN invalid_object_definition OR check_violation THEN NULL;
        END;
    END LOOP;
    RETURN made;
END
$$;

-- No moment before the first year is a bound: the month of the earliest ones begins before all time that there is.
CREATE OR REPLACE FUNCTION drop_memory_events(older_than timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET lock_timeout = '2s'
AS $$
DECLARE
    bound timestamptz := least(memory_month(greatest(older_than, '0001-01-01 00:00:00+00')), memory_month(now()));
    known timestamptz := (SELECT dropped_before FROM memory_retention);
    home text := (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'memory_events'::regclass);
    part record;
    count bigint;
    dropped bigint := 0;
BEGIN
    PERFORM memory_require_privilege('DELETE');
    IF older_than IS NULL OR NOT isfinite(older_than) OR bound < known OR NOT memory_try_upkeep() THEN
        RETURN 0;
    END IF;
    -- Dropped before, but some may have come late since. Where all of the past would go a look tells at once; else all of it must be
    -- read, so once a day will do.
    IF bound = known AND (CASE WHEN memory_upper_bound('memory_events_past') <= bound THEN NOT EXISTS (SELECT FROM memory_events_past)
        ELSE (SELECT updated_at > now() - interval '1 day' FROM memory_retention) END) THEN
        RETURN 0;
    END IF;
    PERFORM note_dropped_events(bound);
    -- What goes must have been counted.
    PERFORM count_memory_nodes(9223372036854775807);
    FOR part IN
        SELECT inhrelid::regclass AS name, memory_upper_bound(inhrelid) <= bound AS is_below
        FROM pg_inherits
        WHERE inhparent = 'memory_events'::regclass
    LOOP
        IF part.is_below THEN
            EXECUTE format('SELECT count(*) FROM %s', part.name) INTO count;
            EXECUTE format('DROP TABLE %s', part.name);
        ELSE
            EXECUTE format('DELETE FROM %s WHERE record_time < $1', part.name) USING bound;
            GET DIAGNOSTICS count = ROW_COUNT;
        END IF;
        dropped := dropped + count;
    END LOOP;
    IF to_regclass('memory_events_past') IS NULL THEN
        EXECUTE format('CREATE TABLE %s.memory_events_past PARTITION OF memory_events FOR VALUES FROM (MINVALUE) TO (%L)', home, bound);
        COMMENT ON TABLE memory_events_past IS 'Rows of memory_events from before its monthly partitions begin, and those of records without a time.';
    END IF;
    INSERT INTO memory_retention AS kept (dropped_before, dropped_rows) VALUES (bound, dropped)
    ON CONFLICT (only_row) DO UPDATE SET dropped_before = excluded.dropped_before,
        dropped_rows = kept.dropped_rows + excluded.dropped_rows, updated_at = now();
    RETURN dropped;
END
$$;

-- Two thousand years are for ever, and no interval of ours is longer.
CREATE OR REPLACE FUNCTION drop_memory_events_after(seconds bigint) RETURNS bigint
LANGUAGE sql VOLATILE
RETURN drop_memory_events(now() - least(greatest(seconds, 0), 63072000000) * interval '1 s');

-- PL/pgSQL reads names, and the text of dates, when it runs: it is told where and how. pg_catalog comes first, so that nothing that
-- somebody else has put into our schema is taken for a function or operator of Postgres while the owner's rights hold.
DO $$
DECLARE
    of_ours regprocedure;
BEGIN
    FOR of_ours IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = quote_ident(current_schema())::regnamespace AND proname IN ('memory_upper_bound', 'count_memory_nodes', 'memory_require_privilege',
            'make_memory_event_partitions', 'drop_memory_events')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', of_ours, current_schema());
        EXECUTE format('ALTER FUNCTION %s SET DateStyle = ''ISO, MDY'' SET IntervalStyle = postgres SET TimeZone = UTC '
            || 'SET standard_conforming_strings = on SET quote_all_identifiers = off SET bytea_output = hex SET extra_float_digits = 1 '
            || 'SET transform_null_equals = off SET array_nulls = on SET lc_time = ''C'' SET lc_numeric = ''C''', of_ours);
    END LOOP;
END
$$;

-- Whoever may write and delete rows is let in by hand (docs/postgres.md has the GRANTs).
REVOKE EXECUTE ON FUNCTION make_memory_event_partitions(bigint), drop_memory_events(timestamptz), drop_memory_events_after(bigint) FROM PUBLIC;
