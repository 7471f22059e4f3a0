//! Least privilege: the memory topology runs on a broker with an authorizer by the ACLs that
//! `topics acls` prints and by no others; the docs print the same ones.

use crate::support::{Finished, Helix};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::path::PathBuf;
use std::time::Duration;
use testkit::authorizer::User;
use testkit::process::temp_dir;
use testkit::{Acl, AclBroker, Postgres, ports, postgres, repo_path, tools, unique, wait_for};

/// The memory topology under names of the test's own, with few partitions.
pub struct Trial {
    dir: PathBuf,
    /// The application id, and the beginning of the topics' names.
    pub name: String,
}

/// Leaves what is in conflict to a person.
const SCRIPT: &str = "\n[[script]]\nname = \"ask\"\nsource = \"fn resolve(path, contenders) { defer() }\"\n";

impl Trial {
    /// With so many partitions of the events topic.
    pub fn new(partitions: u32) -> Trial {
        let (dir, name) = (temp_dir("acl"), unique("acl"));
        let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
        let text = text.replace("\"helixstream\"", &format!("\"{name}\"")).replace("helixagent.memory", &name);
        let text = ["12", "6", "3"].iter().fold(text, |text, count| {
            text.replace(&format!("\npartitions = {count}\n"), &format!("\npartitions = {partitions}\n"))
        });
        let text = text.replace("[[store]]\nname = \"memories\"", "[[store]]\nname = \"memories\"\nstandby = 1");
        let text = text.replace("# purge_interval = \"30s\"", "purge_interval = \"1s\"");
        let text = text.replace("[resolver.strategies]", "[resolver.strategies]\ncontent = \"custom:ask\"");
        assert!(text.contains("\nstandby = 1") && text.contains("\npurge_interval") && text.contains("\ncontent ="));
        std::fs::write(dir.join("t.toml"), text + SCRIPT).unwrap();
        Trial { dir, name }
    }

    /// The topology file.
    pub fn file(&self) -> String {
        self.path("t.toml")
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A topic's name.
    pub fn topic(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    /// The ACLs that `topics acls` prints for these purposes.
    pub fn acls(&self, purposes: &[&str]) -> Vec<Acl> {
        let mut arguments = vec!["topics", "acls", "--topology"];
        let file = self.file();
        arguments.push(&file);
        arguments.extend(purposes.iter().flat_map(|purpose| ["--for", purpose]));
        let printed = Helix::run_ok(&arguments).stdout;
        let commands = printed.lines().filter(|line| line.starts_with("kafka-acls.sh"));
        let mut all: Vec<Acl> = commands.flat_map(Acl::of_command).collect();
        all.sort();
        all.dedup();
        assert!(!all.is_empty(), "{printed}");
        all
    }

    /// A user that has the ACLs for these purposes and no others.
    pub fn user(&self, purposes: &[&str]) -> User {
        let (broker, acls) = (AclBroker::shared(), self.acls(purposes));
        let user = broker.user();
        broker.allow(&acls.iter().map(|acl| (&user, acl)).collect::<Vec<_>>());
        user
    }

    /// Starts a command as a user.
    pub fn spawn(&self, user: &User, command: &[&str], more: &[&str]) -> Helix {
        let (file, arguments) = (self.file(), user.arguments());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Helix::spawn(&[command, &["--topology", &file], &arguments, more].concat())
    }

    /// Runs a command as a user to its end.
    #[must_use = "how it ended is to be looked at"]
    pub fn run(&self, user: &User, command: &[&str], more: &[&str]) -> Finished {
        self.spawn(user, command, more).finish()
    }

    /// Makes the topics as somebody who may.
    pub fn create_topics(&self) {
        let (file, broker) = (self.file(), AclBroker::shared().open().bootstrap());
        Helix::run_ok(&["topics", "create", "--topology", &file, "--bootstrap-servers", &broker]);
    }

    /// Publishes the samples as a user.
    #[must_use = "how it ended is to be looked at"]
    pub fn produce(&self, user: &User) -> Finished {
        let input = repo_path("tests/fixtures/helixagent-events.jsonl").display().to_string();
        let (topic, arguments) = (self.topic("events"), user.arguments());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Helix::run(&[&["produce", "--input", &input, "--topic", &topic], &arguments[..]].concat())
    }
}

/// The whole answer of a page, or nothing while nobody serves it.
pub fn page(address: &str, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// A figure of an instance's metrics.
fn figure(address: &str, name: &str) -> Option<f64> {
    page(address, "/metrics")?.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[track_caller]
fn done(finished: Finished) -> String {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout
}

#[test]
fn the_memory_topology_runs_with_these_acls_and_no_others() {
    let (trial, database) = (Trial::new(2), Postgres::shared().create_database());
    let operator = trial.user(&["topics-create", "topics-check"]);
    assert!(done(trial.run(&operator, &["topics", "plan"], &[])).contains("create"));
    assert_eq!(done(trial.run(&operator, &["topics", "create"], &[])).matches("created").count(), 8);

    let runner = trial.user(&["run", "mirror"]);
    let check = || done(trial.run(&runner, &["topics", "check"], &["--for", "run", "--for", "mirror"]));
    // The first node makes the nodes topic.
    let checked = check();
    assert!(checked.contains("needed and allowed (those on one topic are not known before it is made)\n"), "{checked}");
    AclBroker::shared().open().create_topic(&trial.topic("nodes"), 1, &[]);
    let checked = check();
    assert!(checked.contains("rights: ") && checked.contains("needed and allowed\n"), "{checked}");

    let addresses = [1, 2].map(|_| format!("127.0.0.1:{}", ports::free_port()));
    let state = trial.path("state");
    let mut instances = addresses.each_ref().map(|address| {
        let more = ["--state-dir", &state, "--http-listen", address, "--postgres-url", &database, "--threads", "1"];
        trial.spawn(&runner, &["run"], &more)
    });
    done(trial.produce(&trial.user(&["produce"])));
    let mirrored = "select count(*) from memory_events union all select count(*) from memory_conflicts";
    wait_for("records and conflicts in the mirror, standbys, and purged topics", || {
        instances.iter_mut().for_each(|one| assert!(one.is_running(), "{}", one.stderr()));
        let rows = postgres::try_query(&database, mirrored).ok()?;
        (rows[0] == ["305"] && rows[1] != ["0"]).then_some(())?;
        addresses.iter().any(|one| figure(one, "helixstream_standby_tasks ") > Some(0.0)).then_some(())?;
        let open: BaseConsumer = AclBroker::shared().open().client().create().unwrap();
        let topic = format!("{}-by-memory-repartition", trial.name);
        let start = |partition| open.fetch_watermarks(&topic, partition, Duration::from_secs(10)).ok().map(|log| log.0);
        (start(0)? > 0 && start(1)? > 0).then_some(())
    });

    settle_a_conflict(&trial);
    ask_for_what_was_not_seen(&trial);
    let verifier = trial.user(&["mirror-verify"]);
    wait_for("the mirror to equal Kafka", || {
        let verified = trial.run(&verifier, &["mirror", "verify"], &["--postgres-url", &database]);
        verified.stdout.contains("\nsame: ").then_some(())
    });
    for instance in instances {
        let finished = instance.terminate();
        assert!(!finished.stderr.contains("authorization failed"), "{}", finished.stderr);
        done(finished);
    }
    // In the mirrors' own groups, so behind them.
    let filled = Postgres::shared().create_database();
    done(trial.run(&trial.user(&["mirror"]), &["mirror", "backfill"], &["--postgres-url", &filled]));
}

/// A person lists what waits, and settles one of them.
fn settle_a_conflict(trial: &Trial) {
    let reader = trial.user(&["conflicts-list"]);
    let waiting = wait_for("a conflict that waits", || {
        let listed = done(trial.run(&reader, &["conflicts", "list"], &["--format", "json"]));
        listed.lines().next().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
    });
    let id = waiting["conflict_id"].as_str().unwrap();
    done(trial.run(&reader, &["conflicts", "show", id], &[]));
    let person = trial.user(&["conflicts-resolve"]);
    let path = waiting["fields"][0]["path"].as_str().unwrap();
    done(trial.run(&person, &["conflicts", "resolve", id], &["--path", path, "--value", "\"settled\""]));
    wait_for("the conflict to be gone", || {
        let listed = done(trial.run(&reader, &["conflicts", "list"], &["--format", "json"]));
        (!listed.contains(id)).then_some(())
    });
}

/// A node sends a sync request and reads the answer.
fn ask_for_what_was_not_seen(trial: &Trial) {
    let node = trial.user(&["sync-request"]);
    let topic = trial.topic("snapshots");
    // A consumer that assigns partitions itself needs a group's name and no right on the group.
    let consumer: BaseConsumer =
        node.client().set("group.id", &node.name).set("enable.auto.commit", "false").create().unwrap();
    let mut partitions = rdkafka::TopicPartitionList::new();
    for partition in 0..2 {
        partitions.add_partition_offset(&topic, partition, rdkafka::Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let producer: BaseProducer = node.client().set("enable.idempotence", "true").create().unwrap();
    let request = r#"{"event_id":"ask","event_type":"memory.sync_request","node_id":"away","vector_clock":{}}"#;
    producer.send(BaseRecord::<str, str>::to(&trial.topic("events")).payload(request)).unwrap();
    producer.flush(Duration::from_secs(60)).unwrap();
    wait_for("an answer to the sync request", || {
        let is_answer = |message: &rdkafka::message::BorrowedMessage<'_>| {
            let mut headers = message.headers().into_iter().flat_map(Headers::iter);
            headers.any(|header| header.key == "sync_for" && header.value == Some(b"away"))
        };
        // What concerns the group comes as an error of its own, and reading goes on.
        let mut messages = std::iter::from_fn(|| consumer.poll(Duration::from_millis(200)));
        messages.any(|message| message.is_ok_and(|message| is_answer(&message))).then_some(())
    });
}

#[test]
fn kafkas_own_tools_take_the_printed_commands_and_find_transactions_with_them() {
    let (trial, broker) = (Trial::new(1), AclBroker::shared());
    trial.create_topics();
    let user = broker.user();
    let (file, servers, principal) = (trial.file(), broker.open().bootstrap(), user.principal());
    let printed = Helix::run_ok(&[
        "topics",
        "acls",
        "--topology",
        &file,
        "--bootstrap-servers",
        &servers,
        "--principal",
        &principal,
        "--for",
        "hanging-transactions",
    ])
    .stdout;
    for line in printed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        tools::run("org.apache.kafka.tools.AclCommand", &words);
    }
    let login = trial.path("login.properties");
    std::fs::write(&login, user.properties()).unwrap();
    let topic = format!("{}-by-memory-repartition", trial.name);
    let found = tools::run(
        "org.apache.kafka.tools.TransactionsCommand",
        &[
            "--bootstrap-server",
            user.servers(),
            "--command-config",
            &login,
            "find-hanging",
            "--topic",
            &topic,
            "--partition",
            "0",
        ],
    );
    assert!(found.contains("TransactionalId") || found.contains("Topic"), "{found}");
    // The first offset of the transaction that would be aborted; there is none, and the tool gets
    // as far as saying so.
    assert!(!found.contains("uthorization"), "{found}");
}

#[test]
fn the_docs_print_what_the_command_prints() {
    let docs = std::fs::read_to_string(repo_path("docs/kafka-acls.md")).unwrap();
    let file = repo_path("topologies/memory.toml").display().to_string();
    let printed = Helix::run_ok(&["topics", "acls", "--topology", &file, "--principal", "User:helixstream"]).stdout;
    let blocks: Vec<&str> = printed.trim().split("\n\n").collect();
    assert_eq!(blocks.len(), 10, "one for each purpose: {printed}");
    for block in blocks {
        assert!(
            docs.contains(&format!("```\n{block}\n```")),
            "docs/kafka-acls.md lacks this as it is printed:\n{block}"
        );
    }
    let readme = std::fs::read_to_string(repo_path("README.md")).unwrap();
    assert!(readme.contains("docs/kafka-acls.md"));
}
