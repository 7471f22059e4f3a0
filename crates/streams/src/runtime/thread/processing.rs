//! A batch of records, passed through the tasks of a stream thread.

use std::time::Duration;

use super::commit::commit;
use super::interruption::{Interruption, Place, as_abort, of_task};
use super::parts::Parts;
use super::record_collector::TransactionalRecordCollector;
use crate::error::Error;
use crate::record::RecordBatch;
use crate::task::{Processed, offset_of};

/// Deliveries and memory are looked at each time that so many records or bytes were processed.
const SERVE_RECORDS: u64 = 64;
const SERVE_BYTES: usize = 256 << 10;
/// The time is looked at each time that so many records were processed.
const LOOK_RECORDS: u64 = 16;

/// Passes the records of a batch through their tasks, and the tasks on to the ends that it reached.
/// Commits in between where uncommitted state takes too much memory, and where the commit interval
/// is over: a batch of slow records would outlast its transaction, and so come to nothing each time
/// that it is processed again.
///
/// # Errors
/// The transaction cannot go on.
pub(super) fn process_batch(parts: &mut Parts, batch: &RecordBatch) -> Result<(), Interruption> {
    let processed = process_records(parts, batch).map_err(|interruption| match interruption {
        Interruption::Failed(error) => Interruption::Failed(as_abort(error)),
        waits => waits,
    });
    processed?;
    advance_to_ends(parts, batch);
    Ok(())
}

fn process_records(parts: &mut Parts, batch: &RecordBatch) -> Result<(), Interruption> {
    let mut at = 0;
    let mut bytes = 0;
    let mut count = 0_u64;
    let mut unserved = 0;
    for record in batch.iter() {
        let offset = offset_of(&record)?;
        let Some(assigned) = parts.tasks.find_by_origin_mut(&record.origin, &mut at) else { continue };
        let Some(running) = assigned.receiving() else { continue };
        if !parts.producer.is_in_transaction() {
            parts.producer.begin_transaction()?;
        }
        match running.task.process(&record, &mut TransactionalRecordCollector::new(&mut parts.producer)) {
            Ok(Processed::Yes) => assigned.passed(Place::Record(offset)),
            Ok(Processed::NotBegun { what }) => {
                assigned.came_to_waiting_record(offset, what);
                continue;
            }
            Err(Error::Retry(what)) => {
                return Err(Interruption::Waits { task: assigned.id(), place: Place::Record(offset), what });
            }
            Err(error) => return Err(of_task(assigned.id(), error).into()),
        }
        let size = record.record.byte_len();
        (bytes, unserved, count) = (bytes + size, unserved + size, count + 1);
        if count.is_multiple_of(SERVE_RECORDS) || unserved > SERVE_BYTES {
            unserved = 0;
            parts.producer.serve(Duration::ZERO)?;
            let uncommitted = parts.producer.in_flight_bytes() + parts.tasks.uncommitted_bytes();
            if uncommitted > parts.instance.uncommitted_bytes() {
                commit(parts)?;
            }
        }
        if count.is_multiple_of(LOOK_RECORDS) && is_commit_overdue(parts) {
            commit(parts)?;
        }
    }
    parts.metrics().processed(count, bytes as u64);
    parts.producer.serve(Duration::ZERO)?;
    Ok(())
}

fn is_commit_overdue(parts: &Parts) -> bool {
    parts.instance.now() > parts.timers.next_commit(parts.instance.config.commit_interval)
}

/// All records of the batch are processed, so that nothing is buffered below the ends that it
/// reached.
fn advance_to_ends(parts: &mut Parts, batch: &RecordBatch) {
    for end in batch.ends() {
        let Some(assigned) = parts.tasks.find_by_source_mut(&end.partition) else { continue };
        if assigned.fetched().is_none() {
            continue;
        }
        assigned.reached_end(end.offset);
        let high = parts.consumer.end_offset(&end.partition);
        assigned.report(&parts.instance.metrics(), parts.thread, high);
    }
}
