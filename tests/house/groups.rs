//! `make unit`, `make model` and `make servers` leave nothing out: each test target of the
//! workspace is in one group of scripts/test.

use super::{none, profiles, root};
use std::collections::BTreeMap;
use std::path::Path;

const GROUPS: &[&str] = &["UNIT", "FUZZ", "MODEL", "SERVERS"];

/// The groups that name a test target, by the target's name.
fn groups() -> BTreeMap<String, Vec<&'static str>> {
    let script = std::fs::read_to_string(root().join("scripts/test")).unwrap();
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for group in GROUPS {
        let start = format!("\n{group}=(");
        let (_, rest) = script.split_once(&start).unwrap_or_else(|| panic!("scripts/test has no list {group}"));
        for target in rest.split(')').next().unwrap().split_whitespace() {
            found.entry(target.to_owned()).or_default().push(group);
        }
    }
    found
}

/// The names of the test targets that cargo finds in a package: `tests/name.rs` and
/// `tests/name/main.rs`.
fn targets(package: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(package.join("tests")).into_iter().flatten();
    let names = entries.filter_map(|entry| {
        let path = entry.unwrap().path();
        let is_target = path.join("main.rs").is_file() || path.extension().is_some_and(|extension| extension == "rs");
        is_target.then(|| path.file_stem().unwrap().to_str().unwrap().to_owned())
    });
    names.collect()
}

#[test]
fn every_test_target_is_in_exactly_one_group() {
    let mut groups = groups();
    let mut targets: Vec<String> = profiles::packages().iter().flat_map(|package| targets(package)).collect();
    assert!(targets.iter().any(|name| name == "laws"), "the targets of the root package are found: {targets:?}");
    targets.sort();
    targets.dedup();
    let mut offences = Vec::new();
    for target in targets {
        match groups.remove(&target).as_deref() {
            Some([_]) => {}
            Some(several) => offences.push(format!("{target}: is in {}", several.join(" and "))),
            None => offences.push(format!("{target}: is in none of {}", GROUPS.join(", "))),
        }
    }
    offences.extend(groups.into_keys().map(|name| format!("{name}: there is no such test target")));
    none(
        "each test target is in one list of scripts/test: UNIT and FUZZ need no server, MODEL compares with the model",
        &offences,
    );
}
