//! The resolved states of a memory as the changes of Mem0's history.
//!
//! A state has the fields that differ from the state before, so the text of a state is that of the
//! last one in which it differs. Where that state is not kept any more, or the text was too long to
//! be kept, it is the present text of the memory if it has not changed since, and unknown
//! otherwise.

use std::collections::{BTreeMap, BTreeSet};

use json::{JsonError, Value};
use node::history::ResolvedState;
use node::shown::ShownMemory;

use super::history_entry::Entry;
use crate::request::Client;

/// The counters of a clock, by their actors.
pub(super) type Counters = BTreeMap<String, u64>;

/// The entry of a clock that stands for events without one.
const UNCLOCKED: &str = "~";

/// The place of the text of a memory that has none.
const NO_TEXT: usize = 0;

/// A change from one state to the next, with the places of its texts.
struct StateChange {
    id: String,
    action: &'static str,
    old: usize,
    new: usize,
    time: Option<String>,
    actor: Option<String>,
    user_id: Option<String>,
}

/// The state before, as far as it is known.
struct Before {
    /// Whether the memory was there; `None` where the state is not kept.
    is_active: Option<bool>,
    /// The place of its text.
    text: usize,
    event_ids: BTreeSet<String>,
    clock: Option<Counters>,
}

/// The last state, on which the node's further events lie.
pub(super) struct LastState {
    /// The text of the memory, where it is known.
    pub text: Option<String>,
    /// The memory's user.
    pub user_id: Option<String>,
    /// The clock; `None` where it was too long to be kept.
    pub clock: Option<Counters>,
}

/// The changes that a client may see.
pub(super) struct StateChanges<'c> {
    client: &'c Client,
    memory_id: &'c str,
    changes: Vec<StateChange>,
    /// The texts, of which several changes may have the same; `None` is an unknown one.
    texts: Vec<Option<Option<String>>>,
    before: Before,
    /// Whether these are all changes since the first state that this node has applied.
    has_all: bool,
}

impl<'c> StateChanges<'c> {
    /// The changes from these states, the oldest first.
    ///
    /// # Errors
    /// A state, or the memory, is not JSON.
    pub fn of(
        client: &'c Client,
        memory_id: &'c str,
        states: &[ResolvedState],
        shown: &ShownMemory,
    ) -> Result<StateChanges<'c>, JsonError> {
        let before = Before { is_active: None, text: NO_TEXT, event_ids: BTreeSet::new(), clock: None };
        let first = states.iter().find(|state| client.may_use(state.user_id.as_deref()));
        let has_all = first.is_some_and(|state| state.is_first);
        let texts = vec![Some(None)];
        let mut found = StateChanges { client, memory_id, changes: Vec::new(), texts, before, has_all };
        states.iter().enumerate().try_for_each(|(place, state)| found.add(state, place == 0))?;
        if let Some(last) = states.last().filter(|_| found.texts[found.before.text].is_none()) {
            found.texts[found.before.text] = present_text(last, shown)?;
        }
        Ok(found)
    }

    /// Whether there are no further changes, and all their texts are known.
    pub fn is_whole(&self) -> bool {
        let is_known = |text: usize| self.texts[text].is_some();
        self.has_all && self.changes.iter().all(|change| is_known(change.old) && is_known(change.new))
    }

    /// The changes as entries.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let text = |place: usize| self.texts[place].as_ref().and_then(Option::as_deref);
        self.changes.iter().map(move |change| Entry {
            id: &change.id,
            memory_id: self.memory_id,
            action: change.action,
            old: text(change.old),
            new: text(change.new),
            time: change.time.as_deref(),
            actor: change.actor.as_deref(),
            user_id: change.user_id.as_deref(),
        })
    }

    /// The last of these states.
    pub fn last(&self, states: &[ResolvedState]) -> Option<LastState> {
        let text = self.texts[self.before.text].clone().flatten();
        let clock = self.before.clock.clone();
        states.last().map(|state| LastState { text, user_id: state.user_id.clone(), clock })
    }

    fn add(&mut self, state: &ResolvedState, is_oldest: bool) -> Result<(), JsonError> {
        let document = json::parse(&state.json)?;
        let root = document.root();
        let (entered, event_ids) = (texts_of(root, "entered"), texts_of(root, "event_ids"));
        if state.is_first {
            let clock = Some(Counters::new());
            self.before = Before { is_active: Some(false), text: NO_TEXT, event_ids: BTreeSet::new(), clock };
        } else if is_oldest || !self.is_next(root, &entered, &event_ids) {
            self.before =
                Before { is_active: None, text: self.put_text(None), event_ids: BTreeSet::new(), clock: None };
            self.has_all = false;
        }
        let is_active = root.get("status").and_then(Value::as_str) == Some("active");
        let content = root.get("changed").into_iter().flat_map(Value::items).find(|field| path_of(*field) == "content");
        let text = match content {
            _ if !is_active => NO_TEXT,
            Some(field) if field.get("removed").is_some() => NO_TEXT,
            Some(field) => {
                let text = field.get("value").map(|value| value.as_str().map(str::to_owned));
                self.put_text(text)
            }
            None if self.before.is_active == Some(false) => NO_TEXT,
            None => self.before.text,
        };
        let clock = root.get("vector_clock").and_then(counters_of);
        if let Some(change) = self.change(state, root, (&entered, clock.as_ref()), (is_active, text)) {
            self.changes.push(change);
        }
        self.before = Before { is_active: Some(is_active), text, event_ids, clock };
        Ok(())
    }

    /// The change to a state; `None` where it shows nothing new, or the client may not see it.
    fn change(
        &self,
        state: &ResolvedState,
        root: Value<'_>,
        (entered, clock): (&BTreeSet<String>, Option<&Counters>),
        (is_active, text): (bool, usize),
    ) -> Option<StateChange> {
        if !self.client.may_use(state.user_id.as_deref()) {
            return None;
        }
        let was_hidden = !state.is_first && !self.client.may_use(state.old_user_id.as_deref());
        let was_active = if was_hidden { Some(false) } else { self.before.is_active };
        let is_same = || root.get("changed").is_none_or(|fields| fields.items().next().is_none()) && !has_cut(root);
        let action = match (was_active, is_active) {
            (Some(false), true) => "ADD",
            (Some(true) | None, true) if is_same() => return None,
            (_, true) => "UPDATE",
            (Some(false), false) if !state.is_first && !was_hidden => return None,
            (_, false) => "DELETE",
        };
        // Of a state of somebody else the client learns nothing by comparison.
        let follows = state.is_first || root.get("follows").is_some_and(|value| value.canonical() == b"true");
        let event = entered.first().filter(|_| follows && !was_hidden && entered.len() == 1);
        let number_id = || format!("{}.{}", self.memory_id, state.number);
        Some(StateChange {
            id: event.map_or_else(number_id, String::clone),
            action,
            old: if was_hidden { NO_TEXT } else { self.before.text },
            new: text,
            time: root.get("updated_at").and_then(Value::as_str).map(str::to_owned),
            actor: event.and_then(|_| only_actor(self.before.clock.as_ref()?, clock?)),
            user_id: state.user_id.clone(),
        })
    }

    /// Whether a state was compared with the one before. It was not where the node kept no states
    /// for a while.
    fn is_next(&self, root: Value<'_>, entered: &BTreeSet<String>, event_ids: &BTreeSet<String>) -> bool {
        let is_known = |id: &String| self.before.event_ids.contains(id);
        has_cut(root)
            || event_ids.difference(entered).all(is_known) && texts_of(root, "superseded").iter().all(is_known)
    }

    fn put_text(&mut self, text: Option<Option<String>>) -> usize {
        self.texts.push(text);
        self.texts.len() - 1
    }
}

/// The actor of the one event between two clocks, where no other one has written meanwhile.
fn only_actor(before: &Counters, after: &Counters) -> Option<String> {
    let mut grown = after.iter().filter(|(name, counter)| before.get(*name) < Some(*counter));
    let (actor, _) = grown.next()?;
    Some(actor.clone()).filter(|actor| grown.next().is_none() && actor != UNCLOCKED)
}

/// The text of a memory as it is shown, if it is shown in this state.
fn present_text(state: &ResolvedState, shown: &ShownMemory) -> Result<Option<Option<String>>, JsonError> {
    let (state, memory) = (json::parse(&state.json)?, json::parse(&shown.json)?);
    let (state, memory) = (state.root(), memory.root());
    let is_same = |name: &str| state.get(name).map(Value::canonical) == memory.get(name).map(Value::canonical);
    let is_shown = !shown.is_pending && ["status", "vector_clock", "version"].into_iter().all(is_same);
    Ok(is_shown.then(|| memory.get("content").and_then(Value::as_str).map(str::to_owned)))
}

/// The counters of a clock.
pub(super) fn counters_of(clock: Value<'_>) -> Option<Counters> {
    clock.members().map(|(name, counter)| Some((name.to_owned(), counter.number_text()?.parse().ok()?))).collect()
}

fn path_of(field: Value<'_>) -> &str {
    field.get("path").and_then(Value::as_str).unwrap_or_default()
}

fn texts_of(root: Value<'_>, name: &str) -> BTreeSet<String> {
    root.get(name).into_iter().flat_map(Value::items).filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Whether a state is not kept whole: lists of ids or fields are cut.
fn has_cut(root: Value<'_>) -> bool {
    root.get("cut").is_some()
}
