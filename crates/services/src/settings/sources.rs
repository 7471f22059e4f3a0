//! The sources of settings: variables, assignments of flags, and a file.

use super::assignment::{Assignment, FIELDS, Field, Found};
use crate::catalog::{OTHERS, SERVICES, ServiceSpec, by_name};
use crate::quote::{quoted, quoted_of};

/// Whether settings of a service are read.
type Concerns<'a> = &'a dyn Fn(&ServiceSpec) -> bool;

pub(super) fn of_variables(
    variables: &[(String, String)],
    concerns: Concerns,
    found: &mut Found,
    problems: &mut Vec<String>,
) -> Vec<Assignment> {
    let mut assignments = Vec::new();
    for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
        let Some(rest) = name.strip_prefix("SVC_") else { continue };
        let of = |variable: &str| rest.strip_prefix(variable).is_some_and(|field| field.starts_with('_'));
        // SVC_KAFKA_ZOOKEEPER_PORT is of the longer name.
        let spec = SERVICES.iter().filter(|spec| of(spec.variable)).max_by_key(|spec| spec.variable.len());
        let Some(spec) = spec else {
            if OTHERS.iter().any(|other| of(other)) { &mut found.ignored } else { &mut found.unknown }
                .push(name.clone());
            continue;
        };
        if !concerns(spec) {
            continue;
        }
        match field(&rest[spec.variable.len() + 1..], name, name) {
            Ok(field) => assignments.push(Assignment { place: name.clone(), spec, field, value: value.clone() }),
            Err(problem) => problems.push(problem),
        }
    }
    assignments
}

/// The field with this name, in capitals, which was cut out of the whole text.
fn field(name: &str, whole: &str, place: &str) -> Result<Field, String> {
    if name.starts_with("DISCOVERY_") {
        return Err(format!(
            "{place}: helixstream discovers no services; unset it, and set the host and the port of the service [HS9002]"
        ));
    }
    let found = FIELDS.iter().find(|(known, _)| *known == name);
    let names: Vec<&str> = FIELDS.iter().map(|(known, _)| *known).collect();
    found.map(|(_, field)| *field).ok_or_else(|| {
        let name = quoted_of(name, whole, "of that name");
        format!("{place}: a service has no setting {name}; the settings are {} [HS9003]", names.join(", "))
    })
}

/// `SERVICE.FIELD=VALUE` with their places, of one source.
pub(super) fn of_assignments(
    source: &[(String, String)],
    concerns: Concerns,
    problems: &mut Vec<String>,
) -> Vec<Assignment> {
    source.iter().flat_map(|(place, text)| of_assignment(place, text, concerns, problems)).collect()
}

fn of_assignment(place: &str, text: &str, concerns: Concerns, problems: &mut Vec<String>) -> Vec<Assignment> {
    let parts = text.split_once('=').and_then(|(key, value)| Some((key.split_once('.')?, value)));
    let Some(((service, key), value)) = parts else {
        // The text may be a URL with a password.
        problems.push(format!("{place}: write SERVICE.FIELD=VALUE, for example kafka.port=9092 [HS9003]"));
        return Vec::new();
    };
    assignment(place, [service.trim(), key.trim(), value], concerns, problems).into_iter().collect()
}

/// The assignment of service, field and value.
fn assignment(
    place: &str,
    [service, key, value]: [&str; 3],
    concerns: Concerns,
    problems: &mut Vec<String>,
) -> Option<Assignment> {
    let Some(spec) = by_name(service) else {
        let names: Vec<&str> = SERVICES.iter().map(|spec| spec.name).collect();
        // A password may hold the point and the equals sign at which the text was cut.
        let service = quoted_of(service, &format!("{service}.{key}={value}"), "of that name");
        problems
            .push(format!("{place}: there is no service {service}; the services are {} [HS9003]", names.join(", ")));
        return None;
    };
    if !concerns(spec) {
        return None;
    }
    match field(&key.to_uppercase(), &format!("{key}={value}"), place) {
        Ok(field) if !value.is_empty() => {
            Some(Assignment { place: format!("{place} {}.{key}", spec.name), spec, field, value: value.to_owned() })
        }
        Ok(_) => None,
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

pub(super) fn of_file(file: Option<(&str, &str)>, concerns: Concerns, problems: &mut Vec<String>) -> Vec<Assignment> {
    let Some((name, text)) = file else { return Vec::new() };
    let tables: toml::Table = match text.parse() {
        Ok(tables) => tables,
        Err(e) => {
            let e: toml::de::Error = e;
            let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            let why = quoted(e.message(), "a key or a value cannot be read");
            problems.push(format!("{name}: the file is not TOML at line {line}: {why} [HS9004]"));
            return Vec::new();
        }
    };
    let mut assignments = Vec::new();
    for (service, table) in &tables {
        let Some(table) = table.as_table() else {
            let service = quoted(service, "a key");
            problems.push(format!("{name}: {service} is no table; write [SERVICE] and its settings below [HS9004]"));
            continue;
        };
        if by_name(service).is_some_and(|spec| !concerns(spec)) {
            continue;
        }
        for (key, value) in table {
            let value = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(boolean) => boolean.to_string(),
                _ => {
                    problems.push(format!(
                        "{name}: {} is neither text, a whole number, true nor false; write one of these [HS9004]",
                        quoted(&format!("{service}.{key}"), "a value")
                    ));
                    continue;
                }
            };
            assignments.extend(assignment(name, [service, key, &value], concerns, problems));
        }
    }
    assignments
}
