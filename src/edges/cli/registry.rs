//! Connection to the schema registry: flags of every command that reads Avro.

use clap::Args;

/// Where the schema registry is.
#[derive(Args, Clone, Debug)]
pub struct RegistryArgs {
    /// Schema registry (Confluent's REST API) by which Avro is read and written [default: the
    /// file's; without one Avro is not read]
    #[arg(long, value_name = "URL", env = "HELIXSTREAM_SCHEMA_REGISTRY_URL", hide_env_values = true)]
    pub schema_registry_url: Option<String>,
}
