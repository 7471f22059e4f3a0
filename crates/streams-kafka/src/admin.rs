//! The cluster as a whole: is it there, its topics and their settings, the group's committed
//! offsets, what a log holds.

use std::ffi::c_int;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as ClientTopic, ResourceSpecifier, TopicReplication};
use rdkafka::bindings as sys;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::client_log::log_line;
use super::contact;
use super::coordinator::GroupClient;
use super::error::{Call, Failure, refused};
use super::live::Live;
use super::log_bounds::log_bounds;
use super::messages::Buffer;
use super::metadata::{millis, read_metadata};
use super::native::Native;
use super::plain::PlainProducer;
use super::queue::Queue;
use super::restore_consumer::RestoreConsumer;
use super::settings::KafkaSettings;
use super::{admin_request, group, transactional_id};
use streams::error::{Error, Result};
use streams::ports::rights::{Operation, Right};
use streams::ports::{Admin, Committed, Deletion, GroupMember, LogRange, NewTopic, TopicIdentity, TopicInfo};
use streams::record::{Headers, Record, TopicPartition};

/// How long one request may take. Longer than a dead thread's transaction: its offsets are waited
/// for.
pub(super) const REQUEST: Duration = Duration::from_secs(30);

/// How long the group's coordinator may take to answer when it is only asked whether it is there.
const REACH: Duration = Duration::from_secs(5);

/// An instance's administration client.
pub struct ClusterAdmin {
    /// First, since fields are dropped in their order and only a live client may be listed.
    _live: Live,
    admin: AdminClient<Logged>,
    reader: Arc<Native>,
    /// Asks coordinators.
    groups: GroupClient,
    common: Queue,
    settings: KafkaSettings,
    group: String,
}

/// Hands the client's log lines to `tracing`.
pub(super) struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log_line(level as c_int, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ClusterAdmin {
    /// Makes the client; committed offsets are read through the restore client, which reads
    /// committed.
    ///
    /// # Errors
    /// [`Error::Fatal`] for a setting that librdkafka does not take.
    pub fn new(settings: &KafkaSettings, reader: &RestoreConsumer) -> Result<ClusterAdmin> {
        let mut config = ClientConfig::new();
        for (key, value) in &settings.admin() {
            config.set(key, value.read()?);
        }
        let admin = config.create_with_context(Logged);
        let admin: AdminClient<Logged> =
            admin.map_err(|_| Error::Fatal(
                "create the admin client: librdkafka refuses a setting that -X or [kafka] gives; correct or remove it [HS2059]".to_owned(),
            ))?;
        // SAFETY: a live client, which is dropped after its place in the list.
        let live = unsafe { Live::new(admin.inner().native_ptr()) };
        let reader = reader.client().clone();
        let common = Queue::of_consumer(&reader);
        let common = common.ok_or_else(|| Error::Bug("the admin client has no group id".to_owned()))?;
        let groups = GroupClient::new(settings);
        Ok(ClusterAdmin {
            _live: live,
            admin,
            reader,
            groups,
            common,
            settings: settings.clone(),
            group: settings.application_id.clone(),
        })
    }

    pub(super) fn client(&self) -> &AdminClient<Logged> {
        &self.admin
    }

    pub(super) fn reader(&self) -> &Native {
        &self.reader
    }

    pub(super) fn groups(&self) -> &GroupClient {
        &self.groups
    }

    /// Waits until a broker answers; logs a line every few seconds that none does.
    ///
    /// # Errors
    /// [`Error::Fatal`] when none answered within `patience`, and at once when one side refuses the
    /// connection.
    pub fn wait_for_brokers(&self, patience: Duration) -> Result<()> {
        contact::wait_for_brokers(&self.settings, patience)
    }

    /// A topic that was made is known to the brokers a moment later.
    fn wait_for_topics(&self, topics: &[NewTopic]) -> Result<()> {
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        let started = Instant::now();
        loop {
            let known = match self.topics(&names) {
                // The leader of one of them may still be being elected.
                Err(Error::Retry(_)) if started.elapsed() <= REQUEST => {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
                known => known?,
            };
            let Some(missing) = known.iter().position(Option::is_none) else { return Ok(()) };
            if started.elapsed() > REQUEST {
                return Err(Error::Retry(format!(
                    "topic {} was created, but no broker knows it after {} s [HS2009]",
                    names[missing],
                    REQUEST.as_secs()
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks for all topics (asking for one by name may create it) and hands them to `read`.
    fn metadata<T>(
        &self,
        timeout: Duration,
        read: impl FnOnce(&sys::rd_kafka_metadata) -> T,
    ) -> std::result::Result<T, Failure> {
        let answer = read_metadata(&self.reader, timeout, read);
        if answer.is_err() {
            // Nobody polls this client: the errors that it queued meanwhile are thrown away.
            self.common.drain(Buffer::CAPACITY, &mut Buffer::new());
        }
        answer
    }
}

pub(super) fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST))
}

pub(super) fn failed(doing: &str, error: &KafkaError) -> Error {
    match error.rdkafka_error_code().and_then(|code| Failure::of_number(code as i32, None)) {
        Some(failure) => failure.remedy(Call::Admin, doing),
        None => Error::Retry(format!("{doing}: {error} [HS2002]")),
    }
}

/// The request for a topic.
pub(super) fn creation(topic: &NewTopic) -> ClientTopic<'_> {
    let replication = TopicReplication::Fixed(topic.replication.unwrap_or(BROKER_DEFAULT));
    let new = ClientTopic::new(&topic.name, topic.partitions, replication);
    topic.config.iter().fold(new, |new, (key, value)| new.set(key, value))
}

/// As [`failed`], of a call that takes a right.
fn failed_for(right: Right, doing: &str, error: &KafkaError) -> Error {
    match error.rdkafka_error_code().and_then(|code| Failure::of_number(code as i32, None)) {
        Some(failure) => failure.taking([right]).remedy(Call::Admin, doing),
        None => Error::Retry(format!("{doing}: {error} [HS2002]")),
    }
}

/// A topic as metadata has it.
struct Listed {
    info: TopicInfo,
    /// The error that stands in place of its partitions; 0 for none.
    code: i32,
}

fn listed(metadata: &sys::rd_kafka_metadata) -> Vec<Listed> {
    // SAFETY: librdkafka's array of `topic_cnt` topics with ended names, live while the metadata
    // is.
    let topics = unsafe { std::slice::from_raw_parts(metadata.topics, metadata.topic_cnt.max(0) as usize) };
    let name = |topic: &sys::rd_kafka_metadata_topic| unsafe { std::ffi::CStr::from_ptr(topic.topic) };
    let info = |topic| TopicInfo { name: name(topic).to_string_lossy().into_owned(), partitions: topic.partition_cnt };
    topics.iter().map(|topic| Listed { info: info(topic), code: topic.err as i32 }).collect()
}

/// Finds a topic in the metadata. One whose leader is being elected exists, though nothing more is
/// known of it: that is asked again, and the topic is not reported as missing.
fn find_listed(all: &[Listed], name: &str) -> Result<Option<TopicInfo>> {
    let Some(found) = all.iter().find(|topic| topic.info.name == name) else { return Ok(None) };
    let is_electing = found.code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE as i32;
    match Failure::of_number(found.code, None).filter(|_| is_electing) {
        Some(failure) => Err(failure.remedy(Call::Admin, &format!("list topics: topic {name}"))),
        None => Ok((found.info.partitions > 0).then(|| found.info.clone())),
    }
}

impl Admin for ClusterAdmin {
    fn topics(&self, names: &[&str]) -> Result<Vec<Option<TopicInfo>>> {
        let all = self.metadata(REQUEST, listed);
        let all = all.map_err(|failure| failure.remedy(Call::Admin, "list topics"))?;
        names.iter().map(|name| find_listed(&all, name)).collect()
    }

    fn identities(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
        admin_request::identities(self.admin.inner().native_ptr(), names)
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<()> {
        let request: Vec<_> = topics.iter().map(creation).collect();
        if request.is_empty() {
            return Ok(());
        }
        let answers = block_on(self.admin.create_topics(&request, &options()));
        for (name, code) in
            answers.map_err(|error| failed("create topics", &error))?.into_iter().filter_map(|one| one.err())
        {
            if code as i32 == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS as i32 {
                continue;
            }
            if let Some(failure) = Failure::of_number(code as i32, None) {
                let right = Right::topic(Operation::Create, &name);
                return Err(failure.taking([right]).remedy(Call::Admin, &format!("create topic {name}")));
            }
        }
        self.wait_for_topics(topics)
    }

    fn topic_config(&self, topic: &str) -> Result<Vec<(String, String)>> {
        let doing = format!("read the settings of topic {topic}");
        let answers = block_on(self.admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options()));
        let mut all = Vec::new();
        let right = Right::topic(Operation::DescribeConfigs, topic);
        for answer in answers.map_err(|error| failed(&doing, &error))? {
            let resource = answer.map_err(|code| match Failure::of_number(code as i32, None) {
                Some(failure) => failure.taking([right.clone()]).remedy(Call::Admin, &doing),
                None => Error::Retry(format!("{doing}: the broker gave no reason [HS2002]")),
            })?;
            all.extend(resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))));
        }
        Ok(all)
    }

    fn offset_metadata_limit(&self) -> Result<Option<usize>> {
        let doing = "read the settings of a broker";
        let broker = self.metadata(REQUEST, first_broker).map_err(|failure| failure.remedy(Call::Admin, doing))?;
        let Some(broker) = broker else { return Err(Error::Retry(format!("{doing}: the cluster has none [HS2002]"))) };
        let answers = block_on(self.admin.describe_configs(&[ResourceSpecifier::Broker(broker)], &options()));
        let answer = answers.map(|all| all.into_iter().next());
        let code = match answer {
            Ok(Some(Ok(resource))) => {
                let value = resource.get("offset.metadata.max.bytes").and_then(|entry| entry.value.as_ref());
                return Ok(value.and_then(|value| value.parse().ok()));
            }
            Ok(Some(Err(code))) => Some(code),
            Ok(None) => None,
            Err(error) => error.rdkafka_error_code(),
        };
        // It takes a right of its own, which `run` does not need, and some services do not answer
        // it at all.
        match code {
            Some(code) if refused(code as i32).is_none() && !is_unsupported(code as i32) => {
                Err(Error::Retry(format!("{doing}: {code} [HS2002]")))
            }
            _ => Ok(None),
        }
    }

    fn delete_records(&self, below: &[(TopicPartition, streams::offset::Offset)]) -> Result<Deletion> {
        let mut list = TopicPartitionList::with_capacity(below.len());
        for (partition, offset) in below {
            let added =
                list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset.number()));
            added.map_err(|error| failed("delete records", &error))?;
        }
        if below.is_empty() {
            return Ok(Deletion::Done);
        }
        let answer = block_on(self.admin.delete_records(&list, &options()));
        let is = |error: &KafkaError, check: fn(i32) -> bool| {
            error.rdkafka_error_code().is_some_and(|code| check(code as i32))
        };
        let answer = match answer {
            Err(error) if is(&error, is_unsupported) => return Ok(Deletion::Unsupported(error.to_string())),
            Err(error) if is(&error, |code| refused(code).is_some()) => return Err(failed("delete records", &error)),
            // Whatever else it is, no record is lost or kept wrongly for it: purging comes again.
            Err(error) => return Err(Error::Retry(format!("delete records: {error} [HS2002]"))),
            Ok(answer) => answer,
        };
        for element in answer.elements() {
            let doing = format!("delete records of {}-{}", element.topic(), element.partition());
            let Err(error) = element.error() else { continue };
            let right = Right::topic(Operation::Delete, element.topic());
            match error.rdkafka_error_code().is_some_and(|code| refused(code as i32).is_some()) {
                true => return Err(failed_for(right, &doing, &error)),
                // The leader may be moving: purging comes again.
                false if is(&error, is_unsupported) => return Ok(Deletion::Unsupported(error.to_string())),
                false => return Err(Error::Retry(format!("{doing}: {error} [HS2002]"))),
            }
        }
        Ok(Deletion::Done)
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>> {
        let list = self.reader.list(partitions.iter().map(|one| (&*one.topic, one.partition, 0)));
        // SAFETY: a live client and a live list, which the call fills in.
        let code = unsafe { sys::rd_kafka_committed(self.reader.as_ptr(), list.as_ptr(), millis(REQUEST)) };
        if let Some(failure) = Failure::of(code) {
            return Err(failure.taking([Right::group(&self.group)]).remedy(Call::Admin, "read committed offsets"));
        }
        let found = list.entries();
        let one = |partition: &TopicPartition| -> Result<Option<Committed>> {
            let Some(entry) = found.iter().find(|entry| entry.is(partition)) else { return Ok(None) };
            if let Some(failure) = Failure::of_number(entry.error, None) {
                let takes = [Right::topic(Operation::Read, &partition.topic), Right::group(&self.group)];
                let doing = format!("read the committed offset of {partition}");
                return Err(failure.taking(takes).remedy(Call::Admin, &doing));
            }
            let committed = |offset| Committed { offset, metadata: entry.metadata.clone() };
            Ok(streams::offset::Offset::new(entry.offset).map(committed))
        };
        partitions.iter().map(one).collect()
    }

    fn all_committed(&self) -> Result<Vec<(TopicPartition, Committed)>> {
        self.groups.request(admin_request::LIST_COMMITTED, |client| admin_request::all_committed(client, &self.group))
    }

    fn member_ids(&self) -> Result<Vec<String>> {
        self.groups.request(admin_request::LIST_MEMBERS, |client| admin_request::member_ids(client, &self.group))
    }

    fn group_members(&self) -> Result<Option<Vec<GroupMember>>> {
        let found = self.admin.inner().fetch_group_list(Some(&self.group), REQUEST);
        let doing = format!("describe the group {}", self.group);
        group::members(&found.map_err(|error| failed_for(Right::group(&self.group), &doing, &error))?, &self.group)
    }

    fn reach_group(&self, topic: &str) -> Result<()> {
        // A partition that nobody commits: no open transaction stands over it, so the answer comes
        // at once.
        let list = self.reader.list(std::iter::once((topic, c_int::MAX, 0)));
        // SAFETY: a live client and a live list, which the call fills in.
        let code = unsafe { sys::rd_kafka_committed(self.reader.as_ptr(), list.as_ptr(), millis(REACH)) };
        let Some(failure) = Failure::of(code) else { return Ok(()) };
        // The client's own errors, which say more, come when its queue is served.
        self.common.drain(Buffer::CAPACITY, &mut Buffer::new());
        let failure = self.reader.cause(failure).taking([Right::group(&self.group)]);
        Err(failure.remedy(
            Call::Admin,
            &format!("ask the coordinator of group {} at {}", self.group, self.settings.bootstrap_servers),
        ))
    }

    fn append(&self, partition: &TopicPartition, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let record = Record { key: Some(key), value, headers: Headers::NONE, timestamp_ms };
        let mut producer = PlainProducer::new(&self.settings)?;
        producer.send(&partition.topic, partition.partition, &record)?;
        producer.finish(REQUEST)
    }

    fn end_transaction(&self, id: &str) -> Result<()> {
        let Some(failure) = transactional_id::take(&self.settings, id, REQUEST)? else { return Ok(()) };
        let failure = failure.taking([Right::transactions_of(&self.settings.application_id)]);
        Err(failure.remedy(Call::Transaction, &format!("end the transaction of {id}")))
    }

    fn log_range(&self, partition: &TopicPartition) -> Result<LogRange> {
        let doing = format!("read the log's range of {partition}");
        // Not through the reader: a client that reads committed is told the last stable offset as
        // the end.
        // SAFETY: a live client.
        let ask = || unsafe { log_bounds(self.admin.inner().native_ptr(), partition, REQUEST) };
        let mut range = ask();
        if range.as_ref().is_err_and(Failure::is_unknown_partition) {
            // The client answers so from what it remembers, also when the partition is new or its
            // leader was on a broker that went away. To describe the topic makes it learn anew.
            if let [Some(_)] = self.identities(&[&partition.topic])?[..] {
                range = ask();
                if let Some(failure) = range.as_ref().err().filter(|failure| failure.is_unknown_partition()) {
                    return Err(Error::Retry(format!(
                        "{doing}: {}; its topic exists, so its leader may be moving [HS2002]",
                        failure.text
                    )));
                }
            }
        }
        let right = Right::topic(Operation::Read, &partition.topic);
        let range = range.map_err(|failure| failure.taking([right]).remedy(Call::Admin, &doing));
        let (start, end) = range?;
        let offset = |number: i64| {
            let unknown = || Error::Retry(format!("{doing}: {number} is no offset"));
            streams::offset::Offset::new(number).ok_or_else(unknown)
        };
        Ok(LogRange { start: offset(start)?, end: offset(end)? })
    }
}

/// Whether a server says that it does not know a request, or librdkafka knows that from the
/// versions that the server has named.
fn is_unsupported(code: i32) -> bool {
    let codes = [
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE,
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION,
    ];
    codes.iter().any(|known| *known as i32 == code)
}

fn first_broker(metadata: &sys::rd_kafka_metadata) -> Option<i32> {
    // SAFETY: librdkafka's array of `broker_cnt` brokers, live while the metadata is.
    let brokers = unsafe { std::slice::from_raw_parts(metadata.brokers, metadata.broker_cnt.max(0) as usize) };
    brokers.first().map(|broker| broker.id)
}

/// As a replication factor: what the broker does by itself.
const BROKER_DEFAULT: i32 = -1;

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    #[test]
    fn a_server_that_knows_no_administration_of_records_and_settings_ends_nothing() {
        // librdkafka's mock cluster names neither request among those that it knows, as an old
        // broker or a proxy does.
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let settings = KafkaSettings::new(&cluster.bootstrap_servers(), "app", "0");
        let admin = ClusterAdmin::new(&settings, &RestoreConsumer::new(&settings).unwrap()).unwrap();
        let deletion = admin.delete_records(&[(TopicPartition::new("t", 0), streams::offset::Offset::FIRST)]);
        assert!(matches!(&deletion, Ok(Deletion::Unsupported(_))), "{deletion:?}");
        assert_eq!(admin.offset_metadata_limit(), Ok(None));
    }
}
