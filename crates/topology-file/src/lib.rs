//! Typed settings, checked once: the topology file, the variables, the flags. A flag beats a
//! variable, which beats the file.

pub mod application_id;
pub mod check;
pub mod codes;
pub mod expression;
pub mod flow;
pub mod format;
pub mod graph;
pub mod groups;
pub mod hidden;
pub mod kafka;
pub mod key;
pub mod keys;
pub mod operator;
pub mod problem;
pub mod schema;
pub mod script;
pub mod secret_ranges;
pub mod setting;
pub mod store;
pub mod table;
pub mod value;
pub mod variables;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use application_id::check_application_id;
use expression::{Checker, Scripting};
use graph::Graph;
use kafka::KafkaTable;
use key::Takes;
use problem::{Problem, Problems};
use script::Script;
use setting::{Refusal, SPECS, Values, check_path};
use table::{Doc, Table, beside, raw};
use variables::Variables;

use operators::spec::OperatorRegistry;
use secret::SecretSource;

/// A topology file.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// The file, as it was named.
    pub file: String,
    /// Settings of the resolver, limits and the engine; the application id is in `values.resolver`.
    pub values: Values,
    /// Defaults of the flags of `run`.
    pub run: RunDefaults,
    /// How Kafka is reached.
    pub kafka: KafkaTable,
    /// The schema registry.
    pub schema_registry: SchemaRegistry,
    /// Resolvers of the user's own.
    pub scripts: Vec<Script>,
    /// The nodes, checked.
    pub graph: Graph,
}

/// Settings of a file for `helixstream run`. Relative paths of the file start at its folder
/// already.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RunDefaults {
    /// `--bootstrap-servers`.
    pub bootstrap_servers: Option<String>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--threads`.
    pub threads: Option<usize>,
    /// `--state-access`: one of [`keys::STATE_ACCESS`].
    pub state_access: Option<String>,
    /// `--http-listen`.
    pub http_listen: Option<String>,
    /// `--http-token-file`.
    pub http_token_file: Option<PathBuf>,
    /// `--http-hosts`, separated by commas.
    pub http_hosts: Option<String>,
    /// `--http-tls-cert`.
    pub http_tls_cert: Option<PathBuf>,
    /// `--http-tls-key`.
    pub http_tls_key: Option<PathBuf>,
    /// `--postgres-url`, or `--postgres-url-file`.
    pub postgres_url: Option<SecretSource>,
    /// `--postgres-password-file`, or the password itself.
    pub postgres_password: Option<SecretSource>,
    /// `--postgres-schema`.
    pub postgres_schema: Option<String>,
}

impl fmt::Debug for RunDefaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("RunDefaults")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("state_dir", &self.state_dir)
            .field("threads", &self.threads)
            .field("http_listen", &self.http_listen)
            .field("postgres_schema", &self.postgres_schema)
            .finish_non_exhaustive()
    }
}

/// Settings of the schema registry in a file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SchemaRegistry {
    /// Its address, with `--schema-registry-url` in its place.
    pub url: Option<String>,
    /// How subjects are named: one of [`keys::SUBJECT_NAMES`].
    pub subject_names: Option<String>,
    /// Whether schemas are only looked up.
    pub is_read_only: bool,
    /// Credentials and trusted certificates: keys other than those above, with their values.
    /// Relative paths start at the file's folder already.
    pub access: BTreeMap<&'static str, String>,
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest may hold a password.
        f.debug_struct("SchemaRegistry").field("subject_names", &self.subject_names).finish_non_exhaustive()
    }
}

/// Reads a topology file's text, with the variables of this process and the operators of the
/// program.
///
/// # Errors
/// All that is wrong with it, each with its place and fix.
pub fn parse(file: &str, text: &str, operators: &OperatorRegistry) -> Result<Topology, Problems> {
    parse_with(file, text, Variables::From(&variables::of_process), operators)
}

/// Reads a text as [`parse`] does, with these variables.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(
    file: &str,
    text: &str,
    variables: Variables<'_>,
    operators: &OperatorRegistry,
) -> Result<Topology, Problems> {
    ParseOptions { operators, variables, alone: None, scripting: None }.read(file, text)
}

/// How a text is read.
pub struct ParseOptions<'r> {
    /// The operators that processors can name.
    pub operators: &'r OperatorRegistry,
    /// Where variables have their values from.
    pub variables: Variables<'r>,
    /// Where no flag will override the text, the resolvers that the program has registered:
    /// settings that do not go together are wrong as well, and `custom` is where there is no such
    /// resolver among the scripts and these.
    pub alone: Option<&'r [&'r str]>,
    /// Compiler of expressions and scripts; without it they count as correct.
    pub scripting: Option<&'r dyn Scripting>,
}

/// The text with values in the place of variables, for [`Variables::Filled`] to read.
///
/// # Errors
/// It is no TOML, or a variable has no value.
pub fn filled(file: &str, text: &str) -> Result<toml::Table, Problems> {
    let wrong = |e: &toml::de::Error| hidden::in_lines(text).problems(file, text, vec![not_toml(text, e)]);
    let mut root = DeTable::parse(text).map_err(|e| wrong(&e))?;
    let mut doc = Doc::new(text, hidden::in_tables(text, root.get_ref()));
    variables::fill(&mut doc, root.get_mut(), Variables::From(&variables::of_process));
    if !doc.is_clean() {
        return Err(doc.into_problems(file));
    }
    let deserializer = toml::de::Deserializer::from(root);
    serde::Deserialize::deserialize(deserializer).map_err(|e| wrong(&e))
}

impl ParseOptions<'_> {
    /// Reads a text.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn read(&self, file: &str, text: &str) -> Result<Topology, Problems> {
        read(file, text, self)
    }
}

fn read(file: &str, text: &str, reading: &ParseOptions<'_>) -> Result<Topology, Problems> {
    let (mut root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let list = errors.iter().map(|e| not_toml(text, e)).collect();
        return Err(hidden::in_lines(text).problems(file, text, list));
    }
    let processor_keys = operator::processor_keys(reading.operators);
    let mut doc = Doc::new(text, hidden::in_tables(text, root.get_ref()));
    variables::fill(&mut doc, root.get_mut(), reading.variables);
    let table = Table::new(&doc, root.get_ref(), "the file", 0..0).only(keys::ROOT, keys::top());
    let mut settings = SettingsReader { doc: &doc, file, values: Values::default(), places: BTreeMap::new() };
    if let Some(id) = table.text("application_id") {
        settings.values.resolver.application_id = id.value.to_owned();
    }
    for (section, _) in keys::SETTINGS {
        if let Some(t) = table.table(section) {
            settings.read(&t, section);
        }
    }
    let SettingsReader { values, places, .. } = settings;
    let run = table.section(&keys::RUN).map(|t| read_run(&t, file)).unwrap_or_default();
    let kafka = kafka::read(&doc, file, &table);
    let schema_registry = table.section(&keys::SCHEMA_REGISTRY).map(|t| read_registry(&t, file)).unwrap_or_default();
    let mut scripts = script::read(&doc, &table);
    let graph = Graph::read(&doc, &table, reading.operators, &processor_keys);
    if let Some(scripting) = reading.scripting {
        script::check(&doc, file, &mut scripts, scripting, &values.scripts);
    }
    graph.check_expressions(&Checker { doc: &doc, scripting: reading.scripting, limits: values.scripts });
    check::check(&doc, &graph, reading.operators, &values.resolver.application_id);
    for misfit in reading.alone.iter().flat_map(|registered| values.misfits(&script::names(&scripts, registered))) {
        doc.wrong(places.get(&misfit.key).unwrap_or(&(0..0)), misfit.code, misfit.message, misfit.fix);
    }
    if doc.is_clean() {
        return Ok(Topology { file: file.to_owned(), values, run, kafka, schema_registry, scripts, graph });
    }
    Err(doc.into_problems(file))
}

fn not_toml(text: &str, e: &toml::de::Error) -> Problem {
    let message = e.message().lines().collect::<Vec<_>>().join(", ");
    let fix = if message.contains("duplicate key") {
        "remove one of the two; each node has a table of its own with two brackets, as in `[[sink]]`"
    } else {
        "correct the line so that it is valid TOML (https://toml.io)"
    };
    Problem::at(text, e.span().unwrap_or(0..0), codes::NOT_TOML, message, fix)
}

/// The settings while they are read.
struct SettingsReader<'r, 'd> {
    doc: &'d Doc<'d>,
    file: &'r str,
    values: Values,
    /// Where the value of each key stands.
    places: BTreeMap<String, Range<usize>>,
}

impl<'d> SettingsReader<'_, 'd> {
    fn read(&mut self, t: &Table<'d, '_>, section: &str) {
        let mut known: Vec<&str> = SPECS.iter().filter(|s| s.section == section).map(|s| s.key).collect();
        let has_strategies = section == "resolver";
        known.extend(has_strategies.then_some(keys::STRATEGIES.0));
        let t = t.clone().only(&[], known);
        for (key, value) in t.entries() {
            let Some(spec) = SPECS.iter().find(|s| s.section == section && s.key == key.value) else { continue };
            if let Err(e) = self.set(key.value, key.span.start, value) {
                let message = format!("`{}` of [{section}]: {}", key.value, e.message);
                self.doc.wrong(
                    &value.span(),
                    e.code,
                    message,
                    format!("write for example `{} = {}`", spec.key, spec.example),
                );
            }
        }
        if let Some(strategies) = has_strategies.then(|| t.table(keys::STRATEGIES.0)).flatten() {
            self.read_strategies(&strategies, "");
        }
    }

    fn set(&mut self, key: &str, at: usize, value: &Spanned<DeValue<'_>>) -> Result<(), Refusal> {
        self.places.insert(key.to_owned(), value.span());
        let place = format!("{}:{}", self.file, problem::line(self.doc.text, at));
        self.values.set(key, raw(self.doc, value), &place)
    }

    /// `metadata.lang = "…"` without quotes is a table in TOML; it is read as the path that it
    /// spells.
    fn read_strategies(&mut self, t: &Table<'d, '_>, prefix: &str) {
        for (key, value) in t.entries() {
            let path = if prefix.is_empty() { key.value.to_owned() } else { format!("{prefix}.{}", key.value) };
            if let DeValue::Table(inner) = value.get_ref() {
                self.read_strategies(&Table::new(self.doc, inner, t.what.clone(), value.span()), &path);
            } else if let Err(e) = check_path(&path) {
                let fix = "write the path as conflict records have it, in quotes if it has a dot: \"metadata.lang\"";
                self.doc.wrong(&key.span, codes::INVALID_FIELD_PATH, e, fix);
            } else if let Err(e) = self.set(&format!("strategy.{path}"), key.span.start, value) {
                let fix = format!("write for example `\"{path}\" = \"last_write_wins\"`");
                self.doc.wrong(&value.span(), e.code, format!("strategy of `{path}`: {}", e.message), fix);
            }
        }
    }
}

fn read_run(t: &Table<'_, '_>, file: &str) -> RunDefaults {
    let owned = |key| t.text(key).map(|v| v.value.to_owned());
    RunDefaults {
        bootstrap_servers: owned("bootstrap_servers"),
        state_dir: t.path("state_dir", file),
        threads: t.count("threads").and_then(|n| usize::try_from(n.value).ok()),
        state_access: owned("state_access"),
        http_listen: owned("http_listen"),
        http_token_file: t.path("http_token_file", file),
        http_hosts: owned("http_hosts"),
        http_tls_cert: t.path("http_tls_cert", file),
        http_tls_key: t.path("http_tls_key", file),
        postgres_url: t.secret("postgres_url", file).map(|(source, _)| source),
        postgres_password: t.secret("postgres_password", file).map(|(source, _)| source),
        postgres_schema: owned("postgres_schema"),
    }
}

fn read_registry(t: &Table<'_, '_>, file: &str) -> SchemaRegistry {
    let owned = |key| t.text(key).map(|v| v.value.to_owned());
    let access = |key: &'static str| {
        let value = owned(key)?;
        let is_path = keys::SCHEMA_REGISTRY.keys.iter().any(|known| known.name == key && known.takes == Takes::Path);
        // An empty value counts as none.
        let value = if is_path && !value.is_empty() { beside(file, &value).display().to_string() } else { value };
        Some((key, value))
    };
    SchemaRegistry {
        url: owned("url"),
        subject_names: owned("subject_names"),
        is_read_only: t.text("schemas").is_some_and(|v| v.value == "look_up"),
        access: keys::REGISTRY_ACCESS.iter().copied().filter_map(access).collect(),
    }
}
