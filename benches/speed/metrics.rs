//! Reads the pages that a running instance serves.

use anyhow::Result;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An instance's HTTP address.
pub struct Pages(pub String);

impl Pages {
    /// Whether every task runs.
    pub fn is_ready(&self) -> bool {
        self.get("/ready").is_ok_and(|page| page.starts_with("HTTP/1.1 200"))
    }

    /// The metrics as they stand.
    pub fn metrics(&self) -> Result<Figures> {
        self.get("/metrics").map(Figures)
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.0)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Figures in Prometheus' text form.
pub struct Figures(String);

impl Figures {
    /// The sum of a figure over all its labels; `name` is its end, without the program's prefix.
    pub fn sum(&self, name: &str) -> u64 {
        self.samples(name).map(|(_, value)| value as u64).sum()
    }

    /// Tasks that run: all others are being restored, or wait for it.
    pub fn running_tasks(&self) -> u64 {
        let running = self.samples("tasks").filter(|(labels, _)| labels.contains("\"running\""));
        running.map(|(_, value)| value as u64).sum()
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(move |line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (full, labels) = series.split_once('{').unwrap_or((series, ""));
            let is_it = full == name || full.strip_prefix("helixstream_") == Some(name);
            is_it.then_some((labels, value.parse().ok()?))
        })
    }

    /// How long commits took: the histogram's bounds that half and 99 of 100 stay below.
    pub fn commit_times(&self) -> String {
        let bound = |labels: &str| labels.split('"').nth(1).unwrap_or("?").to_owned();
        let buckets: Vec<(String, f64)> =
            self.samples("commit_seconds_bucket").map(|(labels, count)| (bound(labels), count)).collect();
        let total = buckets.last().map_or(0.0, |(_, count)| *count);
        let below = |share: f64| {
            let found = buckets.iter().find(|(_, count)| *count >= total * share);
            let seconds: Option<f64> = found.and_then(|(bound, _)| bound.parse().ok());
            seconds.map_or("beyond the last bound".to_owned(), |seconds| format!("< {:.0} ms", seconds * 1000.0))
        };
        format!("{total} commits, p50 {}, p99 {}", below(0.5), below(0.99))
    }
}
