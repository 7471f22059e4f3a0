//! The cells of the matrix: each API that an instance calls, each error that Kafka's documentation
//! and sources allow in its answers, and what can happen to a connection.

use super::apis::APIS;
use super::ends::{End, end};
use super::errors::code;
use std::fmt;
use std::time::Duration;
use testkit::kafka_proxy::{Action, ApiKey, CallFault, Calls, Level, Side};

/// One fault, to be done to one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// The API.
    pub api: ApiKey,
    /// The error's name in Kafka, or what happens to the connection.
    pub name: &'static str,
    /// The calls that get it.
    pub when: When,
    /// Before or after the broker has acted.
    pub side: Side,
    action: Action,
    number: u64,
}

/// Which calls get the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    First,
    Later,
    Every,
}

impl Cell {
    /// The fault that the proxy does.
    pub fn fault(&self) -> CallFault {
        let calls = match self.when {
            When::First => Calls::Number(1),
            When::Later => Calls::Number(self.number),
            When::Every => Calls::Every,
        };
        CallFault { api: self.api, calls, side: self.side, action: self.action }
    }

    /// The end that the process is to come to over it.
    pub fn end(&self) -> End {
        end(self.api, self.name, self.when)
    }

    /// Whether records are delivered at offsets that the client is not told.
    pub fn hides_offsets(&self) -> bool {
        self.name == "DUPLICATE_SEQUENCE_NUMBER"
    }

    /// The calls, as the table names them.
    pub fn calls(&self) -> String {
        match self.when {
            When::First => "first".to_owned(),
            When::Later => format!("call {}", self.number),
            When::Every => "every".to_owned(),
        }
    }

    /// The side, as the table names it.
    pub fn side(&self) -> &'static str {
        match self.side {
            Side::Before => "before",
            Side::After => "after",
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {} {}", self.api, self.name, self.calls(), self.side())
    }
}

/// An answer waits for so long: less than the clients of the cells wait for it.
const DELAY: Duration = Duration::from_millis(1500);

/// What may happen to any call.
const CONNECTION: [(&str, Action); 3] =
    [("connection cut", Action::Disconnect), ("delayed", Action::Delay(DELAY)), ("never answered", Action::Swallow)];

/// All cells, in the order of the table.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for api in APIS {
        let errors = |names: &'static [&'static str], level| {
            names.iter().map(move |name| (*name, Action::Error(code(name), level), api.changes))
        };
        let faults = errors(api.whole, Level::Whole).chain(errors(api.parts, Level::Parts));
        let faults = faults.chain(CONNECTION.map(|(name, action)| (name, action, true)));
        for (name, action, has_sides) in faults {
            // The answer to a question is the same error whether the broker was asked or not, and
            // no broker says that it has what it has never got.
            let has_sides = has_sides && name != "DUPLICATE_SEQUENCE_NUMBER";
            let sides = if has_sides { &[Side::Before, Side::After][..] } else { &[Side::After] };
            // The internal topics are created by one call.
            let has_later = api.api != ApiKey::CreateTopics;
            let times = [When::First, When::Later, When::Every].into_iter();
            for when in times.filter(|when| has_later || *when != When::Later) {
                cells.extend(sides.iter().map(|side| Cell {
                    api: api.api,
                    name,
                    when,
                    side: *side,
                    action,
                    number: api.number,
                }));
            }
        }
    }
    cells
}

/// A cell by its parts, which must be in the matrix.
pub fn cell(api: ApiKey, name: &str, when: When, side: Side) -> Cell {
    let found = cells().into_iter().find(|cell| (cell.api, cell.name, cell.when, cell.side) == (api, name, when, side));
    found.unwrap_or_else(|| panic!("the matrix has no cell {api:?} {name} {when:?} {side:?}"))
}
