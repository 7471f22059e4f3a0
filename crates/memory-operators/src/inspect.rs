//! Reads a store of memories for people: which memories it holds, and one memory's resolved form
//! and state.

use std::collections::BTreeSet;

use memory::state::{Arena, Loader, Memory, OpenConflict, Register, Rows, StateError, memory_of_head};
use memory::view::{ObjectWriter, ResolutionContext, write_clock};

/// The memory whose head row lies under a key; `None` for the key of any other row.
pub fn memory_of(key: &[u8]) -> Option<&str> {
    memory_of_head(key)
}

/// The resolved memory and the state that it is read from, as one JSON object: `resolved` as it is
/// emitted, `frontier` and `deletes` as event ids, `registers` with the live writes of each path,
/// `open_conflicts`. `None` for an unknown memory.
///
/// # Errors
/// [`StateError`]: a row could not be read.
pub fn memory(rows: &dyn Rows, id: &str, context: &ResolutionContext<'_>) -> Result<Option<Vec<u8>>, StateError> {
    let arena = Arena::new();
    let mut memory = Memory::open(Loader::new(rows, &arena, id))?;
    if memory.is_new() {
        return Ok(None);
    }
    let visible = context.visible_frontier(&memory);
    let resolved = context.resolved(&mut memory, &visible)?;
    memory.load_all()?;
    let mut out = Vec::with_capacity(2 * resolved.json.len());
    let mut o = ObjectWriter::new(&mut out);
    let ids = |headers: &[u32]| headers.iter().map(|h| memory.header(*h).event_id.to_owned()).collect::<BTreeSet<_>>();
    o.array("deletes", ids(memory.deletes()), |out, id| json::write_string(out, &id));
    o.array("frontier", ids(memory.frontier()), |out, id| json::write_string(out, &id));
    o.array("open_conflicts", memory.open_conflicts(), write_open);
    let mut registers = ObjectWriter::new(o.key("registers"));
    for register in memory.all_registers() {
        write_register(&mut registers, &memory, register)?;
    }
    registers.end();
    o.raw("resolved", &resolved.json);
    o.end();
    Ok(Some(out))
}

fn write_open(out: &mut Vec<u8>, open: &OpenConflict<'_>) {
    let mut o = ObjectWriter::new(out);
    o.str("conflict_type", open.conflict_type.as_str());
    o.time("detected_at", open.timestamp);
    o.array("fields", &open.fields, |out, field| json::write_string(out, &field.path.to_string()));
    o.str("local_event_id", open.local_event_id);
    o.str("remote_event_id", open.event_id);
    o.end();
}

fn write_register(
    registers: &mut ObjectWriter<'_>,
    memory: &Memory<'_>,
    register: &Register<'_>,
) -> Result<(), StateError> {
    let out = registers.key(&register.path.to_string());
    out.push(b'[');
    for (i, write) in register.writes.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let header = memory.header(write.by);
        let mut o = ObjectWriter::new(out);
        o.str("event_id", header.event_id);
        o.time("timestamp", header.timestamp);
        o.raw("value", memory.bytes(&write.value)?);
        write_clock(o.key("vector_clock"), &header.clock);
        o.integer("version", header.version);
        o.end();
    }
    out.push(b']');
    Ok(())
}
