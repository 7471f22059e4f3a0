//! What ships around the code: the compose file and the scripts say what is true of the rest.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compose file as `docker compose` resolves it, with a profile or none; `None` where no Go toolchain is to build the check with.
fn compose(profiles: &[&str]) -> Option<Value> {
    let checker = checker()?;
    let output = Command::new(checker).arg(root().join("docker-compose.yml")).args(profiles).output().unwrap();
    assert!(output.status.success(), "docker-compose.yml: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Builds the check (a small Go program over the library that `docker compose` itself is made of) into the target folder.
fn checker() -> Option<PathBuf> {
    if Command::new("go").arg("version").output().is_err() {
        eprintln!("SKIPPED: there is no Go toolchain here, so nobody checks docker-compose.yml");
        return None;
    }
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compose-check");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&binary).arg(".").current_dir(root().join("tests/compose-check"));
    let output = build.env("GOFLAGS", "-mod=readonly").env("GOTOOLCHAIN", "local").output().unwrap();
    assert!(output.status.success(), "go build: {}", String::from_utf8_lossy(&output.stderr));
    Some(binary)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// One test, since the parts share the built checker.
#[test]
fn the_compose_file_is_sound() {
    let Some(plain) = compose(&[]) else { return };
    let names = |project: &Value| project["services"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&plain), ["helixstream", "kafka", "postgres", "topics"]);
    let all = compose(&["samples"]).unwrap();
    assert_eq!(names(&all), ["helixstream", "kafka", "postgres", "samples", "topics"]);
    for (name, service) in all["services"].as_object().unwrap() {
        service_is_sound(name, service, &all);
    }
    instances_can_be_added(&all["services"]["helixstream"]);
    breaking_it_is_noticed();
}

fn service_is_sound(name: &str, service: &Value, project: &Value) {
    let ends_by_itself = service["restart"] == "no";
    assert!(ends_by_itself || service["restart"] == "unless-stopped", "{name}: restart is {}", service["restart"]);
    assert!(ends_by_itself || service["healthcheck"]["test"].is_array(), "{name} has no health check");
    let empty = serde_json::Map::new();
    for (other, how) in service["depends_on"].as_object().unwrap_or(&empty) {
        let other_service = &project["services"][other];
        match how["condition"].as_str().unwrap() {
            // The library does not look whether there is a health check to wait for.
            "service_healthy" => {
                assert!(other_service["healthcheck"].is_object(), "{name} waits for the health of {other}")
            }
            "service_completed_successfully" => {
                assert_eq!(other_service["restart"], "no", "{name} waits for the end of {other}")
            }
            condition => panic!("{name} depends on {other} by {condition}: that waits for nothing"),
        }
    }
    for volume in service["volumes"].as_array().into_iter().flatten() {
        assert_eq!(volume["type"], "volume", "{name}: data lies in named volumes");
    }
    let image = service["image"].as_str().unwrap();
    assert!(
        service["build"].is_object() || image.split_once(':').is_some_and(|(_, tag)| tag != "latest"),
        "{name}: {image}"
    );
}

fn instances_can_be_added(service: &Value) {
    assert!(service["container_name"].is_null(), "a fixed name stands against --scale");
    for port in service["ports"].as_array().unwrap() {
        assert!(port["published"].is_null(), "a fixed host port stands against --scale: {port}");
    }
    let check = service["healthcheck"]["test"].as_array().unwrap().last().unwrap().as_str().unwrap();
    assert!(check.ends_with("/ready"), "{check}");
}

/// The check is worth something: what it must find, it finds.
fn breaking_it_is_noticed() {
    let file = read("docker-compose.yml");
    let broken = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken-compose.yml");
    for (from, to) in [
        ("restart: unless-stopped", "restarts: unless-stopped"),
        ("- state:/var/lib", "- stat:/var/lib"),
        ("interval: 15s", "interval: 15 apples"),
        ("condition: service_healthy", "condition: service_happy"),
    ] {
        assert!(file.contains(from), "{from}");
        std::fs::write(&broken, file.replacen(from, to, 1)).unwrap();
        let output = Command::new(checker().unwrap()).arg(&broken).output().unwrap();
        assert!(!output.status.success(), "{to} passes the check");
    }
}

#[test]
fn the_compose_file_and_the_scripts_take_the_same_kafka() {
    let version =
        read("scripts/common.sh").lines().find_map(|line| line.strip_prefix("KAFKA_VERSION=").map(str::to_owned));
    let image = format!("image: apache/kafka:{}\n", version.unwrap());
    assert!(read("docker-compose.yml").contains(&image), "docker-compose.yml lacks {image}");
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_manifest() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let version = manifest["package"]["rust-version"].as_str().unwrap();
    assert!(
        read("Dockerfile").contains(&format!("FROM rust:{version}-bookworm ")),
        "Dockerfile: Rust is not {version}"
    );
}

#[test]
fn what_the_image_copies_is_let_through_by_dockerignore() {
    let let_through = read(".dockerignore");
    let copied =
        ["build.rs", "benches", "src", "Cargo.toml", "Cargo.lock", "topologies", "tests/fixtures", "migrations"];
    for path in copied {
        assert!(let_through.lines().any(|line| line == format!("!{path}")), ".dockerignore keeps {path} out");
    }
}

#[test]
fn scripts_are_valid_bash_and_executable() {
    use std::os::unix::fs::PermissionsExt;
    let mut scripts = vec![root().join(".ci/run")];
    scripts.extend(std::fs::read_dir(root().join("scripts")).unwrap().map(|entry| entry.unwrap().path()));
    for script in scripts.iter().filter(|path| path.extension().is_none_or(|extension| extension == "sh")) {
        let output = Command::new("bash").arg("-n").arg(script).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let is_executable = script.metadata().unwrap().permissions().mode() & 0o111 != 0;
        let is_sourced = script.extension().is_some();
        assert_ne!(
            is_executable,
            is_sourced,
            "{}: what is run is executable, what is sourced ends in .sh",
            script.display()
        );
    }
}
