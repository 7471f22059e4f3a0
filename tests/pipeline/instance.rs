//! A running instance: what its pages say, and its end.

use crate::support::{Finished, Helix};
use crate::trial::Trial;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::path::Path;
use testkit::{Connection, LIMIT, SmallDisk, ports, wait_for};

/// A `helixstream run`; killed when dropped.
pub struct Instance {
    helix: Helix,
    http: String,
}

/// What is special about a start.
#[derive(Default)]
pub(super) struct Launch<'a> {
    /// The step of a commit at which it kills itself.
    pub kill_at: Option<&'a str>,
    /// The small disk that it sees.
    pub disk: Option<&'a SmallDisk>,
    /// How it connects, where it does not as the trial's other commands do.
    pub connection: Option<&'a Connection>,
    /// Variables of its environment.
    pub variables: Vec<(String, String)>,
    /// The program, where it is not the one that is tested.
    pub program: Option<&'a Path>,
}

impl Instance {
    pub(super) fn start(trial: &Trial, state_dir: &str, more: &[&str], launch: Launch<'_>) -> Instance {
        let mut command = launch.program.map_or_else(Helix::command, Helix::command_of);
        command.args(trial.run_arguments(launch.connection)).args(["--state-dir", state_dir]).args(more);
        command.envs(launch.variables);
        command.envs(launch.kill_at.map(|step| ("HELIXSTREAM_TEST_KILL_AT", step)));
        let command = launch.disk.map(|disk| disk.inside(&command)).unwrap_or(command);
        Instance::of(command)
    }

    /// Of a command that goes on until a signal.
    pub(super) fn of(mut command: std::process::Command) -> Instance {
        let http = format!("127.0.0.1:{}", ports::free_port());
        command.args(["--http-listen", &http, "--log-format", "json"]);
        Instance { helix: Helix::spawn_command(command), http }
    }

    /// The whole answer to a GET, or nothing while nobody serves it.
    pub fn page(&self, path: &str) -> Option<String> {
        let mut stream = std::net::TcpStream::connect(&self.http).ok()?;
        // One that is stopped takes the connection and answers nothing.
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Whether `/ready` answers 200 now.
    pub fn is_ready(&self) -> bool {
        self.page("/ready").is_some_and(|text| text.starts_with("HTTP/1.1 200"))
    }

    /// The sum of a metric's samples, by name without prefix, of those that have `label`
    /// (`state="running"`; empty: all).
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let page = self.page("/metrics").unwrap_or_default();
        let samples = page.lines().filter_map(|line| {
            let rest = line.strip_prefix("helixstream_")?.strip_prefix(name)?;
            let rest = rest.strip_prefix("_total").unwrap_or(rest);
            let (labels, value) = rest.rsplit_once(' ')?;
            let fits = (labels.is_empty() || labels.starts_with('{')) && labels.contains(label);
            if fits { value.parse::<f64>().ok() } else { None }
        });
        samples.sum()
    }

    /// A counter without labels, which `/metrics` shows from the start; panics where it does not.
    #[track_caller]
    pub fn counter(&self, name: &str) -> u64 {
        let page = wait_for("an answer of /metrics", || self.page("/metrics"));
        let sample = format!("helixstream_{name}_total ");
        let value = page.lines().find_map(|line| line.strip_prefix(&sample));
        value.unwrap_or_else(|| panic!("/metrics has no {sample}:\n{page}")).parse().unwrap()
    }

    /// Tasks that run here.
    pub fn running_tasks(&self) -> usize {
        self.metric("tasks", "state=\"running\"") as usize
    }

    /// Records processed here.
    pub fn records(&self) -> u64 {
        self.metric("records", "") as u64
    }

    /// Changelog records that this process has restored.
    pub fn restored(&self) -> u64 {
        self.metric("restored_records", "") as u64
    }

    /// Its log lines.
    pub fn log(&self) -> Vec<serde_json::Value> {
        self.helix.stderr().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// All that it has said.
    pub fn said(&self) -> String {
        self.helix.stderr()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.helix.pid()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.helix.is_running()
    }

    /// Panics with what it said when it has ended.
    #[track_caller]
    pub fn assert_running(&mut self) {
        assert!(self.is_running(), "the instance ended:\n{}", self.helix.stderr());
    }

    /// Polls `probe` until it gives a value; panics when the instance ends meanwhile.
    #[track_caller]
    pub fn wait_for<T>(&mut self, what: &str, mut probe: impl FnMut(&Instance) -> Option<T>) -> T {
        wait_for(what, || {
            self.assert_running();
            probe(self)
        })
    }

    /// Waits until `/ready` answers 200.
    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        self.wait_for("the instance to be ready", |instance| instance.is_ready().then_some(()));
    }

    /// Waits until so many tasks are stopped while the process goes on; what `/ready` says then.
    #[track_caller]
    pub fn wait_until_stopped(&mut self, tasks: usize) -> String {
        self.wait_for("tasks to be stopped", |instance| {
            let page = instance.page("/ready")?;
            let count = page.matches("is stopped, and the other tasks go on: ").count();
            let is_all = count == tasks && page.starts_with("HTTP/1.1 503");
            (is_all && instance.metric("stopped_tasks", "") as usize == tasks).then_some(page)
        })
    }

    /// Waits until each sync request that has reached a task here is answered. The answers come in
    /// slices of their own commits, which write to the changelog while the group's lag is 0
    /// already.
    #[track_caller]
    pub fn wait_until_answered(&mut self) {
        let requests = |instance: &Instance, outcome: &str| instance.metric("sync_requests", outcome);
        self.wait_for("the sync requests to be answered", |instance| {
            (requests(instance, "\"answered\"") >= requests(instance, "\"asked\"")).then_some(())
        });
    }

    /// Waits for its end, which it brings about itself; it must be SIGKILL.
    #[track_caller]
    pub fn wait_for_kill(self) -> Finished {
        let finished = self.helix.finish();
        assert_eq!(finished.code, None, "it ended by itself instead of by SIGKILL: {finished:?}");
        finished
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.helix.signal(signal);
    }

    /// Waits for its end, which it brings about itself.
    #[track_caller]
    pub fn finish(self) -> Finished {
        self.helix.finish()
    }

    /// SIGKILL.
    pub fn kill(self) {
        self.helix.kill();
    }

    /// SIGTERM; it must end with code 0.
    #[track_caller]
    pub fn stop(self) -> Finished {
        self.helix.signal(Signal::TERM);
        let finished = self.helix.finish();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished
    }
}
