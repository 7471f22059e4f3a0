//! A node whose HTTP port speaks TLS, and one on a broker that lets it do what the docs say and
//! nothing else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use testkit::certificates::Authority;
use testkit::process::temp_dir;
use testkit::{Acl, AclBroker, ports, repo_path, wait_for};

use crate::acl::{Trial, page};
use crate::support::Helix;

/// What curl prints for these arguments, and its exit code.
fn curl(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new("curl").args([&["-s"], arguments].concat()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// `helixstream mcp` as an agent's host starts it; killed when dropped.
struct Mcp {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Mcp {
    fn start(arguments: &[&str]) -> Mcp {
        let mut command = Helix::command();
        command.arg("mcp").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let (requests, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut mcp = Mcp { process, requests, answers: BufReader::new(answers) };
        let client = json!({"name": "test", "version": "1"});
        mcp.call("initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}));
        mcp.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        mcp
    }

    fn send(&mut self, message: Value) {
        writeln!(self.requests, "{message}").and_then(|()| self.requests.flush()).unwrap();
    }

    /// The result of a method.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.send(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}));
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        answer["result"].clone()
    }

    /// The result of a tool.
    fn tool(&mut self, name: &str, arguments: Value) -> Value {
        self.call("tools/call", json!({"name": name, "arguments": arguments}))
    }
}

impl Drop for Mcp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_node_speaks_tls_to_http_clients_and_to_the_tools_of_an_agent() {
    let authority = Authority::new("the authority of a node");
    let identity = authority.sign("node");
    let path = |path: &Path| path.display().to_string();
    let (ca, certificate, key) = (path(&authority.certificate()), path(&identity.certificate), path(&identity.key));
    let (folder, port) = (path(&temp_dir("node")), ports::free_port().to_string());
    let url = format!("https://localhost:{port}");
    let node = ["node", "--node-name", "n", "--node-dir", &folder, "--bootstrap-servers", "127.0.0.1:1"];
    let http = ["--http-listen", &port, "--http-tls-cert", &certificate, "--http-tls-key", &key];
    let node = Helix::spawn(&[&node[..], &http].concat());
    let ready = format!("{url}/ready");
    wait_for("the node to be ready", || (curl(&["--cacert", &ca, &ready]).1 == "ready\n").then_some(()));

    let memories = format!("{url}/v1/memories");
    let write = ["--cacert", &ca, &memories, "--json", r#"{"memory_id": "m", "content": "over TLS"}"#];
    let (code, written) = curl(&write);
    assert_eq!(code, Some(0), "{written}");
    let (_, shown) = curl(&["--cacert", &ca, &format!("{memories}/m")]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["memory"]["content"], "over TLS", "{shown}");
    // 60: the certificate of the server was not accepted.
    assert_eq!(curl(&[&memories]).0, Some(60));
    let plain = curl(&["-o", "/dev/null", "-w", "%{http_code}", &memories.replace("https:", "http:")]);
    assert_eq!(plain.1, "400");

    let mut mcp = Mcp::start(&["--node-url", &url, "--node-ca-file", &ca]);
    let recalled = mcp.tool("recall", json!({"memory_id": "m"}));
    assert_eq!(recalled["isError"], false, "{recalled}");
    assert!(recalled.to_string().contains("over TLS"), "{recalled}");
    let remembered = mcp.tool("remember", json!({"content": "by an agent"}));
    assert_eq!(remembered["isError"], false, "{remembered}");
    let (_, list) = curl(&["--cacert", &ca, &memories]);
    assert!(list.contains("by an agent"), "{list}");
    let refused = Mcp::start(&["--node-url", &url]).tool("recall", json!({"memory_id": "m"}));
    assert_eq!(refused["isError"], true, "{refused}");
    assert!(!refused.to_string().contains("over TLS"), "{refused}");
    drop(mcp);
    node.terminate().assert_ended_well();
}

/// The ACLs that docs/kafka-acls.md prints for a node, with a trial's topics.
fn acls_of_a_node(trial: &Trial) -> Vec<Acl> {
    let docs = std::fs::read_to_string(repo_path("docs/kafka-acls.md")).unwrap();
    let (_, section) = docs.split_once("\n## A node\n").unwrap();
    let block = section.split("```").nth(1).unwrap().replace("helixagent.memory", &trial.name);
    let acls: Vec<Acl> = block.trim().lines().flat_map(Acl::of_command).collect();
    assert_eq!(acls.len(), 8, "{block}");
    acls
}

#[test]
fn a_node_registers_publishes_and_follows_with_the_acls_of_the_docs_and_no_others() {
    let (trial, broker) = (Trial::new(1), AclBroker::shared());
    trial.create_topics();
    let (user, acls) = (broker.user(), acls_of_a_node(&trial));
    broker.allow(&acls.iter().map(|acl| (&user, acl)).collect::<Vec<_>>());
    let (file, state, servers) = (trial.file(), trial.path("state"), broker.open().bootstrap());
    let stream = ["run", "--topology", &file, "--bootstrap-servers", &servers, "--state-dir", &state, "--no-mirror"];
    let stream = Helix::spawn(&stream);

    let (folder, address) = (trial.path("node"), format!("127.0.0.1:{}", ports::free_port()));
    let node = ["node", "--node-name", "n", "--node-dir", &folder, "--http-listen", &address];
    let topics = ["events", "snapshots", "nodes", "dead-letters"].map(|topic| trial.topic(topic));
    let flags = ["--events-topic", "--snapshots-topic", "--nodes-topic", "--dead-letters-topic"];
    let topics: Vec<&str> = flags.iter().zip(&topics).flat_map(|(flag, topic)| [*flag, topic]).collect();
    let login = user.arguments();
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    let node = Helix::spawn(&[&node[..], &topics, &login].concat());
    wait_for("the node to be ready", || page(&address, "/ready").filter(|page| page.ends_with("ready\n")));

    let memories = format!("http://{address}/v1/memories");
    let write = [&format!("{memories}?ack=kafka&ack_timeout=25"), "--json", r#"{"memory_id": "m", "content": "tea"}"#];
    let written: Value = serde_json::from_str(&curl(&write).1).unwrap();
    assert_eq!(written["event"]["state"], "published", "{written}\n{}", node.stderr());
    let json = |path: &str| serde_json::from_str::<Value>(&curl(&[&format!("http://{address}{path}")]).1).unwrap();
    wait_for("the resolved memory", || (json("/v1/memories/m")["pending"] == false).then_some(()));
    wait_for("the node among the nodes", || {
        let nodes = json("/v1/nodes");
        (nodes["complete"] == true && nodes["nodes"][0]["status"] == "active").then_some(())
    });
    let asked: Value =
        serde_json::from_str(&curl(&["-X", "POST", &format!("http://{address}/v1/sync/force")]).1).unwrap();
    assert_eq!(asked["repeated"], false, "{asked}");
    let sent = "\nhelixstream_node_sync_requests_total 1\n";
    wait_for("the sync request to be sent", || page(&address, "/metrics").filter(|page| page.contains(sent)));

    let ended = node.terminate();
    assert!(!ended.stderr.contains("uthorization") && !ended.stderr.contains("HS8041"), "{}", ended.stderr);
    ended.assert_ended_well();
    stream.terminate().assert_ended_well();
}
