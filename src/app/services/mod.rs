//! `helixstream services`: joins the settings, the health checks and `docker compose`, and shows
//! what comes of them.

mod place;
mod probe;
mod show;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use anyhow::anyhow;

use super::CommandError;
use super::signals::{LOOK, watch_signals};
use crate::edges::cli::terminal::LiveLine;
use crate::edges::cli::{ReportFormat, ServicesAction, ServicesArgs, UpArgs};
use ::services::board::{Board, Outcome, Report};
use ::services::boot::{Boot, Containers, Start};
use ::services::catalog::by_name;
use ::services::compose::{DockerCompose, stop};
use ::services::duration;
use ::services::selection::{SelectionError, select, with_needs};
use ::services::settings::Service;
use ::services::started::StartedFile;
use probe::Probes;

/// Does what the command line asks for.
pub fn services(action: &ServicesAction) -> Result<(), CommandError> {
    match action {
        ServicesAction::List(args) => list(args),
        ServicesAction::Check(args) => check(args),
        ServicesAction::Up(args) => up(args),
        ServicesAction::Down { names, started_file, format } => down(names, started_file, *format),
    }
}

fn usage(error: &SelectionError) -> CommandError {
    CommandError::Usage(error.to_string())
}

fn list(args: &ServicesArgs) -> Result<(), CommandError> {
    let all = place::settings(args)?;
    let is_free = args.names.is_empty() && args.profile.is_empty();
    let shown = if is_free { all } else { select(all, &args.names, &args.profile).map_err(|e| usage(&e))? };
    show::list(&shown, args.format)
}

fn check(args: &ServicesArgs) -> Result<(), CommandError> {
    let all = place::settings(args)?;
    let services = select(all.clone(), &args.names, &args.profile).map_err(|e| usage(&e))?;
    let probes = Probes::new(args, &services, &all)?;
    let signalled = watch_signals()?;
    let boot = Boot {
        services: &services,
        probe: &probes,
        containers: None,
        limit: std::time::Duration::ZERO,
        stop: &signalled,
    };
    finish(&services, &run(&boot, &services)?, args.format)
}

fn up(args: &UpArgs) -> Result<(), CommandError> {
    let limit = duration::parse(&args.start_limit).ok_or_else(|| {
        let text = "--start-limit: the value is not a duration; write one like 90s or 2m [HS9001]";
        CommandError::Usage(text.to_owned())
    })?;
    let all = place::settings(&args.target)?;
    let selected = select(all.clone(), &args.target.names, &args.target.profile).map_err(|e| usage(&e))?;
    let services = with_needs(selected, &all);
    let probes = Probes::new(&args.target, &services, &all)?;
    let signalled = watch_signals()?;
    let compose = containers(args, &services, &signalled)?;
    let nothing = Nothing;
    let containers: &dyn Containers = compose.as_ref().map_or(&nothing, |compose| compose);
    let boot = Boot { services: &services, probe: &probes, containers: Some(containers), limit, stop: &signalled };
    finish(&services, &run(&boot, &services)?, args.target.format)
}

/// The containers of the local services, if there are such.
fn containers<'a>(
    args: &UpArgs,
    services: &[Service],
    signalled: &'a Arc<AtomicBool>,
) -> Result<Option<DockerCompose<'a>>, CommandError> {
    if services.iter().all(|service| service.remote) {
        return Ok(None);
    }
    let compose = DockerCompose::new(&args.compose_file, &args.started_file, signalled).map_err(|e| {
        let file = args.compose_file.display();
        CommandError::Usage(format!(
            "--compose-file: the file {file} cannot be opened: {e}; name helixstream's docker-compose.yml [HS9009]"
        ))
    })?;
    Ok(Some(compose))
}

/// Where all services are remote nothing is started.
struct Nothing;

impl Containers for Nothing {
    fn start(&self, service: &Service) -> Result<Start, String> {
        Err(format!("{} is remote and is not started here [HS9000]", service.spec.name))
    }
}

/// Runs it on a thread of its own and shows the states on a terminal meanwhile.
fn run(boot: &Boot, services: &[Service]) -> Result<Vec<Outcome>, CommandError> {
    let board = Board::new(services.len());
    let line = LiveLine::new();
    let outcomes = thread::scope(|scope| {
        let work = scope.spawn(|| boot.run(&board));
        while !work.is_finished() {
            if let Some(line) = &line {
                line.show(show::states(services, &board.states()));
            }
            thread::park_timeout(LOOK);
        }
        work.join()
    });
    drop(line);
    outcomes.map_err(|_| anyhow!("the checks of the services ended by a panic [HS9000]").into())
}

/// Prints the report; an error where a required service is not healthy, or a signal came before it
/// was certain of any.
fn finish(services: &[Service], outcomes: &[Outcome], format: ReportFormat) -> Result<(), CommandError> {
    let report = Report::new(services, outcomes);
    show::report(&report, format)?;
    let missing: Vec<&str> = services
        .iter()
        .zip(outcomes)
        .filter(|(service, outcome)| service.required && !outcome.is_healthy())
        .map(|(service, _)| service.spec.name)
        .collect();
    match missing.as_slice() {
        [] if report.ok => Ok(()),
        [] => {
            Err(anyhow!("a signal came before the health of each service was certain; repeat the command [HS9010]")
                .into())
        }
        missing => Err(anyhow!("required services are not healthy: {} [HS9010]", missing.join(", ")).into()),
    }
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
