//! `helixstream run` on the topics of a trial, and `replay` of its events.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use node::Node;
use node::shown::ListQuery;
use serde_json::Value;
use testkit::process::temp_dir;
use testkit::{Broker, LIMIT, Record, records, repo_path};

use crate::support::Helix;
use crate::trial::{Trial, view};

/// Writes the memory topology with the names of a trial's topics, and returns its path.
pub fn topology_of(trial: &Trial) -> PathBuf {
    let path = temp_dir("topology").join("topology.toml");
    let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
    let text = text.replace("\"helixstream\"", &format!("\"{}\"", trial.name));
    std::fs::write(&path, text.replace("helixagent.memory", &trial.name)).unwrap();
    path
}

/// The command line of the stream of a trial, whose topics are made.
#[derive(Clone)]
pub struct StreamCommand {
    topology: String,
    arguments: Vec<String>,
}

impl StreamCommand {
    /// Makes the topics. The settings of the stream are each `NAME=VALUE`.
    pub fn new(trial: &Trial, settings: &[&str]) -> StreamCommand {
        let topology = topology_of(trial).display().to_string();
        let common = ["--topology", topology.as_str(), "--bootstrap-servers", &trial.bootstrap];
        Helix::run_ok(&[&["topics", "create"], &common[..]].concat());
        let settings = ["purge=false", "session_timeout=4s"].iter().chain(settings);
        let settings = settings.flat_map(|setting| ["--set", *setting]);
        // A test that fails shows by these lines which task is not running.
        let logs = ["--log-level", "info,helixstream_streams=debug"];
        let arguments = ["run"].into_iter().chain(common).chain(["--no-mirror"]).chain(logs).chain(settings);
        StreamCommand { arguments: arguments.map(str::to_owned).collect(), topology: topology.clone() }
    }

    /// Starts an instance with this folder for its state.
    pub fn spawn(&self, state: &Path) -> Helix {
        let state = state.display().to_string();
        let arguments = self.arguments.iter().map(String::as_str).chain(["--state-dir", &state]);
        Helix::spawn(&arguments.collect::<Vec<_>>())
    }

    /// The resolved memories, by id, that `replay` makes of all events of the trial.
    pub fn replay(&self, broker: &Broker, trial: &Trial) -> BTreeMap<String, Vec<u8>> {
        let (input, output) = (temp_dir("events").join("events.jsonl"), temp_dir("replayed"));
        records::write_file(&input, &records::read_committed(broker, &trial.topic("events")));
        let (input, written) = (input.display().to_string(), output.display().to_string());
        Helix::run_ok(&["replay", "--topology", &self.topology, "--input", &input, "--output", &written]);
        let resolved = records::read_file(output.join("snapshots.jsonl")).into_iter();
        let resolved = resolved.filter(|record| has_type(record, b"memory.resolved"));
        // The last one of each memory.
        resolved.map(|record| (record.key_text(), record.value.unwrap())).collect()
    }
}

/// The stream that resolves the events of a trial's nodes.
pub struct Stream {
    process: Helix,
    command: StreamCommand,
}

impl Stream {
    /// Makes its topics and starts it.
    pub fn start(trial: &Trial) -> Stream {
        Stream::start_with(trial, &[])
    }

    /// The same with further settings, each `NAME=VALUE`.
    pub fn start_with(trial: &Trial, settings: &[&str]) -> Stream {
        let command = StreamCommand::new(trial, settings);
        Stream { process: command.spawn(&temp_dir("state")), command }
    }

    /// The resolved memories, by id, that `replay` makes of all events of the trial.
    pub fn replay(&self, broker: &Broker, trial: &Trial) -> BTreeMap<String, Vec<u8>> {
        self.command.replay(broker, trial)
    }

    /// As [`Stream::replay`], with the memories as a client of HTTP reads them.
    pub fn replayed_json(&self, broker: &Broker, trial: &Trial) -> BTreeMap<String, Value> {
        let memories = self.replay(broker, trial).into_iter();
        memories.map(|(id, json)| (id, serde_json::from_slice(&json).unwrap())).collect()
    }

    /// Waits until each of these nodes, which follow it, shows what `replay` makes of all events of
    /// the trial; none of the events is a dead letter or an equivocation.
    #[track_caller]
    pub fn assert_resolved(&self, broker: &Broker, trial: &Trial, nodes: &[&Node]) {
        let expected = self.replay(broker, trial);
        let all = ListQuery { with_inactive: true, limit: 1000, ..ListQuery::default() };
        let started = Instant::now();
        while nodes.iter().any(|node| view(node).as_ref() != Some(&expected)) {
            let shown = |node: &&Node| block_on(node.list(all.clone())).unwrap().memories;
            let status = |node: &&Node| block_on(node.status()).unwrap();
            assert!(
                started.elapsed() < LIMIT,
                "the nodes show {:?}, and replay makes {expected:?} of the events; they are {:?}, and the stream has written {} records of \
                 snapshots",
                nodes.iter().map(shown).collect::<Vec<_>>(),
                nodes.iter().map(status).collect::<Vec<_>>(),
                records::read_committed(broker, &trial.topic("snapshots")).len()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_no_equivocation(broker, trial);
    }

    /// Ends it in good order.
    #[track_caller]
    pub fn stop(self) {
        self.process.terminate().assert_ended_well();
    }
}

/// No event of a trial came back as a dead letter, and no two that differ have the same id or the
/// same clock.
#[track_caller]
pub fn assert_no_equivocation(broker: &Broker, trial: &Trial) {
    let letters = records::read_committed(broker, &trial.topic("dead-letters"));
    assert!(letters.is_empty(), "{letters:?}");
    for conflict in records::read_committed(broker, &trial.topic("conflicts")) {
        let conflict = conflict.value_json();
        assert_ne!(conflict["conflict_type"], "equivocation", "{conflict}");
    }
}

/// Whether a record of the snapshots topic is of this kind.
pub fn has_type(record: &Record, kind: &[u8]) -> bool {
    record.headers.iter().any(|(name, value)| name == "type" && value.as_deref() == Some(kind))
}
