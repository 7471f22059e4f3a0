//! What is refused, by which side, and what the message says. At the start a refusal ends every
//! command with exit code 1.

use crate::support::{Finished, Helix};
use testkit::certificates::{Authority, CertificateRequest};
use testkit::process::temp_dir;
use testkit::secure::{Connection, Login, SecureBroker};
use testkit::{Record, records, repo_path};

/// `helixstream produce` by a connection.
fn produce(connection: &Connection) -> Finished {
    let file = temp_dir("refused").join("in.jsonl");
    records::write_file(&file, &[Record::new("a", "1")]);
    run(&["produce", "--input", file.to_str().unwrap(), "--topic", "none"], connection)
}

fn run(command: &[&str], connection: &Connection) -> Finished {
    let connection = connection.arguments();
    Helix::run(&command.iter().copied().chain(connection.iter().map(String::as_str)).collect::<Vec<_>>())
}

/// One line, which has all parts, and the address of the listener.
#[track_caller]
fn assert_refused(name: &str, finished: &Finished, servers: &str, parts: &[&str]) {
    // These tests give passwords by -X, which is warned of by itself.
    let is_about_it = |line: &&str| !line.is_empty() && !line.contains("puts a secret on the command line");
    let lines: Vec<&str> = finished.stderr.lines().filter(is_about_it).collect();
    assert_eq!((finished.code, lines.len()), (Some(1), 1), "{name}: {finished:?}");
    for part in parts.iter().chain(&["helixstream: connect to Kafka: ", servers]) {
        assert!(lines[0].contains(part), "{name}: no {part:?} in {}", lines[0]);
    }
}

/// Each of the cases at once: name, connection, what the message has.
fn all_refused(cases: Vec<(&str, Connection, Vec<&str>)>) {
    std::thread::scope(|scope| {
        for (name, connection, parts) in &cases {
            scope.spawn(move || assert_refused(name, &produce(connection), &connection.servers, parts));
        }
    });
}

#[test]
fn certificates() {
    let broker = SecureBroker::shared();
    let stranger = Authority::new("stranger");
    let foreign_ca = broker.login(Login::Tls).with("ssl.ca.location", stranger.certificate().to_str().unwrap());
    let mut expired = broker.login(Login::MutualTls);
    expired.show(&broker.authority().sign_request(CertificateRequest { name: "client", host: "localhost", days: -1 }));
    let mut foreign = broker.login(Login::MutualTls);
    foreign.show(&stranger.sign("client"));
    let none = broker.login(Login::MutualTls).without("ssl.certificate.location").without("ssl.key.location");
    let (this, that) = ("this client refuses the TLS certificate of broker", "`certificate_file`");
    all_refused(vec![
        (
            "unknown authority",
            foreign_ca,
            vec![this, "/CN=authority", "not known here", "`ca_file`", "ssl.ca.location"],
        ),
        ("expired broker", broker.login(Login::ExpiredBroker), vec![this, "it has expired", "on the broker"]),
        ("other host", broker.login(Login::OtherHost), vec![this, "host name is not in it", "advertised.listeners"]),
        ("expired client", expired, vec!["broker", "refuses the client certificate", "expired", that]),
        ("foreign client", foreign, vec!["asks for a client certificate", "is of another", that]),
        ("no client certificate", none, vec!["asks for a client certificate and got none", that, "ssl.key.location"]),
    ]);
}

#[test]
fn logins() {
    let broker = SecureBroker::shared();
    let wrong = |login: Login| broker.login(login).with("sasl.password", "wrong-marker");
    let password = || vec!["refuses the login", "`password`", "sasl.password"];
    let secret = broker.login(Login::OAuth).with("sasl.oauthbearer.client.secret", "wrong-marker");
    let mechanism = broker.login(Login::ScramPlaintext).with("sasl.mechanism", "PLAIN");
    let mut nobody = broker.login(Login::Scram256);
    nobody.servers = broker.address(Login::Tls);
    all_refused(vec![
        ("PLAIN", wrong(Login::Plain), password()),
        ("SCRAM-SHA-256", wrong(Login::Scram256), password()),
        ("SCRAM-SHA-512", wrong(Login::Scram512), password()),
        (
            "mechanism",
            mechanism,
            vec!["does not offer the SASL mechanism PLAIN", "it offers SCRAM-SHA-256", "`mechanism`"],
        ),
        ("no login", nobody, vec!["asks for no login at this port", "`security`"]),
    ]);
    let refused = produce(&secret);
    refused.assert_failed(1, &["the token server refuses this client", "oauth_client_secret"]);
    assert!(!refused.stderr.contains("wrong-marker"), "{refused:?}");
}

#[test]
fn protocols() {
    let broker = SecureBroker::shared();
    let to = |login: Login, connection: Connection| Connection { servers: broker.address(login), ..connection };
    let plain = |login: Login| Connection { servers: broker.address(login), settings: Vec::new(), password_file: None };
    let open = Connection { servers: broker.open().bootstrap(), ..broker.login(Login::Tls) };
    let setting = "`security` of [kafka] (security.protocol)";
    all_refused(vec![
        ("plaintext on TLS", plain(Login::Tls), vec!["most likely speaks TLS", setting]),
        ("TLS on plaintext", open, vec!["speaks no TLS", setting]),
        ("plaintext on SASL", plain(Login::ScramPlaintext), vec!["asks for a login", setting]),
        (
            "SASL_SSL on SASL_PLAINTEXT",
            to(Login::ScramPlaintext, broker.login(Login::Scram256)),
            vec!["speaks no TLS", setting],
        ),
        ("SSL on SASL_SSL", to(Login::Plain, broker.login(Login::Tls)), vec!["asks for a login", setting]),
    ]);
}

#[test]
fn every_command_ends_on_a_refusal() {
    let broker = SecureBroker::shared();
    let wrong = broker.login(Login::Scram256).with("sasl.password", "wrong");
    let topology = repo_path("topologies/memory.toml").display().to_string();
    let state = temp_dir("refused-state").display().to_string();
    let database = "postgres://nobody@127.0.0.1:1/none?sslmode=disable";
    let with_topology: [&[&str]; 5] = [
        &["run", "--no-mirror", "--state-dir", &state],
        &["topics", "create"],
        &["topics", "check"],
        &["conflicts", "list"],
        &["mirror", "run", "--postgres-url", database],
    ];
    std::thread::scope(|scope| {
        for command in with_topology {
            let (wrong, topology) = (&wrong, &topology);
            scope.spawn(move || {
                let finished = run(&[command, &["--topology", topology]].concat(), wrong);
                finished.assert_failed(1, &["connect to Kafka: broker localhost:", "refuses the login", "`password`"]);
            });
        }
    });
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let login = SecureBroker::shared().login(Login::MutualTls);
    let other = SecureBroker::shared().authority().sign("other");
    let missing = produce(&login.clone().with("ssl.ca.location", "nowhere.pem"));
    missing.assert_failed(1, &["`ca_file` of [kafka] (ssl.ca.location) cannot be used", "exists"]);
    let mixed = produce(&login.with("ssl.key.location", other.key.to_str().unwrap()));
    mixed.assert_failed(1, &["`key_file`", "is not that of the certificate"]);
}
