//! Who may import whom. ARCHITECTURE.md says why; this holds it.

use super::dependencies::external_dependencies;
use super::paths::{Named, module_of, named};
use super::{none, sources};
use std::collections::{BTreeMap, BTreeSet};

/// Crates without I/O, clocks, threads or surprises, free for `domain` and `streams`.
const PURE_CRATES: &[&str] =
    &["base64", "itoa", "memchr", "ryu_js", "serde", "serde_json", "thiserror", "typed_arena", "uuid", "xxhash_rust"];

/// What the crate's own parts may import of each other, besides themselves.
const HOUSES: &[(&str, &[&str])] = &[
    ("json", &[]),
    ("memory", &["json"]),
    ("streams", &[]),
    ("operators", &["json", "memory", "streams"]),
    ("memories", &["json", "memory", "streams", "operators"]),
    ("config", &["json", "memory", "streams"]),
    ("edges", &["json", "memory", "streams"]),
];

/// Crates that one edge alone may use, and the edge. The binding of a library lies where the library does.
const ONE_EDGE: &[(&str, &str)] = &[
    ("rdkafka", "kafka"),
    ("rdkafka_sys", "kafka"),
    ("openssl_sys", "kafka"),
    ("rocksdb", "rocksdb"),
    ("sqlx", "postgres"),
    ("openssl", "postgres"),
    ("tokio_openssl", "postgres"),
    ("apache_avro", "avro"),
    ("schema_registry_converter", "avro"),
    ("reqwest", "avro"),
    ("rustls", "avro"),
    // Through it the HTTP edge has rustls, too.
    ("tokio_rustls", "http"),
    ("axum", "http"),
    ("hyper", "http"),
    ("hyper_util", "http"),
    ("ring", "http"),
    ("subtle", "http"),
    ("clap", "cli"),
    ("indicatif", "cli"),
    ("rhai", "script"),
];

/// Exceptions, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

fn offences(rule: impl Fn(&[String], &Named) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources(&["src", "crates"]) {
        let module = module_of(&source.path);
        for named in named(&source) {
            let path = named.segments.join("::");
            let excepted = EXCEPTIONS.iter().any(|(file, prefix, _)| source.path == *file && path.starts_with(prefix));
            if rule(&module, &named) && !excepted {
                found.push(format!("{}:{}: {path}", source.path, named.line));
            }
        }
    }
    found
}

/// The part of the crate that a module or a path belongs to: `streams` of `crate::streams::ports`.
fn house(segments: &[String]) -> Option<&str> {
    let is_ours = segments.first().is_some_and(|first| first == "crate");
    let second = if is_ours { segments.get(1).map(String::as_str) } else { None };
    // The root package names the crate `memory` so.
    second.map(|name| if name == "domain" { "memory" } else { name })
}

/// The dependencies of all members of the workspace from elsewhere, as they are named in code.
fn dependencies() -> BTreeSet<String> {
    let names = external_dependencies();
    names.into_iter().map(|name| name.replace('-', "_")).collect()
}

#[test]
fn parts_import_only_what_the_map_allows() {
    let allowed: BTreeMap<&str, &[&str]> = HOUSES.iter().copied().collect();
    let wrong = offences(|module, named| {
        let (Some(from), Some(to)) = (house(module), house(&named.segments)) else { return false };
        allowed.get(from).is_some_and(|others| from != to && HOUSE_NAMES.contains(&to) && !others.contains(&to))
    });
    none("an import against the map in src/lib.rs", &wrong);
}

const HOUSE_NAMES: &[&str] = &["app", "config", "edges", "json", "memories", "memory", "operators", "streams"];

#[test]
fn edges_do_not_import_each_other() {
    let wrong = offences(|module, named| {
        let (Some("edges"), Some("edges")) = (house(module), house(&named.segments)) else { return false };
        matches!((module.get(2), named.segments.get(2)), (Some(from), Some(to)) if from != to)
    });
    none("an edge imports another edge: let app join them, over a port", &wrong);
}

#[test]
fn domain_and_streams_use_pure_crates_only() {
    let dependencies = dependencies();
    let wrong = offences(|module, named| {
        let is_pure_house = matches!(house(module), Some("json" | "memory" | "streams"));
        let first = named.segments[0].as_str();
        // The logging facade does nothing by itself; the engine tells of rebuilds, lost producers and retries through it.
        let is_log = first == "tracing" && house(module) == Some("streams");
        is_pure_house && !is_log && !named.in_test && dependencies.contains(first) && !PURE_CRATES.contains(&first)
    });
    none("domain and streams import std and small pure crates only", &wrong);
}

#[test]
fn each_technology_lives_in_one_edge() {
    let wrong = offences(|module, named| {
        let Some((_, edge)) = ONE_EDGE.iter().find(|(name, _)| named.segments[0] == *name) else { return false };
        let is_home = house(module) == Some("edges") && module.get(2).is_some_and(|at| at == edge);
        !is_home && !named.in_test
    });
    none("a technology outside of its edge", &wrong);
}

#[test]
fn tokio_lives_in_edges_app_and_main() {
    let wrong = offences(|module, named| {
        let is_async = matches!(named.segments[0].as_str(), "tokio" | "futures");
        is_async && !matches!(house(module), Some("edges" | "app") | None)
    });
    none("tokio outside of edges, app and main", &wrong);
}

#[test]
fn domain_has_no_clock_no_threads_and_no_io() {
    let banned = ["std::time::Instant", "std::time::SystemTime", "std::fs", "std::io", "std::net", "std::env"];
    let wrong = offences(|module, named| {
        let is_banned = banned.iter().chain(&["std::thread", "std::process"]).any(|path| named.starts_with(path));
        matches!(house(module), Some("json" | "memory")) && !named.in_test && is_banned
    });
    none("domain is pure: bytes in, data out", &wrong);
}

#[test]
fn nothing_but_the_edges_and_app_reads_a_clock() {
    let wrong = offences(|module, named| {
        let reads_clock = named.segments.ends_with(&["Instant".into(), "now".into()])
            || named.segments.ends_with(&["SystemTime".into(), "now".into()])
            || named.segments.ends_with(&["Uuid".into(), "new_v4".into()])
            || named.starts_with("std::thread::sleep");
        reads_clock
            && !named.in_test
            && matches!(house(module), Some("json" | "memory" | "streams" | "operators" | "memories" | "config"))
    });
    none("time and chance come through ports: else a simulated run cannot repeat a real one", &wrong);
}
