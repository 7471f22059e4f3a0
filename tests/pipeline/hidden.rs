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
    // `/ready` names the partition, and the counter counts it.
    let place = format!("of {}-3: a hanging transaction has been open there", trial.repartition());
    instance.wait_for("the partition to be reported", |instance| {
        instance.page("/ready").is_some_and(|page| page.contains(&place)).then_some(())
    });
    stranger.abort_transaction(TIMEOUT).unwrap();
    trial.feed(&events.take(200));
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    assert_eq!(instance.counter("hanging_transactions"), 1, "once, and no other partition");
    instance.stop();
}
