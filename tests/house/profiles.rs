//! The crates of the workspace are optimised as one unit each, what they depend on is not: Cargo.toml has an entry for each crate.

use super::{none, root};
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

/// A setting of one package in a profile.
fn setting<'t>(config: &'t toml::Table, profile: &str, package: &str, key: &str) -> Option<&'t toml::Value> {
    config.get("profile")?.get(profile)?.get("package")?.get(package)?.get(key)
}

/// The members that lack an entry like `[profile.dev.package.NAME]` with this setting.
fn lacking(path: &str, profile: &str, key: &str, value: i64) -> Vec<String> {
    let config = table(path);
    let members = members().into_iter();
    let lacking =
        members.filter(|name| setting(&config, profile, name, key).and_then(toml::Value::as_integer) != Some(value));
    lacking.map(|name| format!("{path}: add [profile.{profile}.package.{name}] with {key} = {value}")).collect()
}

#[test]
fn each_crate_of_the_workspace_is_optimised_as_one_unit() {
    none("speed is held with codegen-units = 1 in each crate", &lacking("Cargo.toml", "release", "codegen-units", 1));
}

#[test]
fn each_crate_of_the_workspace_is_unoptimised_in_quick_tests() {
    let offences = lacking(".cargo/quick.toml", "release", "opt-level", 0);
    none("`make unit` compiles our own crates unoptimised", &offences);
}
