//! The signals of the writer that other threads wait for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;

use super::state::State;
use crate::ports::JournalError;
use crate::shown::Publishing;

/// The signals that other threads wait for.
#[derive(Default)]
pub(crate) struct Signals {
    outbox: Mutex<OutboxSignal>,
    changed: Condvar,
    waiting: Mutex<HashMap<String, Vec<oneshot::Sender<Publishing>>>>,
    changes: Mutex<ChangeSignal>,
    commits: AtomicU64,
}

/// The last change of a memory that is committed, and those who wait for the next one.
#[derive(Default)]
struct ChangeSignal {
    last: u64,
    waiting: Vec<oneshot::Sender<()>>,
    is_stopped: bool,
}

#[derive(Default)]
struct OutboxSignal {
    waiting: u64,
    requests: u64,
    /// How many hold the requests back.
    holders: u64,
    is_stopped: bool,
}

impl OutboxSignal {
    fn sendable_requests(&self) -> u64 {
        if self.holders == 0 { self.requests } else { 0 }
    }

    fn sendable(&self) -> u64 {
        self.waiting + self.sendable_requests()
    }
}

/// As long as it is there, no sync request is sent.
pub(crate) struct HeldRequests(Arc<Signals>);

impl Drop for HeldRequests {
    fn drop(&mut self) {
        lock(&self.0.outbox).holders -= 1;
        self.0.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signals {
    /// Waits until an event waits in the outbox or a sync request may be sent, or for at most
    /// `timeout`. Whether one is there.
    pub(crate) fn wait_for_unpublished(&self, timeout: Duration) -> Result<bool, JournalError> {
        let idle = |outbox: &mut OutboxSignal| outbox.sendable() == 0 && !outbox.is_stopped;
        let waited = self.changed.wait_timeout_while(lock(&self.outbox), timeout, idle);
        let (outbox, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if outbox.is_stopped { Err(JournalError::Stopped) } else { Ok(outbox.sendable() > 0) }
    }

    /// Whether a sync request may be sent.
    pub(crate) fn has_requests(&self) -> bool {
        lock(&self.outbox).sendable_requests() > 0
    }

    /// Holds sync requests back until the returned value is dropped.
    pub(crate) fn hold_requests(self: &Arc<Signals>) -> HeldRequests {
        lock(&self.outbox).holders += 1;
        HeldRequests(Arc::clone(self))
    }

    /// The end of an event's way, as soon as it is known.
    pub(crate) fn subscribe(&self, event_id: &str) -> oneshot::Receiver<Publishing> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        let senders = waiting.entry(event_id.to_owned()).or_default();
        // Those of callers that have given up.
        senders.retain(|sender| !sender.is_canceled());
        senders.push(sender);
        receiver
    }

    /// Forgets callers that no longer wait for an event.
    pub(crate) fn unsubscribe(&self, event_id: &str) {
        let mut waiting = lock(&self.waiting);
        if let Some(senders) = waiting.get_mut(event_id) {
            senders.retain(|sender| !sender.is_canceled());
            if senders.is_empty() {
                waiting.remove(event_id);
            }
        }
    }

    /// The signal that there is a change after this one; `None` where there is one already.
    ///
    /// # Errors
    /// [`JournalError::Stopped`]
    pub(crate) fn change_after(&self, number: u64) -> Result<Option<oneshot::Receiver<()>>, JournalError> {
        let mut changes = lock(&self.changes);
        if changes.is_stopped {
            return Err(JournalError::Stopped);
        }
        if changes.last > number {
            return Ok(None);
        }
        let (sender, receiver) = oneshot::channel();
        // Those of readers that have gone.
        changes.waiting.retain(|waiting| !waiting.is_canceled());
        changes.waiting.push(sender);
        Ok(Some(receiver))
    }

    pub(super) fn note_change(&self, last: u64) {
        let mut changes = lock(&self.changes);
        changes.last = last;
        for reader in changes.waiting.drain(..) {
            // A reader that has gone needs no signal.
            let _ = reader.send(());
        }
    }

    /// Transactions since the start.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(super) fn committed(&self, state: &State, ended: Vec<(String, Publishing)>) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.note_waiting(state);
        self.changed.notify_all();
        let mut callers = lock(&self.waiting);
        for (event_id, publishing) in ended {
            for caller in callers.remove(&event_id).unwrap_or_default() {
                // A caller that has given up needs no answer.
                let _ = caller.send(publishing.clone());
            }
        }
    }

    pub(super) fn note_waiting(&self, state: &State) {
        let mut outbox = lock(&self.outbox);
        (outbox.waiting, outbox.requests) = (state.waiting, state.requests);
    }

    pub(super) fn stop(&self) {
        lock(&self.outbox).is_stopped = true;
        self.changed.notify_all();
        lock(&self.waiting).clear();
        let mut changes = lock(&self.changes);
        changes.is_stopped = true;
        changes.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_are_held_back_are_sent_once_nobody_holds_them() {
        let signals = Arc::new(Signals::default());
        let sendable = || (signals.has_requests(), signals.wait_for_unpublished(Duration::ZERO).unwrap());
        lock(&signals.outbox).requests = 1;
        assert_eq!(sendable(), (true, true));
        let (one, other) = (signals.hold_requests(), signals.hold_requests());
        drop(one);
        assert_eq!(sendable(), (false, false));
        lock(&signals.outbox).waiting = 1;
        assert_eq!(sendable(), (false, true), "events are not held back");
        drop(other);
        assert_eq!(sendable(), (true, true));
    }
}
