//! The proxy itself: each fault on each side is what it says, by what the broker then has.

use super::Servers;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;
use testkit::kafka_proxy::{Action, ApiKey, CallFault, Calls, Level, Side};
use testkit::{KafkaProxy, records, unique};

/// Kafka's code NOT_LEADER_OR_FOLLOWER, after which a client sends again.
const NOT_LEADER: i16 = 6;

/// A client whose records are not recognised when they come twice, and which loses patience soon.
fn client(proxy: &KafkaProxy) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", proxy.bootstrap()).set("socket.timeout.ms", "1000").set("linger.ms", "0");
    config.set("request.timeout.ms", "1000").set("retry.backoff.ms", "20");
    config
}

#[test]
fn what_the_client_sends_again_is_there_twice_where_the_broker_had_acted() {
    let servers = Servers::shared();
    let (broker, proxy) = (&servers.broker, KafkaProxy::start(servers.take_ports()));
    let error = Action::Error(NOT_LEADER, Level::Parts);
    let cases = [
        (error, Side::Before, 1),
        (error, Side::After, 2),
        (Action::Disconnect, Side::Before, 1),
        (Action::Disconnect, Side::After, 2),
        (Action::Swallow, Side::Before, 1),
        (Action::Swallow, Side::After, 2),
        // Neither is longer than the client waits.
        (Action::Delay(Duration::from_millis(100)), Side::Before, 1),
        (Action::Delay(Duration::from_millis(100)), Side::After, 1),
    ];
    for (action, side, expected) in cases {
        let topic = unique("proxied");
        broker.create_topic(&topic, 1, &[]);
        let producer: BaseProducer = client(&proxy).create().unwrap();
        proxy.arm(CallFault { api: ApiKey::Produce, calls: Calls::Number(1), side, action });
        producer.send(BaseRecord::to(&topic).key("k").payload("v")).unwrap();
        producer.flush(Duration::from_secs(60)).unwrap();
        let seen = proxy.seen();
        assert_eq!(seen.faults, 1, "{action:?} {side:?}");
        assert_eq!(records::read_committed(broker, &topic).len(), expected, "{action:?} {side:?}: {:?}", seen.calls);
    }
}

#[test]
fn every_call_has_the_fault_until_it_is_lifted_and_other_apis_have_none() {
    let servers = Servers::shared();
    let (broker, proxy) = (&servers.broker, KafkaProxy::start(servers.take_ports()));
    let topic = unique("proxied");
    broker.create_topic(&topic, 1, &[]);
    let consumer: BaseConsumer = client(&proxy).create().unwrap();
    let ask = || consumer.fetch_metadata(Some(&topic), Duration::from_secs(10)).unwrap();
    let is_known = || ask().topics()[0].error().is_none();
    assert!(is_known());

    let (unknown_topic, side) = (Action::Error(3, Level::Whole), Side::After);
    proxy.arm(CallFault { api: ApiKey::Metadata, calls: Calls::Every, side, action: unknown_topic });
    assert!(!is_known() && !is_known());
    // Metadata names the proxy, or the client would get past it.
    assert_eq!(format!("localhost:{}", ask().brokers()[0].port()), proxy.bootstrap());
    assert!(proxy.seen().faults >= 3);
    proxy.lift();
    let faults = proxy.seen().faults;
    assert!(is_known());
    assert_eq!(proxy.seen().faults, faults);

    proxy.arm(CallFault { api: ApiKey::ListOffsets, calls: Calls::Number(2), side, action: unknown_topic });
    assert!(is_known());
    assert_eq!(proxy.seen().faults, 0);
}
