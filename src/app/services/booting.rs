//! `--boot` of `run` and `node`: the services that the command needs are started, as `helixstream
//! services up` starts them, before it connects; and it connects where their settings say that they
//! are.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::given::Given;
use super::probe::{DatabasePlace, servers_of};
use super::up::Up;
use crate::app::mirrored_topics::event_sources;
use crate::app::{CommandError, mirror};
use crate::edges::cli::{BootArgs, KafkaArgs, NodeArgs, PostgresArgs, ReportFormat, RunArgs, ServicesArgs, UpArgs};
use secret::{SecretError, SecretSource};
use topology_file::Topology as File;

const KAFKA: &str = "kafka";
const POSTGRES: &str = "postgres";

/// The services that a command starts before it connects.
pub struct Booting {
    up: Up,
    /// Whether the settings of the services say where the mirror's Postgres is.
    places_mirror: bool,
}

impl Booting {
    /// Those of `node`: Kafka. `None` where the command is not to start any.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn of_node(args: &NodeArgs) -> Result<Option<Booting>, CommandError> {
        Booting::read(&args.boot, &args.kafka, None, None)
    }

    /// Those of `run`: Kafka, and Postgres unless nothing is mirrored. `None` where the command is
    /// not to start any.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn of_run(args: &RunArgs, file: &File) -> Result<Option<Booting>, CommandError> {
        let is_mirrored = !args.mirror.no_mirror && !event_sources(file).is_empty();
        Booting::read(&args.boot, &args.kafka, Some(file), is_mirrored.then_some(&args.mirror.postgres))
    }

    fn read(
        args: &BootArgs,
        kafka: &KafkaArgs,
        file: Option<&File>,
        mirror: Option<&PostgresArgs>,
    ) -> Result<Option<Booting>, CommandError> {
        if !args.boot {
            return Ok(None);
        }
        let usage = |e: SecretError| CommandError::Usage(e.to_string());
        let mut given = Given { file, without_postgres_variables: true, ..Given::default() };
        if let Some(servers) = kafka.bootstrap_servers.as_deref().filter(|servers| !servers.is_empty()) {
            given.assignments.push(("the bootstrap servers".to_owned(), format!("{KAFKA}.url={servers}")));
        } else if let Some(servers) = file.and_then(|file| file.run.bootstrap_servers.as_deref()) {
            given.of_topology.push(("`bootstrap_servers` of [run]".to_owned(), format!("{KAFKA}.url={servers}")));
        }
        let mut places_mirror = false;
        if let (Some(mirror), Some(file)) = (mirror, file) {
            let assigned = |url: SecretSource| -> Result<String, CommandError> {
                Ok(format!("{POSTGRES}.url={}", url.read().map_err(usage)?.expose()))
            };
            if let Some(url) = mirror::url_of_command(mirror)? {
                given.assignments.push(("the URL of Postgres".to_owned(), assigned(url)?));
            } else {
                places_mirror = true;
                if let Some(url) = file.run.postgres_url.clone() {
                    given.of_topology.push(("`postgres_url` of [run]".to_owned(), assigned(url)?));
                }
            }
            given.postgres_password = mirror::password(mirror, file)?;
        }
        let needed = [Some(KAFKA), mirror.map(|_| POSTGRES)];
        let target = ServicesArgs {
            names: needed.into_iter().flatten().map(str::to_owned).collect(),
            profile: Vec::new(),
            settings: args.settings.clone(),
            format: ReportFormat::Text,
            kafka: KafkaArgs { bootstrap_servers: None, ..kafka.clone() },
            postgres_url: None,
        };
        let up = Up::read(&UpArgs { target, start: args.start.clone() }, &given)?;
        Ok(Some(Booting { up, places_mirror }))
    }

    /// The flags of Kafka with the bootstrap servers that the settings name.
    pub fn kafka(&self, args: &KafkaArgs) -> KafkaArgs {
        let servers = self.up.service(KAFKA).map(servers_of);
        KafkaArgs { bootstrap_servers: servers.or_else(|| args.bootstrap_servers.clone()), ..args.clone() }
    }

    /// Where the mirror's Postgres is, if the settings of the services say it.
    pub fn mirror(&self) -> Option<DatabasePlace> {
        self.up.service(POSTGRES).filter(|_| self.places_mirror).map(DatabasePlace::of)
    }

    /// Starts them, waits until they are healthy, and prints the report.
    ///
    /// # Errors
    /// A required service is not healthy, or a signal came before the end.
    pub fn start(&self, signalled: &Arc<AtomicBool>) -> Result<(), CommandError> {
        self.up.run(signalled)
    }
}
