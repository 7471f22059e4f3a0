//! librdkafka's errors, turned into what has to be done about them.

use std::ffi::CStr;
use std::ptr::NonNull;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use streams::error::{Error, with_code};
use streams::ports::rights::{Operation, Resource, Right};

/// An error as librdkafka reports it. The code is the bare number: a broker newer than the client
/// may answer one that the client has no name for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub code: i32,
    pub text: String,
    pub fatal: bool,
    pub retriable: bool,
    pub requires_abort: bool,
    /// Rights that the call takes. Where the broker refuses the principal, one of them is missing.
    pub takes: Vec<Right>,
}

/// Properties of an error, besides its code, that decide its remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A transactional call of the producer.
    Transaction,
    /// Polling, assigning, subscribing.
    Consumer,
    /// Topics, settings, committed offsets.
    Admin,
}

/// Codes that say: the membership is gone.
const MIGRATED: &[Code] = &[
    Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
    Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
    Code::RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST,
    Code::RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED,
];

/// Codes that say: this producer is nobody any more.
const PRODUCER_LOST: &[Code] = &[
    Code::RD_KAFKA_RESP_ERR__FATAL,
    Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING,
    Code::RD_KAFKA_RESP_ERR_TRANSACTION_COORDINATOR_FENCED,
    Code::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE,
];

/// Codes that say: another producer with this transactional id has started, or the broker has ended
/// a transaction that took too long.
const FENCED: &[Code] = &[
    Code::RD_KAFKA_RESP_ERR__FENCED,
    Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
    Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
];

/// Codes that say: nothing but a person can help.
///
/// A refused login or certificate is none of them: an instance that runs waits for its mending, as
/// for a broker that is away. At the start [`contact`](super::contact) ends on it.
const HOPELESS: &[Code] = &[
    Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
    Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
    Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    Code::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE,
    Code::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION,
    Code::RD_KAFKA_RESP_ERR_INVALID_CONFIG,
    Code::RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR,
    Code::RD_KAFKA_RESP_ERR_INVALID_PARTITIONS,
    Code::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
    Code::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
    Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
    Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
    Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
    Code::RD_KAFKA_RESP_ERR_INVALID_GROUP_ID,
    Code::RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT,
    Code::RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL,
    Code::RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT,
    Code::RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED,
    Code::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE,
];

/// Codes of a delivery that concern the one record: sent again it would be refused again. A broker
/// that names the records at fault (KIP-467) refuses the whole batch all the same; librdkafka gives
/// the others of the batch the code `_INVALID_DIFFERENT_RECORD`, so they only fail with their
/// transaction.
const RECORD: &[Code] = &[Code::RD_KAFKA_RESP_ERR_INVALID_RECORD, Code::RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE];

/// Codes of a delivery that concern the batch: it is above the topic's `max.message.bytes` or
/// `segment.bytes`. Every record in it gets the code.
const BATCH: &[Code] = &[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, Code::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE];

fn is_one_of(code: i32, codes: &[Code]) -> bool {
    codes.iter().any(|known| *known as i32 == code)
}

impl Failure {
    /// Takes over an error object; `None` when the call went well.
    pub fn from_error(error: *mut sys::rd_kafka_error_t) -> Option<Failure> {
        let error = NonNull::new(error)?;
        // SAFETY: the object is ours by the contract of the calls that make one; read, then freed
        // once.
        unsafe {
            let failure = Failure {
                code: sys::rd_kafka_error_code(error.as_ptr()) as i32,
                text: CStr::from_ptr(sys::rd_kafka_error_string(error.as_ptr())).to_string_lossy().into_owned(),
                fatal: sys::rd_kafka_error_is_fatal(error.as_ptr()) != 0,
                retriable: sys::rd_kafka_error_is_retriable(error.as_ptr()) != 0,
                requires_abort: sys::rd_kafka_error_txn_requires_abort(error.as_ptr()) != 0,
                takes: Vec::new(),
            };
            sys::rd_kafka_error_destroy(error.as_ptr());
            Some(failure)
        }
    }

    /// The error of a bare code; `None` for success.
    pub fn of(code: Code) -> Option<Failure> {
        Failure::of_number(code as i32, None)
    }

    /// The error of a bare number, with the text that came with it.
    pub fn of_number(code: i32, text: Option<String>) -> Option<Failure> {
        (code != 0).then(|| Failure {
            code,
            text: text.unwrap_or_else(|| describe(code)),
            fatal: code == Code::RD_KAFKA_RESP_ERR__FATAL as i32,
            retriable: is_one_of(code, RETRIABLE),
            requires_abort: false,
            takes: Vec::new(),
        })
    }

    /// Says which rights the call takes, so that a refusal can name the one that is missing and the
    /// ACL to add.
    pub fn taking(mut self, rights: impl IntoIterator<Item = Right>) -> Failure {
        self.takes.extend(rights);
        self
    }

    /// Whether the broker refused the principal.
    pub fn is_refusal(&self) -> bool {
        refused(self.code).is_some()
    }

    /// Whether a topic does not exist.
    pub fn is_missing_topic(&self) -> bool {
        is_one_of(self.code, &[Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC])
    }

    /// Whether a partition is called unknown, by the client or by a broker.
    pub fn is_unknown_partition(&self) -> bool {
        self.is_missing_topic() || self.code == Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION as i32
    }

    /// The remedy for an error that only a person can mend.
    fn advice(&self) -> String {
        let Some(resource) = refused(self.code) else {
            let (advice, code) = advice(self.code);
            return format!("{advice} [{code}]");
        };
        let is_it = |right: &&Right| {
            right.resource == resource || resource == Resource::Cluster && right.operation == Operation::Write
        };
        let missing: Vec<&Right> = self.takes.iter().filter(is_it).collect();
        match missing.as_slice() {
            [] => format!(
                "the principal of this client lacks a right on the {}: `helixstream topics check` says which, and `helixstream topics acls` lists \
                 all that are needed [HS2030]",
                resource.word()
            ),
            [right] => {
                format!("the principal of this client lacks {right}; add the ACL: `{}` [HS2030]", right.command(None))
            }
            several => {
                let each: Vec<String> = several.iter().map(|r| format!("{r} (`{}`)", r.command(None))).collect();
                format!("the principal of this client lacks one of these; add its ACL: {} [HS2030]", each.join(", "))
            }
        }
    }

    /// Whether it only says that no broker is connected, which has causes of its own.
    pub fn is_of_all_brokers(&self) -> bool {
        self.code == Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as i32
    }

    /// The remedy, with a message that begins with what was being done.
    pub fn remedy(self, call: Call, doing: &str) -> Error {
        let text = format!("{doing}: {}", self.text);
        if is_one_of(self.code, HOPELESS) {
            return Error::Fatal(format!("{text}; {}", self.advice()));
        }
        let text = with_code(text, "HS2002");
        if matches!(call, Call::Consumer) && self.fatal {
            return Error::ConsumerLost(text);
        }
        // A client that only asks is no member of the group, whatever the answer says.
        if is_one_of(self.code, MIGRATED) && !matches!(call, Call::Admin) {
            return Error::Migrated(text);
        }
        match call {
            Call::Transaction if is_one_of(self.code, FENCED) => Error::Fenced(text),
            Call::Transaction if self.fatal || is_one_of(self.code, PRODUCER_LOST) => Error::ProducerLost(text),
            Call::Transaction if self.requires_abort => Error::Aborted(text),
            Call::Transaction if self.retriable => Error::Retry(text),
            // A call refused in the state that the transaction is in: only a new producer is sure
            // to be in a known one.
            Call::Transaction => Error::ProducerLost(text),
            Call::Consumer | Call::Admin => Error::Retry(text),
        }
    }

    /// The remedy of a call on a producer that has failed for good before.
    pub fn remedy_of_dead_producer(self, doing: &str) -> Error {
        match self.remedy(Call::Transaction, doing) {
            Error::Fatal(text) => Error::Fatal(text),
            Error::Retry(text) | Error::Aborted(text) | Error::Migrated(text) => Error::ProducerLost(text),
            other => other,
        }
    }

    /// The remedy of a failed delivery. In a transaction any of them aborts it; the record's own
    /// errors come back if it is sent again.
    pub fn delivery(self, topic: &str) -> Error {
        let text = format!("deliver to {topic}: {}", self.text);
        if self.code == Code::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP as i32 {
            Error::RecordTime(text)
        } else if is_one_of(self.code, RECORD) {
            Error::Record(text)
        } else if is_one_of(self.code, BATCH) {
            Error::BatchTooLarge(text)
        } else if is_one_of(self.code, HOPELESS) {
            // Brokers before Kafka 2.8 want a right on the cluster of an idempotent producer; later
            // ones refuse it the same way where it may write to no topic.
            let write = Right::topic(Operation::Write, topic);
            let or_older = Right::cluster(Operation::IdempotentWrite);
            Error::Fatal(format!("{text}; {}", self.taking([write, or_older]).advice()))
        } else if is_one_of(self.code, FENCED) {
            Error::Fenced(text)
        } else if self.fatal || is_one_of(self.code, PRODUCER_LOST) {
            Error::ProducerLost(text)
        } else {
            Error::Aborted(text)
        }
    }
}

/// Codes after which the same call may be made again (for calls that do not say so themselves).
const RETRIABLE: &[Code] = &[
    Code::RD_KAFKA_RESP_ERR__TIMED_OUT,
    Code::RD_KAFKA_RESP_ERR__TRANSPORT,
    Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
    Code::RD_KAFKA_RESP_ERR__WAIT_COORD,
    Code::RD_KAFKA_RESP_ERR__IN_PROGRESS,
    Code::RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS,
];

/// librdkafka's description of a code.
pub(super) fn describe(code: i32) -> String {
    match Code::try_from(code) {
        // SAFETY: the text of a code is a constant of the library.
        Ok(code) => unsafe { CStr::from_ptr(sys::rd_kafka_err2str(code)) }.to_string_lossy().into_owned(),
        Err(_) => format!("error code {code}"),
    }
}

/// The kind of resource that a broker refuses the principal; `None` for any other error.
pub(super) fn refused(code: i32) -> Option<Resource> {
    let refusals = [
        (Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, Resource::Topic),
        (Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, Resource::Group),
        (Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, Resource::Cluster),
        (Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Resource::TransactionalId),
    ];
    refusals.iter().find(|(refusal, _)| *refusal as i32 == code).map(|(_, resource)| *resource)
}

/// The remedy for a code, and the entry of docs/operations.md.
fn advice(code: i32) -> (&'static str, &'static str) {
    let is = |codes: &[Code]| is_one_of(code, codes);
    if is(&[
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
        Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
    ]) {
        (
            "create the topic (helixstream topics create) and start again; a broker says the same of a topic that the principal has no right to Describe",
            "HS2004",
        )
    } else if is(&[Code::RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT]) {
        ("lower transaction_timeout or raise the broker's transaction.max.timeout.ms", "HS2011")
    } else if is(&[Code::RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT]) {
        ("keep session_timeout between the broker's group.min and group.max.session.timeout.ms", "HS2012")
    } else if is(&[Code::RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL]) {
        ("another program uses this group; choose another application id or stop it", "HS2013")
    } else {
        ("check the settings of the broker, and those that -X and --set give to this client", "HS2010")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code) -> Failure {
        Failure::of(code).unwrap()
    }

    #[test]
    fn remedies_follow_the_table() {
        use Code::*;
        let remedy = |code, call| failure(code).remedy(call, "do it");
        assert!(matches!(remedy(RD_KAFKA_RESP_ERR__TIMED_OUT, Call::Transaction), Error::Retry(_)));
        assert!(matches!(remedy(RD_KAFKA_RESP_ERR__FENCED, Call::Transaction), Error::Fenced(_)));
        assert!(matches!(remedy(RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, Call::Transaction), Error::ProducerLost(_)));
        assert!(matches!(remedy(RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, Call::Transaction), Error::Migrated(_)));
        assert!(matches!(remedy(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, Call::Consumer), Error::Fatal(_)));
        assert!(matches!(remedy(RD_KAFKA_RESP_ERR__TRANSPORT, Call::Consumer), Error::Retry(_)));
        // A member that is fenced joins again, but for a client that has failed for good over it.
        let fenced = failure(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
        assert!(matches!(fenced.clone().remedy(Call::Consumer, "do it"), Error::Migrated(_)));
        let fenced = Failure { fatal: true, ..fenced };
        assert!(matches!(fenced.remedy(Call::Consumer, "do it"), Error::ConsumerLost(_)));
        let aborted = Failure { requires_abort: true, ..failure(RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION) };
        assert!(matches!(aborted.remedy(Call::Transaction, "do it"), Error::Aborted(_)));
    }

    #[test]
    fn a_refusal_names_the_right_and_the_acl_to_add() {
        let refused = failure(Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        let takes = [Right::group("g"), Right::topic(Operation::Read, "t")];
        let Error::Fatal(text) = refused.clone().taking(takes).remedy(Call::Consumer, "read t-0") else {
            panic!("a refusal ends the instance")
        };
        assert!(text.contains("lacks Read on topic t; add the ACL: `kafka-acls.sh --add"), "{text}");
        assert!(text.ends_with("--operation Read --topic t` [HS2030]"), "{text}");
        let Error::Fatal(text) = refused.clone().delivery("out") else { panic!("a refusal ends the instance") };
        assert!(text.contains("lacks Write on topic out"), "{text}");
        let takes = ["a", "b"].map(|topic| Right::topic(Operation::Read, topic));
        let text = refused.clone().taking(takes).advice();
        assert!(
            text.contains("one of these") && text.contains("Read on topic a (`") && text.contains("--topic b"),
            "{text}"
        );
        assert!(refused.advice().contains("on the topic: `helixstream topics check`"));
    }

    #[test]
    fn a_refused_login_is_waited_out() {
        use Code::*;
        for code in
            [RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR__SSL, RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED]
        {
            assert!(matches!(failure(code).remedy(Call::Consumer, "do it"), Error::Retry(_)));
            assert!(matches!(failure(code).remedy(Call::Admin, "do it"), Error::Retry(_)));
            assert!(matches!(failure(code).delivery("t"), Error::Aborted(_)));
            // What became of a commit is not known.
            assert!(matches!(failure(code).remedy(Call::Transaction, "do it"), Error::ProducerLost(_)));
        }
    }

    #[test]
    fn a_record_of_its_own_fault_is_told_from_a_failed_transaction() {
        assert!(matches!(failure(Code::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP).delivery("t"), Error::RecordTime(_)));
        assert!(matches!(failure(Code::RD_KAFKA_RESP_ERR_INVALID_RECORD).delivery("t"), Error::Record(_)));
        assert!(matches!(failure(Code::RD_KAFKA_RESP_ERR__PURGE_QUEUE).delivery("t"), Error::Aborted(_)));
        let other_record = Code::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD;
        assert!(matches!(failure(other_record).delivery("t"), Error::Aborted(_)));
    }

    #[test]
    fn a_batch_above_a_limit_says_nothing_of_its_records() {
        for code in BATCH {
            assert!(matches!(failure(*code).delivery("t"), Error::BatchTooLarge(_)));
        }
    }

    #[test]
    fn a_code_unknown_to_the_client_is_no_panic() {
        assert_eq!(describe(30_000), "error code 30000");
        assert!(Failure::of_number(0, None).is_none());
    }
}
