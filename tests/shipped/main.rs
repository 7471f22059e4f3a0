//! What ships around the code: the compose file and the scripts say what is true of the rest.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

#[path = "../support/mod.rs"]
mod support;

mod screen;

use helixstream::services::catalog::{PROFILES, PROJECT, SERVICES};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::Helix;
use testkit::process::{Process, temp_dir};
use testkit::secure::{Login, PASSWORD, SecureBroker};
use testkit::{LIMIT, Postgres, postgres, skip, token_server, wait_for};

/// The compose file as `docker compose` resolves it, with a profile or none; `None` where no Go
/// toolchain is to build the check with.
fn compose(profiles: &[&str]) -> Option<Value> {
    let checker = checker()?;
    let output = Command::new(checker).arg(root().join("docker-compose.yml")).args(profiles).output().unwrap();
    assert!(output.status.success(), "docker-compose.yml: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Builds the check (a small Go program over the library that `docker compose` itself is made of)
/// into the target folder.
fn checker() -> Option<PathBuf> {
    if Command::new("go").arg("version").output().is_err() {
        skip::allow(
            "go",
            "there is no Go toolchain here to check docker-compose.yml with: scripts/go-toolchain fetches one",
        );
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
    let names = |project: &Value| project["services"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&plain), BTreeSet::from(["helixstream", "kafka", "postgres", "topics"].map(str::to_owned)));
    let bigdata = ["clickhouse", "minio", "neo4j", "spark-master", "spark-worker"];
    let full = [&bigdata[..], &["grafana", "prometheus"]].concat();
    for (profile, adds) in [
        ("samples", &["samples"][..]),
        ("bigdata", &bigdata),
        ("full", &full),
        ("zookeeper", &["kafka-zookeeper", "zookeeper"]),
    ] {
        let project = compose(&[profile]).unwrap();
        let added: BTreeSet<String> = names(&project).difference(&names(&plain)).cloned().collect();
        assert_eq!(added, adds.iter().map(|name| (*name).to_owned()).collect(), "profile {profile}");
    }
    let all = compose(&["samples", "bigdata", "full", "zookeeper"]).unwrap();
    for (name, service) in all["services"].as_object().unwrap() {
        service_is_sound(name, service, &all);
    }
    host_ports_are_distinct_and_local(&all);
    let volumes = all["volumes"].as_object().unwrap().len();
    assert!(volumes >= 3 + 9, "{volumes} named volumes");
    passwords_come_from_variables();
    the_catalog_says_what_the_file_says(&all);
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
    let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
    let is_version =
        tag.trim_start_matches("RELEASE.").trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    assert!(service["build"].is_object() || is_version, "{name}: {image} names no version");
}

/// The first and the last host port of each published range, with the service.
fn host_ports(project: &Value) -> Vec<(u16, u16, String)> {
    let services = project["services"].as_object().unwrap().iter();
    let ports = services.flat_map(|(name, service)| {
        let published = service["ports"].as_array().into_iter().flatten().filter_map(|port| port["published"].as_str());
        published.map(move |published| {
            let (first, last) = published.split_once('-').unwrap_or((published, published));
            (first.parse().unwrap(), last.parse().unwrap(), name.clone())
        })
    });
    ports.collect()
}

fn host_ports_are_distinct_and_local(project: &Value) {
    let mut ports = host_ports(project);
    ports.sort();
    assert!(ports.len() >= 10, "{ports:?}");
    for pair in ports.windows(2) {
        assert!(pair[0].1 < pair[1].0, "two services publish one port: {pair:?}");
    }
    for (name, service) in project["services"].as_object().unwrap() {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name} is open to other machines, with default passwords");
        }
    }
}

/// `helixstream services` starts these services by what its catalog says of them.
fn the_catalog_says_what_the_file_says(project: &Value) {
    let services = project["services"].as_object().unwrap();
    let others = ["helixstream", "samples", "topics"];
    let ours = services.keys().map(String::as_str).filter(|name| !others.contains(name));
    assert_eq!(ours.collect::<BTreeSet<_>>(), SERVICES.iter().map(|spec| spec.name).collect());
    let file = read("docker-compose.yml");
    assert_eq!(project["name"], PROJECT, "containers are looked for by this name");
    for spec in SERVICES {
        let (name, service) = (spec.name, &services[spec.name]);
        let needs: Vec<String> =
            service["depends_on"].as_object().map(|needs| needs.keys().cloned().collect()).unwrap_or_default();
        assert_eq!(spec.needs.iter().map(|need| (*need).to_owned()).collect::<Vec<_>>(), needs, "{name}");
        let last = spec.port + spec.port_count - 1;
        assert!(host_ports(project).contains(&(spec.port, last, name.to_owned())), "{name}: {}", spec.port);
        let range = if last == spec.port { spec.port.to_string() } else { format!("{}-{last}", spec.port) };
        assert!(file.contains(&format!("${{{}:-{range}}}", spec.port_variable)), "{name}: {}", spec.port_variable);
        if let Some((port, variable)) = spec.health_port.zip(spec.health_port_variable) {
            assert!(host_ports(project).contains(&(port, port, name.to_owned())), "{name}: {port}");
            assert!(file.contains(&format!("${{{variable}:-{port}}}")), "{name}: {variable}");
        }
        let found = service["profiles"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let known = PROFILES.iter().filter(|(_, names)| names.contains(&name)).map(|(profile, _)| *profile);
        assert_eq!(found.collect::<BTreeSet<_>>(), known.clone().collect::<BTreeSet<_>>(), "{name}");
        assert_eq!(spec.profile.is_none(), known.clone().next().is_none(), "{name}");
        assert!(spec.profile.is_none_or(|profile| known.clone().any(|other| other == profile)), "{name}");
    }
    for (profile, names) in PROFILES {
        for name in *names {
            let profiles = services[*name]["profiles"].as_array().unwrap();
            assert!(profiles.iter().any(|found| found == profile), "{name} is not in {profile}");
        }
    }
}

/// Each password has a variable, and what the variable says is what the service gets.
fn passwords_come_from_variables() {
    let variables = ["POSTGRES", "CLICKHOUSE", "NEO4J", "GRAFANA"].map(|name| format!("{name}_PASSWORD"));
    let variables = variables.into_iter().chain(["MINIO_ROOT_PASSWORD".to_owned()]);
    let mut check = Command::new(checker().unwrap());
    check.arg(root().join("docker-compose.yml")).arg("full");
    let variables: Vec<(String, String)> = variables.map(|name| (name.clone(), format!("of-{name}"))).collect();
    let output = check.envs(variables.clone()).output().unwrap();
    let resolved = String::from_utf8(output.stdout).unwrap();
    for (name, value) in variables {
        assert!(resolved.contains(&value), "{name} has no effect");
    }
    assert!(resolved.contains("postgres://helixstream@postgres:5432"), "a password with / or @ would break the URL");
    for password in ["helixagent123", "minioadmin123", "helixstream:helixstream@"] {
        assert!(!resolved.contains(password), "{password} stands in the file without a variable");
    }
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
    let version = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(
        read("Dockerfile").contains(&format!("FROM rust:{version}-bookworm ")),
        "Dockerfile: Rust is not {version}"
    );
}

#[test]
fn what_the_image_copies_is_let_through_by_dockerignore() {
    let let_through = read(".dockerignore");
    // Cargo reads the manifest of each member, whichever it builds.
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let members = members.iter().map(|member| member.as_str().unwrap().trim_end_matches("/*"));
    let parts = ["Cargo.toml", "Cargo.lock", "src", "examples", "benches", "schemas", "migrations"];
    let copied = members.chain(parts).chain(["topologies", "tests/fixtures"]);
    for path in copied {
        assert!(let_through.lines().any(|line| line == format!("!{path}")), ".dockerignore keeps {path} out");
    }
}

/// The files that a source compiles in, as paths from the root.
fn compiled_in(source: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(source).unwrap();
    let named = text.split("include_").skip(1).filter_map(|rest| {
        let (_, rest) = rest.strip_prefix("str!").or(rest.strip_prefix("bytes!"))?.split_once('"')?;
        rest.split('"').next()
    });
    let absolute = named.map(|path| source.parent().unwrap().join(path).canonicalize().unwrap());
    absolute.map(|path| path.strip_prefix(root()).unwrap().to_owned()).collect()
}

#[test]
fn what_is_compiled_in_is_let_through_by_dockerignore() {
    let let_through = read(".dockerignore");
    let let_through: Vec<&str> = let_through.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let sources = ["src", "crates"].into_iter().flat_map(|folder| walkdir::WalkDir::new(root().join(folder)));
    let sources = sources.map(|entry| entry.unwrap().into_path());
    let sources = sources.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let files: Vec<PathBuf> = sources.flat_map(|source| compiled_in(&source)).collect();
    assert!(files.iter().any(|path| path.ends_with("memory.toml")), "{files:?}");
    for file in files {
        let is_let_through = let_through.iter().any(|path| file.starts_with(path));
        assert!(is_let_through, ".dockerignore keeps {} out, which is compiled in", file.display());
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

/// A checkout of our Makefile and scripts around a package of nothing, for what would else build or
/// remove the real one.
fn checkout() -> PathBuf {
    let dir = temp_dir("checkout");
    for name in ["Makefile", "scripts", "topologies", "tests"] {
        std::os::unix::fs::symlink(root().join(name), dir.join(name)).unwrap();
    }
    let manifest = "[package]\nname = \"helixstream\"\nversion = \"0.1.0\"\nedition = \"2024\"\nautotests = false\n";
    std::fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    let lock = "version = 4\n\n[[package]]\nname = \"helixstream\"\nversion = \"0.1.0\"\n";
    std::fs::write(dir.join("Cargo.lock"), lock).unwrap();
    std::fs::create_dir(dir.join("src")).unwrap();
    std::fs::write(dir.join("src/main.rs"), "fn main() { println!(\"built\") }\n").unwrap();
    dir
}

/// `make` with arguments in a checkout, as from a plain shell: Ctrl-C works there, while what runs
/// in a script's background, as these tests may, ignores it and hands that on.
fn make(checkout: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", "make"]).args(arguments).current_dir(checkout);
    for name in
        ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CARGO_TARGET_DIR", "CARGO_BUILD_BUILD_DIR", "CARGO_BUILD_TARGET_DIR"]
    {
        command.env_remove(name);
    }
    // The folder that all checkouts share is in use while the tests run.
    command.env("CARGO_BUILD_BUILD_DIR", checkout.join("build"));
    command
}

#[track_caller]
fn succeeds(mut command: Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{command:?}: {said:?}");
}

#[test]
fn make_install_puts_the_binary_below_the_prefix_and_make_clean_takes_away_what_was_built() {
    let checkout = checkout();
    let prefix = checkout.join("some/where");
    succeeds(make(&checkout, &["install", &format!("PREFIX={}", prefix.display())]));
    let output = Command::new(prefix.join("bin/helixstream")).output().unwrap();
    assert_eq!(output.stdout, b"built\n");

    let cache = checkout.join("cache");
    let jars = cache.join("helixstream/kafka/libs");
    for folder in [&jars, &checkout.join(".dev/state")] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let mut clean = make(&checkout, &["clean"]);
    clean.env("XDG_CACHE_HOME", &cache);
    succeeds(clean);
    let left = |name: &str| checkout.join(name).exists();
    assert!(!left("target") && !left(".dev"), "the program that was built and the data of what ran are removed");
    assert!(jars.exists() && prefix.exists(), "the jars and the installed program stay");
}

/// A folder for `PATH` with programs that note their arguments in the file `arguments` beside it,
/// and do their work.
fn noting(checkout: &Path, programs: &[&str]) -> PathBuf {
    let bin = checkout.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let write = |name: &str, script: String| {
        std::fs::write(bin.join(name), script).unwrap();
        std::fs::set_permissions(bin.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    for name in programs {
        let noted = checkout.join("arguments");
        let script = format!("#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >>'{}'\n", noted.display());
        write(name, format!("{script}PATH=${{PATH#*:}} exec {name} \"$@\"\n"));
    }
    // The program is built already, for the tests.
    write("cargo", "#!/bin/sh\n".to_owned());
    bin
}

/// A database of its own, in which a user logs in with a password alone: its URL, with the password
/// in it.
fn secured_database(password: &str) -> (String, String) {
    let url = Postgres::shared().create_database();
    postgres::query(&url, &format!("create role secured login superuser password '{password}'"));
    Postgres::shared().add_access_rules("host all secured all scram-sha-256");
    (url.clone(), url.replacen("postgres@", &format!("secured:{}@", password.replace('@', "%40")), 1))
}

/// The variables by which helixstream, and with it `make run`, is told of a way in.
fn variables(broker: &SecureBroker, login: Login, dir: &Path) -> Vec<(String, String)> {
    let connection = broker.login(login);
    let path = |name: &str| dir.join(name).display().to_string();
    let mut found = vec![("BOOTSTRAP_SERVERS".to_owned(), connection.servers.clone())];
    for (key, given) in &connection.settings {
        let (name, value) = match key.as_str() {
            "security.protocol" => ("SECURITY", given.to_lowercase()),
            "ssl.ca.location" => ("CA_FILE", given.clone()),
            "sasl.mechanism" => ("MECHANISM", given.clone()),
            "sasl.username" => ("USER", given.clone()),
            "sasl.password" => ("PASSWORD_FILE", path("password")),
            "sasl.oauthbearer.client.id" => ("OAUTH_CLIENT_ID", given.clone()),
            "sasl.oauthbearer.client.secret" => ("OAUTH_CLIENT_SECRET_FILE", path("client-secret")),
            "sasl.oauthbearer.token.endpoint.url" => ("OAUTH_TOKEN_ENDPOINT_URL", given.clone()),
            "https.ca.location" => ("OAUTH_CA_FILE", given.clone()),
            "ssl.certificate.location" => ("CERTIFICATE_FILE", given.clone()),
            "ssl.key.location" => ("KEY_FILE", path("locked.key")),
            _ => continue,
        };
        if name == "KEY_FILE" {
            let mut lock = Command::new("openssl");
            lock.args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:key-password", "-in", given]);
            lock.arg("-out").arg(dir.join("locked.key"));
            succeeds(lock);
            found.push(("HELIXSTREAM_KAFKA_KEY_PASSWORD".to_owned(), "key-password".to_owned()));
        }
        found.push((format!("HELIXSTREAM_KAFKA_{name}"), value));
    }
    found
}

/// Kafka's own tools, which `make run` counts and shows records with, log in by the variables that
/// helixstream logs in by.
#[test]
fn kafkas_own_tools_log_in_as_the_variables_say() {
    let (broker, dir) = (SecureBroker::shared(), temp_dir("tools"));
    let topic = "of-the-tools";
    broker.open().create_topic(topic, 1, &[]);
    // What JAAS, properties files and URLs take for something else.
    let password = "p\\\"a$s'w # ö";
    let user = broker.set_password("odd-", password);
    std::fs::write(dir.join("password"), format!("{password}\n")).unwrap();
    std::fs::write(dir.join("client-secret"), token_server::SECRET).unwrap();
    let script = "source scripts/common.sh; java_client_config \"$1\" && stat -c %a \"$1\" && java_tool 128m \
        org.apache.kafka.tools.GetOffsetShell --bootstrap-server \"$BOOTSTRAP_SERVERS\" --command-config \"$1\" --topic \"$2\"";
    std::thread::scope(|scope| {
        for login in [Login::Scram256, Login::OAuth, Login::MutualTls] {
            let (dir, user) = (&dir, &user);
            scope.spawn(move || {
                let config = dir.join(format!("{login:?}.properties"));
                let mut command = Command::new("bash");
                command.args(["-c", script, "bash"]).arg(&config).arg(topic).current_dir(root());
                command.envs(variables(broker, login, dir));
                if login == Login::Scram256 {
                    command.env("HELIXSTREAM_KAFKA_USER", user);
                }
                let output = command.output().unwrap();
                let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
                assert_eq!(said[0], format!("600\n{topic}:0:0\n"), "{login:?}: {said:?}");
            });
        }
    });
}

#[test]
fn make_run_reaches_secured_servers_by_variables_alone() {
    let (checkout, broker) = (checkout(), SecureBroker::shared());
    let (url, secured) = secured_database("postgres-s3cret@");
    std::fs::write(checkout.join("url"), format!("{secured}\n")).unwrap();
    std::fs::write(checkout.join("password"), PASSWORD).unwrap();
    let path = format!("{}:{}", noting(&checkout, &["psql", "java"]).display(), std::env::var("PATH").unwrap());
    let target = Path::new(env!("CARGO_BIN_EXE_helixstream")).ancestors().nth(2).unwrap().to_owned();
    let mut run = make(&checkout, &["run"]);
    let said = std::fs::File::create(checkout.join("said")).unwrap();
    run.env("PATH", path).env("CARGO_TARGET_DIR", target).stdin(std::process::Stdio::null());
    run.envs(variables(broker, Login::Scram512, &checkout)).env("HELIXSTREAM_POSTGRES_URL_FILE", "url");
    run.env("HELIXSTREAM_POSTGRES_SCHEMA", "the \"mirror\"");
    run.stdout(said.try_clone().unwrap()).stderr(said).process_group(0);
    let mut run = Process::start(run, Signal::TERM).unwrap();
    let said = || std::fs::read_to_string(checkout.join("said")).unwrap();
    wait_for("make run to show how to look further", || {
        assert!(run.poll().is_none(), "make run ended:\n{}", said());
        said().contains("== how to look further").then_some(())
    });
    let mirrored = "select count(*) from \"the \"\"mirror\"\"\".memory_events";
    assert_eq!(postgres::query(&url, mirrored), [["305"]]);
    // Each part shows rows: memories by their ids, users, conflicts, what the mirror holds.
    for part in ["resolved memories (topic", "conflicts and why", "helixagent.memory.events", " active "] {
        assert!(said().contains(part), "{part:?} is not shown:\n{}", said());
    }
    for server in ["kafka", "postgres"] {
        assert!(!checkout.join(".dev").join(server).exists(), "it has started no {server} of its own:\n{}", said());
    }
    let noted = std::fs::read_to_string(checkout.join("arguments")).unwrap();
    assert!(noted.contains("psql ") && noted.contains("java "), "{noted}");
    for secret in ["s3cret", PASSWORD] {
        assert!(!noted.contains(secret) && !said().contains(secret), "{noted}\n{}", said());
    }
    // Ctrl-C.
    kill_process_group(Pid::from_raw(run.pid().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    run.wait(LIMIT).expect("make run ends after Ctrl-C");
    assert!(!checkout.join(".dev/client.properties").exists(), "what held a password is gone");
    let state = checkout.join(".dev/state");
    wait_for("the instance's end", || {
        let dumped = Helix::run(&["state", "dump", "--state-dir", state.to_str().unwrap()]);
        (dumped.code == Some(0) && !dumped.stdout.is_empty()).then_some(())
    });
}
