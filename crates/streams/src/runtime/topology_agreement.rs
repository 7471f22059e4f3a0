//! The topology that the instances of a group agree on. An instance processes nothing unless every
//! other one runs the same.
//!
//! The topology of the group is the one of its commits: each carries the digest of the topology
//! that made it, and its generation. The greatest generation among the committed offsets of the
//! group is the one that holds. An instance with another topology is refused, unless its operator
//! says that just this change is meant ([`RuntimeConfig::accepted_change`](super::RuntimeConfig));
//! its commits then begin the next generation. Instances that run beside it and have not committed
//! yet are found by the client ids of the group's members, which carry the digest too.
//!
//! It is asked at the start, before the group is joined; after each assignment, before a task is
//! taken; and now and then. Of two members of one generation of the group each looks after both
//! have joined, so two that differ cannot both go on to their first commit unseen.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::backoff::Backoff;
use super::config::{RuntimeConfig, transactional_id};
use super::standby_assignment::instance_of;
use crate::error::{Error, Result};
use crate::ports::{Admin, Clock, Committed};
use crate::record::TopicPartition;
use crate::topology_digest::{Stamp, TopologyDigest, split_client_id};

/// State of the group's topology.
struct Group {
    /// The stamp of the greatest generation; several where instances have changed it in different
    /// ways.
    stamps: Vec<Stamp>,
    /// Topics with committed offsets.
    topics: Vec<String>,
    /// Client ids of members of other instances that show another digest than ours.
    strangers: Vec<String>,
}

/// The tries to ask a group whose coordinator could not answer.
#[derive(Default)]
struct Tries {
    backoff: Backoff,
    /// The group is not asked before.
    next: Duration,
    /// Why the last try failed.
    why: String,
    /// Somebody asks just now.
    is_under_way: bool,
}

/// Ends a try, also where what asks has panicked.
struct Asking(Arc<Mutex<Tries>>);

impl Drop for Asking {
    fn drop(&mut self) {
        lock(&self.0).is_under_way = false;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The interval at which a thread that waits for the answer to another's question looks for it.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// The agreement, as one instance knows it.
pub(super) struct TopologyAgreement {
    /// `None`: the program does not say what its topology is, and nothing is compared.
    own: Option<TopologyDigest>,
    application_id: String,
    /// This instance, as its members' client ids name it.
    instance: String,
    accepted: Option<String>,
    /// The topics of the world that the topology reads. Not its own: those of another program may
    /// have the same names.
    reads: Vec<String>,
    /// How often the agreement was called into question: at the start and by each assignment.
    asked: AtomicU64,
    /// The last question that was answered.
    answered: AtomicU64,
    /// The tries to ask the group; others after each renewal of the clients. It is locked for
    /// moments only, and never over a question.
    tries: Mutex<Arc<Mutex<Tries>>>,
    /// The generation that our commits bear.
    generation: AtomicU64,
    has_waited: AtomicBool,
}

impl TopologyAgreement {
    pub fn new(config: &RuntimeConfig, reads: Vec<String>) -> TopologyAgreement {
        let client = transactional_id(&config.application_id, &config.instance_id, 0);
        TopologyAgreement {
            own: config.digest.clone(),
            application_id: config.application_id.clone(),
            instance: instance_of(&client).unwrap_or_default().to_owned(),
            accepted: config.accepted_change.clone(),
            reads,
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            tries: Mutex::default(),
            generation: AtomicU64::new(1),
            has_waited: AtomicBool::new(false),
        }
    }

    /// Stamp that our commits are to carry.
    pub fn stamp(&self) -> Option<Stamp> {
        let generation = self.generation.load(Ordering::Relaxed);
        self.own.clone().map(|digest| Stamp { generation, digest })
    }

    /// Asks the group before it is joined.
    ///
    /// # Errors
    /// [`Error::Disagreement`] where the group runs another topology, [`Error::Retry`] while
    /// members with another one are there.
    pub fn at_start(&self, admin: &dyn Admin) -> Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        let group = self.read_group(admin, own)?;
        self.decide(own, &group).map_err(Error::Disagreement)?;
        if group.strangers.is_empty() {
            return Ok(());
        }
        let what = self.beside(own, &group);
        if !self.has_waited.swap(true, Ordering::Relaxed) {
            tracing::warn!(code = "HS1009", "waiting for other instances to stop: {what}");
        }
        Err(Error::Retry(what))
    }

    /// The group has changed: what it agrees on is to be asked again before a task is taken.
    pub fn question(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether the group has changed since it was last asked.
    pub fn is_questioned(&self) -> bool {
        self.own.is_some() && self.answered.load(Ordering::SeqCst) < self.asked.load(Ordering::SeqCst)
    }

    /// Whether the group has changed since it was last asked, and may be asked now: nobody is
    /// asking it, and the wait after the last try is over.
    pub fn is_to_be_asked(&self, now: Duration) -> bool {
        let may_be_asked = |tries: &Tries| !tries.is_under_way && now >= tries.next;
        self.is_questioned() && may_be_asked(&lock(&self.tries()))
    }

    /// Asks the group unless that was done since the last assignment.
    ///
    /// A coordinator that loads or moves answers at once that it cannot tell, and every task that
    /// is to be taken asks. So after a failed try nobody asks before the wait is over; meanwhile
    /// all have the answer of that try.
    ///
    /// # Errors
    /// As for [`TopologyAgreement::check`].
    pub fn ensure(&self, admin: &dyn Admin, clock: &dyn Clock) -> Result<()> {
        let asked = self.asked.load(Ordering::SeqCst);
        let asking = loop {
            let tries = self.tries();
            let mut known = lock(&tries);
            if self.answered.load(Ordering::SeqCst) >= asked {
                return Ok(());
            }
            if clock.monotonic() < known.next {
                return Err(Error::Retry(known.why.clone()));
            }
            // One asks, and those who wait meanwhile have its answer.
            if !std::mem::replace(&mut known.is_under_way, true) {
                drop(known);
                break Asking(tries);
            }
            drop(known);
            clock.sleep(LOOK_INTERVAL);
        };
        let answer = self.check(admin);
        let mut tries = lock(&asking.0);
        match &answer {
            Ok(()) => {
                (tries.next, tries.backoff) = (Duration::ZERO, Backoff::default());
                self.answered.fetch_max(asked, Ordering::SeqCst);
            }
            Err(error) => {
                tries.next = clock.monotonic() + tries.backoff.next();
                tries.why = error.to_string();
            }
        }
        drop(tries);
        answer
    }

    fn tries(&self) -> Arc<Mutex<Tries>> {
        lock(&self.tries).clone()
    }

    /// The clients were renewed: nobody waits any more for a question that was asked by a former
    /// one, which the brokers may not let in.
    pub fn renewed(&self) {
        *lock(&self.tries) = Arc::default();
    }

    /// Whether somebody asks the group just now.
    #[cfg(test)]
    pub fn is_being_asked(&self) -> bool {
        lock(&self.tries()).is_under_way
    }

    /// Whether a task whose last commit carries this metadata may be taken. The listing of all
    /// commits does not wait for open transactions; this metadata was waited for.
    ///
    /// # Errors
    /// As for [`TopologyAgreement::check`].
    pub fn admit(&self, admin: &dyn Admin, metadata: &str) -> Result<()> {
        let (Some(own), Some(stamp)) = (&self.own, Stamp::find(metadata)) else { return Ok(()) };
        let generation = self.generation.load(Ordering::Relaxed);
        if stamp.generation > generation || (stamp.generation == generation && stamp.digest != *own) {
            return self.check(admin);
        }
        Ok(())
    }

    /// Asks a group that this instance is a member of.
    ///
    /// # Errors
    /// [`Error::Fatal`] where the group runs another topology, or where nothing says which of two
    /// topologies is right.
    pub fn check(&self, admin: &dyn Admin) -> Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        let group = self.read_group(admin, own)?;
        let is_recorded = self.decide(own, &group).map_err(Error::Fatal)?;
        match &*group.strangers {
            [] => Ok(()),
            [stranger, ..] if is_recorded => {
                tracing::warn!(
                    code = "HS1009",
                    "a member of group `{}` runs another topology and should stop by itself; stop it if it stays: {stranger}",
                    self.application_id
                );
                Ok(())
            }
            _ => Err(Error::Fatal(self.beside(own, &group))),
        }
    }

    fn read_group(&self, admin: &dyn Admin, own: &TopologyDigest) -> Result<Group> {
        // The members first: one that commits and leaves in between is seen there or by what it has
        // committed.
        let members = admin.member_ids()?;
        let committed: Vec<(TopicPartition, Committed)> = admin.all_committed()?;
        let found = committed.iter().filter_map(|(_, committed)| Stamp::find(&committed.metadata));
        let mut stamps: Vec<Stamp> = Vec::new();
        for stamp in found {
            let greatest = stamps.first().map_or(0, |one| one.generation);
            if stamp.generation > greatest {
                stamps = vec![stamp];
            } else if stamp.generation == greatest && !stamps.contains(&stamp) {
                stamps.push(stamp);
            }
        }
        let mut topics: Vec<String> = committed.iter().map(|(partition, _)| partition.topic.to_string()).collect();
        topics.sort_unstable();
        topics.dedup();
        let own = own.to_string();
        let is_stranger = |id: &String| {
            split_client_id(id).1.is_some_and(|digest| digest != own) && instance_of(id) != Some(&*self.instance)
        };
        Ok(Group { stamps, topics, strangers: members.into_iter().filter(is_stranger).collect() })
    }

    /// Takes over the group's generation, or begins the next one where that is accepted. Whether
    /// commits say already that ours is the topology.
    ///
    /// # Errors
    /// Why this instance must not run.
    fn decide(&self, own: &TopologyDigest, group: &Group) -> std::result::Result<bool, String> {
        let greatest = group.stamps.first().map_or(0, |stamp| stamp.generation);
        let is_ours = !group.stamps.is_empty() && group.stamps.iter().all(|stamp| stamp.digest == *own);
        let is_foreign = !group.topics.is_empty() && !group.topics.iter().any(|topic| self.reads.contains(topic));
        if is_ours {
            self.generation.store(greatest, Ordering::Relaxed);
            return Ok(true);
        }
        if group.stamps.is_empty() && !is_foreign {
            return Ok(false);
        }
        let change = change(&group.stamps, own);
        if self.accepted.as_deref() != Some(&*change) {
            return Err(self.refusal(own, group, is_foreign, &change));
        }
        let before = self.generation.swap(greatest + 1, Ordering::Relaxed);
        if before != greatest + 1 {
            tracing::warn!(
                code = "HS1010",
                "the topology of application `{}` is changed, as accepted: {own} holds from the next commit on (change {change})",
                self.application_id
            );
        }
        Ok(false)
    }

    fn refusal(&self, own: &TopologyDigest, group: &Group, is_foreign: bool, change: &str) -> String {
        let app = &self.application_id;
        if is_foreign {
            return format!(
                "application id `{app}` belongs to another program: its group has committed offsets of `{}`, and the sources of this topology \
                 are none of these topics. Choose another application id (--application-id, or application_id in the topology file). If it is \
                 the same program, whose sources are to change, stop all instances of `{app}`, then start each with \
                 --accept-topology-change {change} [HS1014]",
                group.topics.join("`, `")
            );
        }
        let mut differing: Vec<&str> = group.stamps.iter().flat_map(|stamp| own.differences(&stamp.digest)).collect();
        differing.sort_unstable();
        differing.dedup();
        let theirs: Vec<String> = group.stamps.iter().map(|stamp| stamp.digest.to_string()).collect();
        format!(
            "application `{app}` runs another topology than this instance, and instances with different topologies would contradict each other. \
             What differs: {} (topology digest of the application {}, of this instance {own}). If this instance has the wrong file, settings or \
             flags, correct them. If it is another program, choose another application id. To change the topology on purpose, stop all instances \
             of `{app}`, then start each with --accept-topology-change {change} [HS1013]",
            differing.join(", "),
            theirs.join(" and "),
        )
    }

    fn beside(&self, own: &TopologyDigest, group: &Group) -> String {
        format!(
            "other instances of application `{}` are running another topology than this one ({own}): members {}; stop them, or start this \
             instance with their topology file and settings, or choose another application id for another program [HS1009]",
            self.application_id,
            group.strangers.join(", "),
        )
    }
}

/// Names one change: it is accepted once, from just these topologies to just this one, and not by a
/// flag that was left behind.
fn change(from: &[Stamp], to: &TopologyDigest) -> String {
    let mut from: Vec<String> = from.iter().map(Stamp::words).collect();
    from.sort_unstable();
    format!("{:08x}", xxh3_64(format!("{}>{to}", from.concat()).as_bytes()) as u32)
}
