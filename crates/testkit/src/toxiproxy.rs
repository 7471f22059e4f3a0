//! Toxiproxy, a proxy that spoils connections, in front of servers of tests.
//! `scripts/service-servers toxiproxy` builds it.

use super::http::call;
use super::process::{Process, temp_dir};
use super::service_servers::{folder, is_there};
use super::{ports, unique, wait_for};
use rustix::process::Signal;
use serde_json::json;
use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A fault of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connections are refused.
    Refused,
    /// Connections are accepted, and no answer comes.
    Silent,
    /// Each part of an answer comes so much later.
    Slow(Duration),
    /// An answer comes a byte at a time, with such a pause behind each.
    Trickling(Duration),
    /// The connection ends behind so many bytes of the answer.
    CutAfter(u32),
}

/// A proxy in front of one server.
#[derive(Debug)]
pub struct Toxiproxy {
    name: String,
    port: u16,
}

impl Toxiproxy {
    /// A proxy in front of the server at this port, without a fault. `None` where the machine has
    /// no Toxiproxy and that is allowed: see [`super::skip`].
    pub fn before(server: u16) -> Option<Toxiproxy> {
        let control = control()?;
        let proxy = Toxiproxy { name: unique("proxy"), port: ports::free_port() };
        let (listen, upstream) = (format!("127.0.0.1:{}", proxy.port), format!("127.0.0.1:{server}"));
        let body = json!({ "name": proxy.name, "listen": listen, "upstream": upstream, "enabled": true });
        asked(control, "POST", "/proxies", &body.to_string());
        Some(proxy)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on new connections have this fault, and no other one; with `None` they have none.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let control = control().expect("it was there before");
        let path = format!("/proxies/{}", self.name);
        let (_, toxics) = asked(control, "GET", &format!("{path}/toxics"), "");
        let toxics: serde_json::Value = serde_json::from_str(&toxics).unwrap();
        for toxic in toxics.as_array().unwrap() {
            asked(control, "DELETE", &format!("{path}/toxics/{}", toxic["name"].as_str().unwrap()), "");
        }
        let is_open = fault != Some(Fault::Refused);
        asked(control, "POST", &path, &json!({ "enabled": is_open }).to_string());
        let (kind, attributes) = match fault {
            None | Some(Fault::Refused) => return,
            Some(Fault::Silent) => ("timeout", json!({ "timeout": 0 })),
            Some(Fault::Slow(by)) => ("latency", json!({ "latency": by.as_millis() as u64 })),
            Some(Fault::Trickling(pause)) => {
                ("slicer", json!({ "average_size": 1, "size_variation": 0, "delay": pause.as_micros() as u64 }))
            }
            Some(Fault::CutAfter(bytes)) => ("limit_data", json!({ "bytes": bytes })),
        };
        let toxic = json!({ "name": kind, "type": kind, "stream": "downstream", "attributes": attributes });
        asked(control, "POST", &format!("{path}/toxics"), &toxic.to_string());
    }
}

/// The port of the Toxiproxy of this test process.
fn control() -> Option<u16> {
    static SERVER: OnceLock<(u16, Process)> = OnceLock::new();
    // Each test that is skipped without it says so.
    is_there("toxiproxy").then(|| SERVER.get_or_init(start).0)
}

fn start() -> (u16, Process) {
    let port = ports::free_port();
    let mut command = Command::new(folder("toxiproxy").join("server"));
    command.args(["-host", "127.0.0.1", "-port", &port.to_string()]);
    let log = File::create(temp_dir("toxiproxy").join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let process = Process::start(command, Signal::KILL).expect("start Toxiproxy");
    wait_for("Toxiproxy", || call(port, "GET", "/version", "", "").filter(|(status, _)| *status == 200));
    (port, process)
}

#[track_caller]
fn asked(control: u16, method: &str, path: &str, body: &str) -> (u16, String) {
    let (status, answer) = call(control, method, path, "", body).expect("Toxiproxy answers");
    assert!((200..300).contains(&status), "{method} {path} {body}: {status} {answer}");
    (status, answer)
}
