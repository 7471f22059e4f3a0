//! A real schema registry (Apicurio, Confluent's REST API) on a free port, with its schemas in
//! memory.

use super::http::call;
use super::process::{Process, temp_dir};
use super::{ports, wait_for};
use rustix::process::Signal;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// A registry; ended when dropped.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    dir: PathBuf,
    process: Mutex<Option<Process>>,
}

fn jar() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let libs = cache.expect("HOME is set").join("helixstream/registry/libs");
    let files = std::fs::read_dir(&libs).map(|files| files.flatten().map(|file| file.path()).collect::<Vec<_>>());
    let jar = files.unwrap_or_default().into_iter().find(|path| path.to_string_lossy().ends_with("-runner.jar"));
    jar.unwrap_or_else(|| panic!("no registry in {}: run scripts/registry-jars (make test does)", libs.display()))
}

impl Registry {
    /// The one that all tests of this binary share. Never stop it: use subjects of your own.
    pub fn shared() -> &'static Registry {
        static SHARED: OnceLock<Registry> = OnceLock::new();
        SHARED.get_or_init(Registry::start)
    }

    /// One of the test's own, empty, in its folder.
    pub fn start() -> Registry {
        let registry = Registry { port: ports::free_port(), dir: temp_dir("registry"), process: Mutex::new(None) };
        registry.restart();
        registry
    }

    /// Starts it after [`Registry::stop`], on the same port and with the same schemas; returns when
    /// it serves.
    pub fn restart(&self) {
        let mut command = Command::new("java");
        command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar"]).arg(jar());
        command.env("QUARKUS_HTTP_HOST", "127.0.0.1").env("QUARKUS_HTTP_PORT", self.port.to_string());
        command.env("QUARKUS_HTTP_ACCESS_LOG_ENABLED", "false").current_dir(&self.dir);
        command.env("APICURIO_DATASOURCE_URL", format!("jdbc:h2:file:{}/db", self.dir.display()));
        let log = || File::create(self.dir.join("log")).unwrap();
        command.stdout(log()).stderr(log());
        *self.process.lock().unwrap() = Some(Process::start(command, Signal::KILL).expect("start java"));
        wait_for("the schema registry", || {
            let ended = self.process.lock().unwrap().as_mut().is_none_or(|p| p.poll().is_some());
            assert!(!ended, "{}", std::fs::read_to_string(self.dir.join("log")).unwrap_or_default());
            self.call("GET", "/subjects", "").filter(|(status, _)| *status == 200)
        });
        self.call("PUT", "/config", r#"{"compatibility":"BACKWARD"}"#).expect("it answers");
    }

    /// Ends it; its schemas stay.
    pub fn stop(&self) {
        let mut process = self.process.lock().unwrap().take().expect("it runs");
        process.signal(Signal::TERM);
        process.wait(Duration::from_secs(60)).expect("it ends");
    }

    /// Its address, as a client is given it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    /// One request; the status and the body, or nothing where nobody answers.
    pub fn call(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let path = format!("/apis/ccompat/v7{path}");
        call(self.port, method, &path, "Content-Type: application/vnd.schemaregistry.v1+json\r\n", body)
    }

    /// Registers a schema of Avro and tells its id.
    pub fn register(&self, subject: &str, schema: &str) -> u32 {
        self.register_with(subject, schema, &serde_json::json!([]))
    }

    /// The same of a schema that refers to others: each with its `name`, `subject` and `version`.
    pub fn register_with(&self, subject: &str, schema: &str, references: &serde_json::Value) -> u32 {
        let body = serde_json::json!({ "schema": schema, "schemaType": "AVRO", "references": references }).to_string();
        let (status, answer) = self.call("POST", &format!("/subjects/{subject}/versions"), &body).expect("it answers");
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()["id"].as_u64().unwrap().try_into().unwrap()
    }

    /// The subjects that it knows.
    pub fn subjects(&self) -> Vec<String> {
        serde_json::from_str(&self.call("GET", "/subjects", "").expect("it answers").1).unwrap()
    }
}
