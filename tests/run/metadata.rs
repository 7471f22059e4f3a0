//! A topology whose state does not fit into the metadata of a committed offset, as this broker is
//! set: told before the first commit, which would be refused.

use std::fmt::Write;

use crate::support::Helix;
use crate::{Trial, temp_dir, unique};
use testkit::Broker;

/// Stores that follow one log.
const STORES: usize = 36;

#[test]
fn more_stores_than_an_offset_s_metadata_has_room_for_are_told_by_the_check_and_the_start() {
    let trial = Trial { dir: temp_dir("metadata"), name: unique("metadata") };
    let name = &trial.name;
    let mut text = format!(
        "application_id = \"{name}\"\n[dead_letters]\ntopic = \"{name}.bad\"\npartitions = 1\n\
         [[source]]\nname = \"in\"\ntopic = \"{name}.in\"\npartitions = 1\nformat = \"json\"\n\
         [[processor]]\nname = \"all\"\noperator = \"filter\"\nfrom = [\"in\"]\nwhen = \"true\"\n\
         [[repartition]]\nname = \"by-key\"\nfrom = [\"all.records\"]\n"
    );
    for n in 0..STORES {
        let store = format!("{n}-{}", "x".repeat(80));
        write!(
            text,
            "[[store]]\nname = \"{store}\"\n\
             [[processor]]\nname = \"c{n}\"\noperator = \"count\"\nfrom = [\"by-key\"]\nstores = [\"{store}\"]\nby = \"value.kind\"\n\
             [[sink]]\nname = \"s{n}\"\ntopic = \"{name}.out-{n}\"\npartitions = 1\nfrom = [\"c{n}.aggregates\"]\n"
        )
        .unwrap();
    }
    std::fs::write(trial.path("t.toml"), text).unwrap();
    let told = [
        format!("the part of the topology that reads `{name}-by-key-repartition` has {STORES} stores"),
        // The broker was asked: nothing is assumed.
        "and 4096 are allowed (the brokers' offset.metadata.max.bytes)".to_owned(),
    ];
    let checked = trial.topics("check");
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let line = checked.stdout.lines().find(|line| line.starts_with("wrong    committed offsets: ")).unwrap_or_default();
    assert!(told.iter().all(|part| line.contains(part)), "{checked:?}");
    let (file, broker, state) = (trial.path("t.toml"), Broker::shared().bootstrap(), trial.path("state"));
    let run = ["run", "--topology", &file, "--bootstrap-servers", &broker, "--state-dir", &state, "--no-mirror"];
    Helix::run(&run).assert_failed(1, &[&told[0], &told[1]]);
}
