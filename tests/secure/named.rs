//! The named keys of `[kafka]` on a real broker: each way in connects by variables and secret files
//! alone, and says no secret while librdkafka tells all that it does.

use std::process::Command;

use crate::support::Helix;
use testkit::process::temp_dir;
use testkit::secure::{Connection, Login, PASSWORD, SecureBroker};
use testkit::token_server::SECRET;
use testkit::{Record, records, unique};

/// The password of the private key that a client certificate is shown with.
const KEY_PASSWORD: &str = "keys-own-password";

/// The variable that stands for a setting of librdkafka, by its end; `None` where another one
/// implies it.
fn variable(property: &str) -> Option<&'static str> {
    Some(match property {
        "security.protocol" => "SECURITY",
        "sasl.mechanism" => "MECHANISM",
        "sasl.username" => "USER",
        "sasl.password" => "PASSWORD_FILE",
        "ssl.ca.location" => "CA_FILE",
        "ssl.certificate.location" => "CERTIFICATE_FILE",
        "ssl.key.location" => "KEY_FILE",
        "ssl.key.password" => "KEY_PASSWORD_FILE",
        "sasl.oauthbearer.token.endpoint.url" => "OAUTH_TOKEN_ENDPOINT_URL",
        "sasl.oauthbearer.client.id" => "OAUTH_CLIENT_ID",
        "sasl.oauthbearer.client.secret" => "OAUTH_CLIENT_SECRET_FILE",
        "https.ca.location" => "OAUTH_CA_FILE",
        "sasl.oauthbearer.method" => return None,
        other => panic!("no variable stands for {other}"),
    })
}

/// A connection as variables, its secrets in files that end with a line end.
fn variables(connection: &Connection) -> Vec<(String, String)> {
    let mut all = vec![("HELIXSTREAM_BOOTSTRAP_SERVERS".to_owned(), connection.servers.clone())];
    for (property, value) in &connection.settings {
        let Some(variable) = variable(property) else { continue };
        let is_secret = property.ends_with("password") || property.ends_with("secret");
        let value = match (is_secret, variable) {
            (true, _) => {
                let file = temp_dir("secret").join("value");
                std::fs::write(&file, format!("{value}\n")).unwrap();
                file.display().to_string()
            }
            (false, "SECURITY") => value.to_lowercase(),
            (false, _) => value.clone(),
        };
        all.push((format!("HELIXSTREAM_KAFKA_{variable}"), value));
    }
    all
}

/// Encrypts the private key of a connection.
fn with_encrypted_key(connection: Connection) -> Connection {
    let key = connection.settings.iter().find(|(property, _)| property == "ssl.key.location").unwrap().1.clone();
    let encrypted = temp_dir("key").join("encrypted.pem").display().to_string();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkey", "-aes256", "-in", &key, "-out", &encrypted, "-passout", &format!("pass:{KEY_PASSWORD}")]);
    assert!(openssl.status().unwrap().success());
    connection.with("ssl.key.location", &encrypted).with("ssl.key.password", KEY_PASSWORD)
}

#[test]
fn each_way_in_connects_by_variables_and_files_alone_and_tells_no_secret() {
    use Login::{MutualTls, OAuth, Plain, Scram256, Scram512, Tls};
    let broker = SecureBroker::shared();
    let file = temp_dir("named").join("in.jsonl");
    records::write_file(&file, &[Record::new("a", "1"), Record::new("b", "2")]);
    for login in [Tls, MutualTls, Plain, Scram256, Scram512, OAuth] {
        let topic = unique("named");
        broker.open().create_topic(&topic, 1, &[]);
        let mut connection = broker.login(login);
        if login == MutualTls {
            connection = with_encrypted_key(connection);
        }
        let mut command = Helix::command();
        command.args(["produce", "--topic", &topic, "-X", "debug=all", "--log-level", "trace", "--input"]).arg(&file);
        command.envs(variables(&connection));
        let done = Helix::spawn_command(command).finish();
        assert!(done.code == Some(0) && done.stdout.contains("2 records"), "{login:?}: {done:?}");
        assert_eq!(records::read_committed(broker.open(), &topic).len(), 2, "{login:?}");
        assert!(done.stderr.contains("security.protocol = "), "librdkafka tells its settings: {login:?}");
        // The last is how every token (JWT) begins.
        for secret in [PASSWORD, SECRET, KEY_PASSWORD, "eyJ"] {
            let line = done.stderr.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{login:?}");
        }
    }
}
