//! `helixstream services`: the services around helixstream.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::kafka::KafkaArgs;

/// `helixstream services`.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 every required service is healthy (down: all were stopped); 1 one is not, or a signal came before the end; \
    2 usage or settings, nothing was started.\n\
    docs/services.md lists the services, their variables SVC_<NAME>_<FIELD> and their defaults."
)]
pub struct ServicesCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: ServicesAction,
}

/// The commands of `helixstream services`.
#[derive(Debug, Subcommand)]
pub enum ServicesAction {
    /// Print all services, or those that are named, as the settings describe them; connects to none
    List(ServicesArgs),
    /// Check whether services are healthy; exit 1 when a required one is not
    ///
    /// Without names and profiles, those that are enabled: Kafka and Postgres, unless a setting
    /// says otherwise. A service that is named, or whose profile is, is required.
    Check(ServicesArgs),
    /// Start services by `docker compose`, and wait until they are healthy
    ///
    /// Starts what is selected, local, and does not answer already, each behind those that it
    /// needs. Remote services are only checked.
    Up(UpArgs),
    /// Stop what `up` has started, and nothing else; volumes stay
    Down {
        /// Services to stop [default: all that `up` has started]
        names: Vec<String>,
        /// File of the services that `up` has started
        #[arg(long, value_name = "FILE", env = "HELIXSTREAM_STARTED_FILE", default_value = "started-services.json")]
        started_file: PathBuf,
        /// Form of the report on the standard output
        #[arg(long, value_enum, default_value_t = ReportFormat::Text, env = "HELIXSTREAM_FORMAT")]
        format: ReportFormat,
    },
}

/// Form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A table for people.
    Text,
    /// One JSON object, for programs.
    Json,
}

/// Settings of services.
#[derive(Args, Clone, Debug)]
pub struct ServiceSettingArgs {
    /// A setting of a service, such as kafka.port=9192. Repeatable. It beats variables such as
    /// SVC_KAFKA_PORT, which beat the file. HELIXSTREAM_SERVICE_SETTING holds several, separated by
    /// `;` or new lines
    #[arg(long, value_name = "SERVICE.FIELD=VALUE", action = ArgAction::Append)]
    pub service_setting: Vec<String>,
    /// TOML file of settings of services, with a table for each
    #[arg(long, value_name = "FILE", env = "HELIXSTREAM_SERVICES_FILE")]
    pub services_file: Option<PathBuf>,
}

/// The services, and where each of them is.
#[derive(Args, Clone, Debug)]
pub struct ServicesArgs {
    /// Names of services, such as kafka or neo4j [default: those that are enabled; of `list`, all]
    pub names: Vec<String>,
    /// The services of this profile of docker-compose.yml. Repeatable. HELIXSTREAM_PROFILE holds
    /// several, separated by commas
    #[arg(
        long,
        value_name = "PROFILE",
        env = "HELIXSTREAM_PROFILE",
        value_delimiter = ',',
        action = ArgAction::Append
    )]
    pub profile: Vec<String>,
    /// Their settings.
    #[command(flatten)]
    pub settings: ServiceSettingArgs,
    /// Form of the report on the standard output
    #[arg(long, value_enum, default_value_t = ReportFormat::Text, env = "HELIXSTREAM_FORMAT")]
    pub format: ReportFormat,
    /// Kafka's bootstrap servers and security.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// URL of Postgres; HELIXSTREAM_POSTGRES_URL_FILE names a file that holds it. Without a
    /// password in it, HELIXSTREAM_POSTGRES_PASSWORD or HELIXSTREAM_POSTGRES_PASSWORD_FILE is used
    /// [default: that of SVC_POSTGRESQL_URL, else user and database of docker-compose.yml]
    #[arg(long, value_name = "URL", env = "HELIXSTREAM_POSTGRES_URL", hide_env_values = true)]
    pub postgres_url: Option<String>,
}

/// `helixstream services up`.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// Which services.
    #[command(flatten)]
    pub target: ServicesArgs,
    /// How they are started.
    #[command(flatten)]
    pub start: StartArgs,
}

/// How services are started.
#[derive(Args, Clone, Debug)]
pub struct StartArgs {
    /// Compose file that has the services: helixstream's own, or one with its key `x-helixstream`
    #[arg(long, value_name = "FILE", env = "HELIXSTREAM_COMPOSE_FILE", default_value = "docker-compose.yml")]
    pub compose_file: PathBuf,
    /// File in which the started services are noted, for `down`
    #[arg(long, value_name = "FILE", env = "HELIXSTREAM_STARTED_FILE", default_value = "started-services.json")]
    pub started_file: PathBuf,
    /// How long a service may take to be healthy once its container was started
    #[arg(long, value_name = "DURATION", env = "HELIXSTREAM_START_LIMIT", default_value = "2m")]
    pub start_limit: String,
}

/// Heading of the flags in `--help`.
const SERVICES: &str = "Services";

/// Whether `run` and `node` start the services that they need.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = SERVICES)]
pub struct BootArgs {
    /// Start the services that this command needs, as `helixstream services up` does, before it
    /// connects: Kafka, and for a mirror Postgres. Their settings, such as SVC_KAFKA_PORT, then say
    /// where they are, unless a flag or a variable HELIXSTREAM_... does. They run on afterwards
    /// (`helixstream services down` stops them)
    #[arg(long, env = "HELIXSTREAM_BOOT", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub boot: bool,
    /// Settings of the services.
    #[command(flatten)]
    pub settings: ServiceSettingArgs,
    /// How they are started.
    #[command(flatten)]
    pub start: StartArgs,
}
