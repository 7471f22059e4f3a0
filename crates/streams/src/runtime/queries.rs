//! Live queries: other threads read the committed rows of a store while its task runs (Kafka
//! Streams' interactive queries, with the position of KIP-796 and the standbys of KIP-535).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use super::instance::Instance;
use super::store_snapshot::{QueryError, QueryResult, StoreQuery, StoreSnapshot};
use crate::error::Result;
use crate::ports::Committed;
use crate::record::{TaskId, TopicPartition};
use crate::store::checkpoint::decode_metadata;
use crate::task::Plan;

/// The coordinator is asked no more often for the commits of standbys.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// The group's last commit of each task that was asked for.
type Commits = Vec<(TaskId, Option<Committed>)>;

/// Asks the group's coordinator for the commits of standbys, for a standby thread.
#[derive(Default)]
pub(super) struct CommitLookup {
    pending: Option<Receiver<Result<Commits>>>,
    next: Duration,
}

impl CommitLookup {
    /// Takes the answer when it is there, and asks when it is time. It waits for nothing.
    pub fn advance(&mut self, instance: &Arc<Instance>) {
        if !instance.queries.are_standbys_read(instance.now()) {
            instance.queries.forget_standbys();
        }
        let Some(pending) = &self.pending else { return self.ask(instance) };
        let answer = match pending.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Ok(Vec::new()),
            Ok(answer) => answer,
        };
        self.pending = None;
        match answer {
            Ok(commits) => commits.into_iter().for_each(|(id, committed)| confirm(instance, id, committed)),
            Err(error) => {
                tracing::debug!("the commits that standby tasks are compared with cannot be seen yet: {error}");
            }
        }
    }

    fn ask(&mut self, instance: &Arc<Instance>) {
        let now = instance.now();
        if now < self.next || !instance.queries.are_standbys_read(now) {
            return;
        }
        let ids = instance.queries.candidates();
        if ids.is_empty() {
            return;
        }
        self.next = now + ASK_INTERVAL;
        let source = |id: &TaskId| {
            let plan = instance.plans.iter().find(|plan| plan.subtopology == id.subtopology)?;
            Some((*id, TopicPartition::new(plan.source.clone(), id.partition)))
        };
        let (ids, sources): (Vec<TaskId>, Vec<TopicPartition>) = ids.iter().filter_map(source).unzip();
        let (send, answer) = channel();
        let admin = instance.ports.admin.clone();
        // Who asked may be gone by then.
        instance.ports.executor.run_at_once(Box::new(move || {
            let committed = admin.committed(&sources);
            _ = send.send(committed.map(|committed| ids.into_iter().zip(committed).collect()));
        }));
        self.pending = Some(answer);
    }
}

fn confirm(instance: &Instance, id: TaskId, committed: Option<Committed>) {
    let plan = instance.plans.iter().find(|plan| plan.subtopology == id.subtopology);
    let (Some(plan), Some(committed)) = (plan, committed) else { return };
    // Metadata that cannot be read stops the task that is restored from it.
    if let Ok(Some(commit)) = decode_metadata(committed.offset, &committed.metadata, &plan.store_names()) {
        instance.queries.confirm(id, commit);
    }
}

impl Instance {
    /// A snapshot of the committed rows of a store, with the position of the commit that it shows.
    /// It may be called from any thread; no stream thread waits for it.
    ///
    /// # Errors
    /// The kinds of [`QueryError`], by what the caller can do.
    pub fn store_snapshot(&self, query: &StoreQuery<'_>) -> QueryResult<StoreSnapshot> {
        let found = |plan: &Arc<Plan>| {
            let store = plan.stores.iter().position(|store| store.name == query.store)?;
            Some((plan.clone(), store))
        };
        let unknown = || QueryError::UnknownStore { store: query.store.to_owned() };
        let (plan, store) = self.plans.iter().find_map(found).ok_or_else(unknown)?;
        let task = TaskId { subtopology: plan.subtopology, partition: query.partition };
        let snapshot = self.snapshot_of(task, store, query)?;
        match query.at_least {
            Some(wanted) if snapshot.position().source_offset.is_none_or(|has| has < wanted) => {
                Err(QueryError::NotUpToBound { task, has: snapshot.position().source_offset, wanted })
            }
            _ => Ok(snapshot),
        }
    }

    fn snapshot_of(&self, task: TaskId, store: usize, query: &StoreQuery<'_>) -> QueryResult<StoreSnapshot> {
        if let Some(snapshot) = self.queries.active(task, store)? {
            return Ok(snapshot);
        }
        if let Some(status) = self.metrics().tasks().get(&task) {
            return Err(QueryError::NotRunning { task, state: status.state });
        }
        if !self.metrics().standbys().contains_key(&task) {
            return Err(QueryError::NotPresent { task });
        }
        if query.is_active_required {
            return Err(QueryError::NotActive { task });
        }
        self.queries.standby(task, store, self.now())
    }
}
