//! One trial: the memory topology with topics, an application id and a database of the test's own,
//! on the servers that all share.

use crate::instance::{Instance, Launch};
use crate::support::{Finished, Helix};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use testkit::process::temp_dir;
use testkit::{Broker, Connection, Postgres, Record, SmallDisk, postgres, records, repo_path, unique, wait_until};

/// Partitions of the events topic, and so of the internal ones.
pub const PARTITIONS: i32 = 12;
/// Tasks of the topology: each sub-topology has one for each partition.
pub const TASKS: usize = 3 * PARTITIONS as usize;
/// Those of them that keep a store.
pub const KEEPERS: usize = 2 * PARTITIONS as usize;
const TIMEOUT: Duration = Duration::from_secs(30);

/// The memory topology with topics of its own.
pub struct Trial {
    dir: PathBuf,
    name: String,
    settings: Vec<String>,
    /// Partitions of the events topic.
    partitions: i32,
    /// A broker of the trial's own; the shared one otherwise.
    own_broker: Option<Arc<Broker>>,
    /// How all commands connect; in plain text otherwise.
    connection: Option<Connection>,
}

impl Trial {
    /// With its topics made. `settings` are what `--set` gets in every run and replay, over
    /// `purge=false` and a short session.
    pub fn new(stem: &str, settings: &[&str]) -> Trial {
        Trial::on_topic(stem, settings, |_| {})
    }

    /// The same, on a broker of its own.
    pub fn on_broker(stem: &str, broker: Arc<Broker>) -> Trial {
        Trial::on_broker_with(stem, &[], broker)
    }

    /// The same, with settings.
    pub fn on_broker_with(stem: &str, settings: &[&str], broker: Arc<Broker>) -> Trial {
        Trial::make(stem, settings, Some(broker), |_| {})
    }

    /// The same, and every command of helixstream connects in this way.
    pub fn by_connection(stem: &str, broker: Arc<Broker>, connection: Connection) -> Trial {
        Trial::by_connection_of(&memory_toml(), stem, &[], broker, connection)
    }

    /// The same with another text of the topology file, and further settings.
    pub fn by_connection_of(
        text: &str,
        stem: &str,
        settings: &[&str],
        broker: Arc<Broker>,
        connection: Connection,
    ) -> Trial {
        Trial::of(text, stem, settings, Some(broker), Some(connection), |_| {})
    }

    /// The same, with an events topic that the test may make by itself.
    pub fn on_topic(stem: &str, settings: &[&str], make: impl FnOnce(&str)) -> Trial {
        Trial::make(stem, settings, None, make)
    }

    /// The same, with these keys besides its name for each store.
    pub fn with_stores(stem: &str, keys: &str) -> Trial {
        let text = memory_toml().replace("\n[[store]]\n", &format!("\n[[store]]\n{keys}\n"));
        Trial::of(&text, stem, &[], None, None, |_| {})
    }

    fn make(stem: &str, settings: &[&str], own_broker: Option<Arc<Broker>>, make: impl FnOnce(&str)) -> Trial {
        Trial::of(&memory_toml(), stem, settings, own_broker, None, make)
    }

    fn of(
        text: &str,
        stem: &str,
        settings: &[&str],
        own_broker: Option<Arc<Broker>>,
        connection: Option<Connection>,
        make: impl FnOnce(&str),
    ) -> Trial {
        let (dir, name) = (temp_dir(stem), unique(stem));
        let text = text.replace("\"helixstream\"", &format!("\"{name}\"")).replace("helixagent.memory", &name);
        std::fs::write(dir.join("topology.toml"), text).unwrap();
        let settings = with_fixed(settings);
        let trial = Trial { dir, name, settings, partitions: PARTITIONS, own_broker, connection };
        make(&trial.topic("events"));
        let kafka = trial.kafka_arguments();
        let created = trial.helix(&["topics", "create"], &kafka.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(created.code, Some(0), "{created:?}");
        trial
    }

    /// One that an earlier program began on this broker, under this name and with this topology
    /// file.
    pub fn begun_before(name: &str, text: &str, settings: &[&str], broker: Arc<Broker>) -> Trial {
        let dir = temp_dir(name);
        std::fs::write(dir.join("topology.toml"), text).unwrap();
        let (name, settings) = (name.to_owned(), with_fixed(settings));
        Trial { dir, name, settings, partitions: PARTITIONS, own_broker: Some(broker), connection: None }
    }

    /// The same, its topology file having another number of partitions for the events topic.
    pub fn with_partitions(self, partitions: i32) -> Trial {
        Trial { partitions, ..self }
    }

    /// The broker that all of it runs on.
    pub fn broker(&self) -> &Broker {
        self.own_broker.as_deref().unwrap_or_else(|| Broker::shared())
    }

    /// The application id.
    pub fn application_id(&self) -> &str {
        &self.name
    }

    /// What `--set` gets in every run and replay.
    pub fn settings(&self) -> &[String] {
        &self.settings
    }

    /// The topology file.
    pub fn topology(&self) -> String {
        self.path("topology.toml")
    }

    /// A file or folder of the trial's own.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A topic of the topology: `events`, `snapshots`, `conflicts`, `dead-letters`.
    pub fn topic(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    /// The repartition topic.
    pub fn repartition(&self) -> String {
        format!("{}-by-memory-repartition", self.name)
    }

    /// The repartition topic of users' changes.
    pub fn by_user(&self) -> String {
        format!("{}-by-user-repartition", self.name)
    }

    /// The changelog topics of all stores.
    pub fn changelogs(&self) -> [String; 2] {
        [self.changelog(), format!("{}-users-changelog", self.name)]
    }

    /// The changelog topic.
    pub fn changelog(&self) -> String {
        format!("{}-memories-changelog", self.name)
    }

    /// The committed records of a topic of the topology.
    pub fn read(&self, what: &str) -> Vec<Record> {
        records::read_committed(self.broker(), &self.topic(what))
    }

    /// What every command is told of Kafka.
    fn kafka_arguments(&self) -> Vec<String> {
        let plain = || vec!["--bootstrap-servers".to_owned(), self.broker().bootstrap()];
        self.connection.as_ref().map_or_else(plain, Connection::arguments)
    }

    fn helix(&self, command: &[&str], more: &[&str]) -> Finished {
        let topology = self.topology();
        Helix::run(&[command, &["--topology", &topology], more].concat())
    }

    /// The arguments of `run` that all instances of the trial have; one may connect in another way.
    pub fn run_arguments(&self, connection: Option<&Connection>) -> Vec<String> {
        let mut arguments = vec!["run".to_owned(), "--topology".to_owned(), self.topology()];
        arguments.extend(connection.map_or_else(|| self.kafka_arguments(), Connection::arguments));
        arguments.extend(self.settings.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()]));
        arguments
    }

    /// An instance with its state in the folder `state`, and further arguments (`--no-mirror`, …).
    pub fn start(&self, state: &str, more: &[&str]) -> Instance {
        Instance::start(self, &self.path(state), more, Launch::default())
    }

    /// The same, with its state on a small disk.
    pub fn start_on_disk(&self, disk: &SmallDisk, more: &[&str]) -> Instance {
        let state = disk.path().join("state").display().to_string();
        Instance::start(self, &state, more, Launch { disk: Some(disk), ..Launch::default() })
    }

    /// The same, ended with SIGKILL at a step of a commit (`store:3`).
    pub fn start_killed_at(&self, step: &str, state: &str, more: &[&str]) -> Instance {
        Instance::start(self, &self.path(state), more, Launch { kill_at: Some(step), ..Launch::default() })
    }

    /// A command of the mirror: `run`, `verify`, `backfill`, with what it needs to know of Kafka.
    fn mirror_command(&self, action: &str, more: &[&str]) -> std::process::Command {
        let mut command = Helix::command();
        command.args(["mirror", action, "--topology", &self.topology()]).args(self.kafka_arguments());
        command.args(more);
        command
    }

    /// A mirror without a stream.
    pub fn start_mirror(&self, more: &[&str]) -> Instance {
        Instance::of(self.mirror_command("run", more))
    }

    /// `helixstream mirror ACTION`, to its end.
    pub fn mirror(&self, action: &str, more: &[&str]) -> Finished {
        Helix::spawn_command(self.mirror_command(action, more)).finish()
    }

    /// Publishes a record file on the events topic with `helixstream produce`.
    pub fn produce(&self, file: &str, records: usize) {
        let (topic, kafka) = (self.topic("events"), self.kafka_arguments());
        let command = ["produce", "--input", file, "--topic", &topic];
        let done = Helix::run_ok(&command.into_iter().chain(kafka.iter().map(String::as_str)).collect::<Vec<_>>());
        assert!(done.stdout.contains(&format!("{records} records")), "{done:?}");
    }

    /// Publishes records on the events topic.
    pub fn feed(&self, events: &[Record]) {
        records::produce(self.broker(), &self.topic("events"), events);
    }

    /// Publishes pieces of `piece()` one after the other, until it is told to stop.
    pub fn feed_on(&self, mut piece: impl FnMut() -> Vec<Record> + Send + 'static) -> Feeder {
        let (topic, stop) = (self.topic("events"), Arc::new(AtomicBool::new(false)));
        let (asked, own) = (stop.clone(), self.own_broker.clone());
        let feed = move || {
            let mut sent = 0;
            while !asked.load(Ordering::Relaxed) {
                let events = piece();
                records::produce(own.as_deref().unwrap_or_else(|| Broker::shared()), &topic, &events);
                sent += events.len();
                // Some air between the pieces: it bounds how much there is to compare afterwards.
                std::thread::sleep(Duration::from_millis(60));
            }
            sent
        };
        Feeder { stop, thread: Some(std::thread::spawn(feed)) }
    }

    /// A client that reads offsets, of this isolation level. Each wait makes one: a new client for
    /// each look would cost more than the look.
    pub fn onlooker(&self, isolation: &str) -> BaseConsumer {
        self.broker().client().set("group.id", &self.name).set("isolation.level", isolation).create().unwrap()
    }

    /// Whether the group has committed everything. Transaction markers count.
    pub fn is_done(&self, onlooker: &BaseConsumer) -> bool {
        // In the order of the flow: what the first commits, the second gets.
        [self.topic("events"), self.repartition(), self.by_user()].iter().all(|topic| {
            let mut partitions = TopicPartitionList::new();
            partitions.add_partition_range(topic, 0, self.partitions - 1);
            let Ok(committed) = onlooker.committed_offsets(partitions, TIMEOUT) else { return false };
            let Some(ends) = ends(onlooker, topic, self.partitions, TIMEOUT) else { return false };
            ends.into_iter().all(|(partition, end)| {
                let committed = committed.find_partition(topic, partition).map(|element| element.offset());
                end == 0 || committed == Some(Offset::Offset(end))
            })
        })
    }

    /// Waits until no transaction is open over the outputs: what a commit has ended is seen only
    /// once its markers are in the log, which the broker writes after it has answered.
    #[track_caller]
    pub fn wait_until_settled(&self) {
        let onlookers = ["read_committed", "read_uncommitted"].map(|level| self.onlooker(level));
        for topic in self.written() {
            wait_until(&format!("the transactions over {topic} to be over"), || {
                let Some(partitions) = self.broker().partition_count(&topic) else { return false };
                is_settled(&onlookers, &topic, partitions as i32)
            });
        }
    }

    /// The topics that are written in transactions, the changelogs left out.
    pub fn written(&self) -> Vec<String> {
        let outputs = ["snapshots", "conflicts", "dead-letters"].map(|what| self.topic(what));
        outputs.into_iter().chain([self.repartition(), self.by_user()]).collect()
    }

    /// Waits until all that was published is processed and committed, and all instances still run.
    #[track_caller]
    pub fn wait_until_done(&self, instances: &mut [&mut Instance]) {
        let onlooker = self.onlooker("read_uncommitted");
        wait_until("the group's lag to be 0", || {
            instances.iter_mut().for_each(|instance| instance.assert_running());
            self.is_done(&onlooker)
        });
    }

    /// Waits until all that was published is processed and committed, or the instance has ended.
    #[track_caller]
    pub fn wait_until_done_or_ended(&self, instance: &mut Instance) {
        let onlooker = self.onlooker("read_uncommitted");
        wait_until("the group's lag to be 0, or the end", || !instance.is_running() || self.is_done(&onlooker));
    }

    /// `audit` of the trial's application, reported as JSON.
    pub fn audit(&self, more: &[&str]) -> Finished {
        let kafka = self.kafka_arguments();
        let mut all: Vec<&str> = kafka.iter().map(String::as_str).chain(["--format", "json"]).collect();
        all.extend(self.settings.iter().flat_map(|setting| ["--set", setting]));
        self.helix(&["audit"], &[&all, more].concat())
    }

    /// `replay` of records as of the trial's topology, its outputs by file name.
    pub fn replay(&self, events: &[Record]) -> Replayed {
        let (input, output) = (self.path("input.jsonl"), temp_dir("replayed"));
        records::write_file(&input, events);
        let mut more = vec!["--input", &input, "--output", output.to_str().unwrap()];
        more.extend(self.settings.iter().flat_map(|setting| ["--set", setting]));
        let done = self.helix(&["replay"], &more);
        assert_eq!(done.code, Some(0), "{done:?}");
        let read = |name: &str| records::read_file(output.join(format!("{name}.jsonl")));
        Replayed { snapshots: read("snapshots"), dead_letters: read("dead-letters") }
    }
}

/// What `--set` gets in every trial, and more. Purge is off, so that the repartition topic shows
/// what was processed. A killed member is missed soon.
fn with_fixed(settings: &[&str]) -> Vec<String> {
    ["purge=false", "session_timeout=4s"].iter().chain(settings).map(|text| (*text).to_owned()).collect()
}

/// Whether no transaction is open over a topic, for clients that read committed and uncommitted
/// records.
pub fn is_settled([committed, uncommitted]: &[BaseConsumer; 2], topic: &str, partitions: i32) -> bool {
    let stable = ends(committed, topic, partitions, TIMEOUT);
    stable.is_some() && stable == ends(uncommitted, topic, partitions, TIMEOUT)
}

/// The end of each partition of a topic, as the client's isolation level has it, in one request;
/// `None` where one is not known.
pub fn ends(client: &BaseConsumer, topic: &str, partitions: i32, timeout: Duration) -> Option<Vec<(i32, i64)>> {
    let mut asked = TopicPartitionList::new();
    for partition in 0..partitions {
        // In the place of a time: the end.
        asked.add_partition_offset(topic, partition, Offset::End).ok()?;
    }
    let found = client.offsets_for_times(asked, timeout).ok()?;
    let end = |element: TopicPartitionListElem<'_>| match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(end)) => Some((element.partition(), end)),
        _ => None,
    };
    found.elements().into_iter().map(end).collect()
}

/// The topology file that is shipped.
pub fn memory_toml() -> String {
    std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap()
}

/// What `replay` wrote.
pub struct Replayed {
    pub snapshots: Vec<Record>,
    pub dead_letters: Vec<Record>,
}

/// Publishes events in the background until it is stopped.
pub struct Feeder {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Feeder {
    /// Stops, and tells how many were published.
    pub fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().expect("the feeder ends"))
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Partition, offset and value (hex, `NULL` is empty) of every record.
type Rows = BTreeMap<(i32, i64), String>;

/// Waits until the mirror has as many rows as the events topic has records, then compares all of
/// them.
#[track_caller]
pub fn assert_mirrored(url: &str, events: &[Record]) {
    let count = || postgres::try_query(url, "select count(*) from memory_events").ok().map(|rows| rows[0][0].clone());
    let expected = events.len().to_string();
    wait_until("a row of each event", || count().is_some_and(|count| count.parse::<usize>().unwrap() >= events.len()));
    assert_eq!(count(), Some(expected), "rows");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sql = "select kafka_partition, kafka_offset, encode(kafka_value, 'hex') from memory_events";
    let found = postgres::query(url, sql).into_iter().map(|row| {
        let [partition, offset, value] = <[String; 3]>::try_from(row).unwrap();
        ((partition.parse().unwrap(), offset.parse().unwrap()), value)
    });
    let found: Rows = found.collect();
    let of_topic =
        events.iter().map(|event| ((event.partition, event.offset), hex(event.value.as_deref().unwrap_or_default())));
    let of_topic: Rows = of_topic.collect();
    assert!(found == of_topic, "{} rows differ from the {} records", found.len(), of_topic.len());
}

/// An empty database of the server that all tests share.
pub fn database() -> String {
    Postgres::shared().create_database()
}
