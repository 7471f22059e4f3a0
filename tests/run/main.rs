//! `run`, `topics` and `state` on a real broker: what a person gets when something is missing, and
//! what comes out when all is there.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

#[path = "../support/mod.rs"]
mod support;

mod crowd;
mod folders;
mod http;
mod https;
mod leaks;
mod metadata;
mod pauses;

use std::collections::BTreeMap;
use std::path::Path;

use rustix::process::Signal;
use support::{Finished, Helix};
use testkit::process::temp_dir;
use testkit::{Broker, Postgres, Record, ports, postgres, records, repo_path, unique, wait_for};

/// The memory topology with topics and an application id of the test's own.
struct Trial {
    dir: std::path::PathBuf,
    name: String,
}

impl Trial {
    fn new() -> Trial {
        let (dir, name) = (temp_dir("run"), unique("run"));
        let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
        let text = text.replace("\"helixstream\"", &format!("\"{name}\"")).replace("helixagent.memory", &name);
        std::fs::write(dir.join("t.toml"), text).unwrap();
        Trial { dir, name }
    }

    fn topic(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn topics(&self, action: &str) -> Finished {
        let (file, broker) = (self.path("t.toml"), Broker::shared().bootstrap());
        Helix::run(&["topics", action, "--topology", &file, "--bootstrap-servers", &broker])
    }

    fn run(&self, more: &[&str]) -> Helix {
        let (file, broker, state) = (self.path("t.toml"), Broker::shared().bootstrap(), self.path("state"));
        let fixed = ["run", "--topology", &file, "--bootstrap-servers", &broker, "--state-dir", &state];
        let mirror = if more.contains(&"--postgres-url") { &[][..] } else { &["--no-mirror"] };
        Helix::spawn(&[&fixed, mirror, more].concat())
    }

    fn produce_samples(&self) {
        let (input, broker) = (repo_path("tests/fixtures/helixagent-events.jsonl"), Broker::shared().bootstrap());
        let input = input.display().to_string();
        let done = Helix::run_ok(&[
            "produce",
            "--input",
            &input,
            "--topic",
            &self.topic("events"),
            "--bootstrap-servers",
            &broker,
        ]);
        assert!(done.stdout.contains("305 records"), "{done:?}");
    }
}

impl Trial {
    /// Replaces a part of the topology file.
    fn change(&self, old: &str, new: &str) {
        let text = std::fs::read_to_string(self.path("t.toml")).unwrap();
        assert!(text.contains(old), "the file lacks {old:?}");
        std::fs::write(self.path("t.toml"), text.replacen(old, new, 1)).unwrap();
    }

    /// Whether an instance is ready, and has processed so many records at least and all that there
    /// are.
    fn is_through(&self, http: &str, records: f64) -> Option<()> {
        page(http, "/ready").filter(|text| text.starts_with("HTTP/1.1 200"))?;
        let metrics = page(http, "/metrics")?;
        let total = metrics.lines().find_map(|line| line.strip_prefix("helixstream_records_total "))?;
        (total.parse::<f64>().unwrap() >= records).then_some(())?;
        let lags: Vec<&str> = metrics.lines().filter(|line| line.starts_with("helixstream_lag{")).collect();
        // While the threads share the tasks out, some of them belong to nobody for a moment.
        (lags.iter().all(|line| line.ends_with(" 0.0")) && lags.len() == self.input_partitions()).then_some(())
    }

    /// Partitions of all topics that it reads.
    fn input_partitions(&self) -> usize {
        let internal = format!("{}-", self.name);
        let is_read = |topic: &String| {
            [self.topic("events"), self.topic("notes")].contains(topic)
                || (topic.starts_with(&internal) && topic.ends_with("-repartition"))
        };
        let read = Broker::shared().topics().into_iter().filter(is_read);
        read.map(|topic| Broker::shared().partition_count(&topic).unwrap_or(0)).sum()
    }

    /// The change that a start with a changed topology is refused for.
    fn refused_change(&self, more: &[&str]) -> String {
        let refused = self.run(more).finish();
        refused.assert_failed(1, &["runs another topology", "What differs: "]);
        let (_, change) = refused.stderr.split_once("--accept-topology-change ").expect("the change is named");
        change.split_whitespace().next().expect("the change has a name").to_owned()
    }

    /// Runs until so many records at least, and all that there are, are processed; what is resolved
    /// then, and what was said.
    fn run_through(&self, records: f64, more: &[&str]) -> (String, String) {
        let http = format!("127.0.0.1:{}", ports::free_port());
        let mut helix = self.run(&[&["--http-listen", &http], more].concat());
        wait_for("the instance to be ready and at the end", || {
            assert!(helix.is_running(), "{}", helix.stderr());
            self.is_through(&http, records)
        });
        let finished = helix.terminate();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let dump = Helix::run_ok(&["state", "dump", "--state-dir", &self.path("state")]).stdout;
        // Conflicts that stand are kept as they arose, which depends on the order of the
        // partitions; what is resolved does not.
        let resolved = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["resolved"].to_string();
        let mut lines: Vec<String> = dump.lines().map(resolved).collect();
        lines.sort_unstable();
        (lines.join("\n"), finished.stderr)
    }
}

/// The last record of each key.
fn last(records: impl IntoIterator<Item = Record>) -> BTreeMap<String, Record> {
    records.into_iter().map(|r| (r.key_text(), r)).collect()
}

/// The whole answer of a page, or nothing while nobody serves it.
fn page(address: &str, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

#[test]
fn the_samples_come_out_as_replay_has_them() {
    let trial = Trial::new();
    trial.change("strategy = \"merge_all\"", "strategy = \"${T_STRATEGY:-merge_all}\"");
    trial.change("threads = 2", "threads = 2\nhttp_hosts = \"of-the-file, another\"");
    assert_eq!(trial.topics("check").code, Some(1));
    let created = trial.topics("create");
    assert_eq!((created.code, created.stdout.matches("created").count()), (Some(0), 8), "{created:?}");
    assert_eq!(trial.topics("check").code, Some(0));
    assert_eq!(trial.topics("create").stdout.matches("exists").count(), 8);
    trial.produce_samples();
    let http = format!("127.0.0.1:{}", ports::free_port());
    let database = Postgres::shared().create_database();
    let mut helix = trial.run(&["--threads", "2", "--http-listen", &http, "--postgres-url", &database]);
    wait_for("the instance to be ready", || {
        assert!(helix.is_running(), "{}", helix.stderr());
        page(&http, "/ready").filter(|text| text.starts_with("HTTP/1.1 200"))
    });
    let by_host = |host: &str| http::curl(&format!("http://{http}/live"), &["-H", &format!("Host: {host}")]).code;
    assert_eq!(["another", "of-the-file:80", "of-nobody"].map(by_host), [200, 200, 403]);
    assert!(page(&http, "/live").unwrap().starts_with("HTTP/1.1 200"));

    let (file, output) = (trial.path("t.toml"), trial.path("out"));
    let input = repo_path("tests/fixtures/helixagent-events.jsonl").display().to_string();
    Helix::run_ok(&["replay", "--topology", &file, "--input", &input, "--output", &output]);
    let expected = last(records::read_file(Path::new(&output).join("snapshots.jsonl")));
    wait_for("all resolved memories", || {
        let found = last(records::read_committed(Broker::shared(), &trial.topic("snapshots")));
        let same = |(key, record): (&String, &Record)| found.get(key).is_some_and(|f| f.value == record.value);
        expected.iter().all(same).then_some(())
    });
    let mirrored = "select count(*), count(distinct (kafka_partition, kafka_offset)) from memory_events";
    wait_for("all records in the mirror", || {
        let rows = postgres::try_query(&database, mirrored).ok()?;
        (rows == [["305", "305"]]).then_some(())
    });
    // The threads share the tasks out anew while they join, and `lag` is 0 once all is committed.
    for part in [
        "helixstream_records_total ",
        "helixstream_commit_seconds_bucket",
        "helixstream_tasks{state=\"running\"} 36.0",
        "helixstream_lag{topic=",
        &format!("helixstream_mirror_rows_total{{topic=\"{}\"}} 305", trial.topic("events")),
        &format!("helixstream_mirror_lag{{topic=\"{}\"}} 0.0", trial.topic("snapshots")),
    ] {
        wait_for(part, || page(&http, "/metrics").filter(|text| text.contains(part)));
    }
    let state = trial.path("state");
    Helix::run(&["state", "dump", "--state-dir", &state])
        .assert_failed(1, &["held by process", &helix.pid().to_string()]);
    helix.signal(Signal::INT);
    let finished = helix.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");

    let kept = std::fs::read_to_string(Path::new(&state).join("0/topology.toml")).unwrap();
    assert!(!kept.contains("${") && kept.contains("strategy = \"merge_all\""), "{kept}");
    let dump = Helix::run_ok(&["state", "dump", "--state-dir", &state]).stdout;
    let resolved: BTreeMap<String, serde_json::Value> = dump
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["resolved"].take())
        .map(|resolved| (resolved["memory_id"].as_str().unwrap().to_owned(), resolved))
        .collect();
    assert_eq!(resolved.len(), expected.len());
    for (id, record) in &expected {
        assert_eq!(resolved[id], record.value_json());
    }
    let id = expected.keys().next().unwrap();
    let one = Helix::run_ok(&["state", "get", id, "--state-dir", &state]).stdout;
    assert!(dump.contains(&one));
    Helix::run(&["state", "get", "nobody", "--state-dir", &state]).assert_failed(1, &["holds no memory `nobody`"]);
}

#[test]
fn missing_topics_are_named_with_what_makes_them() {
    let trial = Trial::new();
    let finished = trial.run(&[]).finish();
    finished.assert_failed(1, &[&trial.topic("events"), &trial.topic("conflicts"), "helixstream topics create"]);
    let (file, broker) = ("tests/fixtures/helixagent-events.jsonl", Broker::shared().bootstrap());
    let file = repo_path(file).display().to_string();
    let lost = Helix::run(&["produce", "--input", &file, "--topic", "no-such-topic", "--bootstrap-servers", &broker]);
    lost.assert_failed(1, &["topic `no-such-topic` does not exist", "topics create"]);
}

#[test]
fn a_topic_that_takes_less_than_is_sent_is_told_by_the_check() {
    let trial = Trial::new();
    assert_eq!(trial.topics("create").code, Some(0));
    let common = [("retention.ms", "-1"), ("message.timestamp.after.max.ms", "9223372036854775807")];
    for (topic, setting, bytes) in
        [("snapshots", "max.message.bytes", "100000"), ("dead-letters", "segment.bytes", "1048576")]
    {
        let settings = [&common[..], &[(setting, bytes)][..]].concat();
        Broker::shared().set_topic(&trial.topic(topic), &settings);
    }
    // A broker tells of new settings a moment after it has taken them.
    let checked = wait_for("warnings about both topics", || {
        let checked = trial.topics("check");
        assert_eq!(checked.code, Some(0), "nothing is lost: {checked:?}");
        (checked.stdout.matches("warning").count() >= 3).then_some(checked)
    });
    for (topic, parts) in [
        ("snapshots", ["takes records of at most 100000 bytes", "`output_too_large`", "raise its max.message.bytes"]),
        ("snapshots", ["accepts batches of at most 100000 bytes", "slow", "raise its max.message.bytes"]),
        ("dead-letters", ["takes records of at most 1048576 bytes", "without their value", "raise its segment.bytes"]),
    ] {
        let topic = format!("warning  {}: ", trial.topic(topic));
        let told = |line: &str| line.starts_with(&topic) && parts.iter().all(|part| line.contains(part));
        assert!(checked.stdout.lines().any(told), "{parts:?} is not told: {}", checked.stdout);
    }
}

#[test]
fn a_wrong_partition_count_is_told() {
    let trial = Trial::new();
    assert_eq!(trial.topics("create").code, Some(0));
    let topic = format!("{}-memories-changelog", trial.name);
    Broker::shared().delete_topic(&topic);
    Broker::shared().create_topic(&topic, 5, &[("cleanup.policy", "compact")]);
    trial.run(&[]).finish().assert_failed(1, &[&topic, "5 partitions", "12"]);
}

#[test]
fn a_taken_slot_is_told_with_its_holder() {
    let trial = Trial::new();
    assert_eq!(trial.topics("create").code, Some(0));
    let mut first = trial.run(&["--slot", "4"]);
    first.wait_for_stderr("stream threads run");
    let second = trial.run(&["--slot", "4"]).finish();
    second.assert_failed(1, &["slot 4", &format!("held by process {}", first.pid())]);
    let finished = first.terminate();
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn no_broker_is_told_and_ends_after_a_while() {
    let trial = Trial::new();
    let nobody = format!("localhost:{}", ports::free_port());
    let run = |timeout: &str| {
        let (file, state) = (trial.path("t.toml"), trial.path("state"));
        let setting = format!("broker_timeout={timeout}");
        Helix::spawn(&[
            "run",
            "--topology",
            &file,
            "--state-dir",
            &state,
            "--bootstrap-servers",
            &nobody,
            "--no-mirror",
            "--set",
            &setting,
        ])
    };
    run("6s").finish().assert_failed(1, &["no Kafka broker at", &nobody, "giving up after 6 s"]);
    // A signal ends the wait.
    let mut waiting = run("1h");
    waiting.wait_for_stderr("no Kafka broker at");
    assert_eq!(waiting.terminate().code, Some(0));
}

#[test]
fn settings_that_would_break_exactly_once_are_refused() {
    let trial = Trial::new();
    let refused = trial.run(&["-X", "isolation.level=read_uncommitted"]).finish();
    refused.assert_failed(2, &["isolation.level", "exactly once"]);
    trial.run(&["-X", "no-equals-sign"]).finish().assert_failed(2, &["KEY=VALUE"]);
}

#[test]
fn no_password_reaches_a_log_line() {
    let trial = Trial::new();
    let (file, state) = (trial.path("t.toml"), trial.path("state"));
    let nobody = format!("localhost:{}", ports::free_port());
    let finished = Helix::run(&[
        "run",
        "--topology",
        &file,
        "--state-dir",
        &state,
        "--bootstrap-servers",
        &nobody,
        "--set",
        "broker_timeout=1s",
        "--postgres-url",
        "postgres://me:geheim@127.0.0.1:1/db",
        "-X",
        "sasl.password=geheim",
        "--log-level",
        "trace",
    ]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("mirror db at 127.0.0.1:1, schema public"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("geheim") && !finished.stdout.contains("geheim"), "{}", finished.stderr);
}

#[test]
fn a_change_of_the_topology_keeps_state_or_is_refused_until_its_loss_is_accepted() {
    let trial = Trial::new();
    assert_eq!(trial.topics("create").code, Some(0));
    trial.produce_samples();
    // The 305 records as they come, and from the repartition topic what is good of them.
    let (state, _) = trial.run_through(603.0, &[]);
    assert!(state.lines().count() > 10, "{state}");
    let is_same =
        |other: &str| assert!(state == other, "{} and {} memories", state.lines().count(), other.lines().count());

    // Another sub-topology moves the one with the store to another number: its state comes back
    // from the changelog.
    let (last, notes) = ("from = [\"resolve.conflicts\"]", trial.topic("notes"));
    let more = format!(
        "{last}\n[[source]]\nname = \"notes\"\ntopic = \"{notes}\"\npartitions = 2\n\
         [[processor]]\nname = \"decode-notes\"\noperator = \"decode\"\nfrom = [\"notes\"]\n\
         [[repartition]]\nname = \"by-note\"\nfrom = [\"decode-notes.events\"]\n\
         [[store]]\nname = \"noted\"\n\
         [[processor]]\nname = \"resolve-notes\"\noperator = \"resolve\"\nfrom = [\"by-note\"]\nstores = [\"noted\"]\n\
         [[sink]]\nname = \"notes-out\"\ntopic = \"{notes}.out\"\npartitions = 1\n\
         from = [\"resolve-notes.snapshots\", \"resolve-notes.conflicts\"]\n"
    );
    trial.change(last, &more);
    assert_eq!(trial.topics("create").code, Some(0));
    let change = trial.refused_change(&[]);
    is_same(&trial.run_through(0.0, &["--accept-topology-change", &change]).0);

    // A store of another name: nothing is started before the loss is accepted, then it begins
    // empty.
    trial.change("[[store]]\nname = \"memories\"", "[[store]]\nname = \"mems\"");
    trial.change("stores = [\"memories\"]", "stores = [\"mems\"]");
    trial.run(&[]).finish().assert_failed(2, &["the state of store `memories`", "--accept-reset memories"]);
    let change = trial.refused_change(&["--accept-reset", "memories"]);
    // What was refused is not the last run of the slot: the loss is still to be accepted.
    trial.run(&["--accept-topology-change", &change]).finish().assert_failed(2, &["--accept-reset memories"]);
    let accepted = ["--accept-reset", "memories", "--accept-topology-change", &change];
    let (reset, said) = trial.run_through(0.0, &accepted);
    assert_eq!(reset, "");
    assert!(said.contains("is left behind, as accepted"), "{said}");
    trial.produce_samples();
    is_same(&trial.run_through(603.0, &[]).0);

    // A source that has grown: the repartition topic keeps its partitions, and so the store its
    // keys.
    Broker::shared().grow_topic(&trial.topic("events"), 24);
    trial.change("partitions = 12", "partitions = 24");
    trial.produce_samples();
    is_same(&trial.run_through(603.0, &[]).0);
}
