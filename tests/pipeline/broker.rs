//! A broker that dies, freezes or runs out of disk in mid-stream: the stream pauses, and goes on
//! when it is back.

use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::trial::{Trial, assert_mirrored};
use std::sync::Arc;
use testkit::{Broker, Postgres, SmallDisk, wait_until};

/// Feeds, breaks the broker and mends it, twice; all that was published comes out once.
fn goes_on_after(stem: &str, broker: Arc<Broker>, break_and_mend: impl Fn(&Broker)) {
    let trial = Trial::on_broker(stem, broker);
    let url = Postgres::shared().create_database();
    let mut events = Events::new(14, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let mut instance = trial.start("state", &["--threads", "2", "--postgres-url", &url]);
    for _ in 0..2 {
        let goes_on = |instance: &mut Instance| {
            let (records, rows) = (instance.records(), instance.metric("mirror_rows", ""));
            let more = |i: &Instance| i.records() > records + 100 && i.metric("mirror_rows", "") > rows;
            instance.wait_for("the stream and the mirror to go on", |i| more(i).then_some(()));
        };
        goes_on(&mut instance);
        break_and_mend(trial.broker());
        goes_on(&mut instance);
    }
    feeder.stop();
    trial.wait_until_done(&mut [&mut instance]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    instance.stop();
}

#[test]
fn a_broker_that_is_killed_and_comes_back() {
    goes_on_after("killed", Arc::new(Broker::start()), |broker| {
        broker.kill();
        broker.restart();
    });
}

#[test]
fn a_broker_whose_disk_is_full_for_a_while() {
    // The broker has an index of 10 MiB for each of its partitions, which takes no room until it is
    // written to.
    let Some(disk) = SmallDisk::new(400, (0, 0)) else { return };
    goes_on_after("broker-disk", Arc::new(Broker::start_on(disk)), |broker| {
        broker.disk().fill();
        wait_until("the broker to give up", || broker.has_ended());
        broker.disk().free();
        broker.restart();
    });
}
