//! The table that is printed at the end.

use super::Settings;
use super::input::Input;
use std::fmt;

/// One line; what does not apply is `None`.
#[derive(Debug, Default)]
pub struct Row {
    /// What was measured.
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
    /// What else is worth knowing.
    pub note: String,
}

/// Lines, and what they were measured on.
pub struct Table {
    about: Vec<String>,
    rows: Vec<Row>,
}

impl Table {
    /// A table without lines.
    pub fn new(settings: &Settings) -> Table {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let about = format!(
            "{cores} cores shared with the broker, {} stream thread(s), {}, exactly once",
            settings.threads, settings.strategy
        );
        Table { about: vec![about], rows: Vec::new() }
    }

    /// Says what the input was.
    pub fn describe_input(&mut self, input: &Input) {
        let mean = input.bytes / input.records.max(1);
        self.about.push(format!("{} events of {} memories, {mean} bytes in the mean", input.records, input.memories));
    }

    /// Adds a line.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "records/s", "snapshots/s", "records/CPU s", "wall s", "CPU s", "broker CPU s", "peak MiB", ""];
        let lines: Vec<[String; 9]> =
            std::iter::once(head.map(str::to_owned)).chain(self.rows.iter().map(cells)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        for about in &self.about {
            writeln!(f, "{about}")?;
        }
        for line in &lines {
            write!(f, "{:<1$}", line[0], width(0))?;
            for (column, cell) in line.iter().enumerate().take(8).skip(1) {
                write!(f, "  {cell:>0$}", width(column))?;
            }
            writeln!(f, "  {}", line[8])?;
        }
        Ok(())
    }
}

fn cells(row: &Row) -> [String; 9] {
    let rate = |count: u64, seconds: f64| {
        if seconds > 0.0 { thousands((count as f64 / seconds) as u64) } else { "-".to_owned() }
    };
    [
        row.step.clone(),
        rate(row.records, row.wall_s),
        row.snapshots.map_or_else(|| "-".to_owned(), |count| rate(count, row.wall_s)),
        rate(row.records, row.cpu_s),
        format!("{:.2}", row.wall_s),
        format!("{:.2}", row.cpu_s),
        row.broker_cpu_s.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2}")),
        row.peak_mib.map_or_else(|| "-".to_owned(), thousands),
        row.note.clone(),
    ]
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
