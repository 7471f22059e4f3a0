//! How a strategy picks among the contenders of one field (docs/semantics.md, section 4,
//! "Strategies").

use super::event::{Event, union};
use super::json::{Json, compare_numbers};
use super::order::last_write;
use super::{Contender, Decision, Strategy};
use std::cmp::Ordering;

/// A write: its event and the value.
pub type Write<'a> = (&'a Event, &'a Json);

/// Result of a strategy for the contenders.
#[derive(Clone, Debug)]
pub struct Pick {
    /// The value.
    pub value: Json,
    /// Positions (in the list given) of the writes that won: several when they tie in everything
    /// the strategy looks at. Empty when the value is a join, or a custom resolver's own.
    pub winners: Vec<usize>,
    /// Whether a custom resolver left it to a person.
    pub deferred: bool,
    /// A custom resolver made the value.
    pub made: bool,
}

/// Picks among `writes`, of which there is at least one; `conflict` says whether the path is in
/// conflict.
pub fn pick(strategy: Strategy, path: &str, writes: &[Write], conflict: bool) -> Pick {
    if let (Strategy::MergeAll, "tags" | "merged_from") = (strategy, path) {
        let value = union(writes.iter().map(|w| w.1));
        return Pick { value, winners: Vec::new(), deferred: false, made: false };
    }
    let mut deferred = false;
    if let (Strategy::Custom(resolver), true) = (strategy, conflict) {
        match resolver(path, &as_contenders(writes)) {
            Decision::Value(value) => {
                let winners = (0..writes.len()).filter(|i| writes[*i].1.canonical() == value.canonical());
                let winners = greatest(winners.collect(), |a, b| last_write(writes[a], writes[b]));
                return Pick { value, winners, deferred: false, made: true };
            }
            Decision::Defer => deferred = true,
            Decision::Fail => {}
        }
    }
    let winners = greatest((0..writes.len()).collect(), |a, b| compare(strategy, path, writes[a], writes[b]));
    Pick { value: writes[winners[0]].1.clone(), winners, deferred, made: false }
}

fn greatest(candidates: Vec<usize>, compare: impl Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let is_greatest = |a: &usize| candidates.iter().all(|b| compare(*a, *b) != Ordering::Less);
    candidates.iter().copied().filter(is_greatest).collect()
}

fn as_contenders(writes: &[Write]) -> Vec<Contender> {
    let mut sorted = writes.to_vec();
    sorted.sort_by(|a, b| last_write(*a, *b));
    let contender = |(event, value): &Write| Contender {
        event_id: event.event_id.clone(),
        node_id: event.node_id.clone(),
        vector_clock: event.clock.clone(),
        version: event.version,
        timestamp_ns: event.timestamp_ns,
        importance: carried_importance(event),
        value: (*value).clone(),
    };
    sorted.iter().map(contender).collect()
}

/// The importance an event carries; a cleared one is none.
pub fn carried_importance(event: &Event) -> Option<Json> {
    event.importance.clone().filter(|v| !matches!(v, Json::Null))
}

fn compare(strategy: Strategy, path: &str, a: Write, b: Write) -> Ordering {
    match strategy {
        Strategy::LastWriteWins | Strategy::Custom(_) => last_write(a, b),
        Strategy::Importance => {
            let weight = |w: Write| carried_importance(w.0).unwrap_or(Json::Int(0));
            compare_numbers(&weight(a), &weight(b)).then_with(|| last_write(a, b))
        }
        Strategy::VectorClock => clock_key(a).cmp(&clock_key(b)),
        Strategy::MergeAll => compare_for_merge(path, a.1, b.1).then_with(|| last_write(a, b)),
    }
}

fn clock_key((event, value): Write) -> (u128, u64, String, String, String) {
    let sum = event.clock.iter().filter(|(node, _)| *node != "~").map(|(_, count)| u128::from(*count)).sum();
    let node = event.node_id.clone().unwrap_or_default();
    (sum, event.version, node, event.event_id.clone(), value.canonical())
}

fn compare_for_merge(path: &str, a: &Json, b: &Json) -> Ordering {
    let cleared_last = is_written(a).cmp(&is_written(b));
    match path.split('.').next() {
        Some("content") => scalars(a).cmp(&scalars(b)),
        Some("importance") => cleared_last.then_with(|| compare_numbers(a, b)),
        Some("entities") => {
            cleared_last.then_with(|| compare_numbers(&member(a, "confidence"), &member(b, "confidence")))
        }
        Some("relationships") => {
            cleared_last.then_with(|| compare_numbers(&member(a, "strength"), &member(b, "strength")))
        }
        _ => Ordering::Equal,
    }
}

fn is_written(value: &Json) -> bool {
    !matches!(value, Json::Null)
}

fn scalars(value: &Json) -> usize {
    if let Json::Str(text) = value { text.chars().count() } else { 0 }
}

/// A numeric member, absent being 0.
fn member(value: &Json, name: &str) -> Json {
    let Json::Obj(members) = value else { return Json::Int(0) };
    members.get(name).cloned().unwrap_or(Json::Int(0))
}
