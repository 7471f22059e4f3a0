//! `helixstream run` on the topics of a trial, and `replay` of its events.

use std::collections::BTreeMap;
use std::path::PathBuf;

use testkit::process::temp_dir;
use testkit::{Broker, records, repo_path};

use crate::support::Helix;
use crate::trial::Trial;

/// The memory topology on topics of a trial, with a running instance.
pub struct Resolving {
    process: Helix,
    topology: String,
    folder: PathBuf,
}

impl Resolving {
    /// Makes the topics and starts an instance with these settings.
    pub fn start(trial: &Trial, settings: &[&str]) -> Resolving {
        let folder = temp_dir("resolving");
        let topology = folder.join("topology.toml");
        let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
        let text = text.replace("\"helixstream\"", &format!("\"{}\"", trial.name));
        std::fs::write(&topology, text.replace("helixagent.memory", &trial.name)).unwrap();
        let topology = topology.display().to_string();
        let common = ["--topology", topology.as_str(), "--bootstrap-servers", &trial.bootstrap];
        Helix::run_ok(&[&["topics", "create"], &common[..]].concat());
        let state = folder.join("state").display().to_string();
        let mut run = vec!["--state-dir", &state, "--no-mirror"];
        run.extend(
            ["purge=false", "session_timeout=4s"].iter().chain(settings).flat_map(|setting| ["--set", *setting]),
        );
        let process = Helix::spawn(&[&["run"], &common[..], &run].concat());
        Resolving { process, topology, folder }
    }

    /// The resolved memories, by id, that `replay` makes of all events of the trial.
    pub fn replay(&self, broker: &Broker, trial: &Trial) -> BTreeMap<String, Vec<u8>> {
        let (input, output) = (self.folder.join("events.jsonl"), temp_dir("replayed"));
        records::write_file(&input, &records::read_committed(broker, &trial.topic("events")));
        let (input, written) = (input.display().to_string(), output.display().to_string());
        Helix::run_ok(&["replay", "--topology", &self.topology, "--input", &input, "--output", &written]);
        let resolved = records::read_file(output.join("snapshots.jsonl")).into_iter();
        let resolved = resolved.filter(|record| has_type(record, b"memory.resolved"));
        // The last one of each memory.
        resolved.map(|record| (record.key_text(), record.value.unwrap())).collect()
    }

    /// Ends the instance.
    pub fn stop(self) {
        self.process.terminate().assert_ended_well();
    }
}

/// Whether a record of the snapshots topic is of this kind.
pub fn has_type(record: &testkit::Record, kind: &[u8]) -> bool {
    record.headers.iter().any(|(name, value)| name == "type" && value.as_deref() == Some(kind))
}
