//! Tables and JSON of `helixstream services`.

use serde_json::json;

use crate::app::CommandError;
use crate::app::report::{print, print_json, table};
use crate::edges::cli::ReportFormat;
use ::services::board::{Report, State};
use ::services::compose::Stopped;
use ::services::probes::shown;
use ::services::settings::Service;

/// Longest detail in a table, in characters.
const LONGEST_DETAIL: usize = 300;

/// All states in one line, for a terminal.
pub fn states(services: &[Service], states: &[State]) -> String {
    let each = services.iter().zip(states).map(|(service, state)| format!("{} {}", service.spec.name, state.name()));
    each.collect::<Vec<_>>().join(" · ")
}

/// The services as the settings describe them.
pub fn list(services: &[Service], format: ReportFormat) -> Result<(), CommandError> {
    if format == ReportFormat::Json {
        let row = |service: &Service| {
            json!({
                "service": service.spec.name,
                "variable": format!("SVC_{}", service.spec.variable),
                "address": service.address(),
                "enabled": service.enabled,
                "required": service.required,
                "remote": service.remote,
                "check": service.health.name(),
                "health_path": service.path,
                "health_port": service.health_port,
                "timeout_ms": u64::try_from(service.timeout.as_millis()).unwrap_or(u64::MAX),
                "retry_count": service.retry_count,
                "profile": service.spec.profile,
                "needs": service.spec.needs,
            })
        };
        return print_json(&json!({ "services": services.iter().map(row).collect::<Vec<_>>() }));
    }
    let row = |service: &Service| {
        vec![
            service.spec.name.to_owned(),
            service.address(),
            yes(service.enabled),
            yes(service.required),
            place(service.remote),
            service.health.name().to_owned(),
            shown(service.timeout),
            service.retry_count.to_string(),
            service.spec.profile.unwrap_or_default().to_owned(),
        ]
    };
    let heads = ["SERVICE", "ADDRESS", "ENABLED", "REQUIRED", "PLACE", "CHECK", "TIMEOUT", "RETRY_COUNT", "PROFILE"];
    print(&table(&heads, services.iter().map(row)))
}

/// The report about the services.
pub fn report(report: &Report, format: ReportFormat) -> Result<(), CommandError> {
    if format == ReportFormat::Json {
        return print_json(&serde_json::to_value(report)?);
    }
    let rows = report.services.iter().map(|row| {
        vec![
            row.service.to_owned(),
            row.state.replace('_', " "),
            yes(row.required),
            place(row.remote),
            row.address.clone(),
            row.check.to_owned(),
            escape::cell(row.detail.as_deref().unwrap_or_default(), LONGEST_DETAIL).into_owned(),
        ]
    });
    print(&table(&["SERVICE", "STATE", "REQUIRED", "PLACE", "ADDRESS", "CHECK", "DETAIL"], rows))
}

/// The report of `down`; services that are named and were not started by `up` stand there too.
pub fn stopped(stopped: &[Stopped], names: &[&str], format: ReportFormat) -> Result<(), CommandError> {
    let was_started = |name: &str| stopped.iter().any(|service| service.service == name);
    let others =
        names.iter().filter(|name| !was_started(name)).map(|name| ((*name).to_owned(), "not_started_here", None));
    let stopped = stopped.iter().map(|service| {
        let state = match (&service.failure, service.was_there) {
            (Some(_), _) => "failed",
            (None, true) => "stopped",
            (None, false) => "gone",
        };
        (service.service.clone(), state, service.failure.clone())
    });
    let rows: Vec<(String, &str, Option<String>)> = stopped.chain(others).collect();
    if format == ReportFormat::Json {
        let ok = rows.iter().all(|(_, state, _)| *state != "failed");
        let row = |(service, state, detail): &(String, &str, Option<String>)| json!({ "service": service, "state": state, "detail": detail });
        return print_json(&json!({ "ok": ok, "services": rows.iter().map(row).collect::<Vec<_>>() }));
    }
    let rows = rows.into_iter().map(|(service, state, detail)| {
        let detail = escape::cell(detail.as_deref().unwrap_or_default(), LONGEST_DETAIL).into_owned();
        vec![service, state.replace('_', " "), detail]
    });
    print(&table(&["SERVICE", "STATE", "DETAIL"], rows))
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

fn place(remote: bool) -> String {
    if remote { "remote" } else { "local" }.to_owned()
}
