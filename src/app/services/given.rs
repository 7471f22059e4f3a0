//! Additions of another command than `services` to the settings of the services.

use secret::SecretSource;
use topology_file::Topology as File;

/// Settings of a command that starts services for itself.
#[derive(Default)]
pub struct Given<'a> {
    /// Assignments `SERVICE.FIELD=VALUE` with the names of their places, which beat all others.
    pub assignments: Vec<(String, String)>,
    /// Assignments of the topology file with the names of their places, which the variables
    /// `SVC_...` beat, and which beat the file of the services.
    pub of_topology: Vec<(String, String)>,
    /// Whether the variables of Postgres' URL and password are left alone: the command has no use
    /// for them, or has read them itself.
    pub without_postgres_variables: bool,
    /// The topology file, which may have settings of Kafka's security.
    pub file: Option<&'a File>,
    /// The password of Postgres, in the place of that of the variables.
    pub postgres_password: Option<SecretSource>,
}
