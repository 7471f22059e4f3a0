-- Why the stream could not process an event that was published; null where it has not come back as a
-- dead letter. The state of such an event stays what it is for the publisher.
ALTER TABLE outbox ADD COLUMN dead_letter TEXT;
CREATE INDEX outbox_failed ON outbox (number) WHERE state = 'failed' OR dead_letter IS NOT NULL;
