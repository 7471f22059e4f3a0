//! One cell: a run of the memory topology with one fault, to its end.

use super::apis::APIS;
use super::ends::End;
use super::matrix::{Cell, When};
use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::support::Finished;
use crate::trial::{Trial, is_settled, memory_toml};
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::{BaseProducer, Producer};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::kafka_proxy::{ApiKey, ProxyPorts, Seen};
use testkit::records::Reader;
use testkit::{Broker, Connection, KafkaProxy, Record, records, wait, wait_until};

/// Partitions of the events topic.
const PARTITIONS: i32 = 2;
/// A fault of every call is lifted so long after the first of them.
const FAULTY: Duration = Duration::from_secs(2);
/// A run is fed for so long at least, and no longer than this.
const FED: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(4));
/// After so many cells the topics have grown enough.
const CELLS_OF_A_TRIAL: usize = 12;

/// How a cell ended; all of these have the right outputs, byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The client or the engine called again.
    Retried,
    /// The transaction was aborted, and its records were processed again.
    Aborted,
    /// The producer was replaced.
    NewProducer,
    /// The process ended with this code, and another one without the fault finished the work.
    Restarted(String),
}

/// What is known of a cell that is over.
#[derive(Debug, Clone)]
pub struct Done {
    /// How it ended.
    pub outcome: Outcome,
    /// The codes of its warnings and errors.
    pub codes: BTreeSet<String>,
    /// Calls that had the fault.
    pub faults: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Retried => f.write_str("retried"),
            Outcome::Aborted => f.write_str("aborted"),
            Outcome::NewProducer => f.write_str("new producer"),
            Outcome::Restarted(code) => write!(f, "ended with {code}"),
        }
    }
}

/// A place where one cell after the other runs: a proxy, and a trial that several cells share.
pub struct Lane {
    number: u64,
    broker: Arc<Broker>,
    proxy: KafkaProxy,
    trial: Option<Ongoing>,
}

/// A trial and what has become of it. Its clients serve all cells, since new ones take half of the
/// time of a cell.
struct Ongoing {
    trial: Trial,
    /// Whether the repartition topics are purged, and so not compared.
    is_purged: bool,
    producer: BaseProducer,
    /// Clients that read committed and uncommitted records.
    onlookers: [BaseConsumer; 2],
    reader: Reader,
    events: Events,
    cells: usize,
    state: usize,
}

impl Lane {
    pub fn new(number: u64, broker: Arc<Broker>, ports: ProxyPorts) -> Lane {
        Lane { number, broker, proxy: KafkaProxy::start(ports), trial: None }
    }

    /// Forgets the trial: a cell has failed in it.
    pub fn begin_anew(&mut self) {
        self.proxy.reset();
        self.trial = None;
    }

    fn ongoing(&mut self, api: ApiKey) -> Ongoing {
        let is_purged = api == ApiKey::DeleteRecords;
        // A run creates internal topics only where they are missing.
        let is_new = api == ApiKey::CreateTopics;
        let fits = |o: &Ongoing| o.cells < CELLS_OF_A_TRIAL && o.is_purged == is_purged && !is_new;
        if let Some(ongoing) = self.trial.take().filter(fits) {
            return ongoing;
        }
        self.number += 1;
        let events = Events::new(1000 + self.number, 10);
        let trial = trial(&self.broker, &self.proxy, is_purged);
        if is_new {
            let internal = trial.changelogs().into_iter().chain([trial.repartition(), trial.by_user()]);
            internal.for_each(|topic| self.broker.delete_topic(&topic));
        }
        let producer = self.broker.client().set("linger.ms", "0").create().unwrap();
        let onlookers = ["read_committed", "read_uncommitted"].map(|level| trial.onlooker(level));
        let reader = Reader::start(&self.broker);
        Ongoing { trial, is_purged, producer, onlookers, reader, events, cells: 0, state: 0 }
    }

    /// Runs a cell; panics where anything about it is wrong.
    pub fn run(&mut self, cell: &Cell) -> Done {
        let mut ongoing = self.ongoing(cell.api);
        let done = ongoing.run(&self.proxy, cell);
        ongoing.cells += 1;
        // Every third run begins without its stores, and restores them. A new state folder is a
        // new producer, too, so the former one must have ended in good order.
        if ongoing.cells.is_multiple_of(3) && !matches!(done.outcome, Outcome::Restarted(_)) {
            ongoing.state += 1;
        }
        self.trial = Some(ongoing);
        done
    }
}

/// A trial whose commands reach the broker through the proxy, and whose clients lose patience soon.
fn trial(broker: &Arc<Broker>, proxy: &KafkaProxy, is_purged: bool) -> Trial {
    let mut text = memory_toml();
    for partitions in [12, 6, 3] {
        text = text.replace(&format!("partitions = {partitions}\n"), &format!("partitions = {PARTITIONS}\n"));
    }
    let settings = vec![("socket.timeout.ms".to_owned(), "3000".to_owned())];
    let connection = Connection { servers: proxy.bootstrap(), settings, password_file: None };
    let purge = format!("purge={is_purged}");
    let settings = ["transaction_timeout=5s", "check_interval=1s", "purge_interval=1s", &purge];
    let trial = Trial::by_connection_of(&text, "faults", &settings, Arc::clone(broker), connection);
    trial.with_partitions(PARTITIONS)
}

impl Ongoing {
    fn feed(&mut self, count: usize) {
        let in_range = |record: Record| Record { partition: record.partition % PARTITIONS, ..record };
        let events: Vec<Record> = self.events.take(count).into_iter().map(in_range).collect();
        records::send(&self.producer, &self.trial.topic("events"), &events);
        self.producer.flush(wait::LIMIT).unwrap();
    }

    fn start(&self) -> Instance {
        self.trial.start(&format!("state-{}", self.state), &["--no-mirror", "--threads", "2"])
    }

    /// Publishes events until the fault is over, or has not come in all that time.
    fn feed_until_over(&mut self, proxy: &KafkaProxy, instance: &mut Instance, cell: &Cell) {
        let started = Instant::now();
        loop {
            self.feed(4);
            let is_over = lift_if_over(proxy, cell);
            let (least, most) = FED;
            if (is_over && started.elapsed() > least) || started.elapsed() > most || !instance.is_running() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A fault that comes late is lifted here, and one that comes only when an instance stops finds
    /// it still armed.
    fn wait_until_done_or_ended(&self, proxy: &KafkaProxy, instance: &mut Instance, cell: &Cell) {
        wait_until("the group's lag to be 0, or the end", || {
            lift_if_over(proxy, cell);
            !instance.is_running() || self.trial.is_done(&self.onlookers[1])
        });
    }

    /// Holds the outputs against `replay` and the repartition topics.
    fn assert_outputs(&mut self) {
        for topic in self.trial.written() {
            wait_until(&format!("the transactions over {topic} to be over"), || {
                is_settled(&self.onlookers, &topic, PARTITIONS)
            });
        }
        if self.is_purged {
            expect::assert_replayed(&self.trial, |topic| self.reader.read(topic));
        } else {
            expect::assert_read(&self.trial, |topic| self.reader.read(topic));
        }
    }

    /// Builds all stores anew, which ends the process where what is committed of them is not what
    /// their changelogs have.
    fn assert_restorable(&mut self) {
        self.state += 1;
        let mut again = self.start();
        again.wait_until_ready();
        again.stop();
    }

    /// Runs a cell; panics where anything about it is wrong.
    fn run(&mut self, proxy: &KafkaProxy, cell: &Cell) -> Done {
        self.feed(20);
        proxy.arm(cell.fault());
        let mut instance = self.start();
        self.feed_until_over(proxy, &mut instance, cell);
        self.wait_until_done_or_ended(proxy, &mut instance, cell);
        let (aborts, producers) = (instance.metric("aborts", ""), instance.metric("producers_lost", ""));
        let codes = codes(&instance);
        instance.signal(Signal::TERM);
        let ended = end_of(&instance.finish());
        let seen = proxy.seen();
        assert!(seen.faults > 0, "the fault did not come: the API was not called so often, {:?}", seen.calls);
        assert_known(&seen);
        assert_entitled(cell, ended.as_ref());
        proxy.reset();
        if ended.is_some() {
            let mut again = self.start();
            self.wait_until_done_or_ended(proxy, &mut again, cell);
            // All may have been done before it began.
            again.wait_until_ready();
            again.stop();
            assert_known(&proxy.seen());
        }
        if cell.hides_offsets() {
            self.assert_restorable();
        }
        self.assert_outputs();
        let outcome = match ended {
            Some((code, _)) => Outcome::Restarted(code),
            None if producers > 0.0 => Outcome::NewProducer,
            None if aborts > 0.0 => Outcome::Aborted,
            None => Outcome::Retried,
        };
        Done { outcome, codes, faults: seen.faults }
    }
}

/// Lifts a fault of every call when its time is over; whether the fault is over.
fn lift_if_over(proxy: &KafkaProxy, cell: &Cell) -> bool {
    let since = proxy.seen().first_fault.map(|at| at.elapsed());
    let is_over = match cell.when {
        When::First | When::Later => since.is_some(),
        When::Every => since.is_some_and(|since| since > FAULTY),
    };
    if is_over {
        proxy.lift();
    }
    is_over
}

fn codes(instance: &Instance) -> BTreeSet<String> {
    let lines = instance.log().into_iter().filter(|line| line["level"] == "WARN" || line["level"] == "ERROR");
    lines.filter_map(|line| Some(line["code"].as_str()?.to_owned())).collect()
}

/// The code and the text of the error that a process has ended with; `None` if with none. Panics
/// where it ended in another way: by a signal, by a panic, or without a code.
fn end_of(finished: &Finished) -> Option<(String, String)> {
    let text = &finished.stderr;
    match finished.code {
        Some(0) => None,
        Some(1) => Some((code_of(text).unwrap_or_else(|| panic!("it ended without a code: {text}")), text.clone())),
        Some(code) => panic!("it ended with exit code {code}, which no error has: {text}"),
        None => panic!("a signal ended it: {text}"),
    }
}

/// Panics where this is not the end that the cell's error is entitled to.
fn assert_entitled(cell: &Cell, ended: Option<&(String, String)>) {
    match (cell.end(), ended) {
        (End::Never | End::Maybe(_), None) => {}
        (End::Maybe(expected) | End::Always(expected), Some((code, text))) => {
            assert_eq!(code, expected, "it ended with another error than it should: {text}");
        }
        (End::Never, Some((_, text))) => panic!("it ended over an error that is to be survived: {text}"),
        (End::Always(code), None) => panic!("it went on over an error that should have ended it with {code}"),
    }
}

/// Panics where the process has called an API that has no cells.
fn assert_known(seen: &Seen) {
    let is_known = |api: &i16| APIS.iter().any(|known| known.api as i16 == *api);
    let unknown: Vec<&i16> = seen.calls.keys().filter(|api| !is_known(api)).collect();
    assert!(unknown.is_empty(), "the matrix has no cells for APIs that were called: {unknown:?}");
}

/// The code of what a command says when it fails: at its end, or at the end of its first line where
/// a list follows. Where several follow one another, the first one is that of the cause.
fn code_of(stderr: &str) -> Option<String> {
    let (_, said) = stderr.rsplit_once("helixstream: ")?;
    let first_line = said.lines().next().unwrap_or_default().trim_end_matches(':');
    code_at_end(said).or_else(|| code_at_end(first_line))
}

fn code_at_end(text: &str) -> Option<String> {
    let (mut rest, mut found) = (text.trim_end(), None);
    while let Some((before, code)) = rest.strip_suffix(']').and_then(|rest| rest.rsplit_once('['))
        && code.starts_with("HS")
    {
        (rest, found) = (before.trim_end(), Some(code.to_owned()));
    }
    found
}

#[test]
fn the_code_of_an_error_is_that_of_its_cause() {
    let code = |text: &str| code_of(&format!("a log line [HS2007]\nhelixstream: {text}\n"));
    assert_eq!(code("no such topic [HS2004]").as_deref(), Some("HS2004"));
    assert_eq!(code("no answer [HS2002] [HS1023]").as_deref(), Some("HS2002"));
    assert_eq!(code("rights lack [HS2030]:\n  Read\n  Write").as_deref(), Some("HS2030"));
    assert_eq!(code("a mere mention of [HS2004] in the text"), None);
}
