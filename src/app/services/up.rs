//! `helixstream services up`, and the same before `run` and `node`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::given::Given;
use super::place::Unnamed;
use super::probe::Probes;
use super::{place, work};
use crate::app::CommandError;
use crate::edges::cli::{ReportFormat, StartArgs, UpArgs};
use ::services::boot::{Boot, Containers, Start};
use ::services::compose::DockerCompose;
use ::services::duration;
use ::services::selection::{select, with_needs};
use ::services::settings::Service;

/// A start of services for which everything is decided.
pub struct Up {
    start: StartArgs,
    format: ReportFormat,
    limit: Duration,
    services: Vec<Service>,
    probes: Probes,
}

impl Up {
    /// Decides which services are started, where each is, and how it is checked.
    ///
    /// # Errors
    /// A setting or a name cannot be used.
    pub fn read(args: &UpArgs, given: &Given) -> Result<Up, CommandError> {
        let limit = duration::parse(&args.start.start_limit).ok_or_else(|| {
            let text = "--start-limit: the value is not a duration; write one like 90s or 2m [HS9001]";
            CommandError::Usage(text.to_owned())
        })?;
        let all = place::settings(&args.target, given, Unnamed::Enabled)?;
        let selected = select(all.clone(), &args.target.names, &args.target.profile);
        let selected = selected.map_err(|e| CommandError::Usage(e.to_string()))?;
        let services = with_needs(selected, &all);
        let probes = Probes::new(&args.target, given, &services, &all)?;
        Ok(Up { start: args.start.clone(), format: args.target.format, limit, services, probes })
    }

    /// The service of this name, if it is one of them.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.spec.name == name)
    }

    /// Starts them, waits until each is healthy or not, and prints the report.
    ///
    /// # Errors
    /// A required service is not healthy, or a signal came before the end.
    pub fn run(&self, signalled: &Arc<AtomicBool>) -> Result<(), CommandError> {
        let compose = self.containers(signalled)?;
        let nothing = Nothing;
        let containers: &dyn Containers = compose.as_ref().map_or(&nothing, |compose| compose);
        let (services, limit) = (self.services.as_slice(), self.limit);
        let boot = Boot { services, probe: &self.probes, containers: Some(containers), limit, stop: signalled };
        work::finish(services, &work::run(&boot, services)?, self.format)
    }

    /// The containers of the local services, if there are such.
    fn containers<'a>(&self, signalled: &'a Arc<AtomicBool>) -> Result<Option<DockerCompose<'a>>, CommandError> {
        if self.services.iter().all(|service| service.remote) {
            return Ok(None);
        }
        let StartArgs { compose_file, started_file, .. } = &self.start;
        let compose = DockerCompose::new(compose_file, started_file, signalled);
        compose.map(Some).map_err(|e| CommandError::Usage(format!("--compose-file: {e}")))
    }
}

/// Where all services are remote nothing is started.
struct Nothing;

impl Containers for Nothing {
    fn start(&self, service: &Service) -> Result<Start, String> {
        Err(format!("{} is remote and is not started here [HS9000]", service.spec.name))
    }
}
