//! The servers and instances, and what a fault does to them.

use super::load::Load;
use super::plan::{Kind, SLOTS, Strike};
use super::preload::Preload;
use crate::instance::{Instance, Launch};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use testkit::cluster::BROKERS;
use testkit::kafka_proxy::ProxyPorts;
use testkit::{Cluster, Connection, Postgres, Proxy, Random, SmallDisk, repo_path};

/// MiB of the disk of an instance.
const DISK: usize = 256;
/// After SIGTERM a process does not wait for ever for a Kafka that does not answer.
const STOPS_LATE: &str = "HS1015";
/// A round lasts for so long at least, so that something is done in it.
const ROUND: Duration = Duration::from_secs(2);

/// A place for an instance: its network, its disk and its clock are its own.
struct Slot {
    number: usize,
    proxies: Vec<Proxy>,
    connection: Connection,
    disk: Option<SmallDisk>,
    preload: Preload,
    place: Mutex<Place>,
    /// So many faults of its disk last at the moment.
    disk_faults: AtomicUsize,
}

#[derive(Default)]
struct Place {
    instance: Option<Instance>,
    /// Whether there is to be one.
    is_wanted: bool,
    is_frozen: bool,
    /// Whether the disk of this process has been full or has failed: it may end by itself.
    is_hurt: bool,
    /// Processes that have run here.
    started: u64,
    /// Whether its next process is one of the other program.
    has_other: bool,
}

/// Everything that runs.
pub struct World {
    pub cluster: Cluster,
    pub postgres: Postgres,
    slots: Vec<Slot>,
    /// What must not have happened.
    pub failures: Mutex<Vec<String>>,
    /// Codes with which instances have ended that may end so.
    pub ends: Mutex<BTreeMap<String, usize>>,
    pub restored: AtomicU64,
    pub rebuilt: AtomicU64,
    pub leaders_moved: AtomicU64,
    /// Where the log of each process is kept; nowhere in a sample.
    logs: Option<PathBuf>,
    /// The program that all instances are of at first, where it is not only the one that is tested.
    pub other: Option<PathBuf>,
}

impl World {
    /// Starts the servers; no instance yet.
    pub fn start(keeps_logs: bool, other: Option<PathBuf>) -> World {
        let ports: Vec<Vec<ProxyPorts>> =
            (0..SLOTS).map(|_| (0..BROKERS).map(|_| ProxyPorts::free()).collect()).collect();
        let (cluster, postgres) = std::thread::scope(|scope| {
            let postgres = scope.spawn(Postgres::start);
            (Cluster::start(&ports), postgres.join().expect("PostgreSQL starts"))
        });
        let logs = keeps_logs.then(|| repo_path("target/chaos"));
        if let Some(folder) = &logs {
            let _ = std::fs::remove_dir_all(folder);
            std::fs::create_dir_all(folder).unwrap();
        }
        World {
            cluster,
            postgres,
            slots: ports.iter().enumerate().map(|(at, ports)| Slot::new(at, ports, other.is_some())).collect(),
            failures: Mutex::default(),
            ends: Mutex::default(),
            restored: AtomicU64::new(0),
            rebuilt: AtomicU64::new(0),
            leaders_moved: AtomicU64::new(0),
            logs,
            other,
        }
    }

    /// Starts an instance in each place.
    pub fn begin(&self, load: &Load) {
        for slot in &self.slots {
            slot.lock().is_wanted = true;
            self.launch(slot, load, &mut slot.lock());
        }
    }

    /// Ends all instances.
    pub fn end(&self) {
        for slot in &self.slots {
            let place = &mut slot.lock();
            place.is_wanted = false;
            self.terminate(slot, place);
        }
    }

    /// Lets the faults of a round happen, and waits until all of them are over. Gives the kinds of
    /// those that met what they were for.
    pub fn round(&self, load: &Load, strikes: &[Strike]) -> Vec<Kind> {
        let begun = Instant::now();
        let kinds = std::thread::scope(|scope| {
            let strike = |strike: &Strike| {
                std::thread::sleep(strike.after);
                self.strike(load, strike).then_some(strike.kind)
            };
            let threads: Vec<_> = strikes.iter().map(|each| scope.spawn(move || strike(each))).collect();
            threads.into_iter().filter_map(|thread| thread.join().expect("a fault happens")).collect()
        });
        std::thread::sleep(ROUND.saturating_sub(begun.elapsed()));
        self.mend(load);
        kinds
    }

    /// Looks after the instances: one that ended over its disk is started again.
    pub fn mend(&self, load: &Load) {
        for slot in &self.slots {
            let place = &mut slot.lock();
            let has_ended = place.instance.as_mut().is_some_and(|instance| !instance.is_running());
            if has_ended {
                self.note_end(slot, place);
            }
            if place.is_wanted && place.instance.is_none() {
                self.launch(slot, load, place);
            }
        }
    }

    fn strike(&self, load: &Load, strike: &Strike) -> bool {
        let slot = self.slot(strike);
        let broker = &self.cluster.brokers()[strike.brokers[0]];
        let lasts = strike.lasts;
        match strike.kind {
            Kind::Kill => return self.kill(slot, load, lasts),
            Kind::StopPastSession | Kind::StopPastTransaction => return slot.freeze(lasts),
            Kind::Scale => return self.scale(strike, load),
            Kind::BrokerKilled | Kind::BrokerStopped => {
                self.cluster.wait_until_in_sync();
                if strike.kind == Kind::BrokerKilled {
                    broker.kill()
                } else {
                    broker.stop()
                }
                std::thread::sleep(lasts);
                broker.restart();
                self.cluster.wait_until_in_sync();
            }
            Kind::BrokerFrozen => {
                self.cluster.wait_until_in_sync();
                broker.pause();
                std::thread::sleep(lasts);
                broker.resume();
                self.cluster.wait_until_in_sync();
            }
            Kind::Leaders => {
                let moved = self.cluster.move_leaders(&mut Random::new(strike.number));
                self.leaders_moved.fetch_add(moved as u64, Ordering::Relaxed);
                return moved > 0;
            }
            Kind::Cut => slot.disturb(strike, Proxy::cut),
            Kind::HalfOpen => slot.disturb(strike, Proxy::silence),
            Kind::Clock => {
                let before = slot.preload.asked();
                slot.preload.set_clock(strike.jump_ms);
                std::thread::sleep(lasts);
                slot.preload.set_clock(0);
                return slot.preload.asked() > before;
            }
            Kind::FullDisk => {
                let Some(disk) = &slot.disk else { return false };
                return slot.damage(lasts, || disk.fill(), || disk.free());
            }
            Kind::ReadErrors => {
                let (preload, before) = (&slot.preload, slot.preload.failed());
                // Files are read when stores are opened; later nearly all is in memory.
                let begin = || {
                    preload.fail_reads(true);
                    self.kill(slot, load, Duration::ZERO);
                };
                return slot.damage(lasts, begin, || preload.fail_reads(false)) && preload.failed() > before;
            }
            Kind::WriteErrors => {
                let (preload, before) = (&slot.preload, slot.preload.failed());
                let set = |fails| preload.fail_writes(fails);
                return slot.damage(lasts, || set(true), || set(false)) && preload.failed() > before;
            }
            Kind::Postgres => {
                self.postgres.kill_hard();
                std::thread::sleep(lasts);
                self.postgres.restart();
            }
            Kind::OtherProgram => return self.turn(strike, load),
        }
        true
    }

    /// Ends the instance of a place and starts one of the other program there, on its state. Where
    /// there is none, its next one is of the other program.
    fn turn(&self, strike: &Strike, load: &Load) -> bool {
        let slot = &self.slots[strike.slot];
        let place = &mut slot.lock();
        place.has_other = !place.has_other;
        if place.instance.is_none() {
            return false;
        }
        if place.is_frozen || strike.number.is_multiple_of(2) {
            self.take(slot, place).into_iter().for_each(Instance::kill);
            std::thread::sleep(strike.lasts);
        } else {
            self.terminate(slot, place);
        }
        self.launch(slot, load, place);
        true
    }

    fn kill(&self, slot: &Slot, load: &Load, lasts: Duration) -> bool {
        let place = &mut slot.lock();
        let Some(instance) = self.take(slot, place) else { return false };
        instance.kill();
        std::thread::sleep(lasts);
        self.launch(slot, load, place);
        true
    }

    /// The place that a fault is for, or the next one that has an instance.
    fn slot(&self, strike: &Strike) -> &Slot {
        let places = || (0..SLOTS).map(|step| &self.slots[(strike.slot + step) % SLOTS]);
        // A place that is being dealt with is left alone.
        let with = places().find(|slot| slot.place.try_lock().is_ok_and(|place| place.instance.is_some()));
        with.unwrap_or(&self.slots[strike.slot])
    }

    /// Ends an instance with SIGTERM, or starts one where there is none. One is left at least.
    fn scale(&self, strike: &Strike, load: &Load) -> bool {
        let wanted: Vec<bool> = self.slots.iter().map(|slot| slot.lock().is_wanted).collect();
        let count = wanted.iter().filter(|is_wanted| **is_wanted).count();
        let goes_up = count == 1 || (count < SLOTS && strike.number.is_multiple_of(2));
        let mut places = (0..SLOTS).map(|step| (strike.slot + step) % SLOTS);
        let Some(at) = places.find(|at| wanted[*at] != goes_up) else { return false };
        let slot = &self.slots[at];
        let place = &mut slot.lock();
        if goes_up {
            place.is_wanted = true;
            self.launch(slot, load, place);
            return true;
        }
        if place.is_frozen {
            return false;
        }
        place.is_wanted = false;
        self.terminate(slot, place)
    }

    fn terminate(&self, slot: &Slot, place: &mut Place) -> bool {
        if place.instance.as_mut().is_some_and(|instance| !instance.is_running()) {
            self.note_end(slot, place);
        }
        let is_hurt = place.is_hurt;
        let Some(instance) = self.take(slot, place) else { return false };
        instance.signal(Signal::TERM);
        let finished = instance.finish();
        self.keep_log(slot, place, &finished.stderr);
        // The signal ends a process that has only just begun.
        let has_begun = !finished.stderr.is_empty();
        let code = last_code(&finished.stderr);
        if finished.code == Some(1) && (is_hurt || code == STOPS_LATE) {
            self.note_code(code);
        } else if finished.code != Some(0) && has_begun {
            self.fail(format!("after SIGTERM the instance in place {} ended with {finished:?}", slot.number));
        }
        true
    }

    /// Takes an instance out of its place, and adds up what it has done.
    fn take(&self, slot: &Slot, place: &mut Place) -> Option<Instance> {
        let mut instance = place.instance.take()?;
        if !place.is_frozen && instance.is_running() {
            self.restored.fetch_add(instance.restored(), Ordering::Relaxed);
            self.rebuilt.fetch_add(instance.metric("rebuilt_stores", "") as u64, Ordering::Relaxed);
        }
        place.is_frozen = false;
        self.keep_log(slot, place, &instance.said());
        Some(instance)
    }

    fn launch(&self, slot: &Slot, load: &Load, place: &mut Place) {
        let folder = slot.disk.as_ref().map_or_else(
            || load.trial.path(&slot.number.to_string()).into(),
            |disk| disk.path().join(format!("state-{}", load.number)),
        );
        let launch = Launch {
            disk: slot.disk.as_ref(),
            connection: Some(&slot.connection),
            variables: slot.preload.variables(),
            program: self.other.as_deref().filter(|_| place.has_other),
            ..Launch::default()
        };
        let arguments = ["--threads", "2", "--postgres-url", &load.url];
        place.instance = Some(Instance::start(&load.trial, &folder.display().to_string(), &arguments, launch));
        place.is_hurt = slot.disk_faults.load(Ordering::SeqCst) > 0;
        place.started += 1;
    }

    /// One that has ended by itself: a failure, unless its disk was bad.
    fn note_end(&self, slot: &Slot, place: &mut Place) {
        let is_hurt = place.is_hurt;
        let Some(instance) = self.take(slot, place) else { return };
        let finished = instance.finish();
        let code = last_code(&finished.stderr);
        if is_hurt && finished.code == Some(1) {
            self.note_code(code);
            return;
        }
        let said: Vec<&str> = finished.stderr.lines().rev().take(3).collect();
        self.fail(format!(
            "the instance in place {}, process {} there, {}ended by itself with {:?}, {code}; its disk {}: {said:?}",
            slot.number,
            place.started,
            if place.has_other { "of the other program, " } else { "" },
            finished.code,
            if is_hurt { "was bad" } else { "was good" },
        ));
    }

    fn note_code(&self, code: String) {
        *self.ends.lock().unwrap().entry(code).or_default() += 1;
    }

    /// Notes something that must not have happened.
    pub fn fail(&self, what: String) {
        println!("FAILED: {what}");
        self.failures.lock().unwrap().push(what);
    }

    fn keep_log(&self, slot: &Slot, place: &Place, text: &str) {
        if let Some(folder) = &self.logs {
            std::fs::write(folder.join(format!("place-{}-process-{}.log", slot.number, place.started)), text).unwrap();
        }
    }
}

/// The code at the end of what a command says when it fails.
fn last_code(stderr: &str) -> String {
    let code = stderr.rsplit_once("[HS").and_then(|(_, rest)| rest.split(']').next());
    code.map_or("no code".to_owned(), |code| format!("HS{code}"))
}

impl Slot {
    fn new(number: usize, ports: &[ProxyPorts], has_other: bool) -> Slot {
        let servers: Vec<String> = ports.iter().map(|ports| format!("localhost:{}", ports.proxy)).collect();
        let settings = vec![("socket.timeout.ms".to_owned(), "3000".to_owned())];
        let disk = SmallDisk::new(DISK, (0, 0));
        // Without a disk of its own the state lies in the temporary folder of the process.
        let folder = disk.as_ref().map_or_else(std::env::temp_dir, |disk| disk.path().to_owned());
        Slot {
            number,
            proxies: ports.iter().map(|ports| Proxy::start(ports.proxy, ports.broker)).collect(),
            connection: Connection { servers: servers.join(","), settings, password_file: None },
            preload: Preload::new(&folder),
            disk,
            place: Mutex::new(Place { has_other, ..Place::default() }),
            disk_faults: AtomicUsize::new(0),
        }
    }

    /// SIGSTOP, and SIGCONT afterwards.
    fn freeze(&self, lasts: Duration) -> bool {
        let frozen = {
            let place = &mut self.lock();
            let Some(instance) = &place.instance else { return false };
            instance.signal(Signal::STOP);
            place.is_frozen = true;
            place.started
        };
        std::thread::sleep(lasts);
        let place = &mut self.lock();
        if place.started == frozen && place.is_frozen {
            place.instance.iter().for_each(|instance| instance.signal(Signal::CONT));
            place.is_frozen = false;
        }
        true
    }

    /// Does this to the connections to some brokers for a while.
    fn disturb(&self, strike: &Strike, fault: impl Fn(&Proxy)) {
        let proxies = || strike.brokers.iter().map(|at| &self.proxies[*at]);
        proxies().for_each(fault);
        std::thread::sleep(strike.lasts);
        proxies().for_each(Proxy::heal);
    }

    /// Does something to the disk for a while.
    fn damage(&self, lasts: Duration, begin: impl Fn(), end: impl Fn()) -> bool {
        // Whoever is started meanwhile is hurt, too, also where another fault of the disk ends.
        self.disk_faults.fetch_add(1, Ordering::SeqCst);
        let was_there = {
            let place = &mut self.lock();
            place.is_hurt = true;
            place.instance.is_some()
        };
        begin();
        std::thread::sleep(lasts);
        end();
        self.disk_faults.fetch_sub(1, Ordering::SeqCst);
        was_there
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap()
    }
}
