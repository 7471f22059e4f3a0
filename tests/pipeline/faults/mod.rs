//! The fault matrix: two stream threads behind a proxy that knows Kafka's protocol, with one fault
//! in one call of one API, or in each call for two seconds. Whatever the fault, the outputs are
//! those of `replay`, byte by byte.
//!
//! The variable `FAULT_CELLS` chooses the cells: `all` runs the whole matrix and writes
//! `docs/fault-matrix.md` (`make faults` does that), and any other text runs the cells whose names
//! have it, such as `EndTxn` or `never answered first`; `|` stands between several texts. Without
//! it a sample is drawn.

mod apis;
mod cell;
mod ends;
mod errors;
mod matrix;
mod proxy;
mod report;

use cell::{Done, Lane};
use matrix::{Cell, When};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use testkit::broker::More;
use testkit::kafka_proxy::{ApiKey, ProxyPorts, Side, listeners};
use testkit::{Broker, Random};

/// A cell that is over: what is known of it, or why it failed.
pub struct Ran {
    cell: Cell,
    done: Result<Done, String>,
}

/// A broker that advertises the ports of proxies, which are to be started. All tests here share it.
struct Servers {
    broker: Arc<Broker>,
    /// Ports that no test has taken yet.
    ports: Mutex<Vec<ProxyPorts>>,
}

impl Servers {
    fn shared() -> &'static Servers {
        static SHARED: OnceLock<Servers> = OnceLock::new();
        SHARED.get_or_init(|| {
            let ports: Vec<ProxyPorts> = (0..lanes() + PROXY_TESTS).map(|_| ProxyPorts::free()).collect();
            let more = More { properties: listeners(&ports), ..More::default() };
            Servers { broker: Arc::new(Broker::start_with_more(more)), ports: Mutex::new(ports) }
        })
    }

    fn take_ports(&self) -> ProxyPorts {
        self.ports.lock().unwrap().pop().expect("there are ports for each lane and each test of the proxy")
    }
}

/// Tests that start a proxy of their own.
const PROXY_TESTS: usize = 2;

/// Cells that run at a time.
fn lanes() -> usize {
    std::env::var("FAULT_LANES").map_or(4, |text| text.parse().expect("FAULT_LANES is a number"))
}

/// Runs cells on one broker, several at a time.
fn run(cells: &[Cell]) -> Vec<Ran> {
    let servers = Servers::shared();
    let (waiting, ran) = (Mutex::new(cells.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for number in 0..lanes() {
            let (waiting, ran) = (&waiting, &ran);
            scope.spawn(move || {
                let mut lane = Lane::new(number as u64 * 1000, Arc::clone(&servers.broker), servers.take_ports());
                loop {
                    let Some(cell) = waiting.lock().unwrap().next() else { break };
                    let result = run_one(&mut lane, *cell);
                    ran.lock().unwrap().push(result);
                }
            });
        }
    });
    ran.into_inner().unwrap()
}

fn run_one(lane: &mut Lane, cell: Cell) -> Ran {
    let started = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| lane.run(&cell))).map_err(|panic| {
        lane.begin_anew();
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    });
    let seconds = started.elapsed().as_secs_f64();
    match &done {
        Ok(done) => println!("{cell}: {}, {} faults, {:?}, {seconds:.1} s", done.outcome, done.faults, done.codes),
        Err(why) => println!("{cell}: FAILED after {seconds:.1} s: {}", why.lines().next().unwrap_or_default()),
    }
    Ran { cell, done }
}

/// Panics with the cells that failed.
#[track_caller]
fn assert_all_done(ran: &[Ran]) {
    let failed = ran.iter().filter_map(|ran| Some(format!("{}: {}", ran.cell, ran.done.as_ref().err()?)));
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{} of {} cells failed:\n{}", failed.len(), ran.len(), failed.join("\n"));
}

/// Cells that are always in the sample: the ones that are nearest to losing or doubling something,
/// and those that have shown a fault.
fn always() -> Vec<Cell> {
    vec![
        // librdkafka ended the process by a null pointer.
        matrix::cell(ApiKey::OffsetFetch, "NOT_COORDINATOR", When::First, Side::After),
        // The process ended, and said that there is no such topic.
        matrix::cell(ApiKey::Metadata, "LEADER_NOT_AVAILABLE", When::Every, Side::After),
        matrix::cell(ApiKey::EndTxn, "connection cut", When::Later, Side::After),
        matrix::cell(ApiKey::Produce, "connection cut", When::Later, Side::After),
    ]
}

#[test]
fn the_outputs_are_those_of_replay_whatever_a_call_gets() {
    let all = matrix::cells();
    let chosen = std::env::var("FAULT_CELLS").unwrap_or_default();
    match &*chosen {
        "" => {
            let mut random = Random::new(testkit::seed());
            let drawn = (0..6).map(|_| random.pick(&all));
            assert_all_done(&run(&always().into_iter().chain(drawn).collect::<Vec<_>>()));
        }
        "all" => {
            let started = Instant::now();
            let ran = run(&all);
            report::write(&ran, started.elapsed(), testkit::seed());
            assert_all_done(&ran);
        }
        texts => {
            let is_chosen = |cell: &Cell| texts.split('|').any(|text| cell.to_string().contains(text));
            let cells: Vec<Cell> = all.into_iter().filter(is_chosen).collect();
            assert!(!cells.is_empty(), "FAULT_CELLS={texts}: no cell has any of this in its name");
            assert_all_done(&run(&cells));
        }
    }
}
