//! Two applications that mirror into one database, one role and a schema each, through a pooler
//! that gives each transaction another session: `backfill` fills each schema with its own records,
//! and `verify` sees when something else is in it.

use crate::events::Events;
use crate::trial::{Trial, database};
use testkit::postgres::query;
use testkit::{PgBouncer, Postgres, unique};

#[test]
fn two_backfills_behind_one_transaction_pooler_fill_each_its_own_schema() {
    let url = database();
    let pooler = PgBouncer::start(Postgres::shared(), 2);
    let pooled = pooler.of(&url);
    let trials: Vec<Trial> = ["pooled-a", "pooled-b"]
        .into_iter()
        .zip([31, 32])
        .map(|(stem, seed)| {
            let trial = Trial::new(stem, &[]);
            let mut instance = trial.start("state", &["--no-mirror"]);
            trial.feed(&Events::new(seed, 20).take(144));
            trial.wait_until_done(&mut [&mut instance]);
            instance.stop();
            trial
        })
        .collect();
    let schemas = ["sch_a", "sch_b"];
    let mirror = |action: &str, number: usize| {
        trials[number].mirror(action, &["--postgres-url", &pooled, "--postgres-schema", schemas[number]])
    };
    std::thread::scope(|scope| {
        for number in 0..2 {
            scope.spawn(move || {
                let filled = mirror("backfill", number);
                assert_eq!(filled.code, Some(0), "{filled:?}");
            });
        }
    });
    for (number, trial) in trials.iter().enumerate() {
        let schema = schemas[number];
        let same = mirror("verify", number);
        assert_eq!(same.code, Some(0), "{same:?}");
        assert!(!same.stderr.contains("has records of topic"), "{same:?}");
        for (table, topic) in [("memory_events", "events"), ("memory_conflicts", "conflicts")] {
            let topics = query(&url, &format!("select distinct kafka_topic from {schema}.{table}"));
            assert!(topics.iter().all(|row| row[0] == trial.topic(topic)), "{schema}.{table}: {topics:?}");
        }
        let count = query(&url, &format!("select count(*) from {schema}.memory_events"));
        assert_eq!(count, [[trial.read("events").len().to_string()]]);
        let checkpoints = query(&url, &format!("select distinct kafka_topic from {schema}.memory_event_checkpoints"));
        assert_eq!(checkpoints.len(), 3, "{checkpoints:?}");
    }
    // A role that may not make the schema is told so at once.
    let role = unique("poor").replace('-', "_");
    query(&url, &format!("create role {role} login"));
    let poor = url.replace("postgres@", &format!("{role}@"));
    let refused = trials[0].mirror("backfill", &["--postgres-url", &poor, "--postgres-schema", "sch_c"]);
    refused.assert_failed(1, &["helixstream mirror migrate", "GRANT CREATE ON DATABASE"]);
    // What D1 did: rows and checkpoints of the other application.
    query(&url, "insert into sch_a.memory_events select * from sch_b.memory_events where kafka_partition = 0");
    let found = mirror("verify", 0);
    found.assert_failed(1, &["no checkpoint covers", "[HS4526]"]);
    assert!(found.stdout.contains(&format!("{}-0  DIFFERS: ", trials[1].topic("events"))), "{found:?}");
    query(&url, "insert into sch_a.memory_event_checkpoints select * from sch_b.memory_event_checkpoints");
    let warned = mirror("verify", 0);
    assert!(
        warned.stderr.contains("--postgres-schema") && warned.stderr.contains(&trials[1].topic("events")),
        "{warned:?}"
    );
}
