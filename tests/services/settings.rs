//! Where the settings of `helixstream services` come from, and which of them are read.

use crate::support::Helix;
use crate::{command, run, states};
use serde_json::{Value, json};
use testkit::process::temp_dir;
use testkit::{Broker, Postgres};

#[test]
fn the_url_of_postgres_may_stand_in_a_file() {
    let dir = temp_dir("services");
    std::fs::write(dir.join("url"), "postgres://u:geheim@/d?host=/run/postgresql\n").unwrap();
    let finished = run(&dir, &["list", "postgres"], &[("HELIXSTREAM_POSTGRES_URL_FILE", "url")]);
    assert!(finished.stdout.contains("\"address\": \"localhost:5432\""), "{finished:?}");
    std::fs::write(dir.join("url"), "postgres://u:geheim@db:6432/d").unwrap();
    let finished = run(&dir, &["list", "postgres"], &[("HELIXSTREAM_POSTGRES_URL_FILE", "url")]);
    assert!(finished.stdout.contains("\"address\": \"db:6432\""), "{finished:?}");
    std::fs::write(dir.join("url"), "db:geheim:x").unwrap();
    for all in [&["list"][..], &["list", "postgres"], &["check"]] {
        let finished = run(&dir, all, &[("HELIXSTREAM_POSTGRES_URL_FILE", "url")]);
        finished.assert_failed(2, &["HELIXSTREAM_POSTGRES_URL_FILE postgres.url: the URL cannot be used"]);
        assert!(!finished.stderr.contains("geheim"), "{finished:?}");
    }
}

#[test]
fn settings_of_services_that_are_not_meant_are_not_read() {
    let dir = temp_dir("services");
    std::fs::write(dir.join("services.toml"), "[neo4j]\nport = \"none\"\n").unwrap();
    let servers = Broker::shared().bootstrap();
    let wrong = [
        ("HELIXSTREAM_BOOTSTRAP_SERVERS", servers.as_str()),
        ("SVC_KAFKA_TIMEOUT", "60s"),
        ("HELIXSTREAM_SERVICES_FILE", "services.toml"),
        ("HELIXSTREAM_POSTGRES_URL_FILE", "missing"),
        ("HELIXSTREAM_POSTGRES_PASSWORD_FILE", "missing"),
        ("SVC_POSTGRESQL_PORT", "none"),
        ("SVC_MINIO_DISCOVERY_METHOD", "dns"),
        ("HELIXSTREAM_SERVICE_SETTING", "clickhouse.timeout=long"),
    ];
    assert_eq!(run(&dir, &["check", "kafka"], &wrong).code, Some(0), "all of these are of other services");
    assert_eq!(run(&dir, &["list", "--profile", "zookeeper"], &wrong).code, Some(0));
    run(&dir, &["list"], &wrong).assert_failed(2, &["the secret file `missing`"]);
    run(&dir, &["check", "postgres"], &wrong).assert_failed(2, &["the secret file `missing`"]);
    run(&dir, &["list", "clickhouse"], &wrong).assert_failed(2, &["clickhouse.timeout"]);

    // Kafka's, where only Postgres is meant, and Postgres', where a setting switches it off.
    let url = Postgres::shared().create_database();
    let of_kafka = [
        ("HELIXSTREAM_POSTGRES_URL", url.as_str()),
        ("SVC_POSTGRESQL_TIMEOUT", "60s"),
        ("HELIXSTREAM_BOOTSTRAP_SERVERS", "nonsense"),
        ("HELIXSTREAM_KAFKA_SECURITY", "ssl"),
        ("HELIXSTREAM_KAFKA_CA_FILE", "missing"),
    ];
    assert_eq!(run(&dir, &["check", "postgres"], &of_kafka).code, Some(0));
    run(&dir, &["check"], &of_kafka).assert_failed(2, &["HELIXSTREAM_BOOTSTRAP_SERVERS kafka.url"]);
    let without_postgres = [
        ("HELIXSTREAM_BOOTSTRAP_SERVERS", servers.as_str()),
        ("SVC_KAFKA_TIMEOUT", "60s"),
        ("SVC_POSTGRESQL_ENABLED", "false"),
        ("HELIXSTREAM_POSTGRES_URL_FILE", "missing"),
    ];
    let finished = run(&dir, &["check"], &without_postgres);
    assert_eq!((finished.code, states(&finished).len()), (Some(0), 1), "{finished:?}");
}

#[test]
fn the_variable_of_the_form_holds_what_other_commands_accept() {
    let mut list = command(&temp_dir("services"), &["list", "kafka"]);
    list.env("HELIXSTREAM_FORMAT", "text");
    let finished = Helix::spawn_command(list).finish();
    assert!(finished.code == Some(0) && finished.stdout.starts_with("SERVICE"), "{finished:?}");
}

#[test]
fn settings_come_from_flags_variables_and_a_file() {
    let dir = temp_dir("services");
    std::fs::write(dir.join("services.toml"), "[kafka]\nhost = \"of-file\"\nport = 1\nretry_count = 7\n").unwrap();
    let arguments = ["list", "kafka", "--services-file", "services.toml", "--service-setting", "kafka.timeout=7s"];
    let variables = [
        ("SVC_KAFKA_PORT", "2"),
        ("SVC_KAFKA_TIMEOUT", "6s"),
        ("HELIXSTREAM_SERVICE_SETTING", "kafka.timeout=8s;kafka.port=3"),
        ("SVC_REDIS_PORT", "6379"),
        ("SVC_KAFAK_PORT", "9"),
    ];
    let finished = run(&dir, &arguments, &variables);
    let list: Value = serde_json::from_str(&finished.stdout).unwrap();
    let kafka = &list["services"][0];
    let found = (&kafka["address"], &kafka["timeout_ms"], &kafka["retry_count"], &kafka["remote"]);
    assert_eq!(found, (&json!("of-file:3"), &json!(7000), &json!(7), &json!(true)), "{finished:?}");
    assert!(finished.stderr.contains("are ignored: SVC_REDIS_PORT"), "{finished:?}");
    assert!(finished.stderr.contains("SVC_KAFAK_PORT") && finished.stderr.contains("HS9012"), "{finished:?}");

    let cases: [(&[&str], &str, &str); 4] = [
        (&["check"], "SVC_KAFKA_PORT", "SVC_KAFKA_PORT: the value `none` cannot be used; write a number from 1"),
        (&["list"], "SVC_MINIO_DISCOVERY_METHOD", "helixstream discovers no services; unset it"),
        (&["check", "redis"], "SVC_REDIS_HOST", "there is no service `redis`; the services are kafka, "),
        (&["up", "--profile", "small"], "SVC_REDIS_HOST", "there is no profile `small`; the profiles are bigdata, "),
    ];
    for (arguments, variable, part) in cases {
        run(&dir, arguments, &[(variable, "none")]).assert_failed(2, &[part]);
    }
}
