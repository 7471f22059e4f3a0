//! The law above all others: the resolved state of a memory is a pure function of the set of its
//! events.

use crate::ours;
use reference_model::generate::{self, MEMORIES};
use reference_model::{Record, Settings};
use testkit::Random;

const STREAMS: u64 = 3_000;

/// All resolved memories after these records, in this order.
fn resolved(records: &[Record], settings: &Settings) -> Vec<Option<String>> {
    let run = ours::run(records, settings);
    let settings = ours::settings(settings);
    MEMORIES.iter().map(|memory| run.resolved(memory, &settings)).collect()
}

#[test]
fn apply_is_commutative() {
    for seed in testkit::seeds(STREAMS) {
        let stream = generate::stream(seed, 12, false);
        let mut shuffled = stream.records.clone();
        let expected = resolved(&stream.records, &stream.settings);
        let mut rng = Random::new(seed);
        for _ in 0..3 {
            rng.shuffle(&mut shuffled);
            assert_eq!(resolved(&shuffled, &stream.settings), expected, "stream {seed}");
        }
    }
}

#[test]
fn apply_is_idempotent() {
    for seed in testkit::seeds(STREAMS) {
        let stream = generate::stream(seed, 12, false);
        let once = ours::run(&stream.records, &stream.settings);
        let twice: Vec<Record> = stream.records.iter().chain(&stream.records).cloned().collect();
        let twice_run = ours::run(&twice, &stream.settings);
        assert_eq!(twice_run.snapshots, once.snapshots, "a redelivery emits nothing: stream {seed}");
        assert_eq!(twice_run.conflicts, once.conflicts, "a redelivery emits nothing: stream {seed}");
        assert_eq!(twice_run.rows, once.rows, "a redelivery changes no row: stream {seed}");
    }
}

/// Joining is done by applying events, so associativity says that where a stream is cut and which
/// part comes first is all one.
#[test]
fn apply_is_associative() {
    for seed in testkit::seeds(STREAMS) {
        let stream = generate::stream(seed, 12, false);
        let expected = resolved(&stream.records, &stream.settings);
        let mut rng = Random::new(!seed);
        let (first, second) = stream.records.split_at(rng.below(stream.records.len() + 1));
        let (middle, last) = second.split_at(rng.below(second.len() + 1));
        for parts in [[middle, last, first], [last, first, middle], [first, last, middle]] {
            assert_eq!(resolved(&parts.concat(), &stream.settings), expected, "stream {seed}");
        }
    }
}
