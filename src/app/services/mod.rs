//! `helixstream services`: joins the settings, the health checks and `docker compose`, and shows
//! what comes of them.

mod booting;
mod given;
mod place;
mod probe;
mod show;
mod up;
mod work;

pub use booting::Booting;

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;

use super::CommandError;
use super::signals::watch_signals;
use crate::edges::cli::{ReportFormat, ServicesAction, ServicesArgs};
use ::services::boot::Boot;
use ::services::catalog::by_name;
use ::services::compose::stop;
use ::services::selection::{SelectionError, select};
use ::services::started::StartedFile;
use given::Given;
use place::Unnamed;
use probe::Probes;
use up::Up;

/// Does what the command line asks for.
pub fn services(action: &ServicesAction) -> Result<(), CommandError> {
    match action {
        ServicesAction::List(args) => list(args),
        ServicesAction::Check(args) => check(args),
        ServicesAction::Up(args) => Up::read(args, &Given::default())?.run(&watch_signals()?),
        ServicesAction::Down { names, started_file, format } => down(names, started_file, *format),
    }
}

fn usage(error: &SelectionError) -> CommandError {
    CommandError::Usage(error.to_string())
}

fn list(args: &ServicesArgs) -> Result<(), CommandError> {
    let all = place::settings(args, &Given::default(), Unnamed::All)?;
    let is_free = args.names.is_empty() && args.profile.is_empty();
    let shown = if is_free { all } else { select(all, &args.names, &args.profile).map_err(|e| usage(&e))? };
    show::list(&shown, args.format)
}

fn check(args: &ServicesArgs) -> Result<(), CommandError> {
    let all = place::settings(args, &Given::default(), Unnamed::Enabled)?;
    let services = select(all.clone(), &args.names, &args.profile).map_err(|e| usage(&e))?;
    let probes = Probes::new(args, &Given::default(), &services, &all)?;
    let signalled = watch_signals()?;
    let boot = Boot { services: &services, probe: &probes, containers: None, limit: Duration::ZERO, stop: &signalled };
    work::finish(&services, &work::run(&boot, &services)?, args.format)
}

fn down(names: &[String], started_file: &Path, format: ReportFormat) -> Result<(), CommandError> {
    let specs: Result<Vec<&str>, SelectionError> = names
        .iter()
        .map(|name| by_name(name).map(|spec| spec.name).ok_or_else(|| SelectionError::Service(name.clone())))
        .collect();
    let names = specs.map_err(|e| usage(&e))?;
    let signalled = watch_signals()?;
    let mut started = StartedFile::open(started_file).map_err(anyhow::Error::from)?;
    let stopped = stop(&mut started, &names, &signalled)?;
    show::stopped(&stopped, &names, format)?;
    let failed: Vec<&str> =
        stopped.iter().filter(|service| service.failure.is_some()).map(|service| service.service.as_str()).collect();
    match failed.as_slice() {
        [] => Ok(()),
        failed => Err(anyhow!("services could not be stopped: {} [HS9011]", failed.join(", ")).into()),
    }
}
