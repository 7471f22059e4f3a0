//! Thousands of clients that send nothing, send a byte at a time, send half a body or never read,
//! while records flow: health checks are answered at the first try, memory and file descriptors are
//! bounded, and the stream goes on.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::folders::assert_modes;
use crate::http::make_token;
use crate::{Trial, page};
use testkit::{ports, wait_for};

/// Clients at a time.
const CLIENTS: usize = 2000;
/// Clients that come back a second, after they were cut off.
const RETURNING: usize = 200;
/// What the server lets in at a time, by docs/http.md, and a few for those that are just being
/// closed.
const MOST: usize = 256 + 64;

/// The server, and what is sent to it.
struct Target {
    address: String,
    /// Asks for the metrics, with a token.
    ask: String,
}

/// A form of which half the body is sent: the server reads it to its end before it answers.
const HALF: &[u8] = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
    Content-Length: 2000\r\n\r\nnext=%2F&token=";

impl Target {
    fn new(address: &str, token: &str) -> Target {
        let ask = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        Target { address: address.to_owned(), ask }
    }

    /// The metrics, if the server answers at the first try.
    fn metrics(&self) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.write_all(self.ask.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text).filter(|text| text.starts_with("HTTP/1.1 200"))
    }
}

/// A client that takes its time.
struct Slow {
    stream: Option<TcpStream>,
    kind: usize,
    sent: usize,
}

impl Slow {
    fn connect(target: &Target, kind: usize) -> Slow {
        let stream = TcpStream::connect(&target.address).ok();
        let stream = stream.filter(|stream| stream.set_nonblocking(true).is_ok());
        Slow { stream, kind, sent: 0 }
    }

    /// Does what it does; afterwards it may have been cut off.
    fn go_on(&mut self, target: &Target) {
        let Some(stream) = &mut self.stream else { return };
        let ask = target.ask.as_bytes();
        let done = match self.kind % 4 {
            // Sends nothing: sees whether it is still wanted.
            0 => match stream.read(&mut [0]) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                read => read,
            },
            // A byte at a time of a header that does not end.
            1 => {
                let byte = [ask.get(self.sent).copied().filter(|_| self.sent < 30).unwrap_or(b'a')];
                stream.write(&byte)
            }
            // The head of a form and a byte at a time of half its body, then nothing more: sees
            // whether it is still wanted.
            2 if self.sent < HALF.len() => stream.write(&HALF[self.sent..]),
            2 if self.sent < HALF.len() + 1000 => stream.write(b"a"),
            2 => match stream.read(&mut [0]) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                read => read,
            },
            // Reads no answer.
            _ => stream.write(ask),
        };
        match done {
            Ok(count) => self.sent += count,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.stream = None,
        }
    }
}

struct Crowd {
    stop: Arc<AtomicBool>,
    /// Connections made so far.
    made: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    fn start(target: Target) -> Crowd {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (stop.clone(), made.clone());
        let body = move || {
            let connect = |kind| {
                count.fetch_add(1, Ordering::Relaxed);
                Slow::connect(&target, kind)
            };
            let mut all: Vec<Slow> = (0..CLIENTS).map(connect).collect();
            while !stopped.load(Ordering::Relaxed) {
                all.iter_mut().for_each(|slow| slow.go_on(&target));
                let gone = all.iter_mut().filter(|slow| slow.stream.is_none());
                gone.take(RETURNING / 20).for_each(|slow| *slow = connect(slow.kind));
                // The pace of the crowd, not a wait for anything.
                thread::sleep(Duration::from_millis(50));
            }
        };
        Crowd { stop, made, thread: Some(thread::spawn(body)) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the crowd failed");
        }
    }
}

fn value(text: &str, name: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
}

/// Resident memory of a process, in MiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Sockets of a process; the stream's own files come and go with its databases.
fn sockets(pid: u32) -> usize {
    let links =
        std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(|entry| entry.ok()?.path().read_link().ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn two_thousand_slow_clients_cost_the_stream_nothing() {
    let trial = Trial::new();
    assert_eq!(trial.topics("create").code, Some(0));
    trial.produce_samples();
    let http = format!("127.0.0.1:{}", ports::free_port());
    let tokens = trial.path("tokens");
    let target = Target::new(&http, &make_token(Path::new(&tokens), "crowd", &[]));
    let mut helix = trial.run(&["--http-listen", &http, "--http-token-file", &tokens]);
    let metrics = || target.metrics();
    // The 305 records as they come, and from the repartition topic what is good of them.
    wait_for("the first records", || metrics().filter(|text| value(text, "helixstream_records_total") >= 603.0));
    wait_for("every thread to be ready", || page(&http, "/ready").filter(|text| text.starts_with("HTTP/1.1 200")));
    let (memory, before) = (resident(helix.pid()), sockets(helix.pid()));

    let crowd = Crowd::start(Target { address: http.clone(), ask: target.ask.clone() });
    wait_for("the crowd to be there", || (crowd.made.load(Ordering::Relaxed) > CLIENTS).then_some(()));
    trial.produce_samples();
    let mut seen = 0.0;
    for round in 0.. {
        // Each at the first try.
        let ready = page(&http, "/ready").unwrap_or_else(|| panic!("round {round}: /ready was cut off"));
        assert!(ready.starts_with("HTTP/1.1 200") || ready.contains("task"), "round {round}: {ready:?}");
        let text = metrics().unwrap_or_else(|| panic!("round {round}: /metrics was cut off"));
        seen = value(&text, "helixstream_records_total").max(seen);
        assert!(value(&text, "helixstream_http_connections") <= 256.0, "{text}");
        let (more, open) = (resident(helix.pid()).saturating_sub(memory), sockets(helix.pid()));
        assert!(more < 128, "{more} MiB more than before the crowd came");
        assert!(open < before + MOST, "{open} sockets, {before} before the crowd came");
        if round >= 50 && seen >= 2.0 * 603.0 {
            break;
        }
        assert!(round < 20_000, "the stream stands: {seen} records");
    }
    let text = metrics().expect("the server goes on");
    let closed = value(&text, "helixstream_http_connections_closed_total{reason=\"crowded\"}");
    assert!(closed >= (CLIENTS - 256) as f64, "{text}");
    assert!(helix.stderr().contains("256 connections are open, which is the limit"), "{}", helix.stderr());
    drop(crowd);
    assert!(helix.is_running());
    let finished = helix.terminate();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_modes(Path::new(&trial.path("state")), 0o700, 0o600);
}
