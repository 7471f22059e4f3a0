//! A real Apache Kafka broker (KRaft, broker and controller in one JVM) on free ports, its data in
//! a temporary folder.

use super::process::{Process, temp_dir};
use super::{SmallDisk, java, ports, wait_for};
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaRespErr;
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// A running (or stopped) broker; ended when dropped, its data removed with the test process.
#[derive(Debug)]
pub struct Broker {
    dir: PathBuf,
    heap: &'static str,
    ports: Mutex<Ports>,
    process: Mutex<Option<Process>>,
    disk: Option<SmallDisk>,
    more: More,
    /// Settings that were changed while it ran.
    dynamic: Mutex<BTreeMap<String, String>>,
}

/// The broker's number.
const NODE: i32 = 1;

/// An argument of the JVM with which a broker logs each request that it completes, for
/// [`Broker::requests`].
pub const LOG_REQUESTS: &str = "-Dhelixstream.requests=debug";

/// A request that a broker has completed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The `client.id` of the client that sent it.
    pub client: String,
    /// Kind of the request, in Kafka's words (`FETCH`, `END_TXN`).
    pub name: String,
}

/// Settings of a broker besides those that all brokers have.
#[derive(Debug, Default)]
pub struct More {
    /// Further settings, in the form of `server.properties`; `{client}` and `{controller}` stand
    /// for the broker's own ports. They win over the settings of all brokers.
    pub properties: String,
    /// Arguments of the JVM.
    pub jvm: Vec<String>,
    /// Arguments of `StorageTool format`: with any, the data folder is made for this broker alone.
    pub format: Vec<String>,
    /// A data folder that an earlier broker left: a copy of it is what this one starts from.
    pub data: Option<PathBuf>,
    /// Its place in a [`super::Cluster`]; it is alone without one.
    pub member: Option<Member>,
}

/// The place of a broker in a cluster.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its number, from 1 on.
    pub node: i32,
    /// The port for clients, and the one of the controller.
    pub ports: (u16, u16),
    /// The ports for clients of the other brokers.
    pub others: Vec<u16>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    client: u16,
    controller: u16,
}

impl Ports {
    /// Ports that nobody has.
    fn free() -> Ports {
        Ports { client: ports::free_port(), controller: ports::free_port() }
    }
}

impl Broker {
    /// The broker that all tests of this binary share. Never stop it: use topics, groups and
    /// application ids of your own ([`super::unique`]).
    pub fn shared() -> &'static Broker {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Broker::start)
    }

    /// A broker of the test's own, empty and ready.
    pub fn start() -> Broker {
        Broker::start_with_heap("384m")
    }

    /// The same with another heap (`1g`), for much data.
    pub fn start_with_heap(heap: &'static str) -> Broker {
        Broker::start_with(heap, None, More::default())
    }

    /// The same with its data on a small disk.
    pub fn start_on(disk: SmallDisk) -> Broker {
        Broker::start_with("384m", Some(disk), More::default())
    }

    /// The same with further settings.
    pub fn start_with_more(more: More) -> Broker {
        Broker::start_with("384m", None, more)
    }

    /// One of a cluster, which serves only once most of the others do.
    pub(super) fn start_member(more: More) -> Broker {
        Broker::start_with("256m", None, more)
    }

    /// The port for clients.
    pub(super) fn client_port(&self) -> u16 {
        self.ports.lock().unwrap().client
    }

    /// The disk that it was started on.
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("it was started on a small disk")
    }

    fn start_with(heap: &'static str, disk: Option<SmallDisk>, more: More) -> Broker {
        let dir = temp_dir("kafka");
        let member = more.member.as_ref().map(|member| member.ports);
        let ports = member.map_or_else(Ports::free, |(client, controller)| Ports { client, controller });
        let process = Mutex::new(None);
        let dynamic = Mutex::default();
        let broker = Broker { dir, heap, ports: Mutex::new(ports), process, disk, more, dynamic };
        broker.write_properties();
        if let Some(data) = &broker.more.data {
            copy_folder(data, &broker.data_dir());
        } else if broker.more.format.is_empty() {
            copy_folder(formatted_data(), &broker.data_dir());
        } else {
            format(&broker.dir.join("server.properties"), &broker.more.format);
        }
        if let Some(member) = &broker.more.member {
            rename_node(&broker.data_dir().join("meta.properties"), member.node);
        }
        for attempt in 1.. {
            if broker.try_restart() {
                break;
            }
            // The others of a cluster know the port that it has.
            let may_move = attempt < 3 && broker.more.member.is_none();
            assert!(may_move, "Kafka does not start:\n{}", broker.log());
            *broker.ports.lock().unwrap() = Ports::free();
            broker.write_properties();
        }
        broker
    }

    /// `host:port` for clients; the same after a restart. In a cluster those of the others follow
    /// behind commas.
    pub fn bootstrap(&self) -> String {
        let others = self.more.member.iter().flat_map(|member| &member.others);
        others.fold(self.address(), |all, port| format!("{all},localhost:{port}"))
    }

    /// Its own `host:port`.
    fn address(&self) -> String {
        format!("localhost:{}", self.client_port())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.lock().unwrap().as_ref().expect("the broker runs").pid()
    }

    /// The folder with one folder a partition (`topic-0/00000000000000000000.log`).
    pub fn data_dir(&self) -> PathBuf {
        self.disk.as_ref().map_or_else(|| self.dir.clone(), SmallDisk::outside).join("data")
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        let mut process = self.process.lock().unwrap();
        let ended = process.as_mut().is_none_or(|process| process.poll().is_some());
        if ended {
            *process = None;
        }
        ended
    }

    /// Lines of the broker's log (warnings and errors).
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// How long its log is now: a place for [`Broker::requests`] to begin at.
    pub fn log_length(&self) -> u64 {
        std::fs::metadata(self.dir.join("log")).map_or(0, |file| file.len())
    }

    /// The kinds of requests that it has completed since its log was so long, each once. It was
    /// started with [`LOG_REQUESTS`].
    pub fn requests(&self, since: u64) -> BTreeSet<Request> {
        let mut log = File::open(self.dir.join("log")).unwrap();
        log.seek(SeekFrom::Start(since)).unwrap();
        let lines = BufReader::new(log).lines().map_while(Result::ok);
        lines.filter_map(|line| completed(&line)).collect()
    }

    /// Stops it in good order (SIGTERM).
    pub fn stop(&self) {
        let mut process = self.process.lock().unwrap().take().expect("the broker runs");
        process.signal(Signal::TERM);
        process.wait(Duration::from_secs(60)).expect("Kafka stops within a minute of SIGTERM");
    }

    /// Kills it in mid-work (SIGKILL).
    pub fn kill(&self) {
        self.process.lock().unwrap().take().expect("the broker runs").kill();
    }

    /// Freezes it: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.process.lock().unwrap().as_ref().expect("the broker runs").signal(Signal::STOP);
    }

    /// Ends a [`Broker::pause`].
    pub fn resume(&self) {
        self.process.lock().unwrap().as_ref().expect("the broker runs").signal(Signal::CONT);
    }

    /// Starts it again after [`Broker::stop`] or [`Broker::kill`], on the same port and data;
    /// returns when it serves.
    pub fn restart(&self) {
        assert!(self.try_restart(), "Kafka does not start again:\n{}", self.log());
    }

    /// A client configuration that knows the broker's address.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }

    /// Creates a topic with settings (`cleanup.policy`, …) and waits until every partition has a
    /// leader.
    pub fn create_topic(&self, name: &str, partitions: usize, settings: &[(&str, &str)]) {
        let count = i32::try_from(partitions).unwrap();
        let mut topic = NewTopic::new(name, count, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let answers = futures::executor::block_on(self.admin().create_topics([&topic], &admin_options())).unwrap();
        for answer in answers {
            answer.unwrap_or_else(|(topic, error)| panic!("create topic {topic}: {error}"));
        }
        wait_for("the leaders of a new topic", || (self.partition_count(name) == Some(partitions)).then_some(()));
    }

    /// Raises a topic's number of partitions.
    pub fn grow_topic(&self, name: &str, partitions: usize) {
        let request = NewPartitions::new(name, partitions);
        let answers =
            futures::executor::block_on(self.admin().create_partitions([&request], &admin_options())).unwrap();
        for answer in answers {
            answer.unwrap_or_else(|(topic, error)| panic!("grow topic {topic}: {error}"));
        }
        wait_for("the leaders of new partitions", || (self.partition_count(name) == Some(partitions)).then_some(()));
    }

    /// Gives a topic these settings in place of all that it had.
    pub fn set_topic(&self, name: &str, settings: &[(&str, &str)]) {
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (key, value) in settings {
            change = change.set(key, value);
        }
        let answers = futures::executor::block_on(self.admin().alter_configs([&change], &admin_options())).unwrap();
        for answer in answers {
            answer.unwrap_or_else(|(topic, error)| panic!("set topic {topic:?}: {error}"));
        }
    }

    /// Changes a setting of the broker while it runs (those whose update mode is `per-broker`). It
    /// holds over restarts.
    pub fn set(&self, key: &str, value: &str) {
        let mut dynamic = self.dynamic.lock().unwrap();
        dynamic.insert(key.to_owned(), value.to_owned());
        // The request takes away what it does not name.
        let change = AlterConfig::new(ResourceSpecifier::Broker(NODE));
        let change = dynamic.iter().fold(change, |change, (key, value)| change.set(key, value));
        let answers = futures::executor::block_on(self.admin().alter_configs([&change], &admin_options())).unwrap();
        for answer in answers {
            answer.unwrap_or_else(|(_, error)| panic!("set {key} of the broker: {error}"));
        }
    }

    /// Deletes a topic and waits until it is gone.
    pub fn delete_topic(&self, name: &str) {
        let answers = futures::executor::block_on(self.admin().delete_topics(&[name], &admin_options())).unwrap();
        for answer in answers {
            answer.unwrap_or_else(|(topic, error)| panic!("delete topic {topic}: {error}"));
        }
        wait_for("a topic's end", || self.partition_count(name).is_none().then_some(()));
    }

    /// The number of partitions that have a leader; `None` when there is no such topic.
    pub fn partition_count(&self, topic: &str) -> Option<usize> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        // Of this topic alone: a shared broker has thousands of partitions.
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).ok()?;
        let topic = metadata.topics().iter().find(|known| known.name() == topic)?;
        if topic.error() == Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            return None;
        }
        Some(topic.partitions().iter().filter(|partition| partition.leader() >= 0).count())
    }

    /// All topics' names, sorted, Kafka's own (`__consumer_offsets`, …) left out.
    pub fn topics(&self) -> Vec<String> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(None, Duration::from_secs(30)).unwrap();
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with("__")).collect();
        names.sort();
        names
    }

    pub(super) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    fn write_properties(&self) {
        let ports = *self.ports.lock().unwrap();
        let data = self.disk.as_ref().map_or(&*self.dir, SmallDisk::path).join("data");
        let more = self.more.properties.replace("{client}", &ports.client.to_string());
        let more = more.replace("{controller}", &ports.controller.to_string());
        std::fs::write(self.dir.join("server.properties"), format!("{}{more}", properties(ports, &data))).unwrap();
    }

    /// Whether it came up; `false` when the process ended, as it does when somebody else took its
    /// port.
    fn try_restart(&self) -> bool {
        let log = File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut command = java::java_with(self.heap, &self.more.jvm, "kafka.Kafka");
        command.arg(self.dir.join("server.properties")).current_dir(&self.dir);
        if let Some(disk) = &self.disk {
            command = disk.inside(&command);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = Process::start(command, Signal::KILL).expect("start java");
        let serves = wait_for("Kafka to serve", || {
            if process.poll().is_some() {
                return Some(false);
            }
            std::net::TcpStream::connect(self.address()).ok()?;
            let mut client = ClientConfig::new();
            let consumer: BaseConsumer = client.set("bootstrap.servers", self.address()).create().unwrap();
            let metadata = consumer.fetch_metadata(None, Duration::from_secs(5)).ok()?;
            (!metadata.brokers().is_empty()).then_some(true)
        });
        *self.process.lock().unwrap() = serves.then_some(process);
        serves
    }
}

/// The request that a line of the log tells of; `None` for other lines, and for one that is not yet
/// written to its end.
fn completed(line: &str) -> Option<Request> {
    let (_, told) = line.split_once("Completed request:")?;
    let told: serde_json::Value = serde_json::Deserializer::from_str(told).into_iter().next()?.ok()?;
    let text = |name: &str| Some(told["requestHeader"][name].as_str()?.to_owned());
    Some(Request { client: text("clientId")?, name: text("requestApiKeyName")? })
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(60))).request_timeout(Some(Duration::from_secs(60)))
}

fn properties(ports: Ports, data: &Path) -> String {
    let Ports { client, controller } = ports;
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:{controller}
listeners=PLAINTEXT://localhost:{client},CONTROLLER://localhost:{controller}
advertised.listeners=PLAINTEXT://localhost:{client}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
log.retention.ms=-1
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.backoff.ms=1000
num.network.threads=2
num.io.threads=4
",
        data = data.display()
    )
}

/// A freshly formatted data folder, made once by Kafka's own tool; a copy of it is what each broker
/// starts from. It saves the start of a JVM for every further broker.
fn formatted_data() -> &'static Path {
    static FORMATTED: OnceLock<PathBuf> = OnceLock::new();
    FORMATTED.get_or_init(|| {
        let dir = temp_dir("kafka-format");
        let config = dir.join("server.properties");
        std::fs::write(&config, properties(Ports { client: 1, controller: 2 }, &dir.join("data"))).unwrap();
        format(&config, &[]);
        dir.join("data")
    })
}

/// Makes the data folder that a configuration names.
fn format(config: &Path, more: &[String]) {
    let fixed = ["format", "-t", "aGVsaXhzdHJlYW0tdGVzdA", "-c", config.to_str().unwrap()];
    let arguments: Vec<&str> = fixed.into_iter().chain(more.iter().map(String::as_str)).collect();
    java::run("kafka.tools.StorageTool", &arguments);
}

/// Makes the formatted data folder of node 1 that of another node.
fn rename_node(path: &Path, node: i32) {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| match line.split_once('=') {
        Some(("node.id", _)) => format!("node.id={node}\n"),
        // Each folder of a cluster has an id of its own: 128 bits in base64.
        Some(("directory.id", id)) => format!("directory.id={}{}\n", char::from(b'A' + node as u8), &id[1..]),
        _ => format!("{line}\n"),
    };
    std::fs::write(path, text.lines().map(line).collect::<String>()).unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
