//! Additions of another command than `services` to the settings of the services.

use secret::SecretSource;
use topology_file::Topology as File;

/// Settings of a command that starts services for itself.
#[derive(Default)]
pub struct Given<'a> {
    /// Assignments `SERVICE.FIELD=VALUE` with the names of their places, which beat all others.
    pub assignments: Vec<(String, String)>,
    /// The topology file, which may have settings of Kafka's security.
    pub file: Option<&'a File>,
    /// The password of Postgres, in the place of that of the variables.
    pub postgres_password: Option<SecretSource>,
}
