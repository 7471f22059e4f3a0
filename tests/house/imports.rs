//! Who may import whom. ARCHITECTURE.md says why; this holds it.
//!
//! The compiler keeps a member of the workspace from what its manifest does not name, so the rules
//! between members are rules about manifests. The rest is read from the sources.

use super::dependencies::{Manifest, manifests, root_manifest};
use super::paths::{Named, module_of, named};
use super::{none, sources};

/// Crates without I/O, clocks, threads or surprises.
const PURE_CRATES: &[&str] = &[
    "base64",
    "itoa",
    "memchr",
    "rustc-hash",
    "ryu-js",
    "serde",
    "serde_json",
    "thiserror",
    "typed-arena",
    "uuid",
    "xxhash-rust",
];

/// The members that are pure: bytes in, data out. The engine may log besides, since it reports
/// rebuilds, lost producers and retries; its simulation runs coroutines by seeded random numbers.
const PURE_MEMBERS: &[(&str, &[&str])] = &[
    ("json", &[]),
    ("memory", &[]),
    ("streams", &["fastrand", "generator", "tracing"]),
    ("operators", &[]),
    ("memory-operators", &[]),
    ("reference-model", &[]),
];

/// The members that only tests use.
const FOR_TESTS: &[&str] = &["testkit", "reference-model"];

/// What each member may import of the others. The root package may import all of them.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("escape", &[]),
    ("json", &[]),
    ("secret", &[]),
    ("testkit", &[]),
    // Its independence is its value: it shares no code with what it is compared with.
    ("reference-model", &["testkit"]),
    ("streams", &[]),
    ("memory", &["json"]),
    ("operators", &["json", "memory", "streams"]),
    ("memory-operators", &["json", "memory", "mirror", "operators", "streams"]),
    ("topology-file", &["memory", "operators", "secret", "streams"]),
    ("avro", &["escape", "json", "memory", "secret", "streams"]),
    ("http", &["escape", "json"]),
    ("mirror", &["streams"]),
    ("mirror-postgres", &["mirror", "secret", "streams"]),
    ("node", &["json", "memory", "streams"]),
    ("node-http", &["http", "json", "memory", "node", "secret"]),
    // Over the node's HTTP interface: its routes come from the root package, or over the network.
    ("node-mcp", &["http", "secret"]),
    ("script", &["json", "memory", "streams"]),
    ("services", &["secret"]),
    ("streams-kafka", &["mirror", "secret", "streams"]),
    ("streams-rocksdb", &["streams"]),
];

/// Crates with a technology behind them, and the members that may use them. The binding of a
/// library lies where the library does; `testkit` starts the servers of the tests. A stream thread
/// is a thread of the operating system (docs/decisions/005-os-threads-in-the-engine.md), so tokio
/// has few homes.
const HOMES: &[(&str, &[&str])] = &[
    ("rdkafka", &["streams-kafka", "testkit"]),
    ("rdkafka-sys", &["streams-kafka"]),
    ("openssl-sys", &["streams-kafka"]),
    ("rocksdb", &["streams-rocksdb"]),
    // RocksDB's log files have it.
    ("crc32c", &["streams-rocksdb"]),
    // Holds a snapshot together with the database that it borrows.
    ("ouroboros", &["streams-rocksdb"]),
    ("sqlx", &["mirror-postgres", "node"]),
    ("openssl", &["mirror-postgres"]),
    ("tokio-openssl", &["mirror-postgres"]),
    ("apache-avro", &["avro"]),
    ("schema_registry_converter", &["avro"]),
    ("reqwest", &["avro", "node-http", "node-mcp", "services"]),
    ("rustls", &["avro", "node-http", "node-mcp", "services", "testkit"]),
    // Through it the HTTP port has rustls, too.
    ("tokio-rustls", &["http"]),
    ("axum", &["http", "node-http", "node-mcp"]),
    ("rmcp", &["node-mcp"]),
    ("utoipa", &["node-http"]),
    ("hyper", &["http"]),
    ("hyper-util", &["http"]),
    ("ring", &["http"]),
    ("subtle", &["http"]),
    ("rhai", &["script"]),
    ("annotate-snippets", &["topology-file"]),
    ("tokio", &["avro", "http", "mirror-postgres", "node-http", "node-mcp", "services"]),
    // librdkafka's admin calls are futures of rdkafka, waited for without a runtime. So are the
    // node's calls, which a runtime may await as well. A stream of events is a stream of futures.
    ("futures", &["mirror-postgres", "node", "node-http", "streams-kafka", "testkit"]),
    // The fault proxy of the tests reads and writes the messages of Kafka's protocol.
    ("kafka-protocol", &["testkit"]),
    ("bytes", &["testkit"]),
];

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

/// The member of the workspace or, in the root package, the module that a module or a path belongs
/// to: `streams` of `crate::streams::ports`.
fn part(segments: &[String]) -> Option<&str> {
    let is_ours = segments.first().is_some_and(|first| first == "crate");
    if is_ours { segments.get(1).map(String::as_str) } else { None }
}

#[test]
fn members_import_only_what_the_map_allows() {
    let all = manifests();
    let mut wrong: Vec<String> = Vec::new();
    for Manifest { member, dependencies, .. } in &all {
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
    let is_member = |name: &str| all.iter().any(|other| other.member == name);
    let mut wrong = Vec::new();
    for (pure, more) in PURE_MEMBERS {
        let manifest = all.iter().find(|manifest| manifest.member == *pure);
        let Manifest { dependencies, .. } = manifest.unwrap_or_else(|| panic!("there is no crates/{pure}"));
        let is_pure = |name: &str| PURE_CRATES.contains(&name) || more.contains(&name) || is_member(name);
        let found = dependencies.iter().filter(|name| !is_pure(name));
        wrong.extend(found.map(|name| format!("crates/{pure}/Cargo.toml: {name}")));
    }
    none("the domain, the engine and the operators use small pure crates only", &wrong);
}

#[test]
fn only_tests_use_the_members_for_tests() {
    // The fuzz targets, outside of crates/, are tests as well.
    let shipped = manifests().into_iter().filter(|manifest| !FOR_TESTS.contains(&manifest.member.as_str()));
    let mut wrong = Vec::new();
    for Manifest { member, dependencies, .. } in shipped.chain([root_manifest()]) {
        let found = dependencies.iter().filter(|name| FOR_TESTS.contains(&name.as_str()));
        wrong.extend(found.map(|name| format!("{member}: {name} belongs to [dev-dependencies]")));
    }
    none("what is shipped depends on a member for tests", &wrong);
}

#[test]
fn the_reference_model_is_tested_without_the_code_that_it_is_compared_with() {
    let all = manifests();
    let model =
        all.iter().find(|manifest| manifest.member == "reference-model").expect("there is crates/reference-model");
    let members = model.dev_dependencies.iter().filter(|name| all.iter().any(|other| other.member == **name));
    let wrong: Vec<String> = members.filter(|name| *name != "testkit").cloned().collect();
    none("a member among the [dev-dependencies] of crates/reference-model", &wrong);
}

#[test]
fn each_technology_lives_in_its_members() {
    let all: Vec<Manifest> = manifests().into_iter().chain([root_manifest()]).collect();
    let mut wrong = Vec::new();
    for (name, homes) in HOMES {
        let uses = |manifest: &&Manifest| manifest.dependencies.iter().any(|dependency| dependency == name);
        let users: Vec<&str> = all.iter().filter(uses).map(|manifest| manifest.member.as_str()).collect();
        let strangers = users.iter().filter(|user| !homes.contains(user));
        wrong.extend(strangers.map(|user| format!("{user}: {name} belongs to {}", homes.join(", "))));
        let gone = homes.iter().filter(|home| !users.contains(home));
        wrong.extend(gone.map(|home| format!("{home} does not use {name} any more: correct HOMES")));
    }
    none("a technology outside of its members", &wrong);
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

#[test]
fn nothing_in_the_engine_escapes_the_schedule_of_the_simulation() {
    // What a simulated process runs instead of the pool of threads is its own executor.
    const OWN_THREADS: &str = "crates/streams/src/runtime/executor.rs";
    // Its hasher has no random state, and what it yields is sorted.
    const NAMED_HASHER: &str = "crates/streams/src/store/overlay.rs";
    let mut wrong = Vec::new();
    for source in sources(&["crates/streams/src"]).iter().filter(|source| !source.is_test) {
        for named in named(source).iter().filter(|named| !named.in_test) {
            let starts = |paths: &[&str]| paths.iter().any(|path| named.starts_with(path));
            let is_thread = starts(&["std::thread::spawn", "std::thread::scope", "std::thread::Builder"])
                && source.path != OWN_THREADS;
            let is_random =
                starts(&["std::hash::RandomState", "std::collections::HashMap", "std::collections::HashSet"])
                    && source.path != NAMED_HASHER;
            if is_thread || is_random {
                wrong.push(format!("{}:{}: {}", source.path, named.line, named.segments.join("::")));
            }
        }
    }
    none("a thread or a map in random order in the engine: a seed would not decide a simulated run", &wrong);
}

#[test]
fn the_configuration_and_the_commands_know_no_operator_by_name() {
    // `branch` is the key of a table besides.
    let operators = ["decode", "resolve", "user_snapshots", "filter", "map", "rekey", "aggregate", "count"];
    let mut wrong = Vec::new();
    for source in sources(&["src", "crates/topology-file"]).iter().filter(|source| !source.is_test) {
        let (shipped, _) = source.text.split_once("#[cfg(test)]").unwrap_or((&source.text, ""));
        let is_configuration = source.path.starts_with("crates/");
        for (at, line) in shipped.lines().enumerate() {
            let names_one = operators.iter().any(|name| line.contains(&format!("\"{name}\"")));
            if line.contains("operator == \"") || line.contains("operator.as_str()") || (is_configuration && names_one)
            {
                wrong.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    none("an operator is compared by its name: ask its OperatorSpec for a property instead", &wrong);
}
