//! Clients that are renewed while a command runs: what they are made with has changed on disk, and
//! librdkafka reads a certificate, a key or a file of authorities only when a client is made.
//!
//! A stream thread gets new clients after its next commit
//! ([`streams::runtime::Instance::renew_clients`]). What all threads share stands behind
//! [`Renewable`], and a mirror's reader behind [`RenewableMirror`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::admin::ClusterAdmin;
use super::mirror::MirrorSource;
use super::restore_consumer::RestoreConsumer;
use super::settings::KafkaSettings;
use mirror::ports::{LogError, LogReceiver, LogSource};
use streams::error::{Error, Result};
use streams::offset::{Offset, StartOffset};
use streams::ports::{
    Admin, Committed, Deletion, GroupMember, LogRange, NewTopic, RestoreClient, RestoreReader, TopicIdentity, TopicInfo,
};
use streams::record::TopicPartition;

/// The settings that the clients of a process are made with, and how often the clients had to be
/// renewed.
#[derive(Clone)]
pub struct CurrentSettings(Arc<Current>);

struct Current {
    settings: RwLock<KafkaSettings>,
    renewals: AtomicU64,
}

impl CurrentSettings {
    /// These for now.
    pub fn new(settings: KafkaSettings) -> CurrentSettings {
        CurrentSettings(Arc::new(Current { settings: RwLock::new(settings), renewals: AtomicU64::new(0) }))
    }

    /// The settings for a client that is made now.
    pub fn get(&self) -> KafkaSettings {
        self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes other settings for clients that are made from now on.
    pub fn set(&self, settings: KafkaSettings) {
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Asks those who look at [`CurrentSettings::renewals`] to make their clients anew.
    pub fn renew(&self) {
        self.0.renewals.fetch_add(1, Ordering::Release);
    }

    /// How often clients had to be made anew. To be read before a client is made.
    pub fn renewals(&self) -> u64 {
        self.0.renewals.load(Ordering::Acquire)
    }
}

/// A client that several share and that is replaced as a whole. A call that is under way when this
/// happens ends with the former one.
pub struct Renewable<T>(RwLock<Arc<T>>);

impl<T> Renewable<T> {
    /// This one for now.
    pub fn new(client: Arc<T>) -> Renewable<T> {
        Renewable(RwLock::new(client))
    }

    /// The one of now.
    pub fn get(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes another one. Blocks for up to some seconds while the former one is closed, unless it
    /// is in use: then the last user closes it.
    pub fn set(&self, client: Arc<T>) {
        let former = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), client);
        // Out of the lock.
        drop(former);
    }
}

impl RestoreClient for Renewable<RestoreConsumer> {
    fn open(&self, partition: &TopicPartition, start: StartOffset) -> Result<Box<dyn RestoreReader>> {
        self.get().open(partition, start)
    }
}

impl Admin for Renewable<ClusterAdmin> {
    fn topics(&self, names: &[&str]) -> Result<Vec<Option<TopicInfo>>> {
        self.get().topics(names)
    }

    fn identities(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
        self.get().identities(names)
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<()> {
        self.get().create_topics(topics)
    }

    fn topic_config(&self, topic: &str) -> Result<Vec<(String, String)>> {
        self.get().topic_config(topic)
    }

    fn offset_metadata_limit(&self) -> Result<Option<usize>> {
        self.get().offset_metadata_limit()
    }

    fn delete_records(&self, below: &[(TopicPartition, Offset)]) -> Result<Deletion> {
        self.get().delete_records(below)
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>> {
        self.get().committed(partitions)
    }

    fn all_committed(&self) -> Result<Vec<(TopicPartition, Committed)>> {
        self.get().all_committed()
    }

    fn member_ids(&self) -> Result<Vec<String>> {
        self.get().member_ids()
    }

    fn group_members(&self) -> Result<Option<Vec<GroupMember>>> {
        self.get().group_members()
    }

    fn reach_group(&self, topic: &str) -> Result<()> {
        self.get().reach_group(topic)
    }

    fn append(&self, partition: &TopicPartition, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.get().append(partition, key, value)
    }

    fn end_transaction(&self, transactional_id: &str) -> Result<()> {
        self.get().end_transaction(transactional_id)
    }

    fn log_range(&self, partition: &TopicPartition) -> Result<LogRange> {
        self.get().log_range(partition)
    }
}

/// The clients that all threads of an instance share.
#[derive(Clone)]
pub struct SharedClients {
    /// Administers topics and offsets.
    pub admin: Arc<Renewable<ClusterAdmin>>,
    /// Reads changelogs for tasks that are taken.
    pub restore: Arc<Renewable<RestoreConsumer>>,
    /// Reads changelogs for standbys; the same where there are none.
    pub standby: Arc<Renewable<RestoreConsumer>>,
}

impl SharedClients {
    /// Makes them; they connect when they are first used.
    ///
    /// # Errors
    /// [`Error::Fatal`] for a setting that librdkafka does not take, [`Error::Retry`] for a file
    /// that cannot be used just now.
    pub fn new(settings: &KafkaSettings, has_standbys: bool) -> Result<SharedClients> {
        let reader = Arc::new(RestoreConsumer::new(settings)?);
        let admin = ClusterAdmin::new(settings, &reader)?;
        let restore = Arc::new(Renewable::new(reader));
        let standby = match has_standbys {
            true => Arc::new(Renewable::new(Arc::new(RestoreConsumer::for_standbys(settings)?))),
            false => restore.clone(),
        };
        Ok(SharedClients { admin: Arc::new(Renewable::new(Arc::new(admin))), restore, standby })
    }

    /// Makes all of them anew. The former ones are closed, which may take some seconds.
    ///
    /// # Errors
    /// As for [`SharedClients::new`]; the former ones stay then.
    pub fn renew(&self, settings: &KafkaSettings) -> Result<()> {
        let has_standbys = !Arc::ptr_eq(&self.restore, &self.standby);
        let new = SharedClients::new(settings, has_standbys)?;
        self.admin.set(new.admin.get());
        self.restore.set(new.restore.get());
        if has_standbys {
            self.standby.set(new.standby.get());
        }
        Ok(())
    }
}

/// A mirror's reader. When the clients are to be renewed it gives up its partitions and joins the
/// group as a new member.
pub struct RenewableMirror {
    current: CurrentSettings,
    name: String,
    topics: Vec<String>,
    is_optional: bool,
    /// `None` while no new one can be made.
    source: Option<MirrorSource>,
    renewal: u64,
}

impl RenewableMirror {
    /// Joins the mirror's group, as [`MirrorSource::new`] does. Optional topics may be missing.
    ///
    /// # Errors
    /// As for [`MirrorSource::new`].
    pub fn new(current: &CurrentSettings, name: &str, topics: &[String], is_optional: bool) -> Result<RenewableMirror> {
        let renewal = current.renewals();
        let mut mirror = RenewableMirror {
            current: current.clone(),
            name: name.to_owned(),
            topics: topics.to_vec(),
            is_optional,
            source: None,
            renewal,
        };
        mirror.source = Some(mirror.make()?);
        Ok(mirror)
    }

    fn make(&self) -> Result<MirrorSource> {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let source = MirrorSource::new(&self.current.get(), &self.name, &topics)?;
        Ok(if self.is_optional { source.with_optional_topics() } else { source })
    }

    /// The source, with the settings of now. The former one is closed first, as far as that does
    /// not take long: of two members of one `group.instance.id` the later one fences the earlier
    /// one, which must not be that of now.
    fn renewed(&mut self, to: &mut dyn LogReceiver) -> std::result::Result<&mut MirrorSource, LogError> {
        let renewals = self.current.renewals();
        if self.renewal != renewals {
            self.renewal = renewals;
            if let Some(source) = self.source.take() {
                source.give_up(to);
            }
        }
        let source = match self.source.take() {
            Some(source) => source,
            None => {
                let made = self.make().map_err(|error: Error| LogError::Unavailable(error.to_string()))?;
                tracing::info!("the mirror of {} has a new Kafka client", self.topics.join(", "));
                made
            }
        };
        Ok(self.source.insert(source))
    }
}

impl LogSource for RenewableMirror {
    fn poll(&mut self, wait: Duration, to: &mut dyn LogReceiver) -> std::result::Result<(), LogError> {
        let source = self.renewed(to)?;
        let polled = source.poll(wait, to);
        if source.is_dead()
            && let Some(source) = self.source.take()
        {
            // A static member that another one has fenced never joins again: the next call makes a
            // new client.
            source.give_up(to);
        }
        polled
    }

    fn start(&mut self, partition: &TopicPartition, offset: i64) -> std::result::Result<(), LogError> {
        // Without a source nothing is assigned.
        self.source.as_mut().map_or(Ok(()), |source| source.start(partition, offset))
    }

    fn stop(&mut self, partition: &TopicPartition) -> std::result::Result<(), LogError> {
        self.source.as_mut().map_or(Ok(()), |source| source.stop(partition))
    }

    fn committed(&mut self, next: &[(TopicPartition, i64)]) {
        if let Some(source) = &mut self.source {
            source.committed(next);
        }
    }

    fn ends(&mut self) -> Vec<(TopicPartition, i64)> {
        self.source.as_mut().map_or(Vec::new(), |source| source.ends())
    }
}
