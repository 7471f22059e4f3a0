//! The processes of a round, and what happens to them.

use std::fmt::{Display, Formatter};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use testkit::Random;

use super::Progress;
use crate::command::NodeCommand;
use crate::stream::StreamCommand;
use crate::support::Helix;

/// Where no client makes progress, a fault lasts for one of these times. The second one is longer
/// than the sessions of the stream's group.
const LONGEST: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(6)];

/// How one process of a round is started.
enum Start {
    Node(NodeCommand),
    Instance(StreamCommand, PathBuf),
}

impl Start {
    fn spawn(&self) -> Helix {
        match self {
            Start::Node(command) => command.spawn().process,
            Start::Instance(command, state) => command.spawn(state),
        }
    }
}

/// The state of one process.
enum State {
    Running(Helix),
    Frozen(Helix),
    Killed,
    /// It takes the place of the others while they change.
    Changing,
}

/// Faults that a round has had.
#[derive(Default)]
pub(super) struct Faults {
    kills_of_nodes: usize,
    kills_of_instances: usize,
    freezes: usize,
}

impl Faults {
    fn count(&self) -> usize {
        self.kills_of_nodes + self.kills_of_instances + self.freezes
    }
}

impl Display for Faults {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        let Faults { kills_of_nodes, kills_of_instances, freezes } = self;
        write!(
            out,
            "{kills_of_nodes} nodes and {kills_of_instances} instances of the stream killed, {freezes} processes frozen"
        )
    }
}

/// The nodes, and after them the instances of the stream.
pub(super) struct Processes {
    starts: Vec<Start>,
    states: Vec<State>,
}

impl Processes {
    /// Starts all, and waits until the nodes serve.
    pub fn start(nodes: Vec<NodeCommand>, stream: StreamCommand, folders: Vec<PathBuf>) -> Processes {
        let mut states = Vec::new();
        for node in &nodes {
            let process = node.spawn();
            process.wait_until_ready();
            states.push(State::Running(process.process));
        }
        let nodes = nodes.into_iter().map(Start::Node);
        let instances = folders.into_iter().map(|folder| Start::Instance(stream.clone(), folder));
        let starts: Vec<Start> = nodes.chain(instances).collect();
        states.extend(starts[states.len()..].iter().map(|start| State::Running(start.spawn())));
        Processes { starts, states }
    }

    /// Kills and freezes processes, at most two at a time, and brings each of them back after some
    /// more writes were accepted. The first two faults are kills, of a node and of an instance of
    /// the stream; the others are random.
    pub fn suffer(&mut self, random: &mut Random, count: usize, progress: &Progress) -> Faults {
        let mut faults = Faults::default();
        while faults.count() < count {
            let out: Vec<usize> = (0..self.states.len()).filter(|at| self.is_out(*at)).collect();
            if out.len() == 2 || (!out.is_empty() && random.one_in(2)) {
                self.heal(random.pick(&out));
            } else {
                let is_first = |at: usize| match faults.count() {
                    0 => self.is_node(at),
                    1 => !self.is_node(at),
                    _ => true,
                };
                let running: Vec<usize> =
                    (0..self.states.len()).filter(|at| !self.is_out(*at) && is_first(*at)).collect();
                let (at, is_killed) = (random.pick(&running), faults.count() < 2 || random.one_in(2));
                self.harm(at, is_killed);
                *(match (is_killed, self.is_node(at)) {
                    (true, true) => &mut faults.kills_of_nodes,
                    (true, false) => &mut faults.kills_of_instances,
                    (false, _) => &mut faults.freezes,
                }) += 1;
            }
            let longest = LONGEST[usize::from(random.one_in(4))];
            wait_for_progress(progress, random.below(60), longest);
        }
        assert!(faults.kills_of_nodes > 0 && faults.kills_of_instances > 0, "processes of both kinds die: {faults}");
        faults
    }

    fn is_node(&self, at: usize) -> bool {
        matches!(self.starts[at], Start::Node(_))
    }

    fn is_out(&self, at: usize) -> bool {
        !matches!(self.states[at], State::Running(_))
    }

    fn harm(&mut self, at: usize, is_killed: bool) {
        let State::Running(mut process) = std::mem::replace(&mut self.states[at], State::Changing) else {
            panic!("process {at} does not run");
        };
        assert!(process.is_running(), "process {at} has ended by itself: {}", process.stderr());
        self.states[at] = if is_killed {
            process.kill();
            State::Killed
        } else {
            process.signal(Signal::STOP);
            State::Frozen(process)
        };
    }

    fn heal(&mut self, at: usize) {
        self.states[at] = match std::mem::replace(&mut self.states[at], State::Changing) {
            State::Frozen(process) => {
                process.signal(Signal::CONT);
                State::Running(process)
            }
            State::Killed => State::Running(self.starts[at].spawn()),
            other => other,
        };
    }

    /// Brings all back.
    pub fn heal_all(&mut self) {
        (0..self.states.len()).for_each(|at| self.heal(at));
    }

    /// Ends all in good order.
    pub fn stop(self) {
        for (at, state) in self.states.into_iter().enumerate() {
            let State::Running(process) = state else { panic!("process {at} does not run") };
            process.terminate().assert_ended_well();
        }
    }
}

/// Waits until so many more writes are accepted. Where the clients have nobody to write to, that
/// is over after the longest time.
fn wait_for_progress(progress: &Progress, writes: usize, longest: Duration) {
    let (start, before) = (Instant::now(), progress.accepted());
    while progress.accepted() < before + writes && start.elapsed() < longest {
        std::thread::sleep(Duration::from_millis(5));
    }
}
