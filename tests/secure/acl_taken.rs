//! An ACL that is taken from an instance that runs stops it, with the operation, the resource and
//! the ACL to add.

use crate::acl::{Trial, page};
use crate::acl_missing::for_each;
use crate::support::Helix;
use testkit::authorizer::User;
use testkit::{Acl, AclBroker, Postgres, Record, ports, postgres, records, wait_for};

/// So many instances run at a time: they wait most of it, such as for the end of a session.
const AT_ONCE: usize = 8;

/// Whether a running instance uses a right again and again, and ends without it. The settings of
/// topics are read at its start alone, and the nodes topic is optional: a refusal of it is told
/// (HS4067) and tried again.
fn is_used(acl: &Acl) -> bool {
    acl.operation != "DescribeConfigs" && !acl.name.ends_with(".nodes")
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

/// An instance with its mirror, as it runs.
fn start(trial: &Trial, user: &User, database: &str) -> Helix {
    let (state, http) = (trial.path("state"), format!("127.0.0.1:{}", ports::free_port()));
    let more = ["--state-dir", &state, "--http-listen", &http, "--threads", "1", "--postgres-url", database];
    let mut instance = trial.spawn(user, &["run"], &more);
    wait_for("the instance to be ready", || {
        assert!(instance.is_running(), "{}", instance.stderr());
        page(&http, "/ready").filter(|text| text.starts_with("HTTP/1.1 200"))
    });
    instance
}

#[test]
fn the_right_on_the_nodes_topic_is_missed_and_all_else_goes_on() {
    let (trial, purposes) = (Trial::new(1), ["run", "mirror"]);
    trial.create_topics();
    let (user, database) = (trial.user(&purposes), Postgres::shared().create_database());
    let taken = trial.acls(&purposes).into_iter().find(|acl| acl.name == trial.topic("nodes")).unwrap();
    let instance = start(&trial, &user, &database);
    AclBroker::shared().take_away(&user, &taken);
    let told = wait_for("the refusal to be told", || {
        let said = instance.stderr();
        said.lines().find(|line| line.contains("HS4067")).map(str::to_owned)
    });
    assert!(told.contains(&format!("--operation Read --topic {}", taken.name)), "{told}");
    trial.produce(&trial.user(&["produce"])).assert_ended_well();
    let count = "select count(*) from memory_events";
    wait_for("all events in the mirror", || (postgres::try_query(&database, count).ok()?[0] == ["305"]).then_some(()));
    instance.terminate().assert_ended_well();
}

fn stops_without(trial: &Trial, purposes: &[&str], taken: &Acl) {
    trial.create_topics();
    let (broker, user, database) = (AclBroker::shared(), trial.user(purposes), Postgres::shared().create_database());
    let instance = start(trial, &user, &database);
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
