//! The settings of the services, from flags, variables and a file.

use crate::app::CommandError;
use crate::app::settings::{variable_list, warn_of_command_line};
use crate::edges::cli::ServicesArgs;
use ::services::settings::{Service, ServiceSettings, Sources, read};
use mirror_postgres::url_holds_password;

/// All services as flags, variables and the file describe them.
///
/// # Errors
/// A value that cannot be used, wherever it comes from.
pub fn settings(args: &ServicesArgs) -> Result<Vec<Service>, CommandError> {
    let file = match &args.services_file {
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
    let assignments = assignments(args);
    let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    let sources = Sources { file, variables: &variables, assignments: &assignments };
    let ServiceSettings { services, ignored, unknown } =
        read(&sources).map_err(|e| CommandError::Usage(e.to_string()))?;
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

/// `SERVICE.FIELD=VALUE` with their places, the weakest first.
fn assignments(args: &ServicesArgs) -> Vec<(String, String)> {
    let variable = "HELIXSTREAM_SERVICE_SETTING";
    let mut all: Vec<(String, String)> =
        variable_list(variable).into_iter().map(|text| (variable.to_owned(), text)).collect();
    if let Some(servers) = args.kafka.bootstrap_servers.as_deref().filter(|servers| !servers.is_empty()) {
        all.push(("--bootstrap-servers".to_owned(), format!("kafka.url={servers}")));
    }
    if let Some(url) = args.postgres_url.as_deref().filter(|url| !url.is_empty()) {
        let is_variable = std::env::var("HELIXSTREAM_POSTGRES_URL").is_ok_and(|variable| variable == url);
        if url_holds_password(url) && !is_variable {
            warn_of_command_line("--postgres-url", "HELIXSTREAM_POSTGRES_PASSWORD_FILE");
        }
        all.push(("--postgres-url".to_owned(), format!("postgres.url={url}")));
    }
    for text in &args.service_setting {
        if text.split_once('=').is_some_and(|(key, url)| key.ends_with(".url") && url_holds_password(url)) {
            warn_of_command_line("--service-setting", "SVC_<NAME>_URL");
        }
        all.push(("--service-setting".to_owned(), text.clone()));
    }
    all
}
