//! A PostgreSQL that is away for a while: the stream goes on, and afterwards each event has its row, once.

use crate::events::Events;
use crate::expect;
use crate::support::Postgres;
use crate::trial::{Trial, assert_mirrored};

#[test]
fn postgres_stopped_for_a_while() {
    let (trial, postgres) = (Trial::new("away", &[]), Postgres::start());
    let url = postgres.create_database();
    let mut events = Events::new(7, 40);
    let arguments = ["--threads", "2", "--postgres-url", &url];
    let mut instance = trial.start("state", &arguments);
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut instance]);
    assert_mirrored(&url, &trial.read("events"));

    postgres.stop();
    trial.feed(&events.take(300));
    // The stream does not wait for the mirror.
    trial.wait_until_done(&mut [&mut instance]);
    instance.wait_for("the mirror to be down", |instance| {
        (instance.metric("mirror_down", ".events\"") == 1.0).then_some(())
    });
    instance.stop();
    // Nor does a start.
    let mut instance = trial.start("state", &arguments);
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut instance]);

    postgres.restart();
    let published = expect::assert_outputs(&trial);
    assert_eq!(published.len(), 900);
    assert_mirrored(&url, &published);
    // Ended at once, as in a crash, while rows are written.
    let mut more = Events::new(8, 40);
    let feeder = trial.feed_on(move || more.take(20));
    let rows = instance.metric("mirror_rows", ".events\"");
    instance.wait_for("rows again", |instance| (instance.metric("mirror_rows", ".events\"") > rows).then_some(()));
    postgres.kill();
    instance.wait_for("the mirror to be down", |instance| {
        (instance.metric("mirror_down", ".events\"") == 1.0).then_some(())
    });
    postgres.restart();
    feeder.stop();
    trial.wait_until_done(&mut [&mut instance]);
    assert_mirrored(&url, &trial.read("events"));
    instance.stop();
}
