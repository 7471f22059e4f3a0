//! Containers by `docker compose`. A service is started by its name, alone; so nothing runs
//! afterwards that nobody has asked for. A container that was there before is left alone, and
//! `down` removes containers by their ids.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::boot::{Containers, Start};
use super::catalog::{PROJECT, SERVICES, ServiceSpec};
use super::docker::{DOCKER, DockerError, answer, command, run};
use super::lookup::addresses;
use super::settings::Service;
use super::started::{StartedError, StartedFile, StartedService, is_container_id};

/// The top-level key by which a compose file says that it is helixstream's. `docker compose`
/// ignores keys that begin with `x-`.
const OWN_KEY: &str = "x-helixstream:";

/// Why a compose file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ComposeFileError {
    /// It is not there, or cannot be read.
    #[error("the file {} cannot be opened: {source}; name helixstream's docker-compose.yml [HS9009]", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// It belongs to somebody else, whose services may have the same names.
    #[error(
        "the file {} is not helixstream's, since it has no top-level key `x-helixstream`; name helixstream's \
         docker-compose.yml, or add the line `x-helixstream: true` where the file is a copy of that [HS9014]",
        .0.display()
    )]
    Foreign(PathBuf),
}

/// `docker compose` with one compose file.
pub struct DockerCompose<'a> {
    file: PathBuf,
    started_file: PathBuf,
    /// Opened at the first start: without one, nothing is written.
    started: Mutex<Option<StartedFile>>,
    stop: &'a AtomicBool,
}

impl<'a> DockerCompose<'a> {
    /// With this compose file, and the file of the services that were started. `stop` ends a call
    /// of the program.
    ///
    /// # Errors
    /// The compose file cannot be read, or is not helixstream's.
    pub fn new(file: &Path, started_file: &Path, stop: &'a AtomicBool) -> Result<DockerCompose<'a>, ComposeFileError> {
        let failed = |source| ComposeFileError::Io { path: file.to_owned(), source };
        if !is_ours(&std::fs::read_to_string(file).map_err(failed)?) {
            return Err(ComposeFileError::Foreign(file.to_owned()));
        }
        let (file, started_file) = (file.canonicalize().map_err(failed)?, started_file.to_owned());
        Ok(DockerCompose { file, started_file, started: Mutex::new(None), stop })
    }

    /// Starts the container, between the notes of its begin and its end.
    fn up(&self, service: &Service, before: &[String], started: &mut StartedFile) -> Result<(), String> {
        let spec = service.spec;
        let note = self.note(spec);
        let failed = |e: StartedError| e.to_string();
        started.begin(&note).map_err(failed)?;
        let mut command = compose(&self.file, PROJECT, spec.profile);
        command.args(["up", "--detach", "--no-deps", "--", spec.name]);
        // The container listens where the settings expect it.
        if !is_range_from(std::env::var(spec.port_variable).ok().as_deref(), service.port) {
            command.env(spec.port_variable, ports(spec, service.port));
        }
        if let Some((port, variable)) = service.health_port.zip(spec.health_port_variable) {
            command.env(variable, port.to_string());
        }
        // It would remove containers of services that another version of the file had.
        command.env_remove("COMPOSE_REMOVE_ORPHANS");
        let ended = run(command, self.stop);
        if let Err(e @ DockerError::NotRun(_)) = ended {
            started.end(&note, before.to_vec()).map_err(failed)?;
            return Err(e.to_string());
        }
        // A start that has failed or was interrupted may have left a container. A signal does not
        // end this question, since its answer is what `down` goes by.
        let now = containers(&self.file, PROJECT, spec, &AtomicBool::new(false)).map_err(|e| e.to_string())?;
        started.end(&note, now).map_err(failed)?;
        ended.map_err(|e| e.to_string())
    }

    /// Whether containers of what a service needs run in the project: it reaches them by the
    /// project's network, not where the settings say.
    fn needs_run_beside(&self, spec: &ServiceSpec) -> Result<(), String> {
        for need in SERVICES.iter().filter(|other| spec.needs.contains(&other.name)) {
            let mut command = compose(&self.file, PROJECT, need.profile);
            command.args(["ps", "--quiet", "--", need.name]);
            let running = answer(command, self.stop).and_then(|said| ids(&said)).map_err(|e| e.to_string())?;
            if running.is_empty() {
                return Err(format!(
                    "{0} needs {1} in the same compose project, and the {1} that answers is no container of it; \
                     stop that one and repeat the command, or start {0} yourself and set SVC_{2}_REMOTE=true [HS9013]",
                    spec.name, need.name, spec.variable
                ));
            }
        }
        Ok(())
    }

    fn note(&self, spec: &ServiceSpec) -> StartedService {
        StartedService::new(spec.name, &self.file, PROJECT)
    }
}

impl Containers for DockerCompose<'_> {
    fn start(&self, service: &Service) -> Result<Start, String> {
        let spec = service.spec;
        let before = containers(&self.file, PROJECT, spec, self.stop).map_err(|e| e.to_string())?;
        let mut slot = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match slot.take() {
            Some(opened) => opened,
            None => StartedFile::open(&self.started_file).map_err(|e| e.to_string())?,
        };
        let started = slot.insert(opened);
        let ours = started.containers(&self.note(spec));
        if before.iter().any(|id| !ours.contains(id)) {
            listens_where_expected(service, &before, self.stop)?;
            return Ok(Start::WasThere);
        }
        published_at(service)?;
        self.needs_run_beside(spec)?;
        self.up(service, &before, started).map(|()| Start::Started)
    }
}

/// Whether a compose file says that it is helixstream's. In YAML, what a key holds is indented, so
/// that a line which begins with the key is one of the top level.
fn is_ours(text: &str) -> bool {
    text.lines().any(|line| line.starts_with(OWN_KEY))
}

/// Whether the settings expect a service where the compose file publishes it.
fn published_at(service: &Service) -> Result<(), String> {
    let here = [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED].map(IpAddr::V4);
    // What has no address fails the check, with its cause.
    let Ok(addresses) = addresses(&service.host, service.port, service.timeout) else { return Ok(()) };
    if addresses.iter().any(|address| here.contains(&address.ip())) {
        return Ok(());
    }
    let (name, host) = (service.spec.variable, &service.host);
    Err(format!(
        "containers are published at 127.0.0.1, and {host} is another address; set SVC_{name}_HOST=localhost, or \
         SVC_{name}_REMOTE=true where somebody else starts it [HS9013]"
    ))
}

/// Whether one of the containers is published at the service's port: a check would ask in vain
/// otherwise.
fn listens_where_expected(service: &Service, containers: &[String], stop: &AtomicBool) -> Result<(), String> {
    let mut ports: Vec<u16> = Vec::new();
    for id in containers {
        let mut command = command();
        command.args(["port", id]);
        let lines = answer(command, stop).map_err(|e| e.to_string())?;
        // `9092/tcp -> 127.0.0.1:9092`
        ports.extend(lines.lines().filter_map(|line| line.rsplit_once(':')?.1.trim().parse::<u16>().ok()));
    }
    ports.sort_unstable();
    ports.dedup();
    let (spec, last) = (service.spec, service.port.saturating_add(service.spec.port_count - 1));
    if ports.iter().any(|port| (service.port..=last).contains(port)) {
        return Ok(());
    }
    let name = spec.name;
    let there = format!("a container of {name} exists that `up` has not started");
    Err(match ports.as_slice() {
        [] => format!("{there}, and it listens at no port of this machine; start it, or remove it [HS9013]"),
        ports => {
            let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            format!(
                "{there}, and it listens at {ports} instead of {}; set SVC_{}_PORT to its port, or remove it [HS9013]",
                service.port, spec.variable
            )
        }
    })
}

/// Whether the value of the variable is already a range that begins with the port, of a length that
/// the user has chosen.
fn is_range_from(value: Option<&str>, port: u16) -> bool {
    let first = value.and_then(|value| value.split_once('-')).map(|(first, _)| first.trim());
    first.and_then(|first| first.parse().ok()) == Some(port)
}

/// The value of the variable for the port: a port, or the range of several containers.
fn ports(spec: &ServiceSpec, port: u16) -> String {
    match spec.port_count {
        1 => port.to_string(),
        count => format!("{port}-{}", port.saturating_add(count - 1)),
    }
}

fn compose(file: &Path, project: &str, profile: Option<&str>) -> std::process::Command {
    let mut command = command();
    // COMPOSE_PROJECT_NAME would beat the name in the file.
    command.arg("compose").arg("--file").arg(file).args(["--project-name", project]);
    if let Some(profile) = profile {
        command.args(["--profile", profile]);
    }
    command
}

/// The ids of the containers of a service, running or not.
fn containers(file: &Path, project: &str, spec: &ServiceSpec, stop: &AtomicBool) -> Result<Vec<String>, DockerError> {
    let mut command = compose(file, project, spec.profile);
    command.args(["ps", "--all", "--quiet", "--", spec.name]);
    ids(&answer(command, stop)?)
}

/// The ids that the program has printed, one a line.
fn ids(answer: &str) -> Result<Vec<String>, DockerError> {
    let each = answer.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
        let wrong = || DockerError::Failed(format!("`{DOCKER}` has printed {line:?} in place of an id [HS9008]"));
        is_container_id(line).then(|| line.to_owned()).ok_or_else(wrong)
    });
    each.collect()
}

/// A service that `down` was about.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Its name.
    pub service: String,
    /// Whether a container that `up` had started was still there.
    pub was_there: bool,
    /// Why it could not be stopped; `None` when it was.
    pub failure: Option<String>,
}

/// Stops and removes the containers that `up` has started, of all services or of those with these
/// names, each service before those that it needs. Volumes and other containers stay. A service
/// that cannot be stopped stays in the file.
///
/// # Errors
/// The file cannot be written.
pub fn stop(started: &mut StartedFile, names: &[&str], signalled: &AtomicBool) -> Result<Vec<Stopped>, StartedError> {
    let is_meant = |service: &StartedService| names.is_empty() || names.contains(&service.service.as_str());
    let mut meant: Vec<StartedService> =
        started.services().iter().filter(|service| is_meant(service)).cloned().collect();
    // A service stands in the catalog behind those that it needs.
    let place = |service: &StartedService| SERVICES.iter().position(|spec| spec.name == service.service);
    meant.sort_by_key(|service| std::cmp::Reverse(place(service)));
    let mut stopped = Vec::new();
    for service in meant {
        let removed = remove(&service, signalled);
        if removed.is_ok() {
            started.remove(&service)?;
        }
        let was_there = *removed.as_ref().unwrap_or(&true);
        stopped.push(Stopped { service: service.service, was_there, failure: removed.err() });
    }
    Ok(stopped)
}

/// Stops and removes the noted containers of a service: whether there were any.
fn remove(service: &StartedService, signalled: &AtomicBool) -> Result<bool, String> {
    if signalled.load(Ordering::Relaxed) {
        return Err("a signal came before its containers were removed [HS9008]".to_owned());
    }
    let there = remaining(service, signalled).map_err(|e| e.to_string())?;
    if !there.is_empty() {
        for action in ["stop", "rm"] {
            let mut command = command();
            command.arg(action).args(&there);
            run(command, signalled).map_err(|e| e.to_string())?;
        }
    }
    if service.is_starting {
        nothing_is_left(service, signalled)?;
    }
    Ok(!there.is_empty())
}

/// The noted containers that are still there. Somebody may have removed them, or `docker compose`
/// may have put others in their place.
fn remaining(service: &StartedService, signalled: &AtomicBool) -> Result<Vec<String>, DockerError> {
    if service.containers.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = command();
    command.args(["ps", "--all", "--quiet", "--no-trunc"]);
    command.args(service.containers.iter().flat_map(|id| ["--filter".to_owned(), format!("id={id}")]));
    let mut there = ids(&answer(command, signalled)?)?;
    there.retain(|id| service.containers.contains(id));
    Ok(there)
}

/// An `up` that was killed has noted no id of what it may have started, so a container that is
/// there may as well be of somebody else.
fn nothing_is_left(service: &StartedService, signalled: &AtomicBool) -> Result<(), String> {
    let name = service.service.as_str();
    let spec = SERVICES.iter().find(|spec| spec.name == name);
    let spec = spec.ok_or_else(|| format!("{name} is no service [HS9000]"))?;
    let others = containers(&service.compose_file, &service.project, spec, signalled).map_err(|e| e.to_string())?;
    if others.is_empty() {
        return Ok(());
    }
    Err(format!(
        "an `up` was killed while it started {name}, so its container may be of that or of somebody else; \
         remove it with `{DOCKER} rm --force {}`, or take {name} out of the file of the started services [HS9013]",
        others.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Sources, read};

    #[test]
    fn a_compose_file_is_ours_by_a_key_of_its_top_level() {
        for text in ["x-helixstream: true\n", "name: helixstream\r\nx-helixstream:\r\nservices: {}\r\n"] {
            assert!(is_ours(text), "{text:?}");
        }
        for text in
            ["", "services: {}\n", "# x-helixstream: true\n", "a:\n  x-helixstream: true\n", "x-helixstreams: true\n"]
        {
            assert!(!is_ours(text), "{text:?}");
        }
    }

    #[test]
    fn a_range_of_the_users_own_length_stays() {
        assert!(is_range_from(Some("8081-8090"), 8081));
        for value in [None, Some("8081"), Some("9081-9090"), Some("")] {
            assert!(!is_range_from(value, 8081), "{value:?}");
        }
    }

    #[test]
    fn what_is_expected_at_another_address_of_this_machine_is_not_started() {
        let at = |host: &str| {
            let variables = [("SVC_MINIO_HOST".to_owned(), host.to_owned())];
            let all = read(&Sources { variables: &variables, ..Sources::default() }).unwrap().services;
            published_at(all.iter().find(|service| service.spec.name == "minio").unwrap())
        };
        for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
            assert_eq!(at(host), Ok(()));
        }
        for host in ["::1", "127.0.0.2"] {
            assert!(at(host).unwrap_err().contains("SVC_MINIO_HOST=localhost"), "{host}");
        }
    }
}
