//! The table of open connections. It keeps a few thousand slow clients from costing anything: their
//! number, their time and the memory of answers that they do not read are limited, and a new client
//! takes the place of the one that has kept us waiting longest.
//!
//! A health check is answered within milliseconds of its connection, so it is never the one that
//! has waited longest, however many others there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::metrics::{Family, MetricKind, Value};
use super::throttle::Throttle;

/// Limits of what clients may use of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections at most.
    pub connections: usize,
    /// From the connection to its first whole request head, the TLS handshake included.
    pub first_request: Duration,
    /// From a request's head to its answer, the reading of its body included.
    pub handling: Duration,
    /// From an answer to the next whole request head: the client reads the answer and may stay
    /// idle.
    pub next_request: Duration,
    /// From one part of a stream to the next that the client has room for. Streams send something
    /// more often than that.
    pub stalled: Duration,
    /// Bytes of a request's head at most; no less than 8192, which hyper wants.
    pub head_bytes: usize,
    /// Header fields of a request at most.
    pub head_fields: usize,
    /// Bytes of a request's body at most.
    pub body_bytes: usize,
    /// Bytes of answers that clients have been given and may not have read, all together.
    pub answer_bytes: u64,
    /// Send buffer of a connection in the kernel, in bytes.
    pub send_buffer: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 256,
            first_request: Duration::from_secs(10),
            handling: Duration::from_secs(30),
            next_request: Duration::from_secs(60),
            stalled: Duration::from_secs(30),
            head_bytes: 16 * 1024,
            head_fields: 64,
            body_bytes: 64 * 1024,
            answer_bytes: 32 * 1024 * 1024,
            send_buffer: 128 * 1024,
        }
    }
}

/// Phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its first request has not come yet.
    Opened,
    /// A request is being answered, all of which is there.
    Handling,
    /// A request with a body is being answered; whether the body ever comes whole is for the client
    /// to say.
    Receiving,
    /// A refusal is held back for a moment, so that guessing is slow.
    HeldBack,
    /// The client has an answer of so many bytes to read.
    Answered(u64),
    /// The client reads a stream, and has so many bytes of it to read.
    Streaming(u64),
}

impl Phase {
    /// Bytes that the client may not have read.
    fn unread(self) -> Option<u64> {
        match self {
            Phase::Answered(bytes) | Phase::Streaming(bytes) => Some(bytes),
            Phase::Opened | Phase::Handling | Phase::Receiving | Phase::HeldBack => None,
        }
    }
}

/// Why we closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// It took longer than a limit allows.
    Slow,
    /// Another one needed its place.
    Crowded,
    /// Answers took too much memory.
    Unread,
}

struct Entry {
    phase: Phase,
    since: Instant,
    task: Option<AbortHandle>,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Entry>,
    closed: BTreeMap<Cause, u64>,
    unauthorized: u64,
}

impl Table {
    /// Closes the connection that has kept us waiting longest, of those that `may` go; false when
    /// there is none.
    fn close_oldest(&mut self, cause: Cause, may: impl Fn(u64, &Entry) -> bool) -> bool {
        let oldest = self.open.iter().filter(|(id, entry)| may(**id, entry)).min_by_key(|(_, entry)| entry.since);
        let Some(id) = oldest.map(|(id, _)| *id) else { return false };
        self.close(id, cause);
        true
    }

    fn close(&mut self, id: u64, cause: Cause) {
        if let Some(Entry { task: Some(task), .. }) = self.open.remove(&id) {
            task.abort();
        }
        *self.closed.entry(cause).or_default() += 1;
    }

    fn unread(&self) -> u64 {
        self.open.values().filter_map(|entry| entry.phase.unread()).sum()
    }
}

/// The open connections of a server.
pub(super) struct Connections {
    limits: Limits,
    table: Mutex<Table>,
    crowded: Throttle,
}

impl Connections {
    /// An empty table.
    pub fn new(limits: Limits) -> Connections {
        Connections { limits, table: Mutex::default(), crowded: Throttle::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new connection in. When all places are taken, the client that has kept us waiting
    /// longest loses its own. `None` when every place is at work for its client: then the new one
    /// has to go.
    pub fn admit(self: &Arc<Connections>) -> Option<ConnectionPermit> {
        let mut table = self.table();
        if table.open.len() >= self.limits.connections {
            let closed = table.close_oldest(Cause::Crowded, |_, entry| entry.phase != Phase::Handling);
            if let Some(count) = self.crowded.count() {
                let most = self.limits.connections;
                tracing::warn!(
                    code = "HS6058",
                    "HTTP: {most} connections are open, which is the limit: each new one replaces the one whose client has kept the \
                     server waiting longest ({count} times since the last such line)"
                );
            }
            if !closed {
                *table.closed.entry(Cause::Crowded).or_default() += 1;
                return None;
            }
        }
        table.next += 1;
        let id = table.next;
        table.open.insert(id, Entry { phase: Phase::Opened, since: Instant::now(), task: None });
        Some(ConnectionPermit { id, connections: self.clone() })
    }

    /// Says which task serves a connection, so that it can be closed.
    pub fn served_by(&self, id: u64, task: AbortHandle) {
        match self.table().open.get_mut(&id) {
            Some(entry) => entry.task = Some(task),
            // It has ended already, or its place was taken.
            None => task.abort(),
        }
    }

    /// Closes the connections that are over a time limit.
    pub fn close_slow(&self) {
        let Limits { first_request, handling, next_request, stalled, .. } = self.limits;
        let mut table = self.table();
        let is_slow = |entry: &Entry| {
            let limit = match entry.phase {
                Phase::Opened => first_request,
                Phase::Handling | Phase::Receiving | Phase::HeldBack => handling,
                Phase::Answered(_) => next_request,
                Phase::Streaming(_) => stalled,
            };
            entry.since.elapsed() > limit
        };
        let slow: Vec<u64> = table.open.iter().filter(|(_, entry)| is_slow(entry)).map(|(id, _)| *id).collect();
        slow.into_iter().for_each(|id| table.close(id, Cause::Slow));
    }

    /// Counts a request that showed no token, or a wrong one.
    pub fn count_unauthorized(&self) {
        self.table().unauthorized += 1;
    }

    /// The server's own metrics.
    pub fn metrics(&self) -> Vec<Family> {
        let table = self.table();
        let closed = |cause| Value::Count(table.closed.get(&cause).copied().unwrap_or(0));
        let causes = [("slow", Cause::Slow), ("crowded", Cause::Crowded), ("unread", Cause::Unread)];
        let open = table.open.len() as f64;
        vec![
            Family::one("http_connections", "Open HTTP connections", MetricKind::Gauge, Value::Level(open)),
            Family::by(
                "http_connections_closed",
                "HTTP connections closed by us, by reason",
                MetricKind::Counter,
                "reason",
                causes.map(|(name, cause)| (name.to_owned(), closed(cause))),
            ),
            Family::one(
                "http_unauthorized",
                "HTTP requests with no token or a wrong one",
                MetricKind::Counter,
                Value::Count(table.unauthorized),
            ),
        ]
    }
}

/// The place of a connection in the table; free again when dropped.
pub(super) struct ConnectionPermit {
    /// Which one.
    pub id: u64,
    connections: Arc<Connections>,
}

impl ConnectionPermit {
    fn enter(&self, phase: Phase) {
        let mut table = self.connections.table();
        if let Some(entry) = table.open.get_mut(&self.id) {
            (entry.phase, entry.since) = (phase, Instant::now());
        }
        while table.unread() > self.connections.limits.answer_bytes {
            let may = |id, entry: &Entry| id != self.id && entry.phase.unread().is_some_and(|bytes| bytes > 0);
            if !table.close_oldest(Cause::Unread, may) {
                break;
            }
        }
    }

    /// A request's head has come. Only a request that is whole is sure to be answered soon: one
    /// with a body may lose its place to another client, or clients that never send the rest of
    /// theirs would keep health checks out.
    pub fn begin(&self, has_body: bool) {
        self.enter(if has_body { Phase::Receiving } else { Phase::Handling });
    }

    /// Its answer is given to the client, so many bytes.
    pub fn answered(&self, bytes: u64) {
        self.enter(Phase::Answered(bytes));
    }

    /// The client has room for more of a stream, and is given a part of so many bytes.
    pub fn streamed(&self, bytes: u64) {
        self.enter(Phase::Streaming(bytes));
    }

    /// Waits before a refusal. Meanwhile another client may take this one's place.
    pub async fn hold_back(&self, time: Duration) {
        self.enter(Phase::HeldBack);
        tokio::time::sleep(time).await;
    }

    /// Counts a request that showed no token, or a wrong one.
    pub fn count_unauthorized(&self) {
        self.connections.count_unauthorized();
    }

    /// The server's own metrics.
    pub fn metrics(&self) -> Vec<Family> {
        self.connections.metrics()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connections.table().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(limits: Limits) -> Arc<Connections> {
        Arc::new(Connections::new(limits))
    }

    fn open(connections: &Connections) -> Vec<u64> {
        connections.table().open.keys().copied().collect()
    }

    #[test]
    fn a_new_connection_takes_the_place_of_the_one_that_waited_longest() {
        let all = connections(Limits { connections: 3, ..Limits::default() });
        let [first, second, third] = [(); 3].map(|()| all.admit().unwrap());
        first.begin(false);
        second.answered(1);
        // The first is at work, the third has waited longest.
        let fourth = all.admit().unwrap();
        assert_eq!(open(&all), [first.id, second.id, fourth.id]);
        second.begin(false);
        fourth.begin(false);
        assert!(all.admit().is_none(), "all are at work");
        first.answered(1);
        assert!(all.admit().is_some());
        drop((second, third, fourth));
        assert!(open(&all).is_empty());
        assert_eq!(all.table().closed[&Cause::Crowded], 3);
    }

    #[test]
    fn a_client_whose_body_does_not_come_keeps_nobody_out() {
        let all = connections(Limits { connections: 2, ..Limits::default() });
        let [first, second] = [(); 2].map(|()| all.admit().unwrap());
        first.begin(true);
        second.begin(true);
        let check = all.admit().unwrap();
        check.begin(false);
        assert_eq!(open(&all), [second.id, check.id]);
    }

    #[test]
    fn answers_that_nobody_reads_are_bounded() {
        let all = connections(Limits { answer_bytes: 100, ..Limits::default() });
        let slots: Vec<ConnectionPermit> = (0..5).map(|_| all.admit().unwrap()).collect();
        for slot in &slots {
            slot.begin(false);
            slot.answered(40);
        }
        assert_eq!(open(&all), [slots[3].id, slots[4].id]);
        slots[4].answered(1000);
        assert_eq!(open(&all), [slots[4].id], "one answer alone may be larger");
    }

    #[test]
    fn a_stream_whose_client_reads_nothing_is_closed_and_one_that_is_read_is_not() {
        let all = connections(Limits { stalled: Duration::ZERO, answer_bytes: 100, ..Limits::default() });
        let [stalled, idle, reader] = [(); 3].map(|()| all.admit().unwrap());
        stalled.streamed(80);
        idle.streamed(0);
        reader.streamed(60);
        assert_eq!(open(&all), [idle.id, reader.id], "the one that has read nothing for longest makes room");
        all.close_slow();
        assert!(open(&all).is_empty());
        drop(stalled);
    }

    #[test]
    fn whoever_is_over_a_limit_is_closed() {
        let zero = Duration::ZERO;
        let all = connections(Limits { first_request: zero, handling: zero, ..Limits::default() });
        let [opened, handled, answered] = [(); 3].map(|()| all.admit().unwrap());
        handled.begin(false);
        answered.answered(1);
        all.close_slow();
        assert_eq!(open(&all), [answered.id]);
        drop(opened);
    }
}
