//! The resolved memory: the record that other teams read (docs/semantics.md, section 5).

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{ObjectWriter, ResolutionContext, VisibleFrontier, write_clock};
use crate::state::{Field, Memory, Path, StateError};
use crate::strategy::{Picked, PickedValue, in_conflict};

/// Resolved form of a memory.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The record, canonical JSON.
    pub json: Vec<u8>,
    /// Whether the memory is active.
    pub is_active: bool,
}

/// Members of an active memory that come from registers.
#[derive(Default)]
struct MemoryFields<'m> {
    plain: Vec<(Field, Cow<'m, [u8]>)>,
    entities: Vec<Cow<'m, [u8]>>,
    relationships: Vec<Cow<'m, [u8]>>,
    metadata: Vec<(&'m str, Cow<'m, [u8]>)>,
    conflicted: Vec<Path<'m>>,
}

impl MemoryFields<'_> {
    fn plain(&self, object: &mut ObjectWriter<'_>, field: Field) {
        if let Some((_, value)) = self.plain.iter().find(|(f, _)| *f == field) {
            object.raw(field.name(), value);
        }
    }
}

impl ResolutionContext<'_> {
    /// The resolved memory. Reads all that is not read yet, if the memory is active.
    ///
    /// # Errors
    /// [`StateError`]: a row could not be read.
    pub fn resolved(&self, memory: &mut Memory<'_>, visible: &VisibleFrontier) -> Result<Resolved, StateError> {
        let mut out = Vec::with_capacity(1024);
        if visible.is_active {
            memory.load_all()?;
            self.write_active(memory, &mut out)?;
        } else {
            self.write_inactive(memory, visible, &mut out)?;
        }
        Ok(Resolved { json: out, is_active: visible.is_active })
    }

    fn fields<'m, 'a: 'm>(&self, memory: &'m Memory<'a>) -> Result<MemoryFields<'m>, StateError> {
        let mut fields = MemoryFields::default();
        let mut content: Option<Picked<'a>> = None;
        for register in memory.all_registers() {
            let contenders = self.contenders(memory, register);
            if contenders.len() > 1 && in_conflict(&contenders) {
                fields.conflicted.push(register.path);
            }
            let picked = match register.path.field {
                Field::Embedding => self.embedding(memory, &contenders, content.as_ref())?,
                _ => self.pick(memory, register.path, &contenders)?,
            };
            let Some(picked) = picked else { continue };
            if register.path.field == Field::Content {
                content = Some(picked.clone());
            }
            let value = match picked.value {
                PickedValue::Written(value) => Cow::Borrowed(memory.bytes(&value)?),
                PickedValue::Made(bytes) => Cow::Owned(bytes),
            };
            if &*value == b"null" {
                continue;
            }
            match register.path.field {
                Field::Entity => fields.entities.push(value),
                Field::Relationship => fields.relationships.push(value),
                Field::Metadata => fields.metadata.push((register.path.key, value)),
                plain => fields.plain.push((plain, value)),
            }
        }
        Ok(fields)
    }

    fn write_active(&self, memory: &Memory<'_>, out: &mut Vec<u8>) -> Result<(), StateError> {
        let fields = self.fields(memory)?;
        let list = |object: &mut ObjectWriter<'_>, key: &str, items: &[Cow<'_, [u8]>]| {
            if !items.is_empty() {
                object.array(key, items, |out, item| out.extend_from_slice(item));
            }
        };
        let mut o = ObjectWriter::new(out);
        o.array("conflicted_fields", &fields.conflicted, |out, path| json::write_string(out, &path.to_string()));
        fields.plain(&mut o, Field::Content);
        o.time("created_at", memory.created_at);
        fields.plain(&mut o, Field::Embedding);
        list(&mut o, "entities", &fields.entities);
        write_event_ids(memory, &mut o);
        fields.plain(&mut o, Field::Importance);
        o.str("memory_id", memory.id());
        fields.plain(&mut o, Field::MergedFrom);
        if !fields.metadata.is_empty() {
            let mut members = ObjectWriter::new(o.key("metadata"));
            fields.metadata.iter().for_each(|(key, value)| members.raw(key, value));
            members.end();
        }
        list(&mut o, "relationships", &fields.relationships);
        fields.plain(&mut o, Field::SessionId);
        o.str("status", "active");
        fields.plain(&mut o, Field::Tags);
        o.time("updated_at", memory.updated_at);
        fields.plain(&mut o, Field::UserId);
        write_clock(o.key("vector_clock"), &memory.clock);
        o.integer("version", memory.version);
        o.end();
        Ok(())
    }

    fn write_inactive(
        &self,
        memory: &Memory<'_>,
        visible: &VisibleFrontier,
        out: &mut Vec<u8>,
    ) -> Result<(), StateError> {
        let absorbs = visible.left.iter().map(|e| memory.header(*e)).filter_map(|h| Some((h, h.absorb_into?)));
        let absorbed = absorbs.max_by(|(a, into_a), (b, into_b)| a.last_write_order(b).then(into_a.cmp(into_b)));
        let mut o = ObjectWriter::new(out);
        o.time("created_at", memory.created_at);
        write_event_ids(memory, &mut o);
        o.str("memory_id", memory.id());
        if let Some((_, into)) = absorbed {
            o.str("merged_into", into);
        }
        o.str("status", if absorbed.is_some() { "merged" } else { "deleted" });
        o.time("updated_at", memory.updated_at);
        if let Some(user) = self.field(memory, Field::UserId)? {
            let user = user.bytes(memory)?;
            if &*user != b"null" {
                o.raw("user_id", &user);
            }
        }
        write_clock(o.key("vector_clock"), &memory.clock);
        o.integer("version", memory.version);
        o.end();
        Ok(())
    }
}

fn write_event_ids(memory: &Memory<'_>, o: &mut ObjectWriter<'_>) {
    let ids: BTreeSet<&str> = memory.frontier.iter().map(|e| memory.header(*e).event_id).collect();
    o.array("event_ids", ids, json::write_string);
}
