//! Record files: Kafka records as text, one JSON object a line, nothing decoded but base64.
//!
//! `{"partition":p,"offset":o,"timestamp_ms":t,"key_b64":"…","value_b64":"…","headers":[["name","base64"],…]}`,
//! where key, value and a header's value may be null.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A record as a line holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRecord {
    /// Its partition, 0 where the line names none.
    pub partition: i32,
    /// Whether the line names a partition.
    pub has_partition: bool,
    /// Its offset; the number of records before it in the file where the line names none.
    pub offset: i64,
    /// Milliseconds since 1970, 0 where the line names none.
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Error of a record file.
#[derive(Debug, thiserror::Error)]
pub enum RecordFileError {
    /// The file could not be opened, read or written.
    #[error("cannot {verb} the record file {}: {why} [HS5091]", file.display())]
    Io {
        /// The action that failed.
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// Why it failed. Not called `source`: it would be shown twice.
        why: io::Error,
    },
    /// A line is no record.
    #[error(
        "{}:{line}: {message}; a line is {{\"partition\":0,\"offset\":0,\"timestamp_ms\":0,\"key_b64\":null,\"value_b64\":\"…\",\"headers\":[[\"name\",\"…\"]]}} [HS5090]",
        file.display()
    )]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The problem.
        message: String,
    },
}

/// A header's name, and its value in base64.
type HeaderText<'a> = (Cow<'a, str>, Option<Cow<'a, str>>);

#[derive(Deserialize)]
struct Line<'a> {
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp_ms: Option<i64>,
    #[serde(borrow, default, deserialize_with = "present")]
    key_b64: Option<Option<Cow<'a, str>>>,
    #[serde(borrow, default, deserialize_with = "present")]
    value_b64: Option<Option<Cow<'a, str>>>,
    #[serde(borrow)]
    headers: Option<Vec<HeaderText<'a>>>,
}

/// Tells a member that is null from one that is absent.
fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Option<Cow<'de, str>>>, D::Error> {
    Ok(Some(Option::deserialize(d)?))
}

/// Reads records one by one, so that a file of any length takes one line's memory.
pub struct RecordReader {
    file: PathBuf,
    input: Box<dyn BufRead>,
    text: Vec<u8>,
    line: u64,
    count: i64,
    bytes: u64,
    total: Option<u64>,
}

impl RecordReader {
    /// Opens a file, or the standard input for `-`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<RecordReader, RecordFileError> {
        if path == Path::new("-") {
            return Ok(RecordReader::new(PathBuf::from("<standard input>"), io::stdin(), None));
        }
        let io = |why| RecordFileError::Io { verb: "open", file: path.to_owned(), why };
        let file = File::open(path).map_err(io)?;
        let total = file.metadata().map_err(io)?.len();
        Ok(RecordReader::new(path.to_owned(), file, Some(total)))
    }

    fn new(file: PathBuf, input: impl Read + 'static, total: Option<u64>) -> RecordReader {
        let input = Box::new(BufReader::with_capacity(1 << 18, input));
        RecordReader { file, input, text: Vec::new(), line: 0, count: 0, bytes: 0, total }
    }

    /// Bytes read so far, and of the whole file where that is known.
    pub fn progress(&self) -> (u64, Option<u64>) {
        (self.bytes, self.total)
    }

    /// The next record; blank lines are stepped over.
    ///
    /// # Errors
    /// The file cannot be read, or a line is no record: with file and line.
    pub fn read(&mut self) -> Result<Option<FileRecord>, RecordFileError> {
        loop {
            self.text.clear();
            let io = |why| RecordFileError::Io { verb: "read", file: self.file.clone(), why };
            let n = self.input.read_until(b'\n', &mut self.text).map_err(io)?;
            if n == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.bytes += n as u64;
            if self.text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let record = parse(&self.text, self.count).map_err(|message| RecordFileError::Line {
                file: self.file.clone(),
                line: self.line,
                message,
            })?;
            self.count += 1;
            return Ok(Some(record));
        }
    }
}

fn parse(text: &[u8], count: i64) -> Result<FileRecord, String> {
    let line: Line<'_> = serde_json::from_slice(text).map_err(|e| format!("the line is not a record: {e}"))?;
    if line.key_b64.is_none() && line.value_b64.is_none() {
        return Err("the line is not a record: it has neither `key_b64` nor `value_b64` (each may be null)".to_owned());
    }
    let partition = line.partition.unwrap_or(0);
    let offset = line.offset.unwrap_or(count);
    if partition < 0 || offset < 0 {
        return Err("`partition` and `offset` must not be negative".to_owned());
    }
    let mut headers = Vec::new();
    for (name, value) in line.headers.unwrap_or_default() {
        let value = value.map(|v| decode(&v, &format!("the header `{name}`"))).transpose()?;
        headers.push((name.into_owned(), value));
    }
    Ok(FileRecord {
        partition,
        has_partition: line.partition.is_some(),
        offset,
        timestamp_ms: line.timestamp_ms.unwrap_or(0),
        key: line.key_b64.flatten().map(|k| decode(&k, "`key_b64`")).transpose()?,
        value: line.value_b64.flatten().map(|v| decode(&v, "`value_b64`")).transpose()?,
        headers,
    })
}

fn decode(text: &str, what: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|e| format!("{what} is not base64: {e}"))
}

#[derive(Serialize)]
struct OutLine<'a> {
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key_b64: Option<String>,
    value_b64: Option<String>,
    headers: Vec<(&'a str, Option<String>)>,
}

/// A record to write, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Writes records, one a line.
pub struct RecordWriter {
    file: PathBuf,
    output: BufWriter<File>,
}

impl RecordWriter {
    /// Makes the file, or empties it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> Result<RecordWriter, RecordFileError> {
        let output =
            File::create(path).map_err(|why| RecordFileError::Io { verb: "create", file: path.to_owned(), why })?;
        Ok(RecordWriter { file: path.to_owned(), output: BufWriter::with_capacity(1 << 18, output) })
    }

    /// Writes one record.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, record: &RecordView<'_>) -> Result<(), RecordFileError> {
        let text = |bytes: Option<&[u8]>| bytes.map(|b| STANDARD.encode(b));
        let line = OutLine {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key_b64: text(record.key),
            value_b64: text(record.value),
            headers: record.headers.iter().map(|(name, value)| (*name, text(*value))).collect(),
        };
        let written = serde_json::to_writer(&mut self.output, &line).map_err(io::Error::from);
        written.and_then(|()| self.output.write_all(b"\n")).map_err(|why| self.failed(why))
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<(), RecordFileError> {
        self.output.flush().map_err(|why| self.failed(why))
    }

    fn failed(&self, why: io::Error) -> RecordFileError {
        RecordFileError::Io { verb: "write", file: self.file.clone(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_have_their_defaults() {
        let r = parse(br#"{"value_b64":"YQ=="}"#, 7).unwrap();
        let expected = FileRecord { offset: 7, value: Some(b"a".to_vec()), ..FileRecord::default() };
        assert_eq!(r, expected);
        assert_eq!(parse(br#"{"key_b64":null,"value_b64":null,"topic":"t"}"#, 0), Ok(FileRecord::default()));
    }

    #[test]
    fn what_is_no_record_is_told() {
        for bad in
            ["{}", "[]", r#"{"value_b64":"%"}"#, r#"{"value_b64":1}"#, r#"{"value_b64":null,"partition":-1}"#, "{"]
        {
            assert!(parse(bad.as_bytes(), 0).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_round_trips() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        let mut w = RecordWriter::create(&path).unwrap();
        let headers: &[(&str, Option<&[u8]>)] = &[("type", Some(b"x")), ("none", None)];
        w.write(&RecordView { partition: 2, offset: 9, timestamp_ms: 5, key: None, value: Some(&[0, 255]), headers })
            .unwrap();
        w.finish().unwrap();
        let mut r = RecordReader::open(&path).unwrap();
        let got = r.read().unwrap().unwrap();
        assert_eq!(
            (got.partition, got.offset, got.timestamp_ms, got.key, got.value),
            (2, 9, 5, None, Some(vec![0, 255]))
        );
        assert_eq!(got.headers, [("type".to_owned(), Some(b"x".to_vec())), ("none".to_owned(), None)]);
        assert_eq!(r.read().unwrap(), None);
        assert_eq!(r.progress().0, std::fs::metadata(&path).unwrap().len());
    }

    #[test]
    fn an_error_names_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        std::fs::write(&path, "{\"value_b64\":null}\n\nnope\n").unwrap();
        let mut r = RecordReader::open(&path).unwrap();
        assert!(r.read().unwrap().is_some());
        let e = r.read().unwrap_err().to_string();
        assert!(e.contains("r.jsonl:3: the line is not a record"), "{e}");
    }
}
