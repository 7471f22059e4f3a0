//! What the project is built with: ARCHITECTURE.md says of each direct dependency what it is for,
//! and one toolchain is named everywhere.

use super::{files, none, root};
use std::collections::BTreeSet;

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn manifest() -> toml::Table {
    read("Cargo.toml").parse().unwrap()
}

/// What a member of the workspace depends on; members among it are named by their folders below
/// `crates/`.
pub struct Manifest {
    /// The member's folder below `crates/`; that of the root package has no name.
    pub member: String,
    /// Dependencies of what is shipped, not of tests.
    pub dependencies: Vec<String>,
    /// Dependencies of its tests alone.
    pub dev_dependencies: Vec<String>,
}

/// The manifests of the members below `crates/`.
pub fn manifests() -> Vec<Manifest> {
    let paths = files(&["crates"]).into_iter().filter(|path| path.ends_with("/Cargo.toml"));
    let read_one = |path: String| {
        let member = path.trim_start_matches("crates/").trim_end_matches("/Cargo.toml").to_owned();
        Manifest::of(member, &read(&path).parse().unwrap())
    };
    paths.map(read_one).collect()
}

/// The manifest of the root package.
pub fn root_manifest() -> Manifest {
    Manifest::of("the root package".to_owned(), &manifest())
}

impl Manifest {
    fn of(member: String, table: &toml::Table) -> Manifest {
        let [dependencies, dev_dependencies] =
            ["dependencies", "dev-dependencies"].map(|kind| dependencies(table, kind));
        Manifest { member, dependencies, dev_dependencies }
    }
}

fn dependencies(table: &toml::Table, kind: &str) -> Vec<String> {
    let direct = table.get(kind).and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let named =
        |(name, found): (String, toml::Value)| if is_member(&name, &found) { name.replace('_', "-") } else { name };
    direct.into_iter().map(named).collect()
}

/// What the members of the workspace depend on that is not a member itself.
pub fn external_dependencies() -> BTreeSet<String> {
    let manifests = files(&["crates", "fuzz"]).into_iter().filter(|path| path.ends_with("/Cargo.toml"));
    let tables = manifests.map(|path| read(&path).parse().unwrap()).chain([manifest()]);
    let names = tables.flat_map(|table: toml::Table| {
        let direct = table.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        direct.into_iter().filter(|(name, found)| !is_member(name, found)).map(|(name, _)| name).collect::<Vec<_>>()
    });
    names.collect()
}

/// Whether a dependency is named by its path, here or among those of the workspace.
fn is_member(name: &str, dependency: &toml::Value) -> bool {
    let shared = manifest()["workspace"]["dependencies"].get(name).is_some_and(|shared| shared.get("path").is_some());
    dependency.get("path").is_some() || (dependency.get("workspace").is_some() && shared)
}

/// The crates of the first column of the table under "## Dependencies".
fn described() -> BTreeSet<String> {
    let page = read("ARCHITECTURE.md");
    let (_, section) = page.split_once("\n## Dependencies\n").expect("ARCHITECTURE.md has a section on dependencies");
    let section = section.split("\n## ").next().unwrap();
    let names = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(str::to_owned).collect()
}

#[test]
fn every_direct_dependency_is_described() {
    let direct = external_dependencies();
    let described = described();
    let missing =
        direct.difference(&described).map(|name| format!("{name}: ARCHITECTURE.md does not say what it is for"));
    let gone = described
        .difference(&direct)
        .map(|name| format!("{name}: ARCHITECTURE.md describes it, and no Cargo.toml has it"));
    none("each direct dependency has one line in ARCHITECTURE.md", &missing.chain(gone).collect::<Vec<_>>());
}

#[test]
fn one_toolchain_is_named_everywhere() {
    let toolchain: toml::Table = read("rust-toolchain.toml").parse().unwrap();
    let channel = toolchain["toolchain"]["channel"].as_str().unwrap().to_owned();
    let rust_version = manifest()["workspace"]["package"]["rust-version"].as_str().unwrap().to_owned();
    assert!(channel == rust_version || channel.starts_with(&format!("{rust_version}.")), "{channel}, {rust_version}");
    let image = format!("FROM rust:{rust_version}-");
    assert!(read("Dockerfile").contains(&image), "the Dockerfile does not build with {image}");
}

/// The packages that the project's owner chose: replacing one of them is a decision of the owner's.
const CHOSEN: &[&str] =
    &["rdkafka", "tokio", "futures", "serde", "apache-avro", "schema_registry_converter", "sqlx", "rocksdb", "tracing"];

#[test]
fn the_packages_that_the_owner_chose_stay() {
    let direct = external_dependencies();
    let gone = CHOSEN.iter().filter(|name| !direct.contains(**name)).map(|name| format!("no member needs {name}"));
    none("the owner of the project chose these packages: keep them, and use them", &gone.collect::<Vec<_>>());
}
