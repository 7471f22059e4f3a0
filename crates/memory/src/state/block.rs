//! Blocks: the binary form in which registers lie in a row, with the headers of the events that
//! wrote them. A block is read alone: it has its own table of names (clock actors, nodes, topics)
//! and of headers.
//!
//! | part | form |
//! |---|---|
//! | names | count, then texts sorted by bytes |
//! | headers | count, then each header: see [`put_header`] |
//! | registers | count, then path (field code, key of a keyed field), writes |
//! | write | index of its header, for an embedding the digest of its event's content, value |

use super::super::binary::{BinaryError, Reader, put_bytes, put_varint};
use super::super::causality::EventHeader;
use super::super::event::wire::Source;
use super::path::{Field, Path};
use super::value::{Value, decode_number, encode_number};

/// A write that is causally maximal for its path.
#[derive(Clone, Copy, Debug)]
pub struct RegisterWrite<'a> {
    /// Index of its event's header in the memory.
    pub by: u32,
    /// The value that it wrote.
    pub value: Value<'a>,
    /// For an embedding: the digest of the content that its event carried, if it carried any.
    pub content: Option<u128>,
}

/// All live writes to one path; never empty in a stored block.
#[derive(Clone, Debug)]
pub struct Register<'a> {
    /// The path.
    pub path: Path<'a>,
    /// Its writes, in order of arrival.
    pub writes: Vec<RegisterWrite<'a>>,
}

/// The headers that a block refers to: which they are, in its own numbering.
#[derive(Debug, Default)]
pub struct Tables<'a> {
    names: Vec<&'a str>,
    /// Indexes of the memory's headers, in the block's order.
    used: Vec<u32>,
    /// By index of the memory's headers: one more than the index in the block, 0 for none.
    at: Vec<u32>,
}

impl<'a> Tables<'a> {
    /// Empty tables over a memory of `headers`, with names that are known to be sorted and to be
    /// needed.
    pub fn new(headers: usize, names: Vec<&'a str>) -> Tables<'a> {
        Tables { names, used: Vec::new(), at: vec![0; headers] }
    }

    /// Empties the tables, for the next block of the same memory.
    pub fn reset(&mut self) {
        self.names.clear();
        for by in self.used.drain(..) {
            self.at[by as usize] = 0;
        }
    }

    /// Takes a header in, if it is not yet.
    pub fn refer(&mut self, by: u32) {
        let at = &mut self.at[by as usize];
        if *at == 0 {
            self.used.push(by);
            *at = self.used.len() as u32;
        }
    }

    /// Takes in the headers of all writes of these registers.
    pub fn refer_registers(&mut self, registers: &[Register<'a>]) {
        registers.iter().flat_map(|r| &r.writes).for_each(|w| self.refer(w.by));
    }

    fn name(&mut self, name: &'a str) {
        if place(&self.names, name).is_some() {
            return;
        }
        if let Err(i) = self.names.binary_search(&name) {
            self.names.insert(i, name);
        }
    }

    /// Completes the names from the headers taken in. To be called once, before anything is
    /// written.
    pub fn close(&mut self, headers: &[EventHeader<'a>]) {
        let mut missing: Vec<&'a str> = Vec::new();
        for &by in &self.used {
            let h = &headers[by as usize];
            let mut i = 0;
            for (name, _) in &h.clock {
                i = seek(&self.names, i, name);
                if self.names.get(i).is_none_or(|found| !is_same(found, name)) {
                    missing.push(name);
                }
            }
        }
        if !missing.is_empty() {
            self.names.append(&mut missing);
            self.names.sort_unstable();
            self.names.dedup();
        }
        for i in 0..self.used.len() {
            let h = &headers[self.used[i] as usize];
            self.name(h.source.topic);
            if let Some(node) = h.node_id {
                self.name(node);
            }
        }
    }

    /// Writes names and headers.
    pub fn encode(&self, out: &mut Vec<u8>, headers: &[EventHeader<'a>]) {
        put_varint(out, self.names.len() as u64);
        for name in &self.names {
            put_bytes(out, name.as_bytes());
        }
        put_varint(out, self.used.len() as u64);
        for &by in &self.used {
            self.put_header(out, &headers[by as usize]);
        }
    }

    /// A name's index; every name that is asked for was taken in by [`Tables::close`].
    fn index(&self, name: &str) -> u64 {
        place(&self.names, name).unwrap_or_else(|| self.names.partition_point(|n| *n < name)) as u64
    }

    /// Writes clock entries: count, then index of the name and counter.
    pub fn put_clock(&self, out: &mut Vec<u8>, clock: &[(&str, u64)]) {
        put_varint(out, clock.len() as u64);
        let mut i = 0;
        for (name, counter) in clock {
            i = seek(&self.names, i, name);
            put_varint(out, i as u64);
            put_varint(out, *counter);
        }
    }

    fn put_header(&self, out: &mut Vec<u8>, h: &EventHeader<'a>) {
        let flags = u8::from(h.is_delete)
            | u8::from(h.absorb_into.is_some()) << 1
            | u8::from(h.importance.is_some()) << 2
            | u8::from(h.node_id.is_some()) << 3;
        out.push(flags);
        put_varint(out, h.seq);
        out.extend_from_slice(&h.digest.to_le_bytes());
        put_bytes(out, h.event_id.as_bytes());
        put_varint(out, h.version);
        out.extend_from_slice(&h.timestamp.to_le_bytes());
        if let Some(node) = h.node_id {
            put_varint(out, self.index(node));
        }
        if let Some(n) = h.importance {
            encode_number(out, n);
        }
        if let Some(target) = h.absorb_into {
            put_bytes(out, target.as_bytes());
        }
        put_varint(out, self.index(h.source.topic));
        put_varint(out, u64::from(h.source.partition as u32));
        put_varint(out, h.source.offset as u64);
        self.put_clock(out, &h.clock);
    }

    /// Writes references to headers.
    pub fn put_references(&self, out: &mut Vec<u8>, headers: &[u32]) {
        put_varint(out, headers.len() as u64);
        for by in headers {
            put_varint(out, u64::from(self.at[*by as usize]) - 1);
        }
    }

    /// Writes registers.
    pub fn put_registers(&self, out: &mut Vec<u8>, registers: &[Register<'a>]) {
        put_varint(out, registers.len() as u64);
        for register in registers {
            put_path(out, register.path);
            put_varint(out, register.writes.len() as u64);
            for write in &register.writes {
                put_varint(out, u64::from(self.at[write.by as usize]) - 1);
                if register.path.field == Field::Embedding {
                    out.push(u8::from(write.content.is_some()));
                    if let Some(digest) = write.content {
                        out.extend_from_slice(&digest.to_le_bytes());
                    }
                }
                write.value.encode(out);
            }
        }
    }
}

/// The first index from `from` on whose name is not below `name`; all names before `from` are.
/// Steps double, so that a clock with few of very many names is quick to find, and one with most of
/// them is walked through.
fn seek(names: &[&str], from: usize, name: &str) -> usize {
    // A clock's next name is mostly the same one or the next one.
    for i in [from, from + 1] {
        if names.get(i).is_some_and(|found| std::ptr::eq(*found, name)) {
            return i;
        }
    }
    let mut low = from;
    let mut step = 1;
    while low + step <= names.len() && names[low + step - 1] < name {
        low += step;
        step *= 2;
    }
    let high = (low + step).min(names.len());
    low + names[low..high].partition_point(|n| *n < name)
}

/// The index of a name that lies at the same place as the one that is looked for, among the first
/// names. Those of one block are slices of its bytes, so that most need no comparison of texts.
fn place(names: &[&str], name: &str) -> Option<usize> {
    names.iter().take(16).position(|found| std::ptr::eq(*found, name))
}

/// Whether two names are equal; those at one place are without a look at their texts.
fn is_same(a: &str, b: &str) -> bool {
    std::ptr::eq(a, b) || a == b
}

/// Writes a path: the field's code, and the key of a keyed field.
pub fn put_path(out: &mut Vec<u8>, path: Path<'_>) {
    out.push(path.field as u8);
    if path.field.is_keyed() {
        put_bytes(out, path.key.as_bytes());
    }
}

/// Reads a path.
pub fn path<'a>(r: &mut Reader<'a>) -> Result<Path<'a>, BinaryError> {
    let field = Field::from_code(r.u8("path")?).ok_or(BinaryError::Invalid("path"))?;
    Ok(Path { field, key: if field.is_keyed() { r.str("path")? } else { "" } })
}

/// The names and headers of a block that is being read.
#[derive(Debug)]
pub struct Read<'a> {
    names: Vec<&'a str>,
    /// The block's headers, in its order.
    pub headers: Vec<EventHeader<'a>>,
}

impl<'a> Read<'a> {
    /// Reads names and headers.
    pub fn decode(r: &mut Reader<'a>) -> Result<Read<'a>, BinaryError> {
        let n = r.count("names")?;
        let mut names = Vec::with_capacity(n);
        for _ in 0..n {
            names.push(r.str("name")?);
        }
        // A block is written by searching in its names.
        if !names.is_sorted_by(|a, b| a < b) {
            return Err(BinaryError::Invalid("order of names"));
        }
        let n = r.count("headers")?;
        let mut read = Read { names, headers: Vec::with_capacity(n + 1) };
        for _ in 0..n {
            let header = read.header(r)?;
            read.headers.push(header);
        }
        Ok(read)
    }

    fn name(&self, r: &mut Reader<'a>) -> Result<&'a str, BinaryError> {
        self.names.get(index(r, "name")?).copied().ok_or(BinaryError::Invalid("name"))
    }

    /// Reads clock entries.
    pub fn clock(&self, r: &mut Reader<'a>) -> Result<Vec<(&'a str, u64)>, BinaryError> {
        let n = r.count("clock")?;
        let mut clock = Vec::with_capacity(n);
        let mut least = 0;
        for _ in 0..n {
            let index = index(r, "name")?;
            let name = *self.names.get(index).ok_or(BinaryError::Invalid("name"))?;
            // The names are in order, so those of the clock are where their indexes are.
            if index < least {
                return Err(BinaryError::Invalid("order of a clock"));
            }
            least = index + 1;
            clock.push((name, r.varint("counter")?));
        }
        Ok(clock)
    }

    fn header(&self, r: &mut Reader<'a>) -> Result<EventHeader<'a>, BinaryError> {
        let flags = r.u8("header")?;
        if flags > 0b1111 {
            return Err(BinaryError::Invalid("header"));
        }
        let set = |bit: u8| flags & (1 << bit) != 0;
        Ok(EventHeader {
            seq: r.varint("header")?,
            digest: r.u128("header")?,
            event_id: r.str("event id")?,
            version: r.varint("version")?,
            timestamp: r.u64("timestamp")?,
            node_id: if set(3) { Some(self.name(r)?) } else { None },
            importance: if set(2) { Some(decode_number(r)?) } else { None },
            absorb_into: if set(1) { Some(r.str("absorb")?) } else { None },
            is_delete: set(0),
            source: Source {
                topic: self.name(r)?,
                partition: u32::try_from(r.varint("partition")?).map_err(|_| BinaryError::Invalid("partition"))? as i32,
                offset: r.varint("offset")? as i64,
            },
            clock: self.clock(r)?,
        })
    }

    /// Reads references to headers; `at` maps the block's numbering to the memory's.
    pub fn references(&self, r: &mut Reader<'a>, at: &[u32]) -> Result<Vec<u32>, BinaryError> {
        let n = r.count("references")?;
        let mut refs = Vec::with_capacity(n + 1);
        for _ in 0..n {
            refs.push(reference(r, at)?);
        }
        Ok(refs)
    }
}

/// An index that fits the machine's word.
fn index(r: &mut Reader<'_>, what: &'static str) -> Result<usize, BinaryError> {
    usize::try_from(r.varint(what)?).map_err(|_| BinaryError::Invalid(what))
}

fn reference(r: &mut Reader<'_>, at: &[u32]) -> Result<u32, BinaryError> {
    at.get(index(r, "reference")?).copied().ok_or(BinaryError::Invalid("reference"))
}

/// Reads registers; `at` maps the block's numbering of headers to the memory's.
pub fn registers<'a>(r: &mut Reader<'a>, at: &[u32]) -> Result<Vec<Register<'a>>, BinaryError> {
    let n = r.count("registers")?;
    let mut registers = Vec::with_capacity(n + 1);
    for _ in 0..n {
        let path = path(r)?;
        let n = r.count("writes")?;
        if n == 0 {
            return Err(BinaryError::Invalid("register without a write"));
        }
        let mut writes = Vec::with_capacity(n);
        for _ in 0..n {
            let by = reference(r, at)?;
            let content = match path.field {
                Field::Embedding if r.flag("content digest")? => Some(r.u128("content digest")?),
                _ => None,
            };
            writes.push(RegisterWrite { by, value: Value::decode(r)?, content });
        }
        registers.push(Register { path, writes });
    }
    // Registers are found by binary search.
    if !registers.is_sorted_by(|a: &Register<'_>, b| a.path < b.path) {
        return Err(BinaryError::Invalid("order of registers"));
    }
    Ok(registers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_from_any_index_before_it() {
        for count in 0..40 {
            let texts: Vec<String> = (0..count).map(|i| format!("{:02}", 2 * i + 1)).collect();
            let names: Vec<&str> = texts.iter().map(String::as_str).collect();
            for wanted in 0..=2 * count {
                let name = format!("{wanted:02}");
                let expected = names.partition_point(|n| *n < name.as_str());
                for from in 0..=expected {
                    assert_eq!(seek(&names, from, &name), expected, "{name} from {from} of {count}");
                }
            }
        }
    }
}
