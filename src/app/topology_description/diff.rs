//! Compares two topologies: the effect of a change on stores and their changelogs, on repartition
//! topics and partition counts, and on the state.
//!
//! A store's state is that of one log up to a committed offset, kept under the store's name. So it
//! goes on only where name, log and operator stay. A repartition topic keeps the partitions that it
//! was made with, so a source may grow; a store that reads a source straight may not see its keys
//! move to other partitions.

use super::{Part, Store, Topic, TopologyDescription};

/// State that a change leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The store's name.
    pub store: String,
    /// The changelog that holds its state.
    pub changelog: String,
    /// Why it does not go on.
    pub why: String,
}

/// Effect of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// All of it, a line each: a word, what it is about, more about it.
    pub lines: Vec<(&'static str, String)>,
    /// The state that does not survive.
    pub losses: Vec<Loss>,
}

/// Compares a topology as it was with what it is to be.
pub fn compare(old: &TopologyDescription, new: &TopologyDescription) -> Diff {
    let mut diff = Diff::default();
    if old.application_id != new.application_id {
        let text = format!("application id {} -> {}", old.application_id, new.application_id);
        diff.lines.push(("changed", format!("{text}: another group, other internal topics")));
    }
    for (part, store) in old.stores() {
        diff.store(part, store, old, new);
    }
    for (_, store) in new.stores().filter(|(_, store)| !old.stores().any(|(_, other)| other.name == store.name)) {
        let text = format!("{}: begins empty, at what is read next", named(store));
        diff.lines.push(("new", text));
    }
    let gone = "what is in it and not processed yet stays there";
    diff.topics("repartition topic", &old.repartitions(), &new.repartitions(), gone);
    let gone = "nobody reads it any more";
    diff.topics("source topic", &old.sources(), &new.sources(), gone);
    diff.topics("sink topic", &old.sinks(), &new.sinks(), "nobody writes it any more");
    diff.formats(old, new);
    diff.topics("dead-letter topic", &[&old.dead_letters], &[&new.dead_letters], "nobody writes it any more");
    diff
}

fn named(store: &Store) -> String {
    let Topic { topic, partitions } = &store.changelog;
    format!("store {} (changelog {topic}, {partitions} partitions)", store.name)
}

impl Diff {
    fn store(&mut self, part: &Part, store: &Store, old: &TopologyDescription, new: &TopologyDescription) {
        let now = new.stores().find(|(_, other)| other.name == store.name);
        let why = match now {
            None => Some(successor(part, store, old, new)),
            Some((now_part, now)) => change(part, store, now_part, now),
        };
        match (why, now) {
            (None, Some((now_part, now))) => {
                let moved = match part.id == now_part.id {
                    true => String::new(),
                    false => format!(": restored from it, since its sub-topology {} is {} now", part.id, now_part.id),
                };
                self.lines.push(("kept", format!("{}{moved}", named(now))));
                self.lines.extend(ways(store, now).into_iter().map(|text| ("changed", text)));
                self.compare_stores((part, store), (now_part, now));
            }
            (why, _) => {
                let why = why.unwrap_or_default();
                self.lines.push(("lost", format!("{}: {why}", named(store))));
                let changelog = store.changelog.topic.clone();
                self.losses.push(Loss { store: store.name.clone(), changelog, why });
            }
        }
    }

    /// Changed parameters of the operator of a store that is kept: the state is not lost by it, and
    /// not made anew.
    fn compare_stores(&mut self, (part, store): (&Part, &Store), (now_part, now): (&Part, &Store)) {
        let (Some((_, was)), Some((_, is))) = (part.keeper_of(store), now_part.keeper_of(now)) else { return };
        for said in is.iter().filter(|said| !was.contains(said)) {
            let before = was.iter().find(|other| other.key == said.key).map_or("nothing", |other| &other.text);
            let text = format!("`{}` of `{}`: {before} -> {}", said.key, now.processor, said.text);
            let note = format!("what is in store {} stays as it was made", now.name);
            self.lines.push(("changed", format!("{text}; {note}")));
        }
    }

    fn formats(&mut self, old: &TopologyDescription, new: &TopologyDescription) {
        for topic in new.sinks() {
            if let (Some(was), Some(is)) = (old.format_of(topic), new.format_of(topic))
                && was != is
            {
                let text = format!("sink topic {}: format {was} -> {is}", topic.topic);
                self.lines.push(("changed", format!("{text}; what is in it stays as it was written")));
            }
        }
    }

    fn topics(&mut self, what: &str, old: &[&Topic], new: &[&Topic], gone: &str) {
        for topic in old {
            match new.iter().find(|now| now.topic == topic.topic) {
                Some(now) if now.partitions == topic.partitions => {
                    self.lines.push(("kept", format!("{what} {} ({} partitions)", topic.topic, topic.partitions)));
                }
                Some(now) => {
                    let was = topic.partitions;
                    let is = now.partitions;
                    let note = match what {
                        "repartition topic" if is > was => "where it exists it keeps what it was made with",
                        "repartition topic" => "where it exists it must be made anew",
                        _ => "`topics create` changes none that exists",
                    };
                    self.lines.push(("changed", format!("{what} {}: {was} -> {is} partitions; {note}", topic.topic)));
                }
                None => self.lines.push(("gone", format!("{what} {}: {gone}", topic.topic))),
            }
        }
        for topic in new.iter().filter(|topic| !old.iter().any(|was| was.topic == topic.topic)) {
            self.lines.push(("new", format!("{what} {} ({} partitions)", topic.topic, topic.partitions)));
        }
    }
}

/// Changed options of a store. Its changelog stays, so its content does.
fn ways(store: &Store, now: &Store) -> Vec<String> {
    let mut found = Vec::new();
    if store.kind != now.kind {
        found.push(format!("store {}: kind {} -> {}; restored from its changelog", now.name, store.kind, now.kind));
    }
    if store.standby != now.standby {
        found.push(format!("store {}: standbys {} -> {}", now.name, store.standby, now.standby));
    }
    if store.retention != now.retention {
        let show = |time: &Option<String>| time.clone().unwrap_or_else(|| "off".to_owned());
        let was = show(&store.retention);
        let is = show(&now.retention);
        found.push(format!("store {}: retention {was} -> {is}; it is that of each key's last write", now.name));
    }
    found
}

/// Why a store that is gone is lost; if another one stands in its place, that was probably a
/// rename.
fn successor(part: &Part, store: &Store, old: &TopologyDescription, new: &TopologyDescription) -> String {
    let is_new = |name: &str| !old.stores().any(|(_, other)| other.name == name);
    let same_place = |now: &Part, other: &Store| {
        now.operator_of(other) == part.operator_of(store) && now.source().map(|s| s.0) == part.source().map(|s| s.0)
    };
    let successor = new.stores().find(|(now, other)| is_new(&other.name) && same_place(now, other));
    match successor {
        Some((_, other)) => format!("it is gone; `{}` stands in its place and begins empty", other.name),
        None => "it is gone".to_owned(),
    }
}

/// Why a store of the same name cannot go on with the state, if it cannot.
fn change(part: &Part, store: &Store, now_part: &Part, now: &Store) -> Option<String> {
    let changelog = (&store.changelog.topic, &now.changelog.topic);
    if changelog.0 != changelog.1 {
        return Some(format!("its changelog is {} now, which begins empty", changelog.1));
    }
    let operators = (part.operator_of(store), now_part.operator_of(now));
    if operators.0 != operators.1 {
        return Some(format!("its operator is `{}` now, which cannot read what `{}` wrote", operators.1, operators.0));
    }
    let ((was, _), (is, is_internal)) = (part.source()?, now_part.source()?);
    if was.topic != is.topic {
        return Some(format!("it follows {} now, and its state is that of {}", is.topic, was.topic));
    }
    let was = was.partitions;
    let is = is.partitions;
    let may_change = is_internal && is > was;
    (was != is && !may_change).then(|| format!("its partitions are {is} now and were {was}: keys lie elsewhere"))
}
