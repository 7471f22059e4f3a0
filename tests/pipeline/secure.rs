//! The whole topology on a Kafka that asks for encryption and for a name: the samples by SASL_SSL
//! with kills, and idle instances whose OAuth tokens run out.

use crate::events::Events;
use crate::expect;
use crate::trial::{Trial, assert_mirrored, database, memory_toml};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};
use testkit::secure::{Login, Options, SecureBroker};
use testkit::{repo_path, wait_until};

/// How long a token is good for here: idle instances have to be waited for until each of them has
/// expired. Below this the client's own timers are too coarse: it renews at four fifths of a
/// token's life, and logs in anew at nine tenths of what is left of it.
const TOKEN_LIFE: Duration = Duration::from_secs(10);

/// The broker of these tests.
fn broker() -> &'static SecureBroker {
    static BROKER: OnceLock<SecureBroker> = OnceLock::new();
    let options = Options { token_life: Some(TOKEN_LIFE), logs_requests: true, ..Options::default() };
    BROKER.get_or_init(|| SecureBroker::start(options))
}

/// The samples and generated events by SASL_SSL and SCRAM, while one of two instances is killed
/// again and again.
#[test]
fn the_samples_by_sasl_ssl_with_kills() {
    let broker = broker();
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

/// The clients of an instance of one stream thread: what each is, its `client.id` with `APP` and
/// `ID` for those of application and instance (that of a member of a group goes on with the
/// topology's digest), and a request of those that it makes when there is something to do.
const CLIENTS: [(&str, &str, &str); 8] = [
    ("the consumer", "APP-ID-0.", "SYNC_GROUP"),
    ("the producer", "APP-ID-0", "END_TXN"),
    ("the admin client", "APP-ID-admin", "LIST_OFFSETS"),
    ("the client that asks the group's coordinator", "APP-ID-groups", "OFFSET_FETCH"),
    ("the restore reader", "APP-ID-restore", "FETCH"),
    ("the reader of events for the mirror", "APP-mirror-ID-0.", "OFFSET_COMMIT"),
    ("the reader of resolved memories for the mirror", "APP-mirror-snapshots-ID-0.", "OFFSET_COMMIT"),
    ("the reader of conflicts for the mirror", "APP-mirror-conflicts-ID-0.", "OFFSET_COMMIT"),
];
/// The one more that an instance has whose topology has standbys.
const STANDBY: (&str, &str, &str) = ("the reader of standbys", "APP-ID-standby", "FETCH");

/// Whether the broker has done a request of this client since its log was so long.
fn has_served(since: u64, trial: &Trial, instance: &str, (_, client, name): (&str, &str, &str)) -> bool {
    let client = client.replace("APP", trial.application_id()).replace("ID", instance);
    let is_it = |id: &str| id == client || (client.ends_with('.') && id.starts_with(&client));
    broker().open().requests(since).iter().any(|request| request.name == name && is_it(&request.client))
}

/// The broker cuts a client off that makes a request in a session whose token has expired
/// (KIP-368), and lets nobody in by an expired token. So when all tokens that were given out have
/// expired while instances had nothing to do, a client whose requests are served afterwards has got
/// a new one meanwhile.
#[test]
fn each_client_renews_its_token_while_it_has_nothing_to_do() {
    let (broker, url, mut events) = (broker(), database(), Events::new(32, 40));
    // The admin client is left alone as well, for which an instance with standbys has a use again
    // and again.
    let make = |stem: &str, text: &str| {
        let (open, connection) = (broker.open().clone(), broker.login(Login::OAuth));
        Trial::by_connection_of(text, stem, &["check_interval=1h"], open, connection)
    };
    let trial = make("tokens", &memory_toml());
    let kept_warm = memory_toml().replace("\n[[store]]\n", "\n[[store]]\nstandby = 1\n");
    let standbys = make("standby-tokens", &kept_warm);
    let (arguments, apart) = (["--postgres-url", &url], ["--no-mirror"]);
    trial.feed(&events.take(200));
    standbys.feed(&events.take(200));
    let (mut first, mut warm) = (trial.start("first", &arguments), standbys.start("first", &apart));
    trial.wait_until_done(&mut [&mut first, &mut warm]);
    standbys.wait_until_done(&mut [&mut first, &mut warm]);
    let (before, expiry) = (broker.tokens().issued(), broker.tokens().expiry());
    wait_until("all tokens that were given out before to have expired", || {
        first.assert_running();
        warm.assert_running();
        SystemTime::now() > expiry
    });
    assert!(broker.tokens().issued() >= before + CLIENTS.len() as u64, "each client asks for a token of its own");

    let since = broker.open().log_length();
    // A second instance takes tasks over, and gives them back: then the first reads changelogs.
    let (mut second, _other) = (trial.start("second", &arguments), standbys.start("second", &apart));
    second.wait_for("tasks to move", |instance| (instance.running_tasks() > 0).then_some(()));
    trial.feed(&events.take(200));
    trial.wait_until_done(&mut [&mut first, &mut second]);
    second.stop();
    trial.feed(&events.take(200));
    trial.wait_until_done(&mut [&mut first]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    // The random id of the state slot, which is part of the clients' ids.
    let id = |trial: &Trial| std::fs::read_to_string(trial.path("first/0/instance")).unwrap();
    let clients = CLIENTS.map(|client| (&trial, id(&trial), client));
    for (trial, id, client) in clients.into_iter().chain([(&standbys, id(&standbys), STANDBY)]) {
        let what = format!("a request of {} to be served", client.0);
        wait_until(&what, || has_served(since, trial, &id, client));
    }
    first.stop();
    warm.stop();
}
