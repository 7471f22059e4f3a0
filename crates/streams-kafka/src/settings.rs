//! Settings of each client: those that the guarantee rests on, the memory that queues may take, and
//! the user's own `-X KEY=VALUE`, passed through unless it would break either. Pure, so that the
//! whole table can be checked.

use std::time::Duration;

use super::pass_through::{PassThrough, Value};
use streams::ports::BatchLimit;
use streams::task_assignment::StateOnDisk;
use streams::topology_digest::{TopologyDigest, client_id_with};

/// How this application's clients reach and use Kafka.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port`, several joined by commas.
    pub bootstrap_servers: String,
    /// The application's id: the consumer group's id and the beginning of every transactional id.
    pub application_id: String,
    /// The state slot's random id, which distinguishes instances and survives restarts.
    pub instance_id: String,
    /// Whether members keep their partitions over a restart within the session timeout
    /// (`group.instance.id`).
    pub static_membership: bool,
    /// After this long without a heartbeat a member is out of the group.
    pub session_timeout: Duration,
    /// After this long the broker ends a transaction of a dead or stuck thread.
    pub transaction_timeout: Duration,
    /// Bytes of fetched records that one stream thread's consumer may hold.
    pub fetch_queue_bytes: usize,
    /// Bytes of records that one producer may hold.
    pub send_queue_bytes: usize,
    /// Bytes of fetched records that the restore client may hold for one partition.
    pub restore_queue_bytes: usize,
    /// The user's own settings.
    pub pass_through: PassThrough,
    /// The topology that the group's members run, shown in their client ids.
    pub topology: Option<TopologyDigest>,
    /// The tasks whose state lies on this instance's disk, by which the group assigns tasks where
    /// all members offer that; `None`: the sticky assignor alone is offered.
    pub state_on_disk: Option<StateOnDisk>,
}

/// The largest record that any producer sends: 16 MiB.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Bytes of fetched records that are held for a changelog that a standby follows, and that one
/// fetch brings of it.
const STANDBY_QUEUE_BYTES: usize = 256 << 10;

/// Settings of one client, in the order in which they are set.
pub(super) type Properties = Vec<(String, Value)>;

impl KafkaSettings {
    /// Settings with the defaults of this program: 10 s session and transaction timeouts, 16 MiB
    /// queues.
    pub fn new(bootstrap_servers: &str, application_id: &str, instance_id: &str) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: bootstrap_servers.to_owned(),
            application_id: application_id.to_owned(),
            instance_id: instance_id.to_owned(),
            static_membership: false,
            session_timeout: Duration::from_secs(10),
            transaction_timeout: Duration::from_secs(10),
            fetch_queue_bytes: 16 << 20,
            send_queue_bytes: 32 << 20,
            restore_queue_bytes: 4 << 20,
            pass_through: PassThrough::default(),
            topology: None,
            state_on_disk: None,
        }
    }

    /// The transactional id of a stream thread: stable over restarts, so that its first act ends
    /// the predecessor's transaction.
    pub fn transactional_id(&self, thread: usize) -> String {
        format!("{}-{}-{thread}", self.application_id, self.instance_id)
    }

    /// The principal of these clients, where the settings name one: the user of SASL PLAIN and
    /// SCRAM.
    pub fn principal(&self) -> Option<String> {
        let entries = self.pass_through.entries();
        let of = |name: &str| entries.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.to_string());
        let uses_sasl = of("security.protocol").is_some_and(|value| value.to_ascii_uppercase().starts_with("SASL"));
        of("sasl.username").filter(|_| uses_sasl).map(|user| format!("User:{user}"))
    }

    fn common(&self, client: &str) -> Properties {
        let mut all = pairs(&[
            ("bootstrap.servers", &self.bootstrap_servers),
            ("client.id", client),
            ("log.connection.close", "false"),
            ("reconnect.backoff.max.ms", "2000"),
            ("statistics.interval.ms", "0"),
        ]);
        all.extend(self.pass_through.entries().iter().cloned());
        all
    }

    fn reader(&self, client: &str, group: &str, queue_bytes: usize) -> Properties {
        let mut all = pairs(&[
            // A full queue is looked at again after this long: with the default of 1 s a small
            // queue starves its reader.
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.error.backoff.ms", "100"),
            ("fetch.max.bytes", &fetch_bytes(queue_bytes)),
            ("fetch.message.max.bytes", &(1 << 20).to_string()),
            ("message.max.bytes", &MAX_MESSAGE_BYTES.to_string()),
        ]);
        all.extend(self.common(client));
        all.extend(pairs(&[
            ("group.id", group),
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
            ("group.protocol", "classic"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("queued.max.messages.kbytes", &(queue_bytes >> 10).max(1).to_string()),
            ("session.timeout.ms", &self.session_timeout.as_millis().to_string()),
            ("heartbeat.interval.ms", &self.heartbeat_interval().as_millis().to_string()),
            ("max.poll.interval.ms", &self.max_poll_interval().as_millis().to_string()),
        ]));
        all
    }

    /// Above the transaction timeout and the session timeout: a thread that commits for that long
    /// is still a member.
    fn max_poll_interval(&self) -> Duration {
        (self.transaction_timeout * 3).max(self.session_timeout * 3).max(Duration::from_secs(60))
    }

    /// A member learns of a rebalance by the answer to its next heartbeat, and a task moves in two
    /// rebalances. So the interval decides how long nobody has a task that moves, be it to a thread
    /// that has just started or away from an instance that has died. With a quarter of the session
    /// timeout it was up to 5 s; librdkafka looks at the interval once a second at least.
    fn heartbeat_interval(&self) -> Duration {
        (self.session_timeout / 20).clamp(Duration::from_millis(1), Duration::from_millis(500))
    }

    pub(super) fn consumer(&self, thread: usize) -> Properties {
        let id = self.transactional_id(thread);
        let client = self.topology.as_ref().map_or(id.clone(), |digest| client_id_with(&id, digest));
        let mut all = self.reader(&client, &self.application_id, self.fetch_queue_bytes);
        if self.static_membership {
            all.extend(pairs(&[("group.instance.id", &format!("{}-{thread}", self.instance_id))]));
        }
        all
    }

    pub(super) fn restore(&self) -> Properties {
        let client = format!("{}-{}-restore", self.application_id, self.instance_id);
        // One fetch is under way at a time: one that waits at the end of a changelog would keep the
        // next task's waiting behind it. Nothing is fetched when nothing is restored.
        let mut all = pairs(&[("fetch.wait.max.ms", "5")]);
        all.extend(self.reader(&client, &self.application_id, self.restore_queue_bytes));
        all
    }

    /// Of the client that reads for standbys: it waits at the ends of changelogs most of the time,
    /// and there are many of them.
    pub(super) fn standby(&self) -> Properties {
        let client = format!("{}-{}-standby", self.application_id, self.instance_id);
        let mut all = pairs(&[("fetch.wait.max.ms", "100")]);
        all.extend(self.reader(&client, &self.application_id, STANDBY_QUEUE_BYTES));
        all.extend(pairs(&[("fetch.message.max.bytes", &STANDBY_QUEUE_BYTES.to_string())]));
        all
    }

    /// Of the client that finds out whether brokers let us in.
    pub(super) fn probe(&self) -> Properties {
        let mut all = self.common(&format!("{}-{}-probe", self.application_id, self.instance_id));
        // A connection that is cut off is all that a wrong protocol shows.
        all.extend(pairs(&[("log.connection.close", "true")]));
        all
    }

    pub(super) fn admin(&self) -> Properties {
        let mut all = self.common(&format!("{}-{}-admin", self.application_id, self.instance_id));
        // It asks where logs end, whatever is still open in them.
        all.extend(pairs(&[("isolation.level", "read_uncommitted")]));
        all
    }

    /// Of the client that asks coordinators. It is a consumer of the group, which it never joins:
    /// librdkafka 2.12.1 ends the process where a client without a group asks for committed offsets
    /// and hears that this broker is not the coordinator (`rd_kafka_handle_OffsetFetch` calls
    /// `rd_kafka_cgrp_op` with no group).
    pub(super) fn groups(&self) -> Properties {
        let mut all = self.common(&format!("{}-{}-groups", self.application_id, self.instance_id));
        all.extend(pairs(&[
            ("group.id", &self.application_id),
            ("enable.auto.commit", "false"),
            ("allow.auto.create.topics", "false"),
        ]));
        all
    }

    fn writer(&self, client: &str) -> Properties {
        // Nothing is visible before the commit, and that does not wait for the linger: so it may be
        // long, which keeps the sending thread from waking for every few records.
        let mut all = pairs(&[("linger.ms", "50"), ("batch.size", &BatchLimit::DEFAULT_BYTES.to_string())]);
        all.extend(self.common(client));
        all.extend(pairs(&[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("message.max.bytes", &MAX_MESSAGE_BYTES.to_string()),
            // At least one record of the largest size must fit, or it could never be sent.
            (
                "queue.buffering.max.kbytes",
                &(self.send_queue_bytes.max(MAX_MESSAGE_BYTES + (1 << 20)) >> 10).to_string(),
            ),
        ]));
        all
    }

    /// Largest batch of a producer, in bytes: the user's own `-X batch.size` or our default.
    pub fn batch_bytes(&self) -> usize {
        let set = self.pass_through.entries().iter().rfind(|(key, _)| key == "batch.size");
        set.and_then(|(_, value)| value.to_string().trim().parse().ok()).unwrap_or(BatchLimit::DEFAULT_BYTES)
    }

    /// Of a producer with this transactional id and batches of that size.
    pub(super) fn transactional(&self, id: &str, batches: BatchLimit) -> Properties {
        let mut all = self.transactional_as(id);
        match batches {
            BatchLimit::Bytes(bytes) => all.extend(pairs(&[("batch.size", &bytes.to_string())])),
            BatchLimit::OneRecord => all.extend(pairs(&[("batch.num.messages", "1")])),
        }
        all
    }

    /// Of a producer with this transactional id.
    pub(super) fn transactional_as(&self, id: &str) -> Properties {
        let mut all = self.writer(id);
        all.extend(pairs(&[
            ("transactional.id", id),
            ("transaction.timeout.ms", &self.transaction_timeout.as_millis().to_string()),
        ]));
        all
    }

    pub(super) fn plain_producer(&self) -> Properties {
        self.writer("helixstream-produce")
    }
}

/// One fetch may bring as much as the queue holds, within what librdkafka accepts beside the
/// largest message.
fn fetch_bytes(queue_bytes: usize) -> String {
    queue_bytes.max(MAX_MESSAGE_BYTES).to_string()
}

fn pairs(list: &[(&str, &str)]) -> Properties {
    list.iter().map(|(key, value)| ((*key).to_owned(), Value::Text((*value).to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pass_through::REFUSED;
    use super::*;
    use secret::SecretSource;

    #[test]
    fn the_rest_passes_through_and_the_guarantee_is_set_after_it() {
        let mut settings = KafkaSettings::new("localhost:1", "app", "i");
        settings.pass_through = PassThrough::parse(["compression.type=lz4", "sasl.password=a=b"]).unwrap();
        for all in [
            settings.consumer(0),
            settings.transactional("app-i-0", BatchLimit::OneRecord),
            settings.admin(),
            settings.plain_producer(),
        ] {
            assert!(all.contains(&("compression.type".into(), Value::Text("lz4".into()))));
            assert!(all.contains(&("sasl.password".into(), Value::Secret(SecretSource::value("a=b")))));
            let last_user = all.iter().rposition(|(key, _)| key == "sasl.password").unwrap();
            for (at, (key, _)) in all.iter().enumerate().filter(|(_, (key, _))| REFUSED.iter().any(|(r, _)| r == key)) {
                assert!(at > last_user || key == "bootstrap.servers", "{key} could be overridden");
            }
        }
    }

    #[test]
    fn a_member_hears_of_a_rebalance_well_within_its_session() {
        for (session_ms, heartbeat_ms) in [(6_000, "300"), (10_000, "500"), (60_000, "500")] {
            let mut settings = KafkaSettings::new("localhost:1", "app", "i");
            settings.session_timeout = Duration::from_millis(session_ms);
            let heartbeat = settings.consumer(0).into_iter().rfind(|(key, _)| key == "heartbeat.interval.ms");
            assert_eq!(heartbeat.unwrap().1.to_string(), heartbeat_ms);
        }
    }

    #[test]
    fn batches_follow_the_user_and_the_limit() {
        let mut settings = KafkaSettings::new("localhost:1", "app", "i");
        let last = |settings: &KafkaSettings, limit, name: &str| {
            let all = settings.transactional("app-i-0", limit);
            all.into_iter().rfind(|(key, _)| key == name).map(|(_, value)| value.to_string())
        };
        assert_eq!(settings.batch_bytes(), BatchLimit::DEFAULT_BYTES);
        settings.pass_through = PassThrough::parse(["batch.size=1000000"]).unwrap();
        assert_eq!(settings.batch_bytes(), 1_000_000);
        assert_eq!(last(&settings, BatchLimit::Bytes(5000), "batch.size").as_deref(), Some("5000"));
        assert_eq!(last(&settings, BatchLimit::OneRecord, "batch.num.messages").as_deref(), Some("1"));
    }
}
