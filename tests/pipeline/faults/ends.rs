//! How a run has to end, for each error of each API: with an error that says what somebody must do,
//! where nothing that a client can do mends it, and not at all otherwise.

use super::matrix::When;
use testkit::kafka_proxy::ApiKey;

/// How a process has to end that got a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It goes on.
    Never,
    /// It may go on, and ends with this code if it does not: which call of the API it is, and so
    /// whether a call after it mends the fault, differs from run to run.
    Maybe(&'static str),
    /// It ends with this code.
    Always(&'static str),
}

/// The end of a process over an error of an API.
pub fn end(api: ApiKey, error: &str, when: When) -> End {
    let Some((_, code)) = CODES.iter().find(|(known, _)| *known == error) else { return End::Never };
    let code = if (api, error) == (ApiKey::Metadata, "INVALID_TOPIC_EXCEPTION") { NO_TOPIC } else { code };
    let found = EXCEPTIONS.iter().find(|(apis, errors, _, _)| apis.contains(&api) && errors.contains(&error));
    match found {
        None => End::Always(code),
        Some((_, _, Goes::OnAfterOne, _)) if when == When::Every => End::Always(code),
        Some((_, _, Goes::OnAfterOne, _)) => End::Maybe(code),
        Some((_, _, Goes::On, _)) => End::Never,
    }
}

const NO_TOPIC: &str = "HS2004";
const REFUSED: &str = "HS2010";
const NO_RIGHT: &str = "HS2030";

/// Errors that Kafka documents as not retriable, and that neither a new producer nor a new member
/// of the group mends, with the code of the error that the process ends with.
/// UNKNOWN_TOPIC_OR_PARTITION is retriable there, but a topic that does not exist has to be created
/// by somebody.
const CODES: &[(&str, &str)] = &[
    ("CLUSTER_AUTHORIZATION_FAILED", NO_RIGHT),
    ("GROUP_AUTHORIZATION_FAILED", NO_RIGHT),
    ("TOPIC_AUTHORIZATION_FAILED", NO_RIGHT),
    ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", NO_RIGHT),
    ("GROUP_MAX_SIZE_REACHED", REFUSED),
    ("INVALID_CONFIG", REFUSED),
    ("INVALID_GROUP_ID", REFUSED),
    ("INVALID_PARTITIONS", REFUSED),
    ("INVALID_REPLICATION_FACTOR", REFUSED),
    ("INVALID_TOPIC_EXCEPTION", REFUSED),
    ("OFFSET_METADATA_TOO_LARGE", REFUSED),
    ("POLICY_VIOLATION", REFUSED),
    ("INVALID_TRANSACTION_TIMEOUT", "HS2011"),
    ("INVALID_SESSION_TIMEOUT", "HS2012"),
    ("INCONSISTENT_GROUP_PROTOCOL", "HS2013"),
    ("UNKNOWN_TOPIC_OR_PARTITION", NO_TOPIC),
];

/// Whether a process goes on over an error that else ends it.
enum Goes {
    On,
    /// Over one call; where each call has it, it ends.
    OnAfterOne,
}

/// The APIs of which some errors do not end a process, the errors, and why.
const EXCEPTIONS: &[(&[ApiKey], &[&str], Goes, &str)] = &[
    (
        &[ApiKey::Metadata, ApiKey::FindCoordinator],
        &[
            "GROUP_AUTHORIZATION_FAILED",
            "INVALID_TOPIC_EXCEPTION",
            "TOPIC_AUTHORIZATION_FAILED",
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            "UNKNOWN_TOPIC_OR_PARTITION",
        ],
        Goes::OnAfterOne,
        "librdkafka asks in the background as well, and asks again by itself",
    ),
    (
        &[ApiKey::OffsetFetch],
        &["GROUP_AUTHORIZATION_FAILED", "TOPIC_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_OR_PARTITION"],
        Goes::OnAfterOne,
        "the health check asks as well, and says in /ready alone what it was answered",
    ),
    (
        &[ApiKey::ListOffsets],
        &["TOPIC_AUTHORIZATION_FAILED"],
        Goes::OnAfterOne,
        "librdkafka drops the answer to a reader that was closed meanwhile",
    ),
    (
        &[ApiKey::Heartbeat, ApiKey::SyncGroup],
        &["GROUP_AUTHORIZATION_FAILED", "INCONSISTENT_GROUP_PROTOCOL"],
        Goes::On,
        "librdkafka joins the group again, and what refuses it there for good ends the process",
    ),
    (&[ApiKey::LeaveGroup], &["GROUP_AUTHORIZATION_FAILED"], Goes::On, "nobody waits for the answer"),
    (
        &[ApiKey::DescribeConfigs],
        &[
            "CLUSTER_AUTHORIZATION_FAILED",
            "INVALID_TOPIC_EXCEPTION",
            "TOPIC_AUTHORIZATION_FAILED",
            "UNKNOWN_TOPIC_OR_PARTITION",
        ],
        Goes::On,
        "settings are compared where they may be read, and a run needs none of them",
    ),
    (
        &[ApiKey::DeleteRecords],
        &["POLICY_VIOLATION", "UNKNOWN_TOPIC_OR_PARTITION"],
        Goes::On,
        "the next purge deletes what this one did not",
    ),
    (
        &[ApiKey::AddPartitionsToTxn, ApiKey::Fetch, ApiKey::ListOffsets, ApiKey::Produce, ApiKey::TxnOffsetCommit],
        &["UNKNOWN_TOPIC_OR_PARTITION"],
        Goes::On,
        "a leader may just not know of its partition yet; the metadata says whether there is such a topic",
    ),
];
