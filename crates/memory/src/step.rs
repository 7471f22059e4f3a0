//! Processes one event of one memory, from the rows of its state to its outputs: the whole domain
//! as one function.

use super::conflict::{self, ConflictRecord};
use super::event::wire::EventRef;
use super::state::{Arena, Field, Loader, Memory, RowPut, Rows, StateError, digest};
use super::view::{ResolutionContext, Resolved};

/// Effect of one event, as data.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Whether the state changed; if not, nothing is written or emitted.
    pub changed: bool,
    /// Whether the memory is active now.
    pub is_active: bool,
    /// Rows to be written together.
    pub puts: Vec<RowPut>,
    /// The resolved memory, where it differs from the one before.
    pub resolved: Option<Resolved>,
    /// Conflict records, in order: those superseded, oldest first, then the event's own.
    pub conflicts: Vec<ConflictRecord>,
    /// Greatest timestamp of the memory's events, nanoseconds since 1970.
    pub updated_at: u64,
    /// The users of the memory before and now, as far as it is active; told where it was asked for,
    /// and only of a resolved memory that is emitted.
    pub users: Users,
}

/// The users of a memory before and after an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// The user of the active memory before the event.
    pub before: Option<String>,
    /// The user of the active memory after it.
    pub after: Option<String>,
}

/// Lets `event` into `memory`, whose state lies in `rows`.
///
/// # Errors
/// [`StateError`]: the state could not be read. Nothing is to be written then.
pub fn step(
    rows: &dyn Rows,
    memory: &str,
    event: &EventRef<'_>,
    context: &ResolutionContext<'_>,
) -> Result<Outcome, StateError> {
    step_within(Loader::new(rows, &Arena::new(), memory), event, context)
}

/// [`step`], which returns the memory's users as well.
///
/// # Errors
/// As [`step`].
pub fn step_with_users(
    rows: &dyn Rows,
    memory: &str,
    event: &EventRef<'_>,
    context: &ResolutionContext<'_>,
) -> Result<Outcome, StateError> {
    let arena = Arena::new();
    let mut state = Memory::open(Loader::new(rows, &arena, memory))?;
    let before = user_of(&state, context)?;
    let mut outcome = apply(&mut state, event, context)?;
    if outcome.resolved.is_some() {
        outcome.users = Users { before, after: user_of(&state, context)? };
    }
    close(state, outcome)
}

/// [`step`], with rows read and cut as the loader says.
///
/// # Errors
/// As [`step`].
pub fn step_within<'a>(
    loader: Loader<'a>,
    event: &EventRef<'a>,
    context: &ResolutionContext<'_>,
) -> Result<Outcome, StateError> {
    let mut state = Memory::open(loader)?;
    let outcome = apply(&mut state, event, context)?;
    close(state, outcome)
}

fn apply<'a>(
    state: &mut Memory<'a>,
    event: &EventRef<'a>,
    context: &ResolutionContext<'_>,
) -> Result<Outcome, StateError> {
    let applied = state.apply(event, context.settings)?;
    let visible = context.visible_frontier(state);
    if !applied.changed {
        return Ok(Outcome { is_active: visible.is_active, updated_at: state.updated_at, ..Outcome::default() });
    }
    let resolved = context.resolved(state, &visible)?;
    let conflicts = conflict::after(state, &applied, &visible, context, &resolved.json)?;
    let emits = state.replace_resolved_digest(digest(&resolved.json));
    Ok(Outcome {
        changed: true,
        is_active: visible.is_active,
        updated_at: state.updated_at,
        resolved: emits.then_some(resolved),
        conflicts,
        ..Outcome::default()
    })
}

fn close(state: Memory<'_>, outcome: Outcome) -> Result<Outcome, StateError> {
    if outcome.changed { Ok(Outcome { puts: state.close()?, ..outcome }) } else { Ok(outcome) }
}

/// The user of a memory, if it is active and has one. What a custom resolver makes of it may be no
/// text, and then it is nobody's.
fn user_of(state: &Memory<'_>, context: &ResolutionContext<'_>) -> Result<Option<String>, StateError> {
    if state.is_new() || !context.visible_frontier(state).is_active {
        return Ok(None);
    }
    let Some(user) = context.field(state, Field::UserId)? else { return Ok(None) };
    let document = json::parse(&user.bytes(state)?).ok().and_then(|d| d.root().as_str().map(str::to_owned));
    Ok(document.filter(|user| !user.is_empty()))
}

/// The resolved memory as it stands; `None` where no event has reached it.
///
/// # Errors
/// As [`step`].
pub fn read(rows: &dyn Rows, memory: &str, context: &ResolutionContext<'_>) -> Result<Option<Resolved>, StateError> {
    let arena = Arena::new();
    let mut state = Memory::open(Loader::new(rows, &arena, memory))?;
    if state.is_new() {
        return Ok(None);
    }
    let visible = context.visible_frontier(&state);
    context.resolved(&mut state, &visible).map(Some)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::wire::Source;
    use crate::settings::{ResolverSettings, Strategy};
    use crate::state::ReadFailure;

    #[derive(Default)]
    struct Map(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Rows for Map {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
            Ok(self.0.get(key).cloned())
        }
    }

    fn event<'a>(id: &'a str, clock: &[(&'a str, u64)], time: u64, writes: &[(&'a str, &'a [u8])]) -> EventRef<'a> {
        EventRef {
            event_id: id,
            timestamp: time,
            node_id: None,
            importance: None,
            version: 0,
            clock: clock.to_vec(),
            digest: digest(format!("{id}{clock:?}{time}{writes:?}").as_bytes()),
            is_delete: false,
            absorb_into: None,
            source: Source { topic: "t", partition: 3, offset: 9 },
            source_timestamp_ms: 1,
            writes: writes.to_vec(),
        }
    }

    fn run(map: &mut Map, event: &EventRef<'_>, settings: &ResolverSettings) -> Outcome {
        let outcome = step(map, "m", event, &ResolutionContext { settings, custom: None }).expect("steps");
        for (key, value) in &outcome.puts {
            match value {
                Some(v) => map.0.insert(key.clone(), v.clone()),
                None => map.0.remove(key),
            };
        }
        outcome
    }

    fn json(outcome: &Outcome) -> serde_json::Value {
        let resolved = outcome.resolved.as_ref().expect("emits");
        serde_json::from_slice(&resolved.json).expect("is JSON")
    }

    #[test]
    fn concurrent_writes_conflict_until_one_event_has_seen_both() {
        let mut map = Map::default();
        let s = ResolverSettings { strategy: Strategy::LastWriteWins, ..ResolverSettings::default() };
        assert!(run(&mut map, &event("a", &[("n1", 1)], 5, &[("content", b"\"x\"")]), &s).conflicts.is_empty());
        let second = run(&mut map, &event("b", &[("n2", 1)], 7, &[("content", b"\"y\"")]), &s);
        assert_eq!(json(&second)["content"], "y");
        assert_eq!(json(&second)["conflicted_fields"], serde_json::json!(["content"]));
        let record: serde_json::Value = serde_json::from_slice(&second.conflicts[0].json).expect("is JSON");
        assert_eq!(record["conflict_type"], "concurrent_update");
        assert_eq!((&record["local_event_id"], &record["remote_event_id"]), (&"a".into(), &"b".into()));
        assert_eq!(record["fields"][0]["winner_event_id"], "b");
        let third = run(&mut map, &event("c", &[("n1", 1), ("n2", 2)], 6, &[("content", b"\"z\"")]), &s);
        assert_eq!(json(&third)["content"], "z");
        let record: serde_json::Value = serde_json::from_slice(&third.conflicts[0].json).expect("is JSON");
        assert_eq!((&record["status"], &record["superseded_by"]), (&"superseded".into(), &"c".into()));
        assert!(!run(&mut map, &event("b", &[("n2", 1)], 7, &[("content", b"\"y\"")]), &s).changed, "a redelivery");
    }

    #[test]
    fn a_memory_that_outgrows_its_head_reads_the_same() {
        let mut map = Map::default();
        let s = ResolverSettings::default();
        let keys: Vec<String> = (0..3000).map(|i| format!("metadata.k{i:04}")).collect();
        let big = format!("\"{}\"", "v".repeat(5000));
        for (n, chunk) in keys.chunks(500).enumerate() {
            let mut writes: Vec<(&str, &[u8])> = vec![("content", big.as_bytes())];
            writes.extend(chunk.iter().map(|k| (k.as_str(), &b"12345678901234567890"[..])));
            run(&mut map, &event(&format!("e{n}"), &[("n", n as u64 + 1)], n as u64, &writes), &s);
        }
        let touch = event("last", &[("n", 100)], 100, &[("metadata.k0007", b"true")]);
        let outcome = run(&mut map, &touch, &s);
        let resolved = json(&outcome);
        assert_eq!(resolved["metadata"].as_object().map(|m| m.len()), Some(3000));
        assert_eq!(resolved["metadata"]["k0007"], true);
        assert_eq!(resolved["content"], "v".repeat(5000));
        let written: usize = outcome.puts.iter().filter_map(|(_, v)| v.as_ref()).map(Vec::len).sum();
        assert!(outcome.puts.len() <= 4 && written < 32 << 10, "{} rows, {written} bytes", outcome.puts.len());
        let delete = EventRef { is_delete: true, ..event("d", &[("n", 101)], 101, &[]) };
        assert_eq!(json(&run(&mut map, &delete, &s))["status"], "deleted");
        assert_eq!(map.0.len(), 1, "a delete that has seen all leaves the head alone");
    }
}
