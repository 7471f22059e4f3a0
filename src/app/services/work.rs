//! Runs checks and starts of services, shows the states on a terminal meanwhile, and reports.

use std::thread;

use anyhow::anyhow;

use super::show;
use crate::app::CommandError;
use crate::app::signals::LOOK;
use crate::edges::cli::ReportFormat;
use crate::edges::cli::terminal::LiveLine;
use ::services::board::{Board, Outcome, Report};
use ::services::boot::Boot;
use ::services::settings::Service;

/// Runs it on a thread of its own and shows the states on a terminal meanwhile.
pub fn run(boot: &Boot, services: &[Service]) -> Result<Vec<Outcome>, CommandError> {
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
pub fn finish(services: &[Service], outcomes: &[Outcome], format: ReportFormat) -> Result<(), CommandError> {
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
