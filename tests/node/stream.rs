//! `helixstream run` on the topics of a trial, and `replay` of its events.

use std::collections::BTreeMap;
use std::path::PathBuf;

use testkit::process::temp_dir;
use testkit::{Broker, Record, records, repo_path};

use crate::support::Helix;
use crate::trial::Trial;

/// Writes the memory topology with the names of a trial's topics, and returns its path.
pub fn topology_of(trial: &Trial) -> PathBuf {
    let path = temp_dir("topology").join("topology.toml");
    let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
    let text = text.replace("\"helixstream\"", &format!("\"{}\"", trial.name));
    std::fs::write(&path, text.replace("helixagent.memory", &trial.name)).unwrap();
    path
}

/// The stream that resolves the events of a trial's nodes.
pub struct Stream {
    process: Helix,
    topology: String,
}

impl Stream {
    /// Makes its topics and starts it.
    pub fn start(trial: &Trial) -> Stream {
        Stream::start_with(trial, &[])
    }

    /// The same with further settings, each `NAME=VALUE`.
    pub fn start_with(trial: &Trial, settings: &[&str]) -> Stream {
        let topology = topology_of(trial).display().to_string();
        let common = ["--topology", topology.as_str(), "--bootstrap-servers", &trial.bootstrap];
        Helix::run_ok(&[&["topics", "create"], &common[..]].concat());
        let state = temp_dir("state").display().to_string();
        let mut run = vec!["--state-dir", &state, "--no-mirror"];
        let settings = ["purge=false", "session_timeout=4s"].iter().chain(settings);
        run.extend(settings.flat_map(|setting| ["--set", *setting]));
        let process = Helix::spawn(&[&["run"], &common[..], &run].concat());
        Stream { process, topology }
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

    /// Ends it in good order.
    #[track_caller]
    pub fn stop(self) {
        self.process.terminate().assert_ended_well();
    }
}

/// Whether a record of the snapshots topic is of this kind.
pub fn has_type(record: &Record, kind: &[u8]) -> bool {
    record.headers.iter().any(|(name, value)| name == "type" && value.as_deref() == Some(kind))
}
