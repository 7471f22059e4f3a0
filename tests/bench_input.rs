//! The bench's input is the anchor's: digests of what its Java generator wrote for the same seeds,
//! so that the port cannot drift.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

#[path = "../benches/speed/generator/mod.rs"]
mod generator;

use generator::Generator;
use xxhash_rust::xxh3::Xxh3;

/// Digest of keys, timestamps and values, each behind its length.
fn digest(seed: u64, memories: usize, records: usize) -> String {
    let mut hash = Xxh3::new();
    for record in Generator::new(seed, memories).take(records) {
        for part in [record.key.as_bytes(), &record.timestamp_ms.to_le_bytes(), &record.value] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    format!("{:032x}", hash.digest128())
}

#[test]
fn the_same_seed_gives_the_bytes_of_the_java_generator() {
    assert_eq!(digest(1, 2_000, 20_000), "8c48088aa215069c71ed4f95ad571c2a");
    assert_eq!(digest(7, 100, 3_000), "9f35b75bf5eb0dcfa80fa2dc2f16cb25");
}
