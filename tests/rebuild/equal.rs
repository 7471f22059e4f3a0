//! What SQL rebuilds from mirrored events equals what the stream resolves: generated streams in
//! which everything collides, and HelixAgent's own, under every strategy, override, policy and
//! rule.

use super::database::{Database, sql};
use super::{event, names, ours};
use memory::event::Limits;
use reference_model::{DeletePolicy, Record, Strategy, Unclocked, generate};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use testkit::Random;
use testkit::{records, repo_path};

/// Settings that are tried, each on streams of its own.
const SETTINGS: u64 = 60;
/// Streams of each setting.
const STREAMS: u64 = 60;

/// What is to come out: memory and what the stream resolves it to, canonical; none where no event
/// is about it.
type Expected = Vec<(String, Option<String>)>;

/// A stream in memories of its own.
fn stream(seed: u64, max_records: usize) -> (Vec<Record>, Vec<String>) {
    let prefix = format!("s{seed}/");
    let topic = format!("events-{seed}");
    let records = generate::stream(seed, max_records, true).records;
    let records = records.iter().map(|r| Record { topic: topic.clone(), ..names::with_prefix(r, &prefix) }).collect();
    (records, generate::MEMORIES.iter().map(|name| format!("{prefix}{name}")).collect())
}

/// What the stream resolves the memories to.
fn resolve(records: &[Record], memories: &[String], settings: &reference_model::Settings, to: &mut Expected) {
    let records: Vec<Record> = records.iter().map(names::without_nul).collect();
    let run = ours::run(&records, settings);
    let settings = ours::settings(settings);
    to.extend(memories.iter().map(|memory| (memory.clone(), run.resolved(memory, &settings))));
}

fn limits(settings: &reference_model::Settings) -> Limits {
    Limits { max_clock_entries: settings.max_clock_entries, max_value_bytes: settings.max_value_bytes }
}

/// What was compared, so that a test can say that it was enough.
#[derive(Default, Debug)]
struct Compared {
    memories: usize,
    fields: usize,
    by_status: BTreeMap<String, usize>,
    conflicted: BTreeSet<String>,
}

impl Compared {
    /// Compares `expected` with what `rebuild`, an SQL expression over `memory_id`, makes of the
    /// same memories.
    fn add(&mut self, database: &mut Database, expected: &Expected, rebuild: &str, what: &str) {
        let (memories, resolved): (Vec<String>, Vec<Option<String>>) = expected.iter().cloned().unzip();
        let apart = format!(
            "SELECT memory_id, name, (stream -> name)::text, (rebuilt -> name)::text
            FROM (SELECT memory_id, stream::jsonb AS stream, {rebuild} AS rebuilt FROM unnest($1, $2) AS given (memory_id, stream)) AS both_sides,
                LATERAL unnest(memory_members_apart(coalesce(stream, '{{}}'), coalesce(rebuilt, '{{}}'))) AS name"
        );
        let apart = database.rows(sql(apart).bind(memories).bind(resolved));
        assert!(apart.is_empty(), "{what}: {} fields are apart, stream then SQL: {:#?}", apart.len(), &apart[..1]);
        for resolved in expected.iter().filter_map(|(_, resolved)| resolved.as_ref()) {
            let resolved: serde_json::Value = serde_json::from_str(resolved).expect("is JSON");
            self.memories += 1;
            self.fields += resolved.as_object().map_or(0, serde_json::Map::len);
            *self.by_status.entry(resolved["status"].as_str().expect("a status").to_owned()).or_default() += 1;
            let conflicted = resolved["conflicted_fields"].as_array().into_iter().flatten();
            self.conflicted.extend(conflicted.map(|path| path.as_str().expect("a path").to_owned()));
        }
    }
}

/// Writes settings as `run` does when it starts.
fn write_settings(database: &mut Database, settings: &reference_model::Settings) {
    let overrides: serde_json::Map<String, serde_json::Value> =
        settings.overrides.iter().map(|(path, strategy)| (path.clone(), strategy.name().into())).collect();
    let insert = "INSERT INTO memory_resolver_settings
        (application_id, strategy, overrides, delete_policy, trust_clocks, unclocked, max_clock_skew_ns)
        VALUES ('test', $1, $2::jsonb, $3, $4, $5, $6)
        ON CONFLICT (application_id) DO UPDATE SET strategy = $1, overrides = $2::jsonb, delete_policy = $3, trust_clocks = $4,
        unclocked = $5, max_clock_skew_ns = $6, written_at = now()";
    let insert = sql(insert).bind(settings.strategy.name()).bind(serde_json::Value::from(overrides).to_string());
    let insert = insert.bind(policy(settings)).bind(settings.trust_clocks).bind(unclocked(settings));
    database.rows(insert.bind(i64::try_from(settings.max_clock_skew_ns).unwrap()));
}

fn policy(settings: &reference_model::Settings) -> &'static str {
    match settings.delete_policy {
        DeletePolicy::UpdateWins => "update_wins",
        DeletePolicy::DeleteWins => "delete_wins",
    }
}

fn unclocked(settings: &reference_model::Settings) -> &'static str {
    match settings.unclocked {
        Unclocked::ByTime => "by_time",
        Unclocked::Concurrent => "concurrent",
    }
}

/// A call in which every setting is given.
fn call(settings: &reference_model::Settings) -> String {
    format!(
        "rebuild_memory_from_events(memory_id, '{}', '{}', {}, '{}', interval '{} microseconds')",
        settings.strategy.name(),
        policy(settings),
        settings.trust_clocks,
        unclocked(settings),
        settings.max_clock_skew_ns / 1000
    )
}

#[test]
fn every_setting_resolves_as_the_stream_does() {
    let mut database = Database::create();
    let mut compared = Compared::default();
    let base = testkit::seed();
    for setting in 0..SETTINGS {
        let settings = generate::settings(&mut Random::new(base.wrapping_add(setting)));
        let mut given = generate::settings(&mut Random::new(!base.wrapping_add(setting)));
        given.overrides = settings.overrides.clone();
        let (mut all, mut by_table, mut by_call) = (Vec::new(), Vec::new(), Vec::new());
        for seed in setting * STREAMS..(setting + 1) * STREAMS {
            let (records, memories) = stream(base.wrapping_add(seed), if seed % 20 == 0 { 80 } else { 14 });
            resolve(&records, &memories, &settings, &mut by_table);
            resolve(&records, &memories, &given, &mut by_call);
            all.extend(records);
        }
        database.mirror(&all, limits(&settings));
        write_settings(&mut database, &settings);
        compared.add(&mut database, &by_table, "rebuild_memory_from_events(memory_id)", &format!("{settings:?}"));
        compared.add(&mut database, &by_call, &call(&given), &format!("{given:?}"));
    }
    println!("{compared:?}");
    assert!(compared.memories > 10_000 && compared.by_status.values().all(|count| *count > 500), "{compared:?}");
    assert!(compared.by_status.len() == 3 && compared.conflicted.len() > 12, "{compared:?}");
}

#[test]
fn every_strategy_and_rule_reads_the_same_streams_as_the_stream_does() {
    let mut database = Database::create();
    let (mut all, mut streams) = (Vec::new(), Vec::new());
    for seed in testkit::seeds(150) {
        let (records, memories) = stream(seed, 16);
        all.extend(records.iter().cloned());
        streams.push((records, memories));
    }
    let base = generate::stream(0, 1, false).settings;
    database.mirror(&all, limits(&base));
    let mut compared = Compared::default();
    for strategy in [Strategy::LastWriteWins, Strategy::Importance, Strategy::VectorClock, Strategy::MergeAll] {
        for rules in 0..16 {
            let settings = reference_model::Settings {
                strategy,
                overrides: BTreeMap::new(),
                delete_policy: if rules & 1 == 0 { DeletePolicy::UpdateWins } else { DeletePolicy::DeleteWins },
                trust_clocks: rules & 2 != 0,
                unclocked: if rules & 4 == 0 { Unclocked::ByTime } else { Unclocked::Concurrent },
                max_clock_skew_ns: if rules & 8 == 0 { 2_000_000_000 } else { 0 },
                ..base.clone()
            };
            let mut expected = Vec::new();
            for (records, memories) in &streams {
                resolve(records, memories, &settings, &mut expected);
            }
            compared.add(&mut database, &expected, &call(&settings), &format!("{settings:?}"));
        }
    }
    println!("{compared:?}");
}

#[test]
fn corners_that_chance_rarely_reaches_resolve_as_the_stream_does() {
    let by = |node: &str, more: serde_json::Value| event("e", &json!({node: 1}), 0, more);
    let merge = |target: &str| {
        let mut merge = by(target, json!({"merged_from": ["m"], "node_id": "n"}));
        (merge["event_type"], merge["memory_id"]) = (json!("memory.merged"), json!(target));
        merge
    };
    let entity =
        |confidence: u64| json!({"entities": [{"id": "x", "confidence": confidence, "name": confidence % 10}]});
    let mut deleted = by("b", json!({"relationships": [{"id": "r", "strength": 9}]}));
    deleted["event_type"] = json!("relationship.deleted");
    let streams = [
        // A cleared importance is least, also of the negative ones.
        vec![by("a", json!({"importance": -1})), by("b", json!({"importance": null}))],
        // Two merges that tie in all of last-write order: the target decides.
        vec![merge("t1"), merge("t2"), merge("t0")],
        // Integers that one double stands for.
        vec![by("a", entity(9_007_199_254_740_993)), by("b", entity(9_007_199_254_740_992))],
        // A cleared relationship loses to a negative strength.
        vec![by("a", json!({"relationships": [{"id": "r", "strength": -1}]})), deleted],
        // An embedding whose event has a text that has been overwritten belongs to no text.
        vec![
            by("a", json!({"content": "old", "embedding": [1]})),
            event("f", &json!({"a": 2}), 1, json!({"content": "new"})),
        ],
    ];
    let mut compared = Compared::default();
    for events in streams {
        let records = super::records(events);
        let mut database = Database::create();
        database.mirror(&records, Limits::default());
        let mut expected = Vec::new();
        let memories = ["m", "t0", "t1", "t2"].map(str::to_owned);
        resolve(&records, &memories, &reference_model::Settings::default(), &mut expected);
        compared.add(&mut database, &expected, "rebuild_memory_from_events(memory_id)", &format!("{expected:?}"));
    }
    assert_eq!(compared.by_status["merged"], 1);
}

#[test]
fn helixagents_own_streams_resolve_as_the_stream_does() {
    let mut database = Database::create();
    let samples = records::read_file(repo_path("tests/fixtures/helixagent-events.jsonl"));
    let samples: Vec<Record> = samples
        .into_iter()
        .map(|r| Record {
            topic: "helixagent.memory.events".to_owned(),
            partition: r.partition,
            offset: r.offset,
            timestamp_ms: r.timestamp_ms,
            key: r.key,
            value: r.value,
            headers: Vec::new(),
        })
        .collect();
    database.mirror(&samples, Limits::default());
    let defaults = reference_model::Settings::default();
    let decoded = samples.iter().filter_map(|record| reference_model::decode(record, &defaults).ok());
    let memories: BTreeSet<String> = decoded
        .flat_map(|event| {
            let absorbed = event.absorbed().into_iter().map(str::to_owned);
            absorbed.chain(event.own_memory().map(str::to_owned)).collect::<Vec<_>>()
        })
        .collect();
    let memories: Vec<String> = memories.into_iter().collect();
    let mut compared = Compared::default();
    // An empty settings table means the defaults of docs/semantics.md, which are those of the
    // shipped topology.
    let mut expected = Vec::new();
    resolve(&samples, &memories, &defaults, &mut expected);
    compared.add(&mut database, &expected, "rebuild_memory_from_events(memory_id)", "the defaults");
    for strategy in [Strategy::LastWriteWins, Strategy::Importance, Strategy::VectorClock] {
        let settings = reference_model::Settings { strategy, ..defaults.clone() };
        let mut expected = Vec::new();
        resolve(&samples, &memories, &settings, &mut expected);
        let call = format!("rebuild_memory_from_events(memory_id, '{}')", strategy.name());
        compared.add(&mut database, &expected, &call, strategy.name());
    }
    println!("{compared:?}");
    assert!(compared.memories > 100, "{compared:?}");
}
