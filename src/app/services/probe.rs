//! The health checks of all protocols.

use std::time::Duration;

use super::given::Given;
use crate::app::CommandError;
use crate::app::kafka::{self, Memory};
use crate::edges::cli::ServicesArgs;
use ::services::boot::Probe;
use ::services::catalog::Health;
use ::services::probes::{self, Http};
use ::services::settings::{Service, servers};
use mirror_postgres::Database;
use secret::{Secret, SecretSource};
use streams_kafka::{KafkaSettings, PassThrough, wait_for_brokers};

/// Queues of the Kafka client that asks, in bytes.
const MEMORY: u64 = 16 << 20;
/// Password of docker-compose.yml where `POSTGRES_PASSWORD` sets no other one.
const COMPOSE_PASSWORD: &str = "helixstream";

/// The clients and credentials of the checks.
pub struct Probes {
    http: Http,
    /// Where one of the services is checked as Kafka is.
    kafka: Option<KafkaSettings>,
    postgres_password: Option<SecretSource>,
    /// The master whose workers are looked at.
    spark_master: Option<Service>,
}

impl Probes {
    /// The checks of these services of all; nothing connects yet. Settings of Kafka's security and
    /// the password of Postgres are read only where one of the services needs them.
    ///
    /// # Errors
    /// Settings of Kafka or a password cannot be used.
    pub fn new(
        args: &ServicesArgs,
        given: &Given,
        services: &[Service],
        all: &[Service],
    ) -> Result<Probes, CommandError> {
        let http = Http::new().map_err(|e| CommandError::Failure(anyhow::Error::msg(e)))?;
        let usage = |e: secret::SecretError| CommandError::Usage(e.to_string());
        let has = |health: Health| services.iter().any(|service| service.health == health);
        let password = match &given.postgres_password {
            Some(password) => Some(password.clone()),
            None if given.without_postgres_variables || !has(Health::Postgres) => None,
            None => SecretSource::from_variables("HELIXSTREAM_POSTGRES_PASSWORD").map_err(usage)?,
        };
        let kafka = match has(Health::Kafka) {
            true => Some(kafka::settings(&args.kafka, given.file, "services", Memory::share(MEMORY, 1))?),
            false => None,
        };
        let spark_master = all.iter().find(|service| service.spec.name == "spark-master").cloned();
        let probes = Probes { http, kafka, postgres_password: password, spark_master };
        for service in services.iter().filter(|service| service.health == Health::Postgres) {
            probes.database(service).map_err(CommandError::Usage)?;
        }
        Ok(probes)
    }

    fn kafka(&self, service: &Service, limit: Duration) -> Result<(), String> {
        let settings = self.kafka.clone();
        let mut settings = settings.ok_or("the settings of Kafka were not read, though it is checked [HS9000]")?;
        if service.spec.name != "kafka" {
            // The flags and variables of Kafka's security are about the Kafka that holds the
            // events.
            settings.pass_through = PassThrough::default();
        }
        settings.bootstrap_servers = servers_of(service);
        let servers = servers(&settings.bootstrap_servers);
        let hosts: Vec<&str> = servers.iter().map(|(host, _)| host.as_str()).collect();
        let limit = probes::limit_after_lookup(service, &hosts, limit)?;
        wait_for_brokers(&settings, limit).map_err(|e| e.to_string())
    }

    fn postgres(&self, service: &Service, limit: Duration) -> Result<(), String> {
        let database = self.database(service)?;
        // A folder of sockets has no name to look up.
        let limit = match service.host.as_str() {
            "" => limit,
            folder if folder.starts_with('/') => limit,
            host => probes::limit_after_lookup(service, &[host], limit)?,
        };
        database.ping(limit).map_err(|e| e.to_string())
    }

    fn database(&self, service: &Service) -> Result<Database, String> {
        let DatabasePlace { url, password } = DatabasePlace::of(service);
        let database =
            Database::new(url.expose(), "public").map_err(|e| format!("the URL of {}: {e}", service.spec.name))?;
        Ok(match self.postgres_password.clone().or(password) {
            Some(password) => database.with_password(password),
            None => database,
        })
    }
}

/// The bootstrap servers of a Kafka.
pub fn servers_of(service: &Service) -> String {
    let Some(url) = &service.url else { return service.address() };
    let url = url.expose();
    url.split_once("://").map_or(url, |(_, servers)| servers).trim_end_matches('/').to_owned()
}

/// Where a database is, and what it is entered with.
#[derive(Clone)]
pub struct DatabasePlace {
    /// The URL.
    pub url: Secret,
    /// The password where nobody sets one: of the compose file, for the URL that is made of it.
    pub password: Option<SecretSource>,
}

impl DatabasePlace {
    /// That of a Postgres.
    pub fn of(service: &Service) -> DatabasePlace {
        if let Some(url) = &service.url {
            return DatabasePlace { url: url.clone(), password: None };
        }
        let url = Secret::new(format!("postgres://helixstream@{}/helixstream", service.address()));
        let password = std::env::var("POSTGRES_PASSWORD").ok().filter(|password| !password.is_empty());
        let password = SecretSource::value(password.unwrap_or_else(|| COMPOSE_PASSWORD.to_owned()));
        DatabasePlace { url, password: Some(password) }
    }
}

impl Probe for Probes {
    fn probe(&self, service: &Service, limit: Duration) -> Result<(), String> {
        match service.health {
            Health::Tcp => probes::tcp(service, limit),
            Health::Http => self.http.check(service, limit),
            Health::Kafka => self.kafka(service, limit),
            Health::Postgres => self.postgres(service, limit),
            Health::Zookeeper => probes::zookeeper(service, limit),
            Health::SparkMaster => self.http.spark_master(service, limit),
            Health::SparkWorker => match &self.spark_master {
                Some(master) => self.http.spark_worker(service, master, limit),
                None => Err("the settings name no Spark master [HS9000]".to_owned()),
            },
        }
    }
}
