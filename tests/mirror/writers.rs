//! Who may write: the newest claim alone, from where the checkpoint stands.

use crate::log::{Log, TOPIC, partition};
use crate::{event, events, sink, start, start_with, wait_for_log, wait_for_rows};
use mirror::MirrorSettings;
use mirror::ports::{Advance, LogBatch, LogRecord, LogSink, SinkCheckpoint, Stop, Written};
use rustix::process::Signal;
use testkit::postgres::query;
use testkit::process::Process;
use testkit::{Postgres, wait_for, wait_until};

fn batch<S: LogSink>(sink: &S, offsets: std::ops::Range<i64>) -> S::Batch {
    let mut batch = sink.batch();
    for offset in offsets {
        let record = event(0, &offset.to_string(), "x");
        let at = partition(0);
        let pushed = batch.push(&LogRecord {
            partition: &at,
            offset,
            timestamp_ms: record.timestamp_ms,
            key: None,
            headers: &[],
            value: record.value.as_deref(),
        });
        assert_eq!(pushed, Ok(()));
    }
    batch
}

fn advance(epoch: i64, from: i64, to: i64) -> [Advance; 1] {
    [Advance { partition: partition(0), epoch, from, to, rows: (to - from).unsigned_abs(), checksum: 0 }]
}

fn checkpoint(next_offset: i64, epoch: i64) -> SinkCheckpoint {
    SinkCheckpoint { partition: partition(0), next_offset, epoch }
}

#[test]
fn an_older_claim_is_refused_and_leaves_no_row() {
    let url = Postgres::shared().create_database();
    let (mut zombie, mut owner) = (sink(&url, &Stop::default()), sink(&url, &Stop::default()));
    assert_eq!(zombie.read(&[partition(0)]).unwrap(), []);
    assert_eq!(zombie.claim(&[partition(0)]).unwrap(), [checkpoint(0, 1)]);
    let late = batch(&zombie, 0..3);
    assert_eq!(owner.claim(&[partition(0)]).unwrap(), [checkpoint(0, 2)]);
    assert_eq!(zombie.write(&late, &advance(1, 0, 3)).unwrap(), Written::Refused(vec![checkpoint(0, 2)]));
    wait_for_rows(&url, 0);
    let two = batch(&owner, 0..2);
    assert_eq!(owner.write(&two, &advance(2, 0, 2)).unwrap(), Written::Kept { rejected: 0 });
    assert_eq!(zombie.write(&late, &advance(1, 0, 3)).unwrap(), Written::Refused(vec![checkpoint(2, 2)]));
    assert_eq!(owner.read(&[partition(0)]).unwrap(), [checkpoint(2, 2)]);
    wait_for_rows(&url, 2);
}

#[test]
fn a_batch_written_again_or_from_another_offset_changes_nothing() {
    let url = Postgres::shared().create_database();
    let mut sink = sink(&url, &Stop::default());
    sink.claim(&[partition(0)]).unwrap();
    let rows = batch(&sink, 0..2);
    assert_eq!(sink.write(&rows, &advance(1, 0, 2)).unwrap(), Written::Kept { rejected: 0 });
    // As after a connection that broke before the answer to the commit came.
    assert_eq!(sink.write(&rows, &advance(1, 0, 2)).unwrap(), Written::Kept { rejected: 0 });
    let gap = batch(&sink, 3..4);
    assert_eq!(sink.write(&gap, &advance(1, 3, 4)).unwrap(), Written::Refused(vec![checkpoint(2, 1)]));
    // Markers have no rows.
    assert_eq!(sink.write(&sink.batch(), &advance(1, 2, 9)).unwrap(), Written::Kept { rejected: 0 });
    assert_eq!(sink.read(&[partition(0)]).unwrap(), [checkpoint(9, 1)]);
    wait_for_rows(&url, 2);
}

#[test]
fn it_goes_on_from_its_own_checkpoint() {
    let (log, url) = (Log::new(2), Postgres::shared().create_database());
    log.append(events(100, 2));
    let mirror = start(log.reader([0, 1]), &url);
    wait_for_log(&url, &log);
    mirror.stop();
    log.append(events(31, 2));
    let reader = log.reader([0, 1]);
    let group = reader.group.clone();
    let mirror = start(reader, &url);
    wait_for_log(&url, &log);
    wait_until("the lag to be none", || mirror.status().figures().lag == Some(0));
    assert_eq!(mirror.status().figures().rows, 31);
    assert_eq!(mirror.status().figures().partitions, 2);
    mirror.stop();
    assert_eq!(group.started(), [(0, 50), (1, 50)]);
}

#[test]
fn partitions_that_move_between_mirrors_lose_and_double_nothing() {
    let (log, url) = (Log::new(4), Postgres::shared().create_database());
    let (one, other) = (log.reader([0, 1, 2, 3]), log.reader([]));
    let (first, second) = (one.group.clone(), other.group.clone());
    let mirrors = [start(one, &url), start(other, &url)];
    for round in 0..20 {
        log.append(events(200, 4));
        // Given before it is taken: for a while both believe to own it.
        let moving = round % 4;
        let (from, to) = if (round / 4) % 2 == 0 { (&first, &second) } else { (&second, &first) };
        to.give([moving]);
        from.take([moving]);
    }
    wait_for_log(&url, &log);
    mirrors.into_iter().for_each(|mirror| mirror.stop());
}

#[test]
fn two_mirrors_of_the_same_partitions_write_each_record_once() {
    let (log, url) = (Log::new(3), Postgres::shared().create_database());
    let mirrors = [start(log.reader(0..3), &url), start(log.reader(0..3), &url)];
    for _ in 0..30 {
        log.append(events(100, 3));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    wait_for_log(&url, &log);
    // The survivor takes over what the other had.
    let [gone, left] = mirrors;
    gone.stop();
    log.append(events(30, 3));
    wait_for_log(&url, &log);
    left.stop();
}

#[test]
fn mirrors_that_start_together_migrate_once() {
    let url = Postgres::shared().create_database();
    let claim = |url: &str| sink(url, &Stop::default()).claim(&[partition(0)]).unwrap()[0].epoch;
    let mut epochs: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| claim(&url))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6]);
    assert_eq!(query(&url, "select count(*) from _sqlx_migrations where version = 1"), [["1"]]);
}

#[test]
fn a_mirror_killed_again_and_again_writes_each_record_once() {
    let url = Postgres::shared().create_database();
    let count = |url: &str| {
        crate::try_query(url, "select count(*) from memory_events").map_or(0, |rows| rows[0][0].parse().unwrap())
    };
    for round in 1..=8 {
        let mut helper = std::process::Command::new(std::env::current_exe().unwrap());
        helper.args(["--ignored", "--exact", "writers::helper_that_mirrors_until_killed"]).env("MIRROR_TEST_URL", &url);
        helper.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut helper = Process::start(helper, Signal::KILL).unwrap();
        wait_for("some rows", || (count(&url) >= round * HELPER_RECORDS / 9).then_some(()));
        helper.kill();
    }
    let log = helper_log();
    let mirror = start(log.reader(0..4), &url);
    wait_for_log(&url, &log);
    mirror.stop();
}

const HELPER_RECORDS: usize = 20_000;

fn helper_log() -> Log {
    let log = Log::new(4);
    log.append(events(HELPER_RECORDS, 4));
    log
}

#[test]
#[ignore = "not a test: the process that the test above kills"]
fn helper_that_mirrors_until_killed() {
    let url = std::env::var("MIRROR_TEST_URL").expect("run by the test above");
    let settings = MirrorSettings { batch_bytes: 16 << 10, ..crate::settings() };
    let mirror = start_with(helper_log().reader(0..4), &url, settings);
    std::thread::park();
    mirror.stop();
}

#[test]
fn rows_that_are_there_without_a_checkpoint_are_not_doubled() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    log.append(events(50, 1));
    let mirror = start(log.reader([0]), &url);
    wait_for_log(&url, &log);
    mirror.stop();
    query(&url, "delete from memory_event_checkpoints");
    log.append(events(10, 1));
    let mirror = start(log.reader([0]), &url);
    wait_for_log(&url, &log);
    mirror.stop();
}

#[test]
fn commits_that_the_database_lost_are_written_again() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    log.append(events(50, 1));
    let mirror = start(log.reader([0]), &url);
    wait_for_log(&url, &log);
    // What a fail-over to a replica that lags looks like.
    let back = format!(
        "begin; update memory_event_checkpoints set next_offset = 20, row_count = 20 where kafka_topic = '{TOPIC}';
        delete from memory_events where kafka_offset >= 20; commit"
    );
    query(&url, &back);
    log.append(events(10, 1));
    wait_for_log(&url, &log);
    mirror.stop();
}

#[test]
fn records_that_the_log_dropped_first_are_stepped_over() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    log.append(events(50, 1));
    log.drop_before(0, 30);
    let mirror = start(log.reader([0]), &url);
    wait_for_rows(&url, 20);
    mirror.stop();
    assert_eq!(query(&url, "select next_offset, row_count from memory_event_checkpoints"), [["50", "20"]]);
}
