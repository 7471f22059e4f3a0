//! A node's record: its fields and its JSON.

use std::fmt;

use json::{Number, ObjectWriter, Value, ValueKind};

use crate::actor::Actor;
use crate::ports::Publication;

/// The version of the form of records that this program writes.
const SCHEMA_VERSION: u64 = 1;

const NANOS_PER_MS: u64 = 1_000_000;

/// A record of this program has some hundred bytes; a value with more than that is none.
const MAX_BYTES: usize = 64 << 10;

/// The most bytes of the name and version of a program.
const MAX_VERSION_BYTES: usize = 256;

/// The most abilities of a node, and the most bytes of each.
const MAX_CAPABILITIES: usize = 64;
const MAX_CAPABILITY_BYTES: usize = 64;

/// The part that a node plays, by HelixAgent's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeRole {
    /// It writes memories of its own.
    #[default]
    Primary,
    /// It holds copies.
    Replica,
    /// It works on memories of others.
    Worker,
}

impl NodeRole {
    /// All roles.
    pub const ALL: [NodeRole; 3] = [NodeRole::Primary, NodeRole::Replica, NodeRole::Worker];

    /// The word in records and settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            NodeRole::Primary => "primary",
            NodeRole::Replica => "replica",
            NodeRole::Worker => "worker",
        }
    }
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The state that a node reports of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It was running when it wrote the record.
    Running,
    /// It has ended in good order, with nothing left to publish that it knew of.
    Stopped,
    /// Its folder was rolled back, or is a copy: it goes on as another actor.
    Replaced {
        /// The actor that it goes on as.
        successor: Actor,
    },
}

impl NodeState {
    fn as_str(&self) -> &'static str {
        match self {
            NodeState::Running => "running",
            NodeState::Stopped => "stopped",
            NodeState::Replaced { .. } => "replaced",
        }
    }
}

/// A node's record on the nodes topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// The actor, which is the record's key.
    pub actor: Actor,
    /// Its role.
    pub role: NodeRole,
    /// The program and its version.
    pub software_version: String,
    /// The node's abilities, in words that programs compare.
    pub capabilities: Vec<String>,
    /// The counter of the last event that it has accepted.
    pub counter: u64,
    /// The events that it has published, those of the same transaction included.
    pub published: Publication,
    /// How many events waited to be published when the record was written.
    pub outbox_depth: u64,
    /// When the oldest of these was accepted, in milliseconds since 1970.
    pub outbox_since_ms: Option<i64>,
    /// When the actor wrote its first record, in milliseconds since 1970.
    pub joined_ms: i64,
    /// When this record was written, in milliseconds since 1970.
    pub heartbeat_ms: i64,
    /// The state that it reports.
    pub state: NodeState,
}

/// A value that is no node's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnreadableRecord(pub(super) &'static str);

impl NodeRecord {
    /// Whether another actor goes on in the place of this one, which publishes no event any more.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        matches!(self.state, NodeState::Replaced { .. })
    }

    /// The record as canonical JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        object.array("capabilities", &self.capabilities, |out, word| json::write_string(out, word));
        object.integer("counter", self.counter);
        object.time("heartbeat_at", nanos(self.heartbeat_ms));
        object.str("incarnation", self.actor.incarnation.as_str());
        object.time("joined_at", nanos(self.joined_ms));
        object.str("name", self.actor.name.as_str());
        object.str("node_id", &self.actor.to_string());
        object.integer("outbox_depth", self.outbox_depth);
        if let Some(since) = self.outbox_since_ms {
            object.time("outbox_since", nanos(since));
        }
        object.str("published_chain", &format!("{:032x}", self.published.chain));
        object.integer("published_counter", self.published.counter);
        object.integer("schema_version", SCHEMA_VERSION);
        object.str("software_version", &self.software_version);
        object.str("state", self.state.as_str());
        if let NodeState::Replaced { successor } = &self.state {
            object.str("successor", &successor.to_string());
        }
        object.str("type", self.role.as_str());
        object.end();
        out
    }

    /// Reads a record. Members that this version does not know are left out.
    ///
    /// # Errors
    /// [`UnreadableRecord`], which says what is missing or wrong.
    pub fn from_json(bytes: &[u8]) -> Result<NodeRecord, UnreadableRecord> {
        if bytes.len() > MAX_BYTES {
            return Err(UnreadableRecord("it has more than 64 KiB"));
        }
        let document = json::parse(bytes).map_err(|_| UnreadableRecord("it is not JSON"))?;
        let members = Members(document.root());
        if members.counter("schema_version")? != SCHEMA_VERSION {
            return Err(UnreadableRecord("its schema_version is not 1"));
        }
        let role = members.text("type")?;
        let role = NodeRole::ALL.into_iter().find(|known| known.as_str() == role);
        let state = match members.text("state")? {
            "running" => NodeState::Running,
            "stopped" => NodeState::Stopped,
            "replaced" => NodeState::Replaced { successor: members.actor("successor")? },
            _ => return Err(UnreadableRecord("its state is not running, stopped or replaced")),
        };
        let software_version = members.text("software_version")?;
        if software_version.len() > MAX_VERSION_BYTES {
            return Err(UnreadableRecord("its software_version has more than 256 bytes"));
        }
        let capabilities = members.texts("capabilities")?;
        if capabilities.len() > MAX_CAPABILITIES || capabilities.iter().any(|word| word.len() > MAX_CAPABILITY_BYTES) {
            return Err(UnreadableRecord("it has more than 64 capabilities, or one with more than 64 bytes"));
        }
        Ok(NodeRecord {
            actor: members.actor("node_id")?,
            role: role.ok_or(UnreadableRecord("its type is not primary, replica or worker"))?,
            software_version: software_version.to_owned(),
            capabilities,
            counter: members.counter("counter")?,
            published: Publication {
                counter: members.counter("published_counter")?,
                chain: chain(members.text("published_chain")?)?,
            },
            outbox_depth: members.counter("outbox_depth")?,
            outbox_since_ms: members.get("outbox_since").map(|_| members.time_ms("outbox_since")).transpose()?,
            joined_ms: members.time_ms("joined_at")?,
            heartbeat_ms: members.time_ms("heartbeat_at")?,
            state,
        })
    }
}

fn nanos(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).saturating_mul(NANOS_PER_MS)
}

fn chain(hex: &str) -> Result<u128, UnreadableRecord> {
    let is_hex = hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let parsed = if is_hex { u128::from_str_radix(hex, 16).ok() } else { None };
    parsed.ok_or(UnreadableRecord("its published_chain does not have 32 digits of lower-case hex"))
}

/// The members of a record.
struct Members<'d>(Value<'d>);

impl<'d> Members<'d> {
    fn get(&self, name: &str) -> Option<Value<'d>> {
        if self.0.kind() == ValueKind::Object { self.0.get(name) } else { None }
    }

    fn text(&self, name: &'static str) -> Result<&'d str, UnreadableRecord> {
        self.get(name).and_then(Value::as_str).ok_or(UnreadableRecord("a member that is a text is missing"))
    }

    fn texts(&self, name: &'static str) -> Result<Vec<String>, UnreadableRecord> {
        let array = self.get(name).filter(|value| value.kind() == ValueKind::Array);
        let items = array.map(|array| array.items().map(|item| Some(item.as_str()?.to_owned())).collect());
        items.flatten().ok_or(UnreadableRecord("a member that is an array of texts is missing"))
    }

    fn counter(&self, name: &'static str) -> Result<u64, UnreadableRecord> {
        match self.get(name).and_then(Value::as_number) {
            Some(Number::Int(n)) => u64::try_from(n).ok(),
            _ => None,
        }
        .ok_or(UnreadableRecord("a member that is a non-negative integer is missing"))
    }

    fn time_ms(&self, name: &'static str) -> Result<i64, UnreadableRecord> {
        let nanos = json::rfc3339::parse(self.text(name)?);
        let nanos = nanos.map_err(|_| UnreadableRecord("a member that is a time of RFC 3339 is not one"))?;
        i64::try_from(nanos / NANOS_PER_MS).map_err(|_| UnreadableRecord("a time is out of range"))
    }

    fn actor(&self, name: &'static str) -> Result<Actor, UnreadableRecord> {
        self.text(name)?.parse().map_err(|_| UnreadableRecord("a member that names an actor does not"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: NodeState) -> NodeRecord {
        NodeRecord {
            actor: "agent-7.0123456789abcdefghjk".parse().unwrap(),
            role: NodeRole::Replica,
            software_version: "helixstream 0.1.0".to_owned(),
            capabilities: vec!["search".to_owned(), "é\n".to_owned()],
            counter: 12,
            published: Publication { counter: 9, chain: 0x0f },
            outbox_depth: 3,
            outbox_since_ms: Some(1_700_000_000_123),
            joined_ms: 1_600_000_000_000,
            heartbeat_ms: 1_700_000_000_999,
            state,
        }
    }

    #[test]
    fn a_record_is_read_as_it_is_written() {
        let successor = "agent-7.00000000000000000001".parse().unwrap();
        for state in [NodeState::Running, NodeState::Stopped, NodeState::Replaced { successor }] {
            for outbox_since_ms in [None, Some(5)] {
                let record = NodeRecord { outbox_since_ms, ..record(state.clone()) };
                assert_eq!(NodeRecord::from_json(&record.to_json()), Ok(record));
            }
        }
    }

    #[test]
    fn its_json_is_canonical_and_has_the_names_of_the_contract() {
        let json = record(NodeState::Running).to_json();
        assert_eq!(json::parse(&json).unwrap().root().canonical(), json);
        let text = String::from_utf8(json).unwrap();
        for part in [
            r#""node_id":"agent-7.0123456789abcdefghjk""#,
            r#""published_chain":"0000000000000000000000000000000f""#,
            r#""heartbeat_at":"2023-11-14T22:13:20.999Z""#,
            r#""type":"replica""#,
        ] {
            assert!(text.contains(part), "{text} lacks {part}");
        }
    }

    #[test]
    fn texts_have_limits() {
        let read = |record: NodeRecord| NodeRecord::from_json(&record.to_json()).is_ok();
        let version = |bytes: usize| NodeRecord { software_version: "v".repeat(bytes), ..record(NodeState::Running) };
        let able = |count: usize, bytes: usize| NodeRecord {
            capabilities: vec!["c".repeat(bytes); count],
            ..record(NodeState::Running)
        };
        assert!(read(version(256)) && read(able(64, 64)));
        assert!(!read(version(257)) && !read(able(65, 1)) && !read(able(1, 65)));
    }

    #[test]
    fn other_values_are_refused() {
        let good = String::from_utf8(record(NodeState::Running).to_json()).unwrap();
        let wrong = [
            ("", ""),
            (r#""schema_version":1"#, r#""schema_version":2"#),
            (r#""state":"running""#, r#""state":"asleep""#),
            (r#""state":"running""#, r#""state":"replaced""#),
            (r#""counter":12"#, r#""counter":-1"#),
            (r#""counter":12"#, r#""counter":1.5"#),
            ("000f", "000F"),
            ("000f", "00f"),
            (r#""type":"replica""#, r#""type":"king""#),
            ("2023-11-14T22", "2023-11-14 25"),
            (r#"["search","#, r#"[1,"#),
        ];
        for (from, to) in wrong {
            let text = if from.is_empty() { "[]".to_owned() } else { good.replace(from, to) };
            assert!(text == "[]" || text != good, "{from} is not in {good}");
            assert!(NodeRecord::from_json(text.as_bytes()).is_err(), "{text}");
        }
        assert!(NodeRecord::from_json(b"\0\0").is_err());
        let newer = good.replace(r#""state""#, r#""shoe_size":46,"state""#);
        assert!(NodeRecord::from_json(newer.as_bytes()).is_ok(), "members of later versions are left out");
    }
}
