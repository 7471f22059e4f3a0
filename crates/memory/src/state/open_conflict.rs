//! Open conflicts: what the state keeps of a conflict until it is superseded.
//!
//! Contenders are kept as an arrival number (the event's own: all that were live at its arrival had
//! a lower one) and the few exceptions, not as a list: a list a conflict would grow with the square
//! of the contenders.

use std::fmt;

use super::path::{Field, Path};
use crate::binary::{BinaryError, Reader, put_bytes, put_varint};
use crate::settings::Strategy;

/// Type of a conflict: the first one that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ConflictType {
    /// The same event id or the same clock, with different content.
    Equivocation = 1,
    /// Ordered by their clocks, but not when versions are heeded: a clock was lost and restarted.
    ClockRegression = 2,
    /// A delete against another event.
    DeleteUpdate = 3,
    /// Anything else.
    ConcurrentUpdate = 4,
}

impl ConflictType {
    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            ConflictType::Equivocation => "equivocation",
            ConflictType::ClockRegression => "clock_regression",
            ConflictType::DeleteUpdate => "delete_update",
            ConflictType::ConcurrentUpdate => "concurrent_update",
        }
    }
}

impl fmt::Display for ConflictType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A conflict that still stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenConflict<'a> {
    /// Id of the event that made it.
    pub event_id: &'a str,
    /// Timestamp of that event, nanoseconds since 1970: when it was detected.
    pub timestamp: u64,
    /// Arrival number of that event.
    pub seq: u64,
    /// Its kind.
    pub conflict_type: ConflictType,
    /// The other participant.
    pub local_event_id: &'a str,
    /// The user at the time, canonical JSON; empty where there was none.
    pub user_id: &'a [u8],
    /// The topology's strategy at the time.
    pub strategy: Strategy,
    /// Fields in which the event contended.
    pub fields: Vec<OpenField<'a>>,
    /// Where it was a delete against an update too: arrival numbers of frontier events that were
    /// not left on reading.
    pub delete_update: Option<Vec<u64>>,
}

/// A field of an open conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenField<'a> {
    /// Its path.
    pub path: Path<'a>,
    /// Whether two of the contenders still contend with different values, when it was last looked
    /// at.
    pub stands: bool,
    /// Arrival numbers of the writes that were live and did not contend.
    pub shadowed: Vec<u64>,
}

const STRATEGIES: [Strategy; 5] =
    [Strategy::LastWriteWins, Strategy::Importance, Strategy::VectorClock, Strategy::MergeAll, Strategy::Custom];
const TYPES: [ConflictType; 4] = [
    ConflictType::Equivocation,
    ConflictType::ClockRegression,
    ConflictType::DeleteUpdate,
    ConflictType::ConcurrentUpdate,
];

fn put_numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    put_varint(out, numbers.len() as u64);
    numbers.iter().for_each(|n| put_varint(out, *n));
}

fn numbers(r: &mut Reader<'_>) -> Result<Vec<u64>, BinaryError> {
    let n = r.count("hidden events")?;
    (0..n).map(|_| r.varint("hidden event")).collect()
}

fn one_of<T: Copy>(all: &[T], r: &mut Reader<'_>, what: &'static str) -> Result<T, BinaryError> {
    all.get(usize::from(r.u8(what)?)).copied().ok_or(BinaryError::Invalid(what))
}

fn code<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|x| x == one).map_or(u8::MAX, |i| i as u8)
}

impl<'a> OpenConflict<'a> {
    /// Reads one from a head row.
    ///
    /// # Errors
    /// [`BinaryError`] where the row is damaged.
    pub fn decode(r: &mut Reader<'a>) -> Result<OpenConflict<'a>, BinaryError> {
        let mut open = OpenConflict {
            event_id: r.str("event id")?,
            timestamp: r.u64("timestamp")?,
            seq: r.varint("arrival number")?,
            conflict_type: one_of(&TYPES, r, "conflict type")?,
            local_event_id: r.str("local event id")?,
            user_id: r.bytes("user id")?,
            strategy: one_of(&STRATEGIES, r, "strategy")?,
            fields: Vec::new(),
            delete_update: None,
        };
        for _ in 0..r.count("fields")? {
            let field = r.u8("path")?;
            let field = Field::from_code(field).ok_or(BinaryError::Invalid("path"))?;
            let path = Path { field, key: r.str("path")? };
            open.fields.push(OpenField { path, stands: r.flag("standing")?, shadowed: numbers(r)? });
        }
        if r.flag("delete against update")? {
            open.delete_update = Some(numbers(r)?);
        }
        Ok(open)
    }

    /// Writes it to a head row.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.event_id.as_bytes());
        out.extend_from_slice(&self.timestamp.to_le_bytes());
        put_varint(out, self.seq);
        out.push(code(&TYPES, &self.conflict_type));
        put_bytes(out, self.local_event_id.as_bytes());
        put_bytes(out, self.user_id);
        out.push(code(&STRATEGIES, &self.strategy));
        put_varint(out, self.fields.len() as u64);
        for field in &self.fields {
            out.push(field.path.field as u8);
            put_bytes(out, field.path.key.as_bytes());
            out.push(u8::from(field.stands));
            put_numbers(out, &field.shadowed);
        }
        out.push(u8::from(self.delete_update.is_some()));
        if let Some(shadowed) = &self.delete_update {
            put_numbers(out, shadowed);
        }
    }
}
