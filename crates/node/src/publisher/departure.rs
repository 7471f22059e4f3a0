//! The way of a process from an incarnation that it must not go on as to the next one.
//!
//! Where a folder was copied, several processes may hold the same events that none has published.
//! Each of them is to be published once, under one actor, whichever of the processes die or hang
//! meanwhile and go on later. Two rules make it so:
//!
//! 1. An incarnation is **closed** before anybody writes its events again under another one: a
//!    process takes its transactional id, which fences whoever has it and decides the open
//!    transaction, and with this producer writes the record `replaced` and nothing else. A process
//!    that finds its incarnation closed, at its start or when it is fenced, publishes no event
//!    under it any more. Each process registers the next incarnation before it writes an event
//!    again.
//! 2. Before that it waits until every other incarnation of the node's name has published what it
//!    had accepted, and closes those that are silent; and it looks for its own events in the events
//!    topic by their ids. One transactional id for each name orders the registrations, so of two
//!    processes that leave at the same time the one sees the other.
//!
//! ```text
//! fenced ─► wait for the other ──► close the old one ─► wait for the others, close silent ones
//!                                        ▲                  │              ▲
//! found replaced, rolled back or copied ─┘                  ▼              │ another was first
//!                       write again ◄─ look for ids ◄─ register the next one
//! ```
//!
//! So no event gets two actors: let two processes hold the same event. Its incarnation at the time
//! of the copy was left by at least one of them, so it is closed, and each has registered another
//! one or still has to. The later of the two registrations was made when the earlier incarnation
//! had published the event, or was closed: published events are found by their ids, and a closed
//! incarnation publishes none.
//!
//! A process that is killed on its way begins it anew, with another incarnation: the one that it
//! had registered is silent then, and is closed like any other. A process that has closed another
//! one's incarnation writes no event under it. Each process leaves an incarnation once, so no two
//! processes take a transactional id from each other for ever.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use streams::error::Error;
use uuid::Uuid;

use super::claim::{Claim, ClaimOutcome, Closed, close};
use super::context::{FIRST_PAUSE, LONGEST_PAUSE, PublisherContext};
use super::interruption::Interruption;
use super::peer_monitor::{PeerMonitor, PeerProgress};
use super::published_events::note_published_elsewhere;
use super::reconciliation::reconcile;
use super::record_times::RecordTimes;
use crate::actor::{Actor, Incarnation};
use crate::back_off::BackOff;
use crate::kafka::{successions_id, transactional_id};
use crate::ports::{Identity, Publication};
use crate::registry::{NodeRecord, NodeState, Registered};

/// The pause between two looks at the nodes topic, each of which reads all of it.
const LOOK: Duration = Duration::from_millis(500);

/// The records of an actor that this process has written itself, or has found at its start.
#[derive(Debug, Default)]
pub(super) struct OwnRecords {
    /// The last one that is known to be on the topic.
    pub known: Option<NodeRecord>,
    /// The one of a transaction whose outcome may be unknown.
    pub attempted: Option<NodeRecord>,
}

impl OwnRecords {
    fn contains(&self, record: &NodeRecord) -> bool {
        [&self.known, &self.attempted].into_iter().flatten().any(|own| own == record)
    }
}

/// A process that leaves its incarnation. What it has reached is kept from one try to the next.
pub(super) struct Departure {
    /// The reason, which is kept with the next incarnation.
    pub reason: &'static str,
    /// The records of the last session; `None` where the process has never published under the
    /// incarnation: then it has fenced everybody else, and waits for nobody.
    own_records: Option<OwnRecords>,
    next: Incarnation,
    /// The incarnations that this departure has closed itself. Whoever had one of them is fenced
    /// and writes nothing there any more, so what its record says later is nobody's word.
    closed: BTreeSet<Actor>,
    /// The incarnations of the node's name when this process has closed its own, where nobody else
    /// had published under that one since the last session began.
    alone_among: Option<BTreeSet<Actor>>,
}

impl Departure {
    pub fn new(reason: &'static str, own_records: Option<OwnRecords>) -> Departure {
        Departure { reason, own_records, next: Incarnation::random(), closed: BTreeSet::new(), alone_among: None }
    }

    /// Leaves the incarnation, and returns the new identity.
    pub fn run(&mut self, context: &PublisherContext, times: RecordTimes) -> Result<Identity, Interruption> {
        let identity = context.journal.identity()?;
        let registered = self.close_own(context, &identity, times)?;
        // By now each of its own transactions is decided, so the record says what was published.
        let record = registered.of(&identity.actor)?.map(|node| &node.record);
        reconcile(&*context.journal, &identity, record)?;
        let family = self.register(context, &identity.actor, times)?;
        if self.alone_among != Some(family) {
            self.find_published(context, &identity, times)?;
        }
        (context.settings.observe_step)("leave.found");
        context.retried(|| context.journal.begin_incarnation(&self.next, self.reason))
    }

    fn next_actor(&self, old: &Actor) -> Actor {
        Actor { name: old.name.clone(), incarnation: self.next.clone() }
    }

    /// Closes the own incarnation, as soon as the process that has fenced this one has published
    /// what both may have, or is silent. Returns the nodes after that.
    fn close_own(
        &mut self,
        context: &PublisherContext,
        identity: &Identity,
        times: RecordTimes,
    ) -> Result<Registered, Interruption> {
        let actor = &identity.actor;
        let state = NodeState::Replaced { successor: self.next_actor(actor) };
        let own = Publication { counter: identity.published, chain: identity.chain };
        let patience = context.settings.departure_patience;
        let mut peer = PeerMonitor::new();
        loop {
            let registered = read_within(context, patience);
            let record = match &registered {
                Ok(registered) => registered.of(actor)?.map(|node| &node.record),
                // The other process may hang with a transaction open, which ends when it is closed.
                Err(Error::Retry(_)) if peer.is_silent(patience) => None,
                Err(Error::Retry(_)) if self.own_records.is_some() => {
                    pause(context, LOOK.min(patience))?;
                    continue;
                }
                Err(_) => return Ok(registered?),
            };
            if record.is_some_and(NodeRecord::is_replaced) {
                return Ok(registered?);
            }
            if let Some(own_records) = self.own_records.as_ref().filter(|_| registered.is_ok()) {
                let foreign = record.filter(|record| !own_records.contains(record));
                if peer.look(foreign, patience) == PeerProgress::Busy {
                    pause(context, LOOK.min(patience))?;
                    continue;
                }
            }
            let last = record_of(context, actor.clone(), own, 0, state.clone());
            match close(context, &last, times)? {
                Closed::Now(before, family) => {
                    let own_records = self.own_records.as_ref();
                    let is_alone = own_records.is_some_and(|own| before.is_none_or(|before| own.contains(&before)));
                    self.alone_among = is_alone.then_some(family);
                    tracing::info!(actor = %actor, "this process has closed its incarnation on the nodes topic: no process publishes events under it any more. It goes on as a new one");
                    (context.settings.observe_step)("leave.closed");
                }
                Closed::Before => {}
                Closed::Fenced => {
                    // Somebody else has started, who may publish now.
                    self.own_records.get_or_insert_default();
                    peer = PeerMonitor::new();
                }
            }
        }
    }

    /// Registers the next incarnation, once no other one of this name can publish events any more
    /// that this process may hold, too. Returns the others.
    fn register(
        &mut self,
        context: &PublisherContext,
        old: &Actor,
        times: RecordTimes,
    ) -> Result<BTreeSet<Actor>, Interruption> {
        let mut peers = BTreeMap::new();
        let mut back_off = BackOff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            while self.look_at_others(context, old, &mut peers, times)? == PeerProgress::Busy {
                pause(context, LOOK.min(context.settings.departure_patience))?;
            }
            let mut claim = Claim::take(context, &successions_id(&old.name), times)?;
            if self.look_at_others(context, old, &mut peers, times)? == PeerProgress::Busy {
                continue;
            }
            let registered = read(context)?;
            let next = self.next_actor(old);
            if registered.of(&next)?.is_some_and(|node| node.record.is_replaced()) {
                // It was registered by a try before, and somebody has found it silent.
                self.next = Incarnation::random();
                continue;
            }
            let mut family: BTreeSet<Actor> = registered.incarnations(old).collect();
            family.remove(&next);
            let (waiting, _) = context.journal.outbox_depth()?;
            let record = registration(context, next, waiting);
            match claim.write(context, &record)? {
                ClaimOutcome::Committed => {
                    (context.settings.observe_step)("leave.registered");
                    return Ok(family);
                }
                // Two that leave at the same time must not stay in step.
                ClaimOutcome::Fenced => pause(context, back_off.next_pause() + jitter())?,
            }
        }
    }

    /// Looks at the other incarnations of the name, and closes those that are silent. Returns
    /// [`PeerProgress::Busy`] as long as there is one that may still publish what it had accepted.
    fn look_at_others(
        &mut self,
        context: &PublisherContext,
        old: &Actor,
        peers: &mut BTreeMap<Actor, PeerMonitor>,
        times: RecordTimes,
    ) -> Result<PeerProgress, Interruption> {
        let registered = read(context)?;
        let next = self.next_actor(old);
        let mut sight = PeerProgress::Done;
        for other in registered.incarnations(old).filter(|other| *other != next) {
            let record = registered.of(&other)?.map(|node| &node.record);
            if record.is_none_or(NodeRecord::is_replaced) || self.closed.contains(&other) {
                continue;
            }
            let peer = peers.entry(other.clone()).or_insert_with(|| {
                context.note_failure(&format!("events wait until {other}, another incarnation of this node's name, has published its events"));
                tracing::info!(
                    actor = %other,
                    "before this node begins a new incarnation it waits for another one of its name, until that one has published its events or \
                     gives no sign"
                );
                PeerMonitor::new()
            });
            match peer.look(record, context.settings.departure_patience) {
                PeerProgress::Done => {}
                PeerProgress::Busy => sight = PeerProgress::Busy,
                PeerProgress::Silent => {
                    let nothing = Publication { counter: 0, chain: 0 };
                    let state = NodeState::Replaced { successor: next.clone() };
                    let closed = close(context, &record_of(context, other.clone(), nothing, 0, state), times)?;
                    if matches!(closed, Closed::Now(..)) {
                        self.closed.insert(other.clone());
                        tracing::info!(
                            actor = %other,
                            "this node has closed another incarnation of its name, which had events to publish and gave no sign"
                        );
                    }
                    peers.remove(&other);
                    sight = PeerProgress::Busy;
                }
            }
        }
        Ok(sight)
    }

    /// Looks for the events of the outbox in the events topic. Meanwhile the next incarnation has
    /// its heartbeats, by which others see that it is not silent.
    fn find_published(
        &mut self,
        context: &PublisherContext,
        identity: &Identity,
        times: RecordTimes,
    ) -> Result<(), Interruption> {
        let (waiting, _) = context.journal.outbox_depth()?;
        if waiting == 0 {
            return Ok(());
        }
        let next = self.next_actor(&identity.actor);
        let claim = Claim::take(context, &transactional_id(&self.next), times)?;
        // Whoever closes it from now on fences this claim. Before, it may have been closed: a
        // heartbeat would open it again.
        if read(context)?.of(&next)?.is_none_or(|node| node.record.is_replaced()) {
            self.next = Incarnation::random();
            let text = format!(
                "the incarnation {next}, under which this node was to go on, was closed by another process or is not on the nodes topic any \
                 more; the node begins another one"
            );
            return Err(Error::Retry(text).into());
        }
        let claim = RefCell::new((claim, Instant::now()));
        let goes_on = || {
            let (claim, written) = &mut *claim.borrow_mut();
            if written.elapsed() >= context.settings.heartbeat_interval {
                *written = Instant::now();
                // After a failure the search begins anew, with another claim: without its
                // heartbeats the others would take it for silent.
                match claim.write(context, &registration(context, next.clone(), waiting)) {
                    Ok(ClaimOutcome::Committed) => {}
                    Ok(ClaimOutcome::Fenced) => return false,
                    Err(failure) => {
                        tracing::debug!(
                            "the heartbeat of {next} was not written, and the search for published events begins anew: {failure}"
                        );
                        return false;
                    }
                }
            }
            context.goes_on()
        };
        note_published_elsewhere(context, &identity.actor.name, identity.counter, &goes_on)
    }
}

fn read(context: &PublisherContext) -> Result<Registered, Interruption> {
    Ok(context.nodes.read(context.limit(), &|| context.goes_on())?)
}

/// The same with a shorter wait for a transaction that is open.
fn read_within(context: &PublisherContext, limit: Duration) -> Result<Registered, Error> {
    context.nodes.read(context.limit().min(limit), &|| context.goes_on())
}

fn pause(context: &PublisherContext, pause: Duration) -> Result<(), Interruption> {
    context.stop.wait(pause);
    if context.stop.is_overdue() { Err(Interruption::Stopped) } else { Ok(()) }
}

/// Up to a fifth of a second, at random.
fn jitter() -> Duration {
    Duration::from_millis(Uuid::new_v4().as_u128() as u64 % 200)
}

/// The record of an incarnation before its first event is written again: it has accepted none, and
/// something waits.
fn registration(context: &PublisherContext, next: Actor, waiting: u64) -> NodeRecord {
    record_of(context, next, Publication { counter: 0, chain: 0 }, waiting.max(1), NodeState::Running)
}

fn record_of(
    context: &PublisherContext,
    actor: Actor,
    published: Publication,
    outbox_depth: u64,
    state: NodeState,
) -> NodeRecord {
    let now_ms = context.now_ms();
    NodeRecord {
        actor,
        role: context.settings.role,
        software_version: context.settings.software_version.clone(),
        capabilities: context.settings.capabilities.clone(),
        counter: published.counter,
        published,
        outbox_depth,
        outbox_since_ms: None,
        joined_ms: now_ms,
        heartbeat_ms: now_ms,
        state,
    }
}
