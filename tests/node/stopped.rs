//! The end of `helixstream node` by a signal, while clients hold connections to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use node::registry::{NodeState, NodesTopic};
use serde_json::{Value, json};
use testkit::{Broker, LIMIT};

use crate::command::NodeProcess;
use crate::events::Client;
use crate::trial::Trial;

/// A session of MCP on one connection, which stays open between two requests.
struct McpSession {
    connection: BufReader<TcpStream>,
    host: String,
    /// As the node has named it.
    id: String,
}

impl McpSession {
    fn open(url: &str) -> McpSession {
        let host = url.strip_prefix("http://").unwrap().to_owned();
        let connection = TcpStream::connect(&host).unwrap();
        connection.set_read_timeout(Some(LIMIT)).unwrap();
        let mut session = McpSession { connection: BufReader::new(connection), host, id: String::new() };
        let client = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        session.call("initialize", params, "");
        assert!(!session.id.is_empty(), "the node names a session");
        session
    }

    /// The result of a method.
    fn call(&mut self, method: &str, params: Value, headers: &str) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Accept: application/json, text/event-stream\r\n{headers}\r\n",
            self.host,
            body.len()
        );
        self.connection.get_mut().write_all((head + &body).as_bytes()).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.connection.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line == "\r\n" {
                    break;
                }
                assert_eq!(line, "HTTP/1.1 200 OK\r\n");
                continue;
            };
            match name {
                "content-length" => length = value.parse().unwrap(),
                "mcp-session-id" => self.id = value.to_owned(),
                _ => {}
            }
        }
        let mut answer = vec![0; length];
        self.connection.read_exact(&mut answer).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["result"].clone()
    }

    fn remember(&mut self, content: &str) -> Value {
        let headers = format!("Mcp-Session-Id: {}\r\nMCP-Protocol-Version: 2025-11-25\r\n", self.id);
        let params = json!({"name": "remember", "arguments": {"content": content}});
        self.call("tools/call", params, &headers)
    }

    /// Whether the node closes the connection in good order.
    fn is_closed(&mut self) -> bool {
        self.connection.read(&mut [0]).unwrap() == 0
    }
}

#[test]
fn a_node_with_a_session_of_mcp_and_a_stream_of_events_ends_and_leaves_its_last_record() {
    let trial = Trial::with_topics("stopped", Broker::shared());
    let node = NodeProcess::start(&trial, "n");
    let mut stream = Client::curl(&node.url, None);
    stream.contents(0);
    let mut session = McpSession::open(&node.url);
    let written = session.remember("by an agent");
    assert_eq!(written["structuredContent"]["memory"]["content"], "by an agent", "{written}");
    assert_eq!(stream.contents(1).0, ["by an agent"]);

    node.process.terminate().assert_ended_well();
    assert!(session.is_closed());
    stream.wait_for_end();
    let nodes = NodesTopic::new(trial.kafka()).read_nodes(LIMIT).unwrap();
    let [record] = &nodes.iter().map(|node| &node.record).collect::<Vec<_>>()[..] else { panic!("{nodes:?}") };
    assert_eq!((&record.state, record.outbox_depth, record.published.counter), (&NodeState::Stopped, 0, 1));
    assert_eq!(trial.events(Broker::shared()).len(), 1);
}
