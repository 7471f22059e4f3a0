//! Who may import whom. ARCHITECTURE.md says why; this holds it.
//!
//! The compiler keeps a member of the workspace from what its manifest does not name, so the rules between members are
//! rules about manifests. The rest is read from the sources.

use super::dependencies::{Manifest, manifests};
use super::paths::{Named, module_of, named};
use super::{none, sources};

/// Crates without I/O, clocks, threads or surprises.
const PURE_CRATES: &[&str] =
    &["base64", "itoa", "memchr", "ryu-js", "serde", "serde_json", "thiserror", "typed-arena", "uuid", "xxhash-rust"];

/// The members that are pure: bytes in, data out. The engine may log besides, since it reports rebuilds, lost producers and retries.
const PURE_MEMBERS: &[(&str, &[&str])] =
    &[("json", &[]), ("memory", &[]), ("streams", &["tracing"]), ("operators", &[]), ("memory-operators", &[])];

/// What each member may import of the others. The root package may import all of them.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("escape", &[]),
    ("json", &[]),
    ("secret", &[]),
    ("testkit", &[]),
    ("streams", &[]),
    ("memory", &["json"]),
    ("operators", &["json", "memory", "streams"]),
    ("memory-operators", &["json", "memory", "operators", "streams"]),
    ("topology-file", &["memory", "secret", "streams"]),
    ("avro", &["escape", "json", "memory", "secret", "streams"]),
    ("http", &["escape"]),
    ("mirror-postgres", &["secret", "streams"]),
    ("script", &["json", "memory", "streams"]),
    ("streams-kafka", &["secret", "streams"]),
    ("streams-rocksdb", &["streams"]),
];

/// Crates that one member alone may use. The binding of a library lies where the library does.
const ONE_MEMBER: &[(&str, &str)] = &[
    ("rdkafka", "streams-kafka"),
    ("openssl-sys", "streams-kafka"),
    ("rocksdb", "streams-rocksdb"),
    ("sqlx", "mirror-postgres"),
    ("openssl", "mirror-postgres"),
    ("tokio-openssl", "mirror-postgres"),
    ("apache-avro", "avro"),
    ("schema_registry_converter", "avro"),
    ("reqwest", "avro"),
    ("rustls", "avro"),
    // Through it the HTTP edge has rustls, too.
    ("tokio-rustls", "http"),
    ("axum", "http"),
    ("hyper", "http"),
    ("hyper-util", "http"),
    ("ring", "http"),
    ("subtle", "http"),
    ("rhai", "script"),
    ("annotate-snippets", "topology-file"),
];

/// The members with a runtime of tokio inside. A stream thread is a thread of the operating system (docs/decisions/005-os-threads-in-the-engine.md).
const ASYNC_MEMBERS: &[&str] = &["avro", "http", "mirror-postgres"];

/// Crates that one edge of the root package alone may use, and the edge.
const ONE_EDGE: &[(&str, &str)] = &[("clap", "cli"), ("indicatif", "cli")];

fn offences(rule: impl Fn(&[String], &Named) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources(&["src", "crates"]) {
        let module = module_of(&source.path);
        for named in named(&source) {
            if rule(&module, &named) {
                found.push(format!("{}:{}: {}", source.path, named.line, named.segments.join("::")));
            }
        }
    }
    found
}

/// The member of the workspace or, in the root package, the module that a module or a path belongs to: `streams` of
/// `crate::streams::ports`.
fn part(segments: &[String]) -> Option<&str> {
    let is_ours = segments.first().is_some_and(|first| first == "crate");
    if is_ours { segments.get(1).map(String::as_str) } else { None }
}

#[test]
fn members_import_only_what_the_map_allows() {
    let all = manifests();
    let mut wrong: Vec<String> = Vec::new();
    for Manifest { member, dependencies } in &all {
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| name == member) else {
            wrong.push(format!("crates/{member}/Cargo.toml: say in MAY_IMPORT what it may import"));
            continue;
        };
        let members = dependencies.iter().filter(|name| all.iter().any(|other| other.member == **name));
        wrong.extend(
            members
                .filter(|name| !allowed.contains(&name.as_str()))
                .map(|name| format!("crates/{member}/Cargo.toml: {name}")),
        );
    }
    none("an import against the map in src/lib.rs", &wrong);
}

#[test]
fn pure_members_use_pure_crates_only() {
    let all = manifests();
    let wrong = all.iter().flat_map(|Manifest { member, dependencies }| {
        let more = PURE_MEMBERS.iter().find(|(name, _)| name == member).map(|(_, more)| *more);
        let is_member = |name: &str| all.iter().any(|other| other.member == name);
        let bad = dependencies.iter().filter(move |name| {
            more.is_some_and(|more| {
                !PURE_CRATES.contains(&name.as_str()) && !more.contains(&name.as_str()) && !is_member(name)
            })
        });
        bad.map(move |name| format!("crates/{member}/Cargo.toml: {name}")).collect::<Vec<_>>()
    });
    none("the domain, the engine and the operators use small pure crates only", &wrong.collect::<Vec<_>>());
}

#[test]
fn each_technology_lives_in_one_member() {
    let root = super::dependencies::root_manifest();
    let mut wrong = Vec::new();
    for Manifest { member, dependencies } in manifests().iter().chain([&root]) {
        for (name, home) in ONE_MEMBER {
            if member != home && dependencies.iter().any(|dependency| dependency == name) {
                wrong.push(format!("{member}: {name} belongs to crates/{home}"));
            }
        }
        let is_async = |name: &String| matches!(name.as_str(), "tokio" | "futures");
        // librdkafka's admin calls are futures of rdkafka, waited for without a runtime.
        let may_wait = ASYNC_MEMBERS.contains(&member.as_str());
        let found = dependencies.iter().filter(|name| is_async(name) && !may_wait);
        wrong.extend(
            found
                .filter(|name| *name == "tokio" || member != "streams-kafka")
                .map(|name| format!("{member}: {name} outside of the members with a runtime")),
        );
    }
    none("a technology outside of its member", &wrong);
}

#[test]
fn edges_of_the_root_package_do_not_import_each_other() {
    let wrong = offences(|module, named| {
        let (Some("edges"), Some("edges")) = (part(module), part(&named.segments)) else { return false };
        matches!((module.get(2), named.segments.get(2)), (Some(from), Some(to)) if from != to)
    });
    none("an edge imports another edge: let app join them, over a port", &wrong);
}

#[test]
fn the_command_line_lives_in_one_edge() {
    let wrong = offences(|module, named| {
        let Some((_, edge)) = ONE_EDGE.iter().find(|(name, _)| named.segments[0] == *name) else { return false };
        let is_home = part(module) == Some("edges") && module.get(2).is_some_and(|at| at == edge);
        !is_home && !named.in_test
    });
    none("a technology outside of its edge", &wrong);
}

#[test]
fn the_domain_has_no_clock_no_threads_and_no_io() {
    let banned = ["std::time::Instant", "std::time::SystemTime", "std::fs", "std::io", "std::net", "std::env"];
    let wrong = offences(|module, named| {
        let is_banned = banned.iter().chain(&["std::thread", "std::process"]).any(|path| named.starts_with(path));
        matches!(part(module), Some("memory" | "json")) && !named.in_test && is_banned
    });
    none("the domain is pure: bytes in, data out", &wrong);
}

#[test]
fn nothing_but_the_edges_and_app_reads_a_clock() {
    let wrong = offences(|module, named| {
        let reads_clock = named.segments.ends_with(&["Instant".into(), "now".into()])
            || named.segments.ends_with(&["SystemTime".into(), "now".into()])
            || named.segments.ends_with(&["Uuid".into(), "new_v4".into()])
            || named.starts_with("std::thread::sleep");
        let is_pure =
            |name: &str| PURE_MEMBERS.iter().any(|(pure, _)| pure.replace('-', "_") == name) || name == "topology_file";
        reads_clock && !named.in_test && part(module).is_some_and(is_pure)
    });
    none("time and chance come through ports: else a simulated run cannot repeat a real one", &wrong);
}
