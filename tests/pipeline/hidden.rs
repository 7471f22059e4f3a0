//! A transaction that nobody ends stands in a task's way.

use crate::events::Events;
use crate::expect;
use crate::restore::{self, TIMEOUT};
use crate::trial::Trial;
use rdkafka::producer::Producer;
use testkit::Record;

#[test]
fn a_transaction_that_nobody_ends_is_told_of_and_waited_for() {
    let trial = Trial::new("hidden", &[]);
    let mut events = Events::new(9, 40);
    // It is told of after six times the longer one of transaction and session timeout.
    let mut instance = trial.start("state", &["--no-mirror", "--set", "transaction_timeout=4s"]);
    trial.feed(&events.take(200));
    trial.wait_until_done(&mut [&mut instance]);
    let stranger = restore::stranger(&trial);
    restore::write(&stranger, &trial.repartition(), &[Record::new("garbage", "garbage").in_partition(3)]);
    trial.feed(&events.take(200));
    let place = format!("{}-3: a hanging transaction has been open at offset", trial.repartition());
    instance.wait_for("the partition to be told of", |instance| {
        let told = instance.log().into_iter().filter_map(|line| line["message"].as_str().map(str::to_owned));
        told.filter(|message| message.contains("a hanging transaction has been open"))
            .find(|message| message.contains(&place))
    });
    stranger.abort_transaction(TIMEOUT).unwrap();
    trial.feed(&events.take(200));
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    let told = instance
        .log()
        .iter()
        .filter(|line| line["message"].as_str().is_some_and(|m| m.contains("has been open")))
        .count();
    assert_eq!(told, 1, "once, and no other partition");
    instance.stop();
}
