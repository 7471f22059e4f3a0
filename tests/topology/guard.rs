//! `run` leaves no state behind unasked. No broker is there: what matters is decided before one is
//! asked for. That a run keeps its topology, and which text it keeps, is in `tests/run`.

use std::path::PathBuf;

use crate::changed;
use crate::support::{Finished, Helix};
use testkit::process::temp_dir;

/// A folder of state, and starts on it that end since there is no broker.
struct Trial(PathBuf);

const STORE: [(&str, &str); 2] = [
    ("[[store]]\nname = \"memories\"", "[[store]]\nname = \"mems\""),
    ("stores = [\"memories\"]", "stores = [\"mems\"]"),
];

impl Trial {
    /// The memory topology has run here and has left the state of a task.
    fn with_state() -> Trial {
        let trial = Trial(temp_dir("topology"));
        trial.has_run(&[]);
        trial
    }

    /// What is there after a run with this topology.
    fn has_run(&self, parts: &[(&str, &str)]) {
        std::fs::create_dir_all(self.0.join("state/0/tasks/1_0")).unwrap();
        std::fs::write(self.0.join("state/0/topology.toml"), changed(parts)).unwrap();
    }

    fn run(&self, parts: &[(&str, &str)], more: &[&str], variable: Option<&str>) -> Finished {
        std::fs::write(self.0.join("t.toml"), changed(parts)).unwrap();
        let mut command = Helix::command();
        command.args(["run", "--topology", "t.toml", "--no-mirror", "--set", "broker_timeout=1s"]);
        command.args(["--bootstrap-servers", "localhost:1", "--state-dir", "state"]).args(more);
        command.current_dir(&self.0).envs(variable.map(|value| ("HELIXSTREAM_ACCEPT_RESET", value)));
        Helix::spawn_command(command).finish()
    }

    /// Starts, and fails only for want of a broker.
    #[track_caller]
    fn assert_starts(&self, parts: &[(&str, &str)], more: &[&str]) -> Finished {
        let finished = self.run(parts, more, None);
        finished.assert_failed(1, &["no Kafka broker at localhost:1"]);
        finished
    }
}

#[test]
fn a_store_that_is_gone_is_refused_until_its_loss_is_accepted() {
    let trial = Trial::with_state();
    let refused = trial.run(&STORE, &[], None);
    assert_eq!(
        (refused.code, refused.stderr.as_str()),
        (
            Some(2),
            "helixstream: the state of store `memories` in `helixstream-memories-changelog` would be lost: it is gone; \
             `mems` stands in its place and begins empty; keep the topology as it was, or accept the loss with \
             --accept-reset memories [HS3023]\n"
        )
    );
    trial.run(&STORE, &["--accept-reset", "mems"], None).assert_failed(2, &["--accept-reset memories"]);
    // What was refused, or never ran since no broker answered, is not kept as the topology of the
    // last run.
    trial.assert_starts(&[], &[]);
    let accepted = trial.assert_starts(&STORE, &["--accept-reset", "other", "--accept-reset", "memories"]);
    assert!(accepted.stderr.contains("the state of store `memories`"), "{accepted:?}");
    trial.run(&STORE, &[], None).assert_failed(2, &["--accept-reset memories"]);
    trial.has_run(&STORE);
    trial.assert_starts(&STORE, &[]);
    trial.run(&[], &[], Some("spare; mems")).assert_failed(1, &["no Kafka broker"]);
}

#[test]
fn a_log_of_other_partitions_or_of_another_name_is_refused() {
    let trial = Trial::with_state();
    let fewer = [("partitions = 12", "partitions = 6")];
    trial
        .run(&fewer, &[], None)
        .assert_failed(2, &["its partitions are 6 now and were 12", "delete `helixstream-memories-changelog` first"]);
    let renamed = [("name = \"by-memory\"", "name = \"per\""), ("from = [\"by-memory\"]", "from = [\"per\"]")];
    trial.run(&renamed, &[], None).assert_failed(2, &["it follows helixstream-per-repartition now"]);
    trial.assert_starts(&[("partitions = 12", "partitions = 24")], &[]);
}

#[test]
fn where_no_state_is_nothing_can_be_lost() {
    let trial = Trial(temp_dir("topology"));
    trial.assert_starts(&[], &[]);
    trial.assert_starts(&STORE, &[]);
}
