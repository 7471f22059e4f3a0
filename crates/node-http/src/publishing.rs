//! The wait for the broker that a write can ask for with `?ack=kafka`.

use std::time::Duration;

use axum::http::StatusCode;
use http::Problem;
use node::shown::{EventState, Publishing};

use crate::description::{Parameter, Shape};
use crate::problems;
use crate::request::Parameters;
use crate::service::NodeService;

/// How long a write waits for the broker where it does not say so, in seconds.
const DEFAULT_SECONDS: usize = 10;
/// How long it may wait at most, in seconds: the server closes a connection whose answer takes 30
/// seconds.
const MOST_SECONDS: usize = 25;

/// The query parameter that says how far an event is to be.
pub(crate) static ACK: Parameter = Parameter::query(
    "ack",
    Shape::WordsOrFirst(&["local", "kafka"]),
    "`local` (the default): answer when the write is on the disk of this node. `kafka`: answer when Kafka has \
     committed its event, or with 202 if that takes longer than `ack_timeout`.",
);
/// The query parameter that says how long to wait for Kafka.
pub(crate) static ACK_TIMEOUT: Parameter = Parameter::query(
    "ack_timeout",
    Shape::Range { least: 1, most: MOST_SECONDS, default: Some(DEFAULT_SECONDS) },
    "With ack=kafka: how many seconds to wait.",
);

/// How far an event is to be before the write is answered.
pub(crate) enum Acknowledgement {
    /// It lies on the disk of this node.
    Local,
    /// Kafka has committed it, or this time is over.
    Kafka(Duration),
}

impl Acknowledgement {
    /// Reads it from the query parameters of a write.
    pub fn of(parameters: &Parameters) -> Result<Acknowledgement, Problem> {
        let seconds = parameters.number(&ACK_TIMEOUT)?;
        match (parameters.text(&ACK)?.as_deref(), seconds) {
            (Some("kafka"), seconds) => {
                let seconds = u64::try_from(seconds.unwrap_or(DEFAULT_SECONDS)).unwrap_or_default();
                Ok(Acknowledgement::Kafka(Duration::from_secs(seconds)))
            }
            (Some("local") | None, None) => Ok(Acknowledgement::Local),
            (Some("local") | None, Some(_)) => {
                Err(problems::malformed("`ack_timeout` has a meaning with ack=kafka alone"))
            }
            (Some(_), _) => Err(problems::malformed("the query parameter `ack` should be local or kafka")),
        }
    }

    /// Waits as long as the write asks for. Returns the status of the answer, which is `done`, or
    /// 202 where the event is not published in time, and the state of the event.
    pub async fn wait(
        &self,
        service: &NodeService,
        event_id: &str,
        done: StatusCode,
    ) -> Result<(StatusCode, EventState), Problem> {
        let Acknowledgement::Kafka(limit) = self else { return Ok((done, EventState::Pending)) };
        match tokio::time::timeout(*limit, service.node.wait_published(event_id)).await {
            // An event that was accepted and that the node no longer knows was published long ago.
            Ok(Ok(Publishing::Published | Publishing::Unknown)) => Ok((done, EventState::Published)),
            Ok(Ok(Publishing::Failed(reason))) => Err(problems::refused_by_broker(event_id, &reason)),
            Ok(Err(error)) => Err(problems::of_database(&error)),
            Err(_) => Ok((StatusCode::ACCEPTED, EventState::Pending)),
        }
    }
}
