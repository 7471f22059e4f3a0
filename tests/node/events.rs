//! The stream of events of `helixstream node`, which is killed between two events. The clients are
//! curl, and httpx2 for Python: tests/node/events_client.py.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use testkit::process::temp_dir;
use testkit::{ports, python, repo_path, wait_for, wait_until};

use crate::support::Helix;

/// A node, which accepts writes without Kafka.
struct Node {
    process: Helix,
    url: String,
}

impl Node {
    fn start(folder: &Path) -> Node {
        let (folder, port) = (folder.display().to_string(), ports::free_port().to_string());
        let arguments = ["node", "--node-name", "n", "--node-dir", &folder, "--bootstrap-servers", "127.0.0.1:1"];
        let process = Helix::spawn(&[&arguments[..], &["--http-listen", &port]].concat());
        let url = format!("http://127.0.0.1:{port}");
        wait_until("the node to be ready", || curl(&["-sf", &format!("{url}/ready")]).is_some());
        Node { process, url }
    }

    fn write(&self, content: &str) {
        let body = json!({"content": content}).to_string();
        let url = format!("{}/v1/memories/m", self.url);
        curl(&["-sf", "-X", "PUT", &url, "-H", "Content-Type: application/json", "-d", &body]).unwrap();
    }
}

fn curl(arguments: &[&str]) -> Option<String> {
    let curl = Command::new("curl").args(arguments).output().unwrap();
    curl.status.success().then(|| String::from_utf8(curl.stdout).unwrap())
}

/// A client that writes the events that it gets to a file.
pub struct Client {
    process: Child,
    file: std::path::PathBuf,
}

impl Client {
    fn start(mut command: Command) -> Client {
        let file = temp_dir("events").join("events");
        let process = command.stdin(Stdio::null()).stdout(File::create(&file).unwrap()).spawn().unwrap();
        Client { process, file }
    }

    /// curl at a node's address, behind the event with the id `last`.
    pub fn curl(url: &str, last: Option<&str>) -> Client {
        let mut command = Command::new("curl");
        command.args(["-sN", &format!("{url}/v1/events")]);
        last.iter().for_each(|id| _ = command.args(["-H", &format!("Last-Event-ID: {id}")]));
        Client::start(command)
    }

    /// The whole events that have come: name, id and data of each.
    fn events(&self) -> Vec<(String, String, Value)> {
        let text = std::fs::read_to_string(&self.file).unwrap();
        let blocks = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole).split("\n\n");
        let field = |block: &str, name: &str| -> String {
            block.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or_default().to_owned()
        };
        let events = blocks.filter(|block| block.contains("data: "));
        events
            .map(|block| {
                let data = serde_json::from_str(&field(block, "data")).unwrap();
                (field(block, "event"), field(block, "id"), data)
            })
            .collect()
    }

    /// Waits for so many events, the first of which is `opened`, and returns the contents of the
    /// memories in the others, and the last id.
    pub fn contents(&self, count: usize) -> (Vec<String>, String) {
        let events = wait_for("the events", || Some(self.events()).filter(|events| events.len() > count));
        assert_eq!(events[0].0, "opened", "{events:?}");
        let contents = events[1..].iter().map(|(_, _, data)| data["memory"]["content"].as_str().unwrap().to_owned());
        (contents.collect(), events.last().unwrap().1.clone())
    }

    /// Waits until the client has ended by itself, as it does at the end of the stream.
    pub fn wait_for_end(&mut self) {
        wait_until("the client to end", || self.process.try_wait().unwrap().is_some());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended with the node.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn curl_goes_on_behind_its_last_event_after_the_node_was_killed() {
    let folder = temp_dir("node");
    let node = Node::start(&folder);
    let client = Client::curl(&node.url, None);
    client.contents(0);
    ["1", "2", "3"].iter().for_each(|content| node.write(content));
    let (contents, last) = client.contents(3);
    assert_eq!(contents, ["1", "2", "3"]);
    // This one is accepted, and its client may not get it any more.
    node.write("4");
    node.process.kill();
    drop(client);
    let node = Node::start(&folder);
    node.write("5");
    let mut client = Client::curl(&node.url, Some(&last));
    let (contents, _) = client.contents(2);
    assert_eq!(contents, ["4", "5"]);
    // The end of the node ends the stream.
    node.process.terminate().assert_ended_well();
    client.wait_for_end();
}

#[test]
fn a_client_of_another_make_reads_the_events() {
    let Some(python) = python::interpreter_with("mcp") else { return };
    let node = Node::start(&temp_dir("node"));
    let begin = Client::curl(&node.url, None);
    let (_, id) = begin.contents(0);
    let lines = "two\nlines, \u{2028} and ü";
    node.write("1");
    node.write(lines);
    let output = Command::new(python)
        .arg(repo_path("tests/node/events_client.py"))
        .args([&format!("{}/v1/events", node.url), &id, "3"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(events[0]["event"], "opened");
    let data = |at: usize| -> Value { serde_json::from_str(events[at]["data"].as_str().unwrap()).unwrap() };
    assert_eq!((&data(1)["memory"]["content"], &data(2)["memory"]["content"]), (&json!("1"), &json!(lines)));
    assert_ne!(events[1]["id"], events[2]["id"]);
}
