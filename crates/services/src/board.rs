//! The state of each service while a command works, and the report at its end.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::settings::Service;

/// The end that a service has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answers as it should.
    Healthy(Reason),
    /// It does not: why.
    Unhealthy(String),
    /// Its container could not be started: why.
    NotStarted(String),
    /// It was not started, since a service that it needs is not healthy.
    Skipped(String),
    /// A signal came before anything was certain.
    Interrupted,
}

/// Why a service is healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Only its health was asked for.
    Checked,
    /// It runs without having been started by this command.
    WasRunning,
    /// It was started.
    Started,
    /// Somebody else runs it.
    Remote,
}

impl Outcome {
    /// Whether the service can be used.
    pub fn is_healthy(&self) -> bool {
        matches!(self, Outcome::Healthy(_))
    }

    /// The state's name, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Healthy(Reason::Checked) => "healthy",
            Outcome::Healthy(Reason::WasRunning) => "already_running",
            Outcome::Healthy(Reason::Started) => "started",
            Outcome::Healthy(Reason::Remote) => "remote",
            Outcome::Unhealthy(_) => "unhealthy",
            Outcome::NotStarted(_) => "failed",
            Outcome::Skipped(_) => "skipped",
            Outcome::Interrupted => "interrupted",
        }
    }

    /// Why it is so, where that is not clear.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Outcome::Unhealthy(why) | Outcome::NotStarted(why) | Outcome::Skipped(why) => Some(why),
            Outcome::Healthy(_) | Outcome::Interrupted => None,
        }
    }
}

/// The work on a service, or its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for services that it needs.
    Waiting,
    /// It is asked whether it is healthy.
    Checking,
    /// `docker compose` starts it.
    Starting,
    /// It has been started and is not healthy yet.
    WarmingUp,
    /// It is decided.
    Done(Outcome),
}

impl State {
    /// The state's name.
    pub fn name(&self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Checking => "checking",
            State::Starting => "starting",
            State::WarmingUp => "warming up",
            State::Done(outcome) => outcome.name(),
        }
    }
}

/// The states of the services of a command, which its threads share.
#[derive(Debug)]
pub struct Board {
    states: Mutex<Vec<State>>,
    changed: Condvar,
}

impl Board {
    /// A board for this many services, which all wait.
    pub fn new(services: usize) -> Board {
        Board { states: Mutex::new(vec![State::Waiting; services]), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The states now, in the order of the services.
    pub fn states(&self) -> Vec<State> {
        self.lock().clone()
    }

    pub(super) fn set(&self, index: usize, state: State) {
        if let Some(place) = self.lock().get_mut(index) {
            *place = state;
        }
        self.changed.notify_all();
    }

    /// The outcome of a service, waited for at most so long.
    pub(super) fn outcome(&self, index: usize, limit: Duration) -> Option<Outcome> {
        let is_open = |states: &mut Vec<State>| states.get(index).is_some_and(|state| !matches!(state, State::Done(_)));
        let waited = self.changed.wait_timeout_while(self.lock(), limit, is_open);
        let (states, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match states.get(index) {
            Some(State::Done(outcome)) => Some(outcome.clone()),
            _ => None,
        }
    }
}

/// The report of a command at its end, in the form that programs read.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether every required service is healthy, and no signal came before the end.
    pub ok: bool,
    /// Each service.
    pub services: Vec<Row>,
}

/// A service in the report.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name.
    pub service: &'static str,
    /// The name of its state.
    pub state: &'static str,
    /// Whether the command fails without it.
    pub required: bool,
    /// Whether somebody else starts it.
    pub remote: bool,
    /// `host:port`.
    pub address: String,
    /// How its health is checked.
    pub check: &'static str,
    /// Why it is not healthy.
    pub detail: Option<String>,
}

impl Report {
    /// The report about services and what has become of them.
    pub fn new(services: &[Service], outcomes: &[Outcome]) -> Report {
        let row = |(service, outcome): (&Service, &Outcome)| Row {
            service: service.spec.name,
            state: outcome.name(),
            required: service.required,
            remote: service.remote,
            address: service.address(),
            check: service.health.name(),
            detail: outcome.detail().map(str::to_owned),
        };
        let is_fine = |(service, outcome): (&Service, &Outcome)| {
            *outcome != Outcome::Interrupted && (!service.required || outcome.is_healthy())
        };
        let ok = services.iter().zip(outcomes).all(is_fine);
        Report { ok, services: services.iter().zip(outcomes).map(row).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Sources, read};

    #[test]
    fn a_signal_is_never_success() {
        let services = read(&Sources::default()).unwrap().services;
        let neo4j: Vec<Service> = services.into_iter().filter(|service| service.spec.name == "neo4j").collect();
        assert!(!neo4j[0].required);
        let ok = |outcome| Report::new(&neo4j, &[outcome]).ok;
        assert!(ok(Outcome::Unhealthy(String::new())), "it is optional");
        assert!(!ok(Outcome::Interrupted), "nobody knows whether it is healthy");
    }
}
