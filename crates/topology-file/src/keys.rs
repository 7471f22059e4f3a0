//! Every table of a topology file and every key in it: what it takes, whether it must be there,
//! what it is for. Reading, complaints and the JSON Schema go by this list, so they cannot come to
//! disagree.

use super::format::Format;
use super::kafka::KAFKA;
use super::key::{Key, Section, Takes, needed, optional};
use super::store;
use memory::event::Encoding;

/// The most partitions that a topic may have here.
const MAX_PARTITIONS: u32 = 10_000;

const PARTITIONS: Key = needed(
    "partitions",
    Takes::Count(MAX_PARTITIONS),
    "6",
    "Number of partitions with which `helixstream topics create` creates the topic.",
);
const FROM: Key = needed(
    "from",
    Takes::Inputs,
    "[\"decode.events\"]",
    "Inputs of the node: the name of a source or a repartition, or an output of a processor as `processor.output`.",
);

/// Keys of the file itself.
pub const ROOT: &[Key] = &[needed(
    "application_id",
    Takes::Id(128),
    "\"helixstream\"",
    "Consumer group, prefix of internal topics, and `resolved_by` of conflict records.",
)];

/// Tables of settings, whose keys are those of [`super::setting::SPECS`], and what they are for.
pub const SETTINGS: &[(&str, &str)] = &[
    ("resolver", "How conflicts are resolved. `--set KEY=VALUE` overrides it."),
    ("limits", "Limits of the records that are accepted and emitted. `--set KEY=VALUE` overrides it."),
    ("runtime", "How the engine runs. `--set KEY=VALUE` overrides it."),
    ("snapshots", "When user snapshots are emitted. `--set KEY=VALUE` overrides it."),
    ("mirror", "Retention and partitions of the mirror in Postgres. `--set KEY=VALUE` overrides it."),
];

/// The table of strategies in `[resolver]`, and what it is for.
pub const STRATEGIES: (&str, &str) = (
    "strategies",
    "Strategies by field path, or by container for all its keys. `--set strategy.<path>=…` overrides it.",
);

/// Access to the state directories.
pub const STATE_ACCESS: &str = "owner, group_read, group_write";

/// Defaults of the flags of `helixstream run`.
pub const RUN: Section = Section {
    name: "run",
    is_list: false,
    what: "Defaults of the flags of `helixstream run`.",
    keys: &[
        optional("bootstrap_servers", Takes::Text, "\"localhost:9092\"", "Bootstrap servers, separated by commas."),
        optional(
            "state_dir",
            Takes::Path,
            "\"/var/lib/helixstream\"",
            "State directory. The default is `state` in the working folder.",
        ),
        optional("threads", Takes::Count(1024), "2", "Number of stream threads."),
        optional(
            "state_access",
            Takes::Choice(STATE_ACCESS),
            "\"group_write\"",
            "Access to the state directories that are created: this user (0700), its group to read (0750), or its group \
             (0770).",
        ),
        optional(
            "http_listen",
            Takes::Text,
            "\"8080\"",
            "Address at which /live, /ready and /metrics are served; a port alone means 127.0.0.1.",
        ),
        optional(
            "http_token_file",
            Takes::Path,
            "\"tokens\"",
            "File of the tokens that every path except /live and /ready requires.",
        ),
        optional(
            "http_hosts",
            Takes::Text,
            "\"helixstream-1,localhost\"",
            "Host names that requests may use, separated by commas, besides localhost and IP addresses. By default \
             every name is allowed, except on 127.0.0.1 without tokens.",
        ),
        optional("http_tls_cert", Takes::Path, "\"server.pem\"", "Certificate that HTTPS is served with."),
        optional("http_tls_key", Takes::Path, "\"server.key\"", "Private key of the certificate."),
        optional(
            "postgres_url",
            Takes::Secret,
            "\"postgres://user@localhost/helixstream\"",
            "URL of the mirror's Postgres; without it there is no mirror.",
        ),
        optional(
            "postgres_url_file",
            Takes::Path,
            "\"/run/secrets/postgres-url\"",
            "File that holds the URL alone, instead of `postgres_url`.",
        ),
        optional(
            "postgres_password",
            Takes::Secret,
            "\"${POSTGRES_PASSWORD}\"",
            "Password of the user whom the URL names.",
        ),
        optional(
            "postgres_password_file",
            Takes::Path,
            "\"/run/secrets/postgres-password\"",
            "File that holds the password alone; it is read for each connection.",
        ),
        optional("postgres_schema", Takes::Text, "\"public\"", "Schema of the mirror's tables."),
    ],
};

/// Where the schemas of Avro are.
pub const SCHEMA_REGISTRY: Section = Section {
    name: "schema_registry",
    is_list: false,
    what: "The schema registry (Confluent's REST API), by which Avro is read and written.",
    keys: &[
        optional(
            "url",
            Takes::Secret,
            "\"http://localhost:8081\"",
            "URL of the registry; without it Avro is not read.",
        ),
        optional(
            "subject_names",
            Takes::Choice(SUBJECT_NAMES),
            "\"TopicNameStrategy\"",
            "How the subjects of our schemas are named, as by Confluent's serializers: by the topic, the record, or both.",
        ),
        optional(
            "schemas",
            Takes::Choice("register, look_up"),
            "\"register\"",
            "Whether our schemas are registered where they are missing, or only looked up.",
        ),
        optional("user", Takes::Text, "\"${REGISTRY_USER}\"", "User of basic authentication."),
        optional("password", Takes::Secret, "\"${REGISTRY_PASSWORD}\"", "Password of basic authentication."),
        optional("password_file", Takes::Path, "\"/run/secrets/registry-password\"", "File that holds the password."),
        optional("token", Takes::Secret, "\"${REGISTRY_TOKEN}\"", "Bearer token, in place of user and password."),
        optional("token_file", Takes::Path, "\"/run/secrets/registry-token\"", "File that holds the bearer token."),
        optional(
            "oauth_token_url",
            Takes::Text,
            "\"https://login.example.com/oauth2/token\"",
            "Token endpoint of OAuth, which issues tokens for client credentials.",
        ),
        optional("oauth_client_id", Takes::Text, "\"helixstream\"", "Client of OAuth."),
        optional("oauth_client_secret", Takes::Secret, "\"${REGISTRY_CLIENT_SECRET}\"", "Secret of the OAuth client."),
        optional(
            "oauth_client_secret_file",
            Takes::Path,
            "\"/run/secrets/registry-client-secret\"",
            "File that holds the secret of the OAuth client.",
        ),
        optional("oauth_scope", Takes::Text, "\"schema-registry\"", "Scope of OAuth, where the issuer requires one."),
        optional(
            "ca_file",
            Takes::Path,
            "\"ca.pem\"",
            "Certificates (PEM) that sign the registry's, in place of the system's.",
        ),
        optional(
            "certificate_file",
            Takes::Path,
            "\"client.pem\"",
            "Our certificate (PEM), where the registry asks for one.",
        ),
        optional("key_file", Takes::Path, "\"client.key\"", "The private key (PEM) of our certificate."),
        optional(
            "identity_file",
            Takes::Path,
            "\"client.pem\"",
            "Our certificate and its key in one file, in place of `certificate_file` and `key_file`.",
        ),
    ],
};

/// The keys of [`SCHEMA_REGISTRY`] that say who we are and whom we trust. Each has a variable
/// `HELIXSTREAM_SCHEMA_REGISTRY_<KEY>`.
pub const REGISTRY_ACCESS: &[&str] = &[
    "user",
    "password",
    "password_file",
    "token",
    "token_file",
    "oauth_token_url",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_client_secret_file",
    "oauth_scope",
    "ca_file",
    "certificate_file",
    "key_file",
    "identity_file",
];

/// How subjects are named, by Confluent's names.
pub const SUBJECT_NAMES: &str = "TopicNameStrategy, RecordNameStrategy, TopicRecordNameStrategy";

/// Where records go that cannot be processed.
pub const DEAD_LETTERS: Section = Section {
    name: "dead_letters",
    is_list: false,
    what: "The dead-letter topic: records that cannot be processed are sent there unchanged, with the reason in \
           their headers.",
    keys: &[needed("topic", Takes::Topic, "\"helixagent.memory.dead-letters\"", "Name of the topic."), PARTITIONS],
};

/// A topic that records come from.
pub const SOURCE: Section = Section {
    name: "source",
    is_list: true,
    what: "A topic that records are read from.",
    keys: &[
        needed("name", Takes::Name, "\"events\"", "Name by which other nodes refer to it."),
        needed("topic", Takes::Topic, "\"helixagent.memory.events\"", "Name of the topic."),
        PARTITIONS,
        optional(
            "format",
            Takes::Choice(Encoding::NAMES),
            "\"auto\"",
            "Format of its values. `auto` accepts bare JSON, HelixAgent's envelope and Avro side by side and \
             distinguishes them by their bytes; any other choice accepts that format alone and sends other values \
             to the dead letters.",
        ),
        optional(
            "key",
            Takes::Expression,
            "\"value.user_id\"",
            "Expression for the key of its records, in place of their own: a string, or `()` for none. It sees \
             `key`, `value`, `headers` and `timestamp`.",
        ),
    ],
};

/// An internal topic between two sub-topologies.
pub const REPARTITION: Section = Section {
    name: "repartition",
    is_list: true,
    what: "An internal topic `<application_id>-<name>-repartition`, which partitions records by their key. It has as \
           many partitions as the source before it.",
    keys: &[
        needed(
            "name",
            Takes::Name,
            "\"by-memory\"",
            "Name by which other nodes refer to it, and part of the topic's name.",
        ),
        FROM,
    ],
};

/// An operator on its inputs. The parameters of the operators are keys of it too:
/// [`super::operator::processor_keys`] has all.
pub const PROCESSOR: Section = Section {
    name: "processor",
    is_list: true,
    what: "An operator on the records of its inputs.",
    keys: &[
        needed("name", Takes::Name, "\"resolve\"", "Name by which other nodes refer to it."),
        needed("operator", Takes::Operator, "\"resolve\"", "Name of the operator."),
        FROM,
        optional(
            "stores",
            Takes::Stores,
            "[\"memories\"]",
            "Names of its state stores, each described by a `[[store]]`.",
        ),
    ],
};

/// A branch of an operator with a branch parameter, such as `branch`.
pub const BRANCH: Section = Section {
    name: "branch",
    is_list: true,
    what: "An output of the operator `branch`.",
    keys: &[
        needed(
            "name",
            Takes::Name,
            "\"deletes\"",
            "Name of the output, to which other nodes refer as `processor.name`.",
        ),
        needed(
            "when",
            Takes::Expression,
            "'value.status == \"deleted\"'",
            "Condition under which a record goes to this output, true or false.",
        ),
    ],
};

/// A store of a processor.
pub const STORE: Section = Section {
    name: "store",
    is_list: true,
    what: "State of a processor, logged to the topic `<application_id>-<name>-changelog`.",
    keys: &[
        needed(
            "name",
            Takes::Name,
            "\"memories\"",
            "Name by which its processor refers to it, and part of the topic's name.",
        ),
        optional(
            "kind",
            Takes::Choice(store::KINDS),
            "\"rocksdb\"",
            "Kind of the store: in RocksDB, or in memory, which is restored as a whole from its changelog topic for \
             each assigned task.",
        ),
        optional(
            "standby",
            Takes::Number(0, store::STANDBY_MAX),
            "1",
            "Number of standby replicas: instances besides a task's owner that keep a copy of its store, so that \
             one of them restores only the end of the changelog.",
        ),
        optional(
            "retention",
            Takes::DurationOrOff(store::RETENTION_MIN, store::RETENTION_MAX),
            "\"30d\"",
            "Stream time after which a key that is not written is deleted, also from the changelog topic. off keeps \
             all keys.",
        ),
    ],
};

/// A topic that records go to.
pub const SINK: Section = Section {
    name: "sink",
    is_list: true,
    what: "A topic that records are written to.",
    keys: &[
        needed("name", Takes::Name, "\"snapshots\"", "Name of the sink; `replay` names its output file after it."),
        needed("topic", Takes::Topic, "\"helixagent.memory.snapshots\"", "Name of the topic."),
        PARTITIONS,
        FROM,
        optional(
            "format",
            Takes::Choice(Format::NAMES),
            "\"json\"",
            "Format of its records: bare JSON, the JSON that HelixAgent's Go nodes can read and apply, or Avro by \
             the schema registry.",
        ),
        optional(
            "key",
            Takes::Expression,
            "\"value.user_id\"",
            "Expression for the key of its records, in place of their own: a string, or `()` for none. It sees the \
             record before it is formatted.",
        ),
    ],
};

/// A resolver of the user's own.
pub const SCRIPT: Section = Section {
    name: "script",
    is_list: true,
    what: "A custom resolver in Rhai: `fn resolve(path, contenders)`. It decides the fields whose strategy is \
           `custom:<name>`.",
    keys: &[
        needed("name", Takes::Name, "\"longest\"", "Name by which strategies refer to it."),
        optional("file", Takes::Path, "\"scripts/longest.rhai\"", "File of the script."),
        optional(
            "source",
            Takes::Text,
            "\"fn resolve(path, contenders) { defer() }\"",
            "Text of the script, in place of a file.",
        ),
    ],
};

/// All tables whose keys are listed here.
pub const SECTIONS: &[&Section] =
    &[&RUN, &SCHEMA_REGISTRY, &SCRIPT, &DEAD_LETTERS, &SOURCE, &REPARTITION, &PROCESSOR, &STORE, &SINK];

/// Every name that may stand at the top of a file.
pub fn top() -> Vec<&'static str> {
    let keys = ROOT.iter().map(|k| k.name);
    let settings = SETTINGS.iter().map(|(name, _)| *name);
    keys.chain([RUN.name]).chain(settings).chain([KAFKA.name]).chain(SECTIONS.iter().skip(1).map(|s| s.name)).collect()
}
