//! Passwords, certificates and authorities that are replaced on disk while records flow: the
//! processes go on without a restart, and nothing is lost.

use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::trial::{Trial, assert_mirrored, database};
use std::path::Path;
use testkit::certificates::Authority;
use testkit::process::temp_dir;
use testkit::secure::{Login, Options, PASSWORD, SecureBroker, USER};

const NEXT_PASSWORD: &str = "the-next-password";

/// Waits until an instance has logged a line that contains all of these, and still runs.
#[track_caller]
fn wait_for_line(instance: &mut Instance, parts: &[&str]) {
    instance.wait_for(&format!("a line with {parts:?}"), |instance| {
        let says = |line: &serde_json::Value| {
            let text = line["message"].as_str().unwrap_or_default();
            parts.iter().all(|part| text.contains(part))
        };
        instance.log().iter().any(says).then_some(())
    });
}

/// Replaces a file whole, as a rotation does.
fn replace(file: &Path, content: impl AsRef<[u8]>) {
    let next = file.with_extension("next");
    std::fs::write(&next, content).unwrap();
    std::fs::rename(next, file).unwrap();
}

/// Waits until an instance has processed records that it had not when this was called.
#[track_caller]
fn wait_for_records(instance: &mut Instance) {
    let before = instance.records();
    instance.wait_for("the instance to go on", |instance| (instance.records() > before + 20).then_some(()));
}

/// The broker asks for a client certificate and a SCRAM password. First the password changes: every
/// client has to show the new one within two seconds. Then the processes get certificates and
/// authorities anew, while the broker takes the former and the next ones. At last it starts again
/// with a certificate of the next authority, and takes client certificates of that authority alone:
/// nobody comes in with what it was started with. The processes are those that were started, since
/// one that ended would be missed.
#[test]
fn a_password_and_all_certificates_are_replaced_under_load() {
    let options = Options { reauthenticate_ms: 2_000, asks_certificate: true, ..Options::default() };
    let broker = SecureBroker::start(options);
    let next = Authority::new("next authority");
    broker.restart_trusting(&next);
    let dir = temp_dir("rotation");
    let (password, authority, shown) = (dir.join("password"), dir.join("ca"), broker.authority().sign("client"));
    std::fs::write(&password, PASSWORD).unwrap();
    std::fs::copy(broker.authority().certificate(), &authority).unwrap();
    let mut login = broker.login(Login::Scram256).with_password_file(password.clone());
    login.set("ssl.ca.location", authority.to_str().unwrap());
    login.show(&shown);
    let trial = Trial::by_connection("rotation", broker.open().clone(), login);
    let url = database();
    let mut events = Events::new(34, 40);
    let feeder = trial.feed_on(move || events.take(3));
    let arguments = ["--threads", "2", "--postgres-url", &url, "--set", "static_membership=true"];
    let mut instance = trial.start("state", &arguments);
    let mut mirror = trial.start_mirror(&["--postgres-url", &url]);
    instance.wait_for("the instance to have work", |instance| (instance.records() > 50).then_some(()));
    mirror.wait_until_ready();

    replace(&password, NEXT_PASSWORD);
    broker.set_password(USER, NEXT_PASSWORD);
    for process in [&mut instance, &mut mirror] {
        wait_for_line(process, &["changed on disk", password.to_str().unwrap(), "accept the new password"]);
    }
    wait_for_records(&mut instance);

    let both = [broker.authority(), &next].map(|one| std::fs::read_to_string(one.certificate()).unwrap());
    replace(&authority, both.concat());
    next.sign("client").replace(&shown);
    let changed = [&authority, &shown.certificate, &shown.key].map(|path| path.to_str().unwrap());
    for process in [&mut instance, &mut mirror] {
        wait_for_line(process, &["changed on disk", changed[0], changed[1], changed[2], "are made anew"]);
        wait_for_line(process, &["the mirror of", "has a new Kafka client"]);
    }
    for thread in ["stream thread 0", "stream thread 1"] {
        wait_for_line(&mut instance, &[thread, "has new Kafka clients"]);
    }
    wait_for_records(&mut instance);
    broker.restart_under(&next);
    wait_for_records(&mut instance);
    instance.wait_until_ready();

    feeder.stop();
    trial.wait_until_done(&mut [&mut instance, &mut mirror]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    for process in [instance, mirror] {
        let finished = process.stop();
        let tells = |secret: &&str| finished.stderr.contains(*secret);
        assert!(![PASSWORD, NEXT_PASSWORD].iter().any(tells), "a password was logged:\n{}", finished.stderr);
    }
}
