//! For the tests of the rows: cells as text, as psql would show them.

use mirror::ports::{Cells, LogHeader, LogRecord, NoCells, RowMapper};
use streams::record::TopicPartition;

/// Cells as text; `-` is null.
#[derive(Default)]
struct Shown(Vec<String>);

impl Cells for Shown {
    fn null(&mut self) {
        self.0.push("-".into());
    }
    fn text(&mut self, value: &str) {
        self.0.push(value.into());
    }
    fn boolean(&mut self, value: bool) {
        self.0.push(value.to_string());
    }
    fn integer(&mut self, value: i64) {
        self.0.push(value.to_string());
    }
    fn decimal(&mut self, json: &str) {
        self.0.push(json.into());
    }
    fn instant(&mut self, nanos: u64) {
        self.0.push(format!("@{nanos}"));
    }
    fn json(&mut self, json: &[u8]) {
        self.0.push(String::from_utf8(json.to_vec()).unwrap());
    }
    fn texts(&mut self, values: &[&str]) {
        self.0.push(format!("{values:?}"));
    }
    fn uuid(&mut self, value: u128) {
        self.0.push(uuid::Uuid::from_u128(value).to_string());
    }
}

/// The cells of a record that are not null, by column; or the class of what is wrong.
pub(super) fn row_of(
    mapper: &dyn RowMapper,
    headers: &[(&str, &str)],
    key: Option<&str>,
    value: Option<&str>,
) -> Result<Vec<(&'static str, String)>, &'static str> {
    let partition = TopicPartition::new("t", 0);
    let headers: Vec<LogHeader<'_>> = headers
        .iter()
        .map(|(name, value)| LogHeader { name: name.as_bytes(), value: Some(value.as_bytes()) })
        .collect();
    let key = key.map(str::as_bytes);
    let value = value.map(str::as_bytes);
    let record = LogRecord { partition: &partition, offset: 7, timestamp_ms: 5, key, headers: &headers, value };
    let mut shown = Shown::default();
    mapper.cells(&record, &mut shown).map_err(|none| match none {
        NoCells::Unreadable(bad) => bad.class,
        NoCells::NotYet(why) => panic!("{why}"),
    })?;
    assert_eq!(shown.0.len(), mapper.columns().len());
    Ok(mapper.columns().iter().copied().zip(shown.0).filter(|(_, cell)| cell != "-").collect())
}
