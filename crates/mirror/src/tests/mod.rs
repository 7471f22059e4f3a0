//! The mirror between a log and a sink in memory: every record once, whatever fails. `tests/mirror`
//! of the root package holds the same on a real PostgreSQL.

mod memory;

use std::time::Duration;

use crate::ports::{LogError, Stop};
use crate::{Mirror, MirrorSettings};
use memory::{Change, Log, Reader, Table, checksum};
use testkit::wait_until;

fn start(reader: Box<Reader>, table: &Table) -> Mirror {
    start_with(reader, table, testkit::LIMIT)
}

/// A mirror that compares the checkpoints with its positions at this interval.
fn start_with(reader: Box<Reader>, table: &Table, check_interval: Duration) -> Mirror {
    let settings = MirrorSettings {
        check_interval,
        batch_bytes: 64,
        largest_batch_bytes: 256,
        linger: Duration::from_millis(1),
        first_backoff: Duration::from_millis(1),
        longest_backoff: Duration::from_millis(4),
        // As long as any wait of a test, so that a stop on a busy machine does not cut a write
        // short.
        grace: testkit::LIMIT,
    };
    let stop = Stop::default();
    Mirror::start(reader, table.sink(&stop), stop, settings).unwrap()
}

/// Waits until every record of the log has one row, and compares the rows and the checkpoints with
/// the log.
fn wait_for_log(log: &Log, table: &Table) {
    let expected = log.rows();
    wait_until("the rows", || table.state().rows.len() >= expected.len());
    assert_eq!(table.rows(), expected);
    for (number, checkpoint) in &table.state().checkpoints {
        let rows: Vec<_> = expected.iter().filter(|(of, _, _)| of == number).cloned().collect();
        assert_eq!(checkpoint.checksum, checksum(&rows), "partition {number}");
        assert_eq!(rows.last().map_or(0, |(_, offset, _)| offset + 1), checkpoint.next, "partition {number}");
    }
}

#[test]
fn each_record_has_one_row_and_the_next_mirror_continues_at_the_checkpoint() {
    let log = Log::default();
    let table = Table::default();
    log.append(&[0, 1], 200);
    let mirror = start(log.reader(&[0, 1]), &table);
    wait_for_log(&log, &table);
    wait_until("the lag to be none", || mirror.status().figures().lag == Some(0));
    let figures = mirror.status().figures();
    assert!(figures.rows == 400 && figures.partitions == 2 && figures.joined && figures.failures == 0, "{figures:?}");
    assert_eq!(log.state().committed, [(0, 200), (1, 200)].into());
    mirror.stop();
    log.append(&[0, 1], 31);
    log.state().started.clear();
    let mirror = start(log.reader(&[0, 1]), &table);
    wait_for_log(&log, &table);
    wait_until("the figures", || mirror.status().figures().rows == 62);
    mirror.stop();
    assert_eq!(log.state().started, [(0, 200), (1, 200)]);
}

#[test]
fn a_sink_that_is_down_is_called_until_it_answers() {
    let log = Log::default();
    let table = Table::default();
    log.append(&[0], 50);
    let mirror = start(log.reader(&[0]), &table);
    wait_for_log(&log, &table);
    table.state().is_down = true;
    log.append(&[0], 50);
    wait_until("failures", || mirror.status().figures().failures >= 3);
    assert!(mirror.status().figures().down);
    assert_ne!(mirror.status().figures().lag, Some(0));
    table.state().is_down = false;
    wait_for_log(&log, &table);
    wait_until("the sink to be up", || !mirror.status().figures().down);
    mirror.stop();
}

#[test]
fn a_write_whose_answer_was_lost_is_kept_once() {
    let log = Log::default();
    let table = Table::default();
    table.state().answers_to_lose = 3;
    log.append(&[0, 1], 100);
    let mirror = start(log.reader(&[0, 1]), &table);
    wait_for_log(&log, &table);
    wait_until("the figures", || mirror.status().figures().rows == 200);
    assert_eq!(table.state().answers_to_lose, 0);
    mirror.stop();
}

#[test]
fn a_newer_claim_refuses_this_writer_until_that_claim_stands_still() {
    let log = Log::default();
    let table = Table::default();
    log.append(&[0], 10);
    let mirror = start(log.reader(&[0]), &table);
    wait_for_log(&log, &table);
    // Another writer claims the partition and writes nothing.
    let mut epoch = 0;
    if let Some(checkpoint) = table.state().checkpoints.get_mut(&0) {
        checkpoint.epoch += 1;
        epoch = checkpoint.epoch;
    }
    log.append(&[0], 10);
    wait_for_log(&log, &table);
    assert!(table.state().checkpoints[&0].epoch > epoch, "this mirror has claimed the partition again");
    wait_until("the figures", || mirror.status().figures().refused == 1);
    mirror.stop();
}

#[test]
fn two_mirrors_of_the_same_partition_write_each_record_once() {
    let log = Log::default();
    let table = Table::default();
    let mirrors = [start(log.reader(&[0]), &table), start(log.reader(&[0]), &table)];
    for _ in 0..20 {
        log.append(&[0], 20);
    }
    wait_for_log(&log, &table);
    mirrors.into_iter().for_each(Mirror::stop);
    assert_eq!(table.rows(), log.rows());
}

#[test]
fn commits_that_the_sink_has_lost_are_written_again() {
    let log = Log::default();
    let table = Table::default();
    log.append(&[0], 10);
    let mirror = start(log.reader(&[0]), &table);
    wait_for_log(&log, &table);
    let checkpoints = table.state().checkpoints.clone();
    let rows = table.rows();
    log.append(&[0], 10);
    wait_for_log(&log, &table);
    {
        let mut state = table.state();
        (state.rows, state.checkpoints) = (rows, checkpoints);
    }
    log.append(&[0], 1);
    wait_for_log(&log, &table);
    mirror.stop();
}

#[test]
fn lost_commits_are_written_again_where_no_further_record_comes() {
    let log = Log::default();
    let table = Table::default();
    log.append(&[0, 1, 2], 10);
    let mirror = start_with(log.reader(&[0, 1, 2]), &table, Duration::from_millis(1));
    wait_for_log(&log, &table);
    let (rows, checkpoints) = (table.rows(), table.state().checkpoints.clone());
    log.append(&[0, 1], 10);
    wait_for_log(&log, &table);
    {
        // Of partition 2 everything is lost, its checkpoint too.
        let mut state = table.state();
        (state.rows, state.checkpoints) = (rows, checkpoints);
        state.rows.retain(|(partition, _, _)| *partition != 2);
        state.checkpoints.remove(&2);
    }
    wait_for_log(&log, &table);
    assert_eq!(mirror.status().figures().refused, 0, "no batch was refused");
    mirror.stop();
}

#[test]
fn a_newer_claim_is_noticed_where_no_further_record_comes() {
    let log = Log::default();
    let table = Table::default();
    log.append(&[0], 10);
    let mirror = start_with(log.reader(&[0]), &table, Duration::from_millis(1));
    wait_for_log(&log, &table);
    let epoch = {
        let mut state = table.state();
        let checkpoint = state.checkpoints.get_mut(&0).unwrap();
        checkpoint.epoch += 1;
        checkpoint.epoch
    };
    wait_until("this mirror to claim the partition again", || table.state().checkpoints[&0].epoch > epoch);
    mirror.stop();
    assert_eq!(table.rows(), log.rows());
}

#[test]
fn a_record_that_cannot_be_decoded_yet_holds_up_its_own_partition_alone() {
    let log = Log::default();
    let table = Table::default();
    table.state().unreadable = Some("0/5".to_owned());
    log.append(&[0, 1], 10);
    let mirror = start(log.reader(&[0, 1]), &table);
    wait_until("the other rows", || table.state().rows.len() == 15);
    wait_until("the partition to be paused", || mirror.status().figures().resting == 1);
    assert_eq!(table.state().checkpoints[&0].next, 5);
    table.state().unreadable = None;
    wait_for_log(&log, &table);
    wait_until("no partition to be paused", || mirror.status().figures().resting == 0);
    mirror.stop();
}

#[test]
fn a_revoked_partition_is_left_and_an_assigned_one_is_read() {
    let log = Log::default();
    let table = Table::default();
    log.append(&[0, 1], 10);
    let reader = log.reader(&[0]);
    let group = reader.changes.clone();
    let mirror = start(reader, &table);
    wait_until("the rows of one partition", || table.state().rows.len() == 10);
    group.lock().unwrap().extend([Change::Revoked(vec![0]), Change::Assigned(vec![1])]);
    wait_for_log(&log, &table);
    log.append(&[0, 1], 1);
    wait_until("the row of the other partition", || table.state().rows.len() == 21);
    wait_until("the figures", || mirror.status().figures().partitions == 1);
    mirror.stop();
    assert_eq!(table.state().checkpoints[&0].next, 10, "the partition was revoked");
}

#[test]
fn a_log_that_begins_later_is_read_from_its_first_record() {
    let log = Log::default();
    let table = Table::default();
    log.append(&[0], 10);
    log.state().begin.insert(0, 7);
    let mirror = start(log.reader(&[0]), &table);
    wait_until("the rows", || table.state().rows.len() == 3);
    mirror.stop();
    assert_eq!(table.rows(), log.rows());
    assert_eq!(table.state().checkpoints[&0].next, 10);
}

#[test]
fn a_broker_that_refuses_the_principal_is_reported_and_polled_again() {
    let log = Log::default();
    let table = Table::default();
    log.append(&[0], 1);
    log.state().fault = Some(LogError::Refused("not authorized".to_owned()));
    let mirror = start(log.reader(&[0]), &table);
    wait_until("the refusal", || mirror.status().refusal() == Some("not authorized"));
    log.state().fault = None;
    wait_for_log(&log, &table);
    mirror.stop();
}

#[test]
fn maintenance_that_fails_is_tried_again_and_holds_up_no_record() {
    let log = Log::default();
    let table = Table::default();
    table.state().maintenance_fails = true;
    let mirror = start(log.reader(&[0]), &table);
    wait_until("a second try", || table.state().maintenance_runs >= 2);
    log.append(&[0], 10);
    wait_for_log(&log, &table);
    assert_eq!(mirror.status().figures().failures, 0, "these count calls for records");
    mirror.stop();
}

#[test]
fn a_stop_writes_what_was_read() {
    let log = Log::default();
    let table = Table::default();
    let stop = Stop::default();
    let settings = MirrorSettings { linger: testkit::LIMIT, grace: testkit::LIMIT, ..MirrorSettings::default() };
    log.append(&[0], 10);
    let mirror = Mirror::start(log.reader(&[0]), table.sink(&stop), stop, settings).unwrap();
    wait_until("the records to be read", || log.state().handed == 10);
    assert_eq!(table.rows(), [], "the batch waits for more records");
    mirror.stop();
    assert_eq!(table.rows(), log.rows());
}
