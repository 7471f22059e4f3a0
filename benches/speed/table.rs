//! The table that is printed at the end.

use super::BenchSettings;
use super::input::Input;
use super::measure::{Spent, machine};
use std::fmt;

/// One line; what does not apply is `None`.
#[derive(Debug, Default)]
pub struct Row {
    /// Name of the measurement.
    pub step: String,
    /// Records that went in.
    pub records: u64,
    /// Resolved memories that came out.
    pub snapshots: Option<u64>,
    /// Seconds.
    pub wall_s: f64,
    /// User and system seconds of the program (not of the broker).
    pub cpu_s: f64,
    /// User and system seconds of the broker meanwhile.
    pub broker_cpu_s: Option<f64>,
    /// Greatest resident memory, MiB.
    pub peak_mib: Option<u64>,
    /// A remark.
    pub notes: Vec<String>,
}

impl Row {
    /// A line of what took in so many records.
    pub fn new(step: impl Into<String>, records: u64, spent: Spent) -> Row {
        Row { step: step.into(), records, wall_s: spent.wall_s, cpu_s: spent.cpu_s, ..Row::default() }
    }

    /// The same with something worth knowing.
    pub fn note(mut self, note: impl Into<String>) -> Row {
        self.notes.push(note.into());
        self
    }
}

/// Lines, and what they were measured on.
pub struct Table {
    about: Vec<String>,
    rows: Vec<Row>,
}

impl Table {
    /// A table without lines.
    pub fn new(settings: &BenchSettings) -> Table {
        let about = format!(
            "strategy {}, exactly once, transactions of 100 ms, seed {}; the broker has its share of the same cores",
            settings.strategy, settings.seed
        );
        Table { about: vec![machine(), about], rows: Vec::new() }
    }

    /// Says what the input was.
    pub fn describe_input(&mut self, settings: &BenchSettings, input: &Input) {
        let events = thousands(input.records);
        let memories = thousands(settings.memories);
        let mean = input.bytes / input.records.max(1);
        self.about.push(format!("{events} events of {memories} memories, envelopes of {mean} bytes in the mean"));
    }

    /// Adds a line.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds a line that says how two lines of this run stand to each other.
    pub fn compare(&mut self, ours: &str, theirs: &str) {
        let find = |step: &str| self.rows.iter().find(|row| row.step == step);
        let (Some(our), Some(their)) = (find(ours), find(theirs)) else { return };
        let ratio = |our: f64, their: f64| if their > 0.0 { our / their } else { 0.0 };
        let wall = ratio(rate(our.records, our.wall_s), rate(their.records, their.wall_s));
        let cpu = ratio(rate(our.records, our.cpu_s), rate(their.records, their.cpu_s));
        self.about
            .push(format!("{ours} against {theirs}: {wall:.2} times the records/s, {cpu:.2} times per CPU second"));
    }
}

const HEAD: [&str; 10] = [
    "what",
    "records",
    "records/s",
    "snapshots/s",
    "records/CPU s",
    "wall s",
    "CPU s",
    "broker CPU s",
    "peak MiB",
    "further",
];
const LAST: usize = HEAD.len() - 1;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<[String; 10]> =
            std::iter::once(HEAD.map(str::to_owned)).chain(self.rows.iter().map(cells)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        for about in &self.about {
            writeln!(f, "{about}")?;
        }
        for line in &lines {
            write!(f, "{:<1$}", line[0], width(0))?;
            for (column, cell) in line.iter().enumerate().take(LAST).skip(1) {
                write!(f, "  {cell:>0$}", width(column))?;
            }
            writeln!(f, "  {}", line[LAST])?;
        }
        Ok(())
    }
}

fn cells(row: &Row) -> [String; 10] {
    let whole = |value: f64| if value > 0.0 { thousands(value as u64) } else { "-".to_owned() };
    [
        row.step.clone(),
        thousands(row.records),
        whole(rate(row.records, row.wall_s)),
        whole(row.snapshots.map_or(0.0, |count| rate(count, row.wall_s))),
        whole(rate(row.records, row.cpu_s)),
        format!("{:.2}", row.wall_s),
        format!("{:.2}", row.cpu_s),
        row.broker_cpu_s.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2}")),
        row.peak_mib.map_or_else(|| "-".to_owned(), thousands),
        row.notes.join("; "),
    ]
}

/// So many a second; 0 where no time was seen.
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
