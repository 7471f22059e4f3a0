//! A registry behind TLS: its certificate is checked against the authority that is named, and ours
//! is shown where it asks.

use crate::to_avro::{self, framed};
use apache_avro::Schema;
use avro::Avro;
use avro::schemas::VERSIONS;
use avro::settings::RegistrySettings;
use rustix::process::Signal;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use streams::ports::{Codec, CodecError};
use testkit::process::{Process, temp_dir};
use testkit::{ports, wait_for};

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().expect("run openssl");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and a server and a client that it vouches for.
pub fn certificates() -> PathBuf {
    let dir = temp_dir("tls");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 2";
    openssl(&dir, &format!("req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.pem"));
    openssl(&dir, &format!("req -x509 {key} -subj /CN=stranger -keyout other.key -out other.pem"));
    for name in ["localhost", "client"] {
        let usage = "-addext subjectAltName=DNS:localhost -addext basicConstraints=CA:FALSE";
        let paths = format!("-keyout {name}.key -out {name}.pem");
        openssl(&dir, &format!("req -x509 {key} -subj /CN={name} {usage} -CA ca.pem -CAkey ca.key {paths}"));
    }
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    std::fs::write(dir.join("identity.pem"), [read("client.pem"), read("client.key")].concat()).unwrap();
    dir
}

/// A server that has one answer, to the question for schema 9.
fn serve(dir: &Path, more: &[&str]) -> (Process, String) {
    let text = VERSIONS.iter().rfind(|v| v.name == "event").unwrap().text;
    let body = serde_json::json!({ "schema": text }).to_string();
    let head = "HTTP/1.0 200 OK\r\nContent-Type: application/json";
    std::fs::create_dir_all(dir.join("schemas/ids")).unwrap();
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    std::fs::write(dir.join("schemas/ids/9?deleted=true"), answer).unwrap();
    let port = ports::free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-HTTP", "-cert", "localhost.pem", "-key", "localhost.key", "-port"]);
    command.arg(port.to_string()).args(more).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process::start(command, Signal::KILL).expect("start openssl");
    wait_for("the server", || TcpStream::connect(("localhost", port)).ok());
    (process, format!("https://localhost:{port}"))
}

fn ask(settings: RegistrySettings) -> Result<Vec<u8>, CodecError> {
    let text = VERSIONS.iter().rfind(|v| v.name == "event").unwrap().text;
    let json = br#"{"event_id":"e","event_type":"memory.updated","memory_id":"m"}"#;
    let body = to_avro::event(&Schema::parse_str(text).unwrap(), Some(json)).unwrap();
    Avro::new(settings).unwrap().decode("event", &framed(9, &body))
}

#[test]
fn certificates_are_checked_both_ways() {
    let dir = certificates();
    let settings = |url: &str, ca: &str, identity: Option<&str>, wait: u64| RegistrySettings {
        url: url.to_owned(),
        ca_file: Some(dir.join(ca)),
        certificate_file: identity.map(|name| dir.join(name)),
        wait: Duration::from_secs(wait),
        ..RegistrySettings::default()
    };
    let (_server, url) = serve(&dir, &[]);
    assert!(ask(settings(&url, "ca.pem", None, 60)).is_ok());
    let refused = ask(settings(&url, "other.pem", None, 1));
    assert!(matches!(refused, Err(CodecError::Unavailable(_))), "{refused:?}");
    let (_server, url) = serve(&dir, &["-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"]);
    assert!(ask(settings(&url, "ca.pem", Some("identity.pem"), 60)).is_ok());
    let refused = ask(settings(&url, "ca.pem", None, 1));
    assert!(matches!(refused, Err(CodecError::Unavailable(_))), "{refused:?}");
    let missing = Avro::new(settings(&url, "nowhere.pem", None, 1)).err().unwrap().to_string();
    assert!(missing.contains("nowhere.pem"), "{missing}");
}
