//! Answers that say an error: made from the request alone, in its version of the protocol, so that
//! they name the same topics, partitions and groups as a broker's answer would.

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup as DescribedConsumerGroup;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::MetadataResponse;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ApiKey, ApiVersionsResponse,
    BrokerId, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DescribeClusterResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, DescribeGroupsRequest, DescribeGroupsResponse, EndTxnResponse, FetchRequest,
    FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatResponse, InitProducerIdResponse,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, OffsetFetchRequest, OffsetFetchResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse, ProducerId, SyncGroupResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

/// Kafka's code for a version of a request that the broker does not know.
const UNSUPPORTED_VERSION: i16 = 35;

/// Part of an answer that an error stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The answer as a whole, where the API has a code for it.
    Whole,
    /// Each topic, partition, group or member that the request names.
    Parts,
}

/// The body of an answer to a request, with an error; `None` where the answer must be the broker's
/// own with the error put in ([`with_error`]), or where the API is not known here.
pub fn made(api: ApiKey, version: i16, request: &Bytes, code: i16, level: Level) -> Option<Bytes> {
    let e = (code, level);
    let v = version;
    Some(match api {
        ApiKey::Produce => encoded(&produce(&decoded(request, v), code), v),
        ApiKey::Fetch => encoded(&fetch(decoded(request, v), e), v),
        ApiKey::ListOffsets => encoded(&list_offsets(decoded(request, v), code), v),
        ApiKey::OffsetForLeaderEpoch => encoded(&offset_for_leader_epoch(decoded(request, v), code), v),
        ApiKey::FindCoordinator => encoded(&find_coordinator(decoded(request, v), v, code), v),
        ApiKey::JoinGroup => {
            let answer = JoinGroupResponse::default().with_error_code(code).with_generation_id(-1);
            let answer = answer.with_member_id(StrBytes::from_static_str("given-by-the-fault-proxy"));
            // The name of the protocol may be absent since this version.
            let answer = if v < 7 { answer.with_protocol_name(Some(StrBytes::new())) } else { answer };
            encoded(&answer, v)
        }
        ApiKey::SyncGroup => encoded(&SyncGroupResponse::default().with_error_code(code), v),
        ApiKey::Heartbeat => encoded(&HeartbeatResponse::default().with_error_code(code), v),
        ApiKey::LeaveGroup => encoded(&leave_group(decoded(request, v), v, e), v),
        ApiKey::OffsetFetch => encoded(&offset_fetch(decoded(request, v), v, e), v),
        ApiKey::InitProducerId => {
            let answer = InitProducerIdResponse::default().with_error_code(code);
            encoded(&answer.with_producer_id(ProducerId(-1)).with_producer_epoch(-1), v)
        }
        ApiKey::AddPartitionsToTxn => encoded(&add_partitions(decoded(request, v), v, code), v),
        ApiKey::AddOffsetsToTxn => encoded(&AddOffsetsToTxnResponse::default().with_error_code(code), v),
        ApiKey::TxnOffsetCommit => encoded(&txn_offset_commit(decoded(request, v), code), v),
        ApiKey::EndTxn => encoded(&EndTxnResponse::default().with_error_code(code), v),
        ApiKey::DescribeConfigs => encoded(&describe_configs(decoded(request, v), code), v),
        ApiKey::CreateTopics => encoded(&create_topics(decoded(request, v), code), v),
        ApiKey::DeleteRecords => encoded(&delete_records(decoded(request, v), code), v),
        ApiKey::ListGroups => encoded(&ListGroupsResponse::default().with_error_code(code), v),
        ApiKey::DescribeGroups => encoded(&describe_groups(decoded(request, v), code), v),
        ApiKey::ConsumerGroupDescribe => encoded(&consumer_group_describe(decoded(request, v), code), v),
        ApiKey::DescribeCluster => encoded(&DescribeClusterResponse::default().with_error_code(code), v),
        ApiKey::ApiVersions => {
            let known = ApiVersion::default().with_api_key(ApiKey::ApiVersions as i16).with_max_version(3);
            let answer = ApiVersionsResponse::default().with_error_code(code).with_api_keys(vec![known]);
            // A broker answers a version that it does not know in the oldest form.
            encoded(&answer, if code == UNSUPPORTED_VERSION { 0 } else { v })
        }
        _ => return None,
    })
}

/// Whether what a request asks for has a place for an error on this level.
pub fn has_place(api: ApiKey, version: i16, request: &Bytes, level: Level) -> bool {
    match (api, level) {
        (ApiKey::Metadata, _) => !asks_for_brokers_alone(&decoded(request, version), version),
        // It may ask for all partitions without naming one.
        (ApiKey::OffsetFetch, Level::Parts) => {
            let request: OffsetFetchRequest = decoded(request, version);
            let of_groups = request.groups.iter().flat_map(|group| group.topics.iter().flatten());
            let mut partitions = of_groups.map(|topic| &topic.partition_indexes);
            let mut older = request.topics.iter().flatten().map(|topic| &topic.partition_indexes);
            partitions.any(|named| !named.is_empty()) || older.any(|named| !named.is_empty())
        }
        // The request of a session may name only what has changed.
        (ApiKey::Fetch, Level::Parts) => {
            let request: FetchRequest = decoded(request, version);
            request.topics.iter().any(|topic| !topic.partitions.is_empty())
        }
        _ => true,
    }
}

/// Whether a client asks who the brokers are, as each does that has just connected. In the first
/// version no topic means all topics.
fn asks_for_brokers_alone(request: &MetadataRequest, version: i16) -> bool {
    version > 0 && request.topics.as_ref().is_some_and(Vec::is_empty)
}

/// The body of a broker's answer with an error put in, for an API whose answers tell more than what
/// was asked; `None` for the others, and where the answer has no place for the error.
pub fn with_error(api: ApiKey, version: i16, answer: &Bytes, code: i16, level: Level) -> Option<Bytes> {
    if api != ApiKey::Metadata {
        return None;
    }
    let mut answer: MetadataResponse = decoded(answer, version);
    if answer.topics.iter().all(|topic| level == Level::Parts && topic.partitions.is_empty()) {
        return None;
    }
    for topic in &mut answer.topics {
        match level {
            Level::Whole => {
                topic.error_code = code;
                topic.partitions.clear();
            }
            Level::Parts => {
                for partition in &mut topic.partitions {
                    partition.error_code = code;
                    partition.leader_id = BrokerId(-1);
                }
            }
        }
    }
    Some(encoded(&answer, version))
}

fn decoded<T: Decodable>(bytes: &Bytes, version: i16) -> T {
    T::decode(&mut bytes.clone(), version).expect("clients and brokers keep to the protocol")
}

fn encoded(message: &impl Encodable, version: i16) -> Bytes {
    let mut bytes = Vec::new();
    message.encode(&mut bytes, version).expect("the version has what an error says");
    bytes.into()
}

fn produce(request: &ProduceRequest, code: i16) -> ProduceResponse {
    let topics = request.topic_data.iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|partition| {
            let answer = PartitionProduceResponse::default().with_index(partition.index).with_error_code(code);
            answer.with_base_offset(-1)
        });
        let answer = TopicProduceResponse::default().with_name(topic.name.clone()).with_topic_id(topic.topic_id);
        answer.with_partition_responses(partitions.collect())
    });
    ProduceResponse::default().with_responses(topics.collect())
}

fn fetch(request: FetchRequest, (code, level): (i16, Level)) -> FetchResponse {
    if level == Level::Whole {
        return FetchResponse::default().with_error_code(code);
    }
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let answer = PartitionData::default().with_partition_index(partition.partition).with_error_code(code);
            answer.with_high_watermark(-1).with_records(Some(Bytes::new()))
        });
        let partitions = partitions.collect();
        let answer = FetchableTopicResponse::default().with_topic(topic.topic).with_topic_id(topic.topic_id);
        answer.with_partitions(partitions)
    });
    FetchResponse::default().with_responses(topics.collect())
}

fn list_offsets(request: ListOffsetsRequest, code: i16) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(partition.partition_index);
            answer.with_error_code(code)
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn offset_for_leader_epoch(request: OffsetForLeaderEpochRequest, code: i16) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| EpochEndOffset::default().with_partition(partition.partition).with_error_code(code));
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn find_coordinator(request: FindCoordinatorRequest, version: i16, code: i16) -> FindCoordinatorResponse {
    let nobody = BrokerId(-1);
    if version < 4 {
        return FindCoordinatorResponse::default().with_error_code(code).with_node_id(nobody).with_port(-1);
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        let answer = Coordinator::default().with_key(key).with_error_code(code);
        answer.with_node_id(nobody).with_port(-1)
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

fn leave_group(request: LeaveGroupRequest, version: i16, (code, level): (i16, Level)) -> LeaveGroupResponse {
    if level == Level::Whole || version < 3 {
        return LeaveGroupResponse::default().with_error_code(code);
    }
    let members = request.members.into_iter().map(|member| {
        let answer = MemberResponse::default().with_member_id(member.member_id);
        answer.with_group_instance_id(member.group_instance_id).with_error_code(code)
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

fn offset_fetch(request: OffsetFetchRequest, version: i16, (code, level): (i16, Level)) -> OffsetFetchResponse {
    if version < 8 {
        let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                let answer = OffsetFetchResponsePartition::default().with_partition_index(*index);
                answer.with_committed_offset(-1).with_error_code(code)
            });
            let partitions = partitions.collect();
            OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
        });
        let answer = OffsetFetchResponse::default().with_topics(topics.collect());
        return if level == Level::Whole { answer.with_error_code(code) } else { answer };
    }
    let groups = request.groups.into_iter().map(|group| {
        let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
        if level == Level::Whole {
            return answer.with_error_code(code);
        }
        let topics = group.topics.unwrap_or_default().into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                let answer = OffsetFetchResponsePartitions::default().with_partition_index(*index);
                answer.with_committed_offset(-1).with_error_code(code)
            });
            let partitions = partitions.collect();
            let answer = OffsetFetchResponseTopics::default().with_name(topic.name).with_topic_id(topic.topic_id);
            answer.with_partitions(partitions)
        });
        answer.with_topics(topics.collect())
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

fn add_partitions(request: AddPartitionsToTxnRequest, version: i16, code: i16) -> AddPartitionsToTxnResponse {
    let result = |topic: kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let answer = AddPartitionsToTxnPartitionResult::default().with_partition_index(*partition);
            answer.with_partition_error_code(code)
        });
        let partitions = partitions.collect();
        AddPartitionsToTxnTopicResult::default().with_name(topic.name).with_results_by_partition(partitions)
    };
    if version < 4 {
        let topics = request.v3_and_below_topics.into_iter().map(result).collect();
        return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics);
    }
    let transactions = request.transactions.into_iter().map(|transaction| {
        let topics = transaction.topics.into_iter().map(result).collect();
        let answer = AddPartitionsToTxnResult::default().with_transactional_id(transaction.transactional_id);
        answer.with_topic_results(topics)
    });
    AddPartitionsToTxnResponse::default().with_results_by_transaction(transactions.collect())
}

fn txn_offset_commit(request: TxnOffsetCommitRequest, code: i16) -> TxnOffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let answer = TxnOffsetCommitResponsePartition::default().with_partition_index(partition.partition_index);
            answer.with_error_code(code)
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

fn describe_configs(request: DescribeConfigsRequest, code: i16) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        let answer = DescribeConfigsResult::default().with_resource_type(resource.resource_type);
        answer.with_resource_name(resource.resource_name).with_error_code(code)
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn create_topics(request: CreateTopicsRequest, code: i16) -> CreateTopicsResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| CreatableTopicResult::default().with_name(topic.name).with_error_code(code));
    CreateTopicsResponse::default().with_topics(topics.collect())
}

fn delete_records(request: DeleteRecordsRequest, code: i16) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let answer = DeleteRecordsPartitionResult::default().with_partition_index(partition.partition_index);
            answer.with_low_watermark(-1).with_error_code(code)
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

fn describe_groups(request: DescribeGroupsRequest, code: i16) -> DescribeGroupsResponse {
    let groups =
        request.groups.into_iter().map(|group| DescribedGroup::default().with_group_id(group).with_error_code(code));
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn consumer_group_describe(request: ConsumerGroupDescribeRequest, code: i16) -> ConsumerGroupDescribeResponse {
    let groups = request
        .group_ids
        .into_iter()
        .map(|group| DescribedConsumerGroup::default().with_group_id(group).with_error_code(code));
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
    use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
    use kafka_protocol::messages::{
        AddOffsetsToTxnRequest, ApiVersionsRequest, DescribeClusterRequest, EndTxnRequest, HeartbeatRequest,
        InitProducerIdRequest, JoinGroupRequest, ListGroupsRequest, SyncGroupRequest, TopicName,
    };
    use kafka_protocol::protocol::{Message, Request};

    /// Holds the answers of an API in all versions: each is a whole answer of its version.
    fn check<R: Request + Default>() {
        let api = ApiKey::try_from(R::KEY).unwrap();
        for version in R::VERSIONS.min..=R::VERSIONS.max {
            let request = encoded(&R::default(), version);
            for level in [Level::Whole, Level::Parts] {
                let mut answer = made(api, version, &request, 15, level).unwrap();
                if version < R::Response::VERSIONS.min {
                    continue;
                }
                decoded_whole::<R::Response>(&mut answer, version);
            }
        }
    }

    fn decoded_whole<T: Decodable>(answer: &mut Bytes, version: i16) {
        T::decode(answer, version).unwrap();
        assert!(answer.is_empty(), "bytes are left in version {version}");
    }

    #[test]
    fn an_error_has_a_place_only_in_what_is_asked_for() {
        let has_place = |topics, version| {
            let request = encoded(&MetadataRequest::default().with_topics(topics), version);
            has_place(ApiKey::Metadata, version, &request, Level::Whole)
        };
        assert!(has_place(Some(Vec::new()), 0), "all topics, in the first version");
        assert!(has_place(None, 12), "all topics");
        assert!(has_place(Some(vec![MetadataRequestTopic::default().with_name(Some(TopicName::default()))]), 12));
        assert!(!has_place(Some(Vec::new()), 12), "the brokers alone");

        for version in [7, 8] {
            let (request, group) = (OffsetFetchRequest::default(), OffsetFetchRequestGroup::default());
            let all = match version {
                7 => request.with_topics(None),
                _ => request.with_groups(vec![group.with_topics(None)]),
            };
            let all = encoded(&all, version);
            assert!(!super::has_place(ApiKey::OffsetFetch, version, &all, Level::Parts));
            assert!(super::has_place(ApiKey::OffsetFetch, version, &all, Level::Whole));
        }
    }

    #[test]
    fn an_answer_without_a_place_for_the_error_is_not_taken_for_one_with_it() {
        let answer = |topics| encoded(&MetadataResponse::default().with_topics(topics), 12);
        let with_error = |answer, level| with_error(ApiKey::Metadata, 12, &answer, 5, level);
        assert_eq!(with_error(answer(Vec::new()), Level::Whole), None);
        let missing = MetadataResponseTopic::default().with_name(Some(TopicName::default()));
        assert_eq!(with_error(answer(vec![missing.clone()]), Level::Parts), None);
        assert!(with_error(answer(vec![missing]), Level::Whole).is_some());
    }

    #[test]
    fn an_error_can_be_told_in_each_version_of_each_api() {
        check::<ProduceRequest>();
        check::<FetchRequest>();
        check::<ListOffsetsRequest>();
        check::<OffsetForLeaderEpochRequest>();
        check::<FindCoordinatorRequest>();
        check::<JoinGroupRequest>();
        check::<SyncGroupRequest>();
        check::<HeartbeatRequest>();
        check::<LeaveGroupRequest>();
        check::<OffsetFetchRequest>();
        check::<InitProducerIdRequest>();
        check::<AddPartitionsToTxnRequest>();
        check::<AddOffsetsToTxnRequest>();
        check::<TxnOffsetCommitRequest>();
        check::<EndTxnRequest>();
        check::<DescribeConfigsRequest>();
        check::<CreateTopicsRequest>();
        check::<DeleteRecordsRequest>();
        check::<ListGroupsRequest>();
        check::<DescribeGroupsRequest>();
        check::<ConsumerGroupDescribeRequest>();
        check::<DescribeClusterRequest>();
        check::<ApiVersionsRequest>();
    }
}
