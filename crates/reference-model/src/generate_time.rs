//! Seeded streams in which time passes: around a retention, and over the intervals of user
//! snapshots; and sync requests.

use super::generate::{BASE_MS, Stream, settings};
use super::generate_event::{MEMORIES, Members, clock, encode, event, memory_name, quoted};
use super::{Record, Settings, time};
use testkit::Random;

/// A sync request, as a record with the position and time given; of a clock in any form, or none;
/// for the memories of a user, of one that has none, or of all.
pub fn sync_request(rng: &mut Random, settings: &Settings, offset: i64, timestamp_ms: i64) -> Record {
    let mut members: Members = vec![
        ("event_id".to_owned(), quoted(rng.pick(&["s1", "s2"]))),
        ("event_type".to_owned(), quoted("memory.sync_request")),
    ];
    let mut put = |name: &str, text: String| members.push((name.to_owned(), text));
    if rng.below(4) > 0 {
        put("node_id", rng.pick(&["\"n1\"", "\"n2\"", "\"\u{fc}\"", "\"\"", "null"]).to_owned());
    }
    if rng.below(4) > 0 {
        put("vector_clock", clock(rng));
    }
    if rng.one_in(2) {
        put("user_id", rng.pick(&["\"u\"", "\"u\"", "\"v\"", "\"\\u0076\"", "\"w\"", "\"\"", "null"]).to_owned());
    }
    if rng.one_in(2) {
        let event_ms = timestamp_ms + rng.pick(&[-1000, 0, 1000]);
        put("timestamp", quoted(&time::format(event_ms * 1_000_000)));
    }
    if rng.one_in(4) {
        put("memory_id", quoted(&memory_name(rng, MEMORIES.len())));
    }
    let value = Some(encode(rng, members));
    Record { topic: settings.events_topic.clone(), offset, timestamp_ms, value, ..Record::default() }
}

/// A stream for tombstone retention, which its settings have: deletes and merges, redeliveries, and
/// events that are as old as the retention, a little less and a little more. A record in ten is a
/// sync request.
pub fn aging(seed: u64, max_records: usize) -> Stream {
    let mut rng = Random::new(seed);
    let retention_ms = rng.pick(&[1000, 2500, 10_000]);
    let settings = Settings { tombstone_retention_ms: Some(retention_ms), ..settings(&mut rng) };
    let memories = 1 + rng.below(MEMORIES.len());
    let mood = rng.below(4);
    let steps = [0, 1, 500, retention_ms / 2, retention_ms - 1, retention_ms, retention_ms + 1, 3 * retention_ms];
    let ages = [0, 0, 0, 1, 500, retention_ms - 1, retention_ms, retention_ms + 1, -1000, -3 * retention_ms];
    let mut now_ms = BASE_MS;
    let mut records: Vec<Record> = Vec::new();
    for offset in 0..1 + rng.below(max_records) as i64 {
        if rng.one_in(3) {
            now_ms += rng.pick(&steps);
        }
        if !records.is_empty() && rng.one_in(8) {
            let earlier = rng.pick(&records);
            let timestamp_ms = rng.pick(&[earlier.timestamp_ms, now_ms]);
            records.push(Record { offset, timestamp_ms, ..earlier });
            continue;
        }
        if rng.one_in(10) {
            records.push(sync_request(&mut rng, &settings, offset, now_ms));
            continue;
        }
        let event_ms = now_ms - rng.pick(&ages);
        let timestamp_ms = now_ms - rng.pick(&[0, 0, 0, 1, retention_ms]);
        let mut members = at_time(event(&mut rng, memories, mood), event_ms);
        if rng.one_in(3) {
            let memory = memory_name(&mut rng, memories);
            set(&mut members, "event_type", &quoted("memory.deleted"));
            set(&mut members, "memory_id", &quoted(&memory));
        }
        records.push(record(&mut rng, &settings, members, offset, timestamp_ms));
    }
    Stream { settings, records }
}

/// A stream for user snapshots, and the interval in milliseconds: memories that change their user,
/// lose it, are deleted and come back, while time passes by parts of the interval and by several of
/// them.
pub fn of_users(seed: u64, max_records: usize) -> (Stream, i64) {
    let mut rng = Random::new(seed);
    let settings = settings(&mut rng);
    let interval_ms = rng.pick(&[1, 1000, 60_000]);
    let memories = 1 + rng.below(MEMORIES.len());
    let mood = rng.below(4);
    let steps = [0, 0, 1, interval_ms / 2, interval_ms - 1, interval_ms, interval_ms + 1, 3 * interval_ms];
    let mut now_ms = BASE_MS;
    let mut records: Vec<Record> = Vec::new();
    for offset in 0..1 + rng.below(max_records) as i64 {
        now_ms += rng.pick(&steps);
        let event_ms = now_ms - rng.pick(&[0, 0, 0, 1, interval_ms]);
        let timestamp_ms = now_ms;
        let mut members = at_time(event(&mut rng, memories, mood), event_ms);
        if rng.below(3) > 0 {
            set(&mut members, "user_id", rng.pick(&["\"u\"", "\"u\"", "\"v\"", "\"\u{fc}\"", "null"]));
        }
        records.push(record(&mut rng, &settings, members, offset, timestamp_ms));
    }
    (Stream { settings, records }, interval_ms)
}

/// The event at another time, unless it has none (the record's counts then) or one that is far off.
fn at_time(mut members: Members, event_ms: i64) -> Members {
    let written = members.iter().any(|(name, text)| name == "timestamp" && text.starts_with("\"2023"));
    if written {
        set(&mut members, "timestamp", &quoted(&time::format(event_ms * 1_000_000)));
    }
    members
}

/// Sets a member, once.
fn set(members: &mut Members, name: &str, text: &str) {
    members.retain(|(known, _)| known != name);
    members.push((name.to_owned(), text.to_owned()));
}

fn record(rng: &mut Random, settings: &Settings, members: Members, offset: i64, timestamp_ms: i64) -> Record {
    let value = Some(encode(rng, members));
    Record { topic: settings.events_topic.clone(), offset, timestamp_ms, value, ..Record::default() }
}
