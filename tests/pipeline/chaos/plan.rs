//! The schedule of faults: a function of one number. The times at which real servers answer are
//! not.

use std::fmt;
use std::time::Duration;
use testkit::Random;
use testkit::cluster::BROKERS;

/// Places where an instance may run.
pub const SLOTS: usize = 3;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Kill,
    StopPastSession,
    StopPastTransaction,
    Scale,
    BrokerKilled,
    BrokerStopped,
    BrokerFrozen,
    Leaders,
    Cut,
    HalfOpen,
    Clock,
    FullDisk,
    ReadErrors,
    WriteErrors,
    Postgres,
    /// An instance is replaced by one of the other program. It is not drawn: [`with_turns`].
    OtherProgram,
}

/// All kinds that are drawn, with how often each comes beside the others.
const WEIGHTS: [(Kind, usize); 15] = [
    (Kind::Kill, 4),
    (Kind::StopPastSession, 2),
    (Kind::StopPastTransaction, 2),
    (Kind::Scale, 4),
    (Kind::BrokerKilled, 2),
    (Kind::BrokerStopped, 1),
    (Kind::BrokerFrozen, 1),
    (Kind::Leaders, 3),
    (Kind::Cut, 2),
    (Kind::HalfOpen, 2),
    (Kind::Clock, 3),
    (Kind::FullDisk, 2),
    (Kind::ReadErrors, 1),
    (Kind::WriteErrors, 2),
    (Kind::Postgres, 2),
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Kill => "instance killed",
            Kind::StopPastSession => "instance stopped past its session timeout",
            Kind::StopPastTransaction => "instance stopped past its transaction timeout",
            Kind::Scale => "scaled up or down",
            Kind::BrokerKilled => "broker killed",
            Kind::BrokerStopped => "broker stopped in good order",
            Kind::BrokerFrozen => "broker frozen",
            Kind::Leaders => "leaders and coordinators moved",
            Kind::Cut => "network cut",
            Kind::HalfOpen => "network silent (half-open)",
            Kind::Clock => "clock jumped, and back",
            Kind::FullDisk => "full disk",
            Kind::ReadErrors => "I/O errors of reads",
            Kind::WriteErrors => "I/O errors of writes",
            Kind::Postgres => "Postgres killed",
            Kind::OtherProgram => "instance replaced by one of the other program",
        })
    }
}

impl Kind {
    fn is_of_a_broker(self) -> bool {
        matches!(self, Kind::BrokerKilled | Kind::BrokerStopped | Kind::BrokerFrozen)
    }

    /// How long it lasts, in milliseconds: from, to.
    fn length(self) -> (usize, usize) {
        match self {
            Kind::Kill | Kind::Scale | Kind::Leaders | Kind::OtherProgram => (0, 800),
            Kind::StopPastSession => (3300, 3800),
            Kind::StopPastTransaction => (5200, 6000),
            Kind::BrokerFrozen => (1000, 4500),
            Kind::BrokerKilled | Kind::BrokerStopped | Kind::Postgres => (0, 2000),
            Kind::Cut | Kind::HalfOpen => (300, 4500),
            Kind::Clock | Kind::FullDisk | Kind::ReadErrors | Kind::WriteErrors => (500, 3000),
        }
    }
}

/// One fault of a round.
#[derive(Debug, Clone)]
pub struct Strike {
    pub kind: Kind,
    /// The instance that it is for.
    pub slot: usize,
    /// The brokers that it is for: one, or all where a network is cut as a whole.
    pub brokers: Vec<usize>,
    /// Since the round has begun.
    pub after: Duration,
    /// Until it is over.
    pub lasts: Duration,
    /// By how much a clock jumps, in milliseconds.
    pub jump_ms: i64,
    /// For what is still to be drawn.
    pub number: u64,
}

/// The kinds whose names have one of these texts, separated by commas; with none all of them.
pub fn kinds(texts: &str) -> Vec<(Kind, usize)> {
    let is_asked = |kind: Kind| texts.split(',').any(|text| kind.to_string().contains(text.trim()));
    let kinds: Vec<_> = WEIGHTS.into_iter().filter(|(kind, _)| is_asked(*kind)).collect();
    assert!(!kinds.is_empty(), "no kind of fault is named like {texts:?}");
    kinds
}

/// The rounds of a run: each with one to three faults of different kinds, which overlap.
pub fn rounds(seed: u64, count: usize, kinds: &[(Kind, usize)]) -> Vec<Vec<Strike>> {
    let mut random = Random::new(seed);
    (0..count).map(|_| round(&mut random, kinds)).collect()
}

/// With one instance more in each round that is replaced by one of the other program, at one place
/// after the other. From instances of the other program alone this leads to three of the tested
/// one, and back again, and so on.
pub fn with_turns(seed: u64, mut rounds: Vec<Vec<Strike>>) -> Vec<Vec<Strike>> {
    // Numbers of its own, so that the other faults stay those of the seed.
    let mut random = Random::new(!seed);
    for (number, strikes) in rounds.iter_mut().enumerate() {
        let turn = strike(&mut random, Kind::OtherProgram);
        strikes.push(Strike { slot: number % SLOTS, ..turn });
    }
    rounds
}

fn round(random: &mut Random, kinds: &[(Kind, usize)]) -> Vec<Strike> {
    let of_brokers = kinds.iter().filter(|(kind, _)| kind.is_of_a_broker()).count();
    let possible = kinds.len() - of_brokers + of_brokers.min(1);
    let count = (1 + random.below(3)).min(possible);
    let mut strikes: Vec<Strike> = Vec::new();
    while strikes.len() < count {
        let kind = kind(random, kinds);
        // With two brokers of three away there is nothing to be written to.
        let fits = |other: &Strike| other.kind != kind && !(other.kind.is_of_a_broker() && kind.is_of_a_broker());
        if strikes.iter().all(fits) {
            strikes.push(strike(random, kind));
        }
    }
    strikes
}

fn kind(random: &mut Random, kinds: &[(Kind, usize)]) -> Kind {
    let mut left = random.below(kinds.iter().map(|(_, weight)| weight).sum());
    for (kind, weight) in kinds {
        if left < *weight {
            return *kind;
        }
        left -= weight;
    }
    Kind::Kill
}

fn strike(random: &mut Random, kind: Kind) -> Strike {
    let (from, to) = kind.length();
    let millis = |number: usize| Duration::from_millis(number as u64);
    let one = random.below(BROKERS);
    let brokers = if random.one_in(2) { vec![one] } else { (0..BROKERS).collect() };
    Strike {
        kind,
        slot: random.below(SLOTS),
        brokers: if kind.is_of_a_broker() { vec![one] } else { brokers },
        after: millis(random.below(1500)),
        lasts: millis(from + random.below(to - from)),
        jump_ms: random.pick(&[-86_400_000, -3_600_000, -30_000, -1500, 1500, 30_000, 3_600_000, 86_400_000]),
        number: random.number(),
    }
}

#[test]
fn a_number_decides_the_schedule_and_each_kind_comes() {
    let rounds = |seed, count| rounds(seed, count, &WEIGHTS);
    let shown = |seed| format!("{:?}", rounds(seed, 50));
    assert_eq!(shown(7), shown(7));
    assert_ne!(shown(7), shown(8));
    let all = rounds(7, 200);
    for (kind, _) in WEIGHTS {
        assert!(all.iter().flatten().any(|strike| strike.kind == kind), "{kind}");
    }
    assert!(all.iter().all(|round| round.iter().filter(|strike| strike.kind.is_of_a_broker()).count() < 2));
}

#[test]
fn kinds_are_chosen_by_their_names_and_each_place_has_its_turn() {
    assert_eq!(kinds("").len(), WEIGHTS.len());
    let few = kinds("broker,instance killed");
    let all = with_turns(7, rounds(7, 60, &few));
    let names = |kind: Kind| all.iter().flatten().filter(|strike| strike.kind == kind).count();
    assert!(names(Kind::Kill) > 0 && names(Kind::BrokerKilled) > 0 && names(Kind::Cut) == 0);
    let turns: Vec<usize> =
        all.iter().flatten().filter(|strike| strike.kind == Kind::OtherProgram).map(|strike| strike.slot).collect();
    assert_eq!((turns.len(), &turns[..4]), (60, &[0, 1, 2, 0][..]));
}
