//! The node as a library: open it, write, read, list, search.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::try_join_all;

use crate::actor::Incarnation;
use crate::changes::{ChangeId, ChangePage, ChangeQuery};
use crate::database::{Batch, FILE, Readers, Request, Signals, Writer};
use crate::expiry::ExpiryTerms;
use crate::history::MemoryHistory;
use crate::ports::{
    Agreement, DeadLetter, Identity, Journal, JournalError, OutboxEvent, Publication, PublishedEvent, SnapshotRecord,
    SyncRequest,
};
use crate::restore::{Chunk, Place, RestoreError, Restored, RestoredChunk, UserSnapshot};
use crate::search::{Near, NearHits, SearchQuery, WordHits};
use crate::settings::{NodeError, NodeSettings};
use crate::shown::{EventPage, ListQuery, NodeStatus, OwnEvent, Page, Publishing, ShownMemory};
use crate::sync::{SyncError, SyncRequested};
use crate::taken_snapshot::TakenSnapshot;
use crate::write::{Accepted, MemoryWrite, WriteError};

/// Memories of a snapshot that are restored in one transaction.
const RESTORED_AT_A_TIME: usize = 256;

/// An open node. A copy of the value is the same node; the last one that is dropped stops it.
///
/// The calls are futures that need no particular runtime: an axum handler awaits them, and a thread
/// waits for one with `futures::executor::block_on`. A future that is dropped undoes nothing: its
/// write may be accepted all the same.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    requests: Sender<Request>,
    readers: Arc<Readers>,
    signals: Arc<Signals>,
    is_stopped: AtomicBool,
    writer: Mutex<Option<JoinHandle<()>>>,
    folder: PathBuf,
}

impl Node {
    /// Opens the node of a folder, or makes a new one. The call blocks.
    ///
    /// # Errors
    /// [`NodeError`]
    pub fn open(settings: NodeSettings) -> Result<Node, NodeError> {
        let folder = settings.folder.clone();
        let signals = Arc::new(Signals::default());
        let writer = Writer::open(settings, Arc::clone(&signals))?;
        let readers = Arc::new(Readers::open(&folder.join(FILE))?);
        let (requests, queue) = channel();
        let thread = std::thread::Builder::new().name("node-writer".to_owned());
        let thread = thread.spawn({
            let readers = Arc::clone(&readers);
            move || writer.run(&queue, || block_on(readers.close()))
        });
        let thread = thread.map_err(|source| NodeError::Folder { folder: folder.clone(), source })?;
        let (is_stopped, writer) = (AtomicBool::new(false), Mutex::new(Some(thread)));
        Ok(Node { inner: Arc::new(Inner { requests, readers, signals, is_stopped, writer, folder }) })
    }

    /// A new file on the disk of the node's folder, for what a caller has no memory for. It has no
    /// name, so it is gone with the returned value, or with the process. The call blocks.
    ///
    /// # Errors
    /// The file system refuses it.
    pub fn scratch_file(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.inner.folder)
    }

    /// Accepts a write. When the answer is there, the write is durable on this node's disk.
    ///
    /// # Errors
    /// [`WriteError`]
    pub async fn write(&self, write: MemoryWrite) -> Result<Accepted, WriteError> {
        self.inner.ask(|answer| Request::Write(Box::new(write), answer)).await
    }

    /// The memory as this node shows it, also a deleted one; `None` where the node knows none.
    /// Where the caller names its session, the node remembers that it has seen this.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn read(&self, memory_id: &str, session: Option<&str>) -> Result<Option<ShownMemory>, JournalError> {
        let memory = self.inner.readers.memory(memory_id).await?;
        if let (Some(memory), Some(session)) = (&memory, session) {
            self.note_shown(session, [memory])?;
        }
        Ok(memory)
    }

    /// Remembers that a session has seen these memories as they are. It is written behind the call.
    ///
    /// # Errors
    /// [`JournalError::Stopped`]
    pub fn note_shown<'m>(
        &self,
        session: &str,
        memories: impl IntoIterator<Item = &'m ShownMemory>,
    ) -> Result<(), JournalError> {
        let tokens = memories.into_iter().map(|memory| memory.token.clone()).collect();
        let shown = Request::Shown(session.to_owned(), tokens);
        self.inner.requests.send(shown).map_err(|_| JournalError::Stopped)
    }

    /// A page of memories.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn list(&self, query: ListQuery) -> Result<Page, JournalError> {
        self.inner.readers.list(&query).await
    }

    /// The memories that a search by words finds, the best first.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn search(&self, query: SearchQuery) -> Result<WordHits, JournalError> {
        self.search_from(query, 0).await
    }

    /// As [`Node::search`], without so many of the best hits: for a caller that looks through them
    /// some at a time. A change between two calls may show a hit twice or not at all.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn search_from(&self, query: SearchQuery, skip: usize) -> Result<WordHits, JournalError> {
        self.inner.readers.search(&query, skip).await
    }

    /// The memories that are most similar to an embedding. Where the query has words, too, the
    /// score is `weight × similarity + (1 − weight) × words / (1 + words)`, of the cosine and the
    /// BM25 score; a memory that has none of them counts with 0 there, and of the words the 1000
    /// best hits count. Memories whose embedding has another number of dimensions are skipped.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn search_near(&self, query: SearchQuery, near: Near) -> Result<NearHits, JournalError> {
        self.inner.readers.search_near(&query, &near).await
    }

    /// The events of this node to a memory that its database still has, the oldest first. A
    /// published event stays for 24 hours at least, and until it is resolved.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn events_of(&self, memory_id: &str) -> Result<Vec<OwnEvent>, JournalError> {
        let (mut events, mut next) = (Vec::new(), Some(0));
        while let Some(after) = next {
            let page = self.events_from(memory_id, after).await?;
            events.extend(page.events);
            next = page.next;
        }
        Ok(events)
    }

    /// As [`Node::events_of`], some at a time: for a caller that does not need the values of all at
    /// once. The first call is with 0, and each further one with [`EventPage::next`].
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn events_from(&self, memory_id: &str, after: u64) -> Result<EventPage, JournalError> {
        self.inner.readers.events_of(memory_id, after).await
    }

    /// The resolved states of a memory that this node has applied and still keeps, and its last own
    /// events, with what is known of their order. A memory that the node knows by own events alone
    /// has no states.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn history(&self, memory_id: &str) -> Result<MemoryHistory, JournalError> {
        self.inner.readers.history(memory_id).await
    }

    /// The last change of a memory.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn last_change(&self) -> Result<ChangeId, JournalError> {
        self.inner.readers.last_change().await
    }

    /// Some of the changes after one. `None` where the node cannot say what has changed since: it
    /// has removed some of those that are asked for (it keeps [`NodeSettings::kept_changes`]), or
    /// its database was rolled back and never had that one.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn changes(&self, after: &ChangeId, query: &ChangeQuery) -> Result<Option<ChangePage>, JournalError> {
        self.inner.readers.changes(after, query).await
    }

    /// Waits until there is a change after this one.
    ///
    /// # Errors
    /// [`JournalError::Stopped`]
    pub async fn wait_for_change(&self, after: &ChangeId) -> Result<(), JournalError> {
        match self.inner.signals.change_after(after.number)? {
            Some(changed) => changed.await.map_err(|_| JournalError::Stopped),
            None => Ok(()),
        }
    }

    /// Waits until the event with this id is published or has failed. It waits for as long as Kafka
    /// is away: the caller sets a limit.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn wait_published(&self, event_id: &str) -> Result<Publishing, JournalError> {
        // It subscribes before it looks, so it misses nothing between the two.
        let ended = self.inner.signals.subscribe(event_id);
        match self.inner.readers.publishing(event_id).await? {
            Some(publishing) => {
                drop(ended);
                self.inner.signals.unsubscribe(event_id);
                Ok(publishing)
            }
            None => ended.await.map_err(|_| JournalError::Stopped),
        }
    }

    /// Asks the stream for the resolved memories of a user once more, or for those of all. When the
    /// answer is there, the request is durable on this node's disk, and is sent as soon as Kafka is
    /// there; the memories come by the snapshots topic, as others do.
    ///
    /// # Errors
    /// [`SyncError`]
    pub async fn request_sync(&self, user: Option<String>) -> Result<SyncRequested, SyncError> {
        self.inner.ask(|answer| Request::AskAgain(user, answer)).await
    }

    /// Brings a user snapshot back: JSON of one snapshot, or an array of all its parts, as the
    /// snapshots topic has them (docs/semantics.md, section 5). A memory that this node has as new
    /// or newer stays. Then the stream is asked for what has changed since. Whatever a whole
    /// snapshot says is believed, so the caller is to be one that may write for all users. `place`
    /// is dropped when nothing of the snapshot is in memory any more.
    ///
    /// Other writes have their turn between. Where the node stops or its database fails, what is
    /// restored by then stays, and the caller restores the whole once more.
    ///
    /// # Errors
    /// [`RestoreError`]
    pub async fn restore(&self, snapshot: Vec<u8>, place: Place) -> Result<Restored, RestoreError> {
        // A snapshot may be large, and the caller's thread may serve others. A caller that gives up
        // ends nothing.
        let (sender, answer) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let thread = std::thread::Builder::new().name("node-restore".to_owned());
        let thread = thread.spawn(move || {
            let read = UserSnapshot::read(&snapshot).map_err(RestoreError::from);
            drop(snapshot);
            let restored = read.and_then(|snapshot| inner.restore(snapshot));
            // The caller may stop the node once it has its answer.
            drop((inner, place));
            let _ = sender.send(restored);
        });
        thread.map_err(|e| {
            JournalError::Unavailable(format!("the operating system did not start a thread: {e} [HS0008]"))
        })?;
        answer.await.map_err(|_| JournalError::Stopped)?
    }

    /// Deletes the memories that expire by these terms, and that this node is to delete, in
    /// transactions that look at each once more. Returns how many it has deleted.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn expire(&self, terms: &ExpiryTerms) -> Result<u64, JournalError> {
        let (mut deleted, mut seen) = (0, BTreeSet::new());
        loop {
            let mut due = self.inner.readers.due_expiries(terms.now_ns).await?;
            // Each one is deleted, or is due later than now, so that the next ones come.
            due.retain(|memory_id| seen.insert(memory_id.clone()));
            if due.is_empty() {
                return Ok(deleted);
            }
            let expired =
                due.into_iter().map(|id| self.inner.ask(move |answer| Request::Expire(id, terms.clone(), answer)));
            let expired = try_join_all(expired).await?;
            deleted += expired.into_iter().map(u64::from).sum::<u64>();
        }
    }

    /// Bytes of the resolved memories of a user, which a snapshot of it would have.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn snapshot_bytes(&self, user: &str) -> Result<u64, JournalError> {
        self.inner.readers.snapshot_bytes(user).await
    }

    /// Takes a snapshot of a user: the active resolved memories of it that this node has, as one
    /// commit of its database shows them, without own events that are not resolved yet. `None`
    /// where they have more bytes than `most_bytes`.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn user_snapshot(&self, user: &str, most_bytes: u64) -> Result<Option<TakenSnapshot>, JournalError> {
        self.inner.readers.user_snapshot(user, most_bytes).await
    }

    /// The state of the node.
    ///
    /// # Errors
    /// [`JournalError`]
    pub async fn status(&self) -> Result<NodeStatus, JournalError> {
        self.inner.readers.status(self.inner.signals.commits()).await
    }

    /// As [`Node::status`], for a caller that is no future. The call blocks.
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn blocking_status(&self) -> Result<NodeStatus, JournalError> {
        block_on(self.status())
    }

    /// The database as publisher and follower use it. As long as it is there, the node is open.
    #[must_use]
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.inner) as Arc<dyn Journal>
    }

    /// Stops the node: what was asked for is still done, and every later call ends with
    /// [`JournalError::Stopped`]. The call blocks until the database is closed.
    pub fn stop(&self) {
        self.inner.stop();
    }
}

impl Inner {
    async fn ask<T, E: From<JournalError>>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Request,
    ) -> Result<T, E> {
        let (sender, answer) = oneshot::channel();
        self.requests.send(request(sender)).map_err(|_| JournalError::Stopped)?;
        answer.await.unwrap_or_else(|_| Err(JournalError::Stopped.into()))
    }

    /// Restores a snapshot in chunks. The call blocks.
    fn restore(&self, snapshot: UserSnapshot) -> Result<Restored, RestoreError> {
        let user_id = snapshot.user_id().to_owned();
        let mut left = snapshot.into_memories().into_iter();
        let memories = left.len() as u64;
        // Of requests that were sent between, each chunk would need another one.
        let held = self.signals.hold_requests();
        let mut restore_next = |before| {
            let memories = left.by_ref().take(RESTORED_AT_A_TIME).collect();
            let chunk = Chunk { user_id: user_id.clone(), memories, before };
            let done = block_on(self.ask(|answer| Request::Restore(chunk, answer)));
            done.map(|done: RestoredChunk| (done, left.len() == 0))
        };
        let (mut done, mut is_whole) = restore_next(None)?;
        while !is_whole {
            (done, is_whole) = restore_next(Some(done))?;
        }
        drop(held);
        let RestoredChunk { restored, not_subscribed, request, .. } = done;
        Ok(Restored { user_id, memories, restored, not_subscribed, request })
    }

    fn stop(&self) {
        if !self.is_stopped.swap(true, Ordering::SeqCst) {
            let (sender, stopped) = channel();
            if self.requests.send(Request::Stop(sender)).is_ok() {
                // The writer is gone where this fails, which is waited for as well.
                let _ = stopped.recv();
            }
        }
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A writer that has panicked has closed its database.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Journal for Inner {
    fn identity(&self) -> Result<Identity, JournalError> {
        block_on(self.readers.identity())
    }

    fn unpublished(&self, max_records: usize, max_bytes: usize) -> Result<Vec<OutboxEvent>, JournalError> {
        block_on(self.readers.unpublished(max_records, max_bytes))
    }

    fn wait_for_unpublished(&self, timeout: Duration) -> Result<bool, JournalError> {
        self.signals.wait_for_unpublished(timeout)
    }

    fn reconcile(&self, published: Publication) -> Result<Agreement, JournalError> {
        block_on(self.ask(|answer| Request::Reconcile(published, answer)))
    }

    fn mark_published(&self, counter: u64) -> Result<Publication, JournalError> {
        block_on(self.ask(|answer| Request::MarkPublished(counter, answer)))
    }

    fn mark_failed(&self, counter: u64, reason: &str) -> Result<(), JournalError> {
        block_on(self.ask(|answer| Request::MarkFailed(counter, reason.to_owned(), answer)))
    }

    fn waiting_ids(&self, after: u64, max_events: usize) -> Result<Vec<(u64, String)>, JournalError> {
        block_on(self.readers.waiting_ids(after, max_events))
    }

    fn note_published_elsewhere(&self, events: &[PublishedEvent]) -> Result<(), JournalError> {
        block_on(self.ask(|answer| Request::NotePublishedElsewhere(events.to_vec(), answer)))
    }

    fn begin_incarnation(&self, incarnation: &Incarnation, reason: &str) -> Result<Identity, JournalError> {
        block_on(self.ask(|answer| Request::BeginIncarnation(incarnation.clone(), reason.to_owned(), answer)))
    }

    fn unsent_requests(&self) -> Result<Vec<SyncRequest>, JournalError> {
        if self.signals.has_requests() { block_on(self.readers.unsent_requests()) } else { Ok(Vec::new()) }
    }

    fn mark_requests_sent(&self, event_ids: &[String]) -> Result<(), JournalError> {
        block_on(self.ask(|answer| Request::MarkRequestsSent(event_ids.to_vec(), answer)))
    }

    fn mark_request_failed(&self, event_id: &str, reason: &str) -> Result<(), JournalError> {
        block_on(self.ask(|answer| Request::MarkRequestFailed(event_id.to_owned(), reason.to_owned(), answer)))
    }

    fn outbox_depth(&self) -> Result<(u64, Option<i64>), JournalError> {
        block_on(self.readers.outbox_depth())
    }

    fn position(&self, topic: &str, partition: i32) -> Result<Option<i64>, JournalError> {
        block_on(self.readers.position(topic, partition))
    }

    fn apply(
        &self,
        topic: &str,
        partition: i32,
        records: &[SnapshotRecord],
        next_offset: i64,
    ) -> Result<(), JournalError> {
        let (topic, records) = (topic.to_owned(), records.to_vec());
        block_on(self.ask(|answer| Request::Apply(Batch { topic, partition, records, next_offset }, answer)))
    }

    fn begin_again(&self, topic: &str, partition: i32, start: i64) -> Result<(), JournalError> {
        block_on(self.ask(|answer| Request::BeginAgain(topic.to_owned(), partition, start, answer)))
    }

    fn fail_dead_letters(
        &self,
        topic: &str,
        partition: i32,
        letters: &[DeadLetter],
        next_offset: i64,
    ) -> Result<u64, JournalError> {
        let (topic, records) = (topic.to_owned(), letters.to_vec());
        block_on(self.ask(|answer| Request::FailDeadLetters(Batch { topic, partition, records, next_offset }, answer)))
    }
}
