-- Time partitions of the log, made ahead, and its retention.
--
-- A partition is attached under a look at all rows of the default partition, which nobody can use meanwhile: so the default must
-- stay small. What came before the months made ahead has a partition of its own, memory_events_past; the default takes what
-- lies beyond them, and records whose time is no time.

DO $$
DECLARE
    -- The months begin behind all rows that are there, but for those with times in the future, which are moved.
    first_month timestamptz := date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    index_name text;
BEGIN
    IF NOT EXISTS (SELECT FROM memory_events_default) THEN
        EXECUTE format('CREATE TABLE memory_events_past PARTITION OF memory_events FOR VALUES FROM (MINVALUE) TO (%L)', first_month);
    ELSE
        IF EXISTS (SELECT FROM memory_events_default WHERE record_time >= first_month AND record_time < now() + interval '1 day') THEN
            first_month := (first_month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
        END IF;
        ALTER TABLE memory_events DETACH PARTITION memory_events_default;
        ALTER TABLE memory_events_default RENAME TO memory_events_past;
        FOR index_name IN SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indrelid = 'memory_events_past'::regclass LOOP
            EXECUTE format('ALTER INDEX %I RENAME TO %I', index_name, replace(index_name, '_default_', '_past_'));
        END LOOP;
        CREATE TABLE memory_events_default PARTITION OF memory_events DEFAULT;
        WITH beyond AS (
            DELETE FROM memory_events_past WHERE record_time >= first_month RETURNING *
        )
        INSERT INTO memory_events_default SELECT * FROM beyond;
        EXECUTE format('ALTER TABLE memory_events ATTACH PARTITION memory_events_past FOR VALUES FROM (MINVALUE) TO (%L)', first_month);
    END IF;
END
$$;

COMMENT ON TABLE memory_events_default IS 'Rows of memory_events that no other partition of it takes: times beyond the months that were made, or none that a calendar holds.';
COMMENT ON TABLE memory_events_past IS 'Rows of memory_events from before its monthly partitions begin, and those of records without a time.';

CREATE TABLE memory_retention (
    only_row       boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (only_row),
    dropped_before timestamptz NOT NULL,
    dropped_rows   bigint      NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE memory_retention IS 'How far retention has gone: one row, or none where nothing was ever dropped.';
COMMENT ON COLUMN memory_retention.only_row IS 'Always true: there is one row.';
COMMENT ON COLUMN memory_retention.dropped_before IS 'Greatest bound so far: rows with an earlier record_time were dropped. One that was mirrored later may be there yet.';
COMMENT ON COLUMN memory_retention.dropped_rows IS 'Rows of memory_events dropped so far.';
COMMENT ON COLUMN memory_retention.updated_at IS 'When rows were last looked for and dropped, by this database''s clock.';

CREATE FUNCTION memory_month(moment timestamptz, months_later integer DEFAULT 0) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (date_trunc('month', moment AT TIME ZONE 'UTC') + make_interval(months => months_later)) AT TIME ZONE 'UTC';

COMMENT ON FUNCTION memory_month(timestamptz, integer) IS 'Start of the month (UTC) that a moment lies in, or of one that many months later.';

CREATE FUNCTION memory_upper_bound(of_partition regclass) RETURNS timestamptz
LANGUAGE sql STABLE
RETURN (SELECT substring(pg_get_expr(relpartbound, oid) FROM ' TO \(''([^'']*)''\)$')::timestamptz FROM pg_class WHERE oid = of_partition);

COMMENT ON FUNCTION memory_upper_bound(regclass) IS 'Where a partition by time ends; null when it has no such end.';

CREATE FUNCTION memory_try_upkeep() RETURNS boolean
LANGUAGE sql VOLATILE
RETURN pg_try_advisory_xact_lock(hashtext('helixstream upkeep'), 'memory_events'::regclass::oid::integer);

COMMENT ON FUNCTION memory_try_upkeep() IS 'Whether this transaction alone may change the partitions of memory_events; it waits for nobody.';

-- Filled apart and then attached: writers and readers go on but for the moment of the attaching. A month that has rows in the
-- default partition already is left to it.
CREATE FUNCTION make_memory_event_partitions(months_ahead bigint DEFAULT 3) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET lock_timeout = '2s'
AS $$
DECLARE
    month timestamptz;
    name text;
    made bigint := 0;
BEGIN
    IF NOT memory_try_upkeep() THEN
        RETURN 0;
    END IF;
    FOR later IN 0..months_ahead LOOP
        month := memory_month(now(), later);
        name := 'memory_events_' || to_char(month AT TIME ZONE 'UTC', 'YYYYMM');
        CONTINUE WHEN to_regclass(format('%I.%I', current_schema(), name)) IS NOT NULL;
        CONTINUE WHEN EXISTS (SELECT FROM memory_events_default WHERE record_time >= month AND record_time < memory_month(month, 1));
        BEGIN
            EXECUTE format('CREATE TABLE %I.%I (LIKE memory_events INCLUDING DEFAULTS INCLUDING COMMENTS)', current_schema(), name);
            EXECUTE format('COMMENT ON TABLE %I IS %L', name, 'Rows of memory_events with record_time in '
                || to_char(month AT TIME ZONE 'UTC', 'YYYY-MM') || ' (UTC).');
            EXECUTE format('ALTER TABLE memory_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, month, memory_month(month, 1));
            made := made + 1;
        EXCEPTION
            -- It lies in memory_events_past, or rows of it came into the default partition meanwhile.
            WHEN invalid_object_definition OR check_violation THEN NULL;
        END;
    END LOOP;
    RETURN made;
END
$$;

COMMENT ON FUNCTION make_memory_event_partitions(bigint) IS 'Makes the partitions of memory_events for this month and so many months ahead, where they are not there yet; gives the number of those made. The mirror calls it now and again.';

-- By whole months, so that what is dropped is known by one bound and costs little: partitions that lie below it go as they are. A
-- record without a time counts as older than any. What comes late goes to memory_events_past, and is dropped by a later call.
CREATE FUNCTION drop_memory_events(older_than timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET lock_timeout = '2s'
AS $$
DECLARE
    bound timestamptz := least(memory_month(older_than), memory_month(now()));
    known timestamptz := (SELECT dropped_before FROM memory_retention);
    part record;
    count bigint;
    dropped bigint := 0;
BEGIN
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
        EXECUTE format('CREATE TABLE memory_events_past PARTITION OF memory_events FOR VALUES FROM (MINVALUE) TO (%L)', bound);
        COMMENT ON TABLE memory_events_past IS 'Rows of memory_events from before its monthly partitions begin, and those of records without a time.';
    END IF;
    INSERT INTO memory_retention AS kept (dropped_before, dropped_rows) VALUES (bound, dropped)
    ON CONFLICT (only_row) DO UPDATE SET dropped_before = excluded.dropped_before,
        dropped_rows = kept.dropped_rows + excluded.dropped_rows, updated_at = now();
    RETURN dropped;
END
$$;

COMMENT ON FUNCTION drop_memory_events(timestamptz) IS 'Drops the rows of memory_events from before the month (UTC) that the moment lies in, or from before this one if that is earlier; notes of which memories they were, and gives their number. Records without a time are among them.';

CREATE FUNCTION drop_memory_events_after(seconds bigint) RETURNS bigint
LANGUAGE sql VOLATILE
RETURN drop_memory_events(now() - seconds * interval '1 s');

COMMENT ON FUNCTION drop_memory_events_after(bigint) IS 'drop_memory_events for what is older than so many seconds: retention, which keeps at least that, and up to a month more. The mirror calls it now and again where mirror.retention is set.';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['make_memory_event_partitions', 'drop_memory_events'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_catalog, pg_temp', name, current_schema());
    END LOOP;
END
$$;
