//! Where each service is and how it is checked. A flag beats a variable `HELIXSTREAM_…`, which
//! beats `SVC_<NAME>_<FIELD>`, which beats the topology file, which beats the file of the services,
//! which beats the default. An empty value counts as none.

mod assignment;
mod sources;
#[cfg(test)]
mod tests;

use std::time::Duration;

use reqwest::Url;
use secret::Secret;

use crate::catalog::{Health, SERVICES, ServiceSpec};
use crate::duration;
use crate::quote::quoted;
use assignment::{Assignment, Field, Found};
use sources::{of_assignments, of_file, of_variables};

/// A service as the settings describe it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its entry in the catalog.
    pub spec: &'static ServiceSpec,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The URL, if one is set; it may hold a password. Of Kafka, the bootstrap servers.
    pub url: Option<Secret>,
    /// Whether commands that name no service are about it.
    pub enabled: bool,
    /// Whether a setting says so.
    pub is_enabled_set: bool,
    /// Whether a command fails when it is not healthy.
    pub required: bool,
    /// Whether a setting says so.
    pub is_required_set: bool,
    /// Whether somebody else starts it.
    pub remote: bool,
    /// How it is checked.
    pub health: Health,
    /// The path that is asked for over HTTP.
    pub path: String,
    /// The port that is asked over HTTP, where it is another one than that of the service.
    pub health_port: Option<u16>,
    /// Limit of one check.
    pub timeout: Duration,
    /// How often it is checked before it counts as unhealthy, at least once.
    pub retry_count: u32,
}

impl Service {
    /// `host:port`, for people and for checks.
    pub fn address(&self) -> String {
        self.at(self.port)
    }

    /// `host:port` of checks over HTTP.
    pub fn health_address(&self) -> String {
        self.at(self.health_port.unwrap_or(self.port))
    }

    fn at(&self, port: u16) -> String {
        if self.host.contains(':') { format!("[{}]:{port}", self.host) } else { format!("{}:{port}", self.host) }
    }
}

/// Where settings come from, apart from the defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// Name and text of a TOML file with a table for each service.
    pub file: Option<(&'a str, &'a str)>,
    /// Assignments like [`Sources::assignments`] of a topology file. All are of one source, which
    /// beats the file, so that a host or a port among the variables moves a URL of theirs.
    pub topology: &'a [(String, String)],
    /// Variables of the process, of which those that begin with `SVC_` count.
    pub variables: &'a [(String, String)],
    /// Assignments `SERVICE.FIELD=VALUE` with the names of their places, the weakest first. Those
    /// in a row that have one place are of one source.
    pub assignments: &'a [(String, String)],
    /// The name of this machine in the network, if it is known.
    pub own_name: Option<&'a str>,
    /// Names of the services that the command is about; `None` for all. Settings of others are not
    /// read, so that a wrong one is no error: their defaults stand.
    pub only: Option<&'a [&'static str]>,
}

impl Sources<'_> {
    /// Whether settings of this service are read.
    fn concern(&self, spec: &ServiceSpec) -> bool {
        self.only.is_none_or(|names| names.contains(&spec.name))
    }
}

/// The settings of all services, from all sources.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// All services, in the order of the catalog.
    pub services: Vec<Service>,
    /// Variables of services that HelixAgent has and the compose file has not.
    pub ignored: Vec<String>,
    /// Variables that begin with `SVC_` and name no service that anybody knows.
    pub unknown: Vec<String>,
}

/// Settings that cannot be used: all of them, one a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\nhelixstream: "))]
pub struct SettingsError(pub Vec<String>);

/// Reads all sources and lays them over each other.
///
/// # Errors
/// Every value that does not parse, every field that does not exist, and every setting of service
/// discovery.
pub fn read(sources: &Sources) -> Result<ServiceSettings, SettingsError> {
    let mut problems = Vec::new();
    let mut found = Found::default();
    let concerns = |spec: &ServiceSpec| sources.concern(spec);
    let mut layers = vec![of_file(sources.file, &concerns, &mut problems)];
    layers.push(of_assignments(sources.topology, &concerns, &mut problems));
    layers.push(of_variables(sources.variables, &concerns, &mut found, &mut problems));
    for source in sources.assignments.chunk_by(|(place, _), (next, _)| place == next) {
        layers.push(of_assignments(source, &concerns, &mut problems));
    }
    let mut drafts: Vec<Draft> = SERVICES.iter().map(Draft::new).collect();
    for layer in layers {
        // A host or a port moves a URL of a weaker layer; within a layer the URL beats both, so it
        // comes last.
        let (urls, others): (Vec<Assignment>, Vec<Assignment>) =
            layer.into_iter().partition(|assignment| assignment.field == Field::Url);
        for assignment in others.into_iter().chain(urls) {
            let draft = drafts.iter_mut().find(|draft| draft.service.spec == assignment.spec);
            if let Some(Err(fix)) = draft.map(|draft| draft.assign(&assignment)) {
                problems.push(wrong_value(&assignment, &fix));
            }
        }
    }
    if !problems.is_empty() {
        return Err(SettingsError(problems));
    }
    let services = drafts.into_iter().map(|draft| draft.finish(sources.own_name)).collect();
    Ok(ServiceSettings { services, ignored: found.ignored, unknown: found.unknown })
}

/// A service while settings are laid over its defaults.
struct Draft {
    service: Service,
    /// Whether it is remote, if a setting says so.
    remote: Option<bool>,
    /// Whether its URL names a folder of sockets, where no container of the compose file listens.
    is_at_socket: bool,
}

impl Draft {
    fn new(spec: &'static ServiceSpec) -> Draft {
        let service = Service {
            spec,
            host: "localhost".to_owned(),
            port: spec.port,
            url: None,
            enabled: spec.enabled,
            is_enabled_set: false,
            required: spec.required,
            is_required_set: false,
            remote: false,
            health: spec.health,
            path: spec.path.to_owned(),
            health_port: spec.health_port,
            timeout: Duration::from_secs(spec.timeout_s),
            retry_count: spec.retry_count,
        };
        Draft { service, remote: None, is_at_socket: false }
    }

    /// Lays a setting over the weaker ones. A host or a port moves the URL of a weaker source
    /// there, with its user, its password and its scheme.
    ///
    /// # Errors
    /// The hint for a value that cannot be used.
    fn assign(&mut self, assignment: &Assignment) -> Result<(), String> {
        let value = assignment.value.as_str();
        let service = &mut self.service;
        match assignment.field {
            Field::Host => {
                service.host = host(value).ok_or("write a host name or an address without port")?;
                service.url = moved(service);
                self.is_at_socket = false;
            }
            Field::Port => {
                service.port = port(value).ok_or("write a number from 1 to 65535")?;
                service.url = if self.is_at_socket { at_port(service) } else { moved(service) };
            }
            Field::Url => {
                (service.host, service.port) = place_of(value, service)?;
                self.is_at_socket = service.spec.health == Health::Postgres && is_socket(value);
                service.url = Some(Secret::new(value));
            }
            Field::Enabled => (service.enabled, service.is_enabled_set) = (boolean(value)?, true),
            Field::Required => (service.required, service.is_required_set) = (boolean(value)?, true),
            Field::Remote => self.remote = Some(boolean(value)?),
            Field::HealthPath => {
                let is_path = value.starts_with('/') && !value.contains(char::is_whitespace);
                service.path = is_path.then(|| value.to_owned()).ok_or("write a path that begins with /")?;
            }
            Field::HealthPort => {
                service.health_port = Some(port(value).ok_or("write a number from 1 to 65535")?);
            }
            Field::HealthType => {
                let found = Health::NAMES.iter().find(|(name, _)| *name == value);
                service.health = found.ok_or_else(health_types)?.1;
            }
            Field::Timeout => {
                let found = duration::parse(value);
                service.timeout = found.ok_or("write a duration of at most 24h, like 5s or 1m30s")?;
            }
            Field::RetryCount => {
                let found = value.parse().ok().filter(|count| (1..=1000).contains(count));
                service.retry_count = found.ok_or("write a number from 1 to 1000")?;
            }
        }
        Ok(())
    }

    /// A service at another machine, or at a socket, is started by somebody else, unless a setting
    /// says otherwise.
    fn finish(mut self, own_name: Option<&str>) -> Service {
        let is_elsewhere = self.is_at_socket || !is_here(&self.service.host, own_name);
        self.service.remote = self.remote.unwrap_or(is_elsewhere);
        self.service
    }
}

fn health_types() -> String {
    let names: Vec<&str> = Health::NAMES.iter().map(|(name, _)| *name).collect();
    format!("write one of {}", names.join(", "))
}

/// The message about a value. A URL may hold a password and is not repeated, wherever it stands.
fn wrong_value(assignment: &Assignment, fix: &str) -> String {
    let place = &assignment.place;
    match assignment.field {
        Field::Url => format!("{place}: the URL cannot be used; {fix} [HS9001]"),
        _ => {
            let value = quoted(&assignment.value, "which may be a URL");
            format!("{place}: the value {value} cannot be used; {fix} [HS9001]")
        }
    }
}

/// As Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

/// A host without brackets.
fn host(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let is_address = bare.parse::<std::net::IpAddr>().is_ok();
    let is_name = !bare.is_empty() && !bare.contains(|c: char| c.is_whitespace() || "/:@?#[]".contains(c));
    (is_address || is_name).then(|| bare.to_owned())
}

/// Whether a host is this machine.
fn is_here(host: &str, own_name: Option<&str>) -> bool {
    let host = host.trim_end_matches('.');
    let is_named = ["localhost"].into_iter().chain(own_name).any(|name| host.eq_ignore_ascii_case(name));
    let address = host.parse::<std::net::IpAddr>();
    is_named || address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

/// The URL at the host and the port of the service. A list of brokers has no user and no password,
/// so nothing is lost without it.
fn moved(service: &Service) -> Option<Secret> {
    let url = service.url.as_ref().filter(|_| service.spec.health != Health::Kafka)?;
    let (scheme, rest) = url.expose().split_once("://")?;
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let user = authority.rsplit_once('@').map(|(user, _)| format!("{user}@")).unwrap_or_default();
    let behind = match behind.split_once('?').filter(|_| service.spec.health == Health::Postgres) {
        Some((path, query)) => {
            let is_place = |pair: &&str| ["host=", "hostaddr=", "port="].iter().any(|name| pair.starts_with(name));
            let others: Vec<&str> = query.split('&').filter(|pair| !is_place(pair)).collect();
            if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) }
        }
        None => behind.to_owned(),
    };
    Some(Secret::new(format!("{scheme}://{user}{}{behind}", service.address())))
}

/// Host and port of a URL; of Kafka's bootstrap servers, those of the first.
fn place_of(url: &str, service: &Service) -> Result<(String, u16), String> {
    if service.spec.health == Health::Kafka {
        return servers(url)
            .into_iter()
            .next()
            .ok_or_else(|| "write HOST:PORT, or several separated by commas".to_owned());
    }
    if service.spec.health == Health::Postgres
        && let Some(place) = place_of_postgres(url, service)
    {
        return Ok(place);
    }
    // Without a scheme the text before the port would be taken for one.
    let whole = if url.contains("://") { url.to_owned() } else { format!("tcp://{url}") };
    let example = || format!("write it like http://localhost:{}", service.spec.port);
    let parsed = Url::parse(&whole).map_err(|_| example())?;
    let found = parsed.host_str().and_then(host).ok_or_else(example)?;
    Ok((found, parsed.port_or_known_default().unwrap_or(service.spec.port)))
}

/// The URL of a folder of sockets with the port of the service, which is part of a socket's name.
fn at_port(service: &Service) -> Option<Secret> {
    let url = service.url.as_ref()?.expose();
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let port = format!("port={}", service.port);
    let others = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("port="));
    let pairs: Vec<&str> = others.chain([port.as_str()]).collect();
    Some(Secret::new(format!("{place}?{}", pairs.join("&"))))
}

/// Host and port of a URL that Postgres' own clients accept: the first of several hosts. A folder
/// of sockets, and no host at all, is this machine.
fn place_of_postgres(url: &str, service: &Service) -> Option<(String, u16)> {
    let (name, number) = parts_of_postgres(url)?;
    let number = if number.is_empty() { service.spec.port } else { port(&number)? };
    let is_here = name.is_empty() || is_folder(&name);
    Some((if is_here { "localhost".to_owned() } else { host(&name)? }, number))
}

/// Whether a URL of Postgres names a folder of sockets.
fn is_socket(url: &str) -> bool {
    parts_of_postgres(url).is_some_and(|(name, _)| is_folder(&name))
}

fn is_folder(host: &str) -> bool {
    host.starts_with('/') || host.to_ascii_lowercase().starts_with("%2f")
}

/// The first host and the first port as a URL of Postgres has them; empty where it has none.
fn parts_of_postgres(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"))?;
    let (authority, behind) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let query = behind.split_once('?').map_or("", |(_, query)| query);
    let parameter = |name: &str| query.split('&').rev().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let first = |list: &'_ str| list.split(',').next().unwrap_or_default().to_owned();
    let written = first(hosts);
    let bracket_end = written.rfind(']').map_or(0, |end| end + 1);
    let (name, number) = match written[bracket_end..].rfind(':') {
        Some(colon) => (written[..bracket_end + colon].to_owned(), written[bracket_end + colon + 1..].to_owned()),
        None => (written, String::new()),
    };
    let name = parameter("host").map_or(name, first);
    Some((name, parameter("port").map_or(number, first)))
}

/// The brokers of a list, without a scheme; none where one of them has no port.
pub fn servers(url: &str) -> Vec<(String, u16)> {
    let list = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    let each = list.split(',').map(|server| {
        let (name, number) = server.trim().rsplit_once(':')?;
        Some((host(name)?, port(number)?))
    });
    each.collect::<Option<Vec<_>>>().unwrap_or_default()
}
