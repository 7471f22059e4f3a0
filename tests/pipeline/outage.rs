//! What an instance says while Kafka is away or a topic is gone: `/ready` is not 200 then and names
//! the cause, few lines tell of it, and it is over by itself.

use std::sync::Arc;

use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::trial::{Trial, database};
use testkit::Broker;

/// Short enough for a test: after so long without an answer Kafka counts as unreachable.
const QUICK: [&str; 4] = ["--no-mirror", "--set", "transaction_timeout=4s", "--threads=2"];

/// Waits until `/ready` answers 503 with a text that has `part`.
fn wait_until_told(instance: &mut Instance, part: &str) {
    instance.wait_for(part, |instance| {
        let page = instance.page("/ready")?;
        (page.starts_with("HTTP/1.1 503") && page.contains(part)).then_some(())
    });
}

/// The log lines above INFO.
fn warnings(instance: &Instance) -> Vec<String> {
    let lines = instance.log().into_iter().filter(|line| line["level"] == "WARN" || line["level"] == "ERROR");
    lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn an_idle_instance_says_that_kafka_is_away_and_that_it_is_back() {
    let trial = Trial::on_broker("away", Arc::new(Broker::start()));
    let mut events = Events::new(31, 40);
    let mut instance = trial.start("state", &QUICK);
    instance.wait_until_ready();
    trial.feed(&events.take(50));
    trial.wait_until_done(&mut [&mut instance]);
    // A mirror alone has nobody else to say it.
    let mut mirror = trial.start_mirror(&["--postgres-url", &database(), "--set", "session_timeout=4s"]);
    mirror.wait_until_ready();
    let told = "Kafka has not been reachable";

    // Connections stay open, and nothing answers.
    trial.broker().pause();
    wait_until_told(&mut instance, told);
    wait_until_told(&mut mirror, told);
    trial.broker().resume();
    instance.wait_until_ready();
    mirror.wait_until_ready();
    mirror.stop();

    // Nobody is there at all.
    trial.broker().kill();
    wait_until_told(&mut instance, told);
    trial.broker().restart();
    instance.wait_until_ready();

    trial.feed(&events.take(50));
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    let warnings = warnings(&instance);
    assert!(warnings.iter().any(|line| line.contains(told)), "{warnings:#?}");
    // Two outages, each told once and once a minute; of the connections no line is a warning.
    assert!(warnings.len() < 10, "{warnings:#?}");
    let of_client = instance.log().iter().filter(|line| line["target"] == "librdkafka").count();
    assert!(of_client < 60, "{of_client} lines of librdkafka");
    instance.stop();
}

#[test]
fn a_sink_that_was_deleted_is_named_as_the_cause() {
    let trial = Trial::new("gone", &[]);
    let mut events = Events::new(32, 40);
    let mut instance = trial.start("state", &QUICK);
    instance.wait_until_ready();
    trial.feed(&events.take(50));
    trial.wait_until_done(&mut [&mut instance]);
    Broker::shared().delete_topic(&trial.topic("snapshots"));
    trial.feed(&events.take(50));
    wait_until_told(&mut instance, &format!("topic `{}` does not exist any more", trial.topic("snapshots")));
    let warnings = warnings(&instance);
    assert!(!warnings.iter().any(|line| line.contains("transactional id")), "nobody else is suspected: {warnings:#?}");
    instance.kill();
}
