//! Tables and JSON of `helixstream services`.

use std::io::{self, IsTerminal as _, Write};

use anyhow::anyhow;
use serde_json::json;

use crate::app::CommandError;
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

/// Columns as wide as their widest cells; the last one is not filled up.
fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
    let count = rows.first().map_or(0, Vec::len);
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| widest(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn print_json(value: &serde_json::Value) -> Result<(), CommandError> {
    print(&json_text(value, io::stdout().is_terminal()))
}

/// JSON, on a terminal without what a terminal obeys: details hold text of servers and of `docker`.
fn json_text(value: &serde_json::Value, is_for_terminal: bool) -> String {
    // Line by line, since the line ends are ours: within strings JSON writes them as `\n`.
    let shown = |line: &str| if is_for_terminal { escape::json(line).into_owned() } else { line.to_owned() };
    format!("{value:#}").lines().map(shown).map(|line| line + "\n").collect()
}

fn print(text: &str) -> Result<(), CommandError> {
    match io::stdout().write_all(text.as_bytes()) {
        // `services list | head` has read enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|e| anyhow!("write to the standard output: {e} [HS0093]").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_a_report() {
        let value = json!({ "detail": "\u{1b}[2J\u{9b}2J\u{202e}", "ok": false });
        let shown = json_text(&value, true);
        assert!(!shown.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value, "it means the same");
        assert_eq!(shown.lines().count(), 4, "a member a line: {shown}");
        assert!(json_text(&value, false).contains('\u{202e}'));
    }
}
