//! The digest of everything that decides the outputs of a topology, which the instances of an
//! application compare.
//!
//! Everything that another record could come of belongs to it: the graph, formats, the resolver,
//! limits, scripts and snapshots. What only says how the same records come about does not:
//! connections, threads, memory, intervals of the engine, where a store lies, the mirror. What
//! stands at its default is left out, so that a release that adds a setting gives no topology
//! another digest. The order of the file's tables does not matter.

use serde_json::{Map, Value, json};

use super::{CommandError, Custom};
use memory::event::Encoding;
use memory::settings::ResolverSettings;
use streams::topology_digest::TopologyDigest;
use topology_file::Topology as File;
use topology_file::graph::{GraphNode, GraphNodeKind};
use topology_file::script::names;
use topology_file::setting::Values;

/// The parts that are compared, by the names that a refusal uses.
const PARTS: [&str; 6] = ["graph", "formats", "resolver", "limits", "scripts", "snapshots"];

/// The digest of a checked file, as settings and flags have changed it. `reads_avro` says whether a
/// schema registry is named, without which events in Avro are dead letters.
///
/// # Errors
/// A strategy names a resolver that is not there.
pub fn of(file: &File, custom: &Custom, reads_avro: bool) -> Result<TopologyDigest, CommandError> {
    let texts = [
        graph(file),
        formats(file, reads_avro),
        resolver(file),
        limits(&file.values),
        scripts(file, custom)?,
        snapshots(file),
    ];
    let parts: Vec<(&str, String)> = PARTS.into_iter().zip(texts.map(|text| text.to_string())).collect();
    Ok(TopologyDigest::of(&parts))
}

/// Whether the outputs of some operator depend on the settings of this table.
fn depends_on(file: &File, table: &str) -> bool {
    file.graph.nodes.iter().filter_map(|node| node.spec()).any(|spec| spec.settings.contains(&table))
}

/// The graph: inputs of nodes, topics, keys, parameters of operators, and stores by name and
/// retention. A source's partitions may grow, so they are not part of it.
fn graph(file: &File) -> Value {
    let nodes: Map<String, Value> = file.graph.nodes.iter().map(|node| (node.name.clone(), shown(node))).collect();
    let stores = file.graph.stores.iter().map(|store| {
        let keeper = file.graph.keeper(&store.name).map(|node| node.name.as_str());
        let retention = store.retention.map(|time| time.as_millis().to_string());
        (store.name.clone(), json!({ "keeper": keeper, "retention_ms": retention }))
    });
    let stores: Map<String, Value> = stores.collect();
    let dead_letters = file.graph.dead_letters.as_ref().map(|dead| json!([dead.topic, dead.partitions]));
    json!({ "nodes": nodes, "stores": stores, "dead_letters": dead_letters })
}

fn shown(node: &GraphNode) -> Value {
    let mut from: Vec<String> =
        node.from.iter().map(|input| format!("{}.{}", input.node, input.output.as_deref().unwrap_or("-"))).collect();
    from.sort_unstable();
    match &node.kind {
        GraphNodeKind::Source { topic, key, .. } => {
            json!({ "source": topic, "key": key.as_ref().map(|key| &key.value) })
        }
        GraphNodeKind::Repartition => json!({ "repartition": from }),
        GraphNodeKind::Processor { operator, stores, params, spec } => {
            let stores: Vec<&str> = stores.iter().map(|store| store.value.as_str()).collect();
            let mut shown = json!({ "operator": operator, "from": from, "stores": stores, "told": params.shown() });
            // The code of an operator cannot be compared; of those that this crate ships none has a
            // version.
            let version = spec.as_ref().map_or("", |spec| spec.version);
            if let (Some(members), false) = (shown.as_object_mut(), version.is_empty()) {
                members.insert("version".to_owned(), version.into());
            }
            shown
        }
        GraphNodeKind::Sink { topic, partitions, key, .. } => {
            json!({ "sink": topic, "partitions": partitions, "from": from, "key": key.as_ref().map(|key| &key.value) })
        }
    }
}

/// Formats in which records are read and written.
fn formats(file: &File, reads_avro: bool) -> Value {
    let mut all = Map::new();
    for node in &file.graph.nodes {
        match &node.kind {
            GraphNodeKind::Source { format, .. } if *format != Encoding::default() => {
                all.insert(node.name.clone(), json!(format.as_str()));
            }
            GraphNodeKind::Sink { format, .. } => {
                all.insert(node.name.clone(), json!(format.as_str()));
            }
            _ => {}
        }
    }
    // How subjects are named decides under which id a record's schema stands.
    let subjects = file.schema_registry.subject_names.as_deref().filter(|names| *names != "TopicNameStrategy");
    json!({ "nodes": all, "reads_avro": reads_avro, "subject_names": subjects.filter(|_| reads_avro) })
}

/// A JSON object of the values that differ from their defaults.
fn changed<T: PartialEq>(pairs: impl IntoIterator<Item = (&'static str, T, T)>, show: impl Fn(T) -> Value) -> Value {
    let changed = pairs.into_iter().filter(|(_, is, by_default)| is != by_default);
    Value::Object(changed.map(|(name, is, _)| (name.to_owned(), show(is))).collect())
}

/// How contenders are resolved, where anything is resolved.
fn resolver(file: &File) -> Value {
    if !depends_on(file, "resolver") {
        return Value::Null;
    }
    let is = &file.values.resolver;
    let by_default = ResolverSettings::default();
    let overrides: Map<String, Value> =
        is.overrides.iter().map(|(path, strategy)| (path.clone(), json!(strategy.to_string()))).collect();
    let rules = |settings: &ResolverSettings| {
        [
            ("strategy", settings.strategy.to_string()),
            ("delete_policy", settings.delete_policy.to_string()),
            ("trust_clocks", settings.trust_clocks.to_string()),
            ("unclocked", settings.unclocked.to_string()),
            ("max_clock_skew_ns", settings.max_clock_skew_ns.to_string()),
            ("tombstone_retention_ns", settings.tombstone_retention_ns.map_or("off".to_owned(), |ns| ns.to_string())),
        ]
    };
    let pairs = rules(is).into_iter().zip(rules(&by_default)).map(|((name, is), (_, was))| (name, is, was));
    json!({ "rules": changed(pairs, Value::String), "strategies": overrides })
}

/// Limits of sizes, and of scripts.
fn limits(values: &Values) -> Value {
    let all = |values: &Values| {
        let number = |n: usize| n as u64;
        [
            ("max_value_bytes", number(values.limits.max_value_bytes)),
            ("max_clock_entries", number(values.limits.max_clock_entries)),
            ("max_contenders", number(values.resolver.max_contenders)),
            ("max_output_bytes", number(values.runtime.max_output_bytes)),
            ("script_operations", values.scripts.operations),
            ("script_bytes", number(values.scripts.bytes)),
            ("script_items", number(values.scripts.items)),
            ("script_depth", number(values.scripts.depth)),
        ]
    };
    let pairs = all(values).into_iter().zip(all(&Values::default())).map(|((name, is), (_, was))| (name, is, was));
    changed(pairs, |n| json!(n))
}

/// Resolver of each field whose strategy is custom: a script's text, or the name and version of a
/// function of the program.
fn scripts(file: &File, custom: &Custom) -> Result<Value, CommandError> {
    let known = names(&file.scripts, &custom.names());
    let mut all = Map::new();
    for key in file.values.custom_keys() {
        let name = file.values.resolver_of(&key, &known);
        let name = name.map_err(|(message, fix)| CommandError::Usage(format!("{message}; {fix} [HS7005]")))?;
        let what = match file.scripts.iter().find(|script| script.name == name) {
            Some(script) => json!({ "script": script.text }),
            None => json!({ "function": name, "version": custom.version(&name) }),
        };
        all.insert(key, what);
    }
    Ok(Value::Object(all))
}

/// When users are emitted, where they are.
fn snapshots(file: &File) -> Value {
    if !depends_on(file, "snapshots") {
        return Value::Null;
    }
    let all = |values: &Values| {
        [
            ("interval_ms", values.snapshots.interval.as_millis().to_string()),
            ("changes", values.snapshots.changes.to_string()),
        ]
    };
    let pairs = all(&file.values).into_iter().zip(all(&Values::default()));
    changed(pairs.map(|((name, is), (_, was))| (name, is, was)), Value::String)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Program;
    use memory::strategy::{Contender, CustomResolver, Resolution, ResolverFailure};
    use operators::spec::{BuildError, OperatorSpec, Parameter, ParameterKind};
    use topology_file::setting::SPECS;

    const MEMORY: &str = include_str!("../../topologies/memory.toml");
    const COUNTS: &str = include_str!("../../topologies/conflict-counts.toml");

    fn digest(text: &str, set: &[&str]) -> TopologyDigest {
        let mut file = topology_file::parse("t.toml", text, &Program::default().operators).unwrap();
        set.iter().for_each(|assignment| file.values.set_text(assignment, "--set").unwrap());
        of(&file, &Custom::default(), false).unwrap()
    }

    #[track_caller]
    fn assert_differs(text: &str, change: (&str, &str), parts: &[&str]) {
        assert!(text.contains(change.0), "the file has no {:?}", change.0);
        let was = digest(text, &[]);
        let is = digest(&text.replacen(change.0, change.1, 1), &[]);
        assert_eq!(was.differences(&is), parts, "{change:?}");
        assert_eq!(was == is, parts.is_empty(), "{change:?}");
    }

    /// Settings that decide how the same outputs come about, or what Postgres keeps of them.
    const NOT_DECIDING: [&str; 16] = [
        "commit_interval",
        "memory",
        "transaction_timeout",
        "session_timeout",
        "task_timeout",
        "broker_timeout",
        "check_interval",
        "purge_interval",
        "purge",
        "static_membership",
        "task_assignor",
        "restore_grace",
        "replication_factor",
        "retention",
        "partitions_ahead",
        "nodes_topic",
    ];

    /// Of each setting that decides outputs a value that is not its default, and the part that it
    /// belongs to.
    const DECIDING: [(&str, &str, &str); 15] = [
        ("strategy", "importance", "resolver"),
        ("delete_policy", "delete_wins", "resolver"),
        ("trust_clocks", "true", "resolver"),
        ("unclocked", "concurrent", "resolver"),
        ("max_clock_skew", "3s", "resolver"),
        ("tombstone_retention", "90d", "resolver"),
        ("max_value_bytes", "1MiB", "limits"),
        ("max_clock_entries", "5", "limits"),
        ("max_contenders", "7", "limits"),
        ("max_output_bytes", "1MiB", "limits"),
        ("script_operations", "60000", "limits"),
        ("script_bytes", "2MiB", "limits"),
        ("script_items", "20000", "limits"),
        ("script_depth", "9", "limits"),
        ("snapshot_interval", "2m", "snapshots"),
    ];

    #[test]
    fn every_setting_either_decides_outputs_or_does_not() {
        let was = digest(MEMORY, &[]);
        let deciding = |key: &str| DECIDING.iter().find(|(known, ..)| *known == key);
        for spec in SPECS.iter().filter(|spec| spec.key != "snapshot_changes") {
            assert_ne!(deciding(spec.key).is_some(), NOT_DECIDING.contains(&spec.key), "{} is to be in one", spec.key);
        }
        for (key, value, part) in DECIDING.into_iter().chain([("snapshot_changes", "9", "snapshots")]) {
            let is = digest(MEMORY, &[&format!("{key}={value}")]);
            assert_eq!(was.differences(&is), [part], "{key}");
            assert_ne!(was, is, "{key}");
        }
        let others = [
            "commit_interval=200ms",
            "memory=256MiB",
            "transaction_timeout=20s",
            "session_timeout=20s",
            "task_timeout=1m",
        ];
        let more = [
            "broker_timeout=5s",
            "purge_interval=1m",
            "purge=false",
            "static_membership=true",
            "task_assignor=state_aware",
            "restore_grace=30s",
        ];
        let rest =
            ["replication_factor=1", "retention=90d", "partitions_ahead=1", "check_interval=1s", "nodes_topic=nodes"];
        let all: Vec<&str> = others.into_iter().chain(more).chain(rest).collect();
        for key in NOT_DECIDING {
            let set = all.iter().find(|set| set.split('=').next() == Some(key)).unwrap_or_else(|| panic!("{key}"));
            assert_eq!(was, digest(MEMORY, &[set]), "{set}");
        }
    }

    #[test]
    fn strategies_of_fields_decide_outputs() {
        let was = digest(MEMORY, &[]);
        let one = digest(MEMORY, &["strategy.content=last_write_wins"]);
        assert_eq!(was.differences(&one), ["resolver"]);
        assert_eq!(one.differences(&digest(MEMORY, &["strategy.content=vector_clock"])), ["resolver"]);
        assert_eq!(one.differences(&digest(MEMORY, &["strategy.tags=last_write_wins"])), ["resolver"]);
    }

    #[test]
    fn the_graph_and_formats_decide_outputs() {
        let (hop, _) = MEMORY.split_once("# The nodes below make the user snapshots").unwrap();
        assert_eq!(digest(MEMORY, &[]).differences(&digest(hop, &[])), ["graph", "formats", "snapshots"]);
        let last_sink = "from = [\"user-snapshots.snapshots\"]";
        for (change, parts) in [
            (("topic = \"helixagent.memory.events\"", "topic = \"other\""), &["graph"][..]),
            (("topic = \"helixagent.memory.conflicts\"", "topic = \"other\""), &["graph"]),
            (("topic = \"helixagent.memory.dead-letters\"", "topic = \"other\""), &["graph"]),
            (("partitions = 3\nfrom", "partitions = 7\nfrom"), &["graph"]),
            (
                ("from = [\"resolve.conflicts\"]", "from = [\"resolve.conflicts\"]\nformat = \"helixagent\""),
                &["formats"],
            ),
            ((last_sink, "from = [\"user-snapshots.snapshots\"]\nkey = \"value.user_id\""), &["graph"]),
            // The same, written in another way, or kept in another way.
            (("partitions = 12", "partitions = 24"), &[]),
            (("partitions = 12", "partitions = 12\n# a remark"), &[]),
            (("name = \"memories\"", "name = \"memories\"\nkind = \"memory\"\nstandby = 1"), &[]),
            (("strategy = \"merge_all\"", "# strategy = \"merge_all\""), &[]),
            (("threads = 2", "threads = 4"), &[]),
            (("[kafka]", "[kafka]\n\"security.protocol\" = \"SSL\""), &[]),
        ] {
            assert_differs(MEMORY, change, parts);
        }
        for (change, parts) in [
            (("value.status != \"superseded\"", "true"), &["graph"][..]),
            (("key = \"value.user_id\"", "key = \"value.memory_id\""), &["graph"]),
            (("by = \"value.conflict_type\"", "by = \"value.status\""), &["graph"]),
            (("name = \"conflict-counts-store\"", "name = \"conflict-counts-store\"\nretention = \"30d\""), &["graph"]),
            (("format = \"json\"", "# any"), &["formats"]),
        ] {
            assert_differs(COUNTS, change, parts);
        }
        assert_eq!(
            digest(COUNTS, &[]),
            digest(COUNTS, &["strategy=importance", "snapshot_interval=5m"]),
            "it resolves nothing"
        );
    }

    #[test]
    fn whether_avro_is_read_decides_what_is_a_dead_letter() {
        let file = topology_file::parse("t.toml", MEMORY, &Program::default().operators).unwrap();
        let with = |reads_avro| of(&file, &Custom::default(), reads_avro).unwrap();
        assert_eq!(with(false).differences(&with(true)), ["formats"]);
    }

    #[test]
    fn an_operator_of_a_program_is_compared_by_its_version_and_parameters() {
        let digest = |version: &'static str, n: u64| {
            let kind = ParameterKind::Number { min: 1, max: 9 };
            let spec = OperatorSpec {
                version,
                parameters: vec![Parameter::required("n", kind, "1", "a number.")],
                ..OperatorSpec::new("mine", "is in a test only", |_| Err(BuildError::NoStore))
            };
            let operators = Program::default().with_operator(spec).operators;
            let text = COUNTS.replacen("operator = \"filter\"", "operator = \"mine\"", 1);
            let text = text.replacen("when = 'value.status != \"superseded\"'", &format!("n = {n}"), 1);
            of(&topology_file::parse("t.toml", &text, &operators).unwrap(), &Custom::default(), false).unwrap()
        };
        assert_eq!(digest("1", 3), digest("1", 3));
        assert_eq!(digest("1", 3).differences(&digest("2", 3)), ["graph"]);
        assert_eq!(digest("1", 3).differences(&digest("1", 4)), ["graph"]);
        assert_eq!(digest("", 3).differences(&digest("1", 3)), ["graph"]);
    }

    struct Nobody;

    impl CustomResolver for Nobody {
        fn resolve(&self, _path: &str, _contenders: &[Contender<'_>]) -> Result<Resolution, ResolverFailure> {
            Ok(Resolution::Defer)
        }
    }

    #[test]
    fn scripts_and_functions_that_are_used_decide_outputs() {
        let script = |text: &str| format!("[[script]]\nname = \"mine\"\nsource = '''{text}'''\n");
        let with = |text: &str, set: &[&str]| {
            digest(&MEMORY.replacen("[limits]", &format!("{}[limits]", script(text)), 1), set)
        };
        let one = "fn resolve(path, contenders) { () }";
        let other = "fn resolve(path, contenders) { 1 }";
        assert_eq!(with(one, &[]), with(other, &[]), "no strategy names it");
        let used = ["strategy.content=custom:mine"];
        assert_eq!(with(one, &used).differences(&with(other, &used)), ["scripts"]);

        let mut file = topology_file::parse("t.toml", MEMORY, &Program::default().operators).unwrap();
        file.values.set_text("strategy=custom:mine", "--set").unwrap();
        let of = |custom: Custom| of(&file, &custom, false).unwrap();
        let version = |version: &str| of(Custom::default().with_version("mine", version, Nobody));
        assert_eq!(version("1"), version("1"));
        assert_eq!(version("1").differences(&version("2")), ["scripts"]);
        assert_eq!(version("").to_string(), of(Custom::default().with("mine", Nobody)).to_string());
    }
}
