//! Health checks on a real server of each service, with a proxy before it that refuses, keeps
//! silent, slows, trickles and cuts off. Grafana alone is missing: no registry has it.

use crate::support::{Finished, Helix};
use crate::{StandIn, command, run, states};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use testkit::ports::free_port;
use testkit::process::temp_dir;
use testkit::{Broker, Fault, Postgres, ServiceServer, Toxiproxy};

/// Limit of a check that is to succeed.
const LONG: &str = "60s";
/// Limit of a check that is to fail.
const SHORT: &str = "2s";
/// Far more than [`SHORT`].
const FAR_TOO_LATE: Duration = Duration::from_secs(600);

/// Ports by the names of their services.
type Ports = BTreeMap<&'static str, u16>;

/// The servers that the tests of this module share; nobody stops them.
struct Servers {
    /// Those that this machine can have.
    ports: Ports,
    _processes: Vec<ServiceServer>,
}

impl Servers {
    fn shared() -> &'static Servers {
        static SHARED: OnceLock<Servers> = OnceLock::new();
        SHARED.get_or_init(Servers::start)
    }

    fn start() -> Servers {
        let master_at = free_port();
        let (zookeeper, neo4j) = (ServiceServer::zookeeper(), ServiceServer::neo4j());
        let master = ServiceServer::spark_master(master_at);
        let (clickhouse, minio) = (ServiceServer::clickhouse(), ServiceServer::minio());
        let prometheus = ServiceServer::prometheus_at(free_port());
        let kafka = Broker::shared().bootstrap();
        let kafka = kafka.rsplit_once(':').unwrap().1.parse().unwrap();
        let mut ports = BTreeMap::from([("kafka", kafka), ("postgres", Postgres::shared().port())]);
        // The master listens by now: a worker that does not find it waits for some seconds.
        let worker = ServiceServer::spark_worker(master_at);
        assert_eq!(zookeeper.wait_for_zookeeper(), "imok");
        let mut processes = Vec::new();
        let pages = [
            ("clickhouse", clickhouse, "/ping", "Ok."),
            ("minio", minio, "/minio/health/live", ""),
            ("prometheus", prometheus, "/-/ready", "Ready"),
            ("spark-master", Some(master), "/json/", "\"state\" : \"ALIVE\""),
            ("spark-worker", Some(worker), "/json/", "\"masterurl\" : \"spark:"),
            ("neo4j", Some(neo4j), "/", "neo4j_version"),
        ];
        ports.insert("zookeeper", zookeeper.port());
        processes.push(zookeeper);
        for (name, server, path, text) in pages {
            let Some(server) = server else { continue };
            server.wait_for_page(path, text);
            ports.insert(name, server.port());
            processes.push(server);
        }
        Servers { ports, _processes: processes }
    }

    /// `check` of all of them, at these ports.
    fn check(ports: &Ports, timeout: &str, more: &[(&str, &str)]) -> Finished {
        let names: Vec<&str> = ports.keys().copied().collect();
        let variables = settings(ports, timeout);
        let mut variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        variables.extend(more);
        let arguments: Vec<&str> = ["check"].into_iter().chain(names).collect();
        run(&temp_dir("services"), &arguments, &variables)
    }
}

/// The variables for these ports: each service is tried once.
fn settings(ports: &Ports, timeout: &str) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for (name, port) in ports {
        let of = |field: &str| format!("SVC_{}_{field}", variable(name));
        let port_field = if *name == "spark-master" { "HEALTH_PORT" } else { "PORT" };
        variables.push((of(port_field), port.to_string()));
        variables.push((of("HOST"), "127.0.0.1".to_owned()));
        variables.push((of("TIMEOUT"), timeout.to_owned()));
        variables.push((of("RETRY_COUNT"), "1".to_owned()));
    }
    if let Some(port) = ports.get("postgres") {
        variables.push(("SVC_POSTGRESQL_URL".to_owned(), format!("postgres://postgres@127.0.0.1:{port}/postgres")));
    }
    variables
}

fn variable(name: &str) -> String {
    if name == "postgres" { "POSTGRESQL".to_owned() } else { name.to_uppercase().replace('-', "_") }
}

/// A proxy before each of these servers, and the ports of the proxies.
fn proxies(servers: &Servers) -> Option<(BTreeMap<&'static str, Toxiproxy>, Ports)> {
    let before = |(name, port): (&&'static str, &u16)| Some((*name, Toxiproxy::before(*port)?));
    let proxies: BTreeMap<_, _> = servers.ports.iter().map(before).collect::<Option<_>>()?;
    let ports = proxies.iter().map(|(name, proxy)| (*name, proxy.port())).collect();
    Some((proxies, ports))
}

/// The details of the services, by their names; all have this state.
#[track_caller]
fn details(finished: &Finished, state: &str) -> BTreeMap<String, String> {
    let rows = states(finished).into_iter();
    rows.map(|(name, found, detail)| {
        assert_eq!(found, state, "{name}: {finished:?}");
        (name, detail)
    })
    .collect()
}

#[test]
fn a_real_server_is_healthy_also_behind_a_slow_connection() {
    let servers = Servers::shared();
    let check = |ports: &Ports, connection: &str| {
        let finished = Servers::check(ports, LONG, &[]);
        assert_eq!(finished.code, Some(0), "{connection}: {finished:?}");
        let details = details(&finished, "healthy");
        assert_eq!(details.len(), ports.len(), "{connection}: {finished:?}");
        assert!(details.values().all(String::is_empty), "{connection}: {finished:?}");
        let report: Value = serde_json::from_str(&finished.stdout).unwrap();
        assert_eq!(report["ok"], true, "{connection}: {finished:?}");
    };
    check(&servers.ports, "none between");
    let Some((proxies, ports)) = proxies(servers) else { return };
    let slow = Fault::Slow(Duration::from_millis(200));
    let trickling = Fault::Trickling(Duration::from_millis(1));
    for fault in [None, Some(slow), Some(trickling)] {
        proxies.values().for_each(|proxy| proxy.set_fault(fault));
        check(&ports, &format!("{fault:?}"));
    }
}

/// The part that the detail of a service has behind a connection with this fault.
fn expected(fault: Fault, name: &str) -> &'static str {
    match (fault, name) {
        (Fault::Refused, "kafka") => "has answered within 2 s (Connect to ",
        (Fault::Refused, "zookeeper") => ": Connection refused (os error 111) [HS9005]",
        (Fault::Refused, _) => "Connection refused (os error 111)",
        (Fault::CutAfter(_), "kafka") => "(Disconnected: connection closed by peer",
        // This server has no TLS, which is not the reason.
        (Fault::CutAfter(_), "postgres") => ": error communicating with database: expected to read ",
        (Fault::CutAfter(_), "zookeeper") => "has cut the connection before the end of its answer to `srvr` [HS9005]",
        (Fault::CutAfter(_), _) => ": connection closed before message completed [HS9005]",
        // ZooKeeper ends the connection behind its answer, and so does the proxy that kept the
        // answer back.
        (Fault::Silent, "zookeeper") => expected(Fault::CutAfter(0), name),
        (_, "kafka") => "has answered within 2 s (Local: Broker transport failure)",
        (_, "postgres") => "within 2000 ms [HS4505]",
        (_, "zookeeper") => "has not answered `srvr` within 2 s [HS9005]",
        (_, _) => ": no answer within 2 s [HS9005]",
    }
}

#[test]
fn a_real_server_behind_a_broken_connection_is_not_healthy() {
    let servers = Servers::shared();
    let Some((proxies, ports)) = proxies(servers) else { return };
    let names: Vec<&str> = ports.keys().copied().collect();
    let missing = format!("required services are not healthy: {} [HS9010]", in_order(&names).join(", "));
    let faults = [
        Fault::Refused,
        Fault::Silent,
        Fault::Slow(FAR_TOO_LATE),
        Fault::Trickling(Duration::from_millis(200)),
        // In the head of an answer over HTTP.
        Fault::CutAfter(20),
    ];
    for fault in faults {
        proxies.values().for_each(|proxy| proxy.set_fault(Some(fault)));
        let finished = Servers::check(&ports, SHORT, &[]);
        finished.assert_failed(1, &[&missing]);
        let details = details(&finished, "unhealthy");
        assert_eq!(details.len(), ports.len(), "{fault:?}: {finished:?}");
        for (name, detail) in details {
            assert!(detail.contains(expected(fault, &name)), "{name} behind {fault:?}: {detail}");
        }
    }
    // Services that are optional do not fail the command.
    let optional: Vec<String> = names.iter().map(|name| format!("SVC_{}_REQUIRED", variable(name))).collect();
    let optional: Vec<(&str, &str)> = optional.iter().map(|name| (name.as_str(), "false")).collect();
    proxies.values().for_each(|proxy| proxy.set_fault(Some(Fault::Refused)));
    let finished = Servers::check(&ports, SHORT, &optional);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    details(&finished, "unhealthy");
    // Without the faults all are healthy again.
    proxies.values().for_each(|proxy| proxy.set_fault(None));
    let finished = Servers::check(&ports, LONG, &[]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

/// Names in the order of reports: that of the catalog.
fn in_order<'n>(names: &[&'n str]) -> Vec<&'n str> {
    let place = |name: &str| {
        let specs = ["kafka", "postgres", "zookeeper", "clickhouse", "neo4j", "minio", "spark-master", "spark-worker"];
        specs.iter().position(|spec| *spec == name).unwrap_or(specs.len())
    };
    let mut names = names.to_vec();
    names.sort_by_key(|name| place(name));
    names
}

/// Length of an answer without its second half, in bytes.
const HALVES: [(&str, u32); 9] = [
    ("kafka", 100),
    ("postgres", 100),
    ("zookeeper", 120),
    // Behind the head, in the page.
    ("clickhouse", 125),
    ("neo4j", 350),
    // It has no page.
    ("minio", 220),
    ("spark-master", 500),
    ("spark-worker", 400),
    ("prometheus", 130),
];

#[test]
fn a_connection_that_is_cut_in_the_middle_of_an_answer_is_not_healthy() {
    let servers = Servers::shared();
    let Some((proxies, ports)) = proxies(servers) else { return };
    for (name, bytes) in HALVES {
        if let Some(proxy) = proxies.get(name) {
            proxy.set_fault(Some(Fault::CutAfter(bytes)));
        }
    }
    let finished = Servers::check(&ports, LONG, &[]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    for (name, detail) in details(&finished, "unhealthy") {
        let part = match name.as_str() {
            // It is tried for longer here, and always ends so.
            "kafka" => "ends the connection at the first request",
            "postgres" | "zookeeper" => expected(Fault::CutAfter(0), &name),
            "minio" => "connection closed before message completed [HS9005]",
            _ => "end of file before message length reached [HS9005]",
        };
        assert!(detail.contains(part), "{name}: {detail}");
    }
}

#[test]
fn a_worker_is_not_healthy_where_its_master_does_not_answer() {
    let servers = Servers::shared();
    let Some(master) = Toxiproxy::before(servers.ports["spark-master"]) else { return };
    let ports = BTreeMap::from([("spark-worker", servers.ports["spark-worker"])]);
    let at = master.port().to_string();
    let check = |timeout| {
        Servers::check(
            &ports,
            timeout,
            &[("SVC_SPARK_MASTER_HOST", "127.0.0.1"), ("SVC_SPARK_MASTER_HEALTH_PORT", &at)],
        )
    };
    assert_eq!(check(LONG).code, Some(0));
    for (fault, part) in [(Fault::Silent, "no answer within 2 s"), (Fault::Refused, "Connection refused")] {
        master.set_fault(Some(fault));
        let finished = check(SHORT);
        finished.assert_failed(1, &["not healthy: spark-worker [HS9010]"]);
        let detail = &details(&finished, "unhealthy")["spark-worker"];
        assert!(detail.contains(&format!("127.0.0.1:{at}/json/: {part}")), "{detail}");
    }
}

#[test]
fn a_spark_worker_without_a_master_is_not_healthy() {
    let master_at = free_port();
    let lonely = ServiceServer::spark_worker(master_at);
    lonely.wait_for_page("/json/", "masterurl");
    let finished = Servers::check(&BTreeMap::from([("spark-worker", lonely.port())]), LONG, &[]);
    finished.assert_failed(1, &["not healthy: spark-worker [HS9010]"]);
    assert!(
        details(&finished, "unhealthy")["spark-worker"].contains("/json/: the worker names no master [HS9005]"),
        "{finished:?}"
    );
}

#[test]
fn a_zookeeper_without_its_quorum_does_not_serve() {
    let server = ServiceServer::zookeeper_without_quorum();
    server.wait_for_zookeeper();
    let finished = Servers::check(&BTreeMap::from([("zookeeper", server.port())]), LONG, &[]);
    finished.assert_failed(1, &["not healthy: zookeeper [HS9010]"]);
    let detail = &details(&finished, "unhealthy")["zookeeper"];
    assert!(
        detail.contains("does not serve: This ZooKeeper instance is not currently serving requests [HS9005]"),
        "{detail}"
    );
}

#[test]
fn a_server_of_another_service_does_not_pass() {
    let servers = Servers::shared();
    // Each service is looked for at the port of the one before it in this list.
    let names: Vec<&str> = in_order(&servers.ports.keys().copied().collect::<Vec<_>>());
    let before = names.iter().cycle().skip(names.len() - 1);
    let ports: Ports = names.iter().zip(before).map(|(name, before)| (*name, servers.ports[before])).collect();
    let finished = Servers::check(&ports, SHORT, &[]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    details(&finished, "unhealthy");
}

#[test]
fn a_server_that_comes_back_while_it_is_tried_again_is_healthy() {
    let port = free_port();
    let Some(server) = ServiceServer::prometheus_at(port) else { return };
    server.wait_for_page("/-/ready", "Ready");
    let ports = BTreeMap::from([("prometheus", port)]);
    assert_eq!(Servers::check(&ports, LONG, &[]).code, Some(0));
    server.kill();
    let finished = Servers::check(&ports, LONG, &[]);
    finished.assert_failed(1, &["not healthy: prometheus [HS9010]"]);
    assert!(details(&finished, "unhealthy")["prometheus"].contains("Connection refused"), "{finished:?}");

    let mut patient = command(&temp_dir("services"), &["check", "prometheus", "--format", "json"]);
    patient.envs(settings(&ports, LONG)).env("SVC_PROMETHEUS_RETRY_COUNT", "1000");
    let patient = Helix::spawn_command(patient);
    let _again = ServiceServer::prometheus_at(port);
    let finished = patient.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    details(&finished, "healthy");
}

#[test]
fn up_leaves_real_servers_alone_that_answer() {
    let servers = Servers::shared();
    let stand_in = StandIn::new();
    let arguments: Vec<&str> = ["up"].into_iter().chain(servers.ports.keys().copied()).collect();
    let mut up = stand_in.command(&arguments);
    up.envs(settings(&servers.ports, LONG));
    let finished = Helix::spawn_command(up).finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(details(&finished, "already_running").len(), servers.ports.len(), "{finished:?}");
    assert_eq!(stand_in.calls(), [""; 0], "nothing is started");
    assert!(!Path::new(&stand_in.dir.join("started-services.json")).exists(), "nothing is noted");
}

#[test]
fn the_jars_are_those_of_the_versions_of_the_compose_file() {
    let read = |path: &str| std::fs::read_to_string(testkit::repo_path(path)).unwrap();
    let (script, compose) = (read("scripts/service-servers"), read("docker-compose.yml"));
    for (variable, image) in [("ZOOKEEPER", "zookeeper"), ("NEO4J", "neo4j"), ("SPARK", "apache/spark")] {
        let version = script.split(&format!("\n{variable}_VERSION=")).nth(1).and_then(|rest| rest.lines().next());
        let image = format!("image: {image}:{}", version.unwrap());
        assert!(compose.contains(&image), "docker-compose.yml has no {image}");
    }
}
