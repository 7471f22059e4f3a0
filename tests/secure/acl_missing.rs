//! Each ACL that a command needs is taken away in turn: the command does not begin, and names the
//! operation, the resource and the ACL to add.

use crate::acl::Trial;
use crate::support::Finished;
use std::sync::Mutex;
use testkit::authorizer::User;
use testkit::{Acl, AclBroker, Postgres};

/// So many commands run at a time.
const AT_ONCE: usize = 4;

/// For each ACL a user who has all the others.
fn all_but_one(acls: &[Acl]) -> Vec<(User, Acl)> {
    let broker = AclBroker::shared();
    let users: Vec<(User, Acl)> = acls.iter().map(|acl| (broker.user(), acl.clone())).collect();
    let granted = |(user, missing): &'_ (User, Acl)| {
        let others: Vec<(User, Acl)> =
            acls.iter().filter(|acl| *acl != missing).map(|acl| (user.clone(), acl.clone())).collect();
        others
    };
    let granted: Vec<(User, Acl)> = users.iter().flat_map(granted).collect();
    broker.allow(&granted.iter().map(|(user, acl)| (user, acl)).collect::<Vec<_>>());
    users
}

/// Does something for each, so many at a time.
pub fn for_each<T: Send>(at_once: usize, all: Vec<T>, act: impl Fn(T) + Sync) {
    let left = Mutex::new(all);
    let next = || left.lock().unwrap().pop();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(one) = next() {
                    act(one);
                }
            });
        }
    });
}

/// That a command stopped for the want of this ACL, and for nothing else.
#[track_caller]
fn assert_names(finished: &Finished, said: &str, user: &User, missing: &Acl) {
    assert_eq!(finished.code, Some(1), "without {missing:?}: {finished:?}");
    assert!(said.contains(&missing.text()), "it does not name {:?}:\n{said}", missing.text());
    let command = missing.command(&user.principal());
    assert!(said.contains(&command), "it does not say how to add it, {command:?}:\n{said}");
    assert_eq!(said.matches("kafka-acls.sh ").count(), 1, "one ACL is missing:\n{said}");
}

#[test]
fn each_right_of_run_and_its_mirror_is_missed_by_check_and_by_run() {
    let trial = Trial::new(1);
    trial.create_topics();
    let database = Postgres::shared().create_database();
    let acls = trial.acls(&["run", "mirror"]);
    assert!(acls.len() > 15, "{acls:?}");
    for_each(AT_ONCE, all_but_one(&acls), |(user, missing)| {
        let checked = trial.run(&user, &["topics", "check"], &["--for", "run", "--for", "mirror"]);
        assert_names(&checked, &checked.stdout, &user, &missing);
        let state = trial.path(&format!("state-{}", user.name));
        let run = trial.run(&user, &["run"], &["--state-dir", &state, "--postgres-url", &database]);
        assert_names_once(&run, &user, &missing);
    });
}

/// As [`assert_names`], of a command that may begin before its transactional id is refused.
fn assert_names_once(run: &Finished, user: &User, missing: &Acl) {
    if missing.resource == "transactional-id" {
        // No broker tells the right on it: the first producer is refused.
        run.assert_failed(1, &[&missing.text(), &missing.command("User:NAME")]);
    } else {
        assert_names(run, &run.stderr, user, missing);
    }
}

#[test]
fn each_right_of_the_other_commands_is_missed() {
    let trial = Trial::new(1);
    trial.create_topics();
    let database = Postgres::shared().create_database();
    let to_database = ["--postgres-url", database.as_str()];
    let nothing: &[&str] = &[];
    let commands: [(&str, &[&str], &[&str]); 6] = [
        ("conflicts-list", &["conflicts", "list"], nothing),
        ("conflicts-list", &["conflicts", "show", "c"], nothing),
        ("conflicts-resolve", &["conflicts", "resolve", "c"], &["--value", "1"]),
        ("mirror", &["mirror", "run"], &to_database),
        ("mirror", &["mirror", "backfill"], &to_database),
        ("produce", &["produce"], nothing),
    ];
    let mut cases = Vec::new();
    for (purpose, command, more) in commands {
        let users = all_but_one(&trial.acls(&[purpose]));
        cases.extend(users.into_iter().map(|(user, missing)| (user, missing, command, more)));
    }
    for_each(AT_ONCE, cases, |(user, missing, command, more)| {
        let finished = match command {
            ["produce"] => trial.produce(&user),
            _ => trial.run(&user, command, more),
        };
        assert_names(&finished, &finished.stderr, &user, &missing);
    });
}

#[test]
fn each_right_of_topics_create_and_plan_is_missed_before_anything_is_made() {
    let trial = Trial::new(1);
    let users = all_but_one(&trial.acls(&["topics-create"]));
    let planned = trial.acls(&["topics-check"]).into_iter().filter(|acl| acl.operation == "Describe");
    let planners = all_but_one(&planned.collect::<Vec<_>>());
    let cases = users.into_iter().map(|case| (case, "create")).chain(planners.into_iter().map(|case| (case, "plan")));
    for_each(AT_ONCE, cases.collect(), |((user, missing), action)| {
        let finished = trial.run(&user, &["topics", action], &[]);
        assert_names(&finished, &finished.stderr, &user, &missing);
    });
    let made = AclBroker::shared().open().topics();
    assert!(!made.iter().any(|topic| topic.starts_with(&format!("{}.", trial.name))), "{made:?}");
}

#[test]
fn a_right_on_the_cluster_makes_up_for_those_on_topics() {
    let (trial, broker) = (Trial::new(1), AclBroker::shared());
    let user = broker.user();
    let mut acls = trial.acls(&["topics-create"]);
    acls.retain(|acl| acl.operation == "Describe");
    let (resource, name) = ("cluster".to_owned(), "kafka-cluster".to_owned());
    acls.push(Acl { resource, name, is_prefix: false, operation: "Create".to_owned() });
    broker.allow(&acls.iter().map(|acl| (&user, acl)).collect::<Vec<_>>());
    let created = trial.run(&user, &["topics", "create"], &[]);
    assert_eq!((created.code, created.stdout.matches("created").count()), (Some(0), 8), "{created:?}");
}

#[test]
fn a_topic_that_is_not_there_is_told_from_one_that_may_not_be_seen() {
    let (trial, broker) = (Trial::new(1), AclBroker::shared());
    let user = trial.user(&["produce"]);
    trial
        .produce(&user)
        .assert_failed(1, &[&format!("topic `{}` does not exist", trial.topic("events")), "topics create"]);
    let stranger = broker.user();
    trial.produce(&stranger).assert_failed(1, &["Write on topic", &trial.topic("events"), "kafka-acls.sh"]);
    let checked = trial.run(&stranger, &["topics", "check"], &[]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.stdout.contains(&format!("hidden   {}", trial.topic("events"))), "{checked:?}");
    assert!(!checked.stdout.contains("missing  "), "{checked:?}");
}
