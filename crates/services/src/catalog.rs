//! Every service of `docker-compose.yml`, but for helixstream itself with its topics and samples.
//! Names of variables and defaults are those of HelixAgent's `internal/config/config.go`, with some
//! differences: Kafka is enabled and required, since every command of helixstream needs it; checks
//! look at the answer of a service where HelixAgent only connects or looks at the status; a service
//! at another machine is remote without a setting; `KAFKA_ZOOKEEPER` is ours.

/// The compose project, as the compose file names it.
pub const PROJECT: &str = "helixstream";

/// How the health of a service is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// A connection is accepted.
    Tcp,
    /// GET of the health path is answered with a status from 200 to 299, and with the text of
    /// [`ServiceSpec::answer`].
    Http,
    /// A broker answers a request for metadata.
    Kafka,
    /// The server lets us in and answers a query.
    Postgres,
    /// ZooKeeper's command `srvr` is answered with the mode of the server.
    Zookeeper,
    /// The JSON of the master's web UI says that it is alive.
    SparkMaster,
    /// The worker's web UI names a master, and the master's has a worker that is alive.
    SparkWorker,
}

impl Health {
    /// All of them, with the names that settings use. `pgx` is HelixAgent's name for Postgres.
    pub const NAMES: [(&str, Health); 8] = [
        ("tcp", Health::Tcp),
        ("http", Health::Http),
        ("kafka", Health::Kafka),
        ("postgres", Health::Postgres),
        ("pgx", Health::Postgres),
        ("zookeeper", Health::Zookeeper),
        ("spark-master", Health::SparkMaster),
        ("spark-worker", Health::SparkWorker),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Health::NAMES.iter().find(|(_, health)| *health == self).map_or("", |(name, _)| name)
    }
}

/// A service and its defaults.
#[derive(Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its name in `docker-compose.yml` and on the command line.
    pub name: &'static str,
    /// `NAME` in `SVC_<NAME>_<FIELD>`.
    pub variable: &'static str,
    /// A profile of the compose file that has it; `None` where it has no profile.
    pub profile: Option<&'static str>,
    /// Its port on the host.
    pub port: u16,
    /// The variable of the compose file for this port.
    pub port_variable: &'static str,
    /// How many ports from that on the compose file may use, one for each container.
    pub port_count: u16,
    /// Whether commands that name no service are about it.
    pub enabled: bool,
    /// Whether a command fails when it is not healthy.
    pub required: bool,
    /// How it is checked.
    pub health: Health,
    /// The path that is asked for over HTTP.
    pub path: &'static str,
    /// The text that the answer to this path holds; an empty one is in every answer.
    pub answer: &'static str,
    /// The port that is asked over HTTP, where it is another one than that of the service.
    pub health_port: Option<u16>,
    /// The variable of the compose file for this port.
    pub health_port_variable: Option<&'static str>,
    /// Limit of one check, in seconds.
    pub timeout_s: u64,
    /// How often it is checked before it counts as unhealthy.
    pub retry_count: u32,
    /// Names of the services that must be healthy before it is started.
    pub needs: &'static [&'static str],
}

/// The values that most services have in common.
const OPTIONAL: ServiceSpec = ServiceSpec {
    name: "",
    variable: "",
    profile: None,
    port: 0,
    port_variable: "",
    port_count: 1,
    enabled: false,
    required: false,
    health: Health::Tcp,
    path: "/",
    answer: "",
    health_port: None,
    health_port_variable: None,
    timeout_s: 10,
    retry_count: 5,
    needs: &[],
};

/// The services, each behind those that it needs.
pub const SERVICES: &[ServiceSpec] = &[
    ServiceSpec {
        name: "kafka",
        variable: "KAFKA",
        port: 9092,
        port_variable: "KAFKA_PORT",
        enabled: true,
        required: true,
        health: Health::Kafka,
        timeout_s: 5,
        retry_count: 3,
        ..OPTIONAL
    },
    ServiceSpec {
        name: "postgres",
        variable: "POSTGRESQL",
        port: 5432,
        port_variable: "POSTGRES_PORT",
        enabled: true,
        required: true,
        health: Health::Postgres,
        retry_count: 6,
        ..OPTIONAL
    },
    ServiceSpec {
        name: "zookeeper",
        variable: "ZOOKEEPER",
        profile: Some("zookeeper"),
        port: 2181,
        port_variable: "ZOOKEEPER_PORT",
        health: Health::Zookeeper,
        timeout_s: 5,
        retry_count: 3,
        ..OPTIONAL
    },
    ServiceSpec {
        name: "kafka-zookeeper",
        variable: "KAFKA_ZOOKEEPER",
        profile: Some("zookeeper"),
        port: 9094,
        port_variable: "KAFKA_ZOOKEEPER_PORT",
        health: Health::Kafka,
        timeout_s: 5,
        retry_count: 3,
        needs: &["zookeeper"],
        ..OPTIONAL
    },
    ServiceSpec {
        name: "clickhouse",
        variable: "CLICKHOUSE",
        profile: Some("bigdata"),
        port: 8123,
        port_variable: "CLICKHOUSE_HTTP_PORT",
        health: Health::Http,
        path: "/ping",
        answer: "Ok.",
        ..OPTIONAL
    },
    ServiceSpec {
        name: "neo4j",
        variable: "NEO4J",
        profile: Some("bigdata"),
        port: 7474,
        port_variable: "NEO4J_HTTP_PORT",
        health: Health::Http,
        answer: "neo4j_version",
        timeout_s: 5,
        retry_count: 3,
        ..OPTIONAL
    },
    ServiceSpec {
        name: "minio",
        variable: "MINIO",
        profile: Some("bigdata"),
        port: 9000,
        port_variable: "MINIO_PORT",
        health: Health::Http,
        path: "/minio/health/live",
        ..OPTIONAL
    },
    ServiceSpec {
        name: "spark-master",
        variable: "SPARK_MASTER",
        profile: Some("bigdata"),
        port: 7077,
        port_variable: "SPARK_MASTER_PORT",
        health: Health::SparkMaster,
        path: "/json/",
        health_port: Some(4040),
        health_port_variable: Some("SPARK_MASTER_UI_PORT"),
        ..OPTIONAL
    },
    ServiceSpec {
        name: "spark-worker",
        variable: "SPARK_WORKER",
        profile: Some("bigdata"),
        port: 8081,
        port_variable: "SPARK_WORKER_UI_PORTS",
        port_count: 4,
        health: Health::SparkWorker,
        path: "/json/",
        needs: &["spark-master"],
        ..OPTIONAL
    },
    ServiceSpec {
        name: "prometheus",
        variable: "PROMETHEUS",
        profile: Some("full"),
        port: 9090,
        port_variable: "PROMETHEUS_PORT",
        health: Health::Http,
        path: "/-/ready",
        answer: "Ready",
        timeout_s: 5,
        retry_count: 3,
        ..OPTIONAL
    },
    ServiceSpec {
        name: "grafana",
        variable: "GRAFANA",
        profile: Some("full"),
        port: 3000,
        port_variable: "GRAFANA_PORT",
        health: Health::Http,
        path: "/api/health",
        answer: "\"database\"",
        timeout_s: 5,
        retry_count: 3,
        needs: &["prometheus"],
        ..OPTIONAL
    },
];

/// Profiles of the compose file, and the services that each adds.
pub const PROFILES: &[(&str, &[&str])] = &[
    ("bigdata", &["clickhouse", "neo4j", "minio", "spark-master", "spark-worker"]),
    ("full", &["clickhouse", "neo4j", "minio", "spark-master", "spark-worker", "prometheus", "grafana"]),
    ("zookeeper", &["zookeeper", "kafka-zookeeper"]),
];

/// Services of HelixAgent's list that the compose file does not have.
pub const OTHERS: &[&str] =
    &["REDIS", "CHROMADB", "COGNEE", "RABBITMQ", "QDRANT", "WEAVIATE", "LANGCHAIN", "LLAMAINDEX", "MCP"];

/// The service with this name: that of the compose file, or that of the variables in small letters.
pub fn by_name(name: &str) -> Option<&'static ServiceSpec> {
    SERVICES.iter().find(|spec| spec.name == name || spec.variable.to_lowercase().replace('_', "-") == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_stands_behind_those_that_it_needs() {
        for (place, spec) in SERVICES.iter().enumerate() {
            for need in spec.needs {
                assert!(SERVICES[..place].iter().any(|before| before.name == *need), "{} needs {need}", spec.name);
            }
        }
    }

    #[test]
    fn profiles_name_services() {
        for (profile, services) in PROFILES {
            for service in *services {
                assert!(by_name(service).is_some(), "{profile}: {service}");
            }
        }
        assert_eq!(by_name("postgresql").map(|spec| spec.name), Some("postgres"));
    }
}
