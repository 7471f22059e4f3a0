//! Cells in the binary form of `COPY`: each its length and its bytes. Binary, because most of a row
//! are bytes as they came, which the text form would double.

use mirror::ports::{Cells, LogHeader};

use super::numeric;

/// Beginning of a binary `COPY`: signature, no flags, no extension.
pub(super) const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// End of a binary `COPY`, in place of a row's number of cells.
pub(super) const TAIL: &[u8] = &(-1_i16).to_be_bytes();

const NULL: [u8; 4] = (-1_i32).to_be_bytes();
const TEXT_OID: u32 = 25;
const BYTEA_OID: u32 = 17;
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
/// 2000-01-01 in microseconds since 1970: where Postgres' timestamps start.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
/// The last moment of `timestamptz`, in microseconds since 2000.
const LAST_US: i64 = 9_223_371_331_199_999_999;

/// Writes cells behind each other.
pub(super) struct CellWriter<'b> {
    bytes: &'b mut Vec<u8>,
    /// Cells written.
    pub(super) count: usize,
    /// A value that its type cannot hold, if there was one.
    pub(super) misfit: Option<String>,
}

/// Beginning of a row: its number of cells.
pub(super) fn cell_count(cells: usize) -> [u8; 2] {
    i16::try_from(cells).unwrap_or(i16::MAX).to_be_bytes()
}

impl<'b> CellWriter<'b> {
    pub(super) fn new(bytes: &'b mut Vec<u8>) -> CellWriter<'b> {
        CellWriter { bytes, count: 0, misfit: None }
    }

    /// A cell whose bytes `fill` appends.
    fn cell(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        self.count += 1;
        sized(self.bytes, fill);
    }

    pub(super) fn bytea(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.cell(|to| to.extend_from_slice(value)),
            None => self.null(),
        }
    }

    pub(super) fn int4(&mut self, value: i32) {
        self.cell(|to| to.extend_from_slice(&value.to_be_bytes()));
    }

    /// A record's timestamp: without one `-infinity`, beyond what the type holds `infinity`.
    pub(super) fn record_time(&mut self, millis: i64) {
        let since_2000 = millis.saturating_sub(POSTGRES_EPOCH_US / 1000);
        let micros = match since_2000.checked_mul(1000) {
            _ if millis < 0 => i64::MIN,
            Some(micros) if micros <= LAST_US => micros,
            _ => i64::MAX,
        };
        self.integer(micros);
    }

    /// Header names, or values, as `bytea[]`.
    pub(super) fn header_parts<'h>(
        &mut self,
        headers: &'h [LogHeader<'h>],
        part: impl Fn(&LogHeader<'h>) -> Option<&'h [u8]>,
    ) {
        self.array(BYTEA_OID, headers.len(), headers.iter().map(part), |to, value| to.extend_from_slice(value));
    }

    fn array<T>(
        &mut self,
        oid: u32,
        len: usize,
        items: impl Iterator<Item = Option<T>>,
        write: impl Fn(&mut Vec<u8>, T),
    ) {
        self.cell(|to| {
            let dimensions: u32 = if len == 0 { 0 } else { 1 };
            // Whether there are nulls in it is not looked at by Postgres; 1 says that there may be.
            for word in [dimensions, 1, oid] {
                to.extend_from_slice(&word.to_be_bytes());
            }
            if len > 0 {
                to.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
                to.extend_from_slice(&1_u32.to_be_bytes());
            }
            for item in items {
                match item {
                    Some(item) => sized(to, |to| write(to, item)),
                    None => to.extend_from_slice(&NULL),
                }
            }
        });
    }
}

impl Cells for CellWriter<'_> {
    fn null(&mut self) {
        self.count += 1;
        self.bytes.extend_from_slice(&NULL);
    }

    fn text(&mut self, value: &str) {
        self.cell(|to| put_text(to, value));
    }

    fn boolean(&mut self, value: bool) {
        self.cell(|to| to.push(u8::from(value)));
    }

    fn integer(&mut self, value: i64) {
        self.cell(|to| to.extend_from_slice(&value.to_be_bytes()));
    }

    fn uuid(&mut self, value: u128) {
        self.cell(|to| to.extend_from_slice(&value.to_be_bytes()));
    }

    fn decimal(&mut self, json: &str) {
        let mut held = true;
        self.cell(|to| held = numeric::write(json, to));
        if !held {
            self.misfit = Some(format!("{json} does not fit into numeric"));
        }
    }

    fn instant(&mut self, nanos: u64) {
        let micros = i64::try_from(nanos / 1000).unwrap_or(i64::MAX);
        self.integer(micros - POSTGRES_EPOCH_US);
    }

    fn json(&mut self, json: &[u8]) {
        self.cell(|to| {
            // The version of jsonb's binary form, which is its text.
            to.push(1);
            put_json(to, json);
        });
    }

    fn texts(&mut self, values: &[&str]) {
        self.array(TEXT_OID, values.len(), values.iter().map(Some), |to, value| put_text(to, value));
    }
}

/// Appends what `fill` appends, with its length before it.
fn sized(to: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = to.len();
    to.extend_from_slice(&NULL);
    fill(to);
    let len = u32::try_from(to.len() - at - NULL.len()).unwrap_or(u32::MAX);
    to[at..at + NULL.len()].copy_from_slice(&len.to_be_bytes());
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(0, rest) {
        to.extend_from_slice(&rest[..at]);
        to.extend_from_slice(REPLACEMENT);
        rest = &rest[at + 1..];
    }
    to.extend_from_slice(rest);
}

/// JSON text holds NUL only as the escape `\u0000`. A backslash before it that is itself escaped
/// makes it plain text.
fn put_json(to: &mut Vec<u8>, mut json: &[u8]) {
    if memchr::memmem::find(json, b"\\u0000").is_some() {
        while let Some(at) = memchr::memchr(b'\\', json) {
            let escape = if json[at..].starts_with(b"\\u0000") { 6 } else { 2.min(json.len() - at) };
            to.extend_from_slice(&json[..at]);
            to.extend_from_slice(if escape == 6 { REPLACEMENT } else { &json[at..at + escape] });
            json = &json[at + escape..];
        }
    }
    to.extend_from_slice(json);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(write: impl FnOnce(&mut CellWriter<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = CellWriter::new(&mut bytes);
        write(&mut writer);
        assert_eq!(writer.count, 1);
        let len = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        assert_eq!(len as usize, bytes.len() - 4);
        bytes.split_off(4)
    }

    #[test]
    fn nul_is_replaced_in_text_and_json_and_nothing_else_is() {
        assert_eq!(cell(|to| to.text("a\0b\0")), "a\u{fffd}b\u{fffd}".as_bytes());
        let json = br#"{"k\u0000":"\\u0000\n\\\u0000"}"#;
        assert_eq!(cell(|to| to.json(json))[1..], *"{\"k\u{fffd}\":\"\\\\u0000\\n\\\\\u{fffd}\"}".as_bytes());
        assert_eq!(cell(|to| to.json(br#""\\u0000""#))[1..], *br#""\\u0000""#);
    }

    #[test]
    fn times_outside_of_the_type_are_infinite() {
        let time = |millis| i64::from_be_bytes(cell(|to| to.record_time(millis)).try_into().unwrap());
        assert_eq!(time(946_684_800_001), 1000);
        assert_eq!(time(0), -POSTGRES_EPOCH_US);
        assert_eq!(time(-1), i64::MIN);
        assert_eq!(time(i64::MAX), i64::MAX);
        assert_eq!(time(9_224_318_015_999_999), LAST_US - 999);
        assert_eq!(time(9_224_318_016_000_000), i64::MAX);
    }
}
