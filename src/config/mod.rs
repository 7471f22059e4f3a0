//! Typed settings, checked once: the topology file, the variables, the flags. A flag beats a variable, which beats the file.

pub mod check;
pub mod graph;
pub mod operator;
pub mod problem;
pub mod setting;
pub mod table;
pub mod value;

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use graph::Graph;
use problem::{Problem, Problems};
use setting::{SPECS, Values, check_path};
use table::{Doc, Table, integer, kind};
use value::Raw;

/// What a topology file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// The file, as it was named.
    pub file: String,
    /// Settings of the resolver, limits and the engine; the application id is in `values.resolver`.
    pub values: Values,
    /// What the flags of `run` default to.
    pub run: RunDefaults,
    /// Settings of librdkafka, as behind `-X`.
    pub kafka: BTreeMap<String, String>,
    /// The nodes, checked.
    pub graph: Graph,
}

/// What a file may set for `helixstream run`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunDefaults {
    /// `--bootstrap-servers`.
    pub bootstrap_servers: Option<String>,
    /// `--state-dir`.
    pub state_dir: Option<String>,
    /// `--threads`.
    pub threads: Option<usize>,
    /// `--http-listen`.
    pub http_listen: Option<String>,
    /// `--postgres-url`.
    pub postgres_url: Option<String>,
    /// `--postgres-schema`.
    pub postgres_schema: Option<String>,
}

const ROOT: &[&str] = &[
    "application_id",
    "run",
    "resolver",
    "limits",
    "runtime",
    "mirror",
    "kafka",
    "dead_letters",
    "source",
    "repartition",
    "processor",
    "store",
    "sink",
];
const RUN: &[&str] = &["bootstrap_servers", "state_dir", "threads", "http_listen", "postgres_url", "postgres_schema"];

/// Reads a topology file's text.
///
/// # Errors
/// All that is wrong with it, each with line, column and fix.
pub fn parse(file: &str, text: &str) -> Result<Topology, Problems> {
    let problems = |list| Problems { file: file.to_owned(), list };
    let root = DeTable::parse(text).map_err(|e| problems(vec![not_toml(text, &e)]))?;
    let doc = Doc::new(text);
    let table = Table::new(&doc, root.get_ref(), "the file", 0..0).only(ROOT);
    let mut values = Values::default();
    if let Some(id) = table.required("application_id", "helixstream") {
        check_application_id(id.value)
            .unwrap_or_else(|e| doc.wrong(&id.span, e, "as in `application_id = \"helixstream\"`"));
        values.resolver.application_id = id.value.to_owned();
    }
    for section in ["resolver", "limits", "runtime", "mirror"] {
        if let Some(t) = table.table(section) {
            read_settings(&doc, &t, section, file, &mut values);
        }
    }
    let run = table.table("run").map(|t| read_run(&t.only(RUN))).unwrap_or_default();
    let kafka = table.table("kafka").map(|t| read_kafka(&doc, &t)).unwrap_or_default();
    let graph = Graph::read(&doc, &table);
    // Nodes that could not be read would only make a second message of each first.
    if doc.is_clean() {
        check::check(&doc, &graph);
    }
    if doc.is_clean() {
        return Ok(Topology { file: file.to_owned(), values, run, kafka, graph });
    }
    Err(problems(doc.into_problems()))
}

fn not_toml(text: &str, e: &toml::de::Error) -> Problem {
    let message = e.message().lines().collect::<Vec<_>>().join(", ");
    let fix = if message.contains("duplicate key") {
        "remove one of the two; nodes are opened with two brackets, as in `[[sink]]`"
    } else {
        "mend the line so that it is TOML (https://toml.io)"
    };
    Problem::at(text, e.span().unwrap_or(0..0), message, fix)
}

/// Whether an application id can name a group, topics and transactional ids.
///
/// # Errors
/// What is wrong with it.
pub fn check_application_id(id: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if id.is_empty() || id.len() > 128 || !id.chars().all(good) {
        return Err(format!(
            "the application id `{id}` is not 1 to 128 letters, digits, `.`, `_` and `-`: topics are named after it"
        ));
    }
    Ok(())
}

fn raw<'a>(v: &'a DeValue<'_>) -> Raw<'a> {
    match v {
        DeValue::String(s) => Raw::String(s),
        DeValue::Boolean(b) => Raw::Boolean(*b),
        other => integer(other).map_or(Raw::Other(kind(other)), Raw::Integer),
    }
}

fn read_settings<'d>(doc: &'d Doc<'d>, t: &Table<'d, '_>, section: &str, file: &str, values: &mut Values) {
    let mut known: Vec<&str> = SPECS.iter().filter(|s| s.section == section).map(|s| s.key).collect();
    if section == "resolver" {
        known.push("strategies");
    }
    let t = t.clone().only(&known);
    let place = |at: usize| format!("{file}:{}", doc.text[..at].matches('\n').count() + 1);
    for (key, value) in t.entries() {
        let Some(spec) = SPECS.iter().find(|s| s.section == section && s.key == key.value) else { continue };
        if let Err(e) = values.set(key.value, raw(value.get_ref()), &place(key.span.start)) {
            doc.wrong(
                &value.span(),
                format!("`{}` of [{section}]: {e}", key.value),
                format!("as in `{} = {}`", spec.key, spec.example),
            );
        }
    }
    if let Some(strategies) = (section == "resolver").then(|| t.table("strategies")).flatten() {
        read_strategies(doc, &strategies, "", &place, values);
    }
}

/// `metadata.lang = "…"` without quotes is a table in TOML; it is read as the path that it spells.
fn read_strategies<'d>(
    doc: &'d Doc<'d>,
    t: &Table<'d, '_>,
    prefix: &str,
    place: &dyn Fn(usize) -> String,
    values: &mut Values,
) {
    for (key, value) in t.entries() {
        let path = if prefix.is_empty() { key.value.to_owned() } else { format!("{prefix}.{}", key.value) };
        if let DeValue::Table(inner) = value.get_ref() {
            read_strategies(doc, &Table::new(doc, inner, t.what.clone(), value.span()), &path, place, values);
        } else if let Err(e) = check_path(&path) {
            doc.wrong(
                &key.span,
                e,
                "name the field as conflict records do, in quotes if it has a dot: \"metadata.lang\"",
            );
        } else if let Err(e) = values.set(&format!("strategy.{path}"), raw(value.get_ref()), &place(key.span.start)) {
            doc.wrong(
                &value.span(),
                format!("strategy of `{path}`: {e}"),
                format!("as in `\"{path}\" = \"last_write_wins\"`"),
            );
        }
    }
}

fn read_run(t: &Table<'_, '_>) -> RunDefaults {
    let owned = |key, example| t.string(key, example).map(|v| v.value.to_owned());
    RunDefaults {
        bootstrap_servers: owned("bootstrap_servers", "localhost:9092"),
        state_dir: owned("state_dir", "state"),
        threads: t.count("threads", 1024, 2).and_then(|n| usize::try_from(n.value).ok()),
        http_listen: owned("http_listen", "127.0.0.1:8080"),
        postgres_url: owned("postgres_url", "postgres://user@localhost/helixstream"),
        postgres_schema: owned("postgres_schema", "public"),
    }
}

fn read_kafka<'d>(doc: &'d Doc<'d>, t: &Table<'d, '_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (key, value) in t.entries() {
        let text = match raw(value.get_ref()) {
            Raw::String(s) => s.to_owned(),
            Raw::Boolean(b) => b.to_string(),
            Raw::Integer(n) => n.to_string(),
            _ => {
                let message = format!("`{}` of [kafka] is {}", key.value, kind(value.get_ref()));
                doc.wrong(
                    &value.span(),
                    message,
                    "write librdkafka's key in quotes and a plain value: \"security.protocol\" = \"SSL\"",
                );
                continue;
            }
        };
        all.insert(key.value.to_owned(), text);
    }
    all
}
