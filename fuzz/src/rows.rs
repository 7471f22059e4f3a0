//! The rows of a memory in its store (`domain::state`): events that go through rows leave the same
//! memory however the rows are cut, and rows that are read are written so that they are read the
//! same.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use memory::binary::{BinaryError, Reader, put_bytes};
use memory::event::wire::{self, Source};
use memory::event::{Limits, decode};
use memory::settings::ResolverSettings;
use memory::state::{Arena, Layout, Loader, Memory, ReadFailure, Row, RowPut, Rows, StateError};
use memory::step::{Outcome, read, step_within};
use memory::view::ResolutionContext;
use testkit::Random;

use crate::events;
use crate::plain::Target;

/// The target, with the inputs of its plain form.
pub const TARGET: Target =
    Target { name: "rows", check, generate, dictionary: events::DICTIONARY, shared: &[], inputs: 1_500 };

/// The memory whose rows are checked.
const MEMORY: &str = "m";
const RECORD_TIMESTAMP_MS: i64 = 1_795_441_887_515;
/// Damaged rows may name many others; a store that is asked for more of them fails.
const MAX_READS: usize = 2_000;

/// A layout that cuts small memories into every kind of row.
const SMALL: Layout = Layout {
    max_part_bytes: 150,
    max_inline_bytes: 60,
    max_head_weight: 500,
    min_paged_weight: 400,
    page_weight: 600,
    max_page_weight: 900,
};

/// Layouts that rows of any origin are written under. Values stay where they lie: the row of a
/// value is named after its event's digest, which damaged rows may have twice.
const REWRITTEN: [Layout; 2] = [
    Layout { max_inline_bytes: usize::MAX, ..SMALL },
    Layout {
        max_part_bytes: 4 << 20,
        max_inline_bytes: usize::MAX,
        max_head_weight: 16 << 10,
        min_paged_weight: 4 << 10,
        page_weight: 4 << 10,
        max_page_weight: 6 << 10,
    },
];

/// Rows by key.
#[derive(Clone, Debug, Default)]
struct Store {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    reads: Cell<usize>,
}

impl Rows for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
        self.reads.set(self.reads.get() + 1);
        if self.reads.get() > MAX_READS {
            return Err("too many reads".into());
        }
        Ok(self.rows.get(key).cloned())
    }
}

impl Store {
    fn put(&mut self, puts: Vec<RowPut>) {
        self.reads.set(0);
        for (key, value) in puts {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }

    /// The rows as one input: key and value by turns, each behind its length.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, value) in &self.rows {
            put_bytes(&mut bytes, key);
            put_bytes(&mut bytes, value);
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Store, BinaryError> {
        let mut store = Store::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let key = reader.bytes("key")?;
            store.rows.insert(key.to_vec(), reader.bytes("value")?.to_vec());
        }
        Ok(store)
    }
}

/// Takes the bytes as events in JSON, one a line, if they begin with `{`, else as rows. Returns
/// whether they hold an event of the memory, or rows that are read as a memory.
///
/// # Panics
/// A property does not hold.
pub fn check(data: &[u8]) -> bool {
    if data.starts_with(b"{") {
        return check_events(data);
    }
    match Store::from_bytes(data) {
        Ok(store) => check_rows(store),
        Err(_) => false,
    }
}

/// Applies events to a memory under two layouts: same outcomes, same memory, and rows that come
/// back.
fn check_events(lines: &[u8]) -> bool {
    let mut small = Store::default();
    let mut whole = Store::default();
    let mut applied = false;
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(form) = form_of(line) else { continue };
        let outcomes = [(&mut small, SMALL), (&mut whole, Layout::default())].map(|(store, layout)| {
            let outcome = step(store, &form, layout).unwrap_or_else(|error| panic!("{error}"));
            let shown = (outcome.changed, outcome.is_active, outcome.updated_at, outcome.conflicts.len());
            store.put(outcome.puts);
            (shown, outcome.resolved.map(|resolved| String::from_utf8_lossy(&resolved.json).into_owned()))
        });
        assert_eq!(outcomes[0], outcomes[1], "the layout decides the outcome");
        applied = true;
    }
    if applied {
        let shown = [&small, &whole].map(|store| show(store).unwrap_or_else(|error| panic!("{error}")));
        assert_eq!(shown[0], shown[1], "the layout decides the memory");
        assert_eq!(json(&small), json(&whole));
        for store in [small, whole] {
            assert!(Store::from_bytes(&store.to_bytes()).is_ok_and(|same| same.rows == store.rows));
            assert_written_once(&store);
            assert!(check_rows(store), "rows that were just written are refused");
        }
    }
    applied
}

/// A memory that did not change is written as it was.
fn assert_written_once(store: &Store) {
    for layout in REWRITTEN {
        let mut once = store.clone();
        once.put(rewrite(&once, layout).unwrap_or_default());
        let mut twice = once.clone();
        twice.put(rewrite(&twice, layout).unwrap_or_default());
        assert_eq!(once.rows, twice.rows);
    }
}

/// Reads the memory of any rows; if it is one, writes it and reads it again.
fn check_rows(mut store: Store) -> bool {
    let shown = match show(&store) {
        Ok(shown) => shown,
        Err(error) => {
            assert_is_explained(&store, &error);
            return false;
        }
    };
    if !store.rows.contains_key(&Row::Head.key(MEMORY)) {
        // A new memory, which is written with its first event.
        return false;
    }
    for layout in REWRITTEN {
        let Some(puts) = rewrite(&store, layout) else { return false };
        store.put(puts);
        assert_eq!(show(&store).unwrap_or_else(|error| panic!("what was written is refused: {error}")), shown);
    }
    // Whatever was read as a memory takes the next event.
    for event in [
        br#"{"event_id":"x","event_type":"memory.updated","memory_id":"m","content":"x","metadata":{"k1":1}}"#
            .as_slice(),
        br#"{"event_id":"y","event_type":"memory.deleted","memory_id":"m","vector_clock":{"n1":9,"n2":9,"n3":9}}"#,
    ] {
        let form = form_of(event).unwrap_or_default();
        store.reads.set(0);
        match step(&store, &form, SMALL) {
            Ok(outcome) => store.put(outcome.puts),
            Err(error) => assert!(matches!(error, StateError::Read { .. } | StateError::Damaged { .. })),
        }
    }
    true
}

/// A row of an unknown version is refused with its number and what to do.
fn assert_is_explained(store: &Store, error: &StateError) {
    let message = error.to_string();
    assert!(message.contains("\"m\""), "{message} does not name the memory");
    if let Some([0, version, ..]) = store.rows.get(&Row::Head.key(MEMORY)).map(Vec::as_slice)
        && *version != 1
    {
        let expected = format!("has version {version} of the head of a memory, this program reads 1: run the newer");
        assert!(message.contains(&expected), "{message}");
    }
}

/// The wire form of an event of the memory, or of the absorb that it sends to it.
fn form_of(json: &[u8]) -> Option<Vec<u8>> {
    let event = decode(Some(json), RECORD_TIMESTAMP_MS, &Limits::default()).ok()?;
    let absorbed = event.absorbed().any(|id| id == MEMORY).then_some(event.memory_id.as_deref()).flatten();
    if absorbed.is_none() && event.target() != Some(MEMORY) {
        return None;
    }
    let mut form = Vec::new();
    let source = Source { topic: "t", partition: 1, offset: 2 };
    wire::encode(&event, &source, RECORD_TIMESTAMP_MS, absorbed, &mut form);
    Some(form)
}

fn step(store: &Store, form: &[u8], layout: Layout) -> Result<Outcome, StateError> {
    let settings = ResolverSettings::default();
    let context = ResolutionContext { settings: &settings, custom: None };
    let event = wire::decode(form).unwrap_or_else(|error| panic!("the form of an event {error}"));
    let arena = Arena::new();
    step_within(Loader::new(store, &arena, MEMORY).with_layout(layout), &event, &context)
}

/// The rows that a memory is written to after it has been read whole; `None` where a row is
/// missing.
fn rewrite(store: &Store, layout: Layout) -> Option<Vec<RowPut>> {
    store.reads.set(0);
    let arena = Arena::new();
    let mut memory = Memory::open(Loader::new(store, &arena, MEMORY).with_layout(layout)).ok()?;
    memory.load_all().ok()?;
    memory.close().ok()
}

fn json(store: &Store) -> Option<Vec<u8>> {
    let settings = ResolverSettings::default();
    store.reads.set(0);
    let resolved = read(store, MEMORY, &ResolutionContext { settings: &settings, custom: None });
    resolved.unwrap_or_else(|error| panic!("{error}")).map(|resolved| resolved.json)
}

/// All that a memory holds, without where it lies.
fn show(store: &Store) -> Result<String, StateError> {
    store.reads.set(0);
    let arena = Arena::new();
    let mut memory = Memory::open(Loader::new(store, &arena, MEMORY))?;
    memory.load_all()?;
    let mut out = String::new();
    let mut line = |text: &dyn std::fmt::Debug| _ = writeln!(out, "{text:?}");
    line(&memory.clock());
    line(&memory.open_conflicts());
    for events in [memory.frontier(), memory.deletes()] {
        line(&events.iter().map(|by| memory.header(*by)).collect::<Vec<_>>());
    }
    for register in memory.all_registers() {
        line(&register.path);
        for write in &register.writes {
            let value = memory.bytes(&write.value)?.escape_ascii().to_string();
            line(&(memory.header(write.by), value, write.content, write.value.rank(register.path.field)));
        }
    }
    Ok(out)
}

fn generate(random: &mut Random) -> Vec<u8> {
    let lines: Vec<String> =
        (0..1 + random.below(8)).map(|_| events::event(random, &["m", "m", "k"]).to_string()).collect();
    if random.one_in(2) {
        return lines.join("\n").into_bytes();
    }
    let mut store = Store::default();
    let layout = if random.one_in(2) { SMALL } else { Layout::default() };
    for form in lines.iter().filter_map(|line| form_of(line.as_bytes())) {
        if let Ok(outcome) = step(&store, &form, layout) {
            store.put(outcome.puts);
        }
    }
    store.to_bytes()
}
