//! An instance is killed under load, and another one, which has a standby of each of its tasks,
//! takes them over: for how long nothing of a partition is committed.

use super::BenchSettings;
use super::generator::Generator;
use super::measure::Spent;
use super::metrics::Pages;
use super::stream::{EVENTS, Instance, Job, TASKS, TOPICS, is_done, plain};
use super::table::Row;
use anyhow::{Context as _, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::{Broker, process::temp_dir};

/// Events a second while the instance is killed.
const RATE: u64 = 600;
/// Time between two looks at what is committed.
const LOOK: Duration = Duration::from_millis(50);
/// Of a request for committed offsets and ends.
const REQUEST: Duration = Duration::from_secs(10);
/// Times that an instance is killed.
const ROUNDS: usize = 3;
/// The session timeout, which is the default: before it is over nobody knows of the kill.
const SESSION_S: f64 = 10.0;
/// Partitions of the events topic and of the repartition topic, each.
const PARTITIONS: i32 = TOPICS[0].1 as i32;

/// One line for each kill, with the longest silence of a partition beyond the session timeout.
pub fn measure(settings: &BenchSettings, broker: &Broker) -> Result<Vec<Row>> {
    let job = Job::ResolveWithStandby;
    let threads = settings.threads[0];
    let states = [temp_dir("state"), temp_dir("state")];
    let start = |state: &Path| Instance::start(settings, &plain(broker), state, threads, job);
    let first = start(&states[0])?;
    let group: BaseConsumer = broker.client().set("group.id", job.application(threads)).create()?;
    let repartition = job.repartitions(threads).remove(0);
    for topic in [EVENTS, &repartition] {
        first.until(LOOK, |_| is_done(broker, &group, topic))?;
    }
    let mut running = [Some(first), Some(start(&states[1])?)];
    let load = Load::start(settings, broker)?;
    let mut rows = Vec::new();
    for round in 0..ROUNDS {
        let [Some(one), Some(other)] = &running else { anyhow::bail!("two instances run") };
        one.until(LOOK, |pages| Ok(are_warm(&[pages, &other.pages])))?;
        // Each time the other one.
        let killed = round % 2;
        let restored =
            |instance: &Instance| Ok::<u64, anyhow::Error>(instance.pages.metrics()?.sum("restored_records_total"));
        let survivor = if killed == 0 { other } else { one };
        let before = restored(survivor)?;
        let mut watch = Progress::new(broker, job.application(threads), [EVENTS, &repartition])?;
        watch.look_for(Duration::from_secs(3))?;
        let bytes = folder_bytes(&states[killed])?;
        if let Some(instance) = running[killed].take() {
            instance.kill();
        }
        let killed_at = Instant::now();
        let silences = watch.look_until_all_went_on(killed_at)?;
        let ([Some(survivor), None] | [None, Some(survivor)]) = &running else { anyhow::bail!("one instance runs") };
        let longest = silences.last().copied().unwrap_or_default().as_secs_f64();
        let spent = Spent { wall_s: longest, cpu_s: 0.0 };
        rows.push(
            Row::new("helixstream takeover after kill -9", restored(survivor)? - before, spent)
                .note(format!("{:.2} s of silence beyond the session timeout", (longest - SESSION_S).max(0.0)))
                .note(format!("{} MiB of state", bytes >> 20)),
        );
        running[killed] = Some(start(&states[killed])?);
    }
    load.stop()?;
    running.into_iter().flatten().try_for_each(Instance::stop)?;
    states.iter().try_for_each(std::fs::remove_dir_all)?;
    Ok(rows)
}

/// Whether both have tasks, all tasks run, and each task with a store has a standby that is at its
/// end.
fn are_warm(both: &[&Pages; 2]) -> bool {
    let mut figures = both.iter().map(|pages| pages.metrics());
    let (Some(Ok(one)), Some(Ok(other))) = (figures.next(), figures.next()) else { return false };
    let running = [one.running_tasks(), other.running_tasks()];
    let standbys = one.sum("standby_tasks") + other.sum("standby_tasks");
    running.iter().all(|count| *count > 0)
        && running.iter().sum::<u64>() == TASKS
        && standbys == PARTITIONS as u64
        && one.sum("standby_lag") + other.sum("standby_lag") < 500
}

/// The bytes of all files below a folder.
fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // A file may be gone since it was listed.
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { folder_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

/// Events that are published all the time.
struct Load {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl Load {
    fn start(settings: &BenchSettings, broker: &Broker) -> Result<Load> {
        let producer: ThreadedProducer<DefaultProducerContext> =
            broker.client().set("enable.idempotence", "true").set("linger.ms", "5").create()?;
        let (stop, generator) =
            (Arc::<AtomicBool>::default(), Generator::new(settings.seed + 1, settings.memories as usize));
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            for event in generator {
                if asked.load(Ordering::Relaxed) {
                    break;
                }
                let record = BaseRecord::to(EVENTS).key(&event.key).payload(&event.value).timestamp(event.timestamp_ms);
                producer.send(record).map_err(|(error, _)| error)?;
                std::thread::sleep(Duration::from_secs(1) / RATE as u32);
            }
            Ok(producer.flush(REQUEST)?)
        });
        Ok(Load { stop, thread })
    }

    fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
    }
}

/// When each partition was last seen to be committed further.
struct Progress {
    group: BaseConsumer,
    topics: Vec<String>,
    last: BTreeMap<(String, i32), (i64, Instant)>,
    /// The silences that ended, each with its begin.
    ended: Vec<((String, i32), Instant, Duration)>,
}

impl Progress {
    fn new(broker: &Broker, application: String, topics: [&str; 2]) -> Result<Progress> {
        // Offsets of an open transaction are not waited for.
        let group = broker.client().set("group.id", application).set("isolation.level", "read_uncommitted").create()?;
        let topics = topics.map(str::to_owned).to_vec();
        Ok(Progress { group, topics, last: BTreeMap::new(), ended: Vec::new() })
    }

    fn look(&mut self) -> Result<()> {
        let mut asked = TopicPartitionList::new();
        self.topics.iter().for_each(|topic| asked.add_partition_range(topic, 0, PARTITIONS - 1));
        let committed = self.group.committed_offsets(asked, REQUEST).context("read committed offsets")?;
        let now = Instant::now();
        for entry in committed.elements() {
            let Offset::Offset(offset) = entry.offset() else { continue };
            let place = (entry.topic().to_owned(), entry.partition());
            match self.last.get_mut(&place) {
                Some((before, since)) if *before != offset => {
                    self.ended.push((place, *since, now - *since));
                    (*before, *since) = (offset, now);
                }
                Some(_) => {}
                None => _ = self.last.insert(place, (offset, now)),
            }
        }
        Ok(())
    }

    fn look_for(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.look()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Looks until each partition was committed further after that moment; the longest silences
    /// that it fell into, or that began later, of each partition, in their order.
    fn look_until_all_went_on(&mut self, moment: Instant) -> Result<Vec<Duration>> {
        let limit = moment + Duration::from_secs(120);
        // What was under way when it happened may be committed just after it.
        let settled = moment + Duration::from_secs(1);
        loop {
            self.look()?;
            let went_on = self.last.values().filter(|(_, since)| *since > settled).count();
            if went_on == TASKS as usize && Instant::now() > moment + Duration::from_secs(SESSION_S as u64 + 5) {
                break;
            }
            ensure!(Instant::now() < limit, "only {went_on} partitions are committed 120 s after the kill");
            std::thread::sleep(LOOK);
        }
        let mut longest: BTreeMap<&(String, i32), Duration> = BTreeMap::new();
        for (place, since, time) in self.ended.iter().filter(|(_, since, time)| *since + *time > moment) {
            let known = longest.entry(place).or_default();
            *known = (*since + *time).saturating_duration_since((*since).max(moment)).max(*known);
        }
        let mut silences: Vec<Duration> = longest.into_values().collect();
        silences.sort_unstable();
        Ok(silences)
    }
}
