//! A node under load: what its agent waits for, how fast its outbox goes to Kafka, and what the
//! process costs while nothing happens. The load comes over HTTP from this process, which has its
//! share of the same cores.

use super::BenchSettings;
use super::apply::spread;
use super::measure::{Watch, anonymous_mib, has_ended};
use super::metrics::Pages;
use super::support::Helix;
use super::table::{Row, thousands};
use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use testkit::Random;
use testkit::{Broker, ports::free_port, process::temp_dir};
use tokio::runtime::Runtime;

/// Events at most that are accepted while Kafka does not answer, and published when it does.
const WAITING: u64 = 20_000;
/// Requests at most of one client that waits for each answer.
const ALONE: u64 = 2_000;
/// Requests at most of each kind of reading.
const READS: u64 = 20_000;
/// Clients at a time where there are many.
const CLIENTS: usize = 64;
/// Users that the memories are spread over.
const USERS: u64 = 1_000;
/// Anonymous memory at most of a node that nobody asks, in MiB.
const IDLE_MIB: f64 = 30.0;
const LOOK: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(3600);

/// A node with a Kafka and a stream of its own, from empty to `M` memories.
///
/// # Errors
/// A request was not answered as expected, or a process ended.
pub fn measure(settings: &BenchSettings) -> Result<Vec<Row>> {
    let site = Site::start()?;
    let mut rows = vec![site.idle(settings.idle)?];
    let memories = settings.memories.max(2);
    let (alone, reads) = (ALONE.min(memories / 2), READS.min(memories));
    let create = |i: u64| Call::new(Method::POST, "/v1/memories".to_owned(), StatusCode::CREATED).json(memory(i));
    rows.push(site.drive("node, a write, 1 client", 1, 0..alone, create)?);
    rows.push(site.drive(&format!("node, writes, {CLIENTS} clients"), CLIENTS, alone..memories, create)?);
    site.until("the outbox to be empty", |page| page.sum("node_outbox_events") == 0)?;
    rows.push(site.publish(memories)?);
    site.resolve(settings)?;
    let held = thousands(memories);
    let mut random = Random::new(settings.seed);
    let ids: Vec<u64> = (0..reads).map(|_| random.below(memories as usize) as u64).collect();
    let read = |i: u64| Call::new(Method::GET, format!("/v1/memories/{}", id(ids[i as usize])), StatusCode::OK);
    rows.push(site.drive(&format!("node, a read of {held} memories, 1 client"), 1, 0..alone, read)?);
    rows.push(site.drive(&format!("node, reads of {held} memories, {CLIENTS} clients"), CLIENTS, 0..reads, read)?);
    let search = |i: u64| {
        let memory = ids[i as usize];
        let (first, second) = (word(memory, 0), word(memory, 1));
        let query = format!("/v1/memories/search?query={first}+{second}&user_id={}&top_k=10", user(memory));
        Call::new(Method::GET, query, StatusCode::OK)
    };
    rows.push(site.drive(&format!("node, a search of a user in {held} memories, 1 client"), 1, 0..alone, search)?);
    site.stop()?;
    Ok(rows)
}

fn id(i: u64) -> String {
    format!("m-{i:09}")
}

fn user(i: u64) -> String {
    format!("u-{}", i % USERS)
}

/// A word of a memory: one of 4096.
fn word(memory: u64, place: u64) -> String {
    format!("w{}", Random::new(memory << 8 | place).below(4096))
}

/// A new memory as an agent sends it: about 20 words.
fn memory(i: u64) -> serde_json::Value {
    let words: Vec<String> = (0..20).map(|place| word(i, place)).collect();
    serde_json::json!({"memory_id": id(i), "user_id": user(i), "content": words.join(" "), "importance": 0.5})
}

/// A request, and the status that it is to be answered with.
struct Call {
    method: Method,
    path: String,
    body: Option<serde_json::Value>,
    expected: StatusCode,
}

impl Call {
    fn new(method: Method, path: String, expected: StatusCode) -> Call {
        Call { method, path, body: None, expected }
    }

    fn json(self, body: serde_json::Value) -> Call {
        Call { body: Some(body), ..self }
    }
}

/// A node, its Kafka, and a client.
struct Site {
    broker: Broker,
    helix: Helix,
    pages: Pages,
    url: String,
    client: reqwest::Client,
    runtime: Runtime,
}

impl Site {
    fn start() -> Result<Site> {
        let broker = Broker::start_with_heap("1g");
        super::stream::create_topics(&broker);
        let (folder, http) = (temp_dir("node"), format!("127.0.0.1:{}", free_port()));
        let mut command = Helix::command();
        command.args(["node", "--node-name", "bench", "--bootstrap-servers", &broker.bootstrap()]);
        command.args(["--http-listen", &http, "--node-dir"]).arg(&folder);
        let helix = Helix::spawn_command(command);
        // Another part of the process may have chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().build().context("make an HTTP client")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let url = format!("http://{http}");
        let site = Site { broker, helix, pages: Pages(http), url, client, runtime };
        site.until("the first heartbeat", |page| page.sum("node_transactions_total") > 0)?;
        Ok(site)
    }

    /// The cost of the process while nobody asks it. More memory than [`IDLE_MIB`] is an error.
    fn idle(&self, time: Duration) -> Result<Row> {
        let watch = Watch::start(self.helix.pid())?;
        std::thread::sleep(time);
        let spent = watch.read()?;
        let anonymous = anonymous_mib(self.helix.pid())?;
        ensure!(
            anonymous <= IDLE_MIB,
            "the idle node has {anonymous:.1} MiB of anonymous memory, and may have {IDLE_MIB} MiB"
        );
        Ok(Row::new("node, idle", 0, spent).note(format!("anonymous memory {anonymous:.1} MiB")))
    }

    /// Waits until the metrics are as they are to be.
    fn until(&self, what: &str, is_so: impl Fn(&super::metrics::Figures) -> bool) -> Result<()> {
        let started = Instant::now();
        while !self.pages.metrics().is_ok_and(|page| is_so(&page)) {
            ensure!(!has_ended(self.helix.pid())?, "the node ended:\n{}", self.helix.stderr());
            ensure!(started.elapsed() < LIMIT, "waited an hour for {what}:\n{}", self.helix.stderr());
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Sends a call for each number, by so many clients that each wait for their answer; the row
    /// has the times of the answers.
    fn drive(
        &self,
        name: &str,
        clients: usize,
        numbers: std::ops::Range<u64>,
        call: impl Fn(u64) -> Call + Sync,
    ) -> Result<Row> {
        let next = AtomicU64::new(numbers.start);
        let times = Mutex::new(Vec::new());
        let watch = Watch::start(self.helix.pid())?;
        let broker = Watch::start(self.broker.pid())?;
        let one = async || -> Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return Ok(());
                }
                let nanos = self.send(call(number)).await?;
                times.lock().unwrap_or_else(PoisonError::into_inner).push(nanos);
            }
        };
        let all = (0..clients).map(|_| one());
        self.runtime.block_on(futures::future::try_join_all(all))?;
        let (spent, broker_cpu_s) = (watch.read()?, broker.read()?.cpu_s);
        let mut times = times.into_inner().unwrap_or_else(PoisonError::into_inner);
        let answers = format!("answers {}", spread(&mut times));
        let row = Row::new(name, numbers.end - numbers.start, spent).note(answers);
        Ok(Row { broker_cpu_s: Some(broker_cpu_s), ..row })
    }

    /// Nanoseconds until the answer was there as a whole.
    async fn send(&self, call: Call) -> Result<u64> {
        let mut request = self.client.request(call.method, format!("{}{}", self.url, call.path));
        if let Some(body) = &call.body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let started = Instant::now();
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        let nanos = started.elapsed().as_nanos() as u64;
        ensure!(status == call.expected, "{} was answered {status}: {}", call.path, String::from_utf8_lossy(&body));
        Ok(nanos)
    }

    /// The outbox of a node whose Kafka was away: from the return of the broker until all is
    /// published.
    fn publish(&self, memories: u64) -> Result<Row> {
        self.broker.pause();
        let update = |i: u64| {
            let path = format!("/v1/memories/{}", id(i % memories));
            Call::new(Method::PATCH, path, StatusCode::OK).json(serde_json::json!({"importance": 0.75}))
        };
        let accepted = self.drive("accepted", CLIENTS, 0..WAITING.min(memories), update)?;
        let waiting = self.pages.metrics()?.sum("node_outbox_events");
        let (watch, broker) = (Watch::start(self.helix.pid())?, Watch::start(self.broker.pid())?);
        self.broker.resume();
        self.until("the outbox to be published", |page| page.sum("node_outbox_events") == 0)?;
        let (spent, broker_cpu_s) = (watch.read()?, broker.read()?.cpu_s);
        let row = Row::new("node, publishing what waits", waiting, spent);
        let row = row.note(format!("accepted without Kafka in {:.2} s", accepted.wall_s));
        Ok(Row { broker_cpu_s: Some(broker_cpu_s), ..row })
    }

    /// Lets a stream resolve everything, and ends it when the node shows nothing as pending.
    fn resolve(&self, settings: &BenchSettings) -> Result<()> {
        let mut command = Helix::command();
        command.args(["run", "--no-mirror", "--topology", super::stream::TOPOLOGY]);
        command.args(["--bootstrap-servers", &self.broker.bootstrap(), "--application-id", "bench-node"]);
        command.args(["--set", &format!("strategy={}", settings.strategy)]);
        command.args(["--http-listen", &format!("127.0.0.1:{}", free_port())]);
        command.arg("--state-dir").arg(temp_dir("state"));
        let stream = Helix::spawn_command(command);
        let is_done = |page: &super::metrics::Figures| page.sum("node_pending_memories") == 0;
        self.until("all memories to be resolved", |page| is_done(page) || has_ended(stream.pid()).unwrap_or(true))?;
        let finished = stream.terminate();
        ensure!(finished.code == Some(0), "the stream did not stop in good order: {finished:?}");
        Ok(())
    }

    fn stop(self) -> Result<()> {
        let finished = self.helix.terminate();
        ensure!(finished.code == Some(0), "the node did not stop in good order: {finished:?}");
        Ok(())
    }
}
