//! A full disk under the state directory: the instance ends and says what to do; with space again
//! the next start loses and doubles nothing.

use crate::events::Events;
use crate::expect;
use crate::trial::Trial;
use testkit::{Record, SmallDisk};

const ADVICE: &[&str] = &["No space left on device", "free some space on the disk of the state directory"];

/// Large events that are fed at a time.
const PIECE: usize = 20;

/// Events of one memory with texts that do not shrink, so that one task's store grows.
fn large(from: usize) -> Vec<Record> {
    let event = |n: usize| {
        let text: String = (0..20_000_u64)
            .map(|at| format!("{:016x}", (n as u64 * 20_000 + at).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
            .collect();
        let value = serde_json::json!({"event_id": format!("large-{n}"), "event_type": "memory.updated", "memory_id": "large",
            "content": text, "timestamp": "2026-01-01T00:00:00Z", "node_id": "n", "version": n, "vector_clock": {"n": n}});
        Record::new("large", value.to_string())
    };
    (from..from + PIECE).map(event).collect()
}

#[test]
fn a_full_disk_ends_the_instance_and_a_restart_with_space_goes_on() {
    let Some(disk) = SmallDisk::new(256, (0, 0)) else { return };
    let trial = Trial::new("full-disk", &[]);
    let mut events = Events::new(15, 40);
    let arguments = ["--threads", "2", "--no-mirror"];
    // Full from the start.
    disk.fill();
    trial.start_on_disk(&disk, &arguments).finish().assert_failed(1, ADVICE);
    disk.free();

    let mut instance = trial.start_on_disk(&disk, &arguments);
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut instance]);
    // Full in mid-stream. RocksDB has room put by in each log file, so it takes a while.
    disk.fill();
    let mut fed = 0;
    while instance.is_running() {
        assert!(fed < 1000, "{fed} records of 320 KB went into a full disk");
        trial.feed(&large(fed));
        trial.feed(&events.take(10));
        fed += PIECE;
        // A flush writes the newest state of the one memory and frees a whole log file.
        disk.fill();
        trial.wait_until_done_or_ended(&mut instance);
    }
    instance.finish().assert_failed(1, ADVICE);
    // And full at a restart: what RocksDB had put by is free again, so it takes filling.
    disk.fill();
    trial.start_on_disk(&disk, &arguments).finish().assert_failed(1, ADVICE);

    disk.free();
    let mut instance = trial.start_on_disk(&disk, &arguments);
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    instance.stop();
}
