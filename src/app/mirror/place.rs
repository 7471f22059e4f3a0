//! The database and the password of the mirror's tables: from flags, variables and the topology
//! file, in this order.

use std::path::Path;

use crate::app::CommandError;
use crate::app::mirrored_topics::event_sources;
use crate::app::settings::warn_of_command_line;
use crate::edges::cli::PostgresArgs;
use mirror_postgres::{Database, DatabaseError, url_holds_password};
use secret::{Secret, SecretSource};
use topology_file::Topology as File;

/// Where the tables lie when nobody says.
const SCHEMA: &str = "public";
const URL: &str = "HELIXSTREAM_POSTGRES_URL";
const URL_FILE: &str = "HELIXSTREAM_POSTGRES_URL_FILE";
const PASSWORD: &str = "HELIXSTREAM_POSTGRES_PASSWORD";
const PASSWORD_FILE: &str = "HELIXSTREAM_POSTGRES_PASSWORD_FILE";

/// The database that flags, variables or the file name, if they name one.
pub fn database(args: &PostgresArgs, file: &File) -> Result<Option<Database>, CommandError> {
    let Some(url) = url(args, file)? else { return Ok(None) };
    if event_sources(file).is_empty() {
        return Err(CommandError::Usage(format!(
            "{}: no source of this topology leads to `decode`, so there are no events to mirror: run it with --no-mirror, and \
             without `postgres_url` [HS4521]",
            file.file
        )));
    }
    let url = url.read().map_err(|e| CommandError::Usage(e.to_string()))?;
    at(args, file, &url, None).map(Some)
}

/// The database at a URL. Where nobody sets a password, the one given here counts.
pub fn at(
    args: &PostgresArgs,
    file: &File,
    url: &Secret,
    default_password: Option<SecretSource>,
) -> Result<Database, CommandError> {
    let schema = args.postgres_schema.as_deref().or(file.run.postgres_schema.as_deref()).unwrap_or(SCHEMA);
    let database = match Database::new(url.expose(), schema) {
        Ok(database) => database,
        Err(e @ DatabaseError::Schema(_)) => return Err(CommandError::Usage(format!("--postgres-schema: {e}"))),
        Err(e) => return Err(CommandError::Usage(format!("--postgres-url: {e}"))),
    };
    Ok(match password(args, file)?.or(default_password) {
        Some(password) => database.with_password(password),
        None => database,
    })
}

fn url(args: &PostgresArgs, file: &File) -> Result<Option<SecretSource>, CommandError> {
    Ok(url_of_command(args)?.or_else(|| file.run.postgres_url.clone()))
}

/// The URL that a flag or a variable names, if one does.
pub fn url_of_command(args: &PostgresArgs) -> Result<Option<SecretSource>, CommandError> {
    let typed = args.postgres_url.clone().filter(|url| !url.is_empty() && !is_variable(URL, Path::new(url)));
    let typed_file = args.postgres_url_file.clone().filter(|file| !is_variable(URL_FILE, file));
    match (typed, typed_file) {
        (Some(_), Some(_)) => {
            return Err(CommandError::Usage(
                "--postgres-url and --postgres-url-file are both set: set only one of them [HS0021]".to_owned(),
            ));
        }
        (Some(url), None) => {
            if url_holds_password(&url) {
                warn_of_command_line(
                    "--postgres-url",
                    "HELIXSTREAM_POSTGRES_PASSWORD_FILE or HELIXSTREAM_POSTGRES_URL_FILE",
                );
            }
            return Ok(Some(SecretSource::value(url)));
        }
        (None, Some(file)) => return Ok(Some(SecretSource::file(file, "--postgres-url-file"))),
        (None, None) => {}
    }
    SecretSource::from_variables(URL).map_err(|e| CommandError::Usage(e.to_string()))
}

/// The password that a flag, a variable or the file names, if one does.
pub fn password(args: &PostgresArgs, file: &File) -> Result<Option<SecretSource>, CommandError> {
    let typed = args.postgres_password_file.clone().filter(|file| !is_variable(PASSWORD_FILE, file));
    if let Some(file) = typed {
        return Ok(Some(SecretSource::file(file, "--postgres-password-file")));
    }
    let variable = SecretSource::from_variables(PASSWORD).map_err(|e| CommandError::Usage(e.to_string()))?;
    Ok(variable.or_else(|| file.run.postgres_password.clone()))
}

/// Whether a flag has its value from its variable: then it does not go before other variables.
fn is_variable(name: &str, value: &Path) -> bool {
    std::env::var_os(name).is_some_and(|variable| variable == value.as_os_str())
}
