//! The outputs of a stream of records, each event's outputs computed from all events up to it
//! (docs/semantics.md, section 5).

pub use super::outputs::{DeadLetter, Emitted, Outputs, normalise_conflict};
use super::task::{Task, log_of};
pub use super::tracked::Tracked;
use super::{Record, Settings};

/// Feeds the records in the order given to one task: an event at its own memory first, then its
/// absorbs, sorted by id. Sync requests are not answered here: `sync` says what answers them.
pub fn run(records: &[Record], settings: &Settings) -> Outputs {
    let mut task = Task::new(settings);
    let mut outputs = Outputs::default();
    for record in records {
        match log_of(record, settings) {
            Ok(log) => log.iter().for_each(|record| outputs.append(task.process(record))),
            Err(bad) => outputs.dead_letters.push(DeadLetter::of(record, bad.class)),
        }
    }
    outputs
}
