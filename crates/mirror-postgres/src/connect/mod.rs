//! Connections as libpq makes them: by a URL and libpq's variables, to the first of several servers
//! that will do, with the TLS that `sslmode` asks for, and with a password from wherever psql would
//! take it.
//!
//! | module | what it is |
//! |---|---|
//! | `url` | a URL taken apart |
//! | `options` | what a connection needs to know |
//! | `passfile` | `~/.pgpass` |
//! | `names` | whether a certificate is a host's |
//! | `tls`, `tunnel` | TLS by OpenSSL, and the way sqlx goes through it |

mod names;
mod options;
mod passfile;
mod tls;
mod tunnel;
mod url;

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection, Row};

use options::{Host, Options, SslMode, Surroundings, Target};
use passfile::Login;
use tunnel::{NoTunnel, Tunnel};
pub use url::{UrlError, url_holds_password};

use secret::SecretSource;

/// How long one server may take, if `connect_timeout` does not say.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Name of our sessions in the server's list, by which we also find sleeping ones.
const APPLICATION: &str = "helixstream-mirror";

/// Where a database is, and how to get in.
#[derive(Clone)]
pub(super) struct Way {
    options: Options,
    /// Where the password is, if it was distinguished from the URL; read for each connection.
    password: Option<SecretSource>,
}

/// Why one try to connect came to nothing.
enum Failed {
    /// Another way to the same server is of no use.
    Unreachable(String),
    /// The server has no TLS.
    NoTls(String),
    /// The two do not agree on TLS.
    Tls(String),
    /// The server has heard who we are, and says no.
    Turned(String),
    /// The password cannot be read; the reason has a code of its own.
    NoPassword(String),
}

impl Failed {
    /// The reason with its code, for people.
    fn reason(self) -> String {
        match self {
            Failed::Unreachable(reason) => format!("{reason} [HS4505]"),
            Failed::NoTls(reason) | Failed::Tls(reason) => format!("{reason} [HS4506]"),
            Failed::Turned(reason) => format!("{reason} [HS4507]"),
            Failed::NoPassword(reason) => reason,
        }
    }
}

impl Way {
    /// By a URL, and what this process is surrounded by.
    pub(super) fn new(url: &str) -> Result<Way, UrlError> {
        let at = Surroundings {
            variable: &|name| std::env::var(name).ok(),
            user: system_user(),
            is_there: &|path| path.exists(),
        };
        Ok(Way { options: Options::read(url, &at)?, password: None })
    }

    /// The same, with a password that goes before any other.
    pub(super) fn with_password(mut self, password: SecretSource) -> Way {
        self.password = Some(password);
        self
    }

    /// Connects to the first server that will do.
    pub(super) async fn connect(&self) -> Result<PgConnection, String> {
        let several = self.options.hosts.len() > 1;
        let mut reasons = Vec::new();
        for host in &self.options.hosts {
            let limit = self.options.connect_timeout.unwrap_or(CONNECT_LIMIT);
            let tried = tokio::time::timeout(limit, self.try_host(host)).await;
            let reason = match tried {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(reason)) => reason,
                Err(_) => format!("no connection within {} s [HS4505]", limit.as_secs()),
            };
            reasons.push(if several { format!("{}: {reason}", shown(host)) } else { reason });
        }
        Err(reasons.join("; "))
    }

    /// With TLS and without, in the order that `sslmode` says.
    async fn try_host(&self, host: &Host) -> Result<PgConnection, String> {
        let ways: &[bool] = match self.options.ssl.mode {
            _ if host.is_socket() => &[false],
            SslMode::Disable => &[false],
            SslMode::Allow => &[false, true],
            SslMode::Prefer => &[true, false],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[true],
        };
        let mut reasons = Vec::new();
        for encrypted in ways {
            let tried = if *encrypted { self.try_encrypted(host).await } else { self.try_plain(host, None).await };
            match tried {
                Ok(connection) => return self.if_it_will_do(connection).await,
                Err(failed @ Failed::Unreachable(_)) => {
                    reasons.push(failed.reason());
                    break;
                }
                // Both ways are allowed, and the reason of the other one is why there is none.
                Err(Failed::NoTls(_)) if ways.len() > 1 => {}
                Err(failed) => reasons.push(failed.reason()),
            }
        }
        reasons.dedup();
        Err(reasons.join("; "))
    }

    async fn try_encrypted(&self, host: &Host) -> Result<PgConnection, Failed> {
        let tunnel = Tunnel::open(host, &self.options.ssl).await.map_err(|e| match e {
            NoTunnel::Unreachable(reason) => Failed::Unreachable(reason),
            NoTunnel::Plain => Failed::NoTls(format!(
                "the server has no TLS (its setting ssl is off): sslmode=disable or prefer connects without TLS, {} does not",
                self.options.ssl.mode.name()
            )),
            NoTunnel::Refused(reason) => Failed::Tls(reason),
        })?;
        let connected = self.try_plain(host, Some(&tunnel)).await;
        connected.map_err(|failed| match (failed, tunnel.why_broken()) {
            // A server may refuse a client's certificate after it has agreed to all else.
            (Failed::Unreachable(_), Some(why)) => Failed::Tls(format!(
                "the server closed the connection: {why} (it may require a client certificate, sslcert and sslkey, or one of another authority)"
            )),
            (failed, _) => failed,
        })
    }

    async fn try_plain(&self, host: &Host, tunnel: Option<&Tunnel>) -> Result<PgConnection, Failed> {
        let options = &self.options;
        let mut to = PgConnectOptions::new_without_pgpass().port(host.port).ssl_mode(PgSslMode::Disable);
        let at = host.address.as_deref().unwrap_or(&host.name);
        to = match (tunnel, at.strip_prefix('@')) {
            // A zero byte at the start of a socket's path stands for a name that is in no folder.
            (Some(tunnel), _) => to.host("localhost").socket(format!("\0{}", tunnel.name)),
            (None, Some(name)) => to.host("localhost").socket(format!("\0{name}")),
            (None, None) if at.starts_with('/') => to.host("localhost").socket(at),
            (None, None) => to.host(at),
        };
        let password = self.password(host).map_err(Failed::NoPassword)?;
        to = to.username(&options.user).password(password.as_deref().unwrap_or_default()).database(&options.database);
        let settings = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        if settings.len() > 0 {
            to = to.options(settings);
        }
        // Poolers take no parameter of a connection that they do not know, and what is prepared
        // under a name stays in a session.
        to = to.application_name(APPLICATION).extra_float_digits(None).statement_cache_capacity(0);
        to.disable_statement_logging().connect().await.map_err(|error| match &error {
            sqlx::Error::Database(refusal)
                if refusal.code().is_some_and(|code| code == "28P01") && password.is_none() =>
            {
                Failed::Turned(format!(
                    "{}; no password was set (docs/postgres.md says where it can be set)",
                    refusal.message()
                ))
            }
            sqlx::Error::Database(refusal) => Failed::Turned(refusal.message().to_owned()),
            other => Failed::Unreachable(other.to_string()),
        })
    }

    /// The password for a server, from where psql would take it; before all, the one that was set
    /// apart from the URL.
    fn password(&self, host: &Host) -> Result<Option<String>, String> {
        if let Some(password) = &self.password {
            return password.read().map(|secret| Some(secret.expose().to_owned())).map_err(|e| e.to_string());
        }
        if self.options.password.is_some() {
            return Ok(self.options.password.clone());
        }
        let Options { passfile, user, database, .. } = &self.options;
        let host_name = if host.is_socket() && host.name == "/var/run/postgresql" { "localhost" } else { &host.name };
        let login = Login { host: host_name, port: host.port, database, user };
        Ok(passfile.as_deref().and_then(|file| passfile::password(file, login)))
    }

    /// Whether it is one of those that `target_session_attrs` asks for.
    async fn if_it_will_do(&self, mut connection: PgConnection) -> Result<PgConnection, String> {
        let asked = |answer: Result<String, sqlx::Error>| answer.map_err(|e| format!("{e} [HS4505]"));
        let target = self.options.target;
        let (will_do, what) = match target {
            Target::Any => return Ok(connection),
            Target::ReadWrite | Target::ReadOnly => {
                let answer = asked(first_text(&mut connection, "SHOW transaction_read_only").await)?;
                ((answer == "on") == (target == Target::ReadOnly), "read-only")
            }
            Target::Primary | Target::Standby => {
                let answer = asked(first_text(&mut connection, "SELECT pg_catalog.pg_is_in_recovery()::text").await)?;
                ((answer == "true") == (target == Target::Standby), "a standby")
            }
        };
        if will_do {
            return Ok(connection);
        }
        let is = if matches!(target, Target::ReadWrite | Target::Primary) { "is" } else { "is not" };
        let _ = connection.close().await;
        Err(format!("the server {is} {what}, and target_session_attrs requires another [HS4508]"))
    }
}

impl fmt::Display for Way {
    /// Database, hosts and ports; nothing of a user or a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.options.hosts.iter().map(shown).collect();
        write!(f, "{} at {}", self.options.database, hosts.join(" or "))
    }
}

fn shown(host: &Host) -> String {
    match host.name.contains(':') {
        true => format!("[{}]:{}", host.name, host.port),
        false => format!("{}:{}", host.name, host.port),
    }
}

/// By the simple protocol, which prepares nothing.
async fn first_text(connection: &mut PgConnection, sql: &'static str) -> Result<String, sqlx::Error> {
    sqlx::raw_sql(sql).fetch_one(connection).await?.try_get(0)
}

/// The name of the user who runs this process.
fn system_user() -> Option<String> {
    let id = rustix::process::geteuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_it = |line: &&str| line.split(':').nth(2) == Some(id.as_str());
    users.lines().find(is_it).and_then(|line| line.split(':').next()).map(str::to_owned)
}
