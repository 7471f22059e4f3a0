//! Each way in connects: topics are made, records published and read.

use crate::support::Helix;
use testkit::process::temp_dir;
use testkit::secure::{Connection, Login, SecureBroker};
use testkit::{Record, records, unique};

/// Publishes a record file by a connection and gives back what the broker has.
fn publish(connection: &Connection, topic: &str) -> Vec<Record> {
    let broker = SecureBroker::shared().open();
    broker.create_topic(topic, 1, &[]);
    let file = temp_dir("publish").join("in.jsonl");
    let sent = [Record::new("a", "1"), Record::new("b", "2")];
    records::write_file(&file, &sent);
    let connection = connection.arguments();
    let connection = connection.iter().map(String::as_str);
    let arguments = ["produce", "--input", file.to_str().unwrap(), "--topic", topic];
    let done = Helix::run_ok(&arguments.into_iter().chain(connection).collect::<Vec<_>>());
    assert!(done.stdout.contains("2 records"), "{done:?}");
    records::read_committed(broker, topic)
}

#[test]
fn each_way_in_connects() {
    use Login::{MutualTls, OAuth, Plain, Scram256, Scram512, ScramPlaintext, Tls};
    std::thread::scope(|scope| {
        for login in [Tls, MutualTls, Plain, Scram256, Scram512, ScramPlaintext, OAuth] {
            scope.spawn(move || {
                let found = publish(&SecureBroker::shared().login(login), &unique("connects"));
                assert_eq!(found.len(), 2, "{login:?}: {found:?}");
            });
        }
    });
}
