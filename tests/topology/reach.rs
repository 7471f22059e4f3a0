//! How Kafka is reached: named keys of `[kafka]`, their variables, their flags. What is wrong
//! within a file alone is in `wrong/kafka*.toml`.

use std::path::{Path, PathBuf};

use helixstream::Program;
use topology_file::kafka::KAFKA;
use topology_file::key::Takes;
use topology_file::keys;

use crate::changed;
use crate::support::{Finished, Helix};
use testkit::process::temp_dir;

/// A folder with a topology file whose `[kafka]` has these lines.
fn folder(kafka: &str) -> PathBuf {
    let dir = temp_dir("reach");
    std::fs::write(dir.join("t.toml"), changed(&[("[kafka] ", &format!("[kafka]\n{kafka}\n#"))])).unwrap();
    std::fs::write(dir.join("password"), "from-a-file\n").unwrap();
    for file in ["ca.pem", "app.pem", "app.key"] {
        std::fs::write(dir.join(file), "").unwrap();
    }
    dir
}

/// `topics plan` without a broker, in a working folder beside that of the file.
fn plan(dir: &Path, variables: &[(&str, &str)], flags: &[&str]) -> Finished {
    let elsewhere = temp_dir("elsewhere");
    let mut command = Helix::command();
    command.args(["topics", "plan", "--bootstrap-servers", "localhost:1", "--set", "broker_timeout=1s", "--topology"]);
    command.arg(dir.join("t.toml")).args(["-X", "debug=conf", "--log-level", "debug"]).args(flags);
    command.envs(variables.iter().copied()).current_dir(elsewhere);
    Helix::spawn_command(command).finish()
}

/// What librdkafka says of a setting that it was told, as its log has it.
fn told(finished: &Finished, property: &str) -> Option<String> {
    let begin = format!("{property} = ");
    let line = finished.stderr.lines().find(|line| line.contains(&begin))?;
    Some(line.split_once(&begin)?.1.split(" facility=").next()?.to_owned())
}

#[test]
fn a_flag_beats_a_variable_which_beats_the_file_for_named_keys_too() {
    let file = "security = \"sasl_plaintext\"\nmechanism = \"PLAIN\"\nuser = \"u\"\npassword_file = \"password\"";
    let dir = folder(file);
    let mechanism = |variables: &[(&str, &str)], flags: &[&str]| {
        let finished = plan(&dir, variables, flags);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(told(&finished, "security.protocol").as_deref(), Some("sasl_plaintext"));
        // librdkafka hides what it takes for secrets, the user among them.
        assert_eq!(told(&finished, "sasl.password").as_deref(), Some("[redacted]"));
        told(&finished, "sasl.mechanisms").unwrap()
    };
    let variable = ("HELIXSTREAM_KAFKA_MECHANISM", "SCRAM-SHA-256");
    assert_eq!(mechanism(&[], &[]), "PLAIN");
    assert_eq!(mechanism(&[variable], &[]), "SCRAM-SHA-256");
    assert_eq!(mechanism(&[variable], &["--kafka-mechanism", "SCRAM-SHA-512"]), "SCRAM-SHA-512");
    // librdkafka's own name for it counts as the same setting.
    assert_eq!(mechanism(&[("HELIXSTREAM_X", "sasl.mechanism=SCRAM-SHA-256")], &[]), "SCRAM-SHA-256");
    assert_eq!(mechanism(&[variable], &["-X", "sasl.mechanism=SCRAM-SHA-512"]), "SCRAM-SHA-512");
    let password = [("HELIXSTREAM_KAFKA_PASSWORD", "p"), ("HELIXSTREAM_X", "")];
    assert_eq!(mechanism(&password, &["--kafka-mechanism", "PLAIN"]), "PLAIN");
}

#[test]
fn paths_of_the_file_start_at_its_folder() {
    let dir = folder("security = \"ssl\"\nca_file = \"none.pem\"");
    let named = format!("the file {} of `ca_file` cannot be read", dir.join("none.pem").display());
    plan(&dir, &[], &[]).assert_failed(2, &["t.toml:", &named]);
    // A folder of certificates, too.
    let other = dir.display().to_string();
    let finished = plan(&dir, &[("HELIXSTREAM_KAFKA_CA_FILE", &other)], &[]);
    assert_eq!(told(&finished, "ssl.ca.location"), Some(other), "{finished:?}");
    let dir = folder("security = \"sasl_ssl\"\nmechanism = \"PLAIN\"\nuser = \"u\"\npassword_file = \"nowhere\"");
    let named = format!("the secret file `{}`, which `password_file` of [kafka] (", dir.join("nowhere").display());
    plan(&dir, &[], &[]).assert_failed(2, &[&named, "cannot be read: No such file"]);
}

#[test]
fn every_path_of_the_file_starts_at_its_folder_whichever_key_holds_it() {
    for section in [&keys::RUN, &keys::SCHEMA_REGISTRY, &KAFKA] {
        let paths = section.keys.iter().filter(|key| key.takes == Takes::Path);
        let names: Vec<&str> = paths.map(|key| key.name).collect();
        let ends = |name: &str| name.ends_with("_file") || name.ends_with("_dir") || name.starts_with("http_tls");
        assert!(section.keys.iter().all(|key| ends(key.name) == names.contains(&key.name)), "{names:?}");
        for name in names {
            let text =
                changed(&[(&format!("[{}] ", section.name), &format!("[{}]\n{name} = \"p/q\"\n#", section.name))]);
            // What does not go together is another matter: a certificate needs its key.
            let more = match name {
                "certificate_file" => "key_file = \"k\"",
                "key_file" => "certificate_file = \"c\"",
                "key_password_file" => "key_file = \"k\"\ncertificate_file = \"c\"",
                _ => "",
            };
            let security = if name.starts_with("password") || name.starts_with("oauth") { "sasl_ssl" } else { "ssl" };
            let more =
                if section.name == "kafka" { format!("{more}\nsecurity = \"{security}\"") } else { String::new() };
            let line = format!("{name} = \"p/q\"");
            let file = topology_file::parse(
                "some/folder/t.toml",
                &text.replacen(&line, &format!("{line}\n{more}"), 1),
                &Program::default().operators,
            );
            let file = file.unwrap_or_else(|problems| panic!("{name}: {problems}"));
            let shown = [
                format!(
                    "{:?}",
                    (&file.run.state_dir, &file.run.http_token_file, &file.run.http_tls_cert, &file.run.http_tls_key)
                ),
                format!("{:?}", (&file.run.postgres_url, &file.run.postgres_password)),
                format!("{:?}{:?}", file.schema_registry.access, file.kafka.named),
            ];
            assert!(shown.concat().contains("\"some/folder/p/q\""), "{name}: {shown:?}");
        }
    }
}

#[test]
fn files_of_http_and_of_the_registry_are_looked_for_beside_the_topology_file() {
    let dir = folder("");
    let run = |http: &str, registry: &str| {
        let text = changed(&[
            ("[run] ", &format!("[run]\nhttp_listen = \"0\"\n{http}\n#")),
            ("[schema_registry] ", &format!("[schema_registry]\n{registry}\n#")),
        ]);
        std::fs::write(dir.join("t.toml"), text).unwrap();
        let mut command = Helix::command();
        command
            .args(["run", "--no-mirror", "--bootstrap-servers", "localhost:1", "--topology"])
            .arg(dir.join("t.toml"));
        command.current_dir(temp_dir("elsewhere"));
        Helix::spawn_command(command).finish()
    };
    let path = |name: &str| dir.join(name).display().to_string();
    run("http_token_file = \"no-tokens\"", "").assert_failed(2, &[&path("no-tokens")]);
    run("http_tls_cert = \"no-cert\"\nhttp_tls_key = \"no-key\"", "").assert_failed(2, &[&path("no-cert")]);
    run("http_token_file = \"\"", "").assert_failed(2, &["`http_token_file` of [run] is empty"]);
    let registry = "url = \"https://localhost:1\"\nca_file = \"no-ca\"";
    run("", registry).assert_failed(2, &[&path("no-ca")]);
}

#[test]
fn oauthbearer_by_named_keys_gets_its_tokens_by_client_credentials() {
    let dir = folder("security = \"sasl_ssl\"\nmechanism = \"OAUTHBEARER\"\noauth_client_id = \"app\"");
    let url = "https://localhost:1/token";
    let finished = plan(
        &dir,
        &[("HELIXSTREAM_KAFKA_OAUTH_TOKEN_ENDPOINT_URL", url), ("HELIXSTREAM_KAFKA_OAUTH_CLIENT_SECRET", "hunter2")],
        &["--kafka-oauth-scope", "kafka"],
    );
    assert_eq!(told(&finished, "sasl.oauthbearer.method").as_deref(), Some("oidc"), "{finished:?}");
    assert_eq!(told(&finished, "sasl.oauthbearer.token.endpoint.url").as_deref(), Some(url));
    assert_eq!(told(&finished, "sasl.oauthbearer.scope").as_deref(), Some("kafka"));
    assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
}

/// Lines of `[kafka]`, variables, flags, and what must be told.
type Wrong<'w> = (&'w str, &'w [(&'w str, &'w str)], &'w [&'w str], &'w [&'w str]);

#[test]
fn what_is_missing_or_said_twice_is_told_before_anything_connects() {
    let cases: [Wrong; 9] = [
        (
            "security = \"sasl_ssl\"",
            &[],
            &[],
            &["`mechanism` of [kafka] is not set: `security` is sasl_ssl", "--kafka-mechanism"],
        ),
        (
            "security = \"sasl_ssl\"\nmechanism = \"PLAIN\"\nuser = \"u\"",
            &[],
            &[],
            &["`password` of [kafka] is not set: `mechanism` is PLAIN", "HELIXSTREAM_KAFKA_PASSWORD_FILE"],
        ),
        (
            "security = \"ssl\"\ncertificate_file = \"app.pem\"",
            &[],
            &[],
            &["`key_file` of [kafka] is not set", "[HS0024]"],
        ),
        ("mechanism = \"PLAIN\"", &[], &[], &["t.toml:", "`mechanism` is for authentication by SASL"]),
        (
            "",
            &[("HELIXSTREAM_KAFKA_SECURITY", "tls")],
            &[],
            &["HELIXSTREAM_KAFKA_SECURITY: `tls` is not one of plaintext"],
        ),
        (
            "",
            &[("HELIXSTREAM_KAFKA_PASSWORD", "hunter2"), ("HELIXSTREAM_KAFKA_PASSWORD_FILE", "f")],
            &[],
            &["HELIXSTREAM_KAFKA_PASSWORD and HELIXSTREAM_KAFKA_PASSWORD_FILE are both set"],
        ),
        (
            "",
            &[("HELIXSTREAM_KAFKA_USER", "u"), ("HELIXSTREAM_X", "sasl.username=u")],
            &[],
            &["HELIXSTREAM_KAFKA_USER and sasl.username of HELIXSTREAM_X set the same"],
        ),
        (
            "",
            &[],
            &["--kafka-user", "u", "-X", "sasl.username=u"],
            &["--kafka-user and sasl.username of -X set the same"],
        ),
        (
            "security = \"ssl\"",
            &[("HELIXSTREAM_KAFKA_USER", "u")],
            &[],
            &["HELIXSTREAM_KAFKA_USER: `user` is for auth"],
        ),
    ];
    for (kafka, variables, flags, parts) in cases {
        let finished = plan(&folder(kafka), variables, flags);
        finished.assert_failed(2, parts);
        assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
    }
}

#[test]
fn a_secret_on_the_command_line_is_taken_with_a_warning() {
    let dir = folder("security = \"sasl_plaintext\"\nmechanism = \"PLAIN\"\nuser = \"u\"");
    let finished = plan(&dir, &[], &["-X", "sasl.password=hunter2"]);
    assert_eq!(told(&finished, "sasl.password").as_deref(), Some("[redacted]"), "{finished:?}");
    let warning = "-X sasl.password puts a secret on the command line";
    assert_eq!(finished.stderr.matches(warning).count(), 1, "{finished:?}");
    assert!(finished.stderr.contains("give it by HELIXSTREAM_KAFKA_PASSWORD_FILE"), "{finished:?}");
}

#[test]
fn a_password_in_a_url_on_the_command_line_is_taken_with_a_warning_too() {
    let dir = folder("");
    let run = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = Helix::command();
        command.args(["run", "--bootstrap-servers", "localhost:1", "--set", "broker_timeout=1s", "--topology"]);
        command.arg(dir.join("t.toml")).args(flags).envs(variables.iter().copied()).current_dir(temp_dir("elsewhere"));
        let finished = Helix::spawn_command(command).finish();
        assert!(!finished.stderr.contains("hunter2"), "{finished:?}");
        finished.stderr.matches("puts a secret on the command line").count()
    };
    let (postgres, registry) = ("postgres://u:hunter2@localhost:1/d", "http://u:hunter2@localhost:1");
    let flags = ["--postgres-url", postgres, "--schema-registry-url", registry];
    assert_eq!(run(&[], &flags), 2);
    let variables = [("HELIXSTREAM_POSTGRES_URL", postgres), ("HELIXSTREAM_SCHEMA_REGISTRY_URL", registry)];
    assert_eq!(run(&variables, &[]), 0);
    let open = ["--postgres-url", "postgres://u@localhost:1/d", "--schema-registry-url", "http://localhost:1"];
    assert_eq!(run(&[], &open), 0);
}

#[test]
fn secrets_without_a_named_key_may_stand_in_a_file_of_settings() {
    let dir = folder("");
    let file = dir.join("settings").display().to_string();
    std::fs::write(&file, "# one a line\nsasl.oauthbearer.config=hunter2;hunter3\n\nsocket.timeout.ms=7000\n").unwrap();
    let finished = plan(&dir, &[("HELIXSTREAM_X_FILE", &file)], &[]);
    assert_eq!(told(&finished, "sasl.oauthbearer.config").as_deref(), Some("[redacted]"), "{finished:?}");
    assert_eq!(told(&finished, "socket.timeout.ms").as_deref(), Some("7000"));
    assert!(!finished.stderr.contains("hunter"), "{}", finished.stderr);
    let both = plan(&dir, &[("HELIXSTREAM_X_FILE", &file), ("HELIXSTREAM_X", "retries=1")], &[]);
    both.assert_failed(2, &["HELIXSTREAM_X and HELIXSTREAM_X_FILE are both set"]);
}

#[test]
fn librdkafkas_settings_that_begin_with_topic_are_told_to_it() {
    let finished = plan(&folder(""), &[], &["-X", "topic.metadata.refresh.interval.ms=5000"]);
    assert_eq!(told(&finished, "topic.metadata.refresh.interval.ms").as_deref(), Some("5000"), "{finished:?}");
    let refused = plan(&folder(""), &[], &["-X", "topic.acks=1"]);
    refused.assert_failed(2, &["-X acks cannot be set: a committed record must be on all in-sync replicas"]);
}
