//! `helixstream run` on the topics of a trial.

use testkit::process::temp_dir;
use testkit::repo_path;

use crate::support::Helix;
use crate::trial::Trial;

/// The stream that resolves the events of a trial's nodes.
pub struct Stream(Helix);

impl Stream {
    /// Makes its topics and starts it.
    pub fn start(trial: &Trial) -> Stream {
        Stream::start_with(trial, &[])
    }

    /// The same with further arguments.
    pub fn start_with(trial: &Trial, more: &[&str]) -> Stream {
        let folder = temp_dir("topology");
        let topology = folder.join("topology.toml");
        let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
        let text = text.replace("\"helixstream\"", &format!("\"{}\"", trial.name));
        std::fs::write(&topology, text.replace("helixagent.memory", &trial.name)).unwrap();
        let topology = topology.display().to_string();
        let common = ["--topology", topology.as_str(), "--bootstrap-servers", &trial.bootstrap];
        Helix::run_ok(&[&["topics", "create"], &common[..]].concat());
        let state = folder.join("state").display().to_string();
        let run = ["--state-dir", &state, "--no-mirror", "--set", "purge=false", "--set", "session_timeout=4s"];
        Stream(Helix::spawn(&[&["run"], &common[..], &run, more].concat()))
    }

    /// Ends it in good order.
    #[track_caller]
    pub fn stop(self) {
        self.0.terminate().assert_ended_well();
    }
}
