//! `helixstream services`: health of a real Kafka and Postgres, also behind a connection that is
//! cut off or silent; start and stop over a stand-in for `docker` that notes its calls.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod real;
mod settings;
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use support::{Finished, Helix};
use testkit::ports::free_port;
use testkit::process::temp_dir;
use testkit::{Broker, Postgres, wait_for};

/// `helixstream services` in a folder, without any variable `SVC_…` of the surroundings.
fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Helix::command();
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SVC_")) {
        command.env_remove(name);
    }
    command.arg("services").args(arguments).current_dir(dir);
    command
}

fn run(dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = command(dir, arguments);
    command.args(["--format", "json"]).envs(variables.iter().copied());
    Helix::spawn_command(command).finish()
}

/// The rows of a report by their services: the state and the detail.
#[track_caller]
fn states(finished: &Finished) -> Vec<(String, String, String)> {
    let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = report["services"].as_array().unwrap().iter();
    rows.map(|row| (text(row, "service"), text(row, "state"), text(row, "detail"))).collect()
}

/// A server that does this with each connection, at a free port.
fn server(serve: impl Fn(std::net::TcpStream) + Send + 'static) -> u16 {
    serve_at(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
}

fn serve_at(listener: TcpListener, serve: impl Fn(std::net::TcpStream) + Send + 'static) -> u16 {
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().for_each(|stream| serve(stream.unwrap())));
    port
}

/// A server that accepts connections and never says anything.
fn silent() -> u16 {
    let kept = std::sync::Mutex::new(Vec::new());
    server(move |stream| kept.lock().unwrap().push(stream))
}

/// A server that cuts off each connection.
fn cutting() -> u16 {
    server(drop)
}

#[test]
fn a_real_kafka_and_postgres_are_healthy() {
    let dir = temp_dir("services");
    let (servers, url) = (Broker::shared().bootstrap(), Postgres::shared().create_database());
    let variables = [
        ("HELIXSTREAM_BOOTSTRAP_SERVERS", servers.as_str()),
        ("HELIXSTREAM_POSTGRES_URL", url.as_str()),
        // What a stronger source says counts.
        ("SVC_KAFKA_PORT", "1"),
        ("SVC_KAFKA_TIMEOUT", "60s"),
        ("SVC_POSTGRESQL_TIMEOUT", "60s"),
    ];
    let finished = run(&dir, &["check"], &variables);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let healthy = |name: &str| (name.to_owned(), "healthy".to_owned(), String::new());
    assert_eq!(states(&finished), [healthy("kafka"), healthy("postgres")]);
    let mut table = command(&dir, &["check", "kafka"]);
    let finished = Helix::spawn_command({
        table.envs(variables);
        table
    })
    .finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.starts_with("SERVICE  STATE    REQUIRED"), "{finished:?}");
}

#[test]
fn a_connection_that_is_silent_or_cut_off_is_not_healthy() {
    let dir = temp_dir("services");
    let port = |port: u16| port.to_string();
    for at in [port(silent()), port(cutting()), port(free_port())] {
        let variables = [
            ("SVC_KAFKA_PORT", at.as_str()),
            ("SVC_KAFKA_TIMEOUT", "500ms"),
            ("SVC_KAFKA_RETRY_COUNT", "2"),
            ("SVC_POSTGRESQL_PORT", &at),
            ("SVC_POSTGRESQL_TIMEOUT", "500ms"),
            ("SVC_POSTGRESQL_RETRY_COUNT", "1"),
            ("SVC_POSTGRESQL_REQUIRED", "false"),
            ("SVC_ZOOKEEPER_ENABLED", "true"),
            ("SVC_ZOOKEEPER_PORT", &at),
            ("SVC_ZOOKEEPER_TIMEOUT", "500ms"),
            ("SVC_ZOOKEEPER_RETRY_COUNT", "1"),
        ];
        let finished = run(&dir, &["check"], &variables);
        finished.assert_failed(1, &["required services are not healthy: kafka [HS9010]"]);
        for (service, state, detail) in states(&finished) {
            assert_eq!(state, "unhealthy", "{service} at {at}: {finished:?}");
            assert!(detail.contains("[HS"), "{service}: {detail}");
            assert!(service != "kafka" || detail.contains("has answered within 500 ms ("), "{detail}");
        }
    }
}

#[test]
fn a_refused_password_is_not_healthy_and_not_shown() {
    let dir = temp_dir("services");
    let url = Postgres::shared().create_database();
    Postgres::shared().add_access_rules("host all of_services all scram-sha-256");
    testkit::postgres::query(&url, "create role of_services login password 'right'");
    let url = url.replacen("postgres@", "of_services:geheim@", 1);
    let finished = run(
        &dir,
        &["check", "postgres"],
        &[("SVC_POSTGRESQL_URL", &url), ("SVC_POSTGRESQL_TIMEOUT", "60s"), ("SVC_POSTGRESQL_RETRY_COUNT", "1")],
    );
    finished.assert_failed(1, &["not healthy: postgres [HS9010]"]);
    assert!(states(&finished)[0].2.contains("[HS4507]"), "{finished:?}");
    assert!(!finished.stdout.contains("geheim") && !finished.stderr.contains("geheim"), "{finished:?}");
}

/// The id of the container that the stand-in starts.
const OURS: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// The id of a container that somebody else has started.
const FOREIGN: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A folder with a compose file and a stand-in for `docker`, which notes calls that change
/// something. The file `containers` holds the ids of clickhouse's containers, and `ports` what they
/// publish. A change fails while there is a file `fail`, and does not end while there is a file
/// `hang`.
struct StandIn {
    dir: PathBuf,
    port: u16,
}

impl StandIn {
    fn new() -> StandIn {
        let dir = temp_dir("stand-in");
        std::fs::write(dir.join("docker-compose.yml"), "x-helixstream: true\nservices: {}\n").unwrap();
        std::fs::create_dir(dir.join("bin")).unwrap();
        let (docker, at) = (dir.join("bin/docker"), dir.display());
        let script = format!(
            "#!/bin/sh\ncd '{at}'\n\
             case \"$*\" in\n\
             compose*' ps '*' -- clickhouse') exec cat containers;;\n\
             compose*' ps '*) exit;;\n\
             'ps '*) for id in $(cat containers); do case \"$*\" in *id=$id*) echo $id;; esac; done; exit;;\n\
             'port '*) exec cat ports;;\n\
             esac\n\
             echo \"$CLICKHOUSE_HTTP_PORT $*\" >>calls\n\
             while [ -e hang ]; do sleep 0.1; done\n\
             case \"$*\" in *' up '*) [ -s containers ] || echo {OURS} >containers;; esac\n\
             if [ -e fail ]; then echo 'no space left' >&2; exit 17; fi\n\
             case \"$*\" in 'rm '*) : >containers;; esac\n"
        );
        std::fs::write(dir.join("containers"), "").unwrap();
        std::fs::write(dir.join("ports"), "").unwrap();
        std::fs::write(&docker, script).unwrap();
        std::fs::set_permissions(&docker, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        StandIn { dir, port: free_port() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.dir, arguments);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.dir.join("bin").display()));
        command.env("SVC_CLICKHOUSE_PORT", self.port.to_string()).args(["--format", "json"]);
        // A variable of somebody else's project.
        command.env("COMPOSE_PROJECT_NAME", "other");
        // Nothing of this machine is to answer.
        command.env("SVC_MINIO_PORT", free_port().to_string());
        command
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        Helix::spawn_command(self.command(arguments)).finish()
    }

    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// What each call of `docker compose` is expected to be.
    fn call(&self, port: &str, arguments: &str) -> String {
        let file = self.dir.join("docker-compose.yml").canonicalize().unwrap();
        format!("{port} compose --file {} --project-name helixstream --profile bigdata {arguments}", file.display())
    }

    /// From now on clickhouse has this container, published at this port.
    fn has_container(&self, id: &str, port: u16) {
        std::fs::write(self.dir.join("containers"), format!("{id}\n")).unwrap();
        std::fs::write(self.dir.join("ports"), format!("8123/tcp -> 127.0.0.1:{port}\n")).unwrap();
    }

    /// Serves ClickHouse's `/ping` from now on.
    fn serve(&self) {
        serve_at(TcpListener::bind(("127.0.0.1", self.port)).unwrap(), |mut stream| {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nOk.\n";
            // A client that is gone has given up before.
            let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(answer));
        });
    }
}

#[test]
fn up_starts_what_does_not_answer_and_down_stops_that_alone() {
    let stand_in = StandIn::new();
    let up = Helix::spawn_command(stand_in.command(&["up", "clickhouse"]));
    wait_for("docker to be called", || (!stand_in.calls().is_empty()).then_some(()));
    stand_in.serve();
    let finished = up.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(states(&finished)[0].1, "started", "{finished:?}");
    let port = stand_in.port.to_string();
    let started = stand_in.call(&port, "up --detach --no-deps -- clickhouse");
    assert_eq!(stand_in.calls(), [started], "clickhouse alone, at the port of the settings");

    let finished = stand_in.run(&["up", "clickhouse"]);
    assert_eq!(states(&finished)[0].1, "already_running", "{finished:?}");
    assert_eq!(stand_in.calls().len(), 1, "what answers is left alone");

    let finished = stand_in.run(&["down", "kafka"]);
    assert_eq!(states(&finished)[0].1, "not_started_here", "{finished:?}");
    assert_eq!(stand_in.calls().len(), 1, "down stops nothing that up has not started");

    let finished = stand_in.run(&["down"]);
    assert_eq!((finished.code, states(&finished)[0].1.as_str()), (Some(0), "stopped"), "{finished:?}");
    assert_eq!(stand_in.calls()[1..], [format!(" stop {OURS}"), format!(" rm {OURS}")]);
    let finished = stand_in.run(&["down"]);
    assert_eq!((finished.code, states(&finished).len()), (Some(0), 0), "{finished:?}");
}

#[test]
fn what_docker_cannot_do_is_reported_and_tried_again() {
    let stand_in = StandIn::new();
    std::fs::write(stand_in.dir.join("fail"), "").unwrap();
    let finished = stand_in.run(&["up", "clickhouse"]);
    finished.assert_failed(1, &["not healthy: clickhouse [HS9010]"]);
    let (_, state, detail) = states(&finished).remove(0);
    assert_eq!(state, "failed", "{finished:?}");
    assert!(detail.contains("exit status: 17") && detail.contains("no space left [HS9008]"), "{detail}");

    // Something of it may run, so `down` is about it; a failure keeps it for the next try.
    stand_in.run(&["down"]).assert_failed(1, &["could not be stopped: clickhouse [HS9011]"]);
    std::fs::remove_file(stand_in.dir.join("fail")).unwrap();
    let finished = stand_in.run(&["down"]);
    assert_eq!(states(&finished)[0].1, "stopped", "{finished:?}");

    let finished = stand_in.run(&["up", "clickhouse", "--start-limit", "100ms"]);
    finished.assert_failed(1, &["clickhouse"]);
    assert!(states(&finished)[0].2.contains("after its start: localhost:"), "{finished:?}");
}

#[test]
fn a_container_of_somebody_else_is_neither_taken_over_nor_removed() {
    let stand_in = StandIn::new();
    stand_in.has_container(FOREIGN, stand_in.port);
    let finished = stand_in.run(&["up", "clickhouse", "--start-limit", "100ms"]);
    finished.assert_failed(1, &["clickhouse"]);
    assert!(states(&finished)[0].2.contains("which `up` has not started"), "{finished:?}");
    stand_in.has_container(FOREIGN, 1);
    let finished = stand_in.run(&["up", "clickhouse"]);
    let expected = format!("listens at 1 instead of {}; set SVC_CLICKHOUSE_PORT", stand_in.port);
    assert!(states(&finished)[0].2.contains(&expected), "{finished:?}");
    std::fs::write(stand_in.dir.join("ports"), "").unwrap();
    let finished = stand_in.run(&["up", "clickhouse"]);
    assert!(states(&finished)[0].2.contains("listens at no port of this machine"), "{finished:?}");
    let finished = stand_in.run(&["down"]);
    assert_eq!((finished.code, states(&finished).len()), (Some(0), 0), "{finished:?}");
    assert_eq!(stand_in.calls(), [""; 0], "neither started nor removed");
}

#[test]
fn a_container_in_the_place_of_the_started_one_stays() {
    let stand_in = StandIn::new();
    stand_in.run(&["up", "clickhouse", "--start-limit", "100ms"]).assert_failed(1, &["clickhouse"]);
    stand_in.has_container(FOREIGN, stand_in.port);
    let finished = stand_in.run(&["down"]);
    assert_eq!((finished.code, states(&finished)[0].1.as_str()), (Some(0), "gone"), "{finished:?}");
    assert_eq!(stand_in.calls().len(), 1, "only the start");
}

#[test]
fn a_kill_in_the_middle_of_a_start_is_seen_by_down() {
    let stand_in = StandIn::new();
    std::fs::write(stand_in.dir.join("hang"), "").unwrap();
    let up = Helix::spawn_command(stand_in.command(&["up", "clickhouse"]));
    wait_for("docker to be called", || (!stand_in.calls().is_empty()).then_some(()));
    up.kill();
    std::fs::remove_file(stand_in.dir.join("hang")).unwrap();
    let containers = stand_in.dir.join("containers");
    wait_for("docker to go on alone", || (!std::fs::read(&containers).unwrap().is_empty()).then_some(()));
    let finished = stand_in.run(&["down"]);
    finished.assert_failed(1, &["could not be stopped: clickhouse [HS9011]"]);
    let detail = states(&finished).remove(0).2;
    assert!(detail.contains(&format!("docker rm --force {OURS}")) && detail.contains("[HS9013]"), "{detail}");
    std::fs::write(&containers, "").unwrap();
    assert_eq!(states(&stand_in.run(&["down"]))[0].1, "gone");
    assert_eq!(states(&stand_in.run(&["down"])), []);
}

#[test]
fn what_runs_already_needs_no_file_of_started_services() {
    let stand_in = StandIn::new();
    stand_in.serve();
    let finished = stand_in.run(&["up", "clickhouse", "--started-file", "no-folder/started.json"]);
    assert_eq!((finished.code, states(&finished)[0].1.as_str()), (Some(0), "already_running"), "{finished:?}");
}

#[test]
fn a_signal_is_no_success_of_optional_services() {
    let stand_in = StandIn::new();
    std::fs::write(stand_in.dir.join("hang"), "").unwrap();
    let mut command = stand_in.command(&["up", "clickhouse"]);
    command.env("SVC_CLICKHOUSE_REQUIRED", "false");
    let up = Helix::spawn_command(command);
    wait_for("docker to be called", || (!stand_in.calls().is_empty()).then_some(()));
    let finished = up.terminate();
    finished.assert_failed(1, &["a signal came before", "[HS9010]"]);
    assert!(finished.stdout.contains("\"ok\": false"), "{finished:?}");
}

#[test]
fn a_need_outside_of_the_project_is_none() {
    let stand_in = StandIn::new();
    let prometheus = server(|mut stream| {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 28\r\n\r\nPrometheus Server is Ready.\n";
        // A client that is gone has given up before.
        let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(answer));
    });
    let mut command = stand_in.command(&["up", "grafana"]);
    command.env("SVC_PROMETHEUS_PORT", prometheus.to_string()).env("SVC_GRAFANA_PORT", free_port().to_string());
    let finished = Helix::spawn_command(command).finish();
    finished.assert_failed(1, &["not healthy: grafana [HS9010]"]);
    let states = states(&finished);
    assert_eq!(states[0].1, "already_running", "{finished:?}");
    assert!(states[1].2.contains("grafana needs prometheus in the same compose project"), "{finished:?}");
    assert_eq!(stand_in.calls(), [""; 0], "it would look for prometheus in vain");
}

#[test]
fn the_second_kafka_is_not_asked_with_the_security_of_the_first() {
    let dir = temp_dir("services");
    let servers = Broker::shared().bootstrap();
    let variables = [
        ("SVC_KAFKA_ZOOKEEPER_URL", servers.as_str()),
        ("SVC_KAFKA_ZOOKEEPER_TIMEOUT", "60s"),
        ("HELIXSTREAM_KAFKA_SECURITY", "ssl"),
    ];
    let finished = run(&dir, &["check", "kafka-zookeeper"], &variables);
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn a_signal_ends_docker_and_up() {
    let stand_in = StandIn::new();
    std::fs::write(stand_in.dir.join("hang"), "").unwrap();
    let up = Helix::spawn_command(stand_in.command(&["up", "clickhouse", "minio"]));
    wait_for("docker to be called", || (!stand_in.calls().is_empty()).then_some(()));
    let finished = up.terminate();
    finished.assert_failed(1, &["not healthy: clickhouse, minio [HS9010]"]);
    assert!(states(&finished).iter().all(|(_, state, _)| state == "interrupted"), "{finished:?}");
    assert_eq!(stand_in.calls().len(), 1, "the second service is not started any more");
}

#[test]
fn without_docker_up_says_so() {
    let stand_in = StandIn::new();
    let mut command = stand_in.command(&["up", "clickhouse"]);
    command.env("PATH", stand_in.dir.join("nowhere"));
    let finished = Helix::spawn_command(command).finish();
    assert!(states(&finished)[0].2.contains("install Docker with its plugin compose [HS9008]"), "{finished:?}");
    assert_eq!(states(&stand_in.run(&["down"])), [], "nothing was started");
    std::fs::remove_file(stand_in.dir.join("docker-compose.yml")).unwrap();
    stand_in.run(&["up", "clickhouse"]).assert_failed(2, &["docker-compose.yml cannot be opened", "[HS9009]"]);
}

#[test]
fn nothing_of_somebody_elses_compose_file_is_started() {
    let stand_in = StandIn::new();
    let compose_file = stand_in.dir.join("docker-compose.yml");
    for foreign in ["services: {}\n", "# x-helixstream: true\nservices: {}\n", "services:\n  x-helixstream: true\n"] {
        std::fs::write(&compose_file, foreign).unwrap();
        let finished = stand_in.run(&["up", "clickhouse"]);
        finished.assert_failed(2, &["docker-compose.yml is not helixstream's", "name helixstream's", "[HS9014]"]);
        assert_eq!(stand_in.calls(), [""; 0], "{foreign}");
    }
    assert!(!stand_in.dir.join("started-services.json").exists());
    // The file that is shipped is ours.
    let ours = testkit::repo_path("docker-compose.yml").display().to_string();
    let finished = stand_in.run(&["up", "clickhouse", "--compose-file", &ours, "--start-limit", "100ms"]);
    finished.assert_failed(1, &["not healthy: clickhouse [HS9010]"]);
    assert_eq!(stand_in.calls().len(), 1, "{finished:?}");
}
