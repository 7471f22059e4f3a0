//! Containers by `docker compose`. A service is started by its name, alone; so nothing runs
//! afterwards that nobody has asked for.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::boot::Containers;
use super::catalog::{SERVICES, ServiceSpec};
use super::settings::Service;
use super::started::{Started, StartedError, StartedFile};

/// The program.
const DOCKER: &str = "docker";
/// How often the end of the program and a signal are looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How many of the last lines of what the program says stand in an error.
const LINES: usize = 5;

/// `docker compose` with one compose file.
pub struct DockerCompose<'a> {
    file: PathBuf,
    started: Mutex<StartedFile>,
    stop: &'a AtomicBool,
}

impl<'a> DockerCompose<'a> {
    /// With this compose file, and the file of the services that were started. `stop` ends a call
    /// of the program.
    ///
    /// # Errors
    /// The compose file is not there.
    pub fn new(file: &Path, started: StartedFile, stop: &'a AtomicBool) -> io::Result<DockerCompose<'a>> {
        Ok(DockerCompose { file: file.canonicalize()?, started: Mutex::new(started), stop })
    }
}

impl Containers for DockerCompose<'_> {
    fn start(&self, service: &Service) -> Result<(), String> {
        let spec = service.spec;
        let started = Started { service: spec.name.to_owned(), compose_file: self.file.clone() };
        self.started.lock().unwrap_or_else(PoisonError::into_inner).add(started).map_err(|e| e.to_string())?;
        let mut command = compose(&self.file, spec.profile);
        command.args(["up", "--detach", "--no-deps", spec.name]);
        // The container listens where the settings expect it.
        command.env(spec.port_variable, ports(spec, service.port));
        run(command, self.stop)
    }
}

/// The value of the variable for the port: a port, or the range of several containers.
fn ports(spec: &ServiceSpec, port: u16) -> String {
    match spec.port_count {
        1 => port.to_string(),
        count => format!("{port}-{}", port.saturating_add(count - 1)),
    }
}

fn compose(file: &Path, profile: Option<&str>) -> Command {
    let mut command = Command::new(DOCKER);
    command.arg("compose").arg("--file").arg(file);
    if let Some(profile) = profile {
        command.args(["--profile", profile]);
    }
    command
}

/// A service that `down` was about.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Its name.
    pub service: String,
    /// Why it could not be stopped; `None` when it was.
    pub failure: Option<String>,
}

/// Stops and removes the containers of the services that `up` has started, of all or of those with
/// these names, the last started first. Volumes stay. A service that cannot be stopped stays in the
/// file.
///
/// # Errors
/// The file cannot be written.
pub fn stop(started: &mut StartedFile, names: &[&str], signalled: &AtomicBool) -> Result<Vec<Stopped>, StartedError> {
    let is_meant = |service: &Started| names.is_empty() || names.contains(&service.service.as_str());
    let mut meant: Vec<Started> = started.services().iter().filter(|service| is_meant(service)).cloned().collect();
    // A service stands in the catalog behind those that it needs.
    let place = |service: &Started| SERVICES.iter().position(|spec| spec.name == service.service);
    meant.sort_by_key(|service| std::cmp::Reverse(place(service)));
    let mut stopped = Vec::new();
    for service in meant {
        let profile = SERVICES.iter().find(|spec| spec.name == service.service).and_then(|spec| spec.profile);
        let mut command = compose(&service.compose_file, profile);
        command.args(["rm", "--stop", "--force", &service.service]);
        let failure = run(command, signalled).err();
        if failure.is_none() {
            started.remove(&service)?;
        }
        stopped.push(Stopped { service: service.service, failure });
    }
    Ok(stopped)
}

/// Runs the program to its end, or until a signal, which it gets too.
fn run(mut command: Command, stop: &AtomicBool) -> Result<(), String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let failed = |e: io::Error| {
        let hint = if e.kind() == io::ErrorKind::NotFound { "; install Docker with its plugin compose" } else { "" };
        format!("cannot run `{DOCKER} compose`: {e}{hint} [HS9008]")
    };
    let mut child = command.spawn().map_err(failed)?;
    let said = child.stderr.take().map(|stderr| thread::spawn(move || last_lines(stderr)));
    let mut is_signalled = false;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if stop.load(Ordering::Relaxed) && !is_signalled {
            is_signalled = true;
            terminate(&child);
        }
        thread::sleep(LOOK);
    };
    if status.success() {
        return Ok(());
    }
    if is_signalled {
        return Err(format!("`{DOCKER} compose` was stopped by a signal ({status}) [HS9008]"));
    }
    let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
    let said = if said.is_empty() { "it says nothing".to_owned() } else { said };
    Err(format!("`{DOCKER} compose` has failed ({status}): {said} [HS9008]"))
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // It may just have ended by itself.
    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
}

/// The last lines of what the program writes, joined.
fn last_lines(mut stderr: impl Read) -> String {
    let mut said = Vec::new();
    // What could be read before a fault is of use as well.
    let _ = stderr.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}
