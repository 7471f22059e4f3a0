//! Pruned state reads as the definition reads: every record that is emitted, for every stream,
//! equals the reference's.

use memory::state::Layout;

use crate::ours;
use reference_model::generate;

/// Streams whose whole output is compared.
const STREAMS: u64 = 20_000;

fn compare(seed: u64, max_records: usize) {
    let stream = generate::stream(seed, max_records, true);
    let ours = ours::run(&stream.records, &stream.settings);
    let theirs = reference_model::run(&stream.records, &stream.settings);
    let snapshots = theirs.snapshots.iter().map(|e| (e.key.clone(), e.value.clone(), e.timestamp_ms));
    assert_eq!(ours.snapshots, snapshots.collect::<Vec<_>>(), "snapshots of stream {seed}");
    let normalised = |value: &str| reference_model::run::normalise_conflict(value);
    let conflicts = theirs.conflicts.iter().map(|e| (e.key.clone(), normalised(&e.value), e.timestamp_ms));
    let mine = ours.conflicts.iter().map(|(key, value, time)| (key.clone(), normalised(value), *time));
    assert_eq!(mine.collect::<Vec<_>>(), conflicts.collect::<Vec<_>>(), "conflicts of stream {seed}");
    let dead = theirs.dead_letters.iter().map(|d| (d.class.to_string(), d.partition, d.offset));
    assert_eq!(ours.dead_letters, dead.collect::<Vec<_>>(), "dead letters of stream {seed}");
}

#[test]
fn pruned_state_reads_as_the_definition_reads() {
    for seed in testkit::seeds(STREAMS) {
        compare(seed, 12);
    }
}

#[test]
fn long_streams_read_as_the_definition_reads() {
    for seed in testkit::seeds(200) {
        compare(1_000_000 + seed, 60);
    }
}

/// Everything that a real memory does only when it is large (pages that split and return, values in
/// rows of their own, rows in parts), done by memories of a few hundred bytes.
#[test]
fn the_layout_of_rows_does_not_show() {
    let tiny = Layout {
        max_part_bytes: 60,
        max_inline_bytes: 4,
        max_head_weight: 80,
        min_paged_weight: 70,
        page_weight: 70,
        max_page_weight: 140,
    };
    for seed in testkit::seeds(5_000) {
        let stream = generate::stream(seed, 14, false);
        let wide = ours::run(&stream.records, &stream.settings);
        let cut = ours::run_in(&stream.records, &stream.settings, tiny);
        assert_eq!(cut.snapshots, wide.snapshots, "stream {seed}");
        assert_eq!(cut.conflicts, wide.conflicts, "stream {seed}");
        assert!(cut.rows.widest() <= 61, "stream {seed} has a row of {} bytes", cut.rows.widest());
        assert!(cut.rows.len() >= wide.rows.len());
        assert_eq!(cut.rows.unreachable(), 0, "stream {seed} leaves rows behind");
    }
}
