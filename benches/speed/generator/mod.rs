//! The bench's input: the Kafka Streams anchor's generator (`Gen.java`), ported so that the same
//! seed gives the same bytes. A test holds it to digests that were taken of the Java program's
//! output.
//!
//! A writer has seen all of a memory before it writes, but for 8 % of the updates, whose writer is
//! another node than the last one and has not seen the last event. One node's counter is common to
//! all its memories, as in HelixAgent.

mod random;
mod text;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use random::Random;
use text::Text;

const WORDS: &str = "user prefers dark roast coffee in the morning and uses oauth tokens that rotate weekly deploy on friday is blocked \
    rust service talks to kafka cluster berlin timezone meeting with finance team about quarterly budget postgres index rebuild takes long \
    agent should answer short sentences french allergic peanuts flight booked window seat reminder renew passport before june mother \
    birthday flowers project helix memory graph embedding search latency p99 dashboard alert threshold disk full résumé naïve 記憶 Zürich";
const TAGS: &[&str] = &[
    "preference",
    "work",
    "travel",
    "health",
    "security",
    "deploy",
    "food",
    "family",
    "finance",
    "language",
    "schedule",
    "infra",
];
const ENTITY_TYPES: &[&str] = &["PERSON", "TECH", "PLACE", "ORG"];
const RELATIONSHIP_TYPES: &[&str] = &["RELATED_TO", "WORKS_WITH", "LOCATED_IN", "DEPENDS_ON"];
/// 2026-01-30T12:00:00Z in nanoseconds.
const START: u64 = 1_769_774_400_000_000_000;
const NODES: usize = 8;
const CONCURRENT: f64 = 0.08;
const DELETES: f64 = 0.03;
const REPEATS: f64 = 0.01;
const RECENT: usize = 256;

type Clock = [u64; NODES];

/// One record of the events topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Key: the id of HelixAgent's message.
    pub key: String,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// HelixAgent's envelope.
    pub value: Vec<u8>,
}

/// State of a memory in the generator.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// The joined clock of its events.
    seen: Clock,
    /// The joined clock before its last event.
    before: Clock,
    last_node: usize,
    has_events: bool,
    exists: bool,
}

/// An endless stream of records.
pub struct Generator {
    random: Random,
    counters: Clock,
    memories: Vec<Memory>,
    now: u64,
    made: u64,
    recent: Vec<Vec<u8>>,
    words: Vec<&'static str>,
}

impl Generator {
    /// A stream over so many memories.
    pub fn new(seed: u64, memories: usize) -> Generator {
        Generator {
            random: Random::new(seed),
            counters: Clock::default(),
            memories: vec![Memory::default(); memories],
            now: START,
            made: 0,
            recent: vec![Vec::new(); RECENT],
            words: WORDS.split(' ').collect(),
        }
    }

    /// Appends the next event; says at which memory.
    fn event(&mut self) -> Vec<u8> {
        let m = self.random.below(self.memories.len() as u32) as usize;
        let mut node = self.random.below(NODES as u32) as usize;
        self.now += 200_000 + self.random.long_below(1_600_000);
        let ts = self.now;
        let memory = self.memories[m];
        let mut clock = memory.seen;
        if memory.exists && memory.has_events && self.random.double() < CONCURRENT {
            while node == memory.last_node {
                node = self.random.below(NODES as u32) as usize;
            }
            clock = memory.before;
        }
        let kind = self.kind(memory.exists);
        self.counters[node] += 1;
        clock[node] = self.counters[node];
        let mut o = Text::default();
        let i = self.made;
        o.raw("{").key("event_id").format(format_args!("\"evt-{:x}-{i}\"", START + i)).key("event_type").string(kind);
        o.key("timestamp").time(ts).key("node_id").format(format_args!("\"node-{node}\""));
        o.key("memory_id").format(format_args!("\"mem-{:x}\"", 0x1000_0000 + m));
        o.key("user_id").format(format_args!("\"user-{}\"", m % 977));
        o.key("session_id").format(format_args!("\"sess-{}\"", i >> 6));
        let full = kind == "memory.created";
        if full || kind == "memory.updated" {
            self.body(&mut o, full);
        }
        if full && self.random.double() < 0.4 || kind == "entity.updated" {
            self.entities(&mut o, ts);
        }
        if full && self.random.double() < 0.25 || kind == "relationship.created" {
            self.relationships(&mut o, ts);
        }
        o.key("version").format(format_args!("{ts}")).key("vector_clock").raw("\"{");
        for (k, counter) in clock.iter().enumerate().filter(|(_, counter)| **counter > 0) {
            let comma = if o.0.last() == Some(&b'{') { "" } else { "," };
            o.format(format_args!("{comma}\\\"node-{k}\\\":{counter}"));
        }
        o.raw("}\"}");
        let joined = std::array::from_fn(|k| clock[k].max(memory.seen[k]));
        let exists = kind != "memory.deleted";
        self.memories[m] = Memory { seen: joined, before: memory.seen, last_node: node, has_events: true, exists };
        o.0
    }

    fn kind(&mut self, exists: bool) -> &'static str {
        if !exists {
            "memory.created"
        } else if self.random.double() < DELETES {
            "memory.deleted"
        } else if self.random.double() >= 0.05 {
            "memory.updated"
        } else if self.random.boolean() {
            "entity.updated"
        } else {
            "relationship.created"
        }
    }

    fn body(&mut self, o: &mut Text, full: bool) {
        // Java's length of a string: all the words' characters are single units of UTF-16.
        let wanted = 100 + self.random.below(200) as usize;
        let mut content = String::new();
        let mut chars = 0;
        while chars < wanted {
            let word = self.random.one_of(&self.words);
            let space = if content.is_empty() { "" } else { " " };
            content.push_str(space);
            content.push_str(word);
            chars += space.len() + word.chars().count();
        }
        o.key("content").string(&content).key("importance");
        self.thousandth(o);
        o.key("tags").raw("[");
        for _ in 0..1 + self.random.below(4) {
            let tag = self.random.one_of(TAGS);
            o.comma().string(tag);
        }
        o.raw("]");
        if full || self.random.double() < 0.3 {
            let source = if self.random.boolean() { "chat" } else { "import" };
            o.key("metadata").raw("{").key("source").string(source).key("confidence");
            self.thousandth(o);
            if self.random.boolean() {
                o.key("model").string("helix-large-2");
            }
            o.key("access_count").format(format_args!("{}", self.random.below(50))).raw("}");
        }
    }

    fn entities(&mut self, o: &mut Text, ts: u64) {
        o.key("entities").raw("[");
        for _ in 0..1 + self.random.below(2) {
            let id = self.random.below(40);
            o.comma().raw("{").key("id").format(format_args!("\"ent-{id}\""));
            o.key("type").string(self.random.one_of(ENTITY_TYPES));
            o.key("name").string(self.random.one_of(&self.words));
            o.key("properties").raw(r#"{"lang":"en"}"#).key("confidence");
            self.thousandth(o);
            o.key("created_at").time(ts).raw("}");
        }
        o.raw("]");
    }

    fn relationships(&mut self, o: &mut Text, ts: u64) {
        let id = self.random.below(20);
        o.key("relationships").raw("[{").key("id").format(format_args!("\"rel-{id}\""));
        for end in ["from_entity", "to_entity"] {
            let id = self.random.below(40);
            o.key(end).format(format_args!("\"ent-{id}\""));
        }
        o.key("type").string(self.random.one_of(RELATIONSHIP_TYPES)).key("strength");
        self.thousandth(o);
        o.key("created_at").time(ts).raw("}]");
    }

    /// Three digits behind the point, the last of them not 0.
    fn thousandth(&mut self, o: &mut Text) {
        let first = (100 + self.random.below(899)) / 10;
        let last = 1 + self.random.below(9);
        o.format(format_args!("0.{first}{last}"));
    }

    fn envelope(&self, id: &str, event: &[u8]) -> Vec<u8> {
        let mut o = Text::default();
        o.raw("{").key("id").string(id).key("type").string("memory.event");
        o.key("topic").string("helixagent.memory.events").key("payload").string(&STANDARD.encode(event));
        o.key("timestamp").time(self.now).key("headers").raw(r#"{"content-type":"application/json"}"#);
        o.key("priority").raw("0").key("retry_count").raw("0").raw("}");
        o.0
    }
}

impl Iterator for Generator {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        let slot = self.made as usize % RECENT;
        let event = if self.made > 300 && self.random.double() < REPEATS {
            self.recent[self.random.below(RECENT as u32) as usize].clone()
        } else {
            let event = self.event();
            self.recent[slot].clone_from(&event);
            event
        };
        self.made += 1;
        let key = format!("msg-{:x}", self.random.long() | 1 << 63);
        let value = self.envelope(&key, &event);
        Some(Generated { key, timestamp_ms: (self.now / 1_000_000) as i64, value })
    }
}
