//! The thread that makes every change: groups of requests, savepoints, answers after the commit.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::executor::block_on;

use super::connection::{WriterConnection, statement};
use super::failed_events::FailedEvent;
use super::schema::open_writer;
use super::signals::Signals;
use super::state::State;
use super::{FILE, lock_folder};
use crate::actor::Incarnation;
use crate::clock_token::ClockToken;
use crate::expiry::ExpiryTerms;
use crate::ports::{Agreement, DeadLetter, Identity, JournalError, Publication, PublishedEvent, SnapshotRecord};
use crate::restore::{Chunk, RestoreError, RestoredChunk};
use crate::settings::{NodeError, NodeSettings};
use crate::shown::Publishing;
use crate::steps::{DatabaseStep, Requester};
use crate::sync::{SyncError, SyncRequested};
use crate::write::{Accepted, FAILED_KEPT, MemoryWrite, PUBLISHED_KEPT, WriteError};

/// The most requests of one transaction.
const MAX_GROUP: usize = 512;

/// How often old rows are removed.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);

/// [`PUBLISHED_KEPT`] in milliseconds.
pub(super) const KEPT_MS: i64 = PUBLISHED_KEPT.as_millis() as i64;

/// [`FAILED_KEPT`] in milliseconds.
const FAILED_MS: i64 = FAILED_KEPT.as_millis() as i64;

/// How long the node remembers what it has shown a session: 7 days, in milliseconds.
const SHOWN_MS: i64 = 7 * KEPT_MS;

/// Where the answer of a request goes.
pub(crate) type Answer<T, E = JournalError> = oneshot::Sender<Result<T, E>>;

/// Records of one partition of a topic that is followed.
#[derive(Debug)]
pub(crate) struct Batch<R> {
    pub topic: String,
    pub partition: i32,
    pub records: Vec<R>,
    pub next_offset: i64,
}

/// A change that the writer is asked for.
pub(crate) enum Request {
    /// Accept a write.
    Write(Box<MemoryWrite>, Answer<Accepted, WriteError>),
    /// Delete a memory if it has expired by these terms.
    Expire(String, ExpiryTerms, Answer<bool>),
    /// Remember what a session was shown; nobody waits for it.
    Shown(String, Vec<ClockToken>),
    /// Compare the outbox with the nodes topic.
    Reconcile(Publication, Answer<Agreement>),
    /// Events up to this counter are published.
    MarkPublished(u64, Answer<Publication>),
    /// A broker refuses the event with this counter.
    MarkFailed(u64, String, Answer<()>),
    /// Another process has published these events of the outbox.
    NotePublishedElsewhere(Vec<PublishedEvent>, Answer<()>),
    /// Begin this incarnation, for this reason.
    BeginIncarnation(Incarnation, String, Answer<Identity>),
    /// Ask for the memories of a user, or of all.
    AskAgain(Option<String>, Answer<SyncRequested, SyncError>),
    /// Bring some memories of a user snapshot back.
    Restore(Chunk, Answer<RestoredChunk, RestoreError>),
    /// Sync requests, by the ids of their events, are sent.
    MarkRequestsSent(Vec<String>, Answer<()>),
    /// A broker refuses the sync request with this id.
    MarkRequestFailed(String, String, Answer<()>),
    /// Begin a partition of resolved memories at this offset again, and ask for all memories.
    BeginAgain(String, i32, i64, Answer<()>),
    /// Apply resolved memories.
    Apply(Batch<SnapshotRecord>, Answer<()>),
    /// Mark those of these dead letters that are events of this node.
    FailDeadLetters(Batch<DeadLetter>, Answer<u64>),
    /// Serve what was asked for before, close the database, and end.
    Stop(Sender<()>),
}

impl Request {
    /// The part of the process that asks; none where the writer is to end.
    fn requester(&self) -> Option<Requester> {
        match self {
            Request::Write(..)
            | Request::Expire(..)
            | Request::Shown(..)
            | Request::AskAgain(..)
            | Request::Restore(..) => Some(Requester::Caller),
            Request::Reconcile(..)
            | Request::MarkPublished(..)
            | Request::MarkFailed(..)
            | Request::NotePublishedElsewhere(..)
            | Request::BeginIncarnation(..)
            | Request::MarkRequestsSent(..)
            | Request::MarkRequestFailed(..) => Some(Requester::Publisher),
            Request::BeginAgain(..) | Request::Apply(..) | Request::FailDeadLetters(..) => Some(Requester::Follower),
            Request::Stop(_) => None,
        }
    }
}

/// Sends an answer once it is known whether the transaction is committed.
type Reply = Box<dyn FnOnce(&Result<(), JournalError>) + Send>;

/// The one that makes changes.
pub(crate) struct Writer {
    pub(super) connection: WriterConnection,
    pub(super) state: State,
    pub(super) settings: NodeSettings,
    /// Events that are published or have failed in this transaction.
    pub(super) ended: Vec<(String, Publishing)>,
    /// Events that came back as dead letters in this transaction.
    pub(super) failed_events: Vec<FailedEvent>,
    /// Whether what is shown of a memory has changed in this transaction.
    pub(super) has_changes: bool,
    /// Whether a resolved state was kept in this transaction.
    pub(super) has_states: bool,
    /// Whether a version far ahead of the wall clock was reported.
    pub(super) has_warned: bool,
    signals: Arc<Signals>,
    /// Those who have asked for this transaction.
    requesters: Vec<Requester>,
    /// Why the transaction cannot be committed any more.
    broken: Option<JournalError>,
    tidied: Option<Instant>,
    /// Held as long as the database is open.
    _lock: File,
}

impl Writer {
    /// Opens the database, or makes a new one.
    pub(crate) fn open(settings: NodeSettings, signals: Arc<Signals>) -> Result<Writer, NodeError> {
        let lock_file = lock_folder(&settings.folder)?;
        let file = settings.folder.join(FILE);
        let mut connection = WriterConnection::new(block_on(open_writer(&file))?);
        let state = block_on(open_state(&mut connection, &settings))?;
        if state.actor.name != settings.name {
            return Err(NodeError::OtherName {
                folder: settings.folder,
                found: state.actor.name.to_string(),
                wanted: settings.name.to_string(),
            });
        }
        let mut writer = Writer {
            connection,
            state,
            settings,
            ended: Vec::new(),
            failed_events: Vec::new(),
            has_changes: false,
            has_states: false,
            has_warned: false,
            signals,
            requesters: Vec::new(),
            broken: None,
            tidied: None,
            _lock: lock_file,
        };
        block_on(writer.put_due_search_keys())?;
        block_on(writer.begin_subscription())?;
        writer.signals.note_waiting(&writer.state);
        let last_change = block_on(writer.trim_at_start())?;
        writer.signals.note_change(last_change);
        Ok(writer)
    }

    /// Removes the changes above the limits of this start, which may be lower than those before.
    async fn trim_at_start(&mut self) -> Result<u64, JournalError> {
        self.connection.begin();
        match self.trim_changes().await {
            Ok(last_change) => self.connection.commit().await.map(|()| last_change),
            Err(error) => self.connection.roll_back_all().await.and(Err(error)),
        }
    }

    /// Serves requests until the node stops or nobody is left who could ask.
    pub(crate) fn run(mut self, requests: &Receiver<Request>, close_readers: impl FnOnce()) {
        let mut stopping = Vec::new();
        while stopping.is_empty()
            && let Ok(first) = requests.recv()
        {
            let mut group = vec![first];
            while group.len() < MAX_GROUP
                && let Ok(next) = requests.try_recv()
            {
                group.push(next);
            }
            block_on(self.serve(group, &mut stopping));
        }
        close_readers();
        // What is committed is durable, whether the file is closed in good order or not.
        let _ = block_on(self.connection.close());
        drop(self._lock);
        self.signals.stop();
        for caller in stopping {
            let _ = caller.send(());
        }
    }

    pub(super) async fn serve(&mut self, group: Vec<Request>, stopping: &mut Vec<Sender<()>>) {
        let before = self.state.clone();
        self.requesters = group.iter().filter_map(Request::requester).collect();
        self.requesters.sort_unstable();
        self.requesters.dedup();
        self.broken = None;
        self.connection.begin();
        self.reach(DatabaseStep::Begun);
        let mut replies: Vec<Reply> = Vec::with_capacity(group.len());
        for request in group {
            match request {
                Request::Stop(caller) => stopping.push(caller),
                other => replies.push(self.serve_one(other).await),
            }
        }
        let committed = self.end_group(&before).await;
        let (ended, failed) = (std::mem::take(&mut self.ended), std::mem::take(&mut self.failed_events));
        match &committed {
            Ok(last_change) => {
                failed.iter().for_each(FailedEvent::log);
                self.signals.committed(&self.state, ended);
                last_change.iter().for_each(|last| self.signals.note_change(*last));
            }
            Err(error) => {
                tracing::error!(code = "HS8007", %error, "a transaction of the node's database was rolled back; its writes are refused");
                self.state = before;
            }
        }
        self.reach(DatabaseStep::Committed);
        let committed = committed.map(|_| ());
        for reply in replies {
            reply(&committed);
        }
        self.reach(DatabaseStep::Answered);
    }

    /// Reports a step for each of those who have asked for this transaction.
    fn reach(&self, step: DatabaseStep) {
        let names = self.requesters.iter().map(|requester| step.name(*requester));
        names.for_each(self.settings.observe_step);
    }

    async fn serve_one(&mut self, request: Request) -> Reply {
        match request {
            Request::Write(write, answer) => self.keep(answer, async |w| w.accept(&write).await).await,
            Request::Expire(memory_id, terms, answer) => {
                self.keep(answer, async |w| w.expire(&memory_id, &terms).await).await
            }
            Request::Shown(session, tokens) => {
                let (answer, _) = oneshot::channel();
                let remember = async |w: &mut Writer| tokens.iter().try_for_each(|one| w.remember_shown(&session, one));
                self.keep(answer, remember).await
            }
            Request::Reconcile(found, answer) => self.keep(answer, async |w| w.reconcile(found).await).await,
            Request::MarkPublished(counter, answer) => {
                self.keep(answer, async |w| w.mark_published(counter).await).await
            }
            Request::MarkFailed(counter, reason, answer) => {
                self.keep(answer, async |w| w.mark_failed(counter, &reason).await).await
            }
            Request::NotePublishedElsewhere(events, answer) => {
                self.keep(answer, async |w| w.note_published_elsewhere(&events).await).await
            }
            Request::BeginIncarnation(incarnation, reason, answer) => {
                self.keep(answer, async |w| w.begin_incarnation(incarnation, &reason).await).await
            }
            Request::AskAgain(user, answer) => self.keep(answer, async |w| w.request_sync(user.as_deref()).await).await,
            Request::Restore(chunk, answer) => self.keep(answer, async |w| w.restore(&chunk).await).await,
            Request::MarkRequestsSent(ids, answer) => {
                self.keep(answer, async |w| w.mark_requests_sent(&ids).await).await
            }
            Request::MarkRequestFailed(id, reason, answer) => {
                self.keep(answer, async |w| w.mark_request_failed(&id, &reason).await).await
            }
            Request::BeginAgain(topic, partition, start, answer) => {
                self.keep(answer, async |w| w.begin_again(&topic, partition, start).await).await
            }
            Request::Apply(batch, answer) => self.keep(answer, async |w| w.apply(&batch).await).await,
            Request::FailDeadLetters(batch, answer) => {
                self.keep(answer, async |w| w.fail_dead_letters(&batch).await).await
            }
            // It is taken out before.
            Request::Stop(_) => Box::new(|_| {}),
        }
    }

    /// Does the work of a request in a savepoint, and keeps its result until the commit.
    async fn keep<T, E>(&mut self, answer: Answer<T, E>, work: impl AsyncFnOnce(&mut Writer) -> Result<T, E>) -> Reply
    where
        T: Send + 'static,
        E: From<JournalError> + Send + 'static,
    {
        let result = self.within_savepoint(work).await;
        Box::new(move |committed| {
            let result = match committed {
                Ok(()) => result,
                Err(error) => Err(error.clone().into()),
            };
            // A caller that has given up needs no answer.
            let _ = answer.send(result);
        })
    }

    /// Does work in a savepoint, so that a failure undoes it alone. Within another one it is the
    /// inner of the two.
    pub(super) async fn within_savepoint<T, E: From<JournalError>>(
        &mut self,
        work: impl AsyncFnOnce(&mut Writer) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(error) = &self.broken {
            return Err(error.clone().into());
        }
        let before = self.state.clone();
        let (ended, failed) = (self.ended.len(), self.failed_events.len());
        let savepoint = self.connection.save().await?;
        let result = match work(self).await {
            Ok(done) => self.connection.release(&savepoint).await.map(|()| done).map_err(E::from),
            failed => failed,
        };
        if result.is_err() {
            self.state = before;
            self.ended.truncate(ended);
            self.failed_events.truncate(failed);
            if let Err(error) = self.connection.undo(&savepoint).await {
                self.broken = Some(error.clone());
                return Err(error.into());
            }
        }
        result
    }

    /// Commits, and returns the number of the last change where there is a new one.
    async fn end_group(&mut self, before: &State) -> Result<Option<u64>, JournalError> {
        let ended = match self.broken.take() {
            Some(error) => Err(error),
            None => self.commit(before).await,
        };
        if ended.is_err() {
            self.ended.clear();
            (self.has_changes, self.has_states) = (false, false);
            // There may be no transaction any more.
            let _ = self.connection.roll_back_all().await;
        }
        ended
    }

    async fn commit(&mut self, before: &State) -> Result<Option<u64>, JournalError> {
        // A transaction that changes nothing costs no fsync.
        if self.state != *before {
            self.connection.queue(&self.state.update_statement()?)?;
        }
        if self.tidied.is_none_or(|last| last.elapsed() > TIDY_INTERVAL) {
            self.tidy()?;
            self.tidied = Some(Instant::now());
        }
        // The request that has made a change may have been undone; then the last one is an older.
        let last_change = if self.has_changes { Some(self.trim_changes().await?) } else { None };
        self.has_changes = false;
        if std::mem::take(&mut self.has_states) {
            self.trim_states()?;
        }
        self.reach(DatabaseStep::Written);
        self.connection.commit().await?;
        Ok(last_change)
    }

    /// Removes what is old: published events that are resolved, events that have failed, and what
    /// sessions were shown.
    fn tidy(&mut self) -> Result<(), JournalError> {
        let now = self.now_ms();
        let events = statement(
            "DELETE FROM outbox WHERE state = 'published' AND dead_letter IS NULL AND accepted_at_ms < ?
            AND NOT EXISTS (SELECT 1 FROM overlays WHERE overlays.event = outbox.number)",
        );
        self.connection.queue(&events.bind(now - KEPT_MS))?;
        let failed = statement(
            "DELETE FROM outbox WHERE (state = 'failed' OR dead_letter IS NOT NULL) AND state <> 'pending'
            AND accepted_at_ms < ?",
        );
        self.connection.queue(&failed.bind(now - FAILED_MS))?;
        let requests = statement("DELETE FROM sync_requests WHERE state <> 'pending' AND ended_at_ms < ?");
        self.connection.queue(&requests.bind(now - KEPT_MS))?;
        self.connection.queue(&statement("DELETE FROM shown WHERE shown_at_ms < ?").bind(now - SHOWN_MS))
    }

    /// Nanoseconds since 1970 by the wall clock.
    pub(super) fn now_ns(&self) -> u64 {
        (self.settings.wall_clock)()
    }

    /// Milliseconds since 1970 by the wall clock, at least 1.
    pub(super) fn now_ms(&self) -> i64 {
        i64::try_from(self.now_ns() / 1_000_000).unwrap_or(i64::MAX).max(1)
    }
}

async fn open_state(connection: &mut WriterConnection, settings: &NodeSettings) -> Result<State, JournalError> {
    connection.begin();
    let state = State::open(connection, &settings.name).await;
    // A folder of another name is left as it is.
    if state.as_ref().is_ok_and(|state| state.actor.name == settings.name) {
        connection.commit().await?;
    } else {
        connection.roll_back_all().await?;
    }
    state
}
