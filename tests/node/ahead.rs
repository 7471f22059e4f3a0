//! Nodes on machines whose clocks are further ahead than the brokers accept.

use std::time::Duration;

use futures::executor::block_on;
use node::publisher::PublisherSettings;
use node::registry::now_ms;
use node::settings::system_clock;
use node::{Node, NodeSettings};
use serde_json::Value;
use testkit::process::temp_dir;
use testkit::{Broker, LIMIT, records, wait_for};

use crate::command::NodeProcess;
use crate::stream::Stream;
use crate::trial::{Trial, wait_until_published, write};

const HOUR_MS: i64 = 3_600_000;

/// Nanoseconds since 1970.
type WallClock = fn() -> u64;

/// A clock that is two hours ahead: the broker accepts one.
fn two_hours_ahead() -> u64 {
    system_clock() + Duration::from_secs(2 * 3600).as_nanos() as u64
}

/// A clock that is a month ahead.
fn a_month_ahead() -> u64 {
    system_clock() + Duration::from_secs(30 * 24 * 3600).as_nanos() as u64
}

#[test]
fn a_node_whose_clock_is_far_ahead_loses_no_write_and_dates_no_record_ahead() {
    let broker = Broker::shared();
    let trial = Trial::new("ahead", broker);
    let stream = Stream::start(&trial);
    // A topic that the nodes make takes every time; this one has the broker's limit, too.
    broker.create_topic(&trial.topic("nodes"), 1, &[("cleanup.policy", "compact")]);
    let start_ms = now_ms();
    let clocks: [(&str, WallClock); 3] =
        [("hours", two_hours_ahead), ("month", a_month_ahead), ("right", system_clock)];
    let nodes = clocks.map(|(name, wall_clock)| {
        let settings = NodeSettings::new(temp_dir("node"), name.parse().unwrap());
        Node::open(NodeSettings { wall_clock, ..settings }).unwrap()
    });
    let mut accepted = Vec::new();
    let running: Vec<_> = nodes
        .iter()
        .zip(clocks)
        .map(|(node, (name, wall_clock))| {
            accepted.extend((0..5).map(|n| write(node, &format!("m{}", n % 2), &format!("{name} {n}")).event_id));
            block_on(node.request_sync(None)).unwrap();
            let settings = PublisherSettings { wall_clock, ..PublisherSettings::default() };
            (trial.publisher_with(node.journal(), settings), trial.follower(node))
        })
        .collect();
    nodes.iter().for_each(wait_until_published);
    let published = trial.events(broker);
    assert!(accepted.iter().all(|id| published.contains_key(id)));
    assert_eq!(published.len(), accepted.len());
    for record in records::read_committed(broker, &trial.topic("events")) {
        let (event, latest_ms) = (record.value_json(), now_ms() + HOUR_MS);
        assert!((start_ms..=latest_ms).contains(&record.timestamp_ms), "{} of {event}", record.timestamp_ms);
    }
    stream.assert_resolved(broker, &trial, &nodes.each_ref());
    a_process_reports_the_versions_that_it_follows_once(&trial);
    for (publisher, follower) in running {
        assert_eq!(publisher.stop(LIMIT).refused, 0);
        follower.stop(LIMIT);
    }
    nodes.iter().for_each(|node| assert_eq!(block_on(node.status()).unwrap().failed, 0));
    stream.stop();
}

/// A node with the right clock follows the versions of memories that are far ahead of it, and says
/// so once.
fn a_process_reports_the_versions_that_it_follows_once(trial: &Trial) {
    let process = NodeProcess::start(trial, "follows");
    let latest = |memory: &Value| memory["version"].as_u64().unwrap();
    let far_ahead = system_clock() + Duration::from_secs(24 * 3600).as_nanos() as u64;
    let view = wait_for("the process to show both memories as they are at last", || {
        process.view().filter(|view| view.len() == 2 && view.values().all(|memory| latest(memory) > far_ahead))
    });
    let written = process.send("PATCH", "/v1/memories/m0", &["-d", "{\"content\":\"by a right clock\"}"]);
    let version = written["event"]["version"].as_u64().unwrap();
    assert!(version >= latest(&view["m0"]), "{written}");
    let said = process.process.stderr();
    let reports: Vec<&str> = said.lines().filter(|line| line.contains("HS8005")).collect();
    assert!(matches!(reports[..], [report] if report.contains("ahead of this machine's clock")), "{said}");
    process.process.terminate().assert_ended_well();
}
