//! Options of a connection, from the parameters of a URL and libpq's variables (`PGPASSWORD`,
//! `PGSSLMODE`, …), with libpq's names and defaults. It looks at no file but those of the home
//! folder that libpq takes by default, and only at whether they are there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::url::{UrlError, parameters};

/// Parameters that we understand, with libpq's variable of each.
const KNOWN: &[(&str, &str)] = &[
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    // sqlx takes PGOPTIONS by itself.
    ("options", ""),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslpassword", ""),
    ("sslsni", "PGSSLSNI"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];
/// Parameters that change nothing here: what they set is ours, or sqlx's.
const IDLE: &[&str] = &[
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "sslcompression",
    "krbsrvname",
    "gsslib",
    "statement-cache-capacity",
];
/// Parameters of which one value alone is ours.
const FIXED: &[(&str, &[&str])] = &[
    ("gssencmode", &["disable", "prefer"]),
    ("channel_binding", &["disable", "prefer"]),
    ("sslnegotiation", &["postgres"]),
    ("load_balance_hosts", &["disable"]),
];
/// Variables of libpq that ask for more than a connection of ours provides, with the values that
/// ask for nothing. One that is ignored would let a server in that psql refuses.
const REFUSED_VARIABLES: &[(&str, &[&str])] = &[
    ("PGCHANNELBINDING", &["disable", "prefer"]),
    ("PGGSSENCMODE", &["disable", "prefer"]),
    ("PGREQUIREAUTH", &[]),
    ("PGREQUIREPEER", &[]),
    ("PGSERVICE", &[]),
    ("PGSSLCRLDIR", &[]),
];
const PORT: u16 = 5432;
/// Folders in which a server's socket lies: Debian's, and PostgreSQL's own default.
const SOCKET_FOLDERS: &[&str] = &["/var/run/postgresql", "/tmp"];

/// `sslmode`: whether there is TLS, and what of the server's certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    /// As libpq writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

/// Authorities that may have signed the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// Nobody is asked.
    None,
    /// Those whom the system trusts (`sslrootcert=system`).
    System,
    /// Those of a file.
    File(PathBuf),
}

/// TLS, and who we are in it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Ssl {
    pub(super) mode: SslMode,
    pub(super) roots: Roots,
    /// The authorities' lists of revoked certificates; none are asked for without it.
    pub(super) revoked: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) key_password: Option<String>,
    /// Whether the client sends the name of the host (SNI).
    pub(super) names_host: bool,
    /// Least version of TLS, as libpq writes it.
    pub(super) least_version: String,
}

/// A server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// As it is written: a name, an address, or the folder of a socket.
    pub(super) name: String,
    /// Where to connect to, if that is distinguished from the name (`hostaddr`).
    pub(super) address: Option<String>,
    pub(super) port: u16,
}

/// Which of several servers will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
}

/// All of it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) passfile: Option<PathBuf>,
    pub(super) database: String,
    pub(super) ssl: Ssl,
    pub(super) target: Target,
    pub(super) connect_timeout: Option<Duration>,
    /// Settings of the session (`options`).
    pub(super) settings: Vec<(String, String)>,
}

/// Where a program runs: its variables, who runs it, and which files are there.
pub(super) struct Surroundings<'a> {
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) user: Option<String>,
    pub(super) is_there: &'a dyn Fn(&Path) -> bool,
}

impl Host {
    /// Whether it is a socket of this machine.
    pub(super) fn is_socket(&self) -> bool {
        self.address.is_none() && self.name.starts_with(['/', '@'])
    }
}

impl Options {
    /// Of a URL and its surroundings.
    pub(super) fn read(url: &str, at: &Surroundings<'_>) -> Result<Options, UrlError> {
        let given = known_parameters(url)?;
        for (variable, harmless) in REFUSED_VARIABLES {
            let set = (at.variable)(variable).filter(|value| !value.is_empty() && !harmless.contains(&value.as_str()));
            if set.is_some() {
                return Err(UrlError::new(format!(
                    "the environment variable {variable} is set, which is not supported: unset it for this program"
                )));
            }
        }
        let value = |name: &str| {
            let told = given.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.clone());
            let variable = KNOWN.iter().find(|(known, _)| *known == name).map_or("", |(_, variable)| variable);
            told.or_else(|| (at.variable)(variable).filter(|value| !variable.is_empty() && !value.is_empty()))
        };
        let home = (at.variable)("HOME").map(PathBuf::from);
        let user = value("user").or_else(|| at.user.clone());
        let user =
            user.ok_or_else(|| UrlError::new("it has no user, and the user who runs this process has no name"))?;
        Ok(Options {
            hosts: hosts(value("host"), value("hostaddr"), value("port"), at)?,
            database: value("dbname").unwrap_or_else(|| user.clone()),
            user,
            password: value("password"),
            passfile: value("passfile").map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(".pgpass"))),
            ssl: ssl(&value, home.as_deref(), at)?,
            target: target(value("target_session_attrs"))?,
            connect_timeout: timeout(value("connect_timeout"))?,
            settings: settings(&value("options").unwrap_or_default())?,
        })
    }
}

/// The parameters of the URL, none of which is left unheard.
fn known_parameters(url: &str) -> Result<Vec<(String, String)>, UrlError> {
    let mut all = parameters(url)?;
    for (name, value) in &mut all {
        if name == "ssl" && value == "true" {
            (*name, *value) = ("sslmode".to_owned(), "require".to_owned());
        }
        let is_known = KNOWN.iter().any(|(known, _)| known == name) || IDLE.contains(&name.as_str());
        match FIXED.iter().find(|(fixed, _)| fixed == name) {
            Some((_, values)) if !values.contains(&value.as_str()) => {
                return Err(UrlError::new(format!("`{name}` can only be {}", values.join(" or "))));
            }
            None if !is_known => {
                let shown: String = name.chars().take(40).collect();
                let known: Vec<&str> = KNOWN.iter().map(|(known, _)| *known).collect();
                return Err(UrlError::new(format!(
                    "parameter `{shown}` is not supported; the supported ones are: {}",
                    known.join(", ")
                )));
            }
            _ => {}
        }
    }
    Ok(all)
}

fn hosts(
    names: Option<String>,
    addresses: Option<String>,
    ports: Option<String>,
    at: &Surroundings<'_>,
) -> Result<Vec<Host>, UrlError> {
    let listed = |list: &Option<String>| -> Vec<String> {
        list.as_deref().map(|list| list.split(',').map(|item| item.trim().to_owned()).collect()).unwrap_or_default()
    };
    let names = listed(&names);
    let addresses = listed(&addresses);
    let ports = listed(&ports);
    let count = names.len().max(addresses.len()).max(1);
    if [&names, &addresses].iter().any(|list| !list.is_empty() && list.len() != count) {
        return Err(UrlError::new("`host` and `hostaddr` list different numbers of servers"));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(UrlError::new(format!(
            "it has {} ports for {count} hosts: write one port for each host, or one for all",
            ports.len()
        )));
    }
    let host = |number: usize| {
        let port = match ports.get(number).or(ports.first()).map(String::as_str) {
            None | Some("") => PORT,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| UrlError::new("the port is not a number from 1 to 65535"))?,
        };
        let address = addresses.get(number).filter(|address| !address.is_empty()).cloned();
        let name = names.get(number).filter(|name| !name.is_empty()).cloned();
        let name = name.or_else(|| address.clone()).unwrap_or_else(|| default_host(port, at));
        Ok(Host { name, address, port })
    };
    (0..count).map(host).collect()
}

/// The folder in which the server's socket lies, or this machine by its name.
fn default_host(port: u16, at: &Surroundings<'_>) -> String {
    let has_socket = |folder: &&&str| (at.is_there)(&Path::new(folder).join(format!(".s.PGSQL.{port}")));
    SOCKET_FOLDERS.iter().find(has_socket).map_or("localhost", |folder| folder).to_owned()
}

fn ssl(value: &dyn Fn(&str) -> Option<String>, home: Option<&Path>, at: &Surroundings<'_>) -> Result<Ssl, UrlError> {
    let at_home = |file: &str| home.map(|home| home.join(".postgresql").join(file)).filter(|file| (at.is_there)(file));
    let is_system = value("sslrootcert").is_some_and(|roots| roots == "system");
    let mode = match value("sslmode").as_deref() {
        None if is_system => SslMode::VerifyFull,
        None | Some("prefer") => SslMode::Prefer,
        Some("disable") => SslMode::Disable,
        Some("allow") => SslMode::Allow,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(_) => {
            return Err(UrlError::new("sslmode must be disable, allow, prefer, require, verify-ca or verify-full"));
        }
    };
    let roots = match value("sslrootcert") {
        _ if is_system && mode < SslMode::VerifyFull => {
            return Err(UrlError::new(
                "sslrootcert=system needs sslmode=verify-full: anybody can have a certificate of a known authority",
            ));
        }
        _ if is_system => Roots::System,
        Some(file) => Roots::File(PathBuf::from(file)),
        None => at_home("root.crt").map_or(Roots::None, Roots::File),
    };
    if mode >= SslMode::VerifyCa && roots == Roots::None {
        return Err(UrlError::new(
            "sslmode=verify-ca and verify-full need sslrootcert: the file with the certificates of the authorities that you trust, or \
             `system` for those that the system trusts (with verify-full)",
        ));
    }
    let file = |name: &str, default: &str| value(name).map(PathBuf::from).or_else(|| at_home(default));
    // As in libpq, lists count where a file of authorities does.
    let revoked = file("sslcrl", "root.crl").filter(|_| matches!(roots, Roots::File(_)));
    let certificate = file("sslcert", "postgresql.crt");
    let key = file("sslkey", "postgresql.key").filter(|_| certificate.is_some());
    if certificate.is_some() && key.is_none() {
        return Err(UrlError::new("sslcert needs sslkey, the file with its private key"));
    }
    Ok(Ssl {
        mode,
        roots,
        revoked,
        certificate,
        key,
        key_password: value("sslpassword"),
        names_host: value("sslsni").is_none_or(|value| value != "0"),
        least_version: value("ssl_min_protocol_version").unwrap_or_else(|| "TLSv1.2".to_owned()),
    })
}

fn target(value: Option<String>) -> Result<Target, UrlError> {
    match value.as_deref() {
        None | Some("any") => Ok(Target::Any),
        Some("read-write") => Ok(Target::ReadWrite),
        Some("read-only") => Ok(Target::ReadOnly),
        Some("primary") => Ok(Target::Primary),
        Some("standby") => Ok(Target::Standby),
        Some(_) => Err(UrlError::new("target_session_attrs must be any, read-write, read-only, primary or standby")),
    }
}

/// In seconds; libpq takes 0 for none and 1 for 2.
fn timeout(value: Option<String>) -> Result<Option<Duration>, UrlError> {
    let Some(value) = value else { return Ok(None) };
    let seconds: i64 = value.parse().map_err(|_| UrlError::new("connect_timeout must be a number of seconds"))?;
    Ok(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.max(2))))
}

/// `-c name=value` and `--name=value`, a backslash before a space that belongs to a value.
fn settings(options: &str) -> Result<Vec<(String, String)>, UrlError> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            c if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(setting), _) => Some(setting.to_owned()),
            (None, Some("")) => words.next(),
            (None, setting) => setting.map(str::to_owned),
        };
        let setting = setting.as_deref().and_then(|setting| setting.split_once('='));
        let (name, value) =
            setting.ok_or_else(|| UrlError::new("options may hold `-c name=value` and `--name=value` only"))?;
        found.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, variables: &[(&str, &str)], there: &[&str]) -> Result<Options, String> {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let is_there = |path: &Path| there.iter().any(|file| Path::new(file) == path);
        let at = Surroundings { variable: &variable, user: Some("system user".to_owned()), is_there: &is_there };
        Options::read(url, &at).map_err(|e| e.to_string())
    }

    fn good(url: &str) -> Options {
        read(url, &[], &[]).unwrap()
    }

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.to_owned(), address: None, port }
    }

    #[test]
    fn what_is_not_given_is_what_libpq_takes() {
        let options = good("postgres://");
        assert_eq!(options.hosts, [host("localhost", 5432)]);
        assert_eq!((options.user.as_str(), options.database.as_str()), ("system user", "system user"));
        assert_eq!((options.ssl.mode, &options.ssl.roots), (SslMode::Prefer, &Roots::None));
        let variables = [
            ("PGHOST", "db"),
            ("PGPORT", "6432"),
            ("PGUSER", "me"),
            ("PGPASSWORD", "pw"),
            ("PGSSLMODE", "disable"),
            ("HOME", "/h"),
        ];
        let options = read("postgres://", &variables, &[]).unwrap();
        assert_eq!(options.hosts, [host("db", 6432)]);
        assert_eq!((options.database.as_str(), options.password.as_deref()), ("me", Some("pw")));
        assert_eq!((options.ssl.mode, options.passfile), (SslMode::Disable, Some(PathBuf::from("/h/.pgpass"))));
        let options = read("postgres://you:secret@there:1/d?sslmode=require&passfile=/p", &variables, &[]).unwrap();
        assert_eq!(options.hosts, [host("there", 1)]);
        assert_eq!(
            (options.user.as_str(), options.password.as_deref(), options.database.as_str()),
            ("you", Some("secret"), "d")
        );
        assert_eq!((options.ssl.mode, options.passfile), (SslMode::Require, Some(PathBuf::from("/p"))));
        let options = read("postgres://u@/d", &[], &["/tmp/.s.PGSQL.5432"]).unwrap();
        assert_eq!(options.hosts, [host("/tmp", 5432)]);
    }

    #[test]
    fn hosts_are_as_many_as_there_are_named() {
        let cases = [
            ("postgres://a,b:5433/d", vec![host("a", 5432), host("b", 5433)]),
            ("postgres://a:1,b:1/d?port=7", vec![host("a", 7), host("b", 7)]),
            ("postgres://[::1]:5433/d", vec![host("::1", 5433)]),
            ("postgres://u@/d?host=/socket", vec![host("/socket", 5432)]),
            (
                "postgres://u@h/d?hostaddr=10.0.0.1",
                vec![Host { address: Some("10.0.0.1".to_owned()), ..host("h", 5432) }],
            ),
        ];
        for (url, expected) in cases {
            assert_eq!(good(url).hosts, expected, "{url}");
        }
        assert!(read("postgres://a,b,c/d?port=1,2", &[], &[]).is_err());
        assert!(read("postgres://a,b/d?hostaddr=10.0.0.1", &[], &[]).is_err());
    }

    #[test]
    fn tls_is_what_libpq_makes_of_it() {
        let home = [("HOME", "/h")];
        let options = read("postgres://h/d", &home, &["/h/.postgresql/root.crt"]).unwrap();
        assert_eq!(options.ssl.roots, Roots::File("/h/.postgresql/root.crt".into()));
        assert_eq!(options.ssl.revoked, None);
        let lists = read("postgres://h/d", &home, &["/h/.postgresql/root.crt", "/h/.postgresql/root.crl"]).unwrap();
        assert_eq!(lists.ssl.revoked, Some("/h/.postgresql/root.crl".into()));
        assert_eq!(good("postgres://h/d?sslrootcert=/r&sslcrl=/c").ssl.revoked, Some("/c".into()));
        let system = good("postgres://h/d?sslrootcert=system").ssl;
        assert_eq!((system.mode, system.roots), (SslMode::VerifyFull, Roots::System));
        let wrong = [
            ("postgres://h/d?sslmode=verify-full", "sslrootcert"),
            ("postgres://h/d?sslmode=on", "verify-ca"),
            ("postgres://h/d?sslmode=require&sslrootcert=system", "verify-full"),
            ("postgres://h/d?sslcert=/c", "sslkey"),
            ("postgres://h/d?channel_binding=require", "channel_binding"),
            ("postgres://h/d?sslcrldir=/c", "`sslcrldir`"),
            ("postgres://h/d?target_session_attrs=best", "read-write"),
            ("postgres://h/d?connect_timeout=soon", "seconds"),
            ("postgres://h/d?options=fast", "-c name=value"),
        ];
        for (url, says) in wrong {
            let Err(error) = read(url, &[], &[]) else { panic!("{url}") };
            assert!(error.contains(says), "{url}: {error}");
        }
    }

    #[test]
    fn settings_of_the_session_are_read_as_the_server_reads_them() {
        let options = good("postgres://h/d?options=-c%20a%3D1%20--b-c%3Dtwo%5C%20words%20-cd%3D3").settings;
        let expected = [("a", "1"), ("b_c", "two words"), ("d", "3")];
        assert_eq!(options, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}
