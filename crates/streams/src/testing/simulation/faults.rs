//! The faults of a simulation: which of them a seed switches on, how often they strike, and the
//! list of those that struck, by which a failing run is cut down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A process is killed (SIGKILL); what it wrote to files is kept.
    Kill,
    /// A process is killed within a call of a port.
    KillInCall,
    /// A process is killed before a step of a commit.
    KillInCommit,
    /// A machine loses power: as for a kill, and what was not synced is lost.
    PowerLoss,
    /// A process is stopped for a while (SIGSTOP, a long pause of its machine).
    Freeze,
    /// No request of a process gets through for a while.
    Disconnect,
    /// A process is asked to stop, and started again later.
    Stop,
    /// One more process is started, on a machine of its own.
    ScaleUp,
    /// The clients of a process are renewed.
    Renew,
    /// The clock of a process jumps ahead.
    ClockJump,
    /// The leader of a partition moves: no request about it is answered for a while.
    LeaderMove,
    /// The group's coordinator moves.
    GroupCoordinatorMove,
    /// The transaction coordinator moves.
    TransactionCoordinatorMove,
    /// The transaction coordinator moves just as a commit is on its way, before or after it was
    /// decided.
    CommitUnanswered,
    /// A request is lost before the broker acted on it.
    RequestLost,
    /// The broker has acted, and its reply is lost.
    ReplyLost,
    /// A consumer fails for good, as a static member does that another one has fenced (KIP-345).
    ConsumerFailed,
    /// A call answers that it may be made again.
    TransientError,
    /// A transaction has to be aborted, by the client's answer.
    AbortRequired,
    /// The producer fails for good.
    ProducerFailed,
    /// A batch is on its way for seconds, also past the death of its sender.
    SlowBatch,
    /// The broker refuses a batch for its size.
    BatchTooLarge,
    /// The broker refuses one record.
    RecordRefused,
    /// Markers of an ended transaction come late.
    SlowMarkers,
    /// Compaction removes records of changelogs that later ones have replaced.
    Compaction,
    /// The group's coordinator answers that there is no committed offset.
    NoOffset,
    /// A log's end is answered as it was some time ago.
    StaleEnd,
    /// The disk is full for a while.
    DiskFull,
    /// A bit of a stored entry flips, which the store finds out when it is read.
    BitFlip,
    /// A store that nobody has open is exchanged for another one, with another content; its
    /// position says so, or cannot be read.
    StoreExchanged,
    /// A service that a processor needs is away for a while.
    Outage,
    /// A copy of an instance's folder is started on another machine for a while, with the same
    /// transactional ids, and as the same static member.
    Double,
    /// An instance with another topology is started in the group for a while.
    OtherTopology,
    /// A process gets one more stream thread.
    ThreadAdded,
    /// A stream thread of a process is removed, unless it is the only one.
    ThreadRemoved,
    /// A part of the topology is paused, or resumed.
    Paused,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Fault; 36] = [
        Fault::Kill,
        Fault::KillInCall,
        Fault::KillInCommit,
        Fault::PowerLoss,
        Fault::Freeze,
        Fault::Disconnect,
        Fault::Stop,
        Fault::ScaleUp,
        Fault::Renew,
        Fault::ClockJump,
        Fault::LeaderMove,
        Fault::GroupCoordinatorMove,
        Fault::TransactionCoordinatorMove,
        Fault::CommitUnanswered,
        Fault::RequestLost,
        Fault::ReplyLost,
        Fault::ConsumerFailed,
        Fault::TransientError,
        Fault::AbortRequired,
        Fault::ProducerFailed,
        Fault::SlowBatch,
        Fault::BatchTooLarge,
        Fault::RecordRefused,
        Fault::SlowMarkers,
        Fault::Compaction,
        Fault::NoOffset,
        Fault::StaleEnd,
        Fault::DiskFull,
        Fault::BitFlip,
        Fault::StoreExchanged,
        Fault::Outage,
        Fault::Double,
        Fault::OtherTopology,
        Fault::ThreadAdded,
        Fault::ThreadRemoved,
        Fault::Paused,
    ];

    /// How it comes: at intervals of about so long, or once in so many occasions.
    fn rate(self) -> Rate {
        match self {
            Fault::Kill | Fault::Stop => Rate::Every(Duration::from_secs(12)),
            Fault::PowerLoss => Rate::Every(Duration::from_secs(20)),
            Fault::ScaleUp | Fault::Double | Fault::OtherTopology => Rate::Every(Duration::from_secs(25)),
            Fault::Renew | Fault::BitFlip | Fault::StoreExchanged => Rate::Every(Duration::from_secs(15)),
            Fault::Freeze | Fault::Disconnect => Rate::Every(Duration::from_secs(10)),
            Fault::ClockJump | Fault::DiskFull | Fault::Outage => Rate::Every(Duration::from_secs(20)),
            Fault::ThreadAdded | Fault::ThreadRemoved | Fault::Paused => Rate::Every(Duration::from_secs(8)),
            Fault::LeaderMove => Rate::Every(Duration::from_secs(6)),
            Fault::GroupCoordinatorMove | Fault::TransactionCoordinatorMove => Rate::Every(Duration::from_secs(15)),
            Fault::Compaction => Rate::Every(Duration::from_secs(3)),
            Fault::KillInCall | Fault::ConsumerFailed => Rate::OneIn(1500),
            Fault::KillInCommit => Rate::OneIn(150),
            Fault::RequestLost | Fault::ReplyLost | Fault::TransientError => Rate::OneIn(40),
            Fault::AbortRequired | Fault::CommitUnanswered => Rate::OneIn(60),
            Fault::ProducerFailed | Fault::BatchTooLarge => Rate::OneIn(120),
            Fault::RecordRefused => Rate::OneIn(100),
            Fault::SlowBatch | Fault::SlowMarkers => Rate::OneIn(20),
            Fault::NoOffset | Fault::StaleEnd => Rate::OneIn(10),
        }
    }

    /// The mean time between two strikes of a fault that comes at intervals.
    pub(super) fn interval(self) -> Option<Duration> {
        match self.rate() {
            Rate::Every(interval) => Some(interval),
            Rate::OneIn(_) => None,
        }
    }
}

enum Rate {
    Every(Duration),
    OneIn(u32),
}

/// A strike of a fault: its kind, and how many of the kind came before it.
pub type Strike = (Fault, u32);

struct Source {
    random: Rng,
    /// How much more often than usual it strikes.
    factor: f64,
    struck: u32,
}

/// The faults of one run. Each kind has random numbers of its own, so that one that is left out
/// changes no other.
pub(super) struct Faults {
    sources: BTreeMap<Fault, Source>,
    /// Strikes that are left out.
    left_out: BTreeSet<Strike>,
    pub is_over: bool,
    /// Strikes that came, with the place of each.
    pub struck: Vec<(Strike, &'static str)>,
}

impl Faults {
    /// Those that a seed switches on: each kind in about half of all seeds, rare, usual or frequent
    /// (swarm testing: Groce et al., "Swarm Testing", ISSTA 2012).
    pub fn of_seed(seed: u64, allowed: &[Fault], left_out: BTreeSet<Strike>) -> Faults {
        let mut random = Rng::with_seed(seed ^ 0x5eed_0fa1_7000_0001);
        let mut sources = BTreeMap::new();
        for fault in Fault::ALL {
            let (is_on, factor, own) = (random.bool(), [0.3, 1.0, 3.0][random.usize(0..3)], random.u64(..));
            if is_on && allowed.contains(&fault) {
                sources.insert(fault, Source { random: Rng::with_seed(own), factor, struck: 0 });
            }
        }
        Faults { sources, left_out, is_over: false, struck: Vec::new() }
    }

    /// The kinds that are on.
    pub fn kinds(&self) -> impl Iterator<Item = Fault> + '_ {
        self.sources.keys().copied()
    }

    /// Whether it strikes, where it may strike at any occasion.
    pub fn strikes(&mut self, fault: Fault, place: &'static str) -> bool {
        if self.is_over {
            return false;
        }
        let Some(source) = self.sources.get_mut(&fault) else { return false };
        let chance = match fault.rate() {
            Rate::OneIn(n) => source.factor / f64::from(n),
            Rate::Every(_) => 1.0,
        };
        if source.random.f64() >= chance {
            return false;
        }
        let strike = (fault, source.struck);
        source.struck += 1;
        if self.left_out.contains(&strike) {
            return false;
        }
        self.struck.push((strike, place));
        true
    }

    /// The last strike hit a process that was doing this.
    pub fn place_last_strike(&mut self, place: &'static str) {
        if let Some((_, known)) = self.struck.last_mut() {
            *known = place;
        }
    }

    /// The time until it is to strike the next time, where it comes at intervals.
    pub fn next_interval(&mut self, fault: Fault) -> Option<Duration> {
        let interval = fault.interval()?;
        let source = self.sources.get_mut(&fault)?;
        Some(interval.mul_f64((0.1 + 1.8 * source.random.f64()) / source.factor))
    }

    /// A number below `bound` that goes with a strike, from the kind's own random numbers.
    pub fn below(&mut self, fault: Fault, bound: usize) -> usize {
        match self.sources.get_mut(&fault) {
            Some(source) if bound > 0 => source.random.usize(0..bound),
            _ => 0,
        }
    }

    /// How long what a strike began lasts: mostly short, sometimes longer than any timeout.
    pub fn duration(&mut self, fault: Fault) -> Duration {
        let Some(source) = self.sources.get_mut(&fault) else { return Duration::ZERO };
        let most = [200, 2_000, 8_000, 20_000, 70_000][source.random.usize(0..5)];
        Duration::from_millis(source.random.u64(1..=most))
    }
}
