//! Pauses of a topology, of a sub-topology or of a partition.
//!
//! Of a task that is paused no record is fetched or processed, so it does not punctuate, and its
//! background work rests. What was open is committed before. Its thread stays a member of the
//! group and keeps the partition, and standbys go on.
//!
//! Pauses are kept in the control log ([`control_log`]), which every instance looks at now and
//! then, and after each assignment: a task begins only after a look that began after it was
//! assigned. So a pause that was acknowledged is seen by whoever takes a task over, and survives
//! restarts. (A commit's metadata cannot carry it: nobody but the owner of a partition commits
//! there, and offsets of a group without members expire.)

mod control_log;
mod drain;
mod holds;
mod task_scope;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control_log::{ControlLog, HoldChange};
use drain::{DrainView, Feed, next_targets};
pub use holds::Hold;
use holds::Holds;
pub use task_scope::TaskScope;

use super::config::RuntimeConfig;
use super::metrics::Metrics;
use crate::error::Error;
use crate::offset::{Offset, StartOffset};
use crate::ports::{Admin, Clock, RestoreClient};
use crate::record::TopicPartition;
use crate::task::Plan;

/// The interval at which who waits for another's look asks whether it is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// How often a drain is worked on where pauses are kept in one instance alone.
const DRAIN_INTERVAL: Duration = Duration::from_secs(1);

/// Why a pause or a resumption was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PauseError {
    /// The topology reads no such topic.
    #[error("{0} cannot be paused or resumed: the topology reads no such topic [HS1035]")]
    Unknown(TaskScope),
    /// It is held with a greater part.
    #[error("{scope} is held together with {with}: resume that, or pause its other parts one by one first [HS1036]")]
    HeldWith {
        /// The part that was to be resumed.
        scope: TaskScope,
        /// The greater part.
        with: TaskScope,
    },
    /// The control log could not be read or written; whether the change is in it is not known.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// The surroundings of a look at the control log.
pub(super) struct PausePorts<'a> {
    pub admin: &'a dyn Admin,
    pub reader: &'a dyn RestoreClient,
    pub clock: &'a dyn Clock,
}

/// How far the control log was read.
#[derive(Default)]
struct Looks {
    is_under_way: bool,
    /// The next one is due then.
    next: Duration,
    /// The offset to read on from; `None`: from the beginning.
    position: Option<Offset>,
    /// Since when looks fail, and why the last one did.
    failing: Option<(Duration, String)>,
}

/// A look that is under way. Its end lets the next one begin, also where it has panicked.
struct LookUnderWay<'p> {
    pauses: &'p Pauses,
    /// The questions that it answers.
    asked: u64,
}

impl Drop for LookUnderWay<'_> {
    fn drop(&mut self) {
        self.pauses.looks().is_under_way = false;
    }
}

/// The pauses, as one instance knows them.
pub(super) struct Pauses {
    /// The topics that the topology reads, its own among them.
    topics: BTreeSet<Arc<str>>,
    feeds: Vec<Feed>,
    /// `None`: they are kept in this instance alone.
    log: Option<ControlLog>,
    interval: Duration,
    metrics: Arc<Metrics>,
    holds: Mutex<Holds>,
    /// Whether anything is held, so that the threads need not lock.
    is_any: AtomicBool,
    looks: Mutex<Looks>,
    /// How often it was asked what is paused: by each assignment.
    asked: AtomicU64,
    /// The last question that a look has answered.
    answered: AtomicU64,
}

impl Pauses {
    /// Of a topology. Nothing is known to be paused.
    pub fn new(config: &RuntimeConfig, metrics: Arc<Metrics>, plans: &[Arc<Plan>]) -> Pauses {
        Pauses {
            topics: plans.iter().map(|plan| plan.source.clone()).collect(),
            feeds: Feed::all(plans),
            log: config.control_interval.map(|_| ControlLog::new(&config.application_id, config.replication)),
            interval: config.control_interval.unwrap_or(DRAIN_INTERVAL),
            metrics,
            holds: Mutex::default(),
            is_any: AtomicBool::new(false),
            looks: Mutex::default(),
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        }
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked for moments only, and never over a call of a port.
    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is held.
    pub fn all(&self) -> BTreeMap<TaskScope, Hold> {
        self.holds().all().clone()
    }

    /// Whether the task that reads a partition is paused, with this offset committed last, if any.
    pub fn is_paused(&self, source: &TopicPartition, committed: Option<Offset>) -> bool {
        self.is_any.load(Ordering::Acquire) && self.holds().is_paused(source, committed)
    }

    /// Pauses a part of the topology. Blocks.
    ///
    /// # Errors
    /// The topology has no such part, or the log cannot be written.
    pub fn pause(&self, scope: &TaskScope, ports: &PausePorts<'_>) -> Result<(), PauseError> {
        self.check(scope)?;
        self.write(vec![(scope.clone(), Some(Hold::Paused))], ports)
    }

    /// Drains a part of the topology. Blocks until that is written.
    ///
    /// # Errors
    /// The topology has no such part, or the log cannot be written.
    pub fn drain(&self, scope: &TaskScope, ports: &PausePorts<'_>) -> Result<(), PauseError> {
        self.check(scope)?;
        self.look_now(ports)?;
        let hold = match scope {
            TaskScope::Partition(source) => Hold::PausedAt(end_of(source, ports)?),
            _ => Hold::Draining(self.looks().position.map_or(0, Offset::number)),
        };
        self.write(vec![(scope.clone(), Some(hold))], ports)
    }

    /// Gives the tasks that are being drained the offsets that can be given now.
    fn work_on_drains(&self, ports: &PausePorts<'_>) -> Result<(), Error> {
        let holds = self.holds().clone();
        if !holds.has_drain() {
            return Ok(());
        }
        let topics: Vec<&str> = self.topics.iter().map(|topic| &**topic).collect();
        let found = ports.admin.identities(&topics)?;
        let counts = self.topics.iter().cloned().zip(found);
        let partitions = counts.filter_map(|(topic, found)| Some((topic, found?.partitions))).collect();
        let committed = ports.admin.all_committed()?.into_iter();
        let committed = committed.map(|(source, committed)| (source, committed.offset)).collect();
        let view = DrainView { partitions, committed };
        let changes = next_targets(&self.feeds, &holds, &view, |source| end_of(source, ports))?;
        match &self.log {
            Some(log) => log.append(ports.admin, &changes),
            None => {
                self.apply(changes, false);
                Ok(())
            }
        }
    }

    /// Ends the pause of a part of the topology, and of all parts within it. Blocks.
    ///
    /// # Errors
    /// The topology has no such part, it is paused together with a greater one, or the log cannot
    /// be written.
    pub fn resume(&self, scope: &TaskScope, ports: &PausePorts<'_>) -> Result<(), PauseError> {
        self.check(scope)?;
        self.look_now(ports)?;
        let within = self.holds().within(scope);
        let within = within.map_err(|with| PauseError::HeldWith { scope: scope.clone(), with })?;
        self.write(within.into_iter().map(|scope| (scope, None)).collect(), ports)
    }

    fn check(&self, scope: &TaskScope) -> Result<(), PauseError> {
        match scope.topic() {
            Some(topic) if !self.topics.contains(topic) => Err(PauseError::Unknown(scope.clone())),
            _ => Ok(()),
        }
    }

    fn write(&self, changes: Vec<HoldChange>, ports: &PausePorts<'_>) -> Result<(), PauseError> {
        let Some(log) = &self.log else {
            self.apply(changes, false);
            return Ok(());
        };
        if changes.is_empty() {
            return Ok(());
        }
        log.ensure(ports.admin)?;
        log.append(ports.admin, &changes)?;
        self.look_now(ports)?;
        Ok(())
    }

    /// Applies changes to what is held, or to nothing where all of it was read anew.
    fn apply(&self, changes: impl IntoIterator<Item = HoldChange>, is_anew: bool) {
        let mut holds = self.holds();
        let mut new = if is_anew { Holds::default() } else { holds.clone() };
        changes.into_iter().for_each(|(scope, hold)| new.set(scope, hold));
        for (scope, hold) in new.all().iter().filter(|(scope, hold)| holds.all().get(scope) != Some(hold)) {
            tracing::info!("{}", hold.describe(scope));
        }
        for scope in holds.all().keys().filter(|scope| !new.all().contains_key(scope)) {
            tracing::info!("{scope} is no longer paused");
        }
        self.metrics.set_pauses(new.all().iter().map(|(scope, hold)| hold.describe(scope)).collect());
        self.is_any.store(!new.all().is_empty(), Ordering::Release);
        *holds = new;
    }
}

/// The end of a log. One answer may be from before a leader has moved, so it is asked twice.
fn end_of(source: &TopicPartition, ports: &PausePorts<'_>) -> Result<Offset, Error> {
    let ask = || ports.admin.log_range(source).map(|range| range.end);
    Ok(ask()?.max(ask()?))
}

/// Looks at the control log.
impl Pauses {
    /// A partition was assigned: its task begins only when this question is answered
    /// ([`Pauses::has_answered`]). The number of the question.
    pub fn question(&self) -> u64 {
        if self.log.is_none() { 0 } else { self.asked.fetch_add(1, Ordering::SeqCst) + 1 }
    }

    /// The number of the last question.
    pub fn last_question(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Whether a look has begun and ended since that question.
    pub fn has_answered(&self, question: u64) -> bool {
        self.answered.load(Ordering::SeqCst) >= question
    }

    /// Whether a look is to begin now: it is time, or somebody has asked since the last one, and
    /// none is under way.
    pub fn is_look_due(&self, now: Duration) -> bool {
        if self.log.is_none() && !(self.is_any.load(Ordering::Acquire) && self.holds().has_drain()) {
            return false;
        }
        let looks = self.looks();
        let is_asked = looks.failing.is_none() && !self.has_answered(self.last_question());
        !looks.is_under_way && (is_asked || now >= looks.next)
    }

    fn begin(&self) -> Option<LookUnderWay<'_>> {
        let asked = self.last_question();
        let was_under_way = std::mem::replace(&mut self.looks().is_under_way, true);
        (!was_under_way).then_some(LookUnderWay { pauses: self, asked })
    }

    /// Looks at the control log, unless somebody does. Blocks.
    ///
    /// # Errors
    /// It cannot be read now.
    pub fn look(&self, ports: &PausePorts<'_>) -> Result<(), Error> {
        let Some(look) = self.begin() else { return Ok(()) };
        let result = self.read(ports);
        if result.is_ok()
            && let Err(error) = self.work_on_drains(ports)
        {
            tracing::debug!("a drain could not be worked on, which is retried: {error}");
        }
        let now = ports.clock.monotonic();
        let mut looks = self.looks();
        looks.next = now + self.interval;
        match &result {
            Ok(()) => {
                looks.failing = None;
                self.answered.fetch_max(look.asked, Ordering::SeqCst);
            }
            Err(error) => {
                tracing::debug!("what is paused could not be read, which is retried: {error}");
                let since = looks.failing.as_ref().map_or(now, |(since, _)| *since);
                looks.failing = Some((since, error.to_string()));
            }
        }
        drop(looks);
        result
    }

    /// Waits for a look that begins after this call.
    fn look_now(&self, ports: &PausePorts<'_>) -> Result<(), Error> {
        let question = self.question();
        while !self.has_answered(question) {
            let is_under_way = self.looks().is_under_way;
            match is_under_way {
                true => ports.clock.sleep(LOOK_INTERVAL),
                false => self.look(ports)?,
            }
        }
        Ok(())
    }

    fn read(&self, ports: &PausePorts<'_>) -> Result<(), Error> {
        let Some(log) = &self.log else { return Ok(()) };
        let position = self.looks().position;
        // A log that is gone says nothing: what was read stays.
        if position.is_none() && !log.exists(ports.admin)? {
            return Ok(());
        }
        let found = log.read(ports.reader, ports.clock, position.map_or(StartOffset::Beginning, StartOffset::At));
        // It may have been made anew: the next look reads all of it.
        self.looks().position = found.as_ref().ok().map(|(_, end)| *end);
        let (changes, _) = found?;
        if !changes.is_empty() || position.is_none() {
            self.apply(changes, position.is_none());
        }
        Ok(())
    }

    /// Since when the control log could not be read, and why.
    pub fn failing(&self) -> Option<(Duration, String)> {
        self.looks().failing.clone()
    }
}
