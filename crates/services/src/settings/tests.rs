//! What settings come to.

use super::*;

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn settings(variables: &[(&str, &str)]) -> Result<ServiceSettings, String> {
    read(&Sources { variables: &pairs(variables), ..Sources::default() }).map_err(|e| e.to_string())
}

fn of<'s>(settings: &'s ServiceSettings, name: &str) -> &'s Service {
    settings.services.iter().find(|service| service.spec.name == name).unwrap()
}

#[test]
fn without_settings_the_defaults_hold() {
    let settings = settings(&[("PATH", "/bin"), ("SVC_KAFKA_HOST", "")]).unwrap();
    assert_eq!(settings.services.len(), SERVICES.len());
    let minio = of(&settings, "minio");
    assert_eq!(
        (minio.address().as_str(), minio.health, minio.path.as_str()),
        ("localhost:9000", Health::Http, "/minio/health/live")
    );
    assert_eq!((minio.timeout, minio.retry_count), (Duration::from_secs(10), 5));
    assert!(!minio.enabled && !minio.required && !minio.remote);
}

#[test]
fn every_field_has_its_variable() {
    let settings = settings(&[
        ("SVC_POSTGRESQL_HOST", "db"),
        ("SVC_POSTGRESQL_PORT", "6432"),
        ("SVC_NEO4J_URL", "https://graph.example/neo"),
        ("SVC_NEO4J_ENABLED", "1"),
        ("SVC_NEO4J_REQUIRED", "T"),
        ("SVC_NEO4J_REMOTE", "false"),
        ("SVC_NEO4J_HEALTH_PATH", "/alive"),
        ("SVC_NEO4J_HEALTH_TYPE", "tcp"),
        ("SVC_NEO4J_TIMEOUT", "1m30s"),
        ("SVC_NEO4J_RETRY_COUNT", "9"),
    ])
    .unwrap();
    let postgres = of(&settings, "postgres");
    assert_eq!(postgres.address(), "db:6432");
    assert!(postgres.remote, "it is at another machine");
    let neo4j = of(&settings, "neo4j");
    assert_eq!(neo4j.address(), "graph.example:443");
    assert!(neo4j.enabled && neo4j.required && !neo4j.remote);
    assert_eq!((neo4j.path.as_str(), neo4j.health), ("/alive", Health::Tcp));
    assert_eq!((neo4j.timeout, neo4j.retry_count), (Duration::from_secs(90), 9));
}

#[test]
fn a_value_that_does_not_parse_names_its_variable_and_the_fix() {
    let cases = [
        (
            "SVC_KAFKA_PORT",
            "90x2",
            "SVC_KAFKA_PORT: the value `90x2` cannot be used; write a number from 1 to 65535 [HS9001]",
        ),
        ("SVC_KAFKA_PORT", "0", "write a number"),
        ("SVC_KAFKA_ENABLED", "yes", "write true or false"),
        ("SVC_KAFKA_TIMEOUT", "5", "write a duration"),
        ("SVC_KAFKA_RETRY_COUNT", "0", "from 1 to 1000"),
        ("SVC_KAFKA_HEALTH_TYPE", "redis", "write one of tcp, http, kafka, postgres, pgx, zookeeper"),
        ("SVC_KAFKA_HEALTH_PATH", "ping", "begins with /"),
        ("SVC_KAFKA_HOST", "a:1", "without port"),
        ("SVC_KAFKA_URL", "kafka", "write HOST:PORT"),
        ("SVC_KAFKA_HOSTS", "a", "a service has no setting `HOSTS`; the settings are HOST, PORT, "),
        ("SVC_KAFKA_DISCOVERY_ENABLED", "true", "helixstream discovers no services; unset it"),
    ];
    for (name, value, part) in cases {
        let error = settings(&[(name, value)]).unwrap_err();
        assert!(error.contains(part) && error.contains(name), "{name}={value}: {error}");
    }
    let secret = settings(&[("SVC_NEO4J_URL", "http://user:geheim@:x")]).unwrap_err();
    assert!(!secret.contains("geheim"), "{secret}");
    let secret = "postgres://u:geheim@db";
    for name in ["HOST", "PORT", "ENABLED", "TIMEOUT", "HEALTH_TYPE", "HEALTH_PATH", "RETRY_COUNT"] {
        let error = settings(&[(&format!("SVC_POSTGRESQL_{name}"), secret)]).unwrap_err();
        assert!(!error.contains("geheim") && error.contains(name), "{error}");
    }
    for text in [
        format!("{secret}.example/d=1"),
        format!("kafka.{secret}=1"),
        "u:geheim.x=y@db".to_owned(),
        "kafka.geheim=x@db".to_owned(),
    ] {
        let assignments = pairs(&[("--service-setting", &text)]);
        let error = read(&Sources { assignments: &assignments, ..Sources::default() }).unwrap_err().to_string();
        assert!(!error.to_lowercase().contains("geheim"), "{error}");
    }
    for text in
        [format!("\"{secret}\" = 1"), format!("[kafka]\n\"{secret}\" = 1.5"), format!("[\"{secret}\"]\nport = 1")]
    {
        let error = read(&Sources { file: Some(("f", &text)), ..Sources::default() }).unwrap_err().to_string();
        assert!(!error.contains("geheim"), "{error}");
    }
    let both = settings(&[("SVC_KAFKA_PORT", "a"), ("SVC_MINIO_PORT", "b")]).unwrap_err();
    assert!(both.contains("KAFKA") && both.contains("MINIO"), "{both}");
}

#[test]
fn other_services_of_helixagent_are_ignored() {
    let settings = settings(&[
        ("SVC_REDIS_PORT", "x"),
        ("SVC_MCP_FETCH_URL", "x"),
        ("SVC_KAFAK_PORT", "9092"),
        ("SVC_KAFKA_ZOOKEEPER_PORT", "9095"),
    ])
    .unwrap();
    assert_eq!(settings.ignored, ["SVC_REDIS_PORT", "SVC_MCP_FETCH_URL"]);
    assert_eq!(settings.unknown, ["SVC_KAFAK_PORT"]);
    assert_eq!(of(&settings, "kafka-zookeeper").port, 9095);
}

#[test]
fn a_stronger_source_wins() {
    let file = ("services.toml", "[kafka]\nhost = \"of-file\"\nport = 1\ntimeout = \"1s\"\n[minio]\nenabled = true\n");
    let variables = pairs(&[("SVC_KAFKA_PORT", "2"), ("SVC_KAFKA_RETRY_COUNT", "4")]);
    let assignments =
        pairs(&[("HELIXSTREAM_SERVICE_SETTING", "kafka.retry_count=5"), ("--service-setting", "kafka.retry_count=6")]);
    let settings =
        read(&Sources { file: Some(file), variables: &variables, assignments: &assignments, ..Sources::default() })
            .unwrap();
    let kafka = of(&settings, "kafka");
    assert_eq!((kafka.address().as_str(), kafka.timeout, kafka.retry_count), ("of-file:2", Duration::from_secs(1), 6));
    assert!(of(&settings, "minio").enabled);
}

#[test]
fn a_url_beats_host_and_port_beside_it_but_not_those_above_it() {
    let variables = pairs(&[("SVC_MINIO_URL", "http://s3:1"), ("SVC_MINIO_HOST", "other"), ("SVC_MINIO_PORT", "2")]);
    let settings = read(&Sources { variables: &variables, ..Sources::default() }).unwrap();
    assert_eq!(of(&settings, "minio").address(), "s3:1");
    let assignments = pairs(&[("--service-setting", "minio.port=3")]);
    let settings = read(&Sources { variables: &variables, assignments: &assignments, ..Sources::default() }).unwrap();
    let minio = of(&settings, "minio");
    assert_eq!(minio.address(), "s3:3");
    assert_eq!(minio.url.as_ref().unwrap().expose(), "http://s3:3", "the port is that of the flag");
}

#[test]
fn the_flags_are_one_source_whatever_their_order_is() {
    let assignments = pairs(&[("--service-setting", "minio.url=http://s3:1"), ("--service-setting", "minio.port=2")]);
    let settings = read(&Sources { assignments: &assignments, ..Sources::default() }).unwrap();
    assert_eq!(of(&settings, "minio").address(), "s3:1");
    let assignments = pairs(&[("HELIXSTREAM_SERVICE_SETTING", "minio.url=http://s3:1"), ("flag", "minio.port=2")]);
    let settings = read(&Sources { assignments: &assignments, ..Sources::default() }).unwrap();
    assert_eq!(of(&settings, "minio").address(), "s3:2");
}

#[test]
fn a_stronger_host_or_port_keeps_the_rest_of_a_url() {
    let moved = |name: &str, url: &str, assignment: &str| {
        let variables = pairs(&[(&format!("SVC_{name}_URL"), url)]);
        let assignments = pairs(&[("flag", assignment)]);
        let all = read(&Sources { variables: &variables, assignments: &assignments, ..Sources::default() }).unwrap();
        let service = all.services.into_iter().find(|service| service.spec.variable == name).unwrap();
        service.url.map(|url| url.expose().to_owned())
    };
    assert_eq!(
        moved("POSTGRESQL", "postgres://u:p%40w@db:5432/d?sslmode=require", "postgres.port=6432").unwrap(),
        "postgres://u:p%40w@db:6432/d?sslmode=require"
    );
    assert_eq!(moved("NEO4J", "https://u:pw@graph/neo", "neo4j.host=::1").unwrap(), "https://u:pw@[::1]:443/neo");
    assert_eq!(
        moved("POSTGRESQL", "postgres://u@a:1,b:2/d?host=/run&port=3", "postgres.host=c").unwrap(),
        "postgres://u@c:3/d"
    );
    assert_eq!(moved("KAFKA", "a:1,b:2", "kafka.port=3"), None, "brokers have no user");
}

#[test]
fn every_url_of_postgres_has_a_place() {
    let cases = [
        // No container of the compose file listens at a socket, so that none is started.
        ("postgres:///d?host=/run/postgresql", "localhost:5432", true),
        ("postgresql://u:pw@%2Frun%2Fpostgresql/d", "localhost:5432", true),
        ("postgres:///d", "localhost:5432", false),
        ("postgres://u:pw@a:1,b:2/d", "a:1", true),
        ("postgres://u@/d?host=db&port=7", "db:7", true),
        ("postgres://[::1]:6432,b/d", "[::1]:6432", false),
        ("postgres://u:pw@db", "db:5432", true),
    ];
    for (url, address, remote) in cases {
        let settings = settings(&[("SVC_POSTGRESQL_URL", url)]).unwrap();
        let postgres = of(&settings, "postgres");
        assert_eq!((postgres.address().as_str(), postgres.remote), (address, remote), "{url}");
    }
}

#[test]
fn a_port_alone_does_not_lead_away_from_a_socket() {
    let of_url = pairs(&[("SVC_POSTGRESQL_URL", "postgres://u@/d?host=/run&port=1&sslmode=disable")]);
    let with = |assignment: &str| {
        let assignments = pairs(&[("flag", assignment)]);
        let all = read(&Sources { variables: &of_url, assignments: &assignments, ..Sources::default() }).unwrap();
        let postgres = of(&all, "postgres");
        (postgres.url.as_ref().unwrap().expose().to_owned(), postgres.remote)
    };
    let at_socket = "postgres://u@/d?host=/run&sslmode=disable&port=6432".to_owned();
    assert_eq!(with("postgres.port=6432"), (at_socket, true));
    assert_eq!(with("postgres.host=::1"), ("postgres://u@[::1]:1/d?sslmode=disable".to_owned(), false));
}

#[test]
fn what_the_topology_file_names_is_moved_by_a_host_or_a_port_and_not_dropped() {
    let topology = pairs(&[
        ("t.toml", "kafka.url=kafka-1:9093,kafka-2:9093"),
        ("t.toml", "postgres.url=postgres://u:p@db/d?sslmode=require"),
    ]);
    let file = ("f", "[kafka]\nport = 1\nremote = false\n[postgres]\nurl = \"postgres://f/f\"\n");
    let with = |variables: &[(&str, &str)], assignments: &[(&str, &str)]| {
        let (variables, assignments) = (pairs(variables), pairs(assignments));
        let sources = Sources {
            file: Some(file),
            topology: &topology,
            variables: &variables,
            assignments: &assignments,
            own_name: None,
            only: None,
        };
        let all = read(&sources).unwrap();
        let url = |name| of(&all, name).url.as_ref().map(|url| url.expose().to_owned());
        (of(&all, "kafka").address(), url("kafka"), url("postgres").unwrap())
    };
    let postgres = |place: &str| format!("postgres://u:p@{place}/d?sslmode=require");
    let brokers = "kafka-1:9093,kafka-2:9093".to_owned();
    assert_eq!(with(&[], &[]), ("kafka-1:9093".to_owned(), Some(brokers.clone()), postgres("db")));
    let ports = [("SVC_KAFKA_PORT", "9092"), ("SVC_POSTGRESQL_PORT", "5432")];
    assert_eq!(with(&ports, &[]), ("kafka-1:9092".to_owned(), None, postgres("db:5432")));
    let hosts = [("flag", "kafka.host=here"), ("flag", "postgres.host=here")];
    assert_eq!(with(&[], &hosts), ("here:9093".to_owned(), None, postgres("here:5432")));
    let urls = [("SVC_KAFKA_URL", "other:1"), ("SVC_POSTGRESQL_URL", "postgres://other/o")];
    let of_urls = ("other:1".to_owned(), Some("other:1".to_owned()), "postgres://other/o".to_owned());
    assert_eq!(with(&urls, &[]), of_urls);
    assert_eq!(with(&[("SVC_KAFKA_TIMEOUT", "9s")], &[]).1, Some(brokers));
}

#[test]
fn this_machine_has_several_names() {
    let is_remote = |host: &str| {
        let variables = pairs(&[("SVC_MINIO_HOST", host)]);
        let sources = Sources { variables: &variables, own_name: Some("box"), ..Sources::default() };
        of(&read(&sources).unwrap(), "minio").remote
    };
    for host in ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "0.0.0.0", "Box"] {
        assert!(!is_remote(host), "{host}");
    }
    assert!(is_remote("box.example") && is_remote("10.0.0.1"));
}

#[test]
fn a_file_that_is_wrong_is_reported_with_its_name() {
    let wrong = |text: &str| read(&Sources { file: Some(("f", text)), ..Sources::default() }).unwrap_err().to_string();
    assert!(wrong("[kafka").starts_with("f: the file is not TOML"));
    assert!(wrong("kafka = 1").contains("`kafka` is no table"));
    assert!(wrong("[kafka]\nport = 1.5").contains("`kafka.port` is neither text"));
    assert!(wrong("[kafka]\nport = 70000").contains("f kafka.port: the value `70000`"));
    assert!(wrong("[redis]\nport = 1").contains("there is no service `redis`"));
    assert!(wrong("[kafka]\ndiscovery_method = \"dns\"").contains("HS9002"));
}

#[test]
fn brokers_may_be_several() {
    let settings = settings(&[("SVC_KAFKA_URL", "kafka://a:1,[::1]:2")]).unwrap();
    assert_eq!(of(&settings, "kafka").address(), "a:1");
    assert_eq!(servers("kafka://a:1,[::1]:2"), [("a".to_owned(), 1), ("::1".to_owned(), 2)]);
    assert_eq!(servers("a:1,b"), []);
}

#[test]
fn settings_of_other_services_are_not_read() {
    let variables = pairs(&[
        ("SVC_KAFKA_PORT", "1"),
        ("SVC_KAFKA_ZOOKEEPER_PORT", "none"),
        ("SVC_NEO4J_HOSTS", "a"),
        ("SVC_MINIO_DISCOVERY_METHOD", "dns"),
        ("SVC_REDIS_PORT", "2"),
    ]);
    let assignments = pairs(&[("--service-setting", "grafana.port=none"), ("--service-setting", "kafka.timeout=7s")]);
    let file = Some(("services.toml", "[prometheus]\nport = \"none\"\n[clickhouse]\nport = [1]\n"));
    let all = Sources { variables: &variables, assignments: &assignments, file, ..Sources::default() };
    assert_eq!(read(&all).unwrap_err().0.len(), 6, "{:?}", read(&all).unwrap_err());
    let settings = read(&Sources { only: Some(&["kafka"]), ..all }).unwrap();
    let kafka = of(&settings, "kafka");
    assert_eq!((kafka.port, kafka.timeout), (1, Duration::from_secs(7)));
    assert_eq!(of(&settings, "minio").port, 9000, "the default stands");
    assert_eq!(settings.ignored, ["SVC_REDIS_PORT"]);
    // A service that does not exist is a mistake of any command.
    let assignments = pairs(&[("--service-setting", "kafak.port=1")]);
    assert!(read(&Sources { only: Some(&["kafka"]), assignments: &assignments, ..Sources::default() }).is_err());
}
