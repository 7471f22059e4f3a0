//! The walking skeleton on real Kafka and RocksDB: word count, killed with SIGKILL at random and at
//! each named step of a commit. Afterwards nothing is lost, doubled or rolled back: each word's
//! counts are 1, 2, 3, … and all equals what the driver makes of the log.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use streams::driver::TopologyDriver;
use streams::record::{Headers, InRecord, Origin, Record as In};
use streams::runtime::COMMIT_STEPS;
use streams::task::Sizes;
use testkit::process::{Process, temp_dir};
use testkit::{Broker, Record, records, unique, wait_for};

#[allow(dead_code, reason = "the topology is that example's; its main is not used here")]
#[path = "../examples/word_count.rs"]
mod word_count;

const MINUTE: Duration = Duration::from_secs(60);

/// Where an output went, its timestamp, its value.
type Output = (i32, i64, Option<Vec<u8>>);

/// An application of its own: topics, state directory, and the lines sent so far.
struct Application {
    broker: Broker,
    id: String,
    state: PathBuf,
    lines: usize,
}

impl Application {
    fn new() -> Application {
        // The example's topics have fixed names, so each test has a broker of its own.
        let (broker, id) = (Broker::start(), unique("word-count"));
        broker.create_topic("lines", 3, &[]);
        broker.create_topic("word-counts", 2, &[]);
        broker.create_topic("bad-lines", 1, &[]);
        Application { broker, id, state: temp_dir("crash"), lines: 0 }
    }

    /// Sends lines of a few words each: few enough that each word comes often.
    fn send_lines(&mut self, count: usize) {
        let line = |n: usize| format!("a{} b{} c{} all", n % 7, n % 31, n % 101);
        let from = self.lines;
        self.lines += count;
        let record = |n: usize| Record::new(format!("{n}"), line(n)).in_partition((n % 3) as i32);
        records::produce(&self.broker, "lines", &(from..self.lines).map(record).collect::<Vec<_>>());
    }

    fn start(&self, instance: &str, threads: usize, kill_at: Option<&str>) -> Process {
        let mut command = Command::new(example("word_count_on_kafka"));
        let state = self.state.join(instance);
        command.args([&self.broker.bootstrap(), &self.id]).arg(state).args([instance, &threads.to_string()]);
        command.args(kill_at).stdin(Stdio::null());
        Process::start(command, Signal::KILL).expect("start the example")
    }

    /// The counts of each word in the order in which they were written, as a reader of committed
    /// records sees them.
    fn counts(&self) -> BTreeMap<String, Vec<u64>> {
        let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for record in records::read_committed(&self.broker, "word-counts") {
            let text = String::from_utf8(record.value.clone().unwrap()).unwrap();
            counts.entry(record.key_text()).or_default().push(text.parse().unwrap());
        }
        counts
    }

    /// Words that the lines sent so far have, all in all.
    fn words(&self) -> usize {
        self.lines * 4
    }

    fn assert_counts(&self) {
        let counts = self.counts();
        for (word, counts) in &counts {
            let expected: Vec<u64> = (1..=counts.len() as u64).collect();
            assert_eq!(counts, &expected, "counts of {word}: one was lost, doubled or rolled back");
        }
        assert_eq!(counts.values().map(Vec::len).sum::<usize>(), self.words(), "every word was counted once");
        assert_eq!(counts["all"].len(), self.lines);
    }

    /// Every record of the sink, record by record and in order of each key, is what the driver
    /// makes of the repartition topic as it stands.
    fn assert_as_driven(&self) {
        let log = format!("{}-by-word-repartition", self.id);
        let partitions = BTreeMap::from([("word-counts".to_owned(), 2)]);
        let sizes = Sizes { partitions, ..Sizes::default() };
        let mut driver = TopologyDriver::new(&word_count::word_count().unwrap(), &self.id, &sizes);
        let mut expected: BTreeMap<Vec<u8>, Vec<Output>> = BTreeMap::new();
        for record in records::read_committed(&self.broker, &log) {
            let (partition, offset, timestamp_ms) = (record.partition, record.offset, record.timestamp_ms);
            let origin = Origin { topic: &log, partition, offset, timestamp_ms };
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            driver.pipe(&InRecord { origin, record: In { key, value, headers: Headers::NONE, timestamp_ms } }).unwrap();
            for out in driver.outputs().iter() {
                let place = (out.origin.partition, out.origin.timestamp_ms);
                let value = out.record.value.map(<[u8]>::to_vec);
                expected.entry(out.record.key.unwrap().to_vec()).or_default().push((place.0, place.1, value));
            }
            driver.clear_outputs();
        }
        let mut found: BTreeMap<Vec<u8>, Vec<Output>> = BTreeMap::new();
        for record in records::read_committed(&self.broker, "word-counts") {
            let output = (record.partition, record.timestamp_ms, record.value);
            found.entry(record.key.unwrap()).or_default().push(output);
        }
        assert_eq!(found, expected);
    }

    /// Kafka's own group tool shows that nothing is left: the committed offsets step over the
    /// markers of transactions.
    fn assert_no_lag(&self) {
        let lines = testkit::tools::describe_group(&self.broker, &self.id);
        assert_eq!(lines.len(), 6, "two topics of three partitions");
        assert!(lines.iter().all(|line| line.lag == Some(0)), "{lines:?}");
    }

    /// Runs until all is done, then stops in good order.
    fn run_to_end(&self, instance: &str, threads: usize) {
        let mut process = self.start(instance, threads, None);
        wait_for("every word to be counted", || {
            assert!(process.poll().is_none(), "the example ended by itself");
            let done: usize = self.counts().values().map(Vec::len).sum();
            (done >= self.words()).then_some(())
        });
        // Lag 0 comes with the commit after the last record, which steps over its own transaction's
        // markers.
        wait_for("lag 0", || {
            let lines = testkit::tools::describe_group(&self.broker, &self.id);
            lines.iter().all(|line| line.lag == Some(0)).then_some(())
        });
        process.signal(Signal::TERM);
        assert!(process.wait(MINUTE).expect("it ends after SIGTERM").success());
        self.assert_counts();
        self.assert_as_driven();
        self.assert_no_lag();
    }
}

/// A built example: its folder lies beside the program.
fn example(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_helixstream")).with_file_name("examples").join(name);
    assert!(path.exists(), "{} is not built: run cargo build --examples", path.display());
    path
}

#[test]
fn nothing_is_lost_doubled_or_rolled_back_by_sigkill_at_any_step() {
    let mut application = Application::new();
    for step in COMMIT_STEPS {
        for time in [1, 4] {
            application.send_lines(300);
            let mut process = application.start("i", 1, Some(&format!("{}:{time}", step.name())));
            let status = process.wait(2 * MINUTE).expect("it kills itself");
            assert_eq!(status.signal(), Some(9), "it ended by itself at {} {time}: {status}", step.name());
        }
    }
    for milliseconds in [700, 1100, 1500, 1900] {
        application.send_lines(2000);
        let mut process = application.start("i", 1, None);
        std::thread::sleep(Duration::from_millis(milliseconds));
        process.kill();
    }
    application.run_to_end("i", 1);
}

#[test]
fn two_instances_of_two_threads_take_over_from_each_other() {
    let mut application = Application::new();
    for (round, step) in COMMIT_STEPS.into_iter().enumerate() {
        application.send_lines(1000);
        let (killed, other) = if round % 2 == 0 { ("a", "b") } else { ("b", "a") };
        let mut other = application.start(other, 2, None);
        let mut killed = application.start(killed, 2, Some(&format!("{}:7", step.name())));
        wait_for("one to kill itself", || {
            application.send_lines(50);
            assert!(other.poll().is_none(), "the other one ended by itself");
            killed.poll()
        });
        // At random for the other one: wherever it is in taking the dead one's tasks over.
        std::thread::sleep(Duration::from_millis(150 * round as u64));
        other.kill();
    }
    application.run_to_end("a", 2);
}
