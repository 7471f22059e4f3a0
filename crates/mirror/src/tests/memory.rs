//! A log and a sink in memory, which break as the test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::digest::Digest;
use crate::ports::{
    Advance, LogBatch, LogError, LogReceiver, LogRecord, LogSink, LogSource, NotYet, SinkCheckpoint, SinkError, Stop,
    Written,
};
use streams::record::TopicPartition;

pub fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("events", number)
}

/// Partitions of values; clones share them.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<LogState>>);

#[derive(Default)]
pub struct LogState {
    /// The values of each partition.
    pub values: BTreeMap<i32, Vec<String>>,
    /// The first offset that a partition still has, where that is not 0.
    pub begin: BTreeMap<i32, i64>,
    /// From which offsets partitions were read, in order.
    pub started: Vec<(i32, i64)>,
    /// How many records were handed over, again ones too.
    pub handed: usize,
    /// The error of each poll, while it is there.
    pub fault: Option<LogError>,
    /// Offsets committed to the group, for display.
    pub committed: BTreeMap<i32, i64>,
}

pub enum Change {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

impl Log {
    pub fn state(&self) -> MutexGuard<'_, LogState> {
        self.0.lock().unwrap()
    }

    /// Appends `count` values to each of these partitions.
    pub fn append(&self, partitions: &[i32], count: usize) {
        let mut state = self.state();
        for number in partitions {
            let values = state.values.entry(*number).or_default();
            let first = values.len();
            values.extend((first..first + count).map(|n| format!("{number}/{n}")));
        }
    }

    /// A reader to which the group assigns these partitions at its first poll.
    pub fn reader(&self, partitions: &[i32]) -> Box<Reader> {
        let changes = Arc::new(Mutex::new(VecDeque::from([Change::Assigned(partitions.to_vec())])));
        Box::new(Reader { log: self.clone(), next: BTreeMap::new(), changes })
    }

    /// Every value from each partition's begin on.
    pub fn rows(&self) -> Vec<(i32, i64, String)> {
        let state = self.state();
        let mut rows = Vec::new();
        for (number, values) in &state.values {
            let begin = state.begin.get(number).copied().unwrap_or(0);
            let values = (0..).zip(values).filter(|(offset, _)| *offset >= begin);
            rows.extend(values.map(|(offset, value)| (*number, offset, value.clone())));
        }
        rows
    }
}

pub struct Reader {
    log: Log,
    next: BTreeMap<i32, i64>,
    /// What the group does at the next poll.
    pub changes: Arc<Mutex<VecDeque<Change>>>,
}

fn numbers(partitions: &[i32]) -> Vec<TopicPartition> {
    partitions.iter().map(|number| partition(*number)).collect()
}

/// Calls `then` with the value as a record of the log.
fn with_record<T>(at: &TopicPartition, offset: i64, value: &str, then: impl FnOnce(&LogRecord<'_>) -> T) -> T {
    let value = Some(value.as_bytes());
    then(&LogRecord { partition: at, offset, timestamp_ms: 1000 + offset, key: None, headers: &[], value })
}

/// The checksum of these rows, as a checkpoint keeps it.
pub fn checksum(rows: &[(i32, i64, String)]) -> u64 {
    let digests = rows.iter().map(|(number, offset, value)| {
        with_record(&partition(*number), *offset, value, |record| Digest::of(record).checksum())
    });
    digests.fold(0, u64::wrapping_add)
}

impl LogSource for Reader {
    fn poll(&mut self, wait: Duration, to: &mut dyn LogReceiver) -> Result<(), LogError> {
        let changes: Vec<Change> = self.changes.lock().unwrap().drain(..).collect();
        for change in changes {
            match change {
                Change::Assigned(partitions) => to.assigned(&numbers(&partitions)),
                Change::Revoked(partitions) => {
                    self.next.retain(|number, _| !partitions.contains(number));
                    to.revoked(&numbers(&partitions));
                }
            }
        }
        if let Some(fault) = self.log.state().fault.clone() {
            return Err(fault);
        }
        let mut is_idle = true;
        for (number, next) in &mut self.next {
            let at = partition(*number);
            while !to.is_full() {
                let value =
                    self.log.state().values.get(number).and_then(|v| v.get(usize::try_from(*next).ok()?)).cloned();
                let Some(value) = value else { break };
                with_record(&at, *next, &value, |record| to.record(record));
                self.log.state().handed += 1;
                (*next, is_idle) = (*next + 1, false);
            }
        }
        if is_idle {
            std::thread::sleep(wait.min(Duration::from_millis(1)));
        }
        Ok(())
    }

    fn start(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        let number = partition.partition;
        self.next.remove(&number);
        let mut state = self.log.state();
        let begin = state.begin.get(&number).copied().unwrap_or(0);
        let end = state.values.get(&number).map_or(0, |values| i64::try_from(values.len()).unwrap());
        if !(begin..=end).contains(&offset) {
            return Err(LogError::OutOfRange { partition: partition.clone(), offset, begin, end });
        }
        state.started.push((number, offset));
        self.next.insert(number, offset);
        Ok(())
    }

    fn stop(&mut self, partition: &TopicPartition) -> Result<(), LogError> {
        self.next.remove(&partition.partition);
        Ok(())
    }

    fn committed(&mut self, next: &[(TopicPartition, i64)]) {
        self.log.state().committed.extend(next.iter().map(|(partition, next)| (partition.partition, *next)));
    }

    fn ends(&mut self) -> Vec<(TopicPartition, i64)> {
        let state = self.log.state();
        let end = |number: &i32| state.values.get(number).map_or(0, |values| i64::try_from(values.len()).unwrap());
        self.next.keys().map(|number| (partition(*number), end(number))).collect()
    }
}

/// Rows and checkpoints; clones share them, as the sinks of several mirrors share a database.
#[derive(Clone, Default)]
pub struct Table(Arc<Mutex<TableState>>);

#[derive(Default)]
pub struct TableState {
    pub rows: Vec<(i32, i64, String)>,
    pub checkpoints: BTreeMap<i32, Checkpoint>,
    /// Every call fails while this is set.
    pub is_down: bool,
    /// So many writes are kept, and their answers lost.
    pub answers_to_lose: usize,
    /// Maintenance fails while this is set.
    pub maintenance_fails: bool,
    pub maintenance_runs: usize,
    /// A value that cannot be decoded for now.
    pub unreadable: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    pub next: i64,
    pub epoch: i64,
    pub checksum: u64,
}

impl Table {
    pub fn state(&self) -> MutexGuard<'_, TableState> {
        self.0.lock().unwrap()
    }

    /// The rows, sorted by partition and offset.
    pub fn rows(&self) -> Vec<(i32, i64, String)> {
        let mut rows = self.state().rows.clone();
        rows.sort();
        rows
    }

    pub fn sink(&self, stop: &Stop) -> Sink {
        Sink { table: self.clone(), stop: stop.clone() }
    }
}

pub struct Sink {
    table: Table,
    stop: Stop,
}

pub struct Batch {
    table: Table,
    rows: Vec<(i32, i64, String)>,
}

impl LogBatch for Batch {
    fn push(&mut self, record: &LogRecord<'_>) -> Result<(), NotYet> {
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        if self.table.state().unreadable.as_ref() == Some(&value) {
            return Err(NotYet("the registry is down".to_owned()));
        }
        self.rows.push((record.partition.partition, record.offset, value));
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.rows.iter().map(|(_, _, value)| value.len()).sum()
    }

    fn clear(&mut self) {
        self.rows.clear();
    }
}

impl Sink {
    fn reach(&self) -> Result<MutexGuard<'_, TableState>, SinkError> {
        if self.stop.is_set() {
            return Err(SinkError::Stopped);
        }
        let state = self.table.state();
        if state.is_down { Err(SinkError::Unavailable("the sink is down".to_owned())) } else { Ok(state) }
    }
}

fn found(number: i32, checkpoint: &Checkpoint) -> SinkCheckpoint {
    SinkCheckpoint { partition: partition(number), next_offset: checkpoint.next, epoch: checkpoint.epoch }
}

impl LogSink for Sink {
    type Batch = Batch;

    fn batch(&self) -> Batch {
        Batch { table: self.table.clone(), rows: Vec::new() }
    }

    fn begin(&mut self) -> Result<(), SinkError> {
        self.reach().map(|_| ())
    }

    fn claim(&mut self, partitions: &[TopicPartition]) -> Result<Vec<SinkCheckpoint>, SinkError> {
        let mut state = self.reach()?;
        let claims = partitions.iter().map(|partition| {
            let checkpoint = state.checkpoints.entry(partition.partition).or_default();
            checkpoint.epoch += 1;
            found(partition.partition, checkpoint)
        });
        Ok(claims.collect())
    }

    fn read(&mut self, partitions: &[TopicPartition]) -> Result<Vec<SinkCheckpoint>, SinkError> {
        let state = self.reach()?;
        let known = partitions.iter().filter_map(|partition| {
            let number = partition.partition;
            Some(found(number, state.checkpoints.get(&number)?))
        });
        Ok(known.collect())
    }

    fn write(&mut self, batch: &Batch, advances: &[Advance]) -> Result<Written, SinkError> {
        let mut state = self.reach()?;
        let at = |advance: &Advance| state.checkpoints.get(&advance.partition.partition).copied().unwrap_or_default();
        let is_at = |advance: &Advance, next: i64| at(advance).next == next && at(advance).epoch == advance.epoch;
        if advances.iter().all(|advance| is_at(advance, advance.to)) {
            return Ok(Written::Kept { rejected: 0 });
        }
        let others = advances.iter().filter(|advance| !is_at(advance, advance.from));
        let others: Vec<_> = others.map(|advance| found(advance.partition.partition, &at(advance))).collect();
        if !others.is_empty() {
            return Ok(Written::Refused(others));
        }
        for advance in advances {
            let checkpoint = state.checkpoints.entry(advance.partition.partition).or_default();
            checkpoint.next = advance.to;
            checkpoint.checksum = checkpoint.checksum.wrapping_add(advance.checksum);
        }
        state.rows.extend(batch.rows.iter().cloned());
        if state.answers_to_lose > 0 {
            state.answers_to_lose -= 1;
            return Err(SinkError::Unavailable("the connection broke during the commit".to_owned()));
        }
        Ok(Written::Kept { rejected: 0 })
    }

    fn run_maintenance(&mut self) -> Result<Duration, SinkError> {
        let mut state = self.reach()?;
        state.maintenance_runs += 1;
        if state.maintenance_fails {
            return Err(SinkError::Unavailable("a lock is held".to_owned()));
        }
        Ok(Duration::from_millis(1))
    }
}
