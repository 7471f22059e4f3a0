//! A user's snapshot: all active memories of a user, their entities and relationships, and the join
//! of their clocks.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use uuid::Uuid;

use crate::view::{ObjectWriter, write_clock};
use json::rfc3339;
use json::{self, Document, JsonError, Value};

/// Identity of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Heading<'a> {
    /// Application id: the snapshot's `node_id`.
    pub application_id: &'a str,
    /// The user.
    pub user: &'a str,
    /// The end of its interval, nanoseconds since 1970.
    pub timestamp: u64,
}

/// A resolved memory that a snapshot cannot be made of: this program wrote it, so its row is
/// damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory {memory:?} as it was kept for a snapshot {what}")]
pub struct SnapshotError {
    /// The memory's id.
    pub memory: String,
    /// The problem.
    pub what: String,
}

/// A resolved memory, read as far as a snapshot needs it.
struct Member<'m> {
    id: &'m str,
    json: &'m [u8],
    document: Document<'m>,
    updated_at: u64,
}

/// The id of the snapshot of a user at a time, nanoseconds since 1970.
pub fn snapshot_id(user: &str, timestamp: u64) -> String {
    let name = format!("helixstream:snapshot:{user}:{timestamp}");
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

/// The memories of a user, of which the snapshot is made, whole or in parts.
pub struct Snapshot<'m> {
    heading: Heading<'m>,
    members: Vec<Member<'m>>,
}

/// The parts of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllParts {
    /// How many there are.
    pub count: usize,
    /// How many bytes they have together, at most.
    pub bytes: usize,
}

/// Members that several memories hold, by id: the memory that provides it, and its place there.
type Shared<'s> = BTreeMap<&'s str, (usize, Value<'s>)>;

/// Members that all parts have in common.
struct Joined<'s> {
    clock: BTreeMap<&'s str, u64>,
    entities: Shared<'s>,
    relationships: Shared<'s>,
}

/// More parts than there will ever be, to see how much a part takes at most.
const MANY: usize = 9_999_999_999;

impl<'m> Snapshot<'m> {
    /// A snapshot of these memories, sorted by id: id and resolved memory (canonical JSON) of each.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub fn new(
        heading: Heading<'m>,
        memories: impl IntoIterator<Item = (&'m str, &'m [u8])>,
    ) -> Result<Snapshot<'m>, SnapshotError> {
        let member = |(id, json): (&'m str, &'m [u8])| {
            let damaged = |what: String| SnapshotError { memory: id.to_owned(), what };
            let document = json::parse(json).map_err(|e: JsonError| damaged(format!("is no JSON: {e}")))?;
            let updated_at = document.root().get("updated_at").and_then(Value::as_str);
            let updated_at = updated_at.and_then(|text| rfc3339::parse(text).ok());
            let updated_at = updated_at.ok_or_else(|| damaged("has no `updated_at`".to_owned()))?;
            Ok(Member { id, json, document, updated_at })
        };
        Ok(Snapshot { heading, members: memories.into_iter().map(member).collect::<Result<_, _>>()? })
    }

    /// The snapshot as canonical JSON: one record if that `fits`, else numbered parts that do. What
    /// fits nowhere, since a memory alone is too much, is a part of its own.
    pub fn parts(&self, fits: impl FnMut(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        self.each_part(fits, |part, _| {
            parts.push(part);
            ControlFlow::Continue(())
        });
        parts
    }

    /// As [`Snapshot::parts`], one after the other, each with what is known of all. It ends early
    /// where `take` breaks.
    pub fn each_part(
        &self,
        mut fits: impl FnMut(&[u8]) -> bool,
        mut take: impl FnMut(Vec<u8>, AllParts) -> ControlFlow<()>,
    ) {
        let joined = self.join();
        let all = 0..self.members.len();
        let whole = self.write(&joined, all.clone(), None);
        if all.len() < 2 || fits(&whole) {
            let parts = AllParts { count: 1, bytes: whole.len() };
            // It is the last one, whatever its taker says.
            let _ = take(whole, parts);
            return;
        }
        drop(whole);
        let mut ranges = Vec::new();
        let mut bytes = 0;
        let mut open = vec![all];
        while let Some(range) = open.pop() {
            let written = self.write(&joined, range.clone(), Some((MANY, MANY)));
            if range.len() < 2 || fits(&written) {
                bytes += written.len();
                ranges.push(range);
                continue;
            }
            let middle = range.start + range.len() / 2;
            open.extend([middle..range.end, range.start..middle]);
        }
        let parts = AllParts { count: ranges.len(), bytes };
        for (at, range) in ranges.into_iter().enumerate() {
            if take(self.write(&joined, range, Some((at + 1, parts.count))), parts).is_break() {
                return;
            }
        }
    }

    fn join(&self) -> Joined<'_> {
        let mut clock: BTreeMap<&str, u64> = BTreeMap::new();
        for (node, counter) in
            self.members.iter().flat_map(|m| m.document.root().get("vector_clock")).flat_map(Value::members)
        {
            let counter = counter.number_text().and_then(|text| text.parse().ok()).unwrap_or(0);
            let entry = clock.entry(node).or_default();
            *entry = counter.max(*entry);
        }
        Joined { clock, entities: self.shared("entities"), relationships: self.shared("relationships") }
    }

    /// Members that the memories list under `key`, each id once: from the memory that is greatest
    /// by (`updated_at`, id).
    fn shared(&self, key: &str) -> Shared<'_> {
        let mut shared: Shared<'_> = BTreeMap::new();
        for (at, member) in self.members.iter().enumerate() {
            let items = member.document.root().get(key).into_iter().flat_map(Value::items);
            for (id, item) in items.filter_map(|item| Some((item.get("id")?.as_str()?, item))) {
                let order = |at: usize| (self.members[at].updated_at, self.members[at].id);
                if shared.get(id).is_none_or(|(held, _)| order(*held) < order(at)) {
                    shared.insert(id, (at, item));
                }
            }
        }
        shared
    }

    /// The memories of a range, and what is taken from them.
    fn write(&self, joined: &Joined<'_>, range: Range<usize>, part: Option<(usize, usize)>) -> Vec<u8> {
        let Heading { application_id, user, timestamp } = self.heading;
        let mut out = Vec::with_capacity(1024);
        let mut o = ObjectWriter::new(&mut out);
        let list = |o: &mut ObjectWriter<'_>, key: &str, shared: &Shared<'_>| {
            let mut items = shared.values().filter(|(at, _)| range.contains(at)).peekable();
            if items.peek().is_some() {
                o.array(key, items, |out, (_, item)| item.write_canonical(out));
            }
        };
        list(&mut o, "entities", &joined.entities);
        o.array("memories", &self.members[range.clone()], |out, member| out.extend_from_slice(member.json));
        if let Some((number, of)) = part {
            let mut metadata = ObjectWriter::new(o.key("metadata"));
            metadata.integer("part", number as u64);
            metadata.integer("parts", of as u64);
            metadata.end();
        }
        o.str("node_id", application_id);
        list(&mut o, "relationships", &joined.relationships);
        o.str("snapshot_id", &snapshot_id(user, timestamp));
        o.time("timestamp", timestamp);
        o.str("user_id", user);
        let clock: Vec<(&str, u64)> = joined.clock.iter().map(|(node, counter)| (*node, *counter)).collect();
        write_clock(o.key("vector_clock"), &clock);
        o.end();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: Heading<'static> = Heading { application_id: "app", user: "u", timestamp: 60_000_000_000 };

    fn memory(id: &str, second: u8, more: &str) -> (String, Vec<u8>) {
        let json = format!(
            r#"{{{more}"memory_id":"{id}","updated_at":"1970-01-01T00:00:0{second}Z","vector_clock":{{"n":{second}}}}}"#
        );
        (id.to_owned(), json.into_bytes())
    }

    fn snapshot(memories: &[(String, Vec<u8>)]) -> Snapshot<'_> {
        Snapshot::new(HEADING, memories.iter().map(|(id, json)| (id.as_str(), &json[..]))).expect("reads")
    }

    fn text(parts: Vec<Vec<u8>>) -> Vec<String> {
        parts.into_iter().map(|part| String::from_utf8(part).expect("is UTF-8")).collect()
    }

    #[test]
    fn an_entity_is_taken_from_the_memory_that_changed_last() {
        let memories = [
            memory("a", 5, r#""entities":[{"id":"x","name":"old"},{"id":"y"}],"#),
            memory("b", 7, r#""entities":[{"id":"x","name":"new"}],"#),
            memory("c", 7, r#""relationships":[{"id":"r"}],"#),
        ];
        let written = text(snapshot(&memories).parts(|_| true));
        let list = memories.iter().map(|(_, json)| String::from_utf8_lossy(json)).collect::<Vec<_>>().join(",");
        let expected = format!(
            r#"{{"entities":[{{"id":"x","name":"new"}},{{"id":"y"}}],"memories":[{list}],"node_id":"app","relationships":[{{"id":"r"}}],"#
        );
        assert!(written[0].starts_with(&expected), "{}", written[0]);
        assert!(
            written[0].ends_with(r#","timestamp":"1970-01-01T00:01:00Z","user_id":"u","vector_clock":{"n":7}}"#),
            "{}",
            written[0]
        );
    }

    #[test]
    fn a_user_without_memories_has_a_snapshot_too() {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, b"helixstream:snapshot:u:60000000000");
        let expected = format!(
            r#"{{"memories":[],"node_id":"app","snapshot_id":"{id}","timestamp":"1970-01-01T00:01:00Z","user_id":"u","vector_clock":{{}}}}"#
        );
        assert_eq!(text(snapshot(&[]).parts(|_| false)), [expected]);
    }

    #[test]
    fn what_does_not_fit_goes_in_numbered_parts() {
        let memories: Vec<_> = (0..9).map(|n| memory(&format!("m{n}"), n, "")).collect();
        let limit = 480;
        let snapshot = snapshot(&memories);
        let parts = text(snapshot.parts(|part| part.len() <= limit));
        assert!(parts.len() > 2 && parts.iter().all(|part| part.len() <= limit));
        let mut seen = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let part: serde_json::Value = serde_json::from_str(part).expect("is JSON");
            assert_eq!(part["metadata"], serde_json::json!({"part": at + 1, "parts": parts.len()}));
            assert_eq!(part["vector_clock"], serde_json::json!({"n": 8}), "each part has the join of all");
            seen.extend(
                part["memories"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|m| m["memory_id"].as_str().expect("an id").to_owned()),
            );
        }
        assert_eq!(seen, (0..9).map(|n| format!("m{n}")).collect::<Vec<_>>());
        assert_eq!(snapshot.parts(|_| false).len(), 9, "a memory alone is never cut");
        let mut taken = Vec::new();
        snapshot.each_part(
            |part| part.len() <= limit,
            |part, all| {
                assert!(all.bytes >= parts.iter().map(String::len).sum() && all.bytes < parts.len() * limit);
                taken.push((part, all.count));
                if taken.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        );
        let expected: Vec<(Vec<u8>, usize)> =
            parts[..2].iter().map(|part| (part.clone().into_bytes(), parts.len())).collect();
        assert_eq!(taken, expected, "the taker has broken off");
    }

    #[test]
    fn a_damaged_memory_is_told() {
        assert!(Snapshot::new(HEADING, [("m", &b"{"[..])]).is_err());
        assert!(Snapshot::new(HEADING, [("m", &b"{}"[..])]).is_err());
    }
}
