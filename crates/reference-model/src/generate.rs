//! Seeded streams of records over a tiny domain in which everything collides: ids, clocks,
//! counters, times and values.

use super::generate_bad::bad_value;
pub use super::generate_event::{MEMORIES, Members, encode, envelope, event, render};
use super::generate_event::{clock, content};
use super::{DeletePolicy, Record, Settings, Strategy, Unclocked};
use std::collections::BTreeMap;
use testkit::Random;

/// A stream with the settings it is to be run under.
pub struct Stream {
    /// The settings.
    pub settings: Settings,
    /// The records, in the order of the log.
    pub records: Vec<Record>,
}

/// The stream of a seed: up to `max_records` records, of which about one in twelve is bad when
/// `with_bad`.
pub fn stream(seed: u64, max_records: usize, with_bad: bool) -> Stream {
    let mut rng = Random::new(seed);
    let settings = settings(&mut rng);
    let count = 1 + rng.below(max_records);
    // Some streams live in one memory, some without clocks, some all with them: each reaches
    // corners the mix does not.
    let memories = 1 + rng.below(MEMORIES.len());
    let mood = rng.below(4);
    let mut sent: Vec<(Members, i64)> = Vec::new();
    let mut records = Vec::new();
    let mut offsets = [0i64; 3];
    for _ in 0..count {
        let (value, timestamp_ms) = if with_bad && rng.one_in(12) {
            bad_value(&mut rng, &settings)
        } else {
            let (members, timestamp_ms) = if !sent.is_empty() && rng.one_in(6) {
                again(&mut rng, &sent)
            } else {
                (event(&mut rng, memories, mood), record_time(&mut rng))
            };
            sent.push((members.clone(), timestamp_ms));
            (Some(encode(&mut rng, members)), timestamp_ms)
        };
        let partition = rng.below(offsets.len());
        let headers = if rng.one_in(4) { vec![("type".to_owned(), b"x\xff".to_vec())] } else { Vec::new() };
        records.push(Record {
            topic: settings.events_topic.clone(),
            partition: partition as i32,
            offset: offsets[partition],
            timestamp_ms,
            key: rng.pick(&[None, Some(b"a".to_vec()), Some(vec![0xff, 0])]),
            value,
            headers,
        });
        offsets[partition] += 1 + i64::from(rng.one_in(5));
    }
    Stream { settings, records }
}

/// Settings of which each is as likely one way as the other; small limits, so that bad input of
/// each class is cheap.
pub fn settings(rng: &mut Random) -> Settings {
    let built_in = [Strategy::LastWriteWins, Strategy::Importance, Strategy::VectorClock, Strategy::MergeAll];
    let paths = ["content", "embedding", "importance", "tags", "merged_from", "user_id", "metadata", "metadata.k"];
    let more = ["metadata.a.b", "entities", "entities.x", "relationships", "relationships.r"];
    let mut overrides = BTreeMap::new();
    for path in paths.into_iter().chain(more) {
        if rng.one_in(8) {
            overrides.insert(path.to_owned(), rng.pick(&built_in));
        }
    }
    Settings {
        strategy: rng.pick(&built_in),
        overrides,
        delete_policy: rng.pick(&[DeletePolicy::UpdateWins, DeletePolicy::DeleteWins]),
        trust_clocks: rng.one_in(5),
        unclocked: if rng.one_in(4) { Unclocked::Concurrent } else { Unclocked::ByTime },
        max_clock_skew_ns: if rng.one_in(4) { 0 } else { 2_000_000_000 },
        max_clock_entries: 4,
        max_value_bytes: 4000,
        max_contenders: rng.pick(&[100, 100, 2]),
        ..Settings::default()
    }
}

/// An event seen before: as it was, with another record time, or with one member changed (same id,
/// other content).
fn again(rng: &mut Random, sent: &[(Members, i64)]) -> (Members, i64) {
    let (mut members, timestamp_ms) = rng.pick(sent);
    match rng.below(5) {
        0 => return (members, record_time(rng)),
        1 => {
            members.retain(|(name, _)| name != "content");
            members.push(("content".to_owned(), content(rng)));
        }
        2 => {
            members.retain(|(name, _)| name != "vector_clock");
            members.push(("vector_clock".to_owned(), clock(rng)));
        }
        _ => {}
    }
    (members, timestamp_ms)
}

/// Where the times of all streams lie, in milliseconds since 1970: 2023-11-14T22:13:20Z.
pub(super) const BASE_MS: i64 = 1_700_000_000_000;

fn record_time(rng: &mut Random) -> i64 {
    if rng.one_in(20) {
        return rng.pick(&[0, 1, 9_223_372_036_854]);
    }
    BASE_MS + rng.pick(&[0, 500, 1000, 2000, 4000, 3_600_000])
}
