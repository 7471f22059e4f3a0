//! The services that a command is about. A service that is named, or whose profile is, is meant
//! whatever its defaults are; it is required as well, unless a setting says otherwise.

use super::catalog::{PROFILES, SERVICES, by_name};
use super::quote::quoted;
use super::settings::Service;

/// A name that is no service or no profile.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// No such service.
    #[error("there is no service {}; the services are {} [HS9003]", quoted(.0, "of that name"), service_names())]
    Service(String),
    /// No such profile.
    #[error("there is no profile {}; the profiles are {} [HS9003]", quoted(.0, "of that name"), profile_names())]
    Profile(String),
}

fn service_names() -> String {
    SERVICES.iter().map(|spec| spec.name).collect::<Vec<_>>().join(", ")
}

fn profile_names() -> String {
    PROFILES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Names of the services that the names and profiles mean, with those that they need: a check looks
/// at them too. `None` where there is neither, since then settings decide.
///
/// # Errors
/// A name is unknown.
pub fn concerned(names: &[String], profiles: &[String]) -> Result<Option<Vec<&'static str>>, SelectionError> {
    if names.is_empty() && profiles.is_empty() {
        return Ok(None);
    }
    let (mut concerned, of_profiles) = named(names, profiles)?;
    concerned.extend(of_profiles);
    // A service stands behind its needs, so one pass from the end finds the needs of needs.
    for spec in SERVICES.iter().rev().filter(|spec| !spec.needs.is_empty()) {
        if concerned.contains(&spec.name) {
            concerned.extend_from_slice(spec.needs);
        }
    }
    Ok(Some(concerned))
}

/// The services of the names, and those of the profiles.
fn named(names: &[String], profiles: &[String]) -> Result<(Vec<&'static str>, Vec<&'static str>), SelectionError> {
    let spec = |name: &String| by_name(name).ok_or_else(|| SelectionError::Service(name.clone()));
    let named = names.iter().map(|name| spec(name).map(|spec| spec.name)).collect::<Result<_, _>>()?;
    let mut of_profiles = Vec::new();
    for profile in profiles {
        let found = PROFILES.iter().find(|(name, _)| name == profile);
        of_profiles.extend(found.ok_or_else(|| SelectionError::Profile(profile.clone()))?.1);
    }
    Ok((named, of_profiles))
}

/// The services that are meant, in the order of the catalog, so each behind those that it needs:
/// those of the names and profiles, or the enabled ones where there is neither.
///
/// # Errors
/// A name is unknown.
pub fn select(all: Vec<Service>, names: &[String], profiles: &[String]) -> Result<Vec<Service>, SelectionError> {
    let (named, of_profiles) = named(names, profiles)?;
    let is_free = names.is_empty() && profiles.is_empty();
    let mut selected = Vec::new();
    for mut service in all {
        let name = service.spec.name;
        // A setting that switches a service off holds against a profile, but not against its name.
        let is_meant = if is_free {
            service.enabled
        } else {
            let is_off = !service.enabled && service.is_enabled_set;
            named.contains(&name) || (of_profiles.contains(&name) && !is_off)
        };
        if is_meant {
            service.enabled = true;
            service.required |= !is_free && !service.is_required_set;
            selected.push(service);
        }
    }
    Ok(selected)
}

/// Adds the local services that local ones need, since without them these cannot start: as
/// required as the ones that need them.
pub fn with_needs(selected: Vec<Service>, all: &[Service]) -> Vec<Service> {
    let mut wanted = selected;
    // A service stands behind its needs, so one pass from the end finds the needs of needs.
    for candidate in all.iter().rev() {
        let name = candidate.spec.name;
        let mut dependants = wanted.iter().filter(|service| !service.remote && service.spec.needs.contains(&name));
        let is_off = !candidate.enabled && candidate.is_enabled_set;
        let is_selected = wanted.iter().any(|service| service.spec.name == name);
        let Some(first) = dependants.next().filter(|_| !is_selected && !is_off) else { continue };
        let required = first.required || dependants.any(|service| service.required);
        let required = if candidate.is_required_set { candidate.required } else { required };
        wanted.push(Service { enabled: true, required, ..candidate.clone() });
    }
    let place = |service: &Service| SERVICES.iter().position(|spec| spec.name == service.spec.name);
    wanted.sort_by_key(place);
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Sources, read};

    fn all(variables: &[(&str, &str)]) -> Vec<Service> {
        let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        read(&Sources { variables: &variables, ..Sources::default() }).unwrap().services
    }

    fn names(services: &[Service]) -> Vec<(&str, bool)> {
        services.iter().map(|service| (service.spec.name, service.required)).collect()
    }

    #[test]
    fn without_names_the_enabled_services_are_meant() {
        assert_eq!(names(&select(all(&[]), &[], &[]).unwrap()), [("kafka", true), ("postgres", true)]);
        let services = all(&[("SVC_POSTGRESQL_ENABLED", "false"), ("SVC_NEO4J_ENABLED", "true")]);
        assert_eq!(names(&select(services, &[], &[]).unwrap()), [("kafka", true), ("neo4j", false)]);
    }

    #[test]
    fn a_named_service_is_meant_and_required_whatever_its_default_is() {
        let one = |services, name: &str| names_of(select(services, &[name.to_owned()], &[]));
        assert_eq!(one(all(&[]), "neo4j"), [("neo4j", true)]);
        assert_eq!(one(all(&[("SVC_NEO4J_ENABLED", "false")]), "neo4j"), [("neo4j", true)]);
        assert_eq!(one(all(&[("SVC_NEO4J_REQUIRED", "false")]), "neo4j"), [("neo4j", false)]);
        assert_eq!(one(all(&[]), "postgresql"), [("postgres", true)]);
        let error = select(all(&[]), &["redis".to_owned()], &[]).unwrap_err();
        assert!(error.to_string().starts_with("there is no service `redis`; the services are kafka, "), "{error}");
        let secret = "postgres://u:geheim@db".to_owned();
        let error = select(all(&[]), std::slice::from_ref(&secret), &[]).unwrap_err();
        assert!(!error.to_string().contains("geheim"), "{error}");
        let error = select(all(&[]), &[], &[secret]).unwrap_err();
        assert!(!error.to_string().contains("geheim"), "{error}");
    }

    fn names_of(selected: Result<Vec<Service>, SelectionError>) -> Vec<(&'static str, bool)> {
        selected.unwrap().iter().map(|service| (service.spec.name, service.required)).collect()
    }

    #[test]
    fn a_profile_means_its_services_but_for_those_that_are_off() {
        let services = all(&[("SVC_MINIO_ENABLED", "false"), ("SVC_CLICKHOUSE_REQUIRED", "false")]);
        let selected = names_of(select(services, &[], &["bigdata".to_owned()]));
        let expected = [("clickhouse", false), ("neo4j", true), ("spark-master", true), ("spark-worker", true)];
        assert_eq!(selected, expected);
        assert!(select(all(&[]), &[], &["small".to_owned()]).is_err());
    }

    #[test]
    fn a_command_is_about_what_is_named_and_what_that_needs() {
        let concerned = |names: &[&str], profiles: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            concerned(&owned(names), &owned(profiles))
        };
        assert_eq!(concerned(&[], &[]), Ok(None), "settings decide");
        assert_eq!(concerned(&["postgresql"], &[]), Ok(Some(vec!["postgres"])));
        assert_eq!(concerned(&["spark-worker"], &[]), Ok(Some(vec!["spark-worker", "spark-master"])));
        assert_eq!(concerned(&[], &["zookeeper"]).unwrap().unwrap()[..2], ["zookeeper", "kafka-zookeeper"]);
        assert_eq!(concerned(&["redis"], &[]), Err(SelectionError::Service("redis".to_owned())));
        assert_eq!(concerned(&[], &["small"]), Err(SelectionError::Profile("small".to_owned())));
    }

    #[test]
    fn what_a_local_service_needs_comes_along() {
        let with = |variables: &[(&str, &str)]| {
            let services = all(variables);
            let selected = select(services.clone(), &["spark-worker".to_owned()], &[]).unwrap();
            with_needs(selected, &services).iter().map(|s| (s.spec.name, s.required)).collect::<Vec<_>>()
        };
        assert_eq!(with(&[]), [("spark-master", true), ("spark-worker", true)]);
        assert_eq!(with(&[("SVC_SPARK_WORKER_REMOTE", "true")]), [("spark-worker", true)]);
        assert_eq!(with(&[("SVC_SPARK_MASTER_ENABLED", "false")]), [("spark-worker", true)]);
    }
}
