//! The profiles: one set of settings for make, a bare cargo and the shipped program.

use super::root;
use std::path::{Path, PathBuf};

fn table(path: impl AsRef<Path>) -> toml::Table {
    let path = root().join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folders of the workspace's packages: the root, and what `members` names.
pub fn packages() -> Vec<PathBuf> {
    let manifest = table("Cargo.toml");
    let members = manifest["workspace"]["members"].as_array().unwrap().iter();
    let folders = members.flat_map(|member| match member.as_str().unwrap().strip_suffix("/*") {
        Some(parent) => std::fs::read_dir(root().join(parent)).unwrap().map(|entry| entry.unwrap().path()).collect(),
        None => vec![root().join(member.as_str().unwrap())],
    });
    folders.chain([root()]).collect()
}

/// The names of the workspace's packages.
fn members() -> Vec<String> {
    let name = |package: PathBuf| table(package.join("Cargo.toml"))["package"]["name"].as_str().unwrap().to_owned();
    let mut members: Vec<String> = packages().into_iter().map(name).collect();
    members.sort();
    members
}

#[test]
fn a_bare_cargo_build_and_cargo_build_release_have_the_same_settings() {
    let manifest = table("Cargo.toml");
    assert_eq!(manifest["profile"]["dev"], manifest["profile"]["release"]);
}

#[test]
fn each_crate_of_the_workspace_is_optimised_as_one_unit() {
    let profile = &table("Cargo.toml")["profile"]["dev"];
    assert_eq!((profile["codegen-units"].as_integer(), profile["opt-level"].as_integer()), (Some(1), Some(3)));
    let packages: Vec<&String> = profile["package"].as_table().unwrap().keys().collect();
    assert_eq!(packages, ["*"], "no crate of the workspace has settings of its own");
}

/// Settings for `package."*"` would change how build scripts are compiled, and RocksDB would be
/// compiled a second time.
#[test]
fn each_crate_of_the_workspace_is_unoptimised_in_quick_tests_and_nothing_else() {
    let quick = table(".cargo/quick.toml");
    let packages = quick["profile"]["dev"]["package"].as_table().unwrap();
    let unoptimised = |(name, settings): (&String, &toml::Value)| {
        assert_eq!(settings["opt-level"].as_integer(), Some(0), "{name} in .cargo/quick.toml");
        name.clone()
    };
    let mut found: Vec<String> = packages.iter().map(unoptimised).collect();
    found.sort();
    assert_eq!(found, members(), ".cargo/quick.toml lists the crates of the workspace");
    assert_eq!(quick["profile"]["dev"].as_table().unwrap().len(), 1, "and has no setting for what they depend on");
}
