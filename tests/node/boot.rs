//! `--boot` of `run` and `node`, over a stand-in for `docker` that notes its calls.

use std::path::PathBuf;
use std::process::Command;

use testkit::process::temp_dir;
use testkit::{Broker, Postgres, ports, postgres, repo_path, unique, wait_until};

use crate::support::Helix;

/// A folder with a compose file, and a `docker` that notes the calls which start something. It
/// fails.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let dir = temp_dir("boot");
        std::fs::write(dir.join("docker-compose.yml"), "x-helixstream: true\nservices: {}\n").unwrap();
        std::fs::create_dir(dir.join("bin")).unwrap();
        let docker = dir.join("bin/docker");
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *' up '*) echo \"$*\" >>'{}'; echo 'no space left' >&2; exit 17;; esac\n",
            dir.join("calls").display()
        );
        std::fs::write(&docker, script).unwrap();
        std::fs::set_permissions(&docker, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Folder(dir)
    }

    /// A command in the folder without any variable `SVC_…` of the surroundings.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Helix::command();
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SVC_")) {
            command.env_remove(name);
        }
        command.env("PATH", format!("{}:{}", self.0.join("bin").display(), std::env::var("PATH").unwrap()));
        command.args(arguments).current_dir(&self.0);
        command
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(self.0.join("calls")).unwrap_or_default()
    }
}

#[test]
fn a_node_connects_to_the_kafka_that_was_checked_and_starts_nothing_that_answers() {
    let (folder, port) = (Folder::new(), ports::free_port().to_string());
    let arguments = ["node", "--boot", "--node-name", "n", "--http-listen", &port, "--dead-letters-topic", ""];
    let mut command = folder.command(&arguments);
    command.env("SVC_KAFKA_URL", Broker::shared().bootstrap()).env("SVC_KAFKA_TIMEOUT", "60s");
    let topic = unique("boot");
    command.env("HELIXSTREAM_EVENTS_TOPIC", &topic).env("HELIXSTREAM_SNAPSHOTS_TOPIC", format!("{topic}.snapshots"));
    command.env("HELIXSTREAM_NODES_TOPIC", format!("{topic}.nodes"));
    Broker::shared().create_topic(&topic, 1, &[]);
    Broker::shared().create_topic(&format!("{topic}.snapshots"), 1, &[]);
    let node = Helix::spawn_command(command);
    wait_until("the write to be in Kafka", || {
        let url = format!("http://127.0.0.1:{port}/v1/memories?ack=kafka");
        let curl = Command::new("curl").args(["-sf", &url, "--json", r#"{"content":"x"}"#]).output().unwrap();
        String::from_utf8_lossy(&curl.stdout).contains("\"published\"")
    });
    let ended = node.terminate();
    ended.assert_ended_well();
    assert!(ended.stdout.contains("kafka    already running  yes"), "{ended:?}");
    assert_eq!(folder.calls(), "");
}

#[test]
fn where_kafka_cannot_be_started_nothing_else_begins() {
    let (folder, port) = (Folder::new(), ports::free_port().to_string());
    let file = repo_path("topologies/memory.toml").display().to_string();
    for arguments in [
        &["node", "--node-name", "n", "--boot", "--http-listen", "0"][..],
        &["run", "--topology", &file, "--boot", "--no-mirror"],
    ] {
        let mut command = folder.command(arguments);
        command.env("SVC_KAFKA_PORT", &port);
        // They need no Postgres, so that what its variables hold does not matter.
        for name in ["URL", "URL_FILE", "PASSWORD", "PASSWORD_FILE"] {
            command.env(format!("HELIXSTREAM_POSTGRES_{name}"), "/nowhere");
        }
        let ended = Helix::spawn_command(command).finish();
        ended.assert_failed(1, &["required services are not healthy: kafka [HS9010]"]);
        assert!(ended.stdout.contains("no space left [HS9008]"), "{ended:?}");
        assert!(!folder.0.join("node/node.db").exists() && !folder.0.join("state").exists(), "{arguments:?}");
    }
    let calls = folder.calls();
    assert_eq!(calls.lines().count(), 2, "{calls}");
    assert!(calls.lines().all(|call| call.ends_with(" up --detach --no-deps -- kafka")), "{calls}");

    // Without --no-mirror, Postgres is needed too, though nothing names one.
    let mut mirrored = folder.command(&["run", "--topology", &file, "--boot"]);
    mirrored.env("SVC_KAFKA_PORT", &port).env("SVC_POSTGRESQL_PORT", &port);
    let ended = Helix::spawn_command(mirrored).finish();
    ended.assert_failed(1, &["required services are not healthy: kafka, postgres [HS9010]"]);
    let calls = folder.calls();
    assert!(calls.contains(" up --detach --no-deps -- postgres"), "{calls}");

    // Settings are looked at before anything is started, and without --boot they do not count.
    let mut wrong = folder.command(&["node", "--node-name", "n", "--boot"]);
    wrong.env("SVC_KAFKA_PORT", "none");
    Helix::spawn_command(wrong).finish().assert_failed(2, &["SVC_KAFKA_PORT: the value `none` cannot be used"]);
    let mut other = folder.command(&["topics", "check", "--topology", &file]);
    other.env("SVC_KAFKA_PORT", "none").env("HELIXSTREAM_BOOTSTRAP_SERVERS", Broker::shared().bootstrap());
    assert!(!Helix::spawn_command(other).finish().stderr.contains("SVC_KAFKA_PORT"));
    assert_eq!(folder.calls(), calls);
}

#[test]
fn nothing_of_somebody_elses_compose_file_is_started() {
    let (folder, port) = (Folder::new(), ports::free_port().to_string());
    std::fs::write(folder.0.join("docker-compose.yml"), "services: {kafka: {image: other}}\n").unwrap();
    let file = repo_path("topologies/memory.toml").display().to_string();
    for arguments in [
        &["node", "--node-name", "n", "--boot", "--http-listen", "0"][..],
        &["run", "--topology", &file, "--boot", "--no-mirror"],
    ] {
        let mut command = folder.command(arguments);
        command.env("SVC_KAFKA_PORT", &port);
        Helix::spawn_command(command).finish().assert_failed(2, &["is not helixstream's", "[HS9014]"]);
        assert!(!folder.0.join("node/node.db").exists() && !folder.0.join("state").exists(), "{arguments:?}");
    }
    assert_eq!(folder.calls(), "");
}

#[test]
fn a_port_of_the_variables_does_not_lead_away_from_the_servers_of_the_topology_file() {
    let folder = Folder::new();
    let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
    // Addresses of examples (RFC 5737), where nobody answers.
    let places = "bootstrap_servers = \"192.0.2.1:9093\"\npostgres_url = \"postgres://u@192.0.2.2:5433/d\"";
    let moved = text.replace("bootstrap_servers = \"localhost:9092\"", places);
    assert_ne!(moved, text);
    std::fs::write(folder.0.join("topology.toml"), moved).unwrap();
    let mut command = folder.command(&["run", "--topology", "topology.toml", "--boot"]);
    command.envs([("SVC_KAFKA_PORT", "9092"), ("SVC_KAFKA_TIMEOUT", "1s"), ("SVC_KAFKA_RETRY_COUNT", "1")]);
    command.env("SVC_POSTGRESQL_PORT", "5432").env("SVC_POSTGRESQL_TIMEOUT", "1s");
    command.env("SVC_POSTGRESQL_RETRY_COUNT", "1");
    let ended = Helix::spawn_command(command).finish();
    ended.assert_failed(1, &["required services are not healthy: kafka, postgres [HS9010]"]);
    for place in ["192.0.2.1:9092", "192.0.2.2:5432"] {
        assert!(ended.stdout.contains(place), "{ended:?}");
    }
    assert_eq!(folder.calls(), "", "what is remote is not started");
}

#[test]
fn a_node_starts_without_a_kafka_that_a_setting_makes_optional() {
    let (folder, port) = (Folder::new(), ports::free_port().to_string());
    let mut command = folder.command(&["node", "--node-name", "n", "--boot", "--http-listen", &port]);
    command.env("SVC_KAFKA_PORT", ports::free_port().to_string()).env("SVC_KAFKA_REQUIRED", "false");
    let node = Helix::spawn_command(command);
    wait_until("the node to accept a write", || {
        let url = format!("http://127.0.0.1:{port}/v1/memories");
        Command::new("curl").args(["-sf", &url, "--json", "{}"]).output().unwrap().status.success()
    });
    let ended = node.terminate();
    ended.assert_ended_well();
    assert!(ended.stdout.contains("kafka    failed  no"), "{ended:?}");
    assert_eq!(folder.calls().lines().count(), 1);
}

#[test]
fn run_mirrors_into_the_postgres_of_the_settings_unless_a_stronger_source_names_another() {
    let folder = Folder::new();
    let (broker, name) = (Broker::shared(), unique("boot-run"));
    let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
    let text = text.replace("\"helixstream\"", &format!("\"{name}\"")).replace("helixagent.memory", &name);
    let nowhere = format!("127.0.0.1:{}", ports::free_port());
    // The topology file names other places, which the variables beat.
    let places = format!("bootstrap_servers = \"{nowhere}\"\npostgres_url = \"postgres://{nowhere}/nothing\"");
    let moved = text.replace("bootstrap_servers = \"localhost:9092\"", &places);
    assert_ne!(moved, text);
    std::fs::write(folder.0.join("topology.toml"), moved).unwrap();
    let topics = ["topics", "create", "--topology", "topology.toml", "--bootstrap-servers", &broker.bootstrap()];
    Helix::spawn_command(folder.command(&topics)).finish().assert_ended_well();
    let (of_service, of_command) = (Postgres::shared().create_database(), Postgres::shared().create_database());
    for (url, is_variable) in [(&of_service, false), (&of_command, true)] {
        let settings = ["--set", "session_timeout=4s", "--set", "purge=false", "--state-dir", "state"];
        let arguments = [&["run", "--topology", "topology.toml", "--boot"], &settings[..]].concat();
        let mut command = folder.command(&arguments);
        command.env("SVC_KAFKA_URL", broker.bootstrap()).env("SVC_KAFKA_TIMEOUT", "60s");
        command.env("SVC_POSTGRESQL_URL", &of_service).env("SVC_POSTGRESQL_TIMEOUT", "60s");
        if is_variable {
            command.env("HELIXSTREAM_POSTGRES_URL", url);
        }
        let mut stream = Helix::spawn_command(command);
        stream.wait_for_stderr("stream threads run");
        wait_until("the mirror to have made its tables", || {
            let tables = "select count(*) from pg_tables where tablename = 'memory_events'";
            postgres::query(url, tables) != [["0"]]
        });
        let ended = stream.terminate();
        ended.assert_ended_well();
        assert!(ended.stdout.contains("postgres  already running"), "{ended:?}");
    }
    assert_eq!(folder.calls(), "");
}
