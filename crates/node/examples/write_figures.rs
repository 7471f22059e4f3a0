//! Measures writes on a node: `write_figures writes|updates|apply COUNT CALLERS`.
//!
//! `writes` creates memories, `updates` writes 100 memories again and again, and `apply` applies
//! memories as the stream publishes them. So many callers write at the same time, each the next
//! write once the last one is answered; `apply` has one. Printed are the operations per second of
//! time and of processor, and how often threads of the process have waited for another one, for
//! each operation.

#![allow(clippy::print_stdout, reason = "the figures are its output")]

use std::error::Error;
use std::time::Instant;

use futures::executor::block_on;
use helixstream_node::ports::SnapshotRecord;
use helixstream_node::write::{Fields, MemoryWrite, Refusal, WriteError, WriteKind};
use helixstream_node::{Node, NodeSettings};

/// Memories of one transaction of `apply`.
const BATCH: usize = 500;
/// Memories of `updates`.
const UPDATED: usize = 100;

fn record(number: usize) -> Result<SnapshotRecord, Box<dyn Error>> {
    let memory_id = format!("m{number:08}");
    let value = format!(
        "{{\"content\":\"likes tea of the kind {number}\",\"created_at\":\"2026-01-01T00:00:00Z\",\"event_ids\":[\"e{number}\"],\
        \"memory_id\":\"{memory_id}\",\"status\":\"active\",\"updated_at\":\"2026-01-01T00:00:00Z\",\
        \"user_id\":\"u{}\",\"vector_clock\":{{\"a\":{}}},\"version\":1}}",
        number % 100,
        number + 1,
    );
    Ok(SnapshotRecord { offset: i64::try_from(number)?, memory_id, value: value.into_bytes() })
}

fn write(kind: WriteKind, number: usize) -> Result<MemoryWrite, Refusal> {
    let memory_id = if kind == WriteKind::Create { format!("w{number}") } else { format!("w{}", number % UPDATED) };
    let user = number % 100;
    let fields = format!("{{\"content\":\"likes tea of the kind {number}\",\"user_id\":\"u{user}\"}}");
    Ok(MemoryWrite::new(memory_id, kind, Fields::from_json(fields.as_bytes())?))
}

/// Writes so many, by so many callers.
fn write_all(node: &Node, kind: WriteKind, count: usize, callers: usize) {
    std::thread::scope(|scope| {
        for caller in 0..callers {
            scope.spawn(move || {
                for number in (caller..count).step_by(callers) {
                    let written = write(kind, number).map_err(WriteError::from);
                    if let Err(error) = written.and_then(|write| block_on(node.write(write))) {
                        println!("a write failed: {error}");
                    }
                }
            });
        }
    });
}

fn apply_all(node: &Node, count: usize) -> Result<(), Box<dyn Error>> {
    for first in (0..count).step_by(BATCH) {
        let last = count.min(first + BATCH);
        let records: Vec<_> = (first..last).map(record).collect::<Result<_, _>>()?;
        node.journal().apply("snapshots", 0, &records, i64::try_from(last)?)?;
    }
    Ok(())
}

/// How often the threads of this process have waited, and its time of processor in seconds.
fn usage() -> Result<(f64, f64), Box<dyn Error>> {
    let mut waits = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        // A caller's thread may end meanwhile.
        let Ok(status) = std::fs::read_to_string(task?.path().join("status")) else { continue };
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        waits += line.ok_or("/proc has no context switches")?.trim().parse::<u32>()?;
    }
    let schedule = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = schedule.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: Vec<f64> =
        fields.get(11..13).ok_or("/proc has no times")?.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    // A tick is 10 ms on every Linux.
    Ok((f64::from(waits), ticks.iter().sum::<f64>() / 100.0))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage_text = "usage: write_figures writes|updates|apply COUNT CALLERS";
    let [operation, count, callers] = &arguments[..] else { return Err(usage_text.into()) };
    let (count, callers) = (count.parse::<usize>()?, callers.parse::<usize>()?);
    let folder = tempfile::tempdir()?;
    let node = Node::open(NodeSettings::new(folder.path(), "figures".parse()?))?;
    if operation == "updates" {
        write_all(&node, WriteKind::Create, UPDATED, 1);
    }
    let (begun, (waits, processor)) = (Instant::now(), usage()?);
    match operation.as_str() {
        "writes" => write_all(&node, WriteKind::Create, count, callers),
        "updates" => write_all(&node, WriteKind::Update, count, callers),
        "apply" => apply_all(&node, count)?,
        _ => return Err(usage_text.into()),
    }
    let (elapsed, (waits_after, processor_after)) = (begun.elapsed().as_secs_f64(), usage()?);
    let operations = f64::from(u32::try_from(count)?);
    println!(
        "{operation}: {:.0} a second, {:.0} a second of processor, {:.1} waits each (the writer's threads alone)",
        operations / elapsed,
        operations / (processor_after - processor),
        (waits_after - waits) / operations,
    );
    Ok(())
}
