//! Which event comes before which, for certain and presumed (docs/semantics.md, section 2); and the
//! last-write order (docs/semantics.md, section 4, "Last-write order").

use super::event::Event;
use super::json::Json;
use super::{Settings, Unclocked};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The clocks alone: different, and every entry of `a` at most that of `b`, a missing one being 0.
pub fn clock_before(a: &BTreeMap<String, u64>, b: &BTreeMap<String, u64>) -> bool {
    a != b && a.iter().all(|(node, count)| *count <= b.get(node).copied().unwrap_or(0))
}

/// `e → f`.
pub fn before(e: &Event, f: &Event, settings: &Settings) -> bool {
    clock_before(&e.clock, &f.clock) && (settings.trust_clocks || e.version <= f.version)
}

/// An event has a clock when its clock names another actor than `~`.
pub fn has_clock(e: &Event) -> bool {
    e.clock.keys().any(|node| node != "~")
}

/// The first kind of presumption: exactly one has no clock, and `e` has the earlier timestamp.
pub fn presumed_by_time(e: &Event, f: &Event, settings: &Settings) -> bool {
    !before(f, e, settings)
        && settings.unclocked == Unclocked::ByTime
        && has_clock(e) != has_clock(f)
        && e.timestamp_ns < f.timestamp_ns
}

/// The second kind: the clocks say `e` before `f`, the versions the reverse, and the timestamps lie
/// within the skew.
pub fn presumed_by_skew(e: &Event, f: &Event, settings: &Settings) -> bool {
    !before(f, e, settings)
        && settings.max_clock_skew_ns > 0
        && has_clock(e)
        && has_clock(f)
        && clock_before(&e.clock, &f.clock)
        && e.version > f.version
        && e.timestamp_ns.abs_diff(f.timestamp_ns) <= settings.max_clock_skew_ns
}

/// Either kind.
pub fn presumed(e: &Event, f: &Event, settings: &Settings) -> bool {
    presumed_by_time(e, f, settings) || presumed_by_skew(e, f, settings)
}

/// Last-write order of two events, without a value.
pub fn last_write_of_events(a: &Event, b: &Event) -> Ordering {
    let key = |e: &Event| (e.timestamp_ns, e.version, e.node_id.clone().unwrap_or_default(), e.event_id.clone());
    key(a).cmp(&key(b))
}

/// Last-write order of two writes.
pub fn last_write(a: (&Event, &Json), b: (&Event, &Json)) -> Ordering {
    last_write_of_events(a.0, b.0).then_with(|| a.1.canonical().cmp(&b.1.canonical()))
}
