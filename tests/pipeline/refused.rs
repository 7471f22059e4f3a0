//! A connection that is refused while an instance runs is an outage, whichever side refuses it: a
//! certificate of the broker that has expired or is of an unknown authority, a client certificate
//! that the broker does not trust any more, a password that it does not know any more. The instance
//! waits, says once a minute what to do, and goes on by itself.

use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::trial::{Trial, assert_mirrored, database, memory_toml};
use std::time::{Duration, Instant};
use testkit::certificates::{Authority, CertificateRequest};
use testkit::records::Record;
use testkit::secure::{Login, Options, PASSWORD, SecureBroker, USER};
use testkit::wait_until;

/// How long the outage lasts, at least: the client gives up after 30 s to wait for an answer.
const OUTAGE: Duration = Duration::from_secs(36);

/// An instance that comes in by one of the ways, and what it says when it is refused.
struct Guest {
    trial: Trial,
    url: String,
    instance: Instance,
    events: Events,
    says: &'static [&'static str],
}

impl Guest {
    /// With all done that there was to do.
    fn start(broker: &SecureBroker, login: Login, says: &'static [&'static str]) -> Guest {
        let (open, connection) = (broker.open().clone(), broker.login(login));
        // After the first of these without an answer Kafka counts as unreachable: longer than a
        // broker takes to restart, as a rule, so that the first line already tells of the refusal.
        // By the second, something is asked soon after the outage has begun.
        let settings = ["transaction_timeout=20s", "check_interval=2s"];
        let trial = Trial::by_connection_of(&memory_toml(), "refused", &settings, open, connection);
        let (url, mut events) = (database(), Events::new(33 + login as u64, 40));
        trial.feed(&events.take(100));
        let mut instance = trial.start("state", &["--postgres-url", &url]);
        trial.wait_until_done(&mut [&mut instance]);
        Guest { trial, url, instance, events, says }
    }

    /// Waits until a warning says what is refused and what to do.
    fn wait_until_warned(&mut self) {
        let says = self.says;
        self.instance.wait_for(&format!("a warning with {says:?}"), |instance| {
            let warnings = warnings(instance);
            warnings.iter().any(|line| says.iter().all(|part| line.contains(part))).then_some(())
        });
    }

    /// Waits until `/ready` answers 503 and says all of this.
    fn wait_until_told(&mut self, parts: &[&str]) {
        self.instance.wait_for(&format!("/ready to say {parts:?}"), |instance| {
            let page = instance.page("/ready")?;
            (page.starts_with("HTTP/1.1 503") && parts.iter().all(|part| page.contains(part))).then_some(())
        });
    }

    /// Waits until it is done with everything, and holds what came out.
    fn finish(mut self) {
        self.trial.wait_until_done(&mut [&mut self.instance]);
        self.instance.wait_until_ready();
        let events: Vec<Record> = expect::assert_outputs(&self.trial);
        assert_mirrored(&self.url, &events);
        self.instance.stop();
    }
}

/// The warnings that Kafka cannot be reached.
fn warnings(instance: &Instance) -> Vec<String> {
    let lines = instance.log().into_iter().filter(|line| line["level"] == "WARN");
    let lines = lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned());
    lines.filter(|line| line.contains("Kafka has not been reachable")).collect()
}

/// Does something with each, all at once.
fn with_each<T: Send>(all: Vec<T>, act: impl Fn(T) + Sync) {
    std::thread::scope(|scope| all.into_iter().for_each(|one| _ = scope.spawn(|| act(one))));
}

#[test]
fn a_refused_certificate_or_password_is_an_outage_of_a_running_instance() {
    let broker = SecureBroker::start(Options::default());
    let expired: &[&str] =
        &["this client refuses the TLS certificate", "it has expired. Renew the certificate on the broker"];
    let cases: [(Login, &[&str]); 3] = [
        (Login::Tls, expired),
        (Login::MutualTls, &["client certificate", "`certificate_file` and `key_file`"]),
        (Login::Scram256, &["refuses the login", "Check `user` and `password`"]),
    ];
    let mut guests = std::thread::scope(|scope| {
        let broker = &broker;
        let starts = cases.map(|(login, says)| scope.spawn(move || Guest::start(broker, login, says)));
        starts.map(|start| start.join().expect("a start"))
    });

    // Connections that are open stay as they are, so the broker ends them: it restarts.
    let (authority, stranger) = (broker.authority(), Authority::new("stranger"));
    broker
        .show(Login::Tls, &authority.sign_request(CertificateRequest { name: "broker", host: "localhost", days: -1 }));
    broker.trust(Login::MutualTls, &stranger);
    broker.set_password(USER, "another-password");
    broker.open().kill();
    let began = Instant::now();
    broker.open().restart();
    for guest in &mut guests {
        guest.trial.feed(&guest.events.take(100));
        guest.wait_until_told(guest.says);
        guest.wait_until_warned();
    }

    // Longer than the client waits for any answer: what it has asked meanwhile must not trouble it
    // when the broker lets it in again.
    wait_until("an outage that no request outlives", || began.elapsed() > OUTAGE);

    // The page tells of what is wrong now, the log once a minute.
    broker.show(Login::Tls, &stranger.sign("broker"));
    guests[0].wait_until_told(&["the authority that signed it is not known here", "`ca_file`"]);
    for guest in &guests {
        let (warnings, minutes) = (warnings(&guest.instance), began.elapsed().as_secs() / 60);
        assert!(warnings.len() as u64 <= 1 + minutes, "{warnings:#?}");
    }

    broker.show(Login::Tls, &authority.sign("broker"));
    broker.trust(Login::MutualTls, authority);
    broker.set_password(USER, PASSWORD);
    with_each(guests.into(), Guest::finish);
}
