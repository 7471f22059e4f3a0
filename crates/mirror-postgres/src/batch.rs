//! Rows of a batch, laid out for `COPY` as the records come. Each row starts with what lies in
//! Kafka (place, time, raw bytes) and ends with what is wrong with it, so that a row which Postgres
//! refuses is cut back to its start and kept raw.

use std::ops::Range;
use std::sync::Arc;

use mirror::ports::{Cells, LogBatch, LogRecord, NoCells, NotYet, RowMapper, Unreadable};

use super::copy::{CellWriter, cell_count};

/// Columns before those of the mapper.
const RAW_COLUMNS: &[&str] = &[
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
    "record_time",
    "record_timestamp_ms",
    "kafka_key",
    "kafka_header_names",
    "kafka_header_values",
    "kafka_value",
];
/// Columns behind those of the mapper.
const ERROR_COLUMNS: &[&str] = &["error_class", "error_message"];
/// Class of a row that Postgres refused as decoded.
const REJECTED: &str = "mirror_rejected";
/// A buffer above this many bytes (one huge record) is given back.
const KEPT_BYTES: usize = 4 << 20;

/// The columns of a row, in order, as `COPY` wants them listed.
pub(super) fn column_list(mapper: &dyn RowMapper) -> String {
    [RAW_COLUMNS, mapper.columns(), ERROR_COLUMNS].concat().join(", ")
}

/// Where a row lies in the bytes, and where its raw start ends.
#[derive(Clone, Copy, Debug)]
struct Row {
    start: usize,
    raw_end: usize,
    end: usize,
}

/// Rows for one `COPY`.
pub struct Batch {
    mapper: Arc<dyn RowMapper>,
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

impl Batch {
    pub(super) fn new(mapper: Arc<dyn RowMapper>) -> Batch {
        Batch { mapper, bytes: Vec::new(), rows: Vec::new() }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The bytes of some rows.
    pub(super) fn slice(&self, rows: Range<usize>) -> &[u8] {
        match self.rows.get(rows).unwrap_or_default() {
            [] => &[],
            [only] => &self.bytes[only.start..only.end],
            [first, .., last] => &self.bytes[first.start..last.end],
        }
    }

    /// The bytes of a row without its decoded columns, with the reason.
    pub(super) fn raw(&self, row: usize, reason: &str) -> Vec<u8> {
        let mut bytes = match self.rows.get(row) {
            Some(row) => self.bytes[row.start..row.raw_end].to_vec(),
            None => Vec::new(),
        };
        self.write_error(&mut bytes, REJECTED, reason);
        bytes
    }

    fn write_error(&self, to: &mut Vec<u8>, class: &str, message: &str) {
        let mut cells = CellWriter::new(to);
        self.mapper.columns().iter().for_each(|_| cells.null());
        cells.text(class);
        cells.text(message);
    }

    fn write_raw(&mut self, record: &LogRecord<'_>) {
        let columns = RAW_COLUMNS.len() + self.mapper.columns().len() + ERROR_COLUMNS.len();
        self.bytes.extend_from_slice(&cell_count(columns));
        let mut cells = CellWriter::new(&mut self.bytes);
        cells.text(&record.partition.topic);
        cells.int4(record.partition.partition);
        cells.integer(record.offset);
        cells.record_time(record.timestamp_ms);
        cells.integer(record.timestamp_ms);
        cells.bytea(record.key);
        cells.header_parts(record.headers, |header| Some(header.name));
        cells.header_parts(record.headers, |header| header.value);
        cells.bytea(record.value);
    }

    /// Writes the decoded columns; what is wrong when there are none.
    fn write_decoded(&mut self, record: &LogRecord<'_>) -> Result<(), NoCells> {
        let rejected = |message| Unreadable { class: REJECTED, message };
        let mut cells = CellWriter::new(&mut self.bytes);
        self.mapper.cells(record, &mut cells)?;
        if let Some(misfit) = cells.misfit {
            return Err(rejected(misfit).into());
        }
        if cells.count != self.mapper.columns().len() {
            return Err(rejected(format!("the row has {} cells instead of its columns'", cells.count)).into());
        }
        cells.null();
        cells.null();
        Ok(())
    }
}

impl LogBatch for Batch {
    fn push(&mut self, record: &LogRecord<'_>) -> Result<(), NotYet> {
        let start = self.bytes.len();
        self.write_raw(record);
        let raw_end = self.bytes.len();
        match self.write_decoded(record) {
            Ok(()) => {}
            Err(NoCells::Unreadable(Unreadable { class, message })) => {
                self.bytes.truncate(raw_end);
                let mut bytes = std::mem::take(&mut self.bytes);
                self.write_error(&mut bytes, class, &message);
                self.bytes = bytes;
            }
            Err(NoCells::NotYet(why)) => {
                self.bytes.truncate(start);
                return Err(why);
            }
        }
        self.rows.push(Row { start, raw_end, end: self.bytes.len() });
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.rows.clear();
    }
}
