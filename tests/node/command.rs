//! `helixstream node` as a process, and curl as its client.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use testkit::process::temp_dir;
use testkit::{Broker, ports, repo_path, wait_for};

use crate::support::Helix;
use crate::trial::Trial;

/// The command line of a node: its folder and its address stay the same over all its starts.
pub struct NodeCommand {
    arguments: Vec<String>,
    /// Its address.
    pub url: String,
    /// Its folder.
    pub folder: PathBuf,
}

impl NodeCommand {
    /// Of a node with a folder of its own, on the topics of a trial.
    pub fn new(trial: &Trial, name: &str, more: &[&str]) -> NodeCommand {
        let (folder, port) = (temp_dir("node"), ports::free_port().to_string());
        let (folder_text, topics) = (folder.display().to_string(), trial.topics());
        let arguments = [
            "node",
            "--node-name",
            name,
            "--node-dir",
            &folder_text,
            "--bootstrap-servers",
            &trial.bootstrap,
            "--http-listen",
            &port,
            "--events-topic",
            &topics.events,
            "--snapshots-topic",
            &topics.snapshots,
            "--nodes-topic",
            &topics.nodes,
            "--dead-letters-topic",
            &topics.dead_letters,
        ];
        let arguments = arguments.iter().chain(more).map(|text| (*text).to_owned()).collect();
        NodeCommand { arguments, url: format!("http://127.0.0.1:{port}"), folder }
    }

    /// Starts a process, and does not wait for it.
    pub fn spawn(&self) -> NodeProcess {
        self.spawn_killed_at(None)
    }

    /// The same; the process kills itself at the n-th time of a step, where one is named as
    /// `STEP:N`.
    pub fn spawn_killed_at(&self, step: Option<&str>) -> NodeProcess {
        let mut command = Helix::command();
        command.args(&self.arguments).envs(step.map(|step| ("HELIXSTREAM_TEST_KILL_AT", step)));
        NodeProcess { process: Helix::spawn_command(command), url: self.url.clone() }
    }
}

/// A node in a process of its own.
pub struct NodeProcess {
    pub process: Helix,
    /// Its address.
    pub url: String,
}

impl NodeProcess {
    /// Starts it and waits until it serves.
    pub fn start(trial: &Trial, name: &str) -> NodeProcess {
        NodeProcess::start_with(trial, name, &[])
    }

    /// The same with further arguments.
    pub fn start_with(trial: &Trial, name: &str, more: &[&str]) -> NodeProcess {
        let node = NodeCommand::new(trial, name, more).spawn();
        node.wait_until_ready();
        node
    }

    /// Waits until it serves.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait_for("the node to be ready", || self.page("/ready").filter(|text| text == "ready\n"));
    }

    /// A page as text; `None` where it is not answered with success.
    pub fn page(&self, path: &str) -> Option<String> {
        let curl = Command::new("curl").args(["-sf", &format!("{}{path}", self.url)]).output().unwrap();
        curl.status.success().then(|| String::from_utf8(curl.stdout).unwrap())
    }

    /// A memory as the node answers it; `None` where the node does not know it.
    pub fn memory(&self, id: &str) -> Option<Value> {
        self.json(&format!("/v1/memories/{id}"))
    }

    /// All its memories, also those that are not active, by id; `None` while something is pending.
    pub fn view(&self) -> Option<BTreeMap<String, Value>> {
        let page = self.json("/v1/memories?include_inactive=true&limit=200")?;
        let memories = page["memories"].as_array().unwrap();
        let is_settled = memories.iter().all(|shown| shown["pending"] == false);
        let memory = |shown: &Value| shown["memory"].clone();
        let id = |memory: &Value| memory["memory_id"].as_str().unwrap().to_owned();
        is_settled.then(|| memories.iter().map(memory).map(|memory| (id(&memory), memory)).collect())
    }

    /// A page of JSON; `None` where it is not answered with success.
    pub fn json(&self, path: &str) -> Option<Value> {
        self.page(path).map(|text| serde_json::from_str(&text).unwrap())
    }

    /// Writes fields of a memory by a caller who has seen what a clock token says, and returns the
    /// answer.
    pub fn patch(&self, id: &str, clock: &str, fields: &str) -> Value {
        let condition = format!("If-Match: \"{clock}\"");
        self.send("PATCH", &format!("/v1/memories/{id}?ack=kafka"), &["-H", &condition, "-d", fields])
    }

    /// A request with JSON, and its answer.
    pub fn send(&self, method: &str, path: &str, more: &[&str]) -> Value {
        let (url, media_type) = (format!("{}{path}", self.url), "Content-Type: application/json");
        let arguments = [&["-s", "-X", method, &url, "-H", media_type], more].concat();
        let curl = Command::new("curl").args(arguments).output().unwrap();
        serde_json::from_slice(&curl.stdout).unwrap_or_else(|error| panic!("{error}: {curl:?}"))
    }
}

#[test]
fn the_limits_of_the_streams_topology_file_decide_what_a_node_accepts() {
    let trial = Trial::new("limits", Broker::shared());
    let file = repo_path("topologies/memory.toml").display().to_string();
    let limits = ["--topology", &file, "--set", "max_value_bytes=4KiB", "--set", "max_output_bytes=8KiB"];
    let node = NodeProcess::start_with(&trial, "small", &limits);
    let text = |bytes: usize| "x".repeat(bytes);
    let create = |bytes: usize| format!("{{\"memory_id\": \"m\", \"content\": \"{}\"}}", text(bytes));
    let refused = node.send("POST", "/v1/memories", &["-d", &create(5000)]);
    assert_eq!((&refused["status"], &refused["code"]), (&413.into(), &"HS8071".into()), "{refused}");
    assert_eq!(node.send("POST", "/v1/memories", &["-d", &create(2500)])["event"]["counter"], 1);
    let more = format!("{{\"metadata\": {{\"more\": \"{}\"}}}}", text(2500));
    let refused = node.send("PATCH", "/v1/memories/m", &["-d", &more]);
    assert_eq!((&refused["status"], &refused["code"]), (&413.into(), &"HS8071".into()), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("at most 4096 can be published"), "{refused}");
}
