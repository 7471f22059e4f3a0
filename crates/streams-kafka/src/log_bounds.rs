//! The bounds of a log: two requests, each with an answer of its own.

use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::error::Failure;
use super::list::List;
use streams::record::TopicPartition;

/// In the place of a time: the first offset of the log, and the one behind its last record
/// (KIP-79).
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// The first offset of a partition's log, and the one behind its end as the client's isolation
/// level has it. Waits for `limit` at most for each of the two.
///
/// Not by `rd_kafka_query_watermark_offsets`: its two requests share one place for their error, so
/// where the first one fails and the second one does not, it may report that all went well, with
/// the end for both (librdkafka 2.12.1). A log with records would seem to be empty.
///
/// # Errors
/// The failure of the first request that fails.
///
/// # Safety
/// `client` is a live client.
pub(super) unsafe fn log_bounds(
    client: *mut sys::rd_kafka_t,
    partition: &TopicPartition,
    limit: Duration,
) -> Result<(i64, i64), Failure> {
    let limit = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    let ask = |place: i64| {
        let mut list = List::new(1);
        list.add(&partition.topic, partition.partition, place, "");
        // A name with a NUL in it has no place in a list, and no topic has such a name.
        let invalid = Code::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
        let code = match list.entries().is_empty() {
            true => invalid,
            // SAFETY: a live client and a live list, which the call fills in.
            false => unsafe { sys::rd_kafka_offsets_for_times(client, list.as_ptr(), limit) },
        };
        if let Some(failure) = Failure::of(code) {
            return Err(failure);
        }
        let (error, offset) =
            list.entries().first().map_or((invalid as i32, place), |entry| (entry.error, entry.offset));
        // An answer that lacks the partition leaves the place in the list.
        let error = if error == 0 && offset < 0 { Code::RD_KAFKA_RESP_ERR__BAD_MSG as i32 } else { error };
        Failure::of_number(error, None).map_or(Ok(offset), Err)
    };
    Ok((ask(EARLIEST)?, ask(LATEST)?))
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::bindings::rd_kafka_resp_err_t as Code;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::types::RDKafkaApiKey;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_log_is_not_empty_where_one_of_two_answers_is_an_error() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let servers = cluster.bootstrap_servers();
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
        for _ in 0..3 {
            producer.send(BaseRecord::<(), str>::to("t").partition(0).payload("x")).unwrap();
        }
        producer.flush(LIMIT).unwrap();
        let bounds = || {
            // SAFETY: a live client.
            unsafe { log_bounds(producer.client().native_ptr(), &TopicPartition::new("t", 0), LIMIT) }
        };
        assert_eq!(bounds().unwrap(), (0, 3));
        let refusal = Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        for before in 0..2 {
            let answers = [vec![Code::RD_KAFKA_RESP_ERR_NO_ERROR; before], vec![refusal]].concat();
            cluster.request_errors(RDKafkaApiKey::ListOffsets, &answers);
            assert_eq!(bounds().unwrap_err().code, refusal as i32, "answer {before} is refused");
            assert_eq!(bounds().unwrap(), (0, 3));
        }
    }

    #[test]
    fn a_name_that_no_topic_can_have_is_refused() {
        let cluster = MockCluster::new(1).unwrap();
        let servers = cluster.bootstrap_servers();
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
        // SAFETY: a live client.
        let found = unsafe { log_bounds(producer.client().native_ptr(), &TopicPartition::new("a\0b", 0), LIMIT) };
        assert_eq!(found.unwrap_err().code, Code::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION as i32);
    }
}
