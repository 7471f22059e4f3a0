//! `topology diff`: what a change does, in whole outputs.

use crate::support::Finished;
use crate::{changed, memory_toml, topology};
use testkit::process::temp_dir;
use testkit::repo_path;

fn diff(parts: &[(&str, &str)]) -> Finished {
    let dir = temp_dir("topology");
    std::fs::write(dir.join("old.toml"), memory_toml()).unwrap();
    std::fs::write(dir.join("new.toml"), changed(parts)).unwrap();
    topology(&dir, &["diff", "old.toml", "new.toml"])
}

const STORE: &str = "kept     store memories (changelog helixstream-memories-changelog, 12 partitions)\n";
const REPARTITION: &str = "kept     repartition topic helixstream-by-memory-repartition (12 partitions)\n";
const SOURCE: &str = "kept     source topic helixagent.memory.events (12 partitions)\n";
const OUTPUTS: &str = "kept     sink topic helixagent.memory.snapshots (6 partitions)\n\
    kept     sink topic helixagent.memory.conflicts (3 partitions)\n\
    kept     dead-letter topic helixagent.memory.dead-letters (3 partitions)\n";

#[track_caller]
fn assert_survives(parts: &[(&str, &str)], lines: &[&str]) {
    let finished = diff(parts);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    assert_eq!(finished.stdout, lines.concat() + "state survives\n");
}

#[track_caller]
fn assert_lost(parts: &[(&str, &str)], lines: &[&str]) {
    let finished = diff(parts);
    let end = "helixstream: the state of these stores does not survive the change: memories; `helixstream run` refuses to start without \
               --accept-reset for each of them [HS0061]\n";
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(1), end), "{finished:?}");
    assert_eq!(finished.stdout, lines.concat());
}

#[test]
fn no_change_keeps_all() {
    assert_survives(&[], &[STORE, REPARTITION, SOURCE, OUTPUTS]);
}

#[test]
fn settings_do_not_touch_state() {
    let parts = [("strategy = \"merge_all\"", "strategy = \"importance\""), ("threads = 2", "threads = 4")];
    assert_survives(&parts, &[STORE, REPARTITION, SOURCE, OUTPUTS]);
}

#[test]
fn a_source_may_grow_behind_a_repartition() {
    let lines = [
        "kept     store memories (changelog helixstream-memories-changelog, 24 partitions)\n",
        "changed  repartition topic helixstream-by-memory-repartition: 12 -> 24 partitions; where it exists it keeps what it was made with\n",
        "changed  source topic helixagent.memory.events: 12 -> 24 partitions; `topics create` changes none that exists\n",
        OUTPUTS,
    ];
    assert_survives(&[("partitions = 12", "partitions = 24")], &lines);
}

#[test]
fn a_store_keeps_its_state_wherever_it_lies() {
    let kind = "changed  store memories: kind rocksdb -> memory; restored from its changelog\n";
    let standby = "changed  store memories: standbys 0 -> 2\n";
    let parts = [("name = \"memories\"", "name = \"memories\"\nkind = \"memory\"\nstandby = 2")];
    assert_survives(&parts, &[STORE, kind, standby, REPARTITION, SOURCE, OUTPUTS]);
}

#[test]
fn fewer_partitions_lose_state() {
    let lines = [
        "lost     store memories (changelog helixstream-memories-changelog, 12 partitions): its partitions are 6 now and were 12: keys lie elsewhere\n",
        "changed  repartition topic helixstream-by-memory-repartition: 12 -> 6 partitions; where it exists it must be made anew\n",
        "changed  source topic helixagent.memory.events: 12 -> 6 partitions; `topics create` changes none that exists\n",
        OUTPUTS,
    ];
    assert_lost(&[("partitions = 12", "partitions = 6")], &lines);
}

#[test]
fn a_store_of_another_name_begins_empty() {
    let parts = [
        ("[[store]]\nname = \"memories\"", "[[store]]\nname = \"mems\""),
        ("stores = [\"memories\"]", "stores = [\"mems\"]"),
    ];
    let lines = [
        "lost     store memories (changelog helixstream-memories-changelog, 12 partitions): it is gone; `mems` stands in its place and begins empty\n",
        "new      store mems (changelog helixstream-mems-changelog, 12 partitions): begins empty, at what is read next\n",
        REPARTITION,
        SOURCE,
        OUTPUTS,
    ];
    assert_lost(&parts, &lines);
}

#[test]
fn a_repartition_of_another_name_is_another_log() {
    let parts =
        [("name = \"by-memory\"", "name = \"per-memory\""), ("from = [\"by-memory\"]", "from = [\"per-memory\"]")];
    let lines = [
        "lost     store memories (changelog helixstream-memories-changelog, 12 partitions): it follows helixstream-per-memory-repartition now, and its state is that of helixstream-by-memory-repartition\n",
        "gone     repartition topic helixstream-by-memory-repartition: what is in it and not processed yet stays there\n",
        "new      repartition topic helixstream-per-memory-repartition (12 partitions)\n",
        SOURCE,
        OUTPUTS,
    ];
    assert_lost(&parts, &lines);
}

#[test]
fn another_application_id_is_another_state() {
    let lines = [
        "changed  application id helixstream -> other: another group, other internal topics\n",
        "lost     store memories (changelog helixstream-memories-changelog, 12 partitions): its changelog is other-memories-changelog now, which begins empty\n",
        "gone     repartition topic helixstream-by-memory-repartition: what is in it and not processed yet stays there\n",
        "new      repartition topic other-by-memory-repartition (12 partitions)\n",
        SOURCE,
        OUTPUTS,
    ];
    assert_lost(&[("application_id = \"helixstream\"", "application_id = \"other\"")], &lines);
}

#[test]
fn outputs_change_without_loss() {
    let parts = [("partitions = 6", "partitions = 8"), ("helixagent.memory.conflicts", "helixagent.memory.clashes")];
    let lines = [
        STORE,
        REPARTITION,
        SOURCE,
        "changed  sink topic helixagent.memory.snapshots: 6 -> 8 partitions; `topics create` changes none that exists\n",
        "gone     sink topic helixagent.memory.conflicts: nobody writes it any more\n",
        "new      sink topic helixagent.memory.clashes (3 partitions)\n",
        "kept     dead-letter topic helixagent.memory.dead-letters (3 partitions)\n",
    ];
    assert_survives(&parts, &lines);
}

#[test]
fn a_format_and_what_an_operator_is_told_change_without_loss_and_are_said() {
    let conflicts = "topic = \"helixagent.memory.conflicts\"\npartitions = 3";
    let finished = diff(&[(conflicts, &format!("{conflicts}\nformat = \"helixagent\""))]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let line = "changed  sink topic helixagent.memory.conflicts: format json -> helixagent; what is in it stays as it was written\n";
    assert!(finished.stdout.contains(line) && finished.stdout.ends_with("state survives\n"), "{finished:?}");
    let dir = temp_dir("topology");
    let text = std::fs::read_to_string(repo_path("topologies/conflict-counts.toml")).unwrap();
    std::fs::write(dir.join("old.toml"), &text).unwrap();
    let new = text.replace("by = \"value.conflict_type\"", "by = \"value.status\"").replace("sum(value)", "0");
    std::fs::write(dir.join("new.toml"), new).unwrap();
    let finished = topology(&dir, &["diff", "old.toml", "new.toml"]);
    let line = "changed  `by` of `counts`: value.conflict_type -> value.status; what is in store conflict-counts-store stays as it was made\n";
    assert!(finished.stdout.contains(line) && finished.stdout.matches("changed").count() == 1, "{finished:?}");
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn more_sub_topologies_move_those_that_were() {
    let more = "\n[[source]]\nname = \"notes\"\ntopic = \"notes\"\npartitions = 4\n\
        [[processor]]\nname = \"decode-notes\"\noperator = \"decode\"\nfrom = [\"notes\"]\n\
        [[repartition]]\nname = \"by-note\"\nfrom = [\"decode-notes.events\"]\n\
        [[store]]\nname = \"noted\"\n\
        [[processor]]\nname = \"resolve-notes\"\noperator = \"resolve\"\nfrom = [\"by-note\"]\nstores = [\"noted\"]\n\
        [[sink]]\nname = \"notes-out\"\ntopic = \"notes.out\"\npartitions = 1\n\
        from = [\"resolve-notes.snapshots\", \"resolve-notes.conflicts\"]\n";
    let lines = [
        "kept     store memories (changelog helixstream-memories-changelog, 12 partitions): restored from it, since its sub-topology 1 is 2 now\n",
        "new      store noted (changelog helixstream-noted-changelog, 4 partitions): begins empty, at what is read next\n",
        REPARTITION,
        "new      repartition topic helixstream-by-note-repartition (4 partitions)\n",
        SOURCE,
        "new      source topic notes (4 partitions)\n",
        "kept     sink topic helixagent.memory.snapshots (6 partitions)\n\
         kept     sink topic helixagent.memory.conflicts (3 partitions)\n",
        "new      sink topic notes.out (1 partitions)\n",
        "kept     dead-letter topic helixagent.memory.dead-letters (3 partitions)\n",
    ];
    let last = "from = [\"resolve.conflicts\"]";
    assert_survives(&[(last, &format!("{last}{more}"))], &lines);
}

#[test]
fn a_file_that_is_wrong_is_told_and_not_compared() {
    let finished = diff(&[("partitions = 12", "partitions = 0")]);
    finished.assert_failed(2, &["new.toml:", "`partitions` of [[source]] is 0"]);
    assert_eq!(finished.stdout, "");
}
