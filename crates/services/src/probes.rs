//! Health checks over TCP and HTTP. Kafka and Postgres are checked by the members that speak their
//! protocols; the program joins them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::runtime::Builder;

use super::lookup::{HttpLookup, Lookup, addresses, addresses_by, of_system};
use super::settings::Service;

/// Of an answer no more than this is read, in bytes.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Whether a connection is accepted.
///
/// # Errors
/// Why not, for people.
pub fn tcp(service: &Service, limit: Duration) -> Result<(), String> {
    connect(service, limit).map(drop)
}

/// Whether ZooKeeper says in which mode it serves. A server that has lost its quorum answers that
/// it does not serve.
///
/// # Errors
/// Why not, for people.
pub fn zookeeper(service: &Service, limit: Duration) -> Result<(), String> {
    let limit = Limit::new(limit);
    let mut stream = connect(service, limit.whole)?;
    let late = || format!("{} has not answered `srvr` within {} [HS9005]", service.address(), shown(limit.whole));
    let failed = |e: &io::Error| match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(),
        _ => format!("{} has cut the connection: {e} [HS9005]", service.address()),
    };
    stream.write_all(b"srvr").map_err(|e| failed(&e))?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while answer.len() < LONGEST_ANSWER as usize {
        // A server that sends a byte now and then does not make the check longer.
        let left = limit.left();
        if left.is_zero() {
            return Err(late());
        }
        stream.set_read_timeout(Some(left)).map_err(|e| failed(&e))?;
        match stream.read(&mut part).map_err(|e| failed(&e))? {
            0 => break,
            read => answer.extend_from_slice(&part[..read]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    // A line that was cut off has no end.
    let mut lines = answer.split_inclusive('\n');
    if lines.any(|line| line.starts_with("Mode: ") && line.ends_with('\n')) {
        return Ok(());
    }
    let address = service.address();
    if answer.is_empty() || answer.starts_with("Zookeeper version: ") {
        return Err(format!("{address} has cut the connection before the end of its answer to `srvr` [HS9005]"));
    }
    Err(format!("{address} does not serve: {} [HS9005]", answer.lines().next().unwrap_or_default()))
}

/// The rest of the limit of a check once one of these names has an address: the clients of
/// Kafka and Postgres wait for the system's lookup, which has no limit of its own. A name that has
/// none is left to them.
///
/// # Errors
/// The lookups have not ended within the limit.
pub fn limit_after_lookup(service: &Service, hosts: &[&str], limit: Duration) -> Result<Duration, String> {
    let limit = Limit::new(limit);
    let within = hosts.iter().take_while(|_| !limit.left().is_zero());
    let is_known = within.into_iter().any(|host| addresses(host, service.port, limit.left()).is_ok());
    let left = limit.left();
    if !is_known && left.is_zero() {
        return Err(format!("{} [HS9005]", late_lookup(&service.address(), limit.whole)));
    }
    // The complaints of the clients name their limit, which is that of the setting where the lookup
    // took next to nothing.
    let is_quick = limit.whole - left <= limit.whole / 20;
    Ok(if is_quick { limit.whole } else { left })
}

fn late_lookup(address: &str, limit: Duration) -> String {
    format!("the lookup of the host in {address} did not end within {}; probably no DNS server answers", shown(limit))
}

/// A connection, on which each wait for the other side ends after `limit`.
fn connect(service: &Service, limit: Duration) -> Result<TcpStream, String> {
    connect_by(of_system, service, limit)
}

fn connect_by(lookup: Lookup, service: &Service, limit: Duration) -> Result<TcpStream, String> {
    let address = service.address();
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            format!("no connection to {address} within {} [HS9005]", shown(limit))
        }
        _ => format!("cannot connect to {address}: {e} [HS9005]"),
    };
    let limit = Limit::new(limit);
    let found = addresses_by(lookup, &service.host, service.port, limit.left());
    let addresses = found.map_err(|e| match e.kind() {
        io::ErrorKind::TimedOut => format!("{} [HS9005]", late_lookup(&address, limit.whole)),
        _ => failed(e),
    })?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let left = limit.left();
        if left.is_zero() {
            last = io::ErrorKind::TimedOut.into();
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_write_timeout(Some(limit.whole)).map_err(failed)?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(failed(last))
}

/// A duration for people: `5 s`, `250 ms`.
pub fn shown(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

/// The time that one check has.
struct Limit {
    whole: Duration,
    deadline: Instant,
}

impl Limit {
    /// From now on.
    fn new(whole: Duration) -> Limit {
        Limit { whole, deadline: Instant::now() + whole }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Checks over HTTP and HTTPS, with the system's certificates.
pub struct Http(reqwest::Client);

impl Http {
    /// A client.
    ///
    /// # Errors
    /// The system's certificates cannot be read.
    pub fn new() -> Result<Http, String> {
        Http::with_lookup(of_system)
    }

    fn with_lookup(lookup: Lookup) -> Result<Http, String> {
        // An error means that somebody has installed one before, which does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().user_agent("helixstream").no_proxy().pool_max_idle_per_host(0);
        let client = client.dns_resolver(Arc::new(HttpLookup(lookup))).build();
        client.map(Http).map_err(|e| format!("cannot start HTTP requests: {} [HS9005]", cause(&e)))
    }

    /// Whether GET of the health path is answered with a status from 200 to 299 and, at the path of
    /// the catalog, with the text that the service answers there: docker's proxy, or another
    /// program at this port, does not pass for it. Redirects are followed.
    ///
    /// # Errors
    /// Why not, for people; without the URL, which may hold a password.
    pub fn check(&self, service: &Service, limit: Duration) -> Result<(), String> {
        let answer = self.get(service, &Limit::new(limit))?;
        let expected = if service.path == service.spec.path { service.spec.answer } else { "" };
        if answer.contains(expected) {
            return Ok(());
        }
        Err(failed(service, &format!("the answer is not that of {}", service.spec.name)))
    }

    /// Whether a Spark master says that it is alive.
    ///
    /// # Errors
    /// As [`Http::check`].
    pub fn spark_master(&self, master: &Service, limit: Duration) -> Result<(), String> {
        self.spark(master, &Limit::new(limit)).map(drop)
    }

    /// Whether a Spark worker names a master, and this master has a worker that is alive: a worker
    /// serves its page without a master too.
    ///
    /// # Errors
    /// As [`Http::check`].
    pub fn spark_worker(&self, worker: &Service, master: &Service, limit: Duration) -> Result<(), String> {
        // Both pages together have the time of one check.
        let limit = Limit::new(limit);
        let said: Worker = json(worker, &self.get(worker, &limit)?)?;
        if said.master_url.is_empty() {
            return Err(failed(worker, "the worker names no master"));
        }
        let master_says = self.spark(master, &limit)?;
        if master_says.workers.iter().any(|worker| worker.state == ALIVE) {
            return Ok(());
        }
        Err(failed(master, "the master has no worker that is alive"))
    }

    /// The page of a Spark master that is alive.
    fn spark(&self, master: &Service, limit: &Limit) -> Result<Master, String> {
        let said: Master = json(master, &self.get(master, limit)?)?;
        if said.status == ALIVE {
            return Ok(said);
        }
        Err(failed(master, &format!("the master's status is {:?}", said.status)))
    }

    /// The answer to GET of the health path, if its status is from 200 to 299.
    fn get(&self, service: &Service, limit: &Limit) -> Result<String, String> {
        let failed = |why: String| failed(service, &why);
        let url = url(service).map_err(failed)?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| failed(format!("the event loop cannot be started: {e}")))?;
        let request = self.0.get(url).timeout(limit.left()).header("accept", "application/json, */*;q=0.5");
        let answer = runtime.block_on(async {
            let mut answer = request.send().await?;
            let (status, mut body) = (answer.status(), Vec::new());
            while let Some(part) = answer.chunk().await? {
                body.extend_from_slice(&part);
                if body.len() > LONGEST_ANSWER as usize {
                    break;
                }
            }
            Ok::<_, reqwest::Error>((status, body))
        });
        let (status, body) = answer.map_err(|e| match e.is_timeout() {
            true => failed(format!("no answer within {}", shown(limit.whole))),
            false => failed(cause(&e)),
        })?;
        if !status.is_success() {
            return Err(failed(format!("the answer is {status}")));
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// The state of a Spark master or worker that serves.
const ALIVE: &str = "ALIVE";

/// `/json/` of a Spark master, as its `JsonProtocol` writes it.
#[derive(Deserialize)]
struct Master {
    status: String,
    workers: Vec<WorkerOfMaster>,
}

#[derive(Deserialize)]
struct WorkerOfMaster {
    state: String,
}

/// `/json/` of a Spark worker.
#[derive(Deserialize)]
struct Worker {
    #[serde(rename = "masterurl")]
    master_url: String,
}

fn json<'t, T: Deserialize<'t>>(service: &Service, text: &'t str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|e| failed(service, &format!("the answer is not that of Spark: {e}")))
}

/// The error of a check over HTTP. The query of a path may be a token.
fn failed(service: &Service, why: &str) -> String {
    let path = service.path.split('?').next().unwrap_or_default();
    let path = if path.contains('@') { "" } else { path };
    format!("{}{path}: {why} [HS9005]", service.health_address())
}

/// The URL that is asked for. A URL of another scheme says only where the service is.
fn url(service: &Service) -> Result<reqwest::Url, String> {
    let is_http = |url: &str| {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| ["http", "https"].iter().any(|http| scheme.eq_ignore_ascii_case(http)))
    };
    let base = match &service.url {
        Some(url) if is_http(url.expose()) => url.expose().to_owned(),
        _ => format!("http://{}", service.health_address()),
    };
    let base = reqwest::Url::parse(&base).map_err(|e| format!("the URL cannot be read: {e}"))?;
    base.join(&service.path).map_err(|e| format!("the health path cannot be read: {e}"))
}

/// The innermost cause of an error: the outer ones repeat the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if cause.is::<reqwest::Error>() { "the request failed".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::settings::{Sources, read};

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(200);

    /// A service at this port.
    fn service(name: &str, port: u16, more: &[(&str, &str)]) -> Service {
        let mut variables = vec![(format!("SVC_{name}_PORT"), port.to_string())];
        variables.push((format!("SVC_{name}_HOST"), "127.0.0.1".to_owned()));
        variables.extend(more.iter().map(|(field, value)| (format!("SVC_{name}_{field}"), (*value).to_owned())));
        let all = read(&Sources { variables: &variables, ..Sources::default() }).unwrap().services;
        all.into_iter().find(|service| service.spec.variable == name).unwrap()
    }

    /// A server that answers each connection so and closes it; with `None` it keeps it and says
    /// nothing.
    fn server(answer: Option<&'static str>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(answer) = answer else {
                    kept.push(stream);
                    continue;
                };
                let mut request = [0; 1024];
                // A client that is gone has read what it wanted.
                let _ = stream.read(&mut request).and_then(|_| stream.write_all(answer.as_bytes()));
            }
        });
        port
    }

    fn refused() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn a_port_that_is_closed_is_not_healthy() {
        assert_eq!(tcp(&service("SPARK_MASTER", server(None), &[]), LONG), Ok(()));
        let error = tcp(&service("SPARK_MASTER", refused(), &[]), LONG).unwrap_err();
        assert!(error.contains("cannot connect to 127.0.0.1:"), "{error}");
    }

    #[test]
    fn http_is_healthy_by_its_status() {
        let http = Http::new().unwrap();
        let with = |answer| http.check(&service("CLICKHOUSE", server(answer), &[]), LONG);
        assert_eq!(with(Some("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nOk.")), Ok(()));
        let error = with(Some("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")).unwrap_err();
        assert!(error.contains("/ping: the answer is 404 Not Found"), "{error}");
        assert!(with(Some("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")).is_err());
        assert!(with(Some("SSH-2.0\r\n")).is_err(), "it is no HTTP");
        assert!(with(Some("")).is_err(), "it is cut off");
        assert!(http.check(&service("CLICKHOUSE", refused(), &[]), LONG).is_err());
    }

    #[test]
    fn a_name_that_is_not_found_in_time_is_not_waited_for_for_ever() {
        let never: Lookup = |_, _| loop {
            thread::park();
        };
        let named = |name: &str| Service { host: "example.org".to_owned(), ..service(name, 80, &[]) };
        let error = connect_by(never, &named("ZOOKEEPER"), SHORT).unwrap_err();
        assert!(error.contains("the lookup of the host in example.org:80 did not end within 200 ms"), "{error}");
        let error = Http::with_lookup(never).unwrap().check(&named("CLICKHOUSE"), SHORT).unwrap_err();
        assert!(error.contains("no answer within 200 ms"), "{error}");
    }

    #[test]
    fn one_name_with_an_address_is_enough_for_the_clients_of_others() {
        let kafka = service("KAFKA", 9092, &[]);
        assert!(limit_after_lookup(&kafka, &["no\0name", "127.0.0.1"], LONG).is_ok_and(|left| left <= LONG));
        // The client says itself that there is no such name.
        assert!(limit_after_lookup(&kafka, &["no\0name"], LONG).is_ok());
        let error = limit_after_lookup(&kafka, &["no\0name"], Duration::ZERO).unwrap_err();
        assert!(error.contains("did not end within 0 s"), "{error}");
    }

    #[test]
    fn a_service_that_says_nothing_is_not_waited_for_for_ever() {
        let http = Http::new().unwrap();
        let error = http.check(&service("CLICKHOUSE", server(None), &[]), SHORT).unwrap_err();
        assert!(error.contains("no answer within 200 ms"), "{error}");
        let error = zookeeper(&service("ZOOKEEPER", server(None), &[]), SHORT).unwrap_err();
        assert!(error.contains("has not answered `srvr` within 200 ms"), "{error}");
    }

    #[test]
    fn zookeeper_says_in_which_mode_it_serves() {
        let with = |answer| zookeeper(&service("ZOOKEEPER", server(answer), &[]), LONG);
        assert_eq!(with(Some("Zookeeper version: 3.9.3\nMode: standalone\nNode count: 5\n")), Ok(()));
        let error = with(Some("This ZooKeeper instance is not currently serving requests\n")).unwrap_err();
        assert!(error.contains("does not serve: This ZooKeeper instance is not"), "{error}");
        assert!(with(Some("")).is_err());
    }

    #[test]
    fn the_url_of_a_setting_is_asked_without_showing_its_password() {
        let url = format!("http://user:geheim@127.0.0.1:{}/base", refused());
        let service = service("NEO4J", 1, &[("URL", &url), ("HEALTH_PATH", "/alive")]);
        assert_eq!(super::url(&service).unwrap().path(), "/alive");
        let error = Http::new().unwrap().check(&service, LONG).unwrap_err();
        assert!(!error.contains("geheim"), "{error}");
        assert!(!format!("{service:?}").contains("geheim"));
    }

    #[test]
    fn only_a_url_with_the_scheme_of_http_is_asked_as_it_is() {
        let asked = |url: &str| super::url(&service("CLICKHOUSE", 1, &[("URL", url)])).unwrap().to_string();
        assert_eq!(asked("httpd:80"), "http://httpd/ping");
        assert_eq!(asked("http-server.example:81"), "http://http-server.example:81/ping");
        assert_eq!(asked("HTTPS://db.example"), "https://db.example/ping");
        assert_eq!(asked("Http://db.example:81"), "http://db.example:81/ping");
        assert_eq!(asked("tcp://db.example:82"), "http://db.example:82/ping");
    }

    #[test]
    fn another_program_at_the_port_does_not_pass() {
        let http = Http::new().unwrap();
        let page = Some("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        for name in ["CLICKHOUSE", "NEO4J", "PROMETHEUS", "GRAFANA"] {
            let error = http.check(&service(name, server(page), &[]), LONG).unwrap_err();
            assert!(error.contains("the answer is not that of"), "{name}: {error}");
        }
        let elsewhere = service("NEO4J", server(page), &[("HEALTH_PATH", "/alive")]);
        assert_eq!(http.check(&elsewhere, LONG), Ok(()), "nobody knows what another path answers");
        let neo4j = Some("HTTP/1.1 200 OK\r\ncontent-length: 27\r\n\r\n{\"neo4j_version\":\"5.26.12\"}");
        assert_eq!(http.check(&service("NEO4J", server(neo4j), &[]), LONG), Ok(()));
    }

    /// A server of `/json/`.
    fn page(json: &str) -> String {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{json}", json.len());
        server(Some(head.leak())).to_string()
    }

    #[test]
    fn spark_is_healthy_by_what_its_pages_say() {
        let http = Http::new().unwrap();
        let master = |json: &str| service("SPARK_MASTER", 1, &[("HEALTH_PORT", &page(json))]);
        let with_worker = master(r#"{"status": "ALIVE", "workers": [{"state": "DEAD"}, {"state": "ALIVE"}]}"#);
        let alone = master(r#"{"status": "ALIVE", "workers": [{"state": "DEAD"}]}"#);
        let standby = master(r#"{"status": "STANDBY", "workers": []}"#);
        assert_eq!(http.spark_master(&with_worker, LONG), Ok(()));
        assert_eq!(http.spark_master(&alone, LONG), Ok(()));
        assert!(http.spark_master(&standby, LONG).unwrap_err().contains("status is \"STANDBY\""));
        assert!(http.spark_master(&master("hello"), LONG).unwrap_err().contains("not that of Spark"));

        let worker = |json: &str| service("SPARK_WORKER", page(json).parse().unwrap(), &[]);
        let joined = worker(r#"{"masterurl": "spark://spark-master:7077"}"#);
        assert_eq!(http.spark_worker(&joined, &with_worker, LONG), Ok(()));
        assert!(http.spark_worker(&joined, &alone, LONG).unwrap_err().contains("no worker that is alive"));
        assert!(http.spark_worker(&joined, &standby, LONG).is_err());
        let lonely = worker(r#"{"masterurl": ""}"#);
        assert!(http.spark_worker(&lonely, &with_worker, LONG).unwrap_err().contains("names no master"));
    }
}
