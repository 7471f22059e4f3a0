//! The whole topology on a Kafka that asks for encryption and for a name: the samples by SASL_SSL with kills, and an idle instance whose OAuth tokens run out.

use crate::events::Events;
use crate::expect;
use crate::support::secure::{Login, Options, PASSWORD, SecureBroker, USER};
use crate::support::{repo_path, wait_until};
use crate::trial::{Trial, assert_mirrored, database};

/// The samples and generated events by SASL_SSL and SCRAM, while one of two instances is killed again and again.
#[test]
fn the_samples_by_sasl_ssl_with_kills() {
    let broker = SecureBroker::shared();
    let trial = Trial::by_connection("sasl-ssl", broker.open().clone(), broker.login(Login::Scram512));
    let url = database();
    let arguments = ["--threads", "2", "--postgres-url", &url];
    let file = repo_path("tests/fixtures/helixagent-events.jsonl");
    trial.produce(file.to_str().unwrap(), 305);
    let mut events = Events::new(31, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let mut first = trial.start("first", &arguments);
    let mut second = trial.start("second", &arguments);
    for _ in 0..2 {
        second.wait_for("the instance to have work", |instance| (instance.records() > 100).then_some(()));
        second.kill();
        second = trial.start("second", &arguments);
    }
    second.wait_for("the instance to have work again", |instance| (instance.records() > 0).then_some(()));
    feeder.stop();
    trial.wait_until_done(&mut [&mut first, &mut second]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    first.stop();
    second.stop();
}

/// Clients of an instance: of its one thread a consumer and a producer, of all threads the one that reads changelogs and the one that
/// administers, and a reader of each of the three mirrors.
const CLIENTS: u64 = 7;

/// Tokens are good for 30 s, and the broker ends the session of a client whose token has run out. So an instance that has had nothing to do for longer
/// than that works on only if each of its clients, which nobody polls meanwhile, has got a new one.
#[test]
fn tokens_are_renewed_while_nothing_happens() {
    let broker = SecureBroker::shared();
    let trial = Trial::by_connection("tokens", broker.open().clone(), broker.login(Login::OAuth));
    let url = database();
    let arguments = ["--postgres-url", &url];
    let mut events = Events::new(32, 40);
    trial.feed(&events.take(200));
    let mut first = trial.start("first", &arguments);
    trial.wait_until_done(&mut [&mut first]);
    let before = broker.tokens().issued();
    wait_until("every idle client to have renewed its token twice", || {
        first.assert_running();
        broker.tokens().issued() >= before + 2 * CLIENTS
    });
    // A second instance takes tasks over, and gives them back: then the first reads changelogs again.
    let mut second = trial.start("second", &arguments);
    second.wait_for("tasks to move", |instance| (instance.running_tasks() > 0).then_some(()));
    trial.feed(&events.take(200));
    trial.wait_until_done(&mut [&mut first, &mut second]);
    second.stop();
    trial.feed(&events.take(200));
    trial.wait_until_done(&mut [&mut first]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    first.stop();
}

/// A broker that refuses the login of an instance that runs is an outage: the instance waits, says what to do, and goes on by itself when it is let in again.
#[test]
fn a_login_that_is_refused_for_a_while() {
    let broker = SecureBroker::start(Options { reauthenticate_ms: 2_000, ..Options::default() });
    let trial = Trial::by_connection("refused", broker.open().clone(), broker.login(Login::Scram256));
    let url = database();
    let mut events = Events::new(33, 40);
    trial.feed(&events.take(100));
    let mut instance = trial.start("state", &["--postgres-url", &url]);
    trial.wait_until_done(&mut [&mut instance]);
    broker.set_password(USER, "another-password");
    trial.feed(&events.take(100));
    instance.wait_for("a line that says what is refused", |instance| {
        let says = |line: &serde_json::Value| {
            let text = line["message"].as_str().unwrap_or_default();
            text.contains("Kafka has not been reachable")
                && text.contains("refuses the login")
                && text.contains("`password`")
        };
        instance.log().iter().any(says).then_some(())
    });
    broker.set_password(USER, PASSWORD);
    trial.wait_until_done(&mut [&mut instance]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    instance.stop();
}
