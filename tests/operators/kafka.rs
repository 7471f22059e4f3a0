//! The two topologies on a real broker: counts are exact over a kill, and audits are complete.

use crate::shipped::{CONFLICTS, SNAPSHOTS, expected_audit, expected_counts, made, text};
use crate::support::Helix;
use rustix::process::Signal;
use serde_json::Value;
use testkit::process::temp_dir;
use testkit::{Broker, Record, records, unique, wait_for};

/// A shipped topology with topics of its own.
struct Trial {
    dir: std::path::PathBuf,
    name: String,
}

impl Trial {
    fn new(file: &str, id: &str) -> Trial {
        Trial::of(&text(file), id)
    }

    fn of(text: &str, id: &str) -> Trial {
        let (dir, name) = (temp_dir("operators"), unique("operators"));
        let text =
            text.replace(&format!("\"{id}\""), &format!("\"{name}\"")).replace("helixagent.", &format!("{name}."));
        std::fs::write(dir.join("t.toml"), text).unwrap();
        let trial = Trial { dir, name };
        Helix::run_ok(&["topics", "create", "--topology", &trial.path("t.toml"), "--bootstrap-servers", &broker()]);
        trial
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn topic(&self, of: &str) -> String {
        of.replace("helixagent.", &format!("{}.", self.name))
    }

    fn start(&self) -> Helix {
        let (file, state) = (self.path("t.toml"), self.path("state"));
        let arguments = ["run", "--topology", &file, "--state-dir", &state, "--bootstrap-servers", &broker()];
        Helix::spawn(&[&arguments[..], &["--set", "session_timeout=4s"]].concat())
    }

    fn feed(&self, topic: &str, events: &[Record]) {
        records::produce(Broker::shared(), &self.topic(topic), events);
    }

    fn read(&self, topic: &str) -> Vec<Record> {
        records::read_committed(Broker::shared(), &self.topic(topic))
    }

    /// Waits until the topic has so many records; what it has then.
    fn wait(&self, helix: &mut Helix, topic: &str, least: usize) -> Vec<Record> {
        wait_for(&format!("{least} records of {topic}"), || {
            assert!(helix.is_running(), "{}", helix.stderr());
            let found = self.read(topic);
            (found.len() >= least).then_some(found)
        })
    }
}

fn broker() -> String {
    Broker::shared().bootstrap()
}

fn stop(helix: Helix) {
    helix.signal(Signal::INT);
    let finished = helix.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(
        !finished.stderr.contains("mirrored"),
        "there is nothing to mirror, so nothing is said of it: {finished:?}"
    );
}

#[test]
fn conflicts_are_counted_once_over_a_kill() {
    let trial = Trial::new("conflict-counts.toml", "helixstream-conflict-counts");
    let topic = "helixagent.memory.conflict-counts";
    let once = made(CONFLICTS);
    let conflicts: Vec<Record> = std::iter::repeat_n(once, 40).flatten().collect();
    let (first, rest) = conflicts.split_at(conflicts.len() / 2);
    let mut helix = trial.start();
    trial.feed(CONFLICTS, first);
    // Somewhere within the first half.
    trial.wait(&mut helix, topic, expected_counts(first).len() / 4);
    helix.kill();
    trial.feed(CONFLICTS, rest);
    let mut helix = trial.start();
    let expected = expected_counts(&conflicts);
    let found = trial.wait(&mut helix, topic, expected.len());
    stop(helix);
    assert_eq!(found.len(), expected.len(), "each record counts once");
    // A user's conflicts lie in several partitions of the source, whose order is not one; each
    // count is there once all the same.
    let totals = |texts: Vec<(String, Value)>| {
        let mut all: Vec<(String, u64)> =
            texts.into_iter().map(|(user, v)| (user, v["total"].as_u64().unwrap())).collect();
        all.sort();
        all
    };
    let split = |text: &String| {
        let (user, json) = text.split_once('=').unwrap();
        (user.to_owned(), serde_json::from_str(json).unwrap())
    };
    let told: Vec<(String, Value)> = found.iter().map(|r| (r.key_text(), r.value_json())).collect();
    assert_eq!(totals(told.clone()), totals(expected.iter().map(split).collect()));
    let last = |texts: Vec<(String, Value)>| texts.into_iter().collect::<std::collections::BTreeMap<String, Value>>();
    assert_eq!(last(told), last(expected.iter().map(split).collect()));
    assert!(trial.read("helixagent.memory.conflict-counts.dead-letters").is_empty());
}

/// A conflict of a user, of its record's time.
fn conflict(n: usize, user: &str, second: i64) -> Record {
    let json = format!(r#"{{"conflict_type":"equivocation","status":"auto_resolved","user_id":"{user}","n":{n}}}"#);
    Record { timestamp_ms: 1_700_000_000_000 + second * 1000, ..Record::new("m", json) }
}

#[test]
fn a_count_not_written_for_the_stores_retention_begins_anew_over_a_kill() {
    let store = "name = \"conflict-counts-store\"\n";
    let kept = text("conflict-counts.toml").replace(store, &format!("{store}retention = \"10s\"\n"));
    let trial = Trial::of(&kept, "helixstream-conflict-counts");
    let topic = "helixagent.memory.conflict-counts";
    // Time passes in each of the tasks, whichever partition a user is in.
    let others = |second: i64| (0..30).map(move |n| conflict(n, &format!("other{n}"), second));
    let mut helix = trial.start();
    trial.feed(CONFLICTS, &[conflict(0, "a", 1), conflict(1, "a", 2), conflict(2, "gone", 2)]);
    trial.wait(&mut helix, topic, 3);
    helix.kill();
    trial.feed(CONFLICTS, &others(5).chain(others(20)).collect::<Vec<_>>());
    let mut helix = trial.start();
    trial.wait(&mut helix, topic, 63);
    trial.feed(CONFLICTS, &[conflict(3, "a", 21)]);
    let found = trial.wait(&mut helix, topic, 64);
    stop(helix);
    let totals: Vec<u64> =
        found.iter().filter(|r| r.key_text() == "a").map(|r| r.value_json()["total"].as_u64().unwrap()).collect();
    assert_eq!(totals, [1, 2, 1]);
    let changelog = format!("{}-conflict-counts-store-changelog", trial.name);
    let mut last = std::collections::BTreeMap::new();
    for record in records::read_committed(Broker::shared(), &changelog) {
        last.insert(record.key, record.value);
    }
    let of = |user: &str| {
        let names = |key: &Option<Vec<u8>>| key.as_ref().is_some_and(|key| key.ends_with(user.as_bytes()));
        last.iter().filter(|(key, value)| names(key) && value.is_some()).count()
    };
    assert!(of("gone") == 0 && of("a") > 0 && of("other1") > 0, "it is forgotten in the changelog too");
}

#[test]
fn what_is_to_be_audited_is_on_the_topic() {
    let trial = Trial::new("audit.toml", "helixstream-audit");
    let mut expected: Vec<String> = Vec::new();
    for topic in [SNAPSHOTS, CONFLICTS] {
        let records = made(topic);
        trial.feed(topic, &records);
        expected.extend(expected_audit(topic, &records).into_iter().map(|(key, value)| format!("{key}={value}")));
    }
    trial.feed(CONFLICTS, &[Record::new("k", "no JSON")]);
    let mut helix = trial.start();
    let found = trial.wait(&mut helix, "helixagent.memory.audit", expected.len());
    let dead = trial.wait(&mut helix, "helixagent.memory.audit.dead-letters", 1);
    stop(helix);
    let mut found: Vec<String> = found.iter().map(|r| format!("{}={}", r.key_text(), r.value_json())).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!((dead.len(), dead[0].value.as_deref()), (1, Some(&b"no JSON"[..])));
}

#[test]
fn a_mirror_of_no_events_is_refused() {
    let dir = temp_dir("operators");
    std::fs::write(dir.join("t.toml"), text("audit.toml")).unwrap();
    let mut command = Helix::command();
    command.args(["run", "--topology", "t.toml", "--postgres-url", "postgres://localhost/x"]).current_dir(&dir);
    Helix::spawn_command(command)
        .finish()
        .assert_failed(2, &["t.toml: no source of this topology leads to `decode`", "--no-mirror"]);
}
