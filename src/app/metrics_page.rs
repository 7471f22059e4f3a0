//! Content of `/ready` and `/metrics`: the engine's and the mirror's plain figures, under
//! Prometheus' names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Family, InstanceStatus, MetricKind, Sample, Value};
use mirror::{Figures, MirrorStatus};
use streams::record::TaskId;
use streams::runtime::{COMMIT_BUCKETS_MS, Incidents, Metrics, TaskStatus, ThreadSnapshot};
use streams::task::state::TaskState;

/// The figures of an instance, as `/metrics` and `/ready` show them.
pub struct MetricsPage {
    metrics: Arc<Metrics>,
    /// By its topics; that of the events first.
    mirrors: Vec<(String, Arc<MirrorStatus>)>,
    /// Records a second, bits of a double, as last measured.
    rate: AtomicU64,
}

/// Sums over the threads.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Records processed.
    pub records: u64,
    bytes: u64,
    commits: u64,
    aborts: u64,
    producers_lost: u64,
    commit_micros: u64,
    buckets: [u64; COMMIT_BUCKETS_MS.len() + 1],
}

impl Totals {
    fn add(mut self, t: &ThreadSnapshot) -> Totals {
        self.records += t.records;
        self.bytes += t.bytes;
        self.commits += t.commits;
        self.aborts += t.aborts;
        self.producers_lost += t.producers_lost;
        self.commit_micros += t.commit_micros;
        self.buckets.iter_mut().zip(t.buckets).for_each(|(sum, n)| *sum += n);
        self
    }
}

impl MetricsPage {
    /// Of an instance, and its mirrors, that of the events first.
    pub fn new(metrics: Arc<Metrics>, mirrors: Vec<(String, Arc<MirrorStatus>)>) -> MetricsPage {
        MetricsPage { metrics, mirrors, rate: AtomicU64::new(0) }
    }

    /// Sums over the threads.
    pub fn totals(&self) -> Totals {
        self.metrics.threads().values().fold(Totals::default(), |sum, thread| sum.add(&thread.snapshot()))
    }

    /// The engine's figures.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The figures of the events' mirror.
    pub fn mirror(&self) -> Option<Figures> {
        self.mirrors.first().map(|(_, status)| status.figures())
    }

    /// Records a second.
    pub fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::Relaxed))
    }

    /// Keeps what was measured.
    pub fn set_rate(&self, rate: f64) {
        self.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// A processor's counter, all its labels together.
    pub fn counted(&self, name: &str) -> u64 {
        self.metrics.counters().iter().filter(|((n, _), _)| *n == name).map(|(_, by)| by).sum()
    }
}

impl InstanceStatus for MetricsPage {
    fn waiting(&self) -> Vec<String> {
        let threads = self.metrics.threads().into_iter().map(|(number, thread)| (number, thread.snapshot()));
        let threads: Vec<(usize, ThreadSnapshot)> = threads.filter(|(_, thread)| !thread.has_ended).collect();
        let mut waiting: Vec<String> = threads
            .iter()
            .filter(|(_, thread)| !thread.joined)
            .map(|(at, _)| format!("stream thread {at}: waits for its first assignment"))
            .collect();
        let out = threads.iter().filter(|(_, thread)| thread.is_out);
        waiting.extend(out.map(|(at, _)| format!("stream thread {at}: is not a member of its group just now")));
        waiting.extend(self.metrics.troubles());
        for (id, task) in self.metrics.tasks() {
            // Why a task is stopped is a trouble.
            if task.state != TaskState::Running && task.stopped.is_none() {
                let (done, of) = task.restored;
                waiting.push(format!(
                    "task {id} ({}): {}, {done} of {of} changelog records restored",
                    task.source, task.state
                ));
            }
        }
        waiting
    }

    fn notes(&self) -> Vec<String> {
        self.metrics.pauses()
    }

    fn metrics(&self) -> Vec<Family> {
        let tasks = self.metrics.tasks();
        let mut families = throughput(&self.totals(), self.rate());
        let threads = self.metrics.threads();
        let alive = threads.values().filter(|thread| !thread.snapshot().has_ended).count();
        families.push(Family::one("stream_threads", "Stream threads", MetricKind::Gauge, Value::Level(alive as f64)));
        families.extend(of_tasks(tasks.values()));
        families.push(of_stopped_tasks(&tasks));
        families.push(Family::one(
            "restored_records",
            "Changelog records restored since the start",
            MetricKind::Counter,
            Value::Count(self.metrics.restored_records()),
        ));
        families.push(Family::one(
            "memory_store_bytes",
            "Bytes that stores in memory use",
            MetricKind::Gauge,
            Value::Level(self.metrics.memory_store_bytes() as f64),
        ));
        families.extend(of_standbys(&self.metrics));
        families.extend(of_incidents(self.metrics.incidents()));
        families.extend(counters(&self.metrics.counters()));
        let mirrors: Vec<(&str, Figures)> =
            self.mirrors.iter().map(|(topic, status)| (topic.as_str(), status.figures())).collect();
        families.extend(of_mirrors(&mirrors));
        families
    }
}

fn throughput(t: &Totals, rate: f64) -> Vec<Family> {
    let bounds = COMMIT_BUCKETS_MS.iter().map(|ms| *ms as f64 / 1000.0).chain([f64::MAX]);
    let commits = Value::Histogram { sum: t.commit_micros as f64 / 1e6, buckets: bounds.zip(t.buckets).collect() };
    let count = |name, help, n| Family::one(name, help, MetricKind::Counter, Value::Count(n));
    vec![
        count("records", "Records processed; those of an aborted transaction count again", t.records),
        count("bytes", "Bytes of keys and values processed", t.bytes),
        Family::one(
            "records_per_second",
            "Records processed per second, as last measured",
            MetricKind::Gauge,
            Value::Level(rate),
        ),
        count("commits", "Transactions committed", t.commits),
        count("aborts", "Transactions aborted", t.aborts),
        count("producers_lost", "Producers that failed and were replaced by new ones", t.producers_lost),
        Family::one("commit_seconds", "Duration of a commit", MetricKind::Histogram, commits),
    ]
}

fn of_tasks<'t>(tasks: impl Iterator<Item = &'t TaskStatus>) -> Vec<Family> {
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    let mut lags = Vec::new();
    let (mut left, mut paused, mut stopped) = (0, 0, 0);
    for task in tasks {
        stopped += u64::from(task.stopped.is_some());
        paused += u64::from(task.is_paused);
        *states.entry(task.state.to_string()).or_default() += 1;
        left += task.restored.1.saturating_sub(task.restored.0);
        let labels = vec![
            ("topic".to_owned(), task.source.topic.to_string()),
            ("partition".to_owned(), task.source.partition.to_string()),
        ];
        lags.push(Sample { labels, value: Value::Level(task.lag as f64) });
    }
    let states = states.into_iter().map(|(state, n)| (state, Value::Level(n as f64)));
    let level = |name, help, n: u64| Family::one(name, help, MetricKind::Gauge, Value::Level(n as f64));
    vec![
        Family {
            name: "lag",
            help: "Records that a task is behind the end of its partition, by partition",
            kind: MetricKind::Gauge,
            samples: lags,
        },
        Family::by("tasks", "Tasks assigned, by state", MetricKind::Gauge, "state", states),
        level("paused_tasks", "Tasks assigned that are paused", paused),
        level(
            "stopped_tasks",
            "Tasks assigned that are stopped while the others go on, also while they are tried again",
            stopped,
        ),
        level("restore_records_left", "Changelog offsets still to be restored for the tasks assigned", left),
    ]
}

/// One sample for each task that is stopped, with the code of the reason.
fn of_stopped_tasks(tasks: &BTreeMap<TaskId, TaskStatus>) -> Family {
    let sample = |(id, task): (&TaskId, &TaskStatus)| {
        let code = task.stopped.as_ref()?.reason.code.to_owned();
        let labels = vec![("task".to_owned(), id.to_string()), ("code".to_owned(), code)];
        Some(Sample { labels, value: Value::Level(1.0) })
    };
    Family {
        name: "task_stopped",
        help: "1 for each task that is stopped while the others go on, with the code of the reason",
        kind: MetricKind::Gauge,
        samples: tasks.iter().filter_map(sample).collect(),
    }
}

/// Those of a topology without standbys are shown as well, at 0.
fn of_standbys(metrics: &Metrics) -> Vec<Family> {
    let standbys = metrics.standbys();
    let lags = standbys.iter().map(|(task, status)| (task.to_string(), Value::Level(status.lag as f64)));
    let count = standbys.len() as f64;
    let records = metrics.standby_records();
    vec![
        Family::one("standby_tasks", "Standby tasks of this instance", MetricKind::Gauge, Value::Level(count)),
        Family::by(
            "standby_lag",
            "Changelog offsets that a standby task is behind, by task",
            MetricKind::Gauge,
            "task",
            lags,
        ),
        Family::one(
            "standby_records",
            "Changelog records read by standby tasks",
            MetricKind::Counter,
            Value::Count(records),
        ),
    ]
}

fn of_incidents(incidents: Incidents) -> Vec<Family> {
    let count = |name, help, n| Family::one(name, help, MetricKind::Counter, Value::Count(n));
    vec![
        count(
            "rebuilt_stores",
            "Local stores that could not be used and were rebuilt from their changelogs",
            incidents.rebuilt_stores,
        ),
        count(
            "lost_partitions",
            "Partitions that the consumer group took away without a revocation",
            incidents.lost_partitions,
        ),
        count("refused_batches", "Batches of records that a broker refused for their size", incidents.refused_batches),
        count(
            "hanging_transactions",
            "Hanging transactions reported, by task and offset",
            incidents.hanging_transactions,
        ),
    ]
}

/// Counters of processors: label and help of those that are known. Each is shown from the start,
/// without samples.
const COUNTERS: [(&str, &str, &str); 11] = [
    ("dead_letters", "class", "Records that could not be processed, by class"),
    ("unknown_event_types", "", "Events of a type that changes no state"),
    ("stateless_events", "reason", "Events that change no memory, by reason"),
    ("resolved_memories", "status", "Resolved memories emitted, by status"),
    ("conflicts", "type", "Conflict records that announce a conflict, by type"),
    ("conflicts_superseded", "type", "Conflict records that end one, by type"),
    ("forgotten_memories", "", "Deleted memories that were forgotten"),
    ("sync_requests", "state", "Sync requests, counted on each partition, by state: asked, answered in full"),
    ("user_snapshots", "", "User snapshots emitted; each part of one counts"),
    ("unchanged_events", "", "Events that changed nothing"),
    ("left_out_records", "operator", "Records that an operator left out by its own rule, by operator"),
];

fn counters(all: &BTreeMap<(&'static str, String), u64>) -> Vec<Family> {
    let samples = |name: &str, label: &str| -> Vec<Sample> {
        let ours = all.iter().filter(|((n, _), _)| *n == name);
        let labels = |of: &str| if label.is_empty() { Vec::new() } else { vec![(label.to_owned(), of.to_owned())] };
        ours.map(|((_, of), n)| Sample { labels: labels(of), value: Value::Count(*n) }).collect()
    };
    let known = COUNTERS.iter().map(|(name, label, help)| {
        let mut samples = samples(name, label);
        if label.is_empty() && samples.is_empty() {
            samples.push(Sample { labels: Vec::new(), value: Value::Count(0) });
        }
        Family { name, help, kind: MetricKind::Counter, samples }
    });
    let mut families: Vec<Family> = known.collect();
    let mut others: Vec<&'static str> = all.keys().map(|(name, _)| *name).collect();
    others.retain(|name| !COUNTERS.iter().any(|(known, ..)| known == name));
    others.dedup();
    let help = "Counted by a processor, by label";
    families.extend(others.into_iter().map(|name| Family {
        name,
        help,
        kind: MetricKind::Counter,
        samples: samples(name, "label"),
    }));
    families
}

/// By topic; a lag that nobody knows is left out.
pub fn of_mirrors(mirrors: &[(&str, Figures)]) -> Vec<Family> {
    if mirrors.is_empty() {
        return Vec::new();
    }
    let by_topic = |name, help, kind, value: &dyn Fn(&Figures) -> Option<Value>| {
        let values = mirrors.iter().filter_map(|(topic, of)| Some(((*topic).to_owned(), value(of)?)));
        Family::by(name, help, kind, "topic", values)
    };
    let count =
        |name, help, n: fn(&Figures) -> u64| by_topic(name, help, MetricKind::Counter, &|f| Some(Value::Count(n(f))));
    let level = |name, help, n: fn(&Figures) -> Option<u64>| {
        by_topic(name, help, MetricKind::Gauge, &|f| n(f).map(|n| Value::Level(n as f64)))
    };
    vec![
        count("mirror_rows", "Records mirrored since the start, by topic", |f| f.rows),
        count("mirror_raw_rows", "Records that Postgres refused as decoded and keeps raw", |f| f.rejected),
        count("mirror_batches", "Transactions of the mirror committed", |f| f.batches),
        count("mirror_failures", "Failed calls of the mirror to Postgres", |f| f.failures),
        level("mirror_down", "1 while Postgres does not accept rows", |f| Some(u64::from(f.down))),
        level("mirror_partitions", "Partitions that this mirror writes", |f| Some(f.partitions)),
        level("mirror_resting_partitions", "Partitions whose next record waits for the schema registry", |f| {
            Some(f.resting)
        }),
        level("mirror_lag", "Records that are not mirrored yet", |f| f.lag),
    ]
}
