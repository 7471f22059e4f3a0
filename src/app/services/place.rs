//! The settings of the services, from flags, variables and a file.

use super::given::Given;
use crate::app::CommandError;
use crate::app::settings::{variable_list, warn_of_command_line};
use crate::edges::cli::ServicesArgs;
use ::services::selection::concerned;
use ::services::settings::{Service, ServiceSettings, Sources, read};
use mirror_postgres::url_holds_password;
use secret::{Secret, SecretError, SecretSource};

const SERVERS: &str = "HELIXSTREAM_BOOTSTRAP_SERVERS";
const URL: &str = "HELIXSTREAM_POSTGRES_URL";
const POSTGRES: &str = "postgres";

/// The services that a command without names is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// All.
    All,
    /// The enabled ones.
    Enabled,
}

/// All services as flags, variables, the file and what is `given` describe them. Where services or
/// profiles are named, only the settings of these are read, and of those that they need.
///
/// # Errors
/// A name is unknown, or a value of a service that the command is about cannot be used, wherever it
/// comes from.
pub fn settings(args: &ServicesArgs, given: &Given, unnamed: Unnamed) -> Result<Vec<Service>, CommandError> {
    let only = concerned(&args.names, &args.profile).map_err(|e| CommandError::Usage(e.to_string()))?;
    let file = match &args.settings.services_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| {
                let file = path.display();
                CommandError::Usage(format!("--services-file: the file {file} cannot be read: {e} [HS9004]"))
            })?;
            Some((path.display().to_string(), text))
        }
        None => None,
    };
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with("SVC_"))
        .collect();
    // Where the system has no such file, the machine's own name counts as that of another one.
    let own_name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let own_name = own_name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    let read = |assignments: &[(String, String)]| {
        let (topology, variables) = (given.of_topology.as_slice(), variables.as_slice());
        let sources = Sources { file, topology, variables, assignments, own_name, only: only.as_deref() };
        read(&sources).map_err(|e| CommandError::Usage(e.to_string()))
    };
    let is_about_postgres = match &only {
        Some(names) => names.contains(&POSTGRES),
        None if unnamed == Unnamed::All => true,
        // The URL does not decide whether Postgres is enabled.
        None => {
            let services = read(&assignments(args, given, false)?)?.services;
            services.iter().any(|service| service.spec.name == POSTGRES && service.enabled)
        }
    };
    let ServiceSettings { services, ignored, unknown } = read(&assignments(args, given, is_about_postgres)?)?;
    if !ignored.is_empty() {
        tracing::info!("variables of services that helixstream has no part in are ignored: {}", ignored.join(", "));
    }
    if !unknown.is_empty() {
        tracing::warn!(
            code = "HS9012",
            "variables name no service of helixstream or HelixAgent and are ignored: {}; correct or unset them",
            unknown.join(", ")
        );
    }
    Ok(services)
}

/// `SERVICE.FIELD=VALUE` with their places, the weakest first. The URL of Postgres is read, and may
/// be wrong, only where the command is about it.
fn assignments(
    args: &ServicesArgs,
    given: &Given,
    is_about_postgres: bool,
) -> Result<Vec<(String, String)>, CommandError> {
    let variable = "HELIXSTREAM_SERVICE_SETTING";
    let mut all: Vec<(String, String)> =
        variable_list(variable).into_iter().map(|text| (variable.to_owned(), text)).collect();
    if let Some(servers) = args.kafka.bootstrap_servers.as_deref().filter(|servers| !servers.is_empty()) {
        let place = if is_variable(SERVERS, servers) { SERVERS } else { "--bootstrap-servers" };
        all.push((place.to_owned(), format!("kafka.url={servers}")));
    }
    if is_about_postgres && !given.without_postgres_variables {
        let url = postgres_url(args)?;
        all.extend(url.map(|(place, url)| (place.to_owned(), format!("{POSTGRES}.url={}", url.expose()))));
    }
    for text in &args.settings.service_setting {
        if text.split_once('=').is_some_and(|(key, url)| key.ends_with(".url") && url_holds_password(url)) {
            warn_of_command_line("--service-setting", "SVC_<NAME>_URL");
        }
        all.push(("--service-setting".to_owned(), text.clone()));
    }
    all.extend_from_slice(&given.assignments);
    Ok(all)
}

/// The URL of Postgres with its place: that of the flag, else of the variable or of its file.
fn postgres_url(args: &ServicesArgs) -> Result<Option<(&'static str, Secret)>, CommandError> {
    let typed = args.postgres_url.as_deref().filter(|url| !url.is_empty() && !is_variable(URL, url));
    if let Some(url) = typed {
        if url_holds_password(url) {
            warn_of_command_line(
                "--postgres-url",
                "HELIXSTREAM_POSTGRES_PASSWORD_FILE or HELIXSTREAM_POSTGRES_URL_FILE",
            );
        }
        return Ok(Some(("--postgres-url", Secret::new(url))));
    }
    let usage = |e: SecretError| CommandError::Usage(e.to_string());
    let Some(source) = SecretSource::from_variables(URL).map_err(usage)? else { return Ok(None) };
    let place = if matches!(source, SecretSource::File { .. }) { "HELIXSTREAM_POSTGRES_URL_FILE" } else { URL };
    Ok(Some((place, source.read().map_err(usage)?)))
}

/// Whether a flag has its value from its variable.
fn is_variable(name: &str, value: &str) -> bool {
    std::env::var(name).is_ok_and(|variable| variable == value)
}
