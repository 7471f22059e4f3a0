//! An ACL that is taken from an instance that runs stops it, with the operation, the resource and
//! the ACL to add.

use crate::acl::{Trial, page};
use crate::acl_missing::for_each;
use testkit::{Acl, AclBroker, Postgres, Record, ports, records, wait_for};

/// So many instances run at a time: they wait most of it, such as for the end of a session.
const AT_ONCE: usize = 8;

/// Whether a running instance uses a right again and again. The settings of topics are read at its
/// start alone.
fn is_used(acl: &Acl) -> bool {
    acl.operation != "DescribeConfigs"
}

#[test]
fn an_acl_that_is_taken_from_a_running_instance_stops_it() {
    let purposes = ["run", "mirror"];
    // As many as there are ACLs, each in a topology of its own.
    let count = Trial::new(1).acls(&purposes).iter().filter(|acl| is_used(acl)).count();
    assert!(count > 10, "{count}");
    for_each(AT_ONCE, (0..count).collect(), |number| {
        let trial = Trial::new(1);
        let taken = trial.acls(&purposes).into_iter().filter(is_used).nth(number).unwrap();
        stops_without(&trial, &purposes, &taken);
    });
}

fn stops_without(trial: &Trial, purposes: &[&str], taken: &Acl) {
    trial.create_topics();
    let (broker, user, database) = (AclBroker::shared(), trial.user(purposes), Postgres::shared().create_database());
    let (state, http) = (trial.path("state"), format!("127.0.0.1:{}", ports::free_port()));
    let mut instance = trial.spawn(
        &user,
        &["run"],
        &["--state-dir", &state, "--http-listen", &http, "--threads", "1", "--postgres-url", &database],
    );
    wait_for("the instance to be ready", || {
        assert!(instance.is_running(), "{}", instance.stderr());
        page(&http, "/ready").filter(|text| text.starts_with("HTTP/1.1 200"))
    });
    broker.take_away(&user, taken);
    trial.produce(&trial.user(&["produce"])).assert_ended_well();
    // One for the dead letters.
    records::produce(broker.open(), &trial.topic("events"), &[Record::new("m", "no event")]);
    let finished = instance.finish_after(&format!("it has lost {}", taken.text()));
    let said = &finished.stderr;
    assert_eq!(finished.code, Some(1), "without {taken:?}: {finished:?}");
    let last = said.lines().rfind(|line| line.starts_with("helixstream: ")).unwrap_or_default();
    // What is covered by a prefix is told by the name that was refused.
    let parts: [&str; 3] = [&taken.operation, &taken.resource.replace('-', " "), taken.name.trim_end_matches('-')];
    for part in parts {
        assert!(last.contains(part), "without {taken:?} it does not name {part:?}:\n{said}");
    }
    let flags = format!("--operation {} --{} {}", taken.operation, taken.resource, taken.name);
    assert!(last.contains(&flags), "without {taken:?} it does not say how to add it, {flags:?}:\n{said}");
}
