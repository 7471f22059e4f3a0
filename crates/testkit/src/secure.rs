//! A real Kafka broker that asks its clients for encryption and for a name: a listener for each way
//! in, certificates and a token server of the test's own.
//!
//! | [`Login`] | listener | the broker asks for |
//! |---|---|---|
//! | `Tls` | SSL | nothing: the broker alone shows a certificate |
//! | `MutualTls` | SSL | a client certificate that the authority signed |
//! | `Plain`, `Scram256`, `Scram512` | SASL_SSL | user and password |
//! | `ScramPlaintext` | SASL_PLAINTEXT | the same, without encryption |
//! | `OAuth` | SASL_SSL | a token of the token server |
//! | `ExpiredBroker` | SSL | nothing, but its own certificate has expired |
//! | `OtherHost` | SSL | nothing, but its own certificate is that of another host |
//!
//! The PLAINTEXT listener of every [`Broker`] is there too, for the test itself: whoever comes by
//! it is a super user (`User:ANONYMOUS`).

use super::broker::{LOG_REQUESTS, More};
use super::certificates::{Authority, CertificateRequest, Identity};
use super::token_server::{self, TokenServer};
use super::{Broker, ports, process::temp_dir, scram, unique};
use rdkafka::ClientConfig;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A user that every secure broker knows, by PLAIN and by SCRAM.
pub const USER: &str = "alice";
/// The password of [`USER`].
pub const PASSWORD: &str = "alice-password";

/// A way to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// TLS, the server alone has a certificate.
    Tls,
    /// TLS, the client has a certificate as well.
    MutualTls,
    /// TLS and a password by SASL PLAIN.
    Plain,
    /// TLS and a password by SCRAM-SHA-256.
    Scram256,
    /// TLS and a password by SCRAM-SHA-512.
    Scram512,
    /// A password by SCRAM, without TLS.
    ScramPlaintext,
    /// TLS and a token by SASL OAUTHBEARER.
    OAuth,
    /// TLS, with a server whose certificate has expired.
    ExpiredBroker,
    /// TLS, with a server whose certificate names another host.
    OtherHost,
}

/// All listeners beside PLAINTEXT: name, protocol.
const LISTENERS: [(&str, &str); 7] = [
    ("TLS", "SSL"),
    ("MUTUAL", "SSL"),
    ("SASL", "SASL_SSL"),
    ("SASLPLAIN", "SASL_PLAINTEXT"),
    ("OAUTH", "SASL_SSL"),
    ("EXPIRED", "SSL"),
    ("OTHERHOST", "SSL"),
];

impl Login {
    /// Where in [`LISTENERS`] it connects to.
    fn listener(self) -> usize {
        match self {
            Login::Tls => 0,
            Login::MutualTls => 1,
            Login::Plain | Login::Scram256 | Login::Scram512 => 2,
            Login::ScramPlaintext => 3,
            Login::OAuth => 4,
            Login::ExpiredBroker => 5,
            Login::OtherHost => 6,
        }
    }

    fn mechanism(self) -> Option<&'static str> {
        match self {
            Login::Plain => Some("PLAIN"),
            Login::Scram256 | Login::ScramPlaintext => Some("SCRAM-SHA-256"),
            Login::Scram512 => Some("SCRAM-SHA-512"),
            Login::OAuth => Some("OAUTHBEARER"),
            Login::Tls | Login::MutualTls | Login::ExpiredBroker | Login::OtherHost => None,
        }
    }
}

/// Options of a secure broker besides those that all of them have.
#[derive(Debug, Default, Clone, Copy)]
pub struct Options {
    /// Whether it asks an authorizer: nobody but the super users may do anything without an ACL.
    pub authorizer: bool,
    /// After this many milliseconds a SCRAM client must show its password again, or it is cut off;
    /// 0: never.
    pub reauthenticate_ms: u32,
    /// Whether the SASL_SSL listener of `Plain`, `Scram256` and `Scram512` asks for a client
    /// certificate, too.
    pub asks_certificate: bool,
    /// The greatest heap of its JVM, as `-Xmx` takes it; that of every test broker where none is
    /// named.
    pub heap: Option<&'static str>,
    /// How long an OAuth token is good for; [`token_server::LIFE`] where nothing is said.
    pub token_life: Option<Duration>,
    /// Whether it logs each request that it completes: see [`Broker::requests`].
    pub logs_requests: bool,
}

/// A broker with a listener for each way in.
#[derive(Debug)]
pub struct SecureBroker {
    broker: Arc<Broker>,
    ports: [u16; LISTENERS.len()],
    authority: Authority,
    tokens: TokenServer,
    /// The folder of its key stores and its trust store.
    dir: PathBuf,
}

impl SecureBroker {
    /// The one that all tests of this binary share. Never stop it, and never take a user of it
    /// away: use topics, groups and users of your own.
    pub fn shared() -> &'static SecureBroker {
        static SHARED: OnceLock<SecureBroker> = OnceLock::new();
        SHARED.get_or_init(|| SecureBroker::start(Options::default()))
    }

    /// One of the test's own.
    pub fn start(options: Options) -> SecureBroker {
        let authority = Authority::new("authority");
        let dir = temp_dir("secure");
        let tokens = TokenServer::start(&authority, options.token_life.unwrap_or(token_server::LIFE));
        let ports = LISTENERS.map(|_| ports::free_port());
        let write = |name: &str, identity: Identity| std::fs::write(dir.join(name), identity.key_store()).unwrap();
        write("broker.pem", authority.sign("broker"));
        write(
            "expired.pem",
            authority.sign_request(CertificateRequest { name: "broker", host: "localhost", days: -1 }),
        );
        write(
            "otherhost.pem",
            authority.sign_request(CertificateRequest { name: "broker", host: "kafka.example", days: 2 }),
        );
        for trusted in ["trusted.pem", "clients.pem"] {
            std::fs::copy(authority.certificate(), dir.join(trusted)).unwrap();
        }
        let scram = |mechanism| format!("SCRAM-SHA-{mechanism}=[name={USER},password={PASSWORD}]");
        let more = More {
            properties: properties(&dir, ports, &tokens, options),
            // Of two options -Xmx the JVM takes the last one.
            jvm: std::iter::once(format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={}", tokens.keys_url()))
                .chain(options.heap.map(|heap| format!("-Xmx{heap}")))
                .chain(options.logs_requests.then(|| LOG_REQUESTS.to_owned()))
                .collect(),
            format: ["--add-scram".to_owned(), scram(256), "--add-scram".to_owned(), scram(512)].to_vec(),
            ..More::default()
        };
        SecureBroker { broker: Arc::new(Broker::start_with_more(more)), ports, authority, tokens, dir }
    }

    /// The broker by its PLAINTEXT listener, where the test may do anything.
    pub fn open(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// The authority that signed its certificates.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The server of its OAuth tokens.
    pub fn tokens(&self) -> &TokenServer {
        &self.tokens
    }

    /// The file with the certificates of the authorities whose clients it lets in; read when it
    /// starts.
    pub fn trusted(&self) -> PathBuf {
        self.dir.join("trusted.pem")
    }

    /// Stops it and starts it again, so that the listener that [`Options::asks_certificate`] is
    /// about takes client certificates of another authority, too.
    pub fn restart_trusting(&self, authority: &Authority) {
        self.broker.stop();
        let both = [&self.authority, authority].map(|one| std::fs::read_to_string(one.certificate()).unwrap());
        std::fs::write(self.dir.join("clients.pem"), both.concat()).unwrap();
        self.broker.restart();
    }

    /// Stops it and starts it again with a certificate of another authority. Of that authority
    /// alone the listener that [`Options::asks_certificate`] is about takes client certificates
    /// from now on.
    pub fn restart_under(&self, authority: &Authority) {
        self.broker.stop();
        std::fs::write(self.dir.join("broker.pem"), authority.sign("broker").key_store()).unwrap();
        std::fs::copy(authority.certificate(), self.dir.join("clients.pem")).unwrap();
        self.broker.restart();
    }

    /// `localhost:port` of a listener.
    pub fn address(&self, login: Login) -> String {
        format!("localhost:{}", self.ports[login.listener()])
    }

    /// All that a client needs for a way in, in working order. [`USER`] logs in where a user is
    /// asked for.
    pub fn login(&self, login: Login) -> Connection {
        let mut connection = Connection { servers: self.address(login), settings: Vec::new(), password_file: None };
        let protocol = LISTENERS[login.listener()].1;
        connection.set("security.protocol", protocol);
        if protocol.ends_with("SSL") {
            connection.set("ssl.ca.location", self.authority.certificate().to_str().unwrap());
        }
        if let Some(mechanism) = login.mechanism() {
            connection.set("sasl.mechanism", mechanism);
        }
        match login {
            Login::MutualTls => connection.show(&self.authority.sign("client")),
            Login::Plain | Login::Scram256 | Login::Scram512 | Login::ScramPlaintext => {
                connection.set("sasl.username", USER);
                connection.set("sasl.password", PASSWORD);
            }
            Login::OAuth => {
                connection.set("sasl.oauthbearer.method", "oidc");
                connection.set("sasl.oauthbearer.client.id", token_server::CLIENT);
                connection.set("sasl.oauthbearer.client.secret", token_server::SECRET);
                connection.set("sasl.oauthbearer.token.endpoint.url", &self.tokens.token_url());
                connection.set("https.ca.location", self.authority.certificate().to_str().unwrap());
            }
            Login::Tls | Login::ExpiredBroker | Login::OtherHost => {}
        }
        connection
    }

    /// Adds a user for SCRAM, or gives it another password, and returns its name: `stem-1`,
    /// `stem-2`, … when `name` ends in `-`.
    pub fn set_password(&self, name: &str, password: &str) -> String {
        let name = if name.ends_with('-') { unique(name.trim_end_matches('-')) } else { name.to_owned() };
        scram::set_password(&self.broker, &name, password);
        name
    }

    /// Takes a SCRAM user away.
    pub fn delete_user(&self, name: &str) {
        scram::delete_user(&self.broker, name);
    }

    /// From now on a listener shows this certificate. It must be for the same names as the former
    /// one; connections that are open stay.
    pub fn show(&self, login: Login, identity: &Identity) {
        let file = temp_dir("key-store").join("broker.pem");
        std::fs::write(&file, identity.key_store()).unwrap();
        self.set_listener(login, "ssl.keystore.location", &file);
    }

    /// From now on a listener lets clients in whose certificates this authority has signed;
    /// connections that are open stay.
    pub fn trust(&self, login: Login, authority: &Authority) {
        self.set_listener(login, "ssl.truststore.location", &authority.certificate());
    }

    fn set_listener(&self, login: Login, setting: &str, file: &Path) {
        let listener = LISTENERS[login.listener()].0.to_lowercase();
        self.broker.set(&format!("listener.name.{listener}.{setting}"), file.to_str().unwrap());
    }
}

fn properties(dir: &Path, ports: [u16; LISTENERS.len()], tokens: &TokenServer, options: Options) -> String {
    let mut listeners = "PLAINTEXT://localhost:{client}".to_owned();
    let mut map = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned();
    for ((name, protocol), port) in LISTENERS.iter().zip(ports) {
        write!(listeners, ",{name}://localhost:{port}").unwrap();
        write!(map, ",{name}:{protocol}").unwrap();
    }
    let scram = "scram.ScramLoginModule required;";
    let modules = "org.apache.kafka.common.security";
    let dir = dir.display();
    let mut text = format!(
        "listeners={listeners},CONTROLLER://localhost:{{controller}}
advertised.listeners={listeners}
listener.security.protocol.map={map}
inter.broker.listener.name=PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={dir}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={dir}/trusted.pem
listener.name.mutual.ssl.client.auth=required
listener.name.expired.ssl.keystore.type=PEM
listener.name.expired.ssl.keystore.location={dir}/expired.pem
listener.name.otherhost.ssl.keystore.type=PEM
listener.name.otherhost.ssl.keystore.location={dir}/otherhost.pem
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
listener.name.sasl.scram-sha-256.sasl.jaas.config={modules}.{scram}
listener.name.sasl.scram-sha-512.sasl.jaas.config={modules}.{scram}
listener.name.saslplain.sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.saslplain.scram-sha-256.sasl.jaas.config={modules}.{scram}
listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oauth.oauthbearer.sasl.server.callback.handler.class={modules}.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.oauth.oauthbearer.sasl.jaas.config={modules}.oauthbearer.OAuthBearerLoginModule required \
unsecuredLoginStringClaim_sub=\"broker\" ssl.truststore.type=\"PEM\" ssl.truststore.location=\"{dir}/trusted.pem\";
sasl.oauthbearer.jwks.endpoint.url={keys}
sasl.oauthbearer.expected.audience=kafka
sasl.oauthbearer.clock.skew.seconds=0
listener.name.oauth.oauthbearer.connections.max.reauth.ms=3600000
",
        keys = tokens.keys_url(),
    );
    if options.reauthenticate_ms > 0 {
        let limit = format!("connections.max.reauth.ms={}", options.reauthenticate_ms);
        writeln!(text, "listener.name.sasl.scram-sha-256.{limit}\nlistener.name.sasl.scram-sha-512.{limit}").unwrap();
    }
    if options.asks_certificate {
        writeln!(text, "listener.name.sasl.ssl.client.auth=required").unwrap();
        writeln!(text, "listener.name.sasl.ssl.truststore.location={dir}/clients.pem").unwrap();
        writeln!(text, "listener.name.sasl.ssl.truststore.type=PEM").unwrap();
    }
    if options.authorizer {
        text += "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n";
        text += "super.users=User:ANONYMOUS\n";
    }
    text
}

/// How a client connects: the servers' addresses, and librdkafka's settings.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `host:port`.
    pub servers: String,
    /// Name and value.
    pub settings: Vec<(String, String)>,
    /// The file that holds the password, in place of the setting. Commands alone know it, no client
    /// of the test's own.
    pub password_file: Option<PathBuf>,
}

impl Connection {
    /// Sets one setting.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// The same with another value of one setting.
    pub fn with(mut self, key: &str, value: &str) -> Connection {
        self.set(key, value);
        self
    }

    /// The same without one setting.
    pub fn without(mut self, key: &str) -> Connection {
        self.settings.retain(|(known, _)| known != key);
        self
    }

    /// The same as another user.
    pub fn for_user(self, name: &str, password: &str) -> Connection {
        self.with("sasl.username", name).with("sasl.password", password)
    }

    /// The same with the password in a file.
    pub fn with_password_file(self, file: PathBuf) -> Connection {
        Connection { password_file: Some(file), ..self.without("sasl.password") }
    }

    /// Shows a client certificate.
    pub fn show(&mut self, identity: &Identity) {
        self.set("ssl.certificate.location", identity.certificate.to_str().unwrap());
        self.set("ssl.key.location", identity.key.to_str().unwrap());
    }

    /// Arguments of every command of `helixstream` that talks to Kafka.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--bootstrap-servers".to_owned(), self.servers.clone()];
        arguments.extend(self.settings.iter().flat_map(|(key, value)| ["-X".to_owned(), format!("{key}={value}")]));
        if let Some(file) = &self.password_file {
            arguments.extend(["--kafka-password-file".to_owned(), file.display().to_string()]);
        }
        arguments
    }

    /// A configuration for a client of the test's own.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        self.settings.iter().for_each(|(key, value)| _ = config.set(key, value));
        config
    }
}
