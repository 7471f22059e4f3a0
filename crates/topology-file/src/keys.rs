//! Every table of a topology file and every key in it: what it takes, whether it must be there, what it is for. Reading,
//! complaints and the JSON Schema go by this list, so they cannot come to disagree.

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
    "How many partitions `helixstream topics create` gives it.",
);
const FROM: Key = needed(
    "from",
    Takes::Inputs,
    "[\"decode.events\"]",
    "Whom it takes records from: a source or repartition by its name, an output of a processor as `processor.output`.",
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
    ("limits", "What is accepted and emitted. `--set KEY=VALUE` overrides it."),
    ("runtime", "How the engine runs. `--set KEY=VALUE` overrides it."),
    ("snapshots", "When user snapshots are emitted. `--set KEY=VALUE` overrides it."),
    ("mirror", "What the mirror in Postgres keeps. `--set KEY=VALUE` overrides it."),
];

/// The table of strategies in `[resolver]`, and what it is for.
pub const STRATEGIES: (&str, &str) = (
    "strategies",
    "Strategies by field path, or by container for all its keys. `--set strategy.<path>=…` overrides it.",
);

/// Who may use the state folders.
pub const STATE_ACCESS: &str = "owner, group_read, group_write";

/// What the flags of `helixstream run` default to.
pub const RUN: Section = Section {
    name: "run",
    is_list: false,
    what: "What the flags of `helixstream run` default to.",
    keys: &[
        optional("bootstrap_servers", Takes::Text, "\"localhost:9092\"", "Brokers to ask first, separated by commas."),
        optional(
            "state_dir",
            Takes::Path,
            "\"/var/lib/helixstream\"",
            "Folder of the state. Without it: `state` in the working folder.",
        ),
        optional("threads", Takes::Count(1024), "2", "Stream threads."),
        optional(
            "state_access",
            Takes::Choice(STATE_ACCESS),
            "\"group_write\"",
            "Who may use the state folders that are made: this user (0700), its group to read (0750), or its group (0770).",
        ),
        optional(
            "http_listen",
            Takes::Text,
            "\"8080\"",
            "Where /live, /ready and /metrics are served; a port alone means 127.0.0.1.",
        ),
        optional("http_token_file", Takes::Path, "\"tokens\"", "Tokens that everything but /live and /ready asks for."),
        optional(
            "http_hosts",
            Takes::Text,
            "\"helixstream-1,localhost\"",
            "Hosts that requests may name, separated by commas, besides localhost and addresses. Without it every host, but on 127.0.0.1 without \
             tokens.",
        ),
        optional("http_tls_cert", Takes::Path, "\"server.pem\"", "Certificate that HTTPS is served with."),
        optional("http_tls_key", Takes::Path, "\"server.key\"", "Private key of the certificate."),
        optional(
            "postgres_url",
            Takes::Secret,
            "\"postgres://user@localhost/helixstream\"",
            "Postgres of the mirror; without it there is none.",
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
        optional("url", Takes::Secret, "\"http://localhost:8081\"", "Its address; without one Avro is not read."),
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
        optional("oauth_scope", Takes::Text, "\"schema-registry\"", "Scope of OAuth, where the issuer wants one."),
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

/// The keys of [`SCHEMA_REGISTRY`] that say who we are and whom we trust. Each has a variable `HELIXSTREAM_SCHEMA_REGISTRY_<KEY>`.
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
    what: "Where records go that cannot be processed, whole, with the reason in their headers.",
    keys: &[needed("topic", Takes::Topic, "\"helixagent.memory.dead-letters\"", "The topic."), PARTITIONS],
};

/// A topic that records come from.
pub const SOURCE: Section = Section {
    name: "source",
    is_list: true,
    what: "A topic that records come from.",
    keys: &[
        needed("name", Takes::Name, "\"events\"", "What other nodes call it."),
        needed("topic", Takes::Topic, "\"helixagent.memory.events\"", "The topic."),
        PARTITIONS,
        optional(
            "format",
            Takes::Choice(Encoding::NAMES),
            "\"auto\"",
            "What its values are: bare JSON, HelixAgent's envelope and Avro side by side, told apart by their bytes, or one of them \
             alone; then what is encoded otherwise is dead-lettered.",
        ),
        optional(
            "key",
            Takes::Expression,
            "\"value.user_id\"",
            "The key of its records, in place of their own: a string, or `()` for none. It sees `key`, `value`, `headers` and \
             `timestamp`.",
        ),
    ],
};

/// An internal topic between two sub-topologies.
pub const REPARTITION: Section = Section {
    name: "repartition",
    is_list: true,
    what: "An internal topic `<application_id>-<name>-repartition`, through which records go by their key. It has as many \
           partitions as the source before it.",
    keys: &[needed("name", Takes::Name, "\"by-memory\"", "What other nodes call it; part of the topic's name."), FROM],
};

/// An operator on its inputs. The parameters of the operators are keys of it too: [`super::operator::processor_keys`] has all.
pub const PROCESSOR: Section = Section {
    name: "processor",
    is_list: true,
    what: "An operator on the records of its inputs.",
    keys: &[
        needed("name", Takes::Name, "\"resolve\"", "What other nodes call it."),
        needed("operator", Takes::Operator, "\"resolve\"", "What it does."),
        FROM,
        optional(
            "stores",
            Takes::Stores,
            "[\"memories\"]",
            "The stores that it keeps, each described by a `[[store]]`.",
        ),
    ],
};

/// A branch of an operator with a branch parameter, such as `branch`.
pub const BRANCH: Section = Section {
    name: "branch",
    is_list: true,
    what: "An output of the operator `branch`.",
    keys: &[
        needed("name", Takes::Name, "\"deletes\"", "The output's name: others take from `processor.name`."),
        needed("when", Takes::Expression, "'value.status == \"deleted\"'", "Which records go there: true or false."),
    ],
};

/// A store of a processor.
pub const STORE: Section = Section {
    name: "store",
    is_list: true,
    what: "State of a processor, logged to the topic `<application_id>-<name>-changelog`.",
    keys: &[
        needed("name", Takes::Name, "\"memories\"", "What its processor calls it; part of the topic's name."),
        optional(
            "kind",
            Takes::Choice(store::KINDS),
            "\"rocksdb\"",
            "Where it lies: in RocksDB, or in memory, read whole from its topic when a task is taken.",
        ),
        optional(
            "standby",
            Takes::Number(0, store::STANDBY_MAX),
            "1",
            "How many instances besides a task's owner keep its store warm, so that one of them goes on with a tail.",
        ),
        optional(
            "retention",
            Takes::DurationOrOff(store::RETENTION_MIN, store::RETENTION_MAX),
            "\"30d\"",
            "A key that is not written for so much stream time is forgotten, in its topic too. off keeps all.",
        ),
    ],
};

/// A topic that records go to.
pub const SINK: Section = Section {
    name: "sink",
    is_list: true,
    what: "A topic that records go to.",
    keys: &[
        needed("name", Takes::Name, "\"snapshots\"", "Its name; `replay` names a file after it."),
        needed("topic", Takes::Topic, "\"helixagent.memory.snapshots\"", "The topic."),
        PARTITIONS,
        FROM,
        optional(
            "format",
            Takes::Choice(Format::NAMES),
            "\"json\"",
            "What its records are written as: bare JSON, what HelixAgent's Go nodes read and can apply, or Avro by the \
             schema registry.",
        ),
        optional(
            "key",
            Takes::Expression,
            "\"value.user_id\"",
            "The key of its records, in place of their own: a string, or `()` for none. It sees the record before it is written.",
        ),
    ],
};

/// A resolver of the user's own.
pub const SCRIPT: Section = Section {
    name: "script",
    is_list: true,
    what: "A resolver of your own, in Rhai: `fn resolve(path, contenders)`. Fields whose strategy is `custom:<name>` are decided \
           by it.",
    keys: &[
        needed("name", Takes::Name, "\"longest\"", "What strategies call it."),
        optional("file", Takes::Path, "\"scripts/longest.rhai\"", "Its file."),
        optional(
            "source",
            Takes::Text,
            "\"fn resolve(path, contenders) { defer() }\"",
            "Its text, in place of a file.",
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
